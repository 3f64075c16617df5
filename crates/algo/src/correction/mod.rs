//! Correction: what is done where the trainer would not have sampled what the sampler did.
//!
//! Three policies are kept apart: the *behaviour* policy that sampled, the *proximal* policy (the trainer's own
//! log-probabilities at the weights before this step's updates), and the *current* one. The surrogate compares current
//! with proximal; this file compares proximal with behaviour: `ρ_t = exp(logp_proximal − logp_rollout)`, a weight
//! without a gradient on the final loss of the token (Hilton et al. 2021, arXiv 2110.00641, "decoupled").

#[cfg(test)]
mod tests;

use lapidary_core::Ragged;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::objective::Objective;
use crate::ratio::LOG_RATIO_LIMIT;

/// What one `ρ` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// A token: `ρ_t`.
    Token,
    /// An answer: `Π_t ρ_t`.
    Sequence,
    /// An answer: `exp(mean_t log ρ_t)`, which does not grow with its length.
    Geometric,
}

/// How `ρ` becomes a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CorrectionMode {
    /// `clamp(ρ, low, high)` with `low = 0` by default: truncated importance sampling (TIS).
    Truncate,
    /// `clamp(ρ, low, high)` with `low = 1/high` by default (CIS).
    Clip,
    /// `ρ` within the bounds, out of the loss beyond them (MIS, IcePop).
    Mask,
}

/// A weight for every trained token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Correction {
    /// What `ρ` stands for.
    pub level: Level,
    /// How it becomes a weight.
    pub mode: CorrectionMode,
    /// Lower bound, at least 0.
    pub low: f64,
    /// Upper bound, at least 1.
    pub high: f64,
    /// Whether weights are divided by their mean over what is kept of the optimiser step.
    pub batch_normalise: bool,
}

/// Answers (or tokens) with a `ρ` outside the bounds leave the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rejection {
    /// What `ρ` stands for.
    pub level: Level,
    /// Lower bound, in `[0, 1]`.
    pub low: f64,
    /// Upper bound, at least 1.
    pub high: f64,
}

/// What a mean divides by once tokens have been rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Denominator {
    /// As if nothing had been rejected: only the policy term of a rejected token is 0 (slime).
    Original,
    /// What remains: a rejected token is as if it had never been trained (verl, TRL).
    Remaining,
}

/// Off-policy sequence masking: answers with a negative advantage that the policy has moved away from teach nothing more
/// (DeepSeek-V3.2, §3.1; slime's OPSM).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Opsm {
    /// Largest `logp_proximal − logp` that is kept: its mean over the answer, or at a token.
    pub delta: f64,
    /// Whether an answer or a token is judged.
    pub level: OpsmLevel,
}

/// What [`Opsm`] judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OpsmLevel {
    /// The mean over the answer decides for all its tokens.
    Sequence,
    /// Each token decides for itself.
    Token,
}

/// Everything that an objective does about a sampler that is not the trainer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OffPolicy {
    /// Weights.
    pub correction: Option<Correction>,
    /// Rejection.
    pub rejection: Option<Rejection>,
    /// An answer with any `ρ_t` below this leaves the loss.
    pub veto: Option<f64>,
    /// What means divide by after rejection.
    pub denominator: Denominator,
    /// Takes the sampler's log-probabilities for the proximal ones: two policies instead of three, and no forward pass
    /// before the first update.
    pub bypass: bool,
    /// Off-policy sequence masking.
    pub opsm: Option<Opsm>,
}

impl OffPolicy {
    /// Nothing is done.
    pub const OFF: OffPolicy = OffPolicy {
        correction: None,
        rejection: None,
        veto: None,
        denominator: Denominator::Original,
        bypass: false,
        opsm: None,
    };

    /// Whether tokens get weights other than 1.
    pub fn weighs(&self) -> bool {
        self.correction.is_some() || self.rejection.is_some() || self.veto.is_some()
    }
}

impl Correction {
    /// What a level and a mode are used with: TIS and CIS with 2 (slime, verl), IcePop with [0.5, 2] (slime's `mis.yaml`),
    /// a mask of whole answers at 3 (TRL).
    pub fn default_of(level: Level, mode: CorrectionMode) -> Correction {
        let (low, high) = match (mode, level) {
            (CorrectionMode::Truncate, _) => (0.0, 2.0),
            (CorrectionMode::Clip, _) => (0.5, 2.0),
            (CorrectionMode::Mask, Level::Sequence) => (0.0, 3.0),
            (CorrectionMode::Mask, _) => (0.5, 2.0),
        };
        Correction { level, mode, low, high, batch_normalise: false }
    }
}

impl Rejection {
    /// What a level is used with: IcePop's bounds, or those of geometric rejection (slime's `mis.yaml`).
    pub fn default_of(level: Level) -> Rejection {
        let (low, high) = match level {
            Level::Token | Level::Sequence => (0.5, 2.0),
            Level::Geometric => (0.9999, 1.0001),
        };
        Rejection { level, low, high }
    }
}

/// Bounds that are reported while nothing is corrected: those of token TIS and IcePop (slime's `mis.yaml`).
const REPORTED: (f64, f64) = (0.5, 2.0);

/// What becomes of a row's tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fate {
    /// One per token; exactly 0 where rejected.
    pub weights: Vec<f64>,
    /// Tokens whose weight was held at a bound.
    pub truncated: usize,
    /// Tokens that leave the loss; with everything off, those that IcePop would reject.
    pub rejected: usize,
}

/// `ρ` at each token, at a level.
fn rho(level: Level, log_ratios: &[f64]) -> Vec<f64> {
    let exponential = |log_ratio: f64| log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp();
    let sum: f64 = log_ratios.iter().sum();
    match level {
        Level::Token => log_ratios.iter().map(|&log_ratio| exponential(log_ratio)).collect(),
        Level::Sequence => vec![exponential(sum); log_ratios.len()],
        Level::Geometric => vec![exponential(sum / log_ratios.len() as f64); log_ratios.len()],
    }
}

impl OffPolicy {
    /// `log_ratios` are `logp_proximal − logp_rollout` at the trained tokens of a row.
    pub(crate) fn fate(&self, log_ratios: &[f64]) -> Fate {
        let length = log_ratios.len();
        let mut rejected = vec![false; length];
        let mut weights = vec![1.0; length];
        let mut truncated = 0;
        if let Some(correction) = self.correction {
            for (token, rho) in rho(correction.level, log_ratios).into_iter().enumerate() {
                let outside = rho < correction.low || rho > correction.high;
                match correction.mode {
                    CorrectionMode::Mask => {
                        weights[token] = rho;
                        rejected[token] = outside;
                    }
                    CorrectionMode::Truncate | CorrectionMode::Clip => {
                        weights[token] = rho.clamp(correction.low, correction.high);
                        truncated += usize::from(outside);
                    }
                }
            }
        } else {
            truncated = rho(Level::Token, log_ratios).iter().filter(|&&rho| rho > REPORTED.1).count();
        }
        if let Some(rejection) = self.rejection {
            for (token, rho) in rho(rejection.level, log_ratios).into_iter().enumerate() {
                rejected[token] |= rho < rejection.low || rho > rejection.high;
            }
        }
        if self.veto.is_some_and(|veto| rho(Level::Token, log_ratios).iter().any(|&rho| rho < veto)) {
            rejected.fill(true);
        }
        for (weight, _) in weights.iter_mut().zip(&rejected).filter(|(_, rejected)| **rejected) {
            *weight = 0.0;
        }
        let count = if self.weighs() {
            rejected.iter().filter(|&&rejected| rejected).count()
        } else {
            rho(Level::Token, log_ratios).iter().filter(|&&rho| rho < REPORTED.0 || rho > REPORTED.1).count()
        };
        Fate { weights, truncated, rejected: count }
    }

    /// Weights of all rows of an optimiser step, shaped as `mask`; 0 at masked and at rejected tokens.
    pub(crate) fn weights(&self, mask: &Ragged<bool>, proximal: &Ragged<f32>, rollout: &Ragged<f32>) -> Ragged<f32> {
        assert!(proximal.same_shape(mask) && rollout.same_shape(mask), "log-probabilities and mask differ in shape");
        let mut out = mask.like(0.0_f32);
        let (mut sum, mut count) = (0.0, 0.0);
        for row in 0..mask.rows() {
            let places: Vec<usize> = (0..mask.len_of(row)).filter(|&token| mask.row(row)[token]).collect();
            let log_ratio = |&token: &usize| f64::from(proximal.row(row)[token]) - f64::from(rollout.row(row)[token]);
            let weights = self.fate(&places.iter().map(log_ratio).collect::<Vec<_>>()).weights;
            for (&token, &weight) in places.iter().zip(&weights) {
                out.row_mut(row)[token] = weight as f32;
            }
            let units: &[f64] = match self.correction.map(|correction| correction.level) {
                Some(Level::Sequence | Level::Geometric) => {
                    // One weight per answer: of those tokens that are kept, the first speaks for all.
                    let first = weights.iter().position(|&weight| weight > 0.0);
                    first.map_or(&[], |first| &weights[first..=first])
                }
                _ => &weights,
            };
            let kept = units.iter().filter(|&&weight| weight > 0.0);
            sum += kept.clone().sum::<f64>();
            count += kept.count() as f64;
        }
        if self.correction.is_some_and(|correction| correction.batch_normalise) && sum > 0.0 {
            let mean = sum / count;
            out = out.map(|&weight| (f64::from(weight) / mean) as f32);
        }
        out
    }
}

impl Opsm {
    /// Whether each token stays: `moved[t] = logp_proximal − logp`.
    pub(crate) fn keeps(&self, moved: &[f64], advantages: &[f64]) -> Vec<bool> {
        let mean = moved.iter().sum::<f64>() / moved.len() as f64;
        let judged = |token: usize| match self.level {
            OpsmLevel::Sequence => mean,
            OpsmLevel::Token => moved[token],
        };
        advantages
            .iter()
            .enumerate()
            .map(|(token, &advantage)| advantage >= 0.0 || judged(token) <= self.delta)
            .collect()
    }
}

impl Objective {
    /// The mask that means divide by: without the rejected tokens where [`Denominator::Remaining`] says so.
    pub(crate) fn remaining(&self, mask: &Ragged<bool>, weights: Option<&Ragged<f32>>) -> Ragged<bool> {
        let mut remaining = mask.clone();
        if let (Some(weights), Denominator::Remaining) = (weights, self.off_policy.denominator) {
            for (on, &weight) in remaining.flat_mut().iter_mut().zip(weights.flat()) {
                *on &= weight != 0.0;
            }
        }
        remaining
    }
}
