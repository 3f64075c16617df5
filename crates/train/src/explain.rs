//! The story of a run, from the files that it left: what its stages did, what was switched and why, what helped.
//!
//! Everything said here stands in `recipe.toml`, `metrics.jsonl`, `events.jsonl` and `evaluations/`; nothing is computed again but
//! paired differences between evaluations.

use std::collections::BTreeMap;
use std::path::Path;

use lapidary_core::{Kind, Problem, Result};
use lapidary_eval::{Comparison, Evaluation, compare};
use serde::Serialize;
use serde_json::Value;

use crate::disk::read_whole;
use crate::evaluate;
use crate::metrics::{Row, read_rows};
use crate::recipe::{Recipe, Stage};
use crate::run_dir::pairs_at;

/// Lines of events are short; this is millions of steps.
const EVENTS_LIMIT_BYTES: u64 = 1 << 30;
/// Pairs are two answers and a prompt a line.
const PAIRS_LIMIT_BYTES: u64 = 8 << 30;
/// A stage's start and end are judged by this share of its steps, at least one.
const ENDS: usize = 10;

/// What a run did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Story {
    /// Its name.
    pub name: String,
    /// What it started from.
    pub model: String,
    /// `finished`, `stopped`, `failed`, or `running` where no end was written.
    pub status: String,
    /// Why it failed.
    pub why: Option<String>,
    /// Steps that are done.
    pub steps: u64,
    /// Launches beyond the first: it was stopped or killed, and went on.
    pub resumed: usize,
    /// Its stages, in order, as far as they were reached.
    pub stages: Vec<Chapter>,
    /// Changes of mode inside stages, in order.
    pub switches: Vec<Switched>,
    /// What the health rules said, by rule.
    pub warnings: Vec<Warned>,
}

/// A stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chapter {
    /// Its number, from 1.
    pub stage: usize,
    /// `sft`, or its method.
    pub name: String,
    /// What it learned from.
    pub task: String,
    /// Steps that are done.
    pub steps: u64,
    /// Mean reward of the first and of the last tenth of its steps, where it has rewards.
    pub reward: Option<[f64; 2]>,
    /// The same of the loss.
    pub loss: Option<[f64; 2]>,
    /// Pairs that it wrote, where that is its work: such a stage learns nothing.
    pub wrote_pairs: Option<usize>,
    /// Share of held-out pairs that it told right, at its first and at its last look.
    pub told_right: Option<[f64; 2]>,
    /// What it did to held-out accuracy, where it learned.
    pub effect: Option<Effect>,
}

/// Held-out accuracy before and after, paired prompt by prompt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// Share of right answers before.
    pub before: f64,
    /// And after.
    pub after: f64,
    /// After − before, with the ends of its 95 % interval.
    pub difference: [f64; 3],
    /// `helped`, `harmed`, or `not shown`.
    pub verdict: &'static str,
}

/// A change of mode.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Switched {
    /// The step of the run.
    pub step: u64,
    /// The new mode.
    pub to: String,
    /// Why.
    pub reasons: Vec<String>,
}

/// Warnings of one rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Warned {
    /// The rule.
    pub rule: String,
    /// How often.
    pub count: usize,
    /// The first step.
    pub first_step: u64,
    /// What causes it, and what to change.
    pub cause: String,
    /// The knob to turn.
    pub knob: String,
}

/// Reads the story of the run at `directory`.
///
/// # Errors
/// `Usage` (`U017`): no run. `Data`: a damaged file.
pub fn explain(directory: &Path) -> Result<Story> {
    if !directory.join("recipe.toml").exists() {
        return Err(Problem::new(Kind::Usage, "U017", format!("`{}` is no run", directory.display()))
            .hint("give the directory of a run: `runs/NAME`"));
    }
    let recipe = Recipe::load(&directory.join("recipe.toml"), &[])?;
    let events = events(&directory.join("events.jsonl"))?;
    let rows = match directory.join("metrics.jsonl") {
        path if path.exists() => read_rows(&path)?,
        _ => Vec::new(),
    };
    let end =
        events.iter().rfind(|event| matches!(name(event), "finished" | "stopped" | "failed" | "started" | "resumed"));
    let over = |name: &&str| matches!(*name, "finished" | "stopped" | "failed");
    let status = end.map(name).filter(over).unwrap_or("running, or killed");
    let launches = events.iter().filter(|event| matches!(name(event), "started" | "resumed")).count();
    Ok(Story {
        name: recipe.name.clone(),
        model: recipe.model.clone(),
        status: status.to_string(),
        why: end.and_then(|end| Some(end.get("why")?.as_str()?.to_string())),
        steps: rows.iter().map(|row| row.step).max().unwrap_or(0),
        resumed: launches.saturating_sub(1),
        stages: chapters(&recipe, &rows, directory)?,
        switches: switches(&events),
        warnings: warnings(&events),
    })
}

fn events(path: &Path) -> Result<Vec<Value>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = String::from_utf8_lossy(&read_whole(path, EVENTS_LIMIT_BYTES)?).into_owned();
    // A killed run may have left half a line.
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

fn name(event: &Value) -> &str {
    event.get("event").and_then(Value::as_str).unwrap_or_default()
}

fn chapters(recipe: &Recipe, rows: &[Row], directory: &Path) -> Result<Vec<Chapter>> {
    let mut out = Vec::new();
    let evaluations = &directory.join("evaluations");
    let mut before = read_evaluation(evaluations, 0)?;
    for (at, stage) in recipe.stages.iter().enumerate() {
        let number = at + 1;
        let of_stage: Vec<&Row> = rows.iter().filter(|row| row.stage == number).collect();
        let Some(last) = of_stage.iter().map(|row| row.step).max() else { break };
        let steps: Vec<&Row> = of_stage.iter().copied().filter(is_step).collect();
        let after = newest(evaluations, &of_stage)?;
        let wrote_pairs = matches!(stage, Stage::SelfFeedback(_)).then(|| pairs_of(directory, at)).transpose()?;
        let effect = match (&before, &after) {
            (Some(before), Some(after)) if wrote_pairs.is_none() => {
                compare(before, after, recipe.seed).ok().map(|found| effect(&found))
            }
            _ => None,
        };
        let first = steps.first().map_or(last, |row| row.step);
        out.push(Chapter {
            stage: number,
            name: stage.name().to_string(),
            task: task_of(stage),
            steps: last + 1 - first,
            reward: ends(&steps, "reward"),
            loss: ends(&steps, "loss"),
            wrote_pairs,
            told_right: told_right(&of_stage),
            effect,
        });
        before = after.or(before);
    }
    Ok(out)
}

/// Whether a row is of a step, and not of an evaluation alone.
fn is_step(row: &&Row) -> bool {
    row.values.iter().any(|(name, _)| !name.starts_with("eval/"))
}

/// How many pairs stage `stage` (from 0) has written.
fn pairs_of(directory: &Path, stage: usize) -> Result<usize> {
    let path = pairs_at(directory, stage);
    match path.exists() {
        true => Ok(read_whole(&path, PAIRS_LIMIT_BYTES)?.iter().filter(|byte| **byte == b'\n').count()),
        false => Ok(0),
    }
}

fn told_right(rows: &[&Row]) -> Option<[f64; 2]> {
    let looks: Vec<f64> = rows.iter().filter_map(|row| row.get("eval/pairs/accuracy")).collect();
    Some([*looks.first()?, *looks.last()?])
}

fn task_of(stage: &Stage) -> String {
    let choice = stage.task();
    if let Some(maker) = choice.pairs {
        return format!("the pairs of stage {}", maker + 1);
    }
    choice.path.as_ref().map_or_else(|| choice.name.clone(), |path| path.display().to_string())
}

/// The last evaluation among the rows of a stage.
fn newest(directory: &Path, rows: &[&Row]) -> Result<Option<Evaluation>> {
    let evaluated = rows.iter().filter(|row| row.get("eval/accuracy").is_some()).map(|row| row.step).max();
    evaluated.map_or(Ok(None), |step| read_evaluation(directory, step))
}

fn read_evaluation(directory: &Path, step: u64) -> Result<Option<Evaluation>> {
    let path = evaluate::path_of(directory, step);
    if path.exists() { evaluate::read(&path).map(Some) } else { Ok(None) }
}

fn effect(found: &Comparison) -> Effect {
    let difference = &found.difference;
    let verdict = match (difference.low > 0.0, difference.high < 0.0) {
        (true, _) => "helped",
        (_, true) => "harmed",
        _ => "not shown",
    };
    Effect {
        before: found.before.estimate,
        after: found.after.estimate,
        difference: [difference.estimate, difference.low, difference.high],
        verdict,
    }
}

/// Means over the first and the last tenth of the steps.
fn ends(rows: &[&Row], metric: &str) -> Option<[f64; 2]> {
    let values: Vec<f64> = rows.iter().filter_map(|row| row.get(metric)).collect();
    let count = values.len().div_ceil(ENDS);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    (count > 0).then(|| [mean(&values[..count]), mean(&values[values.len() - count..])])
}

/// One per step and mode, in the order in which they came: a run that was killed wrote some of them twice.
fn switches(events: &[Value]) -> Vec<Switched> {
    let mut all: Vec<Switched> = Vec::new();
    for event in events.iter().filter(|event| name(event) == "switch") {
        let Some(step) = event.get("step").and_then(Value::as_u64) else { continue };
        let text = |value: &Value| value.as_str().map(String::from);
        let reasons = event.get("reasons").and_then(Value::as_array);
        let to = event.get("to").and_then(text).unwrap_or_default();
        let reasons = reasons.map(|all| all.iter().filter_map(text).collect()).unwrap_or_default();
        if !all.iter().any(|known| known.step == step && known.to == to) {
            all.push(Switched { step, to, reasons });
        }
    }
    all.sort_by_key(|switched| switched.step);
    all
}

fn warnings(events: &[Value]) -> Vec<Warned> {
    let mut seen: BTreeMap<(String, u64), &Value> = BTreeMap::new();
    let text = |event: &Value, key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default().to_string();
    for event in events.iter().filter(|event| name(event) == "warning") {
        let step = event.get("step").and_then(Value::as_u64).unwrap_or(0);
        seen.insert((text(event, "rule"), step), event);
    }
    let mut out: Vec<Warned> = Vec::new();
    for ((rule, step), event) in seen {
        match out.iter_mut().find(|warned| warned.rule == rule) {
            Some(warned) => warned.count += 1,
            None => {
                let (cause, knob) = (text(event, "cause"), text(event, "knob"));
                out.push(Warned { rule, count: 1, first_step: step, cause, knob });
            }
        }
    }
    out.sort_by_key(|warned| warned.first_step);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_killed_run_wrote_twice_is_told_once() {
        let warning =
            |step: u64| json!({ "event": "warning", "rule": "W003", "step": step, "cause": "c", "knob": "k" });
        let switch = |step: u64, to: &str| json!({ "event": "switch", "step": step, "to": to, "reasons": ["plateau"] });
        let events =
            [warning(7), switch(9, "sft"), switch(9, "rl"), warning(7), warning(12), switch(9, "sft"), switch(9, "rl")];
        let warned = warnings(&events);
        assert_eq!((warned.len(), warned[0].count, warned[0].first_step), (1, 2, 7));
        let switched = switches(&events);
        assert_eq!(switched.iter().map(|s| (s.step, s.to.as_str())).collect::<Vec<_>>(), [(9, "sft"), (9, "rl")]);
        assert_eq!(switched[0].reasons, ["plateau"]);
    }

    #[test]
    fn the_ends_of_a_stage_are_means_of_a_tenth() {
        let rows: Vec<Row> = (1..=20).map(|step| Row::new(step, 1, "grpo").with("reward", step as f64)).collect();
        let rows: Vec<&Row> = rows.iter().collect();
        assert_eq!(ends(&rows, "reward"), Some([1.5, 19.5]));
        assert_eq!(ends(&rows[..1], "reward"), Some([1.0, 1.0]));
        assert_eq!(ends(&rows, "loss"), None);
    }

    #[test]
    fn a_directory_without_a_recipe_is_no_run() {
        assert_eq!(explain(Path::new("/nowhere")).unwrap_err().code(), "U017");
    }
}
