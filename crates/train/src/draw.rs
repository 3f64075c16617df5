//! The samples of a step, and dynamic sampling: groups that teach nothing are replaced by those of new prompts.
//!
//! ```text
//! held-over groups ─▶ [ round: oversample × missing prompts ─▶ sample ─▶ keep what can teach ] ─▶ step, surplus
//! ```
//! DAPO, arXiv 2503.14476, §3.2; over-sampling and held-over groups as in slime, the bound on rounds as in verl.

use std::collections::{BTreeMap, BTreeSet};

use lapidary_core::{Item, Key, Kind, Problem, Purpose, Result};
use lapidary_engine::{Choose, Engine, Record};

use crate::bench::Bench;
use crate::curriculum::Pool;
use crate::hint::{Given, Hinting};
use crate::judge::Judge;
use crate::prompts::Prompts;
use crate::recipe::{DynamicSampling, OnExhausted, Rl, RoutingReplay, Surplus, Truncated};
use crate::rollouts::{Sampled, Sampling, sample_after};
use crate::state::RunState;
use crate::watch::{Metrics, Phase};

/// Total reward from which an answer counts as right where no table of the stage says otherwise: the split of GTPO's rewards (arXiv 2508.04349),
/// and the middle of 0 and 1.
const RIGHT_FROM: f64 = 0.5;

/// Total reward from which an answer of the stage counts as right.
pub(crate) fn right_from(rl: &Rl) -> f64 {
    let ruled = rl.interleave.as_ref().map(|rule| rule.right_from);
    let ruled = ruled.or(rl.curriculum.as_ref().map(|rule| rule.right_from));
    ruled.or(rl.difficulty.as_ref().map(|rule| rule.right_from)).unwrap_or(RIGHT_FROM)
}

/// Why a group is not learned from; the names of `sampling/dropped/<name>`.
const REASONS: [&str; 6] = ["all_right", "all_wrong", "no_verdict", "single", "truncated", "surplus"];

/// A step on its way.
#[derive(Default)]
pub(crate) struct Step {
    /// All that was sampled, by prompt; the first `held` were sampled in the step before.
    pub(crate) groups: Vec<Vec<Sampled>>,
    /// The groups to learn from, ascending.
    pub(crate) kept: Vec<usize>,
    /// False where dynamic sampling found too little: a length penalty alone is nothing to learn.
    pub(crate) teaches: bool,
    /// Samples that only voted, by prompt of this step.
    pub(crate) voters: Vec<Vec<Sampled>>,
    held: usize,
    /// The items of those that were sampled now, and what they were given.
    items: Vec<Item>,
    given: Vec<Given>,
    rounds: usize,
    dropped: BTreeMap<&'static str, usize>,
    /// Items of the curriculum's pool that were not eligible.
    others: usize,
}

impl Step {
    /// Groups that were sampled now, of which `kept` are learned from.
    pub(crate) fn of(groups: Vec<Vec<Sampled>>, kept: Vec<usize>) -> Self {
        Self { groups, kept, teaches: true, ..Self::default() }
    }

    /// What was sampled by the weights at hand.
    pub(crate) fn fresh(&self) -> impl Iterator<Item = &Sampled> + Clone {
        self.groups[self.held..].iter().flatten()
    }

    /// The same by prompt.
    pub(crate) fn fresh_groups(&self) -> &[Vec<Sampled>] {
        &self.groups[self.held..]
    }

    /// The item of a group that was sampled now.
    pub(crate) fn item(&self, group: usize) -> Option<&Item> {
        self.items.get(group.checked_sub(self.held)?)
    }

    /// The hints of what was sampled now; nothing in a stage without.
    pub(crate) fn given(&self) -> &[Given] {
        &self.given
    }

    /// What was asked now, each with its answers.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (&Item, &[Sampled])> {
        self.items.iter().zip(self.groups[self.held..].iter().map(Vec::as_slice))
    }

    /// All samples of each prompt that was answered now, those that only voted included.
    pub(crate) fn votes(&self) -> Vec<Vec<&Sampled>> {
        let groups = self.groups[self.held..].iter().zip(&self.voters);
        groups.map(|(group, voters)| group.iter().chain(voters).collect()).collect()
    }

    /// The samples to learn from.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Sampled> + Clone {
        self.kept.iter().flat_map(|&group| &self.groups[group])
    }

    /// The samples to learn from.
    pub(crate) fn kept_mut(&mut self) -> impl Iterator<Item = &mut Sampled> {
        let kept: BTreeSet<usize> = self.kept.iter().copied().collect();
        let groups = self.groups.iter_mut().enumerate();
        groups.filter(move |(group, _)| kept.contains(group)).flat_map(|(_, group)| group)
    }

    /// How many samples are learned from.
    pub(crate) fn learned(&self) -> usize {
        self.kept().filter(|sampled| sampled.advantage.is_some()).count()
    }

    /// Mean number of optimiser steps between the weights that sampled what is learned from and `version`.
    pub(crate) fn staleness(&self, version: u64) -> f64 {
        let behind: Vec<u64> = self.kept().map(|sampled| version - sampled.rollout.weights).collect();
        behind.iter().sum::<u64>() as f64 / behind.len().max(1) as f64
    }

    /// Mean reward of what was sampled by the weights at hand, whatever was kept of it.
    pub(crate) fn reward(&self) -> Option<f64> {
        let verdicts: Vec<f64> = self.fresh().filter_map(|sampled| sampled.verdict.value()).map(f64::from).collect();
        (!verdicts.is_empty()).then(|| verdicts.iter().sum::<f64>() / verdicts.len() as f64)
    }

    /// Share of the groups sampled now whose rewards were all equal.
    pub(crate) fn flat(&self) -> f64 {
        let flat: usize =
            ["all_right", "all_wrong", "single"].iter().filter_map(|reason| self.dropped.get(reason)).sum();
        flat as f64 / (self.groups.len() - self.held).max(1) as f64
    }

    /// `sampling/…` of dynamic sampling.
    pub(crate) fn metrics(&self) -> Metrics {
        let mut metrics: Metrics = vec![
            ("sampling/rounds".into(), self.rounds as f64),
            ("sampling/prompts".into(), (self.groups.len() - self.held) as f64),
            ("sampling/held_over".into(), self.held as f64),
            ("sampling/kept".into(), if self.teaches { self.kept.len() as f64 } else { 0.0 }),
            ("sampling/reward".into(), self.reward().unwrap_or(0.0)),
        ];
        let count = |reason: &&str| self.dropped.get(reason).copied().unwrap_or(0) as f64;
        metrics.extend(REASONS.iter().map(|reason| (format!("sampling/dropped/{reason}"), count(reason))));
        metrics
    }

    /// Items that the curriculum would rather not have given.
    pub(crate) fn others(&self) -> usize {
        self.others
    }
}

/// Where the prompts of a stage come from, and how they are answered.
pub(crate) struct Drawing<'a, 'r> {
    pub(crate) rl: &'r Rl,
    pub(crate) prompts: &'a mut Prompts,
    pub(crate) pool: Option<&'a Pool<'r>>,
    pub(crate) judge: &'a Judge,
    /// Who answers; the model at hand where there is no other.
    pub(crate) sampler: Option<&'a dyn Engine>,
    pub(crate) hinting: Option<&'a Hinting<'r>>,
    pub(crate) seed: u64,
}

/// How an rl stage samples at a temperature.
pub(crate) fn sampling_of(rl: &Rl, temperature: f32) -> Sampling {
    let cut = rl.top_k > 0 || rl.top_p < 1.0;
    Sampling {
        samples: rl.samples_per_prompt,
        max_new_tokens: rl.max_new_tokens,
        choose: Choose::Draw { temperature, top_k: rl.top_k, top_p: rl.top_p },
        record: Record { support: cut, routing: rl.routing_replay == RoutingReplay::R3 },
    }
}

impl Drawing<'_, '_> {
    /// Samples until the step is full, or rounds or prompts are used up.
    pub(crate) fn fill(&mut self, bench: &Bench<'_, '_>, state: &mut RunState, temperature: f32) -> Result<Step> {
        let wanted = self.rl.training.prompts_per_step;
        let once = DynamicSampling { max_rounds: 1, ..DynamicSampling::default() };
        let rule = self.rl.dynamic_sampling.as_ref().unwrap_or(&once);
        let mut sampling = sampling_of(self.rl, temperature);
        sampling.samples = sampling.samples.max(self.judge.mix().votes().unwrap_or(0));
        sampling.record.routing |=
            self.rl.routing_replay == RoutingReplay::Off && bench.engine.model().experts.is_some();
        let key = Key::new(self.seed, Purpose::Sample).at(state.step);
        let mut step = held_over(state);
        let mut busy = BTreeSet::new();
        while step.kept.len() < wanted && step.rounds < rule.max_rounds {
            let asked = step.groups.len() - step.held;
            let left = rule.max_prompts.map_or(usize::MAX, |most| most - asked);
            let count = (((wanted - step.kept.len()) as f64 * rule.oversample).ceil() as usize).min(left);
            if count == 0 {
                break;
            }
            let (items, places) = self.take(state, count, &mut busy, &mut step)?;
            let first = step.groups.len();
            let engine = self.sampler.unwrap_or(&*bench.engine);
            let given = self.hinting.map_or_else(Vec::new, |hinting| hinting.give(bench, &items, state, first));
            let hints: Vec<&[Vec<u32>]> = given.iter().map(|given| given.tokens.as_slice()).collect();
            let (asked, key) = ((items.as_slice(), hints.as_slice()), (key, first));
            let sampled = sample_after((bench, engine), asked, sampling, self.judge, key, Phase::Sample)?;
            for mut group in sampled {
                step.voters.push(group.split_off(self.rl.samples_per_prompt.min(group.len())));
                step.groups.push(group);
            }
            step.items.extend(items);
            step.given.extend(given);
            for group in first..step.groups.len() {
                if let (Some(pool), Some(place)) = (self.pool, places.get(group - first)) {
                    pool.refresh(&mut state.curriculum, *place, &step.groups[group]);
                }
                match self.why_dropped(&step.groups[group]) {
                    None => step.kept.push(group),
                    Some(reason) => *step.dropped.entry(reason).or_default() += 1,
                }
            }
            step.rounds += 1;
        }
        self.settle(state, rule, step)
    }

    /// The next items, and where in the curriculum's pool they are.
    fn take(
        &mut self,
        state: &mut RunState,
        count: usize,
        busy: &mut BTreeSet<usize>,
        step: &mut Step,
    ) -> Result<(Vec<Item>, Vec<usize>)> {
        let Some(pool) = self.pool else {
            let items = (0..count).map(|_| self.prompts.take(&mut state.cursors)).collect::<Result<_>>()?;
            return Ok((items, Vec::new()));
        };
        let (places, others) = pool.take(&mut state.curriculum, count, busy);
        step.others += others;
        let items = places.iter().map(|&place| self.prompts.item(place)).collect::<Result<_>>()?;
        Ok((items, places))
    }

    /// Why a group is not kept; `None` where it is. Without dynamic sampling every group is.
    fn why_dropped(&self, group: &[Sampled]) -> Option<&'static str> {
        self.rl.dynamic_sampling.as_ref()?;
        let rewards: Vec<Option<f32>> = group.iter().map(|sampled| sampled.verdict.value()).collect();
        let verdicts: Vec<f64> = rewards.iter().flatten().map(|reward| f64::from(*reward)).collect();
        let cut = self.rl.truncated == Truncated::Mask && group.iter().all(Sampled::truncated);
        let right_from = right_from(self.rl);
        match verdicts.len() {
            0 => Some("no_verdict"),
            _ if cut => Some("truncated"),
            _ if self.rl.objective.keeps_group(&rewards) => None,
            1 => Some("single"),
            _ if verdicts[0] >= right_from => Some("all_right"),
            _ => Some("all_wrong"),
        }
    }

    /// Decides what the step learns from, and what waits for the next one.
    fn settle(&self, state: &mut RunState, rule: &DynamicSampling, mut step: Step) -> Result<Step> {
        let wanted = self.rl.training.prompts_per_step;
        let dynamic = self.rl.dynamic_sampling.is_some();
        let full = step.kept.len() >= wanted || !dynamic;
        if !full && rule.on_exhausted == OnExhausted::Stop {
            return Err(exhausted(&step, wanted));
        }
        step.teaches = !step.kept.is_empty() && (full || rule.on_exhausted == OnExhausted::LearnWhatThereIs);
        let surplus =
            if step.teaches { step.kept.split_off(wanted.min(step.kept.len())) } else { step.kept.split_off(0) };
        match rule.surplus {
            Surplus::NextStep => state.surplus = surplus.iter().map(|&group| step.groups[group].clone()).collect(),
            Surplus::Drop if !surplus.is_empty() => *step.dropped.entry("surplus").or_default() += surplus.len(),
            Surplus::Drop => {}
        }
        if !step.teaches {
            // The last prompts are reported, so that a step always says what its rewards look like.
            step.kept = (step.groups.len().saturating_sub(wanted)..step.groups.len()).collect();
        }
        Ok(step)
    }
}

/// Right answers among those with a verdict.
pub(crate) fn right_of<'a>(samples: impl IntoIterator<Item = &'a Sampled>, right_from: f64) -> (u64, u64) {
    let rewards = samples.into_iter().filter_map(|sampled| sampled.verdict.value());
    rewards.fold((0, 0), |(right, judged), reward| (right + u64::from(f64::from(reward) >= right_from), judged + 1))
}

/// A step that begins with the groups that the last one had no place for.
fn held_over(state: &mut RunState) -> Step {
    let mut groups = std::mem::take(&mut state.surplus);
    for (place, sampled) in
        groups.iter_mut().enumerate().flat_map(|(at, group)| group.iter_mut().map(move |it| (at, it)))
    {
        sampled.rollout.prompt = place;
    }
    let held = groups.len();
    Step { kept: (0..held).collect(), groups, held, ..Step::default() }
}

fn exhausted(step: &Step, wanted: usize) -> Problem {
    let prompts = step.groups.len() - step.held;
    let found = step.kept.len();
    let dropped: Vec<String> = step.dropped.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let message = format!("dynamic sampling found {found} of {wanted} groups that teach, in {prompts} prompts");
    Problem::new(Kind::Failed, "S012", message)
        .why(format!("the others were dropped: {}", dropped.join(", ")))
        .hint("harder or easier prompts, more `samples_per_prompt`, or `on_exhausted = \"learn_what_there_is\"` in `[stage.dynamic_sampling]`")
}
