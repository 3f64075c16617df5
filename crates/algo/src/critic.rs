//! Critic: a value head that says how good a state is before the answer is finished.

/// How the value head is trained (PPO; Schulman et al. 2017, arXiv 1707.06347).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Critic {
    /// Weight of the value loss beside the policy loss.
    pub coefficient: f64,
    /// How far a value may move from the one before the update and still be pulled further; `None` leaves it free.
    pub value_clip: Option<f64>,
    /// Optimiser steps at the start in which only the value head's loss is minimised.
    pub warmup_steps: u64,
}

/// The value loss at a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ValueTerm {
    pub loss: f64,
    /// dloss/dvalue.
    pub by_value: f64,
    /// Whether the clip stopped the gradient.
    pub clipped: bool,
}

impl Critic {
    /// `½·max((V − R)², (clip(V, V_old ± c) − R)²)`; a tie takes the unclipped branch.
    pub(crate) fn at(&self, value: f64, before: f64, goal: f64) -> ValueTerm {
        let error = value - goal;
        let held = match self.value_clip {
            Some(clip) => value.clamp(before - clip, before + clip),
            None => value,
        };
        let held_error = held - goal;
        if error * error >= held_error * held_error {
            return ValueTerm { loss: 0.5 * error * error, by_value: error, clipped: false };
        }
        ValueTerm { loss: 0.5 * held_error * held_error, by_value: 0.0, clipped: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::close;

    const CLIPPED: Critic = Critic { coefficient: 1.0, value_clip: Some(0.2), warmup_steps: 0 };

    /// Specification A, §12.5: V = [.9, .1], R = [1, .5], V_old = [.5, .4], c = .2.
    #[test]
    fn golden_value_loss() {
        let terms = [CLIPPED.at(0.9, 0.5, 1.0), CLIPPED.at(0.1, 0.4, 0.5)];
        close((terms[0].loss + terms[1].loss) / 2.0, 0.0625, 1e-12, "mean");
        assert!(terms[0].clipped && !terms[1].clipped, "0.7 is farther from 1 than 0.9; 0.2 nearer to 0.5 than 0.1");
        assert_eq!(terms[0].by_value, 0.0);
    }

    #[test]
    fn slopes_are_finite_differences() {
        for critic in [CLIPPED, Critic { value_clip: None, ..CLIPPED }] {
            for value in [-0.9, -0.05, 0.12, 0.25, 0.55, 0.9] {
                for goal in [-1.0, 0.3, 2.0] {
                    let at = |value| critic.at(value, 0.3, goal).loss;
                    let difference = (at(value + 1e-6) - at(value - 1e-6)) / 2e-6;
                    close(critic.at(value, 0.3, goal).by_value, difference, 1e-8, &format!("{value} to {goal}"));
                }
            }
        }
    }

    #[test]
    fn a_tie_takes_the_unclipped_branch() {
        assert_eq!(CLIPPED.at(0.4, 0.3, 1.0), ValueTerm { loss: 0.18, by_value: -0.6, clipped: false });
    }
}
