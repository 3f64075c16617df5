//! A task whose level follows the success rate.

use lapidary_core::Result;
use lapidary_task::TaskSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::TaskChoice;
use super::check::Checker;

/// The level of a procedural task, raised when most of its questions are answered and lowered when hardly any is
/// (reasoning-gym, arXiv 2505.24760).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Difficulty {
    /// How many levels the task has; at least 1.
    pub levels: u64,
    /// The first level, from 1.
    pub start: u64,
    /// Steps over which the rate is taken; positive.
    pub window: usize,
    /// Share of right answers above which the level rises.
    pub raise_above: f64,
    /// Share of right answers below which it falls; below `raise_above`.
    pub lower_below: f64,
    /// Total reward from which an answer is right.
    pub right_from: f64,
}

/// The level of a procedural task follows the share of right answers; `lapidary tasks NAME` shows what a level sets.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDifficulty {
    /// The first level. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub start: Option<u64>,
    /// Steps at a level over which the share of right answers is taken. Default 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub window: Option<u64>,
    /// Share of right answers above which the level rises. Default 0.7.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub raise_above: Option<f64>,
    /// Share of right answers below which the level falls. Default 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub lower_below: Option<f64>,
    /// Total reward from which an answer is right. Default 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right_from: Option<f64>,
}

impl Checker<'_> {
    pub(super) fn difficulty(&self, raw: Option<RawDifficulty>, task: &TaskChoice) -> Result<Option<Difficulty>> {
        let Some(raw) = raw else { return Ok(None) };
        let levels = lapidary_task::task(&task.name).map_or(0, |info| info.levels.len() as u64);
        if levels == 0 {
            return Err(self
                .wrong_key("R028", "difficulty", "this task has no levels", "needs a task with levels")
                .hint("`lapidary tasks NAME` shows the levels of a task; data sets have none: `[stage.curriculum]` chooses among their items"));
        }
        if task.options.contains_key("level") {
            return Err(self
                .wrong_key("R028", "task.level", "the level is set twice", "`[stage.difficulty]` sets it")
                .hint("remove `level` here, or begin there with `start`"));
        }
        let table = self.within("difficulty");
        let start = table.count("start", raw.start, 1, 1)?;
        if start > levels {
            let message = format!("task `{}` has {levels} levels", task.name);
            return Err(table.wrong_value("R006", "start", message, format!("must be at most {levels}")));
        }
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let raise_above = table.number("raise_above", raw.raise_above, 0.7, share, "between 0 and 1")?;
        let lower_below = table.number("lower_below", raw.lower_below, 0.1, share, "between 0 and 1")?;
        if lower_below >= raise_above {
            let message = format!("`lower_below` = {lower_below} is not below `raise_above` = {raise_above}");
            return Err(table.wrong_value("R006", "lower_below", message, "one rate would raise and lower at once"));
        }
        for level in 1..=levels {
            let mut at = task.clone();
            at.options.insert("level".into(), json!(level));
            if let TaskSpec::Table(spec) = at.spec() {
                let built = lapidary_task::build(&TaskSpec::Table(spec), 0).map(|_| ());
                built.map_err(|problem| {
                    let problem = problem.context(format!("level {level}"));
                    problem.at(self.tree.key_place(&self.path("task"), "these options do not go with that level"))
                })?;
            }
        }
        Ok(Some(Difficulty {
            levels,
            start,
            window: table.count("window", raw.window, 5, 1)? as usize,
            raise_above,
            lower_below,
            right_from: table.number("right_from", raw.right_from, 0.5, f64::is_finite, "a number")?,
        }))
    }

    /// Two tables that each choose the prompts.
    pub(super) fn difficulty_alone(&self, others: &[(&str, bool)]) -> Result<()> {
        match others.iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((name, _)) => Err(self
                .wrong_key(
                    "R028",
                    "difficulty",
                    &format!("`difficulty` and `{name}` do not go together"),
                    "changes the task from step to step",
                )
                .hint(format!("remove one of `[stage.difficulty]` and `[stage.{name}]`: `{name}` measures one fixed set of prompts"))),
        }
    }

    fn wrong_key(&self, code: &'static str, key: &str, message: &str, label: &str) -> lapidary_core::Problem {
        lapidary_core::Problem::new(lapidary_core::Kind::Usage, code, message)
            .at(self.tree.key_place(&self.path(key), label))
    }
}

impl Difficulty {
    pub(super) fn entries(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("start", json!(self.start)),
            ("window", json!(self.window)),
            ("raise_above", json!(self.raise_above)),
            ("lower_below", json!(self.lower_below)),
            ("right_from", json!(self.right_from)),
        ]
    }
}
