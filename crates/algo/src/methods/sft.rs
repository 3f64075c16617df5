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
    use std::ops::Range;

    use lapidary_core::{Ragged, TokenStats, Want};

    use super::*;
    use crate::testing::{check_golden, fixtures};
    use crate::{LossBatch, TokenAdvantages};

    #[test]
    fn golden_losses_and_gradients() {
        check_golden(&defaults(), "sft", [1.020000, 0.833333]);
    }

    /// Spec B §0.3: losses [1, 2, 3] and [5] of two micro-batches are 2.75 per token of the step; a mean of their means is 3.5.
    #[test]
    fn a_mean_over_tokens_is_over_the_whole_step() {
        let mask: Ragged<bool> = [vec![false, true, true, true], vec![false, true]].into_iter().collect();
        let logp: Ragged<f32> = [vec![0.0, -1.0, -2.0, -3.0], vec![0.0, -5.0]].into_iter().collect();
        let (objective, none) = (defaults(), TokenAdvantages::default());
        let of = |rows: &[Range<usize>]| -> Vec<(f64, Vec<f32>)> {
            let whole = objective.prepare(&mask, None, None, 8).normaliser;
            let one = |range: &Range<usize>| {
                let (mask, logp) = (mask.select(range.clone()), logp.select(range.clone()));
                let stats = TokenStats { entropy: logp.like(0.0), logp, ..TokenStats::default() };
                let batch = LossBatch::new(&mask, &none, Want::default());
                let output = objective.loss(&batch, &stats, &whole).unwrap();
                (output.loss, output.grads.logp.flat().to_vec())
            };
            rows.iter().map(one).collect()
        };
        let apart = of(&[0..1, 1..2]);
        assert_eq!((apart[0].0, apart[1].0), (1.5, 1.25));
        assert_eq!(apart[0].0 + apart[1].0, 2.75);
        assert_eq!([apart[0].1.clone(), apart[1].1.clone()].concat(), [0.0, -0.25, -0.25, -0.25, 0.0, -0.25]);
        let whole = of(std::slice::from_ref(&(0..2)));
        assert_eq!(whole[0].0, 2.75);
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
