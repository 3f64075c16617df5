//! The command line.

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, ValueEnum};
use serde_json::json;

use crate::commands::Command;

/// Post-train language models with reinforcement learning: one binary, no Python.
#[derive(Debug, Parser)]
#[command(
    name = "lapidary",
    version,
    before_help = "Example: lapidary train recipes/quickstart.toml",
    after_help = "Exit codes: 0 done, 1 failed, 2 usage or recipe, 3 data, 4 model or checkpoint, 5 diverged, \
                  75 try again later, 130 interrupted.",
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Arguments {
    /// Flags that every verb takes.
    #[command(flatten)]
    pub global: Global,
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every verb takes.
#[derive(Args, Debug)]
pub struct Global {
    /// Print data as JSON on stdout, and an error as one JSON object on stderr
    #[arg(long, global = true)]
    pub json: bool,
    /// Say less: no progress, no notes
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more: -v for information, -vv for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// When to colour messages; NO_COLOR is obeyed
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    pub color: Color,
}

/// When to colour.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Reads the command line; help, version and usage errors are answered here.
pub fn parse() -> Result<Arguments, ExitCode> {
    match Arguments::command().try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => {
            let choice = match arguments.global.color {
                Color::Auto => anstream::ColorChoice::Auto,
                Color::Always => anstream::ColorChoice::Always,
                Color::Never => anstream::ColorChoice::Never,
            };
            choice.write_global();
            Ok(arguments)
        }
        Err(error) => Err(answer(&error)),
    }
}

/// Help goes to stdout with 0; anything else is a usage error with 2.
fn answer(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        _ if std::env::args_os().any(|argument| argument == "--json") => {
            let text = error.render().to_string();
            let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            let error = json!({ "error": {
                "code": "U001", "kind": "usage", "exit_code": 2, "message": message, "place": null,
                "why": [], "hint": "lapidary --help",
            } });
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::from(2)
        }
        _ => {
            let _ = error.print();
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_verb_begins_its_help_with_an_example() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let example = command.get_before_help().map(ToString::to_string).unwrap_or_default();
            assert!(example.starts_with("Example"), "`{path}` has no example");
            assert!(command.get_about().is_some(), "`{path}` does not say what it does");
            for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
                check(sub, &path);
            }
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "`{path} {}` has no help", argument.get_id());
            }
        }
        check(&Arguments::command(), "");
    }
}
