//! BCO: a classifier of answers, whose logit is the reward less the mean reward.
//!
//! ```text
//! L = ℓ(r_w − δ) + ℓ(−(r_l − δ)),   r = β(logp − ref),   δ = mean of all rewards so far
//! ```
//! Jung et al. 2024, arXiv 2404.04656; δ = 0 is TRL's `bco_pair`. Single answers give one of the two terms.

use super::prelude::*;
use crate::methods::Source;
use crate::preference::numeric::{sigmoid, softplus};

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "bco",
    title: "BCO (binary classifier optimisation)",
    paper: "Jung et al. 2024, arXiv 2404.04656",
    equation: "r = β·(logp − ref),   δ = running mean of r\n\
               L = −ln σ(r_w − δ) − ln σ(−(r_l − δ))",
    when: "Thumbs up and down, or pairs whose sides come from different prompts.",
    differs: "Each answer is judged alone, against the mean; δ is updated once per step and belongs to the run state.",
    learns: Learns::Policy,
    score: Score::LogRatio,
    formula: Formula::Sides(at),
    coupling: Coupling::MeanReward,
    unpaired: true,
    bounded: false,
    parameters: &[Parameter {
        number: Number::Beta,
        default: 0.1,
        range: Range::Above(0.0),
        source: "TRL; arXiv 2404.04656 has 0.1",
    }],
    sources: &[Source { key: "bco_shift", source: "arXiv 2404.04656; TRL's `bco_pair` has none" }],
    suggestions: &[RATE_OF_DPO],
    choice: Some(Choice::Shift),
};

fn at(reward: f64, desirable: bool, context: &Context<'_>) -> Point {
    let above = reward - context.baseline;
    if desirable {
        Point { value: softplus(-above), slope: -sigmoid(-above) }
    } else {
        Point { value: softplus(above), slope: sigmoid(above) }
    }
}

#[cfg(test)]
mod tests {
    use crate::preference::numeric::softplus;
    use crate::preference::testing::*;
    use crate::preference::{Answer, Example, Pair, PreferenceState, Single};
    use crate::testing::close;

    #[test]
    fn goldens() {
        golden("bco", r#"{"bco_shift":"off"}"#, 1.289417);
    }

    /// δ is the mean of all rewards that were seen, this step's among them: (0.15 − 0.05)/2 = 0.05, then with 0.3 and 0.1
    /// (0.1 + 0.4)/4 = 0.125.
    #[test]
    fn the_shift_is_a_running_mean() {
        let bco = policy("bco", "{}");
        let examples = [Pair::new(0, 1).into()];
        let first = bco.prepare(&golden_pair(), &examples, &[], &PreferenceState::default(), 0.0);
        close(first.next.reward_mean, 0.05, 1e-12, "first step");
        let expected = softplus(-0.1) + softplus(-0.1);
        close(bco.loss(&golden_pair(), &examples, 0, &first).loss, expected, 1e-12, "loss");
        let more = [Answer::new(-7.0, -10.0, 5), Answer::new(-9.0, -10.0, 5)];
        let second = bco.prepare(&more, &examples, &[], &first.next, 0.0);
        close(second.next.reward_mean, 0.125, 1e-12, "second step");
        assert_eq!(second.next.rewards, 4.0);
    }

    #[test]
    fn single_answers_are_the_terms_of_a_pair() {
        let bco = policy("bco", r#"{"bco_shift":"off"}"#);
        let single = |row, label| Example::Single(Single { row, label, weight: 1.0 });
        let singles = step(&bco, &golden_pair(), &[single(0, 1.0), single(1, 0.0)]);
        close(2.0 * singles.loss, 1.289417, 1e-6, "mean of the two terms");
    }
}
