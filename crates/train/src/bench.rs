//! What every kind of step works with: the model, an ear for those who watch, and a stopwatch.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use lapidary_engine::Engine;
use lapidary_text::Tokenizer;

use crate::watch::{Notice, Phase, Watch};

/// The one who watches, shared by the threads that report progress.
pub(crate) struct Ear<'a>(Mutex<&'a mut dyn Watch>);

impl<'a> Ear<'a> {
    pub(crate) fn new(watch: &'a mut dyn Watch) -> Self {
        Self(Mutex::new(watch))
    }

    pub(crate) fn notice(&self, notice: &Notice<'_>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).notice(notice);
    }

    /// A counter of a phase that any thread may advance.
    pub(crate) fn progress(&self, phase: Phase, total: u64) -> Progress<'_, 'a> {
        self.notice(&Notice::Progress { phase, done: 0, total });
        Progress { ear: self, phase, total, done: AtomicU64::new(0) }
    }
}

pub(crate) struct Progress<'e, 'a> {
    ear: &'e Ear<'a>,
    phase: Phase,
    total: u64,
    done: AtomicU64,
}

impl Progress<'_, '_> {
    /// `done` units are done in all.
    pub(crate) fn reach(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.ear.notice(&Notice::Progress { phase: self.phase, done, total: self.total.max(done) });
    }

    pub(crate) fn advance(&self, by: u64) {
        let done = self.done.fetch_add(by, Ordering::Relaxed) + by;
        self.ear.notice(&Notice::Progress { phase: self.phase, done, total: self.total.max(done) });
    }
}

/// Seconds per phase of a step; they go to `events.jsonl` only.
#[derive(Default)]
pub(crate) struct Stopwatch(RefCell<Vec<(Phase, f64)>>);

impl Stopwatch {
    pub(crate) fn time<T>(&self, phase: Phase, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let out = work();
        let seconds = started.elapsed().as_secs_f64();
        let mut laps = self.0.borrow_mut();
        match laps.iter_mut().find(|(known, _)| *known == phase) {
            Some((_, sum)) => *sum += seconds,
            None => laps.push((phase, seconds)),
        }
        out
    }

    /// What was measured since it was last asked.
    pub(crate) fn laps(&self) -> Vec<(Phase, f64)> {
        self.0.take()
    }
}

/// The place where steps are done.
pub(crate) struct Bench<'b, 'a> {
    pub(crate) engine: &'b mut dyn Engine,
    pub(crate) tokenizer: &'b Tokenizer,
    pub(crate) ear: &'b Ear<'a>,
    pub(crate) stopwatch: &'b Stopwatch,
}
