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

/// Divisors of one optimiser step, computed before its first micro-batch: so a step's loss and gradient do not depend
/// on how its rows are split.
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
        self.token_weight_of(self.aggregate, length)
    }

    /// The same under another aggregate of the same step.
    pub(crate) fn token_weight_of(&self, aggregate: Aggregate, length: usize) -> f64 {
        assert!(length > 0 && self.tokens > 0.0, "the row belongs to the step the normaliser was made for");
        match aggregate {
            Aggregate::TokenMean => 1.0 / self.tokens,
            Aggregate::SeqMeanTokenMean => 1.0 / (self.sequences * length as f64),
            Aggregate::SeqMeanTokenSum => 1.0 / self.sequences,
            Aggregate::TokenSumConst => 1.0 / self.constant,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::method;
    use crate::objective::Objective;
    use crate::testing::check_golden;
    use crate::{Overrides, Surrogate};

    /// Rows of 3, 0, 2, 4 and 1 trained tokens.
    fn mask() -> Ragged<bool> {
        let rows = [vec![false, true, true, true], vec![false], vec![true, false, true], vec![true; 4], vec![true]];
        rows.into_iter().collect()
    }

    #[test]
    fn weights_of_a_token_by_hand() {
        let weight = |aggregate, length| Normaliser::new(aggregate, &mask(), 8).token_weight(length);
        for (length, seq_mean) in [(3, 1.0 / 12.0), (2, 0.125), (4, 0.0625), (1, 0.25)] {
            assert_eq!(weight(Aggregate::TokenMean, length), 0.1);
            assert_eq!(weight(Aggregate::SeqMeanTokenMean, length), seq_mean, "the empty row is not among the 4");
            assert_eq!(weight(Aggregate::SeqMeanTokenSum, length), 0.25);
            assert_eq!(weight(Aggregate::TokenSumConst, length), 1.0 / 40.0, "the empty row is among the 5");
        }
    }

    #[test]
    fn counts() {
        let normaliser = Normaliser::new(Aggregate::TokenMean, &mask(), 8);
        assert_eq!((normaliser.tokens(), normaliser.sequences()), (10.0, 4.0));
    }

    #[test]
    fn golden_token_sum() {
        let change = Overrides { aggregate: Some(Aggregate::SeqMeanTokenSum), ..Overrides::default() };
        let summed: Objective = (method("dapo").unwrap().defaults)().with(&change).unwrap();
        assert_eq!(summed.surrogate, Surrogate::Clip { low: 0.2, high: 0.28, dual: None });
        check_golden(&summed, "seq_mean_token_sum", [0.369451, -0.076698]);
    }

    #[test]
    fn the_constant_of_the_recipe_goes_before_the_stages_longest_answer() {
        let mut objective = (method("dr_grpo").unwrap().defaults)();
        assert_eq!(objective.normaliser(&mask(), 100).token_weight(1), 1.0 / 500.0);
        objective.length_constant = Some(8);
        assert_eq!(objective.normaliser(&mask(), 100).token_weight(1), 1.0 / 40.0);
    }
}
