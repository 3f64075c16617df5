//! From a confidence to a reward: the article's direct mode.

use serde::{Deserialize, Serialize};

/// R(C) for a confidence C in [0, 1].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum RewardMap {
    /// C. A method that normalises within the group sees no difference between this and any rising line.
    #[default]
    Group,
    /// 2·C − 1.
    Signed,
    /// 1 from `high`, −1 up to `low`, else 0.
    Threshold {
        /// τ_hi.
        high: f64,
        /// τ_lo.
        low: f64,
    },
    /// C − m, with m a moving mean of C.
    Baseline {
        /// Weight of the old mean.
        decay: f64,
    },
}

impl RewardMap {
    /// R(C); `mean` is the moving mean of C, which only [`RewardMap::Baseline`] looks at.
    pub fn apply(self, confidence: f64, mean: f64) -> f64 {
        match self {
            RewardMap::Group => confidence,
            RewardMap::Signed => 2.0 * confidence - 1.0,
            RewardMap::Threshold { high, .. } if confidence >= high => 1.0,
            RewardMap::Threshold { low, .. } if confidence <= low => -1.0,
            RewardMap::Threshold { .. } => 0.0,
            RewardMap::Baseline { .. } => confidence - mean,
        }
    }

    /// The moving mean after a batch: the batch's own mean at first, then decay · old + (1 − decay) · new. `None` for a map
    /// without one, or an empty batch.
    pub fn mean_after(self, old: Option<f64>, confidences: &[f64]) -> Option<f64> {
        let RewardMap::Baseline { decay } = self else { return None };
        if confidences.is_empty() {
            return old;
        }
        let new = confidences.iter().sum::<f64>() / confidences.len() as f64;
        Some(old.map_or(new, |old| decay * old + (1.0 - decay) * new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: [f64; 4] = [0.81, 0.62, 0.74, 0.55];

    fn all(map: RewardMap, mean: f64) -> Vec<f64> {
        GOLDEN.iter().map(|c| (map.apply(*c, mean) * 1e9).round() / 1e9).collect()
    }

    /// Spec B §1.13: the group's z-scores (n − 1, ε = 1e-6) and 2C − 1.
    #[test]
    fn maps_of_the_golden_confidences() {
        let rewards = all(RewardMap::Group, 0.0);
        let mean = rewards.iter().sum::<f64>() / 4.0;
        let deviation = (rewards.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / 3.0).sqrt();
        for (reward, z) in rewards.iter().zip([1.112009, -0.513235, 0.513235, -1.112009]) {
            assert!(((reward - mean) / (deviation + 1e-6) - z).abs() < 1e-6);
        }
        assert_eq!(all(RewardMap::Signed, 0.0), [0.62, 0.24, 0.48, 0.10]);
        let threshold = RewardMap::Threshold { high: 0.8, low: 0.6 };
        assert_eq!(all(threshold, 0.0), [1.0, 0.0, 0.0, -1.0]);
        assert_eq!((threshold.apply(0.8, 0.0), threshold.apply(0.6, 0.0)), (1.0, -1.0), "both ends count");
    }

    #[test]
    fn a_baseline_moves_slowly_from_the_first_mean() {
        let map = RewardMap::Baseline { decay: 0.99 };
        let first = map.mean_after(None, &GOLDEN).unwrap();
        assert!((first - 0.68).abs() < 1e-12);
        assert!((map.apply(0.81, first) - 0.13).abs() < 1e-12);
        let second = map.mean_after(Some(first), &[0.78]).unwrap();
        assert!((second - 0.681).abs() < 1e-12);
        assert_eq!(map.mean_after(Some(0.5), &[]), Some(0.5));
        assert_eq!(RewardMap::Signed.mean_after(None, &GOLDEN), None);
    }
}
