//! What an sft stage learns, and when it stops.

use lapidary_core::{Kind, Problem, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::check::Checker;
use super::raw::RawStage;
use super::settings::Settings;
use super::{Recipe, Sft, Stage};
use crate::comparisons;
use crate::prompts::{Prompts, Tasks};

/// Keys that only a stage which learns given text has.
pub(super) const SUPERVISED_ONLY: &[&str] = &["loss_on", "turns", "second_turn", "early_stop"];

/// Which tokens of a demonstration are learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LossOn {
    /// What the assistant says, its end tokens included.
    #[default]
    Completion,
    /// Every token but the first, which nothing comes before: prompts too.
    All,
}

/// Which turns of a conversation with several turns of the assistant are learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Turns {
    /// Each of them, by masks from the chat template; one that writes earlier turns differently later is refused.
    #[default]
    All,
    /// The last one; the others are part of the prompt.
    Last,
}

/// A stage ends when the held-out loss has stopped falling.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EarlyStop {
    /// Looks in a row without a better loss after which the stage ends; positive.
    pub patience: u64,
    /// By how much a loss must be below the best to be better; not negative.
    pub min_delta: f64,
    /// Steps between two looks; positive.
    pub every: u64,
    /// Most held-out demonstrations that are looked at; positive.
    pub prompts: usize,
    /// Whether the stage ends with the weights of the best look.
    pub keep_best: bool,
}

/// When the held-out loss ends the stage.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEarlyStop {
    /// Looks in a row without a better loss after which the stage ends. Default 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub patience: Option<u64>,
    /// By how much a loss must be below the best to count as better, in nats per token. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub min_delta: Option<f64>,
    /// Steps between two looks. Default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub every: Option<u64>,
    /// Most held-out demonstrations that are looked at. Default 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub prompts: Option<u64>,
    /// Whether the stage ends with the weights of the best look. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_best: Option<bool>,
}

impl Checker<'_> {
    pub(super) fn sft(&self, raw: RawStage, settings: &Settings) -> Result<Sft> {
        Ok(Sft {
            training: self.training(&raw, 2e-5)?,
            objective: self.objective("sft", settings)?,
            task: self.task(raw.task)?,
            loss_on: raw.loss_on.unwrap_or_default(),
            turns: raw.turns.unwrap_or_default(),
            second_turn: raw.second_turn.map(|raw| self.within("second_turn").second_turns(raw)).transpose()?,
            early_stop: raw.early_stop.map(|raw| self.within("early_stop").early_stop(raw)).transpose()?,
        })
    }

    pub(super) fn early_stop(&self, raw: RawEarlyStop) -> Result<EarlyStop> {
        let from_zero = |x: f64| (0.0..=1e3).contains(&x);
        Ok(EarlyStop {
            patience: self.count("patience", raw.patience, 3, 1)?,
            min_delta: self.number("min_delta", raw.min_delta, 0.0, from_zero, "0 to 1000")?,
            every: self.count("every", raw.every, 20, 1)?,
            prompts: self.count("prompts", raw.prompts, 200, 1)? as usize,
            keep_best: raw.keep_best.unwrap_or(true),
        })
    }

    /// `steps`, or `epochs` of which the steps follow when the task is known ([`Recipe::with_steps`]).
    pub(super) fn length(&self, raw: &RawStage) -> Result<(u64, Option<f64>)> {
        match (raw.steps, raw.epochs) {
            (None, None) => Err(self
                .missing("steps")
                .hint("say how long the stage is: `steps = 100`, or `epochs = 3` of a data set")),
            (Some(_), Some(_)) => Err(self
                .wrong_value("R006", "epochs", "`steps` and `epochs` both say how long the stage is", "one of the two")
                .hint("remove one of them")),
            (steps @ Some(_), None) => Ok((self.count("steps", steps, 1, 1)?, None)),
            (None, epochs @ Some(_)) => {
                let positive = |x: f64| x > 0.0 && x <= 1e6;
                Ok((0, Some(self.number("epochs", epochs, 1.0, positive, "above 0 and at most 1000000")?)))
            }
        }
    }
}

impl Sft {
    /// The keys that only an sft stage has, where they are not as usual: a run is read by people, and sixty keys are what they can hold.
    pub(super) fn entries(&self) -> Vec<(&'static str, Value)> {
        let loss_on = (self.loss_on != LossOn::default()).then(|| ("loss_on", json!(self.loss_on)));
        let turns = (self.turns != Turns::default()).then(|| ("turns", json!(self.turns)));
        loss_on.into_iter().chain(turns).collect()
    }
}

impl EarlyStop {
    pub(super) fn entries(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("patience", json!(self.patience)),
            ("min_delta", json!(self.min_delta)),
            ("every", json!(self.every)),
            ("prompts", json!(self.prompts)),
            ("keep_best", json!(self.keep_best)),
        ]
    }
}

impl Recipe {
    /// The recipe with `steps` in place of `epochs`: ⌈epochs · items / prompts_per_step⌉. Opens the tasks of such stages only.
    ///
    /// # Errors
    /// `Usage`: a task without an end has no epoch. Those of opening the task.
    pub(crate) fn with_steps(&self, tasks: &mut Tasks) -> Result<Recipe> {
        let mut recipe = self.clone();
        for stage in &mut recipe.stages {
            let Some(epochs) = stage.training().epochs else { continue };
            if let Some(maker) = stage.task().pairs {
                let message =
                    format!("how many pairs stage {} will write is not known, so there is no epoch", maker + 1);
                return Err(Problem::new(Kind::Usage, "R031", message).hint("say `steps = …` in place of `epochs`"));
            }
            let prompts = match &*stage {
                Stage::RewardModel(rule) | Stage::Preference(rule) => {
                    comparisons::sifted(tasks, (&rule.task, &rule.pairs), self.seed)?.0
                }
                other => Prompts::new(tasks, other.task(), self.seed)?,
            };
            let Some(items) = prompts.len() else {
                let message = format!("task `{}` has no end, so it has no epoch", prompts.task().name());
                return Err(Problem::new(Kind::Usage, "R031", message)
                    .why("a procedural task makes a new item for every prompt")
                    .hint("say `steps = …` in place of `epochs`"));
            };
            let training = stage.training_mut();
            let steps = (epochs * items as f64 / training.prompts_per_step as f64).ceil();
            (training.steps, training.epochs) = ((steps as u64).max(1), None);
        }
        Ok(recipe)
    }
}

impl Stage {
    /// `120 steps` or `3 epochs`.
    pub fn length(&self) -> String {
        match (self.training().epochs, self.training().steps) {
            (Some(epochs), _) => format!("{epochs} epochs"),
            (None, steps) => format!("{steps} steps"),
        }
    }
}
