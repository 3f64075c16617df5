//! What a report is made of: plain data that the run directory's files hold.

use crate::metrics::Row;
use crate::switch::Transition;

/// Everything that a report shows. Missing parts are left out of the page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReportData {
    /// Name of the run.
    pub name: String,
    /// The model it began with, as the recipe names it.
    pub model: String,
    /// Number of parameters.
    pub parameters: Option<u64>,
    /// How far the run has come.
    pub status: Status,
    /// The stages, in order.
    pub stages: Vec<StageData>,
    /// Evaluations on held-out prompts, in order of step.
    pub evaluations: Vec<EvaluationData>,
    /// How well calibrated the model was, where that was measured: at the first evaluation and at the last.
    pub calibrations: Vec<CalibrationData>,
    /// Paired comparisons, those that matter most first: after against before.
    pub differences: Vec<DifferenceData>,
    /// The rows of `metrics.jsonl`.
    pub rows: Vec<Row>,
    /// A few held-out prompts with their answers before and after, or a few rollouts.
    pub samples: Vec<SampleData>,
    /// Health rules that held, in order of step.
    pub warnings: Vec<WarningData>,
    /// Moves between rewards and demonstrations, in order.
    pub transitions: Vec<Transition>,
    /// The resolved recipe, as TOML.
    pub recipe: String,
    /// The numbers that were derived from it: what and how much.
    pub plan: Vec<(String, String)>,
    /// The newest checkpoint.
    pub checkpoint: Option<CheckpointData>,
    /// What to run next: why, and the command.
    pub next: Vec<(String, String)>,
    /// Facts about the launch: version, seed, host, time.
    pub facts: Vec<(String, String)>,
}

/// How far a run has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// Every stage is done.
    #[default]
    Finished,
    /// It goes on, or was stopped and can go on.
    Unfinished {
        /// Steps done.
        done: u64,
        /// Steps of all stages.
        total: u64,
    },
    /// It stopped by itself, and why.
    Failed {
        /// What failed.
        why: String,
    },
}

/// One stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageData {
    /// `sft`, or the method of an rl stage.
    pub name: String,
    /// The task's name.
    pub task: String,
    /// First step of the run that belongs to it, from 1.
    pub first_step: u64,
    /// Steps planned.
    pub steps: u64,
    /// One sentence on what it does: the method's equation or paper.
    pub about: String,
}

/// A number with its 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// The estimate.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl From<lapidary_eval::Interval> for Measured {
    fn from(interval: lapidary_eval::Interval) -> Self {
        Self { estimate: interval.estimate, low: interval.low, high: interval.high }
    }
}

/// One evaluation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EvaluationData {
    /// Steps of the run that were done.
    pub step: u64,
    /// The stage that had been worked on, from 1; 0 before any.
    pub stage: usize,
    /// Share of right answers.
    pub accuracy: Measured,
    /// How many prompts.
    pub prompts: usize,
    /// How many answers got no verdict.
    pub no_verdict: usize,
    /// Mean length of an answer, in tokens.
    pub mean_length: f64,
}

/// Whether the model was right as often as it was sure.
#[derive(Clone, Debug, PartialEq)]
pub struct CalibrationData {
    /// `start`, `after gspo`.
    pub label: String,
    /// What was found.
    pub calibration: lapidary_eval::Reliability,
}

/// Two evaluations on the same prompts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DifferenceData {
    /// What is compared with what: `after gspo` and `start`.
    pub to: String,
    /// See `to`.
    pub from: String,
    /// Accuracy of `to` minus that of `from`.
    pub difference: Measured,
    /// Probability of so uneven a change by chance (exact McNemar), where answers are right or wrong.
    pub p_value: Option<f64>,
    /// Prompts that only `to` answers.
    pub gained: usize,
    /// Prompts that only `from` answers.
    pub lost: usize,
    /// Prompts compared.
    pub prompts: usize,
}

/// One prompt with answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleData {
    /// The prompt.
    pub prompt: String,
    /// The reference answer.
    pub answer: Option<String>,
    /// What the model wrote before training.
    pub before: Option<AnswerData>,
    /// What it wrote last.
    pub after: AnswerData,
}

/// One answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswerData {
    /// What the model wrote.
    pub completion: String,
    /// What it was worth; `None` without a verdict.
    pub reward: Option<f32>,
    /// Why, in the verifier's words.
    pub reason: String,
    /// Whether it was cut at the limit of new tokens.
    pub truncated: bool,
}

/// A health rule that held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WarningData {
    /// The step at which it spoke.
    pub step: u64,
    /// Stable name of the rule.
    pub rule: String,
    /// What was seen, with numbers.
    pub seen: String,
    /// What it usually comes from.
    pub cause: String,
    /// What to turn.
    pub knob: String,
}

/// A checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckpointData {
    /// Its directory.
    pub path: String,
    /// Its step.
    pub step: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

impl ReportData {
    /// `start`, or `after sft`, of an evaluation; the step is added where it is not the last of its stage.
    pub(super) fn label(&self, evaluation: &EvaluationData) -> String {
        match evaluation.stage.checked_sub(1).and_then(|at| self.stages.get(at)) {
            None => "start".to_string(),
            Some(stage) if evaluation.step + 1 >= stage.first_step + stage.steps => format!("after {}", stage.name),
            Some(stage) => format!("{}, step {}", stage.name, evaluation.step),
        }
    }

    /// The first evaluation, and the last one of each stage.
    pub(super) fn milestones(&self) -> Vec<&EvaluationData> {
        let all = &self.evaluations;
        let last_of_stage = |at: usize| at + 1 == all.len() || all[at + 1].stage != all[at].stage;
        let kept = (0..all.len()).filter(|&at| at == 0 || last_of_stage(at));
        kept.map(|at| &all[at]).collect()
    }
}
