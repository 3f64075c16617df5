//! Waist 1: what crosses between algorithms and engines.

use crate::Ragged;

/// Token sequences to be scored or learned from. One row per sequence; rows are independent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenBatch {
    /// `[rows, tokens]` token ids, prompt and completion together.
    pub tokens: Ragged<u32>,
    /// Same shape: whether statistics of the token at this index are wanted. Index 0 of a row is never scored.
    pub scored: Ragged<bool>,
    /// `[rows]` divisor of the logits before the softmax; 1 leaves the model's own distribution.
    pub temperature: Vec<f32>,
}

impl TokenBatch {
    /// A batch that scores every token but the first of each row, at temperature 1.
    pub fn all(rows: impl IntoIterator<Item = Vec<u32>>) -> Self {
        let tokens: Ragged<u32> = rows.into_iter().collect();
        let scored = tokens.iter().map(|row| (0..row.len()).map(|t| t > 0).collect::<Vec<_>>()).collect();
        let temperature = vec![1.0; tokens.rows()];
        Self { tokens, scored, temperature }
    }

    /// Appends a row: `scored[t]` asks for the statistics of `tokens[t]`.
    pub fn push(&mut self, tokens: &[u32], scored: &[bool], temperature: f32) {
        assert_eq!(tokens.len(), scored.len(), "one mask value per token");
        assert!(temperature > 0.0, "temperature must be positive, got {temperature}");
        self.tokens.push(tokens.iter().copied());
        self.scored.push(scored.iter().enumerate().map(|(t, &wanted)| wanted && t > 0));
        self.temperature.push(temperature);
    }

    /// The given rows, in the given order.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            tokens: self.tokens.select(rows.iter().copied()),
            scored: self.scored.select(rows.iter().copied()),
            temperature: rows.iter().map(|&row| self.temperature[row]).collect(),
        }
    }
}

/// Which statistics a forward pass is to compute beside the log-probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// Entropy over the whole vocabulary, in nats.
    pub entropy: bool,
}

/// What a forward pass says about given tokens, shaped as [`TokenBatch::tokens`]; unscored positions hold 0.
///
/// Index `t` of a row is about token `t` given tokens `< t` of that row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenStats {
    /// Log-probability of the token, in nats, at the row's temperature.
    pub logp: Ragged<f32>,
    /// Entropy of the distribution the token was drawn from, in nats; all 0 unless [`Want::entropy`].
    pub entropy: Ragged<f32>,
}

/// What an objective answers: the derivative of the loss with respect to each statistic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenGrads {
    /// dLoss/dlogp, shaped as [`TokenStats::logp`]; positions that were not scored must hold 0.
    pub logp: Ragged<f32>,
    /// dLoss/dentropy where the objective uses entropy.
    pub entropy: Option<Ragged<f32>>,
}
