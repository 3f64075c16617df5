//! `repetition`: how much of a completion is said again.
//!
//! The penalty of arXiv 2502.03373 (appendix C.2), as in TRL and open-r1: with U different n-grams among all N of them,
//! r = p·(1 − U/N). Where a text has no words (Chinese, Japanese, code without blanks), n-grams of characters see more.

use std::collections::HashSet;

use lapidary_core::{Result, Verdict};

use crate::options::{OptionInfo, OptionKind, Options};
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "repetition",
    summary: "A penalty for n-grams that occur again.",
    formula: "penalty * (1 - different n-grams / all n-grams); 0 for fewer than n words",
    options: &[
        OptionInfo {
            name: "n",
            kind: OptionKind::Integer(1, 32),
            default: "3",
            meaning: "words, or characters, of an n-gram",
        },
        OptionInfo {
            name: "penalty",
            kind: OptionKind::Number(-1e6, 0.0),
            default: "-1",
            meaning: "what a text that only repeats itself comes close to",
        },
        OptionInfo {
            name: "unit",
            kind: OptionKind::Choice(&["words", "characters"]),
            default: "\"words\"",
            meaning: "what is counted: words between blanks, in lower case, or characters other than blanks",
        },
    ],
    build: |options| Ok(Box::new(Repetition::new(options)?)),
};

#[derive(Debug)]
struct Repetition {
    n: usize,
    penalty: f64,
    characters: bool,
}

impl Repetition {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            n: options.integer("n").map_or(3, |n| n as usize),
            penalty: options.number("penalty").unwrap_or(-1.0),
            characters: options.text("unit") == Some("characters"),
        })
    }

    fn judge(&self, completion: &str) -> Verdict {
        let lower = completion.to_lowercase();
        let (different, all) = if self.characters {
            let letters: Vec<char> = lower.chars().filter(|letter| !letter.is_whitespace()).collect();
            count(&letters, self.n)
        } else {
            let words: Vec<&str> = lower.split_whitespace().collect();
            count(&words, self.n)
        };
        if all == 0 {
            return Verdict::score(0.0, format!("shorter than {}", self.n));
        }
        let score = self.penalty * (1.0 - different as f64 / all as f64);
        // −1 · 0 is −0, which is written so
        Verdict::score(score as f32 + 0.0, format!("{different} of {all} {}-grams are different", self.n))
    }
}

/// Different n-grams, and all of them.
fn count<T: Eq + std::hash::Hash>(units: &[T], n: usize) -> (usize, usize) {
    let different: HashSet<&[T]> = units.windows(n).collect();
    (different.len(), (units.len() + 1).saturating_sub(n))
}

impl Reward for Repetition {
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
        let reward = crate::build("repetition", &options).unwrap();
        let metadata = serde_json::Map::new();
        reward.score(&[Attempt::new("", completion, None, &metadata)])[0].value().unwrap()
    }

    /// Golden values of the specification, and hand-counted ones.
    #[test]
    fn repeated_n_grams_are_counted() {
        assert!((score(json!({}), "1 2 3 1 2 3 1 2 3") + 0.571429).abs() < 1e-6);
        assert_eq!(score(json!({}), "1 2 3 4"), 0.0);
        assert_eq!(score(json!({}), "1 2 3 4").to_bits(), 0, "no negative zero");
        assert_eq!((score(json!({}), "so so"), score(json!({}), "")), (0.0, 0.0));
        assert_eq!(score(json!({"n": 1, "penalty": -2}), "So so SO so"), -1.5);
        // six trigrams of 是的: two are different
        assert!((score(json!({"unit": "characters"}), "是的 是的 是的 是的") + 4.0 / 6.0).abs() < 1e-6);
        assert_eq!(score(json!({}), "是的是的是的是的"), 0.0, "one word: the control");
    }

    proptest! {
        #[test]
        fn a_text_said_k_times_has_as_many_n_grams_as_words(text in "[ab ]{0,40}", n in 1usize..5, k in 2usize..9) {
            let words = text.split_whitespace().count();
            let score = score(json!({"n": n}), &vec![text.as_str(); k].join(" "));
            prop_assert!((-1.0..=0.0).contains(&score));
            if words * k >= n {
                let bound = words as f32 / (words * k + 1 - n) as f32 - 1.0;
                prop_assert!(score <= bound.min(0.0) + 1e-6, "{score} {bound}");
            }
        }
    }
}
