//! `lapidary explain`: the story of a run.

use std::path::PathBuf;

use clap::Args;
use lapidary_train::explain::{Chapter, Effect, Story, explain};

use crate::output::{Output, theme};
use crate::stop::Outcome;

/// Switches that are listed; a long run has hundreds.
const SHOWN: usize = 12;

/// Tell the story of a run: its stages, what was switched and why, what helped
///
/// A stage helped where the whole 95 % interval of the paired difference in held-out accuracy is above 0. For what may be wrong
/// with a run, ask `lapidary diagnose`.
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary explain runs/quickstart")]
pub struct Explain {
    /// A run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
}

impl Explain {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Outcome {
        let story = explain(&self.run)?;
        if output.json {
            return output.json(&story);
        }
        head(&story, output)?;
        for chapter in &story.stages {
            tell(chapter, output)?;
        }
        switches(&story, output)?;
        warnings(&story, output)?;
        end(&story, output)
    }
}

fn head(story: &Story, output: &mut Output) -> Outcome {
    let resumed = match story.resumed {
        0 => String::new(),
        1 => ", stopped and continued once".into(),
        many => format!(", stopped and continued {many} times"),
    };
    output.line(format!(
        "{} started from `{}`; {} after {} steps{resumed}.",
        theme::bold(&story.name),
        story.model,
        story.status,
        story.steps
    ))?;
    story.why.as_ref().map_or(Ok(()), |why| output.line(format!("  {why}")))
}

fn tell(chapter: &Chapter, output: &mut Output) -> Outcome {
    let title = format!("Stage {}: {} on {}, {} steps", chapter.stage, chapter.name, chapter.task, chapter.steps);
    output.line("")?;
    output.line(theme::bold(title))?;
    if let Some([from, to]) = chapter.reward {
        output.line(format!("  The reward went from {from:.3} to {to:.3} (means of the first and the last tenth)."))?;
    } else if let Some([from, to]) = chapter.loss {
        output.line(format!("  The loss went from {from:.4} to {to:.4} (means of the first and the last tenth)."))?;
    }
    if let Some([from, to]) = chapter.told_right {
        let shares = format!("{:.1} % to {:.1} %", 100.0 * from, 100.0 * to);
        output.line(format!("  Held-out pairs told right, first look to last: {shares}."))?;
    }
    if let Some(pairs) = chapter.wrote_pairs {
        return output.line(format!("  It learned nothing: it wrote {pairs} pairs."));
    }
    match &chapter.effect {
        None if chapter.told_right.is_some() => Ok(()),
        None => output.line("  What it did to held-out accuracy was not measured."),
        Some(effect) => output.line(format!("  {}", sentence(effect))),
    }
}

fn sentence(effect: &Effect) -> String {
    let [estimate, low, high] = effect.difference.map(|value| 100.0 * value);
    let numbers = format!(
        "held-out accuracy {:.1} % to {:.1} %, {estimate:+.1} points ({low:+.1} to {high:+.1})",
        100.0 * effect.before,
        100.0 * effect.after
    );
    match effect.verdict {
        "helped" => format!("It {}: {numbers}.", theme::good("helped")),
        "harmed" => format!("It {}: {numbers}.", theme::bad("did harm")),
        _ => format!("It is {} that it helped: {numbers}.", theme::warning("not shown")),
    }
}

fn switches(story: &Story, output: &mut Output) -> Outcome {
    if story.switches.is_empty() {
        return Ok(());
    }
    output.line("")?;
    output.line(theme::bold(format!("It switched {} times", story.switches.len())))?;
    for switched in story.switches.iter().take(SHOWN) {
        let what = match switched.to.as_str() {
            "rl" => "back to rewards".to_string(),
            to => format!("to {to}, because of {}", switched.reasons.join(", ")),
        };
        output.line(format!("  step {}: {what}", switched.step))?;
    }
    match story.switches.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => output.line(format!("  … and {more} more, in events.jsonl")),
    }
}

fn warnings(story: &Story, output: &mut Output) -> Outcome {
    if story.warnings.is_empty() {
        return Ok(());
    }
    output.line("")?;
    output.line(theme::bold("It was warned"))?;
    for warned in &story.warnings {
        let times = if warned.count == 1 { String::new() } else { format!(", {} times", warned.count) };
        output.line(format!("  {} from step {}{times}: {}", warned.rule, warned.first_step, warned.cause))?;
        output.line(format!("    turn: {}", warned.knob))?;
    }
    Ok(())
}

/// What to make of it.
fn end(story: &Story, output: &mut Output) -> Outcome {
    let gain = |chapter: &&Chapter| chapter.effect.as_ref().filter(|effect| effect.verdict == "helped").is_some();
    let best = story.stages.iter().filter(gain).max_by(|a, b| {
        let of = |chapter: &Chapter| chapter.effect.as_ref().map_or(0.0, |effect| effect.difference[0]);
        of(a).total_cmp(&of(b))
    });
    output.line("")?;
    match best {
        Some(chapter) => output.line(format!("What helped most: stage {} ({}).", chapter.stage, chapter.name)),
        None => output.line("No stage is shown to have helped."),
    }
}
