//! A step of reinforcement learning: sample, score, compare, learn.
//!
//! ```text
//! draw ─▶ verdicts ─▶ rows ─▶ look (proximal, reference) ─▶ advantages ─▶ updates × epochs ─▶ metrics
//! ```

use std::collections::BTreeMap;
use std::ops::Range;

use lapidary_algo::{Experience, Objective};
use lapidary_core::{Key, Purpose, Result};
use lapidary_engine::Engine;
use lapidary_reward::{Mix, Reward};
use serde_json::{Map, Value};

use crate::bench::Bench;
use crate::curriculum::{Measuring, Pool};
use crate::draw::{Drawing, Step, sampling_of};
use crate::health::{Limits, Vitals};
use crate::hint::{Blend, Hinting, Mixture};
use crate::interleave::{After, Interleaver};
use crate::judge::Judge;
use crate::learn::{Learned, Lesson, learn, update_of};
use crate::levels::Ladder;
use crate::look::look;
use crate::one_shot;
use crate::prompts::{Prompts, Tasks};
use crate::recipe::{Hint, LayerUpdate, RewardChoice, Rl, RoutingReplay};
use crate::reference::Reference;
use crate::rollouts::Sampled;
use crate::rows::Rows;
use crate::second_layer::{self, Layer, Second};
use crate::stage::{Asks, StepReport, Work, named};
use crate::state::RunState;
use crate::summary::{self, Merged};
use crate::temperature::Thermostat;
use crate::votes;
use crate::watch::{Metrics, Phase};

/// The work of an rl stage.
pub(crate) struct RlWork<'r> {
    rl: &'r Rl,
    prompts: Prompts,
    /// What a one-shot stage has chosen.
    chosen: Option<String>,
    pool: Option<Pool<'r>>,
    ladder: Option<Ladder<'r>>,
    thermostat: Option<Thermostat<'r>>,
    hinting: Option<Hinting<'r>>,
    interleaver: Option<Interleaver<'r>>,
    judge: Judge,
    /// What checks the task's answers, where a vote is held: for what is logged.
    gold: Option<Box<dyn Reward>>,
    reference: Option<Reference>,
    layer: Option<Layer<'r>>,
    seed: u64,
}

/// A batch of samples to learn from in the steps of another one.
struct Taught<'a> {
    step: &'a Step,
    rows: &'a Rows,
    /// The group of the first layer that each group came from; its own place where there is none.
    origins: Option<&'a [usize]>,
    weight: f64,
}

impl Taught<'_> {
    /// The rows that came from the first layer's `groups`, in their order; samples without a verdict left out.
    fn rows_of(&self, groups: &[usize]) -> Vec<usize> {
        let mut by_origin: BTreeMap<usize, Vec<Range<usize>>> = BTreeMap::new();
        let mut start = 0;
        for &group in &self.step.kept {
            let end = start + self.step.groups[group].len();
            by_origin.entry(self.origins.map_or(group, |origins| origins[group])).or_default().push(start..end);
            start = end;
        }
        let learned: Vec<bool> = self.step.kept().map(|sampled| sampled.advantage.is_some()).collect();
        let ranges = groups.iter().filter_map(|group| by_origin.get(group)).flatten();
        ranges.flat_map(Clone::clone).filter(|&row| learned[row]).collect()
    }
}

/// What the rewards of a step look like.
struct Judged {
    metrics: Metrics,
    reward: f64,
    /// Mean KL to the reference per token, where it is part of the reward.
    kl: Option<f64>,
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
        let (prompts, chosen) = match &rl.one_shot {
            None => (Prompts::new(tasks, &rl.task, seed)?, None),
            Some(rule) => one_shot::prompts(rule, rl, tasks, seed).map(|(prompts, chosen)| (prompts, Some(chosen)))?,
        };
        let judge = Judge::new(mix(&rl.rewards, prompts.task().answer_reward())?)?;
        let gold = judge.gold(rl, prompts.task().answer_reward())?;
        let pool = rl.curriculum.as_ref().map(|rule| Pool::new(rule, &prompts, seed)).transpose()?;
        let ladder = rl.difficulty.as_ref();
        let ladder = ladder.map(|rule| Ladder::new(rule, &rl.task, tasks, seed)).transpose()?;
        let thermostat = rl.dynamic_temperature.as_ref();
        let thermostat = thermostat.map(|rule| Thermostat::new(rule, rl, prompts.share(), seed)).transpose()?;
        let layer = rl.second_layer.as_ref().map(|rule| Layer { rule, rl, seed });
        let hinting = rl.hint.as_ref().map(|rule| Hinting::new(rule, rl, &prompts, seed));
        let interleaver = rl.interleave.as_ref().map(|rule| Interleaver::new(rule, rl, prompts.share(), seed));
        Ok(Self {
            rl,
            prompts,
            chosen,
            pool,
            ladder,
            thermostat,
            hinting,
            interleaver,
            judge,
            gold,
            reference: None,
            layer,
            seed,
        })
    }

    fn temperature(&self, state: &RunState) -> f32 {
        state.temperature.current.unwrap_or(self.rl.temperature)
    }

    /// Measures the pool where that is due, and samples the step.
    fn draw(&mut self, bench: &Bench<'_, '_>, state: &mut RunState) -> Result<(Step, Metrics)> {
        let temperature = self.temperature(state);
        let mut metrics = Metrics::new();
        self.judge.recall(&state.memory);
        if let Some(pool) = &self.pool {
            let sampling = sampling_of(self.rl, temperature);
            let measuring = Measuring { prompts: &self.prompts, judge: &self.judge, sampling, step: state.step };
            let draws = pool.prepare(bench, &mut state.curriculum, &measuring, state.stage_step)?;
            metrics.push(("curriculum/draws".into(), draws as f64));
        }
        let separate = self.layer.as_ref().is_some_and(Layer::separate);
        let mut drawing = Drawing {
            rl: self.rl,
            prompts: match &mut self.ladder {
                Some(ladder) => ladder.prompts(&mut state.difficulty),
                None => &mut self.prompts,
            },
            pool: self.pool.as_ref(),
            judge: &self.judge,
            sampler: self.reference.as_ref().filter(|_| separate).and_then(Reference::engine),
            hinting: self.hinting.as_ref(),
            seed: self.seed,
        };
        let step = drawing.fill(bench, state, temperature)?;
        state.memory = self.judge.remember(step.fresh());
        if let (Some(label), Some(gold)) = (self.judge.mix().voting(), &self.gold) {
            metrics.extend(votes::metrics(&step.votes(), label, &**gold));
        }
        if let Some(pool) = &self.pool {
            metrics.extend(pool.metrics(&state.curriculum));
            metrics.push(("curriculum/others".into(), step.others() as f64));
        }
        if self.rl.dynamic_sampling.is_some() {
            metrics.extend(step.metrics());
        }
        Ok((step, metrics))
    }

    /// What is learned from: the rows of the samples that were kept, with their advantages; and what the rewards look like.
    fn judge(&self, bench: &Bench<'_, '_>, objective: &Objective, step: &mut Step) -> Result<(Rows, Judged)> {
        let exact = bench.engine.samples_as_scored()
            && step.kept().all(|sampled| sampled.rollout.weights == bench.engine.version());
        let mut rows = Rows::of(step, self.rl.truncated, self.rl.routing_replay);
        let seen = look(bench, self.rl, &mut rows, exact)?;
        if let Some(reference) = self.reference.as_ref().filter(|_| self.measures(objective)) {
            reference.look_back(bench, &mut rows, self.rl.training.tokens_per_microbatch)?;
        }
        self.penalise(objective, step);
        let rewards: Vec<Option<f32>> = step.kept().map(|sampled| sampled.verdict.value()).collect();
        let groups = one_shot::groups(self.rl.one_shot.as_ref(), step.kept());
        let dropped = one_shot::dropped(self.rl.one_shot.as_ref(), &groups, &rewards);
        // A length penalty alone is nothing to learn.
        let penalties: Vec<f32> = match step.teaches {
            true => step.kept().map(|sampled| sampled.length_penalty as f32).collect(),
            false => Vec::new(),
        };
        let advantages = objective.advantages(&Experience {
            rewards: &rewards,
            penalties: &penalties,
            groups: &groups,
            mask: Some(&rows.mask),
            logp: rows.logp_proximal.as_ref(),
            logp_reference: rows.logp_reference.as_ref(),
            entropy: seen.entropy.as_ref(),
            value: rows.value_old.as_ref(),
        })?;
        let mut metrics = named(advantages.metrics());
        metrics.extend(summary::rewards(step, objective.overlong.is_some() || objective.group_overlong.is_some()));
        let teaches = step.teaches;
        for (row, sampled) in step.kept_mut().enumerate() {
            sampled.advantage = rewards[row].filter(|_| teaches && !dropped[row]).map(|_| advantages.mean_of(row));
        }
        let judged = Judged { metrics, reward: advantages.reward_mean, kl: advantages.kl };
        rows.advantages = advantages.values;
        rows.returns = advantages.returns;
        Ok((rows, judged))
    }

    /// Whether the loss measures against the reference.
    fn measures(&self, objective: &Objective) -> bool {
        objective.needs_reference() || self.rl.hint.as_ref().is_some_and(Hint::needs_reference)
    }

    /// What is added to the reward of each sample for its length.
    fn penalise(&self, objective: &Objective, step: &mut Step) {
        let all = || step.groups.iter().flatten();
        let lengths: Vec<usize> = all().map(Sampled::length).collect();
        let rewards: Vec<Option<f32>> = all().map(|sampled| sampled.verdict.value()).collect();
        let groups = one_shot::groups(self.rl.one_shot.as_ref(), all());
        let penalties = objective.length_penalties(&lengths, &rewards, &groups, self.rl.max_new_tokens);
        for (sampled, penalty) in step.groups.iter_mut().flatten().zip(penalties) {
            sampled.length_penalty = f64::from(penalty);
        }
    }

    /// The groups of each update: in an order of their own for each pass over the rollouts, in equal shares.
    fn shares(&self, step: &Step, state: &RunState) -> Vec<Vec<usize>> {
        let (groups, updates) = (step.kept.len(), self.rl.updates_per_rollout);
        let key = Key::new(self.seed, Purpose::Shuffle).at_name("updates").at(state.step);
        let mut shares = Vec::with_capacity(self.rl.updates());
        for epoch in 0..self.rl.epochs_per_rollout as u64 {
            let order = if updates > 1 { key.at(epoch).permutation(groups) } else { (0..groups).collect() };
            for update in 0..updates {
                let share = &order[groups * update / updates..groups * (update + 1) / updates];
                shares.push(share.iter().map(|&place| step.kept[place]).collect());
            }
        }
        shares
    }

    /// The optimiser steps of a step, each on its share of the prompts; gives the merged metrics of the losses.
    fn learn(
        &self,
        bench: &mut Bench<'_, '_>,
        state: &mut RunState,
        first: &Step,
        taught: &[Taught<'_>],
    ) -> Result<Metrics> {
        let training = &self.rl.training;
        let updates = self.rl.updates() as u64;
        let total = training.steps * updates;
        let shares = self.shares(first, state);
        let shares: Vec<Vec<Vec<usize>>> =
            shares.iter().map(|groups| taught.iter().map(|taught| taught.rows_of(groups)).collect()).collect();
        let progress = bench.ear.progress(Phase::Learn, shares.iter().flatten().map(|rows| rows.len() as u64).sum());
        let mut merged: Vec<Merged> = taught.iter().map(|_| Merged::default()).collect();
        let mut learning_rate = 0.0;
        for (update, share) in shares.iter().enumerate() {
            learning_rate = training.learning_rate_at(state.stage_step * updates + update as u64, total);
            let blends = taught.iter().zip(share).map(|(taught, share)| self.blend(bench, state, (taught, share)));
            let blends: Vec<Blend> = blends.collect::<Result<_>>()?;
            state.tokens += blends.iter().map(Blend::tokens).sum::<u64>();
            let lesson = Lesson {
                parts: blends.iter().flat_map(Blend::parts).collect(),
                tokens_per_microbatch: training.tokens_per_microbatch,
                max_new_tokens: self.rl.max_new_tokens,
                update: update_of(training, learning_rate),
            };
            if let Some(Learned { losses, update, routing_changed }) = learn(bench, &lesson, &progress)? {
                let mut losses = losses.as_slice();
                for (merged, blend) in merged.iter_mut().zip(&blends) {
                    let (own, others) = losses.split_at(blend.terms());
                    merged.add(blend.metrics(own));
                    losses = others;
                }
                merged[0].add(vec![("grad_norm", update.grad_norm), ("weight_norm", update.weight_norm)]);
                merged[0].add(routing_changed.map(|share| ("routing/changed", share)).into_iter().collect());
                state.method.updated();
            }
        }
        let mut merged = merged.into_iter().map(Merged::finish);
        let mut metrics = merged.next().unwrap_or_default();
        merged.for_each(|more| metrics.extend(second_layer::losses(more)));
        metrics.push(("learning_rate".into(), learning_rate));
        metrics.push(("num_tokens".into(), state.tokens as f64));
        Ok(metrics)
    }

    /// What an update minimises on its share of the rows.
    fn blend(
        &self,
        bench: &Bench<'_, '_>,
        state: &mut RunState,
        (taught, share): (&Taught<'_>, &Vec<usize>),
    ) -> Result<Blend> {
        let objective = self.rl.objective.at(&state.method);
        let rows = taught.rows.select(share);
        let Some(hinting) = &self.hinting else {
            return Ok(Mixture::plain(&objective, taught.weight).with(rows, &[], None));
        };
        let prompts: Vec<usize> = taught.step.kept().map(|sampled| sampled.rollout.prompt).collect();
        let of_rows: Vec<usize> = share.iter().map(|&row| prompts[row]).collect();
        let mixture = hinting.mixture(&objective, state);
        let demonstrations = hinting.demonstrations(bench, state, (taught.step, &of_rows, self.rl.updates()))?;
        Ok(mixture.with(rows, &of_rows, demonstrations))
    }

    /// Second answers to those of `first`, ready to be learned from.
    fn second(&self, bench: &Bench<'_, '_>, state: &RunState, first: &Step) -> Result<Option<(Second, Rows, f64)>> {
        let Some(layer) = &self.layer else { return Ok(None) };
        let mut second = layer.sample(bench, state, first, &self.judge)?;
        let objective = self.rl.objective.at(&state.method);
        let (mut rows, judged) = self.judge(bench, &objective, &mut second.step)?;
        layer.imitate(&mut second.step, &mut rows);
        second.metrics.push(("layer2/reward".into(), judged.reward));
        Ok(Some((second, rows, layer.rule.weight)))
    }

    /// Learns from a step, and from its second layer where the stage has one; gives the second answers too.
    fn teach(
        &self,
        bench: &mut Bench<'_, '_>,
        state: &mut RunState,
        (first, rows): (&Step, &Rows),
    ) -> Result<(Metrics, Option<Step>)> {
        let stopwatch = bench.stopwatch;
        let one = Taught { step: first, rows, origins: None, weight: 1.0 };
        let Some(layer) = &self.layer else {
            return Ok((stopwatch.time(Phase::Learn, || self.learn(bench, state, first, &[one]))?, None));
        };
        let mut metrics = Metrics::new();
        let sequential = layer.rule.update == LayerUpdate::Sequential;
        if sequential && !layer.separate() {
            metrics = stopwatch.time(Phase::Learn, || self.learn(bench, state, first, std::slice::from_ref(&one)))?;
        }
        let Some((second, second_rows, weight)) = self.second(bench, state, first)? else {
            return Ok((metrics, None));
        };
        let two = Taught { step: &second.step, rows: &second_rows, origins: Some(&second.origins), weight };
        if layer.separate() {
            metrics = stopwatch.time(Phase::Learn, || self.learn(bench, state, first, &[two]))?;
        } else if sequential {
            let more = stopwatch.time(Phase::Learn, || self.learn(bench, state, first, &[two]))?;
            metrics.retain(|(name, _)| name != "num_tokens");
            metrics.extend(more.iter().filter(|(name, _)| name == "num_tokens").cloned());
            metrics.extend(second_layer::losses(more));
        } else {
            metrics = stopwatch.time(Phase::Learn, || self.learn(bench, state, first, &[one, two]))?;
        }
        metrics.extend(second.metrics);
        Ok((metrics, Some(second.step)))
    }

    /// What the reward of a step decides about the next one: the temperature, and the end of a curriculum's first part.
    fn look_ahead(&self, bench: &Bench<'_, '_>, state: &mut RunState, step: &Step) -> Result<Metrics> {
        let (mut metrics, temperature) = (Metrics::new(), self.temperature(state));
        let Some(reward) = step.reward() else { return Ok(metrics) };
        if let Some(pool) = &self.pool {
            pool.observe(&mut state.curriculum, reward);
        }
        if let Some(ladder) = &self.ladder {
            metrics.extend(ladder.observe(&mut state.difficulty, step.fresh()));
        }
        if let Some(thermostat) = &self.thermostat {
            metrics.push(("temperature".into(), f64::from(temperature)));
            metrics.extend(thermostat.observe(bench, &mut state.temperature, (temperature, reward))?);
        }
        Ok(metrics)
    }

    /// What a stage with demonstrations makes of a step; adds its numbers to those of the step.
    fn interleave(
        &self,
        bench: &mut Bench<'_, '_>,
        state: &mut RunState,
        (step, metrics): (&Step, &mut Metrics),
    ) -> Result<After> {
        let Some(interleaver) = &self.interleaver else { return Ok(After::default()) };
        let mut after = interleaver.after(bench, state, (step, &*metrics))?;
        if let Some((_, tokens)) = metrics.iter_mut().find(|(name, _)| name == "num_tokens") {
            *tokens = state.tokens as f64; // demonstrations are learned from as well
        }
        metrics.append(&mut after.metrics);
        Ok(after)
    }

    fn limits(&self) -> Limits {
        let health = &self.rl.health;
        Limits {
            window: health.window as u64,
            max_zero_std: health.max_zero_std,
            min_entropy: health.min_entropy,
            max_length_drift: health.max_length_drift,
            max_no_verdict: health.max_no_verdict,
            stop_no_verdict: health.stop_no_verdict,
        }
    }

    fn vitals(&self, metrics: &Metrics, step: &Step, reward: f64) -> Vitals {
        let find = |name: &str| find(metrics, name);
        let get = |name: &str| find(name).unwrap_or(0.0);
        // Equal rewards in a group are no loss to a method whose baseline is not the group's, and what a one-shot stage is for.
        let grouped = self.rl.objective.advantage.needs_group() && self.rl.one_shot.is_none();
        // Weights that have moved on since are no other engine.
        let own = get("sampling/staleness") == 0.0;
        Vitals {
            zero_std: if grouped { get("frac_reward_zero_std").max(step.flat()) } else { 0.0 },
            reward,
            // Without a trained token there is no entropy to judge.
            entropy: find("entropy").unwrap_or(f64::INFINITY),
            length: get("completions/mean_length"),
            truncated: get("completions/clipped_ratio"),
            no_verdict: get("frac_no_verdict"),
            kl: find("kl"),
            max_ratio: get("ratio/max"),
            sampler_difference: if own { get("sampling/logp_difference/max") } else { 0.0 },
        }
    }
}

impl Work for RlWork<'_> {
    fn step(&mut self, bench: &mut Bench<'_, '_>, state: &mut RunState) -> Result<StepReport> {
        if let Some(chosen) = &self.chosen {
            state.one_shot.hold(chosen)?;
        }
        if let Some(interleaver) = &self.interleaver {
            interleaver.before(bench, state)?;
        }
        let (mut step, drawn) = self.draw(bench, state)?;
        let stopwatch = bench.stopwatch;
        let objective = self.rl.objective.at(&state.method);
        let (rows, judged) = stopwatch.time(Phase::Learn, || self.judge(bench, &objective, &mut step))?;
        let mut metrics = judged.metrics;
        metrics.extend(summary::lengths(&step));
        metrics.extend(summary::solved(&step, self.rl));
        metrics.push(("sampling/staleness".into(), step.staleness(bench.engine.version())));
        let before = state.tokens;
        let (learned, second) = self.teach(bench, state, (&step, &rows))?;
        metrics.extend(learned);
        if let (Some(kl), None) = (judged.kl, find(&metrics, "kl")) {
            metrics.push(("kl".into(), kl));
        }
        if let Some(kl) = judged.kl.or(find(&metrics, "kl")).filter(|_| objective.kl.adaptive.is_some()) {
            metrics.push(("kl_coefficient".into(), objective.kl.coefficient));
            state.method.saw_kl(&self.rl.objective, kl, step.learned());
        }
        if let Some(hinting) = &self.hinting {
            metrics.extend(hinting.observe(state, &step));
        }
        metrics.extend(drawn);
        let mut evaluate = false;
        if let Some(rule) = &self.rl.one_shot {
            let (more, saturated) = one_shot::observe(rule, &step, state.step + 1, &mut state.one_shot);
            metrics.extend(more);
            evaluate = saturated;
        }
        metrics.extend(self.look_ahead(bench, state, &step)?);
        self.judge.follow(&*bench.engine);
        let after = self.interleave(bench, state, (&step, &mut metrics))?;
        let mut warnings =
            state.health.observe(state.step + 1, &self.limits(), &self.vitals(&metrics, &step, judged.reward));
        let stop =
            state.health.check_rewards(&self.limits(), &summary::failures(&step), |label| last_words(&step, label));
        let second = second.into_iter().flat_map(|second| second.groups).flatten();
        warnings.extend(after.warnings);
        let sampled: usize = step.fresh().map(Sampled::length).sum();
        if state.stage_step == 0 {
            warnings.extend(self.judge.warn(state.step + 1, objective.kl.coefficient));
        }
        let mut samples: Vec<Sampled> = step.groups.into_iter().chain(step.voters).flatten().collect();
        let first = samples.len();
        samples.extend(second);
        let sampled = sampled + samples[first..].iter().map(Sampled::length).sum::<usize>();
        let tokens = sampled as u64 + state.tokens - before;
        if self.rl.routing_replay != RoutingReplay::R3 {
            // Only measured: not worth its place in the files of rollouts.
            samples.iter_mut().for_each(|sampled| sampled.rollout.routing = None);
        }
        let (transitions, stop) = (after.transitions, stop.err());
        Ok(StepReport { metrics, samples, warnings, transitions, tokens, stop, evaluate, ..StepReport::default() })
    }

    fn prompts(&self) -> &Prompts {
        self.ladder.as_ref().map_or(&self.prompts, Ladder::hardest)
    }

    fn asks(&self) -> Asks {
        self.judge.asks()
    }

    fn set_reference(&mut self, reference: Reference) {
        if self.judge.asks().frozen {
            self.judge.set_frozen(reference.clone());
        }
        let separate = self.layer.as_ref().is_some_and(Layer::separate);
        self.reference = Some(reference).filter(|_| self.measures(&self.rl.objective) || separate);
    }

    fn set_mean(&mut self, mean: Box<dyn Engine>) {
        self.judge.set_mean(mean);
    }

    fn mean(&self) -> Option<&dyn Engine> {
        self.judge.mean()
    }
}

/// Why a reward gave no verdict, from the last completion that it failed on.
fn last_words(step: &Step, label: &str) -> Option<String> {
    let failed = |sampled: &&Sampled| sampled.rewards.get(label).is_some_and(Value::is_null);
    step.fresh().filter(failed).last().map(|sampled| sampled.verdict.reason().to_string())
}

fn find(metrics: &Metrics, name: &str) -> Option<f64> {
    metrics.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
}
