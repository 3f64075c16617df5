//! Finds the numbers of a run at a path and brings them under one set of names.

mod answers;
mod records;
mod run;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lapidary_core::{Kind, Problem, Result};

use super::history::{History, NotFinite, Series, Writer};
use super::names;
use crate::metrics::read_events;

/// How deep event files are looked for below a directory: `run/logs/train/events…`.
const DEPTH: usize = 3;

/// A step with its numbers, under the names of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Record {
    step: u64,
    /// The stage, from 1, in a log of ours.
    stage: Option<usize>,
    values: Vec<(String, f64)>,
}

/// Reads a run directory of ours, TRL's output directory or `trainer_state.json`, a JSONL log of any of the three, verl's
/// console log, or TensorBoard event files.
///
/// # Errors
/// `U013` nothing at the path; `D070`–`D073` (data): a damaged file, no numbers, or more than one run below the path.
pub fn read(path: &Path) -> Result<History> {
    if !path.exists() {
        return Err(Problem::new(Kind::Usage, "U013", format!("there is nothing at `{}`", path.display()))
            .hint("give a run directory, a metrics file, or a directory with one"));
    }
    if path.join("recipe.toml").is_file() {
        return run::read(path);
    }
    let records = if path.is_dir() { directory(path)? } else { file(path)? };
    let history = history(path, records);
    if history.series.is_empty() && history.not_finite.is_empty() {
        return Err(nothing(path).why("what was found holds no step with a number"));
    }
    Ok(history)
}

fn nothing(path: &Path) -> Problem {
    Problem::new(Kind::Data, "D072", format!("`{}` holds no metrics", path.display())).hint(
        "give a run directory of Lapidary, TRL's output directory or trainer_state.json, a JSONL log, verl's console log, or \
         TensorBoard event files",
    )
}

fn directory(path: &Path) -> Result<Vec<Record>> {
    if let Some(state) = trainer_state(path)? {
        return records::read(&state);
    }
    let entries = entries(path)?;
    let metrics = path.join("metrics.jsonl");
    let logs: Vec<PathBuf> =
        entries.iter().filter(|entry| entry.extension().is_some_and(|end| end == "jsonl")).cloned().collect();
    match logs.as_slice() {
        _ if metrics.is_file() => return records::read(&metrics),
        [] => {}
        [log] => return records::read(log),
        several => return Err(several_runs(path, several)),
    }
    let mut events = Vec::new();
    event_files(path, DEPTH, &mut events)?;
    let mut parents: Vec<PathBuf> = events.iter().filter_map(|file| Some(file.parent()?.to_path_buf())).collect();
    parents.sort();
    parents.dedup();
    match parents.as_slice() {
        [] => Err(nothing(path)),
        [_] => event_records(&events),
        several => Err(several_runs(path, several)),
    }
}

fn several_runs(path: &Path, several: &[PathBuf]) -> Problem {
    let shown: Vec<String> = several.iter().take(4).map(|path| format!("`{}`", path.display())).collect();
    let more =
        if several.len() > shown.len() { format!(" and {} more", several.len() - shown.len()) } else { String::new() };
    Problem::new(Kind::Data, "D073", format!("`{}` holds {} logs", path.display(), several.len()))
        .why(format!("{}{more}", shown.join(", ")))
        .hint("give one of them")
}

fn entries(path: &Path) -> Result<Vec<PathBuf>> {
    let list = || fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    let mut entries = list().map_err(|error| Problem::io("list", path, &error))?;
    entries.sort();
    Ok(entries)
}

/// `trainer_state.json` of Hugging Face's `Trainer`: here, or in the checkpoint of the highest step.
fn trainer_state(path: &Path) -> Result<Option<PathBuf>> {
    let here = path.join("trainer_state.json");
    if here.is_file() {
        return Ok(Some(here));
    }
    let step = |entry: &PathBuf| entry.file_name()?.to_str()?.strip_prefix("checkpoint-")?.parse::<u64>().ok();
    let states = entries(path)?.into_iter().filter_map(|entry| Some((step(&entry)?, entry.join("trainer_state.json"))));
    Ok(states.filter(|(_, state)| state.is_file()).max().map(|(_, state)| state))
}

fn is_event_file(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains("tfevents"))
}

fn event_files(path: &Path, depth: usize, out: &mut Vec<PathBuf>) -> Result<()> {
    for entry in entries(path)? {
        if entry.is_dir() && depth > 0 && !entry.is_symlink() {
            event_files(&entry, depth - 1, out)?;
        } else if entry.is_file() && is_event_file(&entry) {
            out.push(entry);
        }
    }
    Ok(())
}

fn file(path: &Path) -> Result<Vec<Record>> {
    if is_event_file(path) { event_records(&[path.to_path_buf()]) } else { records::read(path) }
}

fn event_records(files: &[PathBuf]) -> Result<Vec<Record>> {
    let mut steps: BTreeMap<u64, Record> = BTreeMap::new();
    for scalar in read_events(files)? {
        let record = steps.entry(scalar.step).or_insert_with(|| Record { step: scalar.step, ..Record::default() });
        record.values.push((scalar.tag, scalar.value));
    }
    Ok(steps.into_values().collect())
}

/// Rank of a name → the name in the file → step → value.
type ByRank = BTreeMap<usize, BTreeMap<String, BTreeMap<u64, f64>>>;

/// The curves of records. Of several names for one metric the best is taken; of equals (data sets of a validation) the mean.
/// Where a step is there twice (a launch that began anew), the last word counts.
pub(super) fn history(path: &Path, records: Vec<Record>) -> History {
    let names: Vec<&str> =
        records.iter().flat_map(|record| record.values.iter().map(|(name, _)| name.as_str())).collect();
    let staged = records.iter().any(|record| record.stage.is_some());
    let writer = names::writer(names.iter().copied().chain(staged.then_some("stage")));
    let last_stage = records.iter().filter_map(|record| record.stage).max();
    let mut found: BTreeMap<String, ByRank> = BTreeMap::new();
    for record in records {
        for (written, value) in record.values {
            let (metric, rank) = names::ours(&written);
            let elsewhere = record.stage != last_stage && !metric.starts_with("eval/");
            if !elsewhere {
                let curves = found.entry(metric).or_default().entry(rank).or_default();
                curves.entry(written).or_default().insert(record.step, value);
            }
        }
    }
    let mut history = History::of(path, writer, Vec::new());
    for (metric, ranks) in found {
        let Some((_, curves)) = ranks.into_iter().next() else { continue };
        let written_as = curves.keys().next().cloned().unwrap_or_default();
        let mut steps: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        curves.into_values().flatten().for_each(|(step, value)| steps.entry(step).or_default().push(value));
        add(&mut history, metric, written_as, steps.into_iter().map(|(step, values)| (step, mean(&values))));
    }
    history
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Adds a curve; what is not finite is kept apart.
pub(super) fn add(history: &mut History, name: String, written_as: String, points: impl Iterator<Item = (u64, f64)>) {
    let (points, bad): (Vec<_>, Vec<_>) = points.partition(|point| point.1.is_finite());
    if let Some(first) = bad.first() {
        history.not_finite.push(NotFinite { metric: name.clone(), step: first.0, count: bad.len() });
    }
    if !points.is_empty() {
        history.series.push(Series { name, written_as, points });
    }
}

/// Whose log it is, for messages.
pub fn writer_name(writer: Writer) -> &'static str {
    match writer {
        Writer::Lapidary => "a run of Lapidary",
        Writer::Trl => "a log of TRL",
        Writer::Verl => "a log of verl",
        Writer::Unknown => "a log",
    }
}
