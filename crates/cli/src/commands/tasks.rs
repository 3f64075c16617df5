//! `lapidary tasks` and `lapidary rewards`: the registries of where prompts come from and what answers are worth.

use clap::Args;
use lapidary_core::{Item, Kind, Problem};
use lapidary_reward::mix::PART_OPTIONS;
use lapidary_reward::options::OptionInfo;
use lapidary_reward::{RewardInfo, reward, rewards};
use lapidary_task::{Level, Split, TaskInfo, TaskSpec, build, task, tasks};
use serde_json::{Map, Value, json};

use super::{did_you_mean, options};
use crate::output::{Output, theme};
use crate::stop::Outcome;

/// Items shown of a task.
const EXAMPLES: u64 = 3;

/// List the tasks, show one with its options and its first items, or write its items
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary tasks chain-sum\n         \
                         lapidary tasks preferences --items 1000 --set flip=0.2 > pairs.jsonl")]
pub struct Tasks {
    /// Show this task
    name: Option<String>,
    /// Write so many items as JSON lines, as a data set that `task = { path = … }` reads
    #[arg(long, value_name = "N", requires = "name")]
    items: Option<u64>,
    /// Set an option of the task; may be given several times
    #[arg(short, long = "set", value_name = "KEY=VALUE", requires = "items")]
    set: Vec<String>,
    /// The part to take items from
    #[arg(long, value_enum, default_value_t = Part::Train, requires = "items")]
    split: Part,
    /// The seed that items are drawn by
    #[arg(long, default_value_t = 0, value_name = "N", requires = "items")]
    seed: u64,
}

/// A part of a task.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Part {
    /// For training
    Train,
    /// Held out
    Test,
}

/// List the rewards, or show one with its formula and its options
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary rewards length")]
pub struct Rewards {
    /// Show this reward
    name: Option<String>,
}

impl Tasks {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Outcome {
        let Some(name) = &self.name else {
            if output.json {
                return tasks().iter().try_for_each(|task| output.json(&task_in_full(task)));
            }
            let row = |task: &TaskInfo| {
                let levels = if task.levels.is_empty() { String::new() } else { task.levels.len().to_string() };
                vec![task.name.into(), task.family.name().into(), task.summary.into(), task.example.into(), levels]
            };
            output.table(&["task", "family", "what it is", "example", "levels"], tasks().iter().map(row))?;
            output.note("lapidary tasks NAME shows the options, the levels and some items of one");
            return Ok(());
        };
        let task = task(name).ok_or_else(|| unknown("task", name, tasks().iter().map(|task| task.name)))?;
        match self.items {
            Some(count) => self.write(task, count, output),
            None if output.json => output.json(&task_in_full(task)),
            None => show_task(task, output),
        }
    }

    /// Items as rows of a data set: what the data task calls `prompt`, `answer` and `completion`, and the rest beside them.
    fn write(&self, task: &TaskInfo, count: u64, output: &mut Output) -> Outcome {
        let mut spec = options(&self.set)?;
        spec.insert("name".into(), task.name.into());
        let task = build(&TaskSpec::Table(spec), self.seed)?;
        let split = match self.split {
            Part::Train => Split::Train,
            Part::Test => Split::Test,
        };
        let count = task.len(split).map_or(count, |len| count.min(len as u64));
        for index in 0..count {
            let Item { id, prompt, answer, completion, metadata } = task.item(split, index)?;
            let mut row = json!({"id": id, "prompt": prompt, "answer": answer, "completion": completion});
            if let Some(row) = row.as_object_mut() {
                row.retain(|_, value| !value.is_null());
                row.extend(metadata.into_iter().filter(|(name, _)| name != "id" && name != "prompt"));
            }
            output.json(&row)?;
        }
        Ok(())
    }
}

impl Rewards {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Outcome {
        let Some(name) = &self.name else {
            if output.json {
                return rewards().iter().try_for_each(|reward| output.json(&reward_in_full(reward)));
            }
            let row = |reward: &RewardInfo| vec![reward.name.into(), reward.summary.into(), reward.formula.into()];
            output.table(&["reward", "what it is", "score"], rewards().iter().map(row))?;
            output.note("lapidary rewards NAME shows the options of one; lapidary reward NAME tries it on a file");
            return Ok(());
        };
        let reward = reward(name).ok_or_else(|| unknown("reward", name, rewards().iter().map(|reward| reward.name)))?;
        if output.json {
            return output.json(&reward_in_full(reward));
        }
        output.line(theme::bold(reward.name))?;
        output.line(format!("{}\n\n    score = {}\n", reward.summary, reward.formula))?;
        show_options(reward.options, output)?;
        output.line(format!("\n{}", theme::bold("In a list of rewards, besides")))?;
        show_options(PART_OPTIONS, output)
    }
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Problem {
    let known: Vec<&str> = known.collect();
    Problem::new(Kind::Usage, "U010", format!("there is no {what} `{name}`")).hint(did_you_mean(name, &known))
}

fn task_in_full(task: &TaskInfo) -> Value {
    json!({
        "name": task.name,
        "family": task.family.name(),
        "summary": task.summary,
        "example": task.example,
        "answer_reward": task.answer_reward,
        "options": task.schema(),
        "levels": task.levels.iter().map(|level| sets(level)).collect::<Vec<_>>(),
    })
}

/// What a level sets, as an object.
fn sets(level: Level) -> Map<String, Value> {
    let value = |literal: &str| serde_json::from_str(literal).unwrap_or(Value::Null);
    level.iter().map(|(name, literal)| (name.to_string(), value(literal))).collect()
}

fn reward_in_full(reward: &RewardInfo) -> Value {
    json!({
        "name": reward.name,
        "summary": reward.summary,
        "formula": reward.formula,
        "options": reward.schema(),
    })
}

fn show_task(task: &TaskInfo, output: &mut Output) -> Outcome {
    output.line(theme::bold(task.name))?;
    output.line(format!("{}\n\n    {}\n", task.summary, task.example))?;
    output.line(format!("`answer` means the reward `{}`.\n", task.answer_reward))?;
    show_options(&task.all_options(), output)?;
    show_levels(task, output)?;
    // A task whose options are all optional can be shown at work.
    if task.options.iter().any(|option| option.default.is_empty()) {
        return Ok(());
    }
    let built = build(&TaskSpec::from(task.name), 0)?;
    output.line(format!("\n{}", theme::bold("First items of seed 0")))?;
    let items: Vec<_> = (0..EXAMPLES).map(|index| built.item(Split::Train, index)).collect::<Result<_, _>>()?;
    let text = |text: Option<String>| text.unwrap_or_default();
    let rows = items.into_iter().map(|item| vec![item.prompt.plain(), text(item.completion), text(item.answer)]);
    output.table(&["prompt", "completion", "answer"], rows)
}

/// What each level sets, and its first question in few characters.
fn show_levels(task: &TaskInfo, output: &mut Output) -> Outcome {
    if task.levels.is_empty() {
        return Ok(());
    }
    output.line(format!("\n{}", theme::bold("Levels")))?;
    let mut rows = Vec::new();
    for (at, level) in task.levels.iter().enumerate() {
        let spec = json!({"name": task.name, "level": at + 1, "style": "terse"});
        let spec = spec.as_object().cloned().map(TaskSpec::Table).unwrap_or_else(|| TaskSpec::from(task.name));
        let item = build(&spec, 0)?.item(Split::Train, 0)?;
        let set = level.iter().map(|(name, literal)| format!("{name} = {literal}")).collect::<Vec<_>>().join(", ");
        rows.push(vec![(at + 1).to_string(), set, item.prompt.plain(), item.completion.unwrap_or_default()]);
    }
    output.table(&["level", "sets", "a question (terse)", "completion"], rows)
}

fn show_options(options: &[OptionInfo], output: &mut Output) -> Outcome {
    if options.is_empty() {
        return output.line("It takes no options.");
    }
    let default = |option: &OptionInfo| match option.default {
        "" => "must be given".to_string(),
        "null" => "unset".to_string(),
        default => default.to_string(),
    };
    let row =
        |option: &OptionInfo| vec![option.name.into(), option.expects(), default(option), option.meaning.to_string()];
    output.table(&["option", "holds", "default", "meaning"], options.iter().map(row))
}
