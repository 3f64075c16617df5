//! Rows of a file, one at a time, whatever its format.

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
pub(super) struct Row {
    pub columns: Map<String, Value>,
    pub origin: Origin,
}

/// Where a row stands.
#[derive(Debug)]
pub(super) enum Origin {
    /// A line of a text file.
    Line(Line),
    /// A row of a Parquet file, from 1.
    Row { path: std::path::PathBuf, number: usize },
}

impl Row {
    /// A name for the row: `train.jsonl:7`.
    pub(super) fn id(&self) -> String {
        let (path, number) = match &self.origin {
            Origin::Line(line) => (&line.path, line.number),
            Origin::Row { path, number } => (path, *number),
        };
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        format!("{name}:{number}")
    }

    /// A column that holds the wrong thing.
    pub(super) fn wrong(&self, column: &str, expected: &str, got: &Value) -> Problem {
        match &self.origin {
            Origin::Line(line) => line.wrong(column, expected, got),
            Origin::Row { path, number } => {
                let place = format!("row {number} of `{}`", path.display());
                let message = format!("column `{column}` must be {expected}, got {} in {place}", kind_of(got));
                Problem::new(Kind::Data, "D003", message)
            }
        }
    }

    /// A column that is not there.
    pub(super) fn missing(&self, wanted: &str, expected: &[&str]) -> Problem {
        match &self.origin {
            Origin::Line(line) => line.missing(wanted, expected, &self.columns),
            Origin::Row { path, .. } => {
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

/// Calls `take` with every row until it says that it has enough.
pub(super) fn read(path: &Path, take: &mut dyn FnMut(Row) -> Result<bool>) -> Result<()> {
    let name = path.to_string_lossy().to_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if ends(&[".parquet"]) {
        return super::parquet_rows::read(path, take);
    }
    if ends(&[".csv", ".arrow", ".zst", ".pkl", ".pt", ".bin", ".npy"]) {
        let message = format!("`{}` is of a kind that is not read", path.display());
        return Err(Problem::new(Kind::Data, "D010", message).hint("convert it to .jsonl, .jsonl.gz or .parquet"));
    }
    let file = File::open(path).map_err(|error| Problem::io("open", path, &error))?;
    if ends(&[".gz"]) {
        lines(Lines::new(path, BufReader::new(MultiGzDecoder::new(file))), take)
    } else {
        lines(Lines::new(path, BufReader::new(file)), take)
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
