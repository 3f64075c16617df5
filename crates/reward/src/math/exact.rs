//! Exact rational values.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::budget::{Budget, Step, Stop, power};
use super::node::{Function, Node};
use super::numeric::Point;

/// Largest n of n!. Its 19,000 bits are the most that is computed with in one step.
const LARGEST_FACTORIAL: u64 = 2100;

/// The rational value of an expression, with its variables set to given numbers.
///
/// # Errors
/// `Unknown` where the value is not rational or is not seen to be; `Undefined` and `Spent` as everywhere.
pub(crate) fn exact(node: &Node, point: &Point, budget: &Budget) -> Step<BigRational> {
    budget.spend(1)?;
    let value = |node: &Node| exact(node, point, budget);
    match node {
        Node::Number { value, .. } => Ok(value.clone()),
        Node::Name(name) => {
            point.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).ok_or(Stop::Unknown)
        }
        Node::Sum(terms) => {
            let mut sum = BigRational::zero();
            for term in terms {
                let term = value(term)?;
                budget.rationals(&sum, &term)?;
                sum += term;
            }
            Ok(sum)
        }
        Node::Product(factors) => {
            let mut product = BigRational::one();
            for factor in factors {
                let factor = value(factor)?;
                budget.rationals(&product, &factor)?;
                product *= factor;
            }
            Ok(product)
        }
        Node::Quotient(above, below) => {
            let (above, below) = (value(above)?, value(below)?);
            if below.is_zero() {
                return Err(Stop::Undefined);
            }
            budget.rationals(&above, &below)?;
            Ok(above / below)
        }
        Node::Negative(inner) => Ok(-value(inner)?),
        Node::Percent(inner) => Ok(value(inner)? / BigRational::from_integer(100.into())),
        Node::Power(base, exponent) => {
            let (base, exponent) = (value(base)?, value(exponent)?);
            if !exponent.is_integer() {
                return Err(Stop::Unknown);
            }
            power(&base, exponent.to_integer().to_i64().ok_or(Stop::Spent)?, budget)
        }
        Node::Call(function, values) => call(*function, values, &value, budget),
        _ => Err(Stop::Unknown),
    }
}

fn call(
    function: Function,
    nodes: &[Node],
    value: &dyn Fn(&Node) -> Step<BigRational>,
    budget: &Budget,
) -> Step<BigRational> {
    let computed = matches!(
        function,
        Function::Abs
            | Function::Floor
            | Function::Ceil
            | Function::Factorial
            | Function::Binomial
            | Function::Gcd
            | Function::Lcm
            | Function::Max
            | Function::Min
    );
    if !computed {
        return Err(Stop::Unknown);
    }
    let values = nodes.iter().map(value).collect::<Step<Vec<_>>>()?;
    let whole = |value: &BigRational| if value.is_integer() { Ok(value.to_integer()) } else { Err(Stop::Unknown) };
    let integer = |value: BigInt| Ok(BigRational::from_integer(value));
    match (function, values.as_slice()) {
        (Function::Abs, [x]) => Ok(x.abs()),
        (Function::Floor, [x]) => Ok(x.floor()),
        (Function::Ceil, [x]) => Ok(x.ceil()),
        (Function::Factorial, [n]) => integer(factorial(&whole(n)?, budget)?),
        (Function::Binomial, [n, k]) => integer(binomial(&whole(n)?, &whole(k)?, budget)?),
        (Function::Gcd | Function::Lcm, [first, rest @ ..]) => {
            let mut result = whole(first)?;
            for next in rest {
                let next = whole(next)?;
                budget.spend(1 + (result.bits() + next.bits()).pow(2) / 4096)?;
                let common = common_divisor(&result, &next);
                result = match function {
                    _ if common.is_zero() => common,
                    Function::Gcd => common,
                    _ => (result * next).abs() / common,
                };
            }
            integer(result)
        }
        (Function::Max, [_, ..]) => values.into_iter().max().ok_or(Stop::Unknown),
        (Function::Min, [_, ..]) => values.into_iter().min().ok_or(Stop::Unknown),
        _ => Err(Stop::Unknown),
    }
}

/// The greatest common divisor: b over the denominator of a/b.
fn common_divisor(a: &BigInt, b: &BigInt) -> BigInt {
    if b.is_zero() { a.abs() } else { b.abs() / BigRational::new(a.clone(), b.clone()).denom() }
}

fn factorial(n: &BigInt, budget: &Budget) -> Step<BigInt> {
    if n.is_negative() {
        return Err(Stop::Undefined);
    }
    let n = n.to_u64().filter(|n| *n <= LARGEST_FACTORIAL).ok_or(Stop::Spent)?;
    budget.spend(1 + n / 4)?;
    Ok((2..=n).fold(BigInt::one(), |product, factor| product * factor))
}

fn binomial(n: &BigInt, k: &BigInt, budget: &Budget) -> Step<BigInt> {
    if n.is_negative() || k.is_negative() {
        return Err(Stop::Unknown);
    }
    if k > n {
        return Ok(BigInt::zero());
    }
    let k = k.min(&(n - k)).to_u64().filter(|k| *k <= LARGEST_FACTORIAL).ok_or(Stop::Spent)?;
    budget.spend(1 + k * (1 + n.bits() / 64))?;
    let mut result = BigInt::one();
    for index in 0..k {
        result = result * (n - index) / (index + 1);
    }
    Ok(result)
}
