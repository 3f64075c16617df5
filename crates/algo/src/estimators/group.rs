//! Baselines of whole answers: the step's mean, the group's mean and spread, the group's other answers.

use std::collections::BTreeMap;

use super::Advantage;

/// Rewards that differ by less than this are the same reward.
///
/// A test on `max − min` rather than on `std == 0`: rewards such as `0.1 + 0.2` and `0.3` leave a standard deviation of
/// rounding noise that a division would blow up to ±1.
const SAME_REWARD: f64 = 1e-8;

/// So are rewards that differ by less than this share of the largest: they are sums in `f32`, whose spacing is half of
/// it.
const SAME_SHARE: f64 = 2.0 * f32::EPSILON as f64;

/// Whether a group's rewards differ at all: DAPO's dynamic sampling keeps a group iff this holds (arXiv 2503.14476,
/// §3.2).
///
/// Rows without a verdict do not count. Ask before any length penalty is added, or length alone keeps a group.
pub fn rewards_vary(rewards: &[Option<f32>]) -> bool {
    let rewards: Vec<f64> = rewards.iter().flatten().map(|&reward| f64::from(reward)).collect();
    !all_same(&rewards)
}

pub(crate) fn all_same(rewards: &[f64]) -> bool {
    let low = rewards.iter().copied().fold(f64::INFINITY, f64::min);
    let high = rewards.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    rewards.is_empty() || high - low < SAME_REWARD.max(SAME_SHARE * high.abs().max(low.abs()))
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

pub(crate) fn standard_deviation(values: &[f64], ddof: u8) -> f64 {
    let center = mean(values);
    let squares: f64 = values.iter().map(|value| (value - center).powi(2)).sum();
    (squares / (values.len() as f64 - f64::from(ddof))).sqrt()
}

/// Rewards of each group, rows without a verdict left out.
pub(crate) fn members(rewards: &[Option<f64>], groups: &[usize]) -> BTreeMap<usize, Vec<f64>> {
    assert_eq!(rewards.len(), groups.len(), "one group id per reward");
    assert!(rewards.iter().flatten().all(|reward| reward.is_finite()), "a verdict is finite");
    let mut members: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for (reward, group) in rewards.iter().zip(groups) {
        if let Some(reward) = reward {
            members.entry(*group).or_default().push(*reward);
        }
    }
    members
}

/// What the rewards of a set of answers say.
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

    fn deviation(&self, ddof: u8) -> f64 {
        (self.squares / (self.size - f64::from(ddof))).sqrt()
    }
}

/// Advantage of each row; `groups[i]` is any number that names row `i`'s prompt, and groups may differ in size. A row
/// without a reward gets 0.
pub(crate) fn of_rows(advantage: Advantage, rewards: &[Option<f64>], groups: &[usize]) -> Vec<f64> {
    let members = members(rewards, groups);
    let step = Group::of(&rewards.iter().flatten().copied().collect::<Vec<_>>());
    let statistics: BTreeMap<usize, Group> =
        members.iter().map(|(&group, rewards)| (group, Group::of(rewards))).collect();
    let per_row = rewards.iter().zip(groups).map(|(reward, group)| match reward {
        Some(reward) => of_one(advantage, *reward, &statistics[group], &step),
        None => 0.0,
    });
    per_row.collect()
}

fn of_one(advantage: Advantage, reward: f64, group: &Group, step: &Group) -> f64 {
    match advantage {
        Advantage::Raw => reward,
        Advantage::BatchMean if step.teaches_nothing => 0.0,
        Advantage::BatchMean => reward - step.mean,
        _ if group.teaches_nothing => 0.0,
        Advantage::GroupMean | Advantage::WhitenedGroupMean => reward - group.mean,
        Advantage::GroupZscore { ddof, delta } => (reward - group.mean) / (group.deviation(ddof) + delta),
        Advantage::BatchZscore { ddof, delta } => (reward - group.mean) / (step.deviation(ddof) + delta),
        Advantage::LeaveOneOut => (reward - group.mean) * group.size / (group.size - 1.0),
        Advantage::WhitenedReturn { .. }
        | Advantage::Gae { .. }
        | Advantage::EntropyTokens(_)
        | Advantage::EntropySequences(_)
        | Advantage::EntropyShare => unreachable!("{advantage:?} is no baseline of whole answers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, fixtures, floats};
    use crate::{Advantages, Experience, Kl};

    const ZSCORE: Advantage = Advantage::GroupZscore { ddof: 1, delta: 1e-6 };
    const OF_STEP: Advantage = Advantage::BatchZscore { ddof: 1, delta: 1e-6 };
    const GROUP: [Advantage; 4] = [Advantage::GroupMean, ZSCORE, OF_STEP, Advantage::LeaveOneOut];

    fn of(advantage: Advantage, rewards: &[f64]) -> Vec<f64> {
        let rewards: Vec<Option<f64>> = rewards.iter().copied().map(Some).collect();
        of_rows(advantage, &rewards, &vec![0; rewards.len()])
    }

    fn whole(advantage: Advantage, rewards: &[Option<f32>], groups: &[usize]) -> Advantages {
        advantage.of(&Experience::of_rewards(rewards, groups), &Kl::OFF).unwrap()
    }

    fn values(advantage: Advantage, rewards: &[Option<f32>], groups: &[usize]) -> Vec<f32> {
        whole(advantage, rewards, groups).values.flat().to_vec()
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
                let got = of_rows(advantage, &fixture.rewards, &vec![0; fixture.rewards.len()]);
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
        let got = whole(Advantage::GroupMean, &rewards, &[8, 3, 8, 3, 3]);
        assert_eq!(got.values.flat(), [0.5, -2.0, -0.5, 0.0, 2.0]);
        assert_eq!((got.groups, got.zero_variance_groups, got.single_groups), (2, 0, 0));
        close(got.reward_mean, 4.4, 1e-12, "mean");
        close(got.reward_std, (0.5_f64.sqrt() + 2.0) / 2.0, 1e-12, "standard deviation");
    }

    /// slime switches to the whole batch where groups differ in size; verl gives a group of one its reward as advantage.
    /// Here each group is its own, whatever its size, and a group of one says nothing.
    #[test]
    fn groups_of_unequal_size_are_normalised_each_by_itself() {
        let rewards = [1.0, 0.0, 5.0, 5.0, 2.0, 7.0].map(Some);
        let got = values(ZSCORE, &rewards, &[0, 0, 1, 1, 1, 2]);
        let pair = values(ZSCORE, &rewards[..2], &[0, 0]);
        let three = values(ZSCORE, &rewards[2..5], &[1, 1, 1]);
        assert_eq!(got, [pair[0], pair[1], three[0], three[1], three[2], 0.0]);
    }

    /// TRL's `scale_rewards = "batch"`: the group's mean, the step's spread (of 1, 0, 2, 0: 0.957427).
    #[test]
    fn the_steps_spread_by_hand() {
        let got = values(OF_STEP, &[1.0, 0.0, 2.0, 0.0].map(Some), &[0, 0, 1, 1]);
        for (got, expected) in got.iter().zip([0.5, -0.5, 1.0, -1.0]) {
            close(f64::from(*got), expected / (11.0_f64 / 12.0).sqrt(), 1e-5, "over the step's spread");
        }
    }

    #[test]
    fn no_verdict_leaves_the_statistics_and_the_batch() {
        for advantage in GROUP {
            let with = whole(advantage, &[Some(1.0), None, Some(0.0), Some(0.0)], &[0; 4]);
            let without = whole(advantage, &[Some(1.0), Some(0.0), Some(0.0)], &[0; 3]);
            let all = with.values.flat();
            assert_eq!([all[0], all[2], all[3]], without.values.flat()[..]);
            assert_eq!(all[1], 0.0);
            assert_eq!(with.rows, [0, 2, 3]);
            assert_eq!(with.reward_mean, without.reward_mean);
            assert_eq!(with.metrics()[3], ("frac_no_verdict", 0.25));
        }
        assert_eq!(values(Advantage::BatchMean, &[Some(1.0), None, Some(0.0)], &[0, 1, 2]), [0.5, 0.0, -0.5]);
        let none = whole(ZSCORE, &[None, None], &[0, 0]);
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
            assert_eq!(values(advantage, &[Some(0.3), Some(next)], &[0, 0]), [0.0; 2], "one step of f32 apart");
            assert!(of(advantage, &[0.0, 0.0, 1e-7]).iter().all(|&advantage| advantage != 0.0));
        }
        let counted = whole(ZSCORE, &[1.0, 1.0, 0.0, 1.0, 0.5].map(Some), &[0, 0, 1, 1, 2]);
        assert_eq!((counted.groups, counted.zero_variance_groups, counted.single_groups), (3, 1, 1));
        assert_eq!(counted.metrics()[2], ("frac_reward_zero_std", 2.0 / 3.0));
    }

    #[test]
    fn a_group_of_one_says_nothing() {
        for advantage in GROUP {
            assert_eq!(of(advantage, &[5.0]), [0.0]);
            assert_eq!(values(advantage, &[Some(5.0), None], &[0, 0]), [0.0, 0.0], "one verdict is a group of one");
        }
        assert_eq!(of(Advantage::Raw, &[5.0]), [5.0]);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

        /// §2.13 (c), (d), (e), (n): advantages of a group add up to 0, follow their answers, and scale as each estimator says.
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
                let factor = if advantage == ZSCORE || advantage == OF_STEP { 1.0 } else { scale };
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
