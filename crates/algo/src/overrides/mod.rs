//! Overrides: what a recipe's `[stage.<method>]` may change.

mod apply;
mod names;
mod settings;
mod terms;
#[cfg(test)]
mod tests;

pub use names::{AdvantageName, LevelName, SurrogateName};

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aggregate::Aggregate;
use crate::correction::{CorrectionMode, Denominator, OpsmLevel};
use crate::estimators::{EntropyMean, EntropyPosition, Normalise, Scope};
use crate::kl::{KlEstimator, KlPlace};
use crate::ratio::Ratio;
use names::Written;

/// Default of `std_delta` (verl and slime 1e-6, TRL 1e-4; the papers say nothing).
pub(crate) const DELTA: f64 = 1e-6;

/// One field per key, each optional, and the list of the keys in their order.
macro_rules! settings {
    ($($(#[$meta:meta])* $key:ident: $type:ty,)*) => {
        /// Settings of a method; what is not given stays as the method has it.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct Overrides {
            $($(#[$meta])* #[serde(skip_serializing_if = "Option::is_none")] pub $key: Option<$type>,)*
        }

        impl Overrides {
            /// The keys that are given, in the order of the fields, with their values as TOML writes them.
            pub fn entries(&self) -> Vec<(&'static str, String)> {
                let all = [$((stringify!($key), self.$key.as_ref().map(Written::written)),)*];
                all.into_iter().filter_map(|(key, value)| value.map(|value| (key, value))).collect()
            }
        }
    };
}

settings! {
    /// How rewards become advantages.
    advantage: AdvantageName,
    /// Degrees of freedom of the standard deviation: 1 (unbiased) or 0. Only where `advantage` divides by one.
    #[schemars(range(max = 1))]
    std_ddof: u8,
    /// Added to the standard deviation, at least 0. Only where `advantage` divides by one.
    #[schemars(range(min = 0.0))]
    std_delta: f64,
    /// Discount per token, above 0 and at most 1. Only with `advantage = "whitened_return"` or `"gae"`.
    #[schemars(range(min = 0.0, max = 1.0))]
    gamma: f64,
    /// λ of generalised advantage estimation: 0 trusts the value head, 1 the rewards. Only with `advantage = "gae"`.
    #[schemars(range(min = 0.0, max = 1.0))]
    gae_lambda: f64,
    /// Whether advantages are whitened over the step's tokens. Only with `advantage = "gae"`.
    whiten_advantages: bool,
    /// Whether token rewards are first divided by their spread over the step. Only with `advantage = "gae"`.
    whiten_rewards: bool,
    /// α₁ (β₁), weight of being right or wrong, above 0. Only with `advantage = "entropy_token"` or `"entropy_sequence"`, as
    /// the following `entropy_…` keys.
    #[schemars(range(min = 0.0))]
    outcome_weight: f64,
    /// α₂ (β₂), weight of the entropy's share, at least 0.
    #[schemars(range(min = 0.0))]
    entropy_weight: f64,
    /// Over what shaped rewards are standardised.
    entropy_normalise: Normalise,
    /// Whose shaped rewards are standardised together.
    entropy_scope: Scope,
    /// The mean that an entropy is compared with.
    entropy_mean: EntropyMean,
    /// ε_H: entropies below it count as it where they are divided by; above 0.
    #[schemars(range(min = 0.0))]
    entropy_floor: f64,
    /// Entropies are first held above this. 0 together with `entropy_clamp_high = 0` is off.
    #[schemars(range(min = 0.0))]
    entropy_clamp_low: f64,
    /// Entropies are first held below this; 0 is off.
    #[schemars(range(min = 0.0))]
    entropy_clamp_high: f64,
    /// How tokens of different answers are lined up.
    entropy_position: EntropyPosition,
    /// An answer is right iff its reward, before penalties, is above this.
    success_above: f64,
    /// Whether groups that are all right or all wrong get no advantage instead of one made of entropy alone.
    skip_one_sided: bool,
    /// Which probability ratio.
    ratio: Ratio,
    /// The loss at a token.
    surrogate: SurrogateName,
    /// How far the ratio may fall below 1, above 0 and at most 1. With `surrogate = "cispo"` 1 is no lower bound.
    #[schemars(range(min = 0.0, max = 1.0))]
    clip_low: f64,
    /// How far the ratio may rise above 1, above 0.
    #[schemars(range(min = 0.0))]
    clip_high: f64,
    /// Upper bound of the ratio for bad answers, above 1; 0 is off. Only with `surrogate = "clip"`.
    #[schemars(range(min = 0.0))]
    clip_dual: f64,
    /// Whether `clip_high` is the cap itself (TRL, ScaleRL) and not a distance from 1. Only with `surrogate = "cispo"`.
    clip_absolute: bool,
    /// How token losses become one number.
    aggregate: Aggregate,
    /// The constant length that `aggregate = "token_sum_const"` divides by; 0 takes the stage's `max_new_tokens`.
    length_constant: usize,
    /// Weight of the penalty for leaving the reference policy (the weights at the start of the stage); 0 is off.
    #[schemars(range(min = 0.0))]
    kl_coefficient: f64,
    /// Estimator of that penalty.
    kl_estimator: KlEstimator,
    /// Where that penalty is put.
    kl_in: KlPlace,
    /// Whether the estimate is weighted by the token's ratio, for an unbiased gradient. Only with `kl_in = "loss"`.
    kl_unbiased: bool,
    /// KL, in nats per token, that the coefficient is steered towards; 0 leaves it as it is.
    #[schemars(range(min = 0.0))]
    kl_target: f64,
    /// How many answers a full correction of the coefficient takes, above 0. Only with `kl_target` above 0.
    #[schemars(range(min = 0.0))]
    kl_horizon: f64,
    /// Weight of the policy term, at least 0; with 0 only a KL penalty, an entropy bonus or a critic acts. Default 1.
    #[schemars(range(min = 0.0))]
    policy_coefficient: f64,
    /// Weight of the entropy bonus; 0 is off. The bonus is subtracted from the loss: a weight written as −0.001 where entropy is
    /// added to the loss is 0.001 here.
    #[schemars(range(min = 0.0))]
    entropy_coefficient: f64,
    /// How the entropies of tokens become one number. Default: as the losses of tokens do.
    entropy_aggregate: Aggregate,
    /// Weight of the value loss beside the policy loss, above 0. Only with `advantage = "gae"`.
    #[schemars(range(min = 0.0))]
    value_coefficient: f64,
    /// How far a value may move from the one before the update; 0 leaves it free. Only with `advantage = "gae"`.
    #[schemars(range(min = 0.0))]
    value_clip: f64,
    /// Optimiser steps at the start in which only the value head's loss is minimised. Only with `advantage = "gae"`.
    critic_warmup_steps: u64,
    /// What the ratio of trainer to sampler is taken over, to weigh the loss with it; `off` does not weigh.
    correction_level: LevelName,
    /// How that ratio becomes a weight. Only with a `correction_level`, as the following `correction_…` keys.
    correction_mode: CorrectionMode,
    /// Lower bound, at least 0 and at most 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    correction_low: f64,
    /// Upper bound, at least 1.
    #[schemars(range(min = 1.0))]
    correction_high: f64,
    /// Whether weights are divided by their mean over the optimiser step.
    correction_normalise: bool,
    /// What the ratio of trainer to sampler is taken over, to leave out what lies outside the bounds; `off` rejects nothing.
    rejection_level: LevelName,
    /// Lower bound, at least 0 and at most 1. Only with a `rejection_level`.
    #[schemars(range(min = 0.0, max = 1.0))]
    rejection_low: f64,
    /// Upper bound, at least 1. Only with a `rejection_level`.
    #[schemars(range(min = 1.0))]
    rejection_high: f64,
    /// An answer with any token whose ratio is below this is left out; below 1, 0 is off.
    #[schemars(range(min = 0.0, max = 1.0))]
    rejection_veto: f64,
    /// Whether means divide by all trained tokens or by those that remain. Only where something is rejected.
    rejection_denominator: Denominator,
    /// Whether the sampler's log-probabilities stand for the trainer's own before the update.
    bypass: bool,
    /// Largest fall of a bad answer's mean log-probability (or a token's) that is still learned from; 0 is off.
    #[schemars(range(min = 0.0))]
    opsm_delta: f64,
    /// What that fall is taken over. Only with `opsm_delta` above 0.
    opsm_level: OpsmLevel,
    /// Whether groups whose rewards do not vary are sampled again (DAPO).
    dynamic_sampling: bool,
    /// Share of `max_new_tokens` in which a length penalty grows from 0 to `overlong_factor` (DAPO); 0 is off.
    #[schemars(range(min = 0.0, max = 1.0))]
    overlong_share: f64,
    /// The length penalty at the limit, at least 0. Only with `overlong_share` above 0.
    #[schemars(range(min = 0.0))]
    overlong_factor: f64,
    /// γ₁ of the group-relative penalty for right answers (a reward above `success_above`, or 0.5) longer than their
    /// group's: share of right answers from which a prompt is easy, above 0.5 and at most 1; 0 is off.
    #[schemars(range(min = 0.0, max = 1.0))]
    group_overlong: f64,
}

/// A setting that cannot be: which key, what it may be, what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSetting {
    /// The key of [`Overrides`].
    pub key: &'static str,
    /// What it may be.
    pub expected: String,
    /// What it was.
    pub got: String,
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: expected {}, got {}", self.key, self.expected, self.got)
    }
}

impl std::error::Error for InvalidSetting {}
