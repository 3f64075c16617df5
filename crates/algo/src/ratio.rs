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
    /// `sg[s] · π_θ(y_t)/sg[π_θ(y_t)]`: the value of the geometric ratio, the gradient of the token's own probability
    /// (GSPO-token, arXiv 2507.18071, eq. 14).
    SequenceGeometricToken,
    /// `(1/L) Σ_t w_t`, one per answer (GRPO-S, arXiv 2508.04349, eq. 11).
    SequenceArithmetic,
    /// `π_θ(y)/π_old(y) = Π_t w_t`, one per answer: grows and shrinks exponentially with its length.
    SequenceProduct,
}

/// The ratios of a row, as its tokens see them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ratios {
    /// What the surrogate gets at each token.
    pub values: Vec<f64>,
    /// dratio/dlogp of each token; 0 where a log-ratio is held at its limit.
    pub slopes: Vec<f64>,
    /// Whether all tokens share one ratio, so that each log-probability moves all of them.
    pub shared: bool,
}

/// `exp(log_ratio)` within the limit, and its derivative.
fn exponential(log_ratio: f64) -> (f64, f64) {
    let value = log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp();
    (value, if log_ratio.abs() <= LOG_RATIO_LIMIT { value } else { 0.0 })
}

impl Ratio {
    /// Whether one ratio stands for the whole row.
    pub fn is_sequence(self) -> bool {
        self != Ratio::Token
    }

    /// The ratios at the trained tokens of a row.
    ///
    /// `held` is where stop-gradients are evaluated: the same numbers as `logp`, unless a finite difference moves
    /// `logp` alone.
    pub(crate) fn of_row(self, logp: &[f64], old: &[f64], held: &[f64]) -> Ratios {
        assert!(logp.len() == old.len() && logp.len() == held.len(), "one old log-probability per token");
        let length = logp.len() as f64;
        let log_ratios = |from: &[f64]| -> Vec<f64> { from.iter().zip(old).map(|(new, old)| new - old).collect() };
        let all = |value: f64, slope: f64| Ratios {
            values: vec![value; logp.len()],
            slopes: vec![slope; logp.len()],
            shared: true,
        };
        let mean = |from: &[f64]| log_ratios(from).iter().sum::<f64>() / length;
        match self {
            _ if logp.is_empty() => Ratios { values: Vec::new(), slopes: Vec::new(), shared: self.is_sequence() },
            Ratio::Token => {
                let (values, slopes) = log_ratios(logp).into_iter().map(exponential).unzip();
                Ratios { values, slopes, shared: false }
            }
            Ratio::SequenceGeometric => {
                let (value, slope) = exponential(mean(logp));
                all(value, slope / length)
            }
            Ratio::SequenceGeometricToken => {
                let (value, slope) = exponential(mean(held));
                let moved = |(new, held): (&f64, &f64)| (new - held).exp();
                let values = logp.iter().zip(held).map(|pair| value * moved(pair)).collect();
                let slopes = logp.iter().zip(held).map(|pair| slope * moved(pair)).collect();
                Ratios { values, slopes, shared: false }
            }
            Ratio::SequenceArithmetic => {
                let (values, slopes): (Vec<f64>, Vec<f64>) = log_ratios(logp).into_iter().map(exponential).unzip();
                let value = values.iter().sum::<f64>() / length;
                Ratios { slopes: slopes.iter().map(|slope| slope / length).collect(), ..all(value, 0.0) }
            }
            Ratio::SequenceProduct => {
                let (value, slope) = exponential(log_ratios(logp).iter().sum());
                all(value, slope)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, fixtures, float_rows, floats, trained};

    fn of(ratio: Ratio, logp: &[f64], old: &[f64]) -> Ratios {
        ratio.of_row(logp, old, logp)
    }

    #[test]
    fn golden_ratios() {
        for fixture in fixtures() {
            for (index, row) in fixture.rows.iter().enumerate() {
                let old = row.old.as_ref().unwrap();
                let sequence = of(Ratio::SequenceGeometric, &row.logp, old).values;
                let expected = floats(&fixture.golden["sequence_ratio"])[index];
                sequence.iter().for_each(|ratio| close(*ratio, expected, 1e-12, "sequence ratio"));
                let expected = trained(&float_rows(&fixture.golden["token_ratio"])[index], fixture.mask.row(index));
                for (ratio, expected) in of(Ratio::Token, &row.logp, old).values.iter().zip(expected) {
                    close(*ratio, expected, 1e-12, "token ratio");
                }
            }
        }
    }

    /// Specification A, §12.3 and §12.4: the un-normalised ratio and GRPO-S's mean of token ratios.
    #[test]
    fn printed_ratios_of_whole_answers() {
        let product = [[1.491825, 0.904837, 1.000000, 1.349859].as_slice(), &[0.818731, 0.904837, 0.670320]];
        let arithmetic = [[1.167278, 0.981110, 1.031337, 1.349859].as_slice(), &[0.922995, 0.981110, 0.822828]];
        for (fixture, (product, arithmetic)) in fixtures().iter().zip(product.iter().zip(arithmetic)) {
            for (index, row) in fixture.rows.iter().enumerate() {
                let old = row.old.as_ref().unwrap();
                close(of(Ratio::SequenceProduct, &row.logp, old).values[0], product[index], 1e-6, "product");
                close(of(Ratio::SequenceArithmetic, &row.logp, old).values[0], arithmetic[index], 1e-6, "arithmetic");
            }
        }
    }

    /// §3.6 (a), and what the article's form without `1/L` does instead.
    #[test]
    fn the_sequence_ratio_does_not_grow_with_length_and_the_product_does() {
        for (length, product) in [(1, 1.001001), (10, 1.010050), (1000, 2.718282), (8000, 2980.957987)] {
            let at = |ratio| of(ratio, &vec![-1.0 + 1e-3; length], &vec![-1.0; length]).values[0];
            close(at(Ratio::SequenceGeometric), 1.001001, 1e-6, "mean log-ratio of 0.001");
            close(at(Ratio::SequenceArithmetic), 1.001001, 1e-6, "all tokens alike");
            close(at(Ratio::SequenceProduct), product, 1e-6 * product, "product");
        }
    }

    /// §3.6 (b).
    #[test]
    fn the_order_of_tokens_does_not_matter() {
        for ratio in [Ratio::SequenceGeometric, Ratio::SequenceArithmetic, Ratio::SequenceProduct] {
            let at = |logp: &[f64], old: &[f64]| of(ratio, logp, old).values[0];
            let turned = at(&[-2.0, -0.1, -0.9], &[-2.5, -0.3, -0.4]);
            close(at(&[-0.1, -0.9, -2.0], &[-0.3, -0.4, -2.5]), turned, 1e-15, "turned");
        }
    }

    #[test]
    fn the_token_form_has_the_sequences_value_and_the_tokens_own_gradient() {
        let (logp, old) = ([-0.1, -0.9, -2.0], [-0.3, -0.4, -2.5]);
        let (whole, token) =
            (of(Ratio::SequenceGeometric, &logp, &old), of(Ratio::SequenceGeometricToken, &logp, &old));
        assert_eq!(whole.values, token.values);
        assert_eq!((token.slopes.as_slice(), token.shared), (token.values.as_slice(), false));
        close(whole.slopes[0], whole.values[0] / 3.0, 1e-15, "a third each");
    }

    #[test]
    fn log_ratios_are_held_at_twenty() {
        use Ratio::{SequenceArithmetic, SequenceGeometric, SequenceGeometricToken, SequenceProduct, Token};
        for ratio in [Token, SequenceGeometric, SequenceGeometricToken, SequenceArithmetic, SequenceProduct] {
            let [far, near] = [-1000.0, -20.5].map(|old| of(ratio, &[-0.5], &[old]));
            assert_eq!((far.values[0], far.slopes[0]), (20.0_f64.exp(), 0.0));
            assert_eq!((near.values[0], near.slopes[0]), (20.0_f64.exp(), 20.0_f64.exp()));
            assert_eq!(of(ratio, &[-1000.0], &[-0.5]).values[0], (-20.0_f64).exp());
            assert!(of(ratio, &[], &[]).values.is_empty());
        }
    }
}
