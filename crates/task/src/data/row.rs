//! Rows of a file, one at a time, whatever its format: JSON lines, CSV, Parquet.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use lapidary_core::{Kind, Problem, Result};
use lapidary_reward::jsonl::{Line, Lines, kind_of};
use lapidary_reward::options::nearest;
use serde_json::{Map, Value};

/// A row and where it stands.
#[derive(Debug)]
pub struct Row {
    /// Its cells by the names of their columns.
    pub columns: Map<String, Value>,
    /// Where it stands.
    pub origin: Origin,
}

/// Where a row stands.
#[derive(Debug)]
pub enum Origin {
    /// A line of a text file.
    Line(Line),
    /// A record of a CSV file and the sign that parts its fields.
    Record {
        /// Its text (it may hold line ends).
        line: Line,
        /// The sign.
        delimiter: u8,
    },
    /// A row of a Parquet file, from 1.
    Row {
        /// The file.
        path: std::path::PathBuf,
        /// Which.
        number: usize,
    },
}

impl Row {
    /// A name for the row: `train.jsonl:7`.
    pub fn id(&self) -> String {
        let (path, number) = match &self.origin {
            Origin::Line(line) | Origin::Record { line, .. } => (&line.path, line.number),
            Origin::Row { path, number } => (path, *number),
        };
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        format!("{name}:{number}")
    }

    /// A column that holds the wrong thing.
    pub fn wrong(&self, column: &str, expected: &str, got: &Value) -> Problem {
        match &self.origin {
            Origin::Line(line) => line.wrong(column, expected, got),
            Origin::Record { line, delimiter } => {
                let at = self.columns.keys().position(|name| name == column).unwrap_or(0);
                let (start, end) = super::csv_rows::cell(line, *delimiter, at);
                let message = format!("`{column}` in line {} must be {expected}", line.number);
                Problem::new(Kind::Data, "D003", message).at(line.place(start, end, format!("must be {expected}")))
            }
            Origin::Row { path, number } => {
                let place = format!("row {number} of `{}`", path.display());
                let message = format!("column `{column}` must be {expected}, got {} in {place}", kind_of(got));
                Problem::new(Kind::Data, "D003", message)
            }
        }
    }

    /// A column that is not there.
    pub fn missing(&self, wanted: &str, expected: &[&str]) -> Problem {
        match &self.origin {
            Origin::Line(line) => line.missing(wanted, expected, &self.columns),
            Origin::Record { line: Line { path, .. }, .. } | Origin::Row { path, .. } => {
                let present: Vec<&str> = self.columns.keys().map(String::as_str).collect();
                let problem = Problem::new(Kind::Data, "D004", format!("`{}` has no {wanted}", path.display()))
                    .why(format!("its columns are {}", present.join(", ")));
                match expected.iter().find_map(|name| nearest(name, &present)) {
                    Some(near) => problem.hint(format!("did you mean `{near}`?")),
                    None => problem.hint(format!("expected one of {}", expected.join(", "))),
                }
            }
        }
    }
}

/// Calls `take` with every row until it says that it has enough. The name's ending tells the format: `.parquet`; `.csv` and `.tsv`; all else
/// JSON lines. The last two may be packed (`.gz`).
///
/// # Errors
/// `Data` with the place for a file that is not there, broken, too large, or of a kind that is not read; and what `take` returns.
pub fn read(path: &Path, take: &mut dyn FnMut(Row) -> Result<bool>) -> Result<()> {
    let name = path.to_string_lossy().to_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if ends(&[".parquet"]) {
        return super::parquet_rows::read(path, take);
    }
    if ends(&[".xlsx", ".feather", ".arrow", ".zst", ".pkl", ".pt", ".bin", ".npy"]) {
        let message = format!("`{}` is of a kind that is not read", path.display());
        return Err(Problem::new(Kind::Data, "D010", message).hint("convert it to .jsonl, .csv or .parquet"));
    }
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Problem::new(Kind::Data, "D001", format!("there is no file `{}`", path.display()))
                .hint("a relative path starts at the folder in which lapidary runs")
        }
        _ => Problem::io("open", path, &error),
    })?;
    let reader: Box<dyn std::io::BufRead> = match ends(&[".gz"]) {
        true => Box::new(BufReader::new(MultiGzDecoder::new(file))),
        false => Box::new(BufReader::new(file)),
    };
    match ends(&[".csv", ".csv.gz", ".tsv", ".tsv.gz"]) {
        true => super::csv_rows::read(path, reader, take),
        false => lines(Lines::new(path, reader), take),
    }
}

/// A file that broke while it was read: bytes that are no gzip stream are the data's fault, anything else the system's.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    match error.kind() {
        std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
            Problem::new(Kind::Data, "D001", format!("could not unpack `{}`: {error}", path.display()))
                .hint("the file is damaged or was not downloaded to its end")
        }
        _ => Problem::io("read", path, error),
    }
}

fn lines<R: std::io::BufRead>(lines: Lines<R>, take: &mut dyn FnMut(Row) -> Result<bool>) -> Result<()> {
    for line in lines {
        let line = line?;
        let columns = line.object()?;
        if !take(Row { columns, origin: Origin::Line(line) })? {
            break;
        }
    }
    Ok(())
}
