//! How many units an experiment needs, what it would find, and the least effect that it can find.

use serde::{Deserialize, Serialize};

use crate::Mixture;
use crate::special::{normal_below, normal_quantile};

/// More units than anybody has: where a search ends.
const MOST_UNITS: f64 = 1e15;

/// The metric of an experiment before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// The share of units with a success in the control arm, in (0, 1).
    Proportion(f64),
    /// Standard deviation of a unit's value.
    Mean(f64),
}

/// How the experiment will be decided.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Design {
    /// The metric.
    pub baseline: Baseline,
    /// Error rate.
    pub alpha: f64,
    /// Whether both directions count; one for guardrails (non-inferiority with the effect as the margin).
    pub two_sided: bool,
    /// Units of the treatment arm per unit of the control arm.
    pub allocation: f64,
    /// Share of the variance that a covariate explains (CUPED).
    pub explained: f64,
    /// Whether the always-valid test decides, with τ at the effect; else the fixed-horizon test.
    pub sequential: bool,
}

impl Design {
    /// Two-sided fixed-horizon test of equal arms without covariates at α = 0.05.
    pub fn new(baseline: Baseline) -> Self {
        Self { baseline, alpha: 0.05, two_sided: true, allocation: 1.0, explained: 0.0, sequential: false }
    }

    /// Variance of the difference for one control unit: if there is no effect (pooled), and with it.
    fn variances(&self, effect: f64) -> (f64, f64) {
        let (left, k) = (1.0 - self.explained, self.allocation);
        match self.baseline {
            Baseline::Mean(sd) => {
                let variance = left * sd * sd * (1.0 + 1.0 / k);
                (variance, variance)
            }
            Baseline::Proportion(p) => {
                let t = (p + effect).clamp(0.0, 1.0);
                let pooled = (p + k * t) / (1.0 + k);
                let alternative = p * (1.0 - p) + t * (1.0 - t) / k;
                (left * pooled * (1.0 - pooled) * (1.0 + 1.0 / k), left * alternative)
            }
        }
    }

    fn critical(&self) -> f64 {
        normal_quantile(1.0 - if self.two_sided { 0.5 * self.alpha } else { self.alpha })
    }
}

/// Probability that an effect of this size is found with `units` in the control arm (and `allocation` times as many in the other).
///
/// ```text
/// Φ((|Δ|·√n − z·√v₀)/√v₁) + Φ((−|Δ|·√n − z·√v₀)/√v₁)      v₀ = p̄q̄·(1 + 1/k), v₁ = p_c·q_c + p_t·q_t/k
/// ```
/// The second part is left out for one side. For the always-valid test it is the probability that the confidence sequence leaves
/// out 0 at the last look, which is below that of any look.
pub fn power(design: &Design, effect: f64, units: f64) -> f64 {
    let (null, alternative) = design.variances(effect);
    if alternative == 0.0 {
        return f64::from(u8::from(effect != 0.0));
    }
    let size = effect.abs() * units.sqrt();
    let bar = if design.sequential {
        if effect == 0.0 {
            return 0.0;
        }
        let alpha = if design.two_sided { design.alpha } else { 2.0 * design.alpha };
        let variance = alternative / units;
        Mixture::new(effect.abs()).half_width(variance, alpha) * units.sqrt()
    } else {
        design.critical() * null.sqrt()
    };
    let near = normal_below((size - bar) / alternative.sqrt());
    let far = normal_below((-size - bar) / alternative.sqrt());
    if design.two_sided { near + far } else { near }
}

/// Units of the control arm that find an effect with the wanted power, as a real number; `None` for an effect of 0, or one that
/// needs more units than anybody has.
///
/// ```text
/// n = (z·√v₀ + z_β·√v₁)²/Δ²
/// ```
/// The equation leaves out the far side, as is usual, because a rejection there would be an error of sign.
pub fn units_per_arm(design: &Design, effect: f64, wanted: f64) -> Option<f64> {
    if effect == 0.0 {
        return None;
    }
    let units = if design.sequential {
        least(|units| power(design, effect, units) >= wanted, 1.0, MOST_UNITS)?
    } else {
        let (null, alternative) = design.variances(effect);
        let sum = design.critical() * null.sqrt() + normal_quantile(wanted) * alternative.sqrt();
        (sum / effect).powi(2)
    };
    (units <= MOST_UNITS).then_some(units)
}

/// The least rise that is found with the wanted power from `units` control units; for means the closed form
/// `(z + z_β)·√(v/n)`. `None` where even a rise to 100 % would not be found.
pub fn detectable(design: &Design, units: f64, wanted: f64) -> Option<f64> {
    match design.baseline {
        Baseline::Mean(_) if !design.sequential => {
            let spread = (design.variances(0.0).0 / units).sqrt();
            Some((design.critical() + normal_quantile(wanted)) * spread)
        }
        Baseline::Mean(sd) => least(|effect| power(design, effect, units) >= wanted, sd * 1e-9, sd * 1e9),
        Baseline::Proportion(p) => {
            let most = 1.0 - p;
            let found = |effect: f64| units_per_arm(design, effect, wanted).is_some_and(|needed| needed <= units);
            least(found, most * 1e-9, most)
        }
    }
}

/// The least number between two from which a condition holds, to the last digits. `None` where it does not hold at the end.
fn least(holds: impl Fn(f64) -> bool, mut low: f64, mut high: f64) -> Option<f64> {
    if holds(low) {
        return Some(low);
    }
    if !holds(high) {
        return None;
    }
    // In logarithms, because sizes span many powers of ten.
    for _ in 0..200 {
        let middle = (low * high).sqrt();
        if holds(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapidary_core::{Key, Purpose};
    use proptest::prelude::*;

    /// Specification C §7.
    #[test]
    fn goldens() {
        for (p, relative, expected) in
            [(0.003, 0.05, 2_138_762.298), (0.003, 0.10, 547_689.724), (0.05, 0.05, 122_123.465)]
        {
            let units = units_per_arm(&Design::new(Baseline::Proportion(p)), p * relative, 0.8).unwrap();
            assert!((units - expected).abs() < 1e-3, "{units}");
        }
        let found = power(&Design::new(Baseline::Proportion(0.05)), 0.005, 30_000.0);
        assert!((found - 0.783992).abs() < 1e-6, "{found}");
        let mde = detectable(&Design::new(Baseline::Mean(1.0)), 10_000.0, 0.8).unwrap();
        assert!((mde - 0.039620).abs() < 1e-6, "{mde}");
    }

    #[test]
    fn the_three_questions_have_one_answer() {
        for sequential in [false, true] {
            for baseline in [Baseline::Proportion(0.05), Baseline::Mean(0.3)] {
                let design = Design { allocation: 0.25, explained: 0.4, sequential, ..Design::new(baseline) };
                let units = units_per_arm(&design, 0.01, 0.9).unwrap();
                assert!((detectable(&design, units, 0.9).unwrap() / 0.01 - 1.0).abs() < 1e-6);
                assert!((power(&design, 0.01, units) - 0.9).abs() < 1e-6);
            }
        }
        let tiny = Design::new(Baseline::Proportion(0.5));
        assert_eq!((detectable(&tiny, 2.0, 0.8), units_per_arm(&tiny, 0.0, 0.8)), (None, None));
        // Looking at any time costs units, a covariate saves its share.
        let fixed = Design::new(Baseline::Mean(1.0));
        let units = |design: Design| units_per_arm(&design, 0.05, 0.8).unwrap();
        assert!(units(Design { sequential: true, ..fixed }) > 1.3 * units(fixed));
        assert!((units(Design { explained: 0.5, ..fixed }) / units(fixed) - 0.5).abs() < 1e-12);
        assert!(units(Design { two_sided: false, ..fixed }) < units(fixed));
    }

    /// Promised power is found power: 4,000 experiments with binomial counts by their normal limit.
    #[test]
    fn power_is_what_happens() {
        let design = Design { allocation: 2.0, ..Design::new(Baseline::Proportion(0.1)) };
        let (n, p, t) = (2000.0, 0.1, 0.125);
        let key = Key::new(4, Purpose::Task);
        let count = |key: Key, n: f64, p: f64| (n * p + (n * p * (1.0 - p)).sqrt() * key.normal()).round() as u64;
        let found = (0..4000u64)
            .filter(|&run| {
                let control = (count(key.at(run).at(0), n, p), n as u64);
                let treatment = (count(key.at(run).at(1), 2.0 * n, t), 2 * n as u64);
                crate::z_test(control, treatment).unwrap().1 < 0.05
            })
            .count() as f64;
        let promised = power(&design, t - p, n);
        assert!((found / 4000.0 - promised).abs() < 0.02, "{found} {promised}");
    }

    proptest! {
        #[test]
        fn more_units_and_larger_effects_are_found_more(effect in 0.001f64..0.2, units in 10.0f64..1e6) {
            let design = Design::new(Baseline::Proportion(0.3));
            prop_assert!(power(&design, effect, units * 2.0) >= power(&design, effect, units) - 1e-12);
            prop_assert!(power(&design, effect * 2.0, units) >= power(&design, effect, units) - 1e-12);
        }
    }
}
