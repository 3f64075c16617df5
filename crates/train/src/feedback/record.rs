//! What is kept of a self-feedback step: every trace with its numbers, and the pairs for whoever learns from them.

use std::fs;
use std::path::{Path, PathBuf};

use lapidary_core::{Kind, Problem, PromptText, Result, StopReason};
use lapidary_eval::Sureness;
use lapidary_reward::confidence::RankedPair;
use serde::{Deserialize, Serialize};

use super::decode::Branch;
use crate::disk::write_whole;
use crate::rollouts;

/// A trace: one of the K answers to a question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceRecord {
    /// Its ids, an end token included.
    pub tokens: Vec<u32>,
    /// Its words; nothing of the probe is among them.
    pub text: String,
    /// ln p of each token.
    pub logp: Vec<f32>,
    /// The largest and the second largest probability at each token, where the statistic reads them.
    pub top: [Vec<f32>; 2],
    /// The entropy at each token, where the statistic reads it.
    pub entropy: Vec<f32>,
    /// First token of the answer and the one after its last; `None` where none was found.
    pub span: Option<[usize; 2]>,
    /// The words of the answer.
    pub answer: Option<String>,
    /// What the model said when asked again, where it was.
    pub probe: Option<String>,
    /// How sure it is.
    pub confidence: f64,
    /// Why it ended.
    pub stop: StopReason,
    /// Whether it is right, where that can be told. Nothing but what is logged depends on it.
    pub right: Option<bool>,
}

impl TraceRecord {
    pub(super) fn of(branch: Branch, seen: Sureness, right: Option<bool>) -> Self {
        let entropy = if seen.readings.entropy.iter().any(|h| *h != 0.0) { seen.readings.entropy } else { Vec::new() };
        Self {
            tokens: branch.tokens,
            text: seen.text,
            logp: seen.readings.logp,
            top: seen.readings.top,
            entropy,
            span: seen.span.map(|span| [span.start, span.end]),
            answer: seen.answer,
            probe: seen.probe,
            confidence: seen.confidence,
            stop: branch.stop,
            right,
        }
    }
}

/// A question with its traces and its pairs: one line of a trace file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuestionRecord {
    /// The item's name.
    pub id: String,
    /// The question, text or messages as the task gives it.
    pub prompt: PromptText,
    /// The reference answer, for what is logged.
    pub answer: Option<String>,
    /// The traces, by falling probability of their first token.
    pub traces: Vec<TraceRecord>,
    /// The first trace of the answer whose traces are surest together; `None` where none was found.
    pub aggregated: Option<usize>,
    /// Which of them are paired.
    pub pairs: Vec<RankedPair>,
}

impl QuestionRecord {
    /// The pairs as a preference stage reads them.
    fn pairs(&self) -> impl Iterator<Item = Pair> + '_ {
        self.pairs.iter().map(|pair| Pair {
            prompt: self.prompt.clone(),
            chosen: self.traces[pair.better].text.clone(),
            rejected: self.traces[pair.worse].text.clone(),
            margin: pair.margin,
            id: format!("{}#{}>{}", self.id, pair.better, pair.worse),
            source: "self-feedback".into(),
        })
    }
}

/// One line of a file of pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The question, text or messages.
    pub prompt: PromptText,
    /// The surer trace.
    pub chosen: String,
    /// The other.
    pub rejected: String,
    /// How far a reward model must keep them apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// Where it comes from: `<item>#<better trace>><worse trace>`.
    pub id: String,
    /// `self-feedback`.
    pub source: String,
}

/// Where the traces of a step are.
pub fn trace_path(directory: &Path, step: u64) -> PathBuf {
    rollouts::path_of(directory, step)
}

/// Writes the traces of a step: the same bytes for the same traces. The folder is made if absent.
pub(crate) fn write(directory: &Path, step: u64, records: &[QuestionRecord]) -> Result<()> {
    fs::create_dir_all(directory).map_err(|error| Problem::io("make", directory, &error))?;
    rollouts::write_lines(&trace_path(directory, step), records)
}

/// Reads the traces of a step.
///
/// # Errors
/// `Data`: a file that holds no traces, or that is damaged.
pub fn read(path: &Path) -> Result<Vec<QuestionRecord>> {
    rollouts::read_lines(path)
}

/// Puts the pairs of steps `steps` into one file, made anew each time.
pub(crate) fn gather(traces: &Path, steps: std::ops::RangeInclusive<u64>, path: &Path) -> Result<()> {
    let mut text = Vec::new();
    for step in steps {
        for record in read(&trace_path(traces, step))? {
            for pair in record.pairs() {
                serde_json::to_writer(&mut text, &pair).map_err(|error| {
                    Problem::new(Kind::Failed, "I001", format!("a pair cannot be written: {error}"))
                })?;
                text.push(b'\n');
            }
        }
    }
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|error| Problem::io("make", parent, &error))?;
    write_whole(path, &text)
}
