//! SPPO: rewards regressed to ±½, the value of a game against the reference.
//!
//! ```text
//! L = (l_w − ½/β)² + (l_l + ½/β)²,   l = logp − ref
//! ```
//! Wu et al. 2024, arXiv 2405.00675 with win rates 1 and 0; TRL's `sppo_hard`, β = 1/η.

use super::prelude::*;

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "sppo",
    title: "SPPO (self-play preference optimisation), hard labels",
    paper: "Wu et al. 2024, arXiv 2405.00675",
    equation: "L = ((logp_w − ref_w) − 1/(2β))² + ((logp_l − ref_l) + 1/(2β))²",
    when: "Self-play: pairs sampled from the last iterate and ranked by a preference model.",
    differs: "Both sides have an absolute goal, so the chosen answer gains in probability instead of merely losing less. Slopes grow with 1/β².",
    learns: Learns::Policy,
    score: Score::LogRatio,
    formula: Formula::Sides(at),
    coupling: Coupling::None,
    unpaired: false,
    bounded: false,
    parameters: &[Parameter {
        number: Number::Beta,
        default: 0.1,
        range: Range::Above(0.0),
        source: "TRL; arXiv 2405.00675 has η = 1000, so β = 0.001",
    }],
    sources: &[],
    suggestions: &[RATE_OF_DPO],
    choice: None,
};

fn at(reward: f64, desirable: bool, context: &Context<'_>) -> Point {
    let beta = context.at(Number::Beta);
    let off = (reward - if desirable { 0.5 } else { -0.5 }) / beta;
    Point { value: off * off, slope: 2.0 * off / beta }
}

#[cfg(test)]
mod tests {
    use crate::preference::testing::golden;

    #[test]
    fn goldens() {
        golden("sppo", "{}", 32.5);
    }
}
