//! Closed-form derivatives against finite differences.

use super::*;

/// What the batch's statistics are: part of the function, or held by a stop-gradient.
fn holds(preference: &Preference) -> bool {
    !matches!(preference.method().coupling, Coupling::SoftMin | Coupling::SortedSides)
}

#[test]
fn by_log_probabilities() {
    for preference in policies() {
        for seed in 0..4 {
            let answers = random_answers(9, seed);
            let examples = random_examples(&preference, 9, seed);
            check_differences(&preference, &answers, &examples, holds(&preference));
        }
    }
}

#[test]
fn by_rewards() {
    for preference in reward_models() {
        for seed in 0..4 {
            let rewards: Vec<f64> =
                random_answers(9, seed).iter().map(|answer| answer.logp - answer.reference).collect();
            let examples = random_examples(&preference, 9, seed);
            let output = reward_step(&preference, &rewards, &examples);
            let at_rest = preference.prepare_rewards(&rewards, &examples, &PreferenceState::default(), 1.0);
            for row in 0..rewards.len() {
                let [up, down] = [1e-5, -1e-5].map(|length| {
                    let mut moved = rewards.clone();
                    moved[row] += length;
                    match holds(&preference) {
                        true => preference.loss_of_rewards(&moved, &examples, 0, &at_rest).loss,
                        false => reward_step(&preference, &moved, &examples).loss,
                    }
                });
                let slope = output.by_reward[row];
                let what = format!("{} by row {row}", preference.method().name);
                close(slope, (up - down) / 2e-5, 2e-8 * (1.0 + slope.abs()), &what);
            }
        }
    }
}

/// Single answers, for the losses that take them.
#[test]
fn of_single_answers() {
    for preference in policies().into_iter().filter(|preference| preference.needs().unpaired) {
        let answers = random_answers(5, 3);
        let examples: Vec<Example> = (0..10)
            .map(|row| Example::Single(Single { row, label: [1.0, 0.0, 0.6][row % 3], weight: 1.0 + row as f64 / 9.0 }))
            .collect();
        check_differences(&preference, &answers, &examples, holds(&preference));
    }
}
