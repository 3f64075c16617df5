//! A plateau: a number has not improved for several looks.
//!
//! ```text
//! x = metric, or its average e ← ema·e + (1 − ema)·metric
//! x ≥ best + δ    ⇒  best = x, bad = 0        δ absolute, or δ·max(|best|, 1e-8)
//! otherwise       ⇒  bad = bad + 1            best stays
//! fires           ⇔  bad ≥ patience, after at least `min_looks` looks
//! ```

use serde::{Deserialize, Serialize};

/// Sums of decimals are not decimals: an improvement of exactly δ counts.
const ROUNDING: f64 = 1e-12;

/// By how much a number must improve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Delta {
    /// By this much.
    Absolute(f64),
    /// By this share of the best.
    Relative(f64),
    /// By more than the noise of a share p measured on n prompts: √(p(1−p)/n), and at least one prompt, 1/n.
    Noise,
}

/// When a number is on a plateau.
#[derive(Clone, Debug, PartialEq)]
pub struct PlateauRule {
    /// The metric that is looked at: one of an evaluation (`eval/…`), or of a step.
    pub metric: String,
    /// Looks without an improvement until it fires; positive.
    pub patience: u64,
    /// What an improvement is.
    pub delta: Delta,
    /// Weight of the past in a moving average of the metric, in [0, 1); 0 takes the metric itself.
    pub ema: f64,
    /// Looks before it may fire.
    pub min_looks: u64,
    /// Whether lower is better.
    pub lower_is_better: bool,
    /// Whether the best is forgotten after a supervised phase.
    pub reset_best: bool,
    /// Its weight under `policy = "weighted"`.
    pub weight: f64,
}

/// What is remembered of the looks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlateauState {
    /// The best so far.
    pub best: Option<f64>,
    /// The moving average, where one is taken.
    pub smoothed: Option<f64>,
    /// Looks in a row without an improvement.
    pub bad: u64,
    /// Looks so far.
    pub looks: u64,
}

impl PlateauState {
    /// Looks at the metric, which was measured on `units` prompts. One that is no number counts as no improvement.
    pub fn observe(&mut self, rule: &PlateauRule, metric: f64, units: usize) {
        self.looks += 1;
        if !metric.is_finite() {
            self.bad += 1;
            return;
        }
        let value = match self.smoothed {
            Some(before) if rule.ema > 0.0 => rule.ema * before + (1.0 - rule.ema) * metric,
            _ => metric,
        };
        self.smoothed = (rule.ema > 0.0).then_some(value);
        if self.improves(rule, value, units) {
            (self.best, self.bad) = (Some(value), 0);
        } else {
            self.bad += 1;
        }
    }

    fn improves(&self, rule: &PlateauRule, value: f64, units: usize) -> bool {
        let Some(best) = self.best else { return true };
        let delta = match rule.delta {
            Delta::Absolute(delta) => delta,
            Delta::Relative(share) => share * best.abs().max(1e-8),
            Delta::Noise => {
                let (p, n) = (best.clamp(0.0, 1.0), units.max(1) as f64);
                (p * (1.0 - p) / n).sqrt().max(1.0 / n)
            }
        };
        let gain = if rule.lower_is_better { best - value } else { value - best };
        gain >= delta - ROUNDING
    }

    /// Whether it is on a plateau.
    pub fn fires(&self, rule: &PlateauRule) -> bool {
        self.bad >= rule.patience && self.looks >= rule.min_looks
    }

    /// Starts counting anew after a supervised phase.
    pub fn settle(&mut self, rule: &PlateauRule) {
        self.bad = 0;
        if rule.reset_best {
            self.best = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn rule() -> PlateauRule {
        PlateauRule {
            metric: "eval/accuracy".into(),
            patience: 3,
            delta: Delta::Absolute(0.01),
            ema: 0.0,
            min_looks: 2,
            lower_is_better: false,
            reset_best: false,
            weight: 1.0,
        }
    }

    fn bads(rule: &PlateauRule, values: &[f64]) -> (Vec<u64>, Vec<bool>) {
        let mut state = PlateauState::default();
        let each = values.iter().map(|&value| {
            state.observe(rule, value, 100);
            (state.bad, state.fires(rule))
        });
        each.unzip()
    }

    /// Spec B §2.7 (a).
    #[test]
    fn golden_sequences() {
        let (bad, fires) = bads(&rule(), &[0.30, 0.34, 0.345, 0.349, 0.346]);
        assert_eq!((bad, fires), (vec![0, 0, 1, 2, 3], vec![false, false, false, false, true]));
        let (bad, fires) = bads(&rule(), &[0.30, 0.34, 0.345, 0.349, 0.36, 0.361, 0.362]);
        assert_eq!(bad, [0, 0, 1, 2, 0, 1, 2]);
        assert!(!fires.contains(&true));
    }

    #[test]
    fn an_improvement_of_exactly_delta_counts_and_less_leaves_the_best() {
        // 0.34 + 0.01 is 0.35000000000000003 in binary.
        assert_eq!(bads(&rule(), &[0.34, 0.35]).0, [0, 0]);
        // Many small steps are no improvement against the last one, but against the best.
        assert_eq!(bads(&rule(), &[0.300, 0.304, 0.308, 0.312]).0, [0, 1, 2, 0]);
    }

    #[test]
    fn losses_fall_and_relative_steps_are_shares_of_the_best() {
        let loss = PlateauRule { lower_is_better: true, ..rule() };
        assert_eq!(bads(&loss, &[2.0, 1.9, 1.9, 2.5, 1.5]).0, [0, 0, 1, 2, 0]);
        let relative = PlateauRule { delta: Delta::Relative(0.1), ..rule() };
        assert_eq!(bads(&relative, &[-2.0, -1.9, -1.8]).0, [0, 1, 0]);
        assert_eq!(bads(&relative, &[0.0, 0.0, 1e-9]).0, [0, 1, 0], "a share of nothing is taken of 1e-8");
    }

    #[test]
    fn noise_is_that_of_the_best_share_and_never_below_one_prompt() {
        let noise = PlateauRule { delta: Delta::Noise, ..rule() };
        // √(0.5·0.5/100) = 0.05.
        assert_eq!(bads(&noise, &[0.5, 0.549, 0.55]).0, [0, 1, 0]);
        assert_eq!(bads(&noise, &[0.0, 0.0, 0.009, 0.01]).0, [0, 1, 2, 0], "at 0 the noise is 0, a prompt is 0.01");
        assert_eq!(bads(&noise, &[1.0, 1.0]).0, [0, 1]);
    }

    #[test]
    fn what_is_no_number_is_no_improvement_and_enters_no_average() {
        let averaged = PlateauRule { ema: 0.5, ..rule() };
        let mut state = PlateauState::default();
        for (value, bad, smoothed) in
            [(0.2, 0, 0.2), (f64::NAN, 1, 0.2), (0.4, 0, 0.30000000000000004), (0.3, 1, 0.30000000000000004)]
        {
            state.observe(&averaged, value, 1);
            assert_eq!((state.bad, state.smoothed), (bad, Some(smoothed)));
        }
        assert_eq!(bads(&rule(), &[f64::NAN, f64::NAN, 0.1]).0, [1, 2, 0], "the first number is the best");
    }

    #[test]
    fn it_waits_for_enough_looks_and_a_supervised_phase_resets_the_count_only() {
        let patient = PlateauRule { patience: 1, min_looks: 4, ..rule() };
        assert_eq!(bads(&patient, &[0.5, 0.5, 0.5, 0.5]).1, [false, false, false, true]);
        let mut state = PlateauState { best: Some(0.5), smoothed: None, bad: 3, looks: 4 };
        state.settle(&patient);
        assert_eq!((state.best, state.bad), (Some(0.5), 0));
        state.settle(&PlateauRule { reset_best: true, ..patient });
        assert_eq!(state.best, None);
    }
}
