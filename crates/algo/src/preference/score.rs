//! Score: what a loss compares of two answers.

use super::choices::Divergence;
use super::formula::Point;
use super::numbers::{Number, Numbers};
use super::numeric::{log_sigmoid, log1mexp, sigmoid};

/// Exponents above it are held: `e^80` times any sane factor is still an `f32`.
const EXPONENT_LIMIT: f64 = 80.0;
/// Mean log-probabilities above it have log-odds continued as a straight line: an answer that is certain has none.
const LOG_ODDS_LIMIT: f64 = -1e-6;

/// An answer as a preference loss sees it. Sums run over its scored tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Answer {
    /// `Σ_t w_t·logp_t` by the policy, in nats (weights are 1 unless `ld_alpha` is below).
    pub logp: f64,
    /// The same by the reference; 0 where none is needed.
    pub reference: f64,
    /// How many scored tokens.
    pub tokens: f64,
    /// Mean log-probability of a scored token by the policy, unweighted.
    pub mean: f64,
}

impl Answer {
    /// From sums over `tokens` scored tokens.
    pub fn new(logp: f64, reference: f64, tokens: usize) -> Self {
        let tokens = tokens as f64;
        Self { logp, reference, tokens, mean: logp / tokens }
    }
}

/// What a loss compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// `l = logp − logp_ref`, or what [`Divergence`] makes of it.
    LogRatio,
    /// `l / n`.
    MeanLogRatio,
    /// `logp`: needs no reference in the gradient.
    Logp,
    /// `logp / n`.
    MeanLogp,
    /// `ln(p/(1−p))` with `p = exp(logp / n)`.
    LogOdds,
    /// `(1 − p^(−α))/α` with `p = exp(logp / n)`.
    AlphaReward,
    /// The reward head; no log-probability at all.
    Reward,
}

impl Score {
    /// Whether the reference's log-probabilities enter it.
    pub fn needs_reference(self) -> bool {
        matches!(self, Score::LogRatio | Score::MeanLogRatio)
    }

    /// Whether it divides by the length.
    pub fn is_mean(self) -> bool {
        matches!(self, Score::MeanLogRatio | Score::MeanLogp | Score::LogOdds | Score::AlphaReward)
    }

    /// The score and its derivative by `answer.logp`.
    pub(crate) fn of(self, answer: &Answer, divergence: Divergence, numbers: &Numbers) -> Point {
        let (ratio, mean) = (answer.logp - answer.reference, answer.logp / answer.tokens);
        let per_token = |point: Point| Point { value: point.value, slope: point.slope / answer.tokens };
        match self {
            Score::LogRatio => divergence.of(ratio, numbers),
            Score::MeanLogRatio => Point { value: ratio / answer.tokens, slope: 1.0 / answer.tokens },
            Score::Logp => Point { value: answer.logp, slope: 1.0 },
            Score::MeanLogp => Point { value: mean, slope: 1.0 / answer.tokens },
            Score::LogOdds => per_token(log_odds(mean)),
            Score::AlphaReward => {
                let alpha = numbers.at(Number::AlphapoAlpha);
                let power = capped_exp(-alpha * mean);
                per_token(Point { value: (1.0 - power.value) / alpha, slope: power.slope })
            }
            Score::Reward => panic!("rewards are given, not made of log-probabilities"),
        }
    }
}

impl Divergence {
    /// The score of a log-ratio and its derivative.
    pub(crate) fn of(self, ratio: f64, numbers: &Numbers) -> Point {
        match self {
            Divergence::ReverseKl => Point { value: ratio, slope: 1.0 },
            Divergence::ForwardKl => {
                let power = capped_exp(-ratio);
                Point { value: -power.value, slope: power.slope }
            }
            Divergence::JsDivergence => Point { value: log_sigmoid(ratio), slope: sigmoid(-ratio) },
            Divergence::AlphaDivergence => {
                let less = numbers.at(Number::FAlpha) - 1.0;
                let power = capped_exp(less * ratio);
                Point { value: power.value / less, slope: power.slope }
            }
        }
    }
}

/// `e^x` and its derivative; both held beyond the limit, the derivative at 0.
fn capped_exp(x: f64) -> Point {
    let value = x.min(EXPONENT_LIMIT).exp();
    Point { value, slope: if x > EXPONENT_LIMIT { 0.0 } else { value } }
}

fn log_odds(mean: f64) -> Point {
    let held = mean.min(LOG_ODDS_LIMIT);
    let slope = -1.0 / held.exp_m1();
    Point { value: held - log1mexp(held) + slope * (mean - held), slope }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::close;

    fn numbers() -> Numbers {
        let mut numbers = Numbers::NONE;
        numbers.set(Number::FAlpha, 0.5);
        numbers.set(Number::AlphapoAlpha, 0.25);
        numbers
    }

    /// Table 1 of arXiv 2309.16240 at l = ln 2, u = 2.
    #[test]
    fn scores_of_the_divergences() {
        let ratio = 2f64.ln();
        let score = |divergence: Divergence| divergence.of(ratio, &numbers()).value;
        close(score(Divergence::ReverseKl), 0.693147, 1e-6, "ln u");
        close(score(Divergence::ForwardKl), -0.5, 1e-12, "−1/u");
        close(score(Divergence::JsDivergence), (2.0f64 / 3.0).ln(), 1e-12, "ln(u/(1+u))");
        close(score(Divergence::AlphaDivergence), -2.0 / 2f64.sqrt(), 1e-12, "u^(−½)/(−½)");
    }

    #[test]
    fn slopes_are_differences_and_nothing_overflows() {
        let all =
            [Score::LogRatio, Score::MeanLogRatio, Score::Logp, Score::MeanLogp, Score::LogOdds, Score::AlphaReward];
        let divergences =
            [Divergence::ReverseKl, Divergence::ForwardKl, Divergence::JsDivergence, Divergence::AlphaDivergence];
        for score in all {
            for divergence in divergences {
                let at = |logp: f64| score.of(&Answer::new(logp, -9.0, 7), divergence, &numbers());
                for logp in [-12.0, -8.5, -0.01, -3e-6] {
                    let step = 1e-7;
                    let difference = (at(logp + step).value - at(logp - step).value) / (2.0 * step);
                    let slope = at(logp).slope;
                    close(slope, difference, 1e-6 * (1.0 + slope.abs()), &format!("{score:?} {divergence:?} {logp}"));
                }
                for logp in [-1e4, 0.0, 1e4] {
                    let point = score.of(&Answer::new(logp, 0.0, 1), divergence, &numbers());
                    assert!(point.value.is_finite() && (point.slope as f32).is_finite(), "{score:?} {divergence:?}");
                }
            }
        }
    }
}
