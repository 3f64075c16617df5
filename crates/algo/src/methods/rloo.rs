//! RLOO: REINFORCE with the other answers to the prompt as baseline.
//!
//! ```text
//! A_i = r_i − 1/(G−1) Σ_{j≠i} r_j = G/(G−1) · (r_i − mean_group r)
//! L   = −(1/N) Σ_i Σ_t m_it · A_i · log π_θ(y_it)
//! ```
//! Ahmadian et al., arXiv 2402.14740; Kool et al. 2019, "Buy 4 REINFORCE samples, get a baseline for free!". Leaving
//! the answer itself out of its baseline keeps the gradient unbiased. The KL to the reference is part of the reward, as in
//! the original: `r_i` less `β Σ_t (logp_it − logp_ref_it)`; with verifiable rewards `β` is 0.
//!
//! Coordinates: `leave_one_out × token (reported only) × reinforce × seq_mean_token_sum`.

use super::{Method, MethodKind, Source, Suggestion, plain};
use crate::{Advantage, Aggregate, Kl, Objective, Ratio, Surrogate};

pub(super) const METHOD: Method = Method {
    name: "rloo",
    title: "RLOO (REINFORCE leave-one-out)",
    paper: "Ahmadian et al. 2024, arXiv 2402.14740; Kool et al. 2019",
    equation: "r_i −= β·Σ_t (logp_it − logp_ref_it),   A_i = r_i − 1/(G−1) Σ_{j≠i} r_j\nL = −(1/N) Σ_i Σ_t m_it · A_i · log π(y_it)",
    summary: "Each answer is compared with the other answers to the same prompt; unbiased, nothing clipped.",
    when: "On-policy training with small groups: one update per rollout, `samples_per_prompt` from 2 to 8.",
    differs: "`dr_grpo` has the same advantage up to the factor G/(G−1), but clips, so it allows several updates per \
              rollout, and divides by a constant length. `grpo` also divides by the group's standard deviation.",
    kind: MethodKind::Group { min_samples: 2 },
    defaults,
    sources: &[
        Source { key: "advantage", source: "arXiv 2402.14740: the mean of the other samples" },
        Source { key: "surrogate", source: "arXiv 2402.14740: clipping is rarely active, so it is left out" },
        Source { key: "aggregate", source: "arXiv 2402.14740: the whole answer is one action" },
        Source {
            key: "kl_coefficient",
            source: "off for verifiable rewards (arXiv 2503.14476, §2.3); the paper and TRL (0.05) have it",
        },
        Source { key: "kl_estimator", source: "arXiv 2402.14740, eq. 2: the log-ratio itself" },
        Source { key: "kl_in", source: "arXiv 2402.14740, eq. 2" },
        Source { key: "entropy_coefficient", source: "off in the paper" },
    ],
    suggestions: &[
        Suggestion { key: "samples_per_prompt", value: 4.0, source: "arXiv 2402.14740: k = 2 and 4" },
        Suggestion { key: "updates_per_rollout", value: 1.0, source: "the estimator is exact on policy only" },
        Suggestion { key: "learning_rate", value: 1e-6, source: "TRL's RLOOConfig" },
    ],
};

fn defaults() -> Objective {
    let coordinates = plain(Advantage::LeaveOneOut, Ratio::Token, Surrogate::Reinforce, Aggregate::SeqMeanTokenSum);
    Objective { kl: Kl::IN_REWARD, ..coordinates }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_golden, close, fixtures};

    #[test]
    fn golden_losses_and_gradients() {
        check_golden(&defaults(), "rloo", [0.000000, -0.216667]);
    }

    /// The original's KL: k1 over a whole answer, off its reward before the baseline. F1 by hand with β = 0.1: rewards
    /// 0.97, 0.01, −0.03, 0.98, whose mean is 0.4825.
    #[test]
    fn the_kl_is_part_of_the_reward() {
        let kl = Kl { coefficient: 0.1, ..defaults().kl };
        let estimate = defaults().advantage.estimate(&fixtures()[0].experience(&kl));
        for (row, reward) in [0.97, 0.01, -0.03, 0.98].into_iter().enumerate() {
            close(estimate.row(row, 1)[0], 4.0 / 3.0 * (reward - 0.4825), 1e-12, "advantage");
        }
        let objective = crate::Objective { kl, ..defaults() };
        assert!(objective.needs().reference && objective.kl.in_loss() == 0.0, "no term of the loss");
    }
}
