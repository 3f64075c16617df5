//! Live monitoring of a rate: drifts, concentrations, alarms.

/// One-sided cumulative sums `S ← max(0, S + x − μ₀ − k)` (Page 1954) after each value; an alarm is the first above the limit h.
pub fn cusum(values: &[f64], target: f64, slack: f64) -> Vec<f64> {
    let mut sum = 0.0f64;
    values
        .iter()
        .map(|value| {
            sum = (sum + value - target - slack).max(0.0);
            sum
        })
        .collect()
}

/// Exponentially weighted means `m ← (1 − λ)·m + λ·x` (Roberts 1959) after each value, from `start`.
pub fn ewma(values: &[f64], start: f64, weight: f64) -> Vec<f64> {
    let mut mean = start;
    values
        .iter()
        .map(|value| {
            mean = (1.0 - weight) * mean + weight * value;
            mean
        })
        .collect()
}

/// Population stability index `Σ(q − p)·ln(q/p)` of the shares of bins before (p) and now (q); above 0.2 the scores have drifted.
/// Infinite where a bin that was filled is empty or the other way round, and 0 for a bin that is empty in both.
pub fn stability_index(before: &[f64], now: &[f64]) -> f64 {
    assert_eq!(before.len(), now.len(), "the same bins before and now");
    let part = |(p, q): (&f64, &f64)| if p == q { 0.0 } else { (q - p) * (q / p).ln() };
    before.iter().zip(now).map(part).sum()
}

/// Gini coefficient of amounts at or above 0 (reactions per user): 0 where all are alike, near 1 where one holds everything. `None`
/// without any amount.
pub fn gini(amounts: &[f64]) -> Option<f64> {
    assert!(amounts.iter().all(|amount| *amount >= 0.0), "amounts are at or above 0");
    let mut sorted = amounts.to_vec();
    sorted.sort_by(f64::total_cmp);
    let total: f64 = sorted.iter().sum();
    let n = sorted.len() as f64;
    let ranked: f64 =
        sorted.iter().enumerate().map(|(rank, amount)| (2.0 * (rank as f64 + 1.0) - n - 1.0) * amount).sum();
    (total > 0.0).then(|| ranked / (n * total))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: &[f64], expected: &[f64]) {
        assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6) && got.len() == expected.len(), "{got:?}");
    }

    /// Specification C §6.5 and §5.2.
    #[test]
    fn goldens() {
        let x = [0.007, 0.008, 0.012, 0.020, 0.028];
        let sums = cusum(&x, 0.0072, 0.004);
        near(&sums, &[0.0, 0.0, 0.0008, 0.0096, 0.0264]);
        assert_eq!(sums.iter().position(|sum| *sum > 0.02), Some(4));
        near(&ewma(&x, 0.0072, 0.2), &[0.007160, 0.007328, 0.008262, 0.010610, 0.014088]);
        near(&[stability_index(&[0.5, 0.3, 0.2], &[0.4, 0.35, 0.25])], &[0.041179]);
    }

    #[test]
    fn concentration() {
        assert_eq!(gini(&[2.0, 2.0, 2.0]), Some(0.0));
        assert_eq!(gini(&[0.0, 0.0, 0.0, 8.0]), Some(0.75));
        assert_eq!((gini(&[]), gini(&[0.0])), (None, None));
        assert_eq!(stability_index(&[0.0, 1.0], &[0.0, 1.0]), 0.0);
        assert_eq!(stability_index(&[0.0, 1.0], &[0.5, 0.5]), f64::INFINITY);
    }
}
