//! Serde over the tree, so that every refusal knows the key or the value it is about.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::tree::{Node, Span, Value};

/// What serde refused, and where.
#[derive(Debug)]
pub(super) struct Refusal {
    pub what: What,
    pub span: Option<Span>,
}

#[derive(Debug)]
pub(super) enum What {
    /// A key that the table does not have.
    UnknownKey { key: String, known: &'static [&'static str] },
    /// A word that is not among those allowed.
    UnknownWord { word: String, known: &'static [&'static str] },
    /// A value of the wrong type.
    WrongType { got: String, expected: String },
    /// Anything else.
    Other(String),
}

impl Refusal {
    fn at(mut self, span: &Span) -> Self {
        self.span.get_or_insert_with(|| span.clone());
        self
    }
}

/// Serde's names of types in the words of a person.
fn expected(what: &dyn de::Expected) -> String {
    match what.to_string().as_str() {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number (0 or more)".into(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a string" | "string" => "text in quotes".into(),
        "a boolean" => "`true` or `false`".into(),
        "a sequence" => "a list".into(),
        other if other.starts_with("struct ") || other == "a map" => "a table".into(),
        other if other.starts_with("enum ") => "text in quotes".into(),
        other => other.to_string(),
    }
}

impl de::Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Refusal { what: What::Other(message.to_string()), span: None }
    }
    fn invalid_type(got: de::Unexpected<'_>, wanted: &dyn de::Expected) -> Self {
        Refusal { what: What::WrongType { got: got.to_string(), expected: expected(wanted) }, span: None }
    }
    fn invalid_value(got: de::Unexpected<'_>, wanted: &dyn de::Expected) -> Self {
        Self::invalid_type(got, wanted)
    }
    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Refusal { what: What::UnknownWord { word: word.into(), known }, span: None }
    }
    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Refusal { what: What::UnknownKey { key: key.into(), known }, span: None }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::UnknownKey { key, .. } => write!(f, "unknown key `{key}`"),
            What::UnknownWord { word, .. } => write!(f, "unknown word `{word}`"),
            What::WrongType { got, expected } => write!(f, "{got} where {expected} belongs"),
            What::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Refusal {}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let done = match &self.value {
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(truth) => visitor.visit_bool(*truth),
            Value::List(nodes) => visitor.visit_seq(List(nodes.iter())),
            Value::Table(entries) => visitor.visit_map(Table { entries: entries.iter(), value: None }),
        };
        done.map_err(|refusal| match (&refusal.what, &self.value) {
            // Serde describes a list or table without its content, and a number by its machine type.
            (What::WrongType { expected, .. }, _) if refusal.span.is_none() => Refusal {
                what: What::WrongType { got: self.describe(), expected: expected.clone() },
                span: Some(self.span.clone()),
            },
            _ => refusal.at(&self.span),
        })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        match &self.value {
            Value::Text(text) => {
                let word: de::value::StrDeserializer<'_, Refusal> = text.as_str().into_deserializer();
                visitor.visit_enum(word).map_err(|refusal| refusal.at(&self.span))
            }
            Value::Table(entries) if entries.len() == 1 => {
                let map = Table { entries: entries.iter(), value: None };
                visitor.visit_enum(de::value::MapAccessDeserializer::new(map)).map_err(|refusal| refusal.at(&self.span))
            }
            _ => {
                let what = What::WrongType { got: self.describe(), expected: "text in quotes".into() };
                Err(Refusal { what, span: Some(self.span.clone()) })
            }
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct List<'de>(std::slice::Iter<'de, Node>);

impl<'de> SeqAccess<'de> for List<'de> {
    type Error = Refusal;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refusal> {
        self.0.next().map(|node| seed.deserialize(node)).transpose()
    }
}

struct Table<'de> {
    entries: std::slice::Iter<'de, (String, Node)>,
    value: Option<&'de Node>,
}

impl<'de> MapAccess<'de> for Table<'de> {
    type Error = Refusal;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refusal> {
        let Some((name, node)) = self.entries.next() else { return Ok(None) };
        self.value = Some(node);
        let key: de::value::StrDeserializer<'_, Refusal> = name.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|refusal| refusal.at(&node.key))
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refusal> {
        match self.value.take() {
            Some(node) => seed.deserialize(node),
            None => Err(de::Error::custom("a value was asked for before its key")),
        }
    }
}
