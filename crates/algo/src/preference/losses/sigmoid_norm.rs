//! DPO per token: lengths taken out of the margin.
//!
//! ```text
//! L = −ln σ( β·( (logp_w − ref_w)/n_w − (logp_l − ref_l)/n_l ) )
//! ```
//! Lambert et al. 2024, arXiv 2411.15124 (length-normalised DPO); TRL's `sigmoid_norm`.

use super::prelude::*;

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "sigmoid_norm",
    title: "Length-normalised DPO",
    paper: "Lambert et al. 2024 (Tülu 3), arXiv 2411.15124",
    equation: "L = −ln σ( β·( (logp_w − ref_w)/n_w − (logp_l − ref_l)/n_l ) )",
    when: "Chosen answers that are longer than rejected ones, where DPO would learn length.",
    differs: "Margins are per token, so β is larger than in DPO by about the length.",
    learns: Learns::Policy,
    score: Score::MeanLogRatio,
    formula: Formula::Margin(super::dpo::at),
    coupling: Coupling::None,
    unpaired: false,
    bounded: false,
    parameters: &[Parameter {
        number: Number::Beta,
        default: 0.1,
        range: Range::Above(0.0),
        source: "TRL; Tülu 3 (arXiv 2411.15124) has 5",
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
        golden("sigmoid_norm", "{}", 0.682579);
    }
}
