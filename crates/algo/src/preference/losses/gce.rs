//! GCE: between the logistic loss and the plain error.
//!
//! ```text
//! L = (1 − p^q)/q,   p = σ(h),   dL/dh = −p^q·(1−p)
//! ```
//! Generalised cross-entropy, Zhang and Sabuncu 2018, arXiv 1805.07836, on comparisons. q → 0 is DPO, q = 1 is σ(−h).

use super::prelude::*;
use crate::preference::numeric::{log_sigmoid, sigmoid};

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "gce",
    title: "GCE (generalised cross-entropy)",
    paper: "Zhang and Sabuncu 2018, arXiv 1805.07836",
    equation: "p = σ(h)\n\
               L = (1 − p^q)/q",
    when: "Flipped labels at an unknown rate.",
    differs: "Bounded by 1/q and redescending: the pull of a contradicted pair falls like p^q.",
    learns: Learns::Either,
    score: Score::LogRatio,
    formula: Formula::Margin(at),
    coupling: Coupling::None,
    unpaired: false,
    bounded: true,
    parameters: &[
        BETA_OF_DPO,
        Parameter { number: Number::GceQ, default: 0.7, range: Range::AboveTo(0.0, 1.0), source: "arXiv 1805.07836" },
    ],
    sources: &[],
    suggestions: &[RATE_OF_DPO],
    choice: None,
};

fn at(margin: f64, context: &Context<'_>) -> Point {
    let q = context.at(Number::GceQ);
    let exponent = q * log_sigmoid(margin);
    Point { value: -exponent.exp_m1() / q, slope: -exponent.exp() * sigmoid(-margin) }
}

#[cfg(test)]
mod tests {
    use crate::preference::testing::*;
    use crate::testing::close;

    /// Margins 2, ½, −½, −4 of the specification.
    #[test]
    fn goldens() {
        for (margin, expected) in [(2.0, 0.121453), (0.5, 0.403440), (-0.5, 0.706173), (-4.0, 1.342797)] {
            let (answers, examples) = answers_of_margins(&[margin], 0.1);
            close(step(&policy("gce", "{}"), &answers, &examples).loss, expected, 1e-6, "gce");
        }
        let (answers, examples) = answers_of_margins(&[0.2], 0.1);
        close(step(&policy("gce", r#"{"gce_q":1e-9}"#), &answers, &examples).loss, 0.598139, 1e-6, "q → 0 is DPO");
    }
}
