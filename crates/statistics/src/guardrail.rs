//! Guardrails: showing that something did not get worse by more than a margin.

use crate::effect::{Effect, Tail};
use crate::interval::score_limits;

/// Test that the difference is above `−margin` (Schuirmann 1987, one side): `z = (d̂ + δ)/se`, with its one-sided p. The margin is the
/// loss that one would accept; a small p shows that the loss is smaller. `None` where the variance is 0.
pub fn non_inferiority(effect: &Effect, margin: f64) -> Option<(f64, f64)> {
    let shifted = Effect { difference: effect.difference + margin, ..*effect };
    Some((shifted.difference / shifted.se(), shifted.p(Tail::Above)?))
}

/// Interval of a difference of proportions from the score intervals of both (Newcombe 1998, Statistics in Medicine 17:873–890, method
/// 10), which keeps a width where no unit, or every one, is a success. `z` is the normal quantile of each side. `None` if an arm is empty.
pub fn newcombe(control: (u64, u64), treatment: (u64, u64), z: f64) -> Option<(f64, f64)> {
    if control.1 == 0 || treatment.1 == 0 {
        return None;
    }
    let part = |(successes, units): (u64, u64)| {
        let (low, high) = score_limits(successes as f64, units as f64, z);
        (successes as f64 / units as f64, low, high)
    };
    let ((c, c_low, c_high), (t, t_low, t_high)) = (part(control), part(treatment));
    Some((t - c - (t - t_low).hypot(c_high - c), t - c + (t_high - t).hypot(c - c_low)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Z_95;

    /// Specification C §7.
    #[test]
    fn golden_of_non_inferiority() {
        let effect = Effect { difference: -0.004, variance: 0.003 * 0.003, degrees: None };
        let (z, p) = non_inferiority(&effect, 0.01).unwrap();
        assert!((z - 2.0).abs() < 1e-12 && (p - 0.022750).abs() < 1e-6, "{z} {p}");
        assert!(non_inferiority(&effect, 0.001).unwrap().1 > 0.5);
        assert_eq!(non_inferiority(&Effect { variance: 0.0, ..effect }, 0.01), None);
    }

    /// Newcombe's table II: 56/70 against 48/80 is 0.0524 … 0.3339, 10/10 against 0/10 is 0.6075 … 1, 0/10 against 0/20 ends at 0.2775.
    #[test]
    fn newcombe_gives_published_numbers() {
        for (treatment, control, low, high) in [
            ((56, 70), (48, 80), 0.0524, 0.3339),
            ((10, 10), (0, 10), 0.6075, 1.0),
            ((0, 10), (0, 20), -0.1611, 0.2775),
        ] {
            let (got_low, got_high) = newcombe(control, treatment, Z_95).unwrap();
            assert!((got_low - low).abs() < 5e-5 && (got_high - high).abs() < 5e-5, "{got_low} {got_high}");
        }
        assert_eq!(newcombe((0, 0), (1, 2), Z_95), None);
    }
}
