//! Ratio: how much likelier the current weights make what the old weights wrote.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Log-ratios are held within ± this before the exponential: `e^20 ≈ 4.9e8` is still a number.
pub(crate) const LOG_RATIO_LIMIT: f64 = 20.0;

/// Which probability ratio `π_θ / π_old` a surrogate sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ratio {
    /// `w_t = π_θ(y_t)/π_old(y_t)`, one per token (PPO, GRPO).
    Token,
    /// `s = (π_θ(y)/π_old(y))^{1/L} = exp(mean_t log w_t)`, one per answer (GSPO, arXiv 2507.18071, eq. 7).
    SequenceGeometric,
}

/// The ratio as one token sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RatioAt {
    /// The value the surrogate gets.
    pub value: f64,
    /// d(sum over the row's tokens of their values)/dlogp of this token; 0 where the log-ratio is held at its limit.
    pub derivative: f64,
}

/// `exp(log_ratio)` within the limit, and its derivative.
fn exponential(log_ratio: f64) -> RatioAt {
    let value = log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp();
    let inside = log_ratio.abs() <= LOG_RATIO_LIMIT;
    RatioAt { value, derivative: if inside { value } else { 0.0 } }
}

impl Ratio {
    /// Whether one ratio stands for the whole row.
    pub fn is_sequence(self) -> bool {
        matches!(self, Ratio::SequenceGeometric)
    }

    /// The ratio at each trainable token of a row.
    ///
    /// The geometric ratio is the same at all `L` tokens; each log-probability moves it by `s/L`, hence their sum by `s`.
    pub(crate) fn at_tokens(self, logp: &[f64], old: &[f64]) -> Vec<RatioAt> {
        assert_eq!(logp.len(), old.len(), "one old log-probability per token");
        let log_ratios = logp.iter().zip(old).map(|(new, old)| new - old);
        match self {
            Ratio::Token => log_ratios.map(exponential).collect(),
            Ratio::SequenceGeometric if logp.is_empty() => Vec::new(),
            Ratio::SequenceGeometric => {
                let mean = log_ratios.sum::<f64>() / logp.len() as f64;
                vec![exponential(mean); logp.len()]
            }
        }
    }
}
