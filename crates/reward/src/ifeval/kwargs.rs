//! The arguments of one instruction, read once and strictly.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// How a count is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Relation {
    LessThan,
    AtLeast,
}

impl Relation {
    /// `count` in this relation to `bound`.
    pub(super) fn holds(self, count: usize, bound: usize) -> bool {
        match self {
            Relation::LessThan => count < bound,
            Relation::AtLeast => count >= bound,
        }
    }
}

/// Why an argument cannot be used.
pub(super) type Why = String;

/// The keyword arguments of one instruction; `null` is the same as absent.
pub(super) struct Kwargs<'a> {
    given: Option<&'a Map<String, Value>>,
    read: BTreeSet<&'static str>,
}

impl<'a> Kwargs<'a> {
    /// Arguments as a row has them: a table, or null for none.
    pub(super) fn new(value: &'a Value) -> Result<Self, Why> {
        let given = match value {
            Value::Null => None,
            Value::Object(map) => Some(map),
            other => return Err(format!("its kwargs are {}, not a table", kind(other))),
        };
        Ok(Self { given, read: BTreeSet::new() })
    }

    fn value(&mut self, name: &'static str) -> Result<&'a Value, Why> {
        self.read.insert(name);
        let value = self.given.and_then(|map| map.get(name)).filter(|value| !value.is_null());
        value.ok_or_else(|| format!("`{name}` is missing"))
    }

    /// A text with more than spaces in it, spaces around it cut.
    pub(super) fn text(&mut self, name: &'static str) -> Result<&'a str, Why> {
        let value = self.value(name)?;
        let text = value.as_str().ok_or_else(|| format!("`{name}` is {}, not a text", kind(value)))?.trim();
        if text.is_empty() { Err(format!("`{name}` is empty")) } else { Ok(text) }
    }

    /// One text or more, none of them blank.
    pub(super) fn texts(&mut self, name: &'static str) -> Result<Vec<&'a str>, Why> {
        let value = self.value(name)?;
        let list = value.as_array().ok_or_else(|| format!("`{name}` is {}, not a list of texts", kind(value)))?;
        let texts: Option<Vec<&str>> =
            list.iter().map(|item| item.as_str().filter(|text| !text.trim().is_empty())).collect();
        match texts {
            None => Err(format!("`{name}` holds something that is no text, or a blank one")),
            Some(texts) if texts.is_empty() => Err(format!("`{name}` is an empty list")),
            Some(texts) => Ok(texts),
        }
    }

    /// A whole number, 0 or more; `3.0` is one, as tables of floats write it.
    pub(super) fn count(&mut self, name: &'static str) -> Result<usize, Why> {
        let value = self.value(name)?;
        let float = |number: f64| (number >= 0.0 && number.fract() == 0.0 && number <= 9e15).then_some(number as u64);
        let number = value.as_u64().or_else(|| value.as_f64().and_then(float));
        number
            .and_then(|number| usize::try_from(number).ok())
            .ok_or_else(|| format!("`{name}` is {}, not a whole number, 0 or more", shown(value)))
    }

    /// `"less than"` or `"at least"`.
    pub(super) fn relation(&mut self, name: &'static str) -> Result<Relation, Why> {
        match self.text(name)? {
            "less than" => Ok(Relation::LessThan),
            "at least" => Ok(Relation::AtLeast),
            other => Err(format!("`{name}` is {other:?}, not \"less than\" or \"at least\"")),
        }
    }

    /// Refuses arguments that nobody asked for: one that is misspelt must not be silently without effect.
    pub(super) fn finish(self) -> Result<(), Why> {
        let mut unread = self
            .given
            .into_iter()
            .flatten()
            .filter(|(name, value)| !value.is_null() && !self.read.contains(name.as_str()));
        unread.next().map_or(Ok(()), |(name, _)| Err(format!("it has no argument `{name}`")))
    }
}

/// What a value is, in words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

fn shown(value: &Value) -> String {
    if value.is_number() { value.to_string() } else { kind(value).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn counts_are_whole_and_not_negative() {
        let count = |value: Value| {
            let map = json!({"n": value});
            Kwargs::new(&map).unwrap().count("n")
        };
        assert_eq!(count(json!(3)), Ok(3));
        assert_eq!(count(json!(3.0)), Ok(3));
        for wrong in [json!(-1), json!(3.5), json!("3"), json!(true), json!(null), json!(1e300)] {
            assert!(count(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_given_argument_must_be_asked_for() {
        let map = json!({"n": 1, "m": null});
        let mut kwargs = Kwargs::new(&map).unwrap();
        kwargs.count("n").unwrap();
        assert_eq!(kwargs.finish(), Ok(()), "null is absent");
        let map = json!({"n": 1, "m": 2});
        let mut kwargs = Kwargs::new(&map).unwrap();
        kwargs.count("n").unwrap();
        assert_eq!(kwargs.finish(), Err("it has no argument `m`".into()));
    }
}
