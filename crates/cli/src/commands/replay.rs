//! `lapidary replay`: saved rollouts judged again.

use std::path::PathBuf;

use clap::Args;
use lapidary_core::{Kind, Verdict};
use lapidary_train::replay::{Changed, Replay as Found, Settings, StepReplay, replay};
use serde_json::json;

use super::specs;
use crate::output::{Output, theme};
use crate::report::{WIDTH, printable, wrapped};
use crate::stop::{Outcome, Stop};

/// Steps of the table; where there are more, as many are shown at even distances.
const STEPS_SHOWN: usize = 20;
/// Characters of a prompt or a completion shown.
const SHOWN: usize = 400;

/// Judge the saved rollouts of a run again, by its own rewards or by others
///
/// Without --reward the run's own rewards must give the very scores that are saved, bit for bit: exit code 1 where they do not
/// (a judge, a program or a clock may differ). With --reward the two are compared.
#[derive(Args, Debug)]
#[command(
    before_help = "Example: lapidary replay runs/quickstart --reward '[\"answer\", { name = \"format\", weight = 0.1 }]'"
)]
pub struct Replay {
    /// A run directory
    run: PathBuf,
    /// Rewards as a recipe writes them, in TOML or JSON; a name is enough, and it can be given again
    #[arg(short, long, value_name = "REWARD")]
    reward: Vec<String>,
    /// An option of the reward, where it is one name: max=200
    #[arg(short, long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Total reward from which an answer counts as right
    #[arg(long, default_value_t = 0.5, value_name = "X", allow_negative_numbers = true)]
    right_from: f64,
    /// Samples that changed most, shown with their text
    #[arg(short = 'n', long, default_value_t = 5, value_name = "N")]
    show: usize,
}

impl Replay {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Outcome {
        let rewards = specs::rewards(&self.reward, &self.set)?;
        let own = rewards.is_none();
        let shown = rewards.clone();
        let found = replay(&self.run, &Settings { rewards, right_from: self.right_from, keep: self.show })?;
        if output.json {
            let mut whole = json!(found);
            whole["run"] = json!(self.run.to_string_lossy());
            whole["reward"] = json!(shown);
            whole["right_from"] = json!(self.right_from);
            output.json(&whole)?;
        } else {
            show(&found, own, output)?;
        }
        output.flush()?;
        match own && found.same_parts < found.samples {
            true => Err(Stop::Said(Kind::Failed)),
            false => Ok(()),
        }
    }
}

fn show(found: &Found, own: bool, output: &mut Output) -> Outcome {
    let number = |mean: Option<f64>| mean.map_or("no verdict".into(), |mean| format!("{mean:.4}"));
    let percent = |part: usize, whole: usize| format!("{:.1}", 100.0 * part as f64 / whole.max(1) as f64);
    let steps = found.steps.len();
    let row = |step: &StepReplay| {
        vec![
            step.step.to_string(),
            step.samples.to_string(),
            number(step.saved),
            number(step.replayed),
            percent(step.agree, step.samples),
            percent(step.same, step.samples),
        ]
    };
    let shown = steps.min(STEPS_SHOWN);
    let rows = (0..shown).map(|at| row(&found.steps[if shown > 1 { at * (steps - 1) / (shown - 1) } else { 0 }]));
    output.table(&["step", "samples", "mean, saved", "mean, now", "agree, %", "same bits, %"], rows)?;
    if steps > shown {
        output.line(format!("{shown} of {steps} steps; --json prints all"))?;
    }
    let names = ["right", "wrong", "no verdict"];
    let rows = names.iter().zip(&found.agreement).map(|(name, counts)| {
        let mut row = vec![(*name).to_string()];
        row.extend(counts.iter().map(usize::to_string));
        row
    });
    output.line("")?;
    output.table(&["saved \\ now", "right", "wrong", "no verdict"], rows)?;
    for changed in &found.changed {
        sample(changed, output)?;
    }
    output.line("")?;
    let changed = found.samples - found.same;
    output.line(match (changed, own) {
        (0, _) if found.same_parts == found.samples => {
            theme::good(format!("all {} samples have the same scores, bit for bit", found.samples))
        }
        (0, _) => theme::bold(format!("all {} samples have the same total, from other parts", found.samples)),
        (changed, true) => theme::bad(format!(
            "{changed} of {} samples have other scores than the run's own rewards gave: is a judge, a program or a clock among them?",
            found.samples
        )),
        (changed, false) => theme::bold(format!("{changed} of {} samples have another score", found.samples)),
    })
}

fn sample(changed: &Changed, output: &mut Output) -> Outcome {
    let verdict = |verdict: &Verdict| {
        let score = verdict.value().map_or("no verdict".to_string(), |score| score.to_string());
        format!("{score} ({})", verdict.reason())
    };
    let title = format!("step {}, {}, sample {}", changed.step, changed.id, changed.sample);
    output.line(format!("\n{}", theme::bold(printable(&title))))?;
    let answer = changed.answer.clone().unwrap_or_else(|| "—".into());
    for (label, text) in [
        ("saved", verdict(&changed.saved)),
        ("now", verdict(&changed.replayed)),
        ("prompt", changed.prompt.clone()),
        ("answer", answer),
        ("model", changed.completion.clone()),
    ] {
        labelled(label, &text, output)?;
    }
    Ok(())
}

/// A label and the start of a text beside it, on as many lines as it takes.
pub(super) fn labelled(label: &str, text: &str, output: &mut Output) -> Outcome {
    let mut short: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(SHOWN).collect();
    if text.chars().count() > SHOWN {
        short.push('…');
    }
    for (at, line) in wrapped(&printable(&short), WIDTH - 12).lines().enumerate() {
        output.line(format!("  {:<10}{line}", if at == 0 { label } else { "" }))?;
    }
    Ok(())
}
