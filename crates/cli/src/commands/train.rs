//! `lapidary train`: a recipe becomes a better checkpoint with the evidence.

use std::path::{Path, PathBuf};

use clap::Args;
use lapidary_core::Kind;
use lapidary_eval::{Comparison, Evaluation};
use lapidary_train::state::EvaluationRecord;
use lapidary_train::{Outcome as Trained, Recipe, Settings, evaluate};
use serde_json::json;

use crate::arguments::Global;
use crate::output::{Output, theme};
use crate::progress::Progress;
use crate::signals;
use crate::stop::{Outcome, Stop};

/// Sample answers shown.
const SHOWN: usize = 6;
/// Where runs go without `--run-dir`.
const RUNS: &str = "runs";

/// Train a model by a recipe
///
/// The same command again continues a run that was stopped or killed, to the same bytes. Ctrl-C once finishes the step and
/// saves; twice stops at once. Neither loses what was saved.
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary train recipes/quickstart.toml")]
pub struct Train {
    /// The recipe
    recipe: PathBuf,
    /// Override a key of the recipe: stage.rl.steps=50, stage.1.task=countdown, model=DIR
    #[arg(short, long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where the run is written and continued; runs/NAME by default
    #[arg(short = 'd', long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Threads that compute; 0 is one per core. No byte of the result depends on it
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,
    /// Start over: remove what an earlier run left in the directory
    #[arg(long)]
    fresh: bool,
    /// Resolve, check, print the plan and stop
    #[arg(long)]
    dry_run: bool,
}

impl Train {
    /// Runs the verb.
    pub fn run(&self, global: &Global, output: &mut Output) -> Outcome {
        let recipe = Recipe::load(&self.recipe, &self.set)?;
        let run_dir = self.run_dir.clone().unwrap_or_else(|| Path::new(RUNS).join(&recipe.name));
        let settings = Settings { run_dir, threads: self.threads, fresh: self.fresh, dry_run: self.dry_run };
        let interrupts = signals::listen()?;
        let mut progress = Progress::new(global.quiet || self.dry_run, interrupts.clone());
        let trained = lapidary_train::run(&recipe, &settings, &mut progress, interrupts.stop());
        progress.finish();
        let trained = trained.map_err(|problem| match problem.kind() {
            // What there is to say was said when the key was pressed; how to go on is on the next line.
            Kind::Interrupted => {
                output.note(format!("{}\n{}", problem.message(), theme::path(problem.advice().unwrap_or_default())));
                Stop::Said(Kind::Interrupted)
            }
            _ => Stop::Problem(problem),
        })?;
        if output.json {
            return output.json(&in_full(&trained));
        }
        if self.dry_run {
            return output.text(&crate::progress::plan_text(&trained.plan));
        }
        show(&trained, output)
    }
}

fn in_full(trained: &Trained) -> serde_json::Value {
    json!({
        "run_dir": trained.run_dir.to_string_lossy(),
        "plan": trained.plan,
        "step": trained.step,
        "checkpoint": trained.checkpoint.as_ref().map(|path| path.to_string_lossy()),
        "evaluations": trained.evaluations,
        "summary": trained.summary,
        "report": trained.report.as_ref().map(|path| path.to_string_lossy()),
    })
}

/// The gain, samples, where everything is, and what to do next.
fn show(trained: &Trained, output: &mut Output) -> Outcome {
    if !trained.evaluations.is_empty() {
        output.line(theme::bold("Accuracy on held-out prompts, with its 95 % interval"))?;
        let row = |evaluation: &EvaluationRecord| {
            let after = if evaluation.stage == 0 { "start".into() } else { evaluation.stage_name.clone() };
            vec![after, evaluation.step.to_string(), accuracy(evaluation), format!("{:.1}", evaluation.mean_length)]
        };
        output.table(&["after", "step", "accuracy", "tokens"], trained.evaluations.iter().map(row))?;
    }
    if let Some(comparison) = trained.summary.as_ref().and_then(|summary| summary.comparison.as_ref()) {
        output.line(format!("\n{}", change(comparison)))?;
    }
    let answers = last_answers(trained);
    if let Some(answers) = &answers {
        samples(answers, output)?;
    }
    output.line("")?;
    if let Some(checkpoint) = &trained.checkpoint {
        output.line(format!("saved {}", theme::path(checkpoint.display())))?;
    }
    if let Some(report) = &trained.report {
        output.line(format!("report {}", theme::path(report.display())))?;
    }
    if let Some(checkpoint) = &trained.checkpoint {
        // One of the prompts that were just answered, so that the command works as it is printed.
        let prompt = answers.and_then(|it| it.prompts.first().map(|first| first.prompt.clone()));
        let prompt = prompt.filter(|prompt| !prompt.contains(['\'', '\n'])).unwrap_or_else(|| "…".into());
        let command = format!("lapidary generate --model {} --prompt '{prompt}' --greedy", checkpoint.display());
        output.line(format!("next: {}", theme::command(command)))?;
    }
    Ok(())
}

/// `41.0 % (35.6 – 46.7)`.
pub fn accuracy(evaluation: &EvaluationRecord) -> String {
    let percent = |x: f64| 100.0 * x;
    let (low, high) = (percent(evaluation.low), percent(evaluation.high));
    format!("{:.1} % ({low:.1} – {high:.1})", percent(evaluation.accuracy))
}

/// `Change: +41.3 points (+35.0 to +47.2), 124 prompts gained, 0 lost, p = 1.2e-37`.
fn change(comparison: &Comparison) -> String {
    let interval = &comparison.difference;
    let points = |x: f64| format!("{:+.1}", 100.0 * x);
    let estimate = match interval.low > 0.0 {
        true => theme::good(points(interval.estimate)),
        false => points(interval.estimate),
    };
    let pairs = comparison.pairs.as_ref();
    let pairs = pairs.map_or(String::new(), |it| format!(", {} prompts gained, {} lost", it.gained, it.lost));
    let p = comparison.p_value.map_or(String::new(), |p| format!(", p = {p:.1e}"));
    let (low, high) = (points(interval.low), points(interval.high));
    format!("{} {estimate} points ({low} to {high}){pairs}{p}", theme::bold("Change:"))
}

/// The newest evaluation with its answers. They are for reading: a run whose answers were removed is finished all the same.
fn last_answers(trained: &Trained) -> Option<Evaluation> {
    let step = trained.evaluations.last()?.step;
    evaluate::read(&evaluate::path_of(&trained.run_dir.join("evaluations"), step)).ok()
}

/// The first answers of an evaluation.
fn samples(evaluation: &Evaluation, output: &mut Output) -> Outcome {
    let short = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let rows = evaluation.prompts.iter().take(SHOWN).filter_map(|prompt| {
        let answer = prompt.attempts.first()?;
        let score = answer.verdict.value().map_or("no verdict".into(), |score| score.to_string());
        let reference = prompt.answer.clone().unwrap_or_default();
        Some(vec![short(&prompt.prompt), short(&answer.completion), reference, score])
    });
    output.line(theme::bold("\nSample answers"))?;
    output.table(&["prompt", "completion", "answer", "score"], rows)
}
