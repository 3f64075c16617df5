//! Surrogate: what is minimised at a token, given its ratio and advantage.

/// The loss at a token, and with it where the gradient stops.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Surrogate {
    /// `max(−w·A, −clip(w, 1−low, 1+high)·A)`; for `A < 0` at most `−dual·A` (PPO, arXiv 1707.06347, eq. 7;
    /// dual clip: Ye et al., arXiv 1912.09729).
    Clip {
        /// How far below 1 the ratio may fall before a bad answer stops being pushed down.
        low: f64,
        /// How far above 1 the ratio may rise before a good answer stops being pushed up.
        high: f64,
        /// Upper bound of the ratio for bad answers, above 1; `None` leaves it open.
        dual: Option<f64>,
    },
    /// `−sg[clip(w, 1−low, cap)]·A·log π_θ`: the ratio is a weight without a gradient of its own, so no token ever stops
    /// learning (CISPO, MiniMax-M1, arXiv 2506.13585, eq. 4–5).
    Cispo {
        /// How far below 1 the weight may fall; 1 is no lower bound.
        low: f64,
        /// How far above 1 the weight may rise, or the cap itself where `absolute`.
        high: f64,
        /// Whether `high` is the cap itself (TRL, ScaleRL) and not a distance from 1 (the paper, slime, verl).
        absolute: bool,
    },
    /// `−A·log π_θ`: the score-function estimator (Williams 1992). The ratio is reported but not used, so it is exact
    /// only while the weights are those that sampled: one update per rollout.
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
    /// None, but the weight is held at a bound (CISPO).
    Capped,
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
        matches!(self, Surrogate::Clip { .. } | Surrogate::Cispo { .. })
    }

    /// Whether the ratio is a weight that no gradient flows through.
    pub(crate) fn holds_ratio(&self) -> bool {
        matches!(self, Surrogate::Cispo { .. })
    }

    /// Whether rewards enter the loss.
    pub fn uses_advantage(&self) -> bool {
        !matches!(self, Surrogate::Nll)
    }

    pub(crate) fn at(&self, ratio: f64, logp: f64, advantage: f64) -> Term {
        match *self {
            Surrogate::Clip { low, high, dual } => clip(ratio, advantage, low, high, dual),
            Surrogate::Cispo { low, high, absolute } => {
                let cap = if absolute { high } else { 1.0 + high };
                let weight = ratio.clamp((1.0 - low).min(cap), cap);
                let stopped = if weight == ratio { Stopped::No } else { Stopped::Capped };
                score_function(weight * advantage, logp, stopped)
            }
            Surrogate::Reinforce => score_function(advantage, logp, Stopped::No),
            Surrogate::Nll => Term { loss: -logp, by_ratio: 0.0, by_logp: -1.0, stopped: Stopped::No },
        }
    }
}

/// `−weight·log π_θ`.
fn score_function(weight: f64, logp: f64, stopped: Stopped) -> Term {
    // 0 exactly, not −0 or 0·∞, where there is nothing to learn.
    let (loss, by_logp) = if weight == 0.0 { (0.0, 0.0) } else { (-weight * logp, -weight) };
    Term { loss, by_ratio: 0.0, by_logp, stopped }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::method;
    use crate::objective::Objective;
    use crate::testing::check_golden;
    use crate::{Aggregate, Overrides};

    fn at(dual: Option<f64>, ratio: f64, advantage: f64) -> Term {
        Surrogate::Clip { low: 0.2, high: 0.2, dual }.at(ratio, -1.0, advantage)
    }

    fn dual_clipped(dual: f64) -> Objective {
        let change = Overrides { clip_dual: Some(dual), aggregate: Some(Aggregate::TokenMean), ..Overrides::default() };
        (method("grpo").unwrap().defaults)().with(&change).unwrap()
    }

    #[test]
    fn golden_dual_clip() {
        check_golden(&dual_clipped(3.0), "dual_clip_3", [0.161637, -0.036290]);
        check_golden(&dual_clipped(1.2), "dual_clip_1_2", [0.146805, -0.036290]);
        let slime =
            [(2.0, 2.0), (2.0, -2.0), (0.5, 2.0)].map(|(ratio, advantage)| at(Some(1.5), ratio, advantage).loss);
        assert_eq!(slime, [-2.4, 3.0, -1.0]);
    }

    #[test]
    fn golden_clip_higher() {
        let change = Overrides { clip_high: Some(0.28), ..Overrides::default() };
        let higher = (method("grpo").unwrap().defaults)().with(&change).unwrap();
        check_golden(&higher, "grpo_clip_higher", [-0.065430, -0.038349]);
    }

    /// §2.13 (k): the dual clip is for bad answers alone.
    #[test]
    fn every_region_by_hand() {
        use Stopped::{Dual, High, Low, No};
        let table = [
            // ratio, advantage, loss, slope, stopped
            (1.5, 1.0, -1.2, 0.0, High),
            (0.5, 1.0, -0.5, -1.0, No),
            (0.5, -1.0, 0.8, 0.0, Low),
            (1.5, -1.0, 1.5, 1.0, No),
            (4.0, -1.0, 3.0, 0.0, Dual),
            (4.0, 1.0, -1.2, 0.0, High),
            (9.0, 0.0, 0.0, 0.0, No),
        ];
        for (ratio, advantage, loss, slope, stopped) in table {
            let term = at(Some(3.0), ratio, advantage);
            assert_eq!(
                (term.loss, term.by_ratio, term.by_logp, term.stopped),
                (loss, slope, 0.0, stopped),
                "{ratio} {advantage}"
            );
        }
        assert_eq!(at(None, 4.0, -1.0).loss, 4.0);
    }

    #[test]
    fn a_tie_takes_the_unclipped_branch() {
        for (ratio, advantage) in [(1.0 + 0.2, 2.0), (1.0 - 0.2, -2.0), (3.0, -2.0)] {
            let term = at(Some(3.0), ratio, advantage);
            assert_eq!((term.by_ratio, term.stopped), (-advantage, Stopped::No));
        }
    }

    /// §2.13 (i).
    #[test]
    fn clip_higher_matters_only_for_good_answers_between_the_bounds() {
        let higher = Surrogate::Clip { low: 0.2, high: 0.28, dual: None };
        for advantage in [-1.0, 1.0] {
            for ratio in (1..300).map(|hundredth| f64::from(hundredth) / 100.0 + 0.005) {
                let differs = higher.at(ratio, 0.0, advantage).by_ratio != at(None, ratio, advantage).by_ratio;
                assert_eq!(differs, advantage > 0.0 && ratio > 1.2 && ratio <= 1.28, "{ratio} {advantage}");
            }
        }
    }

    /// The spec's list of peers' caps (§1, surprise 9): slime and verl mean `1 + ε_high`, TRL means `ε_high` itself.
    #[test]
    fn caps_of_cispo_by_hand() {
        let weight =
            |low, high, absolute, ratio| -Surrogate::Cispo { low, high, absolute }.at(ratio, -2.0, 1.0).by_logp;
        assert_eq!([0.1, 1.0, 1.28, 9.0].map(|ratio| weight(1.0, 0.28, false, ratio)), [0.1, 1.0, 1.28, 1.28]);
        assert_eq!([0.1, 1.0, 4.0, 9.0].map(|ratio| weight(1.0, 5.0, true, ratio)), [0.1, 1.0, 4.0, 5.0], "TRL");
        assert_eq!([0.1, 1.0, 4.0, 9.0].map(|ratio| weight(1.0, 5.0, false, ratio)), [0.1, 1.0, 4.0, 6.0], "slime");
        assert_eq!([0.1, 1.0, 9.0].map(|ratio| weight(0.2, 0.28, false, ratio)), [0.8, 1.0, 1.28], "verl's own bounds");
        let term = Surrogate::Cispo { low: 1.0, high: 0.28, absolute: false }.at(9.0, -2.0, -1.0);
        assert_eq!((term.loss, term.by_ratio, term.by_logp, term.stopped), (-2.56, 0.0, 1.28, Stopped::Capped));
    }

    #[test]
    fn no_advantage_is_exactly_nothing() {
        for surrogate in [Surrogate::Reinforce, Surrogate::Cispo { low: 1.0, high: 0.28, absolute: false }] {
            let term = surrogate.at(1e8, -1e30, 0.0);
            assert_eq!((term.loss.to_bits(), term.by_logp.to_bits()), (0, 0));
        }
    }
}
