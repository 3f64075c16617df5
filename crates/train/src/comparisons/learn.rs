//! One optimiser step on comparisons: what the whole step must know, then whole examples in micro-batches, then AdamW.

use lapidary_algo::preference::{PreferenceMetrics, PreferencePrepared};
use lapidary_algo::{Answer, Preference, PreferenceBatch, PreferenceState};
use lapidary_core::{Kind, Problem, Result, Want};
use lapidary_engine::{Update, UpdateStats};

use super::batch::Batch;
use crate::bench::{Bench, Progress};
use crate::fault;
use crate::look::in_microbatches;

/// Who learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pupil {
    /// A reward head.
    Reward,
    /// The policy, by its log-probabilities.
    Policy,
}

/// What the head says of each row.
pub(crate) fn rewards(bench: &Bench<'_, '_>, batch: &Batch, budget: usize) -> Result<Vec<f64>> {
    let want = Want { reward: true, ..Want::default() };
    let stats = in_microbatches(&batch.rows, budget, |tokens| bench.engine.score(tokens, want))?;
    let rewards = stats.reward.unwrap_or_default();
    match rewards.iter().position(|reward| !reward.is_finite()) {
        None => Ok(rewards.into_iter().map(f64::from).collect()),
        Some(row) => Err(not_finite(&format!("`{}`: the reward is {}", batch.rows.names[row], rewards[row]))),
    }
}

/// What the policy says of each answer, against the reference where there is one.
pub(crate) fn answers(
    bench: &Bench<'_, '_>,
    (preference, batch): (&Preference, &Batch),
    budget: usize,
) -> Result<Vec<Answer>> {
    let stats = in_microbatches(&batch.rows, budget, |tokens| bench.engine.score(tokens, Want::default()))?;
    preference.answers(&whole(batch), &stats.logp)
}

/// The fixed side of all rows.
fn whole(batch: &Batch) -> PreferenceBatch<'_> {
    PreferenceBatch {
        mask: &batch.rows.mask,
        logp_reference: batch.rows.logp_reference.as_ref(),
        examples: &batch.examples,
        from: 0,
    }
}

/// What the micro-batches of a step share. `mismatched` are answers under other examples' prompts, where the loss wants them.
pub(crate) fn prepare(
    bench: &Bench<'_, '_>,
    (preference, pupil): (&Preference, Pupil),
    (batch, mismatched): (&Batch, Option<&Batch>),
    (state, progress): (&PreferenceState, f64),
    budget: usize,
) -> Result<PreferencePrepared> {
    let needs = preference.needs();
    if pupil == Pupil::Reward {
        let seen = if needs.whole_batch { rewards(bench, batch, budget)? } else { Vec::new() };
        return Ok(preference.prepare_rewards(&seen, &batch.examples, state, progress));
    }
    let seen = match needs.whole_batch {
        true => answers(bench, (preference, batch), budget)?,
        false => Vec::new(),
    };
    let others = match mismatched {
        Some(mismatched) if needs.mismatched => answers(bench, (preference, mismatched), budget)?,
        _ => Vec::new(),
    };
    Ok(preference.prepare(&seen, &batch.examples, &others, state, progress))
}

/// What the micro-batches of a step saw.
#[derive(Default)]
struct Seen {
    rewards: Vec<f32>,
    answers: Vec<Answer>,
    weights: Vec<f64>,
}

/// Learns a step.
///
/// # Errors
/// `Diverged`: a number that is not finite; the weights stay as they were.
pub(crate) fn learn(
    bench: &mut Bench<'_, '_>,
    (preference, pupil): (&Preference, Pupil),
    (batch, prepared): (&Batch, &PreferencePrepared),
    (budget, update): (usize, &Update),
    progress: &Progress<'_, '_>,
) -> Result<(PreferenceMetrics, UpdateStats)> {
    let learned = accumulate(bench, (preference, pupil), (batch, prepared), budget, progress).and_then(|seen| {
        // Of the whole step at once: sums of micro-batches would depend on where it was cut.
        let metrics = match pupil {
            Pupil::Reward => preference.reward_loss(&seen.rewards, &batch.examples, 0, prepared)?.metrics,
            Pupil::Policy => preference.step_metrics(&seen.answers, (&batch.examples, &seen.weights), prepared),
        };
        if !metrics.loss().is_finite() {
            return Err(Problem::new(Kind::Diverged, "N011", format!("the loss is {}", metrics.loss()))
                .hint("lower `learning_rate`, or set `max_grad_norm`"));
        }
        fault::pass("optimizer.step").map_err(|error| Problem::io("step", "optimizer".as_ref(), &error))?;
        Ok((metrics, bench.engine.step(update)?))
    });
    learned.inspect_err(|_| bench.engine.clear_gradient())
}

fn accumulate(
    bench: &mut Bench<'_, '_>,
    (preference, pupil): (&Preference, Pupil),
    (batch, prepared): (&Batch, &PreferencePrepared),
    budget: usize,
    progress: &Progress<'_, '_>,
) -> Result<Seen> {
    let reward = pupil == Pupil::Reward;
    let want = Want { reward, top: !reward && preference.needs().top, ..Want::default() };
    let mut seen = Seen::default();
    for (rows, examples) in batch.microbatches(budget) {
        let (here, local) = batch.part(&rows, &examples);
        bench.engine.accumulate(&here.tokens, want, &mut |stats| {
            if reward {
                let said = stats.reward.as_deref().unwrap_or_default();
                seen.rewards.extend(said);
                return Ok(preference.reward_loss(said, &local, examples.start, prepared)?.grads(&stats.logp));
            }
            let part = PreferenceBatch {
                mask: &here.mask,
                logp_reference: here.logp_reference.as_ref(),
                examples: &local,
                from: examples.start,
            };
            let output = preference.token_loss(&part, stats, prepared)?;
            seen.answers.extend(output.answers);
            seen.weights.extend(output.weights);
            Ok(output.grads)
        })?;
        progress.advance(rows.len() as u64);
    }
    Ok(seen)
}

/// Loss of given rewards or answers, for a look: nothing is learned.
pub(crate) fn loss_of_rewards(
    preference: &Preference,
    (batch, rewards): (&Batch, &[f64]),
    state: &PreferenceState,
) -> Result<PreferenceMetrics> {
    let prepared = preference.prepare_rewards(rewards, &batch.examples, state, 1.0);
    let rewards: Vec<f32> = rewards.iter().map(|reward| *reward as f32).collect();
    Ok(preference.reward_loss(&rewards, &batch.examples, 0, &prepared)?.metrics)
}

/// The same of a policy's answers.
pub(crate) fn loss_of_answers(
    preference: &Preference,
    (batch, answers): (&Batch, &[Answer]),
    mismatched: &[Answer],
    state: &PreferenceState,
) -> PreferenceMetrics {
    let prepared = preference.prepare(answers, &batch.examples, mismatched, state, 1.0);
    preference.loss(answers, &batch.examples, 0, &prepared).metrics
}

fn not_finite(what: &str) -> Problem {
    Problem::new(Kind::Diverged, "N010", what.to_string())
        .why("the weights have left the range of f32")
        .hint("lower `learning_rate`, or set `max_grad_norm`")
}
