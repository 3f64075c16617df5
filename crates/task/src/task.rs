//! What every task does.

use lapidary_core::{Item, Result};
use serde::{Deserialize, Serialize};

/// Which part of a task. No item is in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// For training.
    Train,
    /// Held out, for evaluation.
    Test,
}

impl Split {
    /// `train` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Test => "test",
        }
    }
}

/// A source of items.
pub trait Task: Send + Sync {
    /// The name it has in the registry, or the path of its data.
    fn name(&self) -> &str;

    /// How many items a split has; `None` where there is no end to them.
    fn len(&self, split: Split) -> Option<usize>;

    /// The item at `index`: the same for the same (options, seed, split, index), whatever was asked before.
    ///
    /// # Errors
    /// `Usage` where the options leave no further item; asking a data set beyond its length is a bug of the caller.
    fn item(&self, split: Split, index: u64) -> Result<Item>;

    /// The reward that checks answers of this task: what `answer` stands for in a recipe.
    fn answer_reward(&self) -> &'static str;

    /// Whether a split has no item at all.
    fn is_empty(&self, split: Split) -> bool {
        self.len(split) == Some(0)
    }
}
