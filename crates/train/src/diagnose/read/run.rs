//! A run directory of ours.

use std::path::Path;

use lapidary_core::Result;
use serde_json::Value;

use super::Record;
use super::answers;
use crate::checkpoint::{Checkpoints, verify};
use crate::diagnose::history::{History, Writer};
use crate::metrics::read_rows;
use crate::recipe::Recipe;

/// Characters of a failure that are shown.
const SHOWN_CHARACTERS: usize = 300;

/// The last rl stage that has begun (else the last stage of all), with everything around it.
pub(super) fn read(path: &Path) -> Result<History> {
    let recipe = Recipe::load(&path.join("recipe.toml"), &[])?;
    let metrics = path.join("metrics.jsonl");
    let rows = if metrics.is_file() { read_rows(&metrics)? } else { Vec::new() };
    let begun = |at: &usize| rows.iter().any(|row| row.stage == at + 1 && row.get("loss").is_some());
    let is_rl = |at: &usize| recipe.stages.get(*at).is_some_and(|stage| stage.kind() == "rl");
    let stages = || (0..recipe.stages.len()).rev();
    let stage = stages().find(|at| begun(at) && is_rl(at)).or_else(|| stages().find(begun)).unwrap_or(0);
    let steps_before = recipe.stages[..stage].iter().map(|stage| stage.training().steps).sum();
    let records = rows.into_iter().filter_map(|row| {
        let held_out = row.values.iter().any(|(name, _)| name.starts_with("eval/"));
        let belongs = row.stage == stage + 1 || (held_out && row.step == steps_before && row.stage <= stage);
        belongs.then_some(Record { step: row.step, stage: Some(stage + 1), values: row.values })
    });
    let mut history = super::history(path, records.collect());
    history.writer = Writer::Lapidary;
    history.steps_before = steps_before;
    answers::add(&mut history, &path.join("rollouts"));
    history.series.sort_by(|a, b| a.name.cmp(&b.name));
    let checkpoints = Checkpoints::new(path.join("checkpoints"));
    let intact = checkpoints.steps()?.into_iter().map(|step| (step, checkpoints.path_of(step)));
    history.checkpoints = intact.filter(|(_, path)| verify(path).is_ok()).collect();
    history.checkpoints.sort();
    history.failed = failed(&path.join("events.jsonl"));
    history.stage = Some((recipe, stage));
    Ok(history)
}

/// Whether the last launch ended with a failure: at which step, and why.
fn failed(events: &Path) -> Option<(u64, String)> {
    let text = std::fs::read_to_string(events).ok()?;
    let parse = |line: &str| serde_json::from_str::<Value>(line).ok();
    let ends = |event: &Value| matches!(event["event"].as_str(), Some("finished" | "stopped" | "failed"));
    let last = text.lines().rev().filter_map(parse).find(ends)?;
    if last["event"] != "failed" {
        return None;
    }
    let why = last["why"].as_str().unwrap_or_default();
    let why: String = why.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(SHOWN_CHARACTERS).collect();
    Some((last["step"].as_u64().unwrap_or(0), why))
}
