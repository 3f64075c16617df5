//! How good predicted probabilities of a rare event are.

use serde::{Deserialize, Serialize};

use crate::calibration::{Binning, auroc, calibration};

/// What a reward model of a rare reaction is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbabilityScore {
    /// Probability that a positive scores above a negative; `None` for one class.
    pub auroc: Option<f64>,
    /// Area under precision and recall, as average precision; `None` without positives.
    pub average_precision: Option<f64>,
    /// Mean negative log-likelihood.
    pub log_loss: f64,
    /// Log-loss over that of the base rate (He et al. 2014): below 1 the model knows something; `None` for one class.
    pub normalized_entropy: Option<f64>,
    /// Mean squared error.
    pub brier: f64,
    /// Expected calibration error in ten bins of equal count: probabilities of rare events all fall into one bin of equal width.
    pub ece: f64,
    /// Share of positives.
    pub base_rate: f64,
}

/// Mean of `−y·ln p − (1 − y)·ln(1 − p)`, with p kept 1e-15 away from 0 and 1, as scikit-learn does. `None` without cases.
pub fn log_loss(probabilities: &[f64], positive: &[bool]) -> Option<f64> {
    assert_eq!(probabilities.len(), positive.len(), "a probability for each case");
    let loss = |(p, positive): (&f64, &bool)| -> f64 {
        let p = p.clamp(1e-15, 1.0 - 1e-15);
        if *positive { -p.ln() } else { -(-p).ln_1p() }
    };
    let sum: f64 = probabilities.iter().zip(positive).map(loss).sum();
    (!positive.is_empty()).then(|| sum / positive.len() as f64)
}

/// Average precision `Σ (recall_k − recall_{k−1})·precision_k` from the highest score down, equal scores together. `None` without
/// positives.
pub fn average_precision(scores: &[f64], positive: &[bool]) -> Option<f64> {
    assert_eq!(scores.len(), positive.len(), "a score for each case");
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let all = positive.iter().filter(|positive| **positive).count();
    let (mut at, mut hits, mut sum) = (0, 0, 0.0);
    while at < order.len() {
        let tie = order[at..].iter().take_while(|&&index| scores[index] == scores[order[at]]).count();
        let new = order[at..at + tie].iter().filter(|&&index| positive[index]).count();
        at += tie;
        hits += new;
        sum += new as f64 * hits as f64 / at as f64;
    }
    (all > 0).then(|| sum / all as f64)
}

/// All of it. `None` without cases.
pub fn probability_score(probabilities: &[f64], positive: &[bool]) -> Option<ProbabilityScore> {
    let loss = log_loss(probabilities, positive)?;
    let calibration = calibration(probabilities, positive, 10, Binning::EqualMass)?;
    let base_rate = positive.iter().filter(|positive| **positive).count() as f64 / positive.len() as f64;
    let base = -base_rate * base_rate.ln() - (1.0 - base_rate) * (1.0 - base_rate).ln();
    Some(ProbabilityScore {
        auroc: auroc(probabilities, positive),
        average_precision: average_precision(probabilities, positive),
        log_loss: loss,
        normalized_entropy: (base > 0.0).then(|| loss / base),
        brier: calibration.brier,
        ece: calibration.ece,
        base_rate,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-6, "got {got}, expected {expected}");
    }

    /// Specification C §5.2.
    #[test]
    fn goldens() {
        let s = [0.1, 0.4, 0.35, 0.8, 0.4, 0.7];
        let y = [false, false, true, true, true, false];
        near(auroc(&s, &y).unwrap(), 0.611111);
        let (p, y) = ([0.2, 0.3, 0.7, 0.9], [false, true, true, true]);
        near(log_loss(&p, &y).unwrap(), 0.472288);
        let found = calibration(&p, &y, 2, Binning::EqualWidth).unwrap();
        near(found.ece, 0.225);
        near(found.brier, 0.1575);
        near(probability_score(&p, &y).unwrap().brier, 0.1575);
    }

    #[test]
    fn average_precision_by_hand() {
        // Hits at ranks 1 and 3: (1 + 2/3)/2; a tie counts as one step.
        near(average_precision(&[0.9, 0.8, 0.7], &[true, false, true]).unwrap(), 5.0 / 6.0);
        near(average_precision(&[0.5, 0.5, 0.5, 0.5], &[true, false, false, false]).unwrap(), 0.25);
        assert_eq!(average_precision(&[0.5], &[false]), None);
    }

    #[test]
    fn the_base_rate_itself_has_entropy_one() {
        let y: Vec<bool> = (0..100).map(|i| i < 3).collect();
        let found = probability_score(&vec![0.03; 100], &y).unwrap();
        near(found.normalized_entropy.unwrap(), 1.0);
        let one = probability_score(&[0.5, 0.5], &[false, false]).unwrap();
        assert_eq!((one.auroc, one.normalized_entropy, one.average_precision), (None, None, None));
        assert_eq!(probability_score(&[], &[]), None);
        assert!(log_loss(&[0.0], &[true]).unwrap().is_finite());
    }
}
