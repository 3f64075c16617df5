//! Numbers of verl's `core_algos.py`, run in float64 (`LAPIDARY_DATA/verl_core_algos_golden.json`): another
//! implementation, on random batches, one of which has an empty answer and a group of equal rewards.

use lapidary_core::Ragged;
use serde_json::Value;

use crate::estimators::{Rows, TokenRow};
use crate::loss::Row;
use crate::testing::{close, float_rows, trained};
use crate::{Advantage, Aggregate, Kl, KlEstimator, Normaliser, Objective, Ratio, Surrogate};

fn golden() -> Option<Value> {
    let Some(folder) = std::env::var_os("LAPIDARY_DATA") else {
        println!("skipped: LAPIDARY_DATA is not set");
        return None;
    };
    let path = std::path::Path::new(&folder).join("verl_core_algos_golden.json");
    Some(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
}

struct Batch<'a> {
    golden: &'a Value,
    mask: Ragged<bool>,
    padded: usize,
}

impl<'a> Batch<'a> {
    fn new(golden: &'a Value) -> Self {
        let mask = float_rows(&golden["response_mask"]);
        let padded = mask[0].len();
        let mask = mask.into_iter().map(|row| row.into_iter().map(|on| on > 0.0)).collect();
        Self { golden, mask, padded }
    }

    /// The values of `key` at trained tokens.
    fn rows(&self, value: &Value) -> Vec<Vec<f64>> {
        float_rows(value).iter().zip(self.mask.iter()).map(|(row, mask)| trained(row, mask)).collect()
    }

    fn check_loss(&self, objective: &Objective, case: &Value, scale: f64) {
        let what = format!("{} {}", case["name"], case["agg"]);
        let [logp, old, advantages] =
            ["log_prob", "old_log_prob", "advantages_in"].map(|key| self.rows(&self.golden[key]));
        let normaliser = objective.normaliser(&self.mask, self.padded);
        let gradient = self.rows(&case["grad_log_prob"]);
        let mut loss = 0.0;
        for index in 0..logp.len() {
            let row = Row {
                logp: logp[index].clone(),
                old: Some(old[index].clone()),
                advantage: advantages[index].clone(),
                ..Row::default()
            };
            let output = objective.row(&row, &normaliser);
            loss += output.sums.loss;
            for (got, expected) in output.by_logp.iter().zip(&gradient[index]) {
                close(got * scale, *expected, 1e-7, &what);
            }
        }
        close(loss * scale, case["loss"].as_f64().unwrap(), 1e-7, &what);
    }
}

/// What the estimators see of a batch: the reward of an answer is the sum of its token rewards.
fn rows(batch: &Batch<'_>) -> Rows {
    let golden = batch.golden;
    let values = batch.rows(&golden["values"]);
    let rewards: Vec<Option<f64>> =
        float_rows(&golden["token_level_rewards"]).iter().map(|row| Some(row.iter().sum())).collect();
    let tokens =
        values.into_iter().map(|value| TokenRow { places: (0..value.len()).collect(), value, ..TokenRow::default() });
    Rows {
        verdicts: rewards.clone(),
        rewards,
        groups: golden["index"].as_array().unwrap().iter().map(|group| group.as_u64().unwrap() as usize).collect(),
        tokens: tokens.collect(),
    }
}

/// All twelve estimators of the file but `opo` (a baseline weighted by length), `remax` (a second, greedy sample as
/// baseline), `gpg` (a factor that grows with the share of groups without variance) and `grpo_passk` (the best answer
/// alone): methods that Lapidary does not have.
#[test]
fn advantages() {
    let Some(all) = golden() else { return };
    let table = [
        ("grpo", Advantage::GroupZscore { ddof: 1, delta: 1e-6 }, 1e-8),
        ("grpo_vectorized", Advantage::GroupZscore { ddof: 1, delta: 1e-6 }, 1e-8),
        ("grpo_no_std_dr_grpo", Advantage::GroupMean, 1e-8),
        ("rloo", Advantage::LeaveOneOut, 1e-8),
        ("reinforce_plus_plus", Advantage::WhitenedReturn { gamma: 1.0 }, 1e-8),
        ("reinforce_plus_plus_baseline", Advantage::WhitenedGroupMean, 1e-7),
        ("gae_g0.99_l0.95", Advantage::Gae { gamma: 0.99, lambda: 0.95, whiten: true, whiten_rewards: false }, 1e-8),
        ("gae_g1_l1", Advantage::Gae { gamma: 1.0, lambda: 1.0, whiten: true, whiten_rewards: false }, 1e-8),
    ];
    for golden in all["batches"].as_array().unwrap() {
        let batch = Batch::new(golden);
        let rows = rows(&batch);
        for (name, advantage, tolerance) in table {
            let estimate = advantage.estimate(&rows);
            let expected = &golden["advantages_out"][name];
            for (row, advantages) in batch.rows(&expected["advantages"]).iter().enumerate() {
                for (got, expected) in estimate.row(row, advantages.len()).iter().zip(advantages) {
                    close(*got, *expected, tolerance, name);
                }
            }
            let returns = batch.rows(&expected["returns"]);
            for (got, expected) in estimate.returns.iter().flatten().zip(returns) {
                got.iter().zip(expected).for_each(|(got, expected)| close(*got, expected, 1e-8, name));
            }
        }
    }
}

/// All policy losses of the file but `sapo` and `geo_mean` (other surrogates), `clip_cov` (draws tokens at random) and
/// `kl_cov` (a KL on tokens chosen by covariance): methods that Lapidary does not have.
#[test]
fn policy_losses_and_their_gradients() {
    let Some(all) = golden() else { return };
    let mut checked = 0;
    for golden in all["batches"].as_array().unwrap() {
        let batch = Batch::new(golden);
        for case in golden["policy_losses"].as_array().unwrap() {
            let (ratio, surrogate) = match case["name"].as_str().unwrap() {
                "vanilla" => (Ratio::Token, Surrogate::Clip { low: 0.2, high: 0.28, dual: Some(3.0) }),
                "gspo" => (Ratio::SequenceGeometricToken, Surrogate::Clip { low: 0.2, high: 0.28, dual: None }),
                "cispo" => (Ratio::Token, Surrogate::Cispo { low: 0.2, high: 0.28, absolute: false }),
                "gpg" => (Ratio::Token, Surrogate::Reinforce),
                _ => continue,
            };
            // verl divides by the padded length alone, we by B of them as well.
            let (aggregate, scale) = match case["agg"].as_str().unwrap() {
                "token-mean" => (Aggregate::TokenMean, 1.0),
                "seq-mean-token-mean" => (Aggregate::SeqMeanTokenMean, 1.0),
                "seq-mean-token-sum" => (Aggregate::SeqMeanTokenSum, 1.0),
                _ => (Aggregate::TokenSumConst, batch.mask.rows() as f64),
            };
            let objective = Objective { ratio, surrogate, aggregate, ..plain() };
            batch.check_loss(&objective, case, scale);
            if ratio == Ratio::SequenceGeometricToken {
                batch.check_loss(&Objective { ratio: Ratio::SequenceGeometric, ..objective }, case, scale);
            }
            checked += 1;
        }
    }
    assert_eq!(checked, 26);
}

fn plain() -> Objective {
    Objective { kl: Kl::OFF, ..(crate::method("grpo").unwrap().defaults)() }
}

/// All seven names of the file (`kl` is k1) but `abs`, `|d|`, which estimates no KL.
#[test]
fn kl_estimators_and_their_slopes() {
    let Some(all) = golden() else { return };
    let table = [
        ("k1", KlEstimator::K1),
        ("kl", KlEstimator::K1),
        ("k2", KlEstimator::K2),
        ("k3", KlEstimator::K3),
        ("mse", KlEstimator::K2),
        ("low_var_kl", KlEstimator::K3),
    ];
    for golden in all["batches"].as_array().unwrap() {
        let batch = Batch::new(golden);
        let [logp, reference] = ["log_prob", "ref_log_prob"].map(|key| batch.rows(&golden[key]).concat());
        for (name, estimator) in table {
            let values = batch.rows(&golden["kl"][name]["value"]).concat();
            let slopes = batch.rows(&golden["kl"][name]["grad_of_masked_sum"]).concat();
            for place in 0..logp.len() {
                let (value, slope) = estimator.at(logp[place], reference[place]);
                close(value, values[place], 1e-8, name);
                close(slope, slopes[place], 1e-8, name);
            }
        }
    }
}

#[test]
fn aggregates() {
    let Some(all) = golden() else { return };
    for golden in all["batches"].as_array().unwrap() {
        let batch = Batch::new(golden);
        let values = batch.rows(&golden["values"]);
        let table = [
            ("token-mean", Aggregate::TokenMean, 1.0),
            ("seq-mean-token-mean", Aggregate::SeqMeanTokenMean, 1.0),
            ("seq-mean-token-sum", Aggregate::SeqMeanTokenSum, 1.0),
            ("seq-mean-token-sum-norm", Aggregate::TokenSumConst, values.len() as f64),
        ];
        for (name, aggregate, scale) in table {
            let normaliser = Normaliser::new(aggregate, &batch.mask, batch.padded);
            let rows = values.iter().filter(|row| !row.is_empty());
            let sum: f64 = rows.map(|row| normaliser.token_weight(row.len()) * row.iter().sum::<f64>()).sum();
            close(sum * scale, golden["agg"][name].as_f64().unwrap(), 1e-8, name);
        }
    }
}

/// verl's entropy bonus is the token mean of `logsumexp(z) − Σ softmax(z)·z`; ours is the `entropy` metric, with weight −1
/// in the loss.
#[test]
fn entropy_of_logits_as_a_loss() {
    let Some(all) = golden() else { return };
    for golden in all["batches"].as_array().unwrap() {
        let batch = Batch::new(golden);
        let entropy_of = |logits: &Value| {
            let logits: Vec<f64> = logits.as_array().unwrap().iter().map(|logit| logit.as_f64().unwrap()).collect();
            let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
            total.ln() - logits.iter().map(|logit| logit * logit.exp() / total).sum::<f64>()
        };
        let objective = Objective {
            aggregate: Aggregate::TokenMean,
            entropy_coefficient: 1.0,
            surrogate: Surrogate::Reinforce,
            ..plain()
        };
        let normaliser = objective.normaliser(&batch.mask, batch.padded);
        let logits = golden["logits"].as_array().unwrap();
        let rows = logits.iter().zip(batch.mask.iter()).map(|(row, mask)| {
            let entropies: Vec<f64> = row.as_array().unwrap().iter().map(entropy_of).collect();
            let entropy = trained(&entropies, mask);
            Row { logp: vec![0.0; entropy.len()], entropy: Some(entropy), ..Row::default() }
        });
        let loss: f64 = rows.map(|row| objective.row(&row, &normaliser).sums.loss).sum();
        close(-loss, golden["entropy_loss"].as_f64().unwrap(), 1e-8, "entropy");
    }
}
