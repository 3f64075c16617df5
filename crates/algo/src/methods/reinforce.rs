//! REINFORCE with the mean of the step as baseline.
//!
//! ```text
//! A_i = r_i − mean_j r_j                                (j over all answers of the step)
//! L   = −(1/N) Σ_i Σ_t m_it · A_i · log π_θ(y_it)
//! ```
//! Williams 1992, "Simple statistical gradient-following algorithms for connectionist reinforcement learning"; for
//! language models Ahmadian et al., arXiv 2402.14740. The baseline needs no state: it comes from the step itself. It
//! includes the answer's own reward, which scales the expected gradient by `1 − 1/B` and changes nothing else. A
//! running mean of earlier steps would be state that a resumed run has to carry, for no gain at the batch sizes of
//! today.
//!
//! Coordinates: `batch_mean × token (reported only) × reinforce × seq_mean_token_sum`.

use super::{Method, MethodKind, Source, Suggestion, plain};
use crate::{Advantage, Aggregate, Objective, Ratio, Surrogate};

pub(super) const METHOD: Method = Method {
    name: "reinforce",
    title: "REINFORCE",
    paper: "Williams 1992; for language models Ahmadian et al. 2024, arXiv 2402.14740",
    equation: "A_i = r_i − mean of the step\nL = −(1/N) Σ_i Σ_t m_it · A_i · log π(y_it)",
    summary: "The plain score-function gradient with one baseline for the whole step.",
    when: "One answer per prompt, or as the simplest thing that should work. Use one update per rollout: there is no \
              correction for stale answers.",
    differs: "`rloo` and the GRPO family compare an answer with answers to the same prompt; here an easy prompt's \
              answers all look good and a hard one's all look bad, which is noise. Nothing is clipped.",
    kind: MethodKind::Single,
    defaults,
    sources: &[
        Source { key: "advantage", source: "Williams 1992: any baseline keeps the gradient unbiased; `raw` has none" },
        Source { key: "surrogate", source: "Williams 1992" },
        Source { key: "aggregate", source: "arXiv 2402.14740: the whole answer is one action" },
        Source { key: "kl_coefficient", source: "off: verifiable rewards need no anchor (arXiv 2503.14476, §2.3)" },
        Source { key: "kl_estimator", source: "arXiv 2402.03300, eq. 4" },
        Source { key: "entropy_coefficient", source: "off: Williams' estimator has none" },
        Source { key: "dynamic_sampling", source: "off: a step's baseline gives every answer an advantage" },
    ],
    suggestions: &[
        Suggestion { key: "updates_per_rollout", value: 1.0, source: "the estimator is exact on policy only" },
        Suggestion {
            key: "learning_rate",
            value: 1e-6,
            source: "slime and verl recipes for models of billions of weights",
        },
    ],
};

fn defaults() -> Objective {
    plain(Advantage::BatchMean, Ratio::Token, Surrogate::Reinforce, Aggregate::SeqMeanTokenSum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check_golden;

    #[test]
    fn golden_losses_and_gradients() {
        check_golden(&defaults(), "reinforce", [0.000000, -0.144444]);
    }
}
