//! `lapidary experiment assign`: the arm of a unit.

use clap::Args;
use lapidary_core::{Kind, Problem};
use lapidary_feedback::assign::{Split, place};
use serde_json::json;

use super::request::weights;
use crate::output::Output;
use crate::stop::Outcome;

/// Say which arm each unit sees: a hash of experiment, salt and unit, the same everywhere and for ever
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary experiment assign --experiment exp-1 --salt salt-a user-42 user-43")]
pub struct Assign {
    /// Units (users, never requests)
    #[arg(required = true)]
    units: Vec<String>,
    /// Name of the experiment
    #[arg(long, value_name = "NAME")]
    experiment: String,
    /// A salt of this experiment alone, so that its arms are independent of those of all others
    #[arg(long, value_name = "TEXT")]
    salt: String,
    /// Shares of the arms, in the order of their intervals
    #[arg(long, value_name = "ARM=SHARE,…", default_value = "control=50,treatment=50")]
    split: String,
}

impl Assign {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Outcome {
        let split = Split::new(&weights(&self.split)?)
            .map_err(|wrong| Problem::new(Kind::Usage, "U019", format!("`--split {}`: {wrong}", self.split)))?;
        let of = |unit: &String| {
            let place = place(&self.experiment, &self.salt, unit);
            let (arm, probability) = split.arm(place);
            (place, arm.to_string(), probability)
        };
        if output.json {
            return self.units.iter().try_for_each(|unit| {
                let (place, arm, probability) = of(unit);
                output.json(&json!({ "unit": unit, "place": place, "arm": arm, "assignment_prob": probability }))
            });
        }
        let rows: Vec<Vec<String>> = self
            .units
            .iter()
            .map(|unit| {
                let (place, arm, probability) = of(unit);
                vec![unit.clone(), format!("{place:.6}"), arm, format!("{probability:.4}")]
            })
            .collect();
        output.table(&["unit", "place", "arm", "probability"], rows)
    }
}
