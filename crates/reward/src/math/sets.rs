//! Sets of real numbers as ordered pieces: intervals, points, their unions, and what a simple inequality says.

use std::cmp::Ordering;

use num_traits::{Signed, Zero};

use super::algebra::{Likeness, compare, fraction};
use super::budget::{Budget, Step, Stop};
use super::exact::exact;
use super::node::{Function, Node, Relation};
use super::numeric::{Evaluation, same};

/// Most pieces of a set.
const MOST_PIECES: usize = 64;

/// An end of a piece.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Bound {
    Below,
    At(Node),
    Above,
}

/// From one end to the other; whether each end belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Piece {
    pub(crate) low: (Bound, bool),
    pub(crate) high: (Bound, bool),
}

/// Whether a node is a set of real numbers by its looks: a union, ℝ, or an interval with unlike or square brackets.
pub(crate) fn is_interval(node: &Node) -> bool {
    match node {
        Node::Sets(..) | Node::Everything('ℝ') => true,
        Node::Bracketed(open, items, close) => {
            let infinite = |node: &Node| {
                matches!(node, Node::Infinity) || matches!(node, Node::Negative(inner) if **inner == Node::Infinity)
            };
            items.len() == 2 && ((*open, *close) != ('(', ')') && *open != '⟨' || items.iter().any(infinite))
        }
        _ => false,
    }
}

/// The pieces of a set in order, joined where they touch; `None` where it is no set of real numbers.
pub(crate) fn pieces(node: &Node, budget: &Budget) -> Step<Option<Vec<Piece>>> {
    match unordered(node, budget)? {
        Some(pieces) => joined(pieces, budget).map(Some),
        None => Ok(None),
    }
}

fn unordered(node: &Node, budget: &Budget) -> Step<Option<Vec<Piece>>> {
    budget.spend(1)?;
    let all = |nodes: &[Node]| -> Step<Option<Vec<Piece>>> {
        let mut pieces = Vec::new();
        for node in nodes {
            match unordered(node, budget)? {
                Some(more) => pieces.extend(more),
                None => return Ok(None),
            }
        }
        Ok((pieces.len() <= MOST_PIECES).then_some(pieces))
    };
    match node {
        Node::Bracketed(open @ ('(' | '['), items, close) => match items.as_slice() {
            [low, high] => {
                let low = (bound(low), *open == '[');
                Ok(Some(vec![Piece { low, high: (bound(high), *close == ']') }]))
            }
            _ => Ok(None),
        },
        Node::Everything('ℝ') => Ok(Some(vec![everything()])),
        Node::Set(items) => {
            let point = |node: &Node| {
                let at = (Bound::At(node.clone()), true);
                Piece { low: at.clone(), high: at }
            };
            let mut points = Vec::new();
            for item in items {
                points.extend(match (item.with_sign(true), item.with_sign(false)) {
                    (Some(plus), Some(minus)) => vec![point(&plus), point(&minus)],
                    _ => vec![point(item)],
                });
            }
            Ok((points.len() <= MOST_PIECES).then_some(points))
        }
        Node::Either(items) => all(items),
        Node::Sets(a, sign, b) => {
            let (Some(a), Some(b)) = (pieces(a, budget)?, pieces(b, budget)?) else { return Ok(None) };
            match sign {
                '∪' => Ok(Some(a.into_iter().chain(b).collect())),
                '∩' => intersection(&a, &b, budget).map(Some),
                _ => intersection(&a, &complement(&b), budget).map(Some),
            }
        }
        Node::Relation(sides, relations) => match (sides.as_slice(), relations.as_slice()) {
            ([_, set], [Relation::In]) => unordered(set, budget),
            _ => solved(sides, relations, budget),
        },
        _ => Ok(None),
    }
}

fn everything() -> Piece {
    Piece { low: (Bound::Below, false), high: (Bound::Above, false) }
}

fn bound(node: &Node) -> Bound {
    match node {
        Node::Infinity => Bound::Above,
        Node::Negative(inner) if **inner == Node::Infinity => Bound::Below,
        other => Bound::At(other.clone()),
    }
}

fn order(a: &Bound, b: &Bound, budget: &Budget) -> Step<Ordering> {
    let rank = |bound: &Bound| match bound {
        Bound::Below => 0,
        Bound::At(_) => 1,
        Bound::Above => 2,
    };
    let (Bound::At(x), Bound::At(y)) = (a, b) else { return Ok(rank(a).cmp(&rank(b))) };
    if let (Ok(x), Ok(y)) = (exact(x, &Vec::new(), budget), exact(y, &Vec::new(), budget)) {
        return Ok(x.cmp(&y));
    }
    if x == y || same(x, y, budget)? {
        return Ok(Ordering::Equal);
    }
    let at = Evaluation { point: &Vec::new(), budget };
    at.real(x)?.sub(&at.real(y)?, budget)?.sign()
}

/// Sorted and joined; empty pieces are left out.
fn joined(pieces: Vec<Piece>, budget: &Budget) -> Step<Vec<Piece>> {
    let mut sorted: Vec<Piece> = Vec::new();
    for piece in pieces {
        match order(&piece.low.0, &piece.high.0, budget)? {
            Ordering::Greater => continue,
            Ordering::Equal if !(piece.low.1 && piece.high.1) => continue,
            _ => {}
        }
        let mut at = 0;
        while at < sorted.len() {
            let before = order(&sorted[at].low.0, &piece.low.0, budget)?;
            if before == Ordering::Greater || (before == Ordering::Equal && piece.low.1 && !sorted[at].low.1) {
                break;
            }
            at += 1;
        }
        sorted.insert(at, piece);
    }
    let mut joined: Vec<Piece> = Vec::new();
    for piece in sorted {
        if let Some(last) = joined.last_mut() {
            let gap = order(&last.high.0, &piece.low.0, budget)?;
            if gap == Ordering::Greater || (gap == Ordering::Equal && (last.high.1 || piece.low.1)) {
                match order(&last.high.0, &piece.high.0, budget)? {
                    Ordering::Less => last.high = piece.high,
                    Ordering::Equal => last.high.1 |= piece.high.1,
                    Ordering::Greater => {}
                }
                continue;
            }
        }
        joined.push(piece);
    }
    Ok(joined)
}

fn intersection(a: &[Piece], b: &[Piece], budget: &Budget) -> Step<Vec<Piece>> {
    let mut pieces = Vec::new();
    for x in a {
        for y in b {
            let low = match order(&x.low.0, &y.low.0, budget)? {
                Ordering::Less => y.low.clone(),
                Ordering::Greater => x.low.clone(),
                Ordering::Equal => (x.low.0.clone(), x.low.1 && y.low.1),
            };
            let high = match order(&x.high.0, &y.high.0, budget)? {
                Ordering::Less => x.high.clone(),
                Ordering::Greater => y.high.clone(),
                Ordering::Equal => (x.high.0.clone(), x.high.1 && y.high.1),
            };
            pieces.push(Piece { low, high });
        }
    }
    joined(pieces, budget)
}

/// What is left of ℝ without ordered pieces.
fn complement(pieces: &[Piece]) -> Vec<Piece> {
    let mut rest = Vec::new();
    let mut from = (Bound::Below, false);
    for piece in pieces {
        rest.push(Piece { low: from, high: (piece.low.0.clone(), !piece.low.1 && piece.low.0 != Bound::Below) });
        from = (piece.high.0.clone(), !piece.high.1 && piece.high.0 != Bound::Above);
    }
    rest.push(Piece { low: from, high: (Bound::Above, false) });
    rest
}

/// The solutions of `a < f(x) ≤ b`, `f(x) > a`, `f(x) ≠ a` for f linear, or the absolute value of a linear function.
fn solved(sides: &[Node], relations: &[Relation], budget: &Budget) -> Step<Option<Vec<Piece>>> {
    let open: Vec<usize> = (0..sides.len()).filter(|index| !sides[*index].names().is_empty()).collect();
    let [middle] = open[..] else { return Ok(None) };
    if sides.len() > 3 || relations.len() + 1 != sides.len() || (sides.len() == 3 && middle != 1) {
        return Ok(None);
    }
    let mut values = vec![everything()];
    for (index, relation) in relations.iter().enumerate() {
        // read as f(x) relation limit
        let (limit, relation) =
            if index < middle { (&sides[index], relation.flipped()) } else { (&sides[index + 1], *relation) };
        let at = |closed: bool| (bound(limit), closed);
        let allowed = match relation {
            Relation::Less | Relation::LessEqual => {
                vec![Piece { low: (Bound::Below, false), high: at(relation == Relation::LessEqual) }]
            }
            Relation::Greater | Relation::GreaterEqual => {
                vec![Piece { low: at(relation == Relation::GreaterEqual), high: (Bound::Above, false) }]
            }
            Relation::NotEqual => complement(&[Piece { low: at(true), high: at(true) }]),
            _ => return Ok(None),
        };
        values = intersection(&values, &allowed, budget)?;
    }
    inverted(&sides[middle], values, budget)
}

/// The numbers x with f(x) in the given pieces.
fn inverted(f: &Node, values: Vec<Piece>, budget: &Budget) -> Step<Option<Vec<Piece>>> {
    match f {
        Node::Name(_) => return Ok(Some(values)),
        Node::Call(Function::Abs, inner) => {
            let zero = (Bound::At(Node::integer(0)), true);
            let up = intersection(&values, &[Piece { low: zero, high: (Bound::Above, false) }], budget)?;
            let down: Vec<Piece> = up.iter().rev().map(|piece| mapped(piece, &Node::negated, true)).collect();
            let [inner] = inner.as_slice() else { return Ok(None) };
            return inverted(inner, joined(up.into_iter().chain(down).collect(), budget)?, budget);
        }
        _ => {}
    }
    let names = f.names();
    let [name] = names.as_slice() else { return Ok(None) };
    let at = |x: i64| exact(f, &vec![(name.clone(), num_rational::BigRational::from_integer(x.into()))], budget);
    let (Ok(shift), Ok(one)) = (at(0), at(1)) else { return Ok(None) };
    let slope = &one - &shift;
    if slope.is_zero() {
        return Ok(None);
    }
    let line = Node::Sum(vec![
        Node::Product(vec![Node::exact(slope.clone()), Node::Name(name.clone())]),
        Node::exact(shift.clone()),
    ]);
    let straight = match (fraction(f, budget), fraction(&line, budget)) {
        (Ok(f), Ok(line)) => compare(&f, &line, budget)? == Likeness::Equal,
        (Err(Stop::Spent), _) | (_, Err(Stop::Spent)) => return Err(Stop::Spent),
        _ => false,
    };
    if !straight {
        return Ok(None);
    }
    let back = |y: Node| {
        let moved = Node::Sum(vec![y, Node::exact(-shift.clone())]);
        let back = Node::Quotient(Box::new(moved), Box::new(Node::exact(slope.clone())));
        exact(&back, &Vec::new(), budget).map_or(back, Node::exact)
    };
    Ok(Some(values.iter().map(|piece| mapped(piece, &back, slope.is_negative())).collect()))
}

/// A piece under a map that keeps or turns the order.
fn mapped(piece: &Piece, map: &dyn Fn(Node) -> Node, turns: bool) -> Piece {
    let end = |bound: &(Bound, bool)| {
        let moved = match &bound.0 {
            Bound::At(node) => Bound::At(map(node.clone())),
            Bound::Below if turns => Bound::Above,
            Bound::Above if turns => Bound::Below,
            same => same.clone(),
        };
        (moved, bound.1)
    };
    let (low, high) = (end(&piece.low), end(&piece.high));
    if turns { Piece { low: high, high: low } } else { Piece { low, high } }
}
