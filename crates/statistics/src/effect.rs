//! The difference between two arms: an estimate, its variance, and the tests that only need these two.

use serde::{Deserialize, Serialize};

use crate::Moments;
use crate::special::{normal_above, normal_quantile, student_t_quantile, student_t_two_sided};

/// Treatment less control, with the variance of that difference. Every metric comes down to this pair, so that fixed and
/// sequential tests, guardrails and covariates share one path (specification C §7).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Estimated difference d̂.
    pub difference: f64,
    /// Its variance v̂.
    pub variance: f64,
    /// How far the difference's own variance is known: Student's degrees of freedom, `None` for the normal.
    pub degrees: Option<f64>,
}

/// Which side of a difference counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tail {
    /// Either.
    Both,
    /// Only above 0.
    Above,
    /// Only below 0.
    Below,
}

/// Result of a fixed-horizon test: valid at one look, decided before the data came.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// z or t.
    pub statistic: f64,
    /// Probability of a statistic at least this far out if there is no difference.
    pub p: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Effect {
    /// Standard error.
    pub fn se(&self) -> f64 {
        self.variance.sqrt()
    }

    /// Two-sided fixed-horizon test with its `1 − alpha` interval; `None` where the variance is 0, because then a test says nothing.
    pub fn test(&self, alpha: f64) -> Option<Test> {
        let (se, d) = (self.se(), self.difference);
        if se == 0.0 {
            return None;
        }
        let statistic = d / se;
        let (p, point) = match self.degrees {
            Some(degrees) => (student_t_two_sided(statistic, degrees), student_t_quantile(alpha, degrees)),
            None => (2.0 * normal_above(statistic.abs()), normal_quantile(1.0 - 0.5 * alpha)),
        };
        Some(Test { statistic, p, low: d - point * se, high: d + point * se })
    }

    /// The p-value of one side; `None` where the variance is 0.
    pub fn p(&self, tail: Tail) -> Option<f64> {
        let se = self.se();
        if se == 0.0 {
            return None;
        }
        let statistic = self.difference / se;
        let above = |statistic: f64| match self.degrees {
            None => normal_above(statistic),
            Some(degrees) => {
                let both = student_t_two_sided(statistic, degrees);
                if statistic > 0.0 { 0.5 * both } else { 1.0 - 0.5 * both }
            }
        };
        Some(match tail {
            Tail::Both => (2.0 * above(statistic.abs())).min(1.0),
            Tail::Above => above(statistic),
            Tail::Below => above(-statistic),
        })
    }
}

/// Difference of two means of independent units (Welch 1947), with Satterthwaite's degrees of freedom. `None` if an arm has fewer
/// than two units.
///
/// ```text
/// v̂ = s²_t/n_t + s²_c/n_c      ν = v̂² / ((s²_t/n_t)²/(n_t−1) + (s²_c/n_c)²/(n_c−1))
/// ```
pub fn means(control: &Moments, treatment: &Moments) -> Option<Effect> {
    let (c, t) = (control.variance_of_mean()?, treatment.variance_of_mean()?);
    let variance = c + t;
    let spread = c * c / (control.count - 1) as f64 + t * t / (treatment.count - 1) as f64;
    let degrees = (spread > 0.0).then(|| variance * variance / spread);
    Some(Effect { difference: treatment.mean - control.mean, variance, degrees })
}

/// Difference of two proportions with the unpooled (Wald) variance `p_c·q_c/n_c + p_t·q_t/n_t`. `None` if an arm has no units.
///
/// # Panics
/// With more successes than units: a bug of the caller.
pub fn proportions(control: (u64, u64), treatment: (u64, u64)) -> Option<Effect> {
    let part = |(successes, units): (u64, u64)| {
        assert!(successes <= units, "{successes} successes of {units}");
        let p = successes as f64 / units as f64;
        (units > 0).then(|| (p, p * (1.0 - p) / units as f64))
    };
    let ((c, c_variance), (t, t_variance)) = (part(control)?, part(treatment)?);
    Some(Effect { difference: t - c, variance: c_variance + t_variance, degrees: None })
}

/// The pooled two-proportion z-test `z = (p_t − p_c)/√(p̄·q̄·(1/n_c + 1/n_t))`: statistic and two-sided p. `None` where all units are
/// alike or an arm is empty.
pub fn z_test(control: (u64, u64), treatment: (u64, u64)) -> Option<(f64, f64)> {
    let effect = proportions(control, treatment)?;
    let (n_c, n_t) = (control.1 as f64, treatment.1 as f64);
    let pooled = (control.0 + treatment.0) as f64 / (n_c + n_t);
    let variance = pooled * (1.0 - pooled) * (1.0 / n_c + 1.0 / n_t);
    let z = effect.difference / variance.sqrt();
    (variance > 0.0).then(|| (z, 2.0 * normal_above(z.abs())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{lift_of_proportions, wilson};
    use proptest::prelude::*;

    fn near(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-6, "got {got}, expected {expected}");
    }

    /// Specification C §7, first three rows and the tripwire of §6.5.
    #[test]
    fn goldens_of_two_proportions() {
        let (z, p) = z_test((30, 1000), (45, 1000)).unwrap();
        near(z, 1.765470);
        near(p, 0.077485);
        let test = proportions((30, 1000), (45, 1000)).unwrap().test(0.05).unwrap();
        near(test.low, -0.001640);
        near(test.high, 0.031640);
        let (z, p) = z_test((1200, 400_000), (1536, 400_000)).unwrap();
        near(z, 6.434653);
        assert!((p / 1.237555e-10 - 1.0).abs() < 1e-6, "{p:e}");
        let effect = proportions((1200, 400_000), (1536, 400_000)).unwrap();
        let test = effect.test(0.05).unwrap();
        for (got, expected) in [(effect.difference, 0.00084), (test.low, 0.000584147), (test.high, 0.001095853)] {
            assert!((got - expected).abs() < 1e-9, "{got}");
        }
        let lift = lift_of_proportions((1200, 400_000), (1536, 400_000), 0.05).unwrap();
        near(lift.lift, 0.28);
        near(lift.low, 0.187054);
        near(lift.high, 0.380224);
        let interval = wilson(45, 1000).unwrap();
        near(interval.low, 0.033800);
        near(interval.high, 0.059683);
        near(z_test((72, 10_000), (280, 10_000)).unwrap().0, 11.185305);
    }

    #[test]
    fn golden_of_welch() {
        let control = Moments::of([3.1, 2.4, 4.0, 3.6, 2.9]);
        let treatment = Moments::of([4.2, 3.9, 5.1, 4.8, 3.3, 4.6]);
        let effect = means(&control, &treatment).unwrap();
        let test = effect.test(0.05).unwrap();
        near(test.statistic, 2.896663);
        near(effect.degrees.unwrap(), 8.806346);
        near(test.p, 0.018089);
        near(effect.se(), 0.385501);
        near(test.low, 0.241671);
        near(test.high, 1.991663);
        near(effect.p(Tail::Above).unwrap(), 0.5 * test.p);
        near(effect.p(Tail::Below).unwrap(), 1.0 - 0.5 * test.p);
    }

    #[test]
    fn where_nothing_can_be_said() {
        assert_eq!(proportions((0, 0), (1, 2)), None);
        assert_eq!(z_test((0, 10), (0, 10)), None);
        assert_eq!(proportions((10, 10), (10, 10)).unwrap().test(0.05), None);
        assert_eq!(means(&Moments::of([1.0]), &Moments::of([1.0, 2.0])), None);
        assert_eq!(means(&Moments::of([1.0, 1.0]), &Moments::of([2.0, 2.0])).unwrap().test(0.05), None);
        assert_eq!(means(&Moments::of([1.0, 1.0]), &Moments::of([2.0, 2.0])).unwrap().p(Tail::Above), None);
    }

    proptest! {
        /// Exchanging the arms turns the sign, and the interval leaves out 0 exactly where p < α.
        #[test]
        fn a_test_is_its_interval(a in prop::collection::vec(-9.0f64..9.0, 2..20), b in prop::collection::vec(-9.0f64..9.0, 2..20)) {
            let (a, b) = (Moments::of(a), Moments::of(b));
            let (one, other) = (means(&a, &b).unwrap(), means(&b, &a).unwrap());
            prop_assert_eq!(one.difference, -other.difference);
            if let Some(test) = one.test(0.05).filter(|test| (test.p - 0.05).abs() > 1e-9) {
                prop_assert_eq!(test.p < 0.05, test.low > 0.0 || test.high < 0.0);
            }
        }
    }
}
