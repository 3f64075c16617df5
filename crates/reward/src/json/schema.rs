//! A JSON Schema, compiled. Keywords of draft 2020-12 that say what a value must be; draft-7's `definitions`, `dependencies`,
//! and lists under `items` too.
//!
//! Not here, and refused where they stand, because what is not checked must not look checked: `$dynamicRef`, `$anchor`,
//! `unevaluatedItems`, `unevaluatedProperties`, references to other documents, patterns with look-around. `format` and the
//! `content…` keywords are annotations, as the standard has them by default.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use super::compile::Compiler;

/// A compiled schema.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(super) nodes: Vec<Node>,
}

/// The place of a subschema in [`Schema::nodes`]; 0 is the whole.
pub(super) type Id = usize;

/// A subschema.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// `false` allows nothing.
    pub(super) never: bool,
    pub(super) checks: Vec<Check>,
}

/// One keyword.
#[derive(Debug)]
pub(super) enum Check {
    Types(Vec<Kind>),
    Enum(Vec<Value>),
    Minimum(f64, bool),
    Maximum(f64, bool),
    MultipleOf(f64),
    Length(Range),
    Pattern(Regex),
    Items { prefix: Vec<Id>, rest: Option<Id> },
    ItemCount(Range),
    Unique,
    Contains(Id, Range),
    Properties { named: BTreeMap<String, Id>, patterns: Vec<(Regex, Id)>, other: Option<Id> },
    PropertyNames(Id),
    PropertyCount(Range),
    Required(Vec<String>),
    Dependent(BTreeMap<String, Dependency>),
    All(Vec<Id>),
    Any(Vec<Id>),
    One(Vec<Id>),
    Not(Id),
    If { condition: Id, then: Option<Id>, otherwise: Option<Id> },
    Reference(Id),
}

#[derive(Debug)]
pub(super) enum Dependency {
    Keys(Vec<String>),
    Schema(Id),
}

/// From a least to a most, both included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range(pub(super) u64, pub(super) u64);

/// What `type` may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean,
    Object,
    Array,
    Number,
    Integer,
    String,
}

impl Kind {
    /// BFCL and Python schemas say `dict`, `float`, `list` and so on; they mean what JSON has.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Kind::Null,
            "boolean" | "bool" => Kind::Boolean,
            "object" | "dict" => Kind::Object,
            "array" | "list" | "tuple" => Kind::Array,
            "number" | "float" => Kind::Number,
            "integer" | "int" => Kind::Integer,
            "string" | "str" => Kind::String,
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Boolean => "boolean",
            Kind::Object => "object",
            Kind::Array => "array",
            Kind::Number => "number",
            Kind::Integer => "integer",
            Kind::String => "string",
        }
    }
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// In words and with the place: a keyword that is not known or holds the wrong thing, a reference that leads nowhere or
    /// out of the document, a schema that is too large or too deep.
    pub(crate) fn compile(schema: &Value) -> Result<Self, String> {
        let schema = Schema { nodes: Compiler::new(schema).nodes()? };
        schema.no_circles()?;
        Ok(schema)
    }

    /// A subschema that refers to itself without looking into the value would be asked for ever.
    fn no_circles(&self) -> Result<(), String> {
        // 0 not seen, 1 on the way, 2 done
        let mut seen = vec![0u8; self.nodes.len()];
        for start in 0..self.nodes.len() {
            let mut stack = vec![(start, false)];
            while let Some((id, leaving)) = stack.pop() {
                if leaving {
                    seen[id] = 2;
                } else if seen[id] == 0 {
                    seen[id] = 1;
                    stack.push((id, true));
                    for next in self.nodes[id].in_place() {
                        match seen[next] {
                            0 => stack.push((next, false)),
                            1 => return Err("a `$ref` leads back to itself".into()),
                            _ => {}
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

impl Node {
    /// Subschemas that are asked about the same value.
    fn in_place(&self) -> Vec<Id> {
        let mut found = Vec::new();
        for check in &self.checks {
            match check {
                Check::All(ids) | Check::Any(ids) | Check::One(ids) => found.extend(ids),
                Check::Not(id) | Check::Reference(id) => found.push(*id),
                Check::If { condition, then, otherwise } => {
                    found.push(*condition);
                    found.extend(then.iter().chain(otherwise));
                }
                Check::Dependent(dependencies) => {
                    found.extend(dependencies.values().filter_map(|dependency| match dependency {
                        Dependency::Schema(id) => Some(*id),
                        Dependency::Keys(_) => None,
                    }));
                }
                _ => {}
            }
        }
        found
    }
}
