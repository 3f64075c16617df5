//! Label noise: how many comparisons are labelled the wrong way round, which ones, and where they come from.
//!
//! Everything starts from `agreement`: the probability that a model of the preferences gives to each label. It should come from a model
//! that has not learned those labels (held out, or cross-fitted): one that has learned them by heart agrees with all of them.

use serde::{Deserialize, Serialize};

use lapidary_statistics::{Interval, IntervalMethod};

/// Half of 3.841459, the 95 % point of χ² with one degree of freedom: how far the log-likelihood falls to the ends of an interval.
const FALL_95: f64 = 1.920_729_4;

/// Share of flipped labels that makes the labels likeliest, with a likelihood-ratio interval. `None` without pairs.
///
/// ```text
/// P(label) = (1 − ε)·p + ε·(1 − p),  p = agreement   ε̂ = argmax Σ ln P   {ε : ln L(ε̂) − ln L(ε) ≤ ½·χ²₁(0.95)}
/// ```
/// The log-likelihood is concave in ε, so the interval is one piece and its ends may lie at 0 and 1. Right if the model's
/// probabilities are; a model of lower confidence than the truth hides flips, and the other way round.
pub fn flip_rate(agreement: &[f64]) -> Option<Interval> {
    check(agreement);
    if agreement.is_empty() {
        return None;
    }
    // The slope falls with ε: its root is between the ends, or at one of them.
    let slope = |rate: f64| -> f64 { agreement.iter().map(|p| (1.0 - 2.0 * p) / likelihood(*p, rate)).sum() };
    let estimate = bisect(|rate| slope(rate) <= 0.0);
    let log = |rate: f64| -> f64 { agreement.iter().map(|p| likelihood(*p, rate).ln()).sum() };
    let floor = log(estimate) - FALL_95;
    let low = bisect(|rate| rate >= estimate || log(rate) >= floor);
    let high = bisect(|rate| rate > estimate && log(rate) < floor);
    Some(Interval { estimate, low, high, units: agreement.len(), method: IntervalMethod::LikelihoodRatio })
}

/// Share of flipped labels by the density-power score with exponent `gamma`, which strongly contradicted pairs cannot sway:
/// `ε̂ = clip(1 − mean p^γ / mean[p^(1+γ) + (1−p)^(1+γ)], 0, 1)` (the enlarged model of Hölder-DPO, arXiv 2505.17859, on two outcomes).
/// Low by what uncertain pairs hide (a fifth or so), where [`flip_rate`] is not. `None` without pairs.
pub fn flip_rate_holder(agreement: &[f64], gamma: f64) -> Option<f64> {
    check(agreement);
    assert!(gamma > 0.0, "gamma is above 0, got {gamma}");
    let up: f64 = agreement.iter().map(|p| p.powf(gamma)).sum();
    let down: f64 = agreement.iter().map(|p| p.powf(1.0 + gamma) + (1.0 - p).powf(1.0 + gamma)).sum();
    (!agreement.is_empty()).then(|| (1.0 - up / down).clamp(0.0, 1.0))
}

/// A pair and how probable it is that its label is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    /// Which pair.
    pub index: usize,
    /// Probability that its label is flipped, given that `flip_rate` of all are: `ε(1−p) / ((1−ε)p + ε(1−p))`.
    pub probability: f64,
}

/// The pairs whose labels are likeliest wrong, most suspect first, at most `most`; equal ones in their order.
pub fn likeliest_flipped(agreement: &[f64], flip_rate: f64, most: usize) -> Vec<Suspect> {
    check(agreement);
    assert!((0.0..=1.0).contains(&flip_rate), "a flip rate is a share, got {flip_rate}");
    let mut suspects: Vec<(f64, Suspect)> = agreement
        .iter()
        .enumerate()
        .map(|(index, &p)| {
            let wrong = flip_rate * (1.0 - p);
            let probability = if wrong == 0.0 { 0.0 } else { wrong / likelihood(p, flip_rate) };
            (p, Suspect { index, probability })
        })
        .collect();
    // By agreement: at a rate of 0 or 1 all probabilities are alike, the order still says something.
    suspects.sort_by(|a, b| a.0.total_cmp(&b.0));
    suspects.into_iter().take(most).map(|(_, suspect)| suspect).collect()
}

/// A group of pairs (an annotator, a source, a month) with its flip rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupNoise<G> {
    /// Which group.
    pub group: G,
    /// Its flip rate.
    pub rate: Interval,
    /// Whether its interval leaves out the rate of all pairs together.
    pub stands_out: bool,
}

/// Flip rates by group, in ascending order of the group: annotator and source effects, or with a time as the group, drift.
pub fn flip_rates_by<G: Ord + Clone>(agreement: &[f64], groups: &[G]) -> Vec<GroupNoise<G>> {
    assert_eq!(agreement.len(), groups.len(), "a group for each pair");
    let Some(all) = flip_rate(agreement) else { return Vec::new() };
    let mut members: std::collections::BTreeMap<&G, Vec<f64>> = std::collections::BTreeMap::new();
    for (group, p) in groups.iter().zip(agreement) {
        members.entry(group).or_default().push(*p);
    }
    let noise = |(group, agreement): (&G, Vec<f64>)| {
        let rate = flip_rate(&agreement)?;
        Some(GroupNoise { group: group.clone(), rate, stands_out: rate.excludes(all.estimate) })
    };
    members.into_iter().filter_map(noise).collect()
}

fn check(agreement: &[f64]) {
    assert!(agreement.iter().all(|p| (0.0..=1.0).contains(p)), "agreement is a probability");
}

fn likelihood(agreement: f64, rate: f64) -> f64 {
    (1.0 - rate) * agreement + rate * (1.0 - agreement)
}

/// The least number in `[0, 1]` from which `holds` holds (1 where it never does): a monotone condition.
fn bisect(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    if holds(low) {
        return low;
    }
    // 60 halvings leave less than the last digit.
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if holds(middle) { high = middle } else { low = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auroc;
    use lapidary_core::{Key, Purpose};

    /// Agreements of `n` pairs whose true preference is known to the model, with labels flipped at `rate`.
    fn noisy(n: usize, rate: f64, seed: u64) -> (Vec<f64>, Vec<bool>) {
        (0..n)
            .map(|index| {
                let key = Key::new(seed, Purpose::Bootstrap).at(index as u64);
                // Probability of "the first is better", its draw, and whether the label was flipped afterwards.
                let first = 1.0 / (1.0 + (-3.0 * key.at(0).normal()).exp());
                let (won, flipped) = (key.at(1).uniform() < first, key.at(2).uniform() < rate);
                (if won != flipped { first } else { 1.0 - first }, flipped)
            })
            .unzip()
    }

    #[test]
    fn by_hand() {
        // Three agreements of 0.9 and one of 0.1: P = (0.9 − 0.8ε)³(0.1 + 0.8ε), best where 3(0.1 + 0.8ε) = 0.9 − 0.8ε.
        let found = flip_rate(&[0.9, 0.9, 0.9, 0.1]).unwrap();
        assert!((found.estimate - 0.1875).abs() < 1e-9, "{found:?}");
        assert!(found.low == 0.0 && found.high > 0.5 && found.units == 4);
        // All agree: nothing is flipped; none does: everything is.
        assert_eq!(flip_rate(&[0.8; 9]).unwrap().estimate, 0.0);
        assert!((flip_rate(&[0.2; 9]).unwrap().estimate - 1.0).abs() < 1e-12);
        assert_eq!(flip_rate(&[]), None);
        // A model that knows nothing says nothing.
        let blind = flip_rate(&[0.5; 9]).unwrap();
        assert_eq!((blind.low, blind.high), (0.0, 1.0));
        // (0.81·3 + 0.01)/4 over (0.729 + 0.001) for γ = 2: 1 − 0.61/0.73.
        assert!((flip_rate_holder(&[0.9, 0.9, 0.9, 0.1], 2.0).unwrap() - (1.0 - 0.61 / 0.73)).abs() < 1e-12);
    }

    #[test]
    fn the_rate_is_found_and_its_interval_covers() {
        for rate in [0.0, 0.1, 0.3] {
            let runs: Vec<Interval> = (0..200).map(|seed| flip_rate(&noisy(400, rate, seed).0).unwrap()).collect();
            let covered = runs.iter().filter(|run| !run.excludes(rate)).count();
            assert!(covered >= 184, "{rate}: covered in {covered} of 200");
            let mean = runs.iter().map(|run| run.estimate).sum::<f64>() / 200.0;
            assert!((mean - rate).abs() < 0.012, "{rate}: {mean}");
        }
        // Low by what uncertain pairs hide: ε·(1 − mean[p·q^γ + q·p^γ] / mean[p^(1+γ) + q^(1+γ)]).
        for rate in [0.0, 0.1, 0.3] {
            let (agreement, _) = noisy(20_000, rate, 1);
            let cross: f64 = agreement.iter().map(|p| p * (1.0 - p)).sum();
            let own: f64 = agreement.iter().map(|p| p.powi(3) + (1.0 - p).powi(3)).sum();
            let found = flip_rate_holder(&agreement, 2.0).unwrap();
            assert!((found - rate * (1.0 - cross / own)).abs() < 0.01, "{rate}: {found}");
        }
    }

    #[test]
    fn flipped_pairs_are_found() {
        let (agreement, flipped) = noisy(4000, 0.2, 3);
        let doubt: Vec<f64> = agreement.iter().map(|p| 1.0 - p).collect();
        let found = auroc(&doubt, &flipped).unwrap();
        assert!(found > 0.8, "{found}");
        let suspects = likeliest_flipped(&agreement, 0.2, 100);
        let hits = suspects.iter().filter(|suspect| flipped[suspect.index]).count();
        let expected: f64 = suspects.iter().map(|suspect| suspect.probability).sum();
        assert!(hits >= 90 && (expected - hits as f64).abs() < 10.0, "{hits}, expected {expected}");
        assert!(suspects.windows(2).all(|pair| pair[0].probability >= pair[1].probability));
        // A random order finds a fifth.
        let by_chance = flipped[..100].iter().filter(|flipped| **flipped).count();
        assert!(by_chance < 40, "{by_chance}");
        assert_eq!(likeliest_flipped(&[0.9, 0.2, 0.2], 0.0, 2).iter().map(|s| s.index).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn groups_that_differ_stand_out() {
        let (mut agreement, mut groups) = (Vec::new(), Vec::new());
        for (seed, name, rate) in [(1, "careful", 0.02), (2, "hasty", 0.4), (3, "usual", 0.15)] {
            let (more, _) = noisy(600, rate, seed);
            groups.extend(std::iter::repeat_n(name, more.len()));
            agreement.extend(more);
        }
        let found = flip_rates_by(&agreement, &groups);
        let by_name: Vec<(&str, bool)> = found.iter().map(|noise| (noise.group, noise.stands_out)).collect();
        assert_eq!(by_name[..2], [("careful", true), ("hasty", true)]);
        assert!(found[0].rate.estimate < found[2].rate.estimate && found[2].rate.estimate < found[1].rate.estimate);
        assert_eq!(flip_rates_by::<u8>(&[], &[]), []);
    }
}
