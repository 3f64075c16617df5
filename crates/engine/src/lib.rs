//! Models that score, learn and sample.
//!
//! The engine knows no algorithm: it answers what a model says about tokens, takes derivatives with respect to those
//! answers, applies them, and samples. `native` is our own forward and backward pass on the CPU; `hf` reads and writes
//! the checkpoints that the field uses.

pub mod hf;
mod lora;
mod model;
// Kernels take their operands one by one: a struct per call would hide what is read and written.
#[allow(clippy::too_many_arguments)]
pub mod native;

use std::path::Path;

pub use lora::{ALL_LINEAR, LoraConfig};
pub use model::{Experts, Family, ModelConfig, RopeScaling, Router, TensorSpec};

use lapidary_core::{Key, Ragged, Result, StopReason, TokenBatch, TokenGrads, TokenStats, Want};

/// One prompt to be continued `samples` times. The prompt is computed once for all its samples.
#[derive(Clone, Debug)]
pub struct SampleRequest {
    /// Token ids of the prompt, at least one.
    pub prompt: Vec<u32>,
    /// How many continuations.
    pub samples: usize,
    /// At most so many new tokens; prompt and new tokens must fit the model's context.
    pub max_new_tokens: usize,
    /// How a token is chosen.
    pub choose: Choose,
    /// Tokens that end a sample; the end token itself is part of the sample.
    pub stop_tokens: Vec<u32>,
    /// Where in the tree of randomness: token `t` of sample `s` is drawn with `key.at(s).at(t)`.
    pub key: Key,
    /// What to write down for a trainer that is to see the same distribution.
    pub record: Record,
}

/// What sampling writes down beside tokens and log-probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The ids that each token was drawn from under top-k or top-p; the sample's log-probabilities are then those of the
    /// distribution cut to these ids. Where nothing is cut ([`Choose::cuts`]) nothing is recorded.
    pub support: bool,
    /// The experts that each token used.
    pub routing: bool,
}

/// How a token is chosen from the model's distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choose {
    /// The likeliest token (lowest id among equals); log-probabilities are those at temperature 1.
    Greedy,
    /// Drawn at a temperature; log-probabilities are those of the whole distribution at that temperature.
    Draw {
        /// Divisor of the logits, positive.
        temperature: f32,
        /// Keep only the likeliest `k` tokens (0 keeps all).
        top_k: usize,
        /// Keep the smallest set of likeliest tokens whose probability reaches this (1 keeps all).
        top_p: f32,
    },
}

impl Choose {
    /// Whether tokens that the model allows may be left out: what a trainer must know to see the same distribution.
    pub fn cuts(&self) -> bool {
        matches!(self, Choose::Draw { top_k, top_p, .. } if *top_k > 0 || *top_p < 1.0)
    }
}

/// One continuation.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The new tokens, an end token included.
    pub tokens: Vec<u32>,
    /// Log-probability of each new token; bit for bit what [`Engine::score`] says on the native engine.
    pub logp: Vec<f32>,
    /// Why it ended.
    pub stop: StopReason,
    /// A row per new token, as [`TokenBatch::support`]; where [`Record::support`] and [`Choose::cuts`].
    pub support: Option<Ragged<u32>>,
    /// `[prompt and new tokens · stride]`, as a row of [`TokenBatch::routing`]; where [`Record::routing`]. The last token never
    /// ran, so it is [`lapidary_core::UNROUTED`].
    pub routing: Option<Vec<u16>>,
}

/// One optimiser step: AdamW (Loshchilov & Hutter 2019, algorithm 2) on the accumulated gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay, applied to every parameter if `decay_all`, else to matrices only.
    pub weight_decay: f64,
    /// Whether norms and biases decay too (Hugging Face's plain AdamW does; its Trainer does not).
    pub decay_all: bool,
    /// The gradient is scaled down to this global norm where it is larger; `None` leaves it.
    pub max_grad_norm: Option<f64>,
    /// Which optimiser takes the step, from 0: each has moments and a step count of its own over the same weights, so that
    /// two kinds of gradient need not share a scale (ReLIFT, arXiv 2506.07527). One that takes no step costs nothing.
    pub optimizer: usize,
}

/// What an optimiser step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpdateStats {
    /// Global norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Global norm of the weights after the step.
    pub weight_norm: f64,
}

/// A language model that can be asked, taught and sampled from.
pub trait Engine {
    /// The model's shape.
    fn model(&self) -> &ModelConfig;

    /// How many optimiser steps the weights have seen.
    fn version(&self) -> u64;

    /// Log-probabilities (and what `want` asks for) of the scored tokens of `batch`.
    fn score(&self, batch: &TokenBatch, want: Want) -> Result<TokenStats>;

    /// As [`Engine::score`] with adapters switched off: the frozen model that they adapt. Without adapters it is the same.
    fn score_base(&self, batch: &TokenBatch, want: Want) -> Result<TokenStats> {
        self.score(batch, want)
    }

    /// Whether a sample's log-probabilities are, bit for bit, what [`Engine::score`] says of it at the same weights.
    fn samples_as_scored(&self) -> bool {
        false
    }

    /// Forward, ask the objective once for dLoss/dstatistics, backward; adds to the accumulated gradient.
    ///
    /// Rows are whole sequences; the caller splits a large batch into micro-batches. On the native engine the accumulated
    /// gradient is the same bits however the rows, kept in order, are split between the groups of [`TokenBatch::groups`].
    fn accumulate(
        &mut self,
        batch: &TokenBatch,
        want: Want,
        objective: &mut dyn FnMut(&TokenStats) -> Result<TokenGrads>,
    ) -> Result<()>;

    /// Clips, applies AdamW, clears the accumulated gradient. A gradient that is not finite is [`lapidary_core::Kind::Diverged`]
    /// and leaves weights and optimiser as they were.
    fn step(&mut self, update: &Update) -> Result<UpdateStats>;

    /// Drops the accumulated gradient.
    fn clear_gradient(&mut self);

    /// Continues prompts; the answer has one entry per request, each with its samples in order. `progress` hears how many
    /// tokens were produced since it was last called.
    fn sample(&self, requests: &[SampleRequest], progress: &(dyn Fn(usize) + Sync)) -> Result<Vec<Vec<Sample>>>;

    /// Writes `config.json` and `model.safetensors` (f32, exact) as Hugging Face reads them into an existing directory. Of a model
    /// with adapters only these and its heads: `adapter_config.json` and `adapter_model.safetensors` as PEFT reads them.
    fn save_model(&self, directory: &Path) -> Result<()>;

    /// As [`Engine::save_model`] of a model with a reward head, without its language head: what reads rewards and predicts nothing.
    fn save_reward_model(&self, directory: &Path) -> Result<()> {
        self.save_model(directory)
    }

    /// Writes the state of every optimiser into an existing directory.
    fn save_optimizer(&self, directory: &Path) -> Result<()>;

    /// Reads back what [`Engine::save_model`] and [`Engine::save_optimizer`] wrote: afterwards the engine continues bit for bit.
    fn restore(&mut self, model_directory: &Path, optimizer_directory: &Path) -> Result<()>;

    /// The numbers that learn, in an order of the engine's own; empty where it does not tell.
    fn learned(&self) -> &[f32] {
        &[]
    }

    /// Replaces the numbers that learn by as many others, in the order of [`Engine::learned`].
    fn set_learned(&mut self, values: &[f32]) {
        assert_eq!(values.len(), self.learned().len(), "as many numbers as learn");
    }

    /// Forgets the state of every optimiser (moments and step count of AdamW); weights and version stay.
    fn reset_optimizer(&mut self);
}
