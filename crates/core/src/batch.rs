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
    /// The ids that each token was drawn from under top-k or top-p, ascending: one row per token of the flat batch. An
    /// empty row is the whole vocabulary. Log-probabilities are those of the distribution cut to these ids.
    pub support: Option<Ragged<u32>>,
    /// Experts to be used instead of the router's choice: `[rows, tokens · stride]`, `stride` = MoE layers × experts per
    /// token, layers outermost. [`UNROUTED`] leaves the choice to the router. Gate weights are always computed anew.
    pub routing: Option<Ragged<u16>>,
}

/// In [`TokenBatch::routing`]: the router chooses for itself.
pub const UNROUTED: u16 = u16::MAX;

impl TokenBatch {
    /// A batch that scores every token but the first of each row, at temperature 1.
    pub fn all(rows: impl IntoIterator<Item = Vec<u32>>) -> Self {
        let tokens: Ragged<u32> = rows.into_iter().collect();
        let scored = tokens.iter().map(|row| (0..row.len()).map(|t| t > 0).collect::<Vec<_>>()).collect();
        let temperature = vec![1.0; tokens.rows()];
        Self { tokens, scored, temperature, ..Self::default() }
    }

    /// Appends a row: `scored[t]` asks for the statistics of `tokens[t]`.
    pub fn push(&mut self, tokens: &[u32], scored: &[bool], temperature: f32) {
        assert_eq!(tokens.len(), scored.len(), "one mask value per token");
        assert!(temperature > 0.0, "temperature must be positive, got {temperature}");
        assert!(self.support.is_none() && self.routing.is_none(), "set support and routing after the last row");
        self.tokens.push(tokens.iter().copied());
        self.scored.push(scored.iter().enumerate().map(|(t, &wanted)| wanted && t > 0));
        self.temperature.push(temperature);
    }

    /// The given rows, in the given order.
    pub fn select(&self, rows: &[usize]) -> Self {
        let of_row = |row: usize| self.tokens.start_of(row)..self.tokens.start_of(row) + self.tokens.len_of(row);
        Self {
            tokens: self.tokens.select(rows.iter().copied()),
            scored: self.scored.select(rows.iter().copied()),
            temperature: rows.iter().map(|&row| self.temperature[row]).collect(),
            support: self.support.as_ref().map(|support| support.select(rows.iter().flat_map(|&row| of_row(row)))),
            routing: self.routing.as_ref().map(|routing| routing.select(rows.iter().copied())),
        }
    }
}

/// Which statistics a forward pass is to compute beside the log-probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// Entropy over the whole vocabulary, in nats.
    pub entropy: bool,
    /// The largest and the second largest probability.
    pub top: bool,
    /// Mean over the vocabulary of the negative log-probability.
    pub mean_nll: bool,
    /// What the value head says; the model must have one.
    pub value: bool,
    /// What the reward head says of each row; the model must have one.
    pub reward: bool,
    /// Which experts were used.
    pub routing: bool,
}

impl Want {
    /// Log-probabilities and entropies.
    pub const ENTROPY: Self =
        Self { entropy: true, top: false, mean_nll: false, value: false, reward: false, routing: false };
}

/// What a forward pass says about given tokens, shaped as [`TokenBatch::tokens`]; unscored positions hold 0.
///
/// Index `t` of a row is about token `t` given tokens `< t` of that row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenStats {
    /// Log-probability of the token, in nats, at the row's temperature and within its support.
    pub logp: Ragged<f32>,
    /// Entropy of the whole distribution at the row's temperature, in nats; all 0 unless [`Want::entropy`].
    pub entropy: Ragged<f32>,
    /// `[max_v p, second largest p]` of the whole distribution at the row's temperature, where [`Want::top`].
    pub top: Option<[Ragged<f32>; 2]>,
    /// `−(1/V) Σ_v ln p_v` at the row's temperature, where [`Want::mean_nll`] (Kang et al. 2025, arXiv 2502.18581:
    /// self-certainty is this less `ln V`).
    pub mean_nll: Option<Ragged<f32>>,
    /// The value of the state before the token, where [`Want::value`].
    pub value: Option<Ragged<f32>>,
    /// `[rows]` the reward head at each row's last token, where [`Want::reward`]; 0 for an empty row.
    pub reward: Option<Vec<f32>>,
    /// Experts that were used, shaped as [`TokenBatch::routing`], where [`Want::routing`].
    pub routing: Option<Ragged<u16>>,
}

/// What an objective answers: the derivative of the loss with respect to each statistic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenGrads {
    /// dLoss/dlogp, shaped as [`TokenStats::logp`]; positions that were not scored must hold 0.
    pub logp: Ragged<f32>,
    /// dLoss/dentropy where the objective uses entropy.
    pub entropy: Option<Ragged<f32>>,
    /// dLoss/dvalue where the objective uses the value head.
    pub value: Option<Ragged<f32>>,
    /// `[rows]` dLoss/dreward where the objective uses the reward head.
    pub reward: Option<Vec<f32>>,
}
