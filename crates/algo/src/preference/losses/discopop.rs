//! DiscoPOP: a loss that a language model found, logistic for contradicted and exponential for agreeing pairs.
//!
//! ```text
//! L = ℓ(h)·(1 − m) + e^(−h)·m,   m = σ(h/τ)
//! ```
//! Lu et al. 2024, arXiv 2406.08414; TRL's `discopop`.

use super::prelude::*;
use crate::preference::numeric::{log_sigmoid, sigmoid, softplus};

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "discopop",
    title: "DiscoPOP",
    paper: "Lu et al. 2024, arXiv 2406.08414",
    equation: "m = σ(h/τ)\n\
               L = −(1 − m)·ln σ(h) + m·e^(−h)",
    when: "A drop-in for DPO that its authors found better on several tasks.",
    differs: "Not convex: just below h = 0 the gate pulls the wrong way (see the plot). τ of at most 1 keeps it finite for contradicted pairs.",
    learns: Learns::Either,
    score: Score::LogRatio,
    formula: Formula::Margin(at),
    coupling: Coupling::None,
    unpaired: false,
    bounded: false,
    parameters: &[
        BETA_OF_DPO,
        Parameter {
            number: Number::DiscopopTau,
            default: 0.05,
            range: Range::AboveTo(0.0, 1.0),
            source: "arXiv 2406.08414; TRL",
        },
    ],
    sources: &[],
    suggestions: &[RATE_OF_DPO],
    choice: None,
};

/// `e^(−h)·m` is `exp(−h + ln σ(h/τ))`: neither factor alone stays finite.
fn at(margin: f64, context: &Context<'_>) -> Point {
    let tau = context.at(Number::DiscopopTau);
    let (gate, closed) = (sigmoid(margin / tau), sigmoid(-margin / tau));
    let exponential = (log_sigmoid(margin / tau) - margin).exp();
    let logistic = softplus(-margin);
    Point {
        value: logistic * closed + exponential,
        slope: -sigmoid(-margin) * closed - logistic * gate * closed / tau + exponential * (closed / tau - 1.0),
    }
}

#[cfg(test)]
mod tests {
    use crate::preference::testing::golden;

    #[test]
    fn goldens() {
        golden("discopop", "{}", 0.814763);
    }
}
