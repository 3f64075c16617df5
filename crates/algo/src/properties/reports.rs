//! What is reported: against golden numbers, and against the registry.

use super::batches::Batch;
use super::*;
use crate::metrics::{LossMetrics, metric};
use crate::testing::{close, fixtures};
use crate::{MethodKind, Overrides, Ratio, method, methods};

fn named(output: &LossOutput, name: &str) -> f64 {
    let all = output.metrics.finish();
    all.iter().find(|(other, _)| *other == name).unwrap_or_else(|| panic!("{name} in {all:?}")).1
}

#[test]
fn golden_metrics() {
    for fixture in fixtures() {
        let golden = |path: &str| fixture.golden.pointer(path).unwrap().as_f64().unwrap();
        for name in ["dapo", "gspo"] {
            let objective = (method(name).unwrap().defaults)();
            let (rows, normaliser) = fixture.prepare(&objective);
            let mut metrics = LossMetrics::for_batch(&objective, &Batch::random(key(1), 1).view(&empty()));
            rows.iter().for_each(|row| metrics.push(objective.row(row, &normaliser).sums));
            let grads = lapidary_core::TokenGrads::default();
            let output = LossOutput { loss: metrics.loss(), grads, metrics };
            let low = golden(&format!("/clip/{name}/0"));
            let high = golden(&format!("/clip/{name}/1"));
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
                ("loss", golden(&format!("/losses/{name}/loss"))),
                ("policy_loss", golden(&format!("/losses/{name}/loss"))),
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

/// Every name that is reported is registered, and every registered name is reported by some method.
#[test]
fn every_metric_is_registered_and_every_registered_metric_is_reported() {
    let mut reported = std::collections::BTreeSet::new();
    for method in methods() {
        assert!(crate::method(method.name).is_some_and(|found| found.title == method.title));
        for objective in variants(method) {
            let batch = Batch::random(key(7), 5);
            for (name, _) in batch.loss(&objective).metrics.finish() {
                assert!(metric(name).is_some(), "{name}");
                reported.insert(name);
            }
            for (name, _) in objective.advantages(&batch.experience()).unwrap().metrics() {
                assert!(metric(name).is_some(), "{name}");
            }
        }
        reported.extend(method.metrics().iter().map(|metric| metric.name));
    }
    // The loop reports it: it is the method's state.
    reported.insert("kl_coefficient");
    let registered: std::collections::BTreeSet<&str> = crate::metrics().iter().map(|metric| metric.name).collect();
    assert_eq!(reported, registered);
    assert_eq!(registered.len(), crate::metrics().len(), "a name twice");
}

#[test]
fn names_of_methods_are_unique_and_their_defaults_can_be_written() {
    let names: std::collections::BTreeSet<&str> = methods().iter().map(|method| method.name).collect();
    assert_eq!(names.len(), methods().len());
    assert_eq!(methods().len(), 17);
    for method in methods() {
        let objective = (method.defaults)();
        assert_eq!(objective.clone().with(&Overrides::default()), Ok(objective.clone()));
        assert_eq!(objective.surrogate == Surrogate::Nll, method.kind == MethodKind::Supervised);
        if method.kind != MethodKind::Supervised {
            let group = MethodKind::Group { min_samples: 2 };
            assert_eq!(objective.advantage.needs_group(), method.kind == group, "{}", method.name);
        }
        assert!(!objective.on_policy_only() || method.suggestion("updates_per_rollout") == Some(1.0));
        assert_eq!(objective.critic.is_some(), objective.advantage.needs_value());
    }
}

/// Specification A, §12.5: sampler against trainer on F1 and F2.
#[test]
fn golden_mismatch_metrics() {
    let printed = [[-0.090000, 0.262004], [-0.016667, 0.004373]];
    let rho = [
        [1.105171, 0.951229, 0.449329, 1.0, 1.105171, 1.051271, 1.0, 1.0, 4.953032, 0.904837].as_slice(),
        &[1.0, 1.0, 0.904837, 1.0, 1.0, 1.221403],
    ];
    let geometric = [[0.778801, 1.051271, 1.510590, 0.904837].as_slice(), &[1.0, 0.951229, 1.105171]];
    let sequence = [[0.472367, 1.105171, 5.206980, 0.904837].as_slice(), &[1.0, 0.904837, 1.221403]];
    let objective = (method("dapo").unwrap().defaults)();
    for (at, fixture) in fixtures().iter().enumerate() {
        let (rows, normaliser) = fixture.prepare(&objective);
        let mut metrics = LossMetrics::for_batch(&objective, &Batch::random(key(1), 1).view(&empty()));
        rows.iter().for_each(|row| metrics.push(objective.row(row, &normaliser).sums));
        let output = LossOutput { loss: 0.0, grads: Default::default(), metrics };
        let tokens = rho[at];
        let per_token =
            |part: &dyn Fn(f64) -> f64| tokens.iter().map(|&rho| part(rho)).sum::<f64>() / tokens.len() as f64;
        let per_row =
            |of: &[f64], part: &dyn Fn(f64) -> f64| of.iter().map(|&rho| part(rho)).sum::<f64>() / of.len() as f64;
        let table = [
            ("sampling/mismatch_k1", printed[at][0], 1e-6),
            ("sampling/mismatch_k3", printed[at][1], 1e-6),
            ("sampling/chi2_token", per_token(&|rho| rho * rho - 1.0), 1e-5),
            ("sampling/chi2_sequence", per_row(sequence[at], &|rho| rho * rho - 1.0), 1e-5),
            ("sampling/perplexity_ratio", per_row(geometric[at], &|rho| rho), 1e-6),
            ("correction/truncated", per_token(&|rho| f64::from(rho > 2.0)), 1e-12),
            ("correction/rejected", per_token(&|rho| f64::from(!(0.5..=2.0).contains(&rho))), 1e-12),
        ];
        for (name, expected, tolerance) in table {
            close(named(&output, name), expected, tolerance, name);
        }
    }
}

/// What a view needs beside the batch, where nothing is asked of it.
fn empty() -> super::batches::Step {
    let mask: Ragged<bool> = [vec![true]].into_iter().collect();
    let prepared = (method("grpo").unwrap().defaults)().prepare(&mask, None, None, 1);
    super::batches::Step { prepared, advantages: TokenAdvantages::default(), returns: None }
}

/// §3.4, §3.6 (f): clipped answers by length, and clipped tokens as the share of their answers' tokens.
#[test]
fn clip_fractions_by_length_and_in_tokens() {
    let objective = (method("gspo").unwrap().defaults)();
    let lengths = [1, 16, 17, 65, 300, 400];
    let mask: Ragged<bool> = lengths.iter().map(|&length| vec![true; length]).collect();
    let advantages = TokenAdvantages::PerRow(vec![1.0, 1.0, -1.0, 1.0, 1.0, -1.0]);
    // Rows 0, 2 and 4 move up by a mean of 0.001: beyond the upper bound, which stops good answers only.
    let logp: Ragged<f32> = lengths
        .iter()
        .enumerate()
        .map(|(row, &length)| vec![if row % 2 == 0 { -0.999 } else { -1.0 }; length])
        .collect();
    let (stats, old) = (TokenStats { logp, ..Default::default() }, mask.like(-1.0_f32));
    let batch = LossBatch { logp_proximal: Some(&old), ..LossBatch::new(&mask, &advantages, Want::default()) };
    let output = objective.loss(&batch, &stats, &objective.prepare(&mask, None, None, 400).normaliser).unwrap();
    let table = [
        ("clip_ratio/length_16_mean", 0.5),
        ("clip_ratio/length_64_mean", 0.0),
        ("clip_ratio/length_256_mean", 0.0),
        ("clip_ratio/length_more_mean", 0.5),
        ("clip_ratio/sequence_mean", 2.0 / 6.0),
        ("clip_ratio/region_mean", 301.0 / 799.0),
    ];
    for (name, expected) in table {
        close(named(&output, name), expected, 1e-12, name);
    }
}

/// What a critic explains: all of returns that it says itself, nothing of them by a constant.
#[test]
fn explained_variance_by_hand() {
    let objective = (method("ppo").unwrap().defaults)();
    let mask: Ragged<bool> = [vec![true; 3]].into_iter().collect();
    let goal: Ragged<f32> = [vec![1.0, 2.0, 6.0]].into_iter().collect();
    let logp = mask.like(-1.0_f32);
    for (value, explained) in [(goal.clone(), 1.0), (mask.like(3.0), 0.0), (goal.map(|goal| goal + 9.0), 1.0)] {
        let stats = TokenStats { logp: logp.clone(), value: Some(value), ..Default::default() };
        let advantages = TokenAdvantages::PerRow(vec![0.0]);
        let batch = LossBatch {
            value_old: Some(&goal),
            returns: Some(&goal),
            ..LossBatch::new(&mask, &advantages, objective.want())
        };
        let output = objective.loss(&batch, &stats, &objective.prepare(&mask, None, None, 3).normaliser).unwrap();
        close(named(&output, "value/explained_variance"), explained, 1e-12, "explained");
    }
}
