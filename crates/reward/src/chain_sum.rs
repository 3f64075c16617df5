//! `chain-sum`: the sum, exactly.

use lapidary_core::Verdict;

use crate::find::{COMPAT, EXTRACT, Finder, SEVERAL, compared, reasoning_gym, shorten};
use crate::number::parse_number;
use crate::registry::RewardInfo;
use crate::{Attempt, Reward, reference_answer};

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "chain-sum",
    summary: "The completion's number is the sum asked for.",
    formula: "1 if answer(completion) = sum else 0",
    options: &[EXTRACT, SEVERAL, COMPAT],
    build: |options| Ok(Box::new(ChainSum { finder: Finder::of(options), compat: reasoning_gym(options) })),
};

#[derive(Debug)]
struct ChainSum {
    finder: Finder,
    compat: bool,
}

impl ChainSum {
    fn judge(&self, attempt: &Attempt<'_>) -> Verdict {
        let reference = attempt.answer.map_or("", reference_answer);
        if self.compat && !reference.is_empty() {
            let score = decimal_credit(attempt.completion, reference);
            return Verdict::score(score as f32, format!("against {} (reasoning-gym)", shorten(reference)));
        }
        let Some(sum) = parse_number(reference) else {
            return Verdict::none("the row has no number as its reference answer");
        };
        match self.finder.find(attempt.completion, true) {
            Err(verdict) => verdict,
            Ok((answer, mark)) => compared(parse_number(answer) == Some(sum), answer, mark, reference),
        }
    }
}

impl Reward for ChainSum {
    fn name(&self) -> &str {
        INFO.name
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        attempts.iter().map(|attempt| self.judge(attempt)).collect()
    }
}

/// reasoning-gym's score of a number: 1 for an equal decimal; where the text merely contains the reference, the share
/// of its characters that the reference makes up; else 0. (So `-5` for `5` earns ½: do not train on it.)
pub(crate) fn decimal_credit(completion: &str, reference: &str) -> f64 {
    let (answer, reference) = (completion.replace(',', ""), reference.replace(',', ""));
    if let (Some(given), Some(wanted)) = (Decimal::parse(&answer), Decimal::parse(&reference))
        && given == wanted
    {
        return 1.0;
    }
    if answer.is_empty() || !answer.contains(&reference) {
        return 0.0;
    }
    reference.chars().count() as f64 / answer.chars().count() as f64
}

/// A decimal number in its one normal form: digits without zeros at either end, times a power of ten.
#[derive(Debug, PartialEq)]
pub(crate) struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// What Python's `Decimal` reads, but for infinities and NaN: sign, digits, point, power of ten.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (mantissa, power) = match unsigned.find(['e', 'E']) {
            Some(at) => (&unsigned[..at], unsigned[at + 1..].parse::<i64>().ok()?),
            None => (unsigned, 0),
        };
        let (whole, places) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{places}");
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits = all.trim_end_matches('0');
        let dropped = (all.len() - digits.len()) as i64;
        let digits = digits.trim_start_matches('0').to_string();
        if digits.is_empty() {
            return Some(Self { negative: false, digits, exponent: 0 });
        }
        let exponent = power.checked_sub(places.len() as i64)?.checked_add(dropped)?;
        Some(Self { negative: text.starts_with('-'), digits, exponent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasoning_gyms_credit_for_numbers() {
        for (completion, reference, credit) in [
            ("+01,000.00", "1000", 1.0),
            ("1e3", "1000", 1.0),
            ("-0", "0", 1.0),
            ("-5", "5", 0.5),
            ("x1000", "1000", 0.8),
            ("10001", "1000", 0.8),
            ("", "5", 0.0),
            ("6", "5", 0.0),
            ("1e99999999999999999999", "5", 0.0),
        ] {
            assert_eq!(decimal_credit(completion, reference), credit, "{completion}");
        }
    }

    #[test]
    fn strict_is_all_or_nothing() {
        let reward = crate::build("chain-sum", &serde_json::json!({})).unwrap();
        let metadata = serde_json::Map::new();
        for (completion, score) in
            [("19", 1.0), ("19\n", 1.0), ("#### 19", 1.0), ("12+7=19", 1.0), ("-19", 0.0), ("18 19", 0.0), ("190", 0.0)]
        {
            let verdict = &reward.score(&[Attempt::new("12+7=", completion, Some("19"), &metadata)])[0];
            assert_eq!(verdict.value(), Some(score), "{completion}: {verdict:?}");
        }
    }
}
