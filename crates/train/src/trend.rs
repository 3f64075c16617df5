//! How a reward has run lately: steady, or no longer rising.

use serde::{Deserialize, Serialize};

/// Weight of the newest step in the smoothed reward: a step of a few hundred answers is noisy by some hundredths, and half
/// of what is remembered is of the last seven steps.
const NEWEST: f64 = 0.1;

/// The smoothed reward over the last steps. `e_0 = r_0`, `e_n = e_{n−1} + (r_n − e_{n−1})/10`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trend {
    /// `e` after each of the last steps, oldest first; never more than the window.
    pub recent: Vec<f64>,
}

impl Trend {
    /// Takes a step's mean reward into account, and forgets all but the last `window`.
    pub fn observe(&mut self, reward: f64, window: usize) {
        let smoothed = self.recent.last().map_or(reward, |last| last + NEWEST * (reward - last));
        self.recent.push(smoothed);
        let surplus = self.recent.len().saturating_sub(window);
        self.recent.drain(..surplus);
    }

    /// Population standard deviation over the window; `None` before it is full.
    pub fn deviation(&self, window: usize) -> Option<f64> {
        let recent = self.full(window)?;
        let mean = recent.iter().sum::<f64>() / window as f64;
        Some((recent.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / window as f64).sqrt())
    }

    /// Rise per step of the least-squares line over the window; `None` before it is full.
    pub fn slope(&self, window: usize) -> Option<f64> {
        let recent = self.full(window)?;
        let middle = (window - 1) as f64 / 2.0;
        let spread: f64 = (0..window).map(|at| (at as f64 - middle).powi(2)).sum();
        // Against the first value, so that a steady reward has a slope of exactly 0.
        let rise = |(at, value): (usize, &f64)| (at as f64 - middle) * (value - recent[0]);
        Some(recent.iter().enumerate().map(rise).sum::<f64>() / spread)
    }

    fn full(&self, window: usize) -> Option<&[f64]> {
        (window >= 2 && self.recent.len() == window).then_some(&self.recent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_must_be_full_and_then_moves_on() {
        let mut trend = Trend::default();
        for (step, reward) in [0.0, 1.0, 1.0].into_iter().enumerate() {
            assert_eq!(trend.slope(3), None, "step {step}");
            trend.observe(reward, 3);
        }
        // e = 0, 0.1, 0.19: mean 29/300, slope (0.19 − 0)/2.
        assert!((trend.slope(3).unwrap() - 0.095).abs() < 1e-12);
        let mean = 0.29 / 3.0;
        let variance = [0.0, 0.1, 0.19].iter().map(|e: &f64| (e - mean).powi(2)).sum::<f64>() / 3.0;
        assert!((trend.deviation(3).unwrap() - variance.sqrt()).abs() < 1e-12);
        trend.observe(1.0, 3);
        assert_eq!(trend.recent.len(), 3);
        assert!((trend.recent[2] - 0.271).abs() < 1e-12);
    }

    #[test]
    fn a_steady_reward_has_no_deviation_and_no_slope() {
        let mut trend = Trend::default();
        (0..9).for_each(|_| trend.observe(0.7, 5));
        assert_eq!((trend.deviation(5), trend.slope(5)), (Some(0.0), Some(0.0)));
    }
}
