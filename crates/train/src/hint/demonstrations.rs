//! Demonstrations that are learned beside the samples of a step.

use std::collections::BTreeMap;
use std::sync::Arc;

use lapidary_core::{Item, Key, Purpose, Result};
use lapidary_task::{Split, Task};

use crate::bench::Bench;
use crate::prompts::Prompts;
use crate::recipe::{LossOn, Turns};
use crate::rows::Rows;
use crate::sft::push_example;

/// Items of a task without an end start here, so that they are not those of the steps' prompts.
const FAR: u64 = 1 << 40;

/// A reading of the task of its own, beside that of the prompts.
pub(super) struct Demonstrations {
    task: Arc<dyn Task>,
    name: String,
    seed: u64,
}

impl Demonstrations {
    pub(super) fn new(prompts: &Prompts, seed: u64) -> Self {
        let task = prompts.share();
        let name = format!("{} demonstrations", task.name());
        Self { task, name, seed }
    }

    /// The next `count` items; counts in `cursors`.
    pub(super) fn take(&self, cursors: &mut BTreeMap<String, u64>, count: usize) -> Result<Vec<Item>> {
        let cursor = cursors.entry(self.name.clone()).or_default();
        let first = *cursor;
        *cursor += count as u64;
        (first..*cursor).map(|at| self.at(at)).collect()
    }

    fn at(&self, count: u64) -> Result<Item> {
        let index = match self.task.len(Split::Train) {
            None => FAR + count,
            Some(len) => {
                let key = Key::new(self.seed, Purpose::Shuffle).at_name("demonstrations").at(count / len as u64);
                key.permutation(len)[(count % len as u64) as usize] as u64
            }
        };
        self.task.item(Split::Train, index)
    }
}

/// The rows of those items that have a demonstration; `None` without any.
pub(super) fn rows_of(bench: &Bench<'_, '_>, items: impl IntoIterator<Item = Item>) -> Result<Option<Rows>> {
    let mut rows = Rows::default();
    for item in items.into_iter().filter(|item| item.completion.is_some()) {
        push_example(&mut rows, bench, &item, (LossOn::Completion, Turns::Last))?;
    }
    Ok((rows.mask.rows() > 0).then_some(rows))
}
