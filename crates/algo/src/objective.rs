//! An objective: the coordinates of a method with all their numbers.

use lapidary_core::{Ragged, Result, TokenStats, Want};
use serde::Serialize;

use crate::advantage::{Advantage, Advantages, rewards_vary};
use crate::aggregate::{Aggregate, Normaliser};
use crate::kl::Kl;
use crate::loss::{LossBatch, LossOutput};
use crate::overrides::{InvalidSetting, Overrides};
use crate::ratio::Ratio;
use crate::shaping::Overlong;
use crate::surrogate::Surrogate;

/// What is optimised: `advantage × ratio × surrogate × aggregate`, a KL penalty, an entropy bonus, and DAPO's two
/// switches.
///
/// Serialises as the settings that a recipe may override ([`Overrides`]).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(into = "Overrides")]
pub struct Objective {
    /// How rewards become advantages.
    pub advantage: Advantage,
    /// Which probability ratio.
    pub ratio: Ratio,
    /// The loss at a token.
    pub surrogate: Surrogate,
    /// How token losses become one number.
    pub aggregate: Aggregate,
    /// `L_max` of [`Aggregate::TokenSumConst`]; `None` takes the stage's longest answer.
    pub length_constant: Option<usize>,
    /// Penalty for leaving the reference policy.
    pub kl: Kl,
    /// Weight of the entropy bonus: `−coefficient · entropy` is added to the loss of every trained token.
    pub entropy_coefficient: f64,
    /// Whether groups whose rewards do not vary are sampled again.
    pub dynamic_sampling: bool,
    /// Penalty for answers near the length limit.
    pub overlong: Option<Overlong>,
}

impl Objective {
    /// This objective with a recipe's settings put over it. The error names the key, what it may be and what it was.
    pub fn with(self, overrides: &Overrides) -> Result<Objective, InvalidSetting> {
        overrides.apply(self)
    }

    /// The settings of this objective, as a recipe would write them. `x.with(&x.settings()) == x`.
    pub fn settings(&self) -> Overrides {
        Overrides::from(self.clone())
    }

    /// Whether [`LossBatch::logp_reference`] must be given.
    pub fn needs_reference(&self) -> bool {
        self.kl.coefficient != 0.0
    }

    /// Whether the gradient is right only for the weights that sampled, so that a rollout is good for one update.
    pub fn on_policy_only(&self) -> bool {
        self.surrogate == Surrogate::Reinforce
    }

    /// Which statistics the loss itself needs. A caller may want more.
    pub fn want(&self) -> Want {
        Want { entropy: self.entropy_coefficient != 0.0, ..Want::default() }
    }

    /// Advantages of the rows of a step; see [`Advantage::of`]. `None` is no verdict: leave those rows out of the batch
    /// (only [`Advantages::rows`] belong in it).
    pub fn advantages(&self, rewards: &[Option<f32>], groups: &[usize]) -> Advantages {
        self.advantage.of(rewards, groups)
    }

    /// Whether a group is worth training on: always, unless dynamic sampling is on and its rewards do not vary.
    pub fn keeps_group(&self, rewards: &[Option<f32>]) -> bool {
        !self.dynamic_sampling || rewards_vary(rewards)
    }

    /// What to add to the reward of an answer of `length` tokens where at most `max_new_tokens` may be written.
    pub fn length_penalty(&self, length: usize, max_new_tokens: usize) -> f64 {
        self.overlong.map_or(0.0, |overlong| overlong.penalty(length, max_new_tokens))
    }

    /// Divisors of one optimiser step: `mask` holds all its rows (true at trained tokens), `max_new_tokens` is the
    /// longest answer that the stage allows. Make it before the first micro-batch and use it for all of them.
    pub fn normaliser(&self, mask: &Ragged<bool>, max_new_tokens: usize) -> Normaliser {
        Normaliser::new(self.aggregate, mask, self.length_constant.unwrap_or(max_new_tokens))
    }

    /// The part that a micro-batch has in the step's loss, its derivatives and metrics.
    ///
    /// Errors ([`lapidary_core::Kind::Diverged`], `N010`) name the first trained token that has a number that is not
    /// finite.
    /// Values at masked positions are never read. Panics when shapes differ, or when the KL penalty is on without a
    /// reference: bugs of the caller.
    pub fn loss(&self, batch: &LossBatch<'_>, stats: &TokenStats, normaliser: &Normaliser) -> Result<LossOutput> {
        crate::loss::of_batch(self, batch, stats, normaliser)
    }
}
