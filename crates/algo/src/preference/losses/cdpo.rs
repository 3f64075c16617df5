//! cDPO: DPO whose labels are wrong with a known probability.
//!
//! ```text
//! L = (1−ε)·ℓ(h) + ε·ℓ(−h),   ℓ(h) = −ln σ(h),   dL/dh = σ(h) − (1−ε)
//! ```
//! Mitchell 2023, "A note on DPO with noisy preferences"; TRL's `label_smoothing` of old. The optimum is finite: h* = ln((1−ε)/ε).

use super::prelude::*;
use crate::preference::numeric::{sigmoid, softplus};

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "cdpo",
    title: "cDPO (conservative DPO)",
    paper: "Mitchell 2023, A note on DPO with noisy preferences",
    equation: "L = −(1−ε)·ln σ(h) − ε·ln σ(−h)",
    when: "Labels that are flipped at a rate that is roughly known, and where confidence must not grow without end.",
    differs: "It stops at the margin ln((1−ε)/ε) instead of growing for ever, but a contradicted pair still pulls with 1−ε. `rdpo` is unbiased, `ramp` and `ropo` let go.",
    learns: Learns::Either,
    score: Score::LogRatio,
    formula: Formula::Margin(at),
    coupling: Coupling::None,
    unpaired: false,
    bounded: false,
    parameters: &[
        BETA_OF_DPO,
        Parameter {
            number: Number::LabelSmoothing,
            default: 0.1,
            range: Range::Below(0.0, 0.5),
            source: "Mitchell 2023 has 0.1 among its examples",
        },
    ],
    sources: &[],
    suggestions: &[RATE_OF_DPO],
    choice: None,
};

/// `(1−ε)·ℓ(h) + ε·ℓ(−h)`, AOT's too.
pub(super) fn at(margin: f64, context: &Context<'_>) -> Point {
    let wrong = context.at(Number::LabelSmoothing);
    let right = 1.0 - wrong;
    Point {
        value: right * softplus(-margin) + wrong * softplus(margin),
        slope: wrong * sigmoid(margin) - right * sigmoid(-margin),
    }
}

#[cfg(test)]
mod tests {
    use crate::preference::testing::*;
    use crate::testing::close;

    #[test]
    fn goldens() {
        golden("cdpo", r#"{"label_smoothing":0.1}"#, 0.618139);
        golden("cdpo", r#"{"label_smoothing":0}"#, 0.598139);
    }

    /// The optimum of the specification: h* = ln((1−ε)/ε).
    #[test]
    fn it_stops_where_the_labels_noise_says() {
        for wrong in [0.05_f64, 0.1, 0.3] {
            let cdpo = policy("cdpo", &format!("{{\"label_smoothing\":{wrong}}}"));
            let best = ((1.0 - wrong) / wrong).ln();
            close(pull(&cdpo, best), 0.0, 1e-12, "at the optimum");
            assert!(pull(&cdpo, best - 0.1) > 0.0 && pull(&cdpo, best + 0.1) < 0.0);
        }
    }
}
