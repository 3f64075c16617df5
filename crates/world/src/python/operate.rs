//! Python's operators, and the words of the exceptions that they raise.

use std::cmp::Ordering;

use num_bigint::BigInt;
use num_traits::{FromPrimitive, ToPrimitive};

use super::{Value, repr};

/// An exception: `str(exception)`, which is what an agent gets to see after `Error: `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised(pub String);

type Outcome<T> = Result<T, Raised>;

fn raise<T>(words: impl Into<String>) -> Outcome<T> {
    Err(Raised(words.into()))
}

/// A double of an integer.
///
/// # Errors
/// The integer is beyond the doubles.
pub(super) fn double(whole: &BigInt) -> Outcome<f64> {
    match whole.to_f64().filter(|number| number.is_finite()) {
        Some(number) => Ok(number),
        None => raise("int too large to convert to float"),
    }
}

/// Two numbers by worth, exactly; `None` where one is no number or NaN.
pub(super) fn compare_numbers(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Float(a), b) => compare_mixed(&b.whole()?, *a).map(Ordering::reverse),
        (a, Value::Float(b)) => compare_mixed(&a.whole()?, *b),
        (a, b) => Some(a.whole()?.cmp(&b.whole()?)),
    }
}

fn compare_mixed(whole: &BigInt, number: f64) -> Option<Ordering> {
    if number.is_infinite() {
        return Some(if number > 0.0 { Ordering::Less } else { Ordering::Greater });
    }
    let floor = BigInt::from_f64(number.floor())?;
    Some(whole.cmp(&floor).then(if number > number.floor() { Ordering::Less } else { Ordering::Equal }))
}

/// `a < b`.
///
/// # Errors
/// The two cannot be ordered.
pub fn less(a: &Value, b: &Value) -> Outcome<bool> {
    match (a, b) {
        (Value::Str(a), Value::Str(b)) => Ok(a < b),
        (Value::List(a), Value::List(b)) => match a.iter().zip(b.iter()).find(|(a, b)| a != b) {
            Some((a, b)) => less(a, b),
            None => Ok(a.len() < b.len()),
        },
        (Value::Float(x), other) | (other, Value::Float(x)) if x.is_nan() && other.number().is_some() => Ok(false),
        _ => match compare_numbers(a, b) {
            Some(order) => Ok(order == Ordering::Less),
            None => {
                raise(format!("'<' not supported between instances of '{}' and '{}'", a.type_name(), b.type_name()))
            }
        },
    }
}

fn unsupported<T>(operator: &str, a: &Value, b: &Value) -> Outcome<T> {
    raise(format!("unsupported operand type(s) for {operator}: '{}' and '{}'", a.type_name(), b.type_name()))
}

/// An operation on two numbers, where both are numbers.
fn numbers(
    a: &Value,
    b: &Value,
    whole: fn(BigInt, BigInt) -> BigInt,
    float: fn(f64, f64) -> f64,
) -> Option<Outcome<Value>> {
    let float_of = |value: &Value| match value {
        Value::Float(number) => Some(Ok(*number)),
        other => other.whole().map(|whole| double(&whole)),
    };
    if let (Some(a), Some(b)) = (a.whole(), b.whole()) {
        return Some(Ok(Value::Int(whole(a, b))));
    }
    let (a, b) = (float_of(a)?, float_of(b)?);
    Some(a.and_then(|a| b.map(|b| Value::Float(float(a, b)))))
}

fn plus(operator: &str, a: &Value, b: &Value) -> Outcome<Value> {
    match (a, b) {
        (Value::Str(a), Value::Str(b)) => Ok(Value::str(format!("{a}{b}"))),
        (Value::List(a), Value::List(b)) => Ok(Value::list(a.iter().chain(b.iter()).cloned())),
        (Value::Str(_) | Value::List(_), _) => {
            let own = a.type_name();
            raise(format!("can only concatenate {own} (not \"{}\") to {own}", b.type_name()))
        }
        _ => numbers(a, b, |a, b| a + b, |a, b| a + b).unwrap_or_else(|| unsupported(operator, a, b)),
    }
}

fn minus(operator: &str, a: &Value, b: &Value) -> Outcome<Value> {
    numbers(a, b, |a, b| a - b, |a, b| a - b).unwrap_or_else(|| unsupported(operator, a, b))
}

/// `a + b`.
///
/// # Errors
/// The types do not add, or an integer is beyond the doubles.
pub fn add(a: &Value, b: &Value) -> Outcome<Value> {
    plus("+", a, b)
}

/// `a += b`, which names itself differently when it fails.
///
/// # Errors
/// As [`add`].
pub fn add_in_place(a: &Value, b: &Value) -> Outcome<Value> {
    plus("+=", a, b)
}

/// `a - b`.
///
/// # Errors
/// One is no number, or an integer is beyond the doubles.
pub fn subtract(a: &Value, b: &Value) -> Outcome<Value> {
    minus("-", a, b)
}

/// `a -= b`.
///
/// # Errors
/// As [`subtract`].
pub fn subtract_in_place(a: &Value, b: &Value) -> Outcome<Value> {
    minus("-=", a, b)
}

/// `times * value`. A text or list comes back unrepeated: nothing but its type is ever looked at, and repeating has no bound.
///
/// # Errors
/// The value cannot be multiplied.
pub fn multiply(times: i64, value: &Value) -> Outcome<Value> {
    match value {
        Value::Str(_) | Value::List(_) => Ok(value.clone()),
        _ => {
            let times = Value::int(times);
            numbers(&times, value, |a, b| a * b, |a, b| a * b).unwrap_or_else(|| unsupported("*", &times, value))
        }
    }
}

/// `-value`.
///
/// # Errors
/// The value is no number.
pub fn negate(value: &Value) -> Outcome<Value> {
    match value {
        Value::Float(number) => Ok(Value::Float(-number)),
        _ => match value.whole() {
            Some(whole) => Ok(Value::Int(-whole)),
            None => raise(format!("bad operand type for unary -: '{}'", value.type_name())),
        },
    }
}

/// `sum(values)`.
///
/// # Errors
/// A value does not add to what came before it.
pub fn sum<'a>(values: impl IntoIterator<Item = &'a Value>) -> Outcome<Value> {
    let zero = Value::int(0);
    values.into_iter().try_fold(zero, |total, value| match (&total, value) {
        (Value::Str(_) | Value::List(_), _) => unsupported("+", &total, value),
        _ => add(&total, value),
    })
}

/// `round(value, 2)`: to the nearest two decimals of the exact binary value, ties to even.
///
/// # Errors
/// The value is no number.
pub fn round_cents(value: &Value) -> Outcome<Value> {
    match value {
        Value::Float(number) => Ok(Value::Float(cents(*number))),
        _ => match value.whole() {
            Some(whole) => Ok(Value::Int(whole)),
            None => raise(format!("type {} doesn't define __round__ method", value.type_name())),
        },
    }
}

/// `round(number, 2)` of a double.
pub(super) fn cents(number: f64) -> f64 {
    // formatting to decimals rounds the exact binary value, half to even, and reading takes the nearest double: CPython's own way
    if number.is_finite() { format!("{number:.2}").parse().unwrap_or(number) } else { number }
}

/// Whether a value can be a key.
///
/// # Errors
/// It is a list or a dict.
pub fn hashable(value: &Value) -> Outcome<()> {
    match value {
        Value::List(_) | Value::Dict(_) => raise(format!("unhashable type: '{}'", value.type_name())),
        _ => Ok(()),
    }
}

/// `key in container`.
///
/// # Errors
/// The container holds nothing, or cannot hold such a key.
pub fn contains(container: &Value, key: &Value) -> Outcome<bool> {
    match container {
        Value::Dict(dict) => {
            hashable(key)?;
            Ok(key.as_str().is_some_and(|key| dict.contains_key(key)))
        }
        Value::List(values) => Ok(values.contains(key)),
        Value::Str(text) => match key {
            Value::Str(part) => Ok(text.contains(&**part)),
            _ => raise(format!("'in <string>' requires string as left operand, not {}", key.type_name())),
        },
        _ => raise(format!("argument of type '{}' is not iterable", container.type_name())),
    }
}

/// `container[key]`.
///
/// # Errors
/// There is no such key, or the container has no keys of that type.
pub fn item(container: &Value, key: &Value) -> Outcome<Value> {
    let index = |length: usize| -> Option<usize> {
        let index = key.whole()?;
        let length = BigInt::from(length);
        let index = if index < BigInt::ZERO { index + &length } else { index };
        index.to_usize().filter(|_| index < length)
    };
    match container {
        Value::Dict(dict) => {
            hashable(key)?;
            match key.as_str().and_then(|key| dict.get(key)) {
                Some(value) => Ok(value.clone()),
                None => raise(repr(key)),
            }
        }
        Value::List(values) => match (key.whole(), index(values.len())) {
            (_, Some(index)) => Ok(values[index].clone()),
            (Some(_), None) => raise("list index out of range"),
            _ => raise(format!("list indices must be integers or slices, not {}", key.type_name())),
        },
        Value::Str(text) => match (key.whole(), index(text.chars().count())) {
            (_, Some(index)) => Ok(Value::str(text.chars().nth(index).map(String::from).unwrap_or_default())),
            (Some(_), None) => raise("string index out of range"),
            _ => raise(format!("string indices must be integers, not '{}'", key.type_name())),
        },
        _ => raise(format!("'{}' object is not subscriptable", container.type_name())),
    }
}

/// The values that `for` walks over: of a list, the keys of a dict, the characters of a text.
///
/// # Errors
/// The value cannot be walked over.
pub fn iterate(value: &Value) -> Outcome<Vec<Value>> {
    match value {
        Value::List(values) => Ok(values.to_vec()),
        Value::Dict(dict) => Ok(dict.keys().map(|key| Value::Str(key.clone())).collect()),
        Value::Str(text) => Ok(text.chars().map(|character| Value::str(character.to_string())).collect()),
        _ => raise(format!("'{}' object is not iterable", value.type_name())),
    }
}

/// `len(value)`.
///
/// # Errors
/// The value has no length.
pub fn length(value: &Value) -> Outcome<usize> {
    match value {
        Value::List(values) => Ok(values.len()),
        Value::Dict(dict) => Ok(dict.len()),
        Value::Str(text) => Ok(text.chars().count()),
        _ => raise(format!("object of type '{}' has no len()", value.type_name())),
    }
}

/// `values.count(value)`.
///
/// # Errors
/// The value is neither list nor text.
pub fn count(values: &Value, value: &Value) -> Outcome<usize> {
    match (values, value) {
        (Value::List(values), _) => Ok(values.iter().filter(|other| *other == value).count()),
        (Value::Str(text), Value::Str(part)) if part.is_empty() => Ok(text.chars().count() + 1),
        (Value::Str(text), Value::Str(part)) => Ok(text.matches(&**part).count()),
        (Value::Str(_), _) => raise(format!("must be str, not {}", value.type_name())),
        _ => raise(format!("'{}' object has no attribute 'count'", values.type_name())),
    }
}

/// `value.lower()`.
///
/// # Errors
/// The value is no text.
pub fn lower(value: &Value) -> Outcome<String> {
    match value {
        Value::Str(text) => Ok(text.to_lowercase()),
        _ => raise(format!("'{}' object has no attribute 'lower'", value.type_name())),
    }
}

/// `sorted(value)`.
///
/// # Errors
/// The value cannot be walked over, or two neighbours cannot be ordered.
pub fn sorted(value: &Value) -> Outcome<Value> {
    let mut values = iterate(value)?;
    for position in 1..values.len() {
        less(&values[position], &values[position - 1])?;
    }
    values.sort_by(|a, b| match (less(a, b), less(b, a)) {
        (Ok(true), _) => Ordering::Less,
        (_, Ok(true)) => Ordering::Greater,
        _ => Ordering::Equal,
    });
    Ok(Value::list(values))
}

#[cfg(test)]
mod tests;
