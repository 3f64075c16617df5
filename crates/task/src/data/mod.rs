//! Data sets: JSON lines, CSV (both also `.gz`) and Parquet, as a file or as a directory with `train…` and `test…` files.

mod columns;
mod csv_rows;
mod files;
mod pairs;
mod parquet_rows;
pub(crate) mod row;

use std::path::{Path, PathBuf};

use lapidary_core::{Item, Key, Kind, Problem, Purpose, Result};
use lapidary_reward::options::{OptionInfo, OptionKind, Options};

use crate::registry::{Family, TaskInfo};
use crate::{Split, Task};
use columns::Columns;

const fn text(name: &'static str, default: &'static str, meaning: &'static str) -> OptionInfo {
    OptionInfo { name, kind: OptionKind::Text, default, meaning }
}

/// The row of the registry.
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "data",
    family: Family::Data,
    levels: &[],
    summary: "A data set of your own: JSON lines, CSV (both also .gz) or Parquet, a file or a directory with train and test files.",
    example: "{ path = \"gsm8k\", suffix = \" End with #### and the number.\" }",
    answer_reward: "answer",
    options: &[
        text("path", "", "a file, or a directory with files named train… and test… (or validation…, dev…, eval…)"),
        text("test_path", "null", "a file or directory to test on, where `path` holds no test files"),
        text("prompt", "null", "column of the question; unset: `prompt`, `question`, `problem` or `messages`"),
        text(
            "answer",
            "null",
            "column of the reference answer; unset: `answer`, `solution`, `ground_truth` or `reward_model.ground_truth`",
        ),
        text(
            "completion",
            "null",
            "column of the demonstration for SFT; unset: `completion`, `response`, else the answer",
        ),
        text("system", "null", "a system message to put before every question that has none"),
        text("template", "null", "the question in your words, with `{question}` where it goes"),
        text("suffix", "null", "text to put after the question, as it is"),
        OptionInfo {
            name: "chat",
            kind: OptionKind::Flag,
            default: "true",
            meaning: "whether a question that is plain text is put as a chat message (a model without a chat template \
                      sees the text itself either way)",
        },
        OptionInfo {
            name: "strip_annotations",
            kind: OptionKind::Flag,
            default: "false",
            meaning: "whether to take GSM8K's calculator marks `<<48/2=24>>` out of demonstrations",
        },
        OptionInfo {
            name: "test_fraction",
            kind: OptionKind::Number(0.0, 0.9),
            default: "0.1",
            meaning: "share of the questions held out for tests where no test file is given, chosen by their hash",
        },
        OptionInfo {
            name: "limit",
            kind: OptionKind::Integer(1, i64::MAX),
            default: "null",
            meaning: "read only this many rows of each split",
        },
    ],
    build: |options, _| Ok(Box::new(Data::load(options)?)),
};

/// A data set in memory.
pub(crate) struct Data {
    name: String,
    train: Vec<Item>,
    test: Vec<Item>,
}

impl Data {
    fn load(options: &Options) -> Result<Self> {
        let path = PathBuf::from(options.text("path").unwrap_or_default());
        let columns = Columns::of(options)?;
        let limit = options.integer("limit").and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let found = files::find(&path)?;
        let test_files = match options.text("test_path") {
            Some(test) => {
                let other = files::find(Path::new(test))?;
                if other.test.is_empty() { other.train } else { other.test }
            }
            None => found.test,
        };
        let mut train = read(&found.train, &columns, limit)?;
        let mut test = read(&test_files, &columns, limit)?;
        if test_files.is_empty() {
            (train, test) = hold_out(train, options.number("test_fraction").unwrap_or(0.0));
        }
        Ok(Self { name: path.display().to_string(), train, test })
    }

    fn items(&self, split: Split) -> &[Item] {
        match split {
            Split::Train => &self.train,
            Split::Test => &self.test,
        }
    }
}

fn read(paths: &[PathBuf], columns: &Columns, limit: usize) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for path in paths {
        let before = items.len();
        row::read(path, &mut |row| {
            items.push(columns.item(&row)?);
            Ok(items.len() < limit)
        })?;
        if items.len() == before && items.len() < limit {
            let message = format!("`{}` holds no examples", path.display());
            return Err(
                Problem::new(Kind::Data, "D007", message).hint("is it the right file, and was it written to its end?")
            );
        }
        if items.len() >= limit {
            break;
        }
    }
    Ok(items)
}

/// Splits by the hash of the question, so that equal questions stay on one side and the split does not depend on the
/// order of rows. With two or more questions and a fraction above 0, neither side is empty.
fn hold_out(items: Vec<Item>, fraction: f64) -> (Vec<Item>, Vec<Item>) {
    let place = |item: &Item| Key::new(0, Purpose::Task).at_name("split").at_name(&item.prompt.plain()).uniform();
    let places: Vec<f64> = items.iter().map(place).collect();
    let first = places.iter().copied().fold(f64::INFINITY, f64::min);
    let last = places.iter().copied().fold(0.0, f64::max);
    let bar = if fraction > 0.0 && first < last { fraction.clamp(first.next_up(), last) } else { fraction };
    let mut train = Vec::new();
    let mut test = Vec::new();
    for (item, place) in items.into_iter().zip(places) {
        if place < bar { test.push(item) } else { train.push(item) }
    }
    (train, test)
}

impl Task for Data {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self, split: Split) -> Option<usize> {
        Some(self.items(split).len())
    }

    fn item(&self, split: Split, index: u64) -> Result<Item> {
        let items = self.items(split);
        let item = usize::try_from(index).ok().and_then(|index| items.get(index));
        item.cloned().ok_or_else(|| {
            let message = format!("`{}` has {} {} items, no item {index}", self.name, items.len(), split.name());
            Problem::new(Kind::Data, "D011", message)
        })
    }

    fn answer_reward(&self) -> &'static str {
        INFO.answer_reward
    }
}
