//! Which examples are worth training on alone, told from how training on all of them went.
//!
//! ```text
//! records of a run ─▶ histories: the accuracy of an item each time it was sampled ─▶ score ─▶ ranking
//! variance:  v_i = 1/E · Σ_e (s_ie − s̄_i)²                               1-shot RLVR, arXiv 2504.20571, eq. 1–2
//! lim:       1 − Σ_e (s_ie − s̄_e)² / Σ_e (1 − s̄_e)²                       LIMR, arXiv 2502.11886, eq. 1–2
//! random:    a draw of the seed
//! ```
//! `s_ie` is the exact mean over the answers of item `i` the `e`-th time it was sampled, `s̄_i` its mean over time, `s̄_e` the mean
//! of all items at time `e`.

mod records;

pub(crate) use records::Finder;
pub use records::{Lookup, Records, data_line};

use lapidary_core::{Key, Purpose};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The accuracies of an item, in the order in which it was sampled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The item's name.
    pub id: String,
    /// One per time that it was sampled; finite.
    pub accuracies: Vec<f64>,
}

/// By what items are ranked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Selector {
    /// The variance of its accuracy over time: learned neither at once nor never.
    #[default]
    Variance,
    /// How closely its accuracy follows that of all.
    Lim,
    /// By the seed alone: the control.
    Random,
}

/// An item's place in a ranking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// Which history.
    pub index: usize,
    /// What it was ranked by; higher is first.
    pub score: f64,
}

/// The mean; 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    ascending(values).iter().sum::<f64>() / values.len().max(1) as f64
}

/// The population variance: divided by the number of values. 0 of nothing.
///
/// Summed in ascending order, so that the same accuracies in another order are the same variance to the last bit, and a tie.
pub fn variance(values: &[f64]) -> f64 {
    let center = mean(values);
    let squares: Vec<f64> = values.iter().map(|value| (value - center).powi(2)).collect();
    mean(&squares)
}

fn ascending(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The histories from best to worst; equal scores keep the order in which they came, and an item that was never sampled has no
/// place. `seed` is read by [`Selector::Random`].
pub fn rank(histories: &[History], by: Selector, seed: u64) -> Vec<Ranked> {
    assert!(
        histories.iter().flat_map(|history| &history.accuracies).all(|value| value.is_finite()),
        "finite accuracies"
    );
    let scores: Vec<f64> = match by {
        Selector::Variance => histories.iter().map(|history| variance(&history.accuracies)).collect(),
        Selector::Lim => alignments(histories),
        Selector::Random => (0..histories.len()).map(|index| draw(seed, index)).collect(),
    };
    let ranked = scores.into_iter().enumerate().map(|(index, score)| Ranked { index, score });
    let mut ranking: Vec<Ranked> = ranked.filter(|it| !histories[it.index].accuracies.is_empty()).collect();
    ranking.sort_by(|a, b| b.score.total_cmp(&a.score));
    ranking
}

/// A number in [0, 1) that decides where an item stands in a random ranking.
pub(crate) fn draw(seed: u64, index: usize) -> f64 {
    Key::new(seed, Purpose::Shuffle).at_name("select").at(index as u64).uniform()
}

/// How closely each item follows the mean of all, over as many times as the least sampled item has. Items that are always right
/// together follow it exactly.
fn alignments(histories: &[History]) -> Vec<f64> {
    let sampled = || histories.iter().map(|history| &history.accuracies).filter(|list| !list.is_empty());
    let times = sampled().map(Vec::len).min().unwrap_or(0);
    let means: Vec<f64> = (0..times).map(|time| mean(&sampled().map(|list| list[time]).collect::<Vec<_>>())).collect();
    let room: f64 = means.iter().map(|mean| (1.0 - mean).powi(2)).sum();
    let alignment = |history: &History| {
        let away: f64 = history.accuracies.iter().zip(&means).map(|(value, mean)| (value - mean).powi(2)).sum();
        if away == 0.0 { 1.0 } else { 1.0 - away / room }
    };
    histories.iter().map(alignment).collect()
}

#[cfg(test)]
mod tests;
