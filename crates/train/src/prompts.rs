//! Prompts in the order in which a run takes them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use lapidary_core::{Item, Key, Kind, Problem, Purpose, Result};
use lapidary_task::{Split, Task, TaskSpec};
use serde_json::{Map, Value};

use crate::recipe::TaskChoice;

/// The tasks of a run, each built once.
#[derive(Default)]
pub(crate) struct Tasks(HashMap<String, Arc<dyn Task>>);

impl Tasks {
    /// The task that a recipe chose.
    pub(crate) fn get(&mut self, choice: &TaskChoice, seed: u64) -> Result<Arc<dyn Task>> {
        let name = stable_name(choice);
        if let Some(task) = self.0.get(&name) {
            return Ok(task.clone());
        }
        if let Some(stage) = choice.pairs {
            let message = format!("the pairs of stage {} are not written yet", stage + 1);
            return Err(Problem::new(Kind::Usage, "D049", message)
                .hint("they are there when that stage ends: `lapidary train` reads them then"));
        }
        let task: Arc<dyn Task> = lapidary_task::build(&TaskSpec::Table(table(choice)), seed)?.into();
        self.0.insert(name, task.clone());
        Ok(task)
    }

    /// Whether a choice can be got: all can, but for pairs that are not written yet.
    pub(crate) fn has(&self, choice: &TaskChoice) -> bool {
        choice.pairs.is_none() || self.0.contains_key(&stable_name(choice))
    }

    /// Opens the pairs of a stage of this run, which are at `path` by now. The run remembers how far they were read by the name
    /// of the stage, wherever the run directory is.
    pub(crate) fn open_pairs(&mut self, choice: &TaskChoice, path: &Path, seed: u64) -> Result<()> {
        let mut table = Map::from_iter([("chat".to_string(), Value::Bool(false))]);
        table.extend(choice.options.clone());
        table.insert("path".into(), path.to_string_lossy().into());
        let task: Arc<dyn Task> = lapidary_task::build(&TaskSpec::Table(table), seed)?.into();
        self.0.insert(stable_name(choice), task);
        Ok(())
    }
}

fn table(choice: &TaskChoice) -> Map<String, Value> {
    let mut table = Map::new();
    match (&choice.path, choice.pairs) {
        (Some(path), _) => table.insert("path".into(), path.to_string_lossy().into()),
        (None, Some(stage)) => table.insert("pairs".into(), format!("stage.{}", stage + 1).into()),
        (None, None) => table.insert("name".into(), choice.name.clone().into()),
    };
    table.extend(choice.options.clone());
    table
}

/// The same for equal choices: two stages that write the same task share its cursor.
fn stable_name(choice: &TaskChoice) -> String {
    let mut entries: Vec<(String, Value)> = table(choice).into_iter().collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    entries.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

/// A task being read on.
///
/// A data set is gone through in a new order each time: prompt `n` is item `order_e[n mod len]` with `e = n / len` and
/// `order_e` the permutation of key (seed, shuffle, `e`). A task without an end is read by count: prompt `n` is item `n`.
pub(crate) struct Prompts {
    task: Arc<dyn Task>,
    name: String,
    seed: u64,
    /// The epoch whose order is at hand, and the order: derived, never saved.
    order: Option<(u64, Vec<usize>)>,
}

impl Prompts {
    pub(crate) fn new(tasks: &mut Tasks, choice: &TaskChoice, seed: u64) -> Result<Self> {
        let task = tasks.get(choice, seed)?;
        if task.is_empty(Split::Train) {
            return Err(Problem::new(Kind::Data, "D040", format!("task `{}` has no item to train on", task.name())));
        }
        Ok(Self { task, name: stable_name(choice), seed, order: None })
    }

    /// A task made of the chosen one; `what` tells it from that.
    pub(crate) fn over(task: Arc<dyn Task>, choice: &TaskChoice, what: &str, seed: u64) -> Self {
        Self { task, name: format!("{} {what}", stable_name(choice)), seed, order: None }
    }

    pub(crate) fn task(&self) -> &dyn Task {
        &*self.task
    }

    /// The task, for another to read.
    pub(crate) fn share(&self) -> Arc<dyn Task> {
        self.task.clone()
    }

    /// How many items there are; `None` where there is no end to them.
    pub(crate) fn len(&self) -> Option<usize> {
        self.task.len(Split::Train)
    }

    /// The item at a place, whatever was taken.
    pub(crate) fn item(&self, index: usize) -> Result<Item> {
        self.task.item(Split::Train, index as u64)
    }

    /// The next item; counts in `cursors`.
    pub(crate) fn take(&mut self, cursors: &mut BTreeMap<String, u64>) -> Result<Item> {
        let cursor = cursors.entry(self.name.clone()).or_default();
        let item = self.at(*cursor)?;
        *cursor += 1;
        Ok(item)
    }

    fn at(&mut self, count: u64) -> Result<Item> {
        let Some(len) = self.task.len(Split::Train) else { return self.task.item(Split::Train, count) };
        let (epoch, place) = (count / len as u64, (count % len as u64) as usize);
        if self.order.as_ref().is_none_or(|(known, _)| *known != epoch) {
            let key = Key::new(self.seed, Purpose::Shuffle).at(epoch);
            self.order = Some((epoch, key.permutation(len)));
        }
        let index = self.order.as_ref().map_or(place, |(_, order)| order[place]);
        self.task.item(Split::Train, index as u64)
    }
}

/// Refuses a prompt that leaves no room for an answer of at least one token.
pub(crate) fn check_length(item: &Item, tokens: usize, context: usize) -> Result<()> {
    if tokens == 0 {
        return Err(Problem::new(Kind::Data, "D042", format!("the prompt of `{}` has no token", item.id)));
    }
    if tokens < context {
        return Ok(());
    }
    Err(Problem::new(
        Kind::Data,
        "D041",
        format!("the prompt of `{}` has {tokens} tokens, but the model's context is {context}", item.id),
    )
    .why("a prompt and its answer must fit the context together")
    .hint("remove or shorten this item, or use a model with a longer context"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counted(Option<usize>);
    impl Task for Counted {
        fn name(&self) -> &str {
            "counted"
        }
        fn len(&self, _: Split) -> Option<usize> {
            self.0
        }
        fn item(&self, _: Split, index: u64) -> Result<Item> {
            Ok(Item {
                id: index.to_string(),
                prompt: lapidary_core::PromptText::Text("?".into()),
                answer: None,
                completion: None,
                metadata: Map::new(),
            })
        }
        fn answer_reward(&self) -> &'static str {
            "answer"
        }
    }

    fn ids(len: Option<usize>, from: u64, count: usize) -> Vec<String> {
        let mut prompts = Prompts { task: Arc::new(Counted(len)), name: "counted".into(), seed: 3, order: None };
        let mut cursors = BTreeMap::from([("counted".to_string(), from)]);
        (0..count).map(|_| prompts.take(&mut cursors).unwrap().id).collect()
    }

    #[test]
    fn every_epoch_holds_every_item_once_in_an_order_of_its_own() {
        let taken = ids(Some(7), 0, 14);
        let (first, second) = taken.split_at(7);
        assert_ne!(first, second);
        for epoch in [first, second] {
            let mut sorted = epoch.to_vec();
            sorted.sort();
            assert_eq!(sorted, ["0", "1", "2", "3", "4", "5", "6"]);
        }
        // RELIABILITY §3.6: cursor(resume(k)) is the stream from k.
        for k in 0..14 {
            assert_eq!(ids(Some(7), k, 14 - k as usize), taken[k as usize..]);
        }
    }

    #[test]
    fn a_task_without_end_is_read_by_count() {
        assert_eq!(ids(None, 5, 3), ["5", "6", "7"]);
    }

    #[test]
    fn a_prompt_as_long_as_the_context_is_refused_by_name() {
        let item = Counted(None).item(Split::Train, 12).unwrap();
        assert!(check_length(&item, 255, 256).is_ok());
        let problem = check_length(&item, 256, 256).unwrap_err();
        assert_eq!(problem.kind(), Kind::Data);
        assert!(problem.message().contains("`12` has 256 tokens"), "{problem}");
        assert!(check_length(&item, 0, 256).is_err());
    }
}
