//! GRPO-S: credit per answer, by how unsure the policy was on average.
//!
//! ```text
//! Ĥ_k = (1/L_k) Σ_t H_kt
//! r̂⁺_i = β₁ r_i + β₂ · Ĥ_i / Σ_{k∈O⁺} Ĥ_k · n,   r̂⁻_j = −β₁ − β₂ · (1/Ĥ_j) / Σ_{k∈O⁻} (1/Ĥ_k) · m
//! Â± = (r̂± − mean)/std over the G answers, each side with the other's as 0
//! ŵ_i = (1/L_i) Σ_t w_it
//! L = −(1/G) Σ_i min(ŵ_i Â_i, clip(ŵ_i, 1−ε_lo, 1+ε_hi) Â_i)
//! dL/dlogp_it = −(1/G) Â_i w_it/L_i · [ŵ_i not clipped]
//! ```
//! arXiv 2508.04349, eq. 8–11. The ratio is the arithmetic mean of token ratios, not GSPO's geometric one: tokens are
//! weighed by their own ratio, and the bounds are of GRPO's size.
//!
//! Coordinates: `entropy_sequence × sequence_arithmetic × clip(0.2, 0.28) × seq_mean_token_mean`.

use super::{Method, MethodKind, Source, gtpo, plain};
use crate::shaping::GroupOverlong;
use crate::{Advantage, Aggregate, EntropyCredit, Objective, Ratio, Surrogate};

pub(super) const METHOD: Method = Method {
    name: "grpo_s",
    title: "GRPO-S (sequence-level GTPO)",
    paper: "arXiv 2508.04349, eq. 8–11 and appendices C, D",
    equation: "right: r̂_i = β₁·r_i + β₂·n·Ĥ_i/Σ_{k right} Ĥ_k,   wrong: r̂_j = −β₁ − β₂·m·(1/Ĥ_j)/Σ_{k wrong} (1/Ĥ_k)\n\
               Â_i = (r̂_i − mean R̂±)/(std R̂± + δ),   ŵ_i = (1/L_i) Σ_t w_it\n\
               L = −(1/N) Σ_i min(ŵ_i·Â_i, clip(ŵ_i, 1−ε_lo, 1+ε_hi)·Â_i)",
    summary: "Right answers are paid more when the policy was unsure on the whole, wrong ones less.",
    when: "As `gtpo`, where token credit is too noisy: short answers, or few of them per prompt.",
    differs: "`gtpo` credits single tokens and averages over tokens. `gspo` has the geometric mean of the ratios and tiny \
              bounds; here it is the arithmetic one (`ratio = \"sequence_geometric\"` and `entropy_mean = \"geometric\"` are \
              the paper's appendix C).",
    kind: MethodKind::Group { min_samples: 2 },
    defaults,
    sources: &[
        Source { key: "advantage", source: "arXiv 2508.04349, eq. 8, 9" },
        Source { key: "std_ddof", source: "the paper does not say: the population's" },
        Source { key: "std_delta", source: "arXiv 2508.04349, remark 2.1: a small number" },
        Source { key: "outcome_weight", source: "arXiv 2508.04349, §3.1: β₁" },
        Source { key: "entropy_weight", source: "arXiv 2508.04349, §3.1: β₂" },
        Source { key: "entropy_normalise", source: "arXiv 2508.04349, §2.3: over the G sequences in the group" },
        Source { key: "entropy_scope", source: "arXiv 2508.04349, §2.3: group" },
        Source { key: "entropy_mean", source: "arXiv 2508.04349, eq. 8; the geometric one is appendix C" },
        Source { key: "entropy_floor", source: "arXiv 2508.04349, remark 2.1; 1e-3 is milder" },
        Source { key: "entropy_clamp_low", source: "off, as for `gtpo`" },
        Source { key: "entropy_clamp_high", source: "off, as for `gtpo`" },
        Source { key: "success_above", source: "rewards of 0 and 1 (arXiv 2508.04349, §2.1)" },
        Source { key: "skip_one_sided", source: "theirs would be entropy alone; the paper samples them again (DAPO)" },
        Source { key: "ratio", source: "arXiv 2508.04349, eq. 11" },
        Source { key: "surrogate", source: "arXiv 2508.04349, eq. 10" },
        Source { key: "clip_low", source: "arXiv 2508.04349, §3.1 (and DAPO)" },
        Source { key: "clip_high", source: "arXiv 2508.04349, §3.1 (and DAPO)" },
        Source { key: "clip_dual", source: "off: not part of the method" },
        Source { key: "aggregate", source: "arXiv 2508.04349, eq. 10" },
        Source { key: "kl_coefficient", source: "the paper does not say; DAPO has none" },
        Source { key: "kl_estimator", source: "arXiv 2402.03300, eq. 4" },
        Source { key: "entropy_coefficient", source: "off: entropy has its place in the reward" },
        Source { key: "dynamic_sampling", source: "arXiv 2503.14476, §3.2, which the paper builds on" },
        Source {
            key: "group_overlong",
            source: "arXiv 2508.04349, appendix D; γ₁ is not given, 0.75 in a third-party copy",
        },
    ],
    suggestions: gtpo::SUGGESTIONS,
};

fn defaults() -> Objective {
    let clip = Surrogate::Clip { low: 0.2, high: 0.28, dual: None };
    let credit = Advantage::EntropySequences(EntropyCredit::PAPER);
    Objective {
        dynamic_sampling: true,
        group_overlong: Some(GroupOverlong { easy: 0.75 }),
        ..plain(credit, Ratio::SequenceArithmetic, clip, Aggregate::SeqMeanTokenMean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, close_losses, fixtures};
    use crate::{Kl, Normalise};

    #[test]
    fn golden_losses_and_gradients() {
        let slopes: [&[&[f64]]; 2] = [
            &[
                &[-0.089993, -0.073680, -0.121478],
                &[0.151466, 0.091869],
                &[0.062993, 0.042226, 0.069618, 0.085032],
                &[0.0],
            ],
            &[&[-0.117585, -0.078820], &[-0.095526, -0.157496], &[0.174613, 0.213272]],
        ];
        close_losses(&defaults(), [-0.109177, -0.061542], Some(slopes));
    }

    #[test]
    fn golden_advantages() {
        let printed = [[0.977147, -0.992079, -1.007889, 1.022595].as_slice(), &[0.638373, 0.773681, -1.414214]];
        for (fixture, printed) in fixtures().iter().zip(printed) {
            let estimate = defaults().advantage.estimate(&fixture.experience(&Kl::OFF));
            for (row, expected) in printed.iter().enumerate() {
                close(estimate.row(row, 1)[0], *expected, 1e-6, "advantage");
            }
        }
    }

    /// A truncated answer that is masked has no tokens, but stays in the baseline, as a failure without a malus.
    #[test]
    fn an_answer_without_trained_tokens_stays_in_the_baseline() {
        let mut experience = fixtures()[0].experience(&Kl::OFF);
        experience.tokens[2] = Default::default();
        let joint = EntropyCredit { normalise: Normalise::Joint, ..EntropyCredit::PAPER };
        let estimate = Advantage::EntropySequences(joint).estimate(&experience);
        let all: Vec<f64> = (0..4).map(|row| estimate.row(row, 1)[0]).collect();
        close(all.iter().sum(), 0.0, 1e-9, "all four are standardised together");
        assert!(all[2] < 0.0 && all[2] > all[1], "−β₁ against −β₁ − β₂");
    }
}
