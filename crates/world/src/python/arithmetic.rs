//! Python's arithmetic on integers without bound and doubles, as far as an expression of `calculate` can spell it.

use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive, Zero};

use super::operate::{Raised, double};

/// Powers of more bits are beyond the doubles by far, and the result must become one.
const MOST_BITS: u64 = 1 << 16;

/// What an expression comes to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    Int(BigInt),
    Float(f64),
    /// Only that it is one: no operation that these characters spell makes it real again.
    Complex,
    Tuple,
    Ellipsis,
}

fn raise<T>(words: impl Into<String>) -> Result<T, Raised> {
    Err(Raised(words.into()))
}

impl Found {
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Found::Int(_) => "int",
            Found::Float(_) => "float",
            Found::Complex => "complex",
            Found::Tuple => "tuple",
            Found::Ellipsis => "ellipsis",
        }
    }

    pub(super) fn float(&self) -> Result<f64, Raised> {
        match self {
            Found::Int(whole) => double(whole),
            Found::Float(number) => Ok(*number),
            _ => raise(format!("float() argument must be a string or a real number, not '{}'", self.type_name())),
        }
    }

    pub(super) fn signed(self, sign: &str) -> Result<Found, Raised> {
        match self {
            Found::Int(whole) => Ok(Found::Int(if sign == "-" { -whole } else { whole })),
            Found::Float(number) => Ok(Found::Float(if sign == "-" { -number } else { number })),
            Found::Complex => Ok(Found::Complex),
            _ => raise(format!("bad operand type for unary {sign}: '{}'", self.type_name())),
        }
    }

    fn is_zero(&self) -> bool {
        matches!(self, Found::Int(whole) if whole.is_zero()) || matches!(self, Found::Float(number) if *number == 0.0)
    }
}

/// `a sign b`.
pub(super) fn binary(a: Found, sign: &str, b: Found) -> Result<Found, Raised> {
    use Found::{Complex, Ellipsis, Int, Tuple};
    match (&a, sign, &b) {
        (Tuple, "+", Tuple) | (Tuple, "*", Int(_)) | (Int(_), "*", Tuple) => Ok(Tuple),
        (Tuple, "+", _) => raise(format!("can only concatenate tuple (not \"{}\") to tuple", b.type_name())),
        (Tuple, "*", other) | (other, "*", Tuple) if !matches!(other, Int(_)) => {
            raise(format!("can't multiply sequence by non-int of type '{}'", other.type_name()))
        }
        (Tuple | Ellipsis, ..) | (.., Tuple | Ellipsis) | (Complex, "//", _) | (_, "//", Complex) => {
            let sign = if sign == "**" { "** or pow()" } else { sign };
            raise(format!("unsupported operand type(s) for {sign}: '{}' and '{}'", a.type_name(), b.type_name()))
        }
        (Complex, "/", other) if other.is_zero() => raise("complex division by zero"),
        (Complex, ..) | (.., Complex) => Ok(Complex),
        (Int(a), _, Int(b)) => integers(a, sign, b),
        _ => floats(a.float()?, sign, b.float()?),
    }
}

fn integers(a: &BigInt, sign: &str, b: &BigInt) -> Result<Found, Raised> {
    Ok(Found::Int(match sign {
        "+" => a + b,
        "-" => a - b,
        "*" if a.bits() + b.bits() > MOST_BITS => return raise("int too large to convert to float"),
        "*" => a * b,
        "/" if b.is_zero() => return raise("division by zero"),
        "/" => return quotient(a, b).map(Found::Float),
        "//" if b.is_zero() => return raise("integer division or modulo by zero"),
        "//" => {
            let (quotient, remainder) = (a / b, a % b);
            let down = !remainder.is_zero() && (remainder.is_negative() != b.is_negative());
            if down { quotient - 1 } else { quotient }
        }
        _ if b.is_negative() => return floats(double(a)?, sign, double(b)?),
        _ => match b.to_u32() {
            Some(exponent) if a.bits().saturating_mul(u64::from(exponent)) <= MOST_BITS => a.pow(exponent),
            // of -1, 0 and 1 any power is known by whether the exponent is odd
            _ if a.bits() <= 1 => a.pow(2 - u32::from(b.bit(0))),
            _ => return raise("int too large to convert to float"),
        },
    }))
}

/// `a / b`, rounded once, however large both are.
fn quotient(a: &BigInt, b: &BigInt) -> Result<f64, Raised> {
    if a.bits() <= 53 && b.bits() <= 53 {
        return Ok(double(a)? / double(b)?);
    }
    // 66 bits of the quotient with the rest in the last of them round as the exact quotient does
    let shift = 66 + b.bits() as i64 - a.bits() as i64;
    let (above, below) = (a.abs() << shift.max(0) as u64, b.abs() << (-shift).max(0) as u64);
    let (whole, rest) = (&above / &below, &above % &below);
    let sticky = if rest.is_zero() { whole } else { whole | BigInt::from(1) };
    let size = double(&sticky)? * 2f64.powi((-shift).clamp(-1200, 1200) as i32);
    if size.is_infinite() {
        return raise("integer division result too large for a float");
    }
    Ok(if a.is_negative() == b.is_negative() { size } else { -size })
}

fn floats(a: f64, sign: &str, b: f64) -> Result<Found, Raised> {
    Ok(Found::Float(match sign {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" if b == 0.0 => return raise("float division by zero"),
        "/" => a / b,
        "//" if b == 0.0 => return raise("float floor division by zero"),
        "//" => floor_quotient(a, b),
        _ if a == 0.0 && b < 0.0 => return raise("0.0 cannot be raised to a negative power"),
        _ if a < 0.0 && a.is_finite() && b.is_finite() && b != b.floor() => return Ok(Found::Complex),
        _ => {
            let power = a.powf(b);
            if power.is_infinite() && a.is_finite() && b.is_finite() {
                return raise("(34, 'Numerical result out of range')");
            }
            power
        }
    }))
}

/// CPython's `float_floor_div`: through the remainder, so that the floor is that of the exact quotient.
fn floor_quotient(a: f64, b: f64) -> f64 {
    let remainder = a % b;
    let mut quotient = (a - remainder) / b;
    if remainder != 0.0 && ((b < 0.0) != (remainder < 0.0)) {
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return 0f64.copysign(a / b);
    }
    let floor = quotient.floor();
    if quotient - floor > 0.5 { floor + 1.0 } else { floor }
}
