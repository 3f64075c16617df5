//! The report for people, in at most 80 columns.

use std::fmt::Write as _;

use super::decide::SRM_ALPHA;
use super::plan::Better;
use super::report::{Bound, Decision, MetricReport, Report};

/// Columns of a line.
const WIDTH: usize = 80;
/// Characters of a name that are shown.
const NAME: usize = 36;
/// Looks and segments that are shown; `--json` has all.
const SHOWN: usize = 14;

/// The report as text.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    head(report, &mut out);
    for decision in &report.decisions {
        let word = match decision.decision {
            Decision::Ship => "ship",
            Decision::Hold => "hold",
            Decision::RollBack => "roll back",
        };
        line(&mut out, &format!("\n{} against {}: {word}", name(&decision.arm), name(&report.control)));
        for reason in &decision.reasons {
            wrapped(&mut out, "  - ", &printable(reason));
        }
        for metric in report.metrics.iter().filter(|metric| metric.arm == decision.arm) {
            out.push('\n');
            show(metric, report, &mut out);
        }
    }
    segments(report, &mut out);
    if !report.notes.is_empty() {
        line(&mut out, "\nnotes");
        report.notes.iter().for_each(|note| wrapped(&mut out, "  - ", &printable(note)));
    }
    out
}

fn line(out: &mut String, text: &str) {
    // Writing to a text cannot fail.
    let _ = writeln!(out, "{}", text.trim_end());
}

fn head(report: &Report, out: &mut String) {
    let test = match report.test {
        "sequential" => "always-valid test",
        _ => "fixed-horizon test (one look)",
    };
    let rows = if report.rows == report.units { String::new() } else { format!(" from {} rows", grouped(report.rows)) };
    line(
        out,
        &format!("{} units{rows}, {} arms; {test}, α = {}", grouped(report.units), report.arms.len(), report.alpha),
    );
    out.push('\n');
    for arm in &report.arms {
        let (share, expected) = (100.0 * arm.share, 100.0 * arm.expected_share);
        line(
            out,
            &format!("  {:NAME$} {:>12}  {share:5.1} %, planned {expected:.1} %", name(&arm.arm), grouped(arm.units)),
        );
    }
    if let Some(p) = report.srm_p {
        let word = if p < SRM_ALPHA { "NOT as planned: nothing below can be trusted" } else { "as planned" };
        line(out, &format!("  sample ratio p = {}: {word}", probability(p)));
    }
    if let Some(trigger) = &report.triggered {
        let shares: Vec<String> = trigger.shares.iter().map(|share| format!("{:.1} %", 100.0 * share)).collect();
        let p = trigger.p.map_or("unknown".into(), probability);
        let word = if trigger.p.is_some_and(|p| p < SRM_ALPHA) { ": it depends on the arm" } else { "" };
        wrapped(out, "  ", &format!("triggered: {}; p = {p}{word}", shares.join(", ")));
    }
}

fn show(metric: &MetricReport, report: &Report, out: &mut String) {
    let label = format!("  {} ({}, {})", name(&metric.metric), metric.role, metric.kind);
    let pad = WIDTH.saturating_sub(label.chars().count() + metric.decision.len()).max(1);
    line(out, &format!("{label}{}{}", " ".repeat(pad), metric.decision));
    if let (Some(c), Some(t)) = (metric.mean_c, metric.mean_t) {
        let (n_c, n_t) = (grouped(metric.n_c), grouped(metric.n_t));
        row(out, "means", &format!("{} (n {n_c}) → {} (n {n_t})", number(c), number(t)));
    }
    let sequential = report.test == "sequential";
    if let Some(diff) = metric.diff {
        row(out, "difference", &effect(diff, metric.ci_fixed, metric.p_fixed));
        if sequential || !metric.looks.is_empty() {
            row(out, "any time", &effect(diff, metric.ci_seq, metric.p_seq));
        }
    }
    if let (Some(lift), Some([low, high])) = (metric.lift, metric.ci_lift) {
        row(out, "relative", &format!("{} [{}, {}]", percent(lift), percent(low), percent(high)));
    }
    if let Some([low, high]) = metric.ci_bootstrap {
        row(out, "bootstrap", &format!("[{}, {}]", signed(low), signed(high)));
    }
    if let Some(cuped) = &metric.cuped {
        row(out, "covariates", &format!("{}, r² {:.3}", effect(cuped.diff, cuped.ci_fixed, cuped.p_fixed), cuped.r2));
        if sequential || !metric.looks.is_empty() {
            row(out, "  any time", &effect(cuped.diff, cuped.ci_seq, cuped.p_seq));
        }
    }
    if let Some(guardrail) = &metric.guardrail {
        let direction = if metric.better == Better::Up { "fall" } else { "rise" };
        let margin = match guardrail.relative_margin {
            Some(share) => format!("{} %", number(100.0 * share)),
            None => number(guardrail.margin),
        };
        let p = if sequential { guardrail.p_seq } else { guardrail.p };
        let p = p.map_or("unknown".into(), probability);
        row(out, "margin", &format!("may {direction} by {margin}: p = {p} that it does not"));
    }
    if let Some(p) = metric.p_adjusted {
        let by = if metric.role == "exploratory" { "Benjamini–Hochberg" } else { "Holm" };
        row(out, "adjusted", &format!("p = {} ({by})", probability(p)));
    }
    if let Some(reason) = &metric.reason {
        row(out, "why", &printable(reason));
    }
    over_time(metric, out);
}

fn over_time(metric: &MetricReport, out: &mut String) {
    let skip = metric.looks.len().saturating_sub(SHOWN);
    if skip > 0 {
        row(out, "looks", &format!("{skip} earlier ones; --json shows all"));
    }
    for look in &metric.looks[skip..] {
        let day: String = printable(&look.day).chars().take(10).collect();
        row(out, &day, &effect(look.diff, Some(look.ci_seq), Some(look.p_seq)));
    }
    if let Some(novelty) = &metric.novelty {
        let text = format!("{} per day of exposure, p = {}", signed(novelty.slope), probability(novelty.p));
        row(out, "novelty", &text);
    }
}

fn segments(report: &Report, out: &mut String) {
    if report.segments.is_empty() {
        return;
    }
    line(out, "\nsegments (for ideas; p by Benjamini–Hochberg)");
    for segment in report.segments.iter().take(SHOWN) {
        line(out, &format!("\n  {} · {} · {}", name(&segment.segment), name(&segment.metric), name(&segment.arm)));
        match segment.diff {
            Some(diff) => row(out, "difference", &effect(diff, segment.ci_fixed, segment.p_adjusted)),
            None => row(out, "difference", "cannot be measured"),
        }
    }
    if report.segments.len() > SHOWN {
        line(out, &format!("  … and {} more; --json shows all", report.segments.len() - SHOWN));
    }
}

fn row(out: &mut String, label: &str, text: &str) {
    let whole = format!("    {label:11} {text}");
    if whole.chars().count() <= WIDTH { line(out, &whole) } else { wrapped(out, &format!("    {label:11} "), text) }
}

fn effect(diff: f64, ci: Option<Bound>, p: Option<f64>) -> String {
    let ci = ci.map_or(String::new(), |[low, high]| format!(" [{}, {}]", signed(low), signed(high)));
    let p = p.map_or(String::new(), |p| format!("  p = {}", probability(p)));
    format!("{}{ci}{p}", signed(diff))
}

/// Four digits, without an exponent where that is readable.
fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        return "0".into();
    }
    if !(1e-4..1e7).contains(&size) {
        return format!("{value:.3e}");
    }
    let decimals = (3 - size.log10().floor() as i32).max(0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

fn signed(value: f64) -> String {
    let text = number(value);
    if value > 0.0 { format!("+{text}") } else { text }
}

fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent.abs() < 1e6 { format!("{percent:+.1} %") } else { format!("{percent:+.2e} %") }
}

fn probability(p: f64) -> String {
    if p < 1e-4 && p > 0.0 { format!("{p:.1e}") } else { format!("{p:.4}") }
}

fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

fn name(text: &str) -> String {
    let text = printable(text);
    if text.chars().count() <= NAME { text } else { text.chars().take(NAME - 1).chain(['…']).collect() }
}

fn wrapped(out: &mut String, bullet: &str, text: &str) {
    let (mut current, indent) = (bullet.to_string(), " ".repeat(bullet.chars().count()));
    let mut empty = true;
    for word in text.split(' ') {
        if !empty && current.chars().count() + 1 + word.chars().count() > WIDTH {
            line(out, &current);
            current.clone_from(&indent);
            empty = true;
        }
        if !empty {
            current.push(' ');
        }
        current.push_str(word);
        empty = false;
    }
    line(out, &current);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_exact_enough() {
        for (value, expected) in [
            (0.0, "0"),
            (0.05, "0.05"),
            (0.000123456, "0.0001235"),
            (12.0, "12"),
            (1234.5678, "1235"),
            (-0.00001234, "-1.234e-5"),
            (2e9, "2.000e9"),
        ] {
            assert_eq!(number(value), expected);
        }
        assert_eq!(
            (signed(0.5), signed(-0.5), grouped(1234567), grouped(12)),
            ("+0.5".into(), "-0.5".into(), "1,234,567".into(), "12".into())
        );
        assert_eq!(
            (probability(0.0), probability(1.2e-10), probability(0.04321)),
            ("0.0000".into(), "1.2e-10".into(), "0.0432".into())
        );
    }

    #[test]
    fn lines_are_broken_at_words() {
        let mut out = String::new();
        wrapped(&mut out, "  - ", &"word ".repeat(40));
        assert!(out.lines().count() == 3 && out.lines().all(|line| line.chars().count() <= WIDTH), "{out}");
        assert_eq!(name(&"x".repeat(50)).chars().count(), NAME);
        assert_eq!(name("a\x1b[31m"), "a[31m");
    }
}
