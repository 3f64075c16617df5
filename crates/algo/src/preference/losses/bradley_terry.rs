//! Bradley-Terry: the reward model.
//!
//! ```text
//! L = −ln σ(r_w − r_l − m)      soft label p:  −p·ln σ(d − m) − (1−p)·ln σ(−d − m),  d = r_w − r_l
//! Rao-Kupper:  P(w) = σ(d − η),  P(tie) = 1 − σ(d − η) − σ(−d − η)
//! Davidson:    P(w) = e^(d/2)/(e^(d/2) + e^(−d/2) + ν),  P(tie) = ν/(…)
//! ```
//! Bradley and Terry 1952; Ouyang et al. 2022, arXiv 2203.02155, eq. 1; margins: Touvron et al. 2023 (Llama 2), arXiv 2307.09288. Ties: Rao and
//! Kupper 1967, Davidson 1970.

use super::prelude::*;
use crate::methods::Source;
use crate::preference::choices::Ties;
use crate::preference::example::Label;
use crate::preference::formula::Compared;
use crate::preference::numeric::{sigmoid, softplus};

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "bradley_terry",
    title: "Bradley-Terry reward model",
    paper: "Bradley and Terry 1952; Ouyang et al. 2022, arXiv 2203.02155, eq. 1",
    equation: "L = −ln σ(r_w − r_l − m) + c·(r_w + r_l)²",
    when: "The reward model of classic RLHF.",
    differs: "Only differences are learned: `center_rewards` fixes their zero. Any other loss of a margin (`ramp`, `holder`, `m_estimator`, `vrpo`, …) trains a reward model too.",
    learns: Learns::Reward,
    score: Score::Reward,
    formula: Formula::Labelled(at),
    coupling: Coupling::None,
    unpaired: false,
    bounded: false,
    parameters: &[Parameter {
        number: Number::TieWidth,
        default: 0.5,
        range: Range::Above(0.0),
        source: "of the order of a margin that people notice; fit it on held-out ties",
    }],
    sources: &[Source { key: "ties", source: "TRL has no ties; ½ is its natural soft label" }],
    suggestions: &[Suggestion { key: "learning_rate", value: 1e-4, source: "TRL's RewardConfig" }],
    choice: Some(Choice::Ties),
};

fn at(compared: Compared, context: &Context<'_>) -> Point {
    let width = context.numbers.get(Number::TieWidth);
    match (context.choices.ties, width) {
        (Ties::RaoKupper, Some(width)) => rao_kupper(compared, width),
        (Ties::Davidson, Some(width)) => davidson(compared, width),
        _ => logistic(compared),
    }
}

/// A side without weight is not computed, so a margin of 1e4 costs no digits.
fn logistic(compared: Compared) -> Point {
    mixture(compared, |margin| Point { value: softplus(-margin), slope: -sigmoid(-margin) })
}

/// `p·f(d − m) + (1−p)·f(−d − m)`.
fn mixture(compared: Compared, won: impl Fn(f64) -> Point) -> Point {
    let probability = compared.label.probability();
    let [up, down] = [1.0, -1.0].map(|side| won(side * compared.difference - compared.margin));
    let mix = |up: f64, down: f64| match probability {
        1.0 => up,
        0.0 => down,
        _ => probability * up + (1.0 - probability) * down,
    };
    Point { value: mix(up.value, down.value), slope: mix(up.slope, -down.slope) }
}

/// `1 − σ(x − η) − σ(−x − η)` is `σ(x − η)·σ(−x − η)·(e^(2η) − 1)`, so its logarithm never cancels.
fn rao_kupper(compared: Compared, width: f64) -> Point {
    let wins = |margin: f64| Point { value: softplus(width - margin), slope: -sigmoid(width - margin) };
    if compared.label != Label::Tie {
        return mixture(compared, wins);
    }
    let (up, down) = (wins(compared.difference), wins(-compared.difference));
    Point { value: up.value + down.value - (2.0 * width).exp_m1().ln(), slope: up.slope - down.slope }
}

/// Both sides divided by the larger exponential.
fn davidson(compared: Compared, width: f64) -> Point {
    // ln(e^(x/2) + e^(−x/2) + ν) and its derivative.
    let total = |x: f64| {
        let (half, small) = (0.5 * x.abs(), (-x.abs()).exp());
        let sum = 1.0 + small + width * (-half).exp();
        Point { value: half + sum.ln(), slope: 0.5 * x.signum() * (1.0 - small) / sum }
    };
    if compared.label == Label::Tie {
        let all = total(compared.difference);
        return Point { value: all.value - width.ln(), slope: all.slope };
    }
    mixture(compared, |margin| {
        let all = total(margin);
        Point { value: all.value - 0.5 * margin, slope: all.slope - 0.5 }
    })
}

#[cfg(test)]
mod tests {
    use crate::preference::testing::*;
    use crate::preference::{Example, Label, Pair};
    use crate::testing::close;

    fn pairs() -> Vec<Example> {
        vec![Pair::new(0, 2).into(), Pair::new(1, 3).into()]
    }

    /// Specification C §1.1: r_w = 1.2, 0.3 and r_l = 0.4, 0.9.
    const REWARDS: [f64; 4] = [1.2, 0.3, 0.4, 0.9];

    #[test]
    fn goldens() {
        let plain = reward("bradley_terry", "{}");
        close(reward_step(&plain, &REWARDS, &pairs()).loss, 0.704294, 1e-6, "mean");
        let each = |pair: &Example| reward_step(&plain, &REWARDS, std::slice::from_ref(pair)).loss;
        close(each(&pairs()[0]), 0.371101, 1e-6, "first");
        close(each(&pairs()[1]), 1.037488, 1e-6, "second");
        let first = Pair { margin: 0.5, ..Pair::new(0, 2) };
        let with_margin = reward_step(&plain, &REWARDS, &[first.into(), Pair::new(1, 3).into()]);
        close(with_margin.loss, 0.795922, 1e-6, "margins");
        let centred = reward("bradley_terry", r#"{"center_rewards":0.01}"#);
        close(reward_step(&centred, &REWARDS, &pairs()).loss, 0.724294, 1e-6, "centred");
    }

    /// Specification B §1.13: five answers with confidences, pairs above the threshold, margins `e^(difference)`.
    #[test]
    fn goldens_of_self_feedback() {
        let rewards = [1.2, 0.3, 0.9, -0.4, 1.0];
        let margins = [1.733253, 1.030455, 2.339647, 1.682028, 2.270500, 1.733253, 1.030455, 2.339647];
        let rows = [(0, 1), (0, 2), (0, 3), (2, 1), (2, 3), (4, 1), (4, 2), (4, 3)];
        let examples = |on: bool| -> Vec<Example> {
            let pair = |((chosen, rejected), margin): ((usize, usize), f64)| {
                Pair { margin: if on { margin } else { 0.0 }, ..Pair::new(chosen, rejected) }.into()
            };
            rows.into_iter().zip(margins).map(pair).collect()
        };
        let loss = reward("bradley_terry", "{}");
        let plain = reward_step(&loss, &rewards, &examples(false));
        close(plain.loss, 0.378238, 1e-6, "no margin");
        close(reward_step(&loss, &rewards, &examples(true)).loss, 1.247924, 1e-6, "margins");
        let accuracy = plain.metrics.finish().into_iter().find(|(name, _)| *name == "rewards/accuracies");
        assert_eq!(accuracy, Some(("rewards/accuracies", 1.0)));
        let one = |on: bool| reward_step(&loss, &rewards, &examples(on)[..1]).loss;
        close(one(false), 0.341154, 1e-6, "single pair");
        close(one(true), 1.194162, 1e-6, "single pair with its margin");
    }

    /// A draw is no win.
    #[test]
    fn equal_rewards_count_as_wrong() {
        let output = reward_step(&reward("bradley_terry", "{}"), &[0.5, 0.5], &[Pair::new(0, 1).into()]);
        assert!(output.metrics.finish().contains(&("rewards/accuracies", 0.0)));
    }

    /// The three outcomes of both tie models have probabilities that add up to 1, and no tie where the width is 0.
    #[test]
    fn outcomes_add_up_and_slopes_are_differences() {
        for ties in ["rao_kupper", "davidson"] {
            for width in [0.1, 0.7, 2.0] {
                let model = reward("bradley_terry", &format!("{{\"ties\":\"{ties}\",\"tie_width\":{width}}}"));
                let loss = |difference: f64, label: Label| {
                    reward_step(&model, &[difference, 0.0], &[Pair { label, ..Pair::new(0, 1) }.into()])
                };
                for difference in [-3.0, 0.0, 0.4, 5.0] {
                    let labels = [Label::WON, Label::Prefer(0.0), Label::Tie];
                    let total: f64 = labels.into_iter().map(|label| (-loss(difference, label).loss).exp()).sum();
                    close(total, 1.0, 1e-12, ties);
                    for label in labels.into_iter().chain([Label::Prefer(0.3)]) {
                        let around = loss(difference + 1e-6, label).loss - loss(difference - 1e-6, label).loss;
                        close(loss(difference, label).by_reward[0], around / 2e-6, 1e-8, ties);
                    }
                }
                for label in [Label::WON, Label::Tie] {
                    assert!(loss(1e4, label).loss.is_finite() && loss(-1e4, label).by_reward[0].is_finite());
                }
            }
        }
        let half = reward("bradley_terry", "{}");
        let tie = reward_step(&half, &[0.0, 0.0], &[Pair { label: Label::Tie, ..Pair::new(0, 1) }.into()]);
        close(tie.loss, 2f64.ln(), 1e-15, "a soft label of ½");
    }
}
