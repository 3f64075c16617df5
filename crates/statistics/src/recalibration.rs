//! From scores to probabilities: Platt's line, a temperature, or a monotone step function, fitted on held-out cases.

use serde::{Deserialize, Serialize};

/// Newton steps; from a sound start it needs about six.
const MOST_STEPS: usize = 100;
/// A slope, intercept or inverse temperature beyond this is no calibration: the classes are apart and the likelihood has no maximum.
const LARGEST: f64 = 1e4;

/// `P(positive) = σ(slope·z + intercept)` (Platt 1999).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Platt {
    /// Of the score.
    pub slope: f64,
    /// Of the logit at score 0.
    pub intercept: f64,
}

impl Platt {
    /// The probability of a score.
    pub fn probability(&self, score: f64) -> f64 {
        sigmoid(self.slope * score + self.intercept)
    }
}

/// `1/(1 + e^−z)`, without an overflow at either end.
pub fn sigmoid(z: f64) -> f64 {
    if z >= 0.0 { 1.0 / (1.0 + (-z).exp()) } else { z.exp() / (1.0 + z.exp()) }
}

/// `ln(1 + eᶻ)`.
fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

/// Likeliest Platt line by damped Newton steps, on the labels as they are (no smoothing). `None` where it does not exist: one class, one
/// score, or classes that a threshold separates.
pub fn platt(scores: &[f64], positive: &[bool]) -> Option<Platt> {
    assert_eq!(scores.len(), positive.len(), "a label for each score");
    let loss = |line: Platt| -> f64 {
        let one = |(z, y): (&f64, &bool)| {
            let logit = line.slope * z + line.intercept;
            softplus(if *y { -logit } else { logit })
        };
        scores.iter().zip(positive).map(one).sum()
    };
    let mut line = Platt { slope: 0.0, intercept: 0.0 };
    for _ in 0..MOST_STEPS {
        // Gradient (g) and curvature (h) of the negative log-likelihood.
        let (mut g0, mut g1, mut h00, mut h01, mut h11) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (z, y) in scores.iter().zip(positive) {
            let p = line.probability(*z);
            let (miss, weight) = (p - f64::from(u8::from(*y)), p * (1.0 - p));
            (g0, g1) = (g0 + miss, g1 + miss * z);
            (h00, h01, h11) = (h00 + weight, h01 + weight * z, h11 + weight * z * z);
        }
        let determinant = h00 * h11 - h01 * h01;
        if determinant.is_nan() || determinant <= 1e-12 * h00 * h11 {
            return None;
        }
        let step = ((h00 * g1 - h01 * g0) / determinant, (h11 * g0 - h01 * g1) / determinant);
        let (before, mut share) = (loss(line), 1.0);
        let moved =
            |share: f64| Platt { slope: line.slope - share * step.0, intercept: line.intercept - share * step.1 };
        while loss(moved(share)) > before && share > 1e-6 {
            share *= 0.5;
        }
        line = moved(share);
        if line.slope.abs() > LARGEST || line.intercept.abs() > LARGEST {
            return None;
        }
        if step.0.abs() + step.1.abs() < 1e-12 * (1.0 + line.slope.abs() + line.intercept.abs()) {
            return Some(line);
        }
    }
    // Slow convergence to ever larger numbers is separation too.
    (loss(line) > 1e-6 * scores.len() as f64).then_some(line)
}

/// Likeliest temperature T of `σ(z/T)` (Guo et al. 2017, arXiv 1706.04599, §4.2). `None` where no temperature above 0 is best: the scores
/// point the wrong way, or never do.
pub fn temperature(scores: &[f64], positive: &[bool]) -> Option<f64> {
    assert_eq!(scores.len(), positive.len(), "a label for each score");
    // The loss is convex in 1/T, so its slope rises through one root.
    let slope = |inverse: f64| -> f64 {
        scores.iter().zip(positive).map(|(z, y)| z * (sigmoid(inverse * z) - f64::from(u8::from(*y)))).sum()
    };
    let (mut low, mut high) = (0.0, LARGEST);
    if slope(low) >= 0.0 || slope(high) <= 0.0 {
        return None;
    }
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if slope(middle) < 0.0 { low = middle } else { high = middle }
    }
    Some(2.0 / (low + high))
}

/// Nearest rising sequence in weighted squares (pool adjacent violators; Ayer et al. 1955) of values in the order of their scores.
pub fn isotonic(values: &[f64], weights: &[f64]) -> Vec<f64> {
    assert_eq!(values.len(), weights.len(), "a weight for each value");
    assert!(weights.iter().all(|weight| *weight > 0.0), "weights are above 0");
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new(); // mean, weight, length
    for (value, weight) in values.iter().zip(weights) {
        let mut block = (*value, *weight, 1);
        while let Some(last) = blocks.pop_if(|last| last.0 >= block.0) {
            let weight = last.1 + block.1;
            block = ((last.0 * last.1 + block.0 * block.1) / weight, weight, last.2 + block.2);
        }
        blocks.push(block);
    }
    blocks.into_iter().flat_map(|(mean, _, length)| std::iter::repeat_n(mean, length)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapidary_core::{Key, Purpose};
    use proptest::prelude::*;

    const Z: [f64; 6] = [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0];
    const Y: [bool; 6] = [false, false, true, false, true, true];

    fn near(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-6, "got {got}, expected {expected}");
    }

    /// Specification C §5.2.
    #[test]
    fn goldens() {
        let line = platt(&Z, &Y).unwrap();
        near(line.slope, 1.214028);
        near(line.intercept, -0.607014);
        let loss = |p: &dyn Fn(f64) -> f64| -> f64 {
            Z.iter().zip(Y).map(|(z, y)| if y { -p(*z).ln() } else { -(1.0 - p(*z)).ln() }).sum()
        };
        near(loss(&|z| line.probability(z)), 2.477987);
        let t = temperature(&Z, &Y).unwrap();
        near(t, 0.906030);
        near(loss(&|z| sigmoid(z / t)) / 6.0, 0.435699);
        assert_eq!(isotonic(&[0.0, 0.0, 1.0, 0.0, 1.0, 1.0], &[1.0; 6]), [0.0, 0.0, 0.5, 0.5, 1.0, 1.0]);
    }

    #[test]
    fn what_has_no_maximum_is_refused() {
        assert_eq!(platt(&[-1.0, 1.0], &[false, true]), None);
        assert_eq!(platt(&[-3.0, -1.0, 1.0, 2.0], &[false, false, true, true]), None);
        assert_eq!(platt(&[-1.0, 1.0], &[true, true]), None);
        assert_eq!(platt(&[2.0, 2.0], &[false, true]), None);
        assert_eq!(platt(&[], &[]), None);
        assert_eq!(
            (temperature(&[-1.0, 1.0], &[false, true]), temperature(&[-1.0, 1.0], &[true, false])),
            (None, None)
        );
    }

    #[test]
    fn a_line_is_found_again() {
        let key = Key::new(5, Purpose::Task);
        let scores: Vec<f64> = (0..20_000).map(|i| 3.0 * key.at(i).normal()).collect();
        let labels: Vec<bool> = scores
            .iter()
            .enumerate()
            .map(|(i, z)| key.at(1 << 40).at(i as u64).uniform() < sigmoid(0.5 * z - 2.0))
            .collect();
        let line = platt(&scores, &labels).unwrap();
        assert!((line.slope - 0.5).abs() < 0.03 && (line.intercept + 2.0).abs() < 0.08, "{line:?}");
    }

    proptest! {
        #[test]
        fn isotonic_rises_and_keeps_the_mean(values in prop::collection::vec(-5.0f64..5.0, 1..40)) {
            let weights: Vec<f64> = (0..values.len()).map(|i| 1.0 + (i % 3) as f64).collect();
            let fitted = isotonic(&values, &weights);
            prop_assert!(fitted.windows(2).all(|pair| pair[0] <= pair[1]));
            let mean = |v: &[f64]| v.iter().zip(&weights).map(|(v, w)| v * w).sum::<f64>();
            prop_assert!((mean(&fitted) - mean(&values)).abs() < 1e-9);
            prop_assert_eq!(isotonic(&fitted, &weights).len(), fitted.len());
        }
    }
}
