//! GTPO: credit per token, by how unsure the policy was there.
//!
//! ```text
//! r̃⁺_it = α₁ r_i + α₂ · H_it / Σ_{k∈O⁺} H_kt · d_t               (right answers; 0 for the others)
//! r̃⁻_jt = −α₁    − α₂ · (1/H_jt) / Σ_{k∈O⁻} (1/H_kt) · h_t        (wrong answers; 0 for the others)
//! Ã± = (r̃± − mean R̃±)/std R̃±
//! L = −(1/Σm) Σ_it m_it · min(w_it Ã_it, clip(w_it, 1−ε_lo, 1+ε_hi) Ã_it)
//! ```
//! arXiv 2508.04349 (not arXiv 2508.03772, another method of that name), eq. 3–7. `d_t` and `h_t` count the right and
//! the wrong answers that reach position `t`; `H` is the entropy of the policy that sampled. Which tokens `R̃±` holds the
//! paper does not settle: `zero_filled` takes its zeros at their word and keeps the outcome's sign; `subset`, the other
//! reading, standardises the right answers among themselves, and the outcome cancels.
//!
//! Coordinates: `entropy_token × token × clip(0.2, 0.28) × token_mean`, with dynamic sampling.

use super::{Method, MethodKind, Source, Suggestion, plain};
use crate::shaping::GroupOverlong;
use crate::{Advantage, Aggregate, EntropyCredit, Objective, Ratio, Surrogate};

pub(super) const METHOD: Method = Method {
    name: "gtpo",
    title: "GTPO (group token policy optimisation)",
    paper: "arXiv 2508.04349, eq. 3–7 and appendix D",
    equation: "right: r̃_it = α₁·r_i + α₂·d_t·H_it/Σ_{k right} H_kt,   wrong: r̃_jt = −α₁ − α₂·h_t·(1/H_jt)/Σ_{k wrong} (1/H_kt)\n\
               Ã_it = (r̃_it − mean R̃±)/(std R̃± + δ), each side with the other side's tokens as 0\n\
               L = −(1/Σm) Σ_it m_it · min(w_it·Ã_it, clip(w_it, 1−ε_lo, 1+ε_hi)·Ã_it)",
    summary: "Right answers are paid more where the policy was unsure, wrong ones less: a credit for each token.",
    when: "Long reasoning in which a few uncertain tokens decide, and an entropy that falls too fast.",
    differs: "`dapo` gives all tokens of an answer the same credit; with `entropy_weight = 0` and answers of one length \
              this is proportional to it. `grpo_s` weighs whole answers. Groups that are all right or all wrong would \
              get ±1 from entropy alone: they are sampled again, and get nothing where none is left to take their place.",
    kind: MethodKind::Group { min_samples: 2 },
    defaults,
    sources: SOURCES,
    suggestions: SUGGESTIONS,
};

/// Also those of GRPO-S.
pub(super) const SUGGESTIONS: &[Suggestion] = &[
    Suggestion { key: "samples_per_prompt", value: 16.0, source: "arXiv 2508.04349, §3.1" },
    Suggestion { key: "updates_per_rollout", value: 1.0, source: "arXiv 2508.04349 does not say; GRPO's" },
    Suggestion { key: "learning_rate", value: 1e-6, source: "arXiv 2508.04349, §3.1" },
];

const SOURCES: &[Source] = &[
    Source { key: "advantage", source: "arXiv 2508.04349, eq. 3, 5, 6" },
    Source { key: "std_ddof", source: "the paper does not say: the population's" },
    Source { key: "std_delta", source: "arXiv 2508.04349, remark 2.1: a small number" },
    Source { key: "outcome_weight", source: "arXiv 2508.04349, §3.1: α₁" },
    Source { key: "entropy_weight", source: "arXiv 2508.04349, §3.1: α₂" },
    Source { key: "entropy_normalise", source: "eq. 3 and 5 define the zeros, and the proof in B.6 needs them" },
    Source {
        key: "entropy_scope",
        source: "arXiv 2508.04349, §2.2: group; §4 says batch, which has no baseline per prompt",
    },
    Source { key: "entropy_mean", source: "arXiv 2508.04349, §2.2; the geometric one is appendix C" },
    Source { key: "entropy_floor", source: "arXiv 2508.04349, remark 2.1; 1e-3 is milder" },
    Source {
        key: "entropy_clamp_low",
        source: "off: \"entropy is clipped at 0.2 and 0.28\" (§3.1) are DAPO's bounds of the ratio",
    },
    Source { key: "entropy_clamp_high", source: "off, as `entropy_clamp_low`" },
    Source { key: "entropy_position", source: "arXiv 2508.04349, §2.2; `trained` for agents" },
    Source { key: "success_above", source: "rewards of 0 and 1 (arXiv 2508.04349, §2.1)" },
    Source { key: "skip_one_sided", source: "theirs would be entropy alone; the paper samples them again (DAPO)" },
    Source { key: "ratio", source: "arXiv 2508.04349, eq. 7" },
    Source { key: "surrogate", source: "arXiv 2508.04349, eq. 7" },
    Source { key: "clip_low", source: "arXiv 2508.04349, §3.1 (and DAPO)" },
    Source { key: "clip_high", source: "arXiv 2508.04349, §3.1 (and DAPO)" },
    Source { key: "clip_dual", source: "off: not part of the method" },
    Source { key: "aggregate", source: "arXiv 2508.04349, eq. 7" },
    Source { key: "kl_coefficient", source: "the paper does not say; DAPO has none" },
    Source { key: "kl_estimator", source: "arXiv 2402.03300, eq. 4" },
    Source { key: "entropy_coefficient", source: "off: entropy has its place in the reward" },
    Source { key: "dynamic_sampling", source: "arXiv 2503.14476, §3.2, which the paper builds on" },
    Source {
        key: "group_overlong",
        source: "arXiv 2508.04349, appendix D; γ₁ is not given, 0.75 in a third-party copy",
    },
];

fn defaults() -> Objective {
    let clip = Surrogate::Clip { low: 0.2, high: 0.28, dual: None };
    Objective {
        dynamic_sampling: true,
        group_overlong: Some(GroupOverlong { easy: 0.75 }),
        ..plain(Advantage::EntropyTokens(EntropyCredit::PAPER), Ratio::Token, clip, Aggregate::TokenMean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, close_losses, close_rows, fixtures};
    use crate::{Kl, Normalise, method};

    fn with(change: impl Fn(&mut EntropyCredit)) -> Objective {
        let mut credit = EntropyCredit::PAPER;
        change(&mut credit);
        Objective { advantage: Advantage::EntropyTokens(credit), ..defaults() }
    }

    #[test]
    fn golden_losses_and_gradients() {
        let slopes: [&[&[f64]]; 2] = [
            &[&[-0.124993, -0.110724, 0.0], &[0.081858, 0.0], &[0.095801, 0.0, 0.089972, 0.109892], &[0.0]],
            &[&[-0.104543, -0.087031], &[-0.103986, -0.143491], &[0.0, 0.213272]],
        ];
        close_losses(&defaults(), [-0.053069, -0.037217], Some(slopes));
        close_losses(&with(|credit| credit.normalise = Normalise::Joint), [-0.049603, -0.042752], None);
    }

    #[test]
    fn golden_advantages() {
        let zero_filled: [&[&[f64]]; 2] = [
            &[
                &[1.130988, 1.223692, 1.223692],
                &[-0.670196, -0.906615],
                &[-0.958011, -0.721592, -0.814103, -0.814103],
                &[1.316396],
            ],
            &[&[0.567567, 0.704881], &[0.842196, 0.704881], &[-1.414214, -1.414214]],
        ];
        let joint: [&[&[f64]]; 2] = [
            &[
                &[1.177234, 1.223582, 1.223582],
                &[-0.743624, -0.862069],
                &[-0.887818, -0.769373, -0.815721, -0.815721],
                &[1.269929],
            ],
            &[&[0.637729, 0.706548], &[0.775368, 0.706548], &[-1.413097, -1.413097]],
        ];
        let subset: [&[&[f64]]; 2] = [
            &[&[-1.414213, 0.0, 0.0], &[1.456964, -0.936619], &[-1.456964, 0.936619, 0.0, 0.0], &[1.414213]],
            &[&[-1.414213, 0.0], &[1.414213, 0.0], &[0.0, 0.0]],
        ];
        let table = [(Normalise::ZeroFilled, zero_filled), (Normalise::Joint, joint), (Normalise::Subset, subset)];
        for (normalise, printed) in table {
            for (fixture, printed) in fixtures().iter().zip(printed) {
                let objective = with(|credit| credit.normalise = normalise);
                close_rows(&objective.advantage.estimate(&fixture.experience(&Kl::OFF)).values, printed, 1e-6);
            }
        }
    }

    /// The trap of the other reading: the mean advantage of right answers is 0, so being right no longer counts.
    #[test]
    fn the_subset_reading_loses_the_outcome_and_ours_keeps_it() {
        let mean_of_right = |objective: &Objective| {
            let fixture = &fixtures()[0];
            let (rows, _) = fixture.prepare(objective);
            let right: Vec<f64> = [&rows[0], &rows[3]].iter().flat_map(|row| row.advantage.clone()).collect();
            right.iter().sum::<f64>() / right.len() as f64
        };
        close(mean_of_right(&with(|credit| credit.normalise = Normalise::Subset)), 0.0, 1e-9, "subset");
        assert!(mean_of_right(&defaults()) > 1.0);
    }

    /// §4.10 (b): without the entropy's part and with answers of one length it is GRPO up to a factor.
    #[test]
    fn without_entropy_and_at_equal_lengths_it_is_proportional_to_grpo() {
        let mut experience = fixtures()[0].experience(&Kl::OFF);
        for tokens in &mut experience.tokens {
            tokens.places = vec![0, 1];
            tokens.entropy = vec![0.3, 0.9];
        }
        experience.verdicts = [1.0, 0.0, 0.0, 0.0].map(Some).to_vec();
        experience.rewards = experience.verdicts.clone();
        let ours = with(|credit| credit.entropy_weight = 0.0).advantage.estimate(&experience);
        let grpo = (method("grpo").unwrap().defaults)().advantage.estimate(&experience);
        // Zero-filled, r̃⁺ is GRPO's reward itself and r̃⁻ its mirror: both standardise to GRPO's advantages.
        let factor = ours.row(0, 2)[0] / grpo.row(0, 2)[0];
        for row in 0..4 {
            for (ours, grpo) in ours.row(row, 2).iter().zip(grpo.row(row, 2)) {
                close(*ours, factor * grpo, 1e-6, "proportional");
            }
        }
    }
}
