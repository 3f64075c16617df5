//! A recipe: the whole of a run in one TOML file.
//!
//! ```text
//! file + --set ─▶ tree (values with places) ─▶ raw (serde: types and keys) ─▶ Recipe (checked, complete)
//! ```
//! [`Recipe::load`] is the only way to a [`Recipe`], so whoever holds one holds one that makes sense; its fields are plain.
//! [`Recipe::to_toml`] writes every key, so that what a run did can be read without knowing any default, and gives an equal
//! recipe when read again.

mod adapter;
mod check;
mod comparisons;
mod detectors;
mod difficulty;
mod distill;
mod exploration;
mod feedback;
mod hint;
mod interleave;
mod names;
mod nearest;
mod one_shot;
mod raw;
mod raw_hint;
mod raw_interleave;
mod read;
mod reward_model;
mod schema;
mod second_layer;
mod settings;
mod sources;
mod supervised;
mod tree;
mod write;

use std::path::{Path, PathBuf};

use lapidary_algo::Objective;
use lapidary_core::{Kind, Problem, Result};
use lapidary_engine::LoraConfig;
use lapidary_reward::confidence::Measure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use comparisons::{AuxiliaryModel, Comparisons, Duplicates, NEVER, NearTies, PairRule};
pub use difficulty::Difficulty;
pub use distill::{AnswerFilter, Distill};
pub use exploration::{
    Curriculum, Drop, DynamicSampling, DynamicTemperature, OnExhausted, RoutingReplay, Surplus, Switch,
};
pub use feedback::SelfFeedback;
pub use hint::{
    AlphaSchedule, Article, Hint, HintLength, HintObjective, HintScope, HintUnit, HintVariant, Regulariser, SftTarget,
};
pub use interleave::Interleave;
pub use one_shot::{Choice, GroupScope, ItemName, OneShot, Saturated};
pub use schema::json_schema;
pub use second_layer::{
    EvalTurn, Filter, Inputs, LayerGroup, LayerReward, LayerUpdate, PhraseOrder, Policies, SecondLayer, SecondTurns,
};
pub use supervised::{EarlyStop, LossOn, Turns};

/// A checked recipe with every default filled in.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Recipe {
    /// The only source of randomness.
    pub seed: u64,
    /// Name of the run and of its directory below `runs/`: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// A built-in preset, a Hugging Face directory or a GGUF file.
    pub model: String,
    /// What learns in place of the model, which is frozen then.
    pub adapter: Option<LoraConfig>,
    /// What is done, in order; at least one.
    pub stages: Vec<Stage>,
    /// How the model is evaluated.
    pub eval: Eval,
    /// When checkpoints are written and how many are kept.
    pub checkpoint: Checkpoint,
}

/// One kind of work on the model.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Stage {
    /// Learn the demonstrations of a task.
    Sft(Box<Sft>),
    /// Sample, score, learn by a method.
    Rl(Box<Rl>),
    /// Sample, keep what passes, learn it as demonstrations.
    Distill(Box<Distill>),
    /// Answer, measure how sure the model is, write pairs.
    SelfFeedback(Box<SelfFeedback>),
    /// Train a reward head on comparisons.
    RewardModel(Box<Comparisons>),
    /// Train the policy on comparisons.
    Preference(Box<Comparisons>),
}

/// Supervised fine-tuning: minimise −log p of the completion's tokens.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sft {
    /// Where demonstrations come from.
    pub task: TaskChoice,
    /// What is minimised: the defaults of `sft` with `[stage.sft]` put over them.
    pub objective: Objective,
    /// The steps and the optimiser.
    pub training: Training,
    /// Which tokens are learned.
    pub loss_on: LossOn,
    /// Which turns of a conversation are learned.
    pub turns: Turns,
    /// Demonstrations that follow a first answer of the model.
    pub second_turn: Option<SecondTurns>,
    /// When the held-out loss ends the stage.
    pub early_stop: Option<EarlyStop>,
}

/// Reinforcement learning on verified rewards.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rl {
    /// Where prompts come from.
    pub task: TaskChoice,
    /// The steps and the optimiser.
    pub training: Training,
    /// How rewards become an update: a name of [`lapidary_algo::methods()`].
    pub method: String,
    /// What is minimised: the method's defaults with `[stage.<method>]` put over them.
    pub objective: Objective,
    /// What a completion is worth: the weighted sum of these; at least one.
    pub rewards: Vec<RewardChoice>,
    /// Completions per prompt; at least 2 for a group method.
    pub samples_per_prompt: usize,
    /// Longest completion, in tokens; positive.
    pub max_new_tokens: usize,
    /// Divisor of the logits; positive.
    pub temperature: f32,
    /// Only the likeliest so many tokens; 0 is all.
    pub top_k: usize,
    /// Only the likeliest tokens that together reach this probability; in (0, 1].
    pub top_p: f32,
    /// Optimiser steps per pass over a batch of rollouts; at most `prompts_per_step`.
    pub updates_per_rollout: usize,
    /// Passes over a batch of rollouts; positive.
    pub epochs_per_rollout: usize,
    /// Which experts the trainer uses.
    pub routing_replay: RoutingReplay,
    /// What happens to completions that reach `max_new_tokens`.
    pub truncated: Truncated,
    /// How groups that teach nothing are replaced, where the method wants it.
    pub dynamic_sampling: Option<DynamicSampling>,
    /// Prompts by difficulty.
    pub curriculum: Option<Curriculum>,
    /// A level of the task that follows the success rate.
    pub difficulty: Option<Difficulty>,
    /// A few examples in place of the whole task.
    pub one_shot: Option<OneShot>,
    /// A temperature that rises.
    pub dynamic_temperature: Option<DynamicTemperature>,
    /// Answers that are shown to the model again.
    pub second_layer: Option<SecondLayer>,
    /// Answers that go on from a part of the demonstration.
    pub hint: Option<Hint>,
    /// Demonstrations between the updates.
    pub interleave: Option<Interleave>,
    /// When the run is called unhealthy.
    pub health: Health,
}

/// The steps of a stage and its optimiser (AdamW, Loshchilov & Hutter 2019).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Training {
    /// Number of steps; positive. 0 while only `epochs` is known.
    pub steps: u64,
    /// Passes over a data set, where the recipe says these and the task is not opened yet.
    pub epochs: Option<f64>,
    /// Prompts per step; positive.
    pub prompts_per_step: usize,
    /// Most tokens through the model at once; positive. Never changes a result.
    pub tokens_per_microbatch: usize,
    /// Highest learning rate; not negative.
    pub learning_rate: f64,
    /// How the learning rate runs after warm-up.
    pub schedule: Schedule,
    /// Optimiser steps over which the learning rate rises; may exceed the stage, which then ends on the rise.
    pub warmup_steps: u64,
    /// Decoupled weight decay on matrices.
    pub weight_decay: f64,
    /// Decay of the first moment; in [0, 1).
    pub beta1: f64,
    /// Decay of the second moment; in [0, 1).
    pub beta2: f64,
    /// Largest global norm of the gradient; `None` never clips.
    pub max_grad_norm: Option<f64>,
}

impl Training {
    /// The learning rate of optimiser step `step` (from 0) of `total`.
    ///
    /// With w warm-up steps and peak η: η·(step + 1)/w while step < w; then, with x = (step − w)/(total − w) in [0, 1),
    /// η (constant), η·(1 − x) (linear) or η·(1 + cos πx)/2 (cosine).
    pub fn learning_rate_at(&self, step: u64, total: u64) -> f64 {
        assert!(step < total, "step {step} of {total}");
        if step < self.warmup_steps {
            return self.learning_rate * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let x = (step - self.warmup_steps) as f64 / (total - self.warmup_steps) as f64;
        self.learning_rate
            * match self.schedule {
                Schedule::Constant => 1.0,
                Schedule::Linear => 1.0 - x,
                Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * x).cos()),
            }
    }
}

/// How the learning rate runs after warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// It stays.
    #[default]
    Constant,
    /// It falls to 0 along a line.
    Linear,
    /// It falls to 0 along half a cosine.
    Cosine,
}

/// What happens to completions that reach `max_new_tokens`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Truncated {
    /// They are scored as they are: a missing answer costs its reward.
    #[default]
    Penalise,
    /// They count in the group's statistics but their tokens leave the loss (DAPO's overlong filtering, arXiv 2503.14476 §3.4).
    Mask,
}

/// Where prompts come from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TaskChoice {
    /// A name of the registry; empty where `path` is given.
    pub name: String,
    /// A data file.
    pub path: Option<PathBuf>,
    /// The self-feedback stage of this recipe, from 0, whose pairs are read when they are there.
    pub pairs: Option<usize>,
    /// The other keys of the table.
    pub options: Map<String, Value>,
}

/// A reward, its weight in the sum, and its options.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RewardChoice {
    /// A name of the registry.
    pub name: String,
    /// Factor in the sum of rewards; finite, and 0 for a gate only.
    pub weight: f64,
    /// The other keys of the table: label, gate, and the options of the reward.
    pub options: Map<String, Value>,
}

/// Thresholds of the health rules.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Health {
    /// Steps in a row for which a rule must hold before it speaks; positive.
    pub window: usize,
    /// Largest share of groups whose rewards are all equal.
    pub max_zero_std: f64,
    /// Smallest mean entropy per token, in nats.
    pub min_entropy: f64,
    /// Largest factor by which the mean length may grow or shrink against the first steps; above 1.
    pub max_length_drift: f64,
    /// Largest share of completions without a verdict.
    pub max_no_verdict: f64,
    /// Largest share of completions that a single reward may fail to judge before the run stops; 1 never stops it.
    pub stop_no_verdict: f64,
}

/// Evaluation on held-out prompts.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Eval {
    /// Task whose held-out prompts are used.
    pub task: TaskChoice,
    /// Reward that says whether an answer is right.
    pub reward: RewardChoice,
    /// Number of prompts; 0 switches evaluation off.
    pub prompts: usize,
    /// Answers per prompt; positive.
    pub samples: usize,
    /// Longest answer, in tokens; positive.
    pub max_new_tokens: usize,
    /// Divisor of the logits; 0 is greedy.
    pub temperature: f32,
    /// Steps of a stage between evaluations; 0 evaluates between stages only.
    pub every: u64,
    /// How every answer is shown to the model again, where it is.
    pub second_turn: Option<EvalTurn>,
    /// How sure the model is of each answer, where that is measured: its calibration is part of the evaluation then.
    pub confidence: Option<Measure>,
}

/// When checkpoints are written and how many are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checkpoint {
    /// Steps between checkpoints; positive.
    pub every: u64,
    /// How many of the newest stay; at least 2.
    pub keep: usize,
}

/// Where the value of a key of a resolved recipe comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Dotted path of the key: `stage.1.steps` is that of the first stage.
    pub key: String,
    /// Its value, as TOML.
    pub value: String,
    /// `recipe.toml:12`, `--set stage.rl.steps=3` or `default`.
    pub origin: String,
}

impl Recipe {
    /// Reads, overrides (`key.path=value`), completes and checks the recipe at `path`.
    ///
    /// Errors are [`Kind::Usage`] with the place of the key or value in the file or in the override.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        Self::load_text(path, &read(path)?, overrides)
    }

    /// As [`Recipe::load`], from a text already read; `path` names it in messages and gives the run its default name.
    pub fn load_text(path: &Path, text: &str, overrides: &[String]) -> Result<Self> {
        Ok(Self::resolve(path, text, overrides)?.0)
    }

    /// As [`Recipe::load`], with the origin of every key of the resolved recipe.
    pub fn load_with_origins(path: &Path, overrides: &[String]) -> Result<(Self, Vec<Origin>)> {
        let (recipe, tree) = Self::resolve(path, &read(path)?, overrides)?;
        let origins = write::leaves(&recipe)
            .into_iter()
            .map(|(key, value)| {
                let origin = tree.origin(&key).unwrap_or_else(|| "default".into());
                Origin { key, value, origin }
            })
            .collect();
        Ok((recipe, origins))
    }

    fn resolve(path: &Path, text: &str, overrides: &[String]) -> Result<(Self, tree::Tree)> {
        let mut tree = tree::Tree::parse(path, text)?;
        for assignment in overrides {
            tree.set(assignment)?;
        }
        let recipe = check::recipe(&tree, path)?;
        Ok((recipe, tree))
    }

    /// Whether a stage has a critic, which reads a value head.
    pub fn needs_value_head(&self) -> bool {
        self.stages.iter().filter_map(Stage::objective).any(|objective| objective.critic.is_some())
    }

    /// Whether a stage trains a reward head.
    pub fn needs_reward_head(&self) -> bool {
        self.stages.iter().any(|stage| matches!(stage, Stage::RewardModel(_)))
    }

    /// The complete recipe as TOML: every key, and an equal recipe when read again.
    pub fn to_toml(&self) -> String {
        write::document(self)
    }
}

impl Rl {
    /// Optimiser steps per batch of rollouts.
    pub fn updates(&self) -> usize {
        self.updates_per_rollout * self.epochs_per_rollout
    }
}

impl Stage {
    /// `sft`, `rl`, `distill`, `self-feedback`, `reward-model` or `preference`.
    pub fn kind(&self) -> &'static str {
        match self {
            Stage::Sft(_) => "sft",
            Stage::Rl(_) => "rl",
            Stage::Distill(_) => "distill",
            Stage::SelfFeedback(_) => "self-feedback",
            Stage::RewardModel(_) => comparisons::REWARD_MODEL,
            Stage::Preference(_) => comparisons::PREFERENCE,
        }
    }

    /// Whether it learns from comparisons.
    pub fn compares(&self) -> bool {
        matches!(self, Stage::RewardModel(_) | Stage::Preference(_))
    }

    /// When the held-out loss ends the stage, where it looks at one.
    pub fn early_stop(&self) -> Option<&EarlyStop> {
        match self {
            Stage::Sft(sft) => sft.early_stop.as_ref(),
            Stage::RewardModel(rule) | Stage::Preference(rule) => Some(&rule.early_stop),
            _ => None,
        }
    }

    /// The method of an rl stage, the loss of a preference stage, else the kind.
    pub fn name(&self) -> &str {
        match self {
            Stage::Rl(rl) => &rl.method,
            Stage::Preference(rule) => rule.preference.method().name,
            other => other.kind(),
        }
    }

    /// What is minimised, where anything is.
    pub fn objective(&self) -> Option<&Objective> {
        match self {
            Stage::Sft(sft) => Some(&sft.objective),
            Stage::Rl(rl) => Some(&rl.objective),
            Stage::Distill(distill) => Some(&distill.objective),
            Stage::SelfFeedback(_) => None,
            Stage::RewardModel(_) | Stage::Preference(_) => None,
        }
    }

    /// Whether the model is sampled from.
    pub fn samples(&self) -> bool {
        !matches!(self, Stage::Sft(_)) && !self.compares()
    }

    /// Whether the model as it was when the stage began must stay at hand.
    pub fn needs_reference(&self) -> bool {
        let hint = match self {
            Stage::Rl(rl) => rl.hint.as_ref().is_some_and(Hint::needs_reference),
            Stage::Preference(rule) => rule.preference.needs().reference,
            _ => false,
        };
        hint || self.objective().is_some_and(Objective::needs_reference) || self.samples_frozen()
    }

    /// Whether that model samples.
    pub fn samples_frozen(&self) -> bool {
        match self {
            Stage::Rl(rl) => rl.second_layer.as_ref().is_some_and(|layer| layer.policies == Policies::Separate),
            Stage::RewardModel(rule) | Stage::Preference(rule) => rule.auxiliary.is_some(),
            _ => false,
        }
    }

    /// Where prompts come from.
    pub fn task(&self) -> &TaskChoice {
        match self {
            Stage::Sft(sft) => &sft.task,
            Stage::Rl(rl) => &rl.task,
            Stage::Distill(distill) => &distill.task,
            Stage::SelfFeedback(feedback) => &feedback.task,
            Stage::RewardModel(rule) | Stage::Preference(rule) => &rule.task,
        }
    }

    /// The steps and the optimiser.
    pub fn training(&self) -> &Training {
        match self {
            Stage::Sft(sft) => &sft.training,
            Stage::Rl(rl) => &rl.training,
            Stage::Distill(distill) => &distill.training,
            Stage::SelfFeedback(feedback) => &feedback.training,
            Stage::RewardModel(rule) | Stage::Preference(rule) => &rule.training,
        }
    }

    pub(crate) fn training_mut(&mut self) -> &mut Training {
        match self {
            Stage::Sft(sft) => &mut sft.training,
            Stage::Rl(rl) => &mut rl.training,
            Stage::Distill(distill) => &mut distill.training,
            Stage::SelfFeedback(feedback) => &mut feedback.training,
            Stage::RewardModel(rule) | Stage::Preference(rule) => &mut rule.training,
        }
    }

    /// Optimiser steps of the whole stage.
    pub fn optimizer_steps(&self) -> u64 {
        match self {
            Stage::Sft(sft) => sft.training.steps,
            Stage::Distill(distill) => distill.training.steps,
            Stage::SelfFeedback(_) => 0,
            Stage::RewardModel(rule) | Stage::Preference(rule) => rule.training.steps,
            Stage::Rl(rl) => rl.training.steps * rl.updates() as u64,
        }
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Problem::new(Kind::Usage, "R019", format!("there is no recipe `{}`", path.display()))
                .hint("name a TOML file; the ones that come with Lapidary are in `recipes/`")
        }
        std::io::ErrorKind::InvalidData => {
            Problem::new(Kind::Usage, "R019", format!("`{}` is not UTF-8 text", path.display()))
                .hint("a recipe is a TOML file")
        }
        _ => Problem::io("read", path, &error).with_kind(Kind::Usage),
    })
}

#[cfg(test)]
mod tests;
