//! `lapidary experiment power`: how large an experiment must be, or what one of a size can find.

use clap::Args;
use lapidary_core::{Kind, Problem, Result};
use lapidary_statistics::{Baseline, Design, detectable, power, units_per_arm};
use serde_json::{Value, json};

use super::{above_zero, share};
use crate::output::Output;
use crate::stop::Outcome;

/// Say how many units an experiment needs, what power it has, or what effect it can find
///
/// --effect asks for the units; --units for the least effect that is found; both for the power.
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary experiment power --baseline 0.05 --effect +5%")]
pub struct Power {
    /// Share of units with a success in the control (for a proportion)
    #[arg(long, value_name = "P", value_parser = share, required_unless_present = "sd", conflicts_with = "sd")]
    baseline: Option<f64>,
    /// Standard deviation of a unit's value (for a mean)
    #[arg(long, value_name = "S", value_parser = above_zero)]
    sd: Option<f64>,
    /// Mean of the control, for an effect in per cent (with --sd)
    #[arg(long, value_name = "M", requires = "sd", conflicts_with = "baseline", value_parser = above_zero)]
    mean: Option<f64>,
    /// Effect: absolute (0.005), or relative to the control (+5%)
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, required_unless_present = "units")]
    effect: Option<String>,
    /// Units of the control arm
    #[arg(long, value_name = "N", value_parser = above_zero)]
    units: Option<f64>,
    /// Wanted probability of finding the effect
    #[arg(long, default_value = "0.8", value_name = "P", value_parser = share)]
    power: f64,
    /// Error rate
    #[arg(long, default_value = "0.05", value_name = "P", value_parser = share)]
    alpha: f64,
    /// Only one direction counts: for a guardrail, with the effect as its margin
    #[arg(long)]
    one_sided: bool,
    /// Units of the treatment per unit of the control
    #[arg(long, default_value = "1", value_name = "K", value_parser = above_zero)]
    allocation: f64,
    /// Share of the variance that a covariate explains (CUPED)
    #[arg(long, default_value = "0", value_name = "R2", value_parser = explained)]
    r2: f64,
    /// For the always-valid test, tuned to the effect
    #[arg(long)]
    sequential: bool,
    /// New units a day in all arms together, to say how long it takes
    #[arg(long, value_name = "N", value_parser = above_zero)]
    daily: Option<f64>,
}

fn explained(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..1.0).contains(&number) => Ok(number),
        _ => Err("expected a number from 0 to below 1".into()),
    }
}

/// Which question was asked, with its answer.
struct Answer {
    question: &'static str,
    effect: f64,
    units: f64,
    power: f64,
}

impl Power {
    fn design(&self) -> Design {
        let baseline = match (self.baseline, self.sd) {
            (Some(p), _) => Baseline::Proportion(p),
            (None, sd) => Baseline::Mean(sd.unwrap_or(1.0)),
        };
        Design {
            baseline,
            alpha: self.alpha,
            two_sided: !self.one_sided,
            allocation: self.allocation,
            explained: self.r2,
            sequential: self.sequential,
        }
    }

    /// The level that per cents refer to.
    fn level(&self) -> Option<f64> {
        self.baseline.or(self.mean)
    }

    fn effect(&self, text: &str) -> Result<f64> {
        let wrong = |message: String| Problem::new(Kind::Usage, "U019", message);
        let (number, relative) = text.strip_suffix('%').map_or((text, false), |number| (number, true));
        let number = number.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number != 0.0);
        let Some(number) = number else {
            return Err(wrong(format!("`--effect {text}` is no effect")).hint("write 0.005, or +5% of the control"));
        };
        let effect = match (relative, self.level()) {
            (false, _) => number,
            (true, Some(level)) => number / 100.0 * level,
            (true, None) => {
                return Err(
                    wrong("an effect in per cent needs a mean".into()).hint("give `--mean`, or an absolute effect")
                );
            }
        };
        match self.baseline.map(|p| p + effect) {
            Some(share) if !(0.0..=1.0).contains(&share) => {
                Err(wrong(format!("the effect would bring the share to {share}")).hint("a share is between 0 and 1"))
            }
            _ => Ok(effect),
        }
    }

    fn answer(&self) -> Result<Answer> {
        let design = self.design();
        let effect = self.effect.as_deref().map(|text| self.effect(text)).transpose()?;
        let none = |message: &str| {
            Problem::new(Kind::Usage, "U019", message).hint("a larger effect, more units or a lower power")
        };
        match (effect, self.units) {
            (Some(effect), Some(units)) => {
                Ok(Answer { question: "power", effect, units, power: power(&design, effect, units) })
            }
            (Some(effect), None) => {
                let units = units_per_arm(&design, effect, self.power)
                    .ok_or_else(|| none("the effect needs more units than there can be"))?;
                Ok(Answer { question: "units", effect, units, power: self.power })
            }
            (None, units) => {
                let units = units.unwrap_or(1.0);
                let effect = detectable(&design, units, self.power)
                    .ok_or_else(|| none("even the largest effect would not be found"))?;
                Ok(Answer { question: "mde", effect, units, power: self.power })
            }
        }
    }

    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Outcome {
        let answer = self.answer()?;
        let control = answer.units.ceil();
        let treatment = (answer.units * self.allocation).ceil();
        let days = self.daily.map(|daily| ((control + treatment) / daily).ceil());
        let relative = self.level().map(|level| answer.effect / level);
        if output.json {
            let report: Value = json!({
                "question": answer.question,
                "metric": if self.baseline.is_some() { "proportion" } else { "mean" },
                "baseline": self.baseline,
                "sd": self.sd,
                "effect": answer.effect,
                "relative_effect": relative,
                "units_exact": answer.units,
                "units_control": control,
                "units_treatment": treatment,
                "units_total": control + treatment,
                "days": days,
                "power": answer.power,
                "alpha": self.alpha,
                "two_sided": !self.one_sided,
                "allocation": self.allocation,
                "r2": self.r2,
                "test": if self.sequential { "sequential" } else { "fixed" },
            });
            return output.json(&report);
        }
        let test = if self.sequential { "always-valid" } else { "fixed-horizon" };
        let sides = if self.one_sided { "one-sided" } else { "two-sided" };
        let relative = relative.map_or(String::new(), |share| format!(" ({:+.2} % of the control)", 100.0 * share));
        let mark = |question: &str| if answer.question == question { "  ← the answer" } else { "" };
        output.line(format!("{test} test, {sides}, α = {}", self.alpha))?;
        output.line(format!("  effect     {:+.6}{relative}{}", answer.effect, mark("mde")))?;
        output.line(format!("  power      {:.4}{}", answer.power, mark("power")))?;
        output.line(format!("  control    {control} units{}", mark("units")))?;
        output.line(format!("  treatment  {treatment} units"))?;
        output.line(format!("  together   {} units", control + treatment))?;
        match days {
            Some(days) => output.line(format!("  time       {days} days (at least 7, for the rhythm of a week)")),
            None => Ok(()),
        }
    }
}
