//! Hinge: a margin of 1 is enough.
//!
//! ```text
//! L = max(0, 1 − h)
//! ```
//! SLiC-HF, Zhao et al. 2023, arXiv 2305.10425 and RSO, Liu et al. 2023, arXiv 2309.06657; TRL's `hinge`.

use super::prelude::*;

pub(super) const LOSS: PreferenceLoss = PreferenceLoss {
    name: "hinge",
    title: "Hinge (SLiC, RSO)",
    paper: "Zhao et al. 2023, arXiv 2305.10425; Liu et al. 2023, arXiv 2309.06657",
    equation: "L = max(0, 1 − h)",
    when: "Easy pairs should stop pulling altogether.",
    differs: "Constant pull below a margin of 1, none above. Unbounded for contradicted pairs, which `ramp` is not.",
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
        source: "TRL; arXiv 2309.06657 has γ = 0.05",
    }],
    sources: &[],
    suggestions: &[RATE_OF_DPO],
    choice: None,
};

pub(super) fn at(margin: f64, _: &Context<'_>) -> Point {
    let short = 1.0 - margin;
    if short > 0.0 { Point { value: short, slope: -1.0 } } else { Point::default() }
}

#[cfg(test)]
mod tests {
    use crate::preference::testing::*;

    #[test]
    fn goldens() {
        golden("hinge", "{}", 0.8);
        pulls("hinge", "{}", [1.0, 1.0, 0.0]);
    }
}
