//! REINFORCE++-baseline: the group's mean as baseline, the step's spread as scale.
//!
//! ```text
//! A_it = whiten(r_i − mean_group r)            over all trained tokens of the step
//! L = −(1/Σm) Σ_it m_it · min(w_it A_it, clip(w_it, 1−ε, 1+ε) A_it)  [+ β·k2]
//! ```
//! Hu et al., arXiv 2501.03262. The KL is a loss here (k2, whose gradient is that of the KL itself on policy), not a
//! part of the reward.
//!
//! Coordinates: `whitened_group_mean × token × clip(0.2, 0.2) × token_mean`.

use super::{Method, MethodKind, Source, Suggestion, plain};
use crate::{Advantage, Aggregate, Kl, KlEstimator, Objective, Ratio, Surrogate};

pub(super) const METHOD: Method = Method {
    name: "reinforce_plus_plus_baseline",
    title: "REINFORCE++-baseline",
    paper: "Hu et al. 2025, arXiv 2501.03262",
    equation: "A_it = (a_i − mean a)/√(var a + 1e-8),   a_i = r_i − mean_group r, over all trained tokens of the step\n\
               L = −(1/Σm) Σ_it m_it · min(w_it·A_it, clip(w_it, 1−ε_lo, 1+ε_hi)·A_it)  [+ β·k2]",
    summary: "GRPO's baseline with one scale for the whole step instead of one per group.",
    when: "Groups whose spreads differ much (some prompts nearly solved, some nearly hopeless), where GRPO's division by \
           each group's own spread makes single answers loud.",
    differs: "`grpo` divides by the group's spread and averages per answer; `dr_grpo` divides by nothing. Against \
              `reinforce_plus_plus`: a baseline per prompt, and the KL in the loss.",
    kind: MethodKind::Group { min_samples: 2 },
    defaults,
    sources: &[
        Source { key: "advantage", source: "arXiv 2501.03262; verl `reinforce_plus_plus_baseline`" },
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
        Source { key: "kl_estimator", source: "arXiv 2501.03262: k2" },
        Source { key: "kl_in", source: "arXiv 2501.03262: a loss of its own" },
        Source { key: "entropy_coefficient", source: "off in the paper" },
    ],
    suggestions: &[
        Suggestion { key: "samples_per_prompt", value: 8.0, source: "as GRPO" },
        Suggestion { key: "updates_per_rollout", value: 1.0, source: "OpenRLHF: one epoch per rollout" },
        Suggestion { key: "learning_rate", value: 1e-6, source: "slime's default" },
    ],
};

fn defaults() -> Objective {
    let clip = Surrogate::Clip { low: 0.2, high: 0.2, dual: None };
    let coordinates = plain(Advantage::WhitenedGroupMean, Ratio::Token, clip, Aggregate::TokenMean);
    Objective { kl: Kl { estimator: KlEstimator::K2, ..Kl::OFF }, ..coordinates }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With one group the baseline of the group is that of the step, so the numbers are REINFORCE++'s.
    #[test]
    fn golden_losses_and_gradients() {
        crate::testing::check_golden(&defaults(), "reinforce_plus_plus", [-0.026226, -0.040573]);
    }
}
