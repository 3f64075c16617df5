//! Rewards that need no label: what the model itself says of the tokens it wrote, or what its answers agree on.
//!
//! A reward tells by [`Reads`] what it wants to know of the tokens, and finds it in its attempt's [`Seen`]; whoever samples asks
//! the model once for all rewards that look from the same [`View`].

pub(crate) mod confidence;
pub(crate) mod entropy;
pub(crate) mod majority_vote;
mod mix;
pub(crate) mod self_certainty;

use lapidary_core::{Verdict, Want};

use crate::Attempt;
use crate::confidence::Readings;

/// Which weights are asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weights {
    /// Those that sampled.
    Current,
    /// Those at the start of the stage.
    Frozen,
    /// Their moving mean over the steps of the stage.
    Ema {
        /// Weight of the old mean, per step.
        decay: f64,
    },
}

/// From where tokens are looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Which weights are asked.
    pub weights: Weights,
    /// At the temperature of the sampler; else at 1, the model's own distribution.
    pub sampled: bool,
}

/// What a reward wants to know of the tokens of a completion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reads {
    /// From where.
    pub view: View,
    /// Which statistics.
    pub want: Want,
    /// The KL coefficient that the reward's published settings do not go below: nothing else holds the policy.
    pub least_kl: f64,
}

/// What is known of an attempt that was sampled from a model at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen<'a> {
    /// Its prompt, among those of the step: equal for the samples of a prompt.
    pub group: usize,
    /// What the model says of its tokens, from every view that a reward asked for.
    pub readings: &'a [(View, Readings)],
}

impl<'a> Seen<'a> {
    /// What the model says from a view.
    pub fn from(self, view: View) -> Option<&'a Readings> {
        self.readings.iter().find(|(known, _)| *known == view).map(|(_, readings)| readings)
    }
}

/// What the model says of an attempt's tokens, or why nothing can be said.
fn readings<'a>(attempt: &Attempt<'a>, view: View) -> Result<&'a Readings, Verdict> {
    match attempt.seen.and_then(|seen| seen.from(view)) {
        Some(readings) if !readings.is_empty() => Ok(readings),
        Some(_) => Err(Verdict::none("the completion has no token")),
        None => Err(Verdict::none("it reads the model's own probabilities, which only an rl stage has at hand")),
    }
}

/// Mean of a statistic over the tokens.
fn mean(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Map;

    /// Away from a model there is no verdict, never a 0.
    #[test]
    fn without_a_model_there_is_no_verdict() {
        let metadata = Map::new();
        for name in ["confidence", "self-certainty", "entropy"] {
            let reward = crate::build(name, &serde_json::Value::Null).unwrap();
            let reads = reward.reads().unwrap();
            let attempt = Attempt::new("?", "7", Some("7"), &metadata);
            let other = [(View { sampled: !reads.view.sampled, ..reads.view }, Readings::default())];
            for attempt in [attempt, Attempt { seen: Some(Seen { group: 0, readings: &other }), ..attempt }] {
                let verdict = &reward.score(&[attempt])[0];
                assert!(verdict.value().is_none() && verdict.reason().contains("rl stage"), "{name}: {verdict:?}");
            }
        }
    }
}
