//! IPO as written: a regression of the margin to a constant.
//!
//! ```text
//! L = ( Δ − 1/(2β) )²,   Δ = (logp_w − ref_w) − (logp_l − ref_l),   dL/dΔ = 2(Δ − 1/(2β))
//! ```
//! Azar et al. 2023, arXiv 2310.12036, eq. 17, with log-probabilities summed over tokens.

use super::prelude::*;

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "ipo_sum",
    title: "IPO (identity preference optimisation), summed",
    paper: "Azar et al. 2023, arXiv 2310.12036, eq. 17",
    equation: "L = ( (logp_w − ref_w) − (logp_l − ref_l) − 1/(2β) )²",
    when: "As `ipo`, where answers have one length, or to reproduce the paper.",
    differs: "`ipo` divides by the length first. The slope is proportional to 1/β², so learning rates do not carry over from DPO.",
    learns: Learns::Either,
    score: Score::LogRatio,
    formula: Formula::Margin(at),
    coupling: Coupling::None,
    unpaired: false,
    bounded: false,
    parameters: &[Parameter {
        number: Number::Beta,
        default: 0.1,
        range: Range::Above(0.0),
        source: "TRL; arXiv 2310.12036 calls it τ",
    }],
    sources: &[],
    suggestions: &[RATE_OF_DPO],
    choice: None,
};

/// `(h/β − 1/(2β))²`.
pub(super) fn at(margin: f64, context: &Context<'_>) -> Point {
    let beta = context.at(Number::Beta);
    let short = (margin - 0.5) / beta;
    Point { value: short * short, slope: 2.0 * short / beta }
}

#[cfg(test)]
mod tests {
    use crate::preference::testing::*;
    use crate::testing::close;

    #[test]
    fn goldens() {
        golden("ipo_sum", "{}", 9.0);
    }

    /// The optimum Δ = 1/(2β) is a reward margin of ½.
    #[test]
    fn the_margin_has_a_goal() {
        let ipo = policy("ipo_sum", r#"{"beta":0.3}"#);
        close(pull(&ipo, 0.5), 0.0, 1e-12, "goal");
        assert!(pull(&ipo, 0.4) > 0.0 && pull(&ipo, 0.6) < 0.0);
    }
}
