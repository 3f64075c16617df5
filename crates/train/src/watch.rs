//! What a run tells whoever started it, and how it is asked to stop.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use lapidary_core::Problem;
use serde::{Deserialize, Serialize};

use crate::checkpoint::Skipped;
use crate::plan::Plan;
use crate::state::EvaluationRecord;
use crate::switch::Transition;

/// Asks a run to finish its step, save and end. Clones share the request.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Asks.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
    /// Whether it was asked.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Listens to a run. Listening cannot change it.
pub trait Watch: Send {
    /// Hears one thing.
    fn notice(&mut self, notice: &Notice<'_>);
}

/// Hears nothing.
pub struct Silent;

impl Watch for Silent {
    fn notice(&mut self, _: &Notice<'_>) {}
}

/// What part of a step is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Prompts are measured for a curriculum.
    Measure,
    /// Tokens are sampled.
    Sample,
    /// Completions are scored by the rewards.
    Reward,
    /// Micro-batches go forward and backward; counted in rows.
    Learn,
    /// Held-out prompts are answered.
    Evaluate,
    /// A checkpoint is written.
    Save,
}

impl Phase {
    /// Its name in `events.jsonl`.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Measure => "measure",
            Phase::Sample => "sample",
            Phase::Reward => "reward",
            Phase::Learn => "learn",
            Phase::Evaluate => "evaluate",
            Phase::Save => "save",
        }
    }
}

/// A row of metrics: names and numbers in a fixed order.
pub type Metrics = Vec<(String, f64)>;

/// Where in the run a notice belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct At {
    /// Steps of the whole run, from 1.
    pub step: u64,
    /// Steps of all stages together.
    pub steps: u64,
    /// The stage, from 1.
    pub stage: usize,
    /// `sft`, or the method of an rl stage.
    pub stage_name: String,
    /// Steps of this stage, from 1.
    pub stage_step: u64,
    /// How many this stage has.
    pub stage_steps: u64,
}

/// A sample to look at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Its prompt.
    pub prompt: String,
    /// What the model wrote.
    pub completion: String,
    /// The reference answer.
    pub answer: Option<String>,
    /// What it was worth; `None` without a verdict.
    pub reward: Option<f32>,
    /// Why, in the verifier's words.
    pub reason: String,
    /// Whether it ran into the limit of new tokens.
    pub truncated: bool,
}

/// A health rule that holds: what is seen, what it comes from, what to turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Step of the run at which it spoke.
    pub step: u64,
    /// Stable name of the rule.
    pub rule: String,
    /// What is seen, with numbers.
    pub seen: String,
    /// What it usually comes from.
    pub cause: String,
    /// Which key of the recipe to turn, and how.
    pub knob: String,
}

/// What a run tells.
#[derive(Debug)]
pub enum Notice<'a> {
    /// The run's directory, before anything slow happens.
    Directory {
        /// Where it is.
        path: &'a Path,
    },
    /// The derived numbers, before the first step.
    Plan(&'a Plan),
    /// A run that was begun before goes on after `step` steps.
    Resumed {
        /// Steps already done.
        step: u64,
        /// From which checkpoint.
        path: &'a Path,
    },
    /// A checkpoint that could not be used.
    Skipped(&'a Skipped),
    /// A stage begins (or goes on).
    Stage(&'a At),
    /// `done` of `total` units of a phase are done.
    Progress {
        /// Which phase.
        phase: Phase,
        /// Units done so far.
        done: u64,
        /// Units expected at most.
        total: u64,
    },
    /// A step is done.
    Step {
        /// Which.
        at: &'a At,
        /// Its row of metrics.
        metrics: &'a Metrics,
        /// How long it took.
        seconds: f64,
        /// Tokens sampled and learned per second.
        tokens_per_second: f64,
        /// Seconds until the run ends, at this pace.
        eta_seconds: f64,
        /// One of its samples.
        example: Option<&'a Example>,
    },
    /// The model was evaluated.
    Evaluation(&'a EvaluationRecord),
    /// A stage goes over to demonstrations, or back to rewards.
    Switch(&'a Transition),
    /// A health rule holds.
    Warning(&'a Warning),
    /// Something that is no reason to stop did not work (a report, a tracker).
    Trouble(&'a Problem),
    /// A checkpoint is on disk.
    Saved {
        /// Where.
        path: &'a Path,
        /// Its size.
        bytes: u64,
        /// How long it took.
        seconds: f64,
    },
}

/// Seconds since 1970, for records of what happened when; training never sees it.
pub(crate) fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
