//! Tasks whose answer is a small formula: a fraction, a product of primes, a complex number, an expression that makes 24.

use std::sync::LazyLock;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};
use regex::Regex;
use serde_json::Value;

use super::{Asked, LONGEST, Rule, Ruling, info, whole_numbers};
use crate::Expression;
use crate::find::shorten;
use crate::number::parse_number;
use crate::registry::RewardInfo;

pub(crate) const FRACTION_SIMPLIFICATION: RewardInfo = info(
    "fraction-simplification",
    "The completion's fraction is the given one in lowest terms.",
    "1 if answer(completion) = reference and in lowest terms else 0",
    |options| {
        Rule { name: "fraction-simplification", numeric: false, judge: lowest, credit: fraction_credit }.build(options)
    },
);
pub(crate) const PRIME_FACTORIZATION: RewardInfo = info(
    "prime-factorization",
    "The completion's factors are the primes of the number, in any order.",
    "1 if factors(completion) = primes(number) as multisets else 0",
    |options| {
        Rule { name: "prime-factorization", numeric: false, judge: factors, credit: factor_credit }.build(options)
    },
);
pub(crate) const COMPLEX_ARITHMETIC: RewardInfo = info(
    "complex-arithmetic",
    "The completion's complex number is the result, exactly.",
    "1 if answer(completion) = reference else 0",
    |options| {
        Rule { name: "complex-arithmetic", numeric: false, judge: complex, credit: complex_credit }.build(options)
    },
);
pub(crate) const PUZZLE24: RewardInfo = info(
    "puzzle24",
    "The completion's expression uses each given number exactly once and comes to 24.",
    "1 if numbers(expression) = numbers and value(expression) = 24 else 0",
    |options| Rule { name: "puzzle24", numeric: false, judge: makes_24, credit: credit_24 }.build(options),
);

fn pattern(cell: &'static LazyLock<Option<Regex>>, text: &str) -> Option<(String, String)> {
    let found = cell.as_ref()?.captures(text)?;
    Some((found.get(1).map_or("", |m| m.as_str()).to_string(), found.get(2).map_or("", |m| m.as_str()).to_string()))
}

/// Numerator and denominator of `2/3`, `\frac{2}{3}`, `\dfrac{2}{3}`; with `prefix`, whatever follows is left out.
fn fraction(text: &str, prefix: bool) -> Option<(BigInt, BigInt)> {
    static LATEX: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"(?i)^\\(?:frac|dfrac)\s*\{\s*(\d{1,40})\s*\}\s*\{\s*(\d{1,40})\s*\}").ok());
    static WHOLE: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"^\\d?frac\s*\{\s*(\d{1,40})\s*\}\s*\{\s*(\d{1,40})\s*\}$").ok());
    let text = text.trim().trim_matches('$').trim();
    if let Some((top, below)) = pattern(if prefix { &LATEX } else { &WHOLE }, text) {
        return Some((top.parse().ok()?, below.parse().ok()?));
    }
    let (top, below) = text.split_once('/')?;
    let whole = |part: &str| -> Option<BigInt> {
        let part = part.trim();
        (part.len() <= 40).then(|| part.parse().ok()).flatten()
    };
    Some((whole(top)?, whole(below)?))
}

fn lowest(answer: &str, asked: &Asked<'_>) -> Ruling {
    let Some((top, below)) = fraction(asked.reference, false).filter(|(_, below)| !below.is_zero()) else {
        return Ruling::Unknown("the row has no fraction as its reference answer");
    };
    let wanted = BigRational::new(top, below);
    let right = match fraction(answer, false) {
        Some((top, below)) => below.is_positive() && top == *wanted.numer() && below == *wanted.denom(),
        // A whole number may be written as one.
        None => wanted.denom().is_one() && parse_number(answer) == Some(wanted.clone()),
    };
    Ruling::of(right, || format!("is not {wanted} in lowest terms"))
}

/// 1 for the reference; 0.1 where numerator or denominator is the given one, 0.05 for another fraction, 0.01 for anything
/// else, silence included.
fn fraction_credit(completion: &str, asked: &Asked<'_>) -> Option<f64> {
    let known = |name: &str| asked.metadata.get(name).and_then(Value::as_i64).map(BigInt::from);
    let (low_top, low_below) = (known("simplified_numerator")?, known("simplified_denominator")?);
    let (given_top, given_below) = (known("numerator")?, known("denominator")?);
    Some(match fraction(completion, true) {
        Some((top, below)) if top == low_top && below == low_below => 1.0,
        Some((top, below)) if top == given_top || below == given_below => 0.1,
        Some(_) => 0.05,
        None => 0.01,
    })
}

/// Factors between `×`, `*`, `·` or `x`, each perhaps with a power `2^3`; `None` where anything else stands there.
fn product(text: &str) -> Option<Vec<u64>> {
    const MOST_FACTORS: usize = 128; // of a number of 64 bits there are at most 63
    let mut found = Vec::new();
    let plain = text.replace("\\times", "×").replace("\\cdot", "×").replace("**", "^");
    for part in plain.split(['×', '*', '·', 'x', '⋅']) {
        let (base, power) = match part.split_once('^') {
            Some((base, power)) => (base, power.trim().trim_matches(['{', '}']).parse::<usize>().ok()?),
            None => (part, 1),
        };
        let base = base.trim();
        if !base.bytes().all(|byte| byte.is_ascii_digit()) || power == 0 || found.len() + power > MOST_FACTORS {
            return None;
        }
        found.extend(std::iter::repeat_n(base.parse::<u64>().ok()?, power));
    }
    found.sort_unstable();
    Some(found)
}

fn factors(answer: &str, asked: &Asked<'_>) -> Ruling {
    let Some(wanted) = product(asked.reference) else {
        return Ruling::Unknown("the row has no product of primes as its reference answer");
    };
    Ruling::of(product(answer) == Some(wanted), || format!("is not {}", shorten(asked.reference)))
}

/// 1 for the primes in any order between `×`; ½ for other factors of the same product; 0.01 for other numbers. Where
/// reasoning-gym fails on text that is no number, 0; and for a text that is too long to be multiplied out.
fn factor_credit(completion: &str, asked: &Asked<'_>) -> Option<f64> {
    let read = |text: &str| -> Option<Vec<BigInt>> {
        let parts = text.split('×').map(str::trim).filter(|part| !part.is_empty());
        let mut all: Vec<BigInt> = parts.map(|part| part.parse().ok()).collect::<Option<_>>()?;
        all.sort();
        Some(all)
    };
    let wanted = Some(asked.reference).filter(|text| text.len() <= LONGEST).and_then(read)?;
    let Some(given) = Some(completion).filter(|text| text.len() <= LONGEST).and_then(read) else { return Some(0.0) };
    Some(match given {
        given if given == wanted => 1.0,
        given if given.iter().product::<BigInt>() == wanted.iter().product() => 0.5,
        _ => 0.01,
    })
}

/// Real and imaginary part of `2 - 3i`, `(5)`, `-i`, `1.5j`, as they are written; `None` for anything else.
fn complex_parts(text: &str) -> Option<(String, String)> {
    static PARTS: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"^([+-]?[0-9]{1,30}(?:\.[0-9]{0,30})?)?(?:([+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?)?)j)?$").ok()
    });
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_lowercase();
    let mut text = text.replace('−', "-").replace('i', "j").replace("*j", "j");
    while text.len() > 1 && text.starts_with('(') && text.ends_with(')') {
        text = text[1..text.len() - 1].to_string();
    }
    if text.is_empty() {
        return None;
    }
    let (real, imaginary) = pattern(&PARTS, &text)?;
    // `5j` must not be read as 5 with an imaginary part of j: a second part needs a sign.
    if text.ends_with('j') && !real.is_empty() && !imaginary.starts_with(['+', '-']) {
        return Some(("0".into(), format!("{real}{imaginary}")));
    }
    let imaginary = match imaginary.as_str() {
        _ if !text.ends_with('j') => "0".to_string(),
        "" | "+" => "1".to_string(),
        "-" => "-1".to_string(),
        part => part.to_string(),
    };
    Some((if real.is_empty() { "0".into() } else { real }, imaginary))
}

fn complex(answer: &str, asked: &Asked<'_>) -> Ruling {
    let exact = |text: &str| {
        // `3i + 2` is as good as `2 + 3i`.
        let turned = text.split_once('i').filter(|(_, rest)| rest.contains(['+', '-']));
        let turned = turned.map(|(imaginary, real)| {
            let sign = if imaginary.trim_start().starts_with(['+', '-']) { "" } else { "+" };
            format!("{}{sign}{}i", real.replace(' ', "").trim_start_matches('+'), imaginary.replace(' ', ""))
        });
        let (real, imaginary) = complex_parts(turned.as_deref().unwrap_or(text))?;
        let number = |text: &str| parse_number(text.trim_start_matches('+').trim_end_matches('.'));
        Some((number(&real)?, number(&imaginary)?))
    };
    let Some(wanted) = exact(asked.reference) else {
        return Ruling::Unknown("the row has no complex number as its reference answer");
    };
    Ruling::of(exact(answer) == Some(wanted), || format!("is not {}", shorten(asked.reference)))
}

/// e to the minus distance of the two numbers.
fn complex_credit(completion: &str, asked: &Asked<'_>) -> Option<f64> {
    let result = whole_numbers(asked.metadata.get("result"))?;
    let [real, imaginary] = result.as_slice() else { return None };
    let parts = complex_parts(completion)
        .and_then(|(real, imaginary)| Some((real.parse::<f64>().ok()?, imaginary.parse::<f64>().ok()?)));
    let distance = parts.map(|(a, b)| (a - *real as f64).hypot(b - *imaginary as f64));
    Some(distance.map_or(0.0, |distance| (-distance).exp().min(1.0)))
}

fn makes_24(answer: &str, asked: &Asked<'_>) -> Ruling {
    let known = whole_numbers(asked.metadata.get("numbers"));
    let Some(mut wanted) = known.or_else(|| Expression::parse(asked.reference).ok().map(|solution| solution.numbers))
    else {
        return Ruling::Unknown("the row has neither `numbers` nor an expression as its reference answer");
    };
    wanted.sort_unstable();
    let expression = match Expression::parse(answer) {
        Ok(expression) => expression,
        Err(error) => return Ruling::Wrong(format!("is no expression: {error}")),
    };
    let mut used = expression.numbers;
    used.sort_unstable();
    if used != wanted {
        return Ruling::Wrong(format!("uses {used:?}, not {wanted:?} each once"));
    }
    Ruling::of(expression.value == BigRational::from_integer(24.into()), || {
        format!("comes to {}, not 24", expression.value)
    })
}

/// 1 for four numbers in the task's range, whichever they are, that come to 24 when the rest behind the point is cut off;
/// 0.01 for anything else, silence included.
fn credit_24(completion: &str, asked: &Asked<'_>) -> Option<f64> {
    let range = asked.metadata.get("difficulty").and_then(|difficulty| whole_numbers(difficulty.get("value")));
    let (low, high) = match range.as_deref() {
        Some([low, high]) => (*low, *high),
        _ => (1, 10),
    };
    let Ok(expression) = Expression::parse(completion.trim()) else { return Some(0.01) };
    let whole = expression.value.to_integer().to_i64() == Some(24);
    let fine = expression.numbers.len() == 4 && expression.numbers.iter().all(|number| (low..=high).contains(number));
    Some(if whole && fine { 1.0 } else { 0.01 })
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use crate::{Attempt, build};

    fn score(reward: &str, options: Value, completion: &str, answer: &str, metadata: Value) -> f32 {
        let metadata = metadata.as_object().cloned().unwrap_or_else(Map::new);
        let verdict =
            build(reward, &options).unwrap().score(&[Attempt::new("", completion, Some(answer), &metadata)]).remove(0);
        verdict.value().unwrap()
    }

    #[test]
    fn formulas_are_judged_by_what_they_mean() {
        for (reward, completion, answer, wanted) in [
            ("fraction-simplification", "#### 23/131", "23/131", 1.0),
            ("fraction-simplification", r"\boxed{\frac{23}{131}}", r"$\dfrac{23}{131}$", 1.0),
            ("fraction-simplification", "46/262", "23/131", 0.0),
            ("fraction-simplification", "-23/-131", "23/131", 0.0),
            ("fraction-simplification", "3", "3/1", 1.0),
            ("fraction-simplification", "6/2", "3/1", 0.0),
            ("fraction-simplification", "1/0", "3/1", 0.0),
            ("prime-factorization", "2 × 2 × 3", "2 × 2 × 3", 1.0),
            ("prime-factorization", "3*2*2", "2 × 2 × 3", 1.0),
            ("prime-factorization", "2^2 * 3", "2 × 2 × 3", 1.0),
            ("prime-factorization", "4 × 3", "2 × 2 × 3", 0.0),
            ("prime-factorization", "1 × 2 × 2 × 3", "2 × 2 × 3", 0.0),
            ("prime-factorization", "2^99999999999999999999", "2", 0.0),
            ("complex-arithmetic", "5 + i", "5 + i", 1.0),
            ("complex-arithmetic", "5.0 + 1.0i", "5 + i", 1.0),
            ("complex-arithmetic", "i + 5", "5 + i", 1.0),
            ("complex-arithmetic", "5 + i + 1", "5 + i", 0.0),
            ("complex-arithmetic", "-2i", "-2.00i", 1.0),
            ("complex-arithmetic", "2i", "-2i", 0.0),
            ("complex-arithmetic", "7", "7.00", 1.0),
        ] {
            assert_eq!(score(reward, json!({}), completion, answer, json!({})), wanted, "{reward}: {completion}");
        }
    }

    /// B §5.7.4: numbers that were not given, a rest that is cut off, silence. The control is reasoning-gym's credit.
    #[test]
    fn twenty_four_is_made_of_the_given_numbers() {
        let row = || json!({"numbers": [4, 3, 9, 8]});
        let gym = || json!({"compat": "reasoning_gym"});
        for (completion, credit) in [("6*4*1*1", 1.0), ("7*7/2*1", 1.0), ("", 0.01), ("24", 0.01)] {
            assert_eq!(score("puzzle24", json!({}), completion, "8 * (9 - 4) - 3", row()), 0.0, "{completion}");
            assert_eq!(score("puzzle24", gym(), completion, "", row()), credit, "{completion}");
        }
        assert_eq!(score("puzzle24", json!({}), "(9 - 4 - 3 + 1) * 8", "", json!({"numbers": [9, 4, 3, 1, 8]})), 1.0);
        assert_eq!(score("puzzle24", json!({}), "8 / (3 - 8 / 3)", "", json!({"numbers": [8, 3, 8, 3]})), 1.0);
        assert_eq!(score("puzzle24", json!({}), "__import__('os').getpid()", "", row()), 0.0);
    }

    #[test]
    fn silence_earns_nothing() {
        let row =
            json!({"numerator": 46, "denominator": 262, "simplified_numerator": 23, "simplified_denominator": 131});
        assert_eq!(score("fraction-simplification", json!({}), "", "23/131", row.clone()), 0.0);
        assert_eq!(score("fraction-simplification", json!({"compat": "reasoning_gym"}), "", "23/131", row), 0.01);
    }
}
