//! The numbers that follow from a recipe, worked out before the first step.

use lapidary_core::Result;
use lapidary_engine::ModelConfig;
use lapidary_engine::native::Footprint;
use lapidary_task::Split;
use lapidary_text::Tokenizer;
use serde::Serialize;

use crate::comparisons;
use crate::disk::human_bytes;
use crate::prompts::{Prompts, check_length};
use crate::recipe::{Recipe, Stage};
use crate::sft::example;
use crate::stage::{Asks, Work};

/// Items of a task whose lengths are looked at: they stand for the others, and show at once that a prompt cannot fit.
const ITEMS_SEEN: u64 = 64;
/// Bytes of a number.
const F32: u64 = 4;

/// What a stage comes to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StagePlan {
    /// `sft`, or the method of an rl stage.
    pub name: String,
    /// The task's name.
    pub task: String,
    /// Steps.
    pub steps: u64,
    /// Prompts per step.
    pub prompts_per_step: u64,
    /// Completions per prompt: samples, or the one demonstration.
    pub samples_per_prompt: u64,
    /// Completions per step.
    pub completions_per_step: u64,
    /// Tokens learned from per step, at most (prompts are estimated from the task's first items).
    pub tokens_per_step: u64,
    /// Micro-batches per step, at most.
    pub microbatches_per_step: u64,
    /// Optimiser steps in the whole stage.
    pub optimizer_steps: u64,
    /// How many items the task has; `None` where it never ends.
    pub items: Option<u64>,
    /// How often a data set is gone through.
    pub epochs: Option<f64>,
}

impl StagePlan {
    /// The stage in a line: `gspo on chain-sum: 200 steps of 64 completions = 8 prompts × 8 samples, …`.
    pub fn line(&self) -> String {
        let completions = match self.samples_per_prompt {
            1 => format!("{} completions", self.completions_per_step),
            samples => {
                format!(
                    "{} completions = {} prompts × {samples} samples",
                    self.completions_per_step, self.prompts_per_step
                )
            }
        };
        let epochs = match (self.items, self.epochs) {
            (Some(items), Some(epochs)) => format!(", {epochs:.2} times through {items} items"),
            _ => String::new(),
        };
        format!(
            "{} on {}: {} steps of {completions}, at most {} tokens in {} micro-batches; {} optimiser steps{epochs}",
            self.name, self.task, self.steps, self.tokens_per_step, self.microbatches_per_step, self.optimizer_steps
        )
    }
}

/// Where memory goes, in bytes. An estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryPlan {
    /// Weights in f32.
    pub weights: u64,
    /// Gradients in f32.
    pub gradients: u64,
    /// Both moments of AdamW in f32.
    pub moments: u64,
    /// The frozen reference model, where a stage has a KL term or a reward that asks it, and the moving mean of the weights.
    pub reference: u64,
    /// What a micro-batch keeps for its backward pass, and the working memory of learning.
    pub activations: u64,
    /// Keys and values of the sequences being sampled.
    pub kv_cache: u64,
}

impl MemoryPlan {
    /// The most at one time: sampling and learning do not overlap.
    pub fn peak(&self) -> u64 {
        self.weights + self.gradients + self.moments + self.reference + self.activations.max(self.kv_cache)
    }
}

/// A run, worked out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The model as the recipe names it.
    pub model: String,
    /// Its parameters.
    pub parameters: u64,
    /// How many of them learn: those of the adapter where there is one.
    pub trained_parameters: u64,
    /// Its context, in tokens.
    pub context: u64,
    /// The stages.
    pub stages: Vec<StagePlan>,
    /// Held-out prompts per evaluation; 0 where there is none.
    pub evaluation_prompts: u64,
    /// How often the model is evaluated.
    pub evaluations: u64,
    /// Memory.
    pub memory: MemoryPlan,
    /// Bytes of one checkpoint.
    pub checkpoint_bytes: u64,
    /// How many stay on disk.
    pub checkpoints_kept: u64,
    /// Threads that compute.
    pub threads: usize,
}

impl Plan {
    /// Works a recipe out for a model.
    ///
    /// # Errors
    /// `Data`: one of the first items of a task does not fit the model's context, or has nothing to learn from.
    pub(crate) fn of(
        recipe: &Recipe,
        model: &ModelConfig,
        tokenizer: &Tokenizer,
        works: &[Box<dyn Work + '_>],
        evaluation_prompts: usize,
        threads: usize,
    ) -> Result<Self> {
        let mut stages = Vec::new();
        let parameters = model.parameters() as u64;
        let trained = match &recipe.adapter {
            Some(adapter) => adapter.parameters(model)? as u64,
            None => parameters,
        };
        let footprint = Footprint::of(model, threads);
        let mut memory = memory_of_weights(recipe, works, &footprint, trained);
        let mut lengths: Vec<u64> = Vec::new();
        for (stage, work) in recipe.stages.iter().zip(works) {
            let longest = match stage.task().pairs {
                // Answers of the stage that makes them.
                Some(maker) => lengths[maker],
                None => longest_sequence(stage, work.prompts(), tokenizer, model.context)?,
            };
            lengths.push(longest);
            let plan = stage_plan(stage, work.prompts(), longest);
            let microbatch = (stage.training().tokens_per_microbatch as u64).min(plan.tokens_per_step).max(longest);
            memory.activations = memory.activations.max(footprint.activations(microbatch as usize, false) as u64);
            if stage.samples() {
                let together = plan.completions_per_step.min(footprint.sampled_together as u64);
                memory.kv_cache = memory.kv_cache.max(together * longest * footprint.cache_per_token as u64);
            }
            stages.push(plan);
        }
        let every = recipe.eval.every;
        // The one after the last step of a stage is counted with the stage.
        let within = |steps: u64| (steps - 1).checked_div(every).unwrap_or(0);
        let evaluations: u64 = 1 + recipe.stages.iter().map(|stage| 1 + within(stage.training().steps)).sum::<u64>();
        Ok(Self {
            model: recipe.model.clone(),
            parameters,
            trained_parameters: trained,
            context: model.context as u64,
            stages,
            evaluation_prompts: evaluation_prompts as u64,
            evaluations: if evaluation_prompts == 0 { 0 } else { evaluations },
            memory,
            checkpoint_bytes: checkpoint_bytes(trained, optimizers(recipe)),
            checkpoints_kept: recipe.checkpoint.keep as u64,
            threads,
        })
    }

    /// The plan for people: what, and how much.
    pub fn lines(&self) -> Vec<(String, String)> {
        let memory = &self.memory;
        let parts = [
            ("weights", memory.weights),
            ("gradients", memory.gradients),
            ("moments", memory.moments),
            ("reference", memory.reference),
            ("activations", memory.activations),
            ("keys and values", memory.kv_cache),
        ];
        let parts = parts.iter().filter(|(_, bytes)| *bytes > 0);
        let parts: Vec<String> = parts.map(|(name, bytes)| format!("{name} {}", human_bytes(*bytes))).collect();
        let learning = match self.trained_parameters == self.parameters {
            true => String::new(),
            false => format!(", of an adapter {} that learn", self.trained_parameters),
        };
        let model = format!("{}, {} parameters{learning}, context {}", self.model, self.parameters, self.context);
        let mut lines = vec![
            ("model".to_string(), model),
            ("memory".to_string(), format!("about {}: {}", human_bytes(memory.peak()), parts.join(", "))),
            (
                "disk".to_string(),
                format!("{} per checkpoint, {} kept", human_bytes(self.checkpoint_bytes), self.checkpoints_kept),
            ),
            ("evaluation".to_string(), format!("{} prompts, {} times", self.evaluation_prompts, self.evaluations)),
        ];
        lines.extend(self.stages.iter().enumerate().map(|(at, stage)| (format!("stage {}", at + 1), stage.line())));
        lines
    }

    /// Steps of all stages.
    pub fn steps(&self) -> u64 {
        self.stages.iter().map(|stage| stage.steps).sum()
    }
}

/// Weights, two moments per optimiser, tokenizer and state.
fn checkpoint_bytes(parameters: u64, optimizers: u64) -> u64 {
    /// Tokenizers of the supported families are below this.
    const TOKENIZER_AND_STATE: u64 = 8 << 20;
    (1 + 2 * optimizers) * F32 * parameters + TOKENIZER_AND_STATE
}

fn memory_of_weights(recipe: &Recipe, works: &[Box<dyn Work + '_>], footprint: &Footprint, trained: u64) -> MemoryPlan {
    // In the first stage of a run with an adapter the reference is the model without it.
    let copies = |(at, (stage, asks)): (usize, (&Stage, Asks))| {
        let frozen = (stage.needs_reference() || asks.frozen) && (at > 0 || recipe.adapter.is_none());
        u64::from(frozen) + u64::from(asks.mean)
    };
    let copies =
        recipe.stages.iter().zip(works.iter().map(|work| work.asks())).enumerate().map(copies).max().unwrap_or(0);
    MemoryPlan {
        weights: footprint.weights as u64,
        gradients: F32 * trained,
        moments: 2 * F32 * trained * optimizers(recipe),
        reference: copies * footprint.weights as u64,
        ..MemoryPlan::default()
    }
}

/// How many optimisers a stage has at most, each with moments of its own.
fn optimizers(recipe: &Recipe) -> u64 {
    let two = |stage: &Stage| matches!(stage, Stage::Rl(rl) if rl.interleave.is_some());
    if recipe.stages.iter().any(two) { 2 } else { 1 }
}

/// The longest row of the first items: prompt and demonstration, or prompt and the longest answer.
fn longest_sequence(stage: &Stage, prompts: &Prompts, tokenizer: &Tokenizer, context: usize) -> Result<u64> {
    let task = prompts.task();
    let seen = task.len(Split::Train).map_or(ITEMS_SEEN, |len| ITEMS_SEEN.min(len as u64));
    let mut longest = 1;
    for index in 0..seen {
        let item = task.item(Split::Train, index)?;
        let prompt = tokenizer.encode_prompt(&item.prompt)?.len();
        if !stage.compares() {
            check_length(&item, prompt, context)?;
        }
        let row = match stage {
            Stage::Sft(sft) => example(tokenizer, &item, (sft.loss_on, sft.turns))?.tokens.len(),
            Stage::Rl(rl) => {
                let learned = rl.interleave.as_ref().map_or(0, |rule| rule.max_demonstration_tokens);
                (prompt + rl.max_new_tokens.max(learned)).min(context)
            }
            Stage::Distill(distill) => (prompt + distill.max_new_tokens).min(context),
            Stage::SelfFeedback(feedback) => (prompt + feedback.max_new_tokens).min(context),
            Stage::RewardModel(rule) | Stage::Preference(rule) => {
                comparisons::longest(tokenizer, &item, &rule.pairs, context)?
            }
        };
        longest = longest.max(row as u64);
    }
    Ok(longest)
}

fn stage_plan(stage: &Stage, prompts: &Prompts, longest: u64) -> StagePlan {
    let training = stage.training();
    let samples = match stage {
        Stage::Sft(_) => 1,
        Stage::Rl(rl) => rl.samples_per_prompt as u64,
        Stage::Distill(distill) => distill.samples_per_prompt as u64,
        Stage::SelfFeedback(feedback) => feedback.samples_per_prompt as u64,
        Stage::RewardModel(_) | Stage::Preference(_) => 2,
    };
    let prompts_per_step = training.prompts_per_step as u64;
    let completions = prompts_per_step * samples;
    // A stage that learns nothing still goes through its rows once.
    let updates = (stage.optimizer_steps() / training.steps).max(1);
    let rows_at_once = (training.tokens_per_microbatch as u64 / longest).max(1);
    let items = prompts.task().len(Split::Train).map(|len| len as u64);
    StagePlan {
        name: stage.name().to_string(),
        task: prompts.task().name().to_string(),
        steps: training.steps,
        prompts_per_step,
        samples_per_prompt: samples,
        completions_per_step: completions,
        tokens_per_step: completions * longest,
        microbatches_per_step: updates * (completions.div_ceil(updates)).div_ceil(rows_at_once),
        optimizer_steps: stage.optimizer_steps(),
        items,
        epochs: items.map(|items| (training.steps * prompts_per_step) as f64 / items as f64),
    }
}
