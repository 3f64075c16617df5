//! One optimiser step: rows in micro-batches through the model, then AdamW.

use std::ops::Range;

use lapidary_algo::{LossBatch, LossMetrics, Objective};
use lapidary_core::{Kind, Problem, Ragged, Result, TokenBatch, TokenStats, Want};
use lapidary_engine::{Engine, Update, UpdateStats};

use crate::bench::{Bench, Progress};
use crate::fault;
use crate::recipe::Training;

/// Rows to learn from in one optimiser step. Every ragged has the shape of the tokens.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) tokens: TokenBatch,
    /// True at tokens that are trained; a row without any stays in the step's count of rows.
    pub(crate) mask: Ragged<bool>,
    /// What the sampler said; empty for demonstrations.
    pub(crate) logp_rollout: Ragged<f32>,
    /// `[rows]`; empty for demonstrations.
    pub(crate) advantages: Vec<f32>,
    /// Whom to name when a number is not finite.
    pub(crate) names: Vec<String>,
}

/// What the log-probabilities of the forward pass are compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Against {
    /// Nothing: demonstrations.
    Nothing,
    /// The weights are those that sampled: the ratio is 1, and sampler and trainer can be compared.
    SameWeights,
    /// Earlier weights sampled: their log-probabilities make the ratio.
    EarlierWeights,
}

/// How the rows are learned from.
pub(crate) struct Lesson<'a> {
    pub(crate) objective: &'a Objective,
    pub(crate) against: Against,
    pub(crate) reference: Option<&'a dyn Engine>,
    pub(crate) tokens_per_microbatch: usize,
    pub(crate) max_new_tokens: usize,
    pub(crate) update: Update,
}

/// The optimiser step at `learning_rate`.
pub(crate) fn update_of(training: &Training, learning_rate: f64) -> Update {
    /// Added to the root of the second moment (Kingma & Ba 2015, algorithm 1).
    const EPSILON: f64 = 1e-8;
    Update {
        learning_rate,
        beta1: training.beta1,
        beta2: training.beta2,
        epsilon: EPSILON,
        weight_decay: training.weight_decay,
        decay_all: false,
        max_grad_norm: training.max_grad_norm,
    }
}

/// Whole rows in order, as many as fit `budget` tokens; a row larger than that goes alone.
pub(crate) fn microbatches(lengths: impl IntoIterator<Item = usize>, budget: usize) -> Vec<Range<usize>> {
    let mut out: Vec<Range<usize>> = Vec::new();
    let mut tokens = 0;
    for (row, length) in lengths.into_iter().enumerate() {
        match out.last_mut() {
            Some(last) if tokens + length <= budget => {
                last.end = row + 1;
                tokens += length;
            }
            _ => {
                out.push(row..row + 1);
                tokens = length;
            }
        }
    }
    out
}

/// Learns from rows: gradient of the whole step, clip, AdamW. Without a trained token nothing happens (`None`).
///
/// # Errors
/// `Diverged`: a number that is not finite, with sample and token or tensor; the weights stay as they were.
pub(crate) fn learn(
    bench: &mut Bench<'_, '_>,
    rows: &Rows,
    lesson: &Lesson<'_>,
    progress: &Progress<'_, '_>,
) -> Result<Option<(LossMetrics, UpdateStats)>> {
    if !rows.mask.flat().contains(&true) {
        progress.advance(rows.mask.rows() as u64);
        return Ok(None);
    }
    let learned = accumulate(bench, rows, lesson, progress).and_then(|metrics| {
        fault::pass("optimizer.step").map_err(|error| Problem::io("step", "optimizer".as_ref(), &error))?;
        Ok((metrics, bench.engine.step(&lesson.update)?))
    });
    learned.map(Some).inspect_err(|_| bench.engine.clear_gradient())
}

fn accumulate(
    bench: &mut Bench<'_, '_>,
    rows: &Rows,
    lesson: &Lesson<'_>,
    progress: &Progress<'_, '_>,
) -> Result<LossMetrics> {
    // Entropies are wanted for the health rules even where the loss does not use them.
    let want = Want::ENTROPY;
    let normaliser = lesson.objective.normaliser(&rows.mask, lesson.max_new_tokens);
    let mut metrics = LossMetrics::default();
    for range in microbatches(rows.mask.lengths(), lesson.tokens_per_microbatch) {
        let selected: Vec<usize> = range.clone().collect();
        let tokens = rows.tokens.select(&selected);
        let mask = rows.mask.select(range.clone());
        let rollout = (lesson.against != Against::Nothing).then(|| rows.logp_rollout.select(range.clone()));
        let reference = lesson.reference.map(|engine| engine.score(&tokens, Want::default())).transpose()?;
        let (old, rollout) = match lesson.against {
            Against::EarlierWeights => (rollout.as_ref(), None),
            _ => (None, rollout.as_ref()),
        };
        let batch = LossBatch {
            mask: &mask,
            logp_old: old,
            logp_rollout: rollout,
            logp_reference: reference.as_ref().map(|stats| &stats.logp),
            advantages: if rows.advantages.is_empty() { &[] } else { &rows.advantages[range.clone()] },
            want,
        };
        bench.engine.accumulate(&tokens, want, &mut |stats| {
            check_finite(stats, &mask, &rows.names[range.clone()])?;
            let output = lesson.objective.loss(&batch, stats, &normaliser)?;
            metrics.merge(output.metrics);
            Ok(output.grads)
        })?;
        progress.advance(range.len() as u64);
    }
    let loss = metrics.loss();
    if !loss.is_finite() {
        return Err(Problem::new(Kind::Diverged, "N011", format!("the loss is {loss}"))
            .hint("lower `learning_rate`, or set `max_grad_norm`"));
    }
    Ok(metrics)
}

fn check_finite(stats: &TokenStats, mask: &Ragged<bool>, names: &[String]) -> Result<()> {
    for (row, name) in names.iter().enumerate() {
        let values = stats.logp.row(row).iter().zip(stats.entropy.row(row));
        for (token, ((logp, entropy), _)) in values.zip(mask.row(row)).enumerate().filter(|(_, (_, on))| **on) {
            let what = match (logp.is_finite(), entropy.is_finite()) {
                (true, true) => continue,
                (false, _) => format!("log-probability of token {token} is {logp}"),
                (true, false) => format!("entropy at token {token} is {entropy}"),
            };
            return Err(Problem::new(Kind::Diverged, "N010", format!("sample `{name}`: the {what}"))
                .why("the weights or the logits have left the range of f32")
                .hint("lower `learning_rate`, or set `max_grad_norm`; the weights are as they were before the step"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_row_above_the_budget_goes_alone() {
        assert_eq!(microbatches([3, 3, 3, 9, 1, 2], 6), [0..2, 2..3, 3..4, 4..6]);
        assert!(microbatches([], 6).is_empty());
    }

    proptest! {
        #[test]
        fn every_row_is_in_one_microbatch_in_order(lengths in prop::collection::vec(1usize..20, 0..40), budget in 1usize..50) {
            let packed = microbatches(lengths.iter().copied(), budget);
            let rows: Vec<usize> = packed.iter().cloned().flatten().collect();
            prop_assert_eq!(rows, (0..lengths.len()).collect::<Vec<_>>());
            for (at, range) in packed.iter().enumerate() {
                let tokens: usize = lengths[range.clone()].iter().sum();
                prop_assert!(tokens <= budget || range.len() == 1);
                // None could have taken the next row too.
                if at + 1 < packed.len() {
                    prop_assert!(tokens + lengths[range.end] > budget);
                }
            }
        }
    }
}
