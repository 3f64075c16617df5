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

/// Penalty for leaving the reference: `coefficient · k` is added to the loss of every trained token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kl {
    /// Weight of the penalty; 0 needs no reference.
    pub coefficient: f64,
    /// Which estimator.
    pub estimator: KlEstimator,
}

impl Kl {
    /// No penalty.
    pub const OFF: Kl = Kl { coefficient: 0.0, estimator: KlEstimator::K3 };
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
