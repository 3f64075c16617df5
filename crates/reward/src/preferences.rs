//! `preferences`: what the truth behind the comparisons of the task `preferences` says of an answer.
//!
//! ```text
//! u(y) = share of letters in their place − 0.1 · characters beyond the word        p(y beats z) = σ((u(y) − u(z)) / τ)
//! ```

use lapidary_core::Verdict;
use serde_json::Value;

use crate::options::{OptionInfo, OptionKind};
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};

/// What a character costs that does not belong to the word.
const PADDING: f64 = 0.1;

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "preferences",
    summary: "How the true taste of the task `preferences` likes an answer: a win rate against another answer to the same prompt.",
    formula: "win: sigma((u(y) - u(rival)) / temperature); utility: u(y) = letters in their place / letters - 0.1 · characters beyond",
    options: &[OptionInfo {
        name: "of",
        kind: OptionKind::Choice(&["win", "utility"]),
        default: "\"win\"",
        meaning: "`win`: how often the answer beats the row's `rival`, an answer of the world that the comparisons are from; `utility`: how good it is",
    }],
    build: |options| Ok(Box::new(Preferences { utility: options.text("of") == Some("utility") })),
};

struct Preferences {
    utility: bool,
}

impl Preferences {
    fn judge(&self, attempt: &Attempt<'_>) -> Verdict {
        let Some(word) = attempt.answer else { return Verdict::none("the row has no reference answer") };
        let own = utility(word, attempt.completion);
        if self.utility {
            return Verdict::score(own as f32, format!("{word} would be 1"));
        }
        let number = |name: &str| attempt.metadata.get(name).and_then(Value::as_f64);
        match (attempt.metadata.get("rival").and_then(Value::as_str), number("temperature")) {
            (Some(rival), Some(temperature)) if temperature > 0.0 => {
                let score = win_rate(own - utility(word, rival), temperature);
                Verdict::score(score as f32, format!("utility {own:.3} against {:.3}", utility(word, rival)))
            }
            _ => Verdict::none("the row has no `rival` and `temperature`: it is not of the task `preferences`"),
        }
    }
}

impl Reward for Preferences {
    fn name(&self) -> &str {
        INFO.name
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        attempts.iter().map(|attempt| self.judge(attempt)).collect()
    }
}

/// How good an answer is where `word` is what was asked for: the share of letters in their place, whatever their case, less a
/// tenth for each character beyond the word. At most 1, without a floor.
pub fn utility(word: &str, answer: &str) -> f64 {
    let answer = answer.trim_end();
    let letters = word.chars().count().max(1);
    let right =
        word.chars().zip(answer.chars()).filter(|(wanted, given)| *wanted == given.to_ascii_lowercase()).count();
    let beyond = answer.chars().count().saturating_sub(letters);
    right as f64 / letters as f64 - PADDING * beyond as f64
}

/// How often what is better by `gap` wins, in [0, 1] (Bradley-Terry).
pub fn win_rate(gap: f64, temperature: f64) -> f64 {
    1.0 / (1.0 + (-gap / temperature).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    #[test]
    fn letters_count_in_their_place_and_padding_costs() {
        for (answer, expected) in [
            ("abc", 1.0),
            ("Abc", 1.0),
            ("abc\n", 1.0),
            ("abc!!", 0.8),
            ("abd", 2.0 / 3.0),
            ("ab", 2.0 / 3.0),
            ("bca", 0.0),
            ("", 0.0),
            ("xabc", -0.1),
            ("é", 0.0),
        ] {
            assert!((utility("abc", answer) - expected).abs() < 1e-12, "{answer}: {}", utility("abc", answer));
        }
    }

    /// σ(0) and σ(±(1/3)/0.1) = σ(±3.3333) by hand.
    #[test]
    fn a_win_rate_is_against_the_rival() {
        let metadata = Map::from_iter([("rival".into(), json!("abd")), ("temperature".into(), json!(0.1))]);
        let reward = crate::build("preferences", &Value::Null).unwrap();
        let score =
            |answer: &str| reward.score(&[Attempt::new("", answer, Some("abc"), &metadata)])[0].value().unwrap();
        for (answer, expected) in [("abd", 0.5), ("abc", 0.965_555), ("axd", 0.034_445)] {
            assert!((score(answer) - expected).abs() < 1e-5, "{answer}: {}", score(answer));
        }
        let other = Map::new();
        assert_eq!(reward.score(&[Attempt::new("", "abc", Some("abc"), &other)])[0].value(), None);
        let utility = crate::build("preferences", &json!({"of": "utility"})).unwrap();
        assert_eq!(utility.score(&[Attempt::new("", "abc", Some("abc"), &other)])[0].value(), Some(1.0));
    }
}
