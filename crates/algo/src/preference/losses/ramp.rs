//! Ramp: a hinge that gives up on what contradicts it.
//!
//! ```text
//! L = max(0, 1 − h) − max(0, −½ − h)  ∈ [0, 1.5],   dL/dh = −1 in (−½, 1), else 0
//! ```
//! The bounded hinge of Wu and Liu 2007 (JASA 102:974) with the bounds of VRPO's code (Ye et al. 2025, arXiv 2504.03784).

use super::prelude::*;

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "ramp",
    title: "Ramp (truncated hinge)",
    paper: "Wu and Liu 2007, JASA 102:974; bounds of the code of arXiv 2504.03784",
    equation: "L = max(0, 1 − h) − max(0, −½ − h)",
    when: "Many flipped labels, after a start with a convex loss has given the pairs an order.",
    differs: "Pairs below −½ teach nothing, be they wrong labels or hard truths: a policy that starts on the wrong side stays there.",
    learns: Learns::Either,
    score: Score::LogRatio,
    formula: Formula::Margin(at),
    coupling: Coupling::None,
    unpaired: false,
    bounded: true,
    parameters: &[Parameter {
        number: Number::Beta,
        default: 0.1,
        range: Range::Above(0.0),
        source: "code of arXiv 2504.03784",
    }],
    sources: &[],
    suggestions: &[RATE_OF_DPO],
    choice: None,
};

const LOW: f64 = -0.5;
const HIGH: f64 = 1.0;

pub(super) fn at(margin: f64, _: &Context<'_>) -> Point {
    let slope = if margin > LOW && margin < HIGH { -1.0 } else { 0.0 };
    Point { value: HIGH - margin.clamp(LOW, HIGH), slope }
}

#[cfg(test)]
mod tests {
    use crate::preference::testing::*;
    use crate::testing::close;

    #[test]
    fn goldens() {
        golden("ramp", "{}", 0.8);
        pulls("ramp", "{}", [0.0, 1.0, 0.0]);
    }

    /// Its definition, at every piece.
    #[test]
    fn it_is_a_hinge_less_a_hinge() {
        for margin in [-1e4, -2.0, -0.5, -0.2, 0.0, 0.9, 1.0, 3.0] {
            let (answers, examples) = answers_of_margins(&[margin], 0.1);
            let expected = (1.0 - margin).max(0.0) - (-0.5 - margin).max(0.0);
            close(step(&policy("ramp", "{}"), &answers, &examples).loss, expected, 1e-12, "ramp");
        }
    }
}
