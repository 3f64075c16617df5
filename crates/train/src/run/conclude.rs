//! How a run ends: what it came to, the page with plots, and the one line that says why.

use std::path::{Path, PathBuf};

use lapidary_core::{Kind, Problem, Result};
use lapidary_eval::{AttemptRecord, Comparison, Evaluation, compare};
use serde_json::json;

use super::{Outcome, Run, Summary};
use crate::evaluate;
use crate::metrics::{Row, read_rows};
use crate::recipe::Stage;
use crate::report::{
    AnswerData, CalibrationData, CheckpointData, DifferenceData, EvaluationData, Measured, ReportData, SampleData,
    StageData, Status, WarningData, render,
};
use crate::state::EvaluationRecord;
use crate::watch::Notice;

impl Run<'_, '_, '_> {
    /// Says how it ended, writes the report, gives the outcome.
    pub(super) fn conclude(mut self, finished: Result<bool>) -> Result<Outcome> {
        let (done, total) = (self.state.step, self.plan.steps());
        let status = match &finished {
            Ok(true) => Status::Finished,
            Ok(false) => Status::Unfinished { done, total },
            Err(problem) => Status::Failed { why: problem.message().to_string() },
        };
        let report = self.report(status);
        let name = match &finished {
            Ok(true) => "finished",
            Ok(false) => "stopped",
            Err(_) => "failed",
        };
        let why = finished.as_ref().err().map(Problem::to_string);
        let written = self.journal.event(name, json!({ "step": done, "why": why, "peak_bytes": peak_memory_bytes() }));
        match finished {
            Err(problem) => Err(problem),
            Ok(false) => Err(Problem::new(Kind::Interrupted, "S010", format!("stopped after step {done} of {total}"))
                .hint("everything is saved: run the same command again to go on")),
            Ok(true) => {
                written?;
                Ok(self.outcome(report))
            }
        }
    }

    fn outcome(self, report: Option<PathBuf>) -> Outcome {
        let checkpoint = (self.saved > 0).then(|| self.directory.checkpoints().path_of(self.saved));
        Outcome {
            run_dir: self.directory.path().to_path_buf(),
            plan: self.plan.clone(),
            step: self.state.step,
            checkpoint,
            summary: self.summary(),
            evaluations: self.state.evaluations,
            report,
        }
    }

    fn summary(&self) -> Option<Summary> {
        let evaluations = &self.state.evaluations;
        let first_rl = self.recipe.stages.iter().position(|stage| matches!(stage, Stage::Rl(_))).unwrap_or(0);
        let before = evaluations.iter().rfind(|evaluation| evaluation.stage <= first_rl)?;
        let after = evaluations.last().filter(|after| after.step > before.step)?;
        let comparison = match (self.answers(before), self.answers(after)) {
            (Some(before), Some(after)) => compare(&before, &after, self.recipe.seed).ok(),
            _ => None,
        };
        Some(Summary { before: before.clone(), after: after.clone(), comparison })
    }

    /// The answers of an evaluation; `None` where someone removed the file.
    fn answers(&self, evaluation: &EvaluationRecord) -> Option<Evaluation> {
        evaluate::read(&evaluate::path_of(&self.directory.evaluations(), evaluation.step)).ok()
    }

    /// Writes `report.html`; what goes wrong there is told and stops nothing.
    fn report(&self, status: Status) -> Option<PathBuf> {
        let path = self.directory.report();
        let written =
            self.report_data(status).and_then(|data| crate::disk::write_whole(&path, render(&data).as_bytes()));
        match written {
            Ok(()) => Some(path),
            Err(problem) => {
                self.ear.notice(&Notice::Trouble(&problem));
                None
            }
        }
    }

    fn report_data(&self, status: Status) -> Result<ReportData> {
        let state = &self.state;
        let rows = read_rows(&self.directory.metrics())?;
        let checkpoints = self.directory.checkpoints();
        let checkpoint = (self.saved > 0).then(|| checkpoints.path_of(self.saved));
        let shown = |path: &Path| path.display().to_string();
        Ok(ReportData {
            name: self.recipe.name.clone(),
            model: self.recipe.model.clone(),
            parameters: Some(self.plan.parameters),
            status,
            stages: self.stage_data(&rows),
            evaluations: state.evaluations.iter().map(evaluation_data).collect(),
            calibrations: self.calibration_data(),
            differences: self.difference_data(),
            rows,
            samples: self.sample_data(),
            warnings: state.warnings.iter().map(warning_data).collect(),
            transitions: state.interleave.transitions.clone(),
            recipe: self.recipe.to_toml(),
            plan: self.plan.lines(),
            next: checkpoint
                .iter()
                .flat_map(|path| {
                    let path = shown(path);
                    let ask = format!("lapidary generate --model {path} --prompt \"…\" --greedy");
                    [
                        ("ask it".into(), ask),
                        ("evaluate it".into(), format!("lapidary eval --run {}", shown(self.directory.path()))),
                    ]
                })
                .collect(),
            checkpoint: checkpoint.as_ref().map(|path| CheckpointData {
                path: shown(path),
                step: self.saved,
                bytes: crate::checkpoint::verify(path).map_or(0, |manifest| manifest.bytes()),
            }),
            facts: vec![
                ("version".into(), env!("CARGO_PKG_VERSION").into()),
                ("seed".into(), self.recipe.seed.to_string()),
                ("run directory".into(), self.directory.path().display().to_string()),
            ],
        })
    }

    /// The stages with their first steps: an earlier one may have ended before its time.
    fn stage_data(&self, rows: &[Row]) -> Vec<StageData> {
        let mut first_step = 1;
        let mut out = Vec::new();
        for (at, plan) in self.plan.stages.iter().enumerate() {
            first_step = rows.iter().find(|row| row.stage == at + 1).map_or(first_step, |row| row.step);
            let about = lapidary_algo::method(&plan.name).map_or("", |method| method.summary).to_string();
            let (name, task) = (plan.name.clone(), plan.task.clone());
            out.push(StageData { name, task, first_step, steps: plan.steps, about });
            first_step += plan.steps;
        }
        out
    }

    /// The first evaluation and the last, where confidence was measured.
    fn calibration_data(&self) -> Vec<CalibrationData> {
        let evaluations = &self.state.evaluations;
        let last = evaluations.last().filter(|_| evaluations.len() > 1);
        let data = |evaluation: &EvaluationRecord| {
            let calibration = self.answers(evaluation)?.calibration?;
            Some(CalibrationData { label: label(evaluation), calibration })
        };
        evaluations.first().into_iter().chain(last).filter_map(data).collect()
    }

    fn difference_data(&self) -> Vec<DifferenceData> {
        let Some(summary) = self.summary() else { return Vec::new() };
        let data = |from: String, comparison: Comparison| DifferenceData {
            to: label(&summary.after),
            from,
            prompts: comparison.prompts,
            difference: Measured::from(comparison.difference),
            p_value: comparison.p_value,
            gained: comparison.pairs.map_or(0, |pairs| pairs.gained),
            lost: comparison.pairs.map_or(0, |pairs| pairs.lost),
        };
        let change = summary.comparison.clone().map(|comparison| data(label(&summary.before), comparison));
        let since = self
            .since_saturation(&summary.after)
            .map(|(step, comparison)| data(format!("saturation at step {step}"), comparison));
        change.into_iter().chain(since).collect()
    }

    /// The step at which a one-shot stage's example was learned, and what has changed since.
    fn since_saturation(&self, after: &EvaluationRecord) -> Option<(u64, Comparison)> {
        let step = self.state.one_shot.saturation_step.filter(|step| *step < after.step)?;
        let then = self.state.evaluations.iter().find(|evaluation| evaluation.step == step)?;
        let comparison = compare(&self.answers(then)?, &self.answers(after)?, self.recipe.seed).ok()?;
        Some((step, comparison))
    }

    /// The first prompts with what was answered before and after.
    fn sample_data(&self) -> Vec<SampleData> {
        let Some(after) = self.state.evaluations.last().and_then(|after| self.answers(after)) else {
            return Vec::new();
        };
        let before = self.summary().and_then(|summary| self.answers(&summary.before));
        let mut out = Vec::new();
        for (at, prompt) in after.prompts.iter().enumerate().take(SAMPLES_SHOWN) {
            let Some(answer) = prompt.attempts.first() else { continue };
            let before = before.as_ref().and_then(|before| before.prompts.get(at)?.attempts.first());
            out.push(SampleData {
                prompt: prompt.prompt.clone(),
                answer: prompt.answer.clone(),
                before: before.map(answer_data),
                after: answer_data(answer),
            });
        }
        out
    }
}

fn label(evaluation: &EvaluationRecord) -> String {
    match evaluation.stage {
        0 => "start".to_string(),
        _ => format!("after {}", evaluation.stage_name),
    }
}

/// Prompts that the report shows with their answers.
const SAMPLES_SHOWN: usize = 8;

fn answer_data(attempt: &AttemptRecord) -> AnswerData {
    AnswerData {
        completion: attempt.completion.clone(),
        reward: attempt.verdict.value(),
        reason: attempt.verdict.reason().to_string(),
        truncated: attempt.truncated,
    }
}

fn evaluation_data(evaluation: &EvaluationRecord) -> EvaluationData {
    EvaluationData {
        step: evaluation.step,
        stage: evaluation.stage,
        accuracy: Measured { estimate: evaluation.accuracy, low: evaluation.low, high: evaluation.high },
        prompts: evaluation.prompts,
        no_verdict: evaluation.no_verdict,
        mean_length: evaluation.mean_length,
    }
}

fn warning_data(warning: &crate::watch::Warning) -> WarningData {
    let warning = warning.clone();
    WarningData { step: warning.step, rule: warning.rule, seen: warning.seen, cause: warning.cause, knob: warning.knob }
}

/// The most memory that the process has held, where the system tells.
fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}
