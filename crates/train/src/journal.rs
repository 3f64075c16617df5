//! What a run writes down as it goes: rows of metrics, which are part of the result, and events, which are not.

use lapidary_core::{Problem, Result};
use serde_json::{Map, Value, json};

use crate::disk::LineLog;
use crate::fault;
use crate::metrics::{JsonLines, Row, Sinks, TensorBoard};
use crate::run_dir::RunDirectory;
use crate::watch::unix_seconds;

pub(crate) struct Journal {
    sinks: Sinks,
    events: LineLog,
}

impl Journal {
    /// Opens the logs of a run that has done `step` steps, and cuts the metrics back to what they were then.
    pub(crate) fn open(directory: &RunDirectory, metrics_bytes: u64, step: u64) -> Result<(Self, Option<Problem>)> {
        let mut sinks = Sinks::new(JsonLines::open(&directory.metrics(), metrics_bytes)?);
        let trouble = match TensorBoard::open(&directory.tensorboard(), step) {
            Ok(board) => {
                sinks.copy(board);
                None
            }
            Err(problem) => Some(problem),
        };
        Ok((Self { sinks, events: LineLog::open(&directory.events())? }, trouble))
    }

    /// Writes a row of metrics; gives the troubles of its copies.
    pub(crate) fn row(&mut self, row: &Row) -> Result<Vec<Problem>> {
        fault::pass("metrics.append")
            .map_err(|error| Problem::io("append to", std::path::Path::new("metrics.jsonl"), &error))?;
        self.sinks.record(row)
    }

    /// Writes an event: its name, the time, and the fields of an object.
    pub(crate) fn event(&mut self, name: &str, fields: Value) -> Result<()> {
        let mut line = Map::from_iter([
            ("time".to_string(), json!((unix_seconds() * 1e3).round() / 1e3)),
            ("event".to_string(), json!(name)),
        ]);
        if let Value::Object(fields) = fields {
            line.extend(fields);
        }
        self.events.append(&Value::Object(line).to_string())
    }

    /// Makes the metrics durable; gives their length.
    pub(crate) fn sync(&mut self) -> Result<u64> {
        self.sinks.sync()
    }
}
