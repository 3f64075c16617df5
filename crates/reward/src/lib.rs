//! Verifiers: what a completion is worth, or that it cannot be told.
//!
//! One file per reward; [`rewards`] is the table that names them all, with their options, for help, schema and docs.
//! A reward scores a batch of [`Attempt`]s; [`Mix`] is several as one, by weights and gates. A verifier that fails gives
//! [`Verdict::NoVerdict`](lapidary_core::Verdict), never 0.
//!
//! ```
//! use lapidary_reward::{build, Attempt};
//! let answer = build("answer", &serde_json::json!({})).unwrap();
//! let metadata = serde_json::Map::new();
//! let attempt = Attempt::new("What is 6 × 12?", "6 × 12 = 72\n#### 72", Some("72"), &metadata);
//! assert_eq!(answer.score(&[attempt])[0].value(), Some(1.0));
//! ```

mod answer;
mod attempt;
mod chain_sum;
mod child;
mod code;
mod command;
pub mod confidence;
mod countdown;
mod example;
mod expression;
mod extract;
mod find;
mod format;
mod function_call;
mod ifeval;
pub mod intrinsic;
mod json;
pub mod jsonl;
mod judge;
mod language;
mod latest;
mod length;
mod math;
pub mod mix;
mod model;
mod number;
mod number_sorting;
pub mod options;
mod pattern;
pub mod preferences;
mod published;
mod puzzle;
mod registry;
mod repetition;
mod spell_backward;
mod tool_call;

pub use answer::reference_answer;
pub use attempt::{Attempt, Reward};
pub use example::{Example, detailed_json, verdict_json};
pub use expression::{Expression, ExpressionError};
pub use extract::{Extraction, Mark, extract};
pub use function_call::{SCORES, score_calls};
pub use ifeval::{Accuracy, InstructionAccuracy};
pub use judge::ChatEndpoint;
pub use mix::{Mix, MixVerdicts, Part, PartSettings};
pub use model::{Opener, install_reward_models};
pub use number::{Number, parse_number};
pub use registry::{RewardInfo, build, reward, rewards};
