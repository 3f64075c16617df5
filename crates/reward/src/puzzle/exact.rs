//! Tasks whose answer is one number or one text, and nothing else will do.

use std::sync::LazyLock;

use regex::Regex;

use super::{Asked, Rule, Ruling, base, info};
use crate::chain_sum::{Decimal, decimal_credit};
use crate::find::shorten;
use crate::number::parse_number;
use crate::registry::RewardInfo;

type Credit = fn(&str, &Asked<'_>) -> Option<f64>;

/// The answer is the number of the reference.
const fn number(name: &'static str, credit: Credit) -> Rule {
    Rule { name, numeric: true, judge: same_number, credit }
}

/// The answer is the text of the reference, in whatever case.
const fn text(name: &'static str, credit: Credit) -> Rule {
    Rule { name, numeric: false, judge: same_text, credit }
}

fn same_number(answer: &str, asked: &Asked<'_>) -> Ruling {
    let Some(wanted) = parse_number(asked.reference) else {
        return Ruling::Unknown("the row has no number as its reference answer");
    };
    Ruling::of(parse_number(answer) == Some(wanted), || format!("is not {}", shorten(asked.reference)))
}

/// Spacing, quotes and a full stop around an answer do not matter.
fn bare(text: &str) -> String {
    let text = text.trim_matches(|c: char| matches!(c, '"' | '\'' | '`' | '*' | '.' | '“' | '”') || c.is_whitespace());
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn same_text(answer: &str, asked: &Asked<'_>) -> Ruling {
    let wanted = bare(asked.reference);
    if wanted.is_empty() {
        return Ruling::Unknown("the row has no reference answer");
    }
    Ruling::of(bare(answer).to_lowercase() == wanted.to_lowercase(), || format!("is not {}", shorten(&wanted)))
}

fn same_text_and_case(answer: &str, asked: &Asked<'_>) -> Ruling {
    let wanted = bare(asked.reference);
    if wanted.is_empty() {
        return Ruling::Unknown("the row has no reference answer");
    }
    Ruling::of(bare(answer) == wanted, || format!("is not {}", shorten(&wanted)))
}

/// `-5` for `5` earns ½.
fn decimal(completion: &str, asked: &Asked<'_>) -> Option<f64> {
    (!asked.reference.is_empty()).then(|| decimal_credit(completion, asked.reference))
}

/// 1 for an equal decimal, else 0.
fn equal_decimal(completion: &str, asked: &Asked<'_>) -> Option<f64> {
    let wanted = Decimal::parse(asked.reference)?;
    Some(f64::from(u8::from(Decimal::parse(completion) == Some(wanted))))
}

/// The first number of the text counts, without its sign where no letter stands before it: 1 if it is the reference, 0.01
/// for any other, 0 for none.
fn first_number(completion: &str, asked: &Asked<'_>) -> Option<f64> {
    static NUMBER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\b-?\d+(?:\.\d+)?\b").ok());
    let wanted: f64 = asked.reference.trim().parse().ok()?;
    let found = NUMBER.as_ref().and_then(|number| number.find(completion));
    let given = found.and_then(|found| found.as_str().parse::<f64>().ok());
    Some(given.map_or(0.0, |given| if given == wanted { 1.0 } else { 0.01 }))
}

/// Python's `bool` of a text: whatever is not empty is as true as the reference.
fn anything(completion: &str, asked: &Asked<'_>) -> Option<f64> {
    (!asked.reference.is_empty()).then(|| f64::from(u8::from(!completion.is_empty())))
}

fn without_spaces(completion: &str, asked: &Asked<'_>) -> Option<f64> {
    let packed = |text: &str| text.replace(' ', "").trim().to_lowercase();
    (!asked.reference.is_empty()).then(|| f64::from(u8::from(packed(completion) == packed(asked.reference))))
}

/// 1 for the reference, 0.1 for a Python list of its letters.
fn letters(completion: &str, asked: &Asked<'_>) -> Option<f64> {
    if asked.reference.is_empty() {
        return None;
    }
    if completion == asked.reference {
        return Some(1.0);
    }
    let joined = match serde_json::from_str::<serde_json::Value>(&completion.replace('\'', "\"")) {
        Ok(serde_json::Value::Array(list)) => list.iter().map(|item| item.as_str()).collect::<Option<String>>(),
        Ok(serde_json::Value::String(text)) => Some(text),
        _ => None,
    };
    Some(if joined.as_deref() == Some(asked.reference) { 0.1 } else { 0.0 })
}

const NUMBER: &str = "1 if answer(completion) = reference as numbers else 0";
const TEXT: &str = "1 if answer(completion) = reference, in any case, else 0";

pub(crate) const BASIC_ARITHMETIC: RewardInfo =
    info("basic-arithmetic", "The completion's number is what the expression comes to.", NUMBER, |options| {
        number("basic-arithmetic", base).build(options)
    });
pub(crate) const PRODUCTS: RewardInfo =
    info("products", "The completion's number is the product.", NUMBER, |options| {
        number("products", decimal).build(options)
    });
pub(crate) const GCD: RewardInfo =
    info("gcd", "The completion's number is the greatest common divisor.", NUMBER, |options| {
        number("gcd", base).build(options)
    });
pub(crate) const LCM: RewardInfo =
    info("lcm", "The completion's number is the least common multiple.", NUMBER, |options| {
        number("lcm", base).build(options)
    });
pub(crate) const DECIMAL_CHAIN_SUM: RewardInfo =
    info("decimal-chain-sum", "The completion's number is the sum, exactly.", NUMBER, |options| {
        number("decimal-chain-sum", equal_decimal).build(options)
    });
pub(crate) const COUNT_BITS: RewardInfo =
    info("count-bits", "The completion's number is the count of ones.", NUMBER, |options| {
        number("count-bits", base).build(options)
    });
pub(crate) const LEG_COUNTING: RewardInfo =
    info("leg-counting", "The completion's number is the count of legs.", NUMBER, |options| {
        number("leg-counting", base).build(options)
    });
pub(crate) const GSM_SYMBOLIC: RewardInfo =
    info("gsm-symbolic", "The completion's number is the answer to the story.", NUMBER, |options| {
        number("gsm-symbolic", first_number).build(options)
    });
pub(crate) const SIMPLE_EQUATIONS: RewardInfo =
    info("simple-equations", "The completion's number solves the equation.", NUMBER, |options| {
        number("simple-equations", base).build(options)
    });
pub(crate) const LETTER_COUNTING: RewardInfo =
    info("letter-counting", "The completion's number is how often the letter occurs.", NUMBER, |options| {
        number("letter-counting", base).build(options)
    });
pub(crate) const COUNT_PRIMES: RewardInfo =
    info("count-primes", "The completion's number is the count of primes.", NUMBER, |options| {
        number("count-primes", base).build(options)
    });
pub(crate) const NUMBER_SEQUENCE: RewardInfo =
    info("number-sequence", "The completion's number comes next.", NUMBER, |options| {
        number("number-sequence", base).build(options)
    });
pub(crate) const MAZE: RewardInfo =
    info("maze", "The completion's number is the length of the shortest way.", NUMBER, |options| {
        number("maze", base).build(options)
    });
pub(crate) const LARGEST_ISLAND: RewardInfo =
    info("largest-island", "The completion's number is the size of the largest island.", NUMBER, |options| {
        number("largest-island", base).build(options)
    });
pub(crate) const SIMPLE_GEOMETRY: RewardInfo =
    info("simple-geometry", "The completion's number is the last angle.", NUMBER, |options| {
        number("simple-geometry", base).build(options)
    });
pub(crate) const BASE_CONVERSION: RewardInfo =
    info("base-conversion", "The completion's digits are the number in the base asked for.", TEXT, |options| {
        text("base-conversion", base).build(options)
    });
pub(crate) const CAESAR_CIPHER: RewardInfo =
    info("caesar-cipher", "The completion's text is the deciphered one.", TEXT, |options| {
        text("caesar-cipher", base).build(options)
    });
pub(crate) const COURSE_SCHEDULE: RewardInfo =
    info("course-schedule", "The completion's word is the right one of True and False.", TEXT, |options| {
        text("course-schedule", base).build(options)
    });
pub(crate) const GAME_OF_LIFE_HALTING: RewardInfo =
    info("game-of-life-halting", "The completion's word is the right one of True and False.", TEXT, |options| {
        text("game-of-life-halting", anything).build(options)
    });
pub(crate) const NEEDLE_HAYSTACK: RewardInfo =
    info("needle-haystack", "The completion's name is the one asked for.", TEXT, |options| {
        text("needle-haystack", without_spaces).build(options)
    });
pub(crate) const STRING_INSERTION: RewardInfo = info(
    "string-insertion",
    "The completion's string is the given one with the letters inserted.",
    "1 if answer(completion) = reference else 0",
    |options| {
        Rule { name: "string-insertion", numeric: false, judge: same_text_and_case, credit: letters }.build(options)
    },
);

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use crate::{Attempt, build};

    fn score(reward: &str, options: serde_json::Value, completion: &str, answer: &str) -> f32 {
        let verdict = build(reward, &options)
            .unwrap()
            .score(&[Attempt::new("", completion, Some(answer), &Map::new())])
            .remove(0);
        verdict.value().unwrap()
    }

    /// B §5.7.4: a text that merely contains the answer, and silence, earn nothing; the control is reasoning-gym's credit.
    #[test]
    fn containing_the_answer_is_not_answering() {
        let gym = || json!({"compat": "reasoning_gym"});
        for (reward, completion, answer, credit) in [
            ("gcd", "10", "1", 0.5),
            ("products", "-5", "5", 0.5),
            ("basic-arithmetic", "-5", "5", 0.5),
            ("leg-counting", "8 or 9 or 10", "10", 2.0 / 12.0),
            ("gsm-symbolic", "7", "70", 0.01),
            ("game-of-life-halting", "False", "True", 1.0),
            ("game-of-life-halting", "whatever", "True", 1.0),
            ("string-insertion", "['A', 'B']", "AB", 0.1),
        ] {
            assert_eq!(score(reward, json!({}), completion, answer), 0.0, "{reward}: {completion}");
            assert!((score(reward, gym(), completion, answer) - credit).abs() < 1e-6, "{reward}: {completion}");
            assert_eq!(score(reward, json!({}), answer, answer), 1.0, "{reward}: {answer}");
            assert_eq!(score(reward, json!({}), "", answer), 0.0);
        }
    }

    #[test]
    fn texts_are_compared_whole() {
        for (reward, completion, answer, wanted) in [
            ("caesar-cipher", "#### ice cream", "ICE CREAM", 1.0),
            ("caesar-cipher", "ICECREAM", "ICE CREAM", 0.0),
            ("course-schedule", "The answer is False.", "False", 1.0),
            ("course-schedule", "True or False", "False", 0.0),
            ("base-conversion", "1F", "1f", 1.0),
            ("base-conversion", "01f", "1f", 0.0),
            ("base-conversion", "1e3", "1000", 0.0),
            ("string-insertion", "abcda", "ABCDA", 0.0),
            ("needle-haystack", "**Ada**", "Ada", 1.0),
            ("needle-haystack", "Ada and Hugo", "Ada", 0.0),
        ] {
            assert_eq!(score(reward, json!({}), completion, answer), wanted, "{reward}: {completion}");
        }
    }

    #[test]
    fn a_row_without_an_answer_is_not_judged() {
        for reward in ["gcd", "caesar-cipher", "string-insertion"] {
            let verdict =
                build(reward, &json!({})).unwrap().score(&[Attempt::new("", "5", None, &Map::new())]).remove(0);
            assert_eq!(verdict.value(), None, "{reward}");
        }
    }
}
