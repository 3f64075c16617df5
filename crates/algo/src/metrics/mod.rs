//! Metrics: what a loss reports about itself.

mod catalogue;
mod sums;

pub use catalogue::{Metric, metric, metrics};
pub(crate) use sums::RowSums;

use crate::loss::LossBatch;
use crate::objective::Objective;
use crate::surrogate::Surrogate;

/// Answers are told apart by their length where one ratio stands for a whole answer: up to so many trained tokens, and
/// the metric that has their share.
const LENGTHS: [(f64, &str); 4] = [
    (16.0, "clip_ratio/length_16_mean"),
    (64.0, "clip_ratio/length_64_mean"),
    (256.0, "clip_ratio/length_256_mean"),
    (f64::INFINITY, "clip_ratio/length_more_mean"),
];

/// Which metrics can be told from what a batch held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    policy: bool,
    clip: bool,
    dual: bool,
    cap: bool,
    sequence: bool,
    reference: bool,
    entropy: bool,
    sampling: bool,
    correction: bool,
    opsm: bool,
    critic: bool,
}

/// What a step's losses report: merges over micro-batches, then finishes into named numbers.
///
/// One entry per row is kept and summed at the end in row order, so the numbers are the same bits however the rows,
/// kept in order, were split.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LossMetrics {
    seen: Seen,
    rows: Vec<RowSums>,
}

type Named = Vec<(&'static str, f64)>;

impl LossMetrics {
    pub(crate) fn for_batch(objective: &Objective, batch: &LossBatch<'_>) -> Self {
        let (clip, dual) = match objective.surrogate {
            Surrogate::Clip { dual, .. } => (true, dual.is_some()),
            _ => (false, false),
        };
        let seen = Seen {
            policy: objective.surrogate.uses_advantage(),
            clip,
            dual,
            cap: objective.surrogate.holds_ratio(),
            sequence: clip && objective.ratio.is_sequence(),
            reference: batch.logp_reference.is_some(),
            entropy: batch.want.entropy,
            sampling: batch.logp_rollout.is_some(),
            correction: objective.off_policy.weighs(),
            opsm: objective.off_policy.opsm.is_some(),
            critic: objective.critic.is_some(),
        };
        Self { seen, rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, row: RowSums) {
        self.rows.push(row);
    }

    /// Adds the rows of the next micro-batch of the same objective. Metrics start empty: `LossMetrics::default()`.
    pub fn merge(&mut self, next: LossMetrics) {
        assert!(self.rows.is_empty() || next.rows.is_empty() || self.seen == next.seen, "metrics of two objectives");
        if !next.rows.is_empty() {
            self.seen = next.seen;
        }
        self.rows.extend(next.rows);
    }

    /// The loss of the rows so far.
    pub fn loss(&self) -> f64 {
        self.sum(|row| row.loss)
    }

    /// Trained tokens so far.
    pub fn tokens(&self) -> f64 {
        self.sum(|row| row.tokens)
    }

    fn sum(&self, part: impl Fn(&RowSums) -> f64) -> f64 {
        self.rows.iter().map(part).sum()
    }

    fn per_token(&self, part: impl Fn(&RowSums) -> f64) -> f64 {
        self.sum(part) / self.tokens()
    }

    /// Over rows with a trained token.
    fn per_row(&self, part: impl Fn(&RowSums) -> f64) -> f64 {
        let rows = || self.rows.iter().filter(|row| row.tokens > 0.0);
        rows().map(part).sum::<f64>() / rows().count() as f64
    }

    /// Named numbers, in a fixed order; each name is in [`metrics()`]. Without a trained token only losses of 0 are
    /// there.
    pub fn finish(&self) -> Vec<(&'static str, f64)> {
        let mut out = vec![("loss", self.loss())];
        if self.seen.policy {
            out.push(("policy_loss", self.sum(|row| row.policy_loss)));
        }
        if self.seen.critic {
            out.push(("value_loss", self.sum(|row| row.value_loss)));
        }
        if self.tokens() == 0.0 {
            return out;
        }
        if self.seen.entropy {
            out.push(("entropy", self.per_token(|row| row.entropy)));
        }
        if self.seen.reference {
            out.push(("kl", self.per_token(|row| row.kl)));
        }
        if self.seen.policy && self.sum(|row| row.ratios) > 0.0 {
            out.push(("approx_kl", self.per_token(|row| row.approx_kl)));
            out.push(("ratio/mean", self.sum(|row| row.ratio) / self.sum(|row| row.ratios)));
            out.push(("ratio/min", self.rows.iter().fold(f64::INFINITY, |low, row| low.min(row.ratio_min))));
            out.push(("ratio/max", self.rows.iter().fold(f64::NEG_INFINITY, |high, row| high.max(row.ratio_max))));
        }
        self.clipping(&mut out);
        self.sampling(&mut out);
        self.values(&mut out);
        out
    }

    fn clipping(&self, out: &mut Named) {
        if self.seen.clip {
            out.push(("clip_ratio/low_mean", self.per_token(|row| row.clipped_low)));
            out.push(("clip_ratio/high_mean", self.per_token(|row| row.clipped_high)));
            out.push(("clip_ratio/region_mean", self.per_token(RowSums::stopped)));
        }
        if self.seen.dual {
            out.push(("clip_ratio/dual_mean", self.per_token(|row| row.clipped_dual)));
        }
        if self.seen.cap {
            out.push(("cispo_clip_ratio", self.per_token(|row| row.capped)));
        }
        if self.seen.sequence {
            let stopped = |row: &RowSums| f64::from(row.stopped() > 0.0);
            out.push(("clip_ratio/sequence_mean", self.per_row(stopped)));
            let mut above = 0.0;
            for (most, name) in LENGTHS {
                let of = || self.rows.iter().filter(|row| row.tokens > above && row.tokens <= most);
                if of().count() > 0 {
                    out.push((name, of().map(stopped).sum::<f64>() / of().count() as f64));
                }
                above = most;
            }
        }
    }

    fn sampling(&self, out: &mut Named) {
        if self.seen.sampling {
            let largest = self.rows.iter().fold(0.0_f64, |high, row| high.max(row.sampling.difference_max));
            out.push(("sampling/logp_difference/mean", self.per_token(|row| row.sampling.difference)));
            out.push(("sampling/logp_difference/max", largest));
            out.push(("sampling/mismatch_k1", self.per_token(|row| row.sampling.k1)));
            out.push(("sampling/mismatch_k3", self.per_token(|row| row.sampling.k3)));
            out.push(("sampling/perplexity_ratio", self.per_row(|row| row.sampling.perplexity_ratio)));
            out.push(("sampling/chi2_token", self.per_token(|row| row.sampling.rho_squared) - 1.0));
            out.push(("sampling/chi2_sequence", self.per_row(|row| row.sampling.sequence_rho_squared) - 1.0));
            out.push(("correction/truncated", self.per_token(|row| row.sampling.truncated)));
            out.push(("correction/rejected", self.per_token(|row| row.sampling.rejected)));
        }
        if self.seen.correction {
            out.push(("correction/weight_mean", self.per_token(|row| row.correction)));
        }
        if self.seen.opsm {
            out.push(("opsm/masked", self.per_token(|row| row.masked)));
        }
    }

    fn values(&self, out: &mut Named) {
        if !self.seen.critic {
            return;
        }
        let variance = |mean: f64, mean_of_squares: f64| mean_of_squares - mean * mean;
        let of_goals = variance(self.per_token(|row| row.values.goal), self.per_token(|row| row.values.goal_squared));
        let of_errors =
            variance(self.per_token(|row| row.values.error), self.per_token(|row| row.values.error_squared));
        out.push(("value/mean", self.per_token(|row| row.values.value)));
        out.push(("value/clip_ratio", self.per_token(|row| row.values.clipped)));
        // Returns that are all the same have nothing to explain.
        let explained = if of_goals > 1e-12 { 1.0 - of_errors / of_goals } else { 0.0 };
        out.push(("value/explained_variance", explained));
    }
}
