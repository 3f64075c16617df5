//! SFT: maximum likelihood of demonstrations.
//!
//! ```text
//! L = −(1/Σm) Σ_it m_it · log π_θ(y_it | x_i, y_i<t)
//! ```
//! The demonstration's tokens are trained, the prompt's are not. Every token weighs the same over the whole optimiser
//! step, not over a micro-batch: a mean of micro-batch means weighs tokens of short micro-batches more.
//!
//! Coordinates: `– × – × nll × token_mean`.

use super::{Method, MethodKind, Source, Suggestion, plain};
use crate::{Advantage, Aggregate, Objective, Ratio, Surrogate};

pub(super) const METHOD: Method = Method {
    name: "sft",
    title: "Supervised fine-tuning",
    paper: "Ouyang et al. 2022, InstructGPT, arXiv 2203.02155, §3.5",
    equation: "L = −(1/Σm) Σ_it m_it · log π(y_it | x_i, y_i<t)",
    summary: "Raises the likelihood of demonstrations, token by token.",
    when: "Before RL, so that a sampled answer is right now and then: a policy that is never right gets no gradient \
              from rewards. Also to teach a format.",
    differs: "Learns from text that others wrote, not from the policy's own answers, so nothing pushes wrong answers \
              down. As a loss it is `reinforce` with every advantage 1 on given text.",
    kind: MethodKind::Supervised,
    defaults,
    sources: &[
        Source { key: "surrogate", source: "maximum likelihood" },
        Source {
            key: "aggregate",
            source: "Hugging Face Trainer and TRL: token mean over the optimiser step (`num_items_in_batch`)",
        },
        Source {
            key: "kl_coefficient",
            source: "off in the usual recipes; above 0 it holds the policy near its start",
        },
        Source { key: "kl_estimator", source: "arXiv 2402.03300, eq. 4" },
        Source { key: "entropy_coefficient", source: "off in the usual recipes" },
    ],
    suggestions: &[Suggestion {
        key: "learning_rate",
        value: 2e-5,
        source: "TRL's SFTConfig default; small models from scratch want 1e-3",
    }],
};

fn defaults() -> Objective {
    plain(Advantage::Raw, Ratio::Token, Surrogate::Nll, Aggregate::TokenMean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_golden, fixtures};

    #[test]
    fn golden_losses_and_gradients() {
        check_golden(&defaults(), "sft", [1.020000, 0.833333]);
    }

    #[test]
    fn it_is_reinforce_with_every_advantage_one() {
        let reinforce = Objective { surrogate: Surrogate::Reinforce, ..defaults() };
        for fixture in fixtures() {
            let (rows, normaliser) = fixture.prepare(&defaults());
            for mut row in rows {
                row.advantage = vec![1.0; row.logp.len()];
                let (sft, other) = (defaults().row(&row, &normaliser), reinforce.row(&row, &normaliser));
                assert_eq!((sft.by_logp, sft.sums.loss), (other.by_logp, other.sums.loss));
            }
        }
    }
}
