//! A recipe's TOML as a tree in which every key and value knows the text it came from.

use std::path::{Path, PathBuf};

use lapidary_core::{Kind, Place, Problem, Result};
use toml::de::{DeTable, DeValue};

/// The path shown for text that came from the command line.
pub(super) const SET: &str = "--set";

/// A byte range of one of a tree's sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    source: usize,
    start: usize,
    end: usize,
}

/// A value, where it stands, and where its key stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub value: Value,
    pub span: Span,
    pub key: Span,
}

/// What TOML can say, without dates (no key takes one).
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
}

/// The recipe file and every `--set`, merged.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub root: Node,
    sources: Vec<(PathBuf, String)>,
}

impl Tree {
    /// Parses the text of the file at `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let document = DeTable::parse(text).map_err(|error| syntax(path, text, &error, 0))?;
        let whole = Span { source: 0, start: 0, end: 0 };
        let builder = Builder { path, text, source: 0, offset: 0 };
        let value = builder.table(document.get_ref())?;
        let root = Node { value, span: whole.clone(), key: whole };
        Ok(Self { root, sources: vec![(path.to_path_buf(), text.to_string())] })
    }

    /// Applies one `key.path=value`. Elements of a list are named by their number from 1 or, for stages, by their kind.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let source = self.sources.len();
        self.sources.push((PathBuf::from(SET), assignment.to_string()));
        let Some(equals) = assignment.find('=') else {
            return Err(Problem::new(Kind::Usage, "R005", format!("`{assignment}` sets nothing"))
                .at(Place::of_bytes(SET, assignment, 0, assignment.len(), "no `=` here"))
                .hint("write `--set key.path=value`, for example `--set stage.rl.steps=50`"));
        };
        let value = self.parse_value(assignment, equals + 1, source)?;
        let mut at = 0;
        let segments: Vec<(String, Span)> = assignment[..equals]
            .split('.')
            .map(|raw| {
                let name = raw.trim();
                let start = at + (raw.len() - raw.trim_start().len());
                at += raw.len() + 1;
                (name.to_string(), Span { source, start, end: start + name.len() })
            })
            .collect();
        if let Some((_, span)) = segments.iter().find(|(name, _)| name.is_empty()) {
            return Err(Problem::new(Kind::Usage, "R005", format!("`{assignment}` has an empty key"))
                .at(self.place(span, "a key belongs here"))
                .hint("write `--set key.path=value`, for example `--set stage.rl.steps=50`"));
        }
        let sources = std::mem::take(&mut self.sources);
        let done = insert(&mut self.root, &segments, value, &sources);
        self.sources = sources;
        done
    }

    /// The value after `=`: a TOML value, or else a bare string.
    fn parse_value(&self, assignment: &str, offset: usize, source: usize) -> Result<Node> {
        let text = assignment[offset..].trim();
        let offset = assignment.len() - assignment[offset..].trim_start().len();
        let span = Span { source, start: offset, end: offset + text.len() };
        let document = format!("v = {text}");
        match DeTable::parse(&document) {
            Ok(table) if table.get_ref().len() == 1 => {
                let builder = Builder {
                    path: Path::new(SET),
                    text: assignment,
                    source,
                    offset: offset as isize - "v = ".len() as isize,
                };
                match builder.table(table.get_ref())? {
                    Value::Table(mut entries) if entries.len() == 1 => Ok(entries.remove(0).1),
                    _ => unreachable!("a document with one key is a table with one entry"),
                }
            }
            Err(error) if text.starts_with(['[', '{', '"', '\'']) => {
                Err(syntax(Path::new(SET), assignment, &error, offset as isize - "v = ".len() as isize))
            }
            _ => Ok(Node { value: Value::Text(text.to_string()), span: span.clone(), key: span }),
        }
    }

    /// The place of a span, for a message.
    pub fn place(&self, span: &Span, label: impl Into<String>) -> Place {
        let (path, text) = &self.sources[span.source];
        Place::of_bytes(path, text, span.start, span.end, label)
    }

    /// The node at a dotted path (`stage.1.steps`, elements counted from 1), where it was written.
    pub fn get(&self, path: &str) -> Option<&Node> {
        path.split('.').filter(|name| !name.is_empty()).try_fold(&self.root, |node, name| node.child(name))
    }

    /// The place of the value at a dotted path or, where it was not written, of the nearest table around it.
    pub fn value_place(&self, path: &str, label: impl Into<String>) -> Place {
        self.place(&self.nearest(path).span, label)
    }

    /// The place of the key at a dotted path or, where it was not written, of the nearest table around it.
    pub fn key_place(&self, path: &str, label: impl Into<String>) -> Place {
        self.place(&self.nearest(path).key, label)
    }

    /// `file:line` or `--set`, where the value at the path was written.
    pub fn origin(&self, path: &str) -> Option<String> {
        let place = self.place(&self.get(path)?.span, "");
        let file = place.path.display();
        Some(if place.path.as_os_str() == SET {
            format!("--set {}", place.text)
        } else {
            format!("{file}:{}", place.line)
        })
    }

    fn nearest(&self, path: &str) -> &Node {
        let mut node = &self.root;
        for name in path.split('.').filter(|name| !name.is_empty()) {
            match node.child(name) {
                Some(child) => node = child,
                None => break,
            }
        }
        node
    }
}

impl Node {
    fn child(&self, name: &str) -> Option<&Node> {
        match &self.value {
            Value::Table(entries) => entries.iter().find(|(key, _)| key == name).map(|(_, node)| node),
            Value::List(nodes) => nodes.get(name.parse::<usize>().ok()?.checked_sub(1)?),
            _ => None,
        }
    }

    /// Takes a key out of a table.
    pub fn take(&mut self, name: &str) -> Option<Node> {
        let Value::Table(entries) = &mut self.value else { return None };
        let at = entries.iter().position(|(key, _)| key == name)?;
        Some(entries.remove(at).1)
    }

    /// What the value is, for a message.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Text(text) => format!("the text {text:?}"),
            Value::Integer(number) => format!("the whole number {number}"),
            Value::Float(number) => format!("the number {number}"),
            Value::Boolean(truth) => format!("`{truth}`"),
            Value::List(_) => "a list".to_string(),
            Value::Table(_) => "a table".to_string(),
        }
    }
}

/// Puts a value at a path, making tables on the way.
fn insert(node: &mut Node, path: &[(String, Span)], value: Node, sources: &[(PathBuf, String)]) -> Result<()> {
    let place = |span: &Span, label: String| {
        let (file, text) = &sources[span.source];
        Place::of_bytes(file, text, span.start, span.end, label)
    };
    let Some(((name, span), rest)) = path.split_first() else {
        node.value = value.value;
        node.span = value.span;
        return Ok(());
    };
    match &mut node.value {
        Value::Table(entries) => {
            let at = match entries.iter().position(|(key, _)| key == name) {
                Some(at) => at,
                None => {
                    let made = Node { value: Value::Table(Vec::new()), span: span.clone(), key: span.clone() };
                    entries.push((name.clone(), made));
                    entries.len() - 1
                }
            };
            insert(&mut entries[at].1, rest, value, sources)
        }
        Value::List(nodes) => {
            let (count, kinds) = (nodes.len(), nodes.iter().map(kind_of).collect::<Vec<_>>());
            let mut named = (0..count).filter(|&at| kinds[at] == Some(name.as_str()));
            let at = match name.parse::<usize>() {
                Ok(at) if (1..=count).contains(&at) => at - 1,
                Err(_) => match (named.next(), named.next()) {
                    (Some(at), None) => at,
                    (Some(first), Some(second)) => {
                        return Err(Problem::new(Kind::Usage, "R005", format!("there are several `{name}`"))
                            .at(place(span, format!("is it number {} or {}?", first + 1, second + 1)))
                            .hint(format!("name it by its number: `{}`, `{}`, …", first + 1, second + 1)));
                    }
                    _ => return Err(no_element(name, place(span, "not here".into()), &kinds)),
                },
                Ok(_) => return Err(no_element(name, place(span, "not here".into()), &kinds)),
            };
            insert(&mut nodes[at], rest, value, sources)
        }
        _ => Err(Problem::new(
            Kind::Usage,
            "R005",
            format!("`{name}` cannot be set: what holds it is {}", node.describe()),
        )
        .at(place(span, "there is no table here".into()))
        .hint("set the whole table at once: `--set 'key={ name = \"…\", option = … }'`")),
    }
}

fn kind_of(node: &Node) -> Option<&str> {
    match node.child("kind").map(|kind| &kind.value) {
        Some(Value::Text(kind)) => Some(kind.as_str()),
        _ => None,
    }
}

fn no_element(name: &str, place: Place, kinds: &[Option<&str>]) -> Problem {
    let known: Vec<String> =
        kinds.iter().enumerate().map(|(at, kind)| format!("`{}` ({})", at + 1, kind.unwrap_or("no kind"))).collect();
    let hint = if known.is_empty() { "the list is empty".into() } else { format!("there are {}", known.join(", ")) };
    Problem::new(Kind::Usage, "R005", format!("the list has no element `{name}`"))
        .at(place)
        .why("elements are named by their number, counted from 1, or, for stages, by their kind")
        .hint(hint)
}

/// Turns the parser's values into nodes, with spans moved by `offset` into the source they are shown in.
struct Builder<'a> {
    path: &'a Path,
    text: &'a str,
    source: usize,
    offset: isize,
}

impl Builder<'_> {
    fn span(&self, range: std::ops::Range<usize>) -> Span {
        let moved = |at: usize| (at as isize + self.offset).max(0) as usize;
        Span { source: self.source, start: moved(range.start), end: moved(range.end) }
    }

    fn table(&self, table: &DeTable<'_>) -> Result<Value> {
        let mut entries = Vec::with_capacity(table.len());
        for (key, value) in table.iter() {
            let node = self.node(value.get_ref(), self.span(value.span()), self.span(key.span()))?;
            entries.push((key.get_ref().to_string(), node));
        }
        // The parser sorts keys by name; people and messages expect the order of the file.
        entries.sort_by_key(|(_, node)| node.key.start);
        Ok(Value::Table(entries))
    }

    fn node(&self, value: &DeValue<'_>, span: Span, key: Span) -> Result<Node> {
        let wrong = |what: &str, hint: &str| {
            let place = Place::of_bytes(self.path, self.text, span.start, span.end, what);
            Err(Problem::new(
                Kind::Usage,
                "R002",
                format!("`{}` cannot be used here", &self.text[span.start..span.end]),
            )
            .at(place)
            .hint(hint))
        };
        let value = match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => return wrong("does not fit 64 bits", "use a number between -2⁶³ and 2⁶³ - 1"),
            },
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => Value::Float(number),
                _ => return wrong("not a finite number", "every number of a recipe is finite"),
            },
            DeValue::Boolean(truth) => Value::Boolean(*truth),
            DeValue::Datetime(_) => return wrong("a date", "no key of a recipe takes a date; put text in quotes"),
            DeValue::Array(array) => {
                let nodes = array.iter().map(|item| {
                    let span = self.span(item.span());
                    self.node(item.get_ref(), span.clone(), span)
                });
                Value::List(nodes.collect::<Result<_>>()?)
            }
            DeValue::Table(table) => self.table(table)?,
        };
        Ok(Node { value, span, key })
    }
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error, offset: isize) -> Problem {
    let moved = |at: usize| (at as isize + offset).max(0) as usize;
    let span = error.span().unwrap_or(0..0);
    let mut lines = error.message().lines();
    let label = lines.next().unwrap_or("not TOML").to_string();
    let problem = Problem::new(Kind::Usage, "R001", format!("`{}` is not valid TOML", path.display()))
        .at(Place::of_bytes(path, text, moved(span.start), moved(span.end), label));
    match lines.collect::<Vec<_>>().join("; ") {
        more if more.is_empty() => problem,
        more => problem.why(more),
    }
}
