//! What must hold for every method of the registry: derivatives, invariances, degenerate batches.

use lapidary_core::{Key, Kind, Purpose, Ragged, TokenStats, Want};

use crate::loss::{LossBatch, LossOutput, Row};
use crate::metrics::{LossMetrics, metric};
use crate::testing::{check_finite_differences, check_golden, close, fixtures};
use crate::{Aggregate, Kl, KlEstimator, Method, MethodKind, Objective, Overrides, Ratio, Surrogate, method, methods};

const AGGREGATES: [Aggregate; 4] =
    [Aggregate::TokenMean, Aggregate::SeqMeanTokenMean, Aggregate::SeqMeanTokenSum, Aggregate::TokenSumConst];

/// The defaults, and the same with every optional term on.
fn variants(method: &Method) -> [Objective; 2] {
    let plain = (method.defaults)();
    let dual = match plain.surrogate {
        Surrogate::Clip { low, high, .. } => Surrogate::Clip { low, high, dual: Some(1.3) },
        other => other,
    };
    let kl = Kl { coefficient: 0.1, estimator: KlEstimator::K3 };
    [plain.clone(), Objective { surrogate: dual, kl, entropy_coefficient: 0.01, ..plain }]
}

/// A micro-batch that owns its numbers: whole token rows, each a prompt, an answer, and now and then a tool's words
/// inside.
#[derive(Clone)]
struct Batch {
    mask: Ragged<bool>,
    stats: TokenStats,
    old: Ragged<f32>,
    rollout: Ragged<f32>,
    reference: Ragged<f32>,
    advantages: Vec<f32>,
}

impl Batch {
    /// `rows` rows of up to 12 tokens; every fifth has no trained token. Masked places hold numbers that would show.
    fn random(key: Key, rows: usize) -> Self {
        let lengths = (0..rows).map(|row| 2 + key.at(row as u64).at(0).below(11) as usize);
        let mask: Ragged<bool> = lengths
            .enumerate()
            .map(|(row, length)| {
                let key = key.at(row as u64);
                (0..length)
                    .map(move |t| row % 5 != 4 && t > 0 && key.at(1).at(t as u64).uniform() < 0.8)
                    .collect::<Vec<_>>()
            })
            .collect();
        let draw = |what: u64, base: Option<&Ragged<f32>>, spread: f64| {
            let mut out = mask.like(f32::NAN);
            for (place, value) in out.flat_mut().iter_mut().enumerate() {
                if mask.flat()[place] {
                    let noise = key.at_name("noise").at(what).at(place as u64);
                    let from = base.map_or(-3.0 * noise.at(0).uniform() - 0.05, |base| f64::from(base.flat()[place]));
                    *value = (from + spread * (2.0 * noise.at(1).uniform() - 1.0)) as f32;
                }
            }
            out
        };
        let old = draw(0, None, 0.0);
        let stats = TokenStats {
            logp: draw(1, Some(&old), 0.5),
            entropy: draw(2, None, 0.0).map(|value| -value),
            ..Default::default()
        };
        let (rollout, reference) = (draw(3, Some(&old), 0.1), draw(4, Some(&old), 1.0));
        let advantages = (0..rows).map(|row| key.at_name("advantage").at(row as u64).normal() as f32).collect();
        Self { mask, stats, old, rollout, reference, advantages }
    }

    fn select(&self, rows: std::ops::Range<usize>) -> Self {
        Self {
            mask: self.mask.select(rows.clone()),
            stats: TokenStats {
                logp: self.stats.logp.select(rows.clone()),
                entropy: self.stats.entropy.select(rows.clone()),
                ..Default::default()
            },
            old: self.old.select(rows.clone()),
            rollout: self.rollout.select(rows.clone()),
            reference: self.reference.select(rows.clone()),
            advantages: self.advantages[rows].to_vec(),
        }
    }

    fn view(&self) -> LossBatch<'_> {
        LossBatch {
            mask: &self.mask,
            logp_old: Some(&self.old),
            logp_rollout: Some(&self.rollout),
            logp_reference: Some(&self.reference),
            advantages: &self.advantages,
            want: Want::ENTROPY,
        }
    }

    fn loss(&self, objective: &Objective) -> LossOutput {
        objective.loss(&self.view(), &self.stats, &objective.normaliser(&self.mask, 8)).unwrap()
    }
}

fn key(case: u64) -> Key {
    Key::new(11, Purpose::Bootstrap).at(case)
}

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
                let random: Vec<Row> = (0..30).map(|case| random_row(key(case))).collect();
                let lengths: Ragged<bool> = random.iter().map(|row| vec![true; row.logp.len()]).collect();
                check_finite_differences(&objective, &random, &objective.normaliser(&lengths, 8));
            }
        }
    }
}

/// Up to eight tokens; a ratio lands within 1e-6 of a bound with a probability of about 1e-5 a token, and the key is
/// fixed.
fn random_row(key: Key) -> Row {
    let length = 1 + key.at(0).below(8);
    let around = |what: u64, spread: f64| -> Vec<f64> {
        (0..length).map(|t| -1.5 + spread * (2.0 * key.at(what).at(t).uniform() - 1.0)).collect()
    };
    Row {
        logp: around(1, 0.4),
        old: Some(around(2, 0.4)),
        rollout: None,
        reference: Some(around(3, 0.8)),
        entropy: Some(around(4, 0.5)),
        advantage: key.at(5).normal(),
    }
}

#[test]
fn kl_and_entropy_enter_with_the_weights_of_the_policy_term() {
    let printed = [[0.152380, -0.058349], [0.146130, -0.042766], [0.145681, -0.042418]];
    let by_sequence = [[-0.024628, -0.047956], [-0.034284, -0.032373], [-0.034857, -0.032025]];
    let estimators = [(KlEstimator::K1, "k1"), (KlEstimator::K2, "k2"), (KlEstimator::K3, "k3")];
    for (index, (estimator, name)) in estimators.into_iter().enumerate() {
        let kl = Kl { coefficient: 0.1, estimator };
        let dapo = Objective { kl, entropy_coefficient: 0.01, ..(method("dapo").unwrap().defaults)() };
        check_golden(&dapo, &format!("dapo_{name}_entropy"), printed[index]);
        let grpo = Objective { kl, ..(method("grpo").unwrap().defaults)() };
        check_golden(&grpo, &format!("grpo_{name}"), by_sequence[index]);
    }
}

/// However the rows, kept in order, are split: the same bits of loss, gradient and every metric.
#[test]
fn splitting_rows_over_micro_batches_changes_nothing() {
    let batch = Batch::random(key(1), 17);
    for method in methods() {
        for aggregate in AGGREGATES {
            let objective = Objective { aggregate, ..variants(method)[1].clone() };
            let normaliser = objective.normaliser(&batch.mask, 8);
            let whole = batch.loss(&objective);
            for pieces in [vec![17], vec![1; 17], vec![4, 4, 9], vec![16, 1], vec![0, 8, 0, 9]] {
                let (mut metrics, mut sum, mut logp, mut entropy) = (LossMetrics::default(), 0.0, vec![], vec![]);
                let mut start = 0;
                for size in pieces {
                    let part = batch.select(start..start + size);
                    let output = objective.loss(&part.view(), &part.stats, &normaliser).unwrap();
                    logp.extend_from_slice(output.grads.logp.flat());
                    entropy.extend_from_slice(output.grads.entropy.as_ref().unwrap().flat());
                    sum += output.loss;
                    metrics.merge(output.metrics);
                    start += size;
                }
                assert_eq!(logp, whole.grads.logp.flat());
                assert_eq!(entropy, whole.grads.entropy.as_ref().unwrap().flat());
                assert_eq!(metrics.finish(), whole.metrics.finish());
                assert_eq!(metrics.loss(), whole.loss);
                close(sum, whole.loss, 1e-12, "sum of the parts");
            }
        }
    }
}

/// NaN at every masked place (that is how `Batch` is made), more of them appended, and a ratio of e⁶: nothing moves.
#[test]
fn masked_tokens_are_never_read() {
    let batch = Batch::random(key(2), 9);
    let pad = |ragged: &Ragged<f32>, value: f32| -> Ragged<f32> {
        ragged
            .iter()
            .map(|row| row.iter().copied().map(|x| if x.is_nan() { value } else { x }).chain([value; 3]))
            .collect()
    };
    for method in methods() {
        let objective = &variants(method)[1];
        let bare = batch.loss(objective);
        assert!(bare.loss.is_finite() && bare.grads.logp.flat().iter().all(|slope| slope.is_finite()));
        for fill in [f32::NAN, f32::NEG_INFINITY, 6.0] {
            let padded = Batch {
                mask: batch.mask.iter().map(|row| row.iter().copied().chain([false; 3])).collect(),
                stats: TokenStats {
                    logp: pad(&batch.stats.logp, fill),
                    entropy: pad(&batch.stats.entropy, fill),
                    ..Default::default()
                },
                old: pad(&batch.old, 0.0),
                rollout: pad(&batch.rollout, fill),
                reference: pad(&batch.reference, fill),
                advantages: batch.advantages.clone(),
            };
            let output = padded.loss(objective);
            assert_eq!(output.loss, bare.loss, "{}", method.name);
            assert_eq!(output.metrics, bare.metrics);
            for (row, expected) in output.grads.logp.iter().zip(bare.grads.logp.iter()) {
                assert_eq!(row[..expected.len()], *expected);
                assert_eq!(row[expected.len()..], [0.0; 3]);
            }
        }
    }
}

#[test]
fn on_policy_the_clipped_methods_agree() {
    let equal: Ragged<bool> = vec![vec![true; 3]; 4].into_iter().collect();
    let stats = TokenStats { logp: equal.like(-0.7), entropy: equal.like(0.0), ..Default::default() };
    let slopes: Vec<Vec<f32>> = ["grpo", "dapo", "gspo"]
        .into_iter()
        .map(|name| {
            let objective = (method(name).unwrap().defaults)();
            let advantages = objective.advantages(&[1.0, 0.0, 0.0, 1.0].map(Some), &[0; 4]);
            let batch = LossBatch {
                mask: &equal,
                logp_old: None,
                logp_rollout: None,
                logp_reference: None,
                advantages: &advantages.per_row,
                want: objective.want(),
            };
            objective.loss(&batch, &stats, &objective.normaliser(&equal, 3)).unwrap().grads.logp.flat().to_vec()
        })
        .collect();
    assert!((slopes[0][0] + 0.8660236 / 12.0).abs() < 1e-6);
    for other in &slopes[1..] {
        assert!(slopes[0].iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-9), "{slopes:?}");
    }
}

#[test]
fn a_group_without_variance_has_exactly_no_gradient() {
    let batch = Batch::random(key(3), 6);
    for method in methods().iter().filter(|method| method.kind != MethodKind::Supervised) {
        let objective = (method.defaults)();
        let advantages = objective.advantages(&[Some(1.0); 6], &[0, 0, 0, 1, 1, 1]);
        assert_eq!((advantages.groups, advantages.zero_variance_groups), (2, 2));
        let output = Batch { advantages: advantages.per_row, ..batch.clone() }.loss(&objective);
        assert_eq!(output.loss, 0.0, "{}", method.name);
        assert!(output.grads.logp.flat().iter().all(|&slope| slope == 0.0));
    }
}

#[test]
fn a_step_without_a_trained_token_is_quiet() {
    let mask: Ragged<bool> = [vec![false; 3], vec![]].into_iter().collect();
    let stats = TokenStats { logp: mask.like(f32::NAN), entropy: mask.like(f32::NAN), ..Default::default() };
    for method in methods() {
        let objective = (method.defaults)();
        let batch = LossBatch {
            mask: &mask,
            logp_old: None,
            logp_rollout: None,
            logp_reference: None,
            advantages: &[1.0, -1.0],
            want: Want::ENTROPY,
        };
        let output = objective.loss(&batch, &stats, &objective.normaliser(&mask, 4)).unwrap();
        assert_eq!((output.loss, output.grads.logp.flat()), (0.0, [0.0; 3].as_slice()));
        let losses = [("loss", 0.0), ("policy_loss", 0.0)];
        let reported = if method.kind == MethodKind::Supervised { &losses[..1] } else { &losses };
        assert_eq!(output.metrics.finish(), reported);
    }
}

#[test]
fn a_number_that_is_not_finite_is_named() {
    let objective = (method("grpo").unwrap().defaults)();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for what in ["log-probability", "old log-probability", "sampler's log-probability", "reference log-probability"]
        {
            let mut batch = Batch::random(key(4), 4);
            let token = batch.mask.row(2).iter().position(|&on| on).unwrap();
            let target = match what {
                "log-probability" => &mut batch.stats.logp,
                "old log-probability" => &mut batch.old,
                "sampler's log-probability" => &mut batch.rollout,
                _ => &mut batch.reference,
            };
            target.row_mut(2)[token] = bad;
            let problem =
                objective.loss(&batch.view(), &batch.stats, &objective.normaliser(&batch.mask, 8)).unwrap_err();
            assert_eq!((problem.kind(), problem.code()), (Kind::Diverged, "N010"));
            assert_eq!(problem.message(), format!("the {what} of token {token} in row 2 is {bad}"));
        }
    }
}

/// Ratios beyond e^±20 stay numbers, and where a log-ratio is held the gradient is 0.
#[test]
fn absurd_ratios_stay_numbers() {
    for method in methods() {
        for objective in variants(method) {
            for (logp, old) in [(-0.1, -3000.0), (-3000.0, -0.1)] {
                for advantage in [-2.0, 2.0] {
                    let row = Row {
                        logp: vec![logp],
                        old: Some(vec![old]),
                        reference: Some(vec![old]),
                        entropy: Some(vec![0.0]),
                        advantage,
                        ..Row::default()
                    };
                    let one: Ragged<bool> = [vec![true]].into_iter().collect();
                    let output = objective.row(&row, &objective.normaliser(&one, 1));
                    assert!(output.sums.loss.is_finite() && output.by_logp[0].is_finite());
                    if objective.surrogate.uses_ratio() {
                        assert_eq!(output.by_logp[0], 0.0);
                    }
                }
            }
        }
    }
}

fn named(output: &LossOutput, name: &str) -> f64 {
    let all = output.metrics.finish();
    all.iter().find(|(other, _)| *other == name).unwrap_or_else(|| panic!("{name} in {all:?}")).1
}

#[test]
fn golden_metrics() {
    for fixture in fixtures() {
        let golden = |path: &str| fixture.golden.pointer(path).unwrap().as_f64().unwrap();
        for (name, key) in [("dapo", "dapo"), ("gspo", "gspo")] {
            let objective = (method(name).unwrap().defaults)();
            let (rows, normaliser) = fixture.prepare(&objective);
            let everything = Batch::random(key_of(name), 1);
            let mut metrics = LossMetrics::for_batch(&objective, &everything.view());
            rows.iter().for_each(|row| metrics.push(objective.row(row, &normaliser).sums));
            let grads = lapidary_core::TokenGrads::default();
            let output = LossOutput { loss: metrics.loss(), grads, metrics };
            let low = golden(&format!("/clip/{key}/0"));
            let high = golden(&format!("/clip/{key}/1"));
            let table = [
                ("clip_ratio/low_mean", low),
                ("clip_ratio/high_mean", high),
                ("clip_ratio/region_mean", low + high),
                ("kl", golden("/kl/k3")),
                ("approx_kl", golden("/approx_kl")),
                ("entropy", golden("/entropy_mean")),
                ("sampling/logp_difference/mean", golden("/mismatch/mean")),
                ("sampling/logp_difference/max", golden("/mismatch/max")),
                ("sampling/mismatch_k1", golden("/mismatch/k1")),
                ("sampling/mismatch_k3", golden("/mismatch/k3")),
                ("loss", golden(&format!("/losses/{key}/loss"))),
                ("policy_loss", golden(&format!("/losses/{key}/loss"))),
            ];
            for (metric, expected) in table {
                close(named(&output, metric), expected, 1e-9, metric);
            }
            let unit = if objective.ratio == Ratio::Token { "/token_ratio" } else { "/sequence_ratio" };
            let ratios = numbers(fixture.golden.pointer(unit).unwrap(), 0.0);
            close(named(&output, "ratio/mean"), ratios.iter().sum::<f64>() / ratios.len() as f64, 1e-12, "ratio/mean");
            close(named(&output, "ratio/min"), ratios.iter().copied().fold(9.0, f64::min), 1e-12, "ratio/min");
            close(named(&output, "ratio/max"), ratios.iter().copied().fold(0.0, f64::max), 1e-12, "ratio/max");
            if name == "gspo" {
                close(named(&output, "clip_ratio/sequence_mean"), golden("/clip/gspo/2"), 1e-12, "sequences");
            }
        }
    }
}

fn key_of(name: &str) -> Key {
    Key::new(1, Purpose::Bootstrap).at_name(name)
}

/// All numbers of nested lists that are not `skip` (masked places).
fn numbers(value: &serde_json::Value, skip: f64) -> Vec<f64> {
    match value {
        serde_json::Value::Array(items) => items.iter().flat_map(|item| numbers(item, skip)).collect(),
        number => number.as_f64().into_iter().filter(|number| *number != skip).collect(),
    }
}

#[test]
fn on_policy_every_mismatch_metric_is_exactly_zero() {
    let mut batch = Batch::random(key(6), 8);
    batch.old = batch.stats.logp.clone();
    batch.rollout = batch.stats.logp.clone();
    for method in methods().iter().filter(|method| method.kind != MethodKind::Supervised) {
        let output = batch.loss(&(method.defaults)());
        for name in ["ratio/mean", "ratio/min", "ratio/max"] {
            assert_eq!(named(&output, name), 1.0);
        }
        for name in
            ["approx_kl", "sampling/logp_difference/mean", "sampling/logp_difference/max", "sampling/mismatch_k3"]
        {
            assert_eq!(named(&output, name), 0.0, "{name}");
        }
    }
}

#[test]
fn every_metric_is_registered_and_every_registered_metric_is_reported() {
    let mut reported = std::collections::BTreeSet::new();
    for method in methods() {
        assert!(crate::method(method.name).is_some_and(|found| found.title == method.title));
        for objective in variants(method) {
            for (name, _) in Batch::random(key(7), 5).loss(&objective).metrics.finish() {
                assert!(metric(name).is_some(), "{name}");
                reported.insert(name);
            }
        }
        reported.extend(method.metrics().iter().map(|metric| metric.name));
    }
    let registered: std::collections::BTreeSet<&str> = crate::metrics().iter().map(|metric| metric.name).collect();
    assert_eq!(reported, registered);
    assert_eq!(registered.len(), crate::metrics().len(), "a name twice");
}

#[test]
fn names_of_methods_are_unique_and_their_defaults_can_be_written() {
    let names: std::collections::BTreeSet<&str> = methods().iter().map(|method| method.name).collect();
    assert_eq!(names.len(), methods().len());
    assert_eq!(methods().len(), 7);
    for method in methods() {
        let objective = (method.defaults)();
        assert_eq!(objective.clone().with(&Overrides::default()), Ok(objective.clone()));
        assert_eq!(objective.surrogate == Surrogate::Nll, method.kind == MethodKind::Supervised);
        if objective.advantage.needs_group() && method.kind != MethodKind::Supervised {
            assert_eq!(method.kind, MethodKind::Group { min_samples: 2 }, "{}", method.name);
        }
        assert!(!objective.on_policy_only() || method.suggestion("updates_per_rollout") == Some(1.0));
    }
}
