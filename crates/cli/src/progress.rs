//! A run as it goes: bars on a terminal, plain lines elsewhere.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use lapidary_train::plan::{Plan, StagePlan};
use lapidary_train::switch::{Mode, Transition};
use lapidary_train::watch::{At, Metrics};
use lapidary_train::{Notice, Phase, Watch, human_bytes};

use crate::commands::train::accuracy;
use crate::output::theme;
use crate::signals::Interrupts;

/// Without a terminal, a line is written for a step at least this long after the last, and for the first and last of a stage.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Renders what a run tells on stderr.
pub struct Progress {
    quiet: bool,
    bars: Option<Bars>,
    last_line: Option<Instant>,
    interrupts: Interrupts,
}

/// Two bars: the stage's steps, and what the current step is doing.
struct Bars {
    all: MultiProgress,
    steps: ProgressBar,
    phase: ProgressBar,
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::new();
        let style = |template: &str| {
            ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("━╸─")
        };
        let steps = all.add(ProgressBar::new(0));
        steps.set_style(style("{prefix:<10} {bar:24.cyan/dim} {pos}/{len}  {msg}"));
        let phase = all.add(ProgressBar::new(0));
        phase.set_style(style("{prefix:<10.dim} {bar:24.dim} {percent:>3.dim} %"));
        Self { all, steps, phase }
    }
}

impl Progress {
    /// Bars if stderr is a terminal.
    pub fn new(quiet: bool, interrupts: Interrupts) -> Self {
        let bars = (!quiet && std::io::stderr().is_terminal()).then(Bars::new);
        Self { quiet, bars, last_line: None, interrupts }
    }

    /// Takes the bars away.
    pub fn finish(&self) {
        if let Some(bars) = &self.bars {
            bars.steps.finish_and_clear();
            bars.phase.finish_and_clear();
        }
    }

    fn say(&self, text: impl std::fmt::Display) {
        if self.quiet {
            return;
        }
        // If stderr is gone there is nobody left to tell.
        let write = || {
            let _ = writeln!(anstream::stderr(), "{text}");
        };
        match &self.bars {
            Some(bars) => bars.all.suspend(write),
            None => write(),
        }
    }

    fn step(&mut self, at: &At, metrics: &Metrics, tokens_per_second: f64, eta_seconds: f64) {
        self.interrupts.working_on(at.step + 1);
        let numbers = numbers(metrics, tokens_per_second, eta_seconds);
        if let Some(bars) = &self.bars {
            bars.steps.set_position(at.stage_step);
            bars.steps.set_message(numbers);
            return;
        }
        let due = self.last_line.is_none_or(|last| last.elapsed() >= BETWEEN_LINES);
        if due || at.stage_step == 1 || at.stage_step == at.stage_steps {
            self.last_line = Some(Instant::now());
            self.say(format!("{} step {}/{} {numbers}", at.stage_name, at.stage_step, at.stage_steps));
        }
    }
}

impl Watch for Progress {
    fn notice(&mut self, notice: &Notice<'_>) {
        match notice {
            Notice::Directory { path } => self.say(format!("run {}", theme::path(path.display()))),
            Notice::Plan(plan) => self.say(plan_text(plan).trim_end()),
            Notice::Resumed { step, path } => {
                self.say(format!("going on after step {step}, from {}", theme::path(path.display())));
            }
            Notice::Skipped(skipped) => {
                self.say(theme::warning(format!("skipped {}: {}", skipped.name, skipped.reason)))
            }
            Notice::Stage(at) => {
                self.interrupts.working_on(at.step);
                self.last_line = None;
                if let Some(bars) = &self.bars {
                    bars.steps.set_length(at.stage_steps);
                    bars.steps.set_prefix(at.stage_name.clone());
                    bars.steps.set_position(at.stage_step.saturating_sub(1));
                    bars.steps.set_message("");
                }
            }
            Notice::Progress { phase, done, total } => {
                if let Some(bars) = &self.bars {
                    bars.phase.set_prefix(doing(*phase));
                    bars.phase.set_length(*total);
                    bars.phase.set_position(*done);
                }
            }
            Notice::Step { at, metrics, tokens_per_second, eta_seconds, .. } => {
                self.step(at, metrics, *tokens_per_second, *eta_seconds);
            }
            Notice::Evaluation(evaluation) => {
                let stage = &evaluation.stage_name;
                self.say(format!(
                    "accuracy {} after {} steps ({stage})",
                    theme::bold(accuracy(evaluation)),
                    evaluation.step
                ));
            }
            Notice::Switch(transition) => self.say(switch(transition)),
            Notice::Warning(warning) => self.say(theme::warning(format!(
                "warning: {}\n  cause: {}\n  turn: {}",
                warning.seen, warning.cause, warning.knob
            ))),
            Notice::Trouble(problem) => self.say(theme::warning(format!("warning: {problem}"))),
            Notice::Saved { path, bytes, seconds } => {
                self.say(format!("saved {} ({}, {seconds:.1} s)", theme::path(path.display()), human_bytes(*bytes)))
            }
        }
    }
}

/// `step 40: demonstrations, because of plateau, gap (32 wait)`.
fn switch(transition: &Transition) -> String {
    let because = transition.reasons.join(", ");
    let of = |name: &str| transition.metrics.iter().find(|(known, _)| known == name).map_or(0.0, |(_, value)| *value);
    match transition.to {
        Mode::Sft => {
            format!("step {}: demonstrations, because of {because} ({} wait)", transition.step, transition.buffer)
        }
        Mode::Rl => format!(
            "step {}: back to rewards after {} demonstrations, loss {:.3} ({} wait)",
            transition.step,
            of("sft/demonstrations"),
            of("sft/loss"),
            transition.buffer
        ),
    }
}

fn doing(phase: Phase) -> &'static str {
    match phase {
        Phase::Measure => "measuring",
        Phase::Sample => "sampling",
        Phase::Reward => "scoring",
        Phase::Learn => "learning",
        Phase::Evaluate => "evaluating",
        Phase::Save => "saving",
    }
}

/// `reward 0.412±0.310 kl 0.0130 entropy 0.52 len 18 tok/s 1940 eta 1h12m`: of the metrics, those that a step has.
fn numbers(metrics: &Metrics, tokens_per_second: f64, eta_seconds: f64) -> String {
    const SHOWN: &[(&str, &str, usize)] = &[
        ("loss", "loss", 4),
        ("reward", "reward", 3),
        ("kl", "kl", 4),
        ("entropy", "entropy", 3),
        ("completions/mean_length", "len", 0),
        ("grad_norm", "grad", 2),
    ];
    let value = |name: &str| metrics.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
    let mut text = String::new();
    for (name, label, digits) in SHOWN {
        // The loss of an rl step is near 0 by construction and says nothing; its reward does.
        if *name == "loss" && value("reward").is_some() {
            continue;
        }
        if let Some(number) = value(name) {
            let _ = write!(text, "{label} {number:.digits$}");
            if let (true, Some(deviation)) = (*name == "reward", value("reward_std")) {
                let _ = write!(text, "±{deviation:.digits$}");
            }
            text.push(' ');
        }
    }
    let _ = write!(text, "tok/s {tokens_per_second:.0} eta {}", duration(eta_seconds));
    text
}

/// `45s`, `3m20s`, `1h12m`.
pub fn duration(seconds: f64) -> String {
    let whole = if seconds.is_finite() { seconds.max(0.0).round() as u64 } else { return "?".into() };
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        _ => format!("{}h{:02}m", whole / 3600, whole / 60 % 60),
    }
}

/// The derived numbers, for people.
pub fn plan_text(plan: &Plan) -> String {
    let mut text =
        format!("model {} ({:.2} M parameters, context {})\n", plan.model, plan.parameters as f64 / 1e6, plan.context);
    for (at, stage) in plan.stages.iter().enumerate() {
        let _ = writeln!(text, "stage {} {}", at + 1, stage_text(stage));
    }
    if plan.evaluations > 0 {
        let _ = writeln!(text, "evaluation {} prompts, {} times", plan.evaluation_prompts, plan.evaluations);
    }
    let (memory, kept) = (human_bytes(plan.memory.peak()), plan.checkpoints_kept);
    let threads = match plan.threads {
        0 => "one thread per core".to_string(),
        1 => "1 thread".to_string(),
        threads => format!("{threads} threads"),
    };
    let size = human_bytes(plan.checkpoint_bytes);
    let _ = writeln!(text, "memory about {memory}, {kept} checkpoints of at most {size}, {threads}");
    text
}

/// `gspo on chain-sum: 100 steps of 16 × 8 = 128 completions, 4 optimiser steps each`.
fn stage_text(stage: &StagePlan) -> String {
    let completions = match stage.samples_per_prompt {
        1 => format!("{} completions", stage.completions_per_step),
        samples => format!("{} × {samples} = {} completions", stage.prompts_per_step, stage.completions_per_step),
    };
    let epochs = stage.epochs.map_or(String::new(), |epochs| format!(", {epochs:.2} epochs"));
    format!(
        "{} on {}: {} steps of {completions}, {} a step at most, {} in all{epochs}",
        stage.name,
        stage.task,
        stage.steps,
        counted(stage.microbatches_per_step, "micro-batch", "micro-batches"),
        counted(stage.optimizer_steps, "optimiser step", "optimiser steps")
    )
}

/// `1 micro-batch`, `3 micro-batches`.
fn counted(count: u64, one: &str, more: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {more}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_in_one_line() {
        let metrics: Metrics =
            [("loss", 0.0001), ("reward", 0.4125), ("reward_std", 0.31), ("completions/mean_length", 18.4)]
                .map(|(name, value)| (name.to_string(), value))
                .to_vec();
        assert_eq!(numbers(&metrics, 1940.2, 4320.0), "reward 0.412±0.310 len 18 tok/s 1940 eta 1h12m");
        assert_eq!(numbers(&vec![("loss".into(), 1.5)], 9.6, 200.0), "loss 1.5000 tok/s 10 eta 3m20s");
        assert_eq!((duration(45.2), duration(f64::NAN)), ("45s".into(), "?".into()));
    }
}
