//! The golden pair of the specification, and finite differences, for the tests of preference losses.

use super::*;
use crate::testing::close;

/// The loss of that name for a policy, with settings as a recipe's JSON.
#[track_caller]
pub(crate) fn policy(name: &str, json: &str) -> Preference {
    let overrides = serde_json::from_str(json).unwrap();
    preference_loss(name).unwrap().policy(&overrides).unwrap_or_else(|invalid| panic!("{name} {json}: {invalid}"))
}

/// The same for a reward model.
#[track_caller]
pub(crate) fn reward(name: &str, json: &str) -> Preference {
    let overrides = serde_json::from_str(json).unwrap();
    preference_loss(name).unwrap().reward(&overrides).unwrap_or_else(|invalid| panic!("{name} {json}: {invalid}"))
}

/// The specification's point: log-ratios 1.5 (10 tokens) and −0.5 (8 tokens), so Δ = 2.
pub(crate) fn golden_pair() -> [Answer; 2] {
    [Answer::new(-10.0, -11.5, 10), Answer::new(-9.0, -8.5, 8)]
}

/// The whole step's loss and derivatives in one micro-batch.
pub(crate) fn step(preference: &Preference, answers: &[Answer], examples: &[Example]) -> PreferenceOutput {
    let prepared = preference.prepare(answers, examples, &[], &PreferenceState::default(), 1.0);
    preference.loss(answers, examples, 0, &prepared)
}

/// The same for rewards.
pub(crate) fn reward_step(preference: &Preference, rewards: &[f64], examples: &[Example]) -> RewardOutput {
    let prepared = preference.prepare_rewards(rewards, examples, &PreferenceState::default(), 1.0);
    preference.loss_of_rewards(rewards, examples, 0, &prepared)
}

/// The loss at the golden pair.
#[track_caller]
pub(crate) fn golden(name: &str, json: &str, expected: f64) {
    let loss = step(&policy(name, json), &golden_pair(), &[Pair::new(0, 1).into()]).loss;
    close(loss, expected, 1e-6, &format!("{name} {json}"));
}

/// Answers `2i`, `2i + 1` whose rewards differ by `margins[i]`, half of it on either side, under a β of `beta`.
pub(crate) fn answers_of_margins(margins: &[f64], beta: f64) -> (Vec<Answer>, Vec<Example>) {
    let half = |margin: f64| 0.5 * margin / beta;
    let answers = margins.iter().flat_map(|&margin| [half(margin), -half(margin)]).map(|ratio| Answer {
        logp: ratio - 20.0,
        reference: -20.0,
        tokens: 10.0,
        mean: (ratio - 20.0) / 10.0,
    });
    let pairs = (0..margins.len()).map(|index| Pair::new(2 * index, 2 * index + 1).into());
    (answers.collect(), pairs.collect())
}

/// `−∂L/∂h` of a single pair at the margin `h`: how strongly it pulls its answers apart.
#[track_caller]
pub(crate) fn pull(preference: &Preference, margin: f64) -> f64 {
    let beta = preference.number(Number::Beta).unwrap();
    let (answers, examples) = answers_of_margins(&[margin], beta);
    let output = step(preference, &answers, &examples);
    (output.by_logp[1] - output.by_logp[0]) / (2.0 * beta)
}

/// Asserts what a loss pulls with at margins −3, 0 and 3.
#[track_caller]
pub(crate) fn pulls(name: &str, json: &str, expected: [f64; 3]) {
    for (margin, expected) in [-3.0, 0.0, 3.0].into_iter().zip(expected) {
        close(pull(&policy(name, json), margin), expected, 1e-6, &format!("{name} {json} at {margin}"));
    }
}

/// Central differences by each log-probability, statistics of the batch made anew each time, against the closed form.
#[track_caller]
pub(crate) fn check_differences(preference: &Preference, answers: &[Answer], examples: &[Example], held: bool) {
    let output = step(preference, answers, examples);
    let at_rest = preference.prepare(answers, examples, &[], &PreferenceState::default(), 1.0);
    for row in 0..answers.len() {
        let length = 1e-5;
        let [up, down] = [length, -length].map(|length| {
            let mut moved = answers.to_vec();
            moved[row].logp += length;
            moved[row].mean += length / moved[row].tokens;
            let prepared = match held {
                true => at_rest.clone(),
                false => preference.prepare(&moved, examples, &[], &PreferenceState::default(), 1.0),
            };
            preference.loss(&moved, examples, 0, &prepared).loss
        });
        let slope = output.by_logp[row] + output.by_mean[row] / answers[row].tokens;
        let what = format!("{} by row {row}", preference.method().name);
        close(slope, (up - down) / (2.0 * length), 2e-8 * (1.0 + slope.abs()), &what);
    }
}
