//! What a stage of comparisons remembers, and what a reward model is known by.

use lapidary_algo::PreferenceState;
use serde::{Deserialize, Serialize};

use crate::watch::Metrics;

/// What is remembered between steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComparisonState {
    /// What the loss remembers: the mean reward, the scale of an M-estimator.
    pub preference: PreferenceState,
    /// What the rewards of held-out answers look like.
    pub rewards: Option<RewardStatistics>,
    /// Hash of the manifest of the policy that a reward model was made of, which the next stage goes on with.
    pub policy: Option<String>,
}

/// Rewards of held-out answers: what centring and scaling a reward model needs, and how far it can be trusted.
///
/// `reward_model.json` beside the weights of a reward model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardStatistics {
    /// Held-out comparisons or judgements.
    pub examples: u64,
    /// Mean reward of their answers.
    pub mean: f64,
    /// Its standard deviation.
    pub deviation: f64,
    /// Share of comparisons whose better answer has the higher reward.
    pub accuracy: Option<f64>,
    /// Expected calibration error of σ(difference).
    pub ece: Option<f64>,
    /// Correlation of rewards with the number of tokens.
    pub length_correlation: Option<f64>,
}

impl RewardStatistics {
    /// From the numbers of a look.
    pub(crate) fn of(metrics: &Metrics) -> Option<Self> {
        let get = |name: &str| {
            let name = format!("eval/pairs/{name}");
            metrics.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
        };
        Some(Self {
            examples: get("count")? as u64,
            mean: get("reward_mean")?,
            deviation: get("reward_std")?,
            accuracy: get("accuracy"),
            ece: get("ece"),
            length_correlation: get("length_correlation"),
        })
    }
}
