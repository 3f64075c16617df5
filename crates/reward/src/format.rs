//! `format`: does the completion have the shape that was asked for, whatever it says.

use lapidary_core::{Result, Verdict};
use regex::{Regex, RegexBuilder};

use crate::options::{OptionInfo, OptionKind, Options};
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "format",
    summary: "The completion has a given shape: a preset, or a regular expression for all of it.",
    formula: "1 if the completion has the shape else 0",
    options: &[
        OptionInfo {
            name: "preset",
            kind: OptionKind::Choice(&["hash", "boxed", "tags", "think"]),
            default: "null",
            meaning: "`hash`: one `#### …`, on the last line; `boxed`: one `\\boxed{…}`, on the last line; `tags`: ends with \
                      one `<answer>…</answer>`; `think`: one `<think>…</think>`, then one `<answer>…</answer>`, no more",
        },
        OptionInfo {
            name: "pattern",
            kind: OptionKind::Text,
            default: "null",
            meaning: "a regular expression that must match the whole completion; `.` does not match a line end unless it \
                      starts with `(?s)`",
        },
    ],
    build: |options| Ok(Box::new(Format::new(options)?)),
};

/// Size of a compiled pattern. Matching takes linear time, so this bounds the work per character.
const LARGEST_PATTERN: usize = 1 << 20;

#[derive(Debug)]
enum Format {
    Hash,
    Boxed,
    Tags,
    Think,
    Pattern(Regex),
}

impl Format {
    fn new(options: &Options) -> Result<Self> {
        let pattern = match (options.text("preset"), options.text("pattern")) {
            (Some(_), Some(_)) => return Err(options.wrong("`preset` and `pattern` cannot both be given")),
            (None, Some(pattern)) => pattern,
            (Some("boxed"), None) => return Ok(Format::Boxed),
            (Some("tags"), None) => return Ok(Format::Tags),
            (Some("think"), None) => return Ok(Format::Think),
            (_, None) => return Ok(Format::Hash),
        };
        let built = RegexBuilder::new(&format!(r"\A(?:{pattern})\z")).size_limit(LARGEST_PATTERN).build();
        // the bare pattern first: `a)(b` is wrong although it becomes right inside the brackets
        let checked = Regex::new(pattern).and(built);
        checked.map(Format::Pattern).map_err(|error| {
            let what = error.to_string();
            let last = what.lines().last().unwrap_or("it does not compile").trim().trim_start_matches("error: ");
            options
                .wrong(format!("the `pattern` is no regular expression: {last}"))
                .why("look-around and back-references do not exist here: they cannot be matched in linear time")
        })
    }

    fn holds(&self, completion: &str) -> std::result::Result<(), String> {
        let last_line = || completion.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("");
        match self {
            Format::Hash => {
                once(completion, "####")?;
                let answer = last_line().strip_prefix("####").map(str::trim);
                match answer {
                    Some("") => Err("nothing follows `####`".into()),
                    Some(_) => Ok(()),
                    None => Err("the last line does not start with `####`".into()),
                }
            }
            Format::Boxed => {
                once(completion, "\\boxed{")?;
                match last_line().split_once("\\boxed{") {
                    None => Err("`\\boxed{` is not on the last line".into()),
                    Some((_, rest)) if rest.contains('}') && !rest.starts_with('}') => Ok(()),
                    Some(_) => Err("the box is empty or not closed".into()),
                }
            }
            Format::Tags => tagged(completion, "answer").map(|_| ()),
            Format::Think => {
                let before = tagged(completion, "answer")?;
                once(completion, "<think>")?;
                once(completion, "</think>")?;
                let thought = before.trim().strip_prefix("<think>").and_then(|rest| rest.strip_suffix("</think>"));
                thought.map(|_| ()).ok_or_else(|| "something stands outside `<think>` and `<answer>`".into())
            }
            Format::Pattern(pattern) if pattern.is_match(completion) => Ok(()),
            Format::Pattern(_) => Err("the pattern does not match".into()),
        }
    }
}

fn once(completion: &str, mark: &str) -> std::result::Result<(), String> {
    match completion.matches(mark).count() {
        1 => Ok(()),
        0 => Err(format!("no `{mark}`")),
        count => Err(format!("{count} times `{mark}`")),
    }
}

/// What stands before the one `<tag>…</tag>` that ends a completion.
fn tagged<'a>(completion: &'a str, tag: &str) -> std::result::Result<&'a str, String> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    once(completion, &open)?;
    once(completion, &close)?;
    let Some(inner) = completion.trim_end().strip_suffix(&close) else {
        return Err(format!("something follows `{close}`"));
    };
    match inner.split_once(&open) {
        None => Err(format!("`{close}` comes before `{open}`")),
        Some((_, inside)) if inside.trim().is_empty() => Err(format!("nothing between `{open}` and `{close}`")),
        Some((before, _)) => Ok(before),
    }
}

impl Reward for Format {
    fn name(&self) -> &str {
        INFO.name
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        let judge = |attempt: &Attempt<'_>| match self.holds(attempt.completion) {
            Ok(()) => Verdict::score(1.0, "has the shape"),
            Err(reason) => Verdict::score(0.0, reason),
        };
        attempts.iter().map(judge).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(options: Value, cases: &[(&str, f32)]) {
        let reward = crate::build("format", &options).unwrap();
        let metadata = serde_json::Map::new();
        for (completion, score) in cases {
            let verdict = &reward.score(&[Attempt::new("", completion, None, &metadata)])[0];
            assert_eq!(verdict.value(), Some(*score), "{options} {completion:?}: {verdict:?}");
        }
    }

    #[test]
    fn presets_want_each_mark_once_and_at_the_end() {
        check(
            json!({}),
            &[
                ("6*12=72\n#### 72", 1.0),
                ("#### 72\n", 1.0),
                ("#### 72\nso it is", 0.0),
                ("####", 0.0),
                ("#### 1\n#### 2", 0.0),
                ("x #### 72", 0.0),
                ("72", 0.0),
            ],
        );
        check(
            json!({"preset": "boxed"}),
            &[("so \\boxed{72}.", 1.0), ("\\boxed{}", 0.0), ("\\boxed{72", 0.0), ("\\boxed{7}\nok", 0.0)],
        );
        check(json!({"preset": "tags"}), &[("a <answer>7</answer>\n", 1.0), ("<answer>7</answer> b", 0.0)]);
    }

    /// The cases on which open-r1 and TRL disagree or pass junk; ours is the strict reading.
    #[test]
    fn think_is_one_thought_and_one_answer_and_nothing_else() {
        check(
            json!({"preset": "think"}),
            &[
                ("<think>\na\n</think>\n<answer>\nb\n</answer>", 1.0),
                ("<think>a</think><answer>b</answer>", 1.0),
                ("<think>\na\n</think>\nb", 0.0),
                ("<think><think>a</think>b", 0.0),
                ("x<think>a</think><answer>b</answer>", 0.0),
                ("<think>a</think>x<answer>b</answer>", 0.0),
                ("<think>\na\n</think>\n<answer>\nb\n</answer>\njunk", 0.0),
                ("<answer>b</answer><think>a</think>", 0.0),
                ("</think><think><answer>b</answer>", 0.0),
            ],
        );
    }

    #[test]
    fn a_pattern_must_match_all_of_the_completion() {
        check(json!({"pattern": r"-?\d+"}), &[("42", 1.0), ("-42", 1.0), ("42 ", 0.0), ("x42", 0.0), ("42\n", 0.0)]);
        check(json!({"pattern": "a|b"}), &[("a", 1.0), ("b", 1.0), ("ab", 0.0)]);
    }

    #[test]
    fn bad_patterns_are_refused_and_evil_ones_are_harmless() {
        for pattern in ["(", "a)(b", "(?=x)", r"(a)\1", r"\w{1000}{1000}"] {
            assert!(crate::build("format", &json!({"pattern": pattern})).is_err(), "{pattern}");
        }
        assert!(crate::build("format", &json!({"pattern": "a", "preset": "hash"})).is_err());
        let started = std::time::Instant::now();
        check(json!({"pattern": "(a+)+b"}), &[(&"a".repeat(100_000), 0.0)]);
        assert!(started.elapsed().as_secs() < 5);
    }
}
