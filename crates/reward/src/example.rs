//! One JSON line to be scored, and the JSON line that says how.

use lapidary_core::{Result, Verdict};
use serde_json::{Map, Value, json};

use crate::Attempt;
use crate::jsonl::Line;

/// A line `{"prompt", "completion", "answer"}` of `lapidary reward`; also read: `metadata`, `tokens`, `truncated`,
/// `group_tokens` and `first_score` (see [`Attempt`]).
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The words of the prompt; empty where there is none.
    pub prompt: String,
    /// The words of the completion.
    pub completion: String,
    /// The reference answer.
    pub answer: Option<String>,
    /// The object `metadata`, and every key of the line that has no other meaning.
    pub metadata: Map<String, Value>,
    /// Tokens of the completion; where the line does not say, its number of words.
    pub tokens: usize,
    /// Whether the completion ran into a limit.
    pub truncated: bool,
    /// Lengths of all samples of its prompt.
    pub group: Vec<usize>,
    /// What the first reward of a mix said of it.
    pub first: Option<f32>,
}

impl Example {
    /// Reads one line.
    ///
    /// # Errors
    /// `Data` with file, line and column: broken JSON, no `completion`, a key that holds the wrong thing.
    pub fn parse(line: &Line) -> Result<Self> {
        let mut map = line.object()?;
        let Some(completion) = map.shift_remove("completion") else {
            return Err(line.missing("`completion`", &["completion"], &map));
        };
        let completion =
            spoken(&completion).ok_or_else(|| line.wrong("completion", "a text or messages", &completion))?;
        let prompt = match map.shift_remove("prompt") {
            None | Some(Value::Null) => String::new(),
            Some(prompt) => spoken(&prompt).ok_or_else(|| line.wrong("prompt", "a text or messages", &prompt))?,
        };
        let answer = match map.shift_remove("answer") {
            None | Some(Value::Null) => None,
            Some(Value::String(answer)) => Some(answer),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(other) => return Err(line.wrong("answer", "a text or a number", &other)),
        };
        let tokens = match map.shift_remove("tokens") {
            None | Some(Value::Null) => completion.split_whitespace().count(),
            Some(value) => count(&value).ok_or_else(|| line.wrong("tokens", "a whole number, 0 or more", &value))?,
        };
        let group = match map.shift_remove("group_tokens") {
            None | Some(Value::Null) => Vec::new(),
            Some(value) => {
                let lengths = value.as_array().and_then(|list| list.iter().map(count).collect::<Option<Vec<_>>>());
                lengths.ok_or_else(|| line.wrong("group_tokens", "a list of whole numbers, 0 or more", &value))?
            }
        };
        let first = match map.shift_remove("first_score") {
            None | Some(Value::Null) => None,
            Some(Value::Number(score)) => score.as_f64().map(|score| score as f32),
            Some(other) => return Err(line.wrong("first_score", "a number", &other)),
        };
        let truncated = match map.shift_remove("truncated") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(truncated)) => truncated,
            Some(other) => return Err(line.wrong("truncated", "true or false", &other)),
        };
        let mut metadata = match map.shift_remove("metadata") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(metadata)) => metadata,
            Some(other) => return Err(line.wrong("metadata", "a table", &other)),
        };
        for (key, value) in map {
            metadata.entry(key).or_insert(value);
        }
        Ok(Self { prompt, completion, answer, metadata, tokens, truncated, group, first })
    }

    /// The same, as a reward takes it.
    pub fn attempt(&self) -> Attempt<'_> {
        Attempt {
            prompt: &self.prompt,
            asked: None,
            completion: &self.completion,
            answer: self.answer.as_deref(),
            metadata: &self.metadata,
            tokens: self.tokens,
            truncated: self.truncated,
            group: &self.group,
            first: self.first,
            seen: None,
        }
    }
}

fn count(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|count| usize::try_from(count).ok())
}

/// A text as it is, or the contents of messages, one per line.
fn spoken(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(messages) => {
            let contents: Option<Vec<&str>> =
                messages.iter().map(|message| message.get("content").and_then(Value::as_str)).collect();
            contents.map(|contents| contents.join("\n"))
        }
        _ => None,
    }
}

/// `{"score": x | null, "reason": …}`. A whole score is written as a float all the same: `1.0`.
pub fn verdict_json(verdict: &Verdict) -> Value {
    // f32 → shortest decimal → f64, so that 0.1 is written 0.1 and not 0.10000000149011612
    let score = verdict.value().and_then(|score| score.to_string().parse::<f64>().ok());
    json!({"score": score, "reason": verdict.reason()})
}

/// The same with the details of [`Reward::detailed`](crate::Reward::detailed); they take the place of the reason of a score.
pub fn detailed_json(verdict: &Verdict, detail: Map<String, Value>) -> Value {
    let mut line = verdict_json(verdict);
    if !detail.is_empty()
        && let Value::Object(map) = &mut line
    {
        if verdict.value().is_some() {
            map.shift_remove("reason");
        }
        map.extend(detail);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Example> {
        Example::parse(&Line { path: "x.jsonl".into(), number: 4, text: text.into() })
    }

    #[test]
    fn a_line_becomes_an_attempt() {
        let example =
            parse(r#"{"prompt":[{"role":"user","content":"6*12?"}],"completion":"it is 72","answer":72,"n":3}"#);
        let example = example.unwrap();
        assert_eq!((example.prompt.as_str(), example.answer.as_deref(), example.tokens), ("6*12?", Some("72"), 3));
        assert_eq!(example.metadata["n"], 3);
    }

    #[test]
    fn wrong_lines_are_placed() {
        for (text, code, column) in [
            (r#"{"prompt":"a"}"#, "D004", 1),
            (r#"{"completion":7}"#, "D003", 2),
            (r#"{"completion":"x","answer":[1]}"#, "D003", 19),
            (r#"{"completion":"x","tokens":-1}"#, "D003", 19),
            (r#"{"completion":"x""#, "D002", 17),
        ] {
            let problem = parse(text).unwrap_err();
            let place = problem.place().unwrap();
            assert_eq!(problem.code(), code, "{problem}");
            assert_eq!((place.line, place.column), (4, column), "{problem}");
        }
        let problem = parse(r#"{"completoin":"x"}"#).unwrap_err();
        assert_eq!(problem.advice(), Some("did you mean `completoin` to be `completion`?"));
    }

    #[test]
    fn verdicts_are_written_as_score_and_reason() {
        assert_eq!(verdict_json(&Verdict::score(0.1, "ok")).to_string(), r#"{"score":0.1,"reason":"ok"}"#);
        assert_eq!(verdict_json(&Verdict::score(1.0, "")).to_string(), r#"{"score":1.0,"reason":""}"#);
        assert_eq!(verdict_json(&Verdict::none("why")).to_string(), r#"{"score":null,"reason":"why"}"#);
        assert_eq!(verdict_json(&Verdict::score(f32::NAN, "")).as_object().unwrap()["score"], Value::Null);
    }
}
