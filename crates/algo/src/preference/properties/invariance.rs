//! What must not matter.

use super::*;

fn moved(answers: &[Answer], by: impl Fn(usize, &mut Answer)) -> Vec<Answer> {
    let mut moved = answers.to_vec();
    moved.iter_mut().enumerate().for_each(|(row, answer)| by(row, answer));
    moved
}

/// A reference that moves with the policy changes nothing where the score is a log-ratio; elsewhere it does.
#[test]
fn policy_and_reference_together() {
    let answers = random_answers(9, 5);
    let shifted = moved(&answers, |row, answer| {
        answer.logp += 0.1 * (row * row) as f64;
        answer.reference += 0.1 * (row * row) as f64;
    });
    for preference in policies() {
        let examples = random_examples(&preference, 9, 5);
        let (before, after) = (step(&preference, &answers, &examples), step(&preference, &shifted, &examples));
        let invariant = preference.method().score.needs_reference();
        let same = (before.loss - after.loss).abs() < 1e-9 * (1.0 + before.loss.abs());
        assert_eq!(same, invariant, "{}: {} → {}", preference.method().name, before.loss, after.loss);
    }
}

/// A constant per prompt in both log-ratios is invisible to every loss of the margin; sides and single answers see it.
#[test]
fn a_constant_per_prompt() {
    let answers = random_answers(9, 6);
    let shifted = moved(&answers, |row, answer| answer.reference -= 0.3 * (row / 2) as f64);
    for preference in policies() {
        let method = preference.method();
        let margin = method.formula.takes_margin() && method.score == Score::LogRatio;
        let plain = preference.settings().f_divergence == Some(Divergence::ReverseKl);
        // Synthetic pairs of this test join rows of two prompts; ranks are those of all answers.
        if method.coupling == Coupling::SortedSides || preference.needs().synthetic_pairs.is_some() {
            continue;
        }
        let examples = random_examples(&preference, 9, 6);
        let (before, after) = (step(&preference, &answers, &examples), step(&preference, &shifted, &examples));
        let same = (before.loss - after.loss).abs() < 1e-9;
        if margin && plain {
            assert!(same, "{}", method.name);
        } else if method.score.needs_reference() {
            assert!(!same, "{}", method.name);
        }
    }
    // A reward model's constant shows only in the centring term.
    let rewards: Vec<f64> = answers.iter().map(|answer| answer.logp - answer.reference).collect();
    let more: Vec<f64> = rewards.iter().map(|reward| reward + 2.0).collect();
    for (json, same) in [("{}", true), (r#"{"center_rewards":0.01}"#, false)] {
        let model = reward("bradley_terry", json);
        let examples = random_examples(&model, 9, 6);
        let [before, after] = [&rewards, &more].map(|rewards| reward_step(&model, rewards, &examples).loss);
        assert_eq!((before - after).abs() < 1e-12, same, "{json}");
    }
}

/// "a over b with probability p" is "b over a with 1 − p".
#[test]
fn exchanging_sides_together_with_the_label() {
    let answers = random_answers(9, 7);
    for preference in policies() {
        let method = preference.method();
        if matches!(method.coupling, Coupling::Sorted | Coupling::SortedSides)
            || preference.number(Number::NllCoefficient).is_some_and(|coefficient| coefficient > 0.0)
        {
            continue; // they know pairs that were won only, or imitate the chosen
        }
        let examples = random_examples(&preference, 9, 7);
        let exchange = |example: &Example| match example {
            Example::Pair(pair) => Example::Pair(Pair {
                chosen: pair.rejected,
                rejected: pair.chosen,
                label: Label::Prefer(1.0 - pair.label.probability()),
                auxiliary: pair
                    .auxiliary
                    .clone()
                    .map(|auxiliary| Auxiliary { preference: 1.0 - auxiliary.preference, ..auxiliary }),
                ..pair.clone()
            }),
            other => other.clone(),
        };
        // A margin asks something of the winner, whoever it is; the M-estimator's is part of the comparison.
        let plain = |example: &Example| match example {
            Example::Pair(pair) => Example::Pair(Pair { margin: 0.0, ..pair.clone() }),
            other => other.clone(),
        };
        let examples: Vec<Example> = examples.iter().map(plain).collect();
        let exchanged: Vec<Example> = examples.iter().map(exchange).collect();
        let (before, after) = (step(&preference, &answers, &examples), step(&preference, &answers, &exchanged));
        close(before.loss, after.loss, 1e-12 * (1.0 + before.loss.abs()), method.name);
        for (before, after) in before.by_logp.iter().zip(&after.by_logp) {
            close(*before, *after, 1e-12 * (1.0 + before.abs()), method.name);
        }
    }
}

/// After `prepare`, a step may be cut anywhere: losses, slopes and metrics add up.
#[test]
fn micro_batches() {
    let answers = random_answers(9, 8);
    for preference in policies() {
        let examples = random_examples(&preference, 9, 8);
        let prepared = preference.prepare(&answers, &examples, &answers[..3], &PreferenceState::default(), 1.0);
        let whole = preference.loss(&answers, &examples, 0, &prepared);
        for cuts in [vec![0, 4, 9], vec![0, 1, 2, 8, 9], (0..10).collect()] {
            let (mut loss, mut by_logp) = (0.0, vec![0.0; answers.len()]);
            let mut metrics = PreferenceMetrics::default();
            for cut in cuts.windows(2) {
                let part = preference.loss(&answers, &examples[cut[0]..cut[1]], cut[0], &prepared);
                loss += part.loss;
                by_logp.iter_mut().zip(&part.by_logp).for_each(|(sum, slope)| *sum += slope);
                metrics.merge(&part.metrics);
            }
            close(loss, whole.loss, 1e-12 * (1.0 + loss.abs()), preference.method().name);
            for (sum, slope) in by_logp.iter().zip(&whole.by_logp) {
                close(*sum, *slope, 1e-12 * (1.0 + slope.abs()), preference.method().name);
            }
            for ((name, cut), (_, whole)) in metrics.finish().into_iter().zip(whole.metrics.finish()) {
                close(cut, whole, 1e-9 * (1.0 + whole.abs()), name);
            }
        }
    }
}

/// The control: preparing each micro-batch for itself gives another loss, for exactly the losses that say so.
#[test]
fn losses_of_the_whole_batch_say_so() {
    let answers = random_answers(9, 9);
    for preference in policies() {
        let examples = random_examples(&preference, 9, 9);
        let state = PreferenceState::default();
        let mismatched: Vec<Answer> = answers.iter().map(|a| Answer { logp: a.logp + 2.0, ..*a }).collect();
        let of = |range: std::ops::Range<usize>, mismatched: &[Answer]| {
            let rows = 2 * range.len();
            let answers = &answers[2 * range.start..2 * range.start + rows];
            let examples = &random_examples(&preference, 9, 9)[range.clone()];
            let local: Vec<Example> = examples
                .iter()
                .map(|example| match example {
                    Example::Pair(pair) => Example::Pair(Pair {
                        chosen: pair.chosen - 2 * range.start,
                        rejected: pair.rejected - 2 * range.start,
                        ..pair.clone()
                    }),
                    other => other.clone(),
                })
                .collect();
            let prepared = preference.prepare(answers, &local, mismatched, &state, 1.0);
            preference.loss(answers, &local, 0, &prepared).loss
        };
        if preference.needs().synthetic_pairs.is_some() {
            continue; // the synthetic pairs of this test join rows of different parts
        }
        let prepared = preference.prepare(&answers, &examples, &mismatched, &state, 1.0);
        let whole = preference.loss(&answers, &examples, 0, &prepared).loss;
        let parts = (4.0 * of(0..4, &mismatched[..4]) + 5.0 * of(4..9, &mismatched[4..])) / 9.0;
        // A fixed scale without trimming is known beforehand.
        let robust = preference.method().coupling == Coupling::Scale;
        let settings = preference.settings();
        let fixed = robust && settings.rho != Some(Rho::Trimmed) && settings.rho_mad == Some(0.0);
        let couples = preference.needs().whole_batch && !fixed;
        assert_eq!((whole - parts).abs() > 1e-9, couples, "{} {settings:?}", preference.method().name);
        assert_eq!(preference.method().coupling.why().is_some(), preference.method().coupling != Coupling::None);
    }
}

/// The order of a step's examples is no information.
#[test]
fn order() {
    let answers = random_answers(9, 10);
    for preference in policies() {
        let examples = random_examples(&preference, 9, 10);
        let mut turned = examples.clone();
        turned.rotate_left(4);
        let (before, after) = (step(&preference, &answers, &examples), step(&preference, &answers, &turned));
        close(before.loss, after.loss, 1e-12 * (1.0 + before.loss.abs()), preference.method().name);
    }
}

/// A pair of weight 0 is not there, but for the mean that it is counted in.
#[test]
fn weights() {
    let answers = random_answers(9, 11);
    for preference in policies() {
        if matches!(preference.method().coupling, Coupling::Sorted | Coupling::SortedSides) {
            continue;
        }
        let mut examples = random_examples(&preference, 9, 11);
        if let Example::Pair(pair) = &mut examples[3] {
            pair.weight = 0.0;
            pair.auxiliary = None;
        }
        if preference.needs().synthetic_pairs.is_none() {
            let output = step(&preference, &answers, &examples);
            assert_eq!(output.by_logp[6..8], [0.0, 0.0], "{}", preference.method().name);
        }
    }
}
