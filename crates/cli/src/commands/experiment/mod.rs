//! `lapidary experiment`: what an A/B test says, and how large it must be.

mod analyze;
mod assign;
mod power;
mod read;
mod request;

use clap::Subcommand;

use crate::output::Output;
use crate::stop::Outcome;

/// Plan and analyse A/B tests on any table of units, arms and outcomes
#[derive(Debug, Subcommand)]
#[command(before_help = "Example: lapidary experiment analyze --input users.csv --metric clicked")]
pub enum Experiment {
    Analyze(Box<analyze::Analyze>),
    Power(power::Power),
    Assign(assign::Assign),
}

impl Experiment {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Outcome {
        match self {
            Experiment::Analyze(verb) => verb.run(output),
            Experiment::Power(verb) => verb.run(output),
            Experiment::Assign(verb) => verb.run(output),
        }
    }
}

/// A number between 0 and 1, without both.
fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number < 1.0 => Ok(number),
        _ => Err("expected a number between 0 and 1".into()),
    }
}

/// A number above 0.
fn above_zero(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("expected a number above 0".into()),
    }
}
