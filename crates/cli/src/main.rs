//! `lapidary`: post-train language models with reinforcement learning.
//!
//! One file per verb in `commands`. Data goes to stdout, messages go to stderr, and the exit code says what kind of thing
//! went wrong.

mod arguments;
mod commands;
mod input;
mod model;
mod output;
mod panics;
mod progress;
mod report;
mod signals;
mod stop;

use std::process::ExitCode;

fn main() -> ExitCode {
    // the sandbox of programs starts this executable again as its launcher; there is one thread until here
    lapidary_sandbox::launch_if_asked();
    panics::install();
    lapidary_train::reward_models::install(0);
    let arguments = match arguments::parse() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    match commands::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => stop.report(arguments.global.json),
    }
}
