//! What a reward model must show before a policy learns from it (specification C §6.4), and whether its forecasts come true.

use lapidary_statistics::{ProbabilityScore, fisher_interval, pearson};
use serde::Serialize;

/// Bounds of the offline gates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gates {
    /// How far AUROC may fall below that of the model before.
    pub auroc_fall: f64,
    /// Largest calibration error.
    pub ece: f64,
    /// Largest correlation of score and length, in either direction: RLUF's was 0.10.
    pub length_correlation: f64,
    /// Least correlation of forecast and observed changes over past arms: RLUF's was 0.95.
    pub backtest: f64,
    /// Largest population stability index of the scores.
    pub drift: f64,
}

impl Default for Gates {
    /// 0.01, 0.02, 0.15, 0.8, 0.2.
    fn default() -> Self {
        Self { auroc_fall: 0.01, ece: 0.02, length_correlation: 0.15, backtest: 0.8, drift: 0.2 }
    }
}

/// What was measured of a reward model on held-out rows; `None` where it cannot be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// On rows of other users and later times.
    pub score: ProbabilityScore,
    /// AUROC of the model before; `None` for the first.
    pub last_auroc: Option<f64>,
    /// Correlation of score and length.
    pub length_correlation: Option<f64>,
    /// Of forecast and observed changes.
    pub backtest: Option<Backtest>,
    /// Stability index against the last model's scores.
    pub drift: Option<f64>,
}

/// Forecast against observed changes over past arms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Backtest {
    /// How many arms.
    pub arms: usize,
    /// Pearson's correlation.
    pub correlation: f64,
    /// Its 95 % interval by Fisher's transformation; with ten arms even 0.95 is [0.80, 0.99].
    pub interval: Option<(f64, f64)>,
}

/// Correlation of forecast and observed changes. `None` with fewer than two arms or where one side does not vary.
pub fn backtest(forecast: &[f64], observed: &[f64]) -> Option<Backtest> {
    let correlation = pearson(forecast, observed)?;
    let arms = forecast.len();
    Some(Backtest { arms, correlation, interval: fisher_interval(correlation, arms, 0.05) })
}

impl Gates {
    /// What stands in the way, in words; empty: the model may be learned from. A first model has no last AUROC, and a loop's first cycles have
    /// no arms to be tested on: what is not there does not stand in the way, but AUROC itself must be.
    pub fn failures(&self, measured: &Measured) -> Vec<String> {
        let mut failures = Vec::new();
        let mut need = |holds: bool, text: String| {
            if !holds {
                failures.push(text);
            }
        };
        match (measured.score.auroc, measured.last_auroc) {
            (None, _) => need(false, "AUROC is not defined: the held-out rows have one class".into()),
            (Some(now), Some(last)) => {
                need(now >= last - self.auroc_fall, format!("AUROC fell from {last:.3} to {now:.3}"));
            }
            (Some(now), None) => need(now > 0.5, format!("AUROC is {now:.3}: no better than chance")),
        }
        let ece = measured.score.ece;
        need(ece <= self.ece, format!("calibration error {ece:.3} is above {}", self.ece));
        if let Some(r) = measured.length_correlation {
            need(r.abs() <= self.length_correlation, format!("score and length correlate by {r:.2}"));
        }
        if let Some(backtest) = measured.backtest {
            let r = backtest.correlation;
            need(
                r >= self.backtest,
                format!("forecasts of {} past arms correlate by {r:.2} with what came", backtest.arms),
            );
        }
        if let Some(drift) = measured.drift {
            need(drift <= self.drift, format!("scores have drifted: stability index {drift:.2}"));
        }
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapidary_statistics::probability_score;

    fn measured() -> Measured {
        let p: Vec<f64> = (0..100).map(|i| if i % 2 == 0 { 0.1 } else { 0.9 }).collect();
        let y: Vec<bool> = (0..100).map(|i| if i % 2 == 0 { i < 10 } else { i > 10 }).collect();
        let score = probability_score(&p, &y).unwrap();
        Measured { score, last_auroc: None, length_correlation: Some(-0.1), backtest: None, drift: None }
    }

    #[test]
    fn each_gate_closes_by_itself() {
        let gates = Gates::default();
        assert_eq!(gates.failures(&measured()), Vec::<String>::new());
        let failing = |change: &dyn Fn(&mut Measured)| {
            let mut measured = measured();
            change(&mut measured);
            gates.failures(&measured)
        };
        for failures in [
            failing(&|m| m.score.auroc = None),
            failing(&|m| m.score.auroc = Some(0.5)),
            failing(&|m| m.last_auroc = m.score.auroc.map(|auroc| auroc + 0.02)),
            failing(&|m| m.score.ece = 0.03),
            failing(&|m| m.length_correlation = Some(-0.2)),
            failing(&|m| m.backtest = backtest(&[1.0, 2.0, 3.0], &[3.0, 1.0, 2.0])),
            failing(&|m| m.drift = Some(0.3)),
        ] {
            assert_eq!(failures.len(), 1, "{failures:?}");
        }
        let fine = failing(&|m| (m.last_auroc, m.drift) = (m.score.auroc.map(|a| a + 0.005), Some(0.05)));
        assert_eq!(fine, Vec::<String>::new());
    }

    #[test]
    fn a_backtest_says_how_sure_it_is() {
        let forecast: Vec<f64> = (0..10).map(f64::from).collect();
        let observed: Vec<f64> = forecast.iter().map(|x| x + (x * 12.9898).sin()).collect();
        let found = backtest(&forecast, &observed).unwrap();
        let (low, high) = found.interval.unwrap();
        assert!(found.correlation > 0.9 && low < found.correlation && found.correlation < high && found.arms == 10);
        assert_eq!(backtest(&[1.0], &[1.0]), None);
    }
}
