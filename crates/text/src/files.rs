//! Reading files within their bounds, with a place for what is wrong in them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use lapidary_core::{Kind, Place, Problem, Result};
use serde_json::{Map, Value};

/// How many characters of a line are shown around an error: tokenizer files are often one line of megabytes.
const SHOWN: usize = 60;

/// The bytes of a file of at most `most` bytes; `None` where it does not exist.
pub(crate) fn read(path: &Path, most: u64) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Problem::io("open", path, &error)),
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| Problem::io("read", path, &error))?;
    if bytes.len() as u64 > most {
        return Err(Problem::new(
            Kind::Model,
            "T003",
            format!("`{}` is larger than {} MiB", path.display(), most >> 20),
        )
        .why("no tokenizer in use comes near this bound, so the file is damaged or not what its name says"));
    }
    Ok(Some(bytes))
}

/// The text of a file; `None` where it does not exist.
pub(crate) fn read_text(path: &Path, most: u64) -> Result<Option<String>> {
    let Some(bytes) = read(path, most)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Problem::new(Kind::Model, "T002", format!("`{}` is not UTF-8 text (byte {at})", path.display()))
    })
}

/// The JSON object in a file; `None` where the file does not exist.
pub(crate) fn read_object(path: &Path, most: u64) -> Result<Option<Map<String, Value>>> {
    let Some(text) = read_text(path, most)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| broken_json(path, &text, &error))
}

/// What serde_json says of `text`, with the place.
pub(crate) fn broken_json(path: &Path, text: &str, error: &serde_json::Error) -> Problem {
    let words = error.to_string();
    let words = words.split(" at line ").next().unwrap_or(&words).to_string();
    let problem = Problem::new(Kind::Model, "T002", format!("could not read `{}`: {words}", path.display()))
        .hint("download the file again, or save it again with the program that made it");
    match (error.line(), error.column()) {
        (0, _) => problem,
        (line, column) => problem.at(place(path, text, line, column, words)),
    }
}

/// A place by line and column (in bytes, from 1), with only the surroundings of a long line.
fn place(path: &Path, text: &str, line: usize, column: usize, label: String) -> Place {
    let shown = text.lines().nth(line - 1).unwrap_or("");
    let mut at = column.saturating_sub(1).min(shown.len());
    while !shown.is_char_boundary(at) {
        at -= 1;
    }
    let before: Vec<char> = shown[..at].chars().rev().take(SHOWN).collect();
    let mut excerpt: String = before.iter().rev().collect();
    let column = before.len() + 1;
    excerpt.extend(shown[at..].chars().take(SHOWN));
    Place { path: path.to_path_buf(), line, column, width: 1, text: excerpt, label }
}

/// Writes a file whole.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|error| Problem::io("write", path, &error))
}
