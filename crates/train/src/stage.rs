//! A stage is one kind of work, done step by step.

use lapidary_core::{Problem, Result};
use lapidary_engine::Engine;

use crate::bench::Bench;
use crate::comparisons::{ComparisonsWork, Pupil, Waiting};
use crate::distill::DistillWork;
use crate::feedback::{FeedbackWork, QuestionRecord};
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
    /// Every question of a self-feedback step.
    pub(crate) traces: Vec<QuestionRecord>,
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

    /// Gives what a KL term measures against, or what a reward asks.
    fn set_reference(&mut self, reference: Reference);

    /// Gives the model that answers in place of the one at hand, where the stage names one.
    fn set_teacher(&mut self, _: Box<dyn Engine>) {}

    /// Which models its rewards ask beside the one at hand.
    fn asks(&self) -> Asks {
        Asks::default()
    }

    /// Gives the moving mean of the weights.
    fn set_mean(&mut self, _mean: Box<dyn Engine>) {}

    /// The moving mean of the weights, where the stage has one: part of what a checkpoint holds.
    fn mean(&self) -> Option<&dyn Engine> {
        None
    }
}

/// Models that rewards ask beside the one at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asks {
    /// The model at the start of the stage.
    pub(crate) frozen: bool,
    /// The moving mean of the weights.
    pub(crate) mean: bool,
}

/// Gets a stage ready: its task and its rewards are built, so that what is wrong with them is said before the first step.
/// A stage whose pairs another stage has yet to write waits for them.
pub(crate) fn prepare<'r>(stage: &'r Stage, tasks: &mut Tasks, seed: u64) -> Result<Box<dyn Work + 'r>> {
    if !tasks.has(stage.task()) {
        return Ok(Box::new(Waiting::new(stage.task(), seed)));
    }
    Ok(match stage {
        Stage::Sft(sft) => Box::new(SftWork::new(sft, tasks, seed)?),
        Stage::Distill(distill) => Box::new(DistillWork::new(distill, tasks, seed)?),
        Stage::Rl(rl) => Box::new(RlWork::new(rl, tasks, seed)?),
        Stage::SelfFeedback(feedback) => Box::new(FeedbackWork::new(feedback, tasks, seed)?),
        Stage::RewardModel(rule) => Box::new(ComparisonsWork::new(rule, Pupil::Reward, tasks, seed)?),
        Stage::Preference(rule) => Box::new(ComparisonsWork::new(rule, Pupil::Policy, tasks, seed)?),
    })
}

/// Owned names.
pub(crate) fn named(values: Vec<(&'static str, f64)>) -> Metrics {
    values.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}
