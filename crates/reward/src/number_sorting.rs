//! `number-sorting`: the same numbers in the order asked for.

use lapidary_core::Verdict;

use crate::find::{COMPAT, EXTRACT, Finder, SEVERAL, compared, reasoning_gym, shorten};
use crate::number::{Number, parse_number};
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "number-sorting",
    summary: "The completion's list holds the reference's numbers in the reference's order.",
    formula: "1 if list(completion) = list(reference) else 0",
    options: &[EXTRACT, SEVERAL, COMPAT],
    build: |options| Ok(Box::new(NumberSorting { finder: Finder::of(options), compat: reasoning_gym(options) })),
};

/// More numbers than this are not read from one answer.
const MOST_NUMBERS: usize = 4096;

#[derive(Debug)]
struct NumberSorting {
    finder: Finder,
    compat: bool,
}

impl NumberSorting {
    fn judge(&self, attempt: &Attempt<'_>) -> Verdict {
        let reference = attempt.answer.unwrap_or("");
        let Some(wanted) = list(reference) else {
            return Verdict::none("the row has no list of numbers as its reference answer");
        };
        if self.compat {
            let score = sorted_credit(attempt.completion, reference);
            return Verdict::score(score, format!("against {} (reasoning-gym)", shorten(reference)));
        }
        match self.finder.find(attempt.completion, false) {
            Err(verdict) => verdict,
            Ok((answer, mark)) => compared(list(answer).as_ref() == Some(&wanted), answer, mark, reference),
        }
    }
}

impl Reward for NumberSorting {
    fn name(&self) -> &str {
        INFO.name
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        attempts.iter().map(|attempt| self.judge(attempt)).collect()
    }
}

/// `['3', '1']`, `[3.0, 1]`, `3, 1`, `3 1`: numbers and nothing else. A comma always separates: `1,000` are two numbers.
pub(crate) fn list(text: &str) -> Option<Vec<Number>> {
    let text = text.trim().trim_end_matches('.');
    let text = match text.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None => text,
    };
    let items: Vec<&str> =
        if text.contains(',') { text.split(',').collect() } else { text.split_whitespace().collect() };
    if items.is_empty() || items.len() > MOST_NUMBERS {
        return None;
    }
    let bare = |item: &str| {
        let item = item.trim();
        let quoted = |mark: char| item.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
        let item = quoted('\'').or_else(|| quoted('"')).unwrap_or(item);
        let numeral = item.strip_prefix('-').unwrap_or(item);
        let plain = numeral.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        (plain && numeral.bytes().any(|byte| byte.is_ascii_digit())).then(|| parse_number(item)).flatten()
    };
    items.into_iter().map(bare).collect()
}

/// reasoning-gym's score of a sorted list: 1 where it reads as JSON once `'` is made `"`, has as many numbers as the
/// reference, is sorted as the reference is, and each number lies within 1 of the reference's; else 0.
fn sorted_credit(completion: &str, reference: &str) -> f32 {
    let floats = |text: &str| -> Option<Vec<f64>> {
        let list: Vec<serde_json::Value> = serde_json::from_str(&text.replace('\'', "\"")).ok()?;
        let number = |value: &serde_json::Value| match value {
            serde_json::Value::String(text) => text.trim().parse::<f64>().ok(),
            other => other.as_f64(),
        };
        list.iter().map(number).collect()
    };
    let (Some(given), Some(wanted)) = (floats(completion), floats(reference)) else { return 0.0 };
    let falling = wanted.len() > 1 && wanted.first() > wanted.last();
    let sorted = given.windows(2).all(|pair| if falling { pair[0] >= pair[1] } else { pair[0] <= pair[1] });
    let near = given.len() == wanted.len() && given.iter().zip(&wanted).all(|(a, b)| (a - b).abs() <= 1.0);
    f32::from(u8::from(sorted && near))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_wants_the_same_numbers_in_the_same_order() {
        let reward = crate::build("number-sorting", &serde_json::json!({})).unwrap();
        let metadata = serde_json::Map::new();
        for (completion, score) in [
            ("['37.0', '12.0', '1.0']", 1.0),
            ("[37, 12, 1]", 1.0),
            ("37 12 1", 1.0),
            ("37, 12, 1.", 1.0),
            ("#### 37, 12, 1", 1.0),
            ("[37.9, 12.9, 1.9]", 0.0),
            ("[1, 12, 37]", 0.0),
            ("[37, 12]", 0.0),
            ("[37, 12, 1, 1]", 0.0),
            ("[37, 12, 1", 0.0),
            ("37 12 1 dollars", 0.0),
            ("[37, 12, 1] or [1, 12, 37]", 0.0),
        ] {
            let attempt = Attempt::new("", completion, Some("['37.0', '12.0', '1.0']"), &metadata);
            let verdict = &reward.score(&[attempt])[0];
            assert_eq!(verdict.value(), Some(score), "{completion}: {verdict:?}");
        }
    }
}
