//! A tool: its name, what it takes, what it does to the records.

use crate::python::{Dict, Raised, Value};
use crate::records::Records;

/// A parameter of a tool.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What it means, for the model.
    pub meaning: &'static str,
}

/// What a parameter holds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A text.
    Text,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// An integer.
    Integer,
    /// A number.
    Number,
    /// A list of texts.
    Texts,
    /// A list of tables with these keys.
    Tables(&'static [(&'static str, Kind)]),
}

/// What a tool does.
pub(crate) type Call = fn(&mut Records, &Arguments<'_>) -> Result<Value, Raised>;

/// A tool.
#[derive(Clone, Copy)]
pub struct Tool {
    /// Its name.
    pub name: &'static str,
    /// What it does, for the model.
    pub summary: &'static str,
    /// What it takes; everything is required.
    pub parameters: &'static [Parameter],
    /// Whether it may change a record.
    pub writes: bool,
    /// Whether a call ends the episode.
    pub ends: bool,
    pub(crate) call: Call,
}

impl std::fmt::Debug for Tool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tool").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The arguments of a call: one for every parameter.
pub(crate) struct Arguments<'a>(&'a Dict);

impl Arguments<'_> {
    /// The argument for a parameter of the tool.
    pub(crate) fn get(&self, name: &str) -> &Value {
        match self.0.get(name) {
            Some(value) => value,
            None => unreachable!("a tool asks for `{name}`, which is none of its parameters"),
        }
    }
}

impl Tool {
    /// Calls the tool. What it answers is what the agent sees; an exception becomes `Error: …`.
    pub(crate) fn call(&self, records: &mut Records, domain: &str, kwargs: &Dict) -> Result<Value, Raised> {
        self.fits(domain, kwargs)?;
        (self.call)(records, &Arguments(kwargs))
    }

    /// The name of the class in the published code, which its exceptions name: `get_user_details` is `GetUserDetails`.
    fn class(&self) -> String {
        let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
        self.name.split('_').map(capital).collect()
    }

    /// Whether the arguments are the parameters, in the words of Python's own check of a call.
    fn fits(&self, domain: &str, kwargs: &Dict) -> Result<(), Raised> {
        let class = self.class();
        if kwargs.contains_key("data") {
            return Err(Raised(format!(
                "tau_bench.envs.{domain}.tools.{}.{class}.invoke() got multiple values for keyword argument 'data'",
                self.name
            )));
        }
        let known = |name: &str| self.parameters.iter().any(|parameter| parameter.name == name);
        if let Some(other) = kwargs.keys().find(|name| !known(name)) {
            return Err(Raised(format!("{class}.invoke() got an unexpected keyword argument '{other}'")));
        }
        let missing: Vec<String> = self
            .parameters
            .iter()
            .filter(|parameter| !kwargs.contains_key(parameter.name))
            .map(|parameter| format!("'{}'", parameter.name))
            .collect();
        let named = match missing.as_slice() {
            [] => return Ok(()),
            [one] => one.clone(),
            [one, two] => format!("{one} and {two}"),
            [most @ .., last] => format!("{}, and {last}", most.join(", ")),
        };
        let plural = if missing.len() == 1 { "" } else { "s" };
        Err(Raised(format!("{class}.invoke() missing {} required positional argument{plural}: {named}", missing.len())))
    }

    /// The tool as chat models are told of it: a JSON schema in OpenAI's form.
    pub fn schema(&self) -> serde_json::Value {
        let properties: serde_json::Map<String, serde_json::Value> = self
            .parameters
            .iter()
            .map(|parameter| {
                let mut schema = parameter.kind.schema();
                schema["description"] = parameter.meaning.into();
                (parameter.name.to_string(), schema)
            })
            .collect();
        let required: Vec<&str> = self.parameters.iter().map(|parameter| parameter.name).collect();
        serde_json::json!({ "type": "function", "function": {
            "name": self.name,
            "description": self.summary,
            "parameters": { "type": "object", "properties": properties, "required": required },
        }})
    }
}

impl Kind {
    fn schema(self) -> serde_json::Value {
        use serde_json::json;
        match self {
            Kind::Text => json!({ "type": "string" }),
            Kind::Choice(choices) => json!({ "type": "string", "enum": choices }),
            Kind::Integer => json!({ "type": "integer" }),
            Kind::Number => json!({ "type": "number" }),
            Kind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
            Kind::Tables(keys) => {
                let required: Vec<&str> = keys.iter().map(|(name, _)| *name).collect();
                let properties: serde_json::Map<String, serde_json::Value> =
                    keys.iter().map(|(name, kind)| ((*name).to_string(), kind.schema())).collect();
                json!({ "type": "array", "items": { "type": "object", "properties": properties, "required": required } })
            }
        }
    }
}

/// Shorthand for the tables of tools.
pub(crate) const fn parameter(name: &'static str, kind: Kind, meaning: &'static str) -> Parameter {
    Parameter { name, kind, meaning }
}

pub(crate) const CALCULATE: Tool = Tool {
    name: "calculate",
    summary: "Work out an arithmetic expression; the result is rounded to two decimals.",
    parameters: &[parameter("expression", Kind::Text, "numbers, + - * / and brackets: (2 + 3) * 4")],
    writes: false,
    ends: false,
    call: |_, arguments| crate::python::calculate(arguments.get("expression")).map(Value::str),
};

pub(crate) const THINK: Tool = Tool {
    name: "think",
    summary: "Write down a thought. Nothing happens and nobody sees it.",
    parameters: &[parameter("thought", Kind::Text, "the thought")],
    writes: false,
    ends: false,
    call: |_, _| Ok(Value::str("")),
};

pub(crate) const TRANSFER: Tool = Tool {
    name: "transfer_to_human_agents",
    summary: "Hand the user over to a person and end the conversation. Only for what these tools cannot do.",
    parameters: &[parameter("summary", Kind::Text, "what the person needs to know")],
    writes: false,
    ends: true,
    call: |_, _| Ok(Value::str("Transfer successful")),
};
