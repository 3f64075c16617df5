//! What a preference step reports.

use std::collections::BTreeMap;

use super::coupling::PreferencePrepared;
use crate::metrics::Metric;

/// Sums over the examples of a micro-batch; those of a step's micro-batches are merged before they are reported.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PreferenceMetrics {
    loss: f64,
    means: BTreeMap<&'static str, [f64; 2]>,
    ends: BTreeMap<&'static str, f64>,
}

impl PreferenceMetrics {
    /// Adds one value to a mean.
    pub(crate) fn mean(&mut self, name: &'static str, value: f64) {
        let [sum, count] = self.means.entry(name).or_default();
        *sum += value;
        *count += 1.0;
    }

    /// Widens the range of what the reward head says.
    pub(crate) fn see_reward(&mut self, reward: f64) {
        self.mean("mean_reward", reward);
        for (name, pick) in [("min_reward", f64::min as fn(f64, f64) -> f64), ("max_reward", f64::max)] {
            self.ends.entry(name).and_modify(|end| *end = pick(*end, reward)).or_insert(reward);
        }
    }

    pub(crate) fn see_pair(&mut self, chosen: f64, rejected: f64) {
        self.mean("rewards/chosen", chosen);
        self.mean("rewards/rejected", rejected);
        self.mean("rewards/margins", chosen - rejected);
        // A draw is no win.
        self.mean("rewards/accuracies", f64::from(chosen > rejected));
    }

    /// Puts down the loss, and what the step knew beforehand (with a weight of this part's share of the examples).
    pub(crate) fn finish_loss(&mut self, loss: f64, prepared: &PreferencePrepared, examples: usize) {
        self.loss = loss;
        if examples == 0 {
            return;
        }
        if let Some(kl) = prepared.kl {
            self.mean("kl", kl);
        }
        for shared in &prepared.parts {
            if let Some([effective, small]) = shared.influence {
                self.mean("influence/effective", effective);
                self.mean("influence/small", small);
            }
        }
    }

    /// The loss of what was merged so far.
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// Adds another micro-batch of the same step.
    pub fn merge(&mut self, other: &PreferenceMetrics) {
        self.loss += other.loss;
        for (name, [sum, count]) in &other.means {
            let mine = self.means.entry(name).or_default();
            mine[0] += sum;
            mine[1] += count;
        }
        for (&name, &end) in &other.ends {
            let pick = if name == "min_reward" { f64::min } else { f64::max };
            self.ends.entry(name).and_modify(|mine| *mine = pick(*mine, end)).or_insert(end);
        }
    }

    /// The names of what was reported, whether the catalogue has them or not.
    #[cfg(test)]
    pub(crate) fn names(&self) -> Vec<&'static str> {
        ["loss"].into_iter().chain(self.means.keys().copied()).chain(self.ends.keys().copied()).collect()
    }

    /// Names and values, in the order of the catalogue.
    pub fn finish(&self) -> Vec<(&'static str, f64)> {
        let value = |name: &str| match name {
            "loss" => Some(self.loss),
            name => self.ends.get(name).copied().or_else(|| self.means.get(name).map(|[sum, count]| sum / count)),
        };
        METRICS.iter().filter_map(|metric| Some((metric.name, value(metric.name)?))).collect()
    }
}

/// Every metric that a preference or reward-model step may report.
pub fn preference_metrics() -> &'static [Metric] {
    METRICS
}

/// The metric of that name.
pub fn preference_metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

const METRICS: &[Metric] = &[
    Metric {
        name: "loss",
        what: "what the step minimised",
        good: "falls from its value at a margin of 0 (ln 2 for the logistic losses)",
        bad: "far below its start within a few steps of a small data set: learned by heart, see held-out accuracy",
    },
    Metric {
        name: "rewards/chosen",
        what: "mean reward of chosen answers: `β·(logp − logp_ref)`, or what the reward head says",
        good: "rises, or falls less than `rewards/rejected`",
        bad: "falls without end together with `logps/chosen`: the probability goes elsewhere (likelihood displacement); \
              set `nll_coefficient`",
    },
    Metric {
        name: "rewards/rejected",
        what: "the same of rejected answers",
        good: "falls slowly",
        bad: "falls by tens: the policy runs away from the reference; raise `beta` or lower `learning_rate`",
    },
    Metric {
        name: "rewards/margins",
        what: "mean reward of the chosen less that of the rejected",
        good: "grows and levels out",
        bad: "grows without end on noisy labels: the contradicted pairs pull; a bounded loss or `label_smoothing`",
    },
    Metric {
        name: "rewards/accuracies",
        what: "share of pairs whose chosen answer has the higher reward; a draw counts as wrong",
        good: "rises towards what the labels' noise allows",
        bad: "near 1 on the training pairs: noise is being learned. Near ½: nothing is",
    },
    Metric {
        name: "logps/chosen",
        what: "mean log-probability of chosen answers, summed over tokens",
        good: "stays where it was, or rises",
        bad: "falls for hundreds of steps: see `rewards/chosen`",
    },
    Metric {
        name: "logps/rejected",
        what: "mean log-probability of rejected answers, summed over tokens",
        good: "falls slowly",
        bad: "falls by hundreds: the answers are being forbidden, not compared",
    },
    Metric {
        name: "nll_loss",
        what: "mean negative log-likelihood per token of chosen answers, before `nll_coefficient`",
        good: "stays or falls",
        bad: "rises: `nll_coefficient` is too small to hold it",
    },
    Metric {
        name: "kl",
        what: "z₀: mean log-ratio of answers to other prompts, at least 0 (KTO)",
        good: "grows slowly from 0",
        bad: "tens of nats: the policy likes everything better than the reference does",
    },
    Metric {
        name: "influence/effective",
        what: "mean over pairs of the slope of ρ, over the largest: the share of the data that counts (M-estimator)",
        good: "0.5 to 0.9: some pairs are doubted",
        bad: "near 0: a handful of pairs teach everything; raise `rho_scale`",
    },
    Metric {
        name: "influence/small",
        what: "share of pairs with less than a tenth of the largest slope of ρ (M-estimator)",
        good: "about the share of labels that are wrong",
        bad: "most pairs: the scale is too small, or warm-up ended too early",
    },
    Metric {
        name: "wpo/weight",
        what: "mean weight of a pair under WPO",
        good: "well above 0",
        bad: "near 0: the data are not what this policy would write; sample from it",
    },
    Metric {
        name: "vrpo/data",
        what: "I₁: mean loss of the labelled pairs",
        good: "close to `vrpo/control`",
        bad: "far above `vrpo/control`: the auxiliary model disagrees with the labels",
    },
    Metric {
        name: "vrpo/control",
        what: "I₂: mean loss of the labelled pairs under the auxiliary preferences",
        good: "close to `vrpo/data`",
        bad: "see `vrpo/data`",
    },
    Metric {
        name: "vrpo/synthetic",
        what: "I₃: mean loss of the pairs from the reference under the auxiliary preferences",
        good: "falls",
        bad: "rises while `vrpo/data` falls: the labelled term runs away; set `guard` or more `synthetic_pairs`",
    },
    Metric {
        name: "vrpo/residual",
        what: "mean of label − ĝ",
        good: "near 0: the auxiliary model is calibrated",
        bad: "far from 0: it is biased, and only sampling from the reference protects the estimate",
    },
    Metric {
        name: "vrpo/residual_squared",
        what: "mean of (label − ĝ)²: the Brier score of the auxiliary model on the labels",
        good: "well below 0.25",
        bad: "0.25 and more: ĝ knows nothing, and the variance is larger than without it",
    },
    Metric {
        name: "vrpo/misspecification",
        what: "mean of |σ(margin) − ĝ| over pairs from the reference",
        good: "falls to what the model cannot express",
        bad: "grows: the model leaves the auxiliary preferences",
    },
    Metric {
        name: "vrpo/entropy",
        what: "mean entropy of ĝ over pairs from the reference, in nats",
        good: "between 0 and ln 2",
        bad: "near 0: ĝ is overconfident; calibrate it, or raise `auxiliary_clip`",
    },
    Metric {
        name: "vrpo/guarded",
        what: "share of the margins beyond `guard_margin`",
        good: "near 0",
        bad: "most: the guard is all that holds the loss",
    },
    Metric {
        name: "min_reward",
        what: "least of what the reward head says",
        good: "a few units below `mean_reward`",
        bad: "tens away: an outlier, or a head whose learning rate is too high",
    },
    Metric {
        name: "mean_reward",
        what: "mean of what the reward head says",
        good: "near 0 with `center_rewards`",
        bad: "wanders off: nothing but differences is learned; set `center_rewards`",
    },
    Metric {
        name: "max_reward",
        what: "largest of what the reward head says",
        good: "a few units above `mean_reward`",
        bad: "as `min_reward`",
    },
];
