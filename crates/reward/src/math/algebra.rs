//! Exact algebra: expressions as quotients of polynomials with rational coefficients.
//!
//! The unknowns of the polynomials are variables, i with i² = −1, roots of primes with (ᵏ√p)ᵏ = p, and everything else
//! (π, sin x, 2^n) under its own canonical name. a/b = c/d is a·d − c·b = 0, which needs no greatest common divisor. Where
//! the unknowns are variables only, two different polynomials are different functions; elsewhere a difference proves
//! nothing, and [`super::numeric`] decides.

use std::collections::BTreeMap;
use std::fmt::Write;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::budget::{Budget, Step, Stop, power};
use super::exact::exact;
use super::node::{Function, Node};

/// Most terms of a polynomial.
const MOST_TERMS: usize = 1000;
/// Largest whole exponent that is multiplied out.
const LARGEST_POWER: i64 = 64;
/// Longest name of an unknown that stands for a whole expression.
const LONGEST_NAME: usize = 2048;

/// An unknown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unknown {
    /// i.
    I,
    /// The k-th root of a number that has no k-th power in it, as far as small primes tell.
    Root(u32, BigInt),
    /// A variable.
    Variable(String),
    /// Any other expression, by its canonical form.
    Other(String),
}

type Monomial = Vec<(Unknown, u32)>;

/// A polynomial: no coefficient is 0.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Polynomial(BTreeMap<Monomial, BigRational>);

/// A quotient of polynomials.
#[derive(Clone, Debug)]
pub(crate) struct Fraction {
    above: Polynomial,
    below: Polynomial,
}

impl Polynomial {
    fn constant(value: BigRational) -> Self {
        Self(if value.is_zero() { BTreeMap::new() } else { BTreeMap::from([(Vec::new(), value)]) })
    }

    fn unknown(unknown: Unknown) -> Self {
        Self(BTreeMap::from([(vec![(unknown, 1)], BigRational::one())]))
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// Its value where it has no unknowns.
    fn as_constant(&self) -> Option<BigRational> {
        match self.0.len() {
            0 => Some(BigRational::zero()),
            1 => self.0.get(&Vec::new()).cloned(),
            _ => None,
        }
    }

    /// Whether every unknown is a variable (or i).
    fn only_variables(&self) -> bool {
        let plain = |unknown: &Unknown| matches!(unknown, Unknown::Variable(_) | Unknown::I);
        self.0.keys().flatten().all(|(unknown, _)| plain(unknown))
    }

    fn include(&mut self, monomial: Monomial, coefficient: BigRational, budget: &Budget) -> Step<()> {
        let full = self.0.len() >= MOST_TERMS;
        match self.0.get_mut(&monomial) {
            Some(known) => {
                budget.rationals(known, &coefficient)?;
                *known += coefficient;
                if known.is_zero() {
                    self.0.remove(&monomial);
                }
            }
            None if coefficient.is_zero() => {}
            None if full => return Err(Stop::Spent),
            None => {
                budget.spend(1)?;
                self.0.insert(monomial, coefficient);
            }
        }
        Ok(())
    }

    fn add(&self, other: &Self, budget: &Budget) -> Step<Self> {
        let mut sum = self.clone();
        for (monomial, coefficient) in &other.0 {
            sum.include(monomial.clone(), coefficient.clone(), budget)?;
        }
        Ok(sum)
    }

    fn negated(&self) -> Self {
        Self(self.0.iter().map(|(monomial, coefficient)| (monomial.clone(), -coefficient)).collect())
    }

    fn mul(&self, other: &Self, budget: &Budget) -> Step<Self> {
        let mut product = Self::default();
        for (a, x) in &self.0 {
            for (b, y) in &other.0 {
                budget.rationals(x, y)?;
                budget.spend((a.len() + b.len()) as u64 / 4)?;
                let (monomial, factor) = multiplied(a, b, budget)?;
                product.include(monomial, x * y * factor, budget)?;
            }
        }
        Ok(product)
    }

    fn powi(&self, exponent: u32, budget: &Budget) -> Step<Self> {
        let mut result = Self::constant(BigRational::one());
        for bit in (0..u32::BITS - exponent.leading_zeros()).rev() {
            result = result.mul(&result, budget)?;
            if exponent >> bit & 1 == 1 {
                result = result.mul(self, budget)?;
            }
        }
        Ok(result)
    }

    /// The same with its first coefficient 1 (±1, with `sign`), for a comparison up to a factor.
    fn scaled(&self, sign: bool) -> Self {
        let Some(lead) = self.0.values().next() else { return self.clone() };
        let by = if sign { lead.abs() } else { lead.clone() };
        Self(self.0.iter().map(|(monomial, coefficient)| (monomial.clone(), coefficient / &by)).collect())
    }

    fn write(&self, text: &mut String) {
        for (monomial, coefficient) in &self.0 {
            let _ = write!(text, "{coefficient:+}");
            for (unknown, exponent) in monomial {
                let _ = match unknown {
                    Unknown::I => write!(text, "*i"),
                    Unknown::Root(index, radicand) => write!(text, "*root({radicand},{index})"),
                    Unknown::Variable(name) | Unknown::Other(name) => write!(text, "*{name}"),
                };
                if *exponent != 1 {
                    let _ = write!(text, "^{exponent}");
                }
            }
        }
        if self.0.is_empty() {
            text.push('0');
        }
    }
}

/// The product of two monomials, and the factor that i² = −1 and (ᵏ√p)ᵏ = p leave.
fn multiplied(a: &Monomial, b: &Monomial, budget: &Budget) -> Step<(Monomial, BigRational)> {
    let mut merged: BTreeMap<&Unknown, u32> = a.iter().map(|(unknown, exponent)| (unknown, *exponent)).collect();
    for (unknown, exponent) in b {
        let known = merged.entry(unknown).or_insert(0);
        *known = known.checked_add(*exponent).ok_or(Stop::Spent)?;
    }
    let mut factor = BigRational::one();
    let mut monomial = Vec::with_capacity(merged.len());
    for (unknown, exponent) in merged {
        let left = match unknown {
            Unknown::I => {
                if exponent % 4 >= 2 {
                    factor = -factor;
                }
                exponent % 2
            }
            Unknown::Root(index, radicand) => {
                let whole = i64::from(exponent / index);
                factor *= power(&BigRational::from_integer(radicand.clone()), whole, budget)?;
                exponent % index
            }
            _ => exponent,
        };
        if left > 0 {
            monomial.push((unknown.clone(), left));
        }
    }
    Ok((monomial, factor))
}

impl Fraction {
    fn whole(above: Polynomial) -> Self {
        Self { above, below: Polynomial::constant(BigRational::one()) }
    }

    fn constant(value: BigRational) -> Self {
        Self::whole(Polynomial::constant(value))
    }

    fn named(name: String) -> Step<Self> {
        if name.len() > LONGEST_NAME {
            return Err(Stop::Spent);
        }
        Ok(Self::whole(Polynomial::unknown(Unknown::Other(name))))
    }

    /// The numerator: what is 0 where the fraction is.
    pub(crate) fn numerator(&self) -> &Polynomial {
        &self.above
    }

    /// Its value where it is a constant.
    fn as_constant(&self) -> Option<BigRational> {
        let below = self.below.as_constant()?;
        self.above.as_constant().filter(|_| !below.is_zero()).map(|above| above / below)
    }

    fn add(&self, other: &Self, budget: &Budget) -> Step<Self> {
        if self.below == other.below {
            return Ok(Self { above: self.above.add(&other.above, budget)?, below: self.below.clone() });
        }
        let left = self.above.mul(&other.below, budget)?;
        let right = other.above.mul(&self.below, budget)?;
        Ok(Self { above: left.add(&right, budget)?, below: self.below.mul(&other.below, budget)? })
    }

    fn mul(&self, other: &Self, budget: &Budget) -> Step<Self> {
        Ok(Self { above: self.above.mul(&other.above, budget)?, below: self.below.mul(&other.below, budget)? })
    }

    fn div(&self, other: &Self, budget: &Budget) -> Step<Self> {
        if other.above.is_zero() {
            return Err(Stop::Undefined);
        }
        self.mul(&Self { above: other.below.clone(), below: other.above.clone() }, budget)
    }

    fn powi(&self, exponent: i64, budget: &Budget) -> Step<Self> {
        let size = u32::try_from(exponent.unsigned_abs()).map_err(|_| Stop::Spent)?;
        let up = Self { above: self.above.powi(size, budget)?, below: self.below.powi(size, budget)? };
        if exponent < 0 { Self::constant(BigRational::one()).div(&up, budget) } else { Ok(up) }
    }

    /// A name that equal forms share.
    fn canonical(&self) -> String {
        let mut text = String::new();
        match self.below.as_constant() {
            Some(below) if !below.is_zero() => {
                let over = BigRational::one() / below;
                let scaled = self.above.0.iter().map(|(monomial, value)| (monomial.clone(), value * &over)).collect();
                Polynomial(scaled).write(&mut text);
            }
            _ => {
                self.above.write(&mut text);
                text.push_str(")/(");
                self.below.write(&mut text);
            }
        }
        text
    }
}

/// What two fractions are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// Equal as algebra shows.
    Equal,
    /// Different, for certain.
    Different,
    /// Algebra does not tell.
    Unclear,
}

/// Compares two fractions.
pub(crate) fn compare(a: &Fraction, b: &Fraction, budget: &Budget) -> Step<Likeness> {
    let left = a.above.mul(&b.below, budget)?;
    let right = b.above.mul(&a.below, budget)?;
    if a.below.is_zero() || b.below.is_zero() {
        return Err(Stop::Undefined);
    }
    let difference = left.add(&right.negated(), budget)?;
    Ok(if difference.is_zero() {
        Likeness::Equal
    } else if difference.only_variables() {
        Likeness::Different
    } else {
        Likeness::Unclear
    })
}

/// Compares two polynomials up to a constant factor that is not 0 (above 0, with `positive`).
pub(crate) fn compare_scaled(a: &Polynomial, b: &Polynomial, positive: bool) -> Likeness {
    if a.is_zero() || b.is_zero() {
        return Likeness::Different; // 0 = 0 says nothing, so it equals nothing
    }
    if a.scaled(positive) == b.scaled(positive) {
        Likeness::Equal
    } else if a.only_variables() && b.only_variables() {
        Likeness::Different
    } else {
        Likeness::Unclear
    }
}

/// The fraction that an expression is.
///
/// # Errors
/// `Unknown` for what is no expression, `Undefined`, `Spent`.
pub(crate) fn fraction(node: &Node, budget: &Budget) -> Step<Fraction> {
    budget.spend(1)?;
    match node {
        Node::Number { value, .. } => Ok(Fraction::constant(value.clone())),
        Node::Name(name) => Ok(Fraction::whole(Polynomial::unknown(Unknown::Variable(name.clone())))),
        Node::I => Ok(Fraction::whole(Polynomial::unknown(Unknown::I))),
        Node::Pi => Fraction::named("π".into()),
        Node::E => Fraction::named("e".into()),
        Node::Sum(terms) => {
            let mut sum = Fraction::constant(BigRational::zero());
            for term in terms {
                sum = sum.add(&fraction(term, budget)?, budget)?;
            }
            Ok(sum)
        }
        Node::Product(factors) => {
            let mut product = Fraction::constant(BigRational::one());
            for factor in factors {
                product = product.mul(&fraction(factor, budget)?, budget)?;
            }
            Ok(product)
        }
        Node::Quotient(above, below) => fraction(above, budget)?.div(&fraction(below, budget)?, budget),
        Node::Negative(inner) => {
            let inner = fraction(inner, budget)?;
            Ok(Fraction { above: inner.above.negated(), below: inner.below })
        }
        Node::Percent(inner) => {
            fraction(inner, budget)?.mul(&Fraction::constant(BigRational::new(1.into(), 100.into())), budget)
        }
        Node::Power(base, exponent) => raised(base, exponent, budget),
        Node::Call(function, values) => called(*function, values, node, budget),
        Node::Opaque(name, values) => opaque(name, values, budget),
        Node::Relation(..) => opaque(&node.to_string(), &[], budget),
        _ => Err(Stop::Unknown),
    }
}

fn raised(base: &Node, exponent: &Node, budget: &Budget) -> Step<Fraction> {
    let inner = fraction(base, budget)?;
    match exact(exponent, &Vec::new(), budget) {
        Ok(power) if power.is_integer() => {
            let size = power.to_integer().to_i64().ok_or(Stop::Spent)?;
            match inner.as_constant() {
                Some(value) => super::budget::power(&value, size, budget).map(Fraction::constant),
                None if size.abs() <= LARGEST_POWER => inner.powi(size, budget),
                None => Err(Stop::Spent),
            }
        }
        Ok(power) => {
            let index = power.denom().to_u32().ok_or(Stop::Spent)?;
            let size = power.numer().to_i64().filter(|size| size.abs() <= LARGEST_POWER).ok_or(Stop::Spent)?;
            root(&inner, index, budget)?.powi(size, budget)
        }
        Err(Stop::Spent) => Err(Stop::Spent),
        Err(_) => {
            let exponent = fraction(exponent, budget)?;
            Fraction::named(format!("({})^({})", inner.canonical(), exponent.canonical()))
        }
    }
}

fn called(function: Function, values: &[Node], node: &Node, budget: &Budget) -> Step<Fraction> {
    if let Ok(value) = exact(node, &Vec::new(), budget) {
        return Ok(Fraction::constant(value));
    }
    if function == Function::Root
        && let [radicand, index] = values
        && let Ok(index) = exact(index, &Vec::new(), budget)
        && let Some(index) = index.numer().to_u32().filter(|_| index.is_integer())
    {
        return root(&fraction(radicand, budget)?, index, budget);
    }
    opaque(function.name(), values, budget)
}

fn opaque(name: &str, values: &[Node], budget: &Budget) -> Step<Fraction> {
    let mut text = format!("{name}[");
    for value in values {
        // what is no expression, an index k = 1 for instance, goes in as it stands
        match fraction(value, budget) {
            Ok(inner) => text.push_str(&inner.canonical()),
            Err(Stop::Unknown) => text.push_str(&value.to_string()),
            Err(stop) => return Err(stop),
        }
        text.push(';');
        if text.len() > LONGEST_NAME {
            return Err(Stop::Spent);
        }
    }
    Fraction::named(text + "]")
}

/// The root of a fraction: of a number in its factors, of anything else as an unknown of its own.
fn root(radicand: &Fraction, index: u32, budget: &Budget) -> Step<Fraction> {
    const LARGEST_INDEX: u32 = 64;
    if !(1..=LARGEST_INDEX).contains(&index) {
        return Err(Stop::Unknown);
    }
    let Some(value) = radicand.as_constant() else {
        return Fraction::named(format!("root[{};{index}]", radicand.canonical()));
    };
    // ᵏ√(a/b) = ᵏ√(a·b^(k−1)) / b
    let below = BigRational::from_integer(value.denom().clone());
    let lifted = power(&below, i64::from(index) - 1, budget)?.numer() * value.numer();
    let size = lifted.abs();
    let mut result = whole_root(&size, index, budget)?;
    if lifted.is_negative() {
        if index == 2 {
            result = result.mul(&Polynomial::unknown(Unknown::I), budget)?;
        } else if index % 2 == 1 {
            result = result.negated();
        } else {
            return Err(Stop::Unknown);
        }
    }
    Fraction::whole(result).div(&Fraction::constant(below), budget)
}

/// ᵏ√n as a product of a number and roots of primes (of what is left of n after the primes up to 1000).
fn whole_root(n: &BigInt, index: u32, budget: &Budget) -> Step<Polynomial> {
    if n.is_zero() {
        return Ok(Polynomial::default());
    }
    if n.bits() > 4096 {
        return Err(Stop::Spent);
    }
    let exact_root = n.nth_root(index);
    if exact_root.pow(index) == *n {
        return Ok(Polynomial::constant(BigRational::from_integer(exact_root)));
    }
    let (mut rest, mut outside, mut inside) = (n.clone(), BigInt::one(), Vec::new());
    let mut prime = 2u32;
    while prime <= 1000 && !rest.is_one() {
        let mut count = 0;
        while (&rest % prime).is_zero() {
            budget.spend(1 + rest.bits() / 64)?;
            rest /= prime;
            count += 1;
        }
        outside *= BigInt::from(prime).pow(count / index);
        if count % index > 0 {
            inside.push((BigInt::from(prime), count % index));
        }
        prime += if prime == 2 { 1 } else { 2 };
    }
    budget.spend(16)?;
    if !rest.is_one() {
        let whole = rest.nth_root(index);
        if whole.pow(index) == rest {
            outside *= whole;
        } else {
            inside.push((rest, 1));
        }
    }
    let mut result = Polynomial::constant(BigRational::from_integer(outside));
    for (radicand, exponent) in inside {
        // ⁴√9 = √3: the smallest index for each prime
        let common = common(exponent, index);
        let factor = Polynomial::unknown(Unknown::Root(index / common, radicand));
        result = result.mul(&factor.powi(exponent / common, budget)?, budget)?;
    }
    Ok(result)
}

fn common(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common(b, a % b) }
}
