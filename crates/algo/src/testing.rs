//! Fixtures F1 and F2 of the specification, their golden numbers, and finite differences, for the tests of this crate.

use lapidary_core::Ragged;
use serde_json::Value;

use crate::Kl;
use crate::aggregate::Normaliser;
use crate::estimators::{Rows, TokenRow, Values};
use crate::loss::{Row, RowOutput};
use crate::objective::Objective;

/// Two prompts' answers with everything known about them. Rows hold trained tokens only; F2 has an environment token
/// with a ratio of e⁶ in the middle of its second answer.
pub(crate) struct Fixture {
    pub golden: Value,
    pub rewards: Vec<Option<f64>>,
    pub mask: Ragged<bool>,
    pub rows: Vec<Row>,
}

/// A JSON list of numbers.
pub(crate) fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// A JSON list of lists of numbers.
pub(crate) fn float_rows(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(floats).collect()
}

/// The values at which `mask` is true.
pub(crate) fn trained(values: &[f64], mask: &[bool]) -> Vec<f64> {
    values.iter().zip(mask).filter(|(_, on)| **on).map(|(value, _)| *value).collect()
}

pub(crate) fn fixtures() -> [Fixture; 2] {
    let all: Value = serde_json::from_str(include_str!("../tests/fixtures/losses.json")).unwrap();
    ["F1", "F2"].map(|name| {
        let golden = all[name].clone();
        let mask: Ragged<bool> = golden["mask"].as_array().unwrap().iter().map(bools).collect();
        let part = |key: &str, row: usize| trained(&float_rows(&golden[key])[row], mask.row(row));
        let rows = (0..mask.rows())
            .map(|row| Row {
                logp: part("logp", row),
                old: Some(part("old", row)),
                rollout: Some(part("rollout", row)),
                reference: Some(part("reference", row)),
                entropy: Some(part("entropy", row)),
                ..Row::default()
            })
            .collect();
        let rewards = floats(&golden["rewards"]).into_iter().map(Some).collect();
        Fixture { golden, rewards, mask, rows }
    })
}

fn bools(value: &Value) -> Vec<bool> {
    value.as_array().unwrap().iter().map(|flag| flag.as_bool().unwrap()).collect()
}

impl Fixture {
    /// What the estimators see: one group, the old policy's entropies, and the KL of `kl` in the reward. Rows have no
    /// prompt, so a place is an index of the row.
    pub fn experience(&self, kl: &Kl) -> Rows {
        let penalty = |row: &Row| -> Vec<f64> {
            let pairs = row.old.iter().flatten().zip(row.reference.iter().flatten());
            pairs.map(|(old, reference)| kl.in_reward() * kl.estimator.at(*old, *reference).0).collect()
        };
        let tokens = self.rows.iter().enumerate().map(|(index, row)| TokenRow {
            places: (0..self.mask.len_of(index)).filter(|&token| self.mask.row(index)[token]).collect(),
            kl_penalty: if kl.in_reward() == 0.0 { Vec::new() } else { penalty(row) },
            entropy: row.entropy.clone().unwrap(),
            value: row.entropy.iter().flatten().map(|entropy| 0.5 - 0.3 * entropy).collect(),
        });
        Rows {
            verdicts: self.rewards.clone(),
            rewards: self.rewards.clone(),
            groups: vec![0; self.rewards.len()],
            tokens: tokens.collect(),
        }
    }

    /// The rows with the objective's advantages (one group), the correction's weights and made-up values, and the step's
    /// normaliser for answers of at most 8 tokens.
    pub fn prepare(&self, objective: &Objective) -> (Vec<Row>, Normaliser) {
        let estimate = objective.advantage.estimate(&self.experience(&objective.kl));
        let mut rows = self.rows.clone();
        let mut remaining = self.mask.clone();
        for (index, row) in rows.iter_mut().enumerate() {
            row.advantage = estimate.row(index, row.logp.len());
            if objective.off_policy.weighs() {
                let log_ratios: Vec<f64> = row
                    .old
                    .iter()
                    .flatten()
                    .zip(row.rollout.iter().flatten())
                    .map(|(old, rollout)| old - rollout)
                    .collect();
                let weights = objective.off_policy.fate(&log_ratios).weights;
                if objective.off_policy.denominator == crate::Denominator::Remaining {
                    let mut kept = weights.iter();
                    for on in remaining.row_mut(index).iter_mut().filter(|on| **on) {
                        *on = *kept.next().unwrap() != 0.0;
                    }
                }
                row.weights = Some(weights);
            }
            if objective.critic.is_some() {
                let around = |shift: f64| row.logp.iter().map(|logp| 0.4 * logp + shift).collect();
                let goal = estimate.returns.as_ref().map(|returns| returns[index].clone());
                row.critic =
                    Some(crate::loss::CriticRow { value: around(0.7), before: around(0.55), goal: goal.unwrap() });
            }
        }
        (rows, objective.normaliser(&remaining, 8))
    }
}

/// One advantage per token of each row, against those printed.
#[track_caller]
pub(crate) fn close_rows(values: &Values, expected: &[&[f64]], tolerance: f64) {
    let Values::Tokens(rows) = values else { panic!("one per token") };
    assert_eq!(rows.len(), expected.len());
    for (index, (row, expected)) in rows.iter().zip(expected).enumerate() {
        assert_eq!(row.len(), expected.len(), "row {index}");
        for (got, expected) in row.iter().zip(*expected) {
            close(*got, *expected, tolerance, &format!("row {index}"));
        }
    }
}

/// Losses and, where given, gradients of F1 and F2 against the numbers printed in the specification.
#[track_caller]
pub(crate) fn close_losses(objective: &Objective, losses: [f64; 2], slopes: Option<[&[&[f64]]; 2]>) {
    for (index, fixture) in fixtures().iter().enumerate() {
        let (rows, normaliser) = fixture.prepare(objective);
        let outputs: Vec<RowOutput> = rows.iter().map(|row| objective.row(row, &normaliser)).collect();
        close(outputs.iter().map(|output| output.sums.loss).sum(), losses[index], 1e-6, "loss");
        let Some(slopes) = slopes else { continue };
        for (output, expected) in outputs.iter().zip(slopes[index]) {
            assert_eq!(output.by_logp.len(), expected.len());
            for (got, expected) in output.by_logp.iter().zip(*expected) {
                close(*got, *expected, 1e-6, "gradient");
            }
        }
    }
}

/// Asserts two numbers equal to within `tolerance`.
#[track_caller]
pub(crate) fn close(got: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((got - expected).abs() <= tolerance, "{what}: got {got:.12}, expected {expected:.12}");
}

/// Loss and every gradient coefficient of F1 and F2 against the golden file (1e-9) and the numbers printed in the
/// specification (1e-6).
#[track_caller]
pub(crate) fn check_golden(objective: &Objective, key: &str, printed: [f64; 2]) {
    for (fixture, printed) in fixtures().iter().zip(printed) {
        let golden = &fixture.golden["losses"][key];
        let (rows, normaliser) = fixture.prepare(objective);
        let outputs: Vec<RowOutput> = rows.iter().map(|row| objective.row(row, &normaliser)).collect();
        let loss: f64 = outputs.iter().map(|output| output.sums.loss).sum();
        close(loss, golden["loss"].as_f64().unwrap(), 1e-9, key);
        close(loss, printed, 1e-6, key);
        for (index, (output, expected)) in outputs.iter().zip(float_rows(&golden["gradient"])).enumerate() {
            let expected = trained(&expected, fixture.mask.row(index));
            assert_eq!(output.by_logp.len(), expected.len());
            for (got, expected) in output.by_logp.iter().zip(expected) {
                close(*got, expected, 1e-9, &format!("{key}, gradient of row {index}"));
            }
        }
    }
}

/// Central differences of the loss by each log-probability, entropy and value, against the closed form. What is held
/// by a stop-gradient stays where it is while the log-probability moves.
///
/// A log-probability that sits within the step of a kink must not be among the rows.
#[track_caller]
pub(crate) fn check_finite_differences(objective: &Objective, rows: &[Row], normaliser: &Normaliser) {
    let step = 1e-6;
    for (index, row) in rows.iter().enumerate() {
        let output = objective.row(row, normaliser);
        let held = Row { held: Some(row.logp.clone()), ..row.clone() };
        let difference = |change: &dyn Fn(&mut Row, f64)| {
            let [up, down] = [step, -step].map(|step| {
                let mut changed = held.clone();
                change(&mut changed, step);
                objective.row(&changed, normaliser).sums.loss
            });
            (up - down) / (2.0 * step)
        };
        for token in 0..row.logp.len() {
            let check = |slope: f64, difference: f64, what: &str| {
                let what = format!("row {index}, token {token}, by {what}: {row:?}");
                close(slope, difference, 1e-7 * (1.0 + slope.abs()), &what);
            };
            check(output.by_logp[token], difference(&|row, step| row.logp[token] += step), "log-probability");
            if row.entropy.is_some() {
                let by_entropy = difference(&|row, step| row.entropy.as_mut().unwrap()[token] += step);
                check(output.by_entropy[token], by_entropy, "entropy");
            }
            if row.critic.is_some() {
                let by_value = difference(&|row, step| row.critic.as_mut().unwrap().value[token] += step);
                check(output.by_value[token], by_value, "value");
            }
        }
    }
}
