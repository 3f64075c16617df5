//! `lapidary completions`: what a shell needs to complete the command line.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::arguments::Arguments;
use crate::output::Output;
use crate::stop::Outcome;

/// Print the completion script of a shell
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary completions bash > ~/.local/share/bash-completion/completions/lapidary")]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "lapidary", &mut script);
        output.text(&String::from_utf8_lossy(&script))
    }
}
