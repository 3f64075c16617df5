//! Dr. GRPO: GRPO without its two biases.
//!
//! ```text
//! A_i = r_i − mean_group r
//! L = −1/(B·L_max) Σ_it m_it · min(w_it A_i, clip(w_it, 1−ε, 1+ε) A_i)
//! ```
//! Liu et al., "Understanding R1-Zero-like training", arXiv 2503.20783, §3. `L_max` is a constant, never the longest
//! answer of the batch: a batch's length would bring the length bias back.
//!
//! Coordinates: `group_mean × token × clip(0.2, 0.2) × token_sum_const`.

use super::{Method, MethodKind, Source, Suggestion, grpo};
use crate::{Advantage, Aggregate, Objective};

pub(super) const METHOD: Method = Method {
    name: "dr_grpo",
    title: "Dr. GRPO (GRPO done right)",
    paper: "Liu et al. 2025, arXiv 2503.20783, §3",
    equation: "A_i = r_i − mean_group r,   w_it = π(y_it)/π_old(y_it)\n\
               L = −1/(B·L_max) Σ_it m_it · min(w_it·A_i, clip(w_it, 1−ε_lo, 1+ε_hi)·A_i)",
    summary: "GRPO without the division by the group's spread and by the answer's length.",
    when: "When wrong answers grow longer under GRPO, or when prompts differ much in difficulty.",
    differs: "Against `grpo`: no division by the spread (a 7-of-8 prompt no longer outweighs a 4-of-8 one) and none by \
              the length. Against `rloo`: the factor (G−1)/G, clipping, a constant divisor. The gradient is smaller \
              than GRPO's by about L_max/L times the spread; AdamW makes up for that.",
    kind: MethodKind::Group { min_samples: 2 },
    defaults,
    sources: &[
        Source { key: "advantage", source: "arXiv 2503.20783, §3" },
        Source { key: "ratio", source: "arXiv 2503.20783, §3 (as GRPO)" },
        Source { key: "surrogate", source: "arXiv 2503.20783, §3 (as GRPO)" },
        Source { key: "clip_low", source: "as GRPO; TRL's Dr. GRPO recipe keeps it" },
        Source { key: "clip_high", source: "as GRPO; TRL's Dr. GRPO recipe keeps it" },
        Source { key: "clip_dual", source: "off: not part of the method" },
        Source { key: "aggregate", source: "arXiv 2503.20783, §3; TRL `dr_grpo`, verl `seq-mean-token-sum-norm`" },
        Source {
            key: "length_constant",
            source: "TRL: the longest answer allowed (`max_completion_length`); 3000 in its recipe",
        },
        Source { key: "kl_coefficient", source: "TRL's Dr. GRPO recipe: β = 0" },
        Source { key: "kl_estimator", source: "arXiv 2402.03300, eq. 4" },
        Source { key: "entropy_coefficient", source: "off in the paper" },
    ],
    suggestions: &[
        Suggestion { key: "samples_per_prompt", value: 8.0, source: "TRL's Dr. GRPO recipe" },
        Suggestion { key: "updates_per_rollout", value: 1.0, source: "TRL's GRPOConfig: one iteration per batch" },
        Suggestion { key: "learning_rate", value: 1e-6, source: "TRL's GRPOConfig" },
    ],
};

fn defaults() -> Objective {
    Objective { advantage: Advantage::GroupMean, aggregate: Aggregate::TokenSumConst, ..grpo::defaults() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check_golden;

    #[test]
    fn golden_losses_and_gradients() {
        check_golden(&defaults(), "dr_grpo", [0.029163, -0.005238]);
    }
}
