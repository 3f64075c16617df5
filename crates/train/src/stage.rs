//! A stage is one kind of work, done step by step.

use lapidary_core::{Problem, Result};
use lapidary_engine::Engine;

use crate::bench::Bench;
use crate::distill::DistillWork;
use crate::prompts::{Prompts, Tasks};
use crate::recipe::Stage;
use crate::reference::Reference;
use crate::rl::RlWork;
use crate::rollouts::Sampled;
use crate::sft::SftWork;
use crate::state::RunState;
use crate::switch::Transition;
use crate::watch::{Metrics, Warning};

/// What a step gives back. Everything in `metrics` and `samples` is the same for the same run.
#[derive(Default)]
pub(crate) struct StepReport {
    pub(crate) metrics: Metrics,
    /// Every sample of an rl step.
    pub(crate) samples: Vec<Sampled>,
    pub(crate) warnings: Vec<Warning>,
    /// Moves between rewards and demonstrations.
    pub(crate) transitions: Vec<Transition>,
    /// Tokens sampled and tokens learned from.
    pub(crate) tokens: u64,
    /// The weights at hand are the best so far and are to be kept.
    pub(crate) improved: bool,
    /// The stage is over, whatever steps are left.
    pub(crate) ends: bool,
    /// Why the run must stop once this step is written down.
    pub(crate) stop: Option<Problem>,
    /// Whether these weights are worth an evaluation that is not due.
    pub(crate) evaluate: bool,
}

/// The work of a stage.
pub(crate) trait Work {
    /// Does one step: moves the engine and the state.
    fn step(&mut self, bench: &mut Bench<'_, '_>, state: &mut RunState) -> Result<StepReport>;

    /// Where prompts come from.
    fn prompts(&self) -> &Prompts;

    /// Gives what a KL term measures against.
    fn set_reference(&mut self, reference: Reference);

    /// Gives the model that answers in place of the one at hand, where the stage names one.
    fn set_teacher(&mut self, _: Box<dyn Engine>) {}
}

/// Gets a stage ready: its task and its rewards are built, so that what is wrong with them is said before the first step.
pub(crate) fn prepare<'r>(stage: &'r Stage, tasks: &mut Tasks, seed: u64) -> Result<Box<dyn Work + 'r>> {
    Ok(match stage {
        Stage::Sft(sft) => Box::new(SftWork::new(sft, tasks, seed)?),
        Stage::Distill(distill) => Box::new(DistillWork::new(distill, tasks, seed)?),
        Stage::Rl(rl) => Box::new(RlWork::new(rl, tasks, seed)?),
    })
}

/// Owned names.
pub(crate) fn named(values: Vec<(&'static str, f64)>) -> Metrics {
    values.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}
