//! Metrics: what a loss reports about itself, and what each number means.

use crate::loss::LossBatch;
use crate::objective::Objective;
use crate::ratio::RatioAt;
use crate::surrogate::Surrogate;

/// A named number of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name, as TRL has it where TRL has it.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// What it looks like in a healthy run.
    pub good: &'static str,
    /// What it looks like in a sick one, and what to do.
    pub bad: &'static str,
}

/// Every metric that this crate reports.
pub fn metrics() -> &'static [Metric] {
    METRICS
}

/// The metric of that name.
pub fn metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

const METRICS: &[Metric] = &[
    Metric {
        name: "loss",
        what: "what the step minimised: policy term + KL penalty − entropy bonus",
        good: "supervised: falls. Policy gradient: hovers around 0; its size says nothing about progress, `reward` \
                  does",
        bad: "a jump by orders of magnitude together with `grad_norm`: lower `learning_rate`",
    },
    Metric {
        name: "policy_loss",
        what: "the policy term of the loss alone",
        good: "near 0 on the first update of a rollout (advantages of a group add up to 0)",
        bad: "grows from update to update of one rollout: the weights leave the data; fewer `updates_per_rollout`",
    },
    Metric {
        name: "entropy",
        what: "mean over trained tokens of the entropy of the next-token distribution, in nats",
        good: "falls slowly and levels out above 0",
        bad: "drops to almost 0 in a few steps (collapse: every sample of a group is the same): raise `clip_high`, \
                  `entropy_coefficient` or `temperature`. Climbs without end: the policy comes apart, lower \
                  `learning_rate`",
    },
    Metric {
        name: "kl",
        what: "mean over trained tokens of the chosen estimate of KL(policy ‖ reference), in nats",
        good: "grows slowly from 0",
        bad: "grows much faster than `reward`: the policy moves where the reward does not ask it to; raise \
                  `kl_coefficient`",
    },
    Metric {
        name: "approx_kl",
        what: "mean over trained tokens of `w − 1 − log w`: how far this update has moved from the weights that \
                  sampled",
        good: "0 on the first update of a rollout, below about 0.05 on the last",
        bad: "rises above 0.1: fewer `updates_per_rollout` or a lower `learning_rate`",
    },
    Metric {
        name: "ratio/mean",
        what: "mean ratio before clipping: over trained tokens, or over answers for a sequence ratio",
        good: "exactly 1 on the first update of a rollout, then close to 1",
        bad: "not 1 on the first update: sampler and trainer disagree, see `sampling/logp_difference/max`",
    },
    Metric {
        name: "ratio/min",
        what: "smallest ratio before clipping",
        good: "between 0.5 and 1 (token ratio), 0.99 and 1 (sequence ratio)",
        bad: "near 0: some tokens have been all but forbidden in one rollout",
    },
    Metric {
        name: "ratio/max",
        what: "largest ratio before clipping",
        good: "between 1 and 2 (token ratio), 1 and 1.01 (sequence ratio)",
        bad: "in the tens or more: stale rollouts or too large a step; set `clip_dual` or lower `updates_per_rollout`",
    },
    Metric {
        name: "clip_ratio/low_mean",
        what: "share of trained tokens whose gradient the lower bound stopped (bad answers already less likely)",
        good: "0 on the first update, then a few percent with token ratios, about 15 % with GSPO (its paper's figure \
                  2)",
        bad: "most tokens: the later updates of a rollout teach nothing; fewer of them, or a lower `learning_rate`",
    },
    Metric {
        name: "clip_ratio/high_mean",
        what: "share of trained tokens whose gradient the upper bound stopped (good answers already likelier)",
        good: "0 on the first update, then a few percent with token ratios, about 15 % with GSPO (its paper's figure \
                  2)",
        bad: "high while `entropy` falls: rare good tokens cannot grow; raise `clip_high`",
    },
    Metric {
        name: "clip_ratio/region_mean",
        what: "share of trained tokens stopped by either bound",
        good: "the sum of the two above",
        bad: "always 0 with several `updates_per_rollout`: the bounds are too wide to do anything",
    },
    Metric {
        name: "clip_ratio/dual_mean",
        what: "share of trained tokens stopped by `clip_dual` (bad answers that became much likelier)",
        good: "0, or a token now and then",
        bad: "percents: rollouts are stale or training is unstable",
    },
    Metric {
        name: "clip_ratio/sequence_mean",
        what: "share of answers stopped by either bound (sequence ratio); the rows above weigh answers by their length",
        good: "0 on the first update, then about as large as `clip_ratio/region_mean`",
        bad: "much larger than `clip_ratio/region_mean`: mostly short answers are stopped, whose mean log-ratio moves \
                  most",
    },
    Metric {
        name: "sampling/logp_difference/mean",
        what: "mean over trained tokens of |log-probability by the trainer − by the sampler|, same weights",
        good: "exactly 0 on the native engine",
        bad: "above 0.01: rollouts come from other weights, another temperature or other kernels",
    },
    Metric {
        name: "sampling/logp_difference/max",
        what: "largest such difference",
        good: "exactly 0 on the native engine",
        bad: "above 1: some tokens are scored as quite other tokens; check temperature, top-p and the tokenizer",
    },
    Metric {
        name: "sampling/mismatch_k1",
        what: "mean of log-probability by the sampler − by the trainer: a signed estimate of their KL",
        good: "exactly 0 on the native engine",
        bad: "steadily off 0: the two models differ in one direction",
    },
    Metric {
        name: "sampling/mismatch_k3",
        what: "mean of `ρ − log ρ − 1` with ρ = trainer's over sampler's probability: their KL, never negative",
        good: "exactly 0 on the native engine, below 0.001 elsewhere",
        bad: "above 0.01: expect biased gradients",
    },
    Metric {
        name: "reward",
        what: "mean reward of the answers that got a verdict",
        good: "rises",
        bad: "flat with `frac_reward_zero_std` near 1: the task is too hard or too easy. Rises while held-out accuracy \
                  does not: the reward is being exploited, read some rollouts",
    },
    Metric {
        name: "reward_std",
        what: "mean over prompts of the standard deviation (unbiased) of its answers' rewards",
        good: "well above 0: answers to one prompt differ, so there is something to learn",
        bad: "near 0: groups agree; change difficulty, `samples_per_prompt` or `temperature`",
    },
    Metric {
        name: "frac_reward_zero_std",
        what: "share of prompts whose answers all got the same reward, or only one verdict: they teach a group method \
                  nothing",
        good: "below a half",
        bad: "near 1: the step is wasted; easier or harder prompts, more `samples_per_prompt`, or `dynamic_sampling = \
                  true`",
    },
    Metric {
        name: "frac_no_verdict",
        what: "share of answers that the reward could not judge; they are left out of statistics and loss",
        good: "0",
        bad: "above 0: the verifier fails; the reasons are in the rollouts file",
    },
];

/// What one row adds to the report. Sums over its trained tokens unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RowSums {
    /// Part of the step's loss, normalised.
    pub loss: f64,
    /// Part of the step's policy term, normalised.
    pub policy_loss: f64,
    pub tokens: f64,
    pub clipped_low: f64,
    pub clipped_high: f64,
    pub clipped_dual: f64,
    pub ratio: f64,
    /// Ratios in `ratio`: tokens, or 1 for a sequence ratio.
    pub ratios: f64,
    pub ratio_min: f64,
    pub ratio_max: f64,
    pub approx_kl: f64,
    pub kl: f64,
    pub entropy: f64,
    pub difference: f64,
    pub difference_max: f64,
    pub mismatch_k1: f64,
    pub mismatch_k3: f64,
}

impl Default for RowSums {
    fn default() -> Self {
        Self {
            loss: 0.0,
            policy_loss: 0.0,
            tokens: 0.0,
            clipped_low: 0.0,
            clipped_high: 0.0,
            clipped_dual: 0.0,
            ratio: 0.0,
            ratios: 0.0,
            ratio_min: f64::INFINITY,
            ratio_max: f64::NEG_INFINITY,
            approx_kl: 0.0,
            kl: 0.0,
            entropy: 0.0,
            difference: 0.0,
            difference_max: 0.0,
            mismatch_k1: 0.0,
            mismatch_k3: 0.0,
        }
    }
}

/// `e^x − 1 − x ≥ 0`, the k3 estimate of a KL from a log-ratio.
fn k3(log_ratio: f64) -> f64 {
    log_ratio.exp() - 1.0 - log_ratio
}

impl RowSums {
    pub(crate) fn see_ratios(&mut self, ratios: &[RatioAt], sequence: bool) {
        let counted = if sequence { &ratios[..1] } else { ratios };
        for ratio in counted {
            self.ratio += ratio.value;
            self.ratio_min = self.ratio_min.min(ratio.value);
            self.ratio_max = self.ratio_max.max(ratio.value);
        }
        self.ratios = counted.len() as f64;
    }

    pub(crate) fn see_old(&mut self, logp: &[f64], old: &[f64]) {
        let limit = crate::ratio::LOG_RATIO_LIMIT;
        self.approx_kl = logp.iter().zip(old).map(|(new, old)| k3((new - old).clamp(-limit, limit))).sum();
    }

    pub(crate) fn see_sampling(&mut self, old: &[f64], rollout: &[f64]) {
        let limit = crate::ratio::LOG_RATIO_LIMIT;
        for (old, rollout) in old.iter().zip(rollout) {
            let log_ratio = old - rollout;
            self.difference += log_ratio.abs();
            self.difference_max = self.difference_max.max(log_ratio.abs());
            self.mismatch_k1 -= log_ratio;
            self.mismatch_k3 += k3(log_ratio.clamp(-limit, limit));
        }
    }

    fn stopped(&self) -> f64 {
        self.clipped_low + self.clipped_high
    }
}

/// Which metrics can be told from what a batch held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    policy: bool,
    clip: bool,
    dual: bool,
    sequence: bool,
    reference: bool,
    entropy: bool,
    sampling: bool,
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
            sequence: clip && objective.ratio.is_sequence(),
            reference: batch.logp_reference.is_some(),
            entropy: batch.want.entropy,
            sampling: batch.logp_rollout.is_some(),
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

    /// Named numbers, in a fixed order; each name is in [`metrics()`]. Without a trained token only losses of 0 are
    /// there.
    pub fn finish(&self) -> Vec<(&'static str, f64)> {
        let mut out = vec![("loss", self.loss())];
        if self.seen.policy {
            out.push(("policy_loss", self.sum(|row| row.policy_loss)));
        }
        let tokens = self.tokens();
        if tokens == 0.0 {
            return out;
        }
        let per_token = |part: fn(&RowSums) -> f64| self.sum(part) / tokens;
        if self.seen.entropy {
            out.push(("entropy", per_token(|row| row.entropy)));
        }
        if self.seen.reference {
            out.push(("kl", per_token(|row| row.kl)));
        }
        if self.seen.policy {
            out.push(("approx_kl", per_token(|row| row.approx_kl)));
            out.push(("ratio/mean", self.sum(|row| row.ratio) / self.sum(|row| row.ratios)));
            out.push(("ratio/min", self.rows.iter().fold(f64::INFINITY, |low, row| low.min(row.ratio_min))));
            out.push(("ratio/max", self.rows.iter().fold(f64::NEG_INFINITY, |high, row| high.max(row.ratio_max))));
        }
        if self.seen.clip {
            out.push(("clip_ratio/low_mean", per_token(|row| row.clipped_low)));
            out.push(("clip_ratio/high_mean", per_token(|row| row.clipped_high)));
            out.push(("clip_ratio/region_mean", per_token(RowSums::stopped)));
        }
        if self.seen.dual {
            out.push(("clip_ratio/dual_mean", per_token(|row| row.clipped_dual)));
        }
        if self.seen.sequence {
            let rows = self.rows.iter().filter(|row| row.tokens > 0.0);
            let stopped = rows.clone().filter(|row| row.stopped() > 0.0).count();
            out.push(("clip_ratio/sequence_mean", stopped as f64 / rows.count() as f64));
        }
        if self.seen.sampling {
            out.push(("sampling/logp_difference/mean", per_token(|row| row.difference)));
            let largest = self.rows.iter().fold(0.0_f64, |high, row| high.max(row.difference_max));
            out.push(("sampling/logp_difference/max", largest));
            out.push(("sampling/mismatch_k1", per_token(|row| row.mismatch_k1)));
            out.push(("sampling/mismatch_k3", per_token(|row| row.mismatch_k3)));
        }
        out
    }
}
