//! `countdown`: an expression that uses each given number exactly once and comes to the target.

use lapidary_core::Verdict;
use num_bigint::BigInt;
use num_rational::BigRational;
use serde_json::Value;

use crate::find::{COMPAT, EXTRACT, Finder, SEVERAL, reasoning_gym, shorten};
use crate::registry::RewardInfo;
use crate::{Attempt, Expression, Reward};

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "countdown",
    summary: "The completion's expression uses each given number exactly once and comes to the target.",
    formula: "1 if numbers(expression) = numbers and value(expression) = target else 0",
    options: &[EXTRACT, SEVERAL, COMPAT],
    build: |options| Ok(Box::new(Countdown { finder: Finder::of(options), compat: reasoning_gym(options) })),
};

#[derive(Debug)]
struct Countdown {
    finder: Finder,
    compat: bool,
}

/// What is asked: the numbers in ascending order, and what they must come to.
struct Asked {
    numbers: Vec<i64>,
    target: BigRational,
}

impl Asked {
    /// From the row's `numbers` and `target`; where it has none, from its reference answer, which solves it.
    fn of(attempt: &Attempt<'_>) -> Option<Self> {
        let target = attempt.metadata.get("target").and_then(Value::as_i64);
        let numbers = attempt.metadata.get("numbers").and_then(Value::as_array);
        let numbers: Option<Vec<i64>> = numbers.and_then(|list| list.iter().map(Value::as_i64).collect());
        let (mut numbers, target) = match (numbers, target) {
            (Some(numbers), Some(target)) => (numbers, BigRational::from_integer(BigInt::from(target))),
            _ => {
                let solution = Expression::parse(attempt.answer?).ok()?;
                (solution.numbers, solution.value)
            }
        };
        numbers.sort_unstable();
        Some(Self { numbers, target })
    }
}

impl Countdown {
    fn judge(&self, attempt: &Attempt<'_>) -> Verdict {
        let Some(asked) = Asked::of(attempt) else {
            return Verdict::none(
                "the row has neither `numbers` and `target` nor an expression as its reference answer",
            );
        };
        if self.compat {
            return Verdict::score(expression_credit(attempt.completion, &asked), "reasoning-gym's credit");
        }
        let (answer, _) = match self.finder.find(attempt.completion, false) {
            Ok(found) => found,
            Err(verdict) => return verdict,
        };
        let answer = answer.trim_matches(|c: char| matches!(c, '`' | '*' | '$' | '.') || c.is_whitespace());
        let expression = match Expression::parse(answer) {
            Ok(expression) => expression,
            Err(error) => return Verdict::score(0.0, format!("{} is no expression: {error}", shorten(answer))),
        };
        let mut used = expression.numbers;
        used.sort_unstable();
        if used != asked.numbers {
            return Verdict::score(0.0, format!("uses {used:?}, not {:?} each once", asked.numbers));
        }
        let right = expression.value == asked.target;
        let verb = if right { "is" } else { "is not" };
        let reason = format!("{} = {} {verb} {}", shorten(answer), expression.value, asked.target);
        Verdict::score(f32::from(u8::from(right)), reason)
    }
}

impl Reward for Countdown {
    fn name(&self) -> &str {
        INFO.name
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        attempts.iter().map(|attempt| self.judge(attempt)).collect()
    }
}

/// reasoning-gym's score: 1 for a solution, 0.05 for any other arithmetic, 0.01 for anything else, silence included.
/// Numbers may end in a point, as in Python.
fn expression_credit(completion: &str, asked: &Asked) -> f32 {
    let characters: Vec<char> = completion.chars().collect();
    let pointless: String = characters
        .iter()
        .enumerate()
        .filter(|(at, c)| {
            let beside = |at: Option<usize>| at.and_then(|at| characters.get(at)).is_some_and(char::is_ascii_digit);
            !(**c == '.' && beside(at.checked_sub(1)) && !beside(Some(at + 1)))
        })
        .map(|(_, c)| *c)
        .collect();
    let Ok(expression) = Expression::parse(&pointless) else { return 0.01 };
    let mut used = expression.numbers;
    used.sort_unstable();
    if used == asked.numbers && expression.value == asked.target { 1.0 } else { 0.05 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    fn score(completion: &str, metadata: &Map<String, Value>, answer: Option<&str>) -> Verdict {
        let reward = crate::build("countdown", &json!({})).unwrap();
        reward.score(&[Attempt::new("", completion, answer, metadata)]).remove(0)
    }

    #[test]
    fn every_number_exactly_once_and_the_target_exactly() {
        let row = json!({"numbers": [48, 7, 9], "target": 50});
        let row = row.as_object().unwrap();
        for (completion, wanted) in [
            ("9 + 48 - 7", 1.0),
            ("#### (48 - 7) + 9", 1.0),
            ("<answer>48-7+9</answer>", 1.0),
            ("50", 0.0),
            ("48 + 2", 0.0),
            ("48 - 7 + 9 + 7 - 7", 0.0),
            ("48 + 9", 0.0),
            ("48 - 9 + 7", 0.0),
            ("48 - 7 + 9 = 50", 0.0),
            ("48 - 7 + 9, 7 + 48 - 9", 0.0),
            ("", 0.0),
        ] {
            let verdict = score(completion, row, None);
            assert_eq!(verdict.value(), Some(wanted), "{completion}: {verdict:?}");
        }
    }

    #[test]
    fn division_is_exact() {
        let row = json!({"numbers": [8, 3, 3, 8], "target": 24});
        assert_eq!(score("8 / (3 - 8 / 3)", row.as_object().unwrap(), None).value(), Some(1.0));
        let row = json!({"numbers": [1, 3, 3], "target": 1});
        assert_eq!(score("1 / 3 * 3", row.as_object().unwrap(), None).value(), Some(1.0));
    }

    #[test]
    fn a_reference_solution_stands_in_for_numbers_and_target() {
        let empty = Map::new();
        assert_eq!(score("48 + 9 - 7", &empty, Some("9 + 48 - 7")).value(), Some(1.0));
        assert_eq!(score("50", &empty, Some("9 + 48 - 7")).value(), Some(0.0));
        assert_eq!(score("50", &empty, None).value(), None);
    }
}
