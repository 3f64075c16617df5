//! DAPO: GRPO with four changes for long answers.
//!
//! ```text
//! L = −(1/Σm) Σ_it m_it · min(w_it A_i, clip(w_it, 1−ε_lo, 1+ε_hi) A_i)
//! 1 clip-higher       ε_lo = 0.2, ε_hi = 0.28: rare good tokens may grow
//! 2 dynamic sampling  a group is kept iff its rewards vary
//! 3 token mean        one mean over all tokens of the optimiser step
//! 4 overlong shaping  R(L) = 0 up to L_max − L_cache, then linear to −1 at L_max
//! ```
//! Yu et al., arXiv 2503.14476, §3.1–3.4. No KL. The dynamic-sampling test comes before the length penalty is added.
//!
//! Coordinates: `group_zscore × token × clip(0.2, 0.28) × token_mean`, with both switches on.

use super::{Method, MethodKind, Source, Suggestion, grpo};
use crate::{Aggregate, Objective, Overlong, Surrogate};

pub(super) const METHOD: Method = Method {
    name: "dapo",
    title: "DAPO (decoupled clip and dynamic sampling)",
    paper: "Yu et al. 2025, arXiv 2503.14476, §3.1–3.4",
    equation: "A_i = (r_i − mean_group r) / (std_group r + δ),   w_it = π(y_it)/π_old(y_it)\n\
               L = −(1/Σm) Σ_it m_it · min(w_it·A_i, clip(w_it, 1−ε_lo, 1+ε_hi)·A_i)\n\
               r_i += −clamp((L_i − (L_max − L_cache))/L_cache, 0, 1);  groups of equal rewards are sampled again",
    summary: "GRPO with a higher upper clip, a token mean, resampling of groups that teach nothing, and a soft length \
              limit.",
    when: "Long answers, entropy that falls too fast, or many prompts that are always or never solved.",
    differs: "Against `grpo`: every token weighs the same (long answers count more), the upper bound is wider, steps \
              are always full of informative groups (at the price of more sampling), and length has a price. The \
              paper's ablation also masks truncated answers: that is the stage's `truncated = \"mask\"`.",
    kind: MethodKind::Group { min_samples: 2 },
    defaults,
    sources: &[
        Source { key: "advantage", source: "arXiv 2503.14476, eq. 9" },
        Source { key: "std_ddof", source: "verl's DAPO (torch.std, unbiased); the paper does not say" },
        Source { key: "std_delta", source: "verl's DAPO; the paper does not say" },
        Source { key: "ratio", source: "arXiv 2503.14476, eq. 8" },
        Source { key: "surrogate", source: "arXiv 2503.14476, eq. 8" },
        Source { key: "clip_low", source: "arXiv 2503.14476, §4.1" },
        Source { key: "clip_high", source: "arXiv 2503.14476, §4.1" },
        Source { key: "clip_dual", source: "off: not in the paper; verl has 3" },
        Source { key: "aggregate", source: "arXiv 2503.14476, §3.3" },
        Source { key: "kl_coefficient", source: "arXiv 2503.14476, §2.3: the KL term is removed" },
        Source { key: "kl_estimator", source: "arXiv 2402.03300, eq. 4" },
        Source { key: "entropy_coefficient", source: "off in the paper: clip-higher does its work" },
        Source { key: "dynamic_sampling", source: "arXiv 2503.14476, §3.2" },
        Source { key: "overlong_share", source: "arXiv 2503.14476, §4.1: 4096 of 20480 tokens" },
        Source { key: "overlong_factor", source: "arXiv 2503.14476, eq. 13; verl: penalty factor 1" },
    ],
    suggestions: &[
        Suggestion { key: "samples_per_prompt", value: 16.0, source: "arXiv 2503.14476, §4.1" },
        Suggestion { key: "updates_per_rollout", value: 16.0, source: "arXiv 2503.14476, §4.1" },
        Suggestion { key: "learning_rate", value: 1e-6, source: "arXiv 2503.14476, §4.1" },
    ],
};

fn defaults() -> Objective {
    Objective {
        surrogate: Surrogate::Clip { low: 0.2, high: 0.28, dual: None },
        aggregate: Aggregate::TokenMean,
        dynamic_sampling: true,
        overlong: Some(Overlong { share: 0.2, factor: 1.0 }),
        ..grpo::defaults()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check_golden;

    #[test]
    fn golden_losses_and_gradients() {
        check_golden(&defaults(), "dapo", [0.147780, -0.038349]);
    }

    #[test]
    fn overlong_answers_pay_as_in_the_paper() {
        let lengths = [16384, 17408, 18432, 20480, 20481];
        let penalties = defaults().length_penalties(&lengths, &[None; 5], &[0; 5], 20480);
        assert_eq!(penalties, [0.0, -0.25, -0.5, -1.0, -1.0]);
    }

    #[test]
    fn a_group_is_kept_iff_its_rewards_vary() {
        let keeps = |rewards: &[Option<f32>]| defaults().keeps_group(rewards);
        assert!(keeps(&[Some(1.0), Some(0.0), Some(1.0)]));
        assert!(!keeps(&[Some(1.0), Some(1.0)]));
        assert!(!keeps(&[Some(0.3), Some(f32::from_bits(0.3_f32.to_bits() + 1))]), "rounding noise is no variation");
        assert!(!keeps(&[Some(1.0), None]), "a row without a verdict is not a reward of 0");
        assert!(!keeps(&[Some(1.0)]) && !keeps(&[None]) && !keeps(&[]));
        assert!(grpo::defaults().keeps_group(&[Some(1.0), Some(1.0)]), "GRPO keeps everything");
    }
}
