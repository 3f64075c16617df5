//! Threads that split outputs, never sums.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use super::attention;
use lapidary_core::{Kind, Problem, Result};

/// A fixed number of threads. What they compute does not depend on how many there are.
pub(crate) struct Threads {
    pool: Option<rayon::ThreadPool>,
    count: usize,
}

impl Threads {
    /// `count` threads; 0 means one per core.
    pub fn new(count: usize) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = if count == 0 { cores } else { count };
        let pool = if count == 1 {
            None
        } else {
            let build = rayon::ThreadPoolBuilder::new()
                .num_threads(count)
                .thread_name(|i| format!("lapidary-{i}"))
                .build()
                .map_err(|e| {
                    Problem::new(Kind::Failed, "I003", format!("could not start {count} threads: {e}"))
                        .hint("pass a smaller number to --threads")
                })?;
            Some(build)
        };
        Ok(Self { pool, count })
    }

    /// The calling thread alone.
    pub const fn alone() -> Self {
        Self { pool: None, count: 1 }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// Calls `work` for every index; each index must write only what is its own.
    pub fn each(&self, n: usize, work: impl Fn(usize) + Send + Sync) {
        match &self.pool {
            Some(pool) if n > 1 => pool.install(|| (0..n).into_par_iter().with_max_len(1).for_each(&work)),
            _ => (0..n).for_each(work),
        }
    }
}

/// A buffer of which several threads write disjoint parts.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a, T = f32> {
    start: *mut T,
    len: usize,
    buffer: PhantomData<&'a mut [T]>,
}

// SAFETY: parts are only handed out by `part`, whose callers promise that no two overlap.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub fn new(buffer: &'a mut [T]) -> Self {
        Self { start: buffer.as_mut_ptr(), len: buffer.len(), buffer: PhantomData }
    }

    /// A part of the buffer.
    ///
    /// # Safety
    /// No other part that overlaps this one may be in use.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: inside the buffer by the assert; disjoint by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    pub fn pointer(&self) -> *mut T {
        self.start
    }
}

/// Working memory of one thread, kept between calls.
#[derive(Default)]
pub(crate) struct Scratch {
    pub attention: attention::Scratch,
    pub keys: Vec<f32>,
    pub values: Vec<f32>,
    pub a: Vec<f32>,
    pub b: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Lends this thread's working memory.
pub(crate) fn with_scratch<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    SCRATCH.with_borrow_mut(work)
}
