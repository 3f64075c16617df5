//! What a row adds to the report of its step.

use crate::correction::OffPolicy;
use crate::ratio::LOG_RATIO_LIMIT;
use crate::surrogate::Stopped;

/// What one row adds to the report. Sums over its trained tokens unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RowSums {
    /// Part of the step's loss, normalised.
    pub loss: f64,
    /// Part of the step's policy term, normalised.
    pub policy_loss: f64,
    /// Part of the step's value loss, normalised, without its coefficient.
    pub value_loss: f64,
    pub tokens: f64,
    pub clipped_low: f64,
    pub clipped_high: f64,
    pub clipped_dual: f64,
    /// Tokens whose weight CISPO holds at a bound.
    pub capped: f64,
    /// Tokens that OPSM leaves out.
    pub masked: f64,
    pub ratio: f64,
    /// Ratios in `ratio`: tokens, or 1 for a sequence ratio.
    pub ratios: f64,
    pub ratio_min: f64,
    pub ratio_max: f64,
    pub approx_kl: f64,
    pub kl: f64,
    pub entropy: f64,
    /// Correction weights.
    pub correction: f64,
    pub sampling: Sampling,
    pub values: Values,
}

/// Sampler against trainer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sampling {
    pub difference: f64,
    pub difference_max: f64,
    pub k1: f64,
    pub k3: f64,
    pub rho_squared: f64,
    /// Of the whole row: `exp(mean log ρ)`, the ratio of perplexities sampler : trainer.
    pub perplexity_ratio: f64,
    /// Of the whole row: `(Π ρ)²`.
    pub sequence_rho_squared: f64,
    pub truncated: f64,
    pub rejected: f64,
}

/// Values and returns, for what the critic explains.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Values {
    pub value: f64,
    pub clipped: f64,
    pub goal: f64,
    pub goal_squared: f64,
    pub error: f64,
    pub error_squared: f64,
}

impl Default for RowSums {
    fn default() -> Self {
        Self {
            loss: 0.0,
            policy_loss: 0.0,
            value_loss: 0.0,
            tokens: 0.0,
            clipped_low: 0.0,
            clipped_high: 0.0,
            clipped_dual: 0.0,
            capped: 0.0,
            masked: 0.0,
            ratio: 0.0,
            ratios: 0.0,
            ratio_min: f64::INFINITY,
            ratio_max: f64::NEG_INFINITY,
            approx_kl: 0.0,
            kl: 0.0,
            entropy: 0.0,
            correction: 0.0,
            sampling: Sampling::default(),
            values: Values::default(),
        }
    }
}

/// `e^x − 1 − x ≥ 0`, the k3 estimate of a KL from a log-ratio.
fn k3(log_ratio: f64) -> f64 {
    log_ratio.exp() - 1.0 - log_ratio
}

fn held(log_ratio: f64) -> f64 {
    log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
}

impl RowSums {
    pub(crate) fn see_ratios(&mut self, ratios: &[f64], sequence: bool) {
        let counted = if sequence { &ratios[..1] } else { ratios };
        for &ratio in counted {
            self.ratio += ratio;
            self.ratio_min = self.ratio_min.min(ratio);
            self.ratio_max = self.ratio_max.max(ratio);
        }
        self.ratios = counted.len() as f64;
    }

    pub(crate) fn see_old(&mut self, logp: &[f64], old: &[f64]) {
        self.approx_kl = logp.iter().zip(old).map(|(new, old)| k3(held(new - old))).sum();
    }

    /// The proximal policy's log-probabilities against the sampler's.
    pub(crate) fn see_sampling(&mut self, off_policy: &OffPolicy, proximal: &[f64], rollout: &[f64]) {
        let log_ratios: Vec<f64> = proximal.iter().zip(rollout).map(|(proximal, rollout)| proximal - rollout).collect();
        if log_ratios.is_empty() {
            return;
        }
        let sampling = &mut self.sampling;
        for &log_ratio in &log_ratios {
            sampling.difference += log_ratio.abs();
            sampling.difference_max = sampling.difference_max.max(log_ratio.abs());
            sampling.k1 -= log_ratio;
            sampling.k3 += k3(held(log_ratio));
            sampling.rho_squared += (2.0 * held(log_ratio)).exp();
        }
        let sum: f64 = log_ratios.iter().sum();
        sampling.perplexity_ratio = held(sum / log_ratios.len() as f64).exp();
        sampling.sequence_rho_squared = (2.0 * held(sum)).exp();
        let fate = off_policy.fate(&log_ratios);
        sampling.truncated = fate.truncated as f64;
        sampling.rejected = fate.rejected as f64;
    }

    pub(crate) fn see_value(&mut self, value: f64, goal: f64, clipped: bool) {
        let values = &mut self.values;
        values.value += value;
        values.clipped += f64::from(clipped);
        values.goal += goal;
        values.goal_squared += goal * goal;
        values.error += goal - value;
        values.error_squared += (goal - value).powi(2);
    }

    pub(crate) fn count_stop(&mut self, stopped: Stopped) {
        match stopped {
            Stopped::No => {}
            Stopped::Low => self.clipped_low += 1.0,
            Stopped::High => self.clipped_high += 1.0,
            Stopped::Dual => self.clipped_dual += 1.0,
            Stopped::Capped => self.capped += 1.0,
        }
    }

    /// Tokens that either bound stopped.
    pub(crate) fn stopped(&self) -> f64 {
        self.clipped_low + self.clipped_high
    }
}
