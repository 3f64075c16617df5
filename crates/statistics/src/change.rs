//! Relative change: treatment over control, less 1.

use serde::{Deserialize, Serialize};

use crate::Moments;
use crate::special::normal_quantile;

/// Relative change with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lift {
    /// `t/c − 1`.
    pub lift: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// From the logarithm of a quotient and its standard error: the interval is symmetric there and never falls below −1.
fn of_logarithm(quotient: f64, variance: f64, alpha: f64) -> Lift {
    let half = normal_quantile(1.0 - 0.5 * alpha) * variance.sqrt();
    Lift { lift: quotient - 1.0, low: quotient * (-half).exp() - 1.0, high: quotient * half.exp() - 1.0 }
}

/// Relative change of a proportion by the delta method on its logarithm, `se² = q_c/x_c + q_t/x_t` for x successes (Katz et al.
/// 1978). `None` without a success in either arm.
pub fn lift_of_proportions(control: (u64, u64), treatment: (u64, u64), alpha: f64) -> Option<Lift> {
    let part = |(successes, units): (u64, u64)| {
        let p = successes as f64 / units as f64;
        (successes > 0).then(|| (p, (1.0 - p) / successes as f64))
    };
    let ((c, c_variance), (t, t_variance)) = (part(control)?, part(treatment)?);
    Some(of_logarithm(t / c, c_variance + t_variance, alpha))
}

/// Relative change of a mean (or any estimate) by the delta method on its logarithm: `se² = v_c/m_c² + v_t/m_t²` for means `m` with
/// variances `v` of the means. `None` unless both means are above 0.
pub fn lift_of_means(control: (f64, f64), treatment: (f64, f64), alpha: f64) -> Option<Lift> {
    let relative = |(mean, variance): (f64, f64)| variance / (mean * mean);
    let defined = control.0 > 0.0 && treatment.0 > 0.0;
    defined.then(|| of_logarithm(treatment.0 / control.0, relative(control) + relative(treatment), alpha))
}

impl Moments {
    /// The mean and its variance, as [`lift_of_means`] takes them; a single unit has variance 0.
    pub fn mean_and_variance(&self) -> (f64, f64) {
        (self.mean, self.variance_of_mean().unwrap_or(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The golden of proportions is in `effect`; for 0s and 1s both forms agree up to n/(n − 1).
    #[test]
    fn means_and_proportions_agree() {
        let moments = |ones: usize, n: usize| Moments::of((0..n).map(|i| f64::from(u8::from(i < ones))));
        let (c, t) = (moments(300, 10_000), moments(450, 10_000));
        let by_means = lift_of_means(c.mean_and_variance(), t.mean_and_variance(), 0.05).unwrap();
        let by_counts = lift_of_proportions((300, 10_000), (450, 10_000), 0.05).unwrap();
        assert!((by_means.low - by_counts.low).abs() < 1e-4 && (by_means.high - by_counts.high).abs() < 1e-4);
        assert_eq!(lift_of_proportions((0, 10), (1, 10), 0.05), None);
        assert_eq!(lift_of_means((0.0, 1.0), (1.0, 1.0), 0.05), None);
        assert_eq!(lift_of_means((1.0, 1.0), (-1.0, 1.0), 0.05), None);
    }
}
