//! Real numbers that know how wrong they may be: (midpoint ± radius) · 2^exponent.
//!
//! Every operation rounds outwards, so the true value always lies inside. Two balls that do not meet are different
//! numbers, for certain; two that meet and are tiny agree to some 60 digits. f64 alone could do neither:
//! e^(π√163) is 262537412640768744 to 30 digits, and is another number.
//! Source: the ball arithmetic of J. van der Hoeven, Ball arithmetic (2009), with one exponent for both parts.

use std::cmp::Ordering;
use std::sync::OnceLock;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::budget::{Budget, Step, Stop};

/// Bits of a midpoint.
pub(super) const PRECISION: u64 = 256;
/// Bits of a radius.
const RADIUS: u64 = 64;
/// Largest exponent of two. Beyond it numbers are not computed with.
const LARGEST: i64 = 1 << 20;
/// Two balls agree if their difference is this many bits smaller than they are.
const AGREE: i64 = 160;

/// A ball.
#[derive(Clone, Debug)]
pub(crate) struct Ball {
    mid: BigInt,
    rad: BigInt,
    exp: i64,
}

impl Ball {
    pub(super) fn integer(value: i64) -> Self {
        Self { mid: value.into(), rad: BigInt::zero(), exp: 0 }
    }

    /// The ball around a rational number.
    pub(crate) fn rational(value: &BigRational, budget: &Budget) -> Step<Self> {
        let whole = |number: &BigInt| Self { mid: number.clone(), rad: BigInt::zero(), exp: 0 }.rounded();
        if value.denom().is_one() {
            whole(value.numer())
        } else {
            whole(value.numer())?.div(&whole(value.denom())?, budget)
        }
    }

    /// Shortens the midpoint to [`PRECISION`] bits and the radius to [`RADIUS`].
    fn rounded(mut self) -> Step<Self> {
        let excess = self.mid.bits().saturating_sub(PRECISION).max(self.rad.bits().saturating_sub(RADIUS));
        if excess > 0 {
            self.mid >>= excess;
            self.rad = (self.rad >> excess) + 2u32; // one for each of the two that were rounded down
            self.exp += i64::try_from(excess).map_err(|_| Stop::Spent)?;
        }
        if self.exp.abs() > LARGEST {
            return Err(Stop::Spent);
        }
        Ok(self)
    }

    pub(super) fn is_exact_zero(&self) -> bool {
        self.mid.is_zero() && self.rad.is_zero()
    }

    /// The sign where it is certain; `Equal` only for exactly 0.
    pub(crate) fn sign(&self) -> Step<Ordering> {
        match self.mid.magnitude().cmp(self.rad.magnitude()) {
            _ if self.is_exact_zero() => Ok(Ordering::Equal),
            Ordering::Greater if self.mid.is_negative() => Ok(Ordering::Less),
            Ordering::Greater => Ok(Ordering::Greater),
            _ => Err(Stop::Unknown),
        }
    }

    /// The power of two just above the size of the midpoint; `None` for 0.
    fn size(&self) -> Option<i64> {
        (!self.mid.is_zero()).then(|| i64::try_from(self.mid.bits()).unwrap_or(i64::MAX / 2) + self.exp)
    }

    pub(super) fn neg(&self) -> Self {
        Self { mid: -&self.mid, rad: self.rad.clone(), exp: self.exp }
    }

    pub(super) fn abs(&self) -> Self {
        Self { mid: self.mid.abs(), rad: self.rad.clone(), exp: self.exp }
    }

    /// times 2^power.
    fn shifted(&self, power: i64) -> Step<Self> {
        Self { mid: self.mid.clone(), rad: self.rad.clone(), exp: self.exp + power }.rounded()
    }

    pub(super) fn add(&self, other: &Self, budget: &Budget) -> Step<Self> {
        budget.spend(1)?;
        if self.is_exact_zero() {
            return Ok(other.clone());
        }
        if other.is_exact_zero() {
            return Ok(self.clone());
        }
        let (high, low) = if self.exp >= other.exp { (self, other) } else { (other, self) };
        let gap = u64::try_from(high.exp - low.exp).map_err(|_| Stop::Spent)?;
        let far = 4 * PRECISION;
        if gap > far {
            // `high` alone fills the precision; `low` is at most one unit of its last place
            let lift = PRECISION + RADIUS;
            let mid = &high.mid << lift;
            let rad = (&high.rad << lift) + 1u32;
            return Self { mid, rad, exp: high.exp - lift as i64 }.rounded();
        }
        Self { mid: (&high.mid << gap) + &low.mid, rad: (&high.rad << gap) + &low.rad, exp: low.exp }.rounded()
    }

    pub(super) fn sub(&self, other: &Self, budget: &Budget) -> Step<Self> {
        self.add(&other.neg(), budget)
    }

    pub(super) fn mul(&self, other: &Self, budget: &Budget) -> Step<Self> {
        budget.spend(1)?;
        let rad = self.mid.abs() * &other.rad + other.mid.abs() * &self.rad + &self.rad * &other.rad;
        Self { mid: &self.mid * &other.mid, rad, exp: self.exp + other.exp }.rounded()
    }

    pub(super) fn div(&self, other: &Self, budget: &Budget) -> Step<Self> {
        budget.spend(2)?;
        if other.sign()? == Ordering::Equal {
            return Err(Stop::Undefined);
        }
        let lift = PRECISION + 2 + other.mid.bits().saturating_sub(self.mid.bits());
        let divisor = other.mid.abs();
        let mid = (&self.mid << lift) / &other.mid;
        // |a/b − a'/b'| ≤ (|a|·r_b + |b|·r_a) / (|b|·(|b| − r_b))
        let spread = self.mid.abs() * &other.rad + &divisor * &self.rad;
        let rad = if spread.is_zero() {
            BigInt::one()
        } else {
            (spread << lift) / (&divisor * (&divisor - &other.rad)) + 2u32
        };
        Self { mid, rad, exp: self.exp - other.exp - i64::try_from(lift).map_err(|_| Stop::Spent)? }.rounded()
    }

    /// The square root of what is certainly not negative.
    pub(super) fn sqrt(&self, budget: &Budget) -> Step<Self> {
        budget.spend(4)?;
        match self.sign()? {
            Ordering::Equal => return Ok(self.clone()),
            Ordering::Less => return Err(Stop::Undefined),
            Ordering::Greater => {}
        }
        let mut lift = (2 * PRECISION + 2).saturating_sub(self.mid.bits());
        let lifted = |lift: u64| self.exp - i64::try_from(lift).unwrap_or(0);
        if lifted(lift) % 2 != 0 {
            lift += 1;
        }
        let root = (&self.mid << lift).sqrt();
        // √(m + r) − √m and √m − √(m − r) are at most r/√m for 0 ≤ r ≤ m
        let rad: BigInt = (&self.rad << lift) / &root + 2u32;
        Self { mid: root, rad, exp: lifted(lift) / 2 }.rounded()
    }

    /// A whole power, by squaring.
    pub(super) fn powi(&self, exponent: u32, budget: &Budget) -> Step<Self> {
        let mut result = Self::integer(1);
        for bit in (0..u32::BITS - exponent.leading_zeros()).rev() {
            result = result.mul(&result, budget)?;
            if exponent >> bit & 1 == 1 {
                result = result.mul(self, budget)?;
            }
        }
        Ok(result)
    }

    /// The whole number next to the midpoint.
    pub(super) fn nearest(&self) -> Step<BigInt> {
        if self.size().is_some_and(|size| size > 2 * PRECISION as i64) {
            return Err(Stop::Unknown);
        }
        if self.exp < -8 * (PRECISION as i64) {
            return Ok(BigInt::zero());
        }
        Ok(self.middle().round().to_integer())
    }

    /// The midpoint. Exact, and small enough because exponents are bounded where this is used.
    fn middle(&self) -> BigRational {
        let power = BigInt::one() << self.exp.unsigned_abs();
        if self.exp < 0 {
            BigRational::new(self.mid.clone(), power)
        } else {
            BigRational::from_integer(&self.mid * power)
        }
    }

    /// A rational number within the precision of the ball, for rounding to decimals.
    pub(crate) fn approximate(&self) -> Step<BigRational> {
        if self.exp.abs() > 8 * PRECISION as i64 {
            return Err(Stop::Unknown);
        }
        Ok(self.middle())
    }

    /// The largest whole number that is not above; unknown where the ball holds a whole number inside.
    pub(super) fn floor(&self) -> Step<BigInt> {
        if self.exp.abs() > 8 * PRECISION as i64 {
            return Err(Stop::Unknown);
        }
        let radius = Self { mid: self.rad.clone(), rad: BigInt::zero(), exp: self.exp }.middle();
        let (low, high) = ((self.middle() - &radius).floor(), (self.middle() + radius).floor());
        if low == high { Ok(low.to_integer()) } else { Err(Stop::Unknown) }
    }

    /// Whether two numbers are the same: certainly not where the balls do not meet; yes where they meet and their
    /// difference is below 2^−160 of their size (of 1, for small ones); otherwise unknown.
    pub(crate) fn same(&self, other: &Self, budget: &Budget) -> Step<bool> {
        let difference = self.sub(other, budget)?;
        match difference.sign() {
            Ok(Ordering::Equal) => return Ok(true),
            Ok(_) => return Ok(false),
            Err(_) => {}
        }
        let size = self.size().max(other.size()).unwrap_or(0).max(0);
        let spread = i64::try_from(difference.rad.bits()).map_err(|_| Stop::Spent)? + difference.exp;
        if spread <= size - AGREE { Ok(true) } else { Err(Stop::Unknown) }
    }

    fn small(&self) -> Option<f64> {
        self.size().is_none_or(|size| size < 40).then(|| {
            let bits = self.mid.bits().saturating_sub(60);
            let lead = (&self.mid >> bits).to_f64().unwrap_or(0.0);
            lead * 2f64.powi(i32::try_from(self.exp + bits as i64).unwrap_or(-2000).max(-2000))
        })
    }

    /// e^x. Source: reduction by ln 2 and by 2^16, then the Taylor series.
    pub(super) fn exp(&self, budget: &Budget) -> Step<Self> {
        let Some(estimate) = self.small().filter(|x| x.abs() < LARGEST as f64 / 2.0) else { return Err(Stop::Spent) };
        let twos = (estimate / std::f64::consts::LN_2).round() as i64;
        let rest = self.sub(&Self::integer(twos).mul(ln2(), budget)?, budget)?;
        const HALVINGS: i64 = 16;
        let x = rest.shifted(-HALVINGS)?;
        let mut sum = Self::integer(1);
        let mut term = Self::integer(1);
        const TERMS: i64 = 20; // |x| < 2^−16, so the 20th term is below 2^−320
        for n in 1..=TERMS {
            term = term.mul(&x, budget)?.div(&Self::integer(n), budget)?;
            sum = sum.add(&term, budget)?;
        }
        sum = sum.widened(-320)?;
        for _ in 0..HALVINGS {
            sum = sum.mul(&sum, budget)?;
        }
        sum.shifted(twos)
    }

    /// The same with the radius larger by 2^power: the rest of a series.
    fn widened(&self, power: i64) -> Step<Self> {
        let lift = u64::try_from((self.exp - power).max(0)).map_err(|_| Stop::Spent)?.min(2 * PRECISION);
        let unit = BigInt::one() << (power - self.exp).clamp(0, LARGEST);
        Self { mid: &self.mid << lift, rad: (&self.rad << lift) + unit, exp: self.exp - lift as i64 }.rounded()
    }

    /// ln x for x certainly above 0. Source: 2 artanh((x − 1)/(x + 1)) after eight square roots.
    pub(super) fn ln(&self, budget: &Budget) -> Step<Self> {
        if self.sign()? != Ordering::Greater {
            return Err(Stop::Undefined);
        }
        let twos = self.size().unwrap_or(0);
        let mut x = self.shifted(-twos)?; // between 1/2 and 1
        const ROOTS: i64 = 8;
        for _ in 0..ROOTS {
            x = x.sqrt(budget)?;
        }
        let one = Self::integer(1);
        let ratio = x.sub(&one, budget)?.div(&x.add(&one, budget)?, budget)?; // below 2^−9
        let series = artanh(&ratio, 20, budget)?.widened(-360)?;
        let scaled = series.shifted(ROOTS + 1)?;
        scaled.add(&Self::integer(twos).mul(ln2(), budget)?, budget)
    }

    /// sin x and cos x. Source: reduction by π/2, then the Taylor series.
    pub(super) fn sin_cos(&self, budget: &Budget) -> Step<(Self, Self)> {
        let quarter = pi().shifted(-1)?;
        let turns = self.div(&quarter, budget)?.nearest()?;
        let whole = Self { mid: turns.clone(), rad: BigInt::zero(), exp: 0 }.rounded()?;
        let x = self.sub(&whole.mul(&quarter, budget)?, budget)?;
        let (mut sin, mut cos) = (x.clone(), Self::integer(1));
        let mut term = x.clone();
        const TERMS: i64 = 62; // |x| < 1, and 62! is above 2^280
        for n in 2..=TERMS {
            term = term.mul(&x, budget)?.div(&Self::integer(n), budget)?;
            let signed = if n % 4 < 2 { term.clone() } else { term.neg() };
            if n % 2 == 0 {
                cos = cos.add(&signed, budget)?;
            } else {
                sin = sin.add(&signed, budget)?;
            }
        }
        let (sin, cos) = (sin.widened(-270)?, cos.widened(-270)?);
        let turn = ((turns % 4i32) + 4i32) % 4i32;
        Ok(match turn.to_i64() {
            Some(0) => (sin, cos),
            Some(1) => (cos, sin.neg()),
            Some(2) => (sin.neg(), cos.neg()),
            _ => (cos.neg(), sin),
        })
    }

    /// arctan x. Source: arctan x = 2 arctan(x / (1 + √(1 + x²))), five times, then the Taylor series.
    pub(super) fn atan(&self, budget: &Budget) -> Step<Self> {
        const HALVINGS: i64 = 5;
        let one = Self::integer(1);
        let mut x = self.clone();
        for _ in 0..HALVINGS {
            let root = one.add(&x.mul(&x, budget)?, budget)?.sqrt(budget)?;
            x = x.div(&one.add(&root, budget)?, budget)?;
        }
        // |x| < tan(π/64) < 2^−4: 40 odd terms reach below 2^−320
        arctan_series(&x, 40, budget)?.widened(-320)?.shifted(HALVINGS)
    }
}

/// x + x³/3 + x⁵/5 + …
fn artanh(x: &Ball, terms: i64, budget: &Budget) -> Step<Ball> {
    odd_series(x, terms, false, budget)
}

/// x − x³/3 + x⁵/5 − …
fn arctan_series(x: &Ball, terms: i64, budget: &Budget) -> Step<Ball> {
    odd_series(x, terms, true, budget)
}

fn odd_series(x: &Ball, terms: i64, alternating: bool, budget: &Budget) -> Step<Ball> {
    let square = x.mul(x, budget)?;
    let mut power = x.clone();
    let mut sum = x.clone();
    for n in 1..terms {
        power = power.mul(&square, budget)?;
        let term = power.div(&Ball::integer(2 * n + 1), budget)?;
        sum = sum.add(&if alternating && n % 2 == 1 { term.neg() } else { term }, budget)?;
    }
    Ok(sum)
}

/// ln 2 = 2 artanh(1/3).
fn ln2() -> &'static Ball {
    static LN2: OnceLock<Ball> = OnceLock::new();
    constant(&LN2, |budget| {
        let third = Ball::integer(1).div(&Ball::integer(3), budget)?;
        artanh(&third, 100, budget)?.widened(-310)?.shifted(1)
    })
}

/// π = 16 arctan(1/5) − 4 arctan(1/239). Source: Machin, 1706.
pub(super) fn pi() -> &'static Ball {
    static PI: OnceLock<Ball> = OnceLock::new();
    constant(&PI, |budget| {
        let one = Ball::integer(1);
        let fifth = arctan_series(&one.div(&Ball::integer(5), budget)?, 70, budget)?.widened(-320)?.shifted(4)?;
        let small = arctan_series(&one.div(&Ball::integer(239), budget)?, 30, budget)?.widened(-400)?.shifted(2)?;
        fifth.sub(&small, budget)
    })
}

fn constant(cell: &'static OnceLock<Ball>, compute: fn(&Budget) -> Step<Ball>) -> &'static Ball {
    cell.get_or_init(|| {
        let value = compute(&Budget::new(u64::MAX));
        assert!(value.is_ok(), "a constant of ours has a value");
        value.unwrap_or_else(|_| Ball::integer(0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Budget {
        Budget::new(1_000_000)
    }

    fn decimal(text: &str) -> Ball {
        let (whole, fraction) = text.split_once('.').unwrap();
        let numerator: BigInt = format!("{whole}{fraction}").parse().unwrap();
        let value = BigRational::new(numerator, BigInt::from(10).pow(u32::try_from(fraction.len()).unwrap()));
        Ball::rational(&value, &budget()).unwrap()
    }

    fn close(value: &Ball, text: &str) {
        let digits = i64::try_from(text.len()).unwrap() - 3;
        let difference = value.sub(&decimal(text), &budget()).unwrap();
        let size = difference
            .abs()
            .add(&Ball { mid: difference.rad.clone(), rad: BigInt::zero(), exp: difference.exp }, &budget());
        let size = size.unwrap().size().unwrap_or(i64::MIN);
        assert!((size as f64) < -(digits as f64) * 3.3, "{text}: off by 2^{size}");
    }

    /// Digits from the tables in Abramowitz and Stegun and, for 60 digits, from mpmath.
    #[test]
    fn functions_have_their_values_to_sixty_digits() {
        let b = &budget();
        let one = Ball::integer(1);
        close(pi(), "3.14159265358979323846264338327950288419716939937510582097494");
        close(ln2(), "0.69314718055994530941723212145817656807550013436025525412068");
        close(&one.exp(b).unwrap(), "2.71828182845904523536028747135266249775724709369995957496697");
        close(&Ball::integer(10).ln(b).unwrap(), "2.30258509299404568401799145468436420760110148862877297603333");
        close(&Ball::integer(2).sqrt(b).unwrap(), "1.41421356237309504880168872420969807856967187537694807317668");
        let (sin, cos) = one.sin_cos(b).unwrap();
        close(&sin, "0.84147098480789650665250232163029899962256306079837106567276");
        close(&cos, "0.54030230586813971740093660744297660373231042061792222767010");
        close(&one.atan(b).unwrap(), "0.78539816339744830961566084581987572104929234984377645524374");
    }

    #[test]
    fn near_misses_are_told_apart_and_equals_agree() {
        let b = &budget();
        let almost = pi().mul(&Ball::integer(163).sqrt(b).unwrap(), b).unwrap().exp(b).unwrap();
        let whole = Ball::rational(&BigRational::from_integer(262_537_412_640_768_744i64.into()), b).unwrap();
        assert_eq!(almost.same(&whole, b), Ok(false));
        let (two, three) = (Ball::integer(2).sqrt(b).unwrap(), Ball::integer(3).sqrt(b).unwrap());
        let six = Ball::integer(6).sqrt(b).unwrap();
        assert_eq!(two.mul(&three, b).unwrap().same(&six, b), Ok(true));
        let (sin, _) = pi().sin_cos(b).unwrap();
        assert_eq!(sin.sign(), Err(Stop::Unknown), "zero is never certain");
        assert_eq!(sin.same(&Ball::integer(0), b), Ok(true));
        let tiny = Ball::integer(-200).exp(b).unwrap();
        assert_eq!(tiny.same(&Ball::integer(0), b), Ok(false));
    }

    #[test]
    fn large_numbers_and_divisions_by_what_may_be_zero_stop() {
        let b = &budget();
        assert_eq!(Ball::integer(1).div(&Ball::integer(0), b).unwrap_err(), Stop::Undefined);
        assert_eq!(Ball::integer(i64::MAX).exp(b).unwrap_err(), Stop::Spent);
        let (sin, _) = pi().sin_cos(b).unwrap();
        assert_eq!(Ball::integer(1).div(&sin, b).unwrap_err(), Stop::Unknown);
        assert_eq!(Ball::integer(9).powi(u32::MAX, b).unwrap_err(), Stop::Spent);
        assert_eq!(Ball::integer(2).powi(1_000_000, b).map(|_| ()), Ok(()));
    }
}
