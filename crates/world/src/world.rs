//! A world: records, tools, the policy that the agent is given, and tasks.

use lapidary_core::{Kind, Problem, Result};

use crate::python::{DEEPEST, Dict, Raised, Value, parse};
use crate::records::{Mode, Records};
use crate::tool::Tool;
use crate::{airline, retail};

/// Which tools a world has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// A shop.
    Retail,
    /// An airline.
    Airline,
}

impl Domain {
    /// Its name in files, ids and exceptions.
    pub fn name(self) -> &'static str {
        match self {
            Domain::Retail => "retail",
            Domain::Airline => "airline",
        }
    }

    /// The tables of its database.
    pub fn tables(self) -> &'static [&'static str] {
        match self {
            Domain::Retail => &["orders", "products", "users"],
            Domain::Airline => &["flights", "reservations", "users"],
        }
    }

    /// Its tools.
    pub fn tools(self) -> &'static [Tool] {
        match self {
            Domain::Retail => retail::TOOLS,
            Domain::Airline => airline::TOOLS,
        }
    }

    /// The tool of a name.
    pub fn tool(self, name: &str) -> Option<&'static Tool> {
        self.tools().iter().find(|tool| tool.name == name)
    }
}

/// What the agent does: it calls a tool, or says something.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// The tool, or [`RESPOND`].
    pub name: String,
    /// The arguments.
    pub kwargs: Dict,
}

/// The action that says `content` to the user.
pub const RESPOND: &str = "respond";

impl Action {
    /// Says something.
    pub fn respond(content: &str) -> Self {
        Self { name: RESPOND.into(), kwargs: Dict::from_iter([("content".into(), Value::str(content))]) }
    }

    /// Reads `{"name": …, "kwargs": {…}}`; kwargs that are left out are none.
    ///
    /// # Errors
    /// In words: what is wrong with it.
    pub fn read(value: &Value) -> std::result::Result<Self, String> {
        let Some(dict) = value.as_dict() else {
            return Err(format!("an action must be a table, got {}", kind_of(value)));
        };
        let name = match dict.get("name") {
            Some(Value::Str(name)) => name.to_string(),
            Some(other) => return Err(format!("the `name` of an action must be a text, got {}", kind_of(other))),
            None => return Err("an action has no `name`".into()),
        };
        if let Some(other) = dict.keys().find(|key| !["name", "kwargs"].contains(&&***key)) {
            return Err(format!("an action has `name` and `kwargs`, got `{other}`"));
        }
        match dict.get("kwargs") {
            None => Ok(Self { name, kwargs: Dict::new() }),
            Some(Value::Dict(kwargs)) => Ok(Self { name, kwargs: (**kwargs).clone() }),
            Some(other) => Err(format!("the `kwargs` of an action must be a table, got {}", kind_of(other))),
        }
    }

    /// As [`Action::read`] reads it.
    pub fn value(&self) -> Value {
        Value::dict([("name", Value::str(&self.name)), ("kwargs", Value::Dict(self.kwargs.clone().into()))])
    }

    /// What it says, where it is a `respond` with a text.
    pub fn said(&self) -> Option<&str> {
        if self.name == RESPOND { self.kwargs.get("content").and_then(Value::as_str) } else { None }
    }
}

/// What a value is, in words.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::None => "null",
        Value::Bool(_) => "true or false",
        Value::Int(_) | Value::Float(_) => "a number",
        Value::Str(_) => "a text",
        Value::List(_) => "a list",
        Value::Dict(_) => "a table",
    }
}

/// What an agent should bring about.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its id, unique in its world.
    pub id: String,
    /// The user.
    pub user_id: String,
    /// What the user wants, in the words that the user simulator is given.
    pub instruction: String,
    /// Actions that bring it about.
    pub actions: Vec<Action>,
    /// What the agent must have said.
    pub outputs: Vec<String>,
}

impl Task {
    /// Reads a list of tasks as `tasks_*.json` has it.
    ///
    /// # Errors
    /// `Data` `E005`: broken JSON, a key that is missing or holds the wrong thing, an id that occurs twice.
    pub fn read_all(text: &str, file: &str) -> Result<Vec<Task>> {
        let wrong = |what: String| Problem::new(Kind::Data, "E005", format!("`{file}` holds no tasks: {what}"));
        let list = parse(text).map_err(|(at, what)| wrong(format!("{what} at byte {at}")))?;
        let list = list.as_list().ok_or_else(|| wrong("it is no list".into()))?;
        let mut tasks: Vec<Task> = Vec::with_capacity(list.len());
        let mut seen = std::collections::HashSet::new();
        for (place, entry) in list.iter().enumerate() {
            let task = Task::read(entry).map_err(|what| wrong(format!("task {place}: {what}")))?;
            if !seen.insert(task.id.clone()) {
                return Err(wrong(format!("the id `{}` occurs twice", task.id)));
            }
            tasks.push(task);
        }
        Ok(tasks)
    }

    fn read(entry: &Value) -> std::result::Result<Task, String> {
        let text = |key: &str| match entry.get(key) {
            Some(Value::Str(text)) => Ok(text.to_string()),
            _ => Err(format!("`{key}` must be a text")),
        };
        let list = |key: &str| match entry.get(key) {
            Some(Value::List(values)) => Ok(values.clone()),
            _ => Err(format!("`{key}` must be a list")),
        };
        let output = |value: &Value| value.as_str().map(str::to_string).ok_or("an output must be a text".to_string());
        Ok(Task {
            id: text("id")?,
            user_id: text("user_id")?,
            instruction: text("instruction")?,
            actions: list("actions")?.iter().map(Action::read).collect::<std::result::Result<_, _>>()?,
            outputs: list("outputs")?.iter().map(output).collect::<std::result::Result<_, _>>()?,
        })
    }
}

/// A world.
#[derive(Clone, Debug)]
pub struct World {
    /// Its name: `tau-retail`.
    pub name: String,
    /// Which tools it has.
    pub domain: Domain,
    /// Its tables.
    pub tables: Value,
    /// What the agent must keep to.
    pub policy: String,
    /// The tools as the model is told of them.
    pub schemas: Vec<serde_json::Value>,
    /// Its tasks.
    pub tasks: Vec<Task>,
}

/// What the gold actions of a task bring about.
#[derive(Clone, Debug)]
pub struct Gold {
    /// The records afterwards.
    pub records: Records,
    /// The positions of gold actions that were refused or failed.
    pub failed: Vec<usize>,
}

impl World {
    /// The task of an id.
    ///
    /// # Errors
    /// `Data` `E006`: there is none.
    pub fn task(&self, id: &str) -> Result<&Task> {
        self.tasks.iter().find(|task| task.id == id).ok_or_else(|| {
            let shown: String = id.chars().take(80).collect();
            let problem =
                Problem::new(Kind::Data, "E006", format!("`{}` has no task `{shown}` in this split", self.name));
            match (self.tasks.first(), self.tasks.last()) {
                (Some(first), Some(last)) => problem.hint(format!("its tasks are `{}` to `{}`", first.id, last.id)),
                _ => problem.hint("it has no tasks at all"),
            }
        })
    }

    /// The records at the start of every task.
    pub fn records(&self, mode: Mode) -> Records {
        Records::new(self.tables.clone(), mode)
    }

    /// Carries out one action on the records. What says something, or ends the conversation, changes none.
    ///
    /// # Errors
    /// The exception of a tool.
    pub fn apply(&self, records: &mut Records, action: &Action) -> std::result::Result<Value, Raised> {
        match self.domain.tool(&action.name) {
            Some(tool) if records.mode() == Mode::Compat => tool.call(records, self.domain.name(), &action.kwargs),
            Some(tool) => {
                let mut tried = records.clone();
                let answer = tool.call(&mut tried, self.domain.name(), &action.kwargs)?;
                *records = tried;
                Ok(answer)
            }
            None => Ok(Value::str(format!("Unknown action {}", action.name))),
        }
    }

    /// Plays a task's gold actions on fresh records. Those that end a conversation are left out: what comes after them still counts.
    pub fn gold(&self, task: &Task, mode: Mode) -> Gold {
        let mut records = self.records(mode);
        let mut failed = Vec::new();
        for (position, action) in task.actions.iter().enumerate() {
            let tool = self.domain.tool(&action.name);
            if tool.is_some_and(|tool| tool.ends) || action.name == RESPOND {
                continue;
            }
            let answer = self.apply(&mut records, action);
            let refused = |answer: &Value| answer.as_str().is_some_and(|text| text.starts_with("Error"));
            if tool.is_none() || answer.as_ref().map_or(true, refused) {
                failed.push(position);
            }
        }
        Gold { records, failed }
    }
}

/// How deep an argument may be nested; a deeper one is refused when it is read.
pub const DEEPEST_ARGUMENT: usize = DEEPEST;
