//! Pointwise BCE: a reward model of single judgements.
//!
//! ```text
//! L = −y·ln σ(r) − (1−y)·ln σ(−r)
//! ```
//! The cross-entropy of a thumb up (RLUF: Wang et al. 2025 train P[Love] so). y may be soft; a pair counts as two judgements.

use super::prelude::*;
use crate::preference::numeric::{sigmoid, softplus};

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "reward_bce",
    title: "Pointwise reward model (binary cross-entropy)",
    paper: "cross-entropy of a Bernoulli label",
    equation: "L = −y·ln σ(r) − (1−y)·ln σ(−r)",
    when: "Thumbs, stars or clicks on single answers, with a zero that means something.",
    differs: "The reward is a logit: σ(r) is a calibrated probability where `bradley_terry` only knows differences.",
    learns: Learns::Reward,
    score: Score::Reward,
    formula: Formula::Each(at),
    coupling: Coupling::None,
    unpaired: true,
    bounded: false,
    parameters: &[],
    sources: &[],
    suggestions: &[Suggestion { key: "learning_rate", value: 1e-4, source: "TRL's RewardConfig" }],
    choice: None,
};

fn at(reward: f64, desirable: bool, _: &Context<'_>) -> Point {
    if desirable {
        Point { value: softplus(-reward), slope: -sigmoid(-reward) }
    } else {
        Point { value: softplus(reward), slope: sigmoid(reward) }
    }
}

#[cfg(test)]
mod tests {
    use crate::preference::testing::*;
    use crate::preference::{Example, Single};
    use crate::testing::close;

    /// r = 1.2 liked, −0.4 disliked, 0.3 liked by 70 %.
    #[test]
    fn hand_computed() {
        let single = |row, label| Example::Single(Single { row, label, weight: 1.0 });
        let examples = [single(0, 1.0), single(1, 0.0), single(2, 0.7)];
        let output = reward_step(&reward("reward_bce", "{}"), &[1.2, -0.4, 0.3], &examples);
        close(output.loss, (0.263282 + 0.513015 + 0.7 * 0.554355 + 0.3 * 0.854355) / 3.0, 1e-6, "loss");
        close(output.by_reward[2], (0.574443 - 0.7) / 3.0, 1e-6, "σ(r) − y");
    }
}
