//! The level of a procedural task's questions, raised and lowered by how many are answered: reasoning-gym's automatic
//! curriculum (arXiv 2505.24760), over a window of steps.
//!
//! ```text
//! rate = right answers / answers with a verdict, over the last `window` steps at this level
//! rate > raise_above: one level up;   rate < lower_below: one level down;   either way the window begins anew
//! ```
//! Every level is a task of its own with a cursor of its own: coming back to a level goes on where it was left.

use lapidary_core::Result;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::prompts::{Prompts, Tasks};
use crate::recipe::{Difficulty, TaskChoice};
use crate::rollouts::Sampled;
use crate::watch::Metrics;

/// What is remembered of a stage's level between steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelState {
    /// The level, from 1; 0 before the first step.
    pub level: u64,
    /// Right answers and answers with a verdict of the last steps at this level, oldest first; never more than the window.
    pub recent: Vec<(u64, u64)>,
}

/// The levels of a stage's task, and the rule by which they change.
pub(crate) struct Ladder<'r> {
    rule: &'r Difficulty,
    levels: Vec<Prompts>,
}

impl<'r> Ladder<'r> {
    pub(crate) fn new(rule: &'r Difficulty, task: &TaskChoice, tasks: &mut Tasks, seed: u64) -> Result<Self> {
        let at = |level: u64| {
            let mut choice = task.clone();
            choice.options.insert("level".into(), json!(level));
            Prompts::new(tasks, &choice, seed)
        };
        Ok(Self { rule, levels: (1..=rule.levels).map(at).collect::<Result<_>>()? })
    }

    /// The prompts of the level at hand.
    pub(crate) fn prompts(&mut self, state: &mut LevelState) -> &mut Prompts {
        if state.level == 0 {
            state.level = self.rule.start;
        }
        &mut self.levels[state.level as usize - 1]
    }

    /// The prompts of the hardest level: the longest that there may be.
    pub(crate) fn hardest(&self) -> &Prompts {
        &self.levels[self.levels.len() - 1]
    }

    /// Takes the answers of a step into account; they belong to the level at hand.
    pub(crate) fn observe<'s>(&self, state: &mut LevelState, samples: impl Iterator<Item = &'s Sampled>) -> Metrics {
        let verdicts = samples.filter_map(|sampled| sampled.verdict.value()).map(f64::from);
        let count =
            |(right, judged): (u64, u64), value: f64| (right + u64::from(value >= self.rule.right_from), judged + 1);
        let (right, judged) = verdicts.fold((0, 0), count);
        let level = state.level;
        let mut metrics = vec![("difficulty/level".into(), level as f64)];
        if judged > 0 {
            metrics.push(("difficulty/rate".into(), right as f64 / judged as f64));
            state.observe(self.rule, (right, judged));
        }
        metrics
    }
}

impl LevelState {
    fn observe(&mut self, rule: &Difficulty, counts: (u64, u64)) {
        self.recent.push(counts);
        let surplus = self.recent.len().saturating_sub(rule.window);
        self.recent.drain(..surplus);
        if self.recent.len() < rule.window {
            return;
        }
        let (right, judged) = self.recent.iter().fold((0, 0), |sum, step| (sum.0 + step.0, sum.1 + step.1));
        let rate = right as f64 / judged as f64;
        let next = match rate {
            rate if rate > rule.raise_above => (self.level + 1).min(rule.levels),
            rate if rate < rule.lower_below => (self.level - 1).max(1),
            _ => self.level,
        };
        if next != self.level {
            *self = Self { level: next, recent: Vec::new() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Difficulty {
        Difficulty { levels: 3, start: 2, window: 2, raise_above: 0.7, lower_below: 0.1, right_from: 0.5 }
    }

    /// The levels after each step of so many right answers of ten.
    fn path(rule: &Difficulty, rights: &[u64]) -> Vec<u64> {
        let mut state = LevelState { level: rule.start, recent: Vec::new() };
        let step = |right: &u64| {
            state.observe(rule, (*right, 10));
            state.level
        };
        rights.iter().map(step).collect()
    }

    #[test]
    fn a_level_rises_and_falls_once_the_window_is_full() {
        assert_eq!(path(&rule(), &[8, 8, 8, 8, 10, 10]), [2, 3, 3, 3, 3, 3], "up, and never above the last");
        assert_eq!(path(&rule(), &[0, 1, 0, 1, 0, 0]), [2, 1, 1, 1, 1, 1], "down, and never below the first");
        assert_eq!(path(&rule(), &[10, 4, 10, 4, 3, 0]), [2; 6].map(|level| level), "exactly at a threshold it stays");
    }

    #[test]
    fn after_a_change_the_window_begins_anew() {
        let path = path(&rule(), &[0, 0, 10, 10, 10, 10]);
        assert_eq!(path, [2, 1, 1, 2, 2, 3], "each change takes two steps, whatever was before");
    }

    #[test]
    fn steps_weigh_by_their_answers() {
        let mut state = LevelState { level: 1, recent: Vec::new() };
        state.observe(&rule(), (1, 1));
        state.observe(&rule(), (60, 99));
        assert_eq!(state.level, 1, "61 of 100 is not above 0.7, though the mean of the rates is");
        let mut state = LevelState { level: 1, recent: Vec::new() };
        state.observe(&rule(), (1, 1));
        state.observe(&rule(), (8, 9));
        assert_eq!(state, LevelState { level: 2, recent: Vec::new() });
    }
}
