//! SimPO: mean log-probabilities and a wanted margin, no reference.
//!
//! ```text
//! L = −ln σ( β·(logp_w/n_w − logp_l/n_l) − γ )
//! ```
//! Meng et al. 2024, arXiv 2405.14734

use super::prelude::*;
use crate::preference::numeric::{sigmoid, softplus};

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "simpo",
    title: "SimPO (simple preference optimisation)",
    paper: "Meng et al. 2024, arXiv 2405.14734, eq. 6",
    equation: "L = −ln σ( β·(logp_w/n_w − logp_l/n_l) − γ )",
    when: "Where a reference is too dear, with good pairs sampled from the policy.",
    differs: "Nothing holds the policy near where it began but the learning rate; length cannot be exploited. β is 2 to 10, far from DPO.",
    learns: Learns::Policy,
    score: Score::MeanLogp,
    formula: Formula::Margin(at),
    coupling: Coupling::None,
    unpaired: false,
    bounded: false,
    parameters: &[
        Parameter {
            number: Number::Beta,
            default: 2.0,
            range: Range::Above(0.0),
            source: "arXiv 2405.14734: 2 to 2.5; TRL has 0.1",
        },
        Parameter {
            number: Number::SimpoGamma,
            default: 1.0,
            range: Range::AtLeast(0.0),
            source: "arXiv 2405.14734: γ/β of 0.3 to 0.5; TRL has 0.5",
        },
    ],
    sources: &[],
    suggestions: &[Suggestion { key: "learning_rate", value: 1e-6, source: "arXiv 2405.14734: 3e-7 to 1e-6" }],
    choice: None,
};

pub(super) fn at(margin: f64, context: &Context<'_>) -> Point {
    let short = margin - context.at(Number::SimpoGamma);
    Point { value: softplus(-short), slope: -sigmoid(-short) }
}

#[cfg(test)]
mod tests {
    use crate::preference::testing::*;
    use crate::preference::{Answer, Pair};
    use crate::testing::close;

    /// Specification: β(p_w − p_l) − γ = 2·(−0.8 + 1.4) − 1 = 0.2.
    #[test]
    fn goldens() {
        let answers = [Answer::new(-8.0, 0.0, 10), Answer::new(-7.0, 0.0, 5)];
        let output = step(&policy("simpo", "{}"), &answers, &[Pair::new(0, 1).into()]);
        close(output.loss, 0.598139, 1e-6, "loss");
        close(output.by_logp[0], -0.2 * 0.450166, 1e-6, "β/n_w · σ(−0.2)");
    }
}
