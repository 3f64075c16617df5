//! An experiment over its days of exposure: the always-valid p at every look, and whether the effect fades.

use lapidary_statistics::{Mixture, normal_above};

use super::estimate::Estimate;
use super::outcome::{Outcome, Shape};
use super::report::{Look, Novelty};
use super::table::Units;

/// Units (of a proportion: successes) in each arm before the first look: the variance is estimated, and below this badly.
const FIRST_LOOK: u64 = 100;

/// The deciding estimate of some units: with covariates, where there are.
pub(super) fn deciding(outcome: &Outcome, control: &[usize], treatment: &[usize]) -> Option<Estimate> {
    let plain = Estimate::of(outcome, control, treatment).ok()?;
    Some(Estimate::adjusted(outcome, control, treatment).map_or(plain, |adjusted| adjusted.estimate))
}

/// The looks after each day, over all units that were exposed until its end; with the estimate where there was enough to look at.
pub(super) fn looks(
    outcome: &Outcome,
    units: &Units,
    arms: (&[usize], &[usize]),
    mixture: Mixture,
    alpha: f64,
) -> Vec<(Look, Option<Estimate>)> {
    let mut least = 1.0f64;
    let mut looks = Vec::new();
    for (day, name) in units.day_names.iter().enumerate() {
        let until = |side: &[usize]| -> Vec<usize> {
            side.iter().copied().filter(|&unit| units.days[unit].is_some_and(|of| of as usize <= day)).collect()
        };
        let (control, treatment) = (until(arms.0), until(arms.1));
        let Some(estimate) = deciding(outcome, &control, &treatment) else { continue };
        let (Some(ci_seq), Some(p)) = (estimate.sequence(mixture, alpha), estimate.always_valid_p(mixture)) else {
            continue;
        };
        let ready = enough(outcome, &control) && enough(outcome, &treatment);
        if ready {
            least = least.min(p);
        }
        let look = Look {
            day: name.clone(),
            n_c: estimate.control.units,
            n_t: estimate.treatment.units,
            diff: estimate.effect.difference,
            ci_seq,
            p_seq: least,
            p_fixed: estimate.test(alpha).map(|test| test.p),
        };
        looks.push((look, ready.then_some(estimate)));
    }
    looks
}

/// Whether there is enough of an arm for an estimated variance.
pub(super) fn enough(outcome: &Outcome, units: &[usize]) -> bool {
    let count = match outcome.shape {
        Shape::Proportion => units.iter().filter(|&&unit| outcome.numerators[unit] == 1.0).count(),
        _ => units.len(),
    };
    count as u64 >= FIRST_LOOK
}

/// Weighted regression of the effect among the units of each day on the day's place: a novelty wears off, a habit grows. `None` with
/// fewer than three days.
pub(super) fn novelty(outcome: &Outcome, units: &Units, arms: (&[usize], &[usize])) -> Option<Novelty> {
    let mut days = Vec::new(); // place of the day, effect, weight
    for day in 0..units.day_names.len() {
        let on = |side: &[usize]| -> Vec<usize> {
            side.iter().copied().filter(|&unit| units.days[unit] == Some(day as u32)).collect()
        };
        let effect = deciding(outcome, &on(arms.0), &on(arms.1)).map(|estimate| estimate.effect);
        if let Some(effect) = effect.filter(|effect| effect.variance > 0.0) {
            days.push((day as f64, effect.difference, 1.0 / effect.variance));
        }
    }
    if days.len() < 3 {
        return None;
    }
    let sum = |of: &dyn Fn(&(f64, f64, f64)) -> f64| days.iter().map(of).sum::<f64>();
    let weight = sum(&|day| day.2);
    let (middle, level) = (sum(&|day| day.2 * day.0) / weight, sum(&|day| day.2 * day.1) / weight);
    let spread = sum(&|day| day.2 * (day.0 - middle).powi(2));
    let slope = sum(&|day| day.2 * (day.0 - middle) * (day.1 - level)) / spread;
    let se = spread.sqrt().recip();
    Some(Novelty { slope, se, p: 2.0 * normal_above((slope / se).abs()) })
}
