//! The tasks and rewards of a recipe: names and options are those of their registries.

use std::path::PathBuf;

use lapidary_core::{Kind, Problem, Result};
use lapidary_reward::PartSettings;
use lapidary_reward::mix::{PART_OPTIONS, follows};
use lapidary_reward::options::{OptionInfo, Options, Owner};
use lapidary_task::TaskSpec;
use serde_json::{Map, Value, json};

use super::check::Checker;
use super::nearest::listed;
use super::raw::{RawReward, RawTask};
use super::tree::{self, Node};
use super::{RewardChoice, TaskChoice, names};

/// Rewards that look at the machine when they are built: a program, a key, a sandbox. A recipe may be checked on another one.
const OUTSIDE: &[&str] = &["command", "judge", "code", MODEL];
/// The reward that is a reward model; a table with this key needs no name.
pub(super) const MODEL: &str = "model";
/// The reward that stands for whichever checks the answers of the task at hand.
const ANSWER: &str = "answer";

impl Checker<'_> {
    pub(super) fn task(&self, raw: Option<RawTask>) -> Result<TaskChoice> {
        let raw = raw.ok_or_else(|| {
            self.missing("task").hint(format!("name one of {}, or a data file", listed(names::tasks())))
        })?;
        let (choice, key) = match raw {
            RawTask::Text(text) if looks_like_a_path(&text) => (file(text, Map::new()), "task"),
            RawTask::Text(name) => (named(name, Map::new()), "task"),
            RawTask::Table(mut table) => {
                let name = self.text_of(&mut table, "task", "name")?;
                let path = self.text_of(&mut table, "task", "path")?;
                let pairs = self.text_of(&mut table, "task", "pairs")?;
                match (name, path, pairs) {
                    (Some(name), None, None) => (named(name, table), "task.name"),
                    (None, Some(path), None) => (file(path, table), "task.path"),
                    (None, None, Some(stage)) => (self.pairs_of(&stage, table)?, "task.pairs"),
                    _ => {
                        return Err(self
                            .wrong_value("R011", "task", "a task has one of `name`, `path` and `pairs`", "this table")
                            .hint("write `{ name = \"chain-sum\" }` or `{ path = \"train.jsonl\" }`"));
                    }
                }
            }
        };
        if choice.path.is_none() && choice.pairs.is_none() && !names::tasks().contains(&choice.name.as_str()) {
            return Err(self.unknown("R011", "task", key, &choice.name, &names::tasks()));
        }
        self.task_options(&choice)?;
        Ok(choice)
    }

    fn task_options(&self, choice: &TaskChoice) -> Result<()> {
        let mut given = choice.options.clone();
        let name = match (&choice.path, choice.pairs) {
            (None, None) => &choice.name,
            (path, _) => {
                given.insert("path".into(), json!(path.clone().unwrap_or_default()));
                names::DATA
            }
        };
        let Some(info) = lapidary_task::task(name) else { return Ok(()) };
        let owner = Owner { what: "task", name: info.name, unknown: "D021", wrong: "D022" };
        let checked = Options::check(owner, &info.all_options(), &Value::Object(given.clone())).map(|_| ());
        // Building a named task reads nothing, and finds what no single option shows: a minimum above its maximum.
        let mut built = || match name {
            names::DATA => Ok(()),
            _ => {
                given.insert("name".into(), json!(name));
                lapidary_task::build(&TaskSpec::Table(given.clone()), 0).map(|_| ())
            }
        };
        checked.and_then(|()| built()).map_err(|problem| self.in_options(problem, "task", &choice.options))
    }

    pub(super) fn rewards(&self, raw: Option<Vec<RawReward>>, task: &TaskChoice) -> Result<Vec<RewardChoice>> {
        let Some(raw) = raw else { return Ok(vec![RewardChoice::answer()]) };
        if raw.is_empty() {
            let label = "no reward: nothing to learn from";
            return Err(self.wrong_value("R012", "reward", "the list of rewards is empty", label));
        }
        let written = self.tree.get(&self.path("reward"));
        let is_list = matches!(written, Some(Node { value: tree::Value::List(_), .. }));
        let key = |at: usize| if is_list { format!("reward.{}", at + 1) } else { "reward".to_string() };
        let rewards: Vec<RewardChoice> = raw
            .into_iter()
            .enumerate()
            .map(|(at, reward)| self.reward(reward, &key(at), task, at == 0))
            .collect::<Result<_>>()?;
        let label = |at: usize| rewards[at].label();
        match (1..rewards.len()).find(|&at| (0..at).any(|other| label(other) == label(at))) {
            None => Ok(rewards),
            Some(at) => Err(self
                .wrong_value("R012", &key(at), format!("two rewards are called `{}`", label(at)), "the second")
                .hint("give one of them another `label`")),
        }
    }

    /// One of a list of rewards, `first` where it begins it.
    fn reward(&self, raw: RawReward, key: &str, task: &TaskChoice, first: bool) -> Result<RewardChoice> {
        let (name, name_key, mut options) = match raw {
            RawReward::Text(name) => (name, key.to_string(), Map::new()),
            RawReward::Table(mut table) => {
                let short = table.contains_key(MODEL).then(|| MODEL.to_string());
                let name = self.text_of(&mut table, key, "name")?.or(short).ok_or_else(|| {
                    self.wrong_value("R004", key, "the key `name` is missing", "`name` belongs in this table")
                        .hint(format!("rewards are {}", listed(names::rewards())))
                })?;
                (name, format!("{key}.name"), table)
            }
        };
        if name == MODEL {
            self.reward_model(&options, key)?;
        }
        let Some(named) = lapidary_reward::reward(&name) else {
            return Err(self.unknown("R012", "reward", &name_key, &name, &names::rewards()));
        };
        let meant = if name == ANSWER { lapidary_reward::reward(answer_of(task)).unwrap_or(named) } else { named };
        let mut own = options.clone();
        let settings = PartSettings::take(named.name, &mut own);
        let owner = Owner { what: "reward", name: meant.name, unknown: "W002", wrong: "W003" };
        let checked = settings.and_then(|settings| {
            let given = Value::Object(own.clone());
            Options::check(owner, meant.options, &given)?;
            // what no single option shows: a minimum above its maximum, a pattern that is none
            let built = (!OUTSIDE.contains(&meant.name)).then(|| lapidary_reward::build(meant.name, &given));
            built.transpose().map(|_| settings)
        });
        let settings = checked.map_err(|problem| self.in_options(problem, key, &options))?;
        if first && follows(meant.name, &own) {
            let message = format!("reward `{name}` goes by the score of the first reward, but is the first");
            return Err(self
                .wrong_value("R012", key, message, "the first of the list")
                .hint("put the reward that checks the answer before it: `reward = [\"answer\", { … }]`"));
        }
        // as written: the 32-bit number nearest to 0.1 is not what a person wants to read
        let weight = options.shift_remove("weight").and_then(|weight| weight.as_f64());
        Ok(RewardChoice { name, weight: weight.unwrap_or(settings.weight.into()), options })
    }

    /// The reward of an evaluation, which is no list.
    pub(super) fn single_reward(&self, raw: RawReward, task: &TaskChoice) -> Result<RewardChoice> {
        let choice = self.reward(raw, "reward", task, true)?;
        let listed = PART_OPTIONS.iter().find(|option| choice.options.contains_key(option.name));
        match listed {
            None => Ok(choice),
            Some(option) => Err(Problem::new(
                Kind::Usage,
                "R012",
                format!("`{}` belongs to a list of rewards, but an evaluation has one", option.name),
            )
            .at(self.tree.key_place(&self.path(&format!("reward.{}", option.name)), "remove this"))),
        }
    }

    fn text_of(&self, table: &mut Map<String, Value>, key: &str, field: &str) -> Result<Option<String>> {
        match table.shift_remove(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => {
                let key = format!("{key}.{field}");
                Err(self.wrong_value("R002", &key, format!("`{field}` is {other}"), "expected text in quotes"))
            }
        }
    }

    /// Gives a registry's complaint about options its place: the option it names, or else the whole table.
    fn in_options(&self, problem: Problem, key: &str, options: &Map<String, Value>) -> Problem {
        let culprit = options.keys().find(|option| problem.message().contains(&format!("`{option}`")));
        let label = if culprit.is_some() { "this option" } else { "" };
        let path = culprit.map_or(key.to_string(), |option| format!("{key}.{option}"));
        problem.at(self.tree.key_place(&self.path(&path), label))
    }
}

impl TaskChoice {
    /// The reward that `answer` stands for.
    pub fn answer_reward(&self) -> &'static str {
        answer_of(self)
    }

    /// The same, as [`lapidary_task::build`] takes it.
    pub fn spec(&self) -> TaskSpec {
        let (key, value) = match &self.path {
            Some(path) => ("path", json!(path)),
            None => ("name", json!(self.name)),
        };
        let mut table = Map::from_iter([(key.to_string(), value)]);
        table.extend(self.options.clone());
        TaskSpec::Table(table)
    }
}

impl RewardChoice {
    /// Whichever reward checks the answers of the task at hand.
    pub(super) fn answer() -> Self {
        Self { name: ANSWER.into(), weight: 1.0, options: Map::new() }
    }

    /// Its name in metrics.
    fn label(&self) -> &str {
        self.options.get("label").and_then(Value::as_str).unwrap_or(&self.name)
    }
}

/// The options of a registry row, for the JSON schema: an object with the given key beside them.
pub(super) fn schema_with(key: &str, value: Value, options: &[OptionInfo], extra: &[(&str, Value)]) -> Value {
    let mut schema = lapidary_reward::options::schema(options);
    schema["properties"][key] = value;
    for (name, value) in extra {
        schema["properties"][*name] = value.clone();
    }
    if let Some(required) = schema["required"].as_array_mut()
        && !required.iter().any(|name| name == key)
    {
        required.push(json!(key));
    }
    schema
}

fn named(name: String, options: Map<String, Value>) -> TaskChoice {
    TaskChoice { name, path: None, pairs: None, options }
}

fn file(path: String, options: Map<String, Value>) -> TaskChoice {
    TaskChoice { name: String::new(), path: Some(PathBuf::from(path)), pairs: None, options }
}

/// The reward that `answer` stands for.
fn answer_of(task: &TaskChoice) -> &'static str {
    let name = if task.path.is_some() { names::DATA } else { &task.name };
    lapidary_task::task(name).map_or(ANSWER, |info| info.answer_reward)
}

fn looks_like_a_path(text: &str) -> bool {
    text.contains(['/', '\\']) || [".jsonl", ".json", ".gz", ".parquet"].iter().any(|end| text.ends_with(end))
}
