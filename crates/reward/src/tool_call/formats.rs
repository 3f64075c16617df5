//! Calls as models write them.

use serde_json::{Map, Value};

use super::Call;
use super::pythonic;
use crate::find::shorten;
use crate::json::read;

/// Names of the option `format`.
pub(super) const NAMES: &[&str] = &["hermes", "json", "llama3", "mistral", "pythonic"];

/// How calls are written, and where words may stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    syntax: Syntax,
    before: bool,
    after: bool,
}

#[derive(Clone, Copy, Debug)]
enum Syntax {
    Hermes,
    Json,
    Llama3,
    Mistral,
    Pythonic,
}

impl Format {
    pub(super) fn of(name: &str, text: &str) -> Self {
        let syntax = match name {
            "json" => Syntax::Json,
            "llama3" => Syntax::Llama3,
            "mistral" => Syntax::Mistral,
            "pythonic" => Syntax::Pythonic,
            _ => Syntax::Hermes,
        };
        Self { syntax, before: text != "none", after: text == "any" }
    }

    /// The calls of a text, `most` at the most; or why it is not well-formed.
    pub(super) fn read(&self, text: &str, most: usize) -> Result<Vec<Call>, String> {
        let text = text.trim();
        match self.syntax {
            Syntax::Hermes => self.hermes(text, most),
            Syntax::Mistral => self.mistral(text),
            _ if text.is_empty() => Ok(Vec::new()),
            Syntax::Json => json(text).and_then(|value| calls_of(&value, "arguments")),
            Syntax::Llama3 => llama3(text.strip_prefix("<|python_tag|>").unwrap_or(text), most),
            Syntax::Pythonic => pythonic::read(text),
        }
    }

    fn hermes(&self, text: &str, most: usize) -> Result<Vec<Call>, String> {
        const OPEN: &str = "<tool_call>";
        const CLOSE: &str = "</tool_call>";
        let mut calls = Vec::new();
        let (before, mut rest) = match text.find(OPEN) {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        if before.contains(CLOSE) {
            return Err(format!("`{CLOSE}` comes before `{OPEN}`"));
        }
        self.words(before, "")?;
        while let Some(inside) = rest.strip_prefix(OPEN) {
            let (call, after) = inside.split_once(CLOSE).ok_or_else(|| format!("`{OPEN}` is not closed"))?;
            if calls.len() >= most {
                return Err(format!("more than {most} calls"));
            }
            calls.push(call_of(&json(call)?, "arguments")?);
            let (between, next) = match after.find(OPEN) {
                Some(at) => after.split_at(at),
                None => (after, ""),
            };
            if between.contains(CLOSE) {
                return Err(format!("`{CLOSE}` without `{OPEN}`"));
            }
            self.words("", between)?;
            rest = next;
        }
        Ok(calls)
    }

    fn mistral(&self, text: &str) -> Result<Vec<Call>, String> {
        const OPEN: &str = "[TOOL_CALLS]";
        let Some((before, list)) = text.split_once(OPEN) else {
            return self.words(text, "").map(|()| Vec::new());
        };
        if list.contains(OPEN) {
            return Err(format!("`{OPEN}` is there twice"));
        }
        self.words(before, "")?;
        match json(list)? {
            Value::Array(list) => list.iter().map(|call| call_of(call, "arguments")).collect(),
            _ => Err(format!("no list follows `{OPEN}`")),
        }
    }

    /// Words before the first call and after one.
    fn words(&self, before: &str, after: &str) -> Result<(), String> {
        if !before.trim().is_empty() && !self.before {
            return Err(format!("{} stands before the calls", shorten(before.trim())));
        }
        if !after.trim().is_empty() && !self.after {
            return Err(format!("{} stands after a call", shorten(after.trim())));
        }
        Ok(())
    }
}

/// Objects divided by `;`, which may stand inside texts too: a division is where both sides are whole.
fn llama3(text: &str, most: usize) -> Result<Vec<Call>, String> {
    let mut calls = Vec::new();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    let mut rest = text;
    while let Some(next) = values.next() {
        next.map_err(|error| format!("no JSON: {error}"))?;
        if calls.len() >= most {
            return Err(format!("more than {most} calls"));
        }
        let (call, after) = rest.split_at(values.byte_offset());
        calls.push(call_of(&json(call)?, "parameters")?);
        let after = after.trim_start();
        rest = match after.strip_prefix(';') {
            Some(next) if !next.trim().is_empty() => next,
            _ if after.is_empty() => return Ok(calls),
            _ => return Err(format!("{} follows a call", shorten(after))),
        };
        values = serde_json::Deserializer::from_str(rest).into_iter();
    }
    Ok(calls)
}

fn json(text: &str) -> Result<Value, String> {
    read(text).map_err(|what| format!("no JSON: {what}"))
}

/// One call or a list of calls.
pub(super) fn calls_of(value: &Value, key: &str) -> Result<Vec<Call>, String> {
    match value {
        Value::Array(list) => list.iter().map(|call| call_of(call, key)).collect(),
        call => call_of(call, key).map(|call| vec![call]),
    }
}

/// `{"name": …, key: {…}}`, also inside `function`; the arguments may be JSON as text, as OpenAI writes them.
fn call_of(value: &Value, key: &str) -> Result<Call, String> {
    let Some(outer) = value.as_object() else { return Err("a call is not an object".into()) };
    let table = match outer.get("function") {
        Some(Value::Object(inner)) => {
            only(outer, &["function", "type", "id", "index"])?;
            inner
        }
        _ => outer,
    };
    only(table, &["name", key, "id", "type"])?;
    let name = table.get("name").and_then(Value::as_str).ok_or("a call has no `name`")?;
    let arguments = match table.get(key) {
        Some(Value::Object(arguments)) => arguments.clone(),
        Some(Value::String(text)) => match json(text)? {
            Value::Object(arguments) => arguments,
            _ => return Err(format!("`{key}` of {} are not an object", shorten(name))),
        },
        Some(_) => return Err(format!("`{key}` of {} are not an object", shorten(name))),
        None => return Err(format!("the call of {} has no `{key}`", shorten(name))),
    };
    Ok(Call { name: name.to_string(), arguments })
}

fn only(table: &Map<String, Value>, known: &[&str]) -> Result<(), String> {
    match table.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("a call has the key {}", shorten(key))),
        None => Ok(()),
    }
}
