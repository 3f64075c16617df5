//! EXO: reverse KL from the policy's preference to the smoothed label.
//!
//! ```text
//! L = σ(h)·[ln σ(h) − ln(1−ε)] + σ(−h)·[ln σ(−h) − ln ε],   dL/dh = σ(h)σ(−h)·(h − ln((1−ε)/ε))
//! ```
//! Ji et al. 2024, arXiv 2402.00856; TRL's `exo_pair`. ε must be above 0.

use super::prelude::*;
use crate::preference::numeric::{log_sigmoid, sigmoid};

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "exo",
    title: "EXO (efficient exact optimisation), pairs",
    paper: "Ji et al. 2024, arXiv 2402.00856",
    equation: "L = KL( (σ(h), σ(−h)) ‖ (1−ε, ε) )",
    when: "Where DPO spreads probability over what nobody preferred: the reverse KL seeks the mode.",
    differs: "The pull vanishes for contradicted pairs too (σ(h)σ(−h) → 0), so it lets go of them like `holder`, and stops at ln((1−ε)/ε) like `cdpo`.",
    learns: Learns::Either,
    score: Score::LogRatio,
    formula: Formula::Margin(at),
    coupling: Coupling::None,
    unpaired: false,
    bounded: true,
    parameters: &[
        BETA_OF_DPO,
        Parameter {
            number: Number::LabelSmoothing,
            default: 1e-3,
            range: Range::Between(0.0, 0.5),
            source: "TRL; the paper only asks for ε > 0",
        },
    ],
    sources: &[],
    suggestions: &[RATE_OF_DPO],
    choice: None,
};

fn at(margin: f64, context: &Context<'_>) -> Point {
    let wrong = context.at(Number::LabelSmoothing);
    let (won, lost) = (sigmoid(margin), sigmoid(-margin));
    let value = won * (log_sigmoid(margin) - (-wrong).ln_1p()) + lost * (log_sigmoid(-margin) - wrong.ln());
    Point { value, slope: won * lost * (margin - ((1.0 - wrong) / wrong).ln()) }
}

#[cfg(test)]
mod tests {
    use crate::preference::testing::*;
    use crate::testing::close;

    #[test]
    fn goldens() {
        golden("exo", "{}", 2.422015);
        golden("exo", r#"{"label_smoothing":0.1}"#, 0.406304);
    }

    /// A divergence: 0 where the policy's preference is the label's, and nowhere less.
    #[test]
    fn it_is_a_divergence() {
        let exo = policy("exo", r#"{"label_smoothing":0.2}"#);
        let loss = |margin: f64| {
            let (answers, examples) = answers_of_margins(&[margin], 0.1);
            step(&exo, &answers, &examples).loss
        };
        close(loss(4f64.ln()), 0.0, 1e-12, "at σ(h) = 1 − ε");
        assert!([-1e4, -3.0, 0.0, 1.0, 2.0, 1e4].into_iter().all(|margin| loss(margin) > 0.0));
    }
}
