//! `[stage.one_shot]`: one example, or a few, instead of the whole task.

use std::fmt;
use std::path::PathBuf;

use lapidary_core::{Kind, Problem, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::check::Checker;
use crate::select::Selector;

/// One example, or a few, repeated until they fill the step (1-shot RLVR, arXiv 2504.20571).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OneShot {
    /// Which items of the task.
    pub choice: Choice,
    /// What the reward compares with, in place of the items' own answers; empty, or one per item.
    pub answers: Vec<String>,
    /// Rows that the examples are repeated to; at least as many as there are examples.
    pub repeat_to: Option<usize>,
    /// Whose rewards make a baseline together.
    pub group_scope: GroupScope,
    /// Whether groups that are all right or all wrong stay in the step.
    pub saturated: Saturated,
    /// Total reward from which an answer is right.
    pub right_from: f64,
}

/// Which items of a task are trained on.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Choice {
    /// These, by name or by place.
    Items(Vec<ItemName>),
    /// The first so many; `None` is all of a data set.
    First(Option<usize>),
    /// So many of the first, by the seed.
    Random {
        /// Items to choose from; `None` is all of a data set.
        pool: Option<usize>,
        /// How many; positive.
        top: usize,
    },
    /// The best by the records of a run.
    Records {
        /// A run directory, or a JSON file of accuracies.
        run: PathBuf,
        /// By what they are ranked.
        by: Selector,
        /// How many; positive.
        top: usize,
    },
}

impl Choice {
    /// How many there will be, where that is known before the task is read.
    pub fn count(&self) -> Option<usize> {
        match self {
            Choice::Items(items) => Some(items.len()),
            Choice::First(pool) => *pool,
            Choice::Random { top, .. } | Choice::Records { top, .. } => Some(*top),
        }
    }
}

/// An item, by its name or by its place in the training split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ItemName {
    /// Counted from 0.
    Place(u64),
    /// `train.jsonl:7`, `chain-sum/train/12`.
    Name(String),
}

impl fmt::Display for ItemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ItemName::Place(place) => write!(f, "{place}"),
            ItemName::Name(name) => f.write_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for ItemName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PlaceOrName;
        impl Visitor<'_> for PlaceOrName {
            type Value = ItemName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an item, or its place (0 or more)")
            }
            fn visit_u64<E: de::Error>(self, place: u64) -> Result<ItemName, E> {
                Ok(ItemName::Place(place))
            }
            fn visit_i64<E: de::Error>(self, place: i64) -> Result<ItemName, E> {
                let negative = |_| E::invalid_value(de::Unexpected::Signed(place), &self);
                u64::try_from(place).map(ItemName::Place).map_err(negative)
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<ItemName, E> {
                Ok(ItemName::Name(name.into()))
            }
        }
        deserializer.deserialize_any(PlaceOrName)
    }
}

impl JsonSchema for ItemName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ItemName".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string" }] })
    }
}

/// Whose rewards make a baseline together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GroupScope {
    /// The samples of a row: a repeated example makes many groups (the paper).
    #[default]
    Row,
    /// All samples of an example in the step, so that a single failure gives each of them a gradient.
    Prompt,
}

/// What happens to groups whose rewards are all equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Saturated {
    /// Their tokens count in the loss's means, and KL and entropy act on them (the reference code).
    #[default]
    Keep,
    /// They leave the step.
    Drop,
}

/// One example, or a few, repeated until they fill the step.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOneShot {
    /// The items to train on, by name (`train.jsonl:7`, as `lapidary select` prints it) or by place in the training split,
    /// counted from 0. Without it, `run` or `by` choose, or else all items of the pool are trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub items: Option<Vec<ItemName>>,
    /// Only the first so many items of the task are looked at; 0 is all of a data set. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<u64>,
    /// A run on the whole task, or a JSON file `{item: [accuracies]}`, whose records choose the items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// By what items are chosen: the variance of their accuracy (`variance`), how it follows that of all (`lim`), or the seed
    /// (`random`, which needs no `run`). Default `variance` with a `run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Selector>,
    /// How many items are chosen. Only with `run` or `by`. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub top: Option<u64>,
    /// Answers to compare with in place of the items' own, one per item: for experiments with wrong labels. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<Vec<String>>,
    /// Rows that the items are repeated to, in equal shares; where they do not divide it, the last ones have one row less. Default
    /// `prompts_per_step`, or the number of items where that is larger.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub repeat_to: Option<u64>,
    /// Whose rewards make a baseline together: the samples of a row, or all of an example in the step (`prompt`). Default `row`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_scope: Option<GroupScope>,
    /// Whether groups that are all right or all wrong stay in the means of the loss (`keep`) or leave the step (`drop`).
    /// Default `keep`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saturated: Option<Saturated>,
    /// Total reward from which an answer is right, for accuracy and saturation. Default 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right_from: Option<f64>,
}

impl Checker<'_> {
    /// The table; `dynamic_sampling` and `curriculum` say what else chooses prompts in this stage.
    pub(super) fn one_shot(
        &self,
        raw: Option<RawOneShot>,
        (dynamic_sampling, curriculum): (bool, bool),
    ) -> Result<Option<OneShot>> {
        let Some(raw) = raw else { return Ok(None) };
        let table = self.within("one_shot");
        if curriculum {
            return Err(Problem::new(Kind::Usage, "R036", "both `one_shot` and `curriculum` choose the prompts")
                .at(self.tree.key_place(&self.path("curriculum"), "this table has no use here"))
                .hint("remove one of the two tables"));
        }
        let group_scope = raw.group_scope.unwrap_or_default();
        if dynamic_sampling {
            let wants = [("group_scope", group_scope == GroupScope::Prompt), ("saturated", raw.saturated.is_some())];
            if let Some((key, _)) = wants.iter().find(|(_, wants)| *wants) {
                let message = format!("`{key}` has no meaning with dynamic sampling");
                return Err(table
                    .wrong_value("R036", key, message, "dynamic sampling drops every group without contrast")
                    .hint("set `dynamic_sampling = false` in the table of the method, or remove this key"));
            }
        }
        let choice = table.choice(&raw)?;
        let answers = raw.answers.unwrap_or_default();
        if !answers.is_empty() && choice.count() != Some(answers.len()) {
            let count = choice.count().map_or("all of the pool".into(), |count| count.to_string());
            let message = format!("{} answers for {count} items", answers.len());
            return Err(table.wrong_value("R035", "answers", message, "one per item, in their order"));
        }
        let repeat_to = table.count("repeat_to", raw.repeat_to, 1, 1)? as usize;
        let repeat_to = raw.repeat_to.map(|_| repeat_to);
        if let (Some(rows), Some(items)) = (repeat_to, choice.count().filter(|items| repeat_to < Some(*items))) {
            let message = format!("{items} items do not fit {rows} rows");
            return Err(table.wrong_value("R035", "repeat_to", message, format!("must be {items} or more")));
        }
        Ok(Some(OneShot {
            choice,
            answers,
            repeat_to,
            group_scope,
            saturated: raw.saturated.unwrap_or_default(),
            right_from: table.number("right_from", raw.right_from, 0.5, f64::is_finite, "a number")?,
        }))
    }

    fn choice(&self, raw: &RawOneShot) -> Result<Choice> {
        let pool = self.count("pool", raw.pool, 0, 0)? as usize;
        let pool = (pool > 0).then_some(pool);
        let top = self.count("top", raw.top, 1, 1)? as usize;
        let refuse = |key: &str, label: &str| {
            Err(self.wrong_value("R035", key, format!("`{key}` chooses nothing here"), label).hint("remove this key"))
        };
        let given = [
            ("pool", pool.is_some()),
            ("run", raw.run.is_some()),
            ("by", raw.by.is_some()),
            ("top", raw.top.is_some()),
        ];
        match (&raw.items, &raw.run, raw.by) {
            (Some(items), ..) => match given.iter().find(|(_, given)| *given) {
                Some((key, _)) => refuse(key, "`items` has chosen already"),
                None if items.is_empty() => {
                    Err(self.wrong_value("R035", "items", "the list of items is empty", "nothing to learn from"))
                }
                None => Ok(Choice::Items(items.clone())),
            },
            (None, Some(_), _) if pool.is_some() => refuse("pool", "the records of `run` are the pool"),
            (None, Some(run), by) => Ok(Choice::Records { run: run.into(), by: by.unwrap_or_default(), top }),
            (None, None, Some(Selector::Random)) => match pool.filter(|pool| top > *pool) {
                Some(pool) => Err(self.wrong_value(
                    "R035",
                    "top",
                    format!("{top} items cannot be chosen from {pool}"),
                    format!("must be {pool} or less"),
                )),
                None => Ok(Choice::Random { pool, top }),
            },
            (None, None, Some(_)) => Err(self
                .wrong_value("R035", "by", "there are no records to choose by", "needs a `run`")
                .hint("set `run` to a run on the whole task, or `by = \"random\"`")),
            (None, None, None) if raw.top.is_some() => refuse("top", "needs a `run`, or `by = \"random\"`"),
            (None, None, None) => Ok(Choice::First(pool)),
        }
    }
}

impl OneShot {
    pub(super) fn entries(&self) -> Vec<(&'static str, Value)> {
        let mut entries = match &self.choice {
            Choice::Items(items) => vec![("items", json!(items))],
            Choice::First(pool) => vec![("pool", json!(pool.unwrap_or(0)))],
            Choice::Random { pool, top } => {
                vec![("pool", json!(pool.unwrap_or(0))), ("by", json!(Selector::Random)), ("top", json!(top))]
            }
            Choice::Records { run, by, top } => vec![("run", json!(run)), ("by", json!(by)), ("top", json!(top))],
        };
        if !self.answers.is_empty() {
            entries.push(("answers", json!(self.answers)));
        }
        entries.extend(self.repeat_to.map(|rows| ("repeat_to", json!(rows))));
        entries.extend([
            ("group_scope", json!(self.group_scope)),
            ("saturated", json!(self.saturated)),
            ("right_from", json!(self.right_from)),
        ]);
        entries
    }
}
