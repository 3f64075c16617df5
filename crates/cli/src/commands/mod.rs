//! One file per verb.

mod calibration;
mod completions;
mod config;
mod diagnose;
mod doctor;
mod env;
mod eval;
mod experiment;
mod explain;
mod generate;
mod inspect;
mod merge;
mod methods;
mod replay;
mod reproduce;
mod reward;
mod reward_cases;
mod reward_test;
mod score;
mod select;
mod specs;
mod tasks;
pub mod train;

use clap::Subcommand;
use lapidary_core::{Kind, Problem, Result};
use serde_json::{Map, Value, json};
use tracing_subscriber::EnvFilter;

use crate::arguments::Arguments;
use crate::output::Output;
use crate::stop::Outcome;

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    Train(train::Train),
    Eval(eval::Eval),
    Reproduce(reproduce::Reproduce),
    Generate(generate::Generate),
    Score(score::Score),
    Reward(reward::Reward),
    Replay(replay::Replay),
    #[command(subcommand)]
    Env(env::Env),
    Merge(merge::Merge),
    Inspect(inspect::Inspect),
    Explain(explain::Explain),
    Select(select::Select),
    Diagnose(diagnose::Diagnose),
    #[command(subcommand)]
    Experiment(experiment::Experiment),
    Methods(methods::Methods),
    Tasks(tasks::Tasks),
    Rewards(tasks::Rewards),
    #[command(subcommand)]
    Config(config::Config),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
}

/// Runs the verb.
pub fn run(arguments: &Arguments) -> Outcome {
    log(arguments);
    let mut output = Output::new(arguments.global.json, arguments.global.quiet);
    match &arguments.command {
        Command::Train(verb) => verb.run(&arguments.global, &mut output)?,
        Command::Eval(verb) => verb.run(&mut output)?,
        Command::Reproduce(verb) => verb.run(&arguments.global, &mut output)?,
        Command::Inspect(verb) => verb.run(&mut output)?,
        Command::Explain(verb) => verb.run(&mut output)?,
        Command::Select(verb) => verb.run(&mut output)?,
        Command::Diagnose(verb) => verb.run(&mut output)?,
        Command::Experiment(verb) => verb.run(&mut output)?,
        Command::Generate(verb) => verb.run(&mut output)?,
        Command::Score(verb) => verb.run(&mut output)?,
        Command::Reward(verb) => verb.run(&mut output)?,
        Command::Replay(verb) => verb.run(&mut output)?,
        Command::Env(verb) => verb.run(&mut output)?,
        Command::Merge(verb) => verb.run(&mut output)?,
        Command::Methods(verb) => verb.run(&mut output)?,
        Command::Tasks(verb) => verb.run(&mut output)?,
        Command::Rewards(verb) => verb.run(&mut output)?,
        Command::Config(verb) => verb.run(&mut output)?,
        Command::Doctor(verb) => verb.run(&mut output)?,
        Command::Completions(verb) => verb.run(&mut output)?,
    }
    output.flush()
}

/// Logs go to stderr: warnings, with -v information, with -vv everything; `LAPIDARY_LOG` (a tracing filter) decides alone.
fn log(arguments: &Arguments) {
    let level = match (arguments.global.quiet, arguments.global.verbose) {
        (true, _) => "error",
        (_, 0) => "warn",
        (_, 1) => "info",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("LAPIDARY_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time()
        .init();
}

/// `did you mean …?`, or what there is.
fn did_you_mean(wrong: &str, known: &[&str]) -> String {
    lapidary_reward::options::suggestion(wrong, known)
}

/// `key=value` pairs, where a value is JSON or else a bare word.
fn options(set: &[String]) -> Result<Map<String, Value>> {
    let mut options = Map::new();
    for pair in set {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(Problem::new(Kind::Usage, "U011", format!("`{pair}` sets nothing"))
                .hint("write `--set key=value`, for example `--set max=200`"));
        };
        let value = serde_json::from_str(value.trim()).unwrap_or_else(|_| json!(value.trim()));
        options.insert(key.trim().to_string(), value);
    }
    Ok(options)
}

/// A whole number, 1 or more.
fn count(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("expected a whole number, 1 or more".into()),
    }
}

/// A number above 0.
fn positive(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("expected a number above 0".into()),
    }
}

/// A number above 0 and at most 1.
fn probability(text: &str) -> Result<f32, String> {
    positive(text).ok().filter(|number| *number <= 1.0).ok_or_else(|| "expected a number above 0 and at most 1".into())
}

/// A prompt without a token cannot be continued.
fn no_tokens(what: &str) -> Problem {
    Problem::new(Kind::Data, "D042", format!("{what} has no token to continue"))
}
