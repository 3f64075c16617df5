//! Invariances: splitting, packing and padding change nothing.

use super::batches::{Batch, Step};
use super::*;
use crate::metrics::LossMetrics;
use crate::testing::close;
use crate::{method, methods};

/// §2.13 (f): however the rows, kept in order, are split: the same bits of loss, gradient and every metric. Normalised
/// weights, whitening and the divisors of what remains are made before the first micro-batch.
#[test]
fn splitting_rows_over_micro_batches_changes_nothing() {
    let batch = Batch::random(key(1), 17);
    for method in methods() {
        for aggregate in AGGREGATES {
            for objective in &variants(method)[1..] {
                let objective = Objective { aggregate, ..objective.clone() };
                let step = batch.step(&objective);
                let whole = batch.loss_of(&objective, &step);
                for pieces in [vec![17], vec![1; 17], vec![4, 4, 9], vec![16, 1], vec![0, 8, 0, 9]] {
                    let (mut metrics, mut sum, mut logp, mut entropy) = (LossMetrics::default(), 0.0, vec![], vec![]);
                    let (mut start, mut value) = (0, vec![]);
                    for size in pieces {
                        let range = start..start + size;
                        let (part, its) = (batch.select(range.clone()), step.select(range));
                        let output = part.loss_of(&objective, &its);
                        logp.extend_from_slice(output.grads.logp.flat());
                        entropy.extend_from_slice(output.grads.entropy.as_ref().unwrap().flat());
                        value.extend(output.grads.value.iter().flat_map(|value| value.flat().to_vec()));
                        sum += output.loss;
                        metrics.merge(output.metrics);
                        start += size;
                    }
                    assert_eq!(logp, whole.grads.logp.flat());
                    assert_eq!(entropy, whole.grads.entropy.as_ref().unwrap().flat());
                    assert_eq!(value, whole.grads.value.as_ref().map_or(vec![], |value| value.flat().to_vec()));
                    assert_eq!(metrics.finish(), whole.metrics.finish());
                    assert_eq!(metrics.loss(), whole.loss);
                    close(sum, whole.loss, 1e-12, "sum of the parts");
                }
            }
        }
    }
}

/// §2.13 (g), §3.6 (g): NaN at every masked place (that is how `Batch` is made), more of them appended, and a ratio of
/// e⁶: nothing moves.
#[test]
fn masked_tokens_are_never_read() {
    let batch = Batch::random(key(2), 9);
    for method in methods() {
        for objective in &variants(method)[1..] {
            let bare = batch.loss(objective);
            assert!(bare.loss.is_finite() && bare.grads.logp.flat().iter().all(|slope| slope.is_finite()));
            for fill in [f32::NAN, f32::NEG_INFINITY, 6.0] {
                let output = padded(&batch, fill).loss(objective);
                assert_eq!(output.loss, bare.loss, "{}", method.name);
                assert_eq!(output.metrics, bare.metrics);
                for (row, expected) in output.grads.logp.iter().zip(bare.grads.logp.iter()) {
                    assert_eq!(row[..expected.len()], *expected);
                    assert_eq!(row[expected.len()..], [0.0; 3]);
                }
            }
        }
    }
}

/// `fill` at every masked place and at three more places at the end of every row.
fn padded(batch: &Batch, fill: f32) -> Batch {
    let pad = |ragged: &Ragged<f32>| -> Ragged<f32> {
        let filled = |row: &[f32]| row.iter().map(|&x| if x.is_nan() { fill } else { x }).collect::<Vec<_>>();
        ragged.iter().map(|row| filled(row).into_iter().chain([fill; 3])).collect()
    };
    Batch {
        mask: batch.mask.iter().map(|row| row.iter().copied().chain([false; 3])).collect(),
        stats: TokenStats {
            logp: pad(&batch.stats.logp),
            entropy: pad(&batch.stats.entropy),
            value: batch.stats.value.as_ref().map(pad),
            ..Default::default()
        },
        old: pad(&batch.old),
        rollout: pad(&batch.rollout),
        reference: pad(&batch.reference),
        entropy_before: pad(&batch.entropy_before),
        value_before: pad(&batch.value_before),
        rewards: batch.rewards.clone(),
        groups: batch.groups.clone(),
    }
}

/// Packing: a prompt in front of an answer moves every token to another place of the flat batch, and nothing else.
#[test]
fn a_prompt_in_front_changes_nothing() {
    let batch = Batch::random(key(5), 9);
    let shift = |ragged: &Ragged<f32>| -> Ragged<f32> {
        ragged.iter().enumerate().map(|(at, row)| vec![f32::NAN; at % 3].into_iter().chain(row.to_vec())).collect()
    };
    let shifted = Batch {
        mask: batch
            .mask
            .iter()
            .enumerate()
            .map(|(at, row)| vec![false; at % 3].into_iter().chain(row.to_vec()))
            .collect(),
        stats: TokenStats {
            logp: shift(&batch.stats.logp),
            entropy: shift(&batch.stats.entropy),
            value: batch.stats.value.as_ref().map(shift),
            ..Default::default()
        },
        old: shift(&batch.old),
        rollout: shift(&batch.rollout),
        reference: shift(&batch.reference),
        entropy_before: shift(&batch.entropy_before),
        value_before: shift(&batch.value_before),
        rewards: batch.rewards.clone(),
        groups: batch.groups.clone(),
    };
    for method in methods() {
        for objective in variants(method) {
            let (output, bare) = (shifted.loss(&objective), batch.loss(&objective));
            assert_eq!((output.loss, &output.metrics), (bare.loss, &bare.metrics), "{}", method.name);
            for (at, (row, expected)) in output.grads.logp.iter().zip(bare.grads.logp.iter()).enumerate() {
                assert_eq!(row[at % 3..], *expected);
            }
        }
    }
}

/// §2.13 (d): answers may come in any order; each keeps its advantage to within rounding.
#[test]
fn the_order_of_answers_does_not_matter() {
    let batch = Batch::random(key(8), 8);
    let order: Vec<usize> = vec![3, 0, 7, 4, 1, 6, 2, 5];
    let of = |from: &Ragged<f32>| from.select(order.iter().copied());
    let turned = Batch {
        mask: batch.mask.select(order.iter().copied()),
        stats: TokenStats::default(),
        old: of(&batch.old),
        rollout: of(&batch.rollout),
        reference: of(&batch.reference),
        entropy_before: of(&batch.entropy_before),
        value_before: of(&batch.value_before),
        rewards: order.iter().map(|&row| batch.rewards[row]).collect(),
        groups: order.iter().map(|&row| batch.groups[row]).collect(),
    };
    for method in methods() {
        let objective = (method.defaults)();
        let straight = objective.advantages(&batch.experience()).unwrap().values.select(order.iter().copied());
        let turned = objective.advantages(&turned.experience()).unwrap().values;
        for (got, expected) in turned.flat().iter().zip(straight.flat()) {
            assert!((got - expected).abs() <= 1e-5 * (1.0 + expected.abs()), "{}: {got} {expected}", method.name);
        }
    }
}

/// §2.13 (b): on policy and at equal lengths the clipped methods and CISPO push alike.
#[test]
fn on_policy_the_methods_agree() {
    let equal: Ragged<bool> = vec![vec![true; 3]; 4].into_iter().collect();
    let stats = TokenStats { logp: equal.like(-0.7), entropy: equal.like(0.0), ..Default::default() };
    let slopes: Vec<Vec<f32>> = ["grpo", "dapo", "gspo", "gspo_token", "cispo"]
        .into_iter()
        .map(|name| {
            let objective = (method(name).unwrap().defaults)();
            let rewards = [1.0, 0.0, 0.0, 1.0].map(Some);
            let advantages = objective.advantages(&Experience::of_rewards(&rewards, &[0; 4])).unwrap();
            let batch = LossBatch::new(&equal, &advantages.values, objective.want());
            let normaliser = objective.prepare(&equal, None, None, 3).normaliser;
            objective.loss(&batch, &stats, &normaliser).unwrap().grads.logp.flat().to_vec()
        })
        .collect();
    assert!((slopes[0][0] + 0.8660236 / 12.0).abs() < 1e-6);
    for other in &slopes[1..] {
        assert!(slopes[0].iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-9), "{slopes:?}");
    }
}

/// The weights, and so the step, know nothing of micro-batches even where they are normalised over the step.
#[test]
fn normalised_weights_have_a_mean_of_one_over_what_is_kept() {
    let batch = Batch::random(key(9), 17);
    let objective = Objective { off_policy: CORRECTED, ..(method("gspo").unwrap().defaults)() };
    let Step { prepared, .. } = batch.step(&objective);
    let weights = prepared.weights.unwrap();
    let kept: Vec<f64> =
        weights.flat().iter().filter(|&&weight| weight > 0.0).map(|&weight| f64::from(weight)).collect();
    assert!(kept.len() > 20 && kept.len() < batch.mask.flat().iter().filter(|on| **on).count(), "some are rejected");
    close(kept.iter().sum::<f64>() / kept.len() as f64, 1.0, 1e-6, "mean");
    assert_eq!(prepared.normaliser.tokens(), kept.len() as f64, "the divisor counts what remains");
}
