//! JSON lines from a file or from stdin, and the token ids in them.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::Path;

use lapidary_core::{Kind, Message, Problem, PromptText, Result, Role};
use lapidary_reward::jsonl::{Line, Lines};
use serde_json::{Map, Value};

use crate::output::Output;

/// The lines of a file; `-` is stdin.
pub fn lines(path: &Path, output: &Output) -> Result<Lines<Box<dyn BufRead>>> {
    if path.as_os_str() == "-" {
        if std::io::stdin().is_terminal() {
            output.note("reading JSON lines from stdin; end with Ctrl-D");
        }
        return Ok(Lines::new("<stdin>", Box::new(BufReader::new(std::io::stdin()))));
    }
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Problem::new(Kind::Data, "D001", format!("there is no file `{}`", path.display()))
        }
        _ => Problem::io("open", path, &error).with_kind(Kind::Data),
    })?;
    Ok(Lines::new(path, Box::new(BufReader::new(file))))
}

/// The token ids under `ids`, each below `vocabulary`.
pub fn ids(line: &Line, value: &Value, vocabulary: usize) -> Result<Vec<u32>> {
    let Some(values) = value.as_array() else {
        return Err(line.wrong("ids", "a list of token ids", value));
    };
    let id = |value: &Value| match value.as_u64() {
        Some(id) if (id as usize) < vocabulary => Ok(id as u32),
        _ => {
            let start = line.text.find(&value.to_string()).unwrap_or(0);
            let place = line.place(start, start + value.to_string().len(), format!("must be 0 to {}", vocabulary - 1));
            Err(Problem::new(Kind::Data, "D060", format!("{value} in line {} is no token of this model", line.number))
                .at(place)
                .why(format!("the model has {vocabulary} tokens")))
        }
    };
    values.iter().map(id).collect()
}

/// A prompt: text, or messages.
pub fn prompt(line: &Line, key: &str, value: &Value) -> Result<PromptText> {
    match value {
        Value::String(text) => Ok(PromptText::Text(text.clone())),
        Value::Array(_) => match serde_json::from_value::<Vec<Message>>(value.clone()) {
            Ok(messages) if !messages.is_empty() => Ok(PromptText::Messages(messages)),
            _ => Err(line.wrong(key, "a text, or messages with `role` and `content`", value)),
        },
        _ => Err(line.wrong(key, "a text, or messages", value)),
    }
}

/// A sequence as a line gives it.
pub enum Sequence {
    /// Token ids: nothing is added.
    Ids(Vec<u32>),
    /// Words: the tokenizer makes ids of them.
    Prompt(PromptText),
}

/// The sequence of a line: `ids`, or `text` or `prompt` (text or messages), or `messages`.
pub fn sequence(line: &Line, vocabulary: usize) -> Result<Sequence> {
    const KEYS: &[&str] = &["ids", "text", "prompt", "messages"];
    let map: Map<String, Value> = line.object()?;
    let given: Vec<(&str, &Value)> = KEYS.iter().filter_map(|key| Some((*key, map.get(*key)?))).collect();
    match given.as_slice() {
        [("ids", value)] => Ok(Sequence::Ids(ids(line, value, vocabulary)?)),
        [(key, value)] => Ok(Sequence::Prompt(prompt(line, key, value)?)),
        [] => Err(line.missing("sequence", KEYS, &map)),
        [(first, _), (second, _), ..] => {
            Err(Problem::new(Kind::Data, "D061", format!("line {} has `{first}` and `{second}`", line.number))
                .at(line.place(0, 1, "only one of them can be meant"))
                .hint("give one of `ids`, `text`, `prompt` and `messages` per line"))
        }
    }
}

/// A prompt from the command line: a user's message after an optional system message.
pub fn conversation(system: Option<&str>, text: &str) -> PromptText {
    let mut messages = Vec::new();
    messages.extend(system.map(|system| Message::new(Role::System, system)));
    messages.push(Message::new(Role::User, text));
    PromptText::Messages(messages)
}
