//! The value of an expression as a ball, with its variables set to given numbers.
//!
//! Complex numbers are pairs of balls. With variables everything stays real: the square root of a negative number is
//! then not defined, so that √x·√y and √(xy) are compared where both mean something. Without variables, a root of odd
//! index of a negative number is the real one, as in school.

use std::cmp::Ordering;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Signed, ToPrimitive};

use super::ball::{Ball, pi};
use super::budget::{Budget, Step, Stop};
use super::exact::exact;
use super::node::{Function, Node};

/// Values of the variables, by name.
pub(crate) type Point = Vec<(String, BigRational)>;

/// A complex number.
#[derive(Clone, Debug)]
pub(crate) struct Complex {
    pub(crate) re: Ball,
    pub(crate) im: Ball,
}

impl Complex {
    fn real(re: Ball) -> Self {
        Self { re, im: Ball::integer(0) }
    }

    fn is_real(&self) -> bool {
        self.im.is_exact_zero()
    }

    fn neg(&self) -> Self {
        Self { re: self.re.neg(), im: self.im.neg() }
    }

    fn add(&self, other: &Self, budget: &Budget) -> Step<Self> {
        Ok(Self { re: self.re.add(&other.re, budget)?, im: self.im.add(&other.im, budget)? })
    }

    fn mul(&self, other: &Self, budget: &Budget) -> Step<Self> {
        if self.is_real() && other.is_real() {
            return Ok(Self::real(self.re.mul(&other.re, budget)?));
        }
        let re = self.re.mul(&other.re, budget)?.sub(&self.im.mul(&other.im, budget)?, budget)?;
        let im = self.re.mul(&other.im, budget)?.add(&self.im.mul(&other.re, budget)?, budget)?;
        Ok(Self { re, im })
    }

    fn div(&self, other: &Self, budget: &Budget) -> Step<Self> {
        if other.is_real() {
            let im = if self.is_real() { self.im.clone() } else { self.im.div(&other.re, budget)? };
            return Ok(Self { re: self.re.div(&other.re, budget)?, im });
        }
        let size = other.re.mul(&other.re, budget)?.add(&other.im.mul(&other.im, budget)?, budget)?;
        let conjugate = Self { re: other.re.clone(), im: other.im.neg() };
        self.mul(&conjugate, budget)?.div(&Self::real(size), budget)
    }

    fn powi(&self, exponent: i64, budget: &Budget) -> Step<Self> {
        let size = u32::try_from(exponent.unsigned_abs()).map_err(|_| Stop::Spent)?;
        let power = if self.is_real() {
            Self::real(self.re.powi(size, budget)?)
        } else {
            let mut result = Self::real(Ball::integer(1));
            for bit in (0..u32::BITS - size.leading_zeros()).rev() {
                result = result.mul(&result, budget)?;
                if size >> bit & 1 == 1 {
                    result = result.mul(self, budget)?;
                }
            }
            result
        };
        if exponent < 0 { Self::real(Ball::integer(1)).div(&power, budget) } else { Ok(power) }
    }

    fn exp(&self, budget: &Budget) -> Step<Self> {
        let size = self.re.exp(budget)?;
        if self.is_real() {
            return Ok(Self::real(size));
        }
        let (sin, cos) = self.im.sin_cos(budget)?;
        Ok(Self { re: size.mul(&cos, budget)?, im: size.mul(&sin, budget)? })
    }

    fn abs(&self, budget: &Budget) -> Step<Ball> {
        if self.is_real() {
            return Ok(self.re.abs());
        }
        self.re.mul(&self.re, budget)?.add(&self.im.mul(&self.im, budget)?, budget)?.sqrt(budget)
    }

    /// Whether both parts are the same.
    pub(crate) fn same(&self, other: &Self, budget: &Budget) -> Step<bool> {
        let re = self.re.same(&other.re, budget);
        if re == Ok(false) {
            return re;
        }
        let im = if self.is_real() && other.is_real() { Ok(true) } else { self.im.same(&other.im, budget) };
        if im == Ok(false) { im } else { Ok(re? && im?) }
    }
}

/// An evaluation at one point.
pub(crate) struct Evaluation<'a> {
    pub(crate) point: &'a Point,
    pub(crate) budget: &'a Budget,
}

impl Evaluation<'_> {
    /// The value of an expression.
    pub(crate) fn value(&self, node: &Node) -> Step<Complex> {
        let budget = self.budget;
        budget.spend(1)?;
        if let Ok(value) = exact(node, self.point, budget) {
            return Ok(Complex::real(Ball::rational(&value, budget)?));
        }
        match node {
            Node::Pi => Ok(Complex::real(pi().clone())),
            Node::E => Ok(Complex::real(Ball::integer(1).exp(budget)?)),
            Node::I => Ok(Complex { re: Ball::integer(0), im: Ball::integer(1) }),
            Node::Sum(terms) => {
                let mut sum = Complex::real(Ball::integer(0));
                for term in terms {
                    sum = sum.add(&self.value(term)?, budget)?;
                }
                Ok(sum)
            }
            Node::Product(factors) => {
                let mut product = Complex::real(Ball::integer(1));
                for factor in factors {
                    product = product.mul(&self.value(factor)?, budget)?;
                }
                Ok(product)
            }
            Node::Quotient(above, below) => self.value(above)?.div(&self.value(below)?, budget),
            Node::Negative(inner) => Ok(self.value(inner)?.neg()),
            Node::Power(base, exponent) => self.power(base, exponent),
            Node::Call(function, values) => self.call(*function, values),
            _ => Err(Stop::Unknown),
        }
    }

    /// The value where it is real.
    pub(crate) fn real(&self, node: &Node) -> Step<Ball> {
        let value = self.value(node)?;
        if value.is_real() { Ok(value.re) } else { Err(Stop::Unknown) }
    }

    fn power(&self, base: &Node, exponent: &Node) -> Step<Complex> {
        let budget = self.budget;
        if let Ok(power) = exact(exponent, self.point, budget) {
            if power.is_integer() {
                let size = power.to_integer().to_i64().ok_or(Stop::Spent)?;
                return self.value(base)?.powi(size, budget);
            }
            let root = self.root(&self.value(base)?, power.denom())?;
            return root.powi(power.numer().to_i64().ok_or(Stop::Spent)?, budget);
        }
        let exponent = self.value(exponent)?;
        if *base == Node::E {
            return exponent.exp(budget);
        }
        let base = self.value(base)?;
        if !base.is_real() {
            return Err(Stop::Unknown);
        }
        let ln = Complex::real(base.re.ln(budget)?);
        exponent.mul(&ln, budget)?.exp(budget)
    }

    /// The real root where there is one, else the principal square root.
    fn root(&self, value: &Complex, index: &BigInt) -> Step<Complex> {
        let budget = self.budget;
        let index = index.to_i64().filter(|index| (1..=1 << 20).contains(index)).ok_or(Stop::Spent)?;
        if !value.is_real() {
            return if index == 2 { self.complex_root(value) } else { Err(Stop::Unknown) };
        }
        let negative = match value.re.sign()? {
            Ordering::Equal => return Ok(value.clone()),
            Ordering::Less => true,
            Ordering::Greater => false,
        };
        let size = value.re.abs();
        let root = if index == 2 {
            size.sqrt(budget)?
        } else {
            size.ln(budget)?.div(&Ball::integer(index), budget)?.exp(budget)?
        };
        match (negative, index) {
            (false, _) => Ok(Complex::real(root)),
            (true, index) if index % 2 == 1 => Ok(Complex::real(root.neg())),
            (true, 2) if self.point.is_empty() => Ok(Complex { re: Ball::integer(0), im: root }),
            _ => Err(Stop::Undefined),
        }
    }

    /// √(a + bi) = √((r + a)/2) ± i √((r − a)/2) with r = |a + bi|.
    fn complex_root(&self, value: &Complex) -> Step<Complex> {
        let budget = self.budget;
        let (size, two) = (value.abs(budget)?, Ball::integer(2));
        let re = size.add(&value.re, budget)?.div(&two, budget)?.sqrt(budget)?;
        let im = size.sub(&value.re, budget)?.div(&two, budget)?.sqrt(budget)?;
        Ok(Complex { re, im: if value.im.sign()? == Ordering::Less { im.neg() } else { im } })
    }

    fn call(&self, function: Function, values: &[Node]) -> Step<Complex> {
        let budget = self.budget;
        let [first, rest @ ..] = values else { return Err(Stop::Unknown) };
        let real = |ball: Step<Ball>| ball.map(Complex::real);
        match function {
            Function::Root => {
                let index = exact(rest.first().ok_or(Stop::Unknown)?, self.point, budget)?;
                if !index.is_integer() || !index.is_positive() {
                    return Err(Stop::Unknown);
                }
                return self.root(&self.value(first)?, index.numer());
            }
            Function::Exp => return self.value(first)?.exp(budget),
            Function::Abs => return real(self.value(first)?.abs(budget)),
            Function::Max | Function::Min => return real(self.extreme(values, function == Function::Max)),
            _ => {}
        }
        let x = self.real(first)?;
        let one = Ball::integer(1);
        real(match function {
            Function::Ln => x.ln(budget),
            Function::Log => {
                let base = self.real(rest.first().ok_or(Stop::Unknown)?)?;
                x.ln(budget)?.div(&base.ln(budget)?, budget)
            }
            Function::Sin => Ok(x.sin_cos(budget)?.0),
            Function::Cos => Ok(x.sin_cos(budget)?.1),
            Function::Tan => x.sin_cos(budget).and_then(|(sin, cos)| sin.div(&cos, budget)),
            Function::Cot => x.sin_cos(budget).and_then(|(sin, cos)| cos.div(&sin, budget)),
            Function::Sec => one.div(&x.sin_cos(budget)?.1, budget),
            Function::Csc => one.div(&x.sin_cos(budget)?.0, budget),
            Function::Arctan => x.atan(budget),
            Function::Arcsin => arcsin(&x, budget),
            Function::Arccos => half_pi(budget)?.sub(&arcsin(&x, budget)?, budget),
            Function::Sinh | Function::Cosh | Function::Tanh => hyperbolic(function, &x, budget),
            Function::Floor => rational(&x.floor()?, budget),
            Function::Ceil => Ok(rational(&x.neg().floor()?, budget)?.neg()),
            _ => Err(Stop::Unknown),
        })
    }

    fn extreme(&self, values: &[Node], largest: bool) -> Step<Ball> {
        let mut best: Option<Ball> = None;
        for node in values {
            let value = self.real(node)?;
            best = Some(match best {
                None => value,
                Some(best) => {
                    let above = value.sub(&best, self.budget)?.sign()? == Ordering::Greater;
                    if above == largest { value } else { best }
                }
            });
        }
        best.ok_or(Stop::Unknown)
    }
}

fn rational(whole: &BigInt, budget: &Budget) -> Step<Ball> {
    Ball::rational(&BigRational::from_integer(whole.clone()), budget)
}

fn half_pi(budget: &Budget) -> Step<Ball> {
    pi().div(&Ball::integer(2), budget)
}

/// arcsin x = arctan(x / √(1 − x²)); ±π/2 at ±1.
fn arcsin(x: &Ball, budget: &Budget) -> Step<Ball> {
    let rest = Ball::integer(1).sub(&x.mul(x, budget)?, budget)?;
    match rest.sign()? {
        Ordering::Less => Err(Stop::Undefined),
        Ordering::Equal if x.sign()? == Ordering::Less => Ok(half_pi(budget)?.neg()),
        Ordering::Equal => half_pi(budget),
        Ordering::Greater => x.div(&rest.sqrt(budget)?, budget)?.atan(budget),
    }
}

fn hyperbolic(function: Function, x: &Ball, budget: &Budget) -> Step<Ball> {
    let (up, down) = (x.exp(budget)?, x.neg().exp(budget)?);
    let two = Ball::integer(2);
    match function {
        Function::Sinh => up.sub(&down, budget)?.div(&two, budget),
        Function::Cosh => up.add(&down, budget)?.div(&two, budget),
        _ => up.sub(&down, budget)?.div(&up.add(&down, budget)?, budget),
    }
}

/// How many points decide whether two expressions with variables are the same.
const POINTS: usize = 20;
/// Those from here on are whole numbers.
const WHOLE: usize = 12;
/// How many of them must be defined for both.
const LEAST: usize = 4;

/// The points at which expressions are compared: eight of positive fractions, four of mixed signs, eight of positive
/// whole numbers. Fixed, and different for each variable, so that a verdict never changes.
fn point(index: usize, names: &[String]) -> Point {
    const PRIMES: [i64; 24] =
        [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89];
    let value = |variable: usize| -> BigRational {
        let above = PRIMES[(5 * index + 7 * variable + 3) % 24];
        let below = PRIMES[(3 * index + 11 * variable + 8) % 24];
        match index {
            0..8 => BigRational::new(above.into(), below.into()),
            8..WHOLE if (index + variable).is_multiple_of(2) => -BigRational::new(above.into(), below.into()),
            8..WHOLE => BigRational::new(below.into(), above.into()),
            _ => BigRational::from_integer((2 + (index + 5 * variable) % 11).into()),
        }
    };
    names.iter().enumerate().map(|(index, name)| (name.clone(), value(index))).collect()
}

/// The points for expressions: whole numbers alone where (−1)ⁿ or n! says that the variables are whole.
pub(crate) fn points(nodes: &[&Node], names: &[String]) -> Vec<Point> {
    let counting = |node: &Node| match node {
        Node::Power(base, exponent) => {
            let negative = matches!(&**base, Node::Number { value, .. } if value.is_negative());
            negative && !exponent.names().is_empty()
        }
        Node::Call(Function::Factorial | Function::Binomial | Function::Gcd | Function::Lcm, _) => true,
        _ => false,
    };
    let whole = nodes.iter().any(|node| node.any(&counting));
    (if whole { WHOLE } else { 0 }..POINTS).map(|index| point(index, names)).collect()
}

/// Whether two expressions have the same value, everywhere where both have one.
///
/// # Errors
/// `Unknown` or `Undefined` where that cannot be said at enough points, `Spent` where the budget does not last.
pub(crate) fn same(a: &Node, b: &Node, budget: &Budget) -> Step<bool> {
    let mut names = a.names();
    names.extend(b.names());
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        let at = Evaluation { point: &Vec::new(), budget };
        return at.value(a)?.same(&at.value(b)?, budget);
    }
    let mut agreed = 0;
    let mut last = Stop::Unknown;
    for point in points(&[a, b], &names) {
        let at = Evaluation { point: &point, budget };
        match at.value(a).and_then(|a| a.same(&at.value(b)?, budget)) {
            Ok(true) => agreed += 1,
            Ok(false) => return Ok(false),
            Err(Stop::Spent) if budget.spend(1).is_err() => return Err(Stop::Spent),
            Err(stop) => last = stop,
        }
    }
    if agreed >= LEAST { Ok(true) } else { Err(last) }
}

/// Whether two expressions differ by a constant factor that is not 0 (above 0, with `positive`): f(x)·g(x₀) = g(x)·f(x₀).
pub(crate) fn proportional(f: &Node, g: &Node, positive: bool, budget: &Budget) -> Step<bool> {
    let mut names = f.names();
    names.extend(g.names());
    names.sort_unstable();
    names.dedup();
    let mut first: Option<(Ball, Ball)> = None;
    let mut agreed = 0;
    for point in points(&[f, g], &names) {
        let at = Evaluation { point: &point, budget };
        let (f, g) = match (at.real(f), at.real(g)) {
            (Ok(f), Ok(g)) => (f, g),
            (Err(Stop::Spent), _) | (_, Err(Stop::Spent)) => return Err(Stop::Spent),
            _ => continue,
        };
        let Some((f0, g0)) = &first else {
            if let (Ok(a), Ok(b)) = (f.sign(), g.sign()) {
                if a == Ordering::Equal || b == Ordering::Equal || (positive && a != b) {
                    return Ok(false);
                }
                first = Some((f, g));
            }
            continue;
        };
        match f.mul(g0, budget)?.same(&g.mul(f0, budget)?, budget) {
            Ok(true) => agreed += 1,
            Ok(false) => return Ok(false),
            Err(_) => {}
        }
    }
    if agreed + 1 >= LEAST { Ok(true) } else { Err(Stop::Unknown) }
}
