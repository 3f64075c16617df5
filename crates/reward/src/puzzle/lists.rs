//! Tasks whose answer is a list: numbers or words in an order.

use serde_json::Value;

use super::{Asked, Rule, Ruling, base, info};
use crate::find::shorten;
use crate::number::Number;
use crate::number_sorting::list;
use crate::registry::RewardInfo;

pub(crate) const NUMBER_FILTERING: RewardInfo = info(
    "number-filtering",
    "The completion's list holds the numbers that are left, in order.",
    "1 if list(completion) = list(reference) else 0",
    |options| Rule { name: "number-filtering", numeric: false, judge: same_numbers, credit: base }.build(options),
);
pub(crate) const SPIRAL_MATRIX: RewardInfo = info(
    "spiral-matrix",
    "The completion's list holds the cells in the order asked for.",
    "1 if list(completion) = list(reference) else 0",
    |options| Rule { name: "spiral-matrix", numeric: false, judge: same_numbers, credit: cells }.build(options),
);
pub(crate) const WORD_SORTING: RewardInfo = info(
    "word-sorting",
    "The completion's list holds the words in the order asked for.",
    "1 if words(completion) = words(reference) else 0",
    |options| Rule { name: "word-sorting", numeric: false, judge: same_words, credit: positions }.build(options),
);

/// A list of numbers; `[]` and nothing but spacing between brackets is an empty one.
fn numbers(text: &str) -> Option<Vec<Number>> {
    let text = text.trim();
    let inner = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    if inner.is_some_and(|inner| inner.trim().is_empty()) {
        return Some(Vec::new());
    }
    list(text)
}

fn same_numbers(answer: &str, asked: &Asked<'_>) -> Ruling {
    let Some(wanted) = numbers(asked.reference) else {
        return Ruling::Unknown("the row has no list of numbers as its reference answer");
    };
    Ruling::of(numbers(answer) == Some(wanted), || format!("is not {}", shorten(asked.reference)))
}

/// 1 for the reference; 0.1 for a Python list of its numbers.
fn cells(completion: &str, asked: &Asked<'_>) -> Option<f64> {
    let (given, wanted) = (completion.trim(), asked.reference.trim());
    if wanted.is_empty() {
        return None;
    }
    if given == wanted {
        return Some(1.0);
    }
    let items: Option<Vec<Value>> = serde_json::from_str(given).ok();
    let joined = items.map(|items| items.iter().map(Value::to_string).collect::<Vec<_>>().join(" "));
    Some(if joined.as_deref() == Some(wanted) { 0.1 } else { 0.0 })
}

/// `one, two`, `one two`, `["one", "two"]`.
fn words(text: &str) -> Vec<&str> {
    let text = text.trim();
    let text = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(text);
    let separated: Vec<&str> =
        if text.contains(',') { text.split(',').collect() } else { text.split_whitespace().collect() };
    separated
        .into_iter()
        .map(|word| word.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')))
        .collect()
}

fn same_words(answer: &str, asked: &Asked<'_>) -> Ruling {
    let wanted = words(asked.reference);
    if wanted.iter().all(|word| word.is_empty()) {
        return Ruling::Unknown("the row has no list of words as its reference answer");
    }
    Ruling::of(words(answer) == wanted, || format!("is not {}", shorten(asked.reference)))
}

/// The share of places that hold the right word, at least 0.2 for the same words in another order.
fn positions(completion: &str, asked: &Asked<'_>) -> Option<f64> {
    let known: Option<Vec<&str>> = asked
        .metadata
        .get("sorted_words")
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(Value::as_str).collect());
    let wanted = known.unwrap_or_else(|| asked.reference.split(',').map(str::trim).collect());
    if completion.is_empty() {
        return Some(0.0);
    }
    let mut given: Vec<&str> = completion.split(',').map(str::trim).collect();
    if given == wanted {
        return Some(1.0);
    }
    let right = given.iter().zip(&wanted).filter(|(given, wanted)| given == wanted).count();
    let share = right as f64 / wanted.len() as f64;
    let mut sorted = wanted;
    given.sort_unstable();
    sorted.sort_unstable();
    Some(if given == sorted { share.max(0.2) } else { share })
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use crate::{Attempt, build};

    #[test]
    fn lists_are_compared_in_order_and_in_whole() {
        for (reward, completion, answer, wanted) in [
            ("number-filtering", "#### []", "[]", 1.0),
            ("number-filtering", "['9', '7.50']", "[9, 7.5]", 1.0),
            ("number-filtering", "[7.5, 9]", "[9, 7.5]", 0.0),
            ("number-filtering", "[9, 7.5, 3]", "[9, 7.5]", 0.0),
            ("number-filtering", "[]", "[9]", 0.0),
            ("number-filtering", "", "[]", 0.0),
            ("spiral-matrix", "[1, 2, 4, 3]", "1 2 4 3", 1.0),
            ("spiral-matrix", "1 2 3 4", "1 2 4 3", 0.0),
            ("spiral-matrix", "[x for x in [1, 2, 4, 3]]", "1 2 4 3", 0.0),
            ("word-sorting", "bee, apple, Cat", "bee, apple, Cat", 1.0),
            ("word-sorting", "#### ['bee', 'apple', 'Cat']", "bee, apple, Cat", 1.0),
            ("word-sorting", "bee, apple, cat", "bee, apple, Cat", 0.0),
            ("word-sorting", "apple, bee, Cat", "bee, apple, Cat", 0.0),
            ("word-sorting", "bee, apple", "bee, apple, Cat", 0.0),
        ] {
            let reward = build(reward, &json!({})).unwrap();
            let verdict = reward.score(&[Attempt::new("", completion, Some(answer), &Map::new())]).remove(0);
            assert_eq!(verdict.value(), Some(wanted), "{completion}: {verdict:?}");
        }
    }
}
