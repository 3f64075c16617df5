//! rDPO: the loss whose mean over flipped labels is DPO's on the true ones.
//!
//! ```text
//! L = [ (1−ε)·ℓ(h) − ε·ℓ(−h) ] / (1−2ε),   dL/dh = −[ (1−ε)σ(−h) + ε·σ(h) ] / (1−2ε)
//! ```
//! Chowdhury et al. 2024, arXiv 2403.00409; TRL's `robust`. Unbounded below: for large h it falls like −εh/(1−2ε).

use super::prelude::*;
use crate::preference::numeric::{sigmoid, softplus};

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "rdpo",
    title: "rDPO (robust DPO)",
    paper: "Chowdhury et al. 2024, arXiv 2403.00409",
    equation: "L = ( −(1−ε)·ln σ(h) + ε·ln σ(−h) ) / (1−2ε)",
    when: "Labels that are flipped at a known rate, independently of the pair, and enough of them for the correction to average out.",
    differs: "Unbiased where `cdpo` is not, but it never stops pulling: margins grow without end, so watch `rewards/margins` and stop early.",
    learns: Learns::Either,
    score: Score::LogRatio,
    formula: Formula::Margin(at),
    coupling: Coupling::None,
    unpaired: false,
    bounded: false,
    parameters: &[
        BETA_OF_DPO,
        Parameter {
            number: Number::LabelSmoothing,
            default: 0.1,
            range: Range::Below(0.0, 0.5),
            source: "arXiv 2403.00409; TRL hints at 0.1",
        },
    ],
    sources: &[],
    suggestions: &[RATE_OF_DPO],
    choice: None,
};

fn at(margin: f64, context: &Context<'_>) -> Point {
    let wrong = context.at(Number::LabelSmoothing);
    let (right, scale) = (1.0 - wrong, 1.0 / (1.0 - 2.0 * wrong));
    Point {
        value: scale * (right * softplus(-margin) - wrong * softplus(margin)),
        slope: -scale * (right * sigmoid(-margin) + wrong * sigmoid(margin)),
    }
}

#[cfg(test)]
mod tests {
    use crate::preference::testing::*;
    use crate::preference::{Label, Pair, Preference};
    use crate::testing::close;

    #[test]
    fn goldens() {
        golden("rdpo", r#"{"label_smoothing":0.1}"#, 0.573139);
        golden("rdpo", r#"{"label_smoothing":0}"#, 0.598139);
    }

    /// `(1−ε)·rdpo(h) + ε·rdpo(−h) = dpo(h)`, loss and pull.
    #[test]
    fn its_mean_over_flips_is_dpo_on_the_truth() {
        for wrong in [0.05, 0.2, 0.45] {
            let rdpo = policy("rdpo", &format!("{{\"label_smoothing\":{wrong}}}"));
            for margin in [-4.0, -0.1, 0.7, 6.0] {
                let (answers, _) = answers_of_margins(&[margin], 0.1);
                let flipped = |preference: &Preference, wrong: f64| {
                    let pair = Pair { label: Label::Prefer(1.0 - wrong), ..Pair::new(0, 1) };
                    step(preference, &answers, &[pair.into()])
                };
                let (noisy, clean) = (flipped(&rdpo, wrong), flipped(&policy("dpo", "{}"), 0.0));
                close(noisy.loss, clean.loss, 1e-12, "loss");
                close(noisy.by_logp[0], clean.by_logp[0], 1e-13, "pull");
            }
        }
    }

    /// What the specification warns of.
    #[test]
    fn it_is_unbounded_below() {
        let (answers, examples) = answers_of_margins(&[1e4], 0.1);
        let loss = step(&policy("rdpo", "{}"), &answers, &examples).loss;
        close(loss, -0.1 * 1e4 / 0.8, 1e-6, "−εh/(1−2ε)");
    }
}
