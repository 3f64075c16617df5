//! Recipes, stages, the loop, run directories, checkpoints, metrics, reports.
//!
//! ```text
//! Recipe ─▶ Plan ─▶ run: [ stage: [ step ─▶ metrics, rollouts ─▶ evaluation? ─▶ checkpoint? ] ] ─▶ Outcome, report.html
//! ```
//! The loop is [`run`]; what it tells as it goes is [`Watch`]. Run directory: [`run_dir`]. Checkpoints: [`checkpoint`]. What
//! is remembered between steps: [`state`].

mod bench;
pub mod checkpoint;
mod classes;
pub mod comparisons;
pub mod curriculum;
pub mod diagnose;
mod disk;
mod distill;
mod draw;
pub mod evaluate;
pub mod explain;
pub mod fault;
pub mod feedback;
pub mod health;
pub mod hint;
pub mod interleave;
mod journal;
mod judge;
mod learn;
pub mod levels;
mod look;
pub mod metrics;
pub mod model;
pub mod one_shot;
pub mod plan;
mod prompts;
pub mod recipe;
mod reference;
pub mod replay;
pub mod report;
pub mod reward_models;
mod rl;
pub mod rollouts;
mod rows;
mod run;
pub mod run_dir;
mod second_layer;
pub mod select;
pub mod sft;
mod stage;
pub mod state;
pub mod study;
mod summary;
pub mod switch;
pub mod temperature;
pub mod trend;
mod votes;
pub mod watch;

pub use disk::human_bytes;
pub use recipe::{EvalTurn, Recipe};
pub use run::{Outcome, Settings, Summary, run, run_model};
pub use watch::{Notice, Phase, Silent, StopFlag, Watch};
