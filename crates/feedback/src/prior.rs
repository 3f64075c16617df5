//! Probabilities after positives were sampled more often than they are.

pub use lapidary_statistics::sigmoid;

/// ln(p/(1 − p)) of a probability in (0, 1).
pub fn logit(p: f64) -> f64 {
    assert!(p > 0.0 && p < 1.0, "a logit of {p}");
    p.ln() - (-p).ln_1p()
}

/// The logit as it would be at the base rate: `z − logit(π_s) + logit(π)` for a model that was trained with a share π_s of positives (King &
/// Zeng 2001; specification C §5.2). Monotone: AUROC stays, but a weight in a mix of rewards means something else, so a mix is defined on
/// one of the two and kept.
pub fn corrected(logit_of_model: f64, sampled_share: f64, base_rate: f64) -> f64 {
    logit_of_model - logit(sampled_share) + logit(base_rate)
}

/// How many times each positive is taken so that a share `wanted` of the sample is positive, given `positives` of `rows`. `None` where one
/// class is missing.
pub fn upsampling(positives: usize, rows: usize, wanted: f64) -> Option<f64> {
    let negatives = rows.checked_sub(positives).filter(|negatives| *negatives > 0 && positives > 0)?;
    Some(wanted / (1.0 - wanted) * negatives as f64 / positives as f64)
}

/// Weighted binary cross-entropy of logits: `Σ w·(y·softplus(−z) + (1−y)·softplus(z))/Σ w`, with soft labels. `None` without weight.
pub fn cross_entropy(logits: &[f64], labels: &[f64], weights: &[f64]) -> Option<f64> {
    assert!(logits.len() == labels.len() && logits.len() == weights.len(), "a label and a weight for each");
    let softplus = |z: f64| z.max(0.0) + (-z.abs()).exp().ln_1p();
    let row = |((z, y), w): ((&f64, &f64), &f64)| w * (y * softplus(-z) + (1.0 - y) * softplus(*z));
    let (sum, weight): (f64, f64) = (logits.iter().zip(labels).zip(weights).map(row).sum(), weights.iter().sum());
    (weight > 0.0).then(|| sum / weight)
}

/// Cross-entropy of K heads where a label may be missing: `Σ_k λ_k·(mean over the rows that have the label)`, a head without a label adding 0.
/// `logits[row][head]`, `labels[row][head]`.
pub fn multi_head(logits: &[Vec<f64>], labels: &[Vec<Option<f64>>], coefficients: &[f64]) -> f64 {
    assert_eq!(logits.len(), labels.len(), "labels for each row");
    let head = |(k, coefficient): (usize, &f64)| {
        let known: Vec<(f64, f64)> = logits.iter().zip(labels).filter_map(|(z, y)| Some((z[k], y[k]?))).collect();
        let (z, y): (Vec<f64>, Vec<f64>) = known.into_iter().unzip();
        cross_entropy(&z, &y, &vec![1.0; z.len()]).map_or(0.0, |loss| coefficient * loss)
    };
    coefficients.iter().enumerate().map(head).sum()
}

/// Huber's loss of a residual, for a head of log-dwell: `½r²` within `delta`, linear beyond.
pub fn huber(residual: f64, delta: f64) -> f64 {
    let size = residual.abs();
    if size <= delta { 0.5 * size * size } else { delta * (size - 0.5 * delta) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapidary_core::{Key, Purpose};

    fn near(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-6, "got {got}, expected {expected}");
    }

    /// Specification C §5.2.
    #[test]
    fn goldens() {
        near(sigmoid(0.4), 0.598688);
        near(corrected(0.0, 0.10, 0.003), -3.608914);
        near(corrected(0.4, 0.10, 0.003), -3.208914);
        near(sigmoid(corrected(0.4, 0.10, 0.003)), 0.038832);
        let one = |z: f64, y: f64| cross_entropy(&[z], &[y], &[1.0]).unwrap();
        near(one(0.4, 1.0), 0.513015);
        near(one(0.4, 0.0), 0.913015);
        near(9.0 * one(0.4, 1.0), 4.617137);
        near(one(-1.2, 0.0), 0.263282);
        near(one(2.0, 0.3), 1.526928);
        near(cross_entropy(&[0.4, -1.2, 2.0], &[1.0, 0.0, 0.3], &[1.0, 1.0, 0.5]).unwrap(), 0.615905);
        assert_eq!(cross_entropy(&[1.0], &[1.0], &[0.0]), None);
        near(one(1000.0, 0.0), 1000.0);
        near(huber(0.5, 1.0), 0.125);
        near(huber(-3.0, 1.0), 2.5);
        // 30 of 10,000 to one in ten: each positive 36.9 times.
        near(upsampling(30, 10_000, 0.10).unwrap(), 9970.0 / 270.0);
        assert_eq!((upsampling(0, 10, 0.1), upsampling(10, 10, 0.1)), (None, None));
        let loss = multi_head(
            &[vec![0.4, 9.0], vec![-1.2, 2.0]],
            &[vec![Some(1.0), None], vec![Some(0.0), Some(0.3)]],
            &[1.0, 0.5],
        );
        near(loss, 0.5 * (0.513015 + 0.263282) + 0.5 * 1.526928);
    }

    /// §5.7 b: trained at one in ten, corrected, the mean probability is the base rate within a tenth.
    #[test]
    fn the_base_rate_is_recovered() {
        let key = Key::new(2, Purpose::Task);
        // The truth: P(love|x) = σ(x + b) at a base rate of about 0.4 %; a perfect model of the sampled data is shifted by a constant.
        let truth: Vec<f64> = (0..100_000).map(|i| sigmoid(key.at(i).normal() - 6.0)).collect();
        let base = truth.iter().sum::<f64>() / truth.len() as f64;
        let model: Vec<f64> = truth.iter().map(|p| logit(*p) - logit(base) + logit(0.10)).collect();
        let mean = |p: &dyn Fn(f64) -> f64| model.iter().map(|z| p(*z)).sum::<f64>() / model.len() as f64;
        let found = mean(&|z| sigmoid(corrected(z, 0.10, base)));
        assert!((found / base - 1.0).abs() < 0.1, "{found} {base}");
        // The control: without correction it is an order of magnitude off.
        assert!(mean(&sigmoid) > 10.0 * base);
    }
}
