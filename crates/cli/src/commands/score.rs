//! `lapidary score`: what a model says about given tokens.

use std::path::PathBuf;

use clap::Args;
use lapidary_core::{TokenBatch, Want};
use serde::Serialize;

use crate::input;
use crate::model::{Asked, ModelFlags};
use crate::output::{Output, theme};
use crate::stop::Outcome;

/// Tokens scored at once: a few lines, so that answers come early and memory stays small.
const TOKENS_AT_ONCE: usize = 4096;

/// Print log-probability and entropy of every token of given sequences
///
/// A line of input is {"ids": […]}, {"text": "…"} or {"messages": […]}. With --json a line of output is
/// {"logp": […], "entropy": […]} in nats, for positions 1 to n-1: the first token is given, not predicted.
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary score --model DIR --input sequences.jsonl --json")]
pub struct Score {
    #[command(flatten)]
    model: ModelFlags,
    /// JSON lines; - is stdin
    #[arg(short, long, default_value = "-", value_name = "FILE")]
    input: PathBuf,
    /// Divisor of the logits
    #[arg(long, default_value_t = 1.0, value_parser = super::positive, value_name = "T")]
    temperature: f32,
}

/// One line of output. Numbers are written as the shortest decimals that give the same `f32` back.
#[derive(Serialize)]
struct Scored<'a> {
    logp: &'a [f32],
    entropy: &'a [f32],
}

impl Score {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Outcome {
        let model = self.model.open(0)?;
        let vocabulary = model.engine.model().vocabulary;
        let mut waiting: Vec<Vec<u32>> = Vec::new();
        let mut tokens = 0;
        for line in input::lines(&self.input, output)? {
            let line = line?;
            let sequence = input::sequence(&line, vocabulary)?;
            let place = line.place(0, 1, "this line");
            let ids = model.ids(sequence).map_err(|problem| problem.at(place.clone()))?;
            model.check_length(ids.len(), 0, &format!("line {}", line.number)).map_err(|problem| problem.at(place))?;
            tokens += ids.len();
            waiting.push(ids);
            if tokens >= TOKENS_AT_ONCE {
                self.answer(&model, std::mem::take(&mut waiting), output)?;
                tokens = 0;
            }
        }
        self.answer(&model, waiting, output)
    }

    fn answer(&self, model: &Asked, sequences: Vec<Vec<u32>>, output: &mut Output) -> Outcome {
        let mut batch = TokenBatch::default();
        for ids in &sequences {
            batch.push(ids, &vec![true; ids.len()], self.temperature);
        }
        let stats = model.engine.score(&batch, Want::ENTROPY)?;
        for (row, ids) in sequences.iter().enumerate() {
            let (logp, entropy) = (stats.logp.row(row), stats.entropy.row(row));
            let (logp, entropy) = (logp.get(1..).unwrap_or_default(), entropy.get(1..).unwrap_or_default());
            if output.json {
                output.json(&Scored { logp, entropy })?;
            } else {
                show(model, ids, logp, entropy, output)?;
            }
        }
        output.flush()
    }
}

fn show(model: &Asked, ids: &[u32], logp: &[f32], entropy: &[f32], output: &mut Output) -> Outcome {
    let rows = ids.iter().enumerate().map(|(at, &id)| {
        let number = |values: &[f32]| at.checked_sub(1).map_or(String::new(), |at| format!("{:.4}", values[at]));
        vec![at.to_string(), id.to_string(), format!("{:?}", model.token(id)), number(logp), number(entropy)]
    });
    output.table(&["position", "id", "token", "logp", "entropy"], rows)?;
    if !logp.is_empty() {
        let sum: f64 = logp.iter().map(|x| f64::from(*x)).sum();
        let mean = sum / logp.len() as f64;
        output.line(theme::bold(format!("sum {sum:.4}  mean {mean:.4}  perplexity {:.3}\n", (-mean).exp())))?;
    }
    Ok(())
}
