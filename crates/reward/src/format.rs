//! `format`: does the completion have the shape that was asked for, whatever it says.

use lapidary_core::{Result, Verdict};
use regex::{Regex, RegexBuilder};

use crate::extract::{Extraction, Mark, extract};
use crate::options::{OptionInfo, OptionKind, Options};
use crate::published::{self, Published};
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "format",
    summary: "The completion has a given shape: a preset, tags in order, or a regular expression for all of it.",
    formula: "1 if the completion has the shape else 0",
    options: &[
        OptionInfo {
            name: "preset",
            kind: OptionKind::Choice(&["hash", "boxed", "tags", "think", "parsed"]),
            default: "null",
            meaning: "`hash`: one `#### …`, on the last line; `boxed`: one `\\boxed{…}`, on the last line; `tags`: ends with \
                      one `<answer>…</answer>`; `think`: one `<think>…</think>`, then one `<answer>…</answer>`, no more; \
                      `parsed`: one marked answer can be found, wherever it stands",
        },
        OptionInfo {
            name: "tags",
            kind: OptionKind::Texts,
            default: "null",
            meaning: "these sections in this order, each exactly once, nothing but blanks outside them: \
                      `[\"think\", \"answer\"]`; the last one must hold something",
        },
        OptionInfo {
            name: "pattern",
            kind: OptionKind::Text,
            default: "null",
            meaning: "a regular expression that must match the whole completion; `.` does not match a line end unless it \
                      starts with `(?s)`",
        },
        OptionInfo {
            name: "opened",
            kind: OptionKind::Flag,
            default: "false",
            meaning: "whether the prompt ends with the opening tag of the first section, so that the completion lacks it",
        },
        OptionInfo {
            name: "compat",
            kind: OptionKind::Choice(published::NAMES),
            default: "\"none\"",
            meaning: "score as a published function does, with its gaps: open-r1's `format_reward` (`open_r1`), \
                      `tag_count_reward` (`open_r1_tags`) and `reasoning_steps_reward` (`open_r1_steps`), TRL's \
                      `think_format_reward` (`trl`), reasoning-gym's, which gives 0.2 (`reasoning_gym`)",
        },
    ],
    build: |options| Ok(Box::new(Format::new(options)?)),
};

/// Size of a compiled pattern. Matching takes linear time, so this bounds the work per character.
pub(crate) const LARGEST_PATTERN: usize = 1 << 20;
/// Most sections of a shape.
const MOST_TAGS: usize = 16;

#[derive(Debug)]
struct Format {
    shape: Shape,
    /// What the prompt has already written.
    opening: String,
}

#[derive(Debug)]
enum Shape {
    Hash,
    Boxed,
    Tags,
    Think,
    Parsed,
    Sections(Vec<String>),
    Pattern(Regex),
    Published(Published),
}

impl Format {
    fn new(options: &Options) -> Result<Self> {
        let compat = options.text("compat").and_then(Published::of);
        let tags = options.texts("tags");
        let given = [
            ("preset", options.text("preset").is_some()),
            ("tags", !tags.is_empty()),
            ("pattern", options.text("pattern").is_some()),
            ("compat", compat.is_some()),
        ];
        let given: Vec<&str> = given.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
        if let [first, second, ..] = given[..] {
            return Err(options.wrong(format!("`{first}` and `{second}` cannot both be given")));
        }
        let shape = match (options.text("preset"), options.text("pattern"), compat) {
            (Some("boxed"), ..) => Shape::Boxed,
            (Some("tags"), ..) => Shape::Tags,
            (Some("think"), ..) => Shape::Think,
            (Some("parsed"), ..) => Shape::Parsed,
            (_, Some(text), _) => Shape::Pattern(pattern(options, "pattern", text, true)?),
            (.., Some(published)) => Shape::Published(published),
            _ if !tags.is_empty() => Shape::Sections(sections(options, tags)?),
            _ => Shape::Hash,
        };
        let first = match &shape {
            Shape::Sections(tags) => Some(tags[0].as_str()),
            Shape::Think => Some("think"),
            Shape::Published(published) if *published != Published::Steps => Some("think"),
            _ => None,
        };
        let opening = match (options.flag("opened"), first) {
            (false, _) => String::new(),
            (true, Some(tag)) => format!("<{tag}>"),
            (true, None) => {
                return Err(options.wrong("`opened` needs a shape that begins with a tag").hint("use `tags`"));
            }
        };
        Ok(Self { shape, opening })
    }

    fn judge(&self, completion: &str) -> Verdict {
        let whole;
        let text = if self.opening.is_empty() {
            completion
        } else {
            whole = format!("{}{completion}", self.opening);
            &whole
        };
        match &self.shape {
            Shape::Published(published) => Verdict::score(published.score(text), published.whose()),
            shape => match shape.holds(text) {
                Ok(()) => Verdict::score(1.0, "has the shape"),
                Err(reason) => Verdict::score(0.0, reason),
            },
        }
    }
}

/// Names of sections that can stand in angle brackets.
fn sections(options: &Options, tags: Vec<String>) -> Result<Vec<String>> {
    let sound = |tag: &str| {
        let mut letters = tag.chars();
        letters.next().is_some_and(|first| first.is_ascii_alphabetic())
            && letters.all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-'))
    };
    if let Some(tag) = tags.iter().find(|tag| !sound(tag)) {
        return Err(options.wrong(format!("`{tag}` is no name of a tag")).hint("letters, digits, `_` and `-`"));
    }
    if let Some(at) = (1..tags.len()).find(|&at| tags[..at].contains(&tags[at])) {
        return Err(options.wrong(format!("the tag `{}` is there twice", tags[at])));
    }
    if tags.len() > MOST_TAGS {
        return Err(options.wrong(format!("{} tags are more than {MOST_TAGS}", tags.len())));
    }
    Ok(tags)
}

/// Compiles a person's pattern; `whole`: it must match all of a text.
pub(crate) fn pattern(options: &Options, option: &str, pattern: &str, whole: bool) -> Result<Regex> {
    let compiled = compile(pattern, whole);
    compiled.map_err(|what| {
        options
            .wrong(format!("the `{option}` is no regular expression: {what}"))
            .why("look-around and back-references do not exist here: they cannot be matched in linear time")
    })
}

/// The same, with what is wrong in words.
pub(crate) fn compile(pattern: &str, whole: bool) -> std::result::Result<Regex, String> {
    let text = if whole { format!(r"\A(?:{pattern})\z") } else { pattern.to_string() };
    let built = RegexBuilder::new(&text).size_limit(LARGEST_PATTERN).build();
    // the bare pattern first: `a)(b` is wrong although it becomes right inside the brackets
    let bare = RegexBuilder::new(pattern).size_limit(LARGEST_PATTERN).build();
    bare.and(built).map_err(|error| {
        let what = error.to_string();
        what.lines().last().unwrap_or("it does not compile").trim().trim_start_matches("error: ").to_string()
    })
}

impl Shape {
    fn holds(&self, completion: &str) -> std::result::Result<(), String> {
        let last_line = || completion.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("");
        match self {
            Shape::Hash => {
                once(completion, "####")?;
                let answer = last_line().strip_prefix("####").map(str::trim);
                match answer {
                    Some("") => Err("nothing follows `####`".into()),
                    Some(_) => Ok(()),
                    None => Err("the last line does not start with `####`".into()),
                }
            }
            Shape::Boxed => {
                once(completion, "\\boxed{")?;
                match last_line().split_once("\\boxed{") {
                    None => Err("`\\boxed{` is not on the last line".into()),
                    Some((_, rest)) if rest.contains('}') && !rest.starts_with('}') => Ok(()),
                    Some(_) => Err("the box is empty or not closed".into()),
                }
            }
            Shape::Tags => tagged(completion, "answer").map(|_| ()),
            Shape::Think => {
                let before = tagged(completion, "answer")?;
                once(completion, "<think>")?;
                once(completion, "</think>")?;
                let thought = before.trim().strip_prefix("<think>").and_then(|rest| rest.strip_suffix("</think>"));
                thought.map(|_| ()).ok_or_else(|| "something stands outside `<think>` and `<answer>`".into())
            }
            Shape::Parsed => {
                match extract(completion, &[Mark::Hash, Mark::Boxed, Mark::Tags, Mark::Final], false, false) {
                    Extraction::Found(..) => Ok(()),
                    Extraction::Missing => Err("no marked answer".into()),
                    Extraction::Several(answers, mark) => {
                        Err(format!("{} different answers {}", answers.len(), mark.place()))
                    }
                }
            }
            Shape::Sections(tags) => in_order(completion, tags),
            Shape::Pattern(pattern) if pattern.is_match(completion) => Ok(()),
            Shape::Pattern(_) => Err("the pattern does not match".into()),
            Shape::Published(_) => Err("it has a score of its own".into()),
        }
    }
}

/// Sections one after the other, each exactly once, and nothing else.
fn in_order(completion: &str, tags: &[String]) -> std::result::Result<(), String> {
    let mut rest = completion.trim();
    for (at, tag) in tags.iter().enumerate() {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        once(completion, &open)?;
        once(completion, &close)?;
        let inside = rest.strip_prefix(&open).ok_or_else(|| match at {
            0 => format!("it does not begin with `{open}`"),
            _ => format!("`{open}` does not follow `</{}>` at once", tags[at - 1]),
        })?;
        let (held, after) = inside.split_once(&close).ok_or_else(|| format!("`{close}` comes before `{open}`"))?;
        if at + 1 == tags.len() && held.trim().is_empty() {
            return Err(format!("nothing between `{open}` and `{close}`"));
        }
        rest = after.trim_start();
    }
    if rest.is_empty() { Ok(()) } else { Err(format!("something follows `</{}>`", tags[tags.len() - 1])) }
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
        attempts.iter().map(|attempt| self.judge(attempt.completion)).collect()
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
    fn sections_stand_in_order_once_and_alone() {
        check(
            json!({"tags": ["plan", "code", "answer"]}),
            &[
                ("<plan>a</plan>\n<code></code> <answer>b</answer>\n", 1.0),
                ("<plan>a</plan><answer>b</answer><code>c</code>", 0.0),
                ("<plan>a</plan><code>c</code>", 0.0),
                ("<plan>a</plan><plan>a</plan><code>c</code><answer>b</answer>", 0.0),
                ("<plan>a<code>c</code></plan><answer>b</answer>", 0.0),
                ("<plan>a</plan>so<code>c</code><answer>b</answer>", 0.0),
                ("<plan>a</plan><code>c</code><answer>b</answer>!", 0.0),
                ("<plan>a</plan><code>c</code><answer> </answer>", 0.0),
                ("</plan><plan><code>c</code><answer>b</answer>", 0.0),
                ("", 0.0),
            ],
        );
        let opened = json!({"tags": ["think", "answer"], "opened": true});
        check(opened, &[("a</think><answer>b</answer>", 1.0), ("<think>a</think><answer>b</answer>", 0.0)]);
        for tags in [json!(["a b"]), json!(["a", "a"]), json!([""])] {
            assert!(crate::build("format", &json!({"tags": tags})).is_err());
        }
        assert!(crate::build("format", &json!({"preset": "hash", "opened": true})).is_err());
    }

    #[test]
    fn parsed_wants_one_marked_answer_anywhere() {
        check(
            json!({"preset": "parsed"}),
            &[("so \\boxed{7}, I think", 1.0), ("it is 7", 0.0), ("\\boxed{7} or \\boxed{8}", 0.0), ("", 0.0)],
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
