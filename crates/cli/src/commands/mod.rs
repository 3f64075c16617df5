//! One file per verb.

mod completions;
mod config;

use clap::Subcommand;
use tracing_subscriber::EnvFilter;

use crate::arguments::Arguments;
use crate::output::Output;
use crate::stop::Outcome;

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(subcommand)]
    Config(config::Config),
    Completions(completions::Completions),
}

/// Runs the verb.
pub fn run(arguments: &Arguments) -> Outcome {
    log(arguments);
    let mut output = Output::new(arguments.global.json, arguments.global.quiet);
    match &arguments.command {
        Command::Config(verb) => verb.run(&mut output)?,
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
