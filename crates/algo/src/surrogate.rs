//! Surrogate: what is minimised at a token, given its ratio and advantage.

/// The loss at a token, and with it where the gradient stops.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Surrogate {
    /// `max(−w·A, −clip(w, 1−low, 1+high)·A)`; for `A < 0` at most `−dual·A` (PPO, arXiv 1707.06347, eq. 7;
    /// dual clip: Ye et al., arXiv 1912.09729, §3.2).
    Clip {
        /// How far below 1 the ratio may fall before a bad answer stops being pushed down.
        low: f64,
        /// How far above 1 the ratio may rise before a good answer stops being pushed up.
        high: f64,
        /// Upper bound of the ratio for bad answers, above 1; `None` leaves it open.
        dual: Option<f64>,
    },
    /// `−A·log π_θ`: the score-function estimator (Williams 1992). The ratio is reported but not used, so it is exact only
    /// while the weights are those that sampled: one update per rollout.
    Reinforce,
    /// `−log π_θ`: maximum likelihood of given text; the advantage is not used.
    Nll,
}

/// Which bound stopped the gradient at a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// None.
    No,
    /// A bad answer that is already less likely by more than `low`.
    Low,
    /// A good answer that is already likelier by more than `high`.
    High,
    /// A bad answer that has become likelier than `dual` times.
    Dual,
}

/// The surrogate at a token: value and partial derivatives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Term {
    pub loss: f64,
    /// dloss/dratio.
    pub by_ratio: f64,
    /// dloss/dlogp beside the way through the ratio.
    pub by_logp: f64,
    pub stopped: Stopped,
}

impl Surrogate {
    /// Whether the ratio enters the loss.
    pub fn uses_ratio(&self) -> bool {
        matches!(self, Surrogate::Clip { .. })
    }

    /// Whether rewards enter the loss.
    pub fn uses_advantage(&self) -> bool {
        !matches!(self, Surrogate::Nll)
    }

    pub(crate) fn at(&self, ratio: f64, logp: f64, advantage: f64) -> Term {
        match *self {
            Surrogate::Clip { low, high, dual } => clip(ratio, advantage, low, high, dual),
            Surrogate::Reinforce if advantage == 0.0 => {
                Term { loss: 0.0, by_ratio: 0.0, by_logp: 0.0, stopped: Stopped::No }
            }
            Surrogate::Reinforce => {
                Term { loss: -advantage * logp, by_ratio: 0.0, by_logp: -advantage, stopped: Stopped::No }
            }
            Surrogate::Nll => Term { loss: -logp, by_ratio: 0.0, by_logp: -1.0, stopped: Stopped::No },
        }
    }
}

/// A ratio exactly on a bound takes the unclipped branch: there the gradient still flows.
fn clip(ratio: f64, advantage: f64, low: f64, high: f64, dual: Option<f64>) -> Term {
    let held = |bound: f64, stopped| Term { loss: -bound * advantage, by_ratio: 0.0, by_logp: 0.0, stopped };
    if advantage == 0.0 {
        return held(0.0, Stopped::No);
    }
    if advantage > 0.0 && ratio > 1.0 + high {
        return held(1.0 + high, Stopped::High);
    }
    if advantage < 0.0 && ratio < 1.0 - low {
        return held(1.0 - low, Stopped::Low);
    }
    match dual {
        Some(bound) if advantage < 0.0 && ratio > bound => held(bound, Stopped::Dual),
        _ => Term { loss: -ratio * advantage, by_ratio: -advantage, by_logp: 0.0, stopped: Stopped::No },
    }
}
