//! `regex`: patterns that a completion must hold, and others that it must not.

use lapidary_core::{Result, Verdict};
use regex::Regex;
use serde_json::Value;

use crate::find::shorten;
use crate::format::{compile, pattern};
use crate::options::{OptionInfo, OptionKind, Options};
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};

/// Patterns of one row; each is compiled anew.
const MOST_OF_A_ROW: usize = 32;

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "regex",
    summary: "Patterns that the completion must hold, and patterns that it must not; the row may name its own.",
    formula: "1 if every pattern occurs and no forbidden one does, else 0; with `score = \"fraction\"` the share that holds",
    options: &[
        OptionInfo {
            name: "require",
            kind: OptionKind::Texts,
            default: "null",
            meaning: "regular expressions that must match somewhere; `(?i)` ignores case, `\\A` and `\\z` are the ends",
        },
        OptionInfo {
            name: "forbid",
            kind: OptionKind::Texts,
            default: "null",
            meaning: "regular expressions that must match nowhere",
        },
        OptionInfo {
            name: "column",
            kind: OptionKind::Text,
            default: "null",
            meaning: "column of the row with a pattern, or a list of them, that must match too",
        },
        OptionInfo {
            name: "whole",
            kind: OptionKind::Flag,
            default: "false",
            meaning: "whether a required pattern must match all of the completion",
        },
        OptionInfo {
            name: "score",
            kind: OptionKind::Choice(&["all", "fraction"]),
            default: "\"all\"",
            meaning: "1 or 0, or the share of patterns that are as they must be",
        },
    ],
    build: |options| Ok(Box::new(Patterns::new(options)?)),
};

#[derive(Debug)]
struct Patterns {
    required: Vec<Regex>,
    forbidden: Vec<Regex>,
    column: Option<String>,
    whole: bool,
    fraction: bool,
}

impl Patterns {
    fn new(options: &Options) -> Result<Self> {
        let whole = options.flag("whole");
        let all = |name: &str, whole: bool| {
            let texts = options.texts(name);
            texts.iter().map(|text| pattern(options, name, text, whole)).collect::<Result<Vec<_>>>()
        };
        let (required, forbidden) = (all("require", whole)?, all("forbid", false)?);
        let column = options.text("column").map(String::from);
        if required.is_empty() && forbidden.is_empty() && column.is_none() {
            return Err(options.wrong("there is no pattern").hint("set `require`, `forbid` or `column`"));
        }
        Ok(Self { required, forbidden, column, whole, fraction: options.text("score") == Some("fraction") })
    }

    /// The patterns that the row names.
    fn of_row(&self, attempt: &Attempt<'_>) -> std::result::Result<Vec<Regex>, String> {
        let Some(column) = &self.column else { return Ok(Vec::new()) };
        let texts: Vec<&str> = match attempt.metadata.get(column) {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(list)) if list.len() <= MOST_OF_A_ROW => list.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let given = attempt.metadata.get(column).and_then(Value::as_array).map_or(1, Vec::len);
        if texts.is_empty() || texts.len() < given {
            return Err(format!("column `{column}` holds no pattern, nor up to {MOST_OF_A_ROW} of them"));
        }
        let compiled = texts.iter().map(|text| {
            compile(text, self.whole)
                .map_err(|what| format!("the row's {} is no regular expression: {what}", shorten(text)))
        });
        compiled.collect()
    }

    fn judge(&self, attempt: &Attempt<'_>) -> Verdict {
        let own = match self.of_row(attempt) {
            Ok(own) => own,
            Err(reason) => return Verdict::none(reason),
        };
        let mut wrong = Vec::new();
        for pattern in self.required.iter().chain(&own) {
            if !pattern.is_match(attempt.completion) {
                wrong.push(format!("{} does not match", shorten(bare(pattern.as_str()))));
            }
        }
        for pattern in &self.forbidden {
            if let Some(found) = pattern.find(attempt.completion) {
                wrong.push(format!("{} is forbidden", shorten(found.as_str())));
            }
        }
        let all = self.required.len() + own.len() + self.forbidden.len();
        let reason = wrong.first().cloned().unwrap_or_else(|| format!("all of {all} patterns hold"));
        let score = match self.fraction {
            true => (all - wrong.len()) as f64 / all as f64,
            false => f64::from(u8::from(wrong.is_empty())),
        };
        Verdict::score(score as f32, reason)
    }
}

/// A pattern as the person wrote it.
fn bare(pattern: &str) -> &str {
    pattern.strip_prefix(r"\A(?:").and_then(|rest| rest.strip_suffix(r")\z")).unwrap_or(pattern)
}

impl Reward for Patterns {
    fn name(&self) -> &str {
        INFO.name
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        attempts.iter().map(|attempt| self.judge(attempt)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, json};

    fn judge(options: Value, completion: &str, row: Value) -> Verdict {
        let reward = crate::build("regex", &options).unwrap();
        let metadata: Map<String, Value> = row.as_object().cloned().unwrap_or_default();
        reward.score(&[Attempt::new("", completion, None, &metadata)]).remove(0)
    }

    #[test]
    fn patterns_are_required_and_forbidden() {
        let options = json!({"require": ["(?i)therefore", r"\d+"], "forbid": "sorry"});
        for (text, wanted) in
            [("Therefore 7", 1.0), ("therefore", 0.0), ("7", 0.0), ("therefore 7, sorry", 0.0), ("", 0.0)]
        {
            assert_eq!(judge(options.clone(), text, json!({})).value(), Some(wanted), "{text}");
        }
        let fraction = json!({"require": ["(?i)therefore", r"\d+"], "forbid": "sorry", "score": "fraction"});
        assert_eq!(judge(fraction, "so 7, sorry", json!({})).value(), Some(1.0 / 3.0));
        let whole = json!({"require": "a|b", "whole": true});
        assert_eq!(
            [judge(whole.clone(), "a", json!({})), judge(whole, "ab", json!({}))].map(|it| it.value()),
            [Some(1.0), Some(0.0)]
        );
    }

    #[test]
    fn a_row_may_bring_its_patterns_and_a_broken_one_is_no_zero() {
        let options = json!({"column": "want"});
        assert_eq!(judge(options.clone(), "seven 7", json!({"want": [r"\d", "seven"]})).value(), Some(1.0));
        assert_eq!(judge(options.clone(), "seven", json!({"want": r"\d"})).value(), Some(0.0));
        for row in [
            json!({}),
            json!({"want": 7}),
            json!({"want": []}),
            json!({"want": ["a", 7]}),
            json!({"want": "("}),
            json!({"want": r"\w{1000}{1000}"}),
            json!({"want": vec!["a"; 33]}),
        ] {
            let verdict = judge(options.clone(), "seven", row.clone());
            assert!(verdict.value().is_none() && verdict.reason().chars().count() < 400, "{row}: {verdict:?}");
        }
    }

    #[test]
    fn options_without_a_sound_pattern_are_refused() {
        for options in [json!({}), json!({"require": "("}), json!({"forbid": "(?=x)"}), json!({"require": r"(a)\1"})] {
            assert!(crate::build("regex", &options).is_err(), "{options}");
        }
    }

    proptest! {
        /// What is asked for word by word is found exactly where it stands.
        #[test]
        fn escaped_texts_match_themselves(text in "\\PC{0,30}", around in "[xyz]{0,5}") {
            let options = json!({"require": regex::escape(&text)});
            let found = judge(options, &format!("{around}{text}{around}"), json!({})).value();
            prop_assert_eq!(found, Some(1.0));
        }
    }
}
