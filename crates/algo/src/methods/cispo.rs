//! CISPO: the ratio is a capped weight, so no token ever stops learning.
//!
//! ```text
//! L = −(1/Σm) Σ_it m_it · sg[min(w_it, 1+ε_hi)] · A_i · log π_θ(y_it)
//! dL/dlogp_it = −(1/Σm) · min(w_it, 1+ε_hi) · A_i
//! ```
//! MiniMax-M1, arXiv 2506.13585, eq. 4–5. PPO's clip stops the gradient of rare tokens that have become likelier, which
//! are those that change the course of an answer; here they go on learning with a bounded weight. There is no lower
//! bound. The cap means different things: `1 + clip_high` in the paper, slime and verl, `clip_high` itself in TRL and
//! ScaleRL (`clip_absolute = true`, `clip_high = 5.0`).
//!
//! Coordinates: `group_zscore × token × cispo(no lower bound, 0.28) × token_mean`.

use super::{Method, MethodKind, Source, Suggestion, grpo};
use crate::{Aggregate, Objective, Surrogate};

pub(super) const METHOD: Method = Method {
    name: "cispo",
    title: "CISPO (clipped importance-sampling-weight policy optimisation)",
    paper: "MiniMax 2025, MiniMax-M1, arXiv 2506.13585, eq. 4–5",
    equation: "A_i = (r_i − mean_group r) / (std_group r + δ),   w_it = π(y_it)/π_old(y_it)\n\
               L = −(1/Σm) Σ_it m_it · sg[min(w_it, 1+ε_hi)] · A_i · log π(y_it)",
    summary: "REINFORCE with a capped importance weight: every token keeps a gradient.",
    when: "Several updates per rollout, and answers in which rare tokens (\"wait\", \"however\") decide.",
    differs: "Where `dapo` stops the gradient of a token beyond the bound, CISPO holds its weight there. Against \
              `reinforce` it is corrected for staleness. Its loss has another value than PPO's although on policy its \
              gradient is DAPO's: compare gradients and rewards, not losses. With TRL's and ScaleRL's settings \
              (`clip_absolute = true`, `clip_high = 5.0`, `advantage = \"batch_zscore\"`) the cap itself is 5.",
    kind: MethodKind::Group { min_samples: 2 },
    defaults,
    sources: &[
        Source { key: "advantage", source: "arXiv 2506.13585, eq. 3: as GRPO" },
        Source { key: "std_ddof", source: "verl and slime (torch.std, unbiased); the paper does not say" },
        Source { key: "std_delta", source: "verl and slime; the paper does not say" },
        Source { key: "ratio", source: "arXiv 2506.13585, eq. 5" },
        Source { key: "surrogate", source: "arXiv 2506.13585, eq. 4" },
        Source { key: "clip_low", source: "arXiv 2506.13585, §3.1: no lower bound; slime's `eps-clip` ≥ 1" },
        Source { key: "clip_high", source: "the paper does not say; DAPO's (arXiv 2503.14476, §4.1)" },
        Source { key: "clip_absolute", source: "arXiv 2506.13585, eq. 5: the cap is 1 + ε" },
        Source { key: "aggregate", source: "arXiv 2506.13585, eq. 4: over all tokens" },
        Source { key: "kl_coefficient", source: "arXiv 2506.13585, §3.1: none" },
        Source { key: "kl_estimator", source: "arXiv 2402.03300, eq. 4" },
        Source { key: "entropy_coefficient", source: "off in the paper" },
    ],
    suggestions: &[
        Suggestion {
            key: "samples_per_prompt",
            value: 16.0,
            source: "ScaleRL, arXiv 2510.13786; the paper does not say",
        },
        Suggestion { key: "updates_per_rollout", value: 16.0, source: "arXiv 2506.13585, §3.1: 16 rounds of updates" },
        Suggestion { key: "learning_rate", value: 1e-6, source: "slime's default" },
    ],
};

fn defaults() -> Objective {
    Objective {
        surrogate: Surrogate::Cispo { low: 1.0, high: 0.28, absolute: false },
        aggregate: Aggregate::TokenMean,
        ..grpo::defaults()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_golden, close, fixtures};

    #[test]
    fn golden_losses_and_gradients() {
        check_golden(&defaults(), "cispo", [0.136570, -0.067731]);
    }

    /// §2.13 (j): F1's first answer, third token, whose ratio is 1.49.
    #[test]
    fn a_token_beyond_the_cap_goes_on_learning() {
        let fixture = &fixtures()[0];
        let (rows, normaliser) = fixture.prepare(&defaults());
        let output = defaults().row(&rows[0], &normaliser);
        close(output.by_logp[2], -0.110851, 1e-6, "gradient");
        assert_eq!(output.sums.capped, 1.0);
    }

    /// The same cap of 1.28, as TRL writes it.
    #[test]
    fn an_absolute_cap_is_the_same_method() {
        let trl = Objective { surrogate: Surrogate::Cispo { low: 1.0, high: 1.28, absolute: true }, ..defaults() };
        check_golden(&trl, "cispo", [0.136570, -0.067731]);
    }
}
