//! What a self-feedback step looks like, as `rlsf/…`.

use lapidary_core::StopReason;
use lapidary_eval::{Binning, Sure, calibrated};
use lapidary_reward::confidence::Statistic;

use super::record::{QuestionRecord, TraceRecord};
use crate::watch::Metrics;

/// The metrics of a step.
pub(super) fn metrics(records: &[QuestionRecord], statistic: Statistic) -> Metrics {
    let traces: Vec<&TraceRecord> = records.iter().flat_map(|record| &record.traces).collect();
    let mut out = Metrics::new();
    let mut push = |name: &str, value: f64| out.push((format!("rlsf/{name}"), value));
    let mut confidences: Vec<f64> = traces.iter().map(|trace| trace.confidence).collect();
    confidences.sort_by(f64::total_cmp);
    let (mean, deviation) = mean_and_deviation(&confidences);
    push("conf_mean", mean);
    push("conf_std", deviation);
    push("conf_p10", quantile(&confidences, 0.1));
    push("conf_p90", quantile(&confidences, 0.9));
    let share =
        |keep: &dyn Fn(&TraceRecord) -> bool| mean_of(traces.iter().map(|trace| f64::from(u8::from(keep(trace)))));
    push("span_found_rate", share(&|trace| trace.span.is_some()));
    push("truncated", share(&|trace| trace.stop == StopReason::Length));
    push("resp_len", mean_of(traces.iter().map(|trace| trace.tokens.len() as f64)));
    push("rep_ratio", mean_of(traces.iter().map(|trace| repeated(&trace.tokens))));
    let questions = records.len().max(1) as f64;
    let pairs = || records.iter().flat_map(|record| &record.pairs);
    push("pairs_per_q", pairs().count() as f64 / questions);
    push("q_without_pairs", records.iter().filter(|record| record.pairs.is_empty()).count() as f64);
    push("duplicates", records.iter().map(duplicates).sum::<usize>() as f64);
    if pairs().any(|pair| pair.margin.is_some()) {
        push("margin_mean", mean_of(pairs().filter_map(|pair| pair.margin)));
    }
    out.extend(against_gold(records, &traces, statistic));
    out
}

/// What the reference answers say, where there are any. Logged, never learned from.
fn against_gold(records: &[QuestionRecord], traces: &[&TraceRecord], statistic: Statistic) -> Metrics {
    let sure = |trace: &&TraceRecord| {
        Some(Sure { confidence: statistic.as_probability(trace.confidence), right: trace.right? })
    };
    let known: Vec<Sure> = traces.iter().filter_map(sure).collect();
    let mut out = Metrics::new();
    let Some(found) = calibrated(&known, Binning::EqualWidth) else { return out };
    let mut push = |name: &str, value: f64| out.push((format!("rlsf/{name}"), value));
    if let Some(auroc) = found.auroc {
        push("conf_correct_auroc", auroc);
    }
    push("ece", found.ece);
    push("brier", found.brier);
    let right = |pick: &dyn Fn(&QuestionRecord) -> Option<usize>| {
        let of = |record: &QuestionRecord| {
            let judged = record.traces.iter().any(|trace| trace.right.is_some());
            judged.then(|| pick(record).is_some_and(|at| record.traces[at].right == Some(true)))
        };
        mean_of(records.iter().filter_map(of).map(|right| f64::from(u8::from(right))))
    };
    push("accuracy_greedy", right(&|_| Some(0)));
    push("accuracy_surest", right(&surest));
    push("accuracy_aggregated", right(&|record| record.aggregated));
    out
}

/// argmax_k Δ_k; among equals the likeliest first token.
fn surest(record: &QuestionRecord) -> Option<usize> {
    (0..record.traces.len())
        .reduce(|best, at| if record.traces[at].confidence > record.traces[best].confidence { at } else { best })
}

/// Traces with the words of an earlier one.
fn duplicates(record: &QuestionRecord) -> usize {
    let text = |at: usize| record.traces[at].text.trim();
    (1..record.traces.len()).filter(|&at| (0..at).any(|other| text(other) == text(at))).count()
}

/// Share of three-token runs that were there before.
fn repeated(tokens: &[u32]) -> f64 {
    let mut runs: Vec<&[u32]> = tokens.windows(3).collect();
    let all = runs.len();
    runs.sort_unstable();
    runs.dedup();
    if all == 0 { 0.0 } else { 1.0 - runs.len() as f64 / all as f64 }
}

/// The value below which a share of the sorted values lies, by linear interpolation; 0 of none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = share * last as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

fn mean_of(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0usize, 0.0), |(count, sum), value| (count + 1, sum + value));
    sum / count.max(1) as f64
}

/// Mean and deviation (of the whole); 0 of none.
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let mean = mean_of(values.iter().copied());
    (mean, mean_of(values.iter().map(|value| (value - mean).powi(2))).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapidary_core::PromptText;
    use lapidary_reward::confidence::{Ranking, Trace};

    fn trace(text: &str, confidence: f64, right: Option<bool>) -> TraceRecord {
        TraceRecord {
            tokens: vec![1, 2, 1, 2, 1, 2],
            text: text.into(),
            logp: Vec::new(),
            top: Default::default(),
            entropy: Vec::new(),
            span: (confidence > 0.0).then_some([0, 1]),
            answer: Some(text.into()),
            probe: None,
            confidence,
            stop: if confidence > 0.0 { StopReason::Eos } else { StopReason::Length },
            right,
        }
    }

    fn record(traces: Vec<TraceRecord>) -> QuestionRecord {
        let ranked: Vec<Trace<'_>> = traces
            .iter()
            .map(|t| Trace { text: &t.text, answer: t.answer.as_deref(), confidence: t.confidence })
            .collect();
        let pairs = Ranking::default().pairs(&ranked);
        let prompt = PromptText::Text("?".into());
        QuestionRecord { id: "q".into(), prompt, answer: None, traces, aggregated: Some(1), pairs }
    }

    #[test]
    fn what_a_step_looks_like() {
        let first = record(vec![
            trace("4", 0.5, Some(false)),
            trace("5", 1.0, Some(true)),
            trace("5", 0.9, Some(true)),
            trace("", 0.0, Some(false)),
        ]);
        let second = record(vec![trace("6", 0.6, Some(true)), trace("7", 0.2, Some(false))]);
        let metrics = metrics(&[first, second], Statistic::default());
        let get = |name: &str| metrics.iter().find(|(known, _)| known == &format!("rlsf/{name}")).unwrap().1;
        assert!((get("conf_mean") - 3.2 / 6.0).abs() < 1e-12);
        // Sorted 0, .2, .5, .6, .9, 1: place .5 is .1, place 4.5 is .95.
        assert!((get("conf_p10") - 0.1).abs() < 1e-12 && (get("conf_p90") - 0.95).abs() < 1e-12);
        assert!((get("span_found_rate") - 5.0 / 6.0).abs() < 1e-12);
        assert!((get("truncated") - 1.0 / 6.0).abs() < 1e-12);
        // 5 over 4 alone: the second 5 is a duplicate, the last has no words.
        assert_eq!((get("pairs_per_q"), get("q_without_pairs"), get("duplicates")), (0.5, 1.0, 1.0));
        assert!((get("margin_mean") - 0.5f64.exp()).abs() < 1e-12);
        // Runs 121, 212, 121, 212: half were there before.
        assert_eq!(get("rep_ratio"), 0.5);
        assert_eq!([get("accuracy_greedy"), get("accuracy_surest"), get("accuracy_aggregated")], [0.5, 1.0, 0.5]);
        assert_eq!(get("conf_correct_auroc"), 1.0);
        assert!((get("brier") - (0.25 + 0.0 + 0.01 + 0.0 + 0.16 + 0.04) / 6.0).abs() < 1e-12);
        assert!((get("ece") - (0.5 + 0.0 + 0.1 + 0.0 + 0.4 + 0.2) / 6.0).abs() < 1e-12);
    }

    #[test]
    fn without_gold_nothing_is_said_of_it() {
        let metrics = metrics(&[record(vec![trace("6", 0.6, None)])], Statistic::default());
        assert!(metrics.iter().all(|(name, _)| !name.contains("accuracy") && name != "rlsf/ece"), "{metrics:?}");
        assert!(super::metrics(&[], Statistic::default()).iter().all(|(_, value)| value.is_finite()));
    }
}
