//! Credit by entropy: tokens (or answers) at which the policy was unsure get more of it.
//!
//! With `O⁺` the successes and `O⁻` the failures of a group, `H` the entropies of the policy that sampled, and `d_t`
//! (`h_t`) how many successes (failures) reach position `t`:
//! ```text
//! r̃⁺_it = α₁·r_i + α₂ · H_it / Σ_{k∈O⁺} H_kt · d_t              (eq. 3; 0 on O⁻)
//! r̃⁻_jt = −α₁    − α₂ · (1/H_jt) / Σ_{k∈O⁻} (1/H_kt) · h_t       (eq. 5; 0 on O⁺)
//! ```
//! GTPO and GRPO-S of arXiv 2508.04349, §2 (not the GTPO of arXiv 2508.03772); the geometric forms are its appendix C. A sum runs over the
//! answers of a column, not along an answer. No gradient flows through `H` (remark 2.5).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Estimate, Rows, group};

/// Over what shaped rewards are standardised (the paper's `R̃⁺` and `R̃⁻`, eq. 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Normalise {
    /// `R̃⁺` holds all tokens, with the zeros that eq. 3 gives to failures (and `R̃⁻` those of eq. 5): successes end up
    /// above 0, failures below.
    ZeroFilled,
    /// `R̃⁺` holds the tokens of successes only. The outcome cancels: half of the right tokens are pushed down.
    Subset,
    /// One mean and one deviation for `r̃⁺ + r̃⁻`.
    Joint,
}

/// Whose shaped rewards are standardised together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// A prompt's answers.
    Group,
    /// All answers of the step; there is no baseline per prompt then.
    Batch,
}

/// The mean that an entropy is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntropyMean {
    /// As in the paper's §2.
    Arithmetic,
    /// As in its appendix C: one large entropy does not take the whole column.
    Geometric,
}

/// How tokens of different answers are lined up in columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntropyPosition {
    /// By their place in the answer, an environment's words counted (the paper).
    Response,
    /// By their place among the trained tokens of the answer: for agents.
    Trained,
}

/// Numbers of GTPO and GRPO-S.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EntropyCredit {
    /// `α₁` (`β₁`): weight of the outcome.
    pub outcome_weight: f64,
    /// `α₂` (`β₂`): weight of the entropy's share.
    pub entropy_weight: f64,
    /// Over what shaped rewards are standardised.
    pub normalise: Normalise,
    /// Whose are standardised together.
    pub scope: Scope,
    /// The mean that an entropy is compared with.
    pub mean: EntropyMean,
    /// `ε_H`: entropies below it count as it wherever they are divided by or multiplied.
    pub floor: f64,
    /// Entropies are held within these bounds first; `None` leaves them.
    pub clamp: Option<(f64, f64)>,
    /// How columns are made.
    pub position: EntropyPosition,
    /// An answer succeeds iff its reward, before penalties, is above this.
    pub success_above: f64,
    /// Whether a group whose answers all succeed or all fail gets 0: otherwise differences of entropy alone become ±1.
    pub skip_one_sided: bool,
    /// Degrees of freedom taken off the divisor of the variance.
    pub ddof: u8,
    /// Added to the standard deviation.
    pub delta: f64,
}

impl EntropyCredit {
    /// The paper's numbers (§3.1); where it is silent: [`Normalise::ZeroFilled`], the population's deviation.
    pub const PAPER: EntropyCredit = EntropyCredit {
        outcome_weight: 1.0,
        entropy_weight: 0.1,
        normalise: Normalise::ZeroFilled,
        scope: Scope::Group,
        mean: EntropyMean::Arithmetic,
        floor: 1e-6,
        clamp: None,
        position: EntropyPosition::Response,
        success_above: 0.5,
        skip_one_sided: true,
        ddof: 0,
        delta: 1e-8,
    };
}

/// `A_it = r_i · H_it / Σ_t' H_it'`; where all entropies of an answer are 0 its tokens share equally.
pub(super) fn shares(rows: &Rows) -> Vec<Vec<f64>> {
    let of_row = |(row, reward): (&super::experience::TokenRow, &Option<f64>)| {
        let entropy: Vec<f64> = row.entropy.iter().map(|entropy| entropy.max(0.0)).collect();
        let sum: f64 = entropy.iter().sum();
        let share = |entropy: &f64| if sum > 0.0 { entropy / sum } else { 1.0 / row.entropy.len() as f64 };
        entropy.iter().map(|entropy| reward.unwrap_or(0.0) * share(entropy)).collect()
    };
    rows.tokens.iter().zip(&rows.rewards_less_kl()).map(of_row).collect()
}

/// GTPO.
pub(super) fn of_tokens(rows: &Rows, credit: &EntropyCredit) -> Estimate {
    let mut cells = Vec::new();
    for (side, row) in credit.members(rows) {
        let tokens = &rows.tokens[row];
        let first = tokens.places.first().copied().unwrap_or(0);
        for (token, &place) in tokens.places.iter().enumerate() {
            let column = match credit.position {
                EntropyPosition::Response => place - first,
                EntropyPosition::Trained => token,
            };
            cells.push(Cell { row, column, side, entropy: credit.held(tokens.entropy[token]), shaped: 0.0 });
        }
    }
    credit.shape(rows, &mut cells);
    let advantages = credit.standardise(rows, &cells);
    let mut values: Vec<Vec<f64>> = rows.tokens.iter().map(|tokens| Vec::with_capacity(tokens.places.len())).collect();
    for (cell, advantage) in cells.iter().zip(&advantages) {
        values[cell.row].push(*advantage);
    }
    for (values, tokens) in values.iter_mut().zip(&rows.tokens) {
        values.resize(tokens.places.len(), 0.0); // rows of skipped groups
    }
    Estimate { metrics: credit.metrics(rows, &cells, &advantages), ..Estimate::tokens(values) }
}

/// GRPO-S: a cell is an answer with its mean entropy, and its group is one column. An answer without a trained token
/// stays in the baseline, without a bonus.
pub(super) fn of_sequences(rows: &Rows, credit: &EntropyCredit) -> Estimate {
    let (mut cells, mut bare) = (Vec::new(), Vec::new());
    for (side, row) in credit.members(rows) {
        let entropy: Vec<f64> = rows.tokens[row].entropy.iter().map(|&entropy| credit.held(entropy)).collect();
        let cell = Cell { row, column: 0, side, entropy: credit.average(&entropy), shaped: 0.0 };
        if entropy.is_empty() {
            bare.push(Cell { shaped: credit.base(rows, &cell), ..cell });
        } else {
            cells.push(cell);
        }
    }
    credit.shape(rows, &mut cells);
    cells.extend(bare);
    cells.sort_by_key(|cell| cell.row);
    let advantages = credit.standardise(rows, &cells);
    let mut values = vec![0.0; rows.rewards.len()];
    for (cell, advantage) in cells.iter().zip(&advantages) {
        values[cell.row] = *advantage;
    }
    Estimate { metrics: credit.metrics(rows, &cells, &advantages), ..Estimate::rows(values) }
}

/// Whether an answer is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Success,
    Failure,
}

/// A token in its column (GTPO) or an answer in its group (GRPO-S).
#[derive(Clone, Copy, Debug)]
struct Cell {
    row: usize,
    column: usize,
    side: Side,
    entropy: f64,
    shaped: f64,
}

impl EntropyCredit {
    /// The rows that take part, ascending, with their side.
    fn members(&self, rows: &Rows) -> Vec<(Side, usize)> {
        let side = |reward: f64| if reward > self.success_above { Side::Success } else { Side::Failure };
        let mut both: BTreeMap<usize, [bool; 2]> = BTreeMap::new();
        for (verdict, group) in rows.verdicts.iter().zip(&rows.groups) {
            if let Some(reward) = verdict {
                both.entry(*group).or_default()[side(*reward) as usize] = true;
            }
        }
        let taking_part = |(row, verdict): (usize, &Option<f64>)| {
            let one_sided = both.get(&rows.groups[row]).is_none_or(|sides| sides[0] != sides[1]);
            verdict.filter(|_| !(self.skip_one_sided && one_sided)).map(|reward| (side(reward), row))
        };
        rows.verdicts.iter().enumerate().filter_map(taking_part).collect()
    }

    fn held(&self, entropy: f64) -> f64 {
        let entropy = entropy.max(0.0);
        self.clamp.map_or(entropy, |(low, high)| entropy.clamp(low, high))
    }

    fn average(&self, entropies: &[f64]) -> f64 {
        match self.mean {
            EntropyMean::Arithmetic => group::mean(entropies),
            EntropyMean::Geometric => {
                let logs: Vec<f64> = entropies.iter().map(|entropy| entropy.max(self.floor).ln()).collect();
                group::mean(&logs).exp()
            }
        }
    }

    /// The shaped reward without the entropy's part. Penalties for length reach successes only, as in the paper.
    fn base(&self, rows: &Rows, cell: &Cell) -> f64 {
        match cell.side {
            Side::Success => self.outcome_weight * rows.rewards[cell.row].unwrap_or(0.0),
            Side::Failure => -self.outcome_weight,
        }
    }

    /// Entropy of a success, inverse entropy of a failure.
    fn weight(&self, cell: &Cell) -> f64 {
        match (cell.side, self.mean) {
            (Side::Success, EntropyMean::Arithmetic) => cell.entropy,
            (Side::Success, EntropyMean::Geometric) => cell.entropy.max(self.floor),
            (Side::Failure, _) => 1.0 / cell.entropy.max(self.floor),
        }
    }

    /// Eq. 3, 5 and 9: a cell's weight over the mean weight of its column (`Σ/d_t`), so that a column's bonuses add up
    /// to `α₂·d_t`. A column without any entropy shares equally, which keeps that true.
    fn shape(&self, rows: &Rows, cells: &mut [Cell]) {
        let mut columns: BTreeMap<(usize, Side, usize), Vec<usize>> = BTreeMap::new();
        for (index, cell) in cells.iter().enumerate() {
            columns.entry((rows.groups[cell.row], cell.side, cell.column)).or_default().push(index);
        }
        for ((_, side, _), members) in columns {
            let weights: Vec<f64> = members.iter().map(|&index| self.weight(&cells[index])).collect();
            let center = match self.mean {
                EntropyMean::Arithmetic => group::mean(&weights),
                EntropyMean::Geometric => {
                    group::mean(&weights.iter().map(|weight| weight.ln()).collect::<Vec<_>>()).exp()
                }
            };
            let sign = if side == Side::Success { 1.0 } else { -1.0 };
            for (&index, weight) in members.iter().zip(&weights) {
                let share = if center > 0.0 { weight / center } else { 1.0 };
                cells[index].shaped = self.base(rows, &cells[index]) + sign * self.entropy_weight * share;
            }
        }
    }

    /// Eq. 6: standardised per scope and, but for [`Normalise::Joint`], per side.
    fn standardise(&self, rows: &Rows, cells: &[Cell]) -> Vec<f64> {
        let scope = |cell: &Cell| if self.scope == Scope::Group { rows.groups[cell.row] } else { 0 };
        let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, cell) in cells.iter().enumerate() {
            members.entry(scope(cell)).or_default().push(index);
        }
        let mut out = vec![0.0; cells.len()];
        for members in members.values() {
            for side in [Side::Success, Side::Failure] {
                let collected = |&index: &usize| match self.normalise {
                    Normalise::Joint => Some(cells[index].shaped),
                    _ if cells[index].side == side => Some(cells[index].shaped),
                    Normalise::ZeroFilled => Some(0.0),
                    Normalise::Subset => None,
                };
                let values: Vec<f64> = members.iter().filter_map(collected).collect();
                if values.len() <= usize::from(self.ddof) || group::all_same(&values) {
                    continue;
                }
                let center = group::mean(&values);
                let scale = group::standard_deviation(&values, self.ddof) + self.delta;
                for &index in members.iter().filter(|&&index| cells[index].side == side) {
                    out[index] = (cells[index].shaped - center) / scale;
                }
            }
        }
        out
    }

    fn metrics(&self, rows: &Rows, cells: &[Cell], advantages: &[f64]) -> Vec<(&'static str, f64)> {
        let mean_where = |side: Side| {
            let of_side = cells.iter().zip(advantages).filter(|(cell, _)| cell.side == side);
            group::mean(&of_side.map(|(_, advantage)| *advantage).collect::<Vec<_>>())
        };
        let bonus = |cell: &Cell| (cell.shaped - self.base(rows, cell)).abs();
        let total = |part: &dyn Fn(&Cell) -> f64| cells.iter().map(part).sum::<f64>();
        let shaped = total(&|cell| self.base(rows, cell).abs() + bonus(cell));
        let floored = cells.iter().filter(|cell| cell.entropy < self.floor).count();
        let mut entropies: Vec<f64> = cells.iter().map(|cell| cell.entropy).collect();
        entropies.sort_by(f64::total_cmp);
        let quantile = |share: f64| {
            let last = entropies.len().saturating_sub(1) as f64;
            entropies.get((share * last).round() as usize).copied().unwrap_or(0.0)
        };
        vec![
            ("entropy_credit/frac_clamped", floored as f64 / cells.len().max(1) as f64),
            ("entropy_credit/bonus_max", cells.iter().map(bonus).fold(0.0, f64::max)),
            ("entropy_credit/bonus_share", if shaped > 0.0 { total(&bonus) / shaped } else { 0.0 }),
            ("entropy_credit/entropy_p10", quantile(0.1)),
            ("entropy_credit/entropy_p50", quantile(0.5)),
            ("entropy_credit/entropy_p90", quantile(0.9)),
            ("entropy_credit/advantage_success", mean_where(Side::Success)),
            ("entropy_credit/advantage_failure", mean_where(Side::Failure)),
        ]
    }
}
