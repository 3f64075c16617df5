//! IPO per token: a regression of the margin of mean log-ratios to a constant.
//!
//! ```text
//! L = ( (logp_w − ref_w)/n_w − (logp_l − ref_l)/n_l − 1/(2β) )²
//! ```
//! Azar et al. 2023, arXiv 2310.12036, eq. 17, with the means that TRL has and the authors confirmed to it.

use super::prelude::*;

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "ipo",
    title: "IPO (identity preference optimisation), per token",
    paper: "Azar et al. 2023, arXiv 2310.12036, eq. 17, per token as in TRL",
    equation: "L = ( (logp_w − ref_w)/n_w − (logp_l − ref_l)/n_l − 1/(2β) )²",
    when: "Pairs that always agree, on which DPO would grow its margins without end.",
    differs: "The margin has a goal, 1/(2β) nats per token, and is pulled back when it is beyond. The loss grows with the square of a contradiction, so a flipped label pulls hardest of all.",
    learns: Learns::Policy,
    score: Score::MeanLogRatio,
    formula: Formula::Margin(super::ipo_sum::at),
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

#[cfg(test)]
mod tests {
    use crate::preference::testing::golden;

    #[test]
    fn goldens() {
        golden("ipo", "{}", 22.920156);
    }
}
