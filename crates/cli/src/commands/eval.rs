//! `lapidary eval`: how often a model is right on held-out prompts.

use std::path::{Path, PathBuf};

use clap::Args;
use lapidary_core::{Kind, Problem, Result};
use lapidary_eval::{
    Comparison, Correction, Evaluation, Gauge, Interval, Judges, SecondTurn, Settings, compare, correction, evaluate,
    evaluate_again,
};
use lapidary_reward::Reward;
use lapidary_task::{Task, TaskSpec};
use lapidary_train::checkpoint::Checkpoints;
use lapidary_train::{EvalTurn, Recipe};
use serde_json::{Map, Value, json};

use crate::model::open;
use crate::output::{Output, theme};
use crate::stop::Outcome;

/// An evaluation file is a few thousand answers; a larger one is something else.
const LARGEST_FILE_BYTES: u64 = 1 << 30;
/// Answers shown to people.
const SHOWN: usize = 5;

/// Answer held-out prompts and print the accuracy with its 95 % interval
///
/// With --run the newest checkpoint of a run is asked, by default as the run's own recipe evaluates. --against compares
/// with a saved evaluation of the same prompts, paired prompt by prompt.
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary eval --model DIR --task chain-sum --prompts 500 --out after.json")]
pub struct Eval {
    /// A Hugging Face directory, a checkpoint, a GGUF file, an adapter of PEFT, or a built-in preset
    #[arg(short, long, value_name = "DIR", required_unless_present = "run", conflicts_with = "run")]
    model: Option<String>,
    /// An adapter of PEFT to put on the model
    #[arg(long, value_name = "DIR", requires = "model")]
    adapter: Option<PathBuf>,
    /// A run directory
    #[arg(short, long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// A name of `lapidary tasks`, or a data file or folder
    #[arg(short, long, value_name = "TASK", required_unless_present = "run")]
    task: Option<String>,
    /// An option of the task: max_terms=3
    #[arg(short, long = "set", value_name = "KEY=VALUE", requires = "task")]
    set: Vec<String>,
    /// The reward that says whether an answer is right
    #[arg(long, value_name = "NAME")]
    reward: Option<String>,
    /// Held-out prompts
    #[arg(long, value_name = "N", value_parser = super::count)]
    prompts: Option<usize>,
    /// Answers per prompt; more than one needs a temperature
    #[arg(long, value_name = "N", value_parser = super::count)]
    samples: Option<usize>,
    /// At most so many tokens per answer
    #[arg(short = 'n', long, value_name = "N", value_parser = super::count)]
    max_new_tokens: Option<usize>,
    /// Divisor of the logits; 0 takes the likeliest token always
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,
    /// Seed of the draws, and of the items of a procedural task
    #[arg(long)]
    seed: Option<u64>,
    /// Show every answer to the model again and report what it corrects and what it spoils
    #[arg(long)]
    self_correct: bool,
    /// What is said then; with --run as its recipe has it
    #[arg(long, value_name = "TEXT", requires = "self_correct")]
    phrase: Option<String>,
    /// The words of the second question, with {question}, {answer} and {phrase} in it
    #[arg(long, value_name = "TEXT", requires = "self_correct")]
    template: Option<String>,
    /// Threads that compute; 0 is one per core. Results do not depend on it
    #[arg(long, default_value_t = 0, value_name = "N")]
    threads: usize,
    /// Write everything, every answer included, to this JSON file; with --run it is in the run's `evaluations` by default
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Say how sure the model is of its answers and whether rightly: calibration errors and the reliability diagram
    #[arg(long)]
    calibration: bool,
    /// What a confidence is: statistic=max_probability, span=boxed; as `[eval.confidence]` of a recipe
    #[arg(long, value_name = "KEY=VALUE", requires = "calibration")]
    confidence: Vec<String>,
    /// Compare with a file that --out wrote
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
}

/// Who is asked what, and how.
struct Exam {
    model: String,
    task: Box<dyn Task>,
    reward: Box<dyn Reward>,
    gauge: Option<Gauge>,
    settings: Settings,
    out: Option<PathBuf>,
    again: Option<EvalTurn>,
}

impl Eval {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Outcome {
        let exam = self.exam()?;
        let before = self.against.as_deref().map(saved).transpose()?;
        let model = open(&exam.model, self.adapter.as_deref(), exam.settings.seed, self.threads)?;
        let progress = output.progress("evaluating");
        let tokenizer = model.tokenizer()?;
        let heard = |done: usize, total: usize| progress.at(done, total);
        let judges = Judges { reward: &*exam.reward, gauge: exam.gauge.as_ref() };
        let found = evaluate(&*model.engine, tokenizer, &*exam.task, judges, &exam.settings, &heard)?;
        progress.finish();
        if let Some(path) = &exam.out {
            save(path, &found)?;
        }
        let second = match &exam.again {
            None => None,
            Some(EvalTurn { turn, phrase }) => {
                let progress = output.progress("evaluating again");
                let heard = |done: usize, total: usize| progress.at(done, total);
                let first = (&found, turn, phrase.as_str());
                let second = evaluate_again(&*model.engine, tokenizer, &*exam.task, &*exam.reward, first, &heard)?;
                progress.finish();
                if let Some(path) = &exam.out {
                    save(&second_path(path), &second)?;
                }
                Some(second)
            }
        };
        let turned = second.as_ref().map(|second| (correction(&found, second), &second.summary));
        let change = before.map(|before| compare(&before, &found, exam.settings.seed)).transpose()?;
        let path = exam.out.as_ref().map(|path| path.to_string_lossy());
        if output.json {
            return output.json(&json!({
                "model": exam.model,
                "task": found.task,
                "reward": found.reward,
                "settings": found.settings,
                "summary": found.summary,
                "measure": found.measure,
                "calibration": found.calibration,
                "change": change,
                "self_correction": turned.map(|(correction, summary)| json!({
                    "correction": correction,
                    "second": summary,
                    "phrase": exam.again.as_ref().map(|again| &again.phrase),
                    "template": exam.again.as_ref().map(|again| &again.turn.template),
                })),
                "saved": path,
            }));
        }
        show(&found, change.as_ref(), output)?;
        if let Some((correction, _)) = turned {
            show_correction(correction.as_ref(), output)?;
        }
        path.map_or(Ok(()), |path| output.line(format!("saved {}", theme::path(path))))
    }

    fn exam(&self) -> Result<Exam> {
        let recipe = self
            .run
            .as_ref()
            .map(|run| Recipe::load(&run.join("recipe.toml"), &[]).map(|recipe| recipe.with_reward_models(run)));
        let recipe = recipe.transpose()?;
        let eval = recipe.as_ref().map(|recipe| &recipe.eval);
        let seed = self.seed.unwrap_or(recipe.as_ref().map_or(0, |recipe| recipe.seed));
        let task = lapidary_task::build(&self.spec(eval.map(|eval| eval.task.spec()))?, seed)?;
        let (name, options) = match (&self.reward, eval) {
            (None, Some(eval)) => (eval.reward.name.clone(), eval.reward.options.clone()),
            (name, _) => (name.clone().unwrap_or_else(|| "answer".into()), Map::new()),
        };
        let meant = if name == "answer" { task.answer_reward() } else { &name };
        let (model, out) = match (&self.model, &self.run) {
            (Some(model), _) => (model.clone(), None),
            (None, Some(run)) => newest(run)?,
            (None, None) => unreachable!("clap asks for --model where there is no --run"),
        };
        let settings = Settings {
            seed,
            prompts: self.prompts.or(eval.map(|eval| eval.prompts).filter(|prompts| *prompts > 0)).unwrap_or(200),
            samples: self.samples.or(eval.map(|eval| eval.samples)).unwrap_or(1),
            temperature: self.temperature.or(eval.map(|eval| eval.temperature)).unwrap_or(0.0),
            max_new_tokens: self.max_new_tokens.or(eval.map(|eval| eval.max_new_tokens)).unwrap_or(256),
            ..Settings::default()
        };
        let reward = lapidary_reward::build(meant, &Value::Object(options))?;
        let known = eval.and_then(|eval| eval.confidence.as_ref());
        let wanted = self.calibration || known.is_some();
        let gauge = wanted.then(|| super::calibration::gauge(known, &self.confidence)).transpose()?;
        let again =
            self.self_correct.then(|| self.again(eval.and_then(|eval| eval.second_turn.clone()))).transpose()?;
        Ok(Exam { gauge, model, task, reward, settings, out: self.out.clone().or(out), again })
    }

    fn again(&self, recipe: Option<EvalTurn>) -> Result<EvalTurn> {
        let mut again = recipe.unwrap_or_default();
        again.phrase = self.phrase.clone().unwrap_or(again.phrase);
        again.turn.template = self.template.clone().unwrap_or(again.turn.template);
        match again.turn.wrong() {
            None => Ok(again),
            Some(what) => Err(Problem::new(Kind::Usage, "U016", format!("--template cannot be used: {what}"))
                .hint(format!("the default is {:?}", SecondTurn::default().template))),
        }
    }

    fn spec(&self, recipe: Option<TaskSpec>) -> Result<TaskSpec> {
        let Some(name) = &self.task else {
            return Ok(recipe.unwrap_or_else(|| unreachable!("clap asks for --task where there is no --run")));
        };
        if self.set.is_empty() {
            return Ok(TaskSpec::from(name.as_str()));
        }
        let key = if lapidary_task::task(name).is_some() { "name" } else { "path" };
        let mut table = Map::from_iter([(key.to_string(), json!(name))]);
        table.extend(super::options(&self.set)?);
        Ok(TaskSpec::Table(table))
    }
}

/// The newest valid checkpoint of a run, and where its evaluation is saved.
fn newest(run: &Path) -> Result<(String, Option<PathBuf>)> {
    let checkpoints = Checkpoints::new(run.join("checkpoints"));
    let Some(step) = checkpoints.newest_valid()?.step else {
        return Err(Problem::new(Kind::Model, "S011", format!("`{}` has no checkpoint yet", run.display()))
            .hint("wait for the first one, or evaluate a model with `--model`"));
    };
    let out = run.join("evaluations").join(format!("eval-step-{step:06}.json"));
    Ok((checkpoints.path_of(step).to_string_lossy().into_owned(), Some(out)))
}

fn save(path: &Path, found: &Evaluation) -> Result<()> {
    let text = serde_json::to_string_pretty(found)
        .map_err(|error| Problem::new(Kind::Failed, "I001", format!("could not write the evaluation: {error}")))?;
    std::fs::write(path, text + "\n").map_err(|error| Problem::io("write", path, &error))
}

fn saved(path: &Path) -> Result<Evaluation> {
    let size = std::fs::metadata(path).map_err(|error| Problem::io("read", path, &error).with_kind(Kind::Data))?.len();
    let wrong = |what: String| {
        Problem::new(Kind::Data, "D062", format!("`{}` is no saved evaluation: {what}", path.display()))
            .hint("give a file that `lapidary eval --out FILE` wrote")
    };
    if size > LARGEST_FILE_BYTES {
        return Err(wrong(format!("it has {size} bytes")));
    }
    let text =
        std::fs::read_to_string(path).map_err(|error| Problem::io("read", path, &error).with_kind(Kind::Data))?;
    serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
}

/// Beside the file of the first answers.
fn second_path(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}-second.json"))
}

fn show_correction(correction: Option<&Correction>, output: &mut Output) -> Outcome {
    output.line("")?;
    let Some(found) = correction else {
        return output.line("no answer has a verdict in both turns");
    };
    let rows = vec![
        vec!["first answers right, %".into(), percent(&found.first, false)],
        vec!["second answers right, %".into(), percent(&found.second, false)],
        vec!["difference, points".into(), percent(&found.difference, true)],
        vec!["wrong, then right, %".into(), percent(&found.gained, false)],
        vec!["right, then wrong, %".into(), percent(&found.lost, false)],
        vec!["changed, %".into(), format!("{:.1}", 100.0 * found.changed)],
    ];
    output.line(theme::bold("second turn"))?;
    output.table(&["", &format!("of {} answers", found.answers)], rows)
}

/// `41.0 (35.6 – 46.7)`, in percent.
fn percent(interval: &Interval, signed: bool) -> String {
    let number = |x: f64| if signed { format!("{:+.1}", 100.0 * x) } else { format!("{:.1}", 100.0 * x) };
    format!("{} ({} – {})", number(interval.estimate), number(interval.low), number(interval.high))
}

fn show(found: &Evaluation, change: Option<&Comparison>, output: &mut Output) -> Outcome {
    let short = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let rows = found.prompts.iter().take(SHOWN).filter_map(|prompt| {
        let answer = prompt.attempts.first()?;
        let score = answer.verdict.value().map_or("no verdict".into(), |score| score.to_string());
        let reference = prompt.answer.clone().unwrap_or_default();
        Some(vec![short(&prompt.prompt), short(&answer.completion), reference, score])
    });
    output.table(&["prompt", "completion", "answer", "score"], rows)?;
    let summary = &found.summary;
    let mut rows = Vec::new();
    let accuracy = summary.accuracy.as_ref().map_or("no verdict".into(), |interval| percent(interval, false));
    rows.push(vec!["accuracy, %".into(), accuracy]);
    for rate in &summary.pass {
        rows.push(vec![format!("pass@{}, %", rate.k), percent(&rate.any, false)]);
        rows.push(vec![format!("pass^{}, %", rate.k), percent(&rate.all, false)]);
    }
    if let Some(score) = &summary.score {
        rows.push(vec!["mean score".into(), format!("{:.3} ({:.3} – {:.3})", score.estimate, score.low, score.high)]);
    }
    if let Some(change) = change {
        let p = change.p_value.map_or(String::new(), |p| format!(", p = {p:.2e}"));
        rows.push(vec!["change, points".into(), format!("{}{p}", percent(&change.difference, true))]);
    }
    rows.push(vec!["answers".into(), format!("{}, {} without a verdict", summary.attempts, summary.no_verdict)]);
    rows.push(vec!["mean length, tokens".into(), format!("{:.1}", summary.mean_length)]);
    rows.push(vec!["cut at the limit, %".into(), format!("{:.1}", 100.0 * summary.truncated_share)]);
    let title = format!("{}, {} prompts", found.task, summary.prompts);
    output.line("")?;
    output.table(&[&title, "with 95 % interval"], rows)?;
    found.calibration.as_ref().map_or(Ok(()), |found| super::calibration::show(found, output))
}
