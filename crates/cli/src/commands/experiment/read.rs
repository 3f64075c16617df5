//! A file of units, arms and outcomes, of any format, to a table.

use std::path::Path;

use lapidary_core::{Kind, Problem, Result};
use lapidary_feedback::experiment::{self, Column, Rows, TableBuilder, Units};
use lapidary_reward::jsonl::kind_of;
use lapidary_task::read_rows;
use serde_json::Value;

/// Usual names of the column of units, best first.
const UNITS: &[&str] = &["unit", "unit_id", "user", "user_id", "user_key", "uid", "id"];
/// Usual names of the column of arms.
const ARMS: &[&str] = &["arm", "variant", "group", "treatment", "bucket", "cell"];

/// Columns that are not numbers.
#[derive(Debug)]
pub(super) struct Labels<'a> {
    pub unit: Option<&'a str>,
    pub arm: Option<&'a str>,
    pub day: Option<&'a str>,
    pub segment: Option<&'a str>,
    pub triggered: Option<&'a str>,
}

/// Reads the file.
///
/// # Errors
/// `D003` for a cell that is no number (or no unit, arm, …), `D004` for a column that is not there, and what a table refuses.
pub(super) fn units(path: &Path, columns: Vec<Column>, labels: &Labels<'_>, rows: Rows) -> Result<Units> {
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let mut table = TableBuilder::new(columns, rows);
    let mut values = vec![f64::NAN; names.len()];
    read_rows(path, &mut |row| {
        let unit = label(&row, labels.unit, UNITS, "unit")?;
        let arm = label(&row, labels.arm, ARMS, "arm")?;
        for (value, name) in values.iter_mut().zip(&names) {
            *value = number(&row, name)?;
        }
        let day = labels.day.map(|name| label(&row, Some(name), &[], "day")).transpose()?.map(date);
        let segment = labels.segment.map(|name| label(&row, Some(name), &[], "segment")).transpose()?;
        let triggered = match labels.triggered {
            Some(name) => match number(&row, name)? {
                1.0 => true,
                0.0 => false,
                of if of.is_nan() => false,
                _ => return Err(row.wrong(name, "true or false", &row.columns[name])),
            },
            None => true,
        };
        table.push(&experiment::Row {
            unit: &unit,
            arm: &arm,
            values: &values,
            day: day.as_deref(),
            segment: segment.as_deref(),
            triggered,
        })?;
        Ok(true)
    })?;
    table.finish()
}

/// A time stamp counts by its date.
fn date(text: String) -> String {
    let bytes = text.as_bytes();
    let dated = bytes.len() > 10
        && matches!(bytes[10], b'T' | b' ')
        && bytes[..10]
            .iter()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { *byte == b'-' } else { byte.is_ascii_digit() });
    if dated { text[..10].to_string() } else { text }
}

/// A label: a text, a number or a truth.
fn label(row: &lapidary_task::Row, named: Option<&str>, usual: &[&str], what: &str) -> Result<String> {
    let name = match named {
        Some(name) => name,
        None => match usual.iter().find(|name| row.columns.contains_key(**name)) {
            Some(name) => name,
            None => {
                let problem = row.missing(&format!("column of the {what}s"), usual);
                return Err(problem.hint(format!("name it: `--{what} COLUMN`")));
            }
        },
    };
    match row.columns.get(name) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(Value::Bool(truth)) => Ok(truth.to_string()),
        Some(other) => Err(row.wrong(name, &format!("the name of {what}"), other)),
        None => Err(row.missing(&format!("column `{name}`"), &[name])),
    }
}

/// A number, a truth as 0 or 1, or NaN for a cell without anything.
fn number(row: &lapidary_task::Row, name: &str) -> Result<f64> {
    let finite = |number: f64| number.is_finite().then_some(number);
    let read = match row.columns.get(name) {
        None => return Err(row.missing(&format!("column `{name}`"), &[name])),
        Some(Value::Null) => return Ok(f64::NAN),
        Some(Value::Bool(truth)) => Some(f64::from(u8::from(*truth))),
        Some(Value::Number(number)) => number.as_f64().and_then(finite),
        Some(Value::String(text)) => match text.trim() {
            "" => return Ok(f64::NAN),
            "true" | "True" | "TRUE" => Some(1.0),
            "false" | "False" | "FALSE" => Some(0.0),
            text => text.parse().ok().and_then(finite),
        },
        Some(_) => None,
    };
    read.ok_or_else(|| not_a_number(row, name))
}

fn not_a_number(row: &lapidary_task::Row, name: &str) -> Problem {
    let value = row.columns.get(name).unwrap_or(&Value::Null);
    let problem = row.wrong(name, "a finite number, true or false", value);
    match value {
        Value::String(text)
            if ["nan", "na", "null", "none", "inf", "-inf"].contains(&text.trim().to_lowercase().as_str()) =>
        {
            let problem = problem.why(format!("`{}` is no outcome of a unit", text.trim()));
            problem.hint("leave the cell empty where nothing is known, and say with `--missing` what that means")
        }
        Value::String(_) => problem.hint("numbers are written as 0.5 or 1e-3, without units or separators"),
        other => problem.with_kind(Kind::Data).why(format!("it is {}", kind_of(other))),
    }
}
