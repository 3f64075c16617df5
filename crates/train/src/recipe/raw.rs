//! What may be written in a recipe: every key once, with its meaning, unit and default. Nothing here is checked yet.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::adapter::RawAdapter;
use super::comparisons::{RawAuxiliary, RawPairs};
use super::difficulty::RawDifficulty;
use super::distill::RawFilter;
use super::exploration::{RawCurriculum, RawDynamicSampling, RawDynamicTemperature};
use super::feedback::{RawConfidence, RawRanking};
use super::one_shot::RawOneShot;
use super::raw_hint::RawHint;
use super::raw_interleave::RawInterleave;
use super::schema;
use super::second_layer::{RawEvalTurn, RawSecondLayer, RawSecondTurns};
use super::supervised::RawEarlyStop;

/// A recipe: the whole of a run in one file. Paths are relative to the directory that the command is run in.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Lapidary recipe")]
pub(super) struct RawRecipe {
    /// The only source of randomness: initial weights, data order, procedural items, sampling. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Name of the run, and of its directory below `runs/`. Default: the name of the recipe's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The model to start from: a built-in preset (`tiny` or `tiny-moe`, initialised from the seed), a Hugging Face directory, or a
    /// GGUF file. No default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::model")]
    pub model: Option<String>,
    /// Train an adapter of low rank instead of the model. Default: the model itself learns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<RawAdapter>,
    /// The stages of the run, in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::stages")]
    pub stage: Option<Vec<RawStage>>,
    /// How the model is evaluated on held-out prompts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval: Option<RawEval>,
    /// When checkpoints are written and how many are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<RawCheckpoint>,
}

/// One kind of work on the model. Keys marked (rl) belong to `kind = "rl"` only, those of them
/// that say how answers are sampled and scored to `kind = "distill"` too; keys marked (sft) and (distill) to those kinds.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStage {
    /// `sft`: learn the demonstrations of the task. `rl`: sample, score with the reward, learn by the method. `distill`: sample, keep the
    /// answers that pass, learn them as demonstrations.
    /// `self-feedback`: answer each prompt in several ways, measure how sure the model is of each, write pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::kind")]
    pub kind: Option<String>,
    /// Where prompts come from: a name of `lapidary tasks`, a table `{ name = …, option = … }`, or a data file as text or
    /// as a table `{ path = … }`. No default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::task")]
    pub task: Option<RawTask>,
    /// How many steps; each uses `prompts_per_step` new prompts. No default: this or `epochs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub steps: Option<u64>,
    /// In place of `steps`: how often a data set is gone through; a task without an end has no epochs. The last step is filled up
    /// from the next pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub epochs: Option<f64>,
    /// Prompts per step. Default 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub prompts_per_step: Option<u64>,
    /// Most tokens (prompt and completion) that go through the model at once: the only memory knob. Samples of a prompt stay
    /// together, with the prompt counted once; a larger group or row goes alone. It never changes a result. Default 2048.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub tokens_per_microbatch: Option<u64>,
    /// Highest learning rate of AdamW. Default 2e-5 for sft, 1e-6 for rl.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub learning_rate: Option<f64>,
    /// How the learning rate runs after warm-up: it stays, or falls to 0 at the last step along a line or half a cosine.
    /// Default `constant`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<super::Schedule>,
    /// Optimiser steps over which the learning rate rises from 0 to `learning_rate`. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_steps: Option<u64>,
    /// Decoupled weight decay of AdamW, on matrices only. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub weight_decay: Option<f64>,
    /// Decay of AdamW's first moment. Default 0.9.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub beta1: Option<f64>,
    /// Decay of AdamW's second moment. Default 0.999.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub beta2: Option<f64>,
    /// The gradient is scaled down to this global norm where it is larger; 0 never does. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub max_grad_norm: Option<f64>,
    /// (sft) Which tokens are learned: what the assistant says (`completion`), or every token but the first (`all`). Default
    /// `completion`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_on: Option<super::LossOn>,
    /// (sft) Which turns of a conversation with several turns of the assistant are learned: `all`, by masks from the chat template,
    /// or the `last`. Default `all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<super::Turns>,
    /// (sft) A share of the demonstrations follows an answer of the model itself, which it is to correct.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_turn: Option<RawSecondTurns>,
    /// (sft) When the held-out loss ends the stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stop: Option<RawEarlyStop>,
    /// (rl) How rewards become an update: a name of `lapidary methods`. A table of the same name (`[stage.gspo]`)
    /// overrides its defaults. No default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::method")]
    pub method: Option<String>,
    /// (rl) What a completion is worth: names of `lapidary rewards` or tables `{ name = …, weight = 1.0, option = … }`,
    /// summed by weight; a part with `gate` decides the whole where its score is below that. Default `["answer"]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::rewards")]
    pub reward: Option<RawRewards>,
    /// (rl) Completions sampled per prompt: the group. Default 8. (self-feedback) Traces per prompt, each with another of the
    /// likeliest first tokens. Default 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub samples_per_prompt: Option<u64>,
    /// (rl, self-feedback) Longest completion, in tokens. Default 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_new_tokens: Option<u64>,
    /// (rl) Divisor of the logits while sampling and training, above 0. Default 1. (self-feedback) How a trace goes on after
    /// its first token; 0 takes the likeliest always. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub temperature: Option<f64>,
    /// (rl) Sample among the likeliest so many tokens only; 0 is all. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u64>,
    /// (rl) Sample among the likeliest tokens that together reach this probability; 1 is all. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1))]
    pub top_p: Option<f64>,
    /// (rl) Optimiser steps per pass over a batch of rollouts, each on an equal share of the prompts, drawn anew for each
    /// pass. Default 1: strictly on-policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub updates_per_rollout: Option<u64>,
    /// (rl) Passes over a batch of rollouts. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub epochs_per_rollout: Option<u64>,
    /// (rl) Experts that the trainer of a mixture-of-experts model uses: its router's (`off`), those of its own pass before
    /// the updates (`r2`), or the sampler's (`r3`). Default `off`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing_replay: Option<super::RoutingReplay>,
    /// (rl) What happens to completions that reach `max_new_tokens`: `penalise` scores them as they are, `mask` leaves
    /// them out of the loss. Default `penalise`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncated: Option<super::Truncated>,
    /// (rl) Rounds, budget and left-overs of dynamic sampling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dynamic_sampling: Option<RawDynamicSampling>,
    /// (rl) Prompts by difficulty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curriculum: Option<RawCurriculum>,
    /// (rl) A level of the task that follows the share of right answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difficulty: Option<RawDifficulty>,
    /// (rl) One example, or a few, in place of the whole task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_shot: Option<RawOneShot>,
    /// (rl) A temperature that rises when the reward has settled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dynamic_temperature: Option<RawDynamicTemperature>,
    /// (rl) Answers are shown to the model again, and it learns to correct them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_layer: Option<RawSecondLayer>,
    /// (distill) Who answers: the directory of a model with the same tokenizer. Default: the model at hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<String>,
    /// (distill) Which answers are learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<RawFilter>,
    /// (rl) Answers that go on from a part of the demonstration: UFT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<RawHint>,
    /// (rl) Supervised updates on the questions that no answer solved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interleave: Option<RawInterleave>,
    /// (reward-model, preference) How rows of comparisons become examples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairs: Option<RawPairs>,
    /// (reward-model, preference with `vrpo`) A model whose preferences debias the labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auxiliary: Option<RawAuxiliary>,
    /// (rl) When the run is called unhealthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<RawHealth>,
    /// (self-feedback) What a confidence is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<RawConfidence>,
    /// (self-feedback) How traces become pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ranking: Option<RawRanking>,
}

/// Thresholds of the health rules; each rule names its cause and the knob to turn.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHealth {
    /// Steps in a row for which a rule must hold before it speaks. Default 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub window: Option<u64>,
    /// Largest share of groups whose rewards are all equal and teach nothing. Default 0.9.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_zero_std: Option<f64>,
    /// Smallest mean entropy per token, in nats. Default 0.01.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub min_entropy: Option<f64>,
    /// Largest factor by which the mean length may grow or shrink against the first steps. Default 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 1))]
    pub max_length_drift: Option<f64>,
    /// Largest share of completions that a reward gave no verdict on. Default 0.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_no_verdict: Option<f64>,
    /// Largest share of the completions that a single reward may fail to judge, 3 steps in a row (fewer where `window` is), before
    /// the run stops; 1 never stops it. Default 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub stop_no_verdict: Option<f64>,
}

/// Evaluation on held-out prompts, before the first stage, during stages, and after each.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEval {
    /// Task whose held-out prompts are used. Default: the task of the last rl stage, else of the last stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::task")]
    pub task: Option<RawTask>,
    /// Reward that says whether an answer is right. Default `answer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::reward")]
    pub reward: Option<RawReward>,
    /// Held-out prompts; 0 switches evaluation off. Default 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts: Option<u64>,
    /// Answers per prompt. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub samples: Option<u64>,
    /// Longest answer, in tokens. Default: that of the last rl stage, else 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_new_tokens: Option<u64>,
    /// Divisor of the logits; 0 takes the likeliest token always. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub temperature: Option<f64>,
    /// Steps of a stage between evaluations; 0 evaluates between stages only. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// Every answer is shown to the model again and answered once more. Default: where a stage has a second layer, as there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_turn: Option<RawEvalTurn>,
    /// How sure the model is of each answer: with this table, evaluations say how well calibrated it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<RawConfidence>,
}

/// Checkpoints during a stage; one is always written at the end of a stage.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCheckpoint {
    /// Steps between checkpoints. Default 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub every: Option<u64>,
    /// How many of the newest checkpoints stay on disk, at least 2 so that a torn one has a predecessor. Default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2))]
    pub keep: Option<u64>,
}

/// A task as written: text, or a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum RawTask {
    Text(String),
    Table(Map<String, Value>),
}

/// A reward as written: text, or a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum RawReward {
    Text(String),
    Table(Map<String, Value>),
}

/// One reward, or a list of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct RawRewards(pub Vec<RawReward>);

/// Visits text or a table, keeping serde's positions (an untagged enum would lose them).
struct TextOrTable(&'static str);

enum Either {
    Text(String),
    Table(Map<String, Value>),
}

impl<'de> Visitor<'de> for TextOrTable {
    type Value = Either;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Either, E> {
        Ok(Either::Text(text.into()))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Either, A::Error> {
        Ok(Either::Table(Map::deserialize(MapAccessDeserializer::new(map))?))
    }
}

impl<'de> Deserialize<'de> for RawTask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match deserializer.deserialize_any(TextOrTable("the name of a task, a data file, or a table"))? {
            Either::Text(text) => RawTask::Text(text),
            Either::Table(table) => RawTask::Table(table),
        })
    }
}

impl<'de> Deserialize<'de> for RawReward {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match deserializer.deserialize_any(TextOrTable("the name of a reward, or a table"))? {
            Either::Text(text) => RawReward::Text(text),
            Either::Table(table) => RawReward::Table(table),
        })
    }
}

impl<'de> Deserialize<'de> for RawRewards {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = RawRewards;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a reward, a table, or a list of them")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawRewards, E> {
                Ok(RawRewards(vec![RawReward::Text(text.into())]))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawRewards, A::Error> {
                let table = Map::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RawRewards(vec![RawReward::Table(table)]))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<RawRewards, A::Error> {
                let mut rewards = Vec::new();
                while let Some(reward) = list.next_element()? {
                    rewards.push(reward);
                }
                Ok(RawRewards(rewards))
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}
