//! Dr. DPO: pairs that fit count more.
//!
//! ```text
//! L = −β′·ln mean_i exp(−ℓ_i/β′),   dL/dℓ_i = e^(−ℓ_i/β′) / Σ_j e^(−ℓ_j/β′)
//! ```
//! Wu et al. 2024, arXiv 2407.07880 The weights belong to the whole batch: `prepare` makes them.

use super::prelude::*;

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "dr_dpo",
    title: "Dr. DPO (distributionally robustified DPO)",
    paper: "Wu et al. 2024, arXiv 2407.07880",
    equation: "ℓ_i = −ln σ(h_i)\n\
               L = −β′ · ln mean_i exp(−ℓ_i/β′)",
    when: "Flipped labels, with large batches.",
    differs: "No loss of one pair: the same pair weighs more in a bad batch than in a good one. β′ → ∞ is `dpo`.",
    learns: Learns::Either,
    score: Score::LogRatio,
    formula: Formula::Margin(super::dpo::at),
    coupling: Coupling::SoftMin,
    unpaired: false,
    bounded: false,
    parameters: &[
        BETA_OF_DPO,
        Parameter {
            number: Number::DrDpoBeta,
            default: 1.0,
            range: Range::Above(0.0),
            source: "arXiv 2407.07880 and code",
        },
    ],
    sources: &[],
    suggestions: &[RATE_OF_DPO],
    choice: None,
};

#[cfg(test)]
mod tests {
    use crate::preference::testing::*;
    use crate::testing::close;

    /// Specification: h = 0.2, −1, 2 under β′ = 1.
    #[test]
    fn goldens() {
        let dr_dpo = policy("dr_dpo", "{}");
        let (answers, examples) = answers_of_margins(&[0.2, -1.0, 2.0], 0.1);
        let (ours, plain) = (step(&dr_dpo, &answers, &examples), step(&policy("dpo", "{}"), &answers, &examples));
        close(ours.loss, 0.568236, 1e-6, "loss");
        close(plain.loss, 0.679443, 1e-6, "mean of DPO's");
        for (index, weight) in [0.323513, 0.158241, 0.518246].into_iter().enumerate() {
            let share = ours.by_logp[2 * index] / plain.by_logp[2 * index] / 3.0;
            close(share, weight, 1e-6, "weight");
        }
        let patient = policy("dr_dpo", r#"{"dr_dpo_beta":1e6}"#);
        close(step(&patient, &answers, &examples).loss, plain.loss, 1e-6, "β′ → ∞");
    }
}
