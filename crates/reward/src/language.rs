//! `language`: how much of a completion is written in the wanted script.
//!
//! DeepSeek-R1 (arXiv 2501.12948, §2.3.2) pays the share of words in the target language against a chain of thought that
//! drifts between languages. What can be told from a letter alone is its script: Chinese from English, Russian from Greek,
//! not English from French. Code, formulas and tags belong to no language and are not counted.

use lapidary_core::{Result, Verdict};
use regex::Regex;

use crate::options::{OptionInfo, OptionKind, Options};
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};

const CODES: &[(&str, &str)] = &[
    ("latin", r"\p{Latin}"),
    ("han", r"\p{Han}"),
    ("kana", r"\p{Hiragana}\p{Katakana}ー"),
    ("hangul", r"\p{Hangul}"),
    ("cyrillic", r"\p{Cyrillic}"),
    ("greek", r"\p{Greek}"),
    ("arabic", r"\p{Arabic}"),
    ("hebrew", r"\p{Hebrew}"),
    ("devanagari", r"\p{Devanagari}"),
    ("bengali", r"\p{Bengali}"),
    ("tamil", r"\p{Tamil}"),
    ("telugu", r"\p{Telugu}"),
    ("thai", r"\p{Thai}"),
    ("armenian", r"\p{Armenian}"),
    ("georgian", r"\p{Georgian}"),
];

const NAMES: &[&str] = &[
    "latin",
    "han",
    "kana",
    "hangul",
    "cyrillic",
    "greek",
    "arabic",
    "hebrew",
    "devanagari",
    "bengali",
    "tamil",
    "telugu",
    "thai",
    "armenian",
    "georgian",
];

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "language",
    summary: "The share of letters in the wanted scripts, against mixing of languages.",
    formula: "letters of the scripts / letters, or 1 if that is at least `threshold` else 0; 0 without a letter",
    options: &[
        OptionInfo {
            name: "script",
            kind: OptionKind::Choices(NAMES),
            default: "",
            meaning: "the scripts that are wanted: `[\"latin\"]` for English, `[\"han\"]` for Chinese, `[\"han\", \"kana\"]` for \
                      Japanese",
        },
        OptionInfo {
            name: "threshold",
            kind: OptionKind::Number(0.0, 1.0),
            default: "null",
            meaning: "share from which the score is 1, and below which it is 0; unset: the score is the share",
        },
        OptionInfo {
            name: "part",
            kind: OptionKind::Choice(&["all", "thought", "answer"]),
            default: "\"all\"",
            meaning: "what is looked at: all, what stands before the last `</think>`, or what stands after it",
        },
        OptionInfo {
            name: "skip",
            kind: OptionKind::Flag,
            default: "true",
            meaning: "whether fenced and quoted code, formulas (`$…$`, `\\(…\\)`, `\\[…\\]`, `\\boxed{`) and tags are left out",
        },
    ],
    build: |options| Ok(Box::new(Language::new(options)?)),
};

/// What belongs to no language. Each alternative ends within its line but for fences, and none nests.
const SKIPPED: &str = r"(?s:```.*?(?:```|\z))|`[^`\n]*`|(?s:\$\$.*?\$\$)|\$[^$\n]*\$|(?s:\\\(.*?\\\)|\\\[.*?\\\])|\\[A-Za-z]+|</?[A-Za-z][A-Za-z0-9_-]*>";

#[derive(Debug)]
struct Language {
    wanted: Regex,
    letter: Regex,
    skipped: Option<Regex>,
    threshold: Option<f64>,
    part: Part,
}

#[derive(Debug, PartialEq)]
enum Part {
    All,
    Thought,
    Answer,
}

impl Language {
    fn new(options: &Options) -> Result<Self> {
        let scripts = options.texts("script");
        let classes: String = CODES
            .iter()
            .filter(|(name, _)| scripts.iter().any(|script| script == name))
            .map(|(_, class)| *class)
            .collect();
        let compile = |pattern: &str| Regex::new(pattern).map_err(|error| options.wrong(error));
        Ok(Self {
            // marks (accents, vowel signs) belong to the letter before them
            wanted: compile(&format!(r"[[{classes}]&&[\p{{L}}]]+"))?,
            letter: compile(r"\p{L}+")?,
            skipped: options.flag("skip").then(|| compile(SKIPPED)).transpose()?,
            threshold: options.number("threshold"),
            part: match options.text("part") {
                Some("thought") => Part::Thought,
                Some("answer") => Part::Answer,
                _ => Part::All,
            },
        })
    }

    fn judge(&self, completion: &str) -> Verdict {
        let split = completion.rsplit_once("</think>");
        let text = match (&self.part, split) {
            (Part::All, _) => completion,
            (Part::Thought, Some((thought, _))) => thought,
            (Part::Answer, Some((_, answer))) => answer,
            (Part::Thought | Part::Answer, None) => return Verdict::score(0.0, "no `</think>`"),
        };
        let bare = match &self.skipped {
            Some(skipped) => skipped.replace_all(text, " "),
            None => text.into(),
        };
        let count = |pattern: &Regex| pattern.find_iter(&bare).map(|run| run.as_str().chars().count()).sum::<usize>();
        let (wanted, letters) = (count(&self.wanted), count(&self.letter));
        if letters == 0 {
            return Verdict::score(0.0, "it holds no letter");
        }
        let share = wanted as f64 / letters as f64;
        let score = match self.threshold {
            Some(threshold) => f64::from(u8::from(share >= threshold)),
            None => share,
        };
        Verdict::score(score as f32, format!("{wanted} of {letters} letters"))
    }
}

impl Reward for Language {
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
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn score(options: Value, completion: &str) -> f32 {
        let reward = crate::build("language", &options).unwrap();
        let metadata = serde_json::Map::new();
        reward.score(&[Attempt::new("", completion, None, &metadata)])[0].value().unwrap()
    }

    #[test]
    fn the_share_of_letters_is_the_score() {
        let latin = json!({"script": ["latin"]});
        assert_eq!(score(latin.clone(), "all English, même en français: 42!"), 1.0);
        assert_eq!(score(latin.clone(), "so 所以 ok"), 4.0 / 6.0);
        assert_eq!(score(json!({"script": ["han"]}), "so 所以 ok"), 2.0 / 6.0);
        assert_eq!(score(json!({"script": ["han", "kana"]}), "東京へ行く。ラーメン"), 1.0);
        assert_eq!(score(json!({"script": ["cyrillic"]}), "ответ"), 1.0);
        // silence, digits and punctuation speak no language
        assert_eq!((score(latin.clone(), ""), score(latin.clone(), "42 + 1 = 43.")), (0.0, 0.0));
    }

    #[test]
    fn code_formulas_and_tags_are_not_counted() {
        let han = json!({"script": ["han"]});
        let text = "<think>所以 $x + y$ 是 `abs(x)`，\\(\\frac{a}{b}\\)\n```python\nprint('hello')\n```\n答案 \\boxed{7}</think>";
        assert_eq!(score(han.clone(), text), 1.0);
        let all = json!({"script": ["han"], "skip": false});
        assert!(score(all, text) < 0.5, "the control");
    }

    #[test]
    fn a_part_and_a_threshold() {
        let text = "<think>所以 yes</think> 答案";
        assert_eq!(score(json!({"script": ["han"], "part": "answer"}), text), 1.0);
        assert_eq!(score(json!({"script": ["han"], "part": "thought"}), text), 2.0 / 5.0);
        assert_eq!(score(json!({"script": ["han"], "part": "thought"}), "no thought"), 0.0);
        assert_eq!(score(json!({"script": ["han"], "threshold": 0.5}), text), 1.0);
        assert_eq!(score(json!({"script": ["han"], "threshold": 0.6}), text), 0.0);
        assert!(crate::build("language", &json!({})).is_err());
    }

    #[test]
    fn every_name_is_a_script_and_every_script_has_its_name() {
        assert_eq!(CODES.iter().map(|(name, _)| *name).collect::<Vec<_>>(), NAMES);
        for name in NAMES {
            assert!(crate::build("language", &json!({"script": [name]})).is_ok(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn shares_of_scripts_do_not_overlap(text in "[a-zа-яα-ω所以へ0-9 .]{0,60}") {
            let shares: f32 = ["latin", "cyrillic", "greek", "han", "kana"]
                .iter()
                .map(|script| score(json!({"script": [script], "skip": false}), &text))
                .sum();
            let letters = text.chars().any(char::is_alphabetic);
            prop_assert!((shares - f32::from(u8::from(letters))).abs() < 1e-5, "{text}: {shares}");
        }
    }
}
