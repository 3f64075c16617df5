//! Proxy and truth: what a reward model says and what else was measured, over how far the policy has moved.
//!
//! The first rises with the KL for as long as anybody optimises it; where the second turns round, the policy has begun to exploit the
//! first (Gao et al. 2023, arXiv 2210.10760).

use super::data::ReportData;
use super::svg::{Chart, Piece};
use super::text::{escape, number};

/// What a reward model says, under its usual label.
const PROXY: &str = "rewards/model/mean";
/// Neighbours in KL that a point of the line is the mean of, on each side.
const NEAR: usize = 4;
/// Fewer steps say nothing about a trend.
const FEWEST: usize = 8;

/// The section; empty where no reward model was asked beside another reward.
pub(super) fn section(data: &ReportData) -> String {
    let truths = truths(data);
    if truths.is_empty() {
        return String::new();
    }
    let names = std::iter::once(PROXY.to_string()).chain(truths);
    let charts: Vec<String> = names.filter_map(|name| chart(data, &name)).collect();
    if charts.len() < 2 {
        return String::new();
    }
    format!(
        "<h2>Proxy and truth <small>against the KL to the reference per answer, in nats: where the reward model rises and the other \
         falls, the reward model is being exploited</small></h2><div class=\"grid\">{}</div>\n",
        charts.concat()
    )
}

/// Other rewards that were measured in the steps in which the reward model was asked.
fn truths(data: &ReportData) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for row in data.rows.iter().filter(|row| row.get(PROXY).is_some()) {
        let others = row.values.iter().map(|(name, _)| name);
        let others = others.filter(|name| name.starts_with("rewards/") && name.ends_with("/mean") && *name != PROXY);
        for name in others {
            if !out.contains(name) {
                out.push(name.clone());
            }
        }
    }
    out
}

fn chart(data: &ReportData, name: &str) -> Option<String> {
    let point = |row: &crate::metrics::Row| {
        row.get(PROXY)?;
        Some((row.get("kl")? * row.get("completions/mean_length")?, row.get(name)?))
    };
    let mut points: Vec<(f64, f64)> = data.rows.iter().filter_map(point).collect();
    if points.len() < FEWEST {
        return None;
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mean = |at: usize| {
        let near = &points[at.saturating_sub(NEAR)..(at + NEAR + 1).min(points.len())];
        near.iter().map(|point| point.1).sum::<f64>() / near.len() as f64
    };
    let line = (0..points.len()).map(|at| (points[at].0, mean(at))).collect();
    let steps = (points[0].0.min(0.0), points[points.len() - 1].0);
    let label = name.trim_start_matches("rewards/").trim_end_matches("/mean");
    let title = format!("{label} against the KL");
    let pieces = [Piece { line, raw: points, band: Vec::new() }];
    let svg = Chart {
        title: &title,
        width: 420.0,
        height: 220.0,
        pieces: &pieces,
        spans: &[],
        steps,
        limits: None,
        show: number,
    }
    .draw()
    .replace("<title>step ", "<title>KL ");
    Some(format!(
        "<figure><figcaption><b>{}</b> <small>mean of neighbours in KL</small></figcaption>{svg}</figure>",
        escape(label)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Row;

    fn data(steps: u64, more: &[&str]) -> ReportData {
        let row = |step: u64| {
            let mut row = Row::new(step, 1, "ppo").with("kl", 0.01 * step as f64).with("completions/mean_length", 10.0);
            for name in more {
                row = row.with(*name, step as f64);
            }
            row
        };
        ReportData { rows: (1..=steps).map(row).collect(), ..ReportData::default() }
    }

    #[test]
    fn proxy_and_truth_are_drawn_where_both_are_known() {
        let both = [PROXY, "rewards/truth/mean"];
        let page = section(&data(20, &both));
        assert!(page.contains("<b>model</b>") && page.contains("<b>truth</b>"), "{page}");
        assert!(page.contains("KL 2: "), "the axis ends at a KL of 0.2 · 10 nats: {page}");
        assert_eq!(section(&data(20, &both[..1])), "", "nothing to compare with");
        assert_eq!(section(&data(20, &both[1..])), "");
        assert_eq!(section(&data(5, &both)), "", "too few steps");
    }
}
