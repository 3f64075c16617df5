//! What the samples and the losses of an rl step come to, as named numbers.

use std::collections::{BTreeMap, BTreeSet};

use crate::draw::{Step, right_from, right_of};
use crate::recipe::Rl;
use crate::rollouts::Sampled;
use crate::watch::Metrics;

/// `rewards/<name>/mean` and `/std` over the samples to learn from that the reward gave a verdict on, and `/no_verdict` over all
/// that it was asked about in this step.
pub(crate) fn rewards(step: &Step, penalised: bool) -> Metrics {
    let mut scores: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for sampled in step.kept() {
        for (label, score) in &sampled.rewards {
            let scores = scores.entry(label).or_default();
            scores.extend(score.as_f64());
        }
    }
    let failures = failures(step);
    let mut metrics = Metrics::new();
    let labels: BTreeSet<&str> = scores.keys().chain(failures.keys()).copied().collect();
    for label in labels {
        // where there is no score there is no mean, and 0 would look like one
        if let Some(scores) = scores.get(label).filter(|scores| !scores.is_empty()) {
            let (mean, deviation) = mean_and_deviation(scores);
            metrics.push((format!("rewards/{label}/mean"), mean));
            metrics.push((format!("rewards/{label}/std"), deviation));
        }
        if let Some(share) = failures.get(label) {
            metrics.push((format!("rewards/{label}/no_verdict"), *share));
        }
    }
    if penalised {
        let penalties: Vec<f64> = step.kept().map(|sampled| sampled.length_penalty).collect();
        metrics.push(("rewards/overlong/mean".into(), mean_and_deviation(&penalties).0));
    }
    metrics
}

/// Per reward: the share of the completions it was asked about in this step on which it gave no verdict.
pub(crate) fn failures(step: &Step) -> BTreeMap<&str, f64> {
    let mut counts: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for (label, score) in step.fresh().flat_map(|sampled| &sampled.rewards) {
        let [failed, asked] = counts.entry(label).or_default();
        *failed += usize::from(score.is_null());
        *asked += 1;
    }
    counts.into_iter().map(|(label, [failed, asked])| (label, failed as f64 / asked as f64)).collect()
}

/// Mean and population deviation; 0 of nothing.
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt())
}

/// TRL's `completions/…`, over all that was sampled in the step.
pub(crate) fn lengths(step: &Step) -> Metrics {
    let mut metrics = Metrics::new();
    let mut summarise = |names: [&str; 3], lengths: Vec<usize>| {
        let mean = lengths.iter().sum::<usize>() as f64 / lengths.len().max(1) as f64;
        let (least, most) = (lengths.iter().min().copied(), lengths.iter().max().copied());
        let values = [mean, least.unwrap_or(0) as f64, most.unwrap_or(0) as f64];
        metrics.extend(names.iter().zip(values).map(|(name, value)| (format!("completions/{name}"), value)));
    };
    summarise(["mean_length", "min_length", "max_length"], step.fresh().map(Sampled::length).collect());
    let ended = step.fresh().filter(|sampled| !sampled.truncated()).map(Sampled::length).collect();
    summarise(["mean_terminated_length", "min_terminated_length", "max_terminated_length"], ended);
    let cut = step.fresh().filter(|sampled| sampled.truncated()).count();
    metrics.push(("completions/clipped_ratio".into(), cut as f64 / step.fresh().count().max(1) as f64));
    metrics
}

/// `batch/…`: shares of the prompts asked in the step, of those with a verdict on every answer.
pub(crate) fn solved(step: &Step, rl: &Rl) -> Metrics {
    let fail_value = rl.interleave.as_ref().map_or(0.0, |rule| rule.fail_value);
    let (mut none, mut all, mut failed, mut prompts) = (0, 0, 0, 0);
    for (_, group) in step.asked() {
        let (right, judged) = right_of(group, right_from(rl));
        if judged == 0 || judged < group.len() as u64 {
            continue;
        }
        prompts += 1;
        none += usize::from(right == 0);
        all += usize::from(right == judged);
        let fails = |sampled: &Sampled| sampled.verdict.value().is_some_and(|reward| f64::from(reward) == fail_value);
        failed += usize::from(group.iter().all(fails));
    }
    let shares = [("solve_none", none), ("solve_all", all), ("solved", prompts - none), ("failed", failed)];
    shares.map(|(name, count)| (format!("batch/{name}"), count as f64 / prompts.max(1) as f64)).to_vec()
}

/// Metrics of several updates as those of one step: the mean, but of extremes the extreme. Names keep their order.
#[derive(Default)]
pub(crate) struct Merged(Vec<(&'static str, f64, usize)>);

impl Merged {
    pub(crate) fn add(&mut self, values: Vec<(&'static str, f64)>) {
        for (name, value) in values {
            let Some((_, sum, count)) = self.0.iter_mut().find(|(known, ..)| *known == name) else {
                self.0.push((name, value, 1));
                continue;
            };
            *count += 1;
            *sum = match extreme(name) {
                Some(extreme) => extreme(*sum, value),
                None => *sum + value,
            };
        }
    }

    pub(crate) fn finish(self) -> Metrics {
        let value = |(name, sum, count): (&'static str, f64, usize)| match extreme(name) {
            Some(_) => (name.to_string(), sum),
            None => (name.to_string(), sum / count as f64),
        };
        self.0.into_iter().map(value).collect()
    }
}

/// How a metric of extremes is merged.
fn extreme(name: &str) -> Option<fn(f64, f64) -> f64> {
    match name.rsplit('/').next() {
        Some("min") => Some(f64::min),
        Some("max") => Some(f64::max),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_merge_to_the_mean_and_extremes_stay_extremes() {
        let mut merged = Merged::default();
        merged.add(vec![("loss", 1.0), ("ratio/min", 0.5), ("ratio/max", 1.5)]);
        merged.add(vec![("loss", 3.0), ("ratio/min", 0.7), ("ratio/max", 1.2), ("kl", 4.0)]);
        let expected = [("loss", 2.0), ("ratio/min", 0.5), ("ratio/max", 1.5), ("kl", 4.0)];
        assert_eq!(merged.finish(), expected.map(|(name, value)| (name.to_string(), value)));
    }
}
