//! GSPO: one length-normalised ratio per answer.
//!
//! ```text
//! s_i = (π_θ(y_i)/π_old(y_i))^{1/L_i} = exp( (1/L_i) Σ_t m_it (logp_it − logp_old_it) )
//! L = −(1/N) Σ_i min(s_i A_i, clip(s_i, 1−ε_lo, 1+ε_hi) A_i)
//! dL/dlogp_it = −(1/N)(1/L_i) s_i A_i · [A_i ≥ 0 ? s_i ≤ 1+ε_hi : s_i ≥ 1−ε_lo]
//! ```
//! Zheng et al., arXiv 2507.18071, eq. 5–7 and 10. Without the `1/L_i` in the exponent a mean log-ratio of 0.001 over a
//! thousand tokens would be a ratio of 2.7, and everything would be clipped. The bounds are tiny because `s` is an
//! average.
//!
//! Coordinates: `group_zscore × sequence_geometric × clip(3e-4, 4e-4) × seq_mean_token_mean`.

use super::{Method, MethodKind, Source, Suggestion, grpo};
use crate::{Objective, Ratio, Surrogate};

pub(super) const METHOD: Method = Method {
    name: "gspo",
    title: "GSPO (group sequence policy optimisation)",
    paper: "Zheng et al. 2025, arXiv 2507.18071, eq. 5–7",
    equation: "A_i = (r_i − mean_group r) / (std_group r + δ)\n\
               s_i = exp( (1/L_i) Σ_t m_it (logp_it − logp_old_it) )\n\
               L = −(1/N) Σ_i min(s_i·A_i, clip(s_i, 1−ε_lo, 1+ε_hi)·A_i)",
    summary: "The unit that is rewarded, the answer, is also the unit whose ratio is clipped.",
    when: "Several updates per rollout, mixture-of-experts models, or a sampler whose log-probabilities differ a \
              little from the trainer's: an average forgives what single tokens do not.",
    differs: "With one update per rollout it is `grpo`. With several, all tokens of an answer share one weight and are \
              clipped together; having 15 % of the tokens clipped (the paper's figure 2) is normal. The bounds are \
              several hundred times smaller than GRPO's: 0.2 here would almost never clip.",
    kind: MethodKind::Group { min_samples: 2 },
    defaults,
    sources: &[
        Source { key: "advantage", source: "arXiv 2507.18071, eq. 6" },
        Source { key: "std_ddof", source: "verl and slime (torch.std, unbiased); the paper does not say" },
        Source { key: "std_delta", source: "verl and slime; the paper does not say" },
        Source { key: "ratio", source: "arXiv 2507.18071, eq. 7" },
        Source { key: "surrogate", source: "arXiv 2507.18071, eq. 5" },
        Source { key: "clip_low", source: "arXiv 2507.18071, §5.1" },
        Source { key: "clip_high", source: "arXiv 2507.18071, §5.1" },
        Source { key: "clip_dual", source: "off: not part of the method" },
        Source { key: "aggregate", source: "arXiv 2507.18071, eq. 5" },
        Source { key: "kl_coefficient", source: "arXiv 2507.18071, eq. 5 has none; TRL's GSPO recipe: 0" },
        Source { key: "kl_estimator", source: "arXiv 2402.03300, eq. 4" },
        Source { key: "entropy_coefficient", source: "off in the paper" },
    ],
    suggestions: &[
        Suggestion {
            key: "samples_per_prompt",
            value: 8.0,
            source: "slime's GLM-4.7 recipe; verl's has 16; the paper does not say",
        },
        Suggestion { key: "updates_per_rollout", value: 4.0, source: "arXiv 2507.18071, §5.1: four mini-batches" },
        Suggestion { key: "learning_rate", value: 1e-6, source: "verl's and slime's GSPO recipes" },
    ],
};

pub(super) fn defaults() -> Objective {
    Objective {
        ratio: Ratio::SequenceGeometric,
        surrogate: Surrogate::Clip { low: 3e-4, high: 4e-4, dual: None },
        ..grpo::defaults()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_golden, close, fixtures};

    #[test]
    fn golden_losses_and_gradients() {
        check_golden(&defaults(), "gspo", [-0.000238, 0.027584]);
    }

    /// With the bounds of the specification's second row, both branches of every answer of F2 are open.
    #[test]
    fn golden_losses_and_gradients_with_wide_bounds() {
        let wide = Objective { surrogate: Surrogate::Clip { low: 0.2, high: 0.27, dual: None }, ..defaults() };
        check_golden(&wide, "gspo_wide", [-0.099896, -0.042071]);
    }

    #[test]
    fn on_policy_it_is_grpo() {
        for fixture in fixtures() {
            let (rows, normaliser) = fixture.prepare(&defaults());
            for mut row in rows {
                row.old = Some(row.logp.clone());
                let (gspo, grpo) = (defaults().row(&row, &normaliser), grpo::defaults().row(&row, &normaliser));
                close(gspo.sums.loss, grpo.sums.loss, 1e-15, "loss");
                for (gspo, grpo) in gspo.by_logp.iter().zip(&grpo.by_logp) {
                    close(*gspo, *grpo, 1e-15, "gradient");
                }
            }
        }
    }
}
