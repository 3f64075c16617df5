//! `kind = "distill"`: answers that pass are learned as demonstrations.

use std::path::PathBuf;

use lapidary_algo::Objective;
use lapidary_core::{Kind, Problem, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::check::Checker;
use super::raw::RawStage;
use super::settings::Settings;
use super::write::float32;
use super::{RewardChoice, TaskChoice, Training};

/// Keys of an rl stage that a distill stage has too.
pub(super) const SAMPLING: &[&str] =
    &["reward", "samples_per_prompt", "max_new_tokens", "temperature", "top_k", "top_p"];
/// Keys that only a distill stage has.
pub(super) const DISTILL_ONLY: &[&str] = &["teacher", "filter"];

/// Rejection sampling: sample answers, keep those that pass, learn them by maximum likelihood.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Distill {
    /// Where prompts come from.
    pub task: TaskChoice,
    /// Who answers: a saved model with the same tokenizer; `None` is the model at hand.
    pub teacher: Option<PathBuf>,
    /// The steps and the optimiser.
    pub training: Training,
    /// What is minimised: the defaults of `sft` with `[stage.sft]` put over them.
    pub objective: Objective,
    /// What an answer is worth: the weighted sum of these; at least one.
    pub rewards: Vec<RewardChoice>,
    /// Answers per prompt; positive.
    pub samples_per_prompt: usize,
    /// Longest answer, in tokens; positive.
    pub max_new_tokens: usize,
    /// Divisor of the logits; positive.
    pub temperature: f32,
    /// Only the likeliest so many tokens; 0 is all.
    pub top_k: usize,
    /// Only the likeliest tokens that together reach this probability; in (0, 1].
    pub top_p: f32,
    /// Which answers are learned.
    pub filter: AnswerFilter,
}

/// The filters of answers, in the order in which they are applied (GLM-4.5, arXiv 2508.06471, §3.1).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AnswerFilter {
    /// Fewest tokens of an answer, its end included.
    pub min_tokens: usize,
    /// Most tokens; `None` has no limit but `max_new_tokens`, and an answer that reaches that one is cut off and dropped.
    pub max_tokens: Option<usize>,
    /// Largest share of an answer's four-token sequences that were in it before; in [0, 1].
    pub max_repetition: f64,
    /// Total reward from which an answer passes.
    pub pass: f64,
    /// Whether an answer that another sample of the prompt gave too is learned once only.
    pub dedup: bool,
    /// Answers per prompt that are learned, best reward first and then the shortest; `None` is all that are left.
    pub best_of: Option<usize>,
}

/// Which answers of a distill stage are learned.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFilter {
    /// Fewest tokens of an answer, its end token included. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_tokens: Option<u64>,
    /// Most tokens; 0 has no limit. Answers cut off at `max_new_tokens` are dropped in any case. Default 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// Largest share of an answer's four-token sequences that were in it before; 1 allows all. Default 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_repetition: Option<f64>,
    /// Total reward from which an answer passes. Default 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass: Option<f64>,
    /// Whether equal answers to a prompt are learned once. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dedup: Option<bool>,
    /// Answers per prompt that are learned, best reward first and then the shortest; 0 is all that are left. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best_of: Option<u64>,
}

impl Checker<'_> {
    pub(super) fn distill(&self, raw: RawStage, settings: &Settings) -> Result<Distill> {
        let task = self.task(raw.task.clone())?;
        let warm = |t: f64| t > 0.0 && t <= 100.0;
        let probability = |p: f64| p > 0.0 && p <= 1.0;
        Ok(Distill {
            training: self.training(&raw, 2e-5)?,
            objective: self.objective("sft", settings)?,
            rewards: self.rewards(raw.reward.map(|rewards| rewards.0), &task)?,
            task,
            teacher: raw.teacher.map(PathBuf::from),
            samples_per_prompt: self.count("samples_per_prompt", raw.samples_per_prompt, 8, 1)? as usize,
            max_new_tokens: self.count("max_new_tokens", raw.max_new_tokens, 256, 1)? as usize,
            temperature: self.number("temperature", raw.temperature, 1.0, warm, "above 0 and at most 100")? as f32,
            top_k: self.count("top_k", raw.top_k, 0, 0)? as usize,
            top_p: self.number("top_p", raw.top_p, 1.0, probability, "above 0 and at most 1")? as f32,
            filter: self.within("filter").filter(raw.filter.unwrap_or_default())?,
        })
    }

    fn filter(&self, raw: RawFilter) -> Result<AnswerFilter> {
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let some = |count: u64| (count > 0).then_some(count as usize);
        let filter = AnswerFilter {
            min_tokens: self.count("min_tokens", raw.min_tokens, 1, 1)? as usize,
            max_tokens: some(self.count("max_tokens", raw.max_tokens, 0, 0)?),
            max_repetition: self.number("max_repetition", raw.max_repetition, 0.5, share, "between 0 and 1")?,
            pass: self.number("pass", raw.pass, 0.5, f64::is_finite, "a number")?,
            dedup: raw.dedup.unwrap_or(true),
            best_of: some(self.count("best_of", raw.best_of, 1, 0)?),
        };
        match filter.max_tokens {
            Some(most) if most < filter.min_tokens => Err(self.wrong_value(
                "R006",
                "max_tokens",
                format!("no answer has at least {} and at most {most} tokens", filter.min_tokens),
                "below `min_tokens`",
            )),
            _ => Ok(filter),
        }
    }

    /// Keys that a distill stage does not have.
    pub(super) fn not_of_distill(&self, key: &str) -> Problem {
        Problem::new(Kind::Usage, "R007", format!("`{key}` does not apply to a distill stage"))
            .at(self.tree.key_place(&self.path(key), "belongs to another kind of stage"))
            .why("a distill stage samples, keeps the answers that pass, and learns them by maximum likelihood")
            .hint("remove it; what is learned of the answers is set in `[stage.filter]` and `[stage.sft]`")
    }
}

impl Distill {
    /// The keys that only a distill stage has, and those that it shares with an rl stage.
    pub(super) fn entries(&self, reward: impl Fn(&RewardChoice) -> Value) -> Vec<(&'static str, Value)> {
        let mut entries = vec![
            ("reward", Value::Array(self.rewards.iter().map(reward).collect())),
            ("samples_per_prompt", json!(self.samples_per_prompt)),
            ("max_new_tokens", json!(self.max_new_tokens)),
            ("temperature", float32(self.temperature)),
            ("top_k", json!(self.top_k)),
            ("top_p", float32(self.top_p)),
        ];
        if let Some(teacher) = &self.teacher {
            entries.push(("teacher", json!(teacher)));
        }
        entries
    }
}

impl AnswerFilter {
    pub(super) fn entries(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("min_tokens", json!(self.min_tokens)),
            ("max_tokens", json!(self.max_tokens.unwrap_or(0))),
            ("max_repetition", json!(self.max_repetition)),
            ("pass", json!(self.pass)),
            ("dedup", json!(self.dedup)),
            ("best_of", json!(self.best_of.unwrap_or(0))),
        ]
    }
}
