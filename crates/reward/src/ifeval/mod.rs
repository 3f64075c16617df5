//! `ifeval`: does the response follow instructions that can be checked.
//!
//! A row lists instructions and their arguments, [`check`] makes checks of them, one file per kind of instruction. Each response is
//! checked as it is (strict) and in eight variants of which one must do (loose); IFEval, Zhou et al. 2023, §2.2.

mod abbreviations;
mod accuracy;
mod capitals;
mod check;
mod combination;
mod content;
mod keywords;
mod kwargs;
mod language;
mod layout;
mod length;
mod rephrase;
mod response;
mod sentences;

use std::borrow::Cow;

use lapidary_core::Verdict;
use serde_json::{Map, Value, json};

use self::check::{Check, check};
use self::kwargs::kind;
use self::response::Response;
use crate::options::{OptionInfo, OptionKind, Options};
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};

pub use self::accuracy::{Accuracy, InstructionAccuracy};

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "ifeval",
    summary: "The completion follows the row's instructions: words, length, layout, case, language and so on.",
    formula: "instructions followed / instructions; `score = \"all\"`: 1 if every one is followed else 0",
    options: &[
        OptionInfo {
            name: "score",
            kind: OptionKind::Choice(&["fraction", "all"]),
            default: "\"fraction\"",
            meaning: "what some followed instructions are worth: their share, or nothing",
        },
        OptionInfo {
            name: "reading",
            kind: OptionKind::Choice(&["strict", "loose"]),
            default: "\"strict\"",
            meaning: "`loose`: it is enough that one of eight variants follows: without stars, without the first line, the last, or both",
        },
        OptionInfo {
            name: "thoughts",
            kind: OptionKind::Choice(&["cut", "keep"]),
            default: "\"cut\"",
            meaning: "`cut`: only what stands after the last `</think>` is checked, without `<answer>` and `</answer>`",
        },
        OptionInfo {
            name: "compat",
            kind: OptionKind::Choice(&["none", "ifeval"]),
            default: "\"none\"",
            meaning: "`ifeval`: the rules of the published checker, with what is wrong in them",
        },
    ],
    build: |options| Ok(Box::new(Ifeval::new(options))),
};

/// More instructions than this in one row are a mistake; the published prompts have up to three.
const MOST_INSTRUCTIONS: usize = 1000;

#[derive(Debug)]
struct Ifeval {
    all: bool,
    loose: bool,
    cut: bool,
    compat: bool,
}

/// What is to be said of one response: per instruction whether it is followed, `None` where that cannot be told.
struct Followed {
    strict: Vec<Option<bool>>,
    loose: Vec<Option<bool>>,
    /// The first thing that is wrong with the row.
    broken: Option<String>,
}

impl Ifeval {
    fn new(options: &Options) -> Self {
        Self {
            all: options.text("score") == Some("all"),
            loose: options.text("reading") == Some("loose"),
            cut: options.text("thoughts") != Some("keep"),
            compat: options.text("compat") == Some("ifeval"),
        }
    }

    fn follow(&self, attempt: &Attempt<'_>) -> Followed {
        let rows = match instructions(attempt.metadata) {
            Ok(rows) => rows,
            Err(why) => return Followed { strict: Vec::new(), loose: Vec::new(), broken: Some(why) },
        };
        let text = self.spoken(attempt.completion);
        let variants = variants(&text);
        let responses: Vec<Response<'_>> = variants.iter().map(|variant| Response::new(variant, &text)).collect();
        let (strict, loose) = (
            |check: &Check| check.follows(&responses[0]),
            |check: &Check| responses.iter().any(|response| check.follows(response)),
        );
        let mut followed = Followed { strict: Vec::new(), loose: Vec::new(), broken: None };
        for (id, kwargs) in rows {
            let made = check(id, kwargs, self.compat);
            followed.strict.push(made.as_ref().ok().map(strict));
            followed.loose.push(made.as_ref().ok().map(loose));
            followed.broken = followed.broken.or(made.err());
        }
        followed
    }

    /// The part of a completion that is its response.
    fn spoken<'a>(&self, completion: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(completion);
        if self.cut {
            text = match completion.rfind("</think>") {
                Some(at) => completion[at + "</think>".len()..].into(),
                // a thought that never ended left no response
                None if completion.trim_start().starts_with("<think>") => "".into(),
                None => text,
            };
            if text.contains("<answer>") || text.contains("</answer>") {
                text = text.replace("<answer>", "").replace("</answer>", "").into();
            }
        }
        // Windows line ends are line ends; the published checker sees no empty line between them
        if !self.compat && text.contains("\r\n") { text.replace("\r\n", "\n").into() } else { text }
    }

    fn verdict(&self, followed: &Followed) -> Verdict {
        if let Some(why) = &followed.broken {
            return Verdict::none(why.clone());
        }
        let list = if self.loose { &followed.loose } else { &followed.strict };
        let count = list.iter().filter(|held| **held == Some(true)).count();
        let share = count as f32 / list.len() as f32;
        let score = if self.all { share.floor() } else { share };
        Verdict::score(score, format!("{count} of {} instructions followed", list.len()))
    }
}

/// The instructions of a row with their arguments.
fn instructions(metadata: &Map<String, Value>) -> std::result::Result<Vec<(&str, &Value)>, String> {
    let ids = match metadata.get("instruction_id_list") {
        Some(Value::Array(ids)) => ids,
        None | Some(Value::Null) => return Err("the row has no `instruction_id_list`".into()),
        Some(other) => return Err(format!("`instruction_id_list` is {}, not a list of texts", kind(other))),
    };
    let names: Option<Vec<&str>> = ids.iter().map(Value::as_str).collect();
    let names = names.ok_or("`instruction_id_list` holds something that is no text")?;
    if names.is_empty() || names.len() > MOST_INSTRUCTIONS {
        return Err(format!("`instruction_id_list` has {} instructions, not 1 to {MOST_INSTRUCTIONS}", names.len()));
    }
    let kwargs = match metadata.get("kwargs") {
        Some(Value::Array(kwargs)) if kwargs.len() == names.len() => kwargs,
        Some(Value::Array(kwargs)) => {
            return Err(format!("`kwargs` has {} entries for {} instructions", kwargs.len(), names.len()));
        }
        None | Some(Value::Null) => return Ok(names.into_iter().map(|name| (name, &Value::Null)).collect()),
        Some(other) => return Err(format!("`kwargs` is {}, not a list of tables", kind(other))),
    };
    Ok(names.into_iter().zip(kwargs).collect())
}

/// The response and its seven loose variants.
fn variants(text: &str) -> Vec<String> {
    let first = text.find('\n').map_or(text.len(), |at| at + 1);
    let last = text.rfind('\n').unwrap_or(0);
    let cut = [&text[first..], &text[..last], text.get(first..last).unwrap_or_default()].map(str::trim);
    let bare = |text: &str| text.replace('*', "");
    let mut variants = vec![text.to_string(), bare(text)];
    variants.extend(cut.map(str::to_string));
    variants.extend(cut.map(bare));
    variants
}

impl Reward for Ifeval {
    fn name(&self) -> &str {
        INFO.name
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        attempts.iter().map(|attempt| self.verdict(&self.follow(attempt))).collect()
    }

    fn detailed(&self, attempts: &[Attempt<'_>]) -> Vec<(Verdict, Map<String, Value>)> {
        let detail = |attempt: &Attempt<'_>| {
            let followed = self.follow(attempt);
            let lists = [("strict", json!(followed.strict)), ("loose", json!(followed.loose))];
            (self.verdict(&followed), lists.into_iter().map(|(name, list)| (name.to_string(), list)).collect())
        };
        attempts.iter().map(detail).collect()
    }
}

#[cfg(test)]
mod tests;
