//! JSON lines from people: every mistake is reported with file, line and column, and nothing is read without a bound.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use lapidary_core::{Kind, Place, Problem, Result};
use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::options::nearest;

/// A longer line is no training example but a file without line ends.
pub const LONGEST_LINE: usize = 16 << 20;
/// More text than this is not read from one file; `.gz` files are counted unpacked.
pub const LARGEST_FILE: u64 = 8 << 30;

/// The lines of a reader, one at a time; blank lines are left out.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    path: PathBuf,
    number: usize,
    total: u64,
    done: bool,
}

/// A line and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The file, or `<stdin>`.
    pub path: PathBuf,
    /// From 1.
    pub number: usize,
    /// Without its line end.
    pub text: String,
}

impl<R: BufRead> Lines<R> {
    /// Lines of `reader`, which is called `path` in messages.
    pub fn new(path: impl Into<PathBuf>, reader: R) -> Self {
        Self { reader, path: path.into(), number: 0, total: 0, done: false }
    }

    fn read(&mut self) -> Result<Option<Line>> {
        loop {
            let mut bytes = Vec::new();
            let limit = LONGEST_LINE as u64 + 1;
            let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut bytes);
            let count = read.map_err(|error| unreadable(&self.path, &error))?;
            if count == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.total += count as u64;
            if bytes.last() == Some(&b'\n') {
                bytes.pop();
            }
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
            let line = |text: String| Line { path: self.path.clone(), number: self.number, text };
            if bytes.len() >= LONGEST_LINE {
                let start = String::from_utf8_lossy(&bytes[..200]).into_owned();
                let message = format!("line {} is longer than {} MiB", self.number, LONGEST_LINE >> 20);
                return Err(Problem::new(Kind::Data, "D006", message).at(line(start).place(0, 1, "this line")).hint(
                    "each example must stand on its own line; is this a JSON array, or a file without line ends?",
                ));
            }
            if self.total > LARGEST_FILE {
                let message = format!("`{}` holds more than {} GiB of text", self.path.display(), LARGEST_FILE >> 30);
                return Err(Problem::new(Kind::Data, "D009", message).hint("split the file"));
            }
            let start = if self.number == 1 && bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
            let text = match std::str::from_utf8(&bytes[start..]) {
                Ok(text) => text,
                Err(error) => {
                    let sound = String::from_utf8_lossy(&bytes[start..start + error.valid_up_to()]).into_owned();
                    let at = sound.len();
                    return Err(Problem::new(Kind::Data, "D005", format!("line {} is not UTF-8", self.number))
                        .at(line(sound).place(at, at + 1, "the first byte that is not UTF-8"))
                        .hint("save the file as UTF-8"));
                }
            };
            if !text.trim().is_empty() {
                return Ok(Some(line(text.to_string())));
            }
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Line>;

    /// The next line. After an error there is none.
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let line = self.read();
        self.done = !matches!(line, Ok(Some(_)));
        line.transpose()
    }
}

/// A file that broke while it was read: bytes that are no gzip stream are the data's fault, anything else the system's.
fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    match error.kind() {
        std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
            Problem::new(Kind::Data, "D001", format!("could not unpack `{}`: {error}", path.display()))
                .hint("the file is damaged or was not downloaded to its end")
        }
        _ => Problem::io("read", path, error),
    }
}

impl Line {
    /// The JSON object that the line holds.
    ///
    /// # Errors
    /// `Data` `D002` with the column: broken JSON, something else than an object, the same key twice, a number out of
    /// range, nesting deeper than 128.
    pub fn object(&self) -> Result<Map<String, Value>> {
        let mut reader = serde_json::Deserializer::from_str(&self.text);
        let read = Unique.deserialize(&mut reader).and_then(|map| reader.end().map(|()| map));
        read.map_err(|error| {
            let column = error.column().clamp(1, self.text.len() + 1);
            let message = error.to_string();
            let what = message.split(" at line ").next().unwrap_or(&message).to_string();
            let problem =
                Problem::new(Kind::Data, "D002", format!("line {} is not a JSON object: {what}", self.number))
                    .at(self.place(column - 1, column, what));
            match self.text.trim_start().chars().next() {
                Some('[') => problem.hint("this is a JSON array; write one object per line (JSON lines)"),
                Some('\'') => problem.hint("JSON texts stand in double quotes"),
                _ if self.text.contains("NaN") || self.text.contains("Infinity") => {
                    problem.hint("JSON has no NaN or Infinity; write null")
                }
                _ => problem,
            }
        })
    }

    /// The place of a byte range of the line. A long line is shown in part.
    pub fn place(&self, start: usize, end: usize, label: impl Into<String>) -> Place {
        const BEFORE: usize = 60; // characters shown before the caret
        const SHOWN: usize = 140;
        let mut place = Place::of_bytes(&self.path, &self.text, start, end, label);
        place.line = self.number;
        if self.text.len() > SHOWN {
            let skip = if place.column > SHOWN / 2 + BEFORE { place.column - BEFORE } else { 0 };
            place.text = self.text.chars().skip(skip).take(SHOWN).collect();
            place.column -= skip;
            place.width = place.width.min(SHOWN.saturating_sub(place.column).max(1));
        }
        place
    }

    /// A key that holds the wrong thing, with a caret under it.
    pub fn wrong(&self, key: &str, expected: &str, got: &Value) -> Problem {
        let message = format!("`{key}` in line {} must be {expected}, got {}", self.number, kind_of(got));
        Problem::new(Kind::Data, "D003", message).at(self.key_place(key, format!("must be {expected}")))
    }

    /// A key that is not there, with the nearest of those that are.
    pub fn missing(&self, wanted: &str, expected: &[&str], map: &Map<String, Value>) -> Problem {
        let present: Vec<&str> = map.keys().map(String::as_str).collect();
        let message = format!("line {} has no {wanted}", self.number);
        let near = expected.iter().find_map(|name| nearest(name, &present).map(|near| (*name, near)));
        let hint = match near {
            Some((name, near)) => format!("did you mean `{near}` to be `{name}`?"),
            None => format!("expected one of {}", quoted(expected)),
        };
        Problem::new(Kind::Data, "D004", message)
            .at(self.place(0, 1, format!("columns here: {}", quoted(&present))))
            .hint(hint)
    }

    fn key_place(&self, key: &str, label: String) -> Place {
        let quoted = format!("\"{key}\"");
        match self.text.find(&quoted) {
            Some(at) => self.place(at, at + quoted.len(), label),
            None => self.place(0, 1, label),
        }
    }
}

fn quoted(names: &[&str]) -> String {
    const SHOWN: usize = 12;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none".into() } else { shown.join(", ") }
}

/// What a value is, in words.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

/// An object whose keys are all different: which of two `answer`s was meant, nobody can tell.
struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Map<String, Value>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Map<String, Value>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> std::result::Result<Self::Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("the key `{key}` occurs twice")));
            }
            map.insert(key, access.next_value()?);
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_problem(bytes: &[u8]) -> Problem {
        for line in Lines::new("x.jsonl", bytes) {
            if let Err(problem) = line.and_then(|line| line.object()) {
                return problem;
            }
        }
        panic!("no problem in {:?}", String::from_utf8_lossy(bytes));
    }

    #[test]
    fn a_byte_order_mark_blank_lines_and_windows_line_ends_are_fine() {
        let lines: Vec<Line> =
            Lines::new("x", &b"\xef\xbb\xbf{\"a\":1}\r\n\n  \n{\"a\":2}"[..]).map(Result::unwrap).collect();
        assert_eq!(
            lines.iter().map(|line| (line.number, line.text.as_str())).collect::<Vec<_>>(),
            [(1, "{\"a\":1}"), (4, "{\"a\":2}")]
        );
    }

    #[test]
    fn a_broken_line_is_placed_to_the_column() {
        let problem = first_problem(b"{\"a\": 1}\n{\"a\": tru}\n");
        let place = problem.place().unwrap();
        assert_eq!((problem.code(), place.line, place.column), ("D002", 2, 10), "{problem}");
        assert_eq!(place.text, "{\"a\": tru}");
    }

    #[test]
    fn hostile_lines_are_refused_each_with_its_place() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        for (bytes, code) in [
            (&b"[{\"a\":1}]"[..], "D002"),
            (b"{\"a\":1} x", "D002"),
            (b"{\"a\":1,\"a\":2}", "D002"),
            (b"{\"a\":1e400}", "D002"),
            (b"{\"a\":NaN}", "D002"),
            (b"{\"a\":\"\\ud800\"}", "D002"),
            (b"{\"a\":\"\0\"}", "D002"),
            (b"{\"a\":\"\xff\"}", "D005"),
            (b"{'a':1}", "D002"),
            (deep.as_bytes(), "D002"),
        ] {
            let problem = first_problem(bytes);
            assert_eq!((problem.code(), problem.kind()), (code, Kind::Data), "{problem}");
            let place = problem.place().unwrap();
            assert!(place.line == 1 && place.column >= 1 && place.text.chars().count() <= 140);
        }
    }

    #[test]
    fn an_endless_line_is_cut_off_at_the_cap() {
        let endless = std::io::BufReader::new(std::io::repeat(b'x'));
        let problem = Lines::new("x", endless).next().unwrap().unwrap_err();
        assert_eq!(problem.code(), "D006");
    }

    #[test]
    fn the_caret_stays_under_its_text_in_a_long_line() {
        let line = Line { path: "x".into(), number: 3, text: format!("{{\"é\":\"{}\",\"b\":1}}", "ä".repeat(500)) };
        let place = line.wrong("b", "a text", &Value::Null).place().unwrap().clone();
        let under: String = place.text.chars().skip(place.column - 1).take(place.width).collect();
        assert_eq!(under, "\"b\"");
    }

    #[test]
    fn a_missing_column_names_the_nearest_one() {
        let line = Line { path: "x".into(), number: 1, text: "{\"promt\":\"a\"}".into() };
        let problem = line.missing("prompt", &["prompt", "question"], &line.object().unwrap());
        assert_eq!(problem.advice(), Some("did you mean `promt` to be `prompt`?"));
    }
}
