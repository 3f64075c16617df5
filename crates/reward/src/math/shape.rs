//! What kind of answer a node is: a label with its value, a collection, a set, a clock, a worked-out number.

use num_rational::BigRational;
use num_traits::Zero;

use super::node::{Function, Node, Relation};
use super::sets::is_interval;

/// Whether a number is written as one: digits, a fraction of digits, digits times a power of ten.
pub(super) fn plain(node: &Node) -> bool {
    let digits = |node: &Node| {
        matches!(node, Node::Number { .. })
            || matches!(node, Node::Negative(inner) if matches!(**inner, Node::Number { .. }))
    };
    let power_of_ten =
        |node: &Node| matches!(node, Node::Power(base, exponent) if **base == Node::integer(10) && digits(exponent));
    match node {
        Node::Negative(inner) => plain(inner),
        Node::Quotient(a, b) => digits(a) && digits(b),
        Node::Product(factors) => matches!(factors.as_slice(), [a, b] if digits(a) && power_of_ten(b)),
        other => digits(other) || power_of_ten(other),
    }
}

pub(super) fn sign_of_infinity(node: &Node) -> Option<bool> {
    match node {
        Node::Infinity => Some(true),
        Node::Negative(inner) if **inner == Node::Infinity => Some(false),
        _ => None,
    }
}

/// `12:30`: a clock reads hours and two digits of minutes, and is no ratio that could be reduced.
pub(super) fn clock(parts: &[Node]) -> bool {
    let within = |node: &Node, low: i64, high: i64| match node {
        Node::Number { value, .. } => {
            *value >= BigRational::from_integer(low.into()) && *value < BigRational::from_integer(high.into())
        }
        Node::Measured(inner, _) => matches!(**inner, Node::Number { .. }),
        _ => false,
    };
    match parts {
        [hour, minute] => {
            within(hour, 0, 25)
                && (within(minute, 10, 60) || matches!(minute, Node::Number { value, .. } if value.is_zero()))
        }
        _ => false,
    }
}

/// The letters of a product of single letters: how a short word is read.
pub(super) fn spelled(node: &Node) -> Option<String> {
    match node {
        Node::Name(name) => Some(name.clone()),
        Node::E => Some("e".into()),
        Node::I => Some("i".into()),
        Node::Product(factors) => factors.iter().map(spelled).collect::<Option<Vec<_>>>().map(|all| all.concat()),
        _ => None,
    }
}

pub(super) fn is_collection(node: &Node) -> bool {
    matches!(node, Node::List(_) | Node::Either(_) | Node::Set(_) | Node::Bracketed(..))
        || node.with_sign(true).is_some()
}

pub(super) fn is_set(node: &Node) -> bool {
    is_interval(node) || matches!(node, Node::Set(_) | Node::Either(_) | Node::Bracketed('(', _, ')'))
}

/// Square brackets around three or more members, or around two on both sides, are a vector as well.
pub(super) fn is_plain_vector(gold: &Node, given: &Node) -> bool {
    let vector = |node: &Node| matches!(node, Node::Bracketed('[', _, ']') | Node::Matrix(_));
    vector(gold) && vector(given)
}

/// The members of a collection, each ± as two; a single value is its own only member.
pub(super) fn members(node: &Node) -> Vec<Node> {
    let items: Vec<&Node> = match node {
        Node::List(items) | Node::Either(items) | Node::Set(items) | Node::Bracketed(_, items, _) => {
            items.iter().collect()
        }
        Node::Matrix(rows) if rows.len() == 1 || rows.iter().all(|row| row.len() == 1) => {
            rows.iter().flatten().collect()
        }
        other => vec![other],
    };
    let loose = !matches!(node, Node::Bracketed(..) | Node::Matrix(_));
    // `n = 1, 2, 3` names all of them once
    let named = matches!(items.first(), Some(Node::Relation(..)))
        && items.iter().skip(1).all(|item| !matches!(item, Node::Relation(..)));
    let mut all = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let item = if index == 0 && named && loose { value_of(item).unwrap_or(item) } else { item };
        match (item.with_sign(true), item.with_sign(false)) {
            (Some(plus), Some(minus)) if loose => all.extend([plus, minus]),
            _ => all.push(item.clone()),
        }
    }
    all
}

/// `x = 5`: the label and the value. The last side counts, but what is only about equal does not.
pub(super) fn assignment(node: &Node) -> Option<(&Node, &Node)> {
    let Node::Relation(sides, signs) = node else { return None };
    if !signs.iter().all(|sign| matches!(sign, Relation::Equal | Relation::About)) {
        return None;
    }
    let label = sides.first().filter(|first| is_label(first))?;
    let exact = signs.iter().take_while(|sign| **sign == Relation::Equal).count();
    Some((label, sides.get(exact.max(1))?))
}

/// What a relation says its label is: `x = 5`, `x ∈ S`, `f(x) = 1`; of a longer chain the last side.
pub(super) fn value_of(node: &Node) -> Option<&Node> {
    let Node::Relation(sides, signs) = node else { return None };
    if let ([label, set], [Relation::In]) = (sides.as_slice(), signs.as_slice()) {
        return is_label(label).then_some(set);
    }
    if let Some((_, value)) = assignment(node) {
        return Some(value);
    }
    let equal = signs.iter().take_while(|sign| **sign == Relation::Equal).count();
    let only_equal = signs.iter().all(|sign| matches!(sign, Relation::Equal | Relation::About));
    // 1 = … = 0 is a computation; 1/3 ≈ 0.33 is 1/3; 2x + z = 1 is an equation
    (only_equal && (equal != 1)).then(|| sides.get(equal)).flatten()
}

/// Whether a side names something: a variable, f(x), |AB|, (x, y), V₁ : V₂.
pub(super) fn is_label(node: &Node) -> bool {
    let upper = |node: &Node| matches!(node, Node::Name(name) if name.starts_with(char::is_uppercase));
    let function = |node: &Node| matches!(node, Node::Name(name) if name.len() == 1);
    match node {
        Node::Name(_) | Node::E | Node::I | Node::Text(_) | Node::Opaque(..) => true,
        Node::Call(Function::Abs, inner) => inner.iter().all(is_label),
        Node::Product(factors) => {
            factors.iter().all(upper) || matches!(factors.as_slice(), [f, x] if function(f) && is_label(x))
        }
        Node::Bracketed(_, items, _) => items.iter().all(is_label),
        Node::Ratio(parts) => parts.iter().all(is_label),
        Node::Quotient(a, b) => is_label(a) && is_label(b),
        _ => false,
    }
}
