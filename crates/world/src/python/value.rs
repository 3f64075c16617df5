//! A value as `json.loads` makes it.

use std::sync::Arc;

use indexmap::IndexMap;
use num_bigint::BigInt;
use num_traits::ToPrimitive;

/// A dict with text keys in the order of insertion.
pub type Dict = IndexMap<Arc<str>, Value>;

/// A value. A clone is cheap: what is inside a list or dict is shared until one of the two is written to.
#[derive(Clone, Debug)]
pub enum Value {
    /// `None`
    None,
    /// `True`, `False`
    Bool(bool),
    /// An integer of any size.
    Int(BigInt),
    /// A double; JSON texts such as `1e400` are infinite.
    Float(f64),
    /// A text.
    Str(Arc<str>),
    /// A list.
    List(Arc<Vec<Value>>),
    /// A dict.
    Dict(Arc<Dict>),
}

impl Value {
    /// A text.
    pub fn str(text: impl AsRef<str>) -> Self {
        Value::Str(Arc::from(text.as_ref()))
    }

    /// An integer.
    pub fn int(number: i64) -> Self {
        Value::Int(BigInt::from(number))
    }

    /// A list.
    pub fn list(values: impl IntoIterator<Item = Value>) -> Self {
        Value::List(Arc::new(values.into_iter().collect()))
    }

    /// A dict in the order given.
    pub fn dict<const N: usize>(pairs: [(&str, Value); N]) -> Self {
        Value::Dict(Arc::new(pairs.into_iter().map(|(key, value)| (Arc::from(key), value)).collect()))
    }

    /// The name of its type in Python.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "str",
            Value::List(_) => "list",
            Value::Dict(_) => "dict",
        }
    }

    /// The text, where it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The list, where it is one.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(values) => Some(values),
            _ => None,
        }
    }

    /// The dict, where it is one.
    pub fn as_dict(&self) -> Option<&Dict> {
        match self {
            Value::Dict(dict) => Some(dict),
            _ => None,
        }
    }

    /// The dict to write to, where it is one.
    pub fn as_dict_mut(&mut self) -> Option<&mut Dict> {
        match self {
            Value::Dict(dict) => Some(Arc::make_mut(dict)),
            _ => None,
        }
    }

    /// The list to write to, where it is one.
    pub fn as_list_mut(&mut self) -> Option<&mut Vec<Value>> {
        match self {
            Value::List(values) => Some(Arc::make_mut(values)),
            _ => None,
        }
    }

    /// What stands under a key of a dict.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_dict()?.get(key)
    }

    /// What stands under a key of a dict, to write to.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.as_dict_mut()?.get_mut(key)
    }

    /// `bool(value)`.
    pub fn truth(&self) -> bool {
        match self {
            Value::None => false,
            Value::Bool(truth) => *truth,
            Value::Int(number) => *number != BigInt::ZERO,
            Value::Float(number) => *number != 0.0,
            Value::Str(text) => !text.is_empty(),
            Value::List(values) => !values.is_empty(),
            Value::Dict(dict) => !dict.is_empty(),
        }
    }

    /// The number as an integer, where it is an integer or a truth value.
    pub(super) fn whole(&self) -> Option<BigInt> {
        match self {
            Value::Bool(truth) => Some(BigInt::from(u8::from(*truth))),
            Value::Int(number) => Some(number.clone()),
            _ => None,
        }
    }

    /// The number as a double, where it is a number; an integer beyond the doubles is infinite.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Float(number) => Some(*number),
            _ => self.whole()?.to_f64(),
        }
    }
}

/// Python's `==`: numbers by worth, dicts without order, everything else by type and parts.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::None, Value::None) => true,
            (Value::Str(a), Value::Str(b)) => a == b,
            // what two databases share need not be compared
            (Value::List(a), Value::List(b)) => Arc::ptr_eq(a, b) || a == b,
            (Value::Dict(a), Value::Dict(b)) => Arc::ptr_eq(a, b) || a == b,
            _ => super::operate::compare_numbers(self, other) == Some(std::cmp::Ordering::Equal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::parse;

    #[test]
    fn equality_is_pythons() {
        for (a, b, equal) in [
            ("1", "1.0", true),
            ("true", "1", true),
            ("false", "0.0", true),
            ("9007199254740993", "9007199254740992.0", false),
            ("1e400", "1e500", true),
            ("[1, {\"a\": 2, \"b\": 3}]", "[1.0, {\"b\": 3, \"a\": 2}]", true),
            ("\"1\"", "1", false),
            ("null", "false", false),
            ("[1]", "[1, 2]", false),
        ] {
            assert_eq!(parse(a).unwrap() == parse(b).unwrap(), equal, "{a} {b}");
        }
    }

    #[test]
    fn a_clone_does_not_see_what_is_written_to_the_other() {
        let first = parse("{\"a\": [1], \"b\": {\"c\": 2}}").unwrap();
        let mut second = first.clone();
        second.get_mut("a").unwrap().as_list_mut().unwrap().push(Value::int(9));
        second.get_mut("b").unwrap().as_dict_mut().unwrap().shift_remove("c");
        assert_eq!(first, parse("{\"a\": [1], \"b\": {\"c\": 2}}").unwrap());
        assert_eq!(second, parse("{\"a\": [1, 9], \"b\": {}}").unwrap());
    }
}
