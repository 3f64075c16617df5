//! Advantage: how much better than expected a whole answer was.

use std::collections::BTreeMap;

/// Rewards of a group that differ by less than this are the same reward.
///
/// A test on `max − min` rather than on `std == 0`: rewards such as `0.1 + 0.2` and `0.3` leave a standard deviation of
/// rounding noise that a division would blow up to ±1.
const SAME_REWARD: f64 = 1e-8;

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
    /// `A_i = r_i − mean of the others in the group = G/(G−1)·(r_i − mean_group(r))` (RLOO, arXiv 2402.14740, eq. 8).
    LeaveOneOut,
}

/// Advantages of the rows of a step, and what the rewards looked like.
#[derive(Clone, Debug, PartialEq)]
pub struct Advantages {
    /// One per row, in the order of the rewards; 0 for a row without a verdict.
    pub per_row: Vec<f32>,
    /// The rows that have a verdict, ascending: only these belong in the optimiser batch.
    pub rows: Vec<usize>,
    /// Groups with at least one verdict.
    pub groups: usize,
    /// Of those, groups of at least two verdicts whose rewards are all the same.
    pub zero_variance_groups: usize,
    /// Of those, groups with a single verdict: a group baseline says nothing about them.
    pub single_groups: usize,
    /// Mean reward of the rows with a verdict; 0 where there is none.
    pub reward_mean: f64,
    /// Mean over groups of at least two verdicts of the unbiased standard deviation of the group's rewards.
    pub reward_std: f64,
}

impl Advantages {
    /// The same facts as named metrics: `reward`, `reward_std`, `frac_reward_zero_std`, `frac_no_verdict`.
    ///
    /// `frac_reward_zero_std` counts groups that teach a group method nothing: those of one verdict too.
    pub fn metrics(&self) -> Vec<(&'static str, f64)> {
        let share = |part: usize, whole: usize| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let silent = self.per_row.len() - self.rows.len();
        vec![
            ("reward", self.reward_mean),
            ("reward_std", self.reward_std),
            ("frac_reward_zero_std", share(self.zero_variance_groups + self.single_groups, self.groups)),
            ("frac_no_verdict", share(silent, self.per_row.len())),
        ]
    }
}

/// Whether a group's rewards differ at all: DAPO's dynamic sampling keeps a group iff this holds (arXiv 2503.14476, §3.2).
///
/// Rows without a verdict do not count. Ask before any length penalty is added, or length alone keeps a group.
pub fn rewards_vary(rewards: &[Option<f32>]) -> bool {
    spread(rewards.iter().flatten().map(|&reward| f64::from(reward))) >= SAME_REWARD
}

fn spread(rewards: impl Iterator<Item = f64>) -> f64 {
    let (low, high) =
        rewards.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), reward| (low.min(reward), high.max(reward)));
    if low > high { 0.0 } else { high - low }
}

fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

fn standard_deviation(values: &[f64], ddof: u8) -> f64 {
    let center = mean(values);
    let squares: f64 = values.iter().map(|value| (value - center).powi(2)).sum();
    (squares / (values.len() as f64 - f64::from(ddof))).sqrt()
}

impl Advantage {
    /// Whether the baseline of a row comes from its group, so that a group of one teaches nothing.
    pub fn needs_group(&self) -> bool {
        !matches!(self, Advantage::Raw | Advantage::BatchMean)
    }

    /// Advantages of rows; `groups[i]` is any number that names row `i`'s prompt. Groups may differ in size.
    ///
    /// A reward of `None` is no verdict: the row is left out of every statistic and gets 0.
    /// Panics when lengths differ or a reward is not finite: a verdict is finite by construction.
    pub fn of(&self, rewards: &[Option<f32>], groups: &[usize]) -> Advantages {
        let wide: Vec<Option<f64>> = rewards.iter().map(|reward| reward.map(f64::from)).collect();
        let (per_row, members) = self.of_f64(&wide, groups);
        let rows: Vec<usize> = (0..wide.len()).filter(|&row| wide[row].is_some()).collect();
        let scored: Vec<f64> = wide.iter().flatten().copied().collect();
        let several: Vec<&Vec<f64>> = members.values().filter(|group| group.len() > 1).collect();
        let deviations: Vec<f64> = several.iter().map(|group| standard_deviation(group, 1)).collect();
        Advantages {
            per_row: per_row.iter().map(|&advantage| advantage as f32).collect(),
            rows,
            groups: members.len(),
            zero_variance_groups: several.iter().filter(|group| spread(group.iter().copied()) < SAME_REWARD).count(),
            single_groups: members.len() - several.len(),
            reward_mean: mean(&scored),
            reward_std: mean(&deviations),
        }
    }

    /// The same in `f64`, with each group's rewards.
    pub(crate) fn of_f64(&self, rewards: &[Option<f64>], groups: &[usize]) -> (Vec<f64>, BTreeMap<usize, Vec<f64>>) {
        assert_eq!(rewards.len(), groups.len(), "one group id per reward");
        assert!(rewards.iter().flatten().all(|reward| reward.is_finite()), "a verdict is finite");
        let mut members: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for (reward, group) in rewards.iter().zip(groups) {
            if let Some(reward) = reward {
                members.entry(*group).or_default().push(*reward);
            }
        }
        let step: Vec<f64> = rewards.iter().flatten().copied().collect();
        let batch = (mean(&step), spread(step.iter().copied()) < SAME_REWARD);
        let statistics: BTreeMap<usize, Group> =
            members.iter().map(|(&group, rewards)| (group, Group::of(rewards))).collect();
        let per_row = rewards.iter().zip(groups).map(|(reward, group)| match reward {
            Some(reward) => self.of_one(*reward, &statistics[group], batch),
            None => 0.0,
        });
        (per_row.collect(), members)
    }

    fn of_one(&self, reward: f64, group: &Group, (batch_mean, batch_same): (f64, bool)) -> f64 {
        match *self {
            Advantage::Raw => reward,
            Advantage::BatchMean if batch_same => 0.0,
            Advantage::BatchMean => reward - batch_mean,
            _ if group.teaches_nothing => 0.0,
            Advantage::GroupMean => reward - group.mean,
            Advantage::GroupZscore { ddof, delta } => {
                let variance = group.squares / (group.size - f64::from(ddof));
                (reward - group.mean) / (variance.sqrt() + delta)
            }
            Advantage::LeaveOneOut => (reward - group.mean) * group.size / (group.size - 1.0),
        }
    }
}

/// What a group's rewards say: computed once per group.
struct Group {
    size: f64,
    mean: f64,
    squares: f64,
    teaches_nothing: bool,
}

impl Group {
    fn of(rewards: &[f64]) -> Self {
        let center = mean(rewards);
        Self {
            size: rewards.len() as f64,
            mean: center,
            squares: rewards.iter().map(|reward| (reward - center).powi(2)).sum(),
            teaches_nothing: rewards.len() < 2 || spread(rewards.iter().copied()) < SAME_REWARD,
        }
    }
}
