//! From rows of metrics to charts: which curves, smoothed how, split where.

use super::data::ReportData;
use super::svg::{Chart, Piece, Span, range};
use super::text::{number, percent, prose};
use crate::metrics::{Metric, Row, describe};

/// Below this many points a curve is drawn as it is.
const SMOOTH_FROM: usize = 30;
/// Mean bend between neighbours, as a share of the range, above which a curve is smoothed.
const SMOOTH_ABOVE: f64 = 0.003;
/// A curve whose stages differ in scale by more than this is drawn as one chart per stage.
const SPLIT_FACTOR: f64 = 8.0;
/// Curves that answer most questions, in reading order; the others are folded away.
const FIRST: &[&str] = &[
    "entropy",
    "kl",
    "approx_kl",
    "completions/mean_length",
    "completions/clipped_ratio",
    "clip_ratio/region_mean",
    "grad_norm",
    "frac_reward_zero_std",
    "one_shot/accuracy",
    "one_shot/zero_advantage",
    "one_shot/post_saturation_change",
    "one_shot/train_garble_ratio",
    "one_shot/eval_garble_ratio",
    "one_shot/reflection_words",
    "one_shot/boxed_ratio",
    "loss",
    "learning_rate",
];
/// Numbers that have a chart of their own elsewhere on the page, or none because they only belong to one.
const ELSEWHERE: &[&str] = &["reward", "reward_std", "eval/accuracy", "eval/accuracy_low", "eval/accuracy_high"];

/// Stages as shaded parts of the axis.
pub(super) fn spans(data: &ReportData) -> Vec<Span> {
    let span = |stage: &super::data::StageData| Span {
        label: stage.name.clone(),
        from: stage.first_step.saturating_sub(1) as f64,
        to: (stage.first_step + stage.steps).saturating_sub(1) as f64,
    };
    let stages: Vec<Span> = data.stages.iter().map(span).collect();
    let learned = saturation(data).map(|(stage, step)| Span {
        label: "saturated".to_string(),
        from: step,
        to: stages.get(stage.wrapping_sub(1)).map_or(step, |stage| stage.to),
    });
    stages.iter().cloned().chain(learned).collect()
}

/// The stage and the step in which the example of a one-shot stage was learned.
fn saturation(data: &ReportData) -> Option<(usize, f64)> {
    let row = data.rows.iter().rev().find(|row| row.get("one_shot/saturation_step").is_some_and(|step| step > 0.0))?;
    Some((row.stage, row.get("one_shot/saturation_step")?))
}

/// The horizontal axis: from 0 to the last step seen.
pub(super) fn steps(data: &ReportData) -> (f64, f64) {
    let rows = data.rows.iter().map(|row| row.step);
    let last = rows.chain(data.evaluations.iter().map(|evaluation| evaluation.step)).max().unwrap_or(1);
    (0.0, last.max(1) as f64)
}

/// A metric's values, one list per stage that has any: `(stage, [(step, value)])`.
fn by_stage(rows: &[Row], name: &str) -> Vec<(usize, Vec<(f64, f64)>)> {
    let mut out: Vec<(usize, Vec<(f64, f64)>)> = Vec::new();
    for row in rows {
        let Some(value) = row.get(name) else { continue };
        match out.last_mut() {
            Some((stage, points)) if *stage == row.stage => points.push((row.step as f64, value)),
            _ => out.push((row.stage, vec![(row.step as f64, value)])),
        }
    }
    out
}

/// A centred mean over about a tenth of the points, weighted less with distance so that one spike does not become a
/// plateau; ends use what there is.
fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let half = (points.len() / 20).clamp(1, 50);
    let mean = |at: usize| {
        let start = at.saturating_sub(half);
        let near = &points[start..(at + half + 1).min(points.len())];
        let weight = |offset: usize| (half + 1 - (start + offset).abs_diff(at)) as f64;
        let sum = near.iter().enumerate().map(|(offset, point)| weight(offset) * point.1).sum::<f64>();
        sum / (0..near.len()).map(weight).sum::<f64>()
    };
    points.iter().enumerate().map(|(at, point)| (point.0, mean(at))).collect()
}

/// Whether neighbours differ by more than a curve of that range would: schedules and counters are drawn as they are.
fn noisy(points: &[(f64, f64)]) -> bool {
    let bend = |three: &[(f64, f64)]| (three[1].1 - (three[0].1 + three[2].1) / 2.0).abs();
    let bends = points.windows(3).map(bend).sum::<f64>() / points.len() as f64;
    let (low, high) = range(points.iter().map(|point| point.1));
    bends > SMOOTH_ABOVE * (high - low)
}

fn piece(points: Vec<(f64, f64)>) -> Piece {
    if points.len() < SMOOTH_FROM || !noisy(&points) {
        return Piece { line: points, ..Piece::default() };
    }
    Piece { line: smooth(&points), raw: points, band: Vec::new() }
}

fn shows(name: &str) -> fn(f64) -> String {
    if describe(name).is_some_and(|metric| metric.unit == "share") { percent } else { number }
}

/// Held-out accuracy against the step, whiskers or band at 95 %.
pub(super) fn accuracy(data: &ReportData) -> Option<String> {
    if data.evaluations.len() < 2 {
        return None;
    }
    let of = |evaluation: &super::data::EvaluationData| {
        let a = evaluation.accuracy;
        ((evaluation.step as f64, a.estimate), (evaluation.step as f64, a.low, a.high))
    };
    let (line, band) = data.evaluations.iter().map(of).unzip();
    let top = data.evaluations.iter().map(|evaluation| evaluation.accuracy.high).fold(0.1, f64::max);
    let chart = Chart {
        title: "held-out accuracy against the step",
        width: 420.0,
        height: 220.0,
        pieces: &[Piece { line, raw: Vec::new(), band }],
        spans: &spans(data),
        steps: steps(data),
        limits: Some((0.0, (top * 1.04).min(1.0))),
        show: percent,
    };
    let caption = "dots are evaluations, bars and band their 95 % intervals";
    Some(figure("eval/accuracy", "Held-out accuracy", caption, &chart.draw()))
}

/// Mean reward against the step, with the spread inside a prompt as band.
pub(super) fn reward(data: &ReportData) -> Option<String> {
    let spread = by_stage(&data.rows, "reward_std");
    let mut pieces = Vec::new();
    for (stage, points) in by_stage(&data.rows, "reward") {
        let mut one = piece(points);
        let deviations = spread.iter().find(|(other, _)| *other == stage).map(|(_, points)| points.as_slice());
        let deviations = deviations.unwrap_or_default();
        if deviations.len() == one.line.len() && deviations.len() >= 2 {
            let smoothed = if deviations.len() < SMOOTH_FROM { deviations.to_vec() } else { smooth(deviations) };
            one.band = one.line.iter().zip(&smoothed).map(|(m, s)| (m.0, m.1 - s.1, m.1 + s.1)).collect();
        }
        pieces.push(one);
    }
    if pieces.is_empty() {
        return None;
    }
    let chart = Chart {
        title: "mean reward against the step",
        width: 420.0,
        height: 220.0,
        pieces: &pieces,
        spans: &spans(data),
        steps: steps(data),
        limits: None,
        show: number,
    };
    let caption = "running mean (faint: every step); band: ± spread of the answers to one prompt";
    Some(figure("reward", "Reward in training", caption, &chart.draw()))
}

fn figure(name: &str, title: &str, caption: &str, svg: &str) -> String {
    let about = describe(name).map(about).unwrap_or_default();
    format!(
        "<figure><figcaption><b>{}</b> <small>{}</small></figcaption>{svg}{about}</figure>",
        prose(title),
        prose(caption)
    )
}

/// What a metric is, and what good and bad look like.
fn about(metric: &Metric) -> String {
    format!(
        "<details><summary>{}</summary><p><b class=\"good\">Good:</b> {}.</p><p><b class=\"bad\">Bad:</b> {}.</p>\
         <p><code>{}</code></p></details>",
        prose(metric.what),
        prose(metric.good),
        prose(metric.bad),
        super::text::escape(metric.name)
    )
}

/// Charts of everything else.
pub(super) struct SmallMultiples {
    /// Those that answer most questions.
    pub first: Vec<String>,
    /// The rest.
    pub others: Vec<String>,
    /// Metrics that never changed: name, value, what they are.
    pub constant: Vec<(String, String, String)>,
}

/// Every metric of the rows but those shown elsewhere, in the order of reading.
pub(super) fn small_multiples(data: &ReportData) -> SmallMultiples {
    let mut names: Vec<&str> = FIRST.to_vec();
    for (name, _) in data.rows.iter().flat_map(|row| &row.values) {
        if !names.contains(&name.as_str()) && !ELSEWHERE.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let mut out = SmallMultiples { first: Vec::new(), others: Vec::new(), constant: Vec::new() };
    for name in names {
        let stages = by_stage(&data.rows, name);
        let values = || stages.iter().flat_map(|(_, points)| points.iter().map(|point| point.1));
        let Some(first) = values().next() else { continue };
        if values().count() > 1 && values().all(|value| value == first) {
            let what =
                describe(name).map_or_else(String::new, |metric| format!("{}. Good: {}", metric.what, metric.good));
            out.constant.push((name.to_string(), shows(name)(first), what));
            continue;
        }
        let charts = if differ_in_scale(&stages) {
            stages.iter().map(|(stage, points)| small(data, name, Some(*stage), &[(*stage, points.clone())])).collect()
        } else {
            vec![small(data, name, None, &stages)]
        };
        if FIRST.contains(&name) { out.first.extend(charts) } else { out.others.extend(charts) }
    }
    out
}

fn differ_in_scale(stages: &[(usize, Vec<(f64, f64)>)]) -> bool {
    let size = |points: &[(f64, f64)]| points.iter().map(|point| point.1.abs()).fold(0.0, f64::max);
    let sizes = || stages.iter().map(|(_, points)| size(points));
    let (small, large) = (sizes().fold(f64::INFINITY, f64::min), sizes().fold(0.0, f64::max));
    stages.len() > 1 && large > SPLIT_FACTOR * small
}

/// The axis of a small chart: the stages that have the metric, without those that do not.
fn seen_steps(data: &ReportData, stages: &[(usize, Vec<(f64, f64)>)], spans: &[Span]) -> (f64, f64) {
    let first = stages.first().and_then(|(stage, _)| spans.get(stage.wrapping_sub(1)));
    let last = stages.last().and_then(|(stage, _)| spans.get(stage.wrapping_sub(1)));
    let (start, end) = steps(data);
    let from = first.map_or(start, |span| span.from);
    (from, last.map_or(end, |span| span.to.min(end)).max(from + 1.0))
}

/// A range of all that is drawn boldly and of the middle 96 % of what is drawn faintly: one spike flattens nothing.
fn robust_range(pieces: &[Piece]) -> (f64, f64) {
    let mut raw: Vec<f64> = pieces.iter().flat_map(|piece| &piece.raw).map(|point| point.1).collect();
    raw.sort_by(f64::total_cmp);
    let cut = raw.len() / 50;
    let middle = &raw[cut..raw.len() - cut];
    let bold = pieces.iter().flat_map(|piece| &piece.line).map(|point| point.1);
    range(bold.chain(middle.iter().copied()))
}

fn small(data: &ReportData, name: &str, stage: Option<usize>, stages: &[(usize, Vec<(f64, f64)>)]) -> String {
    let metric = describe(name);
    let show = shows(name);
    let pieces: Vec<Piece> = stages.iter().map(|(_, points)| piece(points.clone())).collect();
    let ends = |piece: &Piece| Some((piece.line.first()?.1, piece.line.last()?.1));
    let (first, last) = (pieces.first().and_then(ends), pieces.last().and_then(ends));
    let change = match (first, last) {
        (Some((from, _)), Some((_, to))) if show(from) != show(to) => format!("{} → <b>{}</b>", show(from), show(to)),
        (_, Some((_, to))) => format!("<b>{}</b>", show(to)),
        _ => String::new(),
    };
    let all_spans = spans(data);
    let (spans, steps) = match stage.and_then(|stage| all_spans.get(stage.wrapping_sub(1))) {
        Some(span) => (vec![span.clone()], (span.from, span.to.min(steps(data).1).max(span.from + 1.0))),
        None => (all_spans.clone(), seen_steps(data, stages, &all_spans)),
    };
    let limits = robust_range(&pieces);
    let title = metric.filter(|metric| metric.name == name).map_or(name, |metric| metric.title);
    let unit = metric.map_or("", |metric| metric.unit);
    let chart =
        Chart { title, width: 360.0, height: 150.0, pieces: &pieces, spans: &spans, steps, limits: Some(limits), show };
    let suffix = stage.and_then(|stage| data.stages.get(stage.wrapping_sub(1)));
    let title = suffix.map_or_else(|| title.to_string(), |stage| format!("{title}, {}", stage.name));
    let unit = if unit.is_empty() || unit == "share" { String::new() } else { format!(" <small>{unit}</small>") };
    let unknown = || format!("<details><summary><code>{}</code></summary></details>", super::text::escape(name));
    format!(
        "<figure><figcaption><span>{change}{unit}</span><b>{}</b></figcaption>{}{}</figure>",
        prose(&title),
        chart.draw(),
        metric.map_or_else(unknown, about)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_constants_and_straight_lines_inside() {
        let points: Vec<(f64, f64)> = (0..100).map(|i| (f64::from(i), 2.0 * f64::from(i))).collect();
        let smoothed = smooth(&points);
        assert_eq!(smoothed.len(), 100);
        assert!((smoothed[50].1 - 100.0).abs() < 1e-12);
        assert!((smoothed[0].1 - 140.0 / 42.0).abs() < 1e-12); // Σ (6−i)·2i / Σ (6−i) over i = 0..=5 is 70/21
        assert!(!noisy(&points));
        let jagged: Vec<_> = points.iter().map(|p| (p.0, p.0 % 2.0)).collect();
        assert!(noisy(&jagged));
    }

    #[test]
    fn stages_of_another_scale_get_their_own_chart() {
        let stage = |stage, size: f64| (stage, vec![(1.0, size), (2.0, -size)]);
        assert!(differ_in_scale(&[stage(1, 2.0), stage(2, 0.01)]));
        assert!(!differ_in_scale(&[stage(1, 2.0), stage(2, 1.0)]));
        assert!(!differ_in_scale(&[stage(1, 2.0)]));
    }
}
