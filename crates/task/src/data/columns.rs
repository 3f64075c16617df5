//! From the columns of a row to an item.

use lapidary_core::{Item, Message, PromptText, Result, Role};
use lapidary_reward::options::Options;
use lapidary_reward::reference_answer;
use serde_json::{Map, Value};

use super::pairs;
use super::row::Row;

pub(super) const PROMPTS: &[&str] = &["prompt", "question", "problem", "messages"];
const ANSWERS: &[&str] = &["answer", "solution", "ground_truth", "reward_model.ground_truth"];
const COMPLETIONS: &[&str] = &["completion", "response"];
const QUESTION: &str = "{question}";

/// Which columns hold what, and how a question is put.
pub(super) struct Columns {
    prompt: Option<String>,
    answer: Option<String>,
    completion: Option<String>,
    system: Option<String>,
    template: String,
    chat: bool,
    strip_annotations: bool,
}

impl Columns {
    pub(super) fn of(options: &Options) -> Result<Self> {
        let owned = |name: &str| options.text(name).map(String::from);
        let mut template = owned("template").unwrap_or_else(|| QUESTION.to_string());
        if template.matches(QUESTION).count() != 1 {
            return Err(options
                .wrong("`template` must hold `{question}` exactly once")
                .hint("write for instance `template = \"Question: {question}\\nAnswer:\"`"));
        }
        template += options.text("suffix").unwrap_or("");
        Ok(Self {
            prompt: owned("prompt"),
            answer: owned("answer"),
            completion: owned("completion"),
            system: owned("system"),
            template,
            chat: options.flag("chat"),
            strip_annotations: options.flag("strip_annotations"),
        })
    }

    /// The item of a row.
    ///
    /// # Errors
    /// `D003` for a column that holds the wrong thing, `D004` for a prompt, or a column that was named, that is not there; those of
    /// [`pairs::item`].
    pub(super) fn item(&self, row: &Row) -> Result<Item> {
        if let Some(item) = pairs::item(self, row)? {
            return Ok(item);
        }
        let prompt = find(row, self.prompt.as_deref(), PROMPTS)?;
        let Some((prompt_name, prompt_value)) = prompt else {
            return Err(row.missing("prompt", PROMPTS));
        };
        let (prompt, spoken) = self.prompt_text(row, prompt_name, prompt_value)?;
        let answer = find(row, self.answer.as_deref(), ANSWERS)?;
        let answer_text = match answer {
            None | Some((_, Value::Null)) => None,
            Some((_, Value::String(text))) => Some(text.clone()),
            Some((_, Value::Number(number))) => Some(number.to_string()),
            Some((name, other)) => return Err(row.wrong(name, "a text or a number", other)),
        };
        let completion = find(row, self.completion.as_deref(), COMPLETIONS)?;
        let completion_text = match completion {
            None | Some((_, Value::Null)) => spoken.or_else(|| answer_text.clone()),
            Some((name, value)) => Some(spoken_text(row, name, value)?),
        };
        let completion_text =
            completion_text.map(|text| if self.strip_annotations { without_annotations(&text) } else { text });
        let used: Vec<&str> = [Some(prompt_name), answer.map(|(name, _)| name), completion.map(|(name, _)| name)]
            .into_iter()
            .flatten()
            .collect();
        Ok(Item {
            id: row.id(),
            prompt,
            answer: answer_text.map(|text| reference_answer(&text).to_string()),
            completion: completion_text,
            metadata: rest(&row.columns, &used),
        })
    }

    /// The column that was named for the prompt.
    pub(super) fn prompt_name(&self) -> Option<&str> {
        self.prompt.as_deref()
    }

    /// Whether plain text is put as a chat.
    pub(super) fn chat(&self) -> bool {
        self.chat
    }

    /// The prompt, and the model's own words where the messages end with them.
    pub(super) fn prompt_text(&self, row: &Row, name: &str, value: &Value) -> Result<(PromptText, Option<String>)> {
        match value {
            Value::String(question) => {
                let question = self.template.replace(QUESTION, question);
                if self.chat {
                    let mut messages: Vec<Message> =
                        self.system.iter().map(|text| Message::new(Role::System, text)).collect();
                    messages.push(Message::new(Role::User, question));
                    return Ok((PromptText::Messages(messages), None));
                }
                let system = self.system.as_ref().map_or(String::new(), |text| format!("{text}\n\n"));
                Ok((PromptText::Text(system + &question), None))
            }
            Value::Array(list) => {
                let mut messages = Vec::with_capacity(list.len() + 1);
                for value in list {
                    let message: Message = serde_json::from_value(without_nulls(value))
                        .map_err(|_| row.wrong(name, "a list of messages with `role` and `content`", value))?;
                    messages.push(message);
                }
                let spoken = messages.pop_if(|last| last.role == Role::Assistant).map(|last| last.content);
                Ok((self.conversation(row, name, messages)?, spoken))
            }
            other => Err(row.wrong(name, "a text or messages", other)),
        }
    }

    /// Messages of column `name` as a prompt: the last question in the words of the template, led by the system message.
    pub(super) fn conversation(&self, row: &Row, name: &str, mut messages: Vec<Message>) -> Result<PromptText> {
        if let Some(asked) = messages.iter_mut().rev().find(|message| message.role == Role::User) {
            asked.content = self.template.replace(QUESTION, &asked.content);
        } else {
            let got = row.columns.get(name).unwrap_or(&Value::Null);
            return Err(row.wrong(name, "a conversation in which a user speaks", got));
        }
        let led = messages.first().is_some_and(|message| message.role == Role::System);
        if let Some(system) = self.system.as_ref().filter(|_| !led) {
            messages.insert(0, Message::new(Role::System, system));
        }
        Ok(PromptText::Messages(messages))
    }
}

/// A demonstration: a text, or messages that the assistant speaks.
pub(super) fn spoken_text(row: &Row, name: &str, value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Array(messages) => {
            let contents: Option<Vec<&str>> =
                messages.iter().map(|message| message.get("content").and_then(Value::as_str)).collect();
            contents.map(|contents| contents.join("\n")).ok_or_else(|| row.wrong(name, "a text or messages", value))
        }
        other => Err(row.wrong(name, "a text or messages", other)),
    }
}

/// The column that was named, or the first known one that is there.
pub(super) fn find<'a>(
    row: &'a Row,
    named: Option<&'a str>,
    known: &[&'a str],
) -> Result<Option<(&'a str, &'a Value)>> {
    match named {
        Some(name) => match lookup(&row.columns, name) {
            Some(value) => Ok(Some((name, value))),
            None => Err(row.missing(&format!("column `{name}`"), &[name])),
        },
        None => Ok(known.iter().find_map(|name| lookup(&row.columns, name).map(|value| (*name, value)))),
    }
}

/// A column by its name, or by a path with points through tables.
fn lookup<'a>(columns: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = columns.get(name) {
        return Some(value);
    }
    let mut parts = name.split('.');
    let first = columns.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

/// Everything else of the row; the keys of a column `metadata` come up one level.
pub(super) fn rest(columns: &Map<String, Value>, used: &[&str]) -> Map<String, Value> {
    let mut metadata = Map::new();
    for (key, value) in columns.iter().filter(|(key, _)| !used.contains(&key.as_str())) {
        match value {
            Value::Object(inner) if key == "metadata" => metadata.extend(inner.clone()),
            _ => {
                metadata.insert(key.clone(), value.clone());
            }
        }
    }
    metadata
}

/// Parquet gives every message every key; the ones that are null were not there.
pub(super) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            map.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), value.clone())).collect()
        }
        other => other.clone(),
    }
}

/// Takes `<<…>>` out; a `<<` that never closes stays.
fn without_annotations(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<<") {
        let Some((_, behind)) = after.split_once(">>") else { break };
        kept.push_str(before);
        rest = behind;
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_taken_out() {
        assert_eq!(without_annotations("48/2 = <<48/2=24>>24 and <<1+1=2>>2"), "48/2 = 24 and 2");
        assert_eq!(without_annotations("a << b"), "a << b");
    }
}
