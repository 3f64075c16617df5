//! `lapidary select`: which examples of a run are worth training on alone.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use lapidary_core::{Item, Problem, PromptText, Result};
use lapidary_task::{TaskSpec, build};
use lapidary_train::select::{Lookup, Ranked, Records, Selector, data_line, mean, rank, variance};
use serde_json::{Value, json};

use super::count;
use crate::output::{Output, theme};
use crate::stop::Outcome;

/// Characters of a prompt shown in a table.
const SHOWN: usize = 60;

/// Rank the examples of a run by how their accuracy went: which ones to train on alone
///
/// An example's accuracy is the exact mean over its answers each time that it was sampled. By default those come first whose
/// accuracy varied most over the run (1-shot RLVR, arXiv 2504.20571). With --json a line of output is {"rank", "id", "score",
/// "variance", "mean", "accuracies", "prompt", "answer"}.
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary select runs/full --top 16 --out best.jsonl")]
pub struct Select {
    /// A run directory, or a JSON file {"124": [0.125, 0.5], …} with the accuracies of each item (.gz too)
    source: PathBuf,
    /// By what examples are ranked
    #[arg(long, value_enum, default_value_t = By::Variance)]
    by: By,
    /// How many are shown and written
    #[arg(short = 'n', long, default_value = "16", value_name = "N", value_parser = count)]
    top: usize,
    /// Only the rollouts of this stage of the run, from 1
    #[arg(long, value_name = "N")]
    stage: Option<usize>,
    /// Only this reward of the run, by its label; the total by default
    #[arg(long, value_name = "LABEL")]
    reward: Option<String>,
    /// The data set whose rows, counted from 0, the items of a JSON file are
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// For --by random
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Write the examples as a data set, which a recipe's `task = { path = … }` reads
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The words of --by.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    /// The variance of its accuracy over time
    Variance,
    /// How closely its accuracy follows that of all (LIMR, arXiv 2502.11886)
    Lim,
    /// The seed alone: the control
    Random,
}

impl From<By> for Selector {
    fn from(by: By) -> Self {
        match by {
            By::Variance => Selector::Variance,
            By::Lim => Selector::Lim,
            By::Random => Selector::Random,
        }
    }
}

impl Select {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Outcome {
        let lookup = Lookup { stage: self.stage, reward: self.reward.clone() };
        let mut records = Records::open(&self.source, &lookup)?;
        if let Some(data) = &self.data {
            let options = [("path".to_string(), json!(data)), ("test_fraction".to_string(), json!(0.0))];
            records.complete(&*build(&TaskSpec::Table(options.into_iter().collect()), 0)?)?;
        }
        let ranking = rank(&records.histories, self.by.into(), self.seed);
        let best = &ranking[..self.top.min(ranking.len())];
        if output.json {
            best.iter().enumerate().try_for_each(|(at, ranked)| output.json(&in_full(&records, at, ranked)))?;
        } else {
            self.show(&records, best, ranking.len(), output)?;
        }
        match &self.out {
            Some(path) => write(path, &records, best, output),
            None => Ok(()),
        }
    }

    fn show(&self, records: &Records, best: &[Ranked], all: usize, output: &mut Output) -> Outcome {
        let named = matches!(self.by, By::Variance);
        let mut heads = vec!["rank", "item", "variance", "mean", "times", "prompt", "answer"];
        if !named {
            heads.insert(2, "score");
        }
        let row = |(at, ranked): (usize, &Ranked)| {
            let history = &records.histories[ranked.index];
            let item = records.items[ranked.index].as_ref();
            let mut cells = vec![
                (at + 1).to_string(),
                history.id.clone(),
                format!("{:.6}", variance(&history.accuracies)),
                format!("{:.4}", mean(&history.accuracies)),
                history.accuracies.len().to_string(),
                item.map_or("?".into(), |item| short(&item.prompt.plain())),
                item.and_then(|item| item.answer.clone()).map_or("?".into(), |answer| short(&answer)),
            ];
            if !named {
                cells.insert(2, format!("{:.6}", ranked.score));
            }
            cells
        };
        output.table(&heads, best.iter().enumerate().map(row))?;
        if all > best.len() {
            output.line(format!("… and {} more; --top shows them", all - best.len()))?;
        }
        if let Some(first) = best.first() {
            let id = &records.histories[first.index].id;
            output.note(format!(
                "to train on the first alone: {}",
                theme::command(format!("[stage.one_shot] items = [{id:?}]"))
            ));
        }
        Ok(())
    }
}

fn in_full(records: &Records, at: usize, ranked: &Ranked) -> Value {
    let history = &records.histories[ranked.index];
    let item = records.items[ranked.index].as_ref();
    json!({
        "rank": at + 1,
        "id": history.id,
        "score": ranked.score,
        "variance": variance(&history.accuracies),
        "mean": mean(&history.accuracies),
        "accuracies": history.accuracies,
        "prompt": item.map(|item| item.prompt.plain()),
        "answer": item.and_then(|item| item.answer.as_deref()),
    })
}

fn write(path: &Path, records: &Records, best: &[Ranked], output: &Output) -> Outcome {
    let item = |ranked: &Ranked| -> Result<&Item> {
        records.items[ranked.index].as_ref().ok_or_else(|| {
            let id = &records.histories[ranked.index].id;
            Problem::new(lapidary_core::Kind::Usage, "U018", format!("the words of item `{id}` are not known"))
                .why("a file of accuracies holds names and numbers only")
                .hint("name the data set whose rows they are: `--data train.jsonl`")
        })
    };
    let items = best.iter().map(item).collect::<Result<Vec<_>>>()?;
    let text: String = items.iter().map(|item| format!("{}\n", data_line(item))).collect();
    std::fs::write(path, text).map_err(|error| Problem::io("write", path, &error))?;
    let bare = items.iter().any(|item| matches!(item.prompt, PromptText::Text(_)));
    let chat = if bare { ", chat = false" } else { "" };
    output.note(format!(
        "{} examples in {}: {}",
        items.len(),
        theme::path(path.display()),
        theme::command(format!("task = {{ path = {:?}{chat}, test_fraction = 0 }}", path.display().to_string()))
    ));
    Ok(())
}

/// The beginning of a text, on one line.
fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.chars().count() > SHOWN {
        true => line.chars().take(SHOWN - 1).chain(['…']).collect(),
        false => line,
    }
}
