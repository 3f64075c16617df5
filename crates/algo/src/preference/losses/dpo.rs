//! DPO: the reward model that a policy already is.
//!
//! ```text
//! h = β((logp_w − ref_w) − (logp_l − ref_l)),   L = −ln σ(h),   dL/dh = −σ(−h)
//! ```
//! Rafailov et al. 2023, arXiv 2305.18290

use super::prelude::*;
use crate::preference::numeric::{sigmoid, softplus};

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "dpo",
    title: "DPO (direct preference optimisation)",
    paper: "Rafailov et al. 2023, arXiv 2305.18290, eq. 7",
    equation: "h = β·((logp_w − ref_w) − (logp_l − ref_l))\n\
               L = −ln σ(h)",
    when: "Clean pairs and a policy that could have written them. The baseline that the others are measured against.",
    differs: "Every contradicted pair pulls with full strength for ever, so flipped labels are learned by heart.",
    learns: Learns::Either,
    score: Score::LogRatio,
    formula: Formula::Margin(at),
    coupling: Coupling::None,
    unpaired: false,
    bounded: false,
    parameters: &[BETA_OF_DPO],
    sources: &[],
    suggestions: &[RATE_OF_DPO],
    choice: None,
};

/// `softplus(−h)`: never overflows.
pub(super) fn at(margin: f64, _: &Context<'_>) -> Point {
    Point { value: softplus(-margin), slope: -sigmoid(-margin) }
}

#[cfg(test)]
mod tests {
    use crate::preference::testing::*;
    use crate::preference::{Answer, Pair};
    use crate::testing::close;

    #[test]
    fn goldens() {
        golden("dpo", "{}", 0.598139);
        pulls("dpo", "{}", [0.952574, 0.5, 0.047426]);
    }

    /// Specification B §1.13: log-probabilities −12, −13, −15, −14.5; δ = 1.5.
    #[test]
    fn goldens_of_self_feedback() {
        let answers = [Answer::new(-12.0, -13.0, 9), Answer::new(-15.0, -14.5, 9)];
        let output = step(&policy("dpo", r#"{"beta":0.2}"#), &answers, &[Pair::new(0, 1).into()]);
        close(output.loss, 0.554355, 1e-6, "loss");
        close(output.by_logp[0], -0.085111, 1e-6, "by the chosen");
        close(output.by_logp[1], 0.085111, 1e-6, "by the rejected");
        close(step(&policy("dpo", "{}"), &answers, &[Pair::new(0, 1).into()]).loss, 0.620957, 1e-6, "β = 0.1");
    }

    /// `ℓ(−h) − ℓ(h) = h`.
    #[test]
    fn swapping_a_pair_adds_its_margin() {
        for margin in [-7.0, -0.3, 0.0, 2.0, 1e4] {
            let (answers, _) = answers_of_margins(&[margin], 0.1);
            let dpo = policy("dpo", "{}");
            let loss = |pair: Pair| step(&dpo, &answers, &[pair.into()]).loss;
            close(loss(Pair::new(1, 0)) - loss(Pair::new(0, 1)), margin, 1e-9, "swap");
        }
    }
}
