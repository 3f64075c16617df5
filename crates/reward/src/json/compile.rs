//! From a schema as written to its subschemas, each compiled once.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

use super::schema::{Check, Dependency, Id, Kind, Node, Range};
use crate::find::shorten;
use crate::format::compile;

/// Deepest nesting of a schema.
const DEEPEST: usize = 64;
/// Most subschemas: each is small, and a schema of a row is compiled for every sample of it.
const MOST_NODES: usize = 10_000;
/// Most patterns, each up to 1 MiB compiled.
const MOST_PATTERNS: usize = 64;

/// Keywords that say nothing about what is valid.
const ANNOTATIONS: &[&str] = &[
    "$schema",
    "$id",
    "id",
    "$comment",
    "$defs",
    "definitions",
    "$vocabulary",
    "title",
    "description",
    "default",
    "examples",
    "example",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    // read together with another keyword
    "then",
    "else",
    "minContains",
    "maxContains",
    "additionalItems",
    // written by OpenAI's and BFCL's tools
    "strict",
    "optional",
];

/// A schema on its way to be compiled.
pub(super) struct Compiler<'a> {
    root: &'a Value,
    nodes: Vec<Node>,
    /// Places that have been compiled, by their JSON pointer.
    known: BTreeMap<String, Id>,
    patterns: usize,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(root: &'a Value) -> Self {
        Self { root, nodes: Vec::new(), known: BTreeMap::new(), patterns: 0 }
    }

    /// All subschemas, the whole first.
    pub(super) fn nodes(mut self) -> Result<Vec<Node>, String> {
        self.reference("#", 0)?;
        Ok(self.nodes)
    }

    /// The subschema at `#/a/json/pointer`, compiled once.
    fn reference(&mut self, reference: &str, depth: usize) -> Result<Id, String> {
        let Some(pointer) = reference.strip_prefix('#') else {
            return Err(format!("{} refers to another document", shorten(reference)));
        };
        let pointer = decoded(pointer);
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return Err(format!("{} is no JSON pointer", shorten(reference)));
        }
        if let Some(id) = self.known.get(&pointer) {
            return Ok(*id);
        }
        let root = self.root;
        let target = root.pointer(&pointer).ok_or_else(|| format!("{} leads nowhere", shorten(reference)))?;
        self.schema(target, &pointer, depth)
    }

    /// The subschema at `pointer`.
    fn schema(&mut self, schema: &Value, pointer: &str, depth: usize) -> Result<Id, String> {
        if let Some(id) = self.known.get(pointer) {
            return Ok(*id);
        }
        if depth > DEEPEST {
            return Err(format!("it is nested deeper than {DEEPEST}"));
        }
        if self.nodes.len() >= MOST_NODES {
            return Err(format!("it holds more than {MOST_NODES} subschemas"));
        }
        let id = self.nodes.len();
        self.nodes.push(Node::default());
        self.known.insert(pointer.to_string(), id);
        let node = match schema {
            Value::Bool(allowed) => Node { never: !allowed, checks: Vec::new() },
            Value::Object(map) => Node { never: false, checks: self.keywords(map, pointer, depth + 1)? },
            _ => return Err(format!("{} is no schema", at(pointer))),
        };
        self.nodes[id] = node;
        Ok(id)
    }

    fn keywords(&mut self, map: &Map<String, Value>, pointer: &str, depth: usize) -> Result<Vec<Check>, String> {
        let mut checks = Vec::new();
        for (key, value) in map {
            if key == "$id" && !pointer.is_empty() {
                return Err(format!("{} makes a document of its own, which is not followed here", at(pointer)));
            }
            if ANNOTATIONS.contains(&key.as_str()) {
                continue;
            }
            let inside = format!("{pointer}/{}", escaped(key));
            let check = match key.as_str() {
                "properties" | "patternProperties" | "additionalProperties" => None,
                "items" | "prefixItems" => None,
                "type" | "enum" | "const" | "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum"
                | "multipleOf" | "pattern" | "required" | "uniqueItems" => Some(self.value_check(key, value, &inside)?),
                "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
                    Some(count_check(key, value, &inside)?)
                }
                "contains" => {
                    let bound = |key: &str, unset| map.get(key).map_or(Ok(unset), |value| whole(value, &inside));
                    let range = Range(bound("minContains", 1)?, bound("maxContains", u64::MAX)?);
                    Some(Check::Contains(self.schema(value, &inside, depth)?, range))
                }
                "propertyNames" => Some(Check::PropertyNames(self.schema(value, &inside, depth)?)),
                "dependentRequired" | "dependentSchemas" | "dependencies" => {
                    Some(Check::Dependent(self.dependencies(value, &inside, depth)?))
                }
                "allOf" => Some(Check::All(self.list(value, &inside, depth)?)),
                "anyOf" => Some(Check::Any(self.list(value, &inside, depth)?)),
                "oneOf" => Some(Check::One(self.list(value, &inside, depth)?)),
                "not" => Some(Check::Not(self.schema(value, &inside, depth)?)),
                "if" => Some(self.condition(map, value, pointer, depth)?),
                "$ref" => {
                    let reference = value.as_str().ok_or_else(|| format!("{} must be a text", at(&inside)))?;
                    Some(Check::Reference(self.reference(reference, depth)?))
                }
                _ => return Err(format!("{} is a keyword that is not checked here", at(&inside))),
            };
            checks.extend(check);
        }
        checks.extend(self.properties(map, pointer, depth)?);
        checks.extend(self.items(map, pointer, depth)?);
        Ok(checks)
    }

    /// Keywords about a value as a whole.
    fn value_check(&mut self, key: &str, value: &Value, inside: &str) -> Result<Check, String> {
        let number = || value.as_f64().ok_or_else(|| format!("{} must be a number", at(inside)));
        Ok(match key {
            "type" => {
                let single = [value.clone()];
                let names = value.as_array().map_or(single.as_slice(), Vec::as_slice);
                if names.iter().any(|name| name == "any") {
                    return Ok(Check::All(Vec::new()));
                }
                let kinds: Option<Vec<Kind>> = names.iter().map(|name| name.as_str().and_then(Kind::of)).collect();
                let kinds = kinds.filter(|kinds| !kinds.is_empty());
                Check::Types(kinds.ok_or_else(|| format!("{} names no type of JSON", at(inside)))?)
            }
            "enum" => Check::Enum(value.as_array().cloned().ok_or_else(|| format!("{} must be a list", at(inside)))?),
            "const" => Check::Enum(vec![value.clone()]),
            "minimum" => Check::Minimum(number()?, false),
            "exclusiveMinimum" => Check::Minimum(number()?, true),
            "maximum" => Check::Maximum(number()?, false),
            "exclusiveMaximum" => Check::Maximum(number()?, true),
            "multipleOf" => match number()? {
                factor if factor > 0.0 => Check::MultipleOf(factor),
                _ => return Err(format!("{} must be above 0", at(inside))),
            },
            "pattern" => Check::Pattern(self.pattern(value.as_str().unwrap_or("("), inside)?),
            "required" => Check::Required(texts(value, inside)?),
            _ if value.as_bool() == Some(true) => Check::Unique,
            _ if value.as_bool() == Some(false) => Check::All(Vec::new()),
            _ => return Err(format!("{} must be true or false", at(inside))),
        })
    }

    fn pattern(&mut self, text: &str, inside: &str) -> Result<Regex, String> {
        self.patterns += 1;
        if self.patterns > MOST_PATTERNS {
            return Err(format!("it holds more than {MOST_PATTERNS} patterns"));
        }
        compile(text, false).map_err(|what| format!("{} is no regular expression: {what}", at(inside)))
    }

    fn list(&mut self, value: &Value, inside: &str, depth: usize) -> Result<Vec<Id>, String> {
        let list = value.as_array().filter(|list| !list.is_empty());
        let list = list.ok_or_else(|| format!("{} must be a list of schemas", at(inside)))?;
        list.iter().enumerate().map(|(n, schema)| self.schema(schema, &format!("{inside}/{n}"), depth)).collect()
    }

    fn condition(
        &mut self,
        map: &Map<String, Value>,
        value: &Value,
        pointer: &str,
        depth: usize,
    ) -> Result<Check, String> {
        let condition = self.schema(value, &format!("{pointer}/if"), depth)?;
        let mut branch = |key: &str| match map.get(key) {
            Some(schema) => self.schema(schema, &format!("{pointer}/{key}"), depth).map(Some),
            None => Ok(None),
        };
        Ok(Check::If { condition, then: branch("then")?, otherwise: branch("else")? })
    }

    fn dependencies(
        &mut self,
        value: &Value,
        inside: &str,
        depth: usize,
    ) -> Result<BTreeMap<String, Dependency>, String> {
        let map = value.as_object().ok_or_else(|| format!("{} must be a table", at(inside)))?;
        let mut found = BTreeMap::new();
        for (key, value) in map {
            let place = format!("{inside}/{}", escaped(key));
            let dependency = match value {
                Value::Array(_) => Dependency::Keys(texts(value, &place)?),
                schema => Dependency::Schema(self.schema(schema, &place, depth)?),
            };
            found.insert(key.clone(), dependency);
        }
        Ok(found)
    }

    fn properties(&mut self, map: &Map<String, Value>, pointer: &str, depth: usize) -> Result<Option<Check>, String> {
        let table = |key: &str| match map.get(key) {
            None => Ok(None),
            Some(Value::Object(table)) => Ok(Some(table)),
            Some(_) => Err(format!("{} must be a table", at(&format!("{pointer}/{key}")))),
        };
        let (named_given, patterns_given) = (table("properties")?, table("patternProperties")?);
        let other_given = map.get("additionalProperties");
        if named_given.is_none() && patterns_given.is_none() && other_given.is_none() {
            return Ok(None);
        }
        let mut named = BTreeMap::new();
        for (key, schema) in named_given.into_iter().flatten() {
            named.insert(key.clone(), self.schema(schema, &format!("{pointer}/properties/{}", escaped(key)), depth)?);
        }
        let mut patterns = Vec::new();
        for (key, schema) in patterns_given.into_iter().flatten() {
            let place = format!("{pointer}/patternProperties/{}", escaped(key));
            patterns.push((self.pattern(key, &place)?, self.schema(schema, &place, depth)?));
        }
        let place = format!("{pointer}/additionalProperties");
        let other = other_given.map(|schema| self.schema(schema, &place, depth)).transpose()?;
        Ok(Some(Check::Properties { named, patterns, other }))
    }

    fn items(&mut self, map: &Map<String, Value>, pointer: &str, depth: usize) -> Result<Option<Check>, String> {
        // draft 7 writes the prefix under `items` and the rest under `additionalItems`
        let (prefix_key, rest_key) = match map.get("items") {
            Some(Value::Array(_)) => ("items", "additionalItems"),
            _ => ("prefixItems", "items"),
        };
        let prefix = match map.get(prefix_key) {
            Some(list) => self.list(list, &format!("{pointer}/{prefix_key}"), depth)?,
            None => Vec::new(),
        };
        let rest = map.get(rest_key).map(|schema| self.schema(schema, &format!("{pointer}/{rest_key}"), depth));
        let rest = rest.transpose()?;
        Ok((!prefix.is_empty() || rest.is_some()).then_some(Check::Items { prefix, rest }))
    }
}

/// Keywords about how many.
fn count_check(key: &str, value: &Value, inside: &str) -> Result<Check, String> {
    let bound = whole(value, inside)?;
    let range = if key.starts_with("min") { Range(bound, u64::MAX) } else { Range(0, bound) };
    Ok(match &key[3..] {
        "Length" => Check::Length(range),
        "Items" => Check::ItemCount(range),
        _ => Check::PropertyCount(range),
    })
}

fn whole(value: &Value, inside: &str) -> Result<u64, String> {
    let number = value.as_f64().filter(|number| *number >= 0.0 && number.fract() == 0.0);
    number.map(|number| number as u64).ok_or_else(|| format!("{} must hold whole numbers, 0 or more", at(inside)))
}

fn texts(value: &Value, inside: &str) -> Result<Vec<String>, String> {
    let list: Option<Vec<String>> =
        value.as_array().and_then(|list| list.iter().map(|text| text.as_str().map(String::from)).collect());
    list.ok_or_else(|| format!("{} must be a list of texts", at(inside)))
}

/// The place of a subschema, for messages.
fn at(pointer: &str) -> String {
    shorten(&format!("#{pointer}"))
}

/// A key as a step of a JSON pointer (RFC 6901).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// A fragment without its percent signs.
fn decoded(fragment: &str) -> String {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let pair = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
