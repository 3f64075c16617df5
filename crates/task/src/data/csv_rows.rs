//! Rows of a CSV file (RFC 4180) as JSON texts, with the place of every mistake.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use lapidary_core::{Kind, Problem, Result};
use lapidary_reward::jsonl::{LARGEST_FILE, LONGEST_LINE, Line};
use serde_json::{Map, Value};

use super::row::{Origin, Row};

/// Signs that part fields; the first that the heading has is the file's, a comma where it has none.
const DELIMITERS: [u8; 3] = *b",\t;";
/// More columns than this are a file without line ends.
const MOST_COLUMNS: usize = 10_000;

/// Calls `take` with every row until it says that it has enough. The first record names the columns; an empty cell is null, any other a text.
pub(super) fn read(path: &Path, reader: impl BufRead, take: &mut dyn FnMut(Row) -> Result<bool>) -> Result<()> {
    let mut records = Records { reader, path: path.to_path_buf(), line: 0, total: 0, delimiter: None };
    let Some(heading) = records.next()? else {
        return Err(Problem::new(Kind::Data, "D007", format!("`{}` is empty", path.display()))
            .hint("the first line of a CSV file names its columns"));
    };
    let delimiter = DELIMITERS.into_iter().find(|sign| heading.text.as_bytes().contains(sign)).unwrap_or(b',');
    records.delimiter = Some(delimiter);
    let names: Vec<String> = fields(&heading, delimiter)?.into_iter().map(|field| field.text).collect();
    check(&heading, delimiter, &names)?;
    while let Some(record) = records.next()? {
        if record.text.trim().is_empty() && names.len() > 1 {
            continue;
        }
        let cells = fields(&record, delimiter)?;
        if cells.len() != names.len() {
            let message = format!("line {} has {} fields, the heading has {}", record.number, cells.len(), names.len());
            let at = cells.get(names.len()).map_or(record.text.len(), |cell| cell.start);
            return Err(Problem::new(Kind::Data, "D097", message)
                .at(record.place(at, at + 1, "here"))
                .hint("a field that holds the delimiter or a line end stands in double quotes"));
        }
        let cell = |(name, cell): (&String, Field)| {
            (name.clone(), if cell.text.is_empty() { Value::Null } else { Value::String(cell.text) })
        };
        let columns: Map<String, Value> = names.iter().zip(cells).map(cell).collect();
        if !take(Row { columns, origin: Origin::Record { line: record, delimiter } })? {
            break;
        }
    }
    Ok(())
}

fn check(heading: &Line, delimiter: u8, names: &[String]) -> Result<()> {
    if names.len() > MOST_COLUMNS {
        let message = format!("the heading of `{}` names more than {MOST_COLUMNS} columns", heading.path.display());
        return Err(Problem::new(Kind::Data, "D097", message).hint("is it a CSV file with line ends?"));
    }
    let mut seen = std::collections::HashSet::new();
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let (start, end) = range(heading, delimiter, names, name);
            Err(Problem::new(Kind::Data, "D097", format!("two columns are called `{name}`"))
                .at(heading.place(start, end, "again here"))
                .hint("rename one of them"))
        }
    }
}

/// Where the last field with a name stands.
fn range(heading: &Line, delimiter: u8, names: &[String], name: &str) -> (usize, usize) {
    let at = names.iter().rposition(|other| other == name).unwrap_or(0);
    fields(heading, delimiter).ok().and_then(|fields| fields.get(at).map(|f| (f.start, f.end))).unwrap_or((0, 1))
}

/// Where the cell of a column stands in its record, as bytes.
pub(super) fn cell(record: &Line, delimiter: u8, column: usize) -> (usize, usize) {
    fields(record, delimiter).ok().and_then(|fields| fields.get(column).map(|f| (f.start, f.end))).unwrap_or((0, 1))
}

/// Records of a file: lines, or several where a quoted field holds line ends.
struct Records<R> {
    reader: R,
    path: PathBuf,
    line: usize,
    total: u64,
    /// The sign that parts fields, once the heading has told it.
    delimiter: Option<u8>,
}

/// Where a reader of bytes stands: whether a line end belongs to a field.
#[derive(Clone, Copy, PartialEq)]
enum Within {
    /// At the begin of a field, where a quote opens it.
    Start,
    /// In a field without quotes.
    Plain,
    /// Between quotes.
    Quoted,
    /// Behind a quote that closed the field, unless another follows.
    Closed,
}

impl Within {
    fn then(self, byte: u8, parts: impl Fn(u8) -> bool) -> Self {
        match (self, byte) {
            (Within::Quoted, b'"') => Within::Closed,
            (Within::Quoted, _) => Within::Quoted,
            (Within::Start | Within::Closed, b'"') => Within::Quoted,
            (_, byte) if parts(byte) => Within::Start,
            _ => Within::Plain,
        }
    }
}

impl<R: BufRead> Records<R> {
    fn next(&mut self) -> Result<Option<Line>> {
        let mut bytes = Vec::new();
        let number = self.line + 1;
        let parts = |delimiter: Option<u8>, byte: u8| delimiter.map_or(DELIMITERS.contains(&byte), |sign| sign == byte);
        let mut within = Within::Start;
        loop {
            let seen = bytes.len();
            let limit = (LONGEST_LINE + 1).saturating_sub(bytes.len()) as u64;
            let count = std::io::Read::take(&mut self.reader, limit)
                .read_until(b'\n', &mut bytes)
                .map_err(|error| super::row::unreadable(&self.path, &error))?;
            self.total += count as u64;
            self.line += usize::from(count > 0);
            if self.total > LARGEST_FILE {
                let message = format!("`{}` holds more than {} GiB of text", self.path.display(), LARGEST_FILE >> 30);
                return Err(Problem::new(Kind::Data, "D009", message).hint("split the file"));
            }
            within = bytes[seen..]
                .iter()
                .fold(within, |within, byte| within.then(*byte, |byte| parts(self.delimiter, byte)));
            let open = within == Within::Quoted;
            if bytes.len() > LONGEST_LINE || (count == 0 && open) {
                let text = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
                let line = Line { path: self.path.clone(), number, text };
                let quote = line.text.rfind('"').unwrap_or(0);
                let message = format!("a field of the record in line {number} never ends");
                return Err(Problem::new(Kind::Data, "D097", message)
                    .at(line.place(quote, quote + 1, "in this record"))
                    .hint("every `\"` that opens a field needs one that closes it; `\"\"` inside is a quote itself"));
            }
            if bytes.is_empty() {
                return Ok(None);
            }
            if !open || count == 0 {
                break;
            }
        }
        for end in [b'\n', b'\r'] {
            bytes.pop_if(|last| *last == end);
        }
        let start = if number == 1 && bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        match std::str::from_utf8(&bytes[start..]) {
            Ok(text) => Ok(Some(Line { path: self.path.clone(), number, text: text.to_string() })),
            Err(error) => {
                let text = String::from_utf8_lossy(&bytes[start..start + error.valid_up_to()]).into_owned();
                let line = Line { path: self.path.clone(), number, text };
                let end = line.text.len();
                Err(Problem::new(Kind::Data, "D005", format!("line {number} is not UTF-8"))
                    .at(line.place(end, end + 1, "the first byte that is not UTF-8"))
                    .hint("save the file as UTF-8"))
            }
        }
    }
}

/// A field: what it says, and where it stands in the record.
struct Field {
    text: String,
    start: usize,
    end: usize,
}

/// The fields of a record. Quotes in the middle of a field that does not begin with one are themselves.
fn fields(record: &Line, delimiter: u8) -> Result<Vec<Field>> {
    let (text, bytes) = (record.text.as_str(), record.text.as_bytes());
    let mut fields = Vec::new();
    let mut start = 0;
    loop {
        let (said, end) = if bytes.get(start) == Some(&b'"') {
            let close = closing(record, start)?;
            if bytes.get(close + 1).is_some_and(|next| *next != delimiter) {
                let message = format!("line {} goes on behind a quoted field", record.number);
                return Err(Problem::new(Kind::Data, "D097", message)
                    .at(record.place(close + 1, close + 2, "expected the delimiter"))
                    .hint("a quote inside a quoted field is written twice"));
            }
            (text[start + 1..close].replace("\"\"", "\""), close + 1)
        } else {
            let end = bytes[start..].iter().position(|byte| *byte == delimiter).map_or(bytes.len(), |at| start + at);
            (text[start..end].to_string(), end)
        };
        fields.push(Field { text: said, start, end });
        if end == bytes.len() {
            return Ok(fields);
        }
        start = end + 1;
    }
}

/// The quote that closes the one at `open`.
fn closing(record: &Line, open: usize) -> Result<usize> {
    let bytes = record.text.as_bytes();
    let mut at = open + 1;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'"', Some(b'"')) => at += 2,
            (b'"', _) => return Ok(at),
            _ => at += 1,
        }
    }
    Err(Problem::new(Kind::Data, "D097", format!("a field of the record in line {} never ends", record.number))
        .at(record.place(open, open + 1, "it begins here"))
        .hint("every `\"` that opens a field needs one that closes it; `\"\"` inside is a quote itself"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(bytes: &[u8]) -> Result<Vec<Map<String, Value>>> {
        let mut rows = Vec::new();
        read(Path::new("x.csv"), bytes, &mut |row| {
            rows.push(row.columns);
            Ok(true)
        })?;
        Ok(rows)
    }

    fn json(bytes: &[u8]) -> String {
        serde_json::to_string(&rows(bytes).unwrap()).unwrap()
    }

    #[test]
    fn fields_are_read_as_written() {
        assert_eq!(
            json(b"a,b\n1,\n\"x,\"\"y\"\"\",\"two\nlines\"\n"),
            r#"[{"a":"1","b":null},{"a":"x,\"y\"","b":"two\nlines"}]"#
        );
        assert_eq!(json(b"\xef\xbb\xbfa;b\r\n1;2\r\n\r\n3;4"), r#"[{"a":"1","b":"2"},{"a":"3","b":"4"}]"#);
        assert_eq!(
            json(b"a\tb\n1,5\t2\n"),
            r#"[{"a":"1,5\t2"}]"#.replace("\"a\":\"1,5\\t2\"", "\"a\":\"1,5\",\"b\":\"2\"")
        );
        // pandas' index has no name; a quote in the middle of a field is itself, if there are two.
        assert_eq!(json(b",b\n0,5\" x 6\"\n"), r#"[{"":"0","b":"5\" x 6\""}]"#);
        assert_eq!(json(b"a,b\n5\" wide,1\n6\" wide,2\n"), r#"[{"a":"5\" wide","b":"1"},{"a":"6\" wide","b":"2"}]"#);
        assert_eq!(json(b"a\n\nx\n"), r#"[{"a":null},{"a":"x"}]"#);
        assert_eq!(json(b"a,b\n"), "[]");
    }

    #[test]
    fn hostile_files_are_refused_each_with_its_place() {
        for (bytes, code, line) in [
            (&b"a,b\n1,2\n3\n"[..], "D097", 3),
            (b"a,b\n1,2,3\n", "D097", 2),
            (b"a,b\n\"1\"x,2\n", "D097", 2),
            (b"a,b\n1,\"2\n3,4\n", "D097", 2),
            (b"a,a\n", "D097", 1),
            (b"a,b\n1,\xff\n", "D005", 2),
        ] {
            let problem = rows(bytes).unwrap_err();
            let place = problem.place().unwrap();
            assert_eq!((problem.code(), place.line, problem.kind()), (code, line, Kind::Data), "{problem}");
        }
        assert_eq!(rows(b"").unwrap_err().code(), "D007");
        // A quote that never closes over many lines costs one pass.
        let open = [b"a,b\n\"".as_slice(), &b"\n".repeat(1 << 21)].concat();
        assert_eq!(rows(&open).unwrap_err().code(), "D097");
        let endless = std::io::BufReader::new(std::io::repeat(b'x'));
        let problem = read(Path::new("x"), endless, &mut |_| Ok(true)).unwrap_err();
        assert_eq!(problem.code(), "D097");
    }

    proptest! {
        /// What is written by the rules is read back, whatever it holds.
        #[test]
        fn written_and_read(cells in prop::collection::vec("[a-z\",\n\r;é ]{1,8}", 3..30)) {
            let cells = &cells[..cells.len() / 3 * 3];
            let quoted = |cell: &String| format!("\"{}\"", cell.replace('"', "\"\""));
            let lines: Vec<String> = cells.chunks(3).map(|row| row.iter().map(quoted).collect::<Vec<_>>().join(",")).collect();
            let found = rows(format!("a,b,c\n{}\n", lines.join("\n")).as_bytes()).unwrap();
            let read: Vec<&str> = found.iter().flat_map(|row| row.values().map(|cell| cell.as_str().unwrap())).collect();
            prop_assert_eq!(read, cells.iter().map(String::as_str).collect::<Vec<_>>());
        }

        /// No bytes break the reader.
        #[test]
        fn any_bytes_give_rows_or_a_problem(bytes in prop::collection::vec(prop::sample::select(b"a,\"\n\r;\xff1".to_vec()), 0..60)) {
            let _ = rows(&bytes);
        }
    }
}
