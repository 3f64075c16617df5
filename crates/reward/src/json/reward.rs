//! `json-schema`: the completion is JSON, and the JSON is what a schema allows.

use std::sync::Arc;

use lapidary_core::{Result, Verdict};
use serde_json::Value;

use super::read;
use super::schema::Schema;
use super::validate::Invalid;
use crate::find::shorten;
use crate::latest::Latest;
use crate::options::{OptionInfo, OptionKind, Options};
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "json-schema",
    summary: "The completion is one JSON value that a schema allows; the row may bring its own schema.",
    formula: "1 if JSON and valid else 0",
    options: &[
        OptionInfo {
            name: "schema",
            kind: OptionKind::Table,
            default: "null",
            meaning: "the schema; unset: the row's",
        },
        OptionInfo {
            name: "column",
            kind: OptionKind::Text,
            default: "\"schema\"",
            meaning: "column of the row with a schema, as a table or as text, where `schema` is unset",
        },
        OptionInfo {
            name: "place",
            kind: OptionKind::Choice(&["whole", "fence", "answer"]),
            default: "\"whole\"",
            meaning: "where the JSON stands: it is all of the completion, the only fenced block after the last `</think>`, or \
                      the only `<answer>…</answer>`",
        },
    ],
    build: |options| Ok(Box::new(JsonSchema::new(options)?)),
};

struct JsonSchema {
    schema: Option<Schema>,
    column: String,
    place: Place,
    last: Latest<Schema>,
}

/// Where JSON stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Whole,
    Fence,
    Answer,
}

impl JsonSchema {
    fn new(options: &Options) -> Result<Self> {
        let schema = options.value("schema").map(Schema::compile).transpose();
        Ok(Self {
            schema: schema.map_err(|what| options.wrong(format!("the `schema` cannot be used: {what}")))?,
            column: options.text("column").unwrap_or("schema").to_string(),
            place: match options.text("place") {
                Some("fence") => Place::Fence,
                Some("answer") => Place::Answer,
                _ => Place::Whole,
            },
            last: Latest::new(),
        })
    }

    fn judge(&self, attempt: &Attempt<'_>) -> Verdict {
        if let Some(schema) = &self.schema {
            return self.valid(attempt, schema);
        }
        match self.of_row(attempt) {
            Ok(schema) => self.valid(attempt, &schema),
            Err(reason) => Verdict::none(reason),
        }
    }

    fn of_row(&self, attempt: &Attempt<'_>) -> std::result::Result<Arc<Schema>, String> {
        let Some(given) = attempt.metadata.get(&self.column) else {
            return Err(format!("the row has no schema under `{}`", self.column));
        };
        let compiled = self.last.get(given, |given| match given {
            Value::String(text) => read(text).and_then(|schema| Schema::compile(&schema)),
            schema => Schema::compile(schema),
        });
        compiled.map_err(|what| format!("the row's schema cannot be used: {what}"))
    }

    fn valid(&self, attempt: &Attempt<'_>, schema: &Schema) -> Verdict {
        let found = self.place.of(attempt.completion);
        let value = match found.and_then(|text| read(text).map_err(|what| format!("no JSON: {what}"))) {
            Ok(value) => value,
            Err(reason) => return Verdict::score(0.0, reason),
        };
        match schema.validate(&value) {
            Ok(()) => Verdict::score(1.0, "valid"),
            Err(Invalid::Because(reason)) => Verdict::score(0.0, reason),
            Err(Invalid::Budget) => Verdict::none("the schema asks too many questions of this value"),
        }
    }
}

impl Place {
    /// The text that must be JSON.
    pub(super) fn of(self, completion: &str) -> std::result::Result<&str, String> {
        let one = |open: &str, close: &str, text| {
            let parts: Vec<&str> = str::split(text, open).collect();
            match parts[..] {
                [_, inside] => {
                    inside.split_once(close).map(|(inside, _)| inside).ok_or(format!("{} is not closed", shorten(open)))
                }
                [_] => Err(format!("no {}", shorten(open))),
                _ => Err(format!("{} times {}", parts.len() - 1, shorten(open))),
            }
        };
        match self {
            Place::Whole => Ok(completion),
            Place::Answer => one("<answer>", "</answer>", completion),
            Place::Fence => {
                let text = completion.rsplit_once("</think>").map_or(completion, |(_, after)| after);
                let parts: Vec<&str> = text.split("```").collect();
                let [_, block, _] = parts[..] else {
                    return Err(format!("{} marks of a fence, not 2", parts.len() - 1));
                };
                let (word, rest) = block.split_once('\n').unwrap_or(("", block));
                let named = word.trim().is_empty() || word.trim().eq_ignore_ascii_case("json");
                if named { Ok(rest) } else { Err(format!("the fence says {}", shorten(word.trim()))) }
            }
        }
    }
}

impl Reward for JsonSchema {
    fn name(&self) -> &str {
        INFO.name
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        attempts.iter().map(|attempt| self.judge(attempt)).collect()
    }
}
