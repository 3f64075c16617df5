//! `spell-backward`: the word in reverse, letter by letter.

use lapidary_core::Verdict;

use crate::find::{COMPAT, EXTRACT, Finder, SEVERAL, compared, reasoning_gym, shorten};
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "spell-backward",
    summary: "The completion's word is the given word in reverse, in the same case.",
    formula: "1 if answer(completion) = reverse(word) else 0",
    options: &[EXTRACT, SEVERAL, COMPAT],
    build: |options| Ok(Box::new(SpellBackward { finder: Finder::of(options), compat: reasoning_gym(options) })),
};

#[derive(Debug)]
struct SpellBackward {
    finder: Finder,
    compat: bool,
}

impl SpellBackward {
    fn judge(&self, attempt: &Attempt<'_>) -> Verdict {
        let reference = attempt.answer.unwrap_or("").trim();
        if reference.is_empty() {
            return Verdict::none("the row has no reference answer");
        }
        if self.compat {
            let score = letter_credit(attempt.completion, reference);
            return Verdict::score(score as f32, format!("against {} (reasoning-gym)", shorten(reference)));
        }
        match self.finder.find(attempt.completion, false) {
            Err(verdict) => verdict,
            Ok((answer, mark)) => {
                let word =
                    answer.trim_matches(|c: char| matches!(c, '"' | '\'' | '`' | '*' | '.') || c.is_whitespace());
                compared(word == reference, answer, mark, reference)
            }
        }
    }
}

impl Reward for SpellBackward {
    fn name(&self) -> &str {
        INFO.name
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        attempts.iter().map(|attempt| self.judge(attempt)).collect()
    }
}

/// reasoning-gym's score of a reversed word: 1 if equal but for case; else the share of places that hold the right
/// letter, summed one by one in f64, less 0.2 where that sum is exactly 1 (all letters right and more behind them).
fn letter_credit(completion: &str, reference: &str) -> f64 {
    let (answer, reference) = (completion.to_lowercase(), reference.to_lowercase());
    if answer == reference {
        return 1.0;
    }
    let length = reference.chars().count() as f64;
    let right = reference.chars().zip(answer.chars()).filter(|(wanted, given)| wanted == given);
    let credit = right.fold(0.0, |sum, _| sum + 1.0 / length);
    if credit == 1.0 { credit - 0.2 } else { credit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_wants_every_letter_in_its_case() {
        let reward = crate::build("spell-backward", &serde_json::json!({})).unwrap();
        let metadata = serde_json::Map::new();
        for (completion, score) in [
            ("tlek", 1.0),
            (" tlek.\n", 1.0),
            ("#### tlek", 1.0),
            ("The answer is \"tlek\".", 1.0),
            ("tlekx", 0.0),
            ("TLEK", 0.0),
            ("tlek kelt", 0.0),
            ("", 0.0),
        ] {
            let verdict = &reward.score(&[Attempt::new("", completion, Some("tlek"), &metadata)])[0];
            assert_eq!(verdict.value(), Some(score), "{completion}: {verdict:?}");
        }
    }
}
