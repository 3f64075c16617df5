//! APO-zero: chosen answers up, rejected ones down, whatever the model was.
//!
//! ```text
//! L = 1 − σ(r_w) + σ(r_l),   r = β(logp − ref)
//! ```
//! D'Oosterlinck et al. 2024, arXiv 2408.06266; TRL's `apo_zero`.

use super::prelude::*;
use crate::preference::numeric::sigmoid;

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "apo_zero",
    title: "APO-zero (anchored preference optimisation)",
    paper: "D'Oosterlinck et al. 2024, arXiv 2408.06266",
    equation: "L = 1 − σ(r_w) + σ(r_l)",
    when: "Chosen answers that are better than what the policy writes.",
    differs: "It can only raise the chosen and lower the rejected, where DPO may lower both; bounded on both sides, so outliers count little.",
    learns: Learns::Policy,
    score: Score::LogRatio,
    formula: Formula::Sides(at),
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

fn at(reward: f64, desirable: bool, _: &Context<'_>) -> Point {
    let flat = sigmoid(reward) * sigmoid(-reward);
    if desirable {
        Point { value: sigmoid(-reward), slope: -flat }
    } else {
        Point { value: sigmoid(reward), slope: flat }
    }
}

#[cfg(test)]
mod tests {
    use crate::preference::testing::golden;

    #[test]
    fn goldens() {
        golden("apo_zero", "{}", 0.950073);
    }
}
