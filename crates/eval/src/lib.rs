//! Accuracy with intervals, pass@k, paired comparison, calibration, label noise.
//!
//! The statistics are pure functions, tested against published numbers. The unit of every interval is the prompt:
//! several samples of one prompt are not independent and never narrow an interval as if they were.

mod confidence;
mod evaluate;
mod evaluation;
mod label_noise;
mod paired;
mod pass;
mod reliability;
mod second_turn;

pub use confidence::{Asked, Gauge, Sureness, end_tokens, readings};
pub use evaluate::{Judges, evaluate, evaluate_again};
pub use evaluation::{AttemptRecord, Comparison, Evaluation, PassRate, PromptRecord, Settings, Summary, compare};
pub use label_noise::{GroupNoise, Suspect, flip_rate, flip_rate_holder, flip_rates_by, likeliest_flipped};
pub use lapidary_statistics::{
    Bin, Binning, Calibration, Interval, IntervalMethod, RESAMPLES, auroc, bootstrap_mean, calibration, mean,
    success_rate, wilson,
};
pub use paired::{Pairs, paired_bootstrap_difference, paired_mean_difference};
pub use pass::{pass_at_k, pass_hat_k};
pub use reliability::{BINS, Reliability, Sure, calibrated};
pub use second_turn::{Correction, SecondTurn, Shown, correction};
