//! State: what a method remembers from one step to the next.

use serde::{Deserialize, Serialize};

use crate::objective::Objective;

/// What a method remembers; part of a run's checkpoint. It starts as [`MethodState::default`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodState {
    /// The coefficient that an adaptive KL has come to; `None` until it has moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kl_coefficient: Option<f64>,
    /// Optimiser steps done, for the critic's warm-up.
    #[serde(default)]
    pub updates: u64,
}

impl MethodState {
    /// Moves an adaptive KL coefficient: `kl` is the step's KL to the reference in nats per token, over `answers` answers.
    /// Ask once per step, after its updates. Without a controller nothing happens.
    pub fn saw_kl(&mut self, objective: &Objective, kl: f64, answers: usize) {
        if let Some(controller) = objective.kl.adaptive {
            let current = self.kl_coefficient.unwrap_or(objective.kl.coefficient);
            self.kl_coefficient = Some(controller.next(current, kl, answers));
        }
    }

    /// Counts an optimiser step.
    pub fn updated(&mut self) {
        self.updates += 1;
    }
}

impl Objective {
    /// This objective as a method's state has it now: an adaptive coefficient in place, and a critic that is still warming
    /// up alone.
    pub fn at(&self, state: &MethodState) -> Objective {
        let mut now = self.clone();
        if let (Some(_), Some(coefficient)) = (self.kl.adaptive, state.kl_coefficient) {
            now.kl.coefficient = coefficient;
        }
        now.critic_only = self.critic.is_some_and(|critic| state.updates < critic.warmup_steps);
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AdaptiveKl, Critic, method};

    fn ppo() -> Objective {
        let mut ppo = (method("ppo").unwrap().defaults)();
        ppo.kl.coefficient = 0.1;
        ppo.kl.adaptive = Some(AdaptiveKl { target: 0.05, horizon: 100.0 });
        ppo.critic = ppo.critic.map(|critic| Critic { warmup_steps: 2, ..critic });
        ppo
    }

    #[test]
    fn the_coefficient_moves_and_the_warm_up_ends() {
        let (ppo, mut state) = (ppo(), MethodState::default());
        let first = ppo.at(&state);
        assert_eq!((first.kl.coefficient, first.critic_only), (0.1, true));
        state.saw_kl(&ppo, 1.0, 50);
        state.updated();
        state.updated();
        let now = ppo.at(&state);
        assert!((now.kl.coefficient - 0.11).abs() < 1e-15);
        assert!(!now.critic_only);
        state.saw_kl(&ppo, 0.0, 50);
        assert!((ppo.at(&state).kl.coefficient - 0.099).abs() < 1e-15, "from where it stood");
    }

    #[test]
    fn it_survives_being_written_to_the_last_bit() {
        let mut state = MethodState::default();
        assert_eq!(serde_json::to_string(&state).unwrap(), r#"{"updates":0}"#);
        state.saw_kl(&ppo(), 0.0517, 3);
        let back: MethodState = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
        assert_eq!(back, state);
    }

    #[test]
    fn a_method_without_either_has_no_state() {
        let grpo = (method("grpo").unwrap().defaults)();
        let mut state = MethodState::default();
        state.saw_kl(&grpo, 1.0, 50);
        assert_eq!((state, grpo.at(&state)), (MethodState::default(), grpo));
    }
}
