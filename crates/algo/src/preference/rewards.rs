//! Reward models: the same losses through a reward head.
//!
//! ```text
//! L = mean_i w_i·loss(r_w − r_l − m_i) + c·mean_i (r_w + r_l)²
//! ```
//! The second term (Eisenstein et al. 2023, arXiv 2312.09244) fixes the constant that a comparison cannot see.

use lapidary_core::{Kind, Problem, Ragged, Result, TokenGrads};

use super::coupling::PreferencePrepared;
use super::example::Example;
use super::metrics::PreferenceMetrics;
use super::numbers::Number;
use super::resolve::Preference;
use super::row::Learns;

/// What a reward model's micro-batch answers.
#[derive(Clone, Debug, PartialEq)]
pub struct RewardOutput {
    /// This micro-batch's part of the step's loss; parts add up to the loss of the step.
    pub loss: f64,
    /// Derivative of the step's loss by each row's reward.
    pub by_reward: Vec<f64>,
    /// Sums for reporting.
    pub metrics: PreferenceMetrics,
}

impl RewardOutput {
    /// The derivatives as an engine takes them: `shape` is any ragged of the batch's token rows.
    pub fn grads(&self, shape: &Ragged<f32>) -> TokenGrads {
        assert_eq!(shape.rows(), self.by_reward.len(), "one reward per row");
        let reward = self.by_reward.iter().map(|slope| *slope as f32).collect();
        TokenGrads { logp: shape.like(0.0), reward: Some(reward), ..TokenGrads::default() }
    }
}

impl Preference {
    /// The part that a micro-batch has in the step's loss, and its derivatives: `rewards` are what the head says of each row,
    /// rows of `examples` are places among them, and the first example is the step's number `from`.
    ///
    /// # Errors
    /// `Diverged` (`N010`): a reward is not finite. Panics on bugs of the caller, as [`Preference::loss`].
    pub fn reward_loss(
        &self,
        rewards: &[f32],
        examples: &[Example],
        from: usize,
        prepared: &PreferencePrepared,
    ) -> Result<RewardOutput> {
        assert!(self.target == Learns::Reward, "`{}` was resolved for a policy", self.method.name);
        if let Some(row) = rewards.iter().position(|reward| !reward.is_finite()) {
            return Err(Problem::new(Kind::Diverged, "N010", format!("the reward of row {row} is {}", rewards[row]))
                .why("the weights or the data produced a number that is not finite")
                .hint("lower `learning_rate`, or set `center_rewards = 0.01`"));
        }
        let rewards: Vec<f64> = rewards.iter().map(|reward| f64::from(*reward)).collect();
        Ok(self.loss_of_rewards(&rewards, examples, from, prepared))
    }

    /// As [`Preference::reward_loss`], in `f64`.
    pub(crate) fn loss_of_rewards(
        &self,
        rewards: &[f64],
        examples: &[Example],
        from: usize,
        prepared: &PreferencePrepared,
    ) -> RewardOutput {
        let mut metrics = PreferenceMetrics::default();
        let mut by_reward = vec![0.0; rewards.len()];
        let mut loss = 0.0;
        for (part, shared) in self.parts.iter().zip(&prepared.parts) {
            let (of_part, slopes) = self.part(part, shared, rewards, examples, from, prepared, &mut metrics);
            loss += of_part;
            by_reward.iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += slope);
        }
        let centre = self.common.get(Number::CenterRewards).unwrap_or(0.0);
        for example in examples {
            match example {
                Example::Pair(pair) => {
                    let sum = rewards[pair.chosen] + rewards[pair.rejected];
                    if centre != 0.0 {
                        loss += centre * sum * sum / prepared.pairs;
                        for row in [pair.chosen, pair.rejected] {
                            by_reward[row] += 2.0 * centre * sum / prepared.pairs;
                        }
                    }
                    metrics.see_pair(rewards[pair.chosen], rewards[pair.rejected]);
                    metrics.see_reward(rewards[pair.chosen]);
                    metrics.see_reward(rewards[pair.rejected]);
                }
                Example::Single(single) => {
                    let name = if single.label > 0.5 { "rewards/chosen" } else { "rewards/rejected" };
                    metrics.mean(name, rewards[single.row]);
                    metrics.see_reward(rewards[single.row]);
                }
                Example::Unlabelled(_) => {}
            }
        }
        metrics.finish_loss(loss, prepared, examples.len());
        RewardOutput { loss, by_reward, metrics }
    }
}
