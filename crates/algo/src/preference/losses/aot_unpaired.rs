//! AOT, unpaired: the log-ratios of chosen answers are to dominate those of rejected ones as a distribution.
//!
//! ```text
//! u = sort_i(logp_w − ref_w),  v = sort_i(logp_l − ref_l),   L = −mean_k ln σ(β(u_k − v_k))
//! ```
//! Melnyk et al. 2024, arXiv 2406.05882, alg. 1 (unpaired); TRL's `aot`.

use super::prelude::*;

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "aot_unpaired",
    title: "AOT (alignment via optimal transport), unpaired",
    paper: "Melnyk et al. 2024, arXiv 2406.05882, alg. 1",
    equation: "u = sort(logp_w − ref_w),   v = sort(logp_l − ref_l)\n\
               L = −mean_k ln σ(β·(u_k − v_k))",
    when: "As `aot`, where chosen and rejected answers do not belong to the same prompts.",
    differs: "Which two answers make a pair plays no role: sorted chosen meet sorted rejected. As many of either are needed.",
    learns: Learns::Policy,
    score: Score::LogRatio,
    formula: Formula::Margin(super::cdpo::at),
    coupling: Coupling::SortedSides,
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

    /// Chosen log-ratios 1, 3, −2 and rejected 0.5, −1, 2: the margins are −1, 0.5 and 1, whoever was paired with whom.
    #[test]
    fn sides_meet_by_rank() {
        let aot = policy("aot_unpaired", r#"{"beta":1}"#);
        let answer = |ratio: f64| Answer::new(ratio - 9.0, -9.0, 5);
        let answers: Vec<Answer> = [1.0, 0.5, 3.0, -1.0, -2.0, 2.0].into_iter().map(answer).collect();
        let paired =
            |rejected: [usize; 3]| -> Vec<Example> { (0..3).map(|i| Pair::new(2 * i, rejected[i]).into()).collect() };
        let output = step(&aot, &answers, &paired([1, 3, 5]));
        let loss = (softplus(1.0) + softplus(-0.5) + softplus(-1.0)) / 3.0;
        close(output.loss, loss, 1e-12, "loss");
        for (row, margin, side) in [(0, 0.5, -1.0), (2, 1.0, -1.0), (4, -1.0, -1.0), (1, 0.5, 1.0), (3, -1.0, 1.0)] {
            close(output.by_logp[row], side * sigmoid(-margin) / 3.0, 1e-12, &format!("row {row}"));
        }
        let other = step(&aot, &answers, &paired([5, 1, 3]));
        close(other.loss, output.loss, 1e-15, "another pairing");
        assert_eq!(other.by_logp, output.by_logp);
    }
}
