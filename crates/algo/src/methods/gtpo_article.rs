//! GTPO as the article writes it: the reward is shared out along an answer by entropy.
//!
//! ```text
//! A_it = r_i · H_it / Σ_t' H_it'
//! L = −(1/Σm) Σ_it m_it · min(w_it A_it, clip(w_it, 1−ε_lo, 1+ε_hi) A_it)
//! ```
//! The short form of "Top 10 Reinforcement Learning Post-Training Research Trends 2025". The shares of an answer add up
//! to its reward, and wrong answers, with a reward of 0, teach nothing. The paper (arXiv 2508.04349) compares the
//! entropies of different answers at one position, adds the share to the reward instead of multiplying, and gives wrong
//! answers a negative reward of their own. It is here to be compared with.
//!
//! Coordinates: `entropy_share × token × clip(0.2, 0.28) × token_mean`.

use super::{Method, MethodKind, Source, Suggestion, plain};
use crate::{Advantage, Aggregate, Objective, Ratio, Surrogate};

pub(super) const METHOD: Method = Method {
    name: "gtpo_article",
    title: "GTPO, the article's short form",
    paper: "\"Top 10 Reinforcement Learning Post-Training Research Trends 2025\", thakicloud.github.io; \
            the paper's own form is `gtpo`",
    equation: "A_it = r_i·H_it/Σ_t' H_it'\n\
               L = −(1/Σm) Σ_it m_it · min(w_it·A_it, clip(w_it, 1−ε_lo, 1+ε_hi)·A_it)",
    summary: "An answer's reward, shared out among its tokens by their entropy.",
    when: "To see what the columns and the failures of `gtpo` are for. Rewards should be able to be negative, or nothing \
           is ever pushed down.",
    differs: "`gtpo` compares entropies across answers, keeps the outcome's full weight on every token and punishes wrong \
              answers; here a long answer's tokens get little each, and a reward of 0 is silence. There is no baseline: a \
              prompt that is always solved goes on pushing.",
    kind: MethodKind::Single,
    defaults,
    sources: &[
        Source { key: "advantage", source: "the article's reward_t = r(τ)·H_t/Σ_i H_i" },
        Source { key: "ratio", source: "as `gtpo` (arXiv 2508.04349, eq. 7)" },
        Source { key: "surrogate", source: "as `gtpo` (arXiv 2508.04349, eq. 7)" },
        Source { key: "clip_low", source: "as `gtpo`" },
        Source { key: "clip_high", source: "as `gtpo`" },
        Source { key: "clip_dual", source: "off: not part of it" },
        Source { key: "aggregate", source: "as `gtpo` (arXiv 2508.04349, eq. 7)" },
        Source { key: "kl_coefficient", source: "the article has none" },
        Source { key: "kl_estimator", source: "arXiv 2402.03300, eq. 4" },
        Source { key: "entropy_coefficient", source: "off: entropy has its place in the reward" },
    ],
    suggestions: &[
        Suggestion { key: "updates_per_rollout", value: 1.0, source: "as `gtpo`" },
        Suggestion { key: "learning_rate", value: 1e-6, source: "as `gtpo`" },
    ],
};

fn defaults() -> Objective {
    let clip = Surrogate::Clip { low: 0.2, high: 0.28, dual: None };
    plain(Advantage::EntropyShare, Ratio::Token, clip, Aggregate::TokenMean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kl;
    use crate::testing::{close, close_rows, fixtures};

    /// Specification A, §12.4, last row.
    #[test]
    fn golden_shares_add_up_to_the_reward() {
        let fixture = &fixtures()[0];
        let estimate = defaults().advantage.estimate(&fixture.experience(&Kl::OFF));
        close_rows(&estimate.values, &[&[0.142857, 0.285714, 0.571429], &[0.0; 2], &[0.0; 4], &[1.0]], 1e-6);
        for (row, reward) in [1.0, 0.0, 0.0, 1.0].into_iter().enumerate() {
            close(estimate.row(row, 0).iter().sum(), reward, 1e-12, "sum");
        }
    }

    #[test]
    fn an_answer_without_entropy_shares_equally() {
        let mut experience = fixtures()[0].experience(&Kl::OFF);
        experience.tokens[0].entropy = vec![0.0; 3];
        close_rows(
            &defaults().advantage.estimate(&experience).values,
            &[&[1.0 / 3.0; 3], &[0.0; 2], &[0.0; 4], &[1.0]],
            1e-12,
        );
    }
}
