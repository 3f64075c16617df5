//! `report.html`: what a run did, on one page that needs nothing but a browser.
//!
//! The page holds no script and may load nothing (a content security policy says so); every text of the run is escaped.
//! [`render`] is a pure function of [`ReportData`].

mod curves;
mod data;
mod over_optimisation;
mod reliability;
pub(crate) mod svg;
pub(crate) mod text;
mod transitions;

pub use data::{
    AnswerData, CalibrationData, CheckpointData, DifferenceData, EvaluationData, Measured, ReportData, SampleData,
    StageData, Status, WarningData,
};

use svg::IntervalRow;
use text::{bytes, count, escape, excerpt, number, percent, points, prose, scaled};

/// Samples on the page; more are left to `rollouts/`.
const SHOWN_SAMPLES: usize = 12;
/// Warnings on the page.
const SHOWN_WARNINGS: usize = 20;

const STYLE: &str = include_str!("style.css");
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// The whole page.
pub fn render(data: &ReportData) -> String {
    let sections = [
        header(data),
        results(data),
        reliability::section(&data.calibrations),
        warnings(data),
        transitions::section(data),
        over_optimisation::section(data),
        training(data),
        samples(data),
        details(data),
        "<footer>Written by Lapidary. The numbers are those of <code>metrics.jsonl</code> in the run's directory.</footer>"
            .to_string(),
    ];
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{} · Lapidary</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{}</main>\n</body>\n</html>\n",
        escape(&data.name),
        sections.concat()
    )
}

fn header(data: &ReportData) -> String {
    let (class, status) = match &data.status {
        Status::Finished => ("finished", "finished".to_string()),
        Status::Unfinished { done, total } => ("unfinished", format!("step {done} of {total}")),
        Status::Failed { why } => ("failed", format!("failed: {why}")),
    };
    format!(
        "<header><h1>{} <span class=\"status {class}\">{}</span></h1><p class=\"lead\">{}</p></header>\n",
        escape(&data.name),
        escape(&status),
        sentence(data)
    )
}

/// What the run did, and what came of it.
fn sentence(data: &ReportData) -> String {
    let parameters = data.parameters.map_or(String::new(), |n| format!(" ({} parameters)", scaled(n)));
    let stage = |stage: &StageData| {
        format!("{} of <b>{}</b> on {}", count(stage.steps, "step"), escape(&stage.name), escape(&stage.task))
    };
    let stages = data.stages.iter().map(stage).collect::<Vec<_>>().join(", then ");
    let mut out = format!("Trained <b>{}</b>{parameters}: {stages}.", escape(&data.model));
    if let Some(change) = data.differences.first() {
        let Measured { estimate, low, high } = change.difference;
        let verdict = match (low > 0.0, high < 0.0) {
            (true, _) => "more than chance explains",
            (_, true) => "a loss that chance does not explain",
            _ => "which may be chance: evaluate on more prompts to tell",
        };
        out.push_str(&format!(
            " On {} held-out prompts accuracy changed by <b>{} points</b> from {} to {} (95 % interval {} to {}), {verdict}.",
            change.prompts,
            points(estimate),
            escape(&change.from),
            escape(&change.to),
            points(low),
            points(high)
        ));
    } else if data.evaluations.is_empty() {
        out.push_str(" It was not evaluated on held-out prompts, so nothing here says how well it generalises.");
    }
    out
}

fn results(data: &ReportData) -> String {
    let milestones = data.milestones();
    let mut left = String::new();
    if let (Some(first), Some(last)) = (milestones.first(), milestones.last()) {
        left.push_str(&headline(first, last));
        let rows: Vec<IntervalRow> = milestones
            .iter()
            .enumerate()
            .map(|(at, evaluation)| {
                let Measured { estimate, low, high } = evaluation.accuracy;
                let value =
                    format!("{} [{} to {}]", percent(estimate), percent(low).trim_end_matches(" %"), percent(high));
                let strong = at + 1 == milestones.len();
                IntervalRow { label: data.label(evaluation), value, estimate, low, high, strong }
            })
            .collect();
        left.push_str("<h3>Accuracy on held-out prompts <small>with 95 % intervals</small></h3>");
        left.push_str(&svg::intervals("accuracy on held-out prompts", &rows, (0.0, 1.0), percent));
        left.push_str(&differences(data));
        let unjudged: usize = milestones.iter().map(|evaluation| evaluation.no_verdict).sum();
        if unjudged > 0 {
            left.push_str(&format!(
                "<p class=\"warn\">{} got no verdict and are left out of these numbers.</p>",
                count(unjudged as u64, "held-out answer")
            ));
        }
    } else {
        left.push_str("<p>No evaluation on held-out prompts was made.</p>");
    }
    format!("<h2>Result</h2><div class=\"two\"><div>{left}</div><div>{}</div></div>\n", where_next(data))
}

fn headline(first: &EvaluationData, last: &EvaluationData) -> String {
    let prompts = count(last.prompts as u64, "held-out prompt");
    if first.step == last.step {
        return format!("<p class=\"big\"><b>{}</b><em>on {prompts}</em></p>", percent(last.accuracy.estimate));
    }
    format!(
        "<p class=\"big\"><span>{}</span><span>→</span><b>{}</b><em>correct on {prompts}</em></p>",
        percent(first.accuracy.estimate),
        percent(last.accuracy.estimate)
    )
}

fn differences(data: &ReportData) -> String {
    if data.differences.is_empty() {
        return String::new();
    }
    let row = |(at, change): (usize, &DifferenceData)| {
        let Measured { estimate, low, high } = change.difference;
        IntervalRow {
            label: format!("{} against {}", change.to, change.from),
            value: format!("{} [{} to {}]", points(estimate), points(low), points(high)),
            estimate,
            low,
            high,
            strong: at == 0,
        }
    };
    let rows: Vec<IntervalRow> = data.differences.iter().enumerate().map(row).collect();
    let low = rows.iter().map(|row| row.low).fold(0.0, f64::min);
    let high = rows.iter().map(|row| row.high).fold(0.0, f64::max);
    let air = 0.08 * (high - low).max(0.02);
    let note = |change: &DifferenceData| {
        let chance = match change.p_value {
            None => String::new(),
            Some(p) if p < 0.001 => " (p < 0.001)".replace('<', "&lt;"),
            Some(p) => format!(" (p = {})", number(p)),
        };
        format!(
            "{} against {}: {} became right, {} wrong{chance}",
            escape(&change.to),
            escape(&change.from),
            count(change.gained as u64, "prompt"),
            change.lost
        )
    };
    let notes = data.differences.iter().map(note).collect::<Vec<_>>().join("<br>");
    format!(
        "<h3>Change on the same prompts <small>in percentage points, paired, with 95 % intervals</small></h3>{}\
         <p class=\"soft\">{notes}. p: exact McNemar test, how often chance alone would split the changed prompts as unevenly.</p>",
        svg::intervals("change of accuracy on the same prompts", &rows, (low - air, high + air), tick_points)
    )
}

fn tick_points(difference: f64) -> String {
    format!("{:+}", (100.0 * difference).round()).replace("+0", "0").replace('-', "−")
}

fn where_next(data: &ReportData) -> String {
    let mut out = String::new();
    if let Some(checkpoint) = &data.checkpoint {
        out.push_str(&format!(
            "<div class=\"card\"><h3>The model</h3><p>Step {}, {}: a Hugging Face directory.</p><pre>{}</pre></div>",
            checkpoint.step,
            bytes(checkpoint.bytes),
            escape(&checkpoint.path)
        ));
    }
    if !data.next.is_empty() {
        let step = |(why, command): &(String, String)| format!("<p>{}</p><pre>{}</pre>", prose(why), escape(command));
        let steps: String = data.next.iter().map(step).collect();
        out.push_str(&format!("<div class=\"card\"><h3>Next</h3>{steps}</div>"));
    }
    let health = match data.warnings.len() {
        0 => "<b class=\"good\">Health:</b> no rule had anything to say.".to_string(),
        n => format!("<b class=\"warn\">Health:</b> {}, see below.", count(n as u64, "warning")),
    };
    out.push_str(&format!("<div class=\"card\"><p>{health}</p></div>"));
    out
}

fn warnings(data: &ReportData) -> String {
    if data.warnings.is_empty() {
        return String::new();
    }
    let one = |warning: &WarningData| {
        format!(
            "<div class=\"warning\"><b>Step {}: {}.</b> Usually {}. <b>Try:</b> {}. <code>{}</code></div>",
            warning.step,
            prose(&warning.seen),
            prose(&warning.cause),
            prose(&warning.knob),
            escape(&warning.rule)
        )
    };
    let shown: String = data.warnings.iter().take(SHOWN_WARNINGS).map(one).collect();
    let more = data.warnings.len().saturating_sub(SHOWN_WARNINGS);
    let more = if more > 0 {
        format!("<p class=\"soft\">… and {more} more in <code>events.jsonl</code></p>")
    } else {
        String::new()
    };
    format!("<h2>Health warnings</h2>{shown}{more}\n")
}

fn training(data: &ReportData) -> String {
    if data.rows.is_empty() && data.evaluations.len() < 2 {
        return String::new();
    }
    let mains: String = [curves::accuracy(data), curves::reward(data)].into_iter().flatten().collect();
    let mut out =
        format!("<h2>Training <small>against the step; hover for values</small></h2><div class=\"pair\">{mains}</div>");
    let multiples = curves::small_multiples(data);
    if !multiples.first.is_empty() {
        out.push_str(&format!("<div class=\"grid\" style=\"margin-top:26px\">{}</div>", multiples.first.concat()));
    }
    if !multiples.constant.is_empty() {
        let row = |(name, value, what): &(String, String, String)| {
            format!(
                "<tr><td><code>{}</code></td><td><b>{value}</b></td><td class=\"soft\">{}</td></tr>",
                escape(name),
                prose(what)
            )
        };
        let rows: String = multiples.constant.iter().map(row).collect();
        out.push_str(&format!(
            "<details class=\"fold\"><summary>The same at every step: {}</summary><table>{rows}</table></details>",
            count(multiples.constant.len() as u64, "metric")
        ));
    }
    if !multiples.others.is_empty() {
        out.push_str(&format!(
            "<details class=\"fold\"><summary>{} more charts</summary><div class=\"grid\">{}</div></details>",
            multiples.others.len(),
            multiples.others.concat()
        ));
    }
    out.push('\n');
    out
}

fn samples(data: &ReportData) -> String {
    if data.samples.is_empty() {
        return String::new();
    }
    let before = data.samples.iter().any(|sample| sample.before.is_some());
    let answer = data.samples.iter().any(|sample| sample.answer.is_some());
    let mut heads = vec!["Prompt"];
    heads.extend(answer.then_some("Reference"));
    heads.extend(before.then_some("Before"));
    heads.push(if before { "After" } else { "Completion" });
    let cell = |label: &str, html: String| format!("<td data-label=\"{label}\">{html}</td>");
    let row = |sample: &SampleData| {
        let mut cells = cell("Prompt", format!("<div><bdi>{}</bdi></div>", excerpt(&sample.prompt)));
        if answer {
            let text = sample.answer.as_deref().unwrap_or("");
            cells.push_str(&cell("Reference", format!("<div><bdi>{}</bdi></div>", excerpt(text))));
        }
        if before {
            cells.push_str(&cell("Before", sample.before.as_ref().map_or(String::new(), written)));
        }
        cells.push_str(&cell(if before { "After" } else { "Completion" }, written(&sample.after)));
        format!("<tr>{cells}</tr>")
    };
    let rows: String = data.samples.iter().take(SHOWN_SAMPLES).map(row).collect();
    let heads: String = heads.iter().map(|head| format!("<th>{head}</th>")).collect();
    format!(
        "<h2>What it writes</h2><table class=\"samples\"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>\n"
    )
}

/// An answer with its score above it.
fn written(answer: &AnswerData) -> String {
    let (class, score) = match answer.reward {
        Some(reward) if reward >= 1.0 => ("good", format!("✓ {}", number(f64::from(reward)))),
        Some(reward) if reward <= 0.0 => ("bad", format!("✗ {}", number(f64::from(reward)))),
        Some(reward) => ("warn", number(f64::from(reward))),
        None => ("soft", "no verdict".to_string()),
    };
    let cut = if answer.truncated { " · cut off" } else { "" };
    let reason =
        if answer.reason.is_empty() { String::new() } else { format!(" <small>{}</small>", excerpt(&answer.reason)) };
    let text = if answer.completion.is_empty() { "<em>nothing</em>".to_string() } else { excerpt(&answer.completion) };
    format!("<span class=\"score {class}\">{score}{cut}</span>{reason}<div><bdi>{text}</bdi></div>")
}

fn details(data: &ReportData) -> String {
    let table = |rows: &[(String, String)]| {
        let row =
            |(what, much): &(String, String)| format!("<tr><td>{}</td><td>{}</td></tr>", prose(what), prose(much));
        format!("<table class=\"facts\">{}</table>", rows.iter().map(row).collect::<String>())
    };
    let mut right = String::new();
    for stage in data.stages.iter().filter(|stage| !stage.about.is_empty()) {
        right.push_str(&format!("<h3>{}</h3><p class=\"soft\">{}</p>", escape(&stage.name), prose(&stage.about)));
    }
    for (title, rows) in [("What follows from it", &data.plan), ("This launch", &data.facts)] {
        if !rows.is_empty() {
            right.push_str(&format!("<h3 style=\"margin-top:18px\">{title}</h3>{}", table(rows)));
        }
    }
    if data.recipe.is_empty() && right.is_empty() {
        return String::new();
    }
    format!(
        "<h2>Recipe</h2><div class=\"two\"><div><pre>{}</pre></div><div>{right}</div></div>\n",
        escape(data.recipe.trim_end())
    )
}

#[cfg(test)]
mod tests;
