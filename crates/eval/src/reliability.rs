//! Whether a model is right as often as it is sure, with intervals: the unit is the prompt.
//!
//! An answer that was not found has confidence 0 and is counted like every other. RLSF's code leaves 0 out of its first bin, so
//! such answers silently drop out of its error.

use lapidary_core::{Key, Purpose};
use serde::{Deserialize, Serialize};

use lapidary_statistics::{Bin, Binning, Calibration, calibration};
use lapidary_statistics::{Interval, IntervalMethod, bootstrap_mean};

/// Bins of a reliability diagram, as everybody has them (Guo et al. 2017, arXiv 1706.04599, §2).
pub const BINS: usize = 10;
/// Resamples of a calibration error: its interval is shown with three digits, which these give.
const RESAMPLES: u64 = 2_000;

/// A confidence in [0, 1], and whether the answer was right.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sure {
    /// How sure.
    pub confidence: f64,
    /// Whether rightly.
    pub right: bool,
}

/// Calibration of answers over ten bins. `None` without answers.
pub fn calibrated(samples: &[Sure], binning: Binning) -> Option<Calibration> {
    let confidence: Vec<f64> = samples.iter().map(|sample| sample.confidence).collect();
    let right: Vec<bool> = samples.iter().map(|sample| sample.right).collect();
    calibration(&confidence, &right, BINS, binning)
}

/// What the answers of an evaluation come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Answers.
    pub answers: usize,
    /// Answers that were not found in their text; they have confidence 0.
    pub not_found: usize,
    /// Mean confidence.
    pub confidence: f64,
    /// Expected calibration error over ten bins of equal width, with a bootstrap over prompts. It is at least what chance
    /// leaves in the bins, so compare it between evaluations of the same number of prompts.
    pub ece: Interval,
    /// The same over ten bins of equally many answers.
    pub ece_equal_mass: f64,
    /// The largest error of a bin of equal width.
    pub mce: f64,
    /// Brier score.
    pub brier: Interval,
    /// How well confidence tells right from wrong; `None` where all are one.
    pub auroc: Option<f64>,
    /// The reliability diagram: bins of equal width that hold something.
    pub bins: Vec<Bin>,
}

impl Reliability {
    /// Reliability of the answers of prompts, `samples[prompt][answer]`: the unit of every interval is the prompt. `None`
    /// without answers.
    pub fn of(prompts: &[Vec<Sure>], not_found: usize, seed: u64) -> Option<Self> {
        let prompts: Vec<&Vec<Sure>> = prompts.iter().filter(|samples| !samples.is_empty()).collect();
        let all: Vec<Sure> = prompts.iter().flat_map(|samples| samples.iter().copied()).collect();
        let found = calibrated(&all, Binning::EqualWidth)?;
        let key = Key::new(seed, Purpose::Bootstrap).at_name("calibration");
        let brier = |samples: &&Vec<Sure>| calibrated(samples, Binning::EqualWidth).map_or(0.0, |found| found.brier);
        let scores: Vec<f64> = prompts.iter().map(brier).collect();
        Some(Self {
            answers: all.len(),
            not_found,
            confidence: all.iter().map(|sample| sample.confidence).sum::<f64>() / all.len() as f64,
            ece: resampled(&prompts, found.ece, key)?,
            ece_equal_mass: calibrated(&all, Binning::EqualMass)?.ece,
            mce: found.mce,
            brier: bootstrap_mean(&scores, key.at_name("brier"))?,
            auroc: found.auroc,
            bins: found.bins,
        })
    }
}

/// Percentile bootstrap of the calibration error over prompts.
fn resampled(prompts: &[&Vec<Sure>], estimate: f64, key: Key) -> Option<Interval> {
    let units = prompts.len();
    if units < 2 {
        let unknown = Interval { estimate, low: 0.0, high: 1.0, units, method: IntervalMethod::Unknown };
        return (units == 1).then_some(unknown);
    }
    let draw = |resample: u64| {
        let key = key.at(resample);
        let drawn = (0..units as u64).flat_map(|i| prompts[key.at(i).below(units as u64) as usize].iter().copied());
        calibrated(&drawn.collect::<Vec<_>>(), Binning::EqualWidth).map_or(estimate, |found| found.ece)
    };
    let mut errors: Vec<f64> = (0..RESAMPLES).map(draw).collect();
    errors.sort_by(f64::total_cmp);
    let at = |share: f64| errors[((share * RESAMPLES as f64) as usize).min(errors.len() - 1)];
    let method = IntervalMethod::Bootstrap;
    // Resampling adds its own noise to the bins, so the estimate may lie below all of it.
    Some(Interval { estimate, low: at(0.025).min(estimate), high: at(0.975).max(estimate), units, method })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference drops a confidence of 0 from every bin; here it is in the first. The control drops it and differs.
    #[test]
    fn an_answer_that_was_not_found_is_counted() {
        let samples = [(0.0, true), (0.0, true), (0.9, true)].map(|(confidence, right)| Sure { confidence, right });
        let found = calibrated(&samples, Binning::EqualWidth).unwrap();
        assert_eq!((found.bins[0].count, found.bins[0].accuracy), (2, 1.0));
        assert!((found.ece - (2.0 + 0.1) / 3.0).abs() < 1e-12);
        assert!(calibrated(&samples[2..], Binning::EqualWidth).unwrap().ece < 0.11, "the control");
    }

    /// Spec B §1.13: ECE 0.202, Brier 0.2169; largest gap and AUROC by hand.
    #[test]
    fn errors_of_the_golden_answers() {
        let confidences = [0.95, 0.92, 0.85, 0.81, 0.55, 0.52, 0.31, 0.10, 0.05, 1.0];
        let right = [true, true, true, false, true, false, false, false, true, true];
        let prompts: Vec<Vec<Sure>> =
            confidences.iter().zip(right).map(|(&confidence, right)| vec![Sure { confidence, right }]).collect();
        let found = Reliability::of(&prompts, 0, 1).unwrap();
        assert!((found.ece.estimate - 0.202).abs() < 1e-9 && (found.brier.estimate - 0.2169).abs() < 1e-9);
        // The bins are {.10, .05}, {.31}, {.55, .52}, {.85, .81}, {.95, .92, 1.0}; the largest gap is |½ − .075|.
        assert!((found.mce - 0.425).abs() < 1e-9);
        // Right answers surer than each wrong one: .81 → 4, .52 → 5, .31 → 5, .10 → 5: 19 of 24.
        assert!((found.auroc.unwrap() - 19.0 / 24.0).abs() < 1e-12);
        assert!((found.confidence - 0.606).abs() < 1e-12);
    }

    #[test]
    fn the_interval_is_over_prompts() {
        let prompts: Vec<Vec<Sure>> = (0..60).map(|at| vec![Sure { confidence: 0.8, right: at % 2 == 0 }]).collect();
        let found = Reliability::of(&prompts, 3, 1).unwrap();
        assert!((found.ece.estimate - 0.3).abs() < 1e-12 && (found.mce - 0.3).abs() < 1e-12);
        assert_eq!((found.answers, found.not_found, found.ece.units), (60, 3, 60));
        // A share of 60 has a standard error of 0.0645: 0.3 ± 0.13.
        assert!((found.ece.low - 0.17).abs() < 0.03 && (found.ece.high - 0.43).abs() < 0.03, "{}", found.ece);
        // Four answers of each prompt narrow nothing.
        let fourfold: Vec<Vec<Sure>> = prompts.iter().map(|samples| vec![samples[0]; 4]).collect();
        let wide = Reliability::of(&fourfold, 0, 1).unwrap().ece;
        assert!((wide.high - wide.low - (found.ece.high - found.ece.low)).abs() < 1e-12);
        assert_eq!(Reliability::of(&[], 0, 1), None);
        assert_eq!(Reliability::of(&prompts[..1], 0, 1).unwrap().ece.method, IntervalMethod::Unknown);
    }
}
