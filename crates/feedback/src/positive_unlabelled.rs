//! Silence is not dislike: probabilities of satisfaction from positives and unlabelled rows.

/// The share c of satisfied users who say so: the mean score of a classifier of reactions on verified positives (Elkan & Noto 2008, §2,
/// estimator e₁). `None` without positives.
pub fn reporting_share(scores_of_positives: &[f64]) -> Option<f64> {
    let sum: f64 = scores_of_positives.iter().sum();
    (!scores_of_positives.is_empty()).then(|| sum / scores_of_positives.len() as f64)
}

/// `P(satisfied|x) = P(reacts|x)/c`, at most 1 (Elkan & Noto 2008, lemma 1).
pub fn satisfaction(reacts: f64, reporting_share: f64) -> f64 {
    assert!(reporting_share > 0.0, "somebody reports, got a share of {reporting_share}");
    (reacts / reporting_share).min(1.0)
}

/// Non-negative risk `π·R_p⁺ + max(0, R_u⁻ − π·R_p⁻)` (Kiryo et al. 2017, arXiv 1703.00593, eq. 6) for the share π of positives: mean losses of the
/// positives as positives and as negatives, and of the unlabelled as negatives.
pub fn non_negative_risk(prior: f64, positive: f64, positive_as_negative: f64, unlabelled: f64) -> f64 {
    prior * positive + (unlabelled - prior * positive_as_negative).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapidary_core::{Key, Purpose};

    /// Specification C §5.3.
    #[test]
    fn goldens() {
        assert!((satisfaction(0.012, 0.04) - 0.3).abs() < 1e-12);
        assert!((non_negative_risk(0.3, 0.4, 0.5, 1.1) - (0.12 + 0.95)).abs() < 1e-12);
        assert!((non_negative_risk(0.3, 0.4, 1.1, 0.5) - 0.29).abs() < 1e-12);
        assert_eq!((reporting_share(&[]), satisfaction(0.5, 0.1)), (None, 1.0));
    }

    /// Users of two kinds who report one time in ten: the share who report is found, and with it who is satisfied.
    #[test]
    fn silent_users_are_counted() {
        let key = Key::new(6, Purpose::Task);
        let (mut of_kind, mut reported) = ([0.0; 2], [0.0; 2]);
        for user in 0..200_000u64 {
            let kind = (user % 2) as usize;
            let satisfied = key.at(user).at(0).uniform() < [0.2, 0.9][kind];
            of_kind[kind] += 1.0;
            reported[kind] += f64::from(u8::from(satisfied && key.at(user).at(1).uniform() < 0.1));
        }
        let reacts = [reported[0] / of_kind[0], reported[1] / of_kind[1]];
        // Verified positives: users who are known to be satisfied, of kinds where all are; here 0.1 by construction.
        let found = reacts.map(|reacts| satisfaction(reacts, 0.1));
        assert!((found[0] - 0.2).abs() < 0.01 && (found[1] - 0.9).abs() < 0.02, "{found:?}");
    }
}
