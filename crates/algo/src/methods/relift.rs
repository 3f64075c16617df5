//! ReLIFT: the loss of its reinforcement learning; the demonstrations between the updates are `[stage.interleave]`.
//!
//! ```text
//! A_i = r_i − mean_group r
//! L = −1/(B·L_max) Σ_it m_it · w_it A_i − c · mean over tokens of H
//! ```
//! Ma et al., "Learning what reinforcement learning can't: interleaved online fine-tuning for hardest questions", arXiv 2506.07527, and
//! its code: no division by the spread, no clipping, no reference. The code sums over rows where we take a mean, so its loss is `B`
//! times ours while its entropy term is not: `policy_coefficient = B` gives its ratio of the two.
//!
//! Coordinates: `group_mean × token × clip without bounds × token_sum_const`.

use super::{Method, MethodKind, Source, Suggestion, plain};
use crate::{Advantage, Aggregate, Objective, Ratio, Surrogate};

/// A ratio is held within e^±20 ≈ 4.9e8, so this never binds.
const NO_BOUND: f64 = 1e9;

pub(super) const METHOD: Method = Method {
    name: "relift",
    title: "ReLIFT",
    paper: "Ma et al. 2025, arXiv 2506.07527, and its code",
    equation: "A_i = r_i − mean_group r,   w_it = π(y_it)/π_old(y_it)\n\
               L = −1/(B·L_max) Σ_it m_it · w_it·A_i − c·(1/Σm) Σ_it m_it·H_it\n\
               between the updates: L_sft = −mean log π(demonstration) − c·mean H on questions that no answer solved",
    summary: "Dr. GRPO without clipping and with a small entropy bonus; with `[stage.interleave]`, supervised updates on the questions \
              that no answer solved.",
    when: "When some questions are never answered, so that rewards cannot teach them, and there are demonstrations. Compare it with \
           plain sft before rl, which arXiv 2604.23747 found to be stronger.",
    differs: "Against `dr_grpo`: no bounds on the ratio (nothing holds a token back in later updates of a rollout, so use one or two), \
              and an entropy bonus averaged over tokens. Against sft before rl: only demonstrations of failed questions are read, when \
              they fail.",
    kind: MethodKind::Group { min_samples: 2 },
    defaults,
    sources: &[
        Source { key: "advantage", source: "its code: `grpo_use_std = False`" },
        Source { key: "ratio", source: "as GRPO" },
        Source { key: "surrogate", source: "its code: the ratio times the advantage" },
        Source { key: "clip_low", source: "no bound: its code has `loss_remove_clip`" },
        Source { key: "clip_high", source: "no bound: its code has `loss_remove_clip`; ratios are held below e^20" },
        Source { key: "clip_dual", source: "off: not part of the method" },
        Source {
            key: "aggregate",
            source: "its code: a sum over tokens by the longest answer; the mean over rows is ours",
        },
        Source { key: "length_constant", source: "its code: the longest answer allowed (8192)" },
        Source { key: "kl_coefficient", source: "its script: no KL, no reference" },
        Source { key: "kl_estimator", source: "arXiv 2402.03300, eq. 4" },
        Source { key: "entropy_coefficient", source: "its script: 1e-3" },
        Source { key: "entropy_aggregate", source: "its code: a mean over tokens" },
    ],
    suggestions: &[
        Suggestion { key: "samples_per_prompt", value: 8.0, source: "its script" },
        Suggestion { key: "updates_per_rollout", value: 2.0, source: "its script: 128 prompts, 64 per update" },
        Suggestion { key: "learning_rate", value: 1e-6, source: "its script" },
    ],
};

fn defaults() -> Objective {
    let surrogate = Surrogate::Clip { low: 1.0, high: NO_BOUND, dual: None };
    Objective {
        entropy_coefficient: 1e-3,
        entropy_aggregate: Some(Aggregate::TokenMean),
        ..plain(Advantage::GroupMean, Ratio::Token, surrogate, Aggregate::TokenSumConst)
    }
}

#[cfg(test)]
mod tests {
    use lapidary_core::Ragged;

    use super::*;
    use crate::loss::Row;
    use crate::testing::close;
    use crate::{Experience, Kl, Overrides, method};

    const LONGEST: usize = 4;

    /// Spec B §2.11: two answers of three and two tokens, the first right, `copies` times.
    fn golden(objective: &Objective, copies: usize, entropy: Option<f64>) -> f64 {
        let rewards: Vec<Option<f32>> = [Some(1.0), Some(0.0)].repeat(copies);
        let groups: Vec<usize> = (0..copies).flat_map(|group| [group; 2]).collect();
        let advantages = objective.advantages(&Experience::of_rewards(&rewards, &groups)).unwrap();
        let answers = [(vec![-0.5, -1.0, -0.2], vec![-0.6, -0.9, -0.2]), (vec![-0.7, -0.3], vec![-0.7, -0.5])];
        let mask: Ragged<bool> = (0..copies).flat_map(|_| [vec![true; 3], vec![true; 2]]).collect();
        let normaliser = objective.normaliser(&mask, LONGEST);
        let rows = answers.iter().cycle().take(2 * copies).enumerate();
        let loss = rows.map(|(at, (logp, old))| {
            let advantage = vec![f64::from(advantages.mean_of(at)); logp.len()];
            assert_eq!(advantage[0].abs(), 0.5);
            let entropy = entropy.map(|entropy| vec![entropy; logp.len()]);
            let row = Row { logp: logp.clone(), old: Some(old.clone()), advantage, entropy, ..Row::default() };
            objective.row(&row, &normaliser).sums.loss
        });
        loss.sum()
    }

    fn with(text: &str) -> Objective {
        defaults().with(&serde_json::from_str::<Overrides>(text).unwrap()).unwrap()
    }

    #[test]
    fn golden_losses() {
        close(golden(&defaults(), 1, None), -0.049288, 1e-6, "ΣΣ/(N·L)");
        close(golden(&with(r#"{"policy_coefficient":2}"#), 1, None), -0.098576, 1e-6, "ΣΣ/L, the code's");
        close(golden(&with(r#"{"aggregate":"token_mean"}"#), 1, None), -0.078861, 1e-6, "token mean");
        let clipped = with(r#"{"aggregate":"token_mean","clip_low":0.2,"clip_high":0.2}"#);
        close(golden(&clipped, 1, None), -0.078861, 1e-6, "clipped token mean");
        close(golden(&with(r#"{"aggregate":"seq_mean_token_mean"}"#), 1, None), 0.026841, 1e-6, "sequence mean");
    }

    /// Without bounds: a bad answer that has become unlikely is pushed on, a good one that has become likely too.
    #[test]
    fn nothing_is_clipped() {
        for (ratio, advantage) in [(1e-6, -1.0), (1e6, 1.0), (4.8e8, 1.0)] {
            let term = defaults().surrogate.at(ratio, -1.0, advantage);
            assert_eq!((term.loss, term.by_ratio), (-ratio * advantage, -advantage));
        }
    }

    #[test]
    fn golden_advantages_of_eight_answers() {
        let rewards = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0].map(Some);
        let of = |advantage: Advantage| advantage.of(&Experience::of_rewards(&rewards, &[0; 8]), &Kl::OFF).unwrap();
        let plain = of(defaults().advantage);
        assert_eq!([plain.mean_of(0), plain.mean_of(1)], [0.75, -0.25]);
        let scaled = of((method("grpo").unwrap().defaults)().advantage);
        close(f64::from(scaled.mean_of(0)), 1.620182, 2e-6, "with the spread");
        close(f64::from(scaled.mean_of(1)), -0.540061, 2e-6, "with the spread");
    }

    /// The reference's second defect: its loss is a sum over rows, so that the weight of the entropy depends on how many there
    /// are. Ours does not; a sum over rows, the control, does.
    #[test]
    fn the_weight_of_the_entropy_does_not_depend_on_the_batch() {
        let parts = |copies: usize| {
            let policy = golden(&defaults(), copies, None);
            (policy, golden(&defaults(), copies, Some(2.0)) - policy)
        };
        let (one, four) = (parts(1), parts(4));
        close(one.0, four.0, 1e-12, "policy term");
        close(one.1, four.1, 1e-12, "entropy term");
        close(one.1, -1e-3 * 2.0, 1e-12, "a mean over tokens");
        let summed = |copies: usize| {
            let theirs = with(&format!("{{\"policy_coefficient\":{}}}", 2 * copies));
            golden(&theirs, copies, Some(2.0)) + 1e-3 * 2.0
        };
        close(summed(4), 4.0 * summed(1), 1e-12, "the control grows with the rows, and its entropy term does not");
    }
}
