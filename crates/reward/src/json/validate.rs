//! Asking a value whether a schema allows it, within a budget of questions.

use std::collections::HashSet;

use serde_json::Value;

use super::schema::{Check, Dependency, Id, Kind, Node, Range, Schema};
use crate::find::shorten;

/// Subschemas asked about values, and values compared. A schema of n alternatives at every one of d levels asks n^d
/// questions; this many take about 0.1 s.
const BUDGET: u64 = 1 << 20;
/// Deepest chain of subschemas: a few hundred bytes of stack each.
const DEEPEST: usize = 512;

/// Why a value is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// With the place and the reason.
    Because(String),
    /// The questions ran out: nobody can say.
    Budget,
}

impl Schema {
    /// Whether the schema allows the value.
    ///
    /// # Errors
    /// The first reason against it, or that the budget ran out.
    pub(crate) fn validate(&self, value: &Value) -> Result<(), Invalid> {
        let mut asking = Asking { nodes: &self.nodes, left: BUDGET, depth: 0, quiet: 0 };
        asking.ask(0, value, &Path::Root)
    }
}

/// Where in the value, as a chain to the root: written out only when something is wrong.
enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Path::Root => formatter.write_str("the value"),
            Path::Key(Path::Root, key) => formatter.write_str(&key.chars().take(60).collect::<String>()),
            Path::Key(above, key) => write!(formatter, "{above}.{}", key.chars().take(60).collect::<String>()),
            Path::Item(above, at) => write!(formatter, "{above}[{at}]"),
        }
    }
}

struct Asking<'a> {
    nodes: &'a [Node],
    left: u64,
    /// Subschemas on the way.
    depth: usize,
    /// Alternatives on the way: why one of them does not fit is nobody's concern, and costs to say.
    quiet: usize,
}

impl Asking<'_> {
    fn because(&self, path: &Path<'_>, what: impl FnOnce() -> String) -> Invalid {
        if self.quiet > 0 {
            return Invalid::Because(String::new());
        }
        let place: String = path.to_string().chars().take(80).collect();
        Invalid::Because(format!("{place} {}", what()))
    }

    fn spend(&mut self, cost: u64) -> Result<(), Invalid> {
        self.left = self.left.checked_sub(cost).ok_or(Invalid::Budget)?;
        Ok(())
    }

    fn ask(&mut self, id: Id, value: &Value, path: &Path<'_>) -> Result<(), Invalid> {
        self.spend(1)?;
        if self.depth >= DEEPEST {
            return Err(Invalid::Budget);
        }
        let nodes = self.nodes;
        if nodes[id].never {
            return Err(self.because(path, || "is not allowed".into()));
        }
        self.depth += 1;
        let asked = nodes[id].checks.iter().try_for_each(|check| self.check(check, value, path));
        self.depth -= 1;
        asked
    }

    /// Whether a subschema allows the value; `Err` only where the budget ran out.
    fn allows(&mut self, id: Id, value: &Value, path: &Path<'_>) -> Result<bool, Invalid> {
        self.quiet += 1;
        let asked = self.ask(id, value, path);
        self.quiet -= 1;
        match asked {
            Ok(()) => Ok(true),
            Err(Invalid::Because(_)) => Ok(false),
            Err(Invalid::Budget) => Err(Invalid::Budget),
        }
    }

    fn check(&mut self, check: &Check, value: &Value, path: &Path<'_>) -> Result<(), Invalid> {
        match check {
            Check::Types(kinds) if !kinds.iter().any(|kind| is(value, *kind)) => {
                let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
                Err(self.because(path, || format!("must be of type {}", names.join(" or "))))
            }
            Check::Enum(allowed) => {
                for other in allowed {
                    if self.equal(value, other)? {
                        return Ok(());
                    }
                }
                Err(self.because(path, || format!("is {}, not one of {}", shown(value), listed(allowed))))
            }
            Check::Minimum(..) | Check::Maximum(..) | Check::MultipleOf(_) => match outside(check, value) {
                Some(what) => Err(self.because(path, || what)),
                None => Ok(()),
            },
            Check::Length(range) => match value.as_str() {
                Some(text) => {
                    self.spend(text.len() as u64 >> 6)?;
                    self.counted(text.chars().count(), range, path, "characters")
                }
                None => Ok(()),
            },
            Check::Pattern(pattern) => match value.as_str() {
                Some(text) => {
                    self.spend(text.len() as u64 >> 4)?;
                    let found = pattern.is_match(text);
                    if found {
                        return Ok(());
                    }
                    Err(self.because(path, || format!("does not match {}", shorten(pattern.as_str()))))
                }
                None => Ok(()),
            },
            Check::Items { .. } | Check::ItemCount(_) | Check::Unique | Check::Contains(..) => {
                value.as_array().map_or(Ok(()), |list| self.list(check, list, path))
            }
            Check::Properties { .. }
            | Check::PropertyNames(_)
            | Check::PropertyCount(_)
            | Check::Required(_)
            | Check::Dependent(_) => {
                if value.is_object() {
                    self.object(check, value, path)
                } else {
                    Ok(())
                }
            }
            _ => self.combined(check, value, path),
        }
    }

    fn counted(&self, count: usize, range: &Range, path: &Path<'_>, what: &str) -> Result<(), Invalid> {
        match count as u64 {
            count if count < range.0 => Err(self.because(path, || format!("has {count} {what}, {} at least", range.0))),
            count if count > range.1 => Err(self.because(path, || format!("has {count} {what}, {} at most", range.1))),
            _ => Ok(()),
        }
    }

    fn lacks(&self, map: &serde_json::Map<String, Value>, keys: &[String], path: &Path<'_>) -> Result<(), Invalid> {
        match keys.iter().find(|key| !map.contains_key(*key)) {
            Some(key) => Err(self.because(path, || format!("lacks {}", shorten(key)))),
            None => Ok(()),
        }
    }

    fn list(&mut self, check: &Check, list: &[Value], path: &Path<'_>) -> Result<(), Invalid> {
        match check {
            Check::Items { prefix, rest } => {
                for (at, item) in list.iter().enumerate() {
                    if let Some(id) = prefix.get(at).or(rest.as_ref()) {
                        self.ask(*id, item, &Path::Item(path, at))?;
                    }
                }
                Ok(())
            }
            Check::ItemCount(range) => self.counted(list.len(), range, path, "items"),
            Check::Contains(id, range) => {
                let mut found = 0;
                for (at, item) in list.iter().enumerate() {
                    found += usize::from(self.allows(*id, item, &Path::Item(path, at))?);
                }
                self.counted(found, range, path, "items of the wanted kind")
            }
            _ => {
                let mut seen = HashSet::with_capacity(list.len());
                for item in list {
                    let written = canonical(item);
                    self.spend(1 + (written.len() as u64 >> 4))?;
                    if !seen.insert(written) {
                        return Err(self.because(path, || format!("holds {} twice", shown(item))));
                    }
                }
                Ok(())
            }
        }
    }

    fn object(&mut self, check: &Check, value: &Value, path: &Path<'_>) -> Result<(), Invalid> {
        let Some(map) = value.as_object() else { return Ok(()) };
        match check {
            Check::Properties { named, patterns, other } => {
                for (key, value) in map {
                    let inside = Path::Key(path, key);
                    let mut known = false;
                    if let Some(id) = named.get(key) {
                        known = true;
                        self.ask(*id, value, &inside)?;
                    }
                    for (pattern, id) in patterns {
                        self.spend(1 + (key.len() as u64 >> 4))?;
                        if pattern.is_match(key) {
                            known = true;
                            self.ask(*id, value, &inside)?;
                        }
                    }
                    if let (false, Some(id)) = (known, other) {
                        self.ask(*id, value, &inside)?;
                    }
                }
                Ok(())
            }
            Check::PropertyNames(id) => {
                map.keys().try_for_each(|key| self.ask(*id, &Value::String(key.clone()), &Path::Key(path, key)))
            }
            Check::PropertyCount(range) => self.counted(map.len(), range, path, "keys"),
            Check::Required(keys) => self.lacks(map, keys, path),
            Check::Dependent(dependencies) => {
                for (key, dependency) in dependencies.iter().filter(|(key, _)| map.contains_key(*key)) {
                    match dependency {
                        Dependency::Keys(keys) => self.lacks(map, keys, path)?,
                        Dependency::Schema(id) => self.ask(*id, value, path).map_err(|why| match why {
                            Invalid::Because(why) => Invalid::Because(format!("{why}, as {} is there", shorten(key))),
                            Invalid::Budget => Invalid::Budget,
                        })?,
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn combined(&mut self, check: &Check, value: &Value, path: &Path<'_>) -> Result<(), Invalid> {
        match check {
            Check::All(ids) => ids.iter().try_for_each(|id| self.ask(*id, value, path)),
            Check::Any(ids) => {
                for id in ids {
                    if self.allows(*id, value, path)? {
                        return Ok(());
                    }
                }
                Err(self.because(path, || format!("fits none of {} alternatives", ids.len())))
            }
            Check::One(ids) => {
                let mut fitting = 0;
                for id in ids {
                    fitting += usize::from(self.allows(*id, value, path)?);
                }
                match fitting {
                    1 => Ok(()),
                    count => Err(self.because(path, || format!("fits {count} of {} alternatives, not one", ids.len()))),
                }
            }
            Check::Not(id) => match self.allows(*id, value, path)? {
                true => Err(self.because(path, || "is what it must not be".into())),
                false => Ok(()),
            },
            Check::If { condition, then, otherwise } => {
                let branch = if self.allows(*condition, value, path)? { then } else { otherwise };
                branch.map_or(Ok(()), |id| self.ask(id, value, path))
            }
            Check::Reference(id) => self.ask(*id, value, path),
            _ => Ok(()),
        }
    }

    /// Equal as JSON: 1 is 1.0, and the order of keys does not matter.
    fn equal(&mut self, a: &Value, b: &Value) -> Result<bool, Invalid> {
        self.spend(1)?;
        match (a, b) {
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
                for (a, b) in a.iter().zip(b) {
                    if !self.equal(a, b)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Value::Object(a), Value::Object(b)) if a.len() == b.len() => {
                for (key, a) in a {
                    match b.get(key) {
                        Some(b) if self.equal(a, b)? => {}
                        _ => return Ok(false),
                    }
                }
                Ok(true)
            }
            (Value::Number(_), Value::Number(_)) => Ok(canonical(a) == canonical(b)),
            _ => Ok(a == b),
        }
    }
}

/// A value in the one way in which equal values are written.
pub(crate) fn canonical(value: &Value) -> String {
    match value {
        Value::Number(number) => match number.as_f64() {
            // a whole double below this is exactly a 128-bit number
            Some(real) if number.is_f64() && real.fract() == 0.0 && real.abs() < 1e36 => (real as i128).to_string(),
            _ => number.to_string(),
        },
        Value::Array(list) => format!("[{}]", list.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Object(map) => {
            let mut entries: Vec<String> =
                map.iter().map(|(key, value)| format!("{}:{}", Value::String(key.clone()), canonical(value))).collect();
            entries.sort_unstable();
            format!("{{{}}}", entries.join(","))
        }
        other => other.to_string(),
    }
}

fn is(value: &Value, kind: Kind) -> bool {
    match kind {
        Kind::Null => value.is_null(),
        Kind::Boolean => value.is_boolean(),
        Kind::Object => value.is_object(),
        Kind::Array => value.is_array(),
        Kind::Number => value.is_number(),
        Kind::Integer => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        Kind::String => value.is_string(),
    }
}

/// What is wrong with a number.
fn outside(check: &Check, value: &Value) -> Option<String> {
    let number = value.as_f64()?;
    match check {
        Check::Minimum(least, true) if number <= *least => Some(format!("must be above {least}")),
        Check::Minimum(least, false) if number < *least => Some(format!("must be {least} or more")),
        Check::Maximum(most, true) if number >= *most => Some(format!("must be below {most}")),
        Check::Maximum(most, false) if number > *most => Some(format!("must be {most} or less")),
        Check::MultipleOf(factor) => {
            let times = number / factor;
            // 0.3 is a multiple of 0.1 to people; doubles are off by a few parts in 2^53
            let near = (times - times.round()).abs() <= 4.0 * f64::EPSILON * times.abs();
            (!near || !times.is_finite()).then(|| format!("must be a multiple of {factor}"))
        }
        _ => None,
    }
}

/// A value for a message, without writing out what is not shown.
fn shown(value: &Value) -> String {
    struct Start(Vec<u8>);
    impl std::io::Write for Start {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            const ENOUGH: usize = 400; // bytes; 60 characters are shown
            self.0.extend_from_slice(&bytes[..bytes.len().min(ENOUGH)]);
            if self.0.len() < ENOUGH { Ok(bytes.len()) } else { Err(std::io::ErrorKind::Other.into()) }
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut start = Start(Vec::new());
    // an error means that enough is written
    let _ = serde_json::to_writer(&mut start, value);
    shorten(&String::from_utf8_lossy(&start.0))
}

fn listed(values: &[Value]) -> String {
    const SHOWN: usize = 4;
    let mut list: Vec<String> = values.iter().take(SHOWN).map(shown).collect();
    if values.len() > SHOWN {
        list.push("…".into());
    }
    list.join(", ")
}
