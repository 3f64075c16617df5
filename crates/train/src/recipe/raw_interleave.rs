//! What may be written in `[stage.interleave]` and its tables. Nothing here is checked yet.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::switch::SwitchPolicy;

/// Supervised updates on the questions that no answer solved (ReLIFT): a buffer, an optimiser of its own, and what decides when.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawInterleave {
    /// Demonstrations that make the buffer full, and that a phase takes at most. Default: `prompts_per_step`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub demonstrations: Option<u64>,
    /// Demonstrations per update. Default: `demonstrations`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub minibatch: Option<u64>,
    /// Passes over the demonstrations of a phase. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub epochs: Option<u64>,
    /// Updates of a phase at most; 0 has no limit but the passes. Default 0 with `policy = "buffer"`, else 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_updates: Option<u64>,
    /// Learning rate of these updates; it stays. Default: the stage's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub learning_rate: Option<f64>,
    /// Decoupled weight decay of their AdamW. Default: the stage's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub weight_decay: Option<f64>,
    /// Decay of their first moment. Default: the stage's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub beta1: Option<f64>,
    /// Decay of their second moment. Default: the stage's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub beta2: Option<f64>,
    /// Their gradient is scaled down to this global norm where it is larger; 0 never does. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub max_grad_norm: Option<f64>,
    /// Weight of the entropy bonus on the demonstrations' tokens; 0 is off. Default 1e-3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub entropy_coefficient: Option<f64>,
    /// Longest demonstration in tokens, its end among them; longer ones are cut, and end all the same. Default: `max_new_tokens`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2))]
    pub max_demonstration_tokens: Option<u64>,
    /// The total reward of a failure: a question all of whose answers score exactly this waits for its demonstration. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_value: Option<f64>,
    /// Total reward from which an answer is right, for the detectors and `batch/…`. Default 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right_from: Option<f64>,
    /// Most questions that wait, the newest; 0 has no limit. Default: 16 times `demonstrations`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<u64>,
    /// Steps after which a question that was not asked again is forgotten; 0 never. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age_steps: Option<u64>,
    /// When a phase begins: when the buffer is full (`buffer`, the paper), when any, all or a weighted sum of the detectors say
    /// so. Default `buffer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<SwitchPolicy>,
    /// Sum of the weights of the signals that fire from which a phase begins. Only with `policy = "weighted"`. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub threshold: Option<f64>,
    /// Steps from one phase to the next, at least. Default 0 with `policy = "buffer"`, else 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cooldown_steps: Option<u64>,
    /// Demonstrations that must wait for a phase to begin. Default: `demonstrations` with `policy = "buffer"`, else `minibatch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min_buffer: Option<u64>,
    /// Supervised updates in the whole stage; 0 has no limit. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<u64>,
    /// Whether a full buffer is a signal beside the detectors; its weight is the threshold. Only with detectors. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_buffer: Option<bool>,
    /// A metric has not improved for several looks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plateau: Option<RawPlateau>,
    /// A kind of question is not answered, is answered worse than before, or is new and worse than the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<RawGap>,
    /// Training runs away from held-out accuracy, the questions change, or the policy leaves the demonstrations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shift: Option<RawShift>,
}

/// Fires when a metric has not improved by `delta` for `patience` looks in a row.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPlateau {
    /// What is looked at: `eval/accuracy`, `eval/reward` or `eval/mean_length` at every evaluation, or a metric of the steps at
    /// every step. Default `eval/accuracy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Looks in a row without an improvement. Default 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub patience: Option<u64>,
    /// What an improvement is, or `auto`: the standard error of the best accuracy. Default 0.01.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "delta")]
    pub delta: Option<RawDelta>,
    /// Whether `delta` is a difference or a share of the best. Default `absolute`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<DeltaMode>,
    /// Weight of the past in a moving average of the metric; 0 takes it as it is. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub ema: Option<f64>,
    /// Looks before it may fire. Default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min_looks: Option<u64>,
    /// Whether lower is better, as of a loss. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lower_is_better: Option<bool>,
    /// Whether the best is forgotten after a phase. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset_best: Option<bool>,
    /// Its weight. Only with `policy = "weighted"`. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub weight: Option<f64>,
}

/// Fires when kinds of question that are (almost) never answered, have fallen, or are new and worse than the others make up a
/// share of all questions. Their demonstrations are learned first.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGap {
    /// Field of an item's metadata that says its kind. Default `category`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Groups of answers that are remembered per kind. Default 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub window: Option<u64>,
    /// Share of right answers below which a kind is unknown. Default 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub threshold: Option<f64>,
    /// Posterior probability of that from which it counts. Default 0.8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confidence: Option<f64>,
    /// Answers to a kind before it can count as unknown. Default 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min_answers: Option<u64>,
    /// Steps for which a kind is new. Default 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_steps: Option<u64>,
    /// How far the average of a kind must be below its best, or that of a new kind below the average of all. Default 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub drop: Option<f64>,
    /// Share of the questions that must be of such kinds; 0: any. Default 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub traffic: Option<f64>,
    /// Its weight. Only with `policy = "weighted"`. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub weight: Option<f64>,
}

/// Three monitors; any of them fires the detector. A limit of 0 switches its monitor off.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawShift {
    /// How far accuracy in training less held-out accuracy, averaged, may be above its least. Default 0.05.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub max_gap: Option<f64>,
    /// Weight of the past in that average. Default 0.7.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub gap_ema: Option<f64>,
    /// Evaluations in a row above `max_gap`. Default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub gap_evaluations: Option<u64>,
    /// Largest population stability index of the latest questions against the first. Default 0.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub max_psi: Option<f64>,
    /// What questions are told apart by: the length of their prompts, or a field of their metadata. Default `length`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<InputName>,
    /// Field of the metadata. Only with `input = "category"`. Default `category`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Questions on each side of that comparison. Default 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub window: Option<u64>,
    /// Largest rise of the mean −log p of held-out demonstrations since the last phase, in nats per token. Default 0.15.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub max_nll_rise: Option<f64>,
    /// Largest mean k3 of their tokens against the policy after the last phase, in nats per token. Default 0: off.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub max_k3: Option<f64>,
    /// Held-out demonstrations that are read at every evaluation. Default 32.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub demonstrations: Option<u64>,
    /// Its weight. Only with `policy = "weighted"`. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub weight: Option<f64>,
}

/// How an improvement is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum DeltaMode {
    /// In the units of the metric.
    #[default]
    Absolute,
    /// As a share of the best.
    Relative,
}

/// Names of [`crate::switch::Input`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum InputName {
    /// The length of the prompt.
    #[default]
    Length,
    /// A field of the metadata.
    Category,
}

/// An improvement as written.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum RawDelta {
    Number(f64),
    #[serde(rename = "auto")]
    Auto,
}

fn delta(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [{ "type": "number", "minimum": 0.0 }, { "const": "auto" }] })
}

impl<'de> Deserialize<'de> for RawDelta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrAuto;
        impl Visitor<'_> for NumberOrAuto {
            type Value = RawDelta;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or \"auto\"")
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<RawDelta, E> {
                Ok(RawDelta::Number(number))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<RawDelta, E> {
                Ok(RawDelta::Number(number as f64))
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<RawDelta, E> {
                match word {
                    "auto" => Ok(RawDelta::Auto),
                    _ => Err(E::unknown_variant(word, &["auto"])),
                }
            }
        }
        deserializer.deserialize_any(NumberOrAuto)
    }
}
