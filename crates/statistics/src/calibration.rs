//! Calibration: whether a confidence is a probability, and whether it tells right from wrong.

use serde::{Deserialize, Serialize};

/// How confidences are put into bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binning {
    /// Bin k of B holds `((k−1)/B, k/B]`; 0 belongs to the first (Guo et al. 2017, arXiv 1706.04599, §2).
    EqualWidth,
    /// Bins of equal count, equal confidences never parted (Nixon et al. 2019, arXiv 1904.01685, §3.2).
    EqualMass,
}

/// A bin of a reliability diagram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Confidences above this (and at it, in the first bin).
    pub low: f64,
    /// Confidences up to this.
    pub high: f64,
    /// How many.
    pub count: usize,
    /// Their mean.
    pub confidence: f64,
    /// How many of them were right, as a share.
    pub accuracy: f64,
}

impl Bin {
    /// `|accuracy − confidence|`.
    pub fn gap(&self) -> f64 {
        (self.accuracy - self.confidence).abs()
    }
}

/// What there is to say about confidences in answers that turned out right or wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// How many answers.
    pub count: usize,
    /// Expected calibration error: `Σ_b n_b/N · |accuracy_b − confidence_b|`.
    pub ece: f64,
    /// Largest gap of any bin.
    pub mce: f64,
    /// Mean squared error of the confidence (Brier 1950, for two outcomes).
    pub brier: f64,
    /// Probability that a right answer has the higher confidence; `None` unless there are right and wrong ones.
    pub auroc: Option<f64>,
    /// Mean confidence less the share of right answers: above 0 is overconfidence.
    pub overconfidence: f64,
    /// The bins that hold something, in order.
    pub bins: Vec<Bin>,
}

/// Calibration of `confidence` in `[0, 1]` against what was right, with at most `bins` bins. `None` without answers.
///
/// Panics when lengths differ, a confidence is no probability, or no bins are wanted: bugs of the caller.
pub fn calibration(confidence: &[f64], correct: &[bool], bins: usize, binning: Binning) -> Option<Calibration> {
    assert_eq!(confidence.len(), correct.len(), "a confidence for each answer");
    assert!(bins > 0, "at least one bin");
    assert!(confidence.iter().all(|c| (0.0..=1.0).contains(c)), "confidences are probabilities");
    if confidence.is_empty() {
        return None;
    }
    let count = confidence.len();
    let mean = |of: &dyn Fn(usize) -> f64| (0..count).map(of).sum::<f64>() / count as f64;
    let hit = |index: usize| f64::from(u8::from(correct[index]));
    let bins = match binning {
        Binning::EqualWidth => equal_width(confidence, correct, bins),
        Binning::EqualMass => equal_mass(confidence, correct, bins),
    };
    Some(Calibration {
        count,
        ece: bins.iter().map(|bin| bin.count as f64 * bin.gap()).sum::<f64>() / count as f64,
        mce: bins.iter().map(Bin::gap).fold(0.0, f64::max),
        brier: mean(&|index| (confidence[index] - hit(index)).powi(2)),
        auroc: auroc(confidence, correct),
        overconfidence: mean(&|index| confidence[index] - hit(index)),
        bins,
    })
}

/// Area under the receiver operating characteristic: the probability that a positive has the higher score, ties counting half
/// (Mann and Whitney 1947, by mid-ranks). `None` unless there are positives and negatives. Panics on NaN.
pub fn auroc(scores: &[f64], positive: &[bool]) -> Option<f64> {
    assert_eq!(scores.len(), positive.len(), "a score for each case");
    assert!(scores.iter().all(|score| !score.is_nan()), "scores can be ordered");
    let positives = positive.iter().filter(|positive| **positive).count();
    let negatives = scores.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let order = ascending(scores);
    let (mut at, mut rank_sum) = (0, 0.0);
    while at < order.len() {
        let tie = order[at..].iter().take_while(|&&index| scores[index] == scores[order[at]]).count();
        let middle = at as f64 + 0.5 * (tie as f64 + 1.0);
        rank_sum += middle * order[at..at + tie].iter().filter(|&&index| positive[index]).count() as f64;
        at += tie;
    }
    let (p, n) = (positives as f64, negatives as f64);
    Some((rank_sum - 0.5 * p * (p + 1.0)) / (p * n))
}

fn ascending(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    order
}

fn bin_of(members: &[usize], confidence: &[f64], correct: &[bool], low: f64, high: f64) -> Bin {
    let count = members.len() as f64;
    Bin {
        low,
        high,
        count: members.len(),
        confidence: members.iter().map(|&index| confidence[index]).sum::<f64>() / count,
        accuracy: members.iter().filter(|&&index| correct[index]).count() as f64 / count,
    }
}

fn equal_width(confidence: &[f64], correct: &[bool], bins: usize) -> Vec<Bin> {
    let edge = |bin: usize| bin as f64 / bins as f64;
    let mut members = vec![Vec::new(); bins];
    for (index, &value) in confidence.iter().enumerate() {
        let mut bin = ((value * bins as f64).ceil() as usize).clamp(1, bins);
        // A product may round to the other side of an edge.
        while bin > 1 && value <= edge(bin - 1) {
            bin -= 1;
        }
        while value > edge(bin) {
            bin += 1;
        }
        members[bin - 1].push(index);
    }
    let filled = members.iter().enumerate().filter(|(_, members)| !members.is_empty());
    filled.map(|(bin, members)| bin_of(members, confidence, correct, edge(bin), edge(bin + 1))).collect()
}

fn equal_mass(confidence: &[f64], correct: &[bool], bins: usize) -> Vec<Bin> {
    let order = ascending(confidence);
    let (mut out, mut start, mut low) = (Vec::new(), 0, 0.0);
    for bin in 1..=bins {
        let mut end = (bin * order.len()).div_ceil(bins).max(start);
        while end > start && end < order.len() && confidence[order[end]] == confidence[order[end - 1]] {
            end += 1;
        }
        if end > start {
            let high = if end == order.len() { 1.0 } else { confidence[order[end - 1]] };
            out.push(bin_of(&order[start..end], confidence, correct, low, high));
            (start, low) = (end, high);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONFIDENCE: [f64; 10] = [0.95, 0.92, 0.85, 0.81, 0.55, 0.52, 0.31, 0.10, 0.05, 1.0];
    const CORRECT: [u8; 10] = [1, 1, 1, 0, 1, 0, 0, 0, 1, 1];

    fn correct() -> Vec<bool> {
        CORRECT.iter().map(|correct| *correct == 1).collect()
    }

    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-9, "got {got}, expected {expected}");
    }

    /// Specification B §1.13. The other two by hand: the gap of (0, 0.1] is |½ − 0.075|; of 24 pairs of right and wrong answers
    /// 19 are in order: 0.05 is above none of the four wrong ones, 0.55 above three.
    #[test]
    fn goldens_of_the_specification() {
        let found = calibration(&CONFIDENCE, &correct(), 10, Binning::EqualWidth).unwrap();
        close(found.ece, 0.202);
        close(found.brier, 0.2169);
        close(found.mce, 0.425);
        close(found.auroc.unwrap(), 19.0 / 24.0);
        close(found.overconfidence, 0.606 - 0.6);
        assert_eq!(found.bins.iter().map(|bin| bin.count).collect::<Vec<_>>(), [2, 1, 2, 2, 3]);
    }

    /// An answer without any confidence is in the first bin, one at an edge in the bin below it.
    #[test]
    fn edges_belong_to_the_bin_below() {
        let found = calibration(&[0.0, 0.3, 0.7, 1.0], &[false, true, true, true], 10, Binning::EqualWidth).unwrap();
        let edges: Vec<(f64, f64)> = found.bins.iter().map(|bin| (bin.low, bin.high)).collect();
        assert_eq!(edges, [(0.0, 0.1), (0.2, 0.3), (0.6, 0.7), (0.9, 1.0)]);
        assert_eq!(calibration(&[], &[], 10, Binning::EqualWidth), None);
    }

    #[test]
    fn equal_mass_never_parts_equal_confidences() {
        let confidence = [0.2, 0.2, 0.2, 0.5, 0.6, 0.9];
        let correct = [true, false, false, true, false, true];
        let found = calibration(&confidence, &correct, 3, Binning::EqualMass).unwrap();
        assert_eq!(found.bins.iter().map(|bin| bin.count).collect::<Vec<_>>(), [3, 1, 2]);
        close(found.ece, (3.0 * (1.0f64 / 3.0 - 0.2).abs() + 0.5 + 2.0 * 0.25) / 6.0);
        // All alike: one bin, whose gap is the whole error.
        let same = calibration(&[0.7; 5], &[true, true, true, true, false], 4, Binning::EqualMass).unwrap();
        assert_eq!(same.bins.len(), 1);
        close(same.ece, 0.1);
        assert_eq!((same.auroc, same.mce), (Some(0.5), same.ece));
    }

    #[test]
    fn auroc_by_hand() {
        assert_eq!(auroc(&[0.1, 0.9], &[false, true]), Some(1.0));
        assert_eq!(auroc(&[0.9, 0.1], &[false, true]), Some(0.0));
        // One tie among four pairs: (1 + 1 + ½ + 1)/4.
        assert_eq!(auroc(&[0.3, 0.6, 0.6, 0.8], &[false, false, true, true]), Some(0.875));
        assert_eq!(auroc(&[0.3, 0.6], &[true, true]), None);
        assert_eq!(auroc(&[f64::NEG_INFINITY, f64::INFINITY], &[false, true]), Some(1.0));
    }

    proptest! {
        /// Against all pairs; and neither the order of the answers nor a rising function of the scores matters.
        #[test]
        fn auroc_counts_pairs(cases in prop::collection::vec((0u8..6, any::<bool>()), 2..40)) {
            let scores: Vec<f64> = cases.iter().map(|case| f64::from(case.0)).collect();
            let positive: Vec<bool> = cases.iter().map(|case| case.1).collect();
            let (mut pairs, mut ordered) = (0.0, 0.0);
            for (i, a) in cases.iter().enumerate() {
                for (j, b) in cases.iter().enumerate() {
                    if positive[i] && !positive[j] {
                        pairs += 1.0;
                        ordered += if a.0 > b.0 { 1.0 } else if a.0 == b.0 { 0.5 } else { 0.0 };
                    }
                }
            }
            let expected = (pairs > 0.0).then_some(ordered / pairs);
            prop_assert_eq!(auroc(&scores, &positive).map(|a| (a * 1e12).round()), expected.map(|a: f64| (a * 1e12).round()));
            let risen: Vec<f64> = scores.iter().map(|score| score.exp()).collect();
            prop_assert_eq!(auroc(&risen, &positive), auroc(&scores, &positive));
        }

        /// Bins hold every answer, ECE is at most MCE, and the order of the answers does not matter.
        #[test]
        fn bins_hold_everything(
            cases in prop::collection::vec((0u32..=20, any::<bool>()), 1..60),
            bins in 1usize..15,
        ) {
            for binning in [Binning::EqualWidth, Binning::EqualMass] {
                let of = |cases: &[(u32, bool)]| {
                    let confidence: Vec<f64> = cases.iter().map(|case| f64::from(case.0) / 20.0).collect();
                    let correct: Vec<bool> = cases.iter().map(|case| case.1).collect();
                    calibration(&confidence, &correct, bins, binning).unwrap()
                };
                let found = of(&cases);
                prop_assert_eq!(found.bins.iter().map(|bin| bin.count).sum::<usize>(), cases.len());
                prop_assert!(found.ece <= found.mce + 1e-12 && found.bins.len() <= bins);
                for bin in &found.bins {
                    prop_assert!(bin.confidence <= bin.high + 1e-12 && bin.confidence >= bin.low - 1e-12);
                }
                let mut turned = cases.clone();
                turned.reverse();
                let again = of(&turned);
                prop_assert!((again.ece - found.ece).abs() < 1e-12 && again.auroc == found.auroc);
            }
        }
    }
}
