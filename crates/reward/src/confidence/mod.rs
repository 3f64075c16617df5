//! How sure a model is of its own answer, and what follows from that: RLSF (arXiv 2507.21931) and its relatives.
//!
//! ```text
//! text ─▶ where the answer stands (span) ─▶ statistic over its tokens ─▶ confidence ─▶ pairs | a reward | calibration
//! ```
//! Everything here is a pure function of numbers and text: a model gives its [`Readings`], and no label is needed.

mod map;
mod measure;
mod rank;
mod span;
mod statistic;
mod vote;

pub use map::RewardMap;
pub use measure::Measure;
pub use rank::{Margin, Pairing, RankedPair, Ranking, Trace};
pub use span::{Span, SpanSource, Tie, longest_common_run, probed, tokens_of};
pub use statistic::{Disparity, Readings, Statistic};
pub use vote::{Vote, aggregate, majority, same_answer};
