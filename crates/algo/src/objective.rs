//! An objective: the coordinates of a method with all their numbers.

use lapidary_core::{Ragged, Result, TokenStats, Want};
use serde::Serialize;

use crate::aggregate::{Aggregate, Normaliser};
use crate::correction::OffPolicy;
use crate::critic::Critic;
use crate::estimators::{Advantage, Advantages, Experience, rewards_vary};
use crate::kl::Kl;
use crate::loss::{LossBatch, LossOutput};
use crate::overrides::{InvalidSetting, Overrides};
use crate::ratio::Ratio;
use crate::shaping::{GroupOverlong, Overlong};
use crate::surrogate::Surrogate;

/// What is optimised: `advantage × ratio × surrogate × aggregate`, a KL penalty, an entropy bonus, what is done about a
/// sampler that is not the trainer, a critic, and the switches of the sampling loop.
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
    /// Weight of the policy term, the surrogate's loss: 1, and 0 where only what is beside it acts, a KL penalty, an entropy
    /// bonus, a critic (the ablations of 1-shot RLVR, arXiv 2504.20571, §4.2).
    pub policy_coefficient: f64,
    /// Weight of the entropy bonus: `−coefficient · entropy` is added to the loss of every trained token.
    pub entropy_coefficient: f64,
    /// The mean that the entropy bonus is taken over; `None` is that of the loss.
    pub entropy_aggregate: Option<Aggregate>,
    /// What is done where sampler and trainer disagree, and about answers that have grown stale.
    pub off_policy: OffPolicy,
    /// How the value head is trained; with [`Advantage::Gae`], and with nothing else.
    pub critic: Option<Critic>,
    /// Whether only the value head learns: [`crate::MethodState`] says so while a critic warms up.
    pub critic_only: bool,
    /// Whether groups whose rewards do not vary are sampled again.
    pub dynamic_sampling: bool,
    /// Penalty for answers near the length limit.
    pub overlong: Option<Overlong>,
    /// Penalty for right answers longer than their group's.
    pub group_overlong: Option<GroupOverlong>,
}

/// What an objective must be given before the first update of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Entropies by the weights that sampled ([`Experience::entropy`]).
    pub entropy: bool,
    /// Log-probabilities by the reference, for advantages or loss.
    pub reference: bool,
    /// The trainer's own log-probabilities at the weights that sampled ([`LossBatch::logp_proximal`]) for every update,
    /// the first too, and the sampler's.
    pub proximal: bool,
    /// Values by the weights that sampled: the model must have a value head.
    pub value: bool,
}

/// What is the same for all micro-batches of an optimiser step, made before the first of them: so the step's loss and
/// gradient do not depend on how its rows are split.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// Divisors.
    pub normaliser: Normaliser,
    /// Weight of each trained token, 0 where rejected: [`LossBatch::weights`]; where the objective corrects.
    pub weights: Option<Ragged<f32>>,
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

    /// What must be computed before the first update.
    pub fn needs(&self) -> Needs {
        Needs {
            entropy: self.advantage.needs_entropy(),
            reference: self.needs_reference(),
            proximal: self.off_policy.weighs(),
            value: self.critic.is_some(),
        }
    }

    /// Whether a reference is needed at all, for advantages or loss.
    pub fn needs_reference(&self) -> bool {
        self.kl.coefficient != 0.0
    }

    /// Whether the gradient is right only for the weights that sampled, so that a rollout is good for one update.
    pub fn on_policy_only(&self) -> bool {
        self.surrogate == Surrogate::Reinforce
    }

    /// Which statistics the loss itself needs. A caller may want more.
    pub fn want(&self) -> Want {
        Want { entropy: self.entropy_coefficient != 0.0, value: self.critic.is_some(), ..Want::default() }
    }

    /// Advantages of the rows of a step; see [`Advantage::of`]. Rows without a verdict do not belong in the batch (only
    /// [`Advantages::rows`] do).
    ///
    /// # Errors
    /// `Diverged` (`N010`): a trained token has a number that is not finite.
    pub fn advantages(&self, experience: &Experience<'_>) -> Result<Advantages> {
        self.advantage.of(experience, &self.kl)
    }

    /// Whether a group is worth training on: always, unless dynamic sampling is on and its rewards do not vary.
    pub fn keeps_group(&self, rewards: &[Option<f32>]) -> bool {
        !self.dynamic_sampling || rewards_vary(rewards)
    }

    /// What to add to the reward of each answer for its length ([`Experience::penalties`]), where at most
    /// `max_new_tokens` may be written. `lengths` are trained tokens; rewards are those before any penalty.
    pub fn length_penalties(
        &self,
        lengths: &[usize],
        rewards: &[Option<f32>],
        groups: &[usize],
        max_new_tokens: usize,
    ) -> Vec<f32> {
        assert!(lengths.len() == rewards.len() && groups.len() == rewards.len(), "a length and a group per reward");
        let limit = |length: usize| self.overlong.map_or(0.0, |overlong| overlong.penalty(length, max_new_tokens));
        let mut penalties: Vec<f64> = lengths.iter().map(|&length| limit(length)).collect();
        if let Some(overlong) = self.group_overlong {
            let above = self.success_above();
            let right: Vec<Option<bool>> =
                rewards.iter().map(|reward| reward.map(|reward| f64::from(reward) > above)).collect();
            for (penalty, more) in penalties.iter_mut().zip(overlong.penalties(lengths, &right, groups)) {
                *penalty += more;
            }
        }
        penalties.into_iter().map(|penalty| penalty as f32).collect()
    }

    /// Above which reward an answer counts as right.
    pub(crate) fn success_above(&self) -> f64 {
        match self.advantage {
            Advantage::EntropyTokens(credit) | Advantage::EntropySequences(credit) => credit.success_above,
            _ => 0.5,
        }
    }

    /// What the micro-batches of one optimiser step share: `mask` holds all its rows (true at trained tokens),
    /// `max_new_tokens` is the longest answer that the stage allows. The log-probabilities are read where
    /// [`Needs::proximal`].
    pub fn prepare(
        &self,
        mask: &Ragged<bool>,
        logp_proximal: Option<&Ragged<f32>>,
        logp_rollout: Option<&Ragged<f32>>,
        max_new_tokens: usize,
    ) -> Prepared {
        let weights = self.off_policy.weighs().then(|| {
            let (Some(proximal), Some(rollout)) = (logp_proximal, logp_rollout) else {
                panic!("a correction needs the log-probabilities of trainer and sampler");
            };
            self.off_policy.weights(mask, proximal, rollout)
        });
        let remaining = self.remaining(mask, weights.as_ref());
        Prepared { normaliser: self.normaliser(&remaining, max_new_tokens), weights }
    }

    /// Divisors of one optimiser step whose trained tokens are those of `mask`.
    pub(crate) fn normaliser(&self, mask: &Ragged<bool>, max_new_tokens: usize) -> Normaliser {
        Normaliser::new(self.aggregate, mask, self.length_constant.unwrap_or(max_new_tokens))
    }

    /// The part that a micro-batch has in the step's loss, its derivatives and metrics.
    ///
    /// # Errors
    /// `Diverged` (`N010`): names the first trained token that has a number that is not finite. Values at masked
    /// positions are never read. Panics when shapes differ, or when something that the objective needs is missing: bugs
    /// of the caller.
    pub fn loss(&self, batch: &LossBatch<'_>, stats: &TokenStats, normaliser: &Normaliser) -> Result<LossOutput> {
        crate::loss::of_batch(self, batch, stats, normaliser)
    }
}
