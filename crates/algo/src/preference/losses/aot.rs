//! AOT: the policy's margins are to dominate the reference's as a distribution.
//!
//! ```text
//! u = sort_i(logp_w − logp_l),  v = sort_i(ref_w − ref_l)
//! L = mean_k [ (1−ε)·ℓ(β(u_k − v_k)) + ε·ℓ(−β(u_k − v_k)) ]
//! ```
//! Melnyk et al. 2024, arXiv 2406.05882, alg. 1 (paired); TRL's `aot_pair`. Pairs meet by rank in the whole batch: `prepare` sorts.

use super::prelude::*;

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "aot",
    title: "AOT (alignment via optimal transport), paired",
    paper: "Melnyk et al. 2024, arXiv 2406.05882, alg. 1",
    equation: "u = sort(logp_w − logp_l),   v = sort(ref_w − ref_l)\n\
               L = −mean_k ln σ(β·(u_k − v_k))",
    when: "Large batches in which the distribution of margins matters and not every single pair.",
    differs: "A pair is compared with the reference margin of its rank, not with its own. Fewer than eight pairs in a step mean nothing.",
    learns: Learns::Policy,
    score: Score::Logp,
    formula: Formula::Margin(super::cdpo::at),
    coupling: Coupling::Sorted,
    unpaired: false,
    bounded: false,
    parameters: &[
        BETA_OF_DPO,
        Parameter { number: Number::LabelSmoothing, default: 0.0, range: Range::Below(0.0, 0.5), source: "TRL" },
    ],
    sources: &[],
    suggestions: &[RATE_OF_DPO],
    choice: None,
};

#[cfg(test)]
mod tests {
    use crate::preference::numeric::{sigmoid, softplus};
    use crate::preference::testing::*;
    use crate::preference::{Answer, Example, Pair};
    use crate::testing::close;

    /// Policy margins 1, 3, −2 and reference margins 0.5, −1, 2, sorted: (−2,−1), (1,0.5), (3,2).
    #[test]
    fn pairs_meet_by_rank() {
        let aot = policy("aot", r#"{"beta":1}"#);
        let answer = |logp: f64, reference: f64| Answer::new(logp - 9.0, reference - 9.0, 5);
        let answers: Vec<Answer> = [(1.0, 0.5), (3.0, -1.0), (-2.0, 2.0)]
            .into_iter()
            .flat_map(|(policy, reference)| [answer(policy, reference), answer(0.0, 0.0)])
            .collect();
        let examples: Vec<Example> = (0..3).map(|i| Pair::new(2 * i, 2 * i + 1).into()).collect();
        let output = step(&aot, &answers, &examples);
        let expected = [0.5, 1.0, -1.0];
        let loss: f64 = expected.iter().map(|margin: &f64| softplus(-margin)).sum::<f64>() / 3.0;
        close(output.loss, loss, 1e-12, "loss");
        for (index, margin) in expected.into_iter().enumerate() {
            close(output.by_logp[2 * index], -sigmoid(-margin) / 3.0, 1e-12, "pull");
        }
        assert!(aot.needs().reference && aot.needs().whole_batch && aot.needs().min_examples == 8);
    }
}
