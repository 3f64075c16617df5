//! NCA: each answer against the reference, with a push back that keeps the chosen likely.
//!
//! ```text
//! L = ℓ(r_w) + ½ℓ(−r_w) + ½ℓ(−r_l),   r = β(logp − ref),   ℓ(r) = −ln σ(r)
//! ```
//! Chen et al. 2024, arXiv 2402.05369; TRL's `nca_pair`.

use super::prelude::*;
use crate::preference::numeric::{sigmoid, softplus};

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "nca",
    title: "NCA (noise contrastive alignment), pairs",
    paper: "Chen et al. 2024, arXiv 2402.05369",
    equation: "r = β·(logp − ref)\n\
               L = −ln σ(r_w) − ½ ln σ(−r_w) − ½ ln σ(−r_l)",
    when: "The chosen answers must stay likely, as in mathematics.",
    differs: "It looks at absolute rewards, not at their difference: the chosen reward is pulled to ln 2 and not beyond.",
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
        source: "TRL; arXiv 2402.05369 has 0.01",
    }],
    sources: &[],
    suggestions: &[RATE_OF_DPO],
    choice: None,
};

fn at(reward: f64, desirable: bool, _: &Context<'_>) -> Point {
    let down = Point { value: 0.5 * softplus(reward), slope: 0.5 * sigmoid(reward) };
    if desirable { Point { value: down.value + softplus(-reward), slope: down.slope - sigmoid(-reward) } } else { down }
}

#[cfg(test)]
mod tests {
    use crate::preference::testing::*;
    use crate::preference::{Answer, Pair};
    use crate::testing::close;

    #[test]
    fn goldens() {
        golden("nca", "{}", 1.340665);
    }

    /// `σ(r) = ⅔` balances a push of 1 up against ½ down.
    #[test]
    fn a_chosen_answer_is_pulled_to_ln_2() {
        let best = 2f64.ln() / 0.1;
        let answers = [Answer::new(best - 20.0, -20.0, 9), Answer::new(-30.0, -20.0, 9)];
        let output = step(&policy("nca", "{}"), &answers, &[Pair::new(0, 1).into()]);
        close(output.by_logp[0], 0.0, 1e-12, "at ln 2");
        assert!(output.by_logp[1] > 0.0);
    }
}
