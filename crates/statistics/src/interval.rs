//! A number with its 95 % interval.

use lapidary_core::Key;
use serde::{Deserialize, Serialize};

use crate::distribution::{Z_95, student_t_95};

/// How an interval was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntervalMethod {
    /// Score interval of a proportion.
    Wilson,
    /// Mean of independent values, Student's t.
    StudentT,
    /// Percentiles of resampled means.
    Bootstrap,
    /// Difference of two proportions on the same prompts, Newcombe's square-and-add.
    Newcombe,
    /// All values whose likelihood is not significantly below the largest.
    LikelihoodRatio,
    /// One value only: nothing can be said about its error, the interval is the whole range of the quantity.
    Unknown,
}

/// An estimate with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The estimate.
    pub estimate: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
    /// How many independent units (prompts) it rests on.
    pub units: usize,
    /// How it was found.
    pub method: IntervalMethod,
}

impl Interval {
    /// Whether the interval leaves out `value`.
    pub fn excludes(&self, value: f64) -> bool {
        value < self.low || value > self.high
    }

    /// The same with both ends brought into the range that the quantity can take.
    pub fn clamped(mut self, low: f64, high: f64) -> Self {
        self.low = self.low.clamp(low, high);
        self.high = self.high.clamp(low, high);
        self
    }
}

impl std::fmt::Display for Interval {
    /// `0.412 [0.351, 0.476]`, or `0.412` alone where nothing is known about its error.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.method == IntervalMethod::Unknown {
            return write!(f, "{:.3}", self.estimate);
        }
        write!(f, "{:.3} [{:.3}, {:.3}]", self.estimate, self.low, self.high)
    }
}

/// Score interval of a proportion (Wilson 1927), which stays inside `[0, 1]` and is honest at 0 and `n` successes.
///
/// ```text
/// (p̂ + z²/2n ± z·√(p̂(1−p̂)/n + z²/4n²)) / (1 + z²/n)
/// ```
/// `None` without trials.
pub fn wilson(successes: usize, trials: usize) -> Option<Interval> {
    assert!(successes <= trials, "{successes} successes in {trials} trials");
    if trials == 0 {
        return None;
    }
    let estimate = successes as f64 / trials as f64;
    let (low, high) = score_limits(successes as f64, trials as f64, Z_95);
    Some(Interval { estimate, low, high, units: trials, method: IntervalMethod::Wilson })
}

/// The ends of Wilson's interval for a normal quantile `z` of each side.
pub(crate) fn score_limits(successes: f64, trials: f64, z: f64) -> (f64, f64) {
    let (n, p) = (trials, successes / trials);
    let z2 = z * z;
    let centre = p + z2 / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z2 / n;
    let low = if successes == 0.0 { 0.0 } else { ((centre - half) / scale).max(0.0) };
    let high = if successes == trials { 1.0 } else { ((centre + half) / scale).min(1.0) };
    (low, high)
}

/// Mean of independent values with Student's t interval. `None` without values; one value has an infinite interval.
pub fn mean(values: &[f64]) -> Option<Interval> {
    assert!(values.iter().all(|value| value.is_finite()), "a value is not finite");
    let n = values.len();
    if n == 0 {
        return None;
    }
    let average = values.iter().sum::<f64>() / n as f64;
    if n == 1 {
        let (low, high) = (f64::MIN, f64::MAX);
        return Some(Interval { estimate: average, low, high, units: 1, method: IntervalMethod::Unknown });
    }
    let variance = values.iter().map(|value| (value - average).powi(2)).sum::<f64>() / (n - 1) as f64;
    let half = student_t_95(n - 1) * (variance / n as f64).sqrt();
    Some(Interval {
        estimate: average,
        low: average - half,
        high: average + half,
        units: n,
        method: IntervalMethod::StudentT,
    })
}

/// Success rate when every prompt was tried several times: `outcomes[prompt][sample]`.
///
/// Samples of one prompt are not independent, so the unit is the prompt: the interval is that of the mean of per-prompt
/// rates (cluster-robust, Miller 2024, "Adding Error Bars to Evals", §2.2). Where every prompt is all right or all wrong (one
/// sample each, or greedy decoding) it is Wilson's over prompts. Prompts without a sample are left out.
pub fn success_rate(outcomes: &[Vec<bool>]) -> Option<Interval> {
    let rates: Vec<f64> = outcomes
        .iter()
        .filter(|samples| !samples.is_empty())
        .map(|samples| samples.iter().filter(|&&success| success).count() as f64 / samples.len() as f64)
        .collect();
    if rates.iter().all(|&rate| rate == 0.0 || rate == 1.0) {
        return wilson(rates.iter().filter(|&&rate| rate == 1.0).count(), rates.len());
    }
    mean(&rates).map(|interval| interval.clamped(0.0, 1.0))
}

/// How many resamples a bootstrap interval draws: the 2.5 % point then has a standard error of about 0.16 % in rank.
pub const RESAMPLES: usize = 10_000;

/// Mean of per-prompt values with a percentile bootstrap over prompts (Efron 1979), the same on every machine.
///
/// Resample `r` takes `values[key.at(r).at(i).below(n)]` for `i` in `0..n`. `None` without values.
pub fn bootstrap_mean(values: &[f64], key: Key) -> Option<Interval> {
    assert!(values.iter().all(|value| value.is_finite()), "a value is not finite");
    let n = values.len();
    let average = values.iter().sum::<f64>() / n as f64;
    if n < 2 {
        return mean(values);
    }
    let mut means: Vec<f64> = (0..RESAMPLES as u64)
        .map(|resample| {
            let key = key.at(resample);
            (0..n as u64).map(|i| values[key.at(i).below(n as u64) as usize]).sum::<f64>() / n as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((share * RESAMPLES as f64) as usize).min(RESAMPLES - 1)];
    Some(Interval { estimate: average, low: at(0.025), high: at(0.975), units: n, method: IntervalMethod::Bootstrap })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapidary_core::Purpose;
    use proptest::prelude::*;

    fn close(interval: Interval, low: f64, high: f64, tolerance: f64) {
        assert!((interval.low - low).abs() < tolerance && (interval.high - high).abs() < tolerance, "{interval:?}");
    }

    #[test]
    fn wilson_gives_newcombes_published_numbers() {
        // Newcombe 1998, Statistics in Medicine 17:857–872, table I, method 3.
        close(wilson(81, 263).unwrap(), 0.2553, 0.3662, 5e-5);
        close(wilson(15, 148).unwrap(), 0.0624, 0.1605, 5e-5);
        close(wilson(0, 20).unwrap(), 0.0, 0.1611, 5e-5);
        close(wilson(1, 29).unwrap(), 0.0061, 0.1718, 5e-5);
        assert_eq!(wilson(20, 20).unwrap().high, 1.0);
        assert_eq!(wilson(0, 0), None);
    }

    #[test]
    fn a_mean_has_students_interval() {
        // mean 3, s² = 2.5, half width 2.776445·√(2.5/5) = 1.963243
        close(mean(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap(), 3.0 - 1.963_243, 3.0 + 1.963_243, 1e-6);
        assert_eq!(mean(&[]), None);
        assert_eq!(mean(&[0.5]).unwrap().method, IntervalMethod::Unknown);
        assert_eq!(mean(&[0.5]).unwrap().to_string(), "0.500");
        assert_eq!(wilson(81, 263).unwrap().to_string(), "0.308 [0.255, 0.366]");
    }

    #[test]
    fn samples_of_one_prompt_do_not_count_as_independent() {
        // Rates 1, ½, 0, ½: mean ½, s² = 1/6, half = 3.182446·√(1/24) = 0.649614, clamped to [0, 1].
        let outcomes = vec![vec![true, true], vec![true, false], vec![false, false], vec![false, true]];
        let interval = success_rate(&outcomes).unwrap();
        assert_eq!((interval.estimate, interval.low, interval.high, interval.units), (0.5, 0.0, 1.0, 4));
        let tenfold: Vec<Vec<bool>> = (0..20).map(|p| vec![p % 2 == 0; 50]).collect();
        assert_eq!(success_rate(&tenfold), wilson(10, 20));
        assert_eq!(success_rate(&[vec![]]), None);
    }

    #[test]
    fn the_bootstrap_is_the_same_every_time_and_near_the_t_interval() {
        let key = Key::new(7, Purpose::Bootstrap);
        let values: Vec<f64> = (0..200).map(|i| Key::new(1, Purpose::Task).at(i).normal()).collect();
        let (boot, t) = (bootstrap_mean(&values, key).unwrap(), mean(&values).unwrap());
        assert_eq!(Some(boot), bootstrap_mean(&values, key));
        assert_ne!(Some(boot), bootstrap_mean(&values, key.at(1)));
        close(boot, t.low, t.high, 0.015);
    }

    #[test]
    fn wilson_covers_as_promised() {
        // 4,000 experiments of 40 trials at p = 0.1: Wilson's coverage there is 93.7–96 %.
        let root = Key::new(3, Purpose::Task);
        let covered = (0..4000u64)
            .filter(|&i| {
                let successes = (0..40).filter(|&j| root.at(i).at(j).uniform() < 0.1).count();
                !wilson(successes, 40).unwrap().excludes(0.1)
            })
            .count();
        assert!((3700..3900).contains(&covered), "{covered}");
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_estimate_and_shrinks(successes in 0usize..50, more in 0usize..50) {
            let trials = successes + more + 1;
            let (one, ten) = (wilson(successes, trials).unwrap(), wilson(successes * 10, trials * 10).unwrap());
            prop_assert!(one.low <= one.estimate && one.estimate <= one.high);
            prop_assert!(ten.high - ten.low < one.high - one.low);
        }
    }
}
