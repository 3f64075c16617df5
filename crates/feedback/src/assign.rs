//! Which arm a unit sees: a pure function of experiment, salt and unit, which any other program can recompute.

use sha2::{Digest, Sha256};

/// A unit's place in `[0, 1)`: the first eight bytes of `sha256("experiment|salt|unit")`, big-endian, over 2⁶⁴ (specification C §6.3).
///
/// A salt of its own makes the places of an experiment independent of those of all others.
///
/// ```
/// use lapidary_feedback::assign::place;
/// assert!((place("exp-1", "salt-a", "user-42") - 0.140748).abs() < 1e-6);
/// ```
pub fn place(experiment: &str, salt: &str, unit: &str) -> f64 {
    // 2⁻⁶⁴ is exact; the quotient rounds to at most 1 − 2⁻⁵³ after the clamp.
    (bits(experiment, salt, unit) as f64 / 2f64.powi(64)).min(1.0f64.next_down())
}

fn bits(experiment: &str, salt: &str, unit: &str) -> u64 {
    let digest = Sha256::digest(format!("{experiment}|{salt}|{unit}").as_bytes());
    digest.iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

/// What share of the units sees which arm. Shares are cumulative in the order given.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// Name and upper end of each arm's interval of places; the last end is 1.
    arms: Vec<(String, f64)>,
}

/// Why a split cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrongSplit {
    /// There is no arm.
    NoArm,
    /// A weight is not a number at or above 0, or all are 0.
    Weight,
    /// Two arms have this name.
    Twice(String),
}

impl std::fmt::Display for WrongSplit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WrongSplit::NoArm => write!(f, "a split needs at least one arm"),
            WrongSplit::Weight => write!(f, "weights are numbers at or above 0, and not all 0"),
            WrongSplit::Twice(name) => write!(f, "the arm `{name}` stands twice in the split"),
        }
    }
}

impl std::error::Error for WrongSplit {}

impl Split {
    /// Arms with weights, which are shares of their sum.
    ///
    /// # Errors
    /// No arm, a weight that is none, a name twice.
    pub fn new(weights: &[(String, f64)]) -> Result<Self, WrongSplit> {
        let total: f64 = weights.iter().map(|arm| arm.1).sum();
        if weights.is_empty() {
            return Err(WrongSplit::NoArm);
        }
        if !weights.iter().all(|arm| arm.1 >= 0.0) || !total.is_finite() || total <= 0.0 {
            return Err(WrongSplit::Weight);
        }
        let again = |(at, arm): &(usize, &(String, f64))| weights[..*at].iter().any(|earlier| earlier.0 == arm.0);
        if let Some((_, arm)) = weights.iter().enumerate().find(again) {
            return Err(WrongSplit::Twice(arm.0.clone()));
        }
        let mut sum = 0.0;
        let mut arms: Vec<(String, f64)> = weights
            .iter()
            .map(|(name, weight)| {
                sum += weight;
                (name.clone(), sum / total)
            })
            .collect();
        // Units past the last end would see no arm; an arm of weight 0 at the end must stay empty.
        if let Some(last) = weights.iter().rposition(|arm| arm.1 > 0.0) {
            arms[last..].iter_mut().for_each(|arm| arm.1 = 1.0);
        }
        Ok(Self { arms })
    }

    /// A treatment that ramps up: it holds the places below `share`, the control all above. A larger share keeps every unit that
    /// already saw the treatment.
    ///
    /// # Errors
    /// A share outside `[0, 1]`.
    pub fn ramp(control: &str, treatment: &str, share: f64) -> Result<Self, WrongSplit> {
        Self::new(&[(treatment.to_string(), share), (control.to_string(), 1.0 - share)])
    }

    /// The arm at a place, and the probability with which a unit gets it (which is to be logged).
    pub fn arm(&self, place: f64) -> (&str, f64) {
        assert!((0.0..1.0).contains(&place), "a place is in [0, 1), got {place}");
        let at = self.arms.iter().position(|arm| place < arm.1).unwrap_or(self.arms.len() - 1);
        let low = if at == 0 { 0.0 } else { self.arms[at - 1].1 };
        (&self.arms[at].0, self.arms[at].1 - low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Specification C §6.3.
    #[test]
    fn goldens() {
        assert_eq!(bits("exp-1", "salt-a", "user-42"), 0x2408_108e_958d_05a6);
        for (unit, expected) in [("user-42", 0.140748), ("user-43", 0.407832), ("user-44", 0.773080)] {
            assert!((place("exp-1", "salt-a", unit) - expected).abs() < 1e-6);
        }
    }

    fn split(weights: &[(&str, f64)]) -> Result<Split, WrongSplit> {
        Split::new(&weights.iter().map(|(name, weight)| (name.to_string(), *weight)).collect::<Vec<_>>())
    }

    #[test]
    fn arms_hold_their_intervals() {
        let even = split(&[("a", 50.0), ("b", 30.0), ("off", 0.0), ("c", 20.0), ("gone", 0.0)]).unwrap();
        let at = |place: f64| even.arm(place).0.to_string();
        assert_eq!(
            [at(0.0), at(0.499), at(0.5), at(0.799), at(0.8), at(1.0f64.next_down())],
            ["a", "a", "b", "b", "c", "c"]
        );
        assert!((even.arm(0.6).1 - 0.3).abs() < 1e-12);
        assert_eq!(split(&[]), Err(WrongSplit::NoArm));
        assert_eq!(split(&[("a", 0.0)]), Err(WrongSplit::Weight));
        assert_eq!(split(&[("a", f64::NAN), ("b", 1.0)]), Err(WrongSplit::Weight));
        assert_eq!(split(&[("a", 1.0), ("a", 1.0)]), Err(WrongSplit::Twice("a".into())));
    }

    #[test]
    fn units_spread_evenly_and_salts_are_independent() {
        let even = split(&[("a", 1.0), ("b", 1.0)]).unwrap();
        let arm = |salt: &str, unit: u32| even.arm(place("e", salt, &format!("u{unit}"))).0 == "a";
        let n = 20_000;
        let both = (0..n).filter(|unit| arm("x", *unit) && arm("y", *unit)).count() as f64;
        let one = (0..n).filter(|unit| arm("x", *unit)).count() as f64;
        // Standard deviations of 71 and 61 units.
        assert!((one - 10_000.0).abs() < 280.0 && (both - 5000.0).abs() < 250.0, "{one} {both}");
    }

    proptest! {
        #[test]
        fn a_ramp_keeps_who_was_in(unit in "[a-z0-9]{1,12}", low in 0.0f64..1.0, more in 0.0f64..1.0) {
            let at = place("e", "s", &unit);
            let narrow = Split::ramp("c", "t", low).unwrap();
            let wide = Split::ramp("c", "t", low + (1.0 - low) * more).unwrap();
            prop_assert!((0.0..1.0).contains(&at));
            prop_assert!(narrow.arm(at).0 == "c" || wide.arm(at).0 == "t");
        }
    }
}
