//! Tests that may be looked at any time: the mixture sequential probability ratio test and its confidence sequence.

use serde::{Deserialize, Serialize};

/// A normal mixture N(0, τ²) over effects (Robbins 1970; Johari, Pekelis & Walsh 2015, arXiv 1512.04922, §4). Whatever τ is, the error
/// rate over all looks together is at most α (Ville 1939); power is best where τ is about the size of the effect. τ must be
/// chosen before the first look.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mixture {
    /// Standard deviation of the mixture, in units of the metric.
    pub tau: f64,
}

impl Mixture {
    /// A mixture of a standard deviation, a finite number above 0.
    pub fn new(tau: f64) -> Self {
        assert!(tau > 0.0 && tau.is_finite(), "τ must be above 0, got {tau}");
        Self { tau }
    }

    /// The mixture whose confidence sequence is narrowest when there are `units` units per arm: `τ = ρ·√V` for the variance `V = n·v̂`
    /// of one unit of each arm, `ρ = √((−2·ln α + ln(1 − 2·ln α))/units)` (Waudby-Smith et al. 2021, arXiv 2103.06476, §B.2).
    pub fn tuned(units: f64, unit_variance: f64, alpha: f64) -> Self {
        let spent = -2.0 * alpha.ln();
        Self::new(((spent + spent.ln_1p()) / units * unit_variance).sqrt())
    }

    /// Logarithm of the likelihood ratio of the mixture against no effect, for an estimate with variance `v`:
    ///
    /// ```text
    /// Λ = √(v/(v+τ²)) · exp(τ²·d²/(2·v·(v+τ²)))
    /// ```
    pub fn ln_likelihood_ratio(&self, difference: f64, variance: f64) -> f64 {
        assert!(variance > 0.0, "an estimate has a variance, got {variance}");
        let (tau2, sum) = (self.tau * self.tau, variance + self.tau * self.tau);
        0.5 * (variance / sum).ln() + tau2 * difference * difference / (2.0 * variance * sum)
    }

    /// `min(1, 1/Λ)`. The least of these over all looks so far ([`running_minimum`]) is a p-value at any time.
    pub fn p(&self, difference: f64, variance: f64) -> f64 {
        (-self.ln_likelihood_ratio(difference, variance)).exp().min(1.0)
    }

    /// Half width of the confidence sequence: `d̂ ± half` holds the truth at all looks together with probability `1 − alpha`.
    ///
    /// ```text
    /// half = √(v·(v+τ²)/τ² · (2·ln(1/α) + ln((v+τ²)/v)))
    /// ```
    pub fn half_width(&self, variance: f64, alpha: f64) -> f64 {
        let (tau2, sum) = (self.tau * self.tau, variance + self.tau * self.tau);
        (variance * sum / tau2 * (-2.0 * alpha.ln() + (sum / variance).ln())).sqrt()
    }
}

/// The least value so far at each place: p-values of single looks become p-values at any time.
pub fn running_minimum(values: &[f64]) -> Vec<f64> {
    let mut least = f64::INFINITY;
    values
        .iter()
        .map(|value| {
            least = least.min(*value);
            least
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn near(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-6, "got {got}, expected {expected}");
    }

    fn two_sample(n: f64, c: f64, t: f64) -> (f64, f64) {
        (t - c, (c * (1.0 - c) + t * (1.0 - t)) / n)
    }

    /// Specification C §7, τ² = 1e-4.
    #[test]
    fn goldens() {
        let mixture = Mixture::new(0.01);
        let (d, v) = two_sample(5000.0, 0.05, 0.062);
        near(mixture.ln_likelihood_ratio(d, v), 1.939825);
        near(mixture.ln_likelihood_ratio(d, v).exp(), 6.957536);
        near(mixture.p(d, v), 0.143729);
        near(mixture.half_width(v, 0.05), 0.014073);
        let fixed = 1.959963984540054 * v.sqrt();
        near(fixed, 0.009010);
        assert!((mixture.half_width(v, 0.05) / fixed - 1.56).abs() < 0.005);
        let (d, v) = two_sample(1000.0, 0.05, 0.07);
        near(mixture.ln_likelihood_ratio(d, v).exp(), 1.678130);
        near(mixture.p(d, v), 0.595902);
        let (d, v) = two_sample(5000.0, 0.05, 0.052);
        near(mixture.ln_likelihood_ratio(d, v).exp(), 0.439143);
        assert_eq!(mixture.p(d, v), 1.0);
        assert_eq!(running_minimum(&[1.0, 0.6, 0.3, 0.5, 0.04]), [1.0, 0.6, 0.3, 0.3, 0.04]);
        // Tuned at n = 5000: ρ = 0.039840, half 0.013952.
        let (_, v) = two_sample(5000.0, 0.05, 0.062);
        let tuned = Mixture::tuned(5000.0, 5000.0 * v, 0.05);
        near(tuned.tau / (5000.0 * v).sqrt(), 0.039840);
        near(tuned.half_width(v, 0.05), 0.013952);
    }

    /// The likelihood ratio is the integral that it claims to be, by the trapezoid rule on ±12 standard deviations.
    #[test]
    fn the_ratio_is_the_integral_over_effects() {
        let (d, v, tau) = (0.012f64, 2.1e-5f64, 0.01f64);
        let steps = 20_000;
        let integral: f64 = (0..=steps)
            .map(|step| {
                let effect = tau * (24.0 * f64::from(step) / f64::from(steps) - 12.0);
                let density = (-0.5 * (effect / tau).powi(2)).exp() / (tau * (std::f64::consts::TAU).sqrt());
                density * ((d * effect - 0.5 * effect * effect) / v).exp() * 24.0 * tau / f64::from(steps)
            })
            .sum();
        assert!((integral.ln() - Mixture::new(tau).ln_likelihood_ratio(d, v)).abs() < 1e-9);
    }

    proptest! {
        /// Λ ≥ 1/α exactly where the confidence sequence leaves out 0.
        #[test]
        fn the_sequence_is_dual_to_the_test(d in -0.1f64..0.1, v in 1e-7f64..1e-2, tau in 1e-4f64..1.0, alpha in 0.001f64..0.3) {
            let mixture = Mixture::new(tau);
            let (p, half) = (mixture.p(d, v), mixture.half_width(v, alpha));
            if (d.abs() / half - 1.0).abs() > 1e-9 {
                prop_assert_eq!(p < alpha, d.abs() > half);
            }
        }

        /// The tuned mixture is the narrowest at its own size.
        #[test]
        fn tuning_is_best_at_its_size(n in 100.0f64..1e6, factor in 0.2f64..5.0) {
            let tuned = Mixture::tuned(n, 1.0, 0.05);
            let other = Mixture::new(tuned.tau * factor);
            prop_assert!(tuned.half_width(1.0 / n, 0.05) <= other.half_width(1.0 / n, 0.05) * 1.002);
        }
    }
}
