//! GRPO: PPO's clipped ratio with the group as critic.
//!
//! ```text
//! A_i = (r_i − mean_group r) / (std_group r + δ)
//! w_it = π_θ(y_it)/π_old(y_it)
//! L = −(1/N) Σ_i (1/L_i) Σ_t m_it · { min(w_it A_i, clip(w_it, 1−ε_lo, 1+ε_hi) A_i) − β k3_it }
//! dL/dlogp_it = −(1/N)(1/L_i) A_i w_it · [A_i ≥ 0 ? w_it ≤ 1+ε_hi : w_it ≥ 1−ε_lo]      (policy term)
//! ```
//! Shao et al., DeepSeekMath, arXiv 2402.03300, eq. 3 and §4.1.2. With one update per rollout `w = 1`: nothing is
//! clipped and the gradient is `−A_i/(N L_i)`.
//!
//! Coordinates: `group_zscore × token × clip(0.2, 0.2) × seq_mean_token_mean`.

use super::{Method, MethodKind, Source, Suggestion, plain};
use crate::overrides::DELTA;
use crate::{Advantage, Aggregate, Objective, Ratio, Surrogate};

pub(super) const METHOD: Method = Method {
    name: "grpo",
    title: "GRPO (group relative policy optimisation)",
    paper: "Shao et al. 2024, DeepSeekMath, arXiv 2402.03300, eq. 3 and §4.1.2",
    equation: "A_i = (r_i − mean_group r) / (std_group r + δ),   w_it = π(y_it)/π_old(y_it)\n\
               L = −(1/N) Σ_i (1/L_i) Σ_t m_it · min(w_it·A_i, clip(w_it, 1−ε_lo, 1+ε_hi)·A_i)  [+ β·KL]",
    summary: "PPO's clipped loss with the group's mean and spread in place of a critic.",
    when: "The usual starting point for verifiable rewards; the reference point for the others.",
    differs: "`dr_grpo` drops both divisions (spread and length), `dapo` weighs tokens equally and clips higher, \
              `gspo` has one ratio per answer. Dividing by the spread gives nearly solved and nearly hopeless prompts \
              more weight; dividing by the length makes long wrong answers cheap.",
    kind: MethodKind::Group { min_samples: 2 },
    defaults,
    sources: &[
        Source { key: "advantage", source: "arXiv 2402.03300, §4.1.2" },
        Source { key: "std_ddof", source: "verl and slime (torch.std, unbiased); the paper does not say" },
        Source { key: "std_delta", source: "verl and slime 1e-6; TRL 1e-4; the paper does not say" },
        Source { key: "ratio", source: "arXiv 2402.03300, eq. 3" },
        Source { key: "surrogate", source: "arXiv 2402.03300, eq. 3" },
        Source { key: "clip_low", source: "verl, slime and TRL defaults (PPO, arXiv 1707.06347, §6.1)" },
        Source { key: "clip_high", source: "verl, slime and TRL defaults (PPO, arXiv 1707.06347, §6.1)" },
        Source { key: "clip_dual", source: "off as in slime and TRL; verl has 3" },
        Source { key: "aggregate", source: "arXiv 2402.03300, eq. 3" },
        Source {
            key: "kl_coefficient",
            source: "off as in TRL, DAPO and GLM-4.5 (arXiv 2508.06471, §3.2); the paper has 0.04",
        },
        Source { key: "kl_estimator", source: "arXiv 2402.03300, eq. 4" },
        Source { key: "entropy_coefficient", source: "off in the paper" },
    ],
    suggestions: &[
        Suggestion { key: "samples_per_prompt", value: 8.0, source: "slime's GLM recipes and TRL; the paper has 64" },
        Suggestion { key: "updates_per_rollout", value: 1.0, source: "arXiv 2402.03300, §4.2" },
        Suggestion { key: "learning_rate", value: 1e-6, source: "arXiv 2402.03300, §4.2; slime's default" },
    ],
};

/// The four coordinates and switches that the GRPO family varies.
pub(super) fn defaults() -> Objective {
    plain(
        Advantage::GroupZscore { ddof: 1, delta: DELTA },
        Ratio::Token,
        Surrogate::Clip { low: 0.2, high: 0.2, dual: None },
        Aggregate::SeqMeanTokenMean,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_golden, close, fixtures};

    #[test]
    fn golden_losses_and_gradients() {
        check_golden(&defaults(), "grpo", [-0.042336, -0.036290]);
    }

    #[test]
    fn on_policy_the_gradient_is_the_advantage_over_n_and_length() {
        for fixture in fixtures() {
            let (rows, normaliser) = fixture.prepare(&defaults());
            for mut row in rows.clone() {
                row.old = None;
                let expected = -row.advantage[0] / (rows.len() * row.logp.len()) as f64;
                for slope in defaults().row(&row, &normaliser).by_logp {
                    close(slope, expected, 1e-15, "gradient");
                }
            }
        }
    }
}
