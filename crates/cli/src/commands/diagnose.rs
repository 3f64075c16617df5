//! `lapidary diagnose`: whether a run is collapsing, why, and what to turn.

use std::path::{Path, PathBuf};

use clap::Args;
use lapidary_core::{Kind, Problem, Result};
use lapidary_train::diagnose::{
    Change, Diagnosis, Evidence, Finding, History, Remedy, Severity, Sureness, Verdict, Writer, plain, read, remedy,
    writer_name,
};
use serde_json::json;

use crate::output::{Output, theme};
use crate::report::{WIDTH, printable, wrapped};
use crate::stop::Outcome;

/// Say whether a run is collapsing and why, with the numbers that show it
///
/// Reads runs of Lapidary, and logs of TRL (its output directory, trainer_state.json, JSONL, TensorBoard) and verl (JSONL,
/// console, TensorBoard). Exits with 0 whatever it finds; an error means that nothing could be read.
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary diagnose runs/quickstart --recipe mended.toml")]
pub struct Diagnose {
    /// A run directory of Lapidary, TRL's output directory, a log file, or a directory with one
    run: PathBuf,
    /// Write a recipe that gradually moves away from what was found; - prints it instead of the diagnosis
    #[arg(long, value_name = "OUT.toml")]
    recipe: Option<PathBuf>,
    /// Say which rule every finding is and where its thresholds come from, and list the others
    #[arg(long)]
    rules: bool,
}

/// Columns of the names on the left.
const LABEL: usize = 12;
/// Columns of a curve of the overview …
const CURVE: usize = 30;
/// … and of one below a finding.
const FINDING_CURVE: usize = 40;
/// What a line of text may fill beside its label.
const TEXT: usize = WIDTH - LABEL;
/// Height of a bar in eighths.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

impl Diagnose {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Outcome {
        let history = read(&self.run)?;
        let diagnosis = Diagnosis::of(&history);
        let remedy = remedy(&history, &diagnosis)?;
        let printed = self.recipe.as_deref() == Some(Path::new("-"));
        if let Some(path) = self.recipe.as_deref().filter(|_| !printed) {
            write(path, remedy.as_ref(), output)?;
        }
        if output.json {
            let toml = remedy.as_ref().filter(|_| self.recipe.is_some()).map(|remedy| &remedy.toml);
            let mut whole = json!(diagnosis);
            whole["recipe"] = json!(toml);
            return output.json(&whole);
        }
        if printed {
            return match remedy {
                Some(remedy) => output.text(&remedy.toml),
                None => {
                    output.note(NOTHING_TO_CHANGE);
                    Ok(())
                }
            };
        }
        self.show(&history, &diagnosis, output)?;
        if remedy.is_some() && self.recipe.is_none() {
            output.note(format!(
                "\nnext: {}",
                theme::command(format!("lapidary diagnose {} --recipe mended.toml", self.run.display()))
            ));
        }
        Ok(())
    }

    fn show(&self, history: &History, diagnosis: &Diagnosis, output: &mut Output) -> Outcome {
        head(history, diagnosis, output)?;
        for vital in &diagnosis.vitals {
            output.line(format!(
                "  {:<15}{:<CURVE$}  {}",
                short(&vital.metric),
                curve(&vital.curve, CURVE),
                vital.seen
            ))?;
        }
        let story = diagnosis.story();
        if story.len() > 1 {
            let began = |it: &&Finding| format!("step {} {}", it.since.unwrap_or(0), lower(it.title));
            let told = story.iter().map(began).collect::<Vec<_>>().join(" · ");
            output.line("")?;
            labelled("in order", &told, output)?;
        }
        for (at, finding) in diagnosis.findings.iter().enumerate() {
            self.finding(at + 1, finding, diagnosis, output)?;
        }
        if let Some(sample) = diagnosis.sample.as_ref().filter(|_| !diagnosis.findings.is_empty()) {
            let reward = sample.reward.map_or("no verdict".to_string(), |reward| format!("reward {reward}"));
            output.line("")?;
            let one_line = |text: &str| printable(&text.split_whitespace().collect::<Vec<_>>().join(" "));
            let text = format!("{} ▸ {} ({reward})", one_line(&sample.prompt), one_line(&sample.completion));
            output.line(theme::bold(format!("The commonest answer of step {}", sample.step)))?;
            labelled("", &text, output)?;
        }
        rest(diagnosis, self.rules, output)
    }

    fn finding(&self, number: usize, finding: &Finding, diagnosis: &Diagnosis, output: &mut Output) -> Outcome {
        let grade = format!("{}, {}", severity(finding.severity), sureness(finding.sureness));
        let title = format!("{number} {}", finding.title);
        let gap = WIDTH.saturating_sub(title.chars().count() + grade.chars().count()).max(2);
        let coloured = match finding.severity {
            Severity::Collapse => theme::bad(&title),
            Severity::Problem => theme::warning(&title),
            Severity::Note => theme::bold(&title),
        };
        output.line(format!("\n{coloured}{}{grade}", " ".repeat(gap)))?;
        for evidence in &finding.evidence {
            seen(evidence, output)?;
        }
        let leader = finding.follows.and_then(|rule| diagnosis.findings.iter().position(|it| it.rule == rule));
        match leader {
            Some(at) => {
                let title = lower(diagnosis.findings[at].title);
                labelled("cause", &format!("follows from finding {}, {title}: treat that", at + 1), output)?;
            }
            None => {
                labelled("cause", finding.cause, output)?;
                labelled("do", finding.advice, output)?;
                for change in &finding.changes {
                    labelled("", &changed(change, diagnosis.writer), output)?;
                }
            }
        }
        if self.rules {
            labelled("rule", &format!("{}: {}", finding.rule, finding.words), output)?;
            labelled("from", finding.source, output)?;
        }
        Ok(())
    }
}

const NOTHING_TO_CHANGE: &str = "no finding asks for another recipe";

/// Writes the recipe where nothing is yet.
fn write(path: &Path, remedy: Option<&Remedy>, output: &Output) -> Result<()> {
    let Some(remedy) = remedy else {
        output.note(NOTHING_TO_CHANGE);
        return Ok(());
    };
    let write = || {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
        std::io::Write::write_all(&mut file, remedy.toml.as_bytes())
    };
    write().map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Problem::new(Kind::Usage, "U014", format!("`{}` is there already", path.display()))
                .hint("give another name; `--recipe -` prints the recipe")
        }
        _ => Problem::io("write", path, &error),
    })?;
    let path = path.display();
    output.note(format!(
        "wrote {}\nnext: {}\n",
        theme::path(path.to_string()),
        theme::command(format!("lapidary train {path}"))
    ));
    Ok(())
}

fn head(history: &History, diagnosis: &Diagnosis, output: &mut Output) -> Outcome {
    let mut about = vec![writer_name(diagnosis.writer).to_string()];
    if let Some(rl) = history.rl() {
        let path = rl.task.path.as_ref().map(|path| path.display().to_string());
        about.push(format!("{} on {}", rl.method, path.as_deref().unwrap_or(&rl.task.name)));
    }
    about.extend(diagnosis.steps.map(|[first, last]| format!("steps {first} to {last}")));
    output.line(format!("{}: {}", theme::path(&diagnosis.path), about.join(", ")))?;
    output.line("")?;
    let headline = wrapped(&diagnosis.headline, WIDTH);
    for line in headline.lines() {
        output.line(match diagnosis.verdict {
            Verdict::Collapsing => theme::bad(line),
            Verdict::Unwell => theme::warning(line),
            Verdict::Healthy => theme::good(line),
            Verdict::TooEarly => theme::bold(line),
        })?;
    }
    output.line("")
}

/// What was asked and found nothing, and what could not be asked.
fn rest(diagnosis: &Diagnosis, names: bool, output: &mut Output) -> Outcome {
    output.line("")?;
    let (passed, unasked) = (&diagnosis.passed, &diagnosis.unasked);
    let all = passed.len() + unasked.len() + diagnosis.findings.len();
    let list = if names { format!(": {}", passed.join(", ")) } else { String::new() };
    labelled("clear", &format!("{} of {all} rules find nothing{list}", passed.len()), output)?;
    if unasked.is_empty() {
        return Ok(());
    }
    let text = if names {
        unasked.iter().map(|it| format!("{} ({})", it.rule, it.missing.join(", "))).collect::<Vec<_>>().join(", ")
    } else {
        let mut missing: Vec<&str> = unasked.iter().flat_map(|it| it.missing.iter().copied()).collect();
        missing.sort_unstable();
        missing.dedup();
        missing.join(", ")
    };
    labelled("not asked", &format!("{} rules, for want of numbers: {text}", unasked.len()), output)
}

/// A metric's curve and the sentence about it.
fn seen(evidence: &Evidence, output: &mut Output) -> Outcome {
    let name = evidence.written_as.as_deref().unwrap_or(&evidence.metric);
    let [first, last] = evidence.steps;
    if !evidence.curve.is_empty() && first < last {
        let (low, high) = range(&evidence.curve);
        let (low, high) = (plain(low, &evidence.unit), plain(high, &evidence.unit));
        let between = if low == high { low } else { format!("{low} to {high}") };
        let ends = format!("{between}, steps {first} to {last}");
        output.line(format!("  {:<10}{}  {ends}", "seen", curve(&evidence.curve, FINDING_CURVE)))?;
        return labelled("", &format!("{name}: {}", evidence.seen), output);
    }
    labelled("seen", &format!("{name}: {}", evidence.seen), output)
}

/// `learning_rate = 1e-2 → 1e-3`, with the name that the run's own trainer has for it.
fn changed(change: &Change, writer: Writer) -> String {
    let from = change.from.as_deref().map_or(String::new(), |from| format!("{from} → "));
    let halfway = change.halfway.as_ref().map_or(String::new(), |halfway| format!("{halfway} → "));
    let theirs = match writer {
        Writer::Trl => ("TRL", change.trl),
        Writer::Verl => ("verl", change.verl),
        _ => ("", ""),
    };
    let theirs = match theirs {
        (_, "") => String::new(),
        (whose, name) => format!(" ({whose}: {name})"),
    };
    let becomes = if change.to.starts_with(['×', '≥', '≤']) { "" } else { "= " };
    format!("{} {becomes}{from}{halfway}{}{theirs}", change.key, change.to)
}

/// A label and a text beside it, wrapped.
fn labelled(label: &str, text: &str, output: &mut Output) -> Outcome {
    for (at, line) in wrapped(text, TEXT).lines().enumerate() {
        let label = if at == 0 { label } else { "" };
        output.line(format!("  {label:<10}{line}"))?;
    }
    Ok(())
}

/// Values as bars between the smallest and the largest, at most `width` of them.
fn curve(values: &[f64], width: usize) -> String {
    let bins = width.min(values.len());
    let bin = |at: usize| {
        let range = &values[values.len() * at / bins..values.len() * (at + 1) / bins];
        range.iter().copied().fold(f64::MIN, f64::max)
    };
    let values: Vec<f64> = (0..bins).map(bin).collect();
    let (low, high) = range(&values);
    let bar = |value: &f64| match high > low {
        true => BARS[(((value - low) / (high - low)) * 7.0).round() as usize],
        false => BARS[3],
    };
    values.iter().map(bar).collect()
}

/// The smallest and the largest.
fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(*value), high.max(*value)))
}

/// `completions/mean_length` as it fits the overview.
fn short(name: &str) -> &str {
    name.strip_prefix("completions/").unwrap_or(name)
}

fn lower(title: &str) -> String {
    let mut letters = title.chars();
    letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect())
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Problem => "problem",
        Severity::Collapse => "collapse",
    }
}

fn sureness(sureness: Sureness) -> &'static str {
    match sureness {
        Sureness::Possible => "possible",
        Sureness::Likely => "likely",
        Sureness::Sure => "sure",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_fills_its_width_and_keeps_peaks() {
        assert_eq!(curve(&[0.0, 1.0, 0.0, 7.0], 2), "▁█");
        assert_eq!(curve(&[0.0, 1.0, 7.0], 9), "▁▂█");
        assert_eq!(curve(&[2.0; 3], 9), "▄▄▄");
        assert_eq!(curve(&[], 9), "");
    }
}
