//! CPO: DPO with a uniform reference, and the likelihood of the chosen.
//!
//! ```text
//! L = −ln σ( β(logp_w − logp_l) ) − c·logp_w/n_w
//! ```
//! Xu et al. 2024, arXiv 2401.08417.

use super::prelude::*;

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "cpo",
    title: "CPO (contrastive preference optimisation)",
    paper: "Xu et al. 2024, arXiv 2401.08417",
    equation: "L = −ln σ( β·(logp_w − logp_l) ) − c·logp_w/n_w",
    when: "Translation and the like: chosen answers that are themselves worth imitating, without a reference.",
    differs: "Without a reference the margin starts at the difference in length; the likelihood term keeps the policy in place.",
    learns: Learns::Policy,
    score: Score::Logp,
    formula: Formula::Margin(super::dpo::at),
    coupling: Coupling::None,
    unpaired: false,
    bounded: false,
    parameters: &[
        Parameter { number: Number::Beta, default: 0.1, range: Range::Above(0.0), source: "arXiv 2401.08417; TRL" },
        Parameter {
            number: Number::NllCoefficient,
            default: 1.0,
            range: Range::AtLeast(0.0),
            source: "arXiv 2401.08417; TRL's `cpo_alpha`",
        },
    ],
    sources: &[],
    suggestions: &[RATE_OF_DPO],
    choice: None,
};

#[cfg(test)]
mod tests {
    use crate::preference::testing::*;

    /// Log-probabilities −10 (10 tokens) and −9: ℓ(−0.1) + 1.
    #[test]
    fn hand_computed() {
        golden("cpo", "{}", 0.744397 + 1.0);
        golden("cpo", r#"{"nll_coefficient":0}"#, 0.744397);
        assert!(!policy("cpo", "{}").needs().reference);
    }
}
