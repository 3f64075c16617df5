//! What sampling gives back, and what a verifier says of it.

use crate::Ragged;
use serde::{Deserialize, Serialize};

/// Why a sample ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StopReason {
    /// The model produced an end token.
    Eos,
    /// The limit of new tokens was reached.
    Length,
}

/// Where a token of a rollout comes from. Only the policy's own tokens are trained by rewards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenRole {
    /// Given to the model.
    Prompt,
    /// A part of a demonstration that the answer goes on from: given, scored, and learned by a likelihood of its own.
    Hint,
    /// Sampled from the policy.
    Policy,
    /// Written by an environment or a tool.
    Environment,
}

/// One sampled answer: token ids, never re-derived from text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Which prompt of the step, `0..P`.
    pub prompt: usize,
    /// Which sample of the prompt, `0..G`.
    pub sample: usize,
    /// Prompt and completion.
    pub tokens: Vec<u32>,
    /// A role per token.
    pub roles: Vec<TokenRole>,
    /// The sampler's log-probability per token at `temperature`; 0 where the role is not `Policy`.
    pub logp: Vec<f32>,
    /// The sampler's temperature.
    pub temperature: f32,
    /// Version of the weights that sampled it: the number of optimiser steps they had seen.
    pub weights: u64,
    /// Why it ended.
    pub stop: StopReason,
    /// The ids each token was drawn from, a row per token, as [`crate::TokenBatch::support`]; absent where nothing was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub support: Option<Ragged<u32>>,
    /// Experts that the sampler used, as a row of [`crate::TokenBatch::routing`]; absent where they were not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<Vec<u16>>,
}

impl Rollout {
    /// The tokens that the policy sampled.
    pub fn completion(&self) -> Vec<u32> {
        self.tokens.iter().zip(&self.roles).filter(|(_, role)| **role == TokenRole::Policy).map(|(id, _)| *id).collect()
    }
}

/// What a verifier says: a score, or that there is none and why. A failing verifier never means 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Verdict {
    /// A finite score, and a few words on how it came about (may be empty).
    Score {
        /// The score; finite.
        score: f32,
        /// Why, for people.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// No score could be given; the row leaves the group's statistics and the loss, and is counted.
    NoVerdict {
        /// Why not.
        reason: String,
    },
}

impl Verdict {
    /// A score with its reason; a number that is not finite is no verdict.
    pub fn score(score: f32, reason: impl Into<String>) -> Self {
        if score.is_finite() {
            Verdict::Score { score, reason: reason.into() }
        } else {
            Verdict::NoVerdict { reason: format!("the verifier gave {score}, which is not a finite number") }
        }
    }

    /// No verdict, and why.
    pub fn none(reason: impl Into<String>) -> Self {
        Verdict::NoVerdict { reason: reason.into() }
    }

    /// The score where there is one.
    pub fn value(&self) -> Option<f32> {
        match self {
            Verdict::Score { score, .. } => Some(*score),
            Verdict::NoVerdict { .. } => None,
        }
    }

    /// The words that go with it.
    pub fn reason(&self) -> &str {
        match self {
            Verdict::Score { reason, .. } | Verdict::NoVerdict { reason } => reason,
        }
    }
}
