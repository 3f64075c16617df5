//! Intervals, tests, sequential tests, power, calibration: pure functions, tested against published numbers.
//!
//! Every comparison of two arms is an [`Effect`]: an estimate and its variance. Fixed tests, always-valid tests, guardrails and
//! covariates then share one path, whatever the metric is.

mod bootstrap;
mod calibration;
mod change;
mod correlation;
mod covariate;
mod distribution;
mod effect;
mod guardrail;
mod interval;
mod moments;
mod monitor;
mod multiplicity;
mod power;
mod probability_score;
mod ratio;
mod recalibration;
mod sample_ratio;
mod sequential;
mod special;

pub use bootstrap::poisson_bootstrap;
pub use calibration::{Bin, Binning, Calibration, auroc, calibration};
pub use change::{Lift, lift_of_means, lift_of_proportions};
pub use correlation::{fisher_interval, pearson};
pub use covariate::{Adjustment, adjust};
pub use distribution::{Z_95, fair_coin_at_most, student_t_95, student_t_within};
pub use effect::{Effect, Tail, Test, means, proportions, z_test};
pub use guardrail::{newcombe, non_inferiority};
pub use interval::{Interval, IntervalMethod, RESAMPLES, bootstrap_mean, mean, success_rate, wilson};
pub use moments::{Comoments, Moments};
pub use monitor::{cusum, ewma, gini, stability_index};
pub use multiplicity::{benjamini_hochberg, holm};
pub use power::{Baseline, Design, detectable, power, units_per_arm};
pub use probability_score::{ProbabilityScore, average_precision, log_loss, probability_score};
pub use ratio::{Ratio, ratio};
pub use recalibration::{Platt, isotonic, platt, sigmoid, temperature};
pub use sample_ratio::{SampleRatio, sample_ratio, uniformity};
pub use sequential::{Mixture, running_minimum};
pub use special::{
    chi_square_above, normal_above, normal_below, normal_quantile, student_t_quantile, student_t_two_sided,
};
