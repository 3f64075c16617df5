//! Estimators: how much better than expected an answer, or a token of it, was.

mod entropy;
mod experience;
mod gae;
pub(crate) mod group;
mod returns;

pub use entropy::{EntropyCredit, EntropyMean, EntropyPosition, Normalise, Scope};
pub use experience::{Advantages, Experience, RowAdvantage, TokenAdvantages};
pub use group::rewards_vary;

pub(crate) use experience::{Estimate, Rows};
#[cfg(test)]
pub(crate) use experience::{TokenRow, Values};

/// How rewards become advantages. `r` are the rewards of the rows that have a verdict; a group is one prompt's answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Advantage {
    /// `A_i = r_i`: plain REINFORCE without a baseline (Williams 1992).
    Raw,
    /// `A_i = r_i − mean(r of the step)`: one baseline for all prompts, computed from this step alone.
    BatchMean,
    /// `A_i = r_i − mean_group(r)` (Dr. GRPO, arXiv 2503.20783).
    GroupMean,
    /// `A_i = (r_i − mean_group(r)) / (std_group(r) + delta)` (GRPO, arXiv 2402.03300, §4.1.2).
    GroupZscore {
        /// Degrees of freedom taken off the divisor of the variance: 1 is the unbiased estimate, 0 the population's.
        ddof: u8,
        /// Added to the standard deviation.
        delta: f64,
    },
    /// `A_i = (r_i − mean_group(r)) / (std_step(r) + delta)`: TRL's `scale_rewards = "batch"` (arXiv 2508.08221).
    BatchZscore {
        /// As for the group's.
        ddof: u8,
        /// Added to the standard deviation.
        delta: f64,
    },
    /// `A_i = r_i − mean of the others in the group = G/(G−1)·(r_i − mean_group(r))` (RLOO, arXiv 2402.14740).
    LeaveOneOut,
    /// Discounted sum of the token rewards that follow, whitened over all trained tokens of the step (REINFORCE++,
    /// arXiv 2501.03262).
    WhitenedReturn {
        /// Discount per token, in `(0, 1]`.
        gamma: f64,
    },
    /// `r_i − mean_group(r)`, whitened over all trained tokens of the step (REINFORCE++-baseline, arXiv 2501.03262).
    WhitenedGroupMean,
    /// Generalised advantage estimation with a value head (Schulman et al. 2016, arXiv 1506.02438), whitened over all
    /// trained tokens of the step.
    Gae {
        /// Discount per token, in `(0, 1]`.
        gamma: f64,
        /// `λ`: 0 trusts the value head, 1 the rewards.
        lambda: f64,
        /// Whether advantages are whitened.
        whiten: bool,
        /// Whether token rewards are divided by their spread over the step first; their mean stays (TRL's PPO).
        whiten_rewards: bool,
    },
    /// Entropy-weighted credit per token (GTPO, arXiv 2508.04349, eq. 3–6).
    EntropyTokens(EntropyCredit),
    /// Entropy-weighted credit per answer (GRPO-S, arXiv 2508.04349, eq. 8–9).
    EntropySequences(EntropyCredit),
    /// `A_it = r_i · H_it / Σ_t' H_it'`: the reward shared out along the answer by entropy.
    EntropyShare,
}

impl Advantage {
    /// Whether the baseline of a row comes from its group, so that a group of one teaches nothing.
    pub fn needs_group(&self) -> bool {
        match self {
            Advantage::Raw
            | Advantage::BatchMean
            | Advantage::WhitenedReturn { .. }
            | Advantage::Gae { .. }
            | Advantage::EntropyShare => false,
            Advantage::GroupMean
            | Advantage::GroupZscore { .. }
            | Advantage::BatchZscore { .. }
            | Advantage::LeaveOneOut
            | Advantage::WhitenedGroupMean
            | Advantage::EntropyTokens(_)
            | Advantage::EntropySequences(_) => true,
        }
    }

    /// Whether the entropies of the policy that sampled are needed.
    pub fn needs_entropy(&self) -> bool {
        matches!(self, Advantage::EntropyTokens(_) | Advantage::EntropySequences(_) | Advantage::EntropyShare)
    }

    /// Whether a value head is needed.
    pub fn needs_value(&self) -> bool {
        matches!(self, Advantage::Gae { .. })
    }

    /// Whether the trained tokens of every row must be known.
    pub fn needs_tokens(&self) -> bool {
        self.needs_entropy()
            || matches!(self, Advantage::WhitenedReturn { .. } | Advantage::WhitenedGroupMean | Advantage::Gae { .. })
    }

    pub(crate) fn estimate(&self, rows: &Rows) -> Estimate {
        match *self {
            Advantage::WhitenedReturn { gamma } => Estimate::tokens(returns::whitened(rows, gamma)),
            Advantage::WhitenedGroupMean => Estimate::tokens(returns::whitened_group_mean(rows)),
            Advantage::Gae { gamma, lambda, whiten, whiten_rewards } => {
                gae::estimate(rows, (gamma, lambda), whiten, whiten_rewards)
            }
            Advantage::EntropyTokens(credit) => entropy::of_tokens(rows, &credit),
            Advantage::EntropySequences(credit) => entropy::of_sequences(rows, &credit),
            Advantage::EntropyShare => Estimate::tokens(entropy::shares(rows)),
            _ => Estimate::rows(group::of_rows(*self, &rows.rewards_less_kl(), &rows.groups)),
        }
    }
}
