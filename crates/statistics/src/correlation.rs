//! Correlation with its interval: offline scores against online changes, scores against lengths.

use crate::Comoments;
use crate::special::normal_quantile;

/// Pearson's correlation. `None` with fewer than two pairs or where one side does not vary.
pub fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    assert_eq!(x.len(), y.len(), "pairs");
    let moments = Comoments::of(x.iter().copied().zip(y.iter().copied()));
    let scale = (moments.x.squares * moments.y.squares).sqrt();
    (scale > 0.0 && x.len() > 1).then(|| (moments.products / scale).clamp(-1.0, 1.0))
}

/// Fisher's interval `tanh(artanh r ± z/√(n − 3))` (1921). `None` with fewer than four pairs.
pub fn fisher_interval(correlation: f64, pairs: usize, alpha: f64) -> Option<(f64, f64)> {
    let half = normal_quantile(1.0 - 0.5 * alpha) / (pairs.checked_sub(3).filter(|n| *n > 0)? as f64).sqrt();
    let centre = correlation.atanh();
    Some(((centre - half).tanh(), (centre + half).tanh()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_of_ten_policies() {
        // Specification C §5.1: r = 0.95 over 10 policies.
        let (low, high) = fisher_interval(0.95, 10, 0.05).unwrap();
        assert!((low - 0.797).abs() < 5e-4 && (high - 0.988).abs() < 5e-4, "{low} {high}");
        assert_eq!(fisher_interval(0.5, 3, 0.05), None);
        // (1, 2, 3) and (1, 3, 2): ½.
        assert!((pearson(&[1.0, 2.0, 3.0], &[1.0, 3.0, 2.0]).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(pearson(&[1.0, 1.0], &[1.0, 2.0]), None);
    }
}
