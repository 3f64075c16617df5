//! Sifting: rows that are said twice, that are too close, or whose prompt is held out, do not train.

use std::collections::HashSet;
use std::sync::Arc;

use lapidary_core::{Item, Kind, Problem, Result};
use lapidary_task::{Split, Task};

use super::said::Said;
use crate::prompts::{Prompts, Tasks};
use crate::recipe::{Duplicates, PairRule, TaskChoice};
use crate::watch::Metrics;

/// What was left out of a data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sifted {
    /// Rows that say what an earlier one said.
    pub(crate) duplicates: usize,
    /// Comparisons that are too close.
    pub(crate) near_ties: usize,
    /// Training rows whose prompt is held out.
    pub(crate) leaked: usize,
    /// Comparisons that stand against another: the same answers, the other way round. They stay.
    pub(crate) contradicted: usize,
}

impl Sifted {
    pub(crate) fn metrics(&self) -> Metrics {
        let Sifted { duplicates, near_ties, leaked, contradicted } = *self;
        [("duplicates", duplicates), ("near_ties", near_ties), ("leaked", leaked), ("contradicted", contradicted)]
            .map(|(name, count)| (format!("pairs/{name}"), count as f64))
            .to_vec()
    }
}

/// A task without the rows that were sifted out.
struct Kept {
    name: String,
    train: Vec<Item>,
    /// `None` where there is no end to what is held out: it is that of the whole task.
    test: Option<Vec<Item>>,
    whole: Arc<dyn Task>,
}

impl Task for Kept {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self, split: Split) -> Option<usize> {
        match split {
            Split::Train => Some(self.train.len()),
            Split::Test => self.test.as_ref().map(Vec::len),
        }
    }

    fn item(&self, split: Split, index: u64) -> Result<Item> {
        let items = match (split, &self.test) {
            (Split::Train, _) => &self.train,
            (Split::Test, Some(test)) => test,
            (Split::Test, None) => return self.whole.item(split, index),
        };
        let item = usize::try_from(index).ok().and_then(|index| items.get(index));
        item.cloned().ok_or_else(|| {
            Problem::new(Kind::Data, "D011", format!("`{}` has {} {} items", self.name, items.len(), split.name()))
        })
    }

    fn answer_reward(&self) -> &'static str {
        "answer"
    }
}

/// The prompts of a task of comparisons, sifted. A task without an end has nothing to sift.
pub(crate) fn sifted(
    tasks: &mut Tasks,
    (choice, rule): (&TaskChoice, &PairRule),
    seed: u64,
) -> Result<(Prompts, Sifted)> {
    let whole = Prompts::new(tasks, choice, seed)?;
    if whole.len().is_none() {
        return Ok((whole, Sifted::default()));
    }
    let (kept, sifted) = sift(whole.share(), rule)?;
    if kept.train.is_empty() {
        return Err(Problem::new(Kind::Data, "D040", format!("task `{}` has nothing left to train on", kept.name))
            .why(format!("{sifted:?} were sifted out"))
            .hint("look at `[stage.pairs]`: `near_tie` drops comparisons that are closer"));
    }
    Ok((Prompts::over(Arc::new(kept), choice, "sifted", seed), sifted))
}

fn sift(whole: Arc<dyn Task>, rule: &PairRule) -> Result<(Kept, Sifted)> {
    let task = &*whole;
    let mut sifted = Sifted::default();
    let mut seen = HashSet::new();
    // What is held out is read first: a row of both sides counts for the test.
    let test = kept(task, Split::Test, rule, &mut seen, &mut sifted)?;
    let held_out: HashSet<String> = test.iter().map(|item| item.prompt.plain()).collect();
    let mut train = kept(task, Split::Train, rule, &mut seen, &mut sifted)?;
    let before = train.len();
    train.retain(|item| !held_out.contains(&item.prompt.plain()));
    sifted.leaked = before - train.len();
    let test = task.len(Split::Test).map(|_| test);
    Ok((Kept { name: task.name().to_string(), train, test, whole }, sifted))
}

fn kept(
    task: &dyn Task,
    split: Split,
    rule: &PairRule,
    seen: &mut HashSet<(String, String, String)>,
    sifted: &mut Sifted,
) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for index in 0..task.len(split).unwrap_or(0) as u64 {
        let item = task.item(split, index)?;
        let Some(said) = Said::read(&item, rule)? else {
            sifted.near_ties += 1;
            continue;
        };
        let (prompt, first, second) = said.identity();
        if seen.contains(&(prompt.clone(), second.clone(), first.clone())) {
            sifted.contradicted += 1;
        }
        if !seen.insert((prompt, first, second)) && rule.duplicates == Duplicates::Drop {
            sifted.duplicates += 1;
            continue;
        }
        items.push(item);
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparisons::testing::{item, rule};
    use crate::recipe::NearTies;
    use serde_json::json;

    struct Rows(Vec<Item>, Vec<Item>);
    impl Task for Rows {
        fn name(&self) -> &str {
            "rows"
        }
        fn len(&self, split: Split) -> Option<usize> {
            Some(if split == Split::Train { self.0.len() } else { self.1.len() })
        }
        fn item(&self, split: Split, index: u64) -> Result<Item> {
            let items = if split == Split::Train { &self.0 } else { &self.1 };
            Ok(items[index as usize].clone())
        }
        fn answer_reward(&self) -> &'static str {
            "answer"
        }
    }

    #[test]
    fn what_is_said_twice_or_held_out_does_not_train() {
        let pair = |prompt: usize, chosen: &str, rejected: &str| {
            item(prompt, json!({"chosen": chosen, "rejected": rejected, "margin": chosen.len()}))
        };
        let train = vec![
            pair(1, "a", "b"),
            pair(1, "a", "b"),
            pair(1, "b", "a"),
            pair(2, "a", "b"),
            pair(3, "", "b"),
            pair(4, "aa", "b"),
        ];
        let rows = Arc::new(Rows(train, vec![pair(2, "aa", "c")]));
        let (kept, sifted) =
            sift(rows.clone(), &PairRule { near_tie: 0.5, near_ties: NearTies::Drop, ..rule() }).unwrap();
        let expected = Sifted { duplicates: 1, near_ties: 1, leaked: 1, contradicted: 1 };
        assert_eq!(sifted, expected);
        assert_eq!(
            (kept.train.len(), kept.len(Split::Test)),
            (3, Some(1)),
            "one each of the contradicting, and the fourth prompt"
        );
        let keep = PairRule { duplicates: Duplicates::Keep, ..rule() };
        assert_eq!(sift(rows, &keep).unwrap().0.train.len(), 5, "all but what is held out");
    }
}
