//! Logs as text: JSON lines, Hugging Face's `trainer_state.json`, verl's console.

use std::path::Path;

use lapidary_core::{Kind, Problem, Result};
use serde_json::{Map, Value};

use super::Record;
use crate::disk::read_whole;

/// Metrics of a run of a million steps; a larger file is no log of metrics.
const FILE_LIMIT_BYTES: u64 = 1 << 30;
/// Where a row says its step. The first that is there counts.
const STEP_KEYS: [&str; 4] = ["step", "_step", "global_step", "training/global_step"];
/// What is a number in a row but no metric.
const NO_METRICS: [&str; 3] = ["stage", "step", "_step"];

/// The records of a log.
pub(super) fn read(path: &Path) -> Result<Vec<Record>> {
    let bytes = read_whole(path, FILE_LIMIT_BYTES)?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_start_matches('\u{feff}');
    match text.trim_start().as_bytes().first() {
        Some(b'{' | b'[') => {}
        Some(_) if text.contains("step:") => return Ok(console(text)),
        _ => return Err(super::nothing(path)),
    }
    // One value in the whole file, or a value per line.
    if let Ok(value) = serde_json::from_str::<Value>(&finite(text)) {
        let rows = match value {
            Value::Object(mut state) => match state.remove("log_history") {
                Some(Value::Array(rows)) => rows,
                _ => vec![Value::Object(state)],
            },
            Value::Array(rows) => rows,
            _ => Vec::new(),
        };
        return Ok(numbered(rows.into_iter().filter_map(|row| record(row, None)).collect()));
    }
    let mut records = Vec::new();
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).peekable();
    while let Some((at, line)) = lines.next() {
        match serde_json::from_str(&finite(line)) {
            Ok(row) => records.extend(record(row, Some(at as u64 + 1))),
            // A torn last line is that of a run that is going on, or was killed.
            Err(_) if lines.peek().is_none() && !records.is_empty() => {}
            Err(error) => {
                return Err(Problem::new(
                    Kind::Data,
                    "D071",
                    format!("`{}` line {} is not JSON", path.display(), at + 1),
                )
                .why(error.to_string()));
            }
        }
    }
    Ok(records)
}

/// Python writes `NaN`, `Infinity` and `-Infinity`, which are no JSON: outside of texts they become texts.
fn finite(line: &str) -> String {
    if !line.contains("NaN") && !line.contains("Infinity") {
        return line.to_string();
    }
    let (mut out, mut inside, mut escaped) = (String::with_capacity(line.len() + 16), false, false);
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        if !inside && let Some(word) = ["NaN", "-Infinity", "Infinity"].into_iter().find(|word| rest.starts_with(word))
        {
            out.push_str(&format!("\"{word}\""));
            rest = &rest[word.len()..];
            continue;
        }
        inside ^= c == '"' && !escaped;
        escaped = inside && c == '\\' && !escaped;
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// A row with numbers; `line` stands in for a step that it does not say.
fn record(row: Value, line: Option<u64>) -> Option<Record> {
    let Value::Object(mut row) = row else { return None };
    let step = STEP_KEYS.iter().find_map(|key| number(row.get(*key)?)).map(|step| step.max(0.0) as u64);
    let stage = row.get("stage").and_then(Value::as_u64).map(|stage| stage as usize);
    // verl: { "step": 3, "data": { … } }
    if let Some(Value::Object(data)) = row.get_mut("data").map(Value::take) {
        row = data;
    }
    let nested = STEP_KEYS.iter().find_map(|key| number(row.get(*key)?)).map(|step| step.max(0.0) as u64);
    let step = step.or(nested).or(line).unwrap_or(u64::MAX);
    Some(Record { step, stage, values: values(row) })
}

fn values(row: Map<String, Value>) -> Vec<(String, f64)> {
    let metric = |(name, value): (String, Value)| {
        let value = number(&value)?;
        (!NO_METRICS.contains(&name.as_str())).then_some((name, value))
    };
    row.into_iter().filter_map(metric).collect()
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// Rows of a list without steps are counted.
fn numbered(mut records: Vec<Record>) -> Vec<Record> {
    for (at, record) in records.iter_mut().enumerate() {
        if record.step == u64::MAX {
            record.step = at as u64 + 1;
        }
    }
    records
}

/// verl's console: `… step:12 - actor/entropy:0.41 - critic/score/mean:np.float64(0.2) - …`.
fn console(text: &str) -> Vec<Record> {
    let mut records = Vec::new();
    for line in text.lines() {
        let Some(at) = line.find("step:").filter(|at| !line[..*at].ends_with("global_")) else { continue };
        let mut parts = line[at..].split(" - ");
        let step = parts.next().and_then(|part| part.strip_prefix("step:")?.trim().parse().ok());
        let Some(step) = step else { continue };
        let value = |part: &str| {
            let (name, value) = part.trim().rsplit_once(':')?;
            let value = value.strip_prefix("np.float64(").or(value.strip_prefix("np.float32(")).unwrap_or(value);
            Some((name.to_string(), value.trim_end_matches(')').parse().ok()?))
        };
        let values: Vec<_> = parts.filter_map(value).collect();
        if !values.is_empty() {
            records.push(Record { step, stage: None, values });
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Record>> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    fn of(step: u64, name: &str, value: f64) -> Record {
        Record { step, stage: None, values: vec![(name.into(), value)] }
    }

    #[test]
    fn every_text_form_is_read() {
        let expected = [of(1, "reward", 0.5), of(2, "reward", 0.75)];
        for text in [
            "{\"step\": 1, \"reward\": 0.5}\n{\"step\": 2, \"reward\": 0.75, \"note\": \"x\"}\n{\"step\": 3, \"rew",
            "{\"step\": 1, \"data\": {\"reward\": 0.5}}\n{\"step\": 2, \"data\": {\"reward\": 0.75}}\n",
            "{\"best_metric\": null, \"log_history\": [{\"reward\": 0.5, \"step\": 1}, {\"step\": 2, \"reward\": 0.75}]}",
            "[{\"_step\": 1, \"reward\": 0.5}, {\"_step\": 2, \"reward\": 0.75}]",
            "{\"reward\": 0.5}\n\n",
            "\u{1b}[36m(TaskRunner pid=7)\u{1b}[0m step:1 - reward:0.5\nnoise step: x\nstep:2 - reward:np.float64(0.75)\n",
        ] {
            let records = read_text(text).unwrap();
            assert_eq!(records, expected[..records.len()], "{text}");
        }
        assert_eq!(read_text("{\"a\": 1}\n{broken\n{\"a\": 2}\n").unwrap_err().code(), "D071");
        assert_eq!(read_text("hello").unwrap_err().code(), "D072");
        assert_eq!(read_text("").unwrap_err().code(), "D072");
    }

    #[test]
    fn python_writes_numbers_that_are_none() {
        let records = read_text("{\"step\": 1, \"kl\": NaN, \"x\": -Infinity, \"t\": \"NaN \\\" NaN\"}\n").unwrap();
        assert!(records[0].values[0].1.is_nan());
        assert_eq!(records[0].values[1], ("x".into(), f64::NEG_INFINITY));
        assert_eq!(finite("{\"NaN\": NaN, \"a\\\"NaN\": Infinity}"), "{\"NaN\": \"NaN\", \"a\\\"NaN\": \"Infinity\"}");
    }
}
