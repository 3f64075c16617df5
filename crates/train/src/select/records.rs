//! Histories out of what was saved: the rollouts of a run, or a JSON file of accuracies.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use lapidary_core::{Item, Kind, Problem, Result};
use lapidary_task::{Split, Task};
use serde_json::{Map, Value, json};

use super::History;
use crate::recipe::Recipe;
use crate::rollouts::{self, Sampled};

/// A file of accuracies, unpacked: thousands of items with thousands of numbers.
const LIMIT_BYTES: u64 = 256 << 20;

/// What is read of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookup {
    /// Only this stage, from 1.
    pub stage: Option<usize>,
    /// This reward of the mix, by its label, in place of the total.
    pub reward: Option<String>,
}

/// What is known of a pool's items.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records {
    /// In the order in which items were first sampled, or written.
    pub histories: Vec<History>,
    /// The item of each history, where its words are known.
    pub items: Vec<Option<Item>>,
}

impl Records {
    /// The records of a run directory, or of a JSON file (`.json`, `.json.gz`) that maps names to lists of accuracies.
    ///
    /// # Errors
    /// `Data`: nothing there to choose from (`D081`), or a file that holds something else (`D080`).
    pub fn open(path: &Path, lookup: &Lookup) -> Result<Self> {
        if path.is_dir() { Self::of_run(path, lookup) } else { Self::of_file(path) }
    }

    fn of_run(path: &Path, lookup: &Lookup) -> Result<Self> {
        let steps = steps_of(path, lookup.stage)?;
        let mut records = Records::default();
        let mut places = HashMap::new();
        let mut before = HashSet::new();
        for (step, file) in rollout_files(path)? {
            if steps.as_ref().is_some_and(|steps| !steps.contains(&step)) {
                continue;
            }
            let mut now = HashSet::new();
            for group in &groups(rollouts::read(&file)?) {
                // A group that waited for this step is in the file of the step before as well: it was sampled once.
                let print = fingerprint(group);
                now.insert(print);
                if !before.contains(&print) {
                    records.add(&mut places, group, lookup.reward.as_deref())?;
                }
            }
            before = now;
        }
        if records.histories.is_empty() {
            return Err(Problem::new(
                Kind::Data,
                "D081",
                format!("`{}` has no rollouts to choose from", path.display()),
            )
            .hint("name a run with an rl stage that has done some steps; its `rollouts/` are read"));
        }
        Ok(records)
    }

    fn add(&mut self, places: &mut HashMap<String, usize>, group: &[Sampled], reward: Option<&str>) -> Result<()> {
        let Some(first) = group.first() else { return Ok(()) };
        let scores = group.iter().map(|sampled| score(sampled, reward)).collect::<Result<Vec<_>>>()?;
        let scores: Vec<f64> = scores.into_iter().flatten().collect();
        if scores.is_empty() {
            return Ok(()); // no verdict is no accuracy
        }
        let place = *places.entry(first.id.clone()).or_insert_with(|| {
            self.histories.push(History { id: first.id.clone(), accuracies: Vec::new() });
            self.items.push(Some(Item {
                id: first.id.clone(),
                prompt: first.prompt_text.clone(),
                answer: first.answer.clone(),
                completion: None,
                metadata: first.metadata.clone(),
            }));
            self.histories.len() - 1
        });
        self.histories[place].accuracies.push(super::mean(&scores));
        Ok(())
    }

    fn of_file(path: &Path) -> Result<Self> {
        let wrong = |what: String| {
            Problem::new(Kind::Data, "D080", format!("`{}` holds no records of accuracies: {what}", path.display()))
                .hint("expected a run directory, or a JSON object like {\"124\": [0.125, 0.5, 1.0]}: one list per item")
        };
        let text = read_text(path)?;
        let map: Map<String, Value> = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        let mut histories = Vec::with_capacity(map.len());
        for (id, list) in map {
            let numbers = list.as_array().map(|list| list.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>());
            let accuracies = numbers.flatten().ok_or_else(|| wrong(format!("`{id}` is not a list of numbers")))?;
            histories.push(History { id, accuracies });
        }
        if histories.is_empty() {
            return Err(wrong("it is empty".into()));
        }
        let items = vec![None; histories.len()];
        Ok(Self { histories, items })
    }

    /// Puts the items of a task, with their demonstrations and metadata, in place of what the records know of them; where the
    /// task has no item of that name, they stay.
    ///
    /// # Errors
    /// Those of the task.
    pub fn complete(&mut self, task: &dyn Task) -> Result<()> {
        let finder = Finder::new(task)?;
        for (history, item) in self.histories.iter().zip(&mut self.items) {
            if let Some(found) = finder.named(&history.id)? {
                *item = Some(found);
            }
        }
        Ok(())
    }
}

/// An item as a line of a data set, which a recipe's `task = { path = … }` reads.
pub fn data_line(item: &Item) -> Value {
    let mut line = Map::new();
    line.insert("id".into(), json!(item.id));
    line.insert(
        "prompt".into(),
        match &item.prompt {
            lapidary_core::PromptText::Text(text) => json!(text),
            lapidary_core::PromptText::Messages(messages) => json!(messages),
        },
    );
    line.extend(item.answer.iter().map(|answer| ("answer".to_string(), json!(answer))));
    line.extend(item.completion.iter().map(|words| ("completion".to_string(), json!(words))));
    if !item.metadata.is_empty() {
        line.insert("metadata".into(), json!(item.metadata));
    }
    Value::Object(line)
}

/// Finds items of a task's training split by name.
pub(crate) struct Finder<'t> {
    task: &'t dyn Task,
    /// Of a task with an end.
    places: HashMap<String, u64>,
}

impl<'t> Finder<'t> {
    pub(crate) fn new(task: &'t dyn Task) -> Result<Self> {
        let len = task.len(Split::Train).unwrap_or(0) as u64;
        let named = |index: u64| Ok((task.item(Split::Train, index)?.id, index));
        Ok(Self { task, places: (0..len).map(named).collect::<Result<_>>()? })
    }

    /// The item at a place of the training split, if it goes so far.
    pub(crate) fn at(&self, index: u64) -> Result<Option<Item>> {
        match self.task.len(Split::Train) {
            Some(len) if index >= len as u64 => Ok(None),
            _ => self.task.item(Split::Train, index).map(Some),
        }
    }

    /// The item of that name. A task without an end names its items by their number; a name that is a bare number, as published
    /// records have it, is a place.
    pub(crate) fn named(&self, id: &str) -> Result<Option<Item>> {
        if let Some(&index) = self.places.get(id) {
            return self.at(index);
        }
        if let Ok(index) = id.parse() {
            return self.at(index);
        }
        if self.task.len(Split::Train).is_some() {
            return Ok(None);
        }
        let Some(Ok(index)) = id.rsplit('/').next().map(str::parse) else { return Ok(None) };
        Ok(self.at(index)?.filter(|item| item.id == id))
    }
}

/// What an answer counts for; `None` without a verdict.
fn score(sampled: &Sampled, reward: Option<&str>) -> Result<Option<f64>> {
    let Some(label) = reward else { return Ok(sampled.verdict.value().map(f64::from)) };
    match sampled.rewards.get(label) {
        Some(value) => Ok(value.as_f64()),
        None => {
            let known: Vec<&str> = sampled.rewards.keys().map(String::as_str).collect();
            Err(Problem::new(Kind::Usage, "U016", format!("the rollouts have no reward `{label}`"))
                .hint(format!("they have `{}`", known.join("`, `"))))
        }
    }
}

/// The groups of a step. Second answers, which follow the first ones and are counted from 0 again, are none to the item.
fn groups(samples: Vec<Sampled>) -> Vec<Vec<Sampled>> {
    let mut groups: Vec<Vec<Sampled>> = Vec::new();
    for sampled in samples {
        let (prompt, id) = (sampled.rollout.prompt, sampled.id.as_str());
        match groups.last_mut() {
            Some(group) if group[0].rollout.prompt == prompt && group[0].id == id => group.push(sampled),
            Some(group) if group[0].rollout.prompt >= prompt => break,
            _ => groups.push(vec![sampled]),
        }
    }
    groups
}

/// Of what was sampled and by which weights; its number in the step is left out.
fn fingerprint(group: &[Sampled]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for sampled in group {
        hasher.update(sampled.id.as_bytes());
        hasher.update(&sampled.rollout.weights.to_le_bytes());
        for token in &sampled.rollout.tokens {
            hasher.update(&token.to_le_bytes());
        }
        for logp in &sampled.rollout.logp {
            hasher.update(&logp.to_le_bytes());
        }
    }
    hasher.finalize()
}

/// The steps of a stage; `None` is every step.
fn steps_of(path: &Path, stage: Option<usize>) -> Result<Option<std::ops::RangeInclusive<u64>>> {
    let Some(stage) = stage else { return Ok(None) };
    let recipe = Recipe::load(&path.join("recipe.toml"), &[])?;
    if stage == 0 || stage > recipe.stages.len() {
        return Err(Problem::new(Kind::Usage, "U016", format!("`{}` has no stage {stage}", path.display()))
            .hint(format!("it has stages 1 to {}", recipe.stages.len())));
    }
    let steps = |stages: &[crate::recipe::Stage]| stages.iter().map(|stage| stage.training().steps).sum::<u64>();
    Ok(Some(steps(&recipe.stages[..stage - 1]) + 1..=steps(&recipe.stages[..stage])))
}

/// The files of rollouts with their steps, ascending.
fn rollout_files(path: &Path) -> Result<Vec<(u64, std::path::PathBuf)>> {
    let directory = path.join("rollouts");
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Problem::io("list", &directory, &error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| Problem::io("list", &directory, &error))?.file_name();
        let number = name.to_string_lossy().strip_prefix("step-").and_then(|rest| rest.split('.').next()?.parse().ok());
        if let Some(step) = number.filter(|step| rollouts::path_of(&directory, *step).file_name() == Some(&name)) {
            files.push((step, directory.join(name)));
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn read_text(path: &Path) -> Result<Vec<u8>> {
    let file = std::fs::File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Problem::new(Kind::Data, "D001", format!("there is no run and no file `{}`", path.display()))
        }
        _ => Problem::io("open", path, &error).with_kind(Kind::Data),
    })?;
    let mut text = Vec::new();
    let packed = path.extension().is_some_and(|end| end == "gz");
    let read = match packed {
        true => MultiGzDecoder::new(file).take(LIMIT_BYTES + 1).read_to_end(&mut text),
        false => file.take(LIMIT_BYTES + 1).read_to_end(&mut text),
    };
    read.map_err(|error| Problem::io("read", path, &error).with_kind(Kind::Data))?;
    if text.len() as u64 > LIMIT_BYTES {
        let message = format!("`{}` holds more than {}", path.display(), crate::human_bytes(LIMIT_BYTES));
        return Err(Problem::new(Kind::Data, "D080", message));
    }
    Ok(text)
}
