//! Aggregate: how the losses of tokens become one number.

use lapidary_core::Ragged;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The mean that is taken over tokens and answers. `m` is the mask, `L_i = Σ_t m_it`, `N` the answers with `L_i > 0`,
/// `B` all answers of the optimiser step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// `Σ l·m / Σ m`: every token weighs the same (DAPO, arXiv 2503.14476, §3.3).
    TokenMean,
    /// `1/N · Σ_i (Σ_t l·m / L_i)`: every answer weighs the same (GRPO, arXiv 2402.03300, eq. 3).
    SeqMeanTokenMean,
    /// `1/N · Σ_i Σ_t l·m`: the log-probability of a whole answer (RLOO, arXiv 2402.14740).
    SeqMeanTokenSum,
    /// `Σ l·m / (B·L_max)` with a constant `L_max` (Dr. GRPO, arXiv 2503.20783).
    TokenSumConst,
}

/// Divisors of one optimiser step, computed before its first micro-batch: so a step's loss and gradient do not depend on
/// how its rows are split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normaliser {
    aggregate: Aggregate,
    tokens: f64,
    sequences: f64,
    constant: f64,
}

impl Normaliser {
    /// `mask` holds all rows of the optimiser step; `max_length` is the `L_max` of [`Aggregate::TokenSumConst`].
    pub(crate) fn new(aggregate: Aggregate, mask: &Ragged<bool>, max_length: usize) -> Self {
        assert!(max_length > 0, "the longest answer has at least one token");
        let lengths = || mask.iter().map(|row| row.iter().filter(|&&trained| trained).count());
        Self {
            aggregate,
            tokens: lengths().sum::<usize>() as f64,
            sequences: lengths().filter(|&length| length > 0).count() as f64,
            constant: mask.rows() as f64 * max_length as f64,
        }
    }

    /// Trained tokens of the step.
    pub fn tokens(&self) -> f64 {
        self.tokens
    }

    /// Rows of the step with at least one trained token.
    pub fn sequences(&self) -> f64 {
        self.sequences
    }

    /// The weight in the step's loss of each trained token of a row that has `length` of them, at least one.
    pub(crate) fn token_weight(&self, length: usize) -> f64 {
        assert!(length > 0 && self.tokens > 0.0, "the row belongs to the step the normaliser was made for");
        match self.aggregate {
            Aggregate::TokenMean => 1.0 / self.tokens,
            Aggregate::SeqMeanTokenMean => 1.0 / (self.sequences * length as f64),
            Aggregate::SeqMeanTokenSum => 1.0 / self.sequences,
            Aggregate::TokenSumConst => 1.0 / self.constant,
        }
    }
}
