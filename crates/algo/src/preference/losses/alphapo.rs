//! AlphaPO: SimPO with a curved reward.
//!
//! ```text
//! r = (1 − p^(−α))/α,   p = exp(logp/n),   L = −ln σ( β(r_w − r_l) − γ )
//! ```
//! Gupta et al. 2025, arXiv 2501.03884 α → 0 is SimPO.

use super::prelude::*;

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "alphapo",
    title: "AlphaPO",
    paper: "Gupta et al. 2025, arXiv 2501.03884",
    equation: "r = (1 − exp(−α·logp/n))/α\n\
               L = −ln σ( β·(r_w − r_l) − γ )",
    when: "SimPO, where the probability of chosen answers falls too far.",
    differs: "α bends the reward: positive values pull hardest on unlikely answers.",
    learns: Learns::Policy,
    score: Score::AlphaReward,
    formula: Formula::Margin(super::simpo::at),
    coupling: Coupling::None,
    unpaired: false,
    bounded: false,
    parameters: &[
        Parameter {
            number: Number::Beta,
            default: 2.5,
            range: Range::Above(0.0),
            source: "arXiv 2501.03884.5 for Llama 3 8B",
        },
        Parameter { number: Number::SimpoGamma, default: 1.0, range: Range::AtLeast(0.0), source: "as SimPO" },
        Parameter {
            number: Number::AlphapoAlpha,
            default: 0.25,
            range: Range::Not(0.0),
            source: "arXiv 2501.03884 has small positive values",
        },
    ],
    sources: &[],
    suggestions: &[Suggestion { key: "learning_rate", value: 7e-7, source: "arXiv 2501.03884 the order of SimPO's" }],
    choice: None,
};

#[cfg(test)]
mod tests {
    use crate::preference::testing::*;
    use crate::preference::{Answer, Pair};
    use crate::testing::close;

    /// p_w = e^−0.8, p_l = e^−1.4, α = 0.25: r = −0.885611 and −1.676270; 2·0.790659 − 1 = 0.581318.
    #[test]
    fn hand_computed() {
        let answers = [Answer::new(-8.0, 0.0, 10), Answer::new(-7.0, 0.0, 5)];
        let loss = |json: &str| step(&policy("alphapo", json), &answers, &[Pair::new(0, 1).into()]).loss;
        close(loss(r#"{"beta":2}"#), 0.444148, 1e-6, "loss");
        close(loss(r#"{"beta":2,"alphapo_alpha":1e-7}"#), 0.598139, 1e-6, "α → 0 is SimPO");
    }
}
