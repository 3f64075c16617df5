//! KL: how far the policy has moved from a reference, estimated from sampled tokens.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ratio::LOG_RATIO_LIMIT;

/// Largest value of `k3` at a token: one token that the reference finds absurdly likely must not rule a step.
const K3_LIMIT: f64 = 10.0;

/// Estimator of `KL(π_θ ‖ π_ref)` at a sampled token, with `d = log π_θ − log π_ref` (Schulman, "Approximating KL
/// divergence", 2020).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KlEstimator {
    /// `d`: unbiased, noisy, may be negative. As a loss its gradient is 0 on average: use it to report.
    K1,
    /// `d²/2`: low variance, biased as a value; as a loss its gradient is that of the KL itself, on policy.
    K2,
    /// `e^{−d} + d − 1 ≥ 0`: unbiased and low variance as a value; GRPO's choice (arXiv 2402.03300, eq. 4).
    K3,
}

/// Where the penalty for leaving the reference is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KlPlace {
    /// Added to the loss of every trained token, with a gradient (GRPO).
    Loss,
    /// Taken off the reward of every trained token before advantages are made, without one (RLOO, PPO, REINFORCE++).
    Reward,
}

/// Penalty for leaving the reference: `coefficient · k` at every trained token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kl {
    /// Weight of the penalty; 0 needs no reference.
    pub coefficient: f64,
    /// Which estimator.
    pub estimator: KlEstimator,
    /// Where it is put.
    pub place: KlPlace,
    /// Whether the estimate is weighted by the token's ratio `π_θ/π_old`, which makes the gradient of [`KlEstimator::K3`]
    /// that of the KL itself although the tokens are the old policy's (DeepSeek-V3.2, §3.1). Only in the loss.
    pub unbiased: bool,
    /// Moves the coefficient so that the KL stays near a target.
    pub adaptive: Option<AdaptiveKl>,
}

impl Kl {
    /// No penalty.
    pub const OFF: Kl =
        Kl { coefficient: 0.0, estimator: KlEstimator::K3, place: KlPlace::Loss, unbiased: false, adaptive: None };

    /// No penalty; a coefficient above 0 puts it into the reward, as the log-ratio itself.
    pub const IN_REWARD: Kl = Kl { estimator: KlEstimator::K1, place: KlPlace::Reward, ..Kl::OFF };

    /// The coefficient where the penalty is part of the loss.
    pub(crate) fn in_loss(&self) -> f64 {
        if self.place == KlPlace::Loss { self.coefficient } else { 0.0 }
    }

    /// The coefficient where the penalty is part of the reward.
    pub(crate) fn in_reward(&self) -> f64 {
        if self.place == KlPlace::Reward { self.coefficient } else { 0.0 }
    }
}

/// A controller of the coefficient (Ziegler et al. 2019, arXiv 1909.08593, §2.2):
/// `β ← β · (1 + clip(KL/target − 1, ±0.2) · answers/horizon)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptiveKl {
    /// The KL to stay near, in nats per token.
    pub target: f64,
    /// How many answers a full correction takes.
    pub horizon: f64,
}

impl AdaptiveKl {
    /// Most that one step's error counts for.
    const ERROR_LIMIT: f64 = 0.2;

    /// The coefficient after a step of `answers` answers whose KL was `kl`.
    pub fn next(&self, coefficient: f64, kl: f64, answers: usize) -> f64 {
        assert!(self.target > 0.0 && self.horizon > 0.0 && kl.is_finite(), "a target, a horizon and a KL");
        let error = (kl / self.target - 1.0).clamp(-Self::ERROR_LIMIT, Self::ERROR_LIMIT);
        coefficient * (1.0 + error * answers as f64 / self.horizon)
    }
}

impl KlEstimator {
    /// Estimate and its derivative by `log π_θ`; `d` is held within ±20 and `k3` below 10, where the derivative is 0.
    pub(crate) fn at(self, logp: f64, reference: f64) -> (f64, f64) {
        let raw = logp - reference;
        let d = raw.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT);
        let inside = if raw == d { 1.0 } else { 0.0 };
        match self {
            KlEstimator::K1 => (d, inside),
            KlEstimator::K2 => (0.5 * d * d, d * inside),
            KlEstimator::K3 => {
                let value = (-d).exp() + d - 1.0;
                if value > K3_LIMIT { (K3_LIMIT, 0.0) } else { (value, (1.0 - (-d).exp()) * inside) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, fixtures};
    use lapidary_core::{Key, Purpose};

    const ALL: [KlEstimator; 3] = [KlEstimator::K1, KlEstimator::K2, KlEstimator::K3];

    #[test]
    fn golden_token_means() {
        let printed = [[0.130000, 0.067500, 0.063001], [-0.116667, 0.039167, 0.042646]];
        for (fixture, printed) in fixtures().iter().zip(printed) {
            for ((estimator, key), printed) in ALL.into_iter().zip(["k1", "k2", "k3"]).zip(printed) {
                let pairs = fixture.rows.iter().flat_map(|row| row.logp.iter().zip(row.reference.iter().flatten()));
                let values: Vec<f64> = pairs.map(|(logp, reference)| estimator.at(*logp, *reference).0).collect();
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                close(mean, fixture.golden["kl"][key].as_f64().unwrap(), 1e-12, key);
                close(mean, printed, 1e-6, key);
            }
        }
    }

    #[test]
    fn slopes_are_those_of_the_values_and_stop_where_values_are_held() {
        for estimator in ALL {
            for d in [-30.0, -19.0, -2.0, -0.5, 0.0, 0.3, 4.0, 19.0, 30.0] {
                let h = 1e-6;
                let difference = (estimator.at(d + h, 0.0).0 - estimator.at(d - h, 0.0).0) / (2.0 * h);
                close(estimator.at(d, 0.0).1, difference, 1e-6, &format!("{estimator:?} at {d}"));
            }
            assert_eq!(estimator.at(-1e4, 0.0).1, 0.0);
        }
        assert_eq!(KlEstimator::K3.at(-5.0, 0.0), (10.0, 0.0));
    }

    /// §2.13 (l). Samples of one categorical distribution: the means of k1 and k3 meet at the exact KL, and k3 is never negative.
    #[test]
    fn estimators_meet_at_the_exact_kl() {
        let (policy, reference) = ([0.5, 0.3, 0.2_f64], [0.4, 0.4, 0.2_f64]);
        let exact: f64 = policy.iter().zip(&reference).map(|(p, q)| p * (p / q).ln()).sum();
        let mut sums = [0.0; 2];
        let n = 200_000;
        for index in 0..n {
            let draw = Key::new(5, Purpose::Bootstrap).at(index).uniform();
            let token = if draw < 0.5 {
                0
            } else if draw < 0.8 {
                1
            } else {
                2
            };
            for (sum, estimator) in sums.iter_mut().zip([KlEstimator::K1, KlEstimator::K3]) {
                let (value, _) = estimator.at(policy[token].ln(), reference[token].ln());
                assert!(estimator == KlEstimator::K1 || value >= 0.0);
                *sum += value / n as f64;
            }
        }
        close(sums[0], exact, 2e-3, "k1");
        close(sums[1], exact, 2e-4, "k3");
    }

    /// By hand: far above the target the error counts 0.2, far below −0.2, near it what it is.
    #[test]
    fn the_coefficient_follows_the_kl() {
        // Specification C, §1.2.
        let golden = AdaptiveKl { target: 6.0, horizon: 1e4 };
        close(golden.next(0.2, 9.0, 256), 0.201024, 1e-12, "golden");
        let controller = AdaptiveKl { target: 0.1, horizon: 1000.0 };
        close(controller.next(0.5, 9.0, 100), 0.5 * 1.02, 1e-15, "above");
        close(controller.next(0.5, -1.0, 100), 0.5 * 0.98, 1e-15, "below");
        close(controller.next(0.5, 0.11, 100), 0.5 * 1.01, 1e-15, "near");
        assert_eq!(controller.next(0.5, 0.1, 100), 0.5);
    }
}
