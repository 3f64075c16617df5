//! What a reward is tested on: cases that somebody wrote, and cases that plain data stands for.

use std::path::Path;

use lapidary_core::{Item, Result};
use lapidary_reward::jsonl::Line;
use lapidary_reward::{Example, parse_number, reference_answer};
use serde_json::{Map, Value};

use super::reward_test::{Case, Expected};

/// Keys that make a line one of cases.
pub(super) const CASE_KEYS: &[&str] = &["good", "bad", "score"];
/// Columns with a solution, in data sets that have no completion.
const SOLUTIONS: &[&str] = &["canonical_solution", "code", "reference_solution"];

/// The cases of a line.
pub(super) fn cases_of(line: &Line, mut map: Map<String, Value>) -> Result<Vec<Case>> {
    let row = format!("{}:{}", Path::new(&line.path).display(), line.number);
    let score = map.shift_remove("score");
    let mut texts = |key: &str| match map.shift_remove(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(text @ Value::String(_)) => Ok(vec![text]),
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => Ok(list),
        Some(other) => Err(line.wrong(key, "a list of texts", &other)),
    };
    let (good, bad) = (texts("good")?, texts("bad")?);
    let example = |completion: Option<Value>| {
        let mut map = map.clone();
        if let Some(completion) = completion {
            map.insert("completion".into(), completion);
        }
        Example::parse(&Line { text: Value::Object(map).to_string(), ..line.clone() })
    };
    let mut cases = Vec::new();
    match score {
        None | Some(Value::Null) => {}
        Some(Value::Number(score)) => {
            let expected = Expected::Score(score.as_f64().unwrap_or(f64::NAN));
            cases.push(Case { row: row.clone(), kind: "scored", expected, example: example(None)? });
        }
        Some(other) => return Err(line.wrong("score", "a number", &other)),
    }
    for (kind, expected, texts) in [("good", Expected::Pass, good), ("bad", Expected::Fail, bad)] {
        for text in texts {
            cases.push(Case { row: row.clone(), kind, expected, example: example(Some(text))? });
        }
    }
    if cases.is_empty() {
        return Err(line.missing("case", CASE_KEYS, &map));
    }
    Ok(cases)
}

/// The cases that plain rows stand for.
pub(super) fn from_items(items: &[Item], of_form: bool) -> Vec<Case> {
    let references: Vec<Option<String>> = items.iter().map(reference).collect();
    let mut cases = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let Some(right) = &references[at] else { continue };
        let mut push = |kind, expected, completion: String| {
            let example = Example {
                prompt: item.prompt.plain(),
                tokens: completion.split_whitespace().count(),
                completion,
                answer: item.answer.clone(),
                metadata: item.metadata.clone(),
                truncated: false,
                group: Vec::new(),
                first: None,
            };
            cases.push(Case { row: item.id.clone(), kind, expected, example });
        };
        push("reference", Expected::Pass, right.clone());
        if of_form {
            continue;
        }
        push("empty", Expected::Fail, String::new());
        if let Some(mutated) = item.answer.as_deref().and_then(|answer| mutated(answer, right)) {
            push("mutated", Expected::Fail, mutated);
        }
        if let Some(foreign) = foreign(items, &references, at) {
            push("foreign", Expected::Fail, foreign);
        }
    }
    cases
}

/// What solves a row.
fn reference(item: &Item) -> Option<String> {
    let column = || SOLUTIONS.iter().find_map(|column| item.metadata.get(*column)?.as_str().map(String::from));
    item.completion.clone().or_else(|| item.answer.clone()).or_else(column)
}

/// The reference with one character of its answer changed: the last digit, or the last letter where there is none.
fn mutated(answer: &str, reference: &str) -> Option<String> {
    let answer = reference_answer(answer).trim();
    let last = |fits: fn(char) -> bool| answer.char_indices().rfind(|(_, letter)| fits(*letter));
    let (at, old) = last(|c| c.is_ascii_digit()).or_else(|| last(|c| c.is_ascii_alphabetic()))?;
    let new = match old {
        '9' | 'z' | 'Z' => char::from(old as u8 - 1),
        other => char::from(other as u8 + 1),
    };
    let changed = format!("{}{new}{}", &answer[..at], &answer[at + 1..]);
    if parse_number(answer).is_some() && parse_number(answer) == parse_number(&changed) {
        return None; // 0/5 and 0/6
    }
    Some(match reference.rfind(answer) {
        Some(start) => format!("{}{changed}{}", &reference[..start], &reference[start + answer.len()..]),
        None => changed,
    })
}

/// The reference of the next row that has another answer and another reference.
fn foreign(items: &[Item], references: &[Option<String>], at: usize) -> Option<String> {
    const TRIED: usize = 64; // a data set of one answer has no foreign one
    let plain = |item: &Item| item.answer.as_deref().map(|answer| reference_answer(answer).trim().to_lowercase());
    let own = plain(&items[at]);
    (1..items.len().min(TRIED)).map(|step| (at + step) % items.len()).find_map(|other| {
        let differs = references[other] != references[at] && (own.is_none() || plain(&items[other]) != own);
        references[other].clone().filter(|_| differs)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_character_of_the_answer_is_changed_where_it_stands() {
        assert_eq!(mutated("72", "so\n#### 72").as_deref(), Some("so\n#### 73"));
        assert_eq!(mutated("6*12=72\n#### 72", "6*12=72\n#### 72").as_deref(), Some("6*12=72\n#### 73"));
        assert_eq!(mutated("9", "9").as_deref(), Some("8"));
        assert_eq!(mutated("Paris", "It is Paris.").as_deref(), Some("It is Parit."));
        assert_eq!(mutated("5 apples", "five").as_deref(), Some("6 apples"));
        assert_eq!((mutated("0/5", "0/5"), mutated("—", "—")), (None, None));
    }
}
