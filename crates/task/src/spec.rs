//! How a recipe names a task.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `"chain-sum"`, `"data/train.jsonl"`, `{ name = "chain-sum", min_terms = 2 }` or `{ path = "gsm8k", suffix = "…" }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TaskSpec {
    /// The name of a procedural task, or a path.
    Name(String),
    /// A table with a `name` or a `path`, and options.
    Table(Map<String, Value>),
}

impl From<&str> for TaskSpec {
    fn from(name: &str) -> Self {
        TaskSpec::Name(name.to_string())
    }
}

impl TaskSpec {
    /// The name or the path, for messages.
    pub fn name(&self) -> &str {
        match self {
            TaskSpec::Name(name) => name,
            TaskSpec::Table(table) => {
                let named = table.get("name").or_else(|| table.get("path"));
                named.and_then(Value::as_str).unwrap_or("a task without name or path")
            }
        }
    }
}
