//! GSPO as the article writes it: the ratio of a whole answer, without the length in it.
//!
//! ```text
//! r_i = π_θ(y_i)/π_old(y_i) = Π_t w_it
//! L = −(1/N) Σ_i min(r_i A_i, clip(r_i, 1−ε, 1+ε) A_i)
//! dL/dlogp_it = −(1/N) r_i A_i · [A_i ≥ 0 ? r_i ≤ 1+ε : r_i ≥ 1−ε]
//! ```
//! The short form of "Top 10 Reinforcement Learning Post-Training Research Trends 2025". The paper (arXiv 2507.18071,
//! eq. 7) takes the L-th root: without it a mean log-ratio of 0.001 is a ratio of 1.01 over ten tokens, 2.7 over a
//! thousand and 2981 over eight thousand, so the same bounds mean another thing at every length. It is here to be
//! compared with.
//!
//! Coordinates: `group_zscore × sequence_product × clip(0.2, 0.2) × seq_mean_token_mean`.

use super::{Method, MethodKind, Source, Suggestion, grpo};
use crate::{Objective, Ratio};

pub(super) const METHOD: Method = Method {
    name: "gspo_article",
    title: "GSPO, the article's short form",
    paper: "\"Top 10 Reinforcement Learning Post-Training Research Trends 2025\", thakicloud.github.io; \
            the paper's own form is `gspo`",
    equation: "r_i = π(y_i)/π_old(y_i) = Π_t w_it\n\
               L = −(1/N) Σ_i min(r_i·A_i, clip(r_i, 1−ε, 1+ε)·A_i)",
    summary: "The importance ratio of a whole answer, not normalised by its length.",
    when: "To see what the length normalisation of `gspo` is for; with short answers of equal length.",
    differs: "`gspo` takes the L-th root of this ratio and clips three hundred times tighter. Here long answers leave the \
              bounds after the smallest step, and a token of a long answer gets L times the gradient.",
    kind: MethodKind::Group { min_samples: 2 },
    defaults,
    sources: &[
        Source { key: "advantage", source: "the article's A(τ); as `gspo` (arXiv 2507.18071, eq. 6)" },
        Source { key: "std_ddof", source: "as `gspo`" },
        Source { key: "std_delta", source: "as `gspo`" },
        Source { key: "ratio", source: "the article's r(τ), \"the importance ratio for sequence τ\"" },
        Source { key: "surrogate", source: "the article's min(rA, clip(r, 1−ε, 1+ε)A)" },
        Source { key: "clip_low", source: "the article does not say; PPO, arXiv 1707.06347, §6.1" },
        Source { key: "clip_high", source: "the article does not say; PPO, arXiv 1707.06347, §6.1" },
        Source { key: "clip_dual", source: "off: not part of it" },
        Source { key: "aggregate", source: "the article's expectation over answers" },
        Source { key: "kl_coefficient", source: "the article has none" },
        Source { key: "kl_estimator", source: "arXiv 2402.03300, eq. 4" },
        Source { key: "entropy_coefficient", source: "the article has none" },
    ],
    suggestions: &[
        Suggestion { key: "samples_per_prompt", value: 8.0, source: "as `gspo`" },
        Suggestion { key: "updates_per_rollout", value: 4.0, source: "as `gspo`" },
        Suggestion { key: "learning_rate", value: 1e-6, source: "as `gspo`" },
    ],
};

fn defaults() -> Objective {
    Objective { ratio: Ratio::SequenceProduct, ..grpo::defaults() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::Row;
    use crate::methods::gspo;
    use crate::testing::{close, fixtures};
    use lapidary_core::Ragged;

    #[test]
    fn losses_and_gradients_by_hand() {
        // Specification A, §12.3: ratios 1.491825, 0.904837, 1, 1.349859; advantages ±0.866024; bounds 0.8 and 1.2.
        let fixture = &fixtures()[0];
        let (rows, normaliser) = fixture.prepare(&defaults());
        let outputs: Vec<_> = rows.iter().map(|row| defaults().row(row, &normaliser)).collect();
        let loss: f64 = outputs.iter().map(|output| output.sums.loss).sum();
        close(loss, 0.866024 / 4.0 * (-1.2 + 0.904837 + 1.0 - 1.2), 1e-6, "loss");
        let slopes = [0.0, 0.866024 * 0.904837 / 4.0, 0.866024 / 4.0, 0.0];
        for (output, slope) in outputs.iter().zip(slopes) {
            output.by_logp.iter().for_each(|got| close(*got, slope, 1e-6, "gradient"));
        }
    }

    /// The specification's first row of what the article says imprecisely.
    #[test]
    fn the_same_small_move_is_clipped_at_a_thousand_tokens_and_not_at_ten() {
        let stopped = |objective: &Objective, length: usize| {
            let row = Row {
                logp: vec![-1.0 + 3e-4; length],
                old: Some(vec![-1.0; length]),
                advantage: vec![1.0; length],
                ..Row::default()
            };
            let mask: Ragged<bool> = [vec![true; length]].into_iter().collect();
            objective.row(&row, &objective.normaliser(&mask, length)).sums.clipped_high > 0.0
        };
        assert_eq!([10, 1000].map(|length| stopped(&defaults(), length)), [false, true]);
        assert_eq!([10, 1000].map(|length| stopped(&gspo::defaults(), length)), [false, false]);
    }
}
