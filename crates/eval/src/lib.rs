//! Accuracy with intervals, pass@k, paired comparison.
//!
//! The statistics are pure functions, tested against published numbers. The unit of every interval is the prompt:
//! several samples of one prompt are not independent and never narrow an interval as if they were.

mod distribution;
mod evaluate;
mod evaluation;
mod interval;
mod paired;
mod pass;

pub use evaluate::evaluate;
pub use evaluation::{AttemptRecord, Comparison, Evaluation, PassRate, PromptRecord, Settings, Summary, compare};
pub use interval::{Interval, IntervalMethod, RESAMPLES, bootstrap_mean, mean, success_rate, wilson};
pub use paired::{Pairs, paired_bootstrap_difference, paired_mean_difference};
pub use pass::{pass_at_k, pass_hat_k};
