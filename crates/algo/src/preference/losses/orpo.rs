//! ORPO: fine-tuning with an odds ratio beside it, no reference.
//!
//! ```text
//! p = exp(logp/n),  odds = p/(1−p)
//! L = −logp_w/n_w + β·ℓ(ln odds_w − ln odds_l)
//! ```
//! Hong et al. 2024, arXiv 2403.07691, eq. 6–8. The likelihood is that of the answer; TRL's covers the prompt too.

use super::prelude::*;
use crate::preference::numeric::{sigmoid, softplus};

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "orpo",
    title: "ORPO (odds ratio preference optimisation)",
    paper: "Hong et al. 2024, arXiv 2403.07691, eq. 6–8",
    equation: "p = exp(logp/n)\n\
               L = −logp_w/n_w − β·ln σ( ln(p_w/(1−p_w)) − ln(p_l/(1−p_l)) )",
    when: "A base model that has to learn the format and the preference at once, in one stage and without a reference.",
    differs: "The likelihood term does most of the work; β weighs the preference and does not scale its margin.",
    learns: Learns::Policy,
    score: Score::LogOdds,
    formula: Formula::Margin(at),
    coupling: Coupling::None,
    unpaired: false,
    bounded: false,
    parameters: &[
        Parameter {
            number: Number::Beta, default: 0.1, range: Range::Above(0.0), source: "arXiv 2403.07691 (λ); TRL"
        },
        Parameter {
            number: Number::NllCoefficient,
            default: 1.0,
            range: Range::AtLeast(0.0),
            source: "arXiv 2403.07691",
        },
    ],
    sources: &[],
    suggestions: &[Suggestion { key: "learning_rate", value: 8e-6, source: "arXiv 2403.07691" }],
    choice: None,
};

/// `h` is `β·Δ log-odds`: β belongs outside.
fn at(margin: f64, context: &Context<'_>) -> Point {
    let beta = context.at(Number::Beta);
    let ratio = margin / beta;
    Point { value: beta * softplus(-ratio), slope: -sigmoid(-ratio) }
}

#[cfg(test)]
mod tests {
    use crate::preference::testing::*;
    use crate::preference::{Answer, Pair};
    use crate::testing::close;

    /// Mean log-probabilities −0.8 and −1.4.
    #[test]
    fn goldens() {
        let answers = [Answer::new(-8.0, 0.0, 10), Answer::new(-7.0, 0.0, 5)];
        let loss = |json: &str| step(&policy("orpo", json), &answers, &[Pair::new(0, 1).into()]).loss;
        close(loss("{}"), 0.833728, 1e-6, "loss");
        let odds = -(loss(r#"{"nll_coefficient":0}"#) / 0.1).exp_m1().ln();
        close(odds, 0.913463, 1e-6, "difference of the log-odds");
        assert!(!policy("orpo", "{}").needs().reference);
    }
}
