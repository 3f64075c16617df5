//! Closed-form derivatives against finite differences.

use super::*;
use crate::loss::{CriticRow, Row};
use crate::testing::{check_finite_differences, check_golden, fixtures};
use crate::{method, methods};

/// §2.13 (a), §3.6 (d): every registered method, plain, with every term on, and corrected; on F1, F2 and random rows; by
/// log-probability, entropy and value; under all four means.
#[test]
fn derivatives_are_finite_differences() {
    for method in methods() {
        for objective in variants(method) {
            for fixture in fixtures() {
                let (rows, normaliser) = fixture.prepare(&objective);
                check_finite_differences(&objective, &rows, &normaliser);
            }
            for aggregate in AGGREGATES {
                let objective = Objective { aggregate, ..objective.clone() };
                let mut random: Vec<Row> = (0..30).map(|case| random_row(key(case))).collect();
                let mut lengths: Ragged<bool> = random.iter().map(|row| vec![true; row.logp.len()]).collect();
                for (index, row) in random.iter_mut().enumerate() {
                    let weights = weights_of(&objective, row);
                    if objective.off_policy.denominator == Denominator::Remaining {
                        let kept = weights.iter().flatten().map(|&weight| weight != 0.0);
                        lengths.row_mut(index).iter_mut().zip(kept).for_each(|(on, kept)| *on = kept);
                    }
                    row.weights = weights;
                    if objective.critic.is_none() {
                        row.critic = None;
                    }
                }
                check_finite_differences(&objective, &random, &objective.normaliser(&lengths, 8));
            }
        }
    }
}

fn weights_of(objective: &Objective, row: &Row) -> Option<Vec<f64>> {
    let pairs = row.old.iter().flatten().zip(row.rollout.iter().flatten());
    let log_ratios: Vec<f64> = pairs.map(|(old, rollout)| old - rollout).collect();
    objective.off_policy.weighs().then(|| objective.off_policy.fate(&log_ratios).weights)
}

/// Up to eight tokens; a ratio lands within 1e-6 of a bound with a probability of about 1e-5 a token, and the key is
/// fixed.
fn random_row(key: Key) -> Row {
    let length = 1 + key.at(0).below(8);
    let around = |what: u64, spread: f64| -> Vec<f64> {
        (0..length).map(|t| -1.5 + spread * (2.0 * key.at(what).at(t).uniform() - 1.0)).collect()
    };
    let old = around(2, 0.4);
    let near_old = (0..length).map(|t| old[t as usize] + 0.1 * (key.at(6).at(t).uniform() - 0.5)).collect();
    Row {
        logp: around(1, 0.4),
        held: None,
        old: Some(old),
        rollout: Some(near_old),
        reference: Some(around(3, 0.8)),
        entropy: Some(around(4, 0.5)),
        advantage: (0..length).map(|t| key.at(5).normal() + 0.3 * key.at(7).at(t).normal()).collect(),
        weights: None,
        critic: Some(CriticRow { value: around(8, 0.6), before: around(9, 0.6), goal: around(10, 1.0) }),
    }
}

/// Ratios that gradients stop at: the weight of CISPO and the sequence part of GSPO-token move the loss by nothing.
#[test]
fn nothing_flows_through_what_is_held() {
    for name in ["cispo", "gspo_token"] {
        let objective = (method(name).unwrap().defaults)();
        for fixture in fixtures() {
            let (rows, normaliser) = fixture.prepare(&objective);
            for row in rows {
                let free = Row { held: None, ..row.clone() };
                let held = Row { held: Some(row.logp.clone()), ..row.clone() };
                let (free, held) = (objective.row(&free, &normaliser), objective.row(&held, &normaliser));
                assert_eq!((free.by_logp, free.sums.loss), (held.by_logp, held.sums.loss));
            }
        }
    }
}

#[test]
fn kl_and_entropy_enter_with_the_weights_of_the_policy_term() {
    let printed = [[0.152380, -0.058349], [0.146130, -0.042766], [0.145681, -0.042418]];
    let by_sequence = [[-0.024628, -0.047956], [-0.034284, -0.032373], [-0.034857, -0.032025]];
    let estimators = [(KlEstimator::K1, "k1"), (KlEstimator::K2, "k2"), (KlEstimator::K3, "k3")];
    for (index, (estimator, name)) in estimators.into_iter().enumerate() {
        let kl = Kl { coefficient: 0.1, estimator, ..Kl::OFF };
        let dapo = Objective { kl, entropy_coefficient: 0.01, ..(method("dapo").unwrap().defaults)() };
        check_golden(&dapo, &format!("dapo_{name}_entropy"), printed[index]);
        let grpo = Objective { kl, ..(method("grpo").unwrap().defaults)() };
        check_golden(&grpo, &format!("grpo_{name}"), by_sequence[index]);
    }
}

/// Specification A, §12.5: `w·k3`, whose derivative through the ratio is `w·d` (DeepSeek-V3.2).
#[test]
fn golden_unbiased_kl() {
    for (fixture, printed) in fixtures().iter().zip([0.073378, 0.035298]) {
        let kl = Kl { coefficient: 1.0, unbiased: true, ..Kl::OFF };
        let objective = Objective { kl, ..(method("dapo").unwrap().defaults)() };
        let plain = (method("dapo").unwrap().defaults)();
        let (rows, normaliser) = fixture.prepare(&objective);
        let tokens = normaliser.tokens();
        let mut penalty = 0.0;
        for row in &rows {
            let (with, without) = (objective.row(row, &normaliser), plain.row(row, &normaliser));
            penalty += with.sums.loss - without.sums.loss;
            for (token, (with, without)) in with.by_logp.iter().zip(&without.by_logp).enumerate() {
                let (old, reference) = (row.old.as_ref().unwrap()[token], row.reference.as_ref().unwrap()[token]);
                let (ratio, distance) = ((row.logp[token] - old).exp(), row.logp[token] - reference);
                crate::testing::close(with - without, ratio * distance / tokens, 1e-12, "slope");
            }
        }
        crate::testing::close(penalty, printed, 1e-6, "penalty");
    }
}
