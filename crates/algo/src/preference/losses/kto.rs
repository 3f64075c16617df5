//! KTO: gains and losses against what the policy likes anyway.
//!
//! ```text
//! z₀ = max(0, mean log-ratio of answers to other prompts), held
//! desirable:   L = λ_D·(1 − σ(β(l − z₀)))      undesirable:   L = λ_U·(1 − σ(β(z₀ − l)))
//! ```
//! Ethayarajh et al. 2024, arXiv 2402.01306 z₀ is made of mismatched answers of the whole batch: `prepare` takes them.

use super::prelude::*;
use crate::preference::numeric::sigmoid;

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "kto",
    title: "KTO (Kahneman-Tversky optimisation)",
    paper: "Ethayarajh et al. 2024, arXiv 2402.01306",
    equation: "z₀ = max(0, mean_mismatched(logp − ref)), held\n\
               L = λ_D·σ(−β(l − z₀))  for desirable,   λ_U·σ(−β(z₀ − l))  for undesirable answers",
    when: "Thumbs up and down without pairs. Keep λ_D·n_D/(λ_U·n_U) between 1 and 4/3.",
    differs: "Needs no pairs, but answers scored under other prompts; the sigmoid makes it let go of answers that are far on the wrong side.",
    learns: Learns::Policy,
    score: Score::LogRatio,
    formula: Formula::Each(at),
    coupling: Coupling::MismatchedKl,
    unpaired: true,
    bounded: false,
    parameters: &[
        Parameter { number: Number::Beta, default: 0.1, range: Range::Above(0.0), source: "arXiv 2402.01306; TRL" },
        Parameter {
            number: Number::DesirableWeight,
            default: 1.0,
            range: Range::AtLeast(0.0),
            source: "arXiv 2402.01306; TRL",
        },
        Parameter {
            number: Number::UndesirableWeight,
            default: 1.0,
            range: Range::AtLeast(0.0),
            source: "arXiv 2402.01306; TRL",
        },
    ],
    sources: &[],
    suggestions: &[Suggestion { key: "learning_rate", value: 5e-7, source: "arXiv 2402.01306; TRL warns above 1e-6" }],
    choice: None,
};

fn at(reward: f64, desirable: bool, context: &Context<'_>) -> Point {
    let above = reward - context.baseline;
    let flat = sigmoid(above) * sigmoid(-above);
    if desirable {
        let weight = context.at(Number::DesirableWeight);
        Point { value: weight * sigmoid(-above), slope: -weight * flat }
    } else {
        let weight = context.at(Number::UndesirableWeight);
        Point { value: weight * sigmoid(above), slope: weight * flat }
    }
}

#[cfg(test)]
mod tests {
    use crate::preference::testing::*;
    use crate::preference::{Answer, Example, Pair, PreferenceState, Single};
    use crate::testing::close;

    /// z₀ = 0.3 from mismatched log-ratios 0.5 and 0.1; both rows of the golden pair, alone and together.
    #[test]
    fn goldens() {
        let kto = policy("kto", "{}");
        let mismatched = [Answer::new(-9.5, -10.0, 4), Answer::new(-9.9, -10.0, 4)];
        let single = |row, label| Example::Single(Single { row, label, weight: 1.0 });
        let loss = |examples: &[Example]| {
            let prepared = kto.prepare(&golden_pair(), examples, &mismatched, &PreferenceState::default(), 0.0);
            kto.loss(&golden_pair(), examples, 0, &prepared).loss
        };
        close(loss(&[single(0, 1.0)]), 0.470036, 1e-6, "desirable");
        close(loss(&[single(1, 0.0)]), 0.480011, 1e-6, "undesirable");
        close(loss(&[single(0, 1.0), single(1, 0.0)]), 0.475023, 1e-6, "mean");
        close(loss(&[Pair::new(0, 1).into()]), 0.475023, 1e-6, "a pair is two answers");
    }

    /// `max(0, …)`: a policy that dislikes everything has its zero at the reference.
    #[test]
    fn the_zero_is_never_negative() {
        let kto = policy("kto", "{}");
        let examples = [Pair::new(0, 1).into()];
        let loss = |ratio: f64| {
            let mismatched = [Answer::new(ratio - 10.0, -10.0, 4)];
            let prepared = kto.prepare(&golden_pair(), &examples, &mismatched, &PreferenceState::default(), 0.0);
            kto.loss(&golden_pair(), &examples, 0, &prepared).loss
        };
        assert_eq!(loss(-5.0), loss(0.0));
        assert!(loss(5.0) != loss(0.0));
    }
}
