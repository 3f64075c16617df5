//! A step of reinforcement learning: sample, score, compare, learn.

use std::collections::BTreeMap;
use std::sync::Arc;

use lapidary_core::{Key, Purpose, Result, TokenRole};
use lapidary_engine::{Choose, Engine};
use lapidary_reward::Mix;
use serde_json::{Map, Value};

use crate::bench::Bench;
use crate::health::{Limits, Vitals};
use crate::learn::{Against, Lesson, Rows, learn, update_of};
use crate::prompts::{Prompts, Tasks};
use crate::recipe::{RewardChoice, Rl, Truncated};
use crate::rollouts::{Sampled, Sampling, sample};
use crate::stage::{StepReport, Work, named};
use crate::state::RunState;
use crate::watch::{Metrics, Phase};

/// Rounds of sampling in a step with dynamic sampling, as verl's DAPO recipe has them (`max_num_gen_batches = 10`): a task
/// that is all solved or all unsolvable must not sample for ever.
const MAX_ROUNDS: usize = 10;

/// The work of an rl stage.
pub(crate) struct RlWork<'r> {
    rl: &'r Rl,
    prompts: Prompts,
    rewards: Mix,
    reference: Option<Arc<dyn Engine>>,
    seed: u64,
}

/// What a recipe's rewards come to, for a task whose answers are checked by `answer_means`.
pub(crate) fn mix(choices: &[RewardChoice], answer_means: &str) -> Result<Mix> {
    let entry = |choice: &RewardChoice| {
        let mut table = Map::from_iter([("name".to_string(), Value::from(choice.name.clone()))]);
        table.insert("weight".into(), choice.weight.into());
        table.extend(choice.options.clone());
        Value::Object(table)
    };
    Mix::build(&Value::Array(choices.iter().map(entry).collect()), answer_means)
}

impl<'r> RlWork<'r> {
    pub(crate) fn new(rl: &'r Rl, tasks: &mut Tasks, seed: u64) -> Result<Self> {
        let prompts = Prompts::new(tasks, &rl.task, seed)?;
        let rewards = mix(&rl.rewards, prompts.task().answer_reward())?;
        Ok(Self { rl, prompts, rewards, reference: None, seed })
    }

    /// Groups to learn from, and all that were sampled for them.
    ///
    /// With dynamic sampling (DAPO, arXiv 2503.14476, §3.2) groups whose rewards do not vary are replaced by those of new
    /// prompts until the step is full or [`MAX_ROUNDS`] are over; if none varies, the last round is reported and nothing learned.
    fn sample(&mut self, bench: &Bench<'_, '_>, state: &mut RunState) -> Result<Step> {
        let rl = self.rl;
        let wanted = rl.training.prompts_per_step;
        let key = Key::new(self.seed, Purpose::Sample).at(state.step);
        let choose = Choose::Draw { temperature: rl.temperature, top_k: rl.top_k, top_p: rl.top_p };
        let sampling = Sampling { samples: rl.samples_per_prompt, max_new_tokens: rl.max_new_tokens, choose };
        let mut step = Step::default();
        for _ in 0..if rl.objective.dynamic_sampling { MAX_ROUNDS } else { 1 } {
            let missing = wanted - step.kept.len();
            let items = (0..missing).map(|_| self.prompts.take(&mut state.cursors)).collect::<Result<Vec<_>>>()?;
            let first = step.groups.len();
            step.groups.extend(sample(bench, &items, sampling, &self.rewards, (key, first), Phase::Sample)?);
            let varies = |group: &[Sampled]| {
                let rewards: Vec<Option<f32>> = group.iter().map(|sampled| sampled.verdict.value()).collect();
                rl.objective.keeps_group(&rewards)
            };
            step.kept.extend((first..step.groups.len()).filter(|&group| varies(&step.groups[group])));
            step.rounds += 1;
            if step.kept.len() == wanted {
                break;
            }
        }
        step.teaches = !step.kept.is_empty();
        if !step.teaches {
            step.kept = (step.groups.len().saturating_sub(wanted)..step.groups.len()).collect();
        }
        Ok(step)
    }

    /// Fills in what is added for length, and the advantages; gives the metrics of the rewards.
    fn judge(&self, step: &mut Step) -> (Metrics, f64) {
        let objective = &self.rl.objective;
        for sampled in step.groups.iter_mut().flatten() {
            sampled.length_penalty = objective.length_penalty(sampled.length(), self.rl.max_new_tokens);
        }
        let kept: Vec<&Sampled> = step.kept.iter().flat_map(|&group| &step.groups[group]).collect();
        let shaped = |sampled: &&Sampled| {
            let penalty = if step.teaches { sampled.length_penalty } else { 0.0 };
            sampled.verdict.value().map(|reward| (f64::from(reward) + penalty) as f32)
        };
        let rewards: Vec<Option<f32>> = kept.iter().map(shaped).collect();
        let groups: Vec<usize> = kept.iter().map(|sampled| sampled.rollout.prompt).collect();
        let advantages = objective.advantages(&rewards, &groups);
        let mut metrics = named(advantages.metrics());
        metrics.extend(reward_metrics(&kept, objective.overlong.is_some()));
        let mut row = 0;
        for &group in &step.kept {
            for sampled in &mut step.groups[group] {
                sampled.advantage = rewards[row].filter(|_| step.teaches).map(|_| advantages.per_row[row]);
                row += 1;
            }
        }
        (metrics, advantages.reward_mean)
    }

    /// The rows of the prompts that share `update` of `updates` is to learn from; samples without a verdict are left out.
    fn rows(&self, step: &Step, update: usize, updates: usize) -> Rows {
        let share = step.kept.len() * update / updates..step.kept.len() * (update + 1) / updates;
        let mut rows = Rows::default();
        for sampled in step.kept[share].iter().flat_map(|&group| &step.groups[group]) {
            let Some(advantage) = sampled.advantage else { continue };
            let rollout = &sampled.rollout;
            let own: Vec<bool> = rollout.roles.iter().map(|role| *role == TokenRole::Policy).collect();
            let masked = self.rl.truncated == Truncated::Mask && sampled.truncated();
            rows.tokens.push(&rollout.tokens, &own, rollout.temperature);
            rows.mask.push(own.iter().map(|own| *own && !masked));
            rows.logp_rollout.push(rollout.logp.iter().copied());
            rows.advantages.push(advantage);
            rows.names.push(format!("{}#{}", sampled.id, rollout.sample));
        }
        rows
    }

    /// The optimiser steps of a step, each on its share of the prompts; gives the merged metrics of the losses.
    fn learn(&self, bench: &mut Bench<'_, '_>, state: &mut RunState, step: &Step) -> Result<Metrics> {
        let training = &self.rl.training;
        let updates = self.rl.updates_per_rollout;
        let total = training.steps * updates as u64;
        let count = step.kept.iter().map(|&group| step.groups[group].len()).sum::<usize>();
        let progress = bench.ear.progress(Phase::Learn, count as u64);
        let mut merged = Merged::default();
        let mut moved = false;
        let mut learning_rate = 0.0;
        for update in 0..updates {
            learning_rate = training.learning_rate_at(state.stage_step * updates as u64 + update as u64, total);
            let rows = self.rows(step, update, updates);
            state.tokens += rows.mask.values() as u64;
            let lesson = Lesson {
                objective: &self.rl.objective,
                against: if moved { Against::EarlierWeights } else { Against::SameWeights },
                reference: self.reference.as_deref(),
                tokens_per_microbatch: training.tokens_per_microbatch,
                max_new_tokens: self.rl.max_new_tokens,
                update: update_of(training, learning_rate),
            };
            if let Some((loss, stats)) = learn(bench, &rows, &lesson, &progress)? {
                moved = true;
                merged.add(loss.finish());
                merged.add(vec![("grad_norm", stats.grad_norm), ("weight_norm", stats.weight_norm)]);
            }
        }
        let mut metrics = merged.finish();
        metrics.push(("learning_rate".into(), learning_rate));
        metrics.push(("num_tokens".into(), state.tokens as f64));
        Ok(metrics)
    }

    fn limits(&self) -> Limits {
        let health = &self.rl.health;
        Limits {
            window: health.window as u64,
            max_zero_std: health.max_zero_std,
            min_entropy: health.min_entropy,
            max_length_drift: health.max_length_drift,
            max_no_verdict: health.max_no_verdict,
        }
    }

    fn vitals(&self, metrics: &Metrics, reward: f64) -> Vitals {
        let find = |name: &str| metrics.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
        let get = |name: &str| find(name).unwrap_or(0.0);
        // Equal rewards in a group are no loss to a method whose baseline is not the group's.
        let grouped = self.rl.objective.advantage.needs_group();
        Vitals {
            zero_std: if grouped { get("frac_reward_zero_std") } else { 0.0 },
            reward,
            // Without a trained token there is no entropy to judge.
            entropy: find("entropy").unwrap_or(f64::INFINITY),
            length: get("completions/mean_length"),
            truncated: get("completions/clipped_ratio"),
            no_verdict: get("frac_no_verdict"),
            kl: find("kl"),
            max_ratio: get("ratio/max"),
            sampler_difference: get("sampling/logp_difference/max"),
        }
    }
}

impl Work for RlWork<'_> {
    fn step(&mut self, bench: &mut Bench<'_, '_>, state: &mut RunState) -> Result<StepReport> {
        let mut step = self.sample(bench, state)?;
        let (mut metrics, reward) = self.judge(&mut step);
        metrics.extend(length_metrics(&step));
        let before = state.tokens;
        let stopwatch = bench.stopwatch;
        metrics.extend(stopwatch.time(Phase::Learn, || self.learn(bench, state, &step))?);
        if self.rl.objective.dynamic_sampling {
            metrics.push(("sampling/rounds".into(), step.rounds as f64));
        }
        let warnings = state.health.observe(state.step + 1, &self.limits(), &self.vitals(&metrics, reward));
        let sampled: usize = step.groups.iter().flatten().map(Sampled::length).sum();
        let tokens = sampled as u64 + state.tokens - before;
        Ok(StepReport { metrics, samples: step.groups.into_iter().flatten().collect(), warnings, tokens })
    }

    fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    fn set_reference(&mut self, reference: Arc<dyn Engine>) {
        self.reference = Some(reference);
    }
}

/// A step on its way.
#[derive(Default)]
struct Step {
    /// All that was sampled, by prompt.
    groups: Vec<Vec<Sampled>>,
    /// The groups to learn from, ascending.
    kept: Vec<usize>,
    /// False where dynamic sampling found no group whose rewards vary: a length penalty alone is nothing to learn.
    teaches: bool,
    rounds: usize,
}

/// `rewards/<name>/mean` and `/std` over the samples that the reward gave a verdict on.
fn reward_metrics(kept: &[&Sampled], overlong: bool) -> Metrics {
    let mut scores: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for sampled in kept {
        for (label, score) in &sampled.rewards {
            let scores = scores.entry(label).or_default();
            scores.extend(score.as_f64());
        }
    }
    let mut metrics = Metrics::new();
    for (label, scores) in &scores {
        let (mean, deviation) = mean_and_deviation(scores);
        metrics.push((format!("rewards/{label}/mean"), mean));
        metrics.push((format!("rewards/{label}/std"), deviation));
    }
    if overlong {
        let penalties: Vec<f64> = kept.iter().map(|sampled| sampled.length_penalty).collect();
        metrics.push(("rewards/overlong/mean".into(), mean_and_deviation(&penalties).0));
    }
    metrics
}

/// Mean and population deviation; 0 of nothing.
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt())
}

/// TRL's `completions/…`, over all that was sampled.
fn length_metrics(step: &Step) -> Metrics {
    let all = || step.groups.iter().flatten();
    let mut metrics = Metrics::new();
    let mut summarise = |names: [&str; 3], lengths: Vec<usize>| {
        let mean = lengths.iter().sum::<usize>() as f64 / lengths.len().max(1) as f64;
        let (least, most) = (lengths.iter().min().copied(), lengths.iter().max().copied());
        let values = [mean, least.unwrap_or(0) as f64, most.unwrap_or(0) as f64];
        metrics.extend(names.iter().zip(values).map(|(name, value)| (format!("completions/{name}"), value)));
    };
    summarise(["mean_length", "min_length", "max_length"], all().map(Sampled::length).collect());
    let ended = all().filter(|sampled| !sampled.truncated()).map(Sampled::length).collect();
    summarise(["mean_terminated_length", "min_terminated_length", "max_terminated_length"], ended);
    let cut = all().filter(|sampled| sampled.truncated()).count();
    metrics.push(("completions/clipped_ratio".into(), cut as f64 / all().count().max(1) as f64));
    metrics
}

/// Metrics of several updates as those of one step: the mean, but of extremes the extreme. Names keep their order.
#[derive(Default)]
struct Merged(Vec<(&'static str, f64, usize)>);

impl Merged {
    fn add(&mut self, values: Vec<(&'static str, f64)>) {
        for (name, value) in values {
            let Some((_, sum, count)) = self.0.iter_mut().find(|(known, ..)| *known == name) else {
                self.0.push((name, value, 1));
                continue;
            };
            *count += 1;
            *sum = match name {
                "ratio/min" => sum.min(value),
                "ratio/max" => sum.max(value),
                _ => *sum + value,
            };
        }
    }

    fn finish(self) -> Metrics {
        let mean = |(name, sum, count): (&'static str, f64, usize)| match name {
            "ratio/min" | "ratio/max" => (name.to_string(), sum),
            _ => (name.to_string(), sum / count as f64),
        };
        self.0.into_iter().map(mean).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_merge_to_means_and_extremes() {
        let mut merged = Merged::default();
        merged.add(vec![("loss", 1.0), ("ratio/min", 0.9), ("ratio/max", 1.1), ("sampling/logp_difference/max", 0.0)]);
        merged.add(vec![("loss", 2.0), ("ratio/min", 0.7), ("ratio/max", 1.3)]);
        let expected = [("loss", 1.5), ("ratio/min", 0.7), ("ratio/max", 1.3), ("sampling/logp_difference/max", 0.0)];
        assert_eq!(merged.finish(), expected.map(|(name, value)| (name.to_string(), value)));
    }

    #[test]
    fn means_of_nothing_are_zero() {
        assert_eq!(mean_and_deviation(&[]), (0.0, 0.0));
        assert_eq!(mean_and_deviation(&[1.0, 3.0]), (2.0, 1.0));
    }
}
