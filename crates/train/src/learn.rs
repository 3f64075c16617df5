//! One optimiser step: rows in micro-batches through the model, then AdamW.

use std::ops::Range;

use lapidary_algo::{LossBatch, LossMetrics, Objective};
use lapidary_core::{Kind, Problem, Ragged, Result, TokenBatch, TokenStats, Want};
use lapidary_engine::{Update, UpdateStats};

use crate::bench::{Bench, Progress};
use crate::fault;
use crate::recipe::Training;
use crate::rows::{Rows, routing_moved};

/// How the rows are learned from.
pub(crate) struct Lesson<'a> {
    pub(crate) objective: &'a Objective,
    pub(crate) tokens_per_microbatch: usize,
    pub(crate) max_new_tokens: usize,
    pub(crate) update: Update,
}

/// What an optimiser step did.
pub(crate) struct Learned {
    pub(crate) loss: LossMetrics,
    pub(crate) update: UpdateStats,
    /// Share of the experts in use that are not those of the sampler, where that was recorded.
    pub(crate) routing_changed: Option<f64>,
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

/// Whole groups of rows in order, as many as fit `budget` tokens with a shared prompt counted once; a group larger than that
/// goes alone. Cut between groups, the gradient of the step is the same bits for any budget.
pub(crate) fn microbatches(tokens: &TokenBatch, budget: usize) -> Vec<Range<usize>> {
    let mut out: Vec<Range<usize>> = Vec::new();
    let mut sum = 0;
    for group in tokens.groups() {
        let size = tokens.tokens_of(&group);
        match out.last_mut() {
            Some(last) if sum + size <= budget => {
                last.end = group.rows.end;
                sum += size;
            }
            _ => {
                out.push(group.rows);
                sum = size;
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
) -> Result<Option<Learned>> {
    if !rows.mask.flat().contains(&true) {
        progress.advance(rows.mask.rows() as u64);
        return Ok(None);
    }
    let learned = accumulate(bench, rows, lesson, progress).and_then(|(loss, routing_changed)| {
        fault::pass("optimizer.step").map_err(|error| Problem::io("step", "optimizer".as_ref(), &error))?;
        Ok(Learned { loss, update: bench.engine.step(&lesson.update)?, routing_changed })
    });
    learned.map(Some).inspect_err(|_| bench.engine.clear_gradient())
}

fn accumulate(
    bench: &mut Bench<'_, '_>,
    rows: &Rows,
    lesson: &Lesson<'_>,
    progress: &Progress<'_, '_>,
) -> Result<(LossMetrics, Option<f64>)> {
    // Entropies are wanted for the health rules even where the loss does not use them.
    let want = Want { entropy: true, routing: rows.routing_rollout.is_some(), ..lesson.objective.want() };
    let per_token = bench.engine.model().experts.as_ref().map_or(1, |experts| experts.per_token);
    let mut moved = [0, 0];
    let (proximal, rollout) = (rows.logp_proximal.as_ref(), rows.logp_rollout.as_ref());
    let prepared = lesson.objective.prepare(&rows.mask, proximal, rollout, lesson.max_new_tokens);
    let mut metrics = LossMetrics::default();
    for range in microbatches(&rows.tokens, lesson.tokens_per_microbatch) {
        let part = rows.select(&range.clone().collect::<Vec<_>>());
        let weights = prepared.weights.as_ref().map(|weights| weights.select(range.clone()));
        let batch = LossBatch {
            mask: &part.mask,
            logp_proximal: part.logp_proximal.as_ref(),
            logp_rollout: part.logp_rollout.as_ref(),
            logp_reference: part.logp_reference.as_ref(),
            advantages: &part.advantages,
            weights: weights.as_ref(),
            value_old: part.value_old.as_ref(),
            returns: part.returns.as_ref(),
            want,
        };
        bench.engine.accumulate(&part.tokens, want, &mut |stats| {
            check_finite(stats, &part.mask, &part.names)?;
            let [changed, all] = routing_moved(&part, stats.routing.as_ref(), per_token);
            moved = [moved[0] + changed, moved[1] + all];
            let output = lesson.objective.loss(&batch, stats, &prepared.normaliser)?;
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
    Ok((metrics, (moved[1] > 0).then(|| moved[0] as f64 / moved[1] as f64)))
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

    /// Rows of the given prompts and lengths; a prompt is 4 tokens.
    fn rows(shapes: impl IntoIterator<Item = (u32, usize)>) -> TokenBatch {
        let mut batch = TokenBatch::default();
        for (prompt, length) in shapes {
            let tokens: Vec<u32> = (0..length as u32).map(|t| if t < 4 { prompt } else { t }).collect();
            batch.push(&tokens, &(0..length).map(|t| t >= 4).collect::<Vec<_>>(), 1.0);
        }
        batch
    }

    #[test]
    fn a_row_above_the_budget_goes_alone() {
        let lengths = [5, 5, 5, 19, 6, 7];
        let batch = rows((1..).zip(lengths));
        assert_eq!(microbatches(&batch, 13), [0..2, 2..3, 3..4, 4..6]);
        assert!(microbatches(&rows([]), 6).is_empty());
    }

    #[test]
    fn a_group_is_not_cut_and_its_prompt_counts_once() {
        let batch = rows([(1, 6), (1, 6), (1, 6), (2, 6), (2, 6), (3, 6)]);
        // 4 + 3·2 = 10 tokens, 4 + 2·2 = 8, and 6.
        assert_eq!(microbatches(&batch, 9), [0..3, 3..5, 5..6]);
        assert_eq!(microbatches(&batch, 18), [0..5, 5..6]);
    }

    proptest! {
        #[test]
        fn every_row_is_in_one_microbatch_in_order(
            shapes in prop::collection::vec((0u32..4, 5usize..20), 0..40),
            budget in 1usize..50,
        ) {
            let batch = rows(shapes);
            let packed = microbatches(&batch, budget);
            let all: Vec<usize> = packed.iter().cloned().flatten().collect();
            prop_assert_eq!(all, (0..batch.tokens.rows()).collect::<Vec<_>>());
            let groups = batch.groups();
            let tokens = |range: &Range<usize>| -> (usize, usize) {
                let inside = groups.iter().filter(|g| range.start <= g.rows.start && g.rows.end <= range.end);
                (inside.clone().count(), inside.map(|g| batch.tokens_of(g)).sum())
            };
            for (at, range) in packed.iter().enumerate() {
                let (count, sum) = tokens(range);
                prop_assert!(sum <= budget || count == 1);
                // None could have taken the next group too.
                if let Some(next) = packed.get(at + 1) {
                    let first = groups.iter().find(|g| g.rows.start == next.start).unwrap();
                    prop_assert!(sum + batch.tokens_of(first) > budget);
                }
            }
        }
    }
}
