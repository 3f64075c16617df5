//! The types that flow between Lapidary's crates. No I/O, no algorithm, no tensors.
//!
//! ```text
//! Item ─▶ Prompt ─▶ Rollout ─▶ Verdict ─▶ advantages ─▶ TokenBatch/TokenStats/TokenGrads ─▶ update
//! ```
//! Axes are named by suffix letters: `p` prompts of a step, `g` samples of a prompt, `t` tokens, `v` vocabulary.

mod batch;
mod item;
mod key;
mod panic;
mod problem;
mod ragged;
mod rollout;
mod vocabulary;

pub use batch::{PromptGroup, TokenBatch, TokenGrads, TokenStats, UNROUTED, Want};
pub use item::{Item, Message, PromptText, Role};
pub use key::{Key, Purpose};
pub use panic::{catch_panic, panic_is_expected};
pub use problem::{Kind, Place, Problem, Result};
pub use ragged::Ragged;
pub use rollout::{Rollout, StopReason, TokenRole, Verdict};
pub use vocabulary::GgufVocabulary;
