//! GSPO-token: GSPO's ratio with an advantage per token.
//!
//! ```text
//! s_it = sg[s_i] · π_θ(y_it)/sg[π_θ(y_it)]                    (the value of s_i, the gradient of the token)
//! L = −(1/N) Σ_i (1/L_i) Σ_t min(s_it A_it, clip(s_it, 1−ε_lo, 1+ε_hi) A_it)
//! dL/dlogp_it = −(1/N)(1/L_i) s_i A_it · [A_it ≥ 0 ? s_i ≤ 1+ε_hi : s_i ≥ 1−ε_lo]
//! ```
//! Zheng et al., arXiv 2507.18071, eq. 13–17. The clip is judged at each token, as the sign of the advantage may change
//! within an answer. With one advantage per answer it is GSPO: same value, same clip, same gradient.
//!
//! Coordinates: `group_zscore × sequence_geometric_token × clip(3e-4, 4e-4) × seq_mean_token_mean`.

use super::{Method, MethodKind, Source, Suggestion, gspo};
use crate::{Objective, Ratio};

pub(super) const METHOD: Method = Method {
    name: "gspo_token",
    title: "GSPO-token",
    paper: "Zheng et al. 2025, arXiv 2507.18071, eq. 13–17",
    equation: "s_it = sg[s_i]·π(y_it)/sg[π(y_it)],   s_i = exp( (1/L_i) Σ_t m_it (logp_it − logp_old_it) )\n\
               L = −(1/N) Σ_i (1/L_i) Σ_t m_it · min(s_it·A_it, clip(s_it, 1−ε_lo, 1+ε_hi)·A_it)",
    summary: "GSPO that can take advantages which differ within an answer.",
    when: "Advantages per token (`advantage = \"entropy_token\"`, `\"gae\"`, `\"whitened_return\"`) with a ratio per answer: \
           multi-turn episodes, mixture-of-experts models.",
    differs: "With the default advantage, one per answer, it is `gspo` to the last digit of the loss and the gradient. \
              With advantages per token each token follows its own; `gspo` would give all of them their mean.",
    kind: MethodKind::Group { min_samples: 2 },
    defaults,
    sources: &[
        Source { key: "advantage", source: "arXiv 2507.18071, eq. 6; any other may take its place (eq. 13)" },
        Source { key: "std_ddof", source: "verl and slime (torch.std, unbiased); the paper does not say" },
        Source { key: "std_delta", source: "verl and slime; the paper does not say" },
        Source { key: "ratio", source: "arXiv 2507.18071, eq. 14" },
        Source { key: "surrogate", source: "arXiv 2507.18071, eq. 13" },
        Source { key: "clip_low", source: "arXiv 2507.18071, §5.1" },
        Source { key: "clip_high", source: "arXiv 2507.18071, §5.1" },
        Source { key: "clip_dual", source: "off: not part of the method" },
        Source { key: "aggregate", source: "arXiv 2507.18071, eq. 13" },
        Source { key: "kl_coefficient", source: "arXiv 2507.18071, eq. 13 has none" },
        Source { key: "kl_estimator", source: "arXiv 2402.03300, eq. 4" },
        Source { key: "entropy_coefficient", source: "off in the paper" },
    ],
    suggestions: &[
        Suggestion { key: "samples_per_prompt", value: 16.0, source: "verl's GSPO recipe; the paper does not say" },
        Suggestion { key: "updates_per_rollout", value: 4.0, source: "arXiv 2507.18071, §5.1: four mini-batches" },
        Suggestion { key: "learning_rate", value: 1e-6, source: "verl's GSPO recipe" },
    ],
};

fn defaults() -> Objective {
    Objective { ratio: Ratio::SequenceGeometricToken, ..gspo::defaults() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Surrogate;
    use crate::testing::{check_golden, close, fixtures};

    #[test]
    fn golden_losses_and_gradients() {
        check_golden(&defaults(), "gspo", [-0.000238, 0.027584]);
    }

    /// §3.6 (c).
    #[test]
    fn with_one_advantage_per_answer_it_is_gspo() {
        for fixture in fixtures() {
            let (rows, normaliser) = fixture.prepare(&defaults());
            for row in rows {
                let (token, whole) = (defaults().row(&row, &normaliser), gspo::defaults().row(&row, &normaliser));
                close(token.sums.loss, whole.sums.loss, 1e-15, "loss");
                for (token, whole) in token.by_logp.iter().zip(&whole.by_logp) {
                    close(*token, *whole, 1e-15, "gradient");
                }
            }
        }
    }

    /// Specification A, §12.3: `A_it = A_i·linspace(1, 0.5, T)`, bounds 0.2/0.27.
    #[test]
    fn golden_losses_and_gradients_with_an_advantage_per_token() {
        let clip = Surrogate::Clip { low: 0.2, high: 0.27, dual: None };
        let objective = Objective { surrogate: clip, ..defaults() };
        let printed: [(f64, &[&[f64]]); 2] = [
            (
                -0.129954,
                &[
                    &[-0.082462, -0.068718, -0.054975],
                    &[0.102973, 0.085811],
                    &[0.054126, 0.045105, 0.036084, 0.027063],
                    &[0.0],
                ],
            ),
            (-0.013929, &[&[-0.087068, -0.065301], &[-0.091532, -0.045766], &[0.157565, 0.118173]]),
        ];
        for (fixture, (loss, slopes)) in fixtures().iter().zip(printed) {
            let (mut rows, normaliser) = fixture.prepare(&objective);
            let padded = fixture.mask.lengths().max().unwrap();
            let mut sum = 0.0;
            for (index, row) in rows.iter_mut().enumerate() {
                let places = (0..fixture.mask.len_of(index)).filter(|&t| fixture.mask.row(index)[t]);
                let ramp = places.map(|t| 1.0 - 0.5 * t as f64 / (padded - 1) as f64);
                row.advantage = row.advantage.iter().zip(ramp).map(|(advantage, ramp)| advantage * ramp).collect();
                let output = objective.row(row, &normaliser);
                sum += output.sums.loss;
                for (got, expected) in output.by_logp.iter().zip(slopes[index]) {
                    close(*got, *expected, 1e-6, "gradient");
                }
            }
            close(sum, loss, 1e-6, "loss");
        }
    }
}
