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
    /// The geometric ratio is the same at all `L` tokens; each log-probability moves it by `s/L`, hence their sum by
    /// `s`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, fixtures, float_rows, floats, trained};

    #[test]
    fn golden_ratios() {
        for fixture in fixtures() {
            for (index, row) in fixture.rows.iter().enumerate() {
                let old = row.old.as_ref().unwrap();
                let sequence = Ratio::SequenceGeometric.at_tokens(&row.logp, old);
                let expected = floats(&fixture.golden["sequence_ratio"])[index];
                sequence.iter().for_each(|ratio| close(ratio.value, expected, 1e-12, "sequence ratio"));
                let expected = trained(&float_rows(&fixture.golden["token_ratio"])[index], fixture.mask.row(index));
                for (ratio, expected) in Ratio::Token.at_tokens(&row.logp, old).iter().zip(expected) {
                    close(ratio.value, expected, 1e-12, "token ratio");
                }
            }
        }
    }

    #[test]
    fn the_sequence_ratio_does_not_grow_with_length() {
        for length in [1, 10, 1000, 8000] {
            let ratio = Ratio::SequenceGeometric.at_tokens(&vec![-1.0 + 1e-3; length], &vec![-1.0; length]);
            close(ratio[0].value, 1.001001, 1e-6, "mean log-ratio of 0.001");
        }
    }

    #[test]
    fn the_order_of_tokens_does_not_matter() {
        let at = |logp: &[f64], old: &[f64]| Ratio::SequenceGeometric.at_tokens(logp, old)[0].value;
        close(
            at(&[-0.1, -0.9, -2.0], &[-0.3, -0.4, -2.5]),
            at(&[-2.0, -0.1, -0.9], &[-2.5, -0.3, -0.4]),
            1e-15,
            "turned",
        );
    }

    #[test]
    fn log_ratios_are_held_at_twenty() {
        for ratio in [Ratio::Token, Ratio::SequenceGeometric] {
            let [far, near] = [-1000.0, -20.5].map(|old| ratio.at_tokens(&[-0.5], &[old])[0]);
            assert_eq!((far.value, far.derivative), (20.0_f64.exp(), 0.0));
            assert_eq!((near.value, near.derivative), (20.0_f64.exp(), 20.0_f64.exp()));
            assert_eq!(ratio.at_tokens(&[-1000.0], &[-0.5])[0].value, (-20.0_f64).exp());
            assert!(ratio.at_tokens(&[], &[]).is_empty());
        }
    }
}
