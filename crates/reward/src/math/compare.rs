//! Whether an answer is the reference.

use std::cell::Cell;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::Signed;

use super::algebra::{Likeness, compare as compare_fractions, compare_scaled, fraction};
use super::budget::{Budget, Step, Stop};
use super::exact::exact;
use super::node::{Node, Relation};
use super::numeric::{Evaluation, proportional, same as same_value};
use super::sets::{Bound, Piece, is_interval, pieces};
use super::shape::{
    assignment, clock, is_collection, is_plain_vector, is_set, members, plain, sign_of_infinity, spelled, value_of,
};
use super::units::{conflict, is_known};

/// What a percent sign means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Percent {
    /// 28% is 28 or 0.28, whichever the other side says.
    Either,
    /// 28% is 0.28.
    Value,
    /// 28% is 28.
    Sign,
}

/// What counts as equal.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Whether units must be the same, or may be left out.
    pub(crate) keep_units: bool,
    pub(crate) percent: Percent,
    /// Whether a decimal reference of three or more significant digits allows what rounds to it.
    pub(crate) rounding: bool,
    /// Digits after the point to which both are rounded where one is a decimal.
    pub(crate) places: Option<u32>,
    /// Whether the order of a list matters.
    pub(crate) ordered: bool,
    /// Whether an inequality may stand for a set of the reference.
    pub(crate) inequality_for_set: bool,
    /// Whether 12 + 7 is no answer where the reference is 19.
    pub(crate) worked_out: bool,
}

/// How two answers turned out to be equal; the last is the weakest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum How {
    Exactly,
    Numerically,
    Rounded,
}

/// Deepest nesting of parts that are compared, well inside the stack.
const DEEPEST: usize = 48;

/// A comparison.
pub(crate) struct Comparison<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) budget: &'a Budget,
    how: Cell<How>,
    unworked: Cell<bool>,
    depth: Cell<usize>,
}

impl<'a> Comparison<'a> {
    pub(crate) fn new(rules: &'a Rules, budget: &'a Budget) -> Self {
        Self { rules, budget, how: Cell::new(How::Exactly), unworked: Cell::new(false), depth: Cell::new(0) }
    }

    /// The weakest way in which parts were found equal.
    pub(crate) fn how(&self) -> How {
        self.how.get()
    }

    /// Whether a value was right but not worked out.
    pub(crate) fn unworked(&self) -> bool {
        self.unworked.get()
    }

    fn by(&self, how: How) -> bool {
        self.how.set(self.how.get().max(how));
        true
    }

    /// Whether `given` is `gold`.
    ///
    /// # Errors
    /// `Spent` where the budget does not last; `Undefined` and `Unknown` where a value cannot be computed.
    pub(crate) fn same(&self, gold: &Node, given: &Node) -> Step<bool> {
        if self.depth.get() >= DEEPEST {
            return Err(Stop::Spent);
        }
        self.depth.set(self.depth.get() + 1);
        let equal = self.same_level(gold, given);
        self.depth.set(self.depth.get() - 1);
        equal
    }

    fn same_level(&self, gold: &Node, given: &Node) -> Step<bool> {
        self.budget.spend(1)?;
        if gold == given {
            return Ok(true);
        }
        match (gold, given) {
            (Node::Relation(..), Node::Relation(..)) => return self.relations(gold, given),
            (Node::Relation(..), _) => {
                if let Some(value) = value_of(gold) {
                    return self.same(value, given);
                }
                return if is_set(given) { self.sets(gold, given) } else { Ok(false) };
            }
            (_, Node::Relation(..)) => {
                if let Some(value) = value_of(given) {
                    return self.same(gold, value);
                }
                let allowed = self.rules.inequality_for_set && is_set(gold);
                return if allowed { self.sets(gold, given) } else { Ok(false) };
            }
            _ => {}
        }
        if is_interval(gold) || is_interval(given) {
            if is_plain_vector(gold, given) {
                return self.ordered(&members(gold), &members(given));
            }
            return if is_set(gold) && is_set(given) { self.sets(gold, given) } else { Ok(false) };
        }
        if is_collection(gold) || is_collection(given) {
            return self.collections(gold, given);
        }
        match (gold, given) {
            (Node::Text(words), other) | (other, Node::Text(words)) => Ok(spelled(other).is_some_and(|spelled| {
                let letters: String = words.chars().filter(|c| c.is_alphanumeric()).collect();
                letters == spelled.to_lowercase()
            })),
            (Node::Based(..), _) | (_, Node::Based(..)) => Ok(self.based(gold, given)),
            (Node::Ratio(a), Node::Ratio(b)) => self.ratios(a, b),
            (Node::Ratio(parts), other) | (other, Node::Ratio(parts)) => match parts.as_slice() {
                [a, b] if !clock(parts) => {
                    let quotient = Node::Quotient(Box::new(a.clone()), Box::new(b.clone()));
                    self.same(&quotient, other)
                }
                _ => Ok(false),
            },
            (Node::Matrix(a), Node::Matrix(b)) => {
                let alike = a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.len() == b.len());
                let (a, b): (Vec<Node>, Vec<Node>) = (a.concat(), b.concat());
                if alike { self.ordered(&a, &b) } else { Ok(false) }
            }
            _ => self.scalars(gold, given),
        }
    }

    /// A numeral of base 10 is the number; of another base it is only itself.
    fn based(&self, gold: &Node, given: &Node) -> bool {
        let decimal = |node: &Node| match node {
            Node::Based(digits, 10) => digits.parse::<BigInt>().ok().map(BigRational::from_integer),
            Node::Number { value, .. } => Some(value.clone()),
            _ => None,
        };
        matches!((decimal(gold), decimal(given)), (Some(a), Some(b)) if a == b)
    }

    fn ratios(&self, a: &[Node], b: &[Node]) -> Step<bool> {
        if a.len() != b.len() {
            return Ok(false);
        }
        if clock(a) || clock(b) {
            return self.ordered(a, b);
        }
        for (x, y) in a.iter().zip(b).skip(1) {
            // a₀ : aₖ = b₀ : bₖ, with nothing that is 0
            let left = Node::Quotient(Box::new(a[0].clone()), Box::new(x.clone()));
            let right = Node::Quotient(Box::new(b[0].clone()), Box::new(y.clone()));
            if !self.values(&left, &right, false)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn ordered(&self, gold: &[Node], given: &[Node]) -> Step<bool> {
        if gold.len() != given.len() {
            return Ok(false);
        }
        for (a, b) in gold.iter().zip(given) {
            if !self.part(a, b)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// [`same`](Self::same) for one of several parts: what cannot be computed is not equal.
    fn part(&self, gold: &Node, given: &Node) -> Step<bool> {
        match self.same(gold, given) {
            Err(Stop::Undefined | Stop::Unknown) => Ok(false),
            decided => decided,
        }
    }

    fn collections(&self, gold: &Node, given: &Node) -> Step<bool> {
        let (a, b) = (members(gold), members(given));
        let tuple = |node: &Node| matches!(node, Node::Bracketed(..) | Node::Matrix(_));
        let braces = |node: &Node| matches!(node, Node::Set(_));
        if tuple(gold) || tuple(given) {
            if braces(gold) || braces(given) {
                return Ok(false);
            }
            // a list that holds one tuple is that tuple
            for (list, other, gold_first) in [(&a, given, true), (&b, gold, false)] {
                let whole = if gold_first { gold } else { given };
                if !tuple(whole) && !list.is_empty() && list.iter().all(tuple) {
                    return self.every(list, other, gold_first);
                }
            }
            return self.ordered(&a, &b);
        }
        if self.rules.ordered && !braces(gold) && !braces(given) {
            return self.ordered(&a, &b);
        }
        if a.is_empty() || b.is_empty() {
            return Ok(a.is_empty() && b.is_empty());
        }
        for (list, others, gold_first) in [(&a, &b, true), (&b, &a, false)] {
            for node in list {
                let mut found = false;
                for other in others {
                    found = if gold_first { self.part(node, other)? } else { self.part(other, node)? };
                    if found {
                        break;
                    }
                }
                if !found {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn every(&self, list: &[Node], other: &Node, gold_first: bool) -> Step<bool> {
        for node in list {
            let equal = if gold_first { self.part(node, other)? } else { self.part(other, node)? };
            if !equal {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn sets(&self, gold: &Node, given: &Node) -> Step<bool> {
        let end = |a: &(Bound, bool), b: &(Bound, bool)| match (&a.0, &b.0) {
            _ if a.1 != b.1 => Ok(false),
            (Bound::At(x), Bound::At(y)) => self.part(x, y),
            (x, y) => Ok(x == y),
        };
        let (Some(a), Some(b)) = (pieces(gold, self.budget)?, pieces(given, self.budget)?) else { return Ok(false) };
        if a.len() != b.len() {
            return Ok(false);
        }
        for (Piece { low, high }, other) in a.iter().zip(&b) {
            if !(end(low, &other.low)? && end(high, &other.high)?) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn relations(&self, gold: &Node, given: &Node) -> Step<bool> {
        if let (Some((name, a)), Some((other, b))) = (assignment(gold), assignment(given))
            && (name == other || !matches!((name, other), (Node::Name(_), Node::Name(_))))
            && self.part(a, b)?
        {
            return Ok(true);
        }
        let (Node::Relation(a, signs), Node::Relation(b, others)) = (gold, given) else { return Ok(false) };
        match (signs.contains(&Relation::In), others.contains(&Relation::In)) {
            (true, true) => return Ok(false), // both were assignments
            (true, false) if !self.rules.inequality_for_set => return Ok(false),
            _ => {}
        }
        if gold.names() == given.names()
            && !signs.contains(&Relation::Equal)
            && let (Ok(Some(_)), Ok(Some(_))) = (pieces(gold, self.budget), pieces(given, self.budget))
        {
            return self.sets(gold, given);
        }
        let pairs = |sides: &[Node], signs: &[Relation]| -> Vec<(Node, Relation)> {
            let difference = |a: &Node, b: &Node| Node::Sum(vec![a.clone(), b.clone().negated()]);
            let pair = |(sides, sign): (&[Node], &Relation)| match sign {
                Relation::Greater | Relation::GreaterEqual => (difference(&sides[1], &sides[0]), sign.flipped()),
                sign => (difference(&sides[0], &sides[1]), *sign),
            };
            sides.windows(2).zip(signs).map(pair).collect()
        };
        let (a, b) = (pairs(a, signs), pairs(b, others));
        if a.len() != b.len() {
            return Ok(false);
        }
        let mut left: Vec<&(Node, Relation)> = b.iter().collect();
        for (f, sign) in &a {
            let mut at = None;
            for (index, (g, other)) in left.iter().enumerate() {
                if sign == other && self.scaled(f, g, sign.orders())? {
                    at = Some(index);
                    break;
                }
            }
            match at {
                Some(index) => drop(left.swap_remove(index)),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Whether f = 0 and g = 0 (f < 0 and g < 0, with `positive`) say the same: f and g differ by a factor.
    fn scaled(&self, f: &Node, g: &Node, positive: bool) -> Step<bool> {
        match (fraction(f, self.budget), fraction(g, self.budget)) {
            (Ok(a), Ok(b)) => match compare_scaled(a.numerator(), b.numerator(), positive) {
                Likeness::Equal => return Ok(true),
                Likeness::Different => return Ok(false),
                Likeness::Unclear => {}
            },
            (Err(Stop::Unknown), _) | (_, Err(Stop::Unknown)) => return Ok(false),
            _ => {}
        }
        match proportional(f, g, positive, self.budget) {
            Ok(equal) => Ok(equal && self.by(How::Numerically)),
            Err(Stop::Spent) => Err(Stop::Spent),
            Err(_) => Ok(false),
        }
    }

    fn scalars(&self, gold: &Node, given: &Node) -> Step<bool> {
        let (a, b) = (Bare::of(gold), Bare::of(given));
        let unit = |bare: &Bare<'_>| bare.unit.map(String::from).unwrap_or_default();
        if self.rules.keep_units && unit(&a) != unit(&b) || conflict(&unit(&a), &unit(&b)) {
            return Ok(false);
        }
        if a.percent && is_known(&unit(&b)) || b.percent && is_known(&unit(&a)) {
            return Ok(false);
        }
        let hundredth = |node: &Node| Node::Quotient(Box::new(node.clone()), Box::new(Node::integer(100)));
        if a.percent == b.percent || self.rules.percent == Percent::Sign {
            return self.values(a.value, b.value, true);
        }
        let as_value = if a.percent {
            self.values(&hundredth(a.value), b.value, true)?
        } else {
            self.values(a.value, &hundredth(b.value), false)?
        };
        Ok(as_value || (self.rules.percent == Percent::Either && self.values(a.value, b.value, true)?))
    }

    /// Whether two values are the same, by algebra where it tells, else by their digits.
    fn values(&self, gold: &Node, given: &Node, written: bool) -> Step<bool> {
        let (budget, nowhere) = (self.budget, Vec::new());
        if gold == given {
            return Ok(true);
        }
        if sign_of_infinity(gold).is_some() || sign_of_infinity(given).is_some() {
            return Ok(sign_of_infinity(gold) == sign_of_infinity(given));
        }
        let (a, b) = (exact(gold, &nowhere, budget), exact(given, &nowhere, budget));
        if a == Err(Stop::Undefined) || b == Err(Stop::Undefined) {
            return Err(Stop::Undefined);
        }
        if let (Ok(a), Ok(b)) = (&a, &b)
            && a == b
        {
            if self.rules.worked_out && written && plain(gold) && !plain(given) {
                self.unworked.set(true);
                return Ok(false);
            }
            return Ok(true);
        }
        if self.rounded(gold, given)? {
            return Ok(self.by(How::Rounded));
        }
        if a.is_ok() && b.is_ok() {
            return Ok(false);
        }
        let mut unclear = Stop::Unknown;
        let likeness = match (fraction(gold, budget), fraction(given, budget)) {
            (Ok(a), Ok(b)) => compare_fractions(&a, &b, budget),
            (Err(stop), _) | (_, Err(stop)) => Err(stop),
        };
        match likeness {
            Ok(Likeness::Equal) => {
                let idle = self.rules.worked_out && written && plain(gold) && !plain(given);
                self.unworked.set(self.unworked.get() || idle);
                return Ok(!idle);
            }
            Ok(Likeness::Different) => return Ok(false),
            Ok(Likeness::Unclear) => {}
            Err(stop) => unclear = stop,
        }
        if unclear == Stop::Undefined {
            return Err(Stop::Undefined);
        }
        let equal = same_value(gold, given, budget)?;
        if equal && self.rules.worked_out && written && plain(gold) && !plain(given) {
            self.unworked.set(true);
            return Ok(false);
        }
        Ok(equal && self.by(How::Numerically))
    }

    /// Whether a decimal allows it: the reference is one of three or more digits and the other rounds to it, or both
    /// round to the same number of places.
    fn rounded(&self, gold: &Node, given: &Node) -> Step<bool> {
        const LEAST_DIGITS: usize = 3;
        let decimal = |node: &Node| match node {
            Node::Number { value, places: Some(places) } => Some((value.clone(), *places)),
            _ => None,
        };
        let (a, b) = (decimal(gold), decimal(given));
        if let Some(places) = self.rules.places
            && (a.is_some() || b.is_some())
            && let (Some(a), Some(b)) = (self.approximate(gold)?, self.approximate(given)?)
        {
            return Ok(round(&a, places) == round(&b, places));
        }
        let Some((value, places)) = a.filter(|_| self.rules.rounding) else { return Ok(false) };
        let power = BigRational::from_integer(BigInt::from(10).pow(places));
        let digits = (value.abs() * &power).to_integer().to_string();
        if places == 0 || digits.trim_start_matches('0').len() < LEAST_DIGITS {
            return Ok(false);
        }
        let half = BigRational::new(1.into(), 2.into()) / power;
        Ok(self.approximate(given)?.is_some_and(|given| (given - value).abs() <= half))
    }

    fn approximate(&self, node: &Node) -> Step<Option<BigRational>> {
        if let Ok(value) = exact(node, &Vec::new(), self.budget) {
            return Ok(Some(value));
        }
        let at = Evaluation { point: &Vec::new(), budget: self.budget };
        match at.real(node).and_then(|ball| ball.approximate()) {
            Ok(value) => Ok(Some(value)),
            Err(Stop::Spent) => Err(Stop::Spent),
            Err(_) => Ok(None),
        }
    }
}

/// Rounded half away from zero.
fn round(value: &BigRational, places: u32) -> BigRational {
    let power = BigRational::from_integer(BigInt::from(10).pow(places.min(1000)));
    (value * &power).round() / power
}

/// A value without its unit and its percent sign.
struct Bare<'a> {
    value: &'a Node,
    unit: Option<&'a str>,
    percent: bool,
}

impl<'a> Bare<'a> {
    fn of(node: &'a Node) -> Self {
        let mut bare = Self { value: node, unit: None, percent: false };
        loop {
            bare.value = match bare.value {
                Node::Measured(inner, unit) => {
                    bare.unit = bare.unit.or(Some(unit));
                    inner
                }
                Node::Percent(inner) => {
                    bare.percent = true;
                    inner
                }
                _ => return bare,
            }
        }
    }
}
