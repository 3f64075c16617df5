//! The numbers of a run: where they are written, and what each one means.
//!
//! [`JsonLines`] is the source of truth: one object per row, byte-identical between runs, cut back on resume. Every other
//! sink is a copy of it for people's tools; a copy that fails warns once and never stops a run.

mod catalogue;
mod confidence;
mod events;
mod jsonl;
mod tensorboard;

pub use catalogue::{Metric, catalogue, describe};
pub use events::{Scalar, read_events};
pub use jsonl::{JsonLines, encode, read_rows};
pub use tensorboard::TensorBoard;

use lapidary_core::Result;

/// One row of metrics: a training step or an evaluation.
///
/// No clock and no fact about the machine belongs in it, so that equal runs write equal bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Steps of the whole run that are done.
    pub step: u64,
    /// The stage, from 1; 0 before any.
    pub stage: usize,
    /// `start`, `sft`, or the method of an rl stage.
    pub stage_name: String,
    /// Names and numbers, in the order in which they are written.
    pub values: Vec<(String, f64)>,
}

impl Row {
    /// A row without numbers.
    pub fn new(step: u64, stage: usize, stage_name: impl Into<String>) -> Self {
        Self { step, stage, stage_name: stage_name.into(), values: Vec::new() }
    }

    /// Adds a number.
    pub fn with(mut self, name: impl Into<String>, value: f64) -> Self {
        self.values.push((name.into(), value));
        self
    }

    /// The number of that name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }
}

/// A place where rows go.
pub trait Sink: Send {
    /// What to call it in a message: `metrics.jsonl`, `tensorboard`.
    fn name(&self) -> &'static str;

    /// Writes a row so that another process can read it when this returns.
    fn record(&mut self, row: &Row) -> Result<()>;

    /// Makes what was written durable; called before a checkpoint that counts on it.
    fn sync(&mut self) -> Result<()>;
}

/// The log and its copies.
pub struct Sinks {
    log: JsonLines,
    copies: Vec<Box<dyn Sink>>,
}

impl Sinks {
    /// A log without copies.
    pub fn new(log: JsonLines) -> Self {
        Self { log, copies: Vec::new() }
    }

    /// Adds a copy.
    pub fn copy(&mut self, sink: impl Sink + 'static) {
        self.copies.push(Box::new(sink));
    }

    /// Writes a row everywhere. Gives the problems of copies, which are dropped: each is heard of once.
    ///
    /// # Errors
    /// Only those of the log itself.
    pub fn record(&mut self, row: &Row) -> Result<Vec<lapidary_core::Problem>> {
        self.log.record(row)?;
        Ok(self.keep(|sink| sink.record(row)))
    }

    /// Makes everything durable and gives the length of the log in bytes, which a checkpoint remembers.
    ///
    /// # Errors
    /// Only those of the log itself.
    pub fn sync(&mut self) -> Result<u64> {
        self.log.sync()?;
        for problem in self.keep(|sink| sink.sync()) {
            tracing::warn!(%problem, "a copy of the metrics is given up");
        }
        Ok(self.log.bytes())
    }

    fn keep(&mut self, mut act: impl FnMut(&mut Box<dyn Sink>) -> Result<()>) -> Vec<lapidary_core::Problem> {
        let mut problems = Vec::new();
        self.copies.retain_mut(|sink| match act(sink) {
            Ok(()) => true,
            Err(problem) => {
                problems.push(problem.context(format!("`{}` is given up for this launch", sink.name())));
                false
            }
        });
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapidary_core::{Kind, Problem};

    struct Broken;
    impl Sink for Broken {
        fn name(&self) -> &'static str {
            "broken"
        }
        fn record(&mut self, _: &Row) -> Result<()> {
            Err(Problem::new(Kind::Failed, "I001", "no"))
        }
        fn sync(&mut self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_copy_that_fails_is_heard_of_once_and_stops_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut sinks = Sinks::new(JsonLines::open(&directory.path().join("m.jsonl"), 0).unwrap());
        sinks.copy(Broken);
        let row = Row::new(1, 1, "grpo").with("reward", 0.5);
        assert_eq!(sinks.record(&row).unwrap().len(), 1);
        assert_eq!(sinks.record(&row).unwrap().len(), 0);
        assert_eq!(sinks.sync().unwrap(), 2 * encode(&row).unwrap().len() as u64 + 2);
    }
}
