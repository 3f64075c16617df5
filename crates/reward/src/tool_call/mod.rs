//! `tool-call`: the completion calls tools that exist, with arguments that their schemas allow.

mod formats;
mod pythonic;

use std::collections::BTreeMap;

use lapidary_core::{Result, Verdict};
use serde_json::{Map, Value, json};

use crate::find::shorten;
use crate::json::{Invalid, Schema, canonical, read};
use crate::latest::{Latest, Made};
use crate::options::{OptionInfo, OptionKind, Options};
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};
use formats::Format;

/// Tools of a row.
const MOST_TOOLS: usize = 256;
/// Columns that hold the tools of a row in the data sets that are about.
const COLUMNS: &[&str] = &["tools", "functions", "function"];

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "tool-call",
    summary: "The completion is well-formed calls of known tools, with arguments that their schemas allow.",
    formula: "1 if every call is sound and their number is as it must be (and they are the expected ones) else 0",
    options: &[
        OptionInfo {
            name: "format",
            kind: OptionKind::Choice(formats::NAMES),
            default: "\"hermes\"",
            meaning: "`hermes`: `<tool_call>{\"name\", \"arguments\"}</tool_call>` (Qwen, Hermes); `json`: one such object or a \
                      list; `llama3`: `{\"name\", \"parameters\"}`, several divided by `;`; `mistral`: `[TOOL_CALLS][{…}]`; \
                      `pythonic`: `[f(a=1), g()]`. What stands before the last `</think>` does not count",
        },
        OptionInfo {
            name: "tools",
            kind: OptionKind::Tables,
            default: "null",
            meaning: "the tools as `{ name, parameters }`, also inside `function`; unset: the row's `tools`, `functions` or \
                      `function`",
        },
        OptionInfo {
            name: "text",
            kind: OptionKind::Choice(&["none", "before", "any"]),
            default: "\"before\"",
            meaning: "where words may stand beside the calls of `hermes` and `mistral`; the other formats allow none",
        },
        OptionInfo {
            name: "unknown_arguments",
            kind: OptionKind::Choice(&["refuse", "allow"]),
            default: "\"refuse\"",
            meaning: "arguments that a tool's schema does not name, where it does not say itself",
        },
        OptionInfo { name: "min_calls", kind: OptionKind::Integer(0, 1024), default: "1", meaning: "fewest calls" },
        OptionInfo { name: "max_calls", kind: OptionKind::Integer(0, 1024), default: "16", meaning: "most calls" },
        OptionInfo {
            name: "expect",
            kind: OptionKind::Choice(&["nothing", "names", "calls"]),
            default: "\"nothing\"",
            meaning: "what of the row's expected calls the calls must equal, in any order: `names`, or names and arguments",
        },
        OptionInfo {
            name: "expected",
            kind: OptionKind::Text,
            default: "\"calls\"",
            meaning: "column of the expected calls: a list of `{ name, arguments }`, as it is or as text",
        },
    ],
    build: |options| Ok(Box::new(ToolCall::new(options)?)),
};

/// A call that was read.
#[derive(Clone, Debug, PartialEq)]
struct Call {
    name: String,
    arguments: Map<String, Value>,
}

/// Tools by name, each with the schema of its arguments.
type Tools = BTreeMap<String, Schema>;

#[derive(PartialEq)]
enum Expect {
    Nothing,
    Names,
    Calls,
}

struct ToolCall {
    format: Format,
    tools: Option<Tools>,
    closed: bool,
    count: (usize, usize),
    expect: Expect,
    expected: String,
    last: Latest<Tools>,
}

impl ToolCall {
    fn new(options: &Options) -> Result<Self> {
        let closed = options.text("unknown_arguments") != Some("allow");
        let (least, most) = options.range("min_calls", "max_calls")?;
        let tools = options.value("tools").map(|tools| compile(tools, closed)).transpose();
        Ok(Self {
            format: Format::of(options.text("format").unwrap_or("hermes"), options.text("text").unwrap_or("before")),
            tools: tools.map_err(|what| options.wrong(format!("the `tools` cannot be used: {what}")))?,
            closed,
            count: (least as usize, most as usize),
            expect: match options.text("expect") {
                Some("names") => Expect::Names,
                Some("calls") => Expect::Calls,
                _ => Expect::Nothing,
            },
            expected: options.text("expected").unwrap_or("calls").to_string(),
            last: Latest::new(),
        })
    }

    fn judge(&self, attempt: &Attempt<'_>) -> Verdict {
        let own;
        let tools = match &self.tools {
            Some(tools) => tools,
            None => match self.of_row(attempt) {
                Ok(tools) => {
                    own = tools;
                    &*own
                }
                Err(reason) => return Verdict::none(reason),
            },
        };
        let expected = match self.expect {
            Expect::Nothing => Vec::new(),
            _ => match self.expected(attempt) {
                Ok(expected) => expected,
                Err(reason) => return Verdict::none(reason),
            },
        };
        let text = attempt.completion.rsplit_once("</think>").map_or(attempt.completion, |(_, after)| after);
        let calls = match self.format.read(text, self.count.1) {
            Ok(calls) => calls,
            Err(reason) => return Verdict::score(0.0, reason),
        };
        match self.sound(&calls, tools) {
            Err(Wrong::Call(reason)) => Verdict::score(0.0, reason),
            Err(Wrong::Nobody(reason)) => Verdict::none(reason),
            Ok(()) if self.expect != Expect::Nothing && self.keys(&calls) != self.keys(&expected) => {
                let names: Vec<&str> = expected.iter().map(|call| call.name.as_str()).collect();
                Verdict::score(0.0, format!("not the expected calls of {}", shorten(&names.join(", "))))
            }
            Ok(()) => Verdict::score(1.0, format!("{} sound calls", calls.len())),
        }
    }

    fn sound(&self, calls: &[Call], tools: &Tools) -> std::result::Result<(), Wrong> {
        let (least, most) = self.count;
        if calls.len() < least || calls.len() > most {
            return Err(Wrong::Call(format!("{} calls, not {least} to {most}", calls.len())));
        }
        for call in calls {
            let Some(schema) = tools.get(&call.name) else {
                return Err(Wrong::Call(format!("there is no tool {}", shorten(&call.name))));
            };
            schema.validate(&Value::Object(call.arguments.clone())).map_err(|why| match why {
                Invalid::Because(why) => Wrong::Call(format!("{}: {why}", shorten(&call.name))),
                Invalid::Budget => Wrong::Nobody(format!("the schema of {} asks too much", shorten(&call.name))),
            })?;
        }
        Ok(())
    }

    /// What is compared, in an order that does not depend on theirs.
    fn keys(&self, calls: &[Call]) -> Vec<String> {
        let key = |call: &Call| match self.expect {
            Expect::Names => call.name.clone(),
            _ => canonical(&json!([call.name, call.arguments])),
        };
        let mut keys: Vec<String> = calls.iter().map(key).collect();
        keys.sort_unstable();
        keys
    }

    fn of_row(&self, attempt: &Attempt<'_>) -> Made<Tools> {
        let Some(given) = COLUMNS.iter().find_map(|column| attempt.metadata.get(*column)) else {
            return Err("the row names no tools".into());
        };
        let made = self.last.get(given, |given| match given {
            Value::String(text) => read(text).and_then(|tools| compile(&tools, self.closed)),
            tools => compile(tools, self.closed),
        });
        made.map_err(|what| format!("the row's tools cannot be used: {what}"))
    }

    fn expected(&self, attempt: &Attempt<'_>) -> std::result::Result<Vec<Call>, String> {
        let column = &self.expected;
        let given = attempt.metadata.get(column).cloned();
        let given = given.or_else(|| attempt.answer.filter(|_| column == "answer").map(Value::from));
        let read = match given {
            None => Err("it is not there".to_string()),
            Some(Value::String(text)) => read(&text),
            Some(value) => Ok(value),
        };
        let calls = read.and_then(|value| formats::calls_of(&value, "arguments"));
        calls.map_err(|what| format!("the row's expected calls under `{column}` cannot be used: {what}"))
    }
}

/// Why calls are not worth anything, or not to be told.
enum Wrong {
    Call(String),
    Nobody(String),
}

/// Tools from their definitions.
fn compile(tools: &Value, closed: bool) -> std::result::Result<Tools, String> {
    let single = [tools.clone()];
    let list = tools.as_array().map_or(single.as_slice(), Vec::as_slice);
    if list.len() > MOST_TOOLS {
        return Err(format!("{} are more than {MOST_TOOLS}", list.len()));
    }
    let mut known = Tools::new();
    for tool in list {
        let tool = tool.get("function").unwrap_or(tool);
        let name = tool.get("name").and_then(Value::as_str).ok_or("a tool has no `name`")?;
        let given = ["parameters", "input_schema", "arguments"].iter().find_map(|key| tool.get(key));
        let mut parameters = match given {
            None | Some(Value::Null) => json!({"type": "object", "properties": {}}),
            Some(parameters) => parameters.clone(),
        };
        if let Some(table) = parameters.as_object_mut()
            && closed
            && !["additionalProperties", "patternProperties", "$ref", "allOf", "anyOf", "oneOf"]
                .iter()
                .any(|key| table.contains_key(*key))
        {
            table.insert("additionalProperties".into(), json!(false));
        }
        let schema = Schema::compile(&parameters).map_err(|what| format!("{}: {what}", shorten(name)))?;
        if known.insert(name.to_string(), schema).is_some() {
            return Err(format!("{} is there twice", shorten(name)));
        }
    }
    Ok(known)
}

impl Reward for ToolCall {
    fn name(&self) -> &str {
        INFO.name
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        attempts.iter().map(|attempt| self.judge(attempt)).collect()
    }
}

#[cfg(test)]
mod tests;
