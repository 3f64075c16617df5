//! Fixtures F1 and F2 of the specification, their golden numbers, and finite differences, for the tests of this crate.

use lapidary_core::Ragged;
use serde_json::Value;

use crate::aggregate::Normaliser;
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
                advantage: 0.0,
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
    /// The rows with the objective's advantages (one group), and the step's normaliser for answers of at most 8 tokens.
    pub fn prepare(&self, objective: &Objective) -> (Vec<Row>, Normaliser) {
        let (advantages, _) = objective.advantage.of_f64(&self.rewards, &vec![0; self.rewards.len()]);
        let mut rows = self.rows.clone();
        for (row, advantage) in rows.iter_mut().zip(advantages) {
            row.advantage = advantage;
        }
        (rows, objective.normaliser(&self.mask, 8))
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

/// Central differences of the summed loss by each log-probability and entropy, against the closed form.
///
/// A log-probability that sits within the step of a kink must not be among the rows.
#[track_caller]
pub(crate) fn check_finite_differences(objective: &Objective, rows: &[Row], normaliser: &Normaliser) {
    let step = 1e-6;
    for (index, row) in rows.iter().enumerate() {
        let output = objective.row(row, normaliser);
        let loss_of = |changed: &Row| objective.row(changed, normaliser).sums.loss;
        for token in 0..row.logp.len() {
            let [up, down] = [step, -step].map(|step| {
                let mut changed = row.clone();
                changed.logp[token] += step;
                loss_of(&changed)
            });
            let what = format!("row {index}, token {token}, by log-probability: {row:?}");
            let slope = output.by_logp[token];
            close(slope, (up - down) / (2.0 * step), 1e-7 * (1.0 + slope.abs()), &what);
            if row.entropy.is_some() {
                let [up, down] = [step, -step].map(|step| {
                    let mut changed = row.clone();
                    changed.entropy.as_mut().unwrap()[token] += step;
                    loss_of(&changed)
                });
                close(output.by_entropy, (up - down) / (2.0 * step), 1e-7, "by entropy");
            }
        }
    }
}
