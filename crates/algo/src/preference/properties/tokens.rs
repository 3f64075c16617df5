//! From tokens to answers and back.

use lapidary_core::{Ragged, TokenStats};

use super::*;

/// Two pairs: prompt tokens masked, answers of 3 and 2, 2 and 4 tokens.
fn batch() -> (Ragged<bool>, Ragged<f32>, Ragged<f32>) {
    let mask: Ragged<bool> = [(2, 3), (2, 2), (1, 2), (1, 4)]
        .into_iter()
        .map(|(prompt, answer)| (0..prompt + answer).map(|t| t >= prompt).collect::<Vec<_>>())
        .collect();
    let numbers = |purpose: u64| {
        let mut out = mask.like(0.0_f32);
        for (index, value) in out.flat_mut().iter_mut().enumerate() {
            *value = -0.2 - Key::new(purpose, Purpose::Bootstrap).at(index as u64).uniform() as f32;
        }
        out
    };
    let (logp, reference) = (numbers(1), numbers(2));
    (mask, logp, reference)
}

fn examples() -> Vec<Example> {
    vec![Pair::new(0, 1).into(), Pair::new(2, 3).into()]
}

fn token_loss(preference: &Preference, logp: &Ragged<f32>) -> PreferenceTokenOutput {
    let (mask, _, reference) = batch();
    let examples = examples();
    let batch = PreferenceBatch { mask: &mask, logp_reference: Some(&reference), examples: &examples, from: 0 };
    let mut top = mask.like(0.9_f32);
    top.row_mut(0)[3] = 0.5;
    let stats = TokenStats { logp: logp.clone(), top: Some([top, mask.like(0.05)]), ..TokenStats::default() };
    let answers = preference.answers(&batch, logp).unwrap();
    let prepared = preference.prepare(&answers, &examples, &[], &PreferenceState::default(), 1.0);
    preference.token_loss(&batch, &stats, &prepared).unwrap()
}

/// Token slopes are differences of the loss by each token; prompt tokens have none.
#[test]
fn slopes_are_differences() {
    let settings = [
        ("dpo", "{}"),
        ("dpo", r#"{"ld_alpha":0.3,"nll_coefficient":0.5}"#),
        ("nca", r#"{"ld_alpha":0}"#),
        ("ipo", "{}"),
        ("orpo", "{}"),
        ("alphapo", "{}"),
        ("apo_down", r#"{"nll_coefficient":1}"#),
    ];
    for (name, json) in settings {
        let preference = policy(name, json);
        let (mask, logp, _) = batch();
        let output = token_loss(&preference, &logp);
        for row in 0..mask.rows() {
            for token in 0..mask.len_of(row) {
                let step = 2f32.powi(-7);
                let at = |step: f32| {
                    let mut moved = logp.clone();
                    moved.row_mut(row)[token] += step;
                    token_loss(&preference, &moved).loss
                };
                let slope = f64::from(output.grads.logp.row(row)[token]);
                if mask.row(row)[token] {
                    let difference = (at(step) - at(-step)) / (2.0 * f64::from(step));
                    close(slope, difference, 2e-4 * (1.0 + slope.abs()), &format!("{name} {json} {row} {token}"));
                } else {
                    assert_eq!((slope, at(step)), (0.0, output.loss), "a prompt token");
                }
            }
        }
    }
}

/// LD-DPO: the third token of the first answer and the last two of the fourth have no partner.
#[test]
fn tokens_beyond_the_shorter_answer_count_less() {
    let (_, logp, _) = batch();
    let slopes = |json: &str| token_loss(&policy("dpo", json), &logp).grads.logp;
    let (plain, desensitised) = (slopes("{}"), slopes(r#"{"ld_alpha":0.25}"#));
    assert!(plain.row(0)[2] == plain.row(0)[4]);
    close(f64::from(desensitised.row(0)[4]), 0.25 * f64::from(desensitised.row(0)[2]), 1e-9, "tail of the chosen");
    close(f64::from(desensitised.row(3)[4]), 0.25 * f64::from(desensitised.row(3)[1]), 1e-9, "tail of the rejected");
    assert!(desensitised.row(1)[2] == desensitised.row(1)[3], "the shorter answer has no tail");
}

/// WPO: the weight of a pair is that of both answers, at most 1, and held.
#[test]
fn pairs_are_weighted_by_how_likely_the_policy_is_to_write_them() {
    // Means −0.3 and −0.5 without alignment; probabilities relative to the best token with it.
    close(wpo_log_weight(&[-0.2, -0.4], None), -0.3, 1e-15, "plain");
    close(wpo_log_weight(&[-0.2, -0.4], Some(&[-0.1, -0.4])), -0.05, 1e-15, "greedy");
    // Sampled alignment divides by Σ π²: (0.6·0.3)/(0.46·0.46) for two tokens of π = (0.6, 0.3, 0.1).
    let aligned = wpo_log_weight(&[0.6f64.ln(), 0.3f64.ln()], Some(&[0.46f64.ln(); 2]));
    close(aligned, 0.5 * (0.18f64 / 0.2116).ln(), 1e-12, "sampled");

    let (mask, logp, _) = batch();
    let mean = |row: usize, greedy: bool| {
        let places = (0..mask.len_of(row)).filter(|&t| mask.row(row)[t]);
        let top = |t: usize| if row == 0 && t == 3 { 0.5f64 } else { f64::from(0.9_f32) };
        let align = |t: usize| if greedy { top(t).ln() } else { 0.0 };
        let values: Vec<f64> = places.map(|t| f64::from(logp.row(row)[t]) - align(t)).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    for (json, greedy) in [(r#"{"weighting":"wpo_plain"}"#, false), (r#"{"weighting":"wpo_greedy"}"#, true)] {
        let weighted = token_loss(&policy("dpo", json), &logp);
        let plain = token_loss(&policy("dpo", "{}"), &logp);
        let weights = [(0, 1), (2, 3)].map(|(a, b)| (mean(a, greedy) + mean(b, greedy)).exp().min(1.0));
        for (row, weight) in [(0, weights[0]), (3, weights[1])] {
            let last = mask.len_of(row) - 1;
            let ratio = f64::from(weighted.grads.logp.row(row)[last]) / f64::from(plain.grads.logp.row(row)[last]);
            close(ratio, weight, 1e-6, json);
        }
        let reported = weighted.metrics.finish().into_iter().find(|(name, _)| *name == "wpo/weight").unwrap().1;
        close(reported, (weights[0] + weights[1]) / 2.0, 1e-12, "metric");
    }
    assert!(policy("dpo", r#"{"weighting":"wpo_greedy"}"#).needs().top);
}

/// A number that is not finite is named with its place; at masked tokens nobody looks.
#[test]
fn broken_numbers_are_named() {
    let (mask, mut logp, reference) = batch();
    let examples = examples();
    let batch = PreferenceBatch { mask: &mask, logp_reference: Some(&reference), examples: &examples, from: 0 };
    let dpo = policy("dpo", "{}");
    logp.row_mut(1)[0] = f32::NAN;
    assert!(dpo.answers(&batch, &logp).is_ok());
    logp.row_mut(1)[3] = f32::NEG_INFINITY;
    let problem = dpo.answers(&batch, &logp).unwrap_err();
    assert!(problem.to_string().contains("the log-probability of token 3 in row 1 is -inf"), "{problem}");
    let model = reward("bradley_terry", "{}");
    let prepared = model.prepare_rewards(&[0.0; 4], &examples, &PreferenceState::default(), 0.0);
    let problem = model.reward_loss(&[0.0, 1.0, f32::NAN, 0.0], &examples, 0, &prepared).unwrap_err();
    assert!(problem.to_string().contains("the reward of row 2 is NaN"), "{problem}");
    let output = model.reward_loss(&[0.0, 1.0, 2.0, 0.0], &examples, 0, &prepared).unwrap();
    let grads = output.grads(&logp);
    assert_eq!(grads.reward.unwrap().len(), 4);
    assert!(grads.logp.flat().iter().all(|slope| *slope == 0.0));
}

/// Pairs that teach nothing, whatever the weights.
#[test]
fn useless_pairs() {
    assert_eq!(useless(&[], &[1]), Some(Useless::Empty));
    assert_eq!(useless(&[1, 2], &[1, 2]), Some(Useless::Same));
    assert_eq!(useless(&[1, 2], &[1, 3]), None);
}
