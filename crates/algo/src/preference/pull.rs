//! Pull: how strongly a loss moves the two answers of a pair apart, by where the pair stands.
//!
//! ```text
//! pull(h) = −½(∂L/∂r_w − ∂L/∂r_l) at r_w = h/2, r_l = −h/2 = −∂L/∂h
//! ```
//! Losses of a whole batch are shown a step of the three pairs of the table.

use super::coupling::PreferenceState;
use super::example::{Example, Pair};
use super::metrics::PreferenceMetrics;
use super::resolve::Preference;

/// Margins at which the table is taken: a pair that the model contradicts, one that it is unsure of, an easy one.
pub(crate) const STANDS: [f64; 3] = [-3.0, 0.0, 3.0];

/// The pulls of pairs with these margins (in rewards), which are one optimiser step.
pub(crate) fn pulls(preference: &Preference, margins: &[f64]) -> Vec<f64> {
    let rewards: Vec<f64> = margins.iter().flat_map(|margin| [0.5 * margin, -0.5 * margin]).collect();
    let examples: Vec<Example> = (0..margins.len()).map(|at| Pair::new(2 * at, 2 * at + 1).into()).collect();
    let state = PreferenceState::default();
    let zeros = |_: &_| vec![0.0; rewards.len()];
    let prepared = preference.prepare_with(&|_| rewards.clone(), &zeros, &examples, Some(0.0), &state, 1.0);
    let mut total = vec![0.0; rewards.len()];
    for (part, shared) in preference.parts.iter().zip(&prepared.parts) {
        let mut metrics = PreferenceMetrics::default();
        let (_, slopes) = preference.part(part, shared, &rewards, &examples, 0, &prepared, &mut metrics);
        // Per example as it is counted: KTO's pair is two.
        total.iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += shared.examples * slope);
    }
    total.chunks_exact(2).map(|sides| 0.5 * (sides[1] - sides[0])).collect()
}
