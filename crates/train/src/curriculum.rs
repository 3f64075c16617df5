//! Prompts by difficulty (GLM-4.5, arXiv 2508.06471, §3.2): moderate ones first, then those that eight draws miss and five
//! hundred do not.
//!
//! ```text
//! measure: 8 draws per item                               rate = right / draws
//! moderate:  0 < rate < 1 over the draws
//! hard:      8 draws all wrong, then at least one right within 512 draws in all
//! refresh:   rate ← rate + refresh · (share of right answers in the step − rate)
//! ```
//! Draws are counted literally: an unbiased pass@8 of one success in 512 is 0.0156, not 0, so no estimator stands in for them.

use std::collections::BTreeSet;

use lapidary_core::{Item, Key, Kind, Problem, Purpose, Result};
use serde::{Deserialize, Serialize};

use crate::bench::Bench;
use crate::judge::Judge;
use crate::prompts::Prompts;
use crate::recipe::{Curriculum, Switch};
use crate::rollouts::{Sampled, Sampling, sample};
use crate::trend::Trend;
use crate::watch::{Metrics, Phase};

/// Sequences that are sampled together while measuring: bounds memory whatever the pool.
const SEQUENCES_AT_ONCE: usize = 256;
/// Draws between two looks at whether a hard item was solved: few enough to stop early, many enough to fill a batch.
const DRAWS_AT_ONCE: usize = 64;

/// What is known of an item's difficulty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difficulty {
    /// Answers with a verdict.
    pub tried: u64,
    /// Of those, right ones.
    pub right: u64,
    /// Share of right answers, newer ones weighing more.
    pub rate: f64,
    /// Whether the first draws were all wrong and a later one was right.
    pub hard: bool,
    /// How often it was a prompt of a step.
    pub taken: u64,
}

/// What is remembered of a curriculum between steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurriculumState {
    /// One per item of the pool; empty before it was measured.
    pub pool: Vec<Difficulty>,
    /// Whether hard items have taken over.
    pub hard: bool,
    /// Whether the pool held no hard item when they should have taken over: then moderate ones stay.
    pub gave_up: bool,
    /// How the reward has run.
    pub trend: Trend,
}

/// A pool of prompts and the rule by which they are chosen.
pub(crate) struct Pool<'r> {
    rule: &'r Curriculum,
    len: usize,
    seed: u64,
}

/// How a pool is measured: how answers are drawn and scored, and at which step of the run.
pub(crate) struct Measuring<'a> {
    pub(crate) prompts: &'a Prompts,
    pub(crate) judge: &'a Judge,
    pub(crate) sampling: Sampling,
    pub(crate) step: u64,
}

impl<'r> Pool<'r> {
    pub(crate) fn new(rule: &'r Curriculum, prompts: &Prompts, seed: u64) -> Result<Self> {
        let name = prompts.task().name();
        let len = match (rule.pool, prompts.len()) {
            (None, None) => {
                return Err(Problem::new(Kind::Usage, "R022", format!("task `{name}` has no end, so it is no pool"))
                    .hint("say how many of its items make the pool: `[stage.curriculum]` with `pool = 512`"));
            }
            (Some(wanted), None) => wanted,
            (wanted, Some(len)) => wanted.unwrap_or(len).min(len),
        };
        Ok(Self { rule, len, seed })
    }

    /// Whether the item is one to learn from now.
    fn eligible(&self, state: &CurriculumState, item: &Difficulty) -> bool {
        // Half a draw from the ends: k right of n draws is inside iff 0 < k < n, and a refreshed rate may leave for good.
        let margin = 0.5 / self.rule.draws as f64;
        match state.hard {
            false => item.rate > margin && item.rate < 1.0 - margin,
            true => item.hard && item.rate < 1.0 - margin,
        }
    }

    /// The next `count` items that are not in `busy`, which they join: eligible ones that were taken least, then, where
    /// those do not suffice, the others that are nearest to being solved half the time. A pool smaller than a step is gone
    /// through again. Gives their indices, and how many were not eligible.
    pub(crate) fn take(
        &self,
        state: &mut CurriculumState,
        count: usize,
        busy: &mut BTreeSet<usize>,
    ) -> (Vec<usize>, usize) {
        let key = Key::new(self.seed, Purpose::Shuffle).at_name("curriculum");
        let (mut out, mut others) = (Vec::with_capacity(count), 0);
        while out.len() < count {
            if busy.len() == state.pool.len() {
                busy.clear();
            }
            let mut free: Vec<usize> = (0..state.pool.len()).filter(|index| !busy.contains(index)).collect();
            let rank = |&index: &usize| {
                let item = &state.pool[index];
                let eligible = self.eligible(state, item);
                // Positive numbers are ordered as their bits are.
                let far = if eligible { 0 } else { (item.rate - 0.5).abs().to_bits() };
                (!eligible, far, item.taken, key.at(item.taken).at(index as u64).bits())
            };
            free.sort_by_key(rank);
            for index in free.into_iter().take(count - out.len()) {
                others += usize::from(!self.eligible(state, &state.pool[index]));
                busy.insert(index);
                out.push(index);
            }
        }
        out.iter().for_each(|&index| state.pool[index].taken += 1);
        (out, others)
    }

    /// Takes the answers of a step to item `index` into account.
    pub(crate) fn refresh(&self, state: &mut CurriculumState, index: usize, group: &[Sampled]) {
        let (tried, right) = self.count(group);
        let item = &mut state.pool[index];
        item.tried += tried;
        item.right += right;
        if tried > 0 {
            item.rate += self.rule.refresh * (right as f64 / tried as f64 - item.rate);
        }
    }

    /// Answers with a verdict, and right ones.
    fn count(&self, group: &[Sampled]) -> (u64, u64) {
        let verdicts = group.iter().filter_map(|sampled| sampled.verdict.value());
        verdicts.fold((0, 0), |(tried, right), value| {
            (tried + 1, right + u64::from(f64::from(value) >= self.rule.right_from))
        })
    }

    /// Measures what has to be measured before a step: everything at first, and again when the hard items take over.
    /// Gives the draws made.
    pub(crate) fn prepare(
        &self,
        bench: &Bench<'_, '_>,
        state: &mut CurriculumState,
        measuring: &Measuring<'_>,
        stage_step: u64,
    ) -> Result<u64> {
        let mut draws = 0;
        if state.pool.is_empty() {
            state.pool = vec![Difficulty::default(); self.len];
            draws += self.measure(bench, state, measuring)?;
        }
        let due = match self.rule.switch {
            Switch::Never => false,
            Switch::Step(step) => stage_step >= step,
            Switch::Plateau { window, slope } => state.trend.slope(window).is_some_and(|rise| rise < slope),
        };
        if due && !state.hard && !state.gave_up {
            draws += self.measure(bench, state, measuring)?;
            draws += self.measure_hard(bench, state, measuring)?;
            state.hard = state.pool.iter().any(|item| item.hard);
            state.gave_up = !state.hard;
        }
        Ok(draws)
    }

    /// `draws` answers to every item; what was known of its rate is forgotten.
    fn measure(&self, bench: &Bench<'_, '_>, state: &mut CurriculumState, measuring: &Measuring<'_>) -> Result<u64> {
        let all: Vec<usize> = (0..self.len).collect();
        let counted = self.draw(bench, measuring, &all, (0, self.rule.draws))?;
        for (item, (tried, right)) in state.pool.iter_mut().zip(&counted) {
            let rate = *right as f64 / (*tried).max(1) as f64;
            *item = Difficulty { tried: *tried, right: *right, rate, hard: false, taken: item.taken };
        }
        Ok((self.len * self.rule.draws) as u64)
    }

    /// More answers to the items whose draws were all wrong, until one is right or `hard_draws` are made in all.
    fn measure_hard(
        &self,
        bench: &Bench<'_, '_>,
        state: &mut CurriculumState,
        measuring: &Measuring<'_>,
    ) -> Result<u64> {
        let (mut made, mut draws) = (self.rule.draws, 0);
        let unsolved = |state: &CurriculumState| -> Vec<usize> {
            let all_wrong = |item: &Difficulty| item.tried > 0 && item.right == 0;
            (0..state.pool.len()).filter(|&index| all_wrong(&state.pool[index])).collect()
        };
        while made < self.rule.hard_draws {
            let (open, count) = (unsolved(state), DRAWS_AT_ONCE.min(self.rule.hard_draws - made));
            if open.is_empty() {
                break;
            }
            for (&index, (tried, right)) in open.iter().zip(self.draw(bench, measuring, &open, (made, count))?) {
                let item = &mut state.pool[index];
                item.tried += tried;
                item.right += right;
                item.hard = item.right > 0;
                item.rate = item.right as f64 / item.tried as f64;
            }
            made += count;
            draws += (open.len() * count) as u64;
        }
        Ok(draws)
    }

    /// `count` answers to each of the items, after `made` earlier ones: how many have a verdict, and how many are right.
    fn draw(
        &self,
        bench: &Bench<'_, '_>,
        measuring: &Measuring<'_>,
        indices: &[usize],
        (made, count): (usize, usize),
    ) -> Result<Vec<(u64, u64)>> {
        let root = Key::new(self.seed, Purpose::Sample).at_name("measure").at(measuring.step).at(made as u64);
        let sampling = Sampling { samples: count, ..measuring.sampling };
        let mut counted = Vec::with_capacity(indices.len());
        for chunk in indices.chunks((SEQUENCES_AT_ONCE / count).max(1)) {
            let items = chunk.iter().map(|&index| measuring.prompts.item(index)).collect::<Result<Vec<Item>>>()?;
            let place = (root, counted.len());
            let groups = sample((bench, &*bench.engine), &items, sampling, measuring.judge, place, Phase::Measure)?;
            counted.extend(groups.iter().map(|group| self.count(group)));
        }
        Ok(counted)
    }

    /// What the pool looks like; `observe` the reward of the step first.
    pub(crate) fn metrics(&self, state: &CurriculumState) -> Metrics {
        let count = |keep: &dyn Fn(&Difficulty) -> bool| state.pool.iter().filter(|item| keep(item)).count() as f64;
        vec![
            ("curriculum/phase".into(), if state.hard { 2.0 } else { 1.0 }),
            ("curriculum/eligible".into(), count(&|item| self.eligible(state, item))),
            ("curriculum/unsolved".into(), count(&|item| item.right == 0)),
            ("curriculum/rate".into(), state.pool.iter().map(|item| item.rate).sum::<f64>() / self.len as f64),
        ]
    }

    /// Takes the mean reward of a step into account.
    pub(crate) fn observe(&self, state: &mut CurriculumState, reward: f64) {
        if let Switch::Plateau { window, .. } = self.rule.switch {
            state.trend.observe(reward, window);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Curriculum {
        let switch = Switch::Never;
        Curriculum { pool: Some(4), draws: 8, hard_draws: 512, right_from: 0.5, refresh: 0.5, switch }
    }

    fn measured(right: u64) -> Difficulty {
        Difficulty { tried: 8, right, rate: right as f64 / 8.0, ..Difficulty::default() }
    }

    #[test]
    fn moderate_is_some_but_not_all_of_the_draws() {
        let rule = rule();
        let pool = Pool { rule: &rule, len: 4, seed: 1 };
        let state = CurriculumState::default();
        let moderate: Vec<u64> = (0..=8).filter(|&right| pool.eligible(&state, &measured(right))).collect();
        assert_eq!(moderate, [1, 2, 3, 4, 5, 6, 7]);
        let hard = CurriculumState { hard: true, ..state };
        assert!(!pool.eligible(&hard, &measured(1)), "8 tried with 1 success is not hard");
        assert!(pool.eligible(&hard, &Difficulty { tried: 512, right: 1, rate: 1.0 / 512.0, hard: true, taken: 0 }));
    }

    #[test]
    fn the_least_taken_come_first_and_the_others_only_where_they_must() {
        let rule = rule();
        let pool = Pool { rule: &rule, len: 4, seed: 1 };
        let mut state =
            CurriculumState { pool: vec![measured(0), measured(4), measured(8), measured(3)], ..Default::default() };
        let mut busy = BTreeSet::new();
        let (mut first, others) = pool.take(&mut state, 2, &mut busy);
        first.sort_unstable();
        assert_eq!((first, others), (vec![1, 3], 0));
        let (more, others) = pool.take(&mut state, 1, &mut busy);
        assert!(others == 1 && [0, 2].contains(&more[0]), "both are as far from half");
        let (step, others) = pool.take(&mut state, 3, &mut BTreeSet::new());
        assert_eq!(others, 1, "{step:?}");
        let (all, _) = pool.take(&mut state, 9, &mut BTreeSet::new());
        assert_eq!(all.len(), 9, "a pool smaller than a step is gone through again");
    }
}
