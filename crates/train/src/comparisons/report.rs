//! What rewards of held-out answers say: accuracy, calibration, length, source.

use std::collections::BTreeMap;

use lapidary_algo::Example;
use lapidary_eval::{Binning, Interval, auroc, calibration, success_rate};

use super::batch::Batch;
use crate::watch::Metrics;

/// Bins of the calibration error, as in Guo et al. 2017 (arXiv 1706.04599, §4) but for small held-out sets.
const BINS: usize = 10;
/// Sources with a number of their own; what is rarer is counted together.
const MOST_SOURCES: usize = 24;

/// One comparison or judgement as the rewards see it.
struct Seen<'a> {
    prompt: String,
    source: Option<&'a str>,
    /// Probability that the rewards give to the likelier side, and whether it is the side that was labelled so.
    confidence: f64,
    right: bool,
}

/// Everything about `rewards`, one per row of the batch. Ties say nothing about accuracy and are left out.
pub(crate) fn report(batch: &Batch, rewards: &[f64]) -> Metrics {
    let lengths = batch.lengths();
    let seen = seen(batch, rewards);
    let mut metrics = Metrics::new();
    let mut put = |name: &str, value: Option<f64>| {
        metrics.extend(value.map(|value| (format!("eval/pairs/{name}"), value)));
    };
    put("count", Some(batch.examples.len() as f64));
    let accuracy = accuracy(seen.iter());
    put("accuracy", accuracy.map(|found| found.estimate));
    put("accuracy_low", accuracy.map(|found| found.low));
    put("accuracy_high", accuracy.map(|found| found.high));
    let confidence: Vec<f64> = seen.iter().map(|seen| seen.confidence).collect();
    let right: Vec<bool> = seen.iter().map(|seen| seen.right).collect();
    let calibrated = calibration(&confidence, &right, BINS, Binning::EqualWidth);
    put("ece", calibrated.as_ref().map(|found| found.ece));
    put("brier", calibrated.as_ref().map(|found| found.brier));
    put("overconfidence", calibrated.as_ref().map(|found| found.overconfidence));
    put("auroc", judged_auroc(batch, rewards));
    put("length_correlation", correlation(rewards, &lengths));
    let [prefers, labelled] = longer(batch, rewards, &lengths);
    put("prefers_longer", prefers);
    put("longer_is_better", labelled);
    put("reward_mean", Some(moments(rewards)[0]));
    put("reward_std", Some(moments(rewards)[1]));
    metrics.extend(by_source(&seen));
    metrics
}

fn seen<'a>(batch: &'a Batch, rewards: &[f64]) -> Vec<Seen<'a>> {
    let mut out = Vec::new();
    for (example, said) in batch.examples.iter().zip(&batch.said) {
        let (margin, label) = match example {
            Example::Pair(pair) => (rewards[pair.chosen] - rewards[pair.rejected], pair.label.probability()),
            Example::Single(single) => (rewards[single.row], single.label),
            Example::Unlabelled(_) => continue,
        };
        if label == 0.5 {
            continue;
        }
        let confidence = sigmoid(margin.abs());
        // A draw is no win.
        let right = if label > 0.5 { margin > 0.0 } else { margin < 0.0 };
        out.push(Seen { prompt: said.prompt.plain(), source: said.source.as_deref(), confidence, right });
    }
    out
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Share of right ones with its interval over prompts.
fn accuracy<'a>(seen: impl Iterator<Item = &'a Seen<'a>>) -> Option<Interval> {
    let mut by_prompt: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
    for seen in seen {
        by_prompt.entry(&seen.prompt).or_default().push(seen.right);
    }
    success_rate(&by_prompt.into_values().collect::<Vec<_>>())
}

/// Probability that a good answer has the higher reward, of answers that were judged alone.
fn judged_auroc(batch: &Batch, rewards: &[f64]) -> Option<f64> {
    let judged = batch.examples.iter().filter_map(|example| match example {
        Example::Single(single) if single.label != 0.5 => Some((rewards[single.row], single.label > 0.5)),
        _ => None,
    });
    let (scores, good): (Vec<f64>, Vec<bool>) = judged.unzip();
    auroc(&scores, &good)
}

/// Pearson's correlation; `None` where one of both does not vary.
pub(crate) fn correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let ([mean_a, deviation_a], [mean_b, deviation_b]) = (moments(a), moments(b));
    let covariance = a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum::<f64>() / a.len().max(1) as f64;
    (deviation_a > 0.0 && deviation_b > 0.0).then(|| covariance / (deviation_a * deviation_b))
}

/// Mean and population standard deviation.
pub(crate) fn moments(values: &[f64]) -> [f64; 2] {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    [mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt()]
}

/// Of comparisons of two lengths: share in which the longer answer has the higher reward, and share in which it was preferred.
fn longer(batch: &Batch, rewards: &[f64], lengths: &[f64]) -> [Option<f64>; 2] {
    let (mut prefers, mut labelled, mut count) = (0.0, 0.0, 0.0);
    for example in &batch.examples {
        let Example::Pair(pair) = example else { continue };
        let (more, less) = match lengths[pair.chosen].total_cmp(&lengths[pair.rejected]) {
            std::cmp::Ordering::Equal => continue,
            std::cmp::Ordering::Greater => (pair.chosen, pair.rejected),
            std::cmp::Ordering::Less => (pair.rejected, pair.chosen),
        };
        count += 1.0;
        prefers += f64::from(u8::from(rewards[more] > rewards[less]));
        let chosen = pair.label.probability();
        labelled += if more == pair.chosen { chosen } else { 1.0 - chosen };
    }
    [prefers, labelled].map(|sum| (count > 0.0).then(|| sum / count))
}

/// Accuracy of each source, largest first; where there is only one, that is the accuracy of all.
fn by_source(seen: &[Seen<'_>]) -> Metrics {
    let mut sources: BTreeMap<String, Vec<&Seen<'_>>> = BTreeMap::new();
    for one in seen {
        sources.entry(one.source.map_or("none".into(), named)).or_default().push(one);
    }
    if sources.len() < 2 {
        return Metrics::new();
    }
    let mut sources: Vec<(String, Vec<&Seen<'_>>)> = sources.into_iter().collect();
    sources.sort_by_key(|(_, seen)| std::cmp::Reverse(seen.len()));
    if sources.len() > MOST_SOURCES {
        let others = sources.split_off(MOST_SOURCES - 1).into_iter().flat_map(|(_, seen)| seen).collect();
        sources.push(("others".into(), others));
    }
    let number = |(name, seen): (String, Vec<&Seen<'_>>)| {
        Some((format!("eval/source/{name}/accuracy"), accuracy(seen.into_iter())?.estimate))
    };
    sources.into_iter().filter_map(number).collect()
}

/// A source as part of a metric's name.
fn named(source: &str) -> String {
    let fits = |c: char| if c.is_alphanumeric() || matches!(c, '_' | '-' | '.') { c } else { '-' };
    source.chars().take(40).map(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparisons::batch::{Making, Scored};
    use crate::comparisons::testing::{item, rule};
    use lapidary_text::Tokenizer;
    use serde_json::{Value, json};

    fn batch(rows: &[Value]) -> Batch {
        let (tokenizer, rule) = (Tokenizer::characters(), rule());
        let making = Making { tokenizer: &tokenizer, rule: &rule, longest: 100, scored: Scored::Nothing };
        let mut batch = Batch::default();
        for (at, row) in rows.iter().enumerate() {
            assert!(batch.push(&item(at, row.clone()), making).unwrap());
        }
        batch
    }

    fn get(metrics: &Metrics, name: &str) -> f64 {
        metrics.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name} in {metrics:?}")).1
    }

    /// Four comparisons: right by 2, wrong by 1, a draw, a tie. Confidences σ(2), σ(1), ½.
    #[test]
    fn comparisons_by_hand() {
        let pair = |chosen: &str, rejected: &str, source: &str| json!({"chosen": chosen, "rejected": rejected, "source": source});
        let mut rows =
            vec![pair("aaa", "b", "x"), pair("a", "bbb", "x"), pair("aa", "b", "y/z"), pair("a", "bb", "y/z")];
        rows[3]["label"] = json!(0.5);
        let found = report(&batch(&rows), &[2.0, 0.0, 0.0, 1.0, 1.0, 1.0, 5.0, 0.0]);
        assert_eq!(get(&found, "eval/pairs/count"), 4.0);
        assert!((get(&found, "eval/pairs/accuracy") - 1.0 / 3.0).abs() < 1e-12, "a draw is no win, a tie no question");
        let (s1, s2) = (sigmoid(1.0), sigmoid(2.0));
        let ece = ((1.0 - s2) + s1 + 0.5) / 3.0;
        assert!((get(&found, "eval/pairs/ece") - ece).abs() < 1e-12);
        let brier = ((1.0 - s2).powi(2) + s1.powi(2) + 0.25) / 3.0;
        assert!((get(&found, "eval/pairs/brier") - brier).abs() < 1e-12);
        // The longer of the four pairs: chosen, rejected, chosen, rejected; rewards prefer it in the first two.
        assert_eq!(get(&found, "eval/pairs/prefers_longer"), 0.5);
        assert_eq!(get(&found, "eval/pairs/longer_is_better"), (1.0 + 0.0 + 1.0 + 0.5) / 4.0);
        assert_eq!(get(&found, "eval/source/x/accuracy"), 0.5);
        assert_eq!(get(&found, "eval/source/y-z/accuracy"), 0.0);
        assert!(!found.iter().any(|(name, _)| name.ends_with("auroc")));
    }

    /// AUROC of specification C §5.2.
    #[test]
    fn judgements_by_hand() {
        let labels = [0, 0, 1, 1, 1, 0];
        let rows: Vec<Value> = labels.iter().map(|label| json!({"label": label, "source": "s"})).collect();
        let found = report(&batch(&rows), &[0.1, 0.4, 0.35, 0.8, 0.4, 0.7]);
        assert!((get(&found, "eval/pairs/auroc") - 0.611111).abs() < 1e-6);
        assert_eq!(get(&found, "eval/pairs/accuracy"), 0.5, "all rewards are above 0, half of the labels are good");
        assert!(!found.iter().any(|(name, _)| name.contains("source") || name.contains("longer")));
    }

    #[test]
    fn correlation_by_hand() {
        // Deviations (−1, 0, 1) and (−1, 1, 0): ⅓ / ⅔.
        assert!((correlation(&[1.0, 2.0, 3.0], &[0.0, 2.0, 1.0]).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(correlation(&[1.0, 1.0], &[0.0, 2.0]), None);
    }
}
