//! From a text to what it says.

use crate::extract::{Mark, formulas, marked};
use crate::number::{numerals, parse_number};

use super::algebra::fraction;
use super::budget::{Budget, STEPS};
use super::find::{joined_boxes, joined_formulas};
use super::node::Node;
use super::numeric::{Evaluation, points};
use super::parse::{Parse, parse};

/// The answer proper of a reference: what follows the last `####`, else all of it.
pub(super) fn proper(reference: &str) -> &str {
    marked(reference, Mark::Hash, false).last().copied().unwrap_or_else(|| reference.trim())
}

/// Reads a reference. A solution in words is its box, or what it says the final answer is.
///
/// # Errors
/// Why it cannot be read.
pub(super) fn reference(text: &str) -> Parse<Node> {
    let text = proper(text);
    answer(text).or_else(|why| match marked(text, Mark::Final, false).last() {
        Some(last) => answer(last),
        None => Err(why),
    })
}

/// Reads an answer: all of it, else the box in it, else the only formula in it, else a number with its unit.
///
/// # Errors
/// Why it cannot be read.
pub(super) fn answer(text: &str) -> Parse<Node> {
    let why = match parse(text) {
        Ok(node) => return Ok(node),
        Err(why) => why,
    };
    if let Some(last) = joined_boxes(text).last().filter(|last| **last != text) {
        return parse(last);
    }
    if let Some(joined) = joined_formulas(text).filter(|joined| *joined != text)
        && (formulas(text).len() == 1 || joined.contains('$') || joined.contains("\\)"))
    {
        // a number or a choice beside the formula makes it one of several
        let beside = text.replacen(joined, " ", 1);
        let several = beside.contains(|c: char| c.is_numeric())
            || beside.split_whitespace().any(|word| word == "or" || word == "not");
        return if several { Err(why) } else { parse(joined) };
    }
    parse_number(text).map(Node::exact).ok_or(why)
}

/// The letter of an answer that names a choice and then says what it is: `\textbf{(A)}\ 5`. A second choice makes it none.
pub(super) fn choice(text: &str) -> Option<char> {
    const LAST: char = 'J';
    let mut plain = text.to_string();
    for mark in ["\\textbf", "\\text", "\\mathrm", "\\mathbf", "\\", "{", "}", "$", "~", "*"] {
        plain = plain.replace(mark, "");
    }
    let named = |letter: char| ('A'..=LAST).contains(&letter);
    let rest = plain.trim_start().strip_prefix('(')?;
    let letter = rest.chars().next().filter(|letter| named(*letter))?;
    let said = rest[1..].strip_prefix(')')?.trim();
    if said.starts_with(|c: char| !(c.is_alphanumeric() || matches!(c, ':' | '.' | '('))) {
        return None; // (B) + 1 is no choice
    }
    let again = said.as_bytes().windows(3).any(|three| three[0] == b'(' && three[2] == b')' && named(three[1] as char));
    let single = !said.split_whitespace().any(|word| word == "or" || word == "and");
    (!said.is_empty() && !again && single).then_some(letter)
}

/// The last number of a sentence.
pub(super) fn last_number(text: &str) -> Option<Node> {
    const MOST_NUMBERS: usize = 64; // a sentence has no more
    numerals(text, MOST_NUMBERS).pop().map(|(value, _)| Node::exact(value))
}

/// Whether a reference has a value at all, so that what it is compared with is at fault.
pub(super) fn sound(node: &Node) -> bool {
    let parts = match node {
        Node::List(parts) | Node::Either(parts) | Node::Set(parts) | Node::Bracketed(_, parts, _) => parts.as_slice(),
        Node::Relation(parts, _) | Node::Ratio(parts) => parts.as_slice(),
        Node::Text(_) | Node::Based(..) | Node::Infinity | Node::Everything(_) => return true,
        Node::Measured(inner, _) | Node::Percent(inner) | Node::Negative(inner) => return sound(inner),
        Node::PlusMinus(inner, _) => return sound(inner),
        Node::Sets(a, _, b) => return sound(a) && sound(b),
        Node::Matrix(rows) => return rows.iter().flatten().all(sound),
        _ => {
            let budget = Budget::new(STEPS);
            let names = node.names();
            let nowhere = vec![Vec::new()];
            let at = if names.is_empty() { nowhere } else { points(&[node], &names) };
            let defined = |point| Evaluation { point, budget: &budget }.value(node).is_ok();
            return at.iter().any(defined) || (!names.is_empty() && fraction(node, &budget).is_ok());
        }
    };
    parts.iter().all(sound)
}
