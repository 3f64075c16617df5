//! One example, or a few, repeated until they fill the step (1-shot RLVR, arXiv 2504.20571).
//!
//! ```text
//! task, or the records of a run ─▶ k items ─▶ rows: item 1 … item 1, item 2 … item k ─▶ steps, as of a data set of so many rows
//! saturated: the first step in which 99 % of the answers are right; what held-out accuracy does after that is the point
//! ```

mod signs;
mod state;

use std::collections::HashMap;
use std::sync::Arc;

use lapidary_algo::rewards_vary;
use lapidary_core::{Item, Key, Kind, Problem, Purpose, Result};
use lapidary_task::{Split, Task};

pub use state::OneShotState;

use crate::draw::Step;
use crate::prompts::{Prompts, Tasks};
use crate::recipe::{Choice, GroupScope, ItemName, OneShot, Rl, Saturated};
use crate::rollouts::Sampled;
use crate::select::{Finder, Lookup, Records, draw, rank};
use crate::watch::Metrics;

/// Items of a pool, at most: they are all held in memory.
const LARGEST_POOL: usize = 1 << 20;

/// A task whose training split is a few items, each in as many rows as its share.
struct Repeated {
    task: Arc<dyn Task>,
    items: Vec<Item>,
    /// The item of each row.
    rows: Vec<usize>,
}

impl Task for Repeated {
    fn name(&self) -> &str {
        self.task.name()
    }

    fn len(&self, split: Split) -> Option<usize> {
        match split {
            Split::Train => Some(self.rows.len()),
            Split::Test => self.task.len(split),
        }
    }

    fn item(&self, split: Split, index: u64) -> Result<Item> {
        match split {
            Split::Train => Ok(self.items[self.rows[index as usize]].clone()),
            Split::Test => self.task.item(split, index),
        }
    }

    fn answer_reward(&self) -> &'static str {
        self.task.answer_reward()
    }
}

/// The item of each of `rows` rows where `items` share them: as equally as can be, the last ones being a row short.
///
/// 128 rows of 2 are 64 + 64; of 3 they are 43 + 43 + 42.
fn shares(items: usize, rows: usize) -> Vec<usize> {
    assert!(items > 0 && rows >= items, "every item has a row");
    let (least, more) = (rows / items, rows % items);
    (0..items).flat_map(|item| std::iter::repeat_n(item, least + usize::from(item < more))).collect()
}

/// The rows of a stage to read on, and what was chosen in a word: equal for equal items, answers and rows.
pub(crate) fn prompts(rule: &OneShot, rl: &Rl, tasks: &mut Tasks, seed: u64) -> Result<(Prompts, String)> {
    let task = tasks.get(&rl.task, seed)?;
    let items = choose(rule, &*task, seed)?;
    let rows = rule.repeat_to.unwrap_or(rl.training.prompts_per_step.max(items.len()));
    if rows < items.len() {
        let message = format!("{} items do not fit `repeat_to = {rows}` rows", items.len());
        return Err(Problem::new(Kind::Usage, "R035", message).hint("raise `repeat_to`, or choose fewer items"));
    }
    let name = fingerprint(&items, rows);
    let repeated = Repeated { task, rows: shares(items.len(), rows), items };
    Ok((Prompts::over(Arc::new(repeated), &rl.task, &format!("one_shot={name}"), seed), name))
}

fn fingerprint(items: &[Item], rows: usize) -> String {
    let start = Key::new(rows as u64, Purpose::Task).at_name("one_shot");
    let key = items.iter().fold(start, |key, item| {
        key.at_name(&item.id).at_name(&item.prompt.plain()).at_name(item.answer.as_deref().unwrap_or(""))
    });
    format!("{:016x}", key.bits())
}

/// The items that a stage is to learn, in order.
pub(crate) fn choose(rule: &OneShot, task: &dyn Task, seed: u64) -> Result<Vec<Item>> {
    let mut items = match &rule.choice {
        Choice::Items(names) => named(names, task)?,
        Choice::First(pool) => first(*pool, task)?,
        Choice::Random { pool, top } => {
            let mut all: Vec<(usize, Item)> = first(*pool, task)?.into_iter().enumerate().collect();
            enough(*top, all.len(), task.name())?;
            all.sort_by(|(a, _), (b, _)| draw(seed, *b).total_cmp(&draw(seed, *a)));
            all.into_iter().take(*top).map(|(_, item)| item).collect()
        }
        Choice::Records { run, by, top } => {
            let records = Records::open(run, &Lookup::default())?;
            let ranking = rank(&records.histories, *by, seed);
            enough(*top, ranking.len(), &run.to_string_lossy())?;
            let best = ranking.iter().take(*top).map(|it| ItemName::Name(records.histories[it.index].id.clone()));
            named(&best.collect::<Vec<_>>(), task)?
        }
    };
    if !rule.answers.is_empty() {
        if rule.answers.len() != items.len() {
            let message = format!("{} answers for {} items", rule.answers.len(), items.len());
            return Err(Problem::new(Kind::Usage, "R035", message).hint("give one of `answers` per item"));
        }
        items.iter_mut().zip(&rule.answers).for_each(|(item, answer)| item.answer = Some(answer.clone()));
    }
    Ok(items)
}

fn named(names: &[ItemName], task: &dyn Task) -> Result<Vec<Item>> {
    let finder = Finder::new(task)?;
    let find = |name: &ItemName| {
        let found = match name {
            ItemName::Place(place) => finder.at(*place)?,
            ItemName::Name(name) => finder.named(name)?,
        };
        found.ok_or_else(|| missing(name, task))
    };
    names.iter().map(find).collect()
}

fn missing(name: &ItemName, task: &dyn Task) -> Problem {
    let message = format!("task `{}` has no item `{name}` to train on", task.name());
    let problem = Problem::new(Kind::Data, "D082", message);
    match task.len(Split::Train) {
        Some(len) => problem.why(format!("its training split has {len} items; others may be held out for tests")).hint(
            "`lapidary select` and `lapidary inspect` show names; `test_fraction = 0` keeps every row for training",
        ),
        None => problem.hint("its items are named as in the rollouts of a run: `lapidary select RUN` shows them"),
    }
}

fn first(pool: Option<usize>, task: &dyn Task) -> Result<Vec<Item>> {
    let len = match (pool, task.len(Split::Train)) {
        (None, None) => {
            return Err(Problem::new(
                Kind::Usage,
                "R022",
                format!("task `{}` has no end, so it is no pool", task.name()),
            )
            .hint("say how many of its items make the pool: `[stage.one_shot]` with `pool = 128`"));
        }
        (Some(wanted), None) => wanted,
        (wanted, Some(len)) => wanted.unwrap_or(len).min(len),
    };
    if len > LARGEST_POOL {
        return Err(Problem::new(Kind::Usage, "R035", format!("a pool of {len} items is too large"))
            .hint(format!("set `pool` to {LARGEST_POOL} or less, or leave the table out to train on the whole task")));
    }
    (0..len as u64).map(|index| task.item(Split::Train, index)).collect()
}

fn enough(top: usize, there_are: usize, place: &str) -> Result<()> {
    if top <= there_are {
        return Ok(());
    }
    Err(Problem::new(Kind::Usage, "R035", format!("`{place}` has {there_are} items to choose from, not {top}"))
        .hint(format!("set `top` to {there_are} or less")))
}

/// The group of each sample: its row's, or that of its example.
pub(crate) fn groups<'a>(rule: Option<&OneShot>, samples: impl Iterator<Item = &'a Sampled>) -> Vec<usize> {
    let pooled = rule.is_some_and(|rule| rule.group_scope == GroupScope::Prompt);
    let mut examples: HashMap<&str, usize> = HashMap::new();
    let group = |sampled: &'a Sampled| match pooled {
        true => {
            let next = examples.len();
            *examples.entry(&sampled.id).or_insert(next)
        }
        false => sampled.rollout.prompt,
    };
    samples.map(group).collect()
}

/// Which samples leave the step because their group is all right or all wrong.
pub(crate) fn dropped(rule: Option<&OneShot>, groups: &[usize], rewards: &[Option<f32>]) -> Vec<bool> {
    if rule.is_none_or(|rule| rule.saturated == Saturated::Keep) {
        return vec![false; groups.len()];
    }
    let mut members: HashMap<usize, Vec<Option<f32>>> = HashMap::new();
    groups.iter().zip(rewards).for_each(|(group, reward)| members.entry(*group).or_default().push(*reward));
    let flat: HashMap<usize, bool> = members.iter().map(|(group, rewards)| (*group, !rewards_vary(rewards))).collect();
    groups.iter().map(|group| flat[group]).collect()
}

/// `one_shot/…` of a step, whose samples have their advantages; counts in `state`. Also whether the examples are saturated for
/// the first time.
pub(crate) fn observe(rule: &OneShot, step: &Step, number: u64, state: &mut OneShotState) -> (Metrics, bool) {
    let judged: Vec<f64> = step.fresh().filter_map(|sampled| sampled.verdict.value()).map(f64::from).collect();
    let right = judged.iter().filter(|reward| **reward >= rule.right_from).count();
    let accuracy = right as f64 / judged.len().max(1) as f64;
    let begins = !judged.is_empty() && state.saturates(accuracy, number);
    let (all, silent) =
        step.kept().filter(|sampled| sampled.verdict.value().is_some()).fold((0, 0), |(all, none), it| {
            (all + 1, none + usize::from(it.advantage.is_none_or(|advantage| advantage == 0.0)))
        });
    let texts = step.fresh().map(|it| (it.prompt_text.plain(), it.answer.as_deref(), it.completion.as_str()));
    let signs = signs::of(texts);
    let metrics = vec![
        ("one_shot/accuracy".into(), accuracy),
        ("one_shot/saturation_step".into(), state.saturation_step.unwrap_or(0) as f64),
        ("one_shot/zero_advantage".into(), f64::from(silent as u32) / f64::from((all as u32).max(1))),
        ("one_shot/train_garble_ratio".into(), signs.garble),
        ("one_shot/boxed_ratio".into(), signs.boxed),
        ("one_shot/reflection_words".into(), signs.reflections),
    ];
    (metrics, begins)
}

#[cfg(test)]
mod tests;
