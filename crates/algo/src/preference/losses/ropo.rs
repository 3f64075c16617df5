//! ROPO: DPO with a second term that takes back what noisy pairs pull.
//!
//! ```text
//! L = c·[ ℓ(h) + α·σ(−h) ],   c = 4α/(1+α)²,   dL/dh = −c·σ(−h)(1 + α·σ(h))
//! ```
//! Liang et al. 2024, arXiv 2404.04102 The factor c makes the largest pull exactly 1, at σ(h) = (α−1)/(2α).

use super::prelude::*;
use crate::preference::numeric::{sigmoid, softplus};

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "ropo",
    title: "ROPO (robust preference optimisation)",
    paper: "Liang et al. 2024, arXiv 2404.04102, eq. 6",
    equation: "c = 4α/(1+α)²\n\
               L = c·( −ln σ(h) + α·σ(−h) )",
    when: "Noisy labels at an unknown rate.",
    differs: "The pull is largest for uncertain pairs and falls on both sides, but a strongly contradicted pair keeps c of it: it is damped, not dropped.",
    learns: Learns::Either,
    score: Score::LogRatio,
    formula: Formula::Margin(at),
    coupling: Coupling::None,
    unpaired: false,
    bounded: false,
    parameters: &[
        BETA_OF_DPO,
        Parameter {
            number: Number::RopoAlpha,
            default: 14.0,
            range: Range::Above(2.0),
            source: "arXiv 2404.04102: 14 of {6, 14, 30}",
        },
    ],
    sources: &[],
    suggestions: &[RATE_OF_DPO],
    choice: None,
};

fn at(margin: f64, context: &Context<'_>) -> Point {
    let alpha = context.at(Number::RopoAlpha);
    let scale = 4.0 * alpha / (1.0 + alpha).powi(2);
    let (won, lost) = (sigmoid(margin), sigmoid(-margin));
    Point { value: scale * (softplus(-margin) + alpha * lost), slope: -scale * lost * (1.0 + alpha * won) }
}

#[cfg(test)]
mod tests {
    use crate::preference::testing::*;
    use crate::testing::close;

    #[test]
    fn goldens() {
        golden("ropo", "{}", 1.717449);
        pulls("ropo", "{}", [0.394501, 0.995556, 0.169219]);
    }

    /// The largest pull is 1, where σ(h) = (α−1)/(2α).
    #[test]
    fn the_largest_pull_is_1() {
        for alpha in [6.0, 14.0, 30.0] {
            let ropo = policy("ropo", &format!("{{\"ropo_alpha\":{alpha}}}"));
            let won: f64 = (alpha - 1.0) / (2.0 * alpha);
            let at = (won / (1.0 - won)).ln();
            close(pull(&ropo, at), 1.0, 1e-12, "largest");
            assert!(pull(&ropo, at - 0.2) < 1.0 && pull(&ropo, at + 0.2) < 1.0);
        }
    }
}
