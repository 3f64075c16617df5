//! Numbers drawn one after another from one key.

use lapidary_core::Key;

/// A counter over the sub-keys of one key. It lives for one draw of a question, so nothing outlives the key.
pub(crate) struct Dice {
    key: Key,
    thrown: u64,
}

impl Dice {
    pub(crate) fn new(key: Key) -> Self {
        Self { key, thrown: 0 }
    }

    fn next(&mut self) -> Key {
        self.thrown += 1;
        self.key.at(self.thrown)
    }

    /// Uniform in `low..=high`.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        self.next().between(low, high)
    }

    /// Uniform in a range of whole numbers, both ends included.
    pub(crate) fn within(&mut self, range: (i64, i64)) -> i64 {
        self.between(range.0, range.1)
    }

    /// Uniform in `0..bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.next().below(bound as u64) as usize
    }

    /// One of two.
    pub(crate) fn coin(&mut self) -> bool {
        self.below(2) == 1
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.next().uniform() < probability
    }

    /// Uniform in [0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        self.next().uniform()
    }

    /// One of several; there must be one.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// The same things in another order.
    pub(crate) fn shuffled<T: Clone>(&mut self, things: &[T]) -> Vec<T> {
        self.next().permutation(things.len()).into_iter().map(|at| things[at].clone()).collect()
    }

    /// `count` different things of several; all of them where there are fewer.
    pub(crate) fn sample<T: Clone>(&mut self, from: &[T], count: usize) -> Vec<T> {
        let mut all = self.shuffled(from);
        all.truncate(count);
        all
    }
}
