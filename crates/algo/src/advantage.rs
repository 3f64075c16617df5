//! Advantage: how much better than expected a whole answer was.

use std::collections::BTreeMap;

/// Rewards that differ by less than this are the same reward.
///
/// A test on `max − min` rather than on `std == 0`: rewards such as `0.1 + 0.2` and `0.3` leave a standard deviation of
/// rounding noise that a division would blow up to ±1.
const SAME_REWARD: f64 = 1e-8;

/// So are rewards that differ by less than this share of the largest: they are sums in `f32`, whose spacing is half of
/// it.
const SAME_SHARE: f64 = 2.0 * f32::EPSILON as f64;

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
    /// `A_i = r_i − mean of the others in the group = G/(G−1)·(r_i − mean_group(r))` (RLOO, arXiv 2402.14740).
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

/// Whether a group's rewards differ at all: DAPO's dynamic sampling keeps a group iff this holds (arXiv 2503.14476,
/// §3.2).
///
/// Rows without a verdict do not count. Ask before any length penalty is added, or length alone keeps a group.
pub fn rewards_vary(rewards: &[Option<f32>]) -> bool {
    let rewards: Vec<f64> = rewards.iter().flatten().map(|&reward| f64::from(reward)).collect();
    !all_same(&rewards)
}

fn all_same(rewards: &[f64]) -> bool {
    let low = rewards.iter().copied().fold(f64::INFINITY, f64::min);
    let high = rewards.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    rewards.is_empty() || high - low < SAME_REWARD.max(SAME_SHARE * high.abs().max(low.abs()))
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
            zero_variance_groups: several.iter().filter(|group| all_same(group)).count(),
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
        let batch = (mean(&step), all_same(&step));
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
            teaches_nothing: rewards.len() < 2 || all_same(rewards),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, fixtures, floats};

    const ZSCORE: Advantage = Advantage::GroupZscore { ddof: 1, delta: 1e-6 };
    const GROUP: [Advantage; 3] = [Advantage::GroupMean, ZSCORE, Advantage::LeaveOneOut];

    fn of(advantage: Advantage, rewards: &[f64]) -> Vec<f64> {
        let rewards: Vec<Option<f64>> = rewards.iter().copied().map(Some).collect();
        advantage.of_f64(&rewards, &vec![0; rewards.len()]).0
    }

    #[test]
    fn golden_advantages() {
        let table = [
            (Advantage::Raw, "raw", [1.0, 1.0]),
            (Advantage::BatchMean, "batch_mean", [0.5, 0.333333]),
            (ZSCORE, "group_zscore_ddof1", [0.866024, 0.577349]),
            (Advantage::GroupZscore { ddof: 0, delta: 1e-6 }, "group_zscore_ddof0", [0.999998, 0.707105]),
            (Advantage::GroupMean, "group_mean", [0.5, 0.333333]),
            (Advantage::LeaveOneOut, "leave_one_out", [0.666667, 0.5]),
        ];
        for (advantage, key, first) in table {
            for (fixture, first) in fixtures().iter().zip(first) {
                let got = advantage.of_f64(&fixture.rewards, &vec![0; fixture.rewards.len()]).0;
                close(got[0], first, 1e-6, key);
                for (got, expected) in got.iter().zip(floats(&fixture.golden["advantages"][key])) {
                    close(*got, expected, 1e-12, key);
                }
            }
        }
    }

    #[test]
    fn group_ids_say_who_belongs_together_whatever_their_order_and_size() {
        let rewards = [1.0, 5.0, 0.0, 7.0, 9.0].map(Some);
        let got = Advantage::GroupMean.of(&rewards, &[8, 3, 8, 3, 3]);
        assert_eq!(got.per_row, [0.5, -2.0, -0.5, 0.0, 2.0]);
        assert_eq!((got.groups, got.zero_variance_groups, got.single_groups), (2, 0, 0));
        close(got.reward_mean, 4.4, 1e-12, "mean");
        close(got.reward_std, (0.5_f64.sqrt() + 2.0) / 2.0, 1e-12, "standard deviation");
    }

    #[test]
    fn no_verdict_leaves_the_statistics_and_the_batch() {
        for advantage in GROUP {
            let with = advantage.of(&[Some(1.0), None, Some(0.0), Some(0.0)], &[0; 4]);
            let without = advantage.of(&[Some(1.0), Some(0.0), Some(0.0)], &[0; 3]);
            assert_eq!([with.per_row[0], with.per_row[2], with.per_row[3]], without.per_row[..]);
            assert_eq!(with.per_row[1], 0.0);
            assert_eq!(with.rows, [0, 2, 3]);
            assert_eq!(with.reward_mean, without.reward_mean);
            assert_eq!(with.metrics()[3], ("frac_no_verdict", 0.25));
        }
        assert_eq!(Advantage::BatchMean.of(&[Some(1.0), None, Some(0.0)], &[0, 1, 2]).per_row, [0.5, 0.0, -0.5]);
        let none = ZSCORE.of(&[None, None], &[0, 0]);
        assert_eq!((none.groups, none.rows.len(), none.reward_mean), (0, 0, 0.0));
        assert!(none.metrics().iter().all(|(_, value)| value.is_finite()));
    }

    #[test]
    fn equal_rewards_give_exactly_zero() {
        for advantage in [GROUP.as_slice(), &[Advantage::BatchMean]].concat() {
            for same in [[0.0; 3], [1.0; 3], [0.1 + 0.2, 0.3, 0.3]] {
                assert_eq!(of(advantage, &same), [0.0; 3], "{advantage:?} of {same:?}");
            }
            let next = f32::from_bits(0.3_f32.to_bits() + 1);
            assert_eq!(advantage.of(&[Some(0.3), Some(next)], &[0, 0]).per_row, [0.0; 2], "one step of f32 apart");
            assert!(of(advantage, &[0.0, 0.0, 1e-7]).iter().all(|&advantage| advantage != 0.0));
        }
        let counted = ZSCORE.of(&[1.0, 1.0, 0.0, 1.0, 0.5].map(Some), &[0, 0, 1, 1, 2]);
        assert_eq!((counted.groups, counted.zero_variance_groups, counted.single_groups), (3, 1, 1));
        assert_eq!(counted.metrics()[2], ("frac_reward_zero_std", 2.0 / 3.0));
    }

    #[test]
    fn a_group_of_one_says_nothing() {
        for advantage in GROUP {
            assert_eq!(of(advantage, &[5.0]), [0.0]);
            assert_eq!(advantage.of(&[Some(5.0), None], &[0, 0]).per_row, [0.0, 0.0], "one verdict is a group of one");
        }
        assert_eq!(of(Advantage::Raw, &[5.0]), [5.0]);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

        /// Advantages of a group add up to 0, follow their answers, and scale as each estimator says.
        #[test]
        fn properties(
            rewards in proptest::collection::vec(-3.0..3.0_f64, 2..9), scale in 0.1..10.0_f64,
            shift in -5.0..5.0_f64, turn in 0..8_usize,
        ) {
            proptest::prop_assume!(rewards.iter().any(|reward| (reward - rewards[0]).abs() > 0.1));
            let turned = |values: &[f64]| {
                let mut values = values.to_vec();
                let turn = turn % values.len();
                values.rotate_left(turn);
                values
            };
            let moved: Vec<f64> = rewards.iter().map(|reward| scale * reward + shift).collect();
            for advantage in GROUP {
                let got = of(advantage, &rewards);
                close(got.iter().sum(), 0.0, 1e-9, "sum");
                for (got, expected) in of(advantage, &turned(&rewards)).iter().zip(turned(&got)) {
                    close(*got, expected, 1e-9, "permuted");
                }
                let factor = if advantage == ZSCORE { 1.0 } else { scale };
                for (moved, plain) in of(advantage, &moved).iter().zip(&got) {
                    // δ = 1e-6 beside a deviation of at least 0.01 moves a z-score by 1e-4 of itself.
                    close(*moved, factor * plain, 1e-3 * (1.0 + plain.abs()), "scaled");
                }
            }
            let size = rewards.len() as f64;
            for (rloo, centred) in of(Advantage::LeaveOneOut, &rewards).iter().zip(of(Advantage::GroupMean, &rewards)) {
                close(*rloo, centred * size / (size - 1.0), 1e-12, "RLOO is Dr. GRPO times G/(G−1)");
            }
        }
    }
}
