//! A step of self-feedback: answer in several ways, measure how sure the model is, write pairs (RLSF, arXiv 2507.21931).
//!
//! ```text
//! question ─▶ K likeliest first tokens ─▶ K traces ─▶ answer's tokens ─▶ confidence ─▶ pairs
//! ```
//! The weights never move. A reference answer is looked at for what is logged only: no pair depends on it.

mod decode;
mod measures;
mod record;

use lapidary_core::{Item, Key, Purpose, Result, StopReason};
use lapidary_eval::{Asked, Gauge, Sureness};
use lapidary_reward::confidence::{Trace, aggregate};
use lapidary_reward::{Attempt, Reward};

pub use record::{Pair, QuestionRecord, TraceRecord, read, trace_path};
pub(crate) use record::{gather, write};

use crate::bench::Bench;
use crate::prompts::{Prompts, Tasks, check_length};
use crate::recipe::SelfFeedback;
use crate::reference::Reference;
use crate::stage::{StepReport, Work};
use crate::state::RunState;
use crate::watch::{Phase, Warning};
use decode::Branch;

/// The work of a self-feedback stage.
pub(crate) struct FeedbackWork<'r> {
    feedback: &'r SelfFeedback,
    prompts: Prompts,
    gauge: Gauge,
    /// What checks the task's answers, for what is logged.
    gold: Box<dyn Reward>,
    seed: u64,
}

impl<'r> FeedbackWork<'r> {
    pub(crate) fn new(feedback: &'r SelfFeedback, tasks: &mut Tasks, seed: u64) -> Result<Self> {
        let prompts = Prompts::new(tasks, &feedback.task, seed)?;
        let gold = lapidary_reward::build(prompts.task().answer_reward(), &serde_json::Value::Null)?;
        // A checked recipe holds a measure that makes sense.
        let gauge = Gauge::new(&feedback.confidence).unwrap_or_else(|why| unreachable!("{why}"));
        Ok(Self { feedback, prompts, gauge, gold, seed })
    }

    /// The questions of a step, by their number in it, with their prompts' ids.
    fn take(&mut self, bench: &Bench<'_, '_>, state: &mut RunState) -> Result<Vec<(Item, Vec<u32>)>> {
        let context = bench.engine.model().context;
        let count = self.feedback.training.prompts_per_step;
        (0..count)
            .map(|_| {
                let item = self.prompts.take(&mut state.cursors)?;
                let prompt = bench.tokenizer.encode_prompt(&item.prompt)?;
                check_length(&item, prompt.len(), context)?;
                Ok((item, prompt))
            })
            .collect()
    }

    /// What is kept of a question.
    fn record(&self, item: Item, traces: Vec<(Branch, Sureness)>) -> QuestionRecord {
        let right = self.right(&item, &traces);
        let statistic = self.gauge.measure().statistic;
        let ranked: Vec<Trace<'_>> = traces
            .iter()
            .map(|(_, seen)| Trace { text: &seen.text, answer: seen.answer.as_deref(), confidence: seen.confidence })
            .collect();
        let pairs = self.feedback.ranking.pairs(&ranked);
        let answers: Vec<Option<&str>> = ranked.iter().map(|trace| trace.answer).collect();
        let confidences: Vec<f64> = ranked.iter().map(|trace| statistic.as_probability(trace.confidence)).collect();
        let aggregated = aggregate(&answers, &confidences).map(|(at, _)| at);
        let traces = traces.into_iter().zip(right).map(|((branch, seen), right)| TraceRecord::of(branch, seen, right));
        QuestionRecord {
            id: item.id,
            prompt: item.prompt,
            answer: item.answer,
            traces: traces.collect(),
            aggregated,
            pairs,
        }
    }

    /// Whether each trace is right; `None` where nobody can tell.
    fn right(&self, item: &Item, traces: &[(Branch, Sureness)]) -> Vec<Option<bool>> {
        let prompt = item.prompt.plain();
        let attempt = |(branch, seen): &'_ (Branch, Sureness)| (branch.tokens.len(), branch.stop, seen.text.clone());
        let texts: Vec<(usize, StopReason, String)> = traces.iter().map(attempt).collect();
        let attempts: Vec<Attempt<'_>> = texts
            .iter()
            .map(|(tokens, stop, text)| Attempt {
                tokens: *tokens,
                truncated: *stop == StopReason::Length,
                ..Attempt::new(&prompt, text, item.answer.as_deref(), &item.metadata)
            })
            .collect();
        self.gold.score(&attempts).iter().map(|verdict| verdict.value().map(|score| score >= 1.0)).collect()
    }
}

impl Work for FeedbackWork<'_> {
    fn step(&mut self, bench: &mut Bench<'_, '_>, state: &mut RunState) -> Result<StepReport> {
        let questions = self.take(bench, state)?;
        let prompts: Vec<&[u32]> = questions.iter().map(|(_, prompt)| prompt.as_slice()).collect();
        let key = Key::new(self.seed, Purpose::Sample).at_name("traces").at(state.step);
        let branches = bench.stopwatch.time(Phase::Sample, || decode::traces(bench, self.feedback, &prompts, key))?;
        let asked: Vec<Asked<'_>> = prompts
            .iter()
            .zip(&branches)
            .flat_map(|(prompt, group)| group.iter().map(|branch| Asked { prompt, completion: &branch.tokens }))
            .collect();
        let progress = bench.ear.progress(Phase::Measure, asked.len() as u64);
        let heard = |done: usize| progress.advance(done as u64);
        let seen = bench
            .stopwatch
            .time(Phase::Measure, || self.gauge.read(&*bench.engine, bench.tokenizer, &asked, &heard))?;
        let mut seen = seen.into_iter();
        let tokens = branches.iter().flatten().map(|branch| branch.tokens.len() as u64).sum();
        let records: Vec<QuestionRecord> = questions
            .iter()
            .zip(branches)
            .map(|((item, _), group)| self.record(item.clone(), group.into_iter().zip(seen.by_ref()).collect()))
            .collect();
        let metrics = measures::metrics(&records, self.gauge.measure().statistic);
        let warnings = self.warn(&records, state.step + 1);
        Ok(StepReport { metrics, tokens, traces: records, warnings, ..StepReport::default() })
    }

    fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    fn set_reference(&mut self, _: Reference) {}
}

impl FeedbackWork<'_> {
    /// A step without a single pair says that the threshold is out of reach.
    fn warn(&self, records: &[QuestionRecord], step: u64) -> Vec<Warning> {
        if records.iter().any(|record| !record.pairs.is_empty()) {
            return Vec::new();
        }
        let surest = records.iter().flat_map(|record| &record.traces).map(|trace| trace.confidence);
        let surest = surest.fold(f64::NEG_INFINITY, f64::max);
        vec![Warning {
            step,
            rule: "no_pairs".into(),
            seen: format!(
                "none of {} questions gave a pair; the surest trace has confidence {surest:.3}",
                records.len()
            ),
            cause: "no trace reaches `min_confidence`, or all traces of a question are equally sure".into(),
            knob: format!("lower `min_confidence` of `[stage.ranking]` (now {})", self.feedback.ranking.min_confidence),
        }]
    }
}
