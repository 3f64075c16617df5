//! Two evaluations on the same prompts: what changed, and whether chance explains it.

use lapidary_core::Key;
use serde::{Deserialize, Serialize};

use lapidary_statistics::fair_coin_at_most;
use lapidary_statistics::{Interval, IntervalMethod, bootstrap_mean, mean, wilson};

/// Right and wrong before and after, counted over prompts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pairs {
    /// Right before and after.
    pub both: usize,
    /// Wrong before, right after.
    pub gained: usize,
    /// Right before, wrong after.
    pub lost: usize,
    /// Wrong before and after.
    pub neither: usize,
}

impl Pairs {
    /// Counts `(before, after)` outcomes.
    pub fn count(outcomes: impl IntoIterator<Item = (bool, bool)>) -> Self {
        let mut pairs = Pairs::default();
        for outcome in outcomes {
            match outcome {
                (true, true) => pairs.both += 1,
                (false, true) => pairs.gained += 1,
                (true, false) => pairs.lost += 1,
                (false, false) => pairs.neither += 1,
            }
        }
        pairs
    }

    /// How many prompts.
    pub fn total(&self) -> usize {
        self.both + self.gained + self.lost + self.neither
    }

    /// Exact two-sided McNemar test (McNemar 1947, with the binomial instead of χ²): the probability that fair coins split the
    /// `gained + lost` prompts that changed at least as unevenly. 1 where nothing changed.
    pub fn mcnemar(&self) -> f64 {
        let changed = self.gained + self.lost;
        (2.0 * fair_coin_at_most(self.gained.min(self.lost), changed)).min(1.0)
    }

    /// Accuracy after minus before with Newcombe's 95 % interval (1998, Statistics in Medicine 17:2635–2650, method 10), which
    /// unlike Student's keeps a sensible width when few or no prompts changed. `None` without prompts.
    ///
    /// ```text
    /// Δ − √(δ₁² − 2φ·δ₁·ε₀ + ε₀²) … Δ + √(ε₁² − 2φ·ε₁·δ₀ + δ₀²),  δ = p̂ − low, ε = high − p̂ (Wilson), 1 after, 0 before
    /// φ = ad−bc over the root of the product of the margins; ad−bc is lessened by n/2 (not below 0) where positive
    /// ```
    pub fn difference(&self) -> Option<Interval> {
        let n = self.total();
        let (before, after) = (wilson(self.both + self.lost, n)?, wilson(self.both + self.gained, n)?);
        let [a, b, c, d] = [self.both, self.gained, self.lost, self.neither].map(|count| count as f64);
        let margins = (a + b) * (c + d) * (a + c) * (b + d);
        let association = a * d - b * c;
        let corrected = if association > 0.0 { (association - n as f64 / 2.0).max(0.0) } else { association };
        let phi = if margins == 0.0 { 0.0 } else { corrected / margins.sqrt() };
        let width =
            |after: f64, before: f64| (after * after - 2.0 * phi * after * before + before * before).max(0.0).sqrt();
        let estimate = (b - c) / n as f64;
        let low = estimate - width(after.estimate - after.low, before.high - before.estimate);
        let high = estimate + width(after.high - after.estimate, before.estimate - before.low);
        let (low, high) = (low.max(-1.0), high.min(1.0));
        Some(Interval { estimate, low, high, units: n, method: IntervalMethod::Newcombe })
    }
}

/// Mean of `after − before` over prompts, with Student's t interval. `None` without prompts.
///
/// Pairing takes the prompts' own difficulty out of the error (Miller 2024, §4.2).
pub fn paired_mean_difference(before: &[f64], after: &[f64]) -> Option<Interval> {
    mean(&differences(before, after))
}

/// As [`paired_mean_difference`] with a bootstrap over prompts, for scores that are far from normal.
pub fn paired_bootstrap_difference(before: &[f64], after: &[f64], key: Key) -> Option<Interval> {
    bootstrap_mean(&differences(before, after), key)
}

fn differences(before: &[f64], after: &[f64]) -> Vec<f64> {
    assert_eq!(before.len(), after.len(), "a pair has two sides");
    before.iter().zip(after).map(|(before, after)| after - before).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapidary_core::Purpose;

    /// Airway hyper-responsiveness of 21 children, Fagerland, Lydersen & Laake 2013 (tests) and 2014 (intervals).
    const PUBLISHED: Pairs = Pairs { both: 1, gained: 1, lost: 7, neither: 12 };

    #[test]
    fn mcnemar_gives_published_numbers() {
        assert!((PUBLISHED.mcnemar() - 0.0703125).abs() < 1e-12, "{}", PUBLISHED.mcnemar());
        assert_eq!(Pairs { both: 5, ..Pairs::default() }.mcnemar(), 1.0);
        assert_eq!(Pairs { gained: 3, lost: 3, ..Pairs::default() }.mcnemar(), 1.0);
        assert!((Pairs { gained: 10, ..Pairs::default() }.mcnemar() - 2.0 / 1024.0).abs() < 1e-15);
    }

    #[test]
    fn newcombe_gives_published_numbers() {
        let interval = PUBLISHED.difference().unwrap();
        assert!((interval.estimate + 6.0 / 21.0).abs() < 1e-12);
        assert!((interval.low + 0.507).abs() < 5e-4 && (interval.high + 0.026).abs() < 5e-4, "{interval:?}");
        // The mirror image.
        let mirror = Pairs { gained: 7, lost: 1, ..PUBLISHED }.difference().unwrap();
        assert!((mirror.low + interval.high).abs() < 1e-12 && (mirror.high + interval.low).abs() < 1e-12);
        // Nothing changed: not certainty.
        let same = Pairs { both: 30, neither: 30, ..Pairs::default() }.difference().unwrap();
        assert!(same.low < -0.005 && same.high > 0.005, "{same:?}");
        assert_eq!(Pairs::default().difference(), None);
    }

    #[test]
    fn pairing_takes_difficulty_out() {
        let before: Vec<f64> = (0..20).map(f64::from).collect();
        let after: Vec<f64> = before.iter().enumerate().map(|(i, x)| x + 0.9 + 0.2 * (i % 2) as f64).collect();
        let paired = paired_mean_difference(&before, &after).unwrap();
        assert!((paired.estimate - 1.0).abs() < 1e-12 && paired.low > 0.9 && paired.high < 1.1);
        let boot = paired_bootstrap_difference(&before, &after, Key::new(1, Purpose::Bootstrap)).unwrap();
        assert!((boot.low - paired.low).abs() < 0.02 && (boot.high - paired.high).abs() < 0.02, "{boot:?} {paired:?}");
    }

    #[test]
    fn counting() {
        let pairs = Pairs::count([(true, true), (false, true), (false, true), (true, false), (false, false)]);
        assert_eq!(pairs, Pairs { both: 1, gained: 2, lost: 1, neither: 1 });
        assert_eq!(pairs.total(), 5);
    }
}
