//! What tests of several crates share: a toy engine that is exact, deterministic, and learns in milliseconds.

// A helper of tests fails loudly.
#![allow(clippy::expect_used)]

mod bigram;

pub use bigram::Bigram;
