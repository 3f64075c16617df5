//! The table of all tasks.

use lapidary_core::{Kind, Problem, Result};
use lapidary_reward::options::{OptionInfo, Options, Owner, nearest, schema, suggestion};
use serde_json::{Map, Value, json};

use crate::{Task, TaskSpec};

/// What there is to know about a task: its name, what it asks, and its options.
#[derive(Clone, Copy)]
pub struct TaskInfo {
    /// The name in a recipe; `data` for data sets, which are named by their path.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// A question and its answer.
    pub example: &'static str,
    /// The reward that `answer` stands for.
    pub answer_reward: &'static str,
    /// The options it takes.
    pub options: &'static [OptionInfo],
    pub(crate) build: fn(&Options, u64) -> Result<Box<dyn Task>>,
}

impl TaskInfo {
    /// The JSON schema of its options.
    pub fn schema(&self) -> Value {
        schema(self.options)
    }
}

static TASKS: &[TaskInfo] = &[
    crate::chain_sum::INFO,
    crate::countdown::INFO,
    crate::number_sorting::INFO,
    crate::spell_backward::INFO,
    crate::data::INFO,
];

/// All tasks.
pub fn tasks() -> &'static [TaskInfo] {
    TASKS
}

/// The task of that name.
pub fn task(name: &str) -> Option<&'static TaskInfo> {
    TASKS.iter().find(|info| info.name == name)
}

/// Builds a task from what a recipe says and the run's seed.
///
/// # Errors
/// `Usage` `D020` for an unknown task, `D021` for an unknown option, `D022` for an option that holds the wrong thing;
/// `Data` for a data set that cannot be read.
pub fn build(spec: &TaskSpec, seed: u64) -> Result<Box<dyn Task>> {
    let (info, options) = resolve(spec)?;
    let owner = Owner { what: "task", name: info.name, unknown: "D021", wrong: "D022" };
    (info.build)(&Options::check(owner, info.options, &Value::Object(options))?, seed)
}

fn resolve(spec: &TaskSpec) -> Result<(&'static TaskInfo, Map<String, Value>)> {
    let mut options = match spec {
        TaskSpec::Name(name) if task(name).is_none() && looks_like_a_path(name) => {
            Map::from_iter([("path".to_string(), json!(name))])
        }
        TaskSpec::Name(name) => Map::from_iter([("name".to_string(), json!(name))]),
        TaskSpec::Table(table) => table.clone(),
    };
    let name = match options.shift_remove("name") {
        Some(Value::String(name)) => name,
        Some(other) => return Err(wrong(format!("the `name` of a task must be a text, got {other}"))),
        None if options.contains_key("path") => "data".to_string(),
        None => {
            return Err(wrong("a task has neither `name` nor `path`")
                .hint("write `task = \"chain-sum\"` or `task = { path = \"train.jsonl\" }`"));
        }
    };
    match task(&name) {
        Some(info) => Ok((info, options)),
        None => {
            let names: Vec<&str> = TASKS.iter().map(|info| info.name).collect();
            let problem = Problem::new(Kind::Usage, "D020", format!("no task is named `{name}`"));
            Err(match nearest(&name, &names) {
                Some(_) => problem.hint(suggestion(&name, &names)),
                None => problem.hint(format!("{}; a data set is given as `{{ path = … }}`", suggestion(&name, &names))),
            })
        }
    }
}

fn looks_like_a_path(name: &str) -> bool {
    name.contains(['/', '\\'])
        || [".jsonl", ".jsonl.gz", ".parquet", ".json"].iter().any(|end| name.ends_with(end))
        || std::path::Path::new(name).exists()
}

fn wrong(message: impl Into<String>) -> Problem {
    Problem::new(Kind::Usage, "D022", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(spec: Value) -> Problem {
        match build(&serde_json::from_value(spec.clone()).unwrap(), 1) {
            Err(problem) => problem,
            Ok(_) => panic!("{spec} must be refused"),
        }
    }

    #[test]
    fn wrong_specs_are_refused_with_advice() {
        assert_eq!(refusal(json!("chain-smu")).advice(), Some("did you mean `chain-sum`?"));
        assert_eq!(refusal(json!({"min_terms": 2})).code(), "D022");
        assert_eq!(refusal(json!({"name": 3})).code(), "D022");
        let problem = refusal(json!({"name": "chain-sum", "min_term": 2}));
        assert_eq!((problem.code(), problem.advice()), ("D021", Some("did you mean `min_terms`?")));
        let problem = refusal(json!({"name": "chain-sum", "min_terms": 5, "max_terms": 3}));
        assert_eq!((problem.code(), problem.kind()), ("D022", Kind::Usage));
    }

    #[test]
    fn every_task_describes_itself_and_names_a_real_reward() {
        for info in tasks() {
            assert!(lapidary_reward::reward(info.answer_reward).is_some(), "{}", info.name);
            assert!(!info.summary.is_empty() && !info.example.is_empty());
            for option in info.options {
                assert!(option.schema().is_object() && !option.meaning.is_empty(), "{}.{}", info.name, option.name);
            }
        }
    }
}
