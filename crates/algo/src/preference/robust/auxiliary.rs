//! Auxiliary preferences: how ĝ is made fit for use.

use lapidary_core::{Key, Purpose};

/// ĝ without the judge's bias for a place: `½(s(1,2) + 1 − s(2,1))`, where `s(a,b)` is the probability that it gives to the
/// answer shown first. `None` where a score is no probability.
pub fn symmetrised(first_shown_first: f64, second_shown_first: f64) -> Option<f64> {
    let probability = |p: f64| (0.0..=1.0).contains(&p);
    let both = probability(first_shown_first) && probability(second_shown_first);
    both.then_some(0.5 * (first_shown_first + 1.0 - second_shown_first))
}

/// ĝ held in `[clip, 1 − clip]`: an overconfident judge cannot make the labelled term's slope larger than the labels do.
pub fn clipped(preference: f64, clip: f64) -> f64 {
    preference.clamp(clip, 1.0 - clip)
}

/// Which of `folds` parts a prompt belongs to: ĝ for a prompt comes from a model that was trained on the other parts, so
/// that it has never seen the labels which it is to correct (cross-fitting; Chernozhukov et al. 2018). All pairs of one prompt share
/// a fold, in any order of the data.
pub fn fold_of(prompt: &str, folds: usize, seed: u64) -> usize {
    assert!(folds >= 2, "cross-fitting needs at least two folds, got {folds}");
    Key::new(seed, Purpose::Shuffle).at_name("cross-fitting").at_name(prompt).below(folds as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::close;

    #[test]
    fn symmetrising_takes_the_bias_for_a_place_out() {
        // A judge that adds 0.15 to whatever is shown first.
        let (truth, bias) = (0.7, 0.15);
        close(symmetrised(truth + bias, 1.0 - truth + bias).unwrap(), truth, 1e-15, "symmetrised");
        // Exchanging the answers exchanges the preference.
        let (a, b) = (0.62, 0.51);
        close(symmetrised(a, b).unwrap() + symmetrised(b, a).unwrap(), 1.0, 1e-15, "antisymmetric");
        assert_eq!(symmetrised(1.2, 0.1), None);
        assert_eq!(symmetrised(f64::NAN, 0.1), None);
        assert_eq!((clipped(0.999, 0.02), clipped(0.0, 0.02), clipped(0.4, 0.02)), (0.98, 0.02, 0.4));
    }

    #[test]
    fn folds_are_even_stay_with_the_prompt_and_differ_by_seed() {
        let mut counts = [0; 4];
        (0..4000).for_each(|n| counts[fold_of(&format!("prompt {n}"), 4, 1)] += 1);
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
        assert_eq!(fold_of("same", 4, 1), fold_of("same", 4, 1));
        assert!((0..50).any(|n| fold_of(&n.to_string(), 4, 1) != fold_of(&n.to_string(), 4, 2)));
    }
}
