//! Experience: everything known about the answers of a step before it is learned from.

use lapidary_core::{Ragged, Result};

use super::group;
use crate::kl::Kl;

/// What was sampled in a step. One row per answer; every ragged is shaped as the token rows.
#[derive(Clone, Copy, Debug)]
pub struct Experience<'a> {
    /// `[rows]` rewards before any length penalty; `None` is no verdict: the row is left out of every statistic.
    pub rewards: &'a [Option<f32>],
    /// `[rows]` what is added for length ([`crate::Objective::length_penalties`]); empty is nothing.
    pub penalties: &'a [f32],
    /// `[rows]` any number that names the row's prompt. Groups may differ in size.
    pub groups: &'a [usize],
    /// True at the tokens that are trained. Needed by token estimators and by a KL in the reward.
    pub mask: Option<&'a Ragged<bool>>,
    /// Log-probabilities by the weights that sampled. Needed for a KL in the reward.
    pub logp: Option<&'a Ragged<f32>>,
    /// Log-probabilities by the reference. Needed for a KL in the reward.
    pub logp_reference: Option<&'a Ragged<f32>>,
    /// Entropies by the weights that sampled. Needed where [`crate::Needs::entropy`].
    pub entropy: Option<&'a Ragged<f32>>,
    /// Values by the weights that sampled. Needed where [`crate::Needs::value`].
    pub value: Option<&'a Ragged<f32>>,
}

impl<'a> Experience<'a> {
    /// Rewards and groups alone, which is all that a baseline of whole answers needs.
    pub fn of_rewards(rewards: &'a [Option<f32>], groups: &'a [usize]) -> Self {
        Self {
            rewards,
            penalties: &[],
            groups,
            mask: None,
            logp: None,
            logp_reference: None,
            entropy: None,
            value: None,
        }
    }
}

/// Advantages of rows or of their tokens.
#[derive(Clone, Debug, PartialEq)]
pub enum TokenAdvantages {
    /// `[rows]` one for all tokens of a row.
    PerRow(Vec<f32>),
    /// Shaped as the token rows; 0 at tokens that are not trained.
    PerToken(Ragged<f32>),
}

/// The advantage of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RowAdvantage<'a> {
    /// The same for all its tokens.
    All(f32),
    /// One per token of the row.
    Each(&'a [f32]),
}

impl RowAdvantage<'_> {
    /// The advantage of token `token`.
    pub fn at(&self, token: usize) -> f32 {
        match self {
            RowAdvantage::All(advantage) => *advantage,
            RowAdvantage::Each(advantages) => advantages[token],
        }
    }
}

impl Default for TokenAdvantages {
    fn default() -> Self {
        TokenAdvantages::PerRow(Vec::new())
    }
}

impl TokenAdvantages {
    /// How many rows.
    pub fn rows(&self) -> usize {
        match self {
            TokenAdvantages::PerRow(rows) => rows.len(),
            TokenAdvantages::PerToken(rows) => rows.rows(),
        }
    }

    /// Row `row`.
    pub fn row(&self, row: usize) -> RowAdvantage<'_> {
        match self {
            TokenAdvantages::PerRow(rows) => RowAdvantage::All(rows[row]),
            TokenAdvantages::PerToken(rows) => RowAdvantage::Each(rows.row(row)),
        }
    }

    /// The given rows, in the given order.
    pub fn select(&self, rows: impl IntoIterator<Item = usize>) -> Self {
        match self {
            TokenAdvantages::PerRow(all) => TokenAdvantages::PerRow(rows.into_iter().map(|row| all[row]).collect()),
            TokenAdvantages::PerToken(all) => TokenAdvantages::PerToken(all.select(rows)),
        }
    }

    /// All numbers, row after row.
    pub fn flat(&self) -> &[f32] {
        match self {
            TokenAdvantages::PerRow(rows) => rows,
            TokenAdvantages::PerToken(rows) => rows.flat(),
        }
    }
}

/// Advantages of a step, and what the rewards looked like.
#[derive(Clone, Debug, PartialEq)]
pub struct Advantages {
    /// One per row or per token, in the order of the rows; 0 for a row without a verdict.
    pub values: TokenAdvantages,
    /// What the value head is to say at each trained token, shaped as the token rows; with a critic only.
    pub returns: Option<Ragged<f32>>,
    /// The rows that have a verdict, ascending: only these belong in the optimiser batch.
    pub rows: Vec<usize>,
    /// Groups with at least one verdict.
    pub groups: usize,
    /// Of those, groups of at least two verdicts whose rewards are all the same.
    pub zero_variance_groups: usize,
    /// Of those, groups with a single verdict: a group baseline says nothing about them.
    pub single_groups: usize,
    /// Mean reward of the rows with a verdict, penalties included; 0 where there is none.
    pub reward_mean: f64,
    /// Mean over groups of at least two verdicts of the unbiased standard deviation of the group's rewards.
    pub reward_std: f64,
    /// Mean over trained tokens of the KL estimate, where it is part of the reward.
    pub kl: Option<f64>,
    /// What the estimator reports of itself.
    pub(crate) extra: Vec<(&'static str, f64)>,
    /// `[rows]` mean advantage over the trained tokens.
    means: Vec<f32>,
}

impl Advantages {
    /// The advantage of a row in one number: the mean over its trained tokens.
    pub fn mean_of(&self, row: usize) -> f32 {
        self.means[row]
    }

    /// Named metrics: `reward`, `reward_std`, `frac_reward_zero_std`, `frac_no_verdict`, and what the estimator adds.
    ///
    /// `frac_reward_zero_std` counts groups that teach a group method nothing: those of one verdict too.
    pub fn metrics(&self) -> Vec<(&'static str, f64)> {
        let share = |part: usize, whole: usize| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let silent = self.means.len() - self.rows.len();
        let mut metrics = vec![
            ("reward", self.reward_mean),
            ("reward_std", self.reward_std),
            ("frac_reward_zero_std", share(self.zero_variance_groups + self.single_groups, self.groups)),
            ("frac_no_verdict", share(silent, self.means.len())),
        ];
        metrics.extend(self.extra.iter().copied());
        metrics
    }
}

/// The trained tokens of a row, widened; empty for a row without a verdict.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenRow {
    /// Their indices in the row, ascending.
    pub places: Vec<usize>,
    /// `β·k` at each of them; empty without a KL in the reward.
    pub kl_penalty: Vec<f64>,
    /// Empty where not needed.
    pub entropy: Vec<f64>,
    /// Empty where not needed.
    pub value: Vec<f64>,
}

/// An experience in `f64`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    /// Before penalties.
    pub verdicts: Vec<Option<f64>>,
    /// With penalties.
    pub rewards: Vec<Option<f64>>,
    pub groups: Vec<usize>,
    /// One per row, or none where no mask was given.
    pub tokens: Vec<TokenRow>,
}

/// What an estimator answers.
pub(crate) struct Estimate {
    pub values: Values,
    pub returns: Option<Vec<Vec<f64>>>,
    pub metrics: Vec<(&'static str, f64)>,
}

/// One advantage per row, or one per trained token of each row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Values {
    Rows(Vec<f64>),
    Tokens(Vec<Vec<f64>>),
}

impl Estimate {
    pub(crate) fn rows(values: Vec<f64>) -> Self {
        Self { values: Values::Rows(values), returns: None, metrics: Vec::new() }
    }

    pub(crate) fn tokens(values: Vec<Vec<f64>>) -> Self {
        Self { values: Values::Tokens(values), returns: None, metrics: Vec::new() }
    }

    #[cfg(test)]
    pub(crate) fn row(&self, row: usize, length: usize) -> Vec<f64> {
        match &self.values {
            Values::Rows(rows) => vec![rows[row]; length],
            Values::Tokens(rows) => rows[row].clone(),
        }
    }
}

impl Rows {
    /// Widens an experience; the first number that is not finite is an error.
    fn of(experience: &Experience<'_>, kl: &Kl, needs_entropy: bool, needs_value: bool) -> Result<Self> {
        let rows = experience.rewards.len();
        assert_eq!(experience.groups.len(), rows, "one group id per reward");
        assert!(experience.penalties.is_empty() || experience.penalties.len() == rows, "one penalty per reward");
        let verdicts: Vec<Option<f64>> = experience.rewards.iter().map(|reward| reward.map(f64::from)).collect();
        let penalty = |row: usize| experience.penalties.get(row).copied().map_or(0.0, f64::from);
        let rewards: Vec<Option<f64>> =
            verdicts.iter().enumerate().map(|(row, verdict)| verdict.map(|reward| reward + penalty(row))).collect();
        assert!(rewards.iter().flatten().all(|reward| reward.is_finite()), "a verdict is finite");
        let mut tokens = Vec::new();
        if let Some(mask) = experience.mask {
            assert_eq!(mask.rows(), rows, "one row of tokens per reward");
            for (row, verdict) in verdicts.iter().enumerate() {
                tokens.push(match verdict {
                    Some(_) => token_row(experience, mask, row, kl, (needs_entropy, needs_value))?,
                    None => TokenRow::default(),
                });
            }
        }
        Ok(Self { verdicts, rewards, groups: experience.groups.to_vec(), tokens })
    }

    /// Rewards of whole answers: less the sum of the KL over their tokens where it is part of the reward.
    pub(crate) fn rewards_less_kl(&self) -> Vec<Option<f64>> {
        let penalty = |row: usize| self.tokens.get(row).map_or(0.0, |tokens| tokens.kl_penalty.iter().sum());
        self.rewards.iter().enumerate().map(|(row, reward)| reward.map(|reward| reward - penalty(row))).collect()
    }

    /// Rewards of a row's trained tokens: the reward at the last of them, less the KL at each.
    pub(crate) fn token_rewards(&self, row: usize) -> Vec<f64> {
        let tokens = &self.tokens[row];
        let mut rewards = vec![0.0; tokens.places.len()];
        for (reward, penalty) in rewards.iter_mut().zip(&tokens.kl_penalty) {
            *reward -= penalty;
        }
        if let (Some(last), Some(reward)) = (rewards.last_mut(), self.rewards[row]) {
            *last += reward;
        }
        rewards
    }
}

fn token_row(
    experience: &Experience<'_>,
    mask: &Ragged<bool>,
    row: usize,
    kl: &Kl,
    (needs_entropy, needs_value): (bool, bool),
) -> Result<TokenRow> {
    let places: Vec<usize> = (0..mask.len_of(row)).filter(|&token| mask.row(row)[token]).collect();
    let take = |what: &str, from: Option<&Ragged<f32>>| -> Result<Vec<f64>> {
        let Some(from) = from else { panic!("the method needs the {what} of every token") };
        assert!(from.same_shape(mask), "{what} and mask differ in shape");
        let values = from.row(row);
        places.iter().map(|&token| crate::loss::finite(what, f64::from(values[token]), row, token)).collect()
    };
    let mut out = TokenRow { places: places.clone(), ..TokenRow::default() };
    if kl.in_reward() != 0.0 {
        let logp = take("log-probability", experience.logp)?;
        let reference = take("reference log-probability", experience.logp_reference)?;
        let penalty = |(logp, reference): (&f64, &f64)| kl.in_reward() * kl.estimator.at(*logp, *reference).0;
        out.kl_penalty = logp.iter().zip(&reference).map(penalty).collect();
    }
    if needs_entropy {
        out.entropy = take("entropy", experience.entropy)?;
    }
    if needs_value {
        out.value = take("value", experience.value)?;
    }
    Ok(out)
}

impl super::Advantage {
    /// Advantages of the rows of a step, with the KL of `kl` taken off the rewards where it says so.
    ///
    /// # Errors
    /// `Diverged` (`N010`): a trained token has a number that is not finite.
    /// Panics where something that the estimator needs is missing or has another shape: a bug of the caller.
    pub fn of(&self, experience: &Experience<'_>, kl: &Kl) -> Result<Advantages> {
        let needs_tokens = self.needs_tokens() || kl.in_reward() != 0.0;
        assert!(experience.mask.is_some() || !needs_tokens, "the method needs to know the trained tokens");
        let rows = Rows::of(experience, kl, self.needs_entropy(), self.needs_value())?;
        let estimate = self.estimate(&rows);
        let mut advantages = summary(&rows);
        let spread = |from: &[Vec<f64>]| -> Ragged<f32> {
            let Some(mask) = experience.mask else { unreachable!("asserted above") };
            let mut out = mask.like(0.0_f32);
            for (row, values) in from.iter().enumerate() {
                for (&place, &value) in rows.tokens[row].places.iter().zip(values) {
                    out.row_mut(row)[place] = value as f32;
                }
            }
            out
        };
        match &estimate.values {
            Values::Rows(values) => {
                advantages.means = values.iter().map(|&value| value as f32).collect();
                advantages.values = TokenAdvantages::PerRow(advantages.means.clone());
            }
            Values::Tokens(values) => {
                advantages.means = values.iter().map(|values| group::mean(values) as f32).collect();
                advantages.values = TokenAdvantages::PerToken(spread(values));
            }
        }
        advantages.returns = estimate.returns.as_deref().map(spread);
        if kl.in_reward() != 0.0 {
            let sums = rows.tokens.iter().map(|row| row.kl_penalty.iter().sum::<f64>());
            let tokens: usize = rows.tokens.iter().map(|row| row.places.len()).sum();
            let total: f64 = sums.sum();
            advantages.kl = Some(total / kl.in_reward() / tokens.max(1) as f64);
            advantages.extra.push(("kl_penalty", total / advantages.rows.len().max(1) as f64));
        }
        advantages.extra.extend(estimate.metrics);
        Ok(advantages)
    }
}

/// What the rewards look like.
fn summary(rows: &Rows) -> Advantages {
    let members = group::members(&rows.rewards, &rows.groups);
    let several: Vec<&Vec<f64>> = members.values().filter(|group| group.len() > 1).collect();
    let deviations: Vec<f64> = several.iter().map(|group| group::standard_deviation(group, 1)).collect();
    let scored: Vec<f64> = rows.rewards.iter().flatten().copied().collect();
    Advantages {
        values: TokenAdvantages::default(),
        returns: None,
        rows: (0..rows.rewards.len()).filter(|&row| rows.rewards[row].is_some()).collect(),
        groups: members.len(),
        zero_variance_groups: several.iter().filter(|group| group::all_same(group)).count(),
        single_groups: members.len() - several.len(),
        reward_mean: group::mean(&scored),
        reward_std: group::mean(&deviations),
        kl: None,
        extra: Vec::new(),
        means: Vec::new(),
    }
}
