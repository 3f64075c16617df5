//! Which parts of a completion are its answer.

use super::node::Node;
use super::parse::parse;
use crate::extract::{Extraction, MOST_MARKS, Mark, after_thought, boxed, extract, formulas, marked};

/// The answers that the first kind of mark marks, in order, each once.
#[derive(Debug, PartialEq)]
pub(super) struct Answers<'a> {
    pub(super) all: Vec<&'a str>,
    pub(super) mark: Mark,
    /// Whether there are more than are looked at.
    pub(super) more: bool,
}

/// Looks for the marks in the given order; the first kind that occurs decides.
pub(super) fn answers<'a>(completion: &'a str, order: &[Mark], numeric: bool, last: bool) -> Option<Answers<'a>> {
    let text = after_thought(completion);
    for (index, &mark) in order.iter().enumerate() {
        let (found, mark, listing) = match mark {
            Mark::Boxed => (joined_boxes(text), mark, false),
            Mark::LastMath => {
                let formula = joined_formulas(text);
                // of the last formula and the last number, the later one, where both may be taken
                let number =
                    (last && order.get(index + 1) == Some(&Mark::LastNumber)).then(|| last_number(text, numeric, true));
                match (formula, number.and_then(|(found, _)| found.last().copied())) {
                    (Some(formula), Some(number)) if end(text, number) > end(text, formula) => {
                        (vec![number], Mark::LastNumber, false)
                    }
                    (formula, _) => (formula.into_iter().collect(), mark, false),
                }
            }
            Mark::LastNumber => {
                let (found, listing) = last_number(text, numeric, last);
                (found, mark, listing)
            }
            _ => (marked(text, mark, numeric), mark, false),
        };
        if found.is_empty() {
            continue;
        }
        let more = listing || found.len() > MOST_MARKS;
        let mut all: Vec<&str> = Vec::new();
        for answer in found {
            if !all.contains(&answer) {
                all.push(answer);
            }
        }
        return Some(Answers { all, mark, more });
    }
    None
}

/// Where a part of a text ends.
fn end(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize + part.len()).saturating_sub(text.as_ptr() as usize)
}

/// The number of the last line, and whether it is one of several; the whole line where it is a number.
fn last_number(text: &str, numeric: bool, last: bool) -> (Vec<&str>, bool) {
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("");
    if numeric && matches!(parse(line), Ok(Node::Number { .. })) {
        return (vec![line], false);
    }
    match extract(text, &[Mark::LastNumber], numeric, last) {
        // the digits of AB2C are no number
        Extraction::Found(answer, _) => {
            let start = end(text, answer) - answer.len();
            let alone = !text[..start].ends_with(|c: char| c.is_alphabetic());
            (Vec::from_iter(alone.then_some(answer)), false)
        }
        Extraction::Several(all, _) => (all, true),
        Extraction::Missing => (Vec::new(), false),
    }
}

/// Boxes; those that only "and", "or", commas and a word of unit separate are one answer with several members.
pub(super) fn joined_boxes(text: &str) -> Vec<&str> {
    let found = boxed(text);
    let mut groups = Vec::new();
    let mut start = 0;
    for index in 0..found.len() {
        let next = found.get(index + 1);
        if next.is_some_and(|next| connects(&text[found[index].all.end..next.all.start], true)) {
            continue;
        }
        groups.push(if start == index {
            text[found[index].inside.clone()].trim()
        } else {
            &text[found[start].all.start..found[index].all.end]
        });
        start = index + 1;
    }
    groups
}

/// The last formula, with those before it that only connectives separate from it.
pub(super) fn joined_formulas(text: &str) -> Option<&str> {
    let found = formulas(text);
    let last = found.last()?;
    let mut start = last.start;
    for pair in found.windows(2).rev() {
        let between = &text[pair[0].end..pair[1].start];
        if !connects(between, false) || !(between.contains("and") || between.contains("or") || between.contains(',')) {
            break;
        }
        start = pair[0].start;
    }
    Some(text[start..last.end].trim())
}

/// Whether a text only joins: "and", "or", commas, spaces and marks of formulas; with `unit` also one word before them.
fn connects(text: &str, unit: bool) -> bool {
    const LONGEST: usize = 40;
    if text.len() > LONGEST {
        return false;
    }
    let mut plain = text.to_string();
    for mark in ["\\text", "\\quad", "\\qquad", "\\(", "\\)", "\\[", "\\]", "\\,", "\\;", "\\ "] {
        plain = plain.replace(mark, " ");
    }
    let plain = plain.replace(['$', '{', '}', ',', ';', '&'], " ");
    let words: Vec<&str> = plain.split_whitespace().collect();
    let joins = |word: &&str| matches!(*word, "and" | "or" | "AND" | "OR");
    match words.as_slice() {
        [] => true,
        [join] => joins(join),
        [word, join] => unit && word.bytes().all(|b| b.is_ascii_alphabetic()) && joins(join),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_side_by_side_are_one_answer() {
        assert_eq!(joined_boxes("\\boxed{1} and $\\boxed{2}$"), ["\\boxed{1} and $\\boxed{2}"]);
        assert_eq!(joined_boxes("\\boxed{1} no wait \\boxed{2}"), ["1", "2"]);
        assert_eq!(joined_boxes("\\boxed{1} papers and \\boxed{2} bins").len(), 1);
        assert_eq!(joined_boxes("\\boxed{ \\frac{1}{2} }"), ["\\frac{1}{2}"]);
    }

    #[test]
    fn formulas_side_by_side_are_one_answer() {
        assert_eq!(joined_formulas("so $1$, hence $2$ and $3$."), Some("2$ and $3"));
        assert_eq!(joined_formulas("none"), None);
    }
}
