//! REINFORCE++: token returns, whitened over the whole step.
//!
//! ```text
//! r_it = −β·(logp_it − logp_ref_it) + [t is the last trained token]·r_i
//! R_it = Σ_{k≥0} γ^k r_i,t+k
//! A_it = (R_it − mean R) / √(var R + 1e-8)                    (mean and variance over all trained tokens of the step)
//! L = −(1/Σm) Σ_it m_it · min(w_it A_it, clip(w_it, 1−ε, 1+ε) A_it)
//! ```
//! Hu et al., arXiv 2501.03262. The mean is over tokens, so long answers weigh more in it: with the rewards of the
//! fixtures the advantages are +1.16 and −0.77, not ±1. Time runs on while an environment writes: the return is
//! discounted through its tokens and never reset by them.
//!
//! Coordinates: `whitened_return × token × clip(0.2, 0.2) × token_mean`.

use super::{Method, MethodKind, Source, Suggestion, plain};
use crate::{Advantage, Aggregate, Kl, Objective, Ratio, Surrogate};

pub(super) const METHOD: Method = Method {
    name: "reinforce_plus_plus",
    title: "REINFORCE++",
    paper: "Hu et al. 2025, arXiv 2501.03262",
    equation: "r_it = −β·(logp_it − logp_ref_it) + [t last]·r_i,   R_it = Σ_k γ^k·r_i,t+k\n\
               A_it = (R_it − mean R)/√(var R + 1e-8) over all trained tokens of the step\n\
               L = −(1/Σm) Σ_it m_it · min(w_it·A_it, clip(w_it, 1−ε_lo, 1+ε_hi)·A_it)",
    summary: "PPO without a critic: discounted returns, normalised over the step instead of a group.",
    when: "One answer per prompt, many prompts of similar difficulty, and several updates per rollout.",
    differs: "Against `reinforce`: clipping, a spread of 1, and a KL in the reward of each token. Against the GRPO family \
              there is no baseline per prompt, so groups of one will do, but easy prompts look good and hard ones bad; \
              `reinforce_plus_plus_baseline` mends that.",
    kind: MethodKind::Single,
    defaults,
    sources: &[
        Source { key: "advantage", source: "arXiv 2501.03262; verl and slime `reinforce_plus_plus`" },
        Source { key: "gamma", source: "verl and slime: no discount" },
        Source { key: "ratio", source: "arXiv 2501.03262: PPO's" },
        Source { key: "surrogate", source: "arXiv 2501.03262: PPO's" },
        Source { key: "clip_low", source: "verl, slime and OpenRLHF defaults (PPO, arXiv 1707.06347, §6.1)" },
        Source { key: "clip_high", source: "verl, slime and OpenRLHF defaults (PPO, arXiv 1707.06347, §6.1)" },
        Source { key: "clip_dual", source: "off as in slime; verl has 3" },
        Source { key: "aggregate", source: "verl's default: token mean" },
        Source {
            key: "kl_coefficient",
            source: "off for verifiable rewards (arXiv 2503.14476, §2.3); the paper has one",
        },
        Source { key: "kl_estimator", source: "arXiv 2501.03262: the log-ratio itself" },
        Source { key: "kl_in", source: "arXiv 2501.03262: in the reward of each token" },
        Source { key: "entropy_coefficient", source: "off in the paper" },
    ],
    suggestions: &[
        Suggestion { key: "updates_per_rollout", value: 1.0, source: "OpenRLHF: one epoch per rollout" },
        Suggestion { key: "learning_rate", value: 1e-6, source: "slime's default" },
    ],
};

fn defaults() -> Objective {
    let clip = Surrogate::Clip { low: 0.2, high: 0.2, dual: None };
    let coordinates = plain(Advantage::WhitenedReturn { gamma: 1.0 }, Ratio::Token, clip, Aggregate::TokenMean);
    Objective { kl: Kl::IN_REWARD, ..coordinates }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Experience;
    use lapidary_core::Ragged;

    #[test]
    fn golden_losses_and_gradients() {
        crate::testing::check_golden(&defaults(), "reinforce_plus_plus", [-0.026226, -0.040573]);
    }

    /// verl multiplies the running return by the mask, which resets it at every token of an environment: there the first
    /// token would get 0. Here both get the reward of 1, discounted by the time between them.
    #[test]
    fn a_reward_reaches_what_came_before_a_tools_words() {
        let mask: Ragged<bool> = [vec![true, false, true], vec![true, true, true]].into_iter().collect();
        let objective = Objective { advantage: Advantage::WhitenedReturn { gamma: 0.5 }, ..defaults() };
        let rewards = [Some(1.0), Some(1.0)];
        let experience = Experience { mask: Some(&mask), ..Experience::of_rewards(&rewards, &[0, 1]) };
        let advantages = objective.advantages(&experience).unwrap();
        let crate::TokenAdvantages::PerToken(values) = &advantages.values else { panic!("one per token") };
        assert_eq!(values.row(0)[0], values.row(1)[0], "the environment's token takes time like any other");
        assert_eq!(values.row(0)[1], 0.0, "and gets no advantage");
        assert_eq!(values.row(0)[2], values.row(1)[2]);
    }
}
