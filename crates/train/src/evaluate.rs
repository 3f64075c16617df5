//! Held-out prompts answered between steps.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lapidary_core::{Kind, Problem, Result};
use lapidary_engine::Engine;
use lapidary_eval::{Correction, Evaluation, Gauge, Judges, Settings, correction, evaluate_again};
use lapidary_reward::Reward;
use lapidary_task::{Split, Task};
use lapidary_text::Tokenizer;

use crate::bench::Ear;
use crate::disk::{read_whole, write_whole};
use crate::metrics::Row;
use crate::prompts::Tasks;
use crate::recipe::{EvalTurn, Recipe};
use crate::state::EvaluationRecord;
use crate::watch::Phase;

/// An evaluation holds its answers as text; a larger file was not written by us.
const LIMIT_BYTES: u64 = 1 << 30;

/// The held-out prompts of a run and how they are judged.
pub(crate) struct Evaluator {
    task: Arc<dyn Task>,
    reward: Box<dyn Reward>,
    /// How sure the model is, where the recipe wants to know.
    gauge: Option<Gauge>,
    settings: Settings,
    second_turn: Option<EvalTurn>,
}

impl Evaluator {
    /// `None` where the recipe switches evaluation off.
    pub(crate) fn new(recipe: &Recipe, tasks: &mut Tasks) -> Result<Option<Self>> {
        let eval = &recipe.eval;
        if eval.prompts == 0 {
            return Ok(None);
        }
        let task = tasks.get(&eval.task, recipe.seed)?;
        if task.is_empty(Split::Test) {
            return Err(Problem::new(Kind::Data, "D046", format!("task `{}` has no held-out item", task.name()))
                .hint("give it a test split, or set `eval.prompts = 0`"));
        }
        let name = if eval.reward.name == "answer" { task.answer_reward() } else { &eval.reward.name };
        let reward = lapidary_reward::build(name, &serde_json::Value::Object(eval.reward.options.clone()))?;
        let settings = Settings {
            seed: recipe.seed,
            prompts: task.len(Split::Test).map_or(eval.prompts, |len| len.min(eval.prompts)),
            samples: eval.samples,
            temperature: eval.temperature,
            max_new_tokens: eval.max_new_tokens,
            ..Settings::default()
        };
        if reward.reads().is_some() || reward.votes().is_some() {
            let message = format!("reward `{name}` cannot say whether a held-out answer is right");
            return Err(Problem::new(Kind::Usage, "R041", message)
                .why("it goes by what the model says of itself, or by other answers to the prompt")
                .hint("evaluate by `answer`; with `[eval.confidence]` the evaluation says how sure the model is"));
        }
        // A checked recipe holds a measure that makes sense.
        let gauge = |measure| Gauge::new(measure).unwrap_or_else(|why| unreachable!("{why}"));
        let gauge = eval.confidence.as_ref().map(gauge);
        Ok(Some(Self { task, reward, gauge, settings, second_turn: eval.second_turn.clone() }))
    }

    /// How many prompts are asked.
    pub(crate) fn prompts(&self) -> usize {
        self.settings.prompts
    }

    /// Asks every prompt; the same prompts and the same draws every time, so that two evaluations differ by the weights alone.
    pub(crate) fn evaluate(&self, engine: &dyn Engine, tokenizer: &Tokenizer, ear: &Ear<'_>) -> Result<Evaluation> {
        let progress = ear.progress(Phase::Evaluate, self.settings.prompts as u64);
        let judges = Judges { reward: &*self.reward, gauge: self.gauge.as_ref() };
        let heard = |done: usize, _: usize| progress.reach(done as u64);
        lapidary_eval::evaluate(engine, tokenizer, &*self.task, judges, &self.settings, &heard)
    }
}

impl Evaluator {
    /// Shows every answer to the model again, where the recipe wants it.
    pub(crate) fn again(
        &self,
        engine: &dyn Engine,
        tokenizer: &Tokenizer,
        first: &Evaluation,
        ear: &Ear<'_>,
    ) -> Result<Option<Evaluation>> {
        let Some(EvalTurn { turn, phrase }) = &self.second_turn else { return Ok(None) };
        let progress = ear.progress(Phase::Evaluate, self.settings.prompts as u64);
        let heard = |done: usize, _: usize| progress.reach(done as u64);
        evaluate_again(engine, tokenizer, &*self.task, &*self.reward, (first, turn, phrase), &heard).map(Some)
    }
}

/// What a second turn changed, as metrics of the evaluation's row.
pub(crate) fn turned(first: &Evaluation, second: &Evaluation, row: Row) -> Row {
    let Some(Correction { second, difference, gained, lost, changed, .. }) = correction(first, second) else {
        return row;
    };
    row.with("eval/second/accuracy", second.estimate)
        .with("eval/second/accuracy_low", second.low)
        .with("eval/second/accuracy_high", second.high)
        .with("eval/second/delta", difference.estimate)
        .with("eval/second/i2c", gained.estimate)
        .with("eval/second/c2i", lost.estimate)
        .with("eval/second/changed", changed)
}

/// What an evaluation says, as a row of metrics and as part of the state.
pub(crate) fn record(
    evaluation: &Evaluation,
    (step, stage, stage_name): (u64, usize, &str),
) -> (Row, EvaluationRecord) {
    let summary = &evaluation.summary;
    // Without a verdict nothing is known: the interval is the whole range.
    let (accuracy, low, high) =
        summary.accuracy.map_or((0.0, 0.0, 1.0), |found| (found.estimate, found.low, found.high));
    let reward = summary.score.map_or(0.0, |score| score.estimate);
    let mut row = Row::new(step, stage, stage_name)
        .with("eval/accuracy", accuracy)
        .with("eval/accuracy_low", low)
        .with("eval/accuracy_high", high)
        .with("eval/reward", reward)
        .with("eval/mean_length", summary.mean_length)
        .with("eval/clipped_ratio", summary.truncated_share)
        .with("eval/frac_no_verdict", summary.no_verdict as f64 / summary.attempts.max(1) as f64);
    if let Some(found) = &evaluation.calibration {
        row = row
            .with("eval/confidence", found.confidence)
            .with("eval/ece", found.ece.estimate)
            .with("eval/ece_low", found.ece.low)
            .with("eval/ece_high", found.ece.high)
            .with("eval/ece_equal_mass", found.ece_equal_mass)
            .with("eval/mce", found.mce)
            .with("eval/brier", found.brier.estimate)
            .with("eval/frac_not_found", found.not_found as f64 / found.answers.max(1) as f64);
        if let Some(auroc) = found.auroc {
            row = row.with("eval/auroc", auroc);
        }
    }
    let record = EvaluationRecord {
        step,
        stage,
        stage_name: stage_name.to_string(),
        accuracy,
        low,
        high,
        reward,
        prompts: summary.prompts,
        no_verdict: summary.no_verdict,
        mean_length: summary.mean_length,
    };
    (row, record)
}

/// Where the evaluation after a step is.
pub fn path_of(directory: &Path, step: u64) -> PathBuf {
    directory.join(format!("step-{step:06}.json"))
}

/// Where the second answers of the evaluation after a step are.
pub fn second_path_of(directory: &Path, step: u64) -> PathBuf {
    directory.join(format!("step-{step:06}-second.json"))
}

/// Writes an evaluation whole: the same bytes for the same answers.
pub(crate) fn write(path: &Path, evaluation: &Evaluation) -> Result<()> {
    let text = serde_json::to_vec_pretty(evaluation).map_err(|error| unreadable(path, &error))?;
    write_whole(path, &text)
}

/// Reads an evaluation of a run.
///
/// # Errors
/// `Data`: a file that is no evaluation.
pub fn read(path: &Path) -> Result<Evaluation> {
    serde_json::from_slice(&read_whole(path, LIMIT_BYTES)?).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &serde_json::Error) -> Problem {
    Problem::new(Kind::Data, "D047", format!("`{}` is not an evaluation: {error}", path.display()))
}
