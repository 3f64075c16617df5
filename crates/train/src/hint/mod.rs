//! UFT: answers that go on from a part of the demonstration (arXiv 2505.16984).
//!
//! ```text
//! item ─▶ prompt ‖ hint ─▶ answers ─▶ verdict of hint and answer ─▶ policy loss of the answer + likelihood of the hint
//! ```
//! How long a hint is falls over the stage to nothing, so that rewards are found at all in the beginning and what is left at the end is
//! the policy's own. Hint and prompt are tokenised apart; hint tokens have a role of their own, are scored, and never enter the
//! policy's loss. Evaluation gives no hint.

mod blend;
mod demonstrations;
mod pieces;
mod schedule;
#[cfg(test)]
mod testing;

use lapidary_core::{Item, Key, Purpose, Result, TokenRole};
use serde::{Deserialize, Serialize};

pub(crate) use blend::{Blend, Mixture};
use demonstrations::Demonstrations;
use pieces::Pieces;

use crate::bench::Bench;
use crate::draw::{Step, right_from, right_of};
use crate::prompts::Prompts;
use crate::recipe::{AlphaSchedule, Hint, HintObjective, HintScope, Rl, SftTarget};
use crate::rollouts::Sampled;
use crate::state::RunState;
use crate::watch::Metrics;

/// Weight of the steps before in the smoothed share of right answers.
const MEMORY: f64 = 0.9;

/// What a stage with hints remembers. How long hints are follows from the step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HintState {
    /// Smoothed share of right answers; `None` before the first step.
    pub success: Option<f64>,
}

/// What an item was given.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Given {
    /// Ids of the hint of each sample, or of all of them where there is one list; empty is none.
    pub(crate) tokens: Vec<Vec<u32>>,
    /// Share of the demonstration that each of these is.
    pub(crate) shares: Vec<f64>,
    /// Whether there is nothing to take a hint from.
    pub(crate) missing: bool,
}

/// The rule of a stage with hints.
pub(crate) struct Hinting<'r> {
    rule: &'r Hint,
    right_from: f64,
    samples: usize,
    steps: u64,
    seed: u64,
    demonstrations: Demonstrations,
}

impl<'r> Hinting<'r> {
    pub(crate) fn new(rule: &'r Hint, rl: &Rl, prompts: &Prompts, seed: u64) -> Self {
        let demonstrations = Demonstrations::new(prompts, seed);
        Self {
            rule,
            right_from: right_from(rl),
            samples: rl.samples_per_prompt,
            steps: rl.training.steps,
            seed,
            demonstrations,
        }
    }

    /// The hints of items, drawn when the step is put together: the same for a prompt wherever it is sampled. Item `i` is prompt
    /// `first + i` of the step.
    pub(crate) fn give(&self, bench: &Bench<'_, '_>, items: &[Item], state: &RunState, first: usize) -> Vec<Given> {
        let key = Key::new(self.seed, Purpose::Sample).at_name("hint").at(state.step);
        let one =
            |(at, item): (usize, &Item)| self.give_one(bench, item, state.stage_step + 1, key.at((first + at) as u64));
        items.iter().enumerate().map(one).collect()
    }

    fn give_one(&self, bench: &Bench<'_, '_>, item: &Item, t: u64, key: Key) -> Given {
        let pieces = Pieces::of(item, self.rule.unit, bench.tokenizer);
        let ends = schedule::boundaries(pieces.len(), self.rule.chunks);
        let draw = |key: Key| {
            let shown = ends[schedule::chunks_shown(self.rule, t, ends.len() - 1, key)];
            (pieces.first(shown, bench.tokenizer), shown as f64 / pieces.len().max(1) as f64)
        };
        let missing = pieces.len() == 0;
        if self.rule.scope == HintScope::Group && self.rule.hinted_samples == self.samples {
            let (tokens, share) = draw(key);
            return Given { tokens: vec![tokens], shares: vec![share], missing };
        }
        let of_sample = |sample: usize| match self.rule.scope {
            _ if sample >= self.rule.hinted_samples => (Vec::new(), 0.0),
            HintScope::Group => draw(key),
            HintScope::PerRollout => draw(key.at(sample as u64)),
        };
        let (tokens, shares) = (0..self.samples).map(of_sample).unzip();
        Given { tokens, shares, missing }
    }

    /// The article's α at the next step.
    fn alpha(&self, state: &RunState) -> f64 {
        match &self.rule.objective {
            HintObjective::Article(article) => {
                let success = state.hint.success.unwrap_or(0.0);
                schedule::alpha(article, (state.stage_step + 1, self.steps), success)
            }
            _ => 0.0,
        }
    }

    /// What the updates of a step minimise.
    pub(crate) fn mixture(&self, objective: &lapidary_algo::Objective, state: &RunState) -> Mixture {
        Mixture::of(self.rule, objective, self.alpha(state))
    }

    /// The demonstrations that an update learns beside its samples, one of `updates`; `prompts` says of
    /// which group each of its rows is.
    pub(crate) fn demonstrations(
        &self,
        bench: &Bench<'_, '_>,
        state: &mut RunState,
        (step, prompts, updates): (&Step, &[usize], usize),
    ) -> Result<Option<crate::rows::Rows>> {
        if self.rule.learns_solutions() {
            let mut groups = prompts.to_vec();
            groups.dedup();
            return demonstrations::rows_of(bench, groups.iter().filter_map(|&group| step.item(group)).cloned());
        }
        match &self.rule.objective {
            HintObjective::Article(article) if article.target == SftTarget::SeparateDemoBatch => {
                let count = article.demonstrations.div_ceil(updates);
                let items = self.demonstrations.take(&mut state.cursors, count)?;
                demonstrations::rows_of(bench, items)
            }
            _ => Ok(None),
        }
    }

    /// What the hints of a step were and how answers did with and without them; takes the share of right ones into account.
    pub(crate) fn observe(&self, state: &mut RunState, step: &Step) -> Metrics {
        let mut metrics: Metrics = vec![("hint/p".into(), schedule::probability(self.rule, state.stage_step + 1))];
        if let HintObjective::Article(article) = &self.rule.objective {
            metrics.push(("hint/alpha".into(), self.alpha(state)));
            if article.schedule == AlphaSchedule::SuccessRate {
                metrics.push(("hint/success".into(), state.hint.success.unwrap_or(0.0)));
            }
        }
        metrics.extend(lengths(step));
        metrics.extend(outcomes(step, self.right_from));
        if let Some(right) = share_of_right(step.fresh(), self.right_from) {
            let before = state.hint.success.unwrap_or(right);
            state.hint.success = Some(MEMORY * before + (1.0 - MEMORY) * right);
        }
        metrics
    }
}

/// How long the hints of a step are: shares of the demonstration, tokens, and how often there was nothing to take one from.
fn lengths(step: &Step) -> Metrics {
    let given = step.given();
    let shares: Vec<f64> = given.iter().flat_map(|given| given.shares.iter().copied()).collect();
    let tokens: usize = given.iter().flat_map(|given| given.tokens.iter().map(Vec::len)).sum();
    let count = shares.len().max(1) as f64;
    let missing = given.iter().filter(|given| given.missing).count() as f64 / given.len().max(1) as f64;
    vec![
        ("hint/share_mean".into(), shares.iter().sum::<f64>() / count),
        ("hint/share_min".into(), shares.iter().copied().fold(1.0, f64::min)),
        ("hint/share_max".into(), shares.iter().copied().fold(0.0, f64::max)),
        ("hint/tokens".into(), tokens as f64 / count),
        ("hint/missing".into(), missing),
    ]
}

/// Rewards and right answers with and without a hint, where there are such, and the share of prompts with a right answer.
fn outcomes(step: &Step, right_from: f64) -> Metrics {
    let hinted = |sampled: &&Sampled| sampled.rollout.roles.contains(&TokenRole::Hint);
    let mut metrics = Metrics::new();
    for (with, reward, right) in
        [(true, "hint/reward", "hint/right"), (false, "hint/reward_without", "hint/right_without")]
    {
        let some = || step.fresh().filter(|sampled| hinted(sampled) == with);
        let values: Vec<f64> = some().filter_map(|sampled| sampled.verdict.value()).map(f64::from).collect();
        if let Some(share) = share_of_right(some(), right_from) {
            metrics.push((reward.into(), values.iter().sum::<f64>() / values.len() as f64));
            metrics.push((right.into(), share));
        }
    }
    let groups = step.fresh_groups();
    let solved = groups.iter().filter(|group| right_of(*group, right_from).0 > 0).count();
    metrics.push(("hint/solved".into(), solved as f64 / groups.len().max(1) as f64));
    metrics
}

/// Of those with a verdict; `None` without any.
fn share_of_right<'a>(samples: impl Iterator<Item = &'a Sampled>, right_from: f64) -> Option<f64> {
    let (right, all) = right_of(samples, right_from);
    (all > 0).then(|| right as f64 / all as f64)
}
