//! Whether units came in as planned, and whether p-values are uniform: the checks that come before any metric.

use serde::{Deserialize, Serialize};

use crate::special::chi_square_above;

/// Test of sample ratio mismatch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleRatio {
    /// `Σ(O − E)²/E`.
    pub chi2: f64,
    /// Arms less 1.
    pub degrees: usize,
    /// Probability of a mismatch at least this large by chance. Below 0.001 the assignment or the logging is broken.
    pub p: f64,
}

/// Counts of units against the planned weights of the arms, by Pearson's χ² (Fabijan et al. 2019, "Diagnosing Sample Ratio
/// Mismatch", §2). `None` without units or with one arm.
pub fn sample_ratio(counts: &[u64], weights: &[f64]) -> Option<SampleRatio> {
    assert_eq!(counts.len(), weights.len(), "a weight for each arm");
    assert!(weights.iter().all(|weight| *weight > 0.0 && weight.is_finite()), "weights are above 0");
    let (units, weight): (u64, f64) = (counts.iter().sum(), weights.iter().sum());
    if units == 0 || counts.len() < 2 {
        return None;
    }
    let part = |(count, share): (&u64, &f64)| {
        let expected = units as f64 * share / weight;
        (*count as f64 - expected).powi(2) / expected
    };
    let chi2 = counts.iter().zip(weights).map(part).sum();
    let degrees = counts.len() - 1;
    Some(SampleRatio { chi2, degrees, p: chi_square_above(chi2, degrees) })
}

/// Kolmogorov's distance of p-values from the uniform distribution and the probability of a larger one (Stephens 1970), which an A/A
/// test must not find small. `None` without values.
pub fn uniformity(p_values: &[f64]) -> Option<(f64, f64)> {
    let mut sorted = p_values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let gap = |(rank, p): (usize, &f64)| (p - rank as f64 / n).max((rank + 1) as f64 / n - p);
    let distance = sorted.iter().enumerate().map(gap).fold(f64::NAN, f64::max);
    let scaled = (n.sqrt() + 0.12 + 0.11 / n.sqrt()) * distance;
    let term =
        |k: i32| 2.0 * f64::from(if k % 2 == 1 { 1 } else { -1 }) * (-2.0 * (f64::from(k) * scaled).powi(2)).exp();
    // Below 0.3 the alternating series needs hundreds of terms, and is 1 to five digits.
    let p = if scaled < 0.3 { 1.0 } else { (1..=100).map(term).sum::<f64>().clamp(0.0, 1.0) };
    (!sorted.is_empty()).then_some((distance, p))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Specification C §7.
    #[test]
    fn goldens() {
        let found = sample_ratio(&[50_500, 49_500], &[0.5, 0.5]).unwrap();
        assert!((found.chi2 - 10.0).abs() < 1e-9 && (found.p / 1.565402e-3 - 1.0).abs() < 1e-6, "{found:?}");
        let found = sample_ratio(&[8000, 1050, 1010], &[0.8, 0.1, 0.1]).unwrap();
        assert!((found.chi2 - 2.226640).abs() < 1e-6 && (found.p - 0.328467).abs() < 1e-6, "{found:?}");
        // Weights are shares of their sum.
        assert_eq!(sample_ratio(&[8000, 1050, 1010], &[8.0, 1.0, 1.0]).unwrap().degrees, 2);
        assert_eq!((sample_ratio(&[0, 0], &[1.0, 1.0]), sample_ratio(&[4], &[1.0])), (None, None));
    }

    #[test]
    fn p_values_that_are_not_uniform_are_seen() {
        let even: Vec<f64> = (0..200).map(|i| (f64::from(i) + 0.5) / 200.0).collect();
        let (distance, p) = uniformity(&even).unwrap();
        assert!((distance - 0.0025).abs() < 1e-12 && p == 1.0);
        let low: Vec<f64> = even.iter().map(|p| p * p).collect();
        assert!(uniformity(&low).unwrap().1 < 1e-6);
        // Kolmogorov's printed 5 % point for large n: D = 1.358/√n.
        let shifted: Vec<f64> = (0..10_000).map(|i| ((f64::from(i) + 0.5) / 10_000.0 + 0.01358).min(1.0)).collect();
        assert!((uniformity(&shifted).unwrap().1 - 0.05).abs() < 0.002);
        assert_eq!(uniformity(&[]), None);
    }
}
