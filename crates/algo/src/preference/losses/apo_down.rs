//! APO-down: both answers down, the rejected one further.
//!
//! ```text
//! L = σ(r_w) + 1 − σ(r_w − r_l),   r = β(logp − ref)
//! ```
//! D'Oosterlinck et al. 2024, arXiv 2408.06266; TRL's `apo_down`.

use super::prelude::*;
use crate::preference::formula::PairTerm;
use crate::preference::numeric::sigmoid;

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "apo_down",
    title: "APO-down (anchored preference optimisation)",
    paper: "D'Oosterlinck et al. 2024, arXiv 2408.06266",
    equation: "L = σ(r_w) + 1 − σ(r_w − r_l)",
    when: "Chosen answers that are worse than what the policy already writes, so that imitating them would be a loss.",
    differs: "The anchor is a small pull down on the chosen; `apo_zero` pulls it up.",
    learns: Learns::Policy,
    score: Score::LogRatio,
    formula: Formula::Scores(at),
    coupling: Coupling::None,
    unpaired: false,
    bounded: true,
    parameters: &[Parameter {
        number: Number::Beta,
        default: 0.1,
        range: Range::Above(0.0),
        source: "TRL; arXiv 2408.06266 has 0.1",
    }],
    sources: &[],
    suggestions: &[RATE_OF_DPO],
    choice: None,
};

fn at(chosen: f64, rejected: f64, _: &Context<'_>) -> PairTerm {
    let flat = |x: f64| sigmoid(x) * sigmoid(-x);
    let margin = chosen - rejected;
    let apart = flat(margin);
    PairTerm { loss: sigmoid(chosen) + sigmoid(-margin), by_chosen: flat(chosen) - apart, by_rejected: apart }
}

#[cfg(test)]
mod tests {
    use crate::preference::testing::golden;

    #[test]
    fn goldens() {
        golden("apo_down", "{}", 0.987596);
    }
}
