//! The bootstrap over units, as a check on formulas.

use lapidary_core::Key;

/// Percentile interval of the difference of two ratios of sums (treatment less control; a denominator of 1 each makes them means), where
/// each resample weighs each unit by a Poisson(1) count (Chamandy et al. 2012, "Estimating Uncertainty for Massive Data Streams").
/// `None` if an arm has no unit, or a resample no denominator.
///
/// The count of a unit depends on the key, the resample, the arm and its place only, so the interval is the same on every machine.
pub fn poisson_bootstrap(
    control: &[(f64, f64)],
    treatment: &[(f64, f64)],
    resamples: usize,
    alpha: f64,
    key: Key,
) -> Option<(f64, f64)> {
    assert!(resamples > 1, "an interval needs resamples");
    let resampled = |units: &[(f64, f64)], key: Key| {
        let (mut numerators, mut denominators) = (0.0, 0.0);
        for (place, (numerator, denominator)) in units.iter().enumerate() {
            let count = poisson_one(key.at(place as u64).uniform());
            numerators += count * numerator;
            denominators += count * denominator;
        }
        (denominators > 0.0).then(|| numerators / denominators)
    };
    let mut differences = Vec::with_capacity(resamples);
    for resample in 0..resamples as u64 {
        let key = key.at(resample);
        differences.push(resampled(treatment, key.at(1))? - resampled(control, key.at(0))?);
    }
    differences.sort_by(f64::total_cmp);
    let at = |share: f64| differences[((share * resamples as f64) as usize).min(resamples - 1)];
    Some((at(0.5 * alpha), at(1.0 - 0.5 * alpha)))
}

/// Poisson(1) by inversion of a uniform number.
fn poisson_one(uniform: f64) -> f64 {
    let (mut count, mut term) = (0.0, (-1.0f64).exp());
    let mut sum = term;
    // The 53 bits of a uniform number end before the twentieth term.
    while uniform >= sum && count < 20.0 {
        count += 1.0;
        term /= count;
        sum += term;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Comoments, Moments, means, ratio};
    use lapidary_core::Purpose;

    fn units(arm: u64, shift: f64) -> Vec<(f64, f64)> {
        let key = Key::new(9, Purpose::Task).at(arm);
        (0..600)
            .map(|unit| {
                let trials = 1.0 + key.at(unit).at(0).below(9) as f64;
                (trials * (0.3 + shift + 0.1 * key.at(unit).at(1).normal()), trials)
            })
            .collect()
    }

    #[test]
    fn it_agrees_with_the_formulas() {
        let (control, treatment) = (units(0, 0.0), units(1, 0.02));
        let key = Key::new(1, Purpose::Bootstrap);
        let delta = |units: &[(f64, f64)]| ratio(&Comoments::of(units.iter().copied())).unwrap();
        let test = delta(&treatment).less(&delta(&control)).test(0.05).unwrap();
        let (low, high) = poisson_bootstrap(&control, &treatment, 2000, 0.05, key).unwrap();
        let width = test.high - test.low;
        assert!(
            (low - test.low).abs() < 0.06 * width && (high - test.high).abs() < 0.06 * width,
            "{low} {high} {test:?}"
        );
        let single = |units: &[(f64, f64)]| units.iter().map(|unit| (unit.0, 1.0)).collect::<Vec<_>>();
        let moments = |units: &[(f64, f64)]| Moments::of(units.iter().map(|unit| unit.0));
        let test = means(&moments(&control), &moments(&treatment)).unwrap().test(0.05).unwrap();
        let (low, high) = poisson_bootstrap(&single(&control), &single(&treatment), 2000, 0.05, key).unwrap();
        let width = test.high - test.low;
        assert!(
            (low - test.low).abs() < 0.06 * width && (high - test.high).abs() < 0.06 * width,
            "{low} {high} {test:?}"
        );
        assert_eq!(poisson_bootstrap(&[], &treatment, 10, 0.05, key), None);
    }

    #[test]
    fn the_counts_are_poisson() {
        let key = Key::new(2, Purpose::Bootstrap);
        let counts = Moments::of((0..40_000).map(|i| poisson_one(key.at(i).uniform())));
        assert!((counts.mean - 1.0).abs() < 0.02 && (counts.variance().unwrap() - 1.0).abs() < 0.03, "{counts:?}");
        assert_eq!(
            (poisson_one(0.0), poisson_one(0.3678), poisson_one(0.3679), poisson_one(0.7358)),
            (0.0, 0.0, 1.0, 2.0)
        );
        assert!(poisson_one(1.0 - 1e-16) <= 20.0);
    }
}
