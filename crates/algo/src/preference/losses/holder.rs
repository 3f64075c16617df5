//! Hölder-DPO: a proper score that forgets what contradicts it.
//!
//! ```text
//! L = −(1+γ)·p^γ + γ·[ p^(1+γ) + (1−p)^(1+γ) ],   p = σ(h)
//! dL/dh = γ(1+γ)·p(1−p)·[ p^γ − (1−p)^γ − p^(γ−1) ]
//! ```
//! The density-power score (Basu et al. 1998) on the two outcomes of a comparison, after Fujisawa et al. 2025, arXiv 2505.17859; their estimate
//! has `γ·p^(1+γ)` alone in brackets, which is not proper for two outcomes.

use super::prelude::*;
use crate::preference::numeric::{log_sigmoid, sigmoid};

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "holder",
    title: "Hölder-DPO",
    paper: "after Fujisawa et al. 2025, arXiv 2505.17859; density-power score of Basu et al. 1998",
    equation: "p = σ(h)\n\
               L = −(1+γ)·p^γ + γ·( p^(1+γ) + (1−p)^(1+γ) )",
    when: "Many flipped labels, where the flipped pairs should also be found.",
    differs: "Redescending: a pair at −3 pulls a third as hard as one at 0, and the pull goes to 0. Its minimum in p is the true probability of the label, which `ramp` and `ropo` do not promise.",
    learns: Learns::Either,
    score: Score::LogRatio,
    formula: Formula::Margin(at),
    coupling: Coupling::None,
    unpaired: false,
    bounded: true,
    parameters: &[
        BETA_OF_DPO,
        Parameter { number: Number::HolderGamma, default: 2.0, range: Range::Above(0.0), source: "arXiv 2505.17859" },
    ],
    sources: &[],
    suggestions: &[RATE_OF_DPO],
    choice: None,
};

fn at(margin: f64, context: &Context<'_>) -> Point {
    let gamma = context.at(Number::HolderGamma);
    let (won, lost) = (sigmoid(margin), sigmoid(-margin));
    let power = |p: f64| (gamma * p).exp();
    let (won_power, lost_power) = (power(log_sigmoid(margin)), power(log_sigmoid(-margin)));
    let value = -(1.0 + gamma) * won_power + gamma * (won * won_power + lost * lost_power);
    // p^(γ−1)·p(1−p) is p^γ·(1−p): finite for γ < 1 too.
    let slope = gamma * (1.0 + gamma) * (won * lost * (won_power - lost_power) - won_power * lost);
    Point { value, slope }
}

#[cfg(test)]
mod tests {
    use crate::preference::testing::*;
    use crate::preference::{Label, Pair};
    use crate::testing::close;

    #[test]
    fn goldens() {
        golden("holder", "{}", -0.392052);
        pulls("holder", "{}", [0.258205, 0.75, 0.012855]);
    }

    /// A proper score: with labels that hold with probability p, the mean loss is least at σ(h) = p.
    #[test]
    fn the_best_preference_is_the_labels_probability() {
        for gamma in [0.5, 2.0, 4.0] {
            let holder = policy("holder", &format!("{{\"holder_gamma\":{gamma}}}"));
            for probability in [0.55, 0.7, 0.9] {
                let mean = |won: f64| {
                    let (answers, _) = answers_of_margins(&[(won / (1.0 - won)).ln()], 0.1);
                    let pair = Pair { label: Label::Prefer(probability), ..Pair::new(0, 1) };
                    step(&holder, &answers, &[pair.into()])
                };
                close(mean(probability).by_logp[0], 0.0, 1e-12, "stationary");
                let least = mean(probability).loss;
                assert!(mean(probability - 0.05).loss > least && mean(probability + 0.05).loss > least);
            }
        }
    }
}
