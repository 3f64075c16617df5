//! Choices: what a recipe picks by name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a log-ratio `l` to the reference becomes a score (Wang et al. 2023, arXiv 2309.16240, table 1: `f′(π/π_ref)` up to a
/// constant, which a difference of scores does not see).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Divergence {
    /// `l`: DPO.
    #[default]
    ReverseKl,
    /// `−e^(−l)`: covers what the reference writes.
    ForwardKl,
    /// `ln σ(l)`: between the two.
    JsDivergence,
    /// `e^((α−1)l)/(α−1)`, with `f_alpha`.
    AlphaDivergence,
}

/// Whether pairs are weighted by how likely the policy is to write them (WPO, Zhou et al. 2024, arXiv 2406.11827).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// All alike.
    #[default]
    Off,
    /// `∏ (π(y_t)/max_v π(v))^(1/n)` of both answers: greedy answers weigh 1 (the paper's greedy alignment).
    WpoGreedy,
    /// `∏ π(y_t)^(1/n)` of both answers: without alignment.
    WpoPlain,
}

/// A robust function ρ_c, put over a pair's loss or residual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rho {
    /// `½x²` up to c, then `c(|x| − ½c)`: the article's. Does not resist flipped labels: it damps easy pairs.
    Huber,
    /// `c²(√(1 + (x/c)²) − 1)`.
    PseudoHuber,
    /// `½c² ln(1 + (x/c)²)`.
    Cauchy,
    /// `½c²(1 − e^(−(x/c)²))`.
    #[default]
    Welsch,
    /// `c²/6 · (1 − (1 − (x/c)²)³)` up to c, then `c²/6`.
    Tukey,
    /// `½x²/(1 + (x/c)²)`.
    GemanMcclure,
    /// `x`, for the share `rho_keep` of the batch with the least.
    Trimmed,
    /// `(1 − e^(−c|x|))/c`: on the loss, the generalised cross-entropy with q = c.
    Gce,
    /// `min(|x|, c)`.
    Ramp,
}

/// What ρ is put on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RhoOn {
    /// The logistic loss of the pair.
    #[default]
    Loss,
    /// `σ(margin) − label`.
    Residual,
}

/// What BCO compares rewards with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shift {
    /// The mean of all rewards that the run has seen (the paper's δ).
    #[default]
    Running,
    /// 0 (TRL's `bco_pair`).
    Off,
}

/// What a tie teaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ties {
    /// A soft label of ½.
    #[default]
    Half,
    /// Rao and Kupper 1967: a win needs a margin of `tie_width`.
    RaoKupper,
    /// Davidson 1970: a tie is `tie_width` times as likely as the geometric mean of both wins.
    Davidson,
}

/// Every choice, resolved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// How a log-ratio becomes a score.
    pub divergence: Divergence,
    /// Weights of pairs.
    pub weighting: Weighting,
    /// The robust function.
    pub rho: Rho,
    /// What it is put on.
    pub rho_on: RhoOn,
    /// What BCO compares with.
    pub shift: Shift,
    /// What ties teach.
    pub ties: Ties,
}
