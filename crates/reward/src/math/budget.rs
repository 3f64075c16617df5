//! How much work one comparison may take: counted in steps by the code, never by a clock, so that a verdict is the same
//! on any machine.

use std::cell::Cell;

use num_bigint::BigInt;
use num_rational::BigRational;

/// Steps of one comparison. A step is about one operation on 256-bit numbers; all of them take some tens of milliseconds.
pub(crate) const STEPS: u64 = 100_000;
/// Numbers of more bits are not computed with. 2004! has 19,000.
pub(crate) const MOST_BITS: u64 = 1 << 16;

/// Why something has no value here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The budget is spent, or a number is too large.
    Spent,
    /// It is not defined: a division by zero, the logarithm of 0.
    Undefined,
    /// It may be defined, but it cannot be computed here: a sum over a symbol, a text, a precision that was lost.
    Unknown,
}

/// The result of a step that may stop.
pub(crate) type Step<T> = Result<T, Stop>;

/// Steps that are left.
#[derive(Debug)]
pub(crate) struct Budget {
    left: Cell<u64>,
}

impl Budget {
    /// A full budget.
    pub(crate) fn new(limit: u64) -> Self {
        Self { left: Cell::new(limit) }
    }

    /// Takes steps, or stops where fewer are left.
    pub(crate) fn spend(&self, steps: u64) -> Step<()> {
        let left = self.left.get();
        if steps > left {
            self.left.set(0);
            return Err(Stop::Spent);
        }
        self.left.set(left - steps);
        Ok(())
    }

    /// Steps that are left.
    #[cfg(test)]
    pub(crate) fn left(&self) -> u64 {
        self.left.get()
    }

    /// Takes the steps of an exact operation on two rationals, whose reduction takes time quadratic in their size.
    pub(crate) fn rationals(&self, a: &BigRational, b: &BigRational) -> Step<()> {
        let bits = bits(a) + bits(b);
        if bits > 2 * MOST_BITS {
            return Err(Stop::Spent);
        }
        self.spend(1 + bits * (bits / 64) / 1024)
    }
}

/// Bits of numerator and denominator together.
pub(crate) fn bits(value: &BigRational) -> u64 {
    value.numer().bits() + value.denom().bits()
}

/// A power with a whole exponent, unless it would be too large.
pub(crate) fn power(base: &BigRational, exponent: i64, budget: &Budget) -> Step<BigRational> {
    use num_traits::{One, Zero};
    if base.is_zero() && exponent <= 0 {
        return if exponent == 0 { Ok(BigRational::one()) } else { Err(Stop::Undefined) };
    }
    let size = exponent.unsigned_abs();
    if base.numer().magnitude().is_one() && base.denom().is_one() {
        let negative = *base < BigRational::zero() && size % 2 == 1;
        return Ok(if negative { -BigRational::one() } else { BigRational::one() });
    }
    let total = bits(base).checked_mul(size).filter(|total| *total <= MOST_BITS).ok_or(Stop::Spent)?;
    budget.spend(1 + total * (total / 64) / 1024)?;
    let size = u32::try_from(size).map_err(|_| Stop::Spent)?;
    // numerator and denominator of a reduced fraction stay coprime: no reduction is needed
    let (numerator, denominator): (BigInt, BigInt) = (base.numer().pow(size), base.denom().pow(size));
    let up = BigRational::new_raw(numerator, denominator);
    Ok(if exponent < 0 { up.recip() } else { up })
}
