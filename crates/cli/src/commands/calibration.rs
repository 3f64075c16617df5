//! `lapidary eval --calibration`: how sure the model is of its held-out answers, and whether rightly.

use lapidary_core::{Kind, Problem, Result};
use lapidary_eval::{Gauge, Reliability};
use lapidary_reward::confidence::{Measure, SpanSource};
use serde_json::Value;

use crate::output::Output;
use crate::stop::Outcome;

/// Characters of a full bar.
const BAR: f64 = 20.0;

/// What is measured: `given` (KEY=VALUE) over `known`, the recipe's own, or else over the disparity of the last number.
pub(super) fn gauge(known: Option<&Measure>, given: &[String]) -> Result<Gauge> {
    let default = Measure { span: SpanSource::LastNumber, ..Measure::default() };
    let wrong = |what: String| {
        Problem::new(Kind::Usage, "U020", format!("`--confidence` describes no confidence: {what}")).hint(
            "for example `--confidence statistic=max_probability --confidence span=boxed`; docs/rlsf.md lists them all",
        )
    };
    let base = serde_json::to_value(known.unwrap_or(&default)).map_err(|error| wrong(error.to_string()))?;
    let mut table = base.as_object().cloned().unwrap_or_default();
    table.extend(super::options(given)?);
    let measure: Measure = serde_json::from_value(Value::Object(table)).map_err(|error| wrong(error.to_string()))?;
    if measure.probe_tokens == 0 {
        return Err(wrong("`probe_tokens` must be 1 or more".into()));
    }
    Gauge::new(&measure).map_err(wrong)
}

/// The reliability diagram as a table: one line per bin that holds anything.
pub(super) fn show(found: &Reliability, output: &mut Output) -> Outcome {
    let bar = |share: f64, sure: f64| {
        let (filled, mark) = ((share * BAR).round() as usize, ((sure * BAR).round() as usize).min(BAR as usize - 1));
        (0..BAR as usize)
            .map(|at| {
                if at == mark {
                    '|'
                } else if at < filled {
                    '#'
                } else {
                    '.'
                }
            })
            .collect::<String>()
    };
    let rows = found.bins.iter().filter(|bin| bin.count > 0).map(|bin| {
        vec![
            format!("{:.1} – {:.1}", bin.low, bin.high),
            bin.count.to_string(),
            format!("{:.1}", 100.0 * bin.confidence),
            format!("{:.1}", 100.0 * bin.accuracy),
            bar(bin.accuracy, bin.confidence),
        ]
    });
    output.line("")?;
    output.table(&["confidence", "answers", "sure, %", "right, %", "# right, | sure"], rows)?;
    let percent = |x: f64| format!("{:.1}", 100.0 * x);
    let interval = |found: &lapidary_eval::Interval, scale: f64| {
        format!(
            "{:.1$} ({2:.1$} – {3:.1$})",
            scale * found.estimate,
            if scale == 1.0 { 3 } else { 1 },
            scale * found.low,
            scale * found.high
        )
    };
    let rows = vec![
        vec!["ECE, %".into(), interval(&found.ece, 100.0)],
        vec!["ECE of equal mass, %".into(), percent(found.ece_equal_mass)],
        vec!["largest error, %".into(), percent(found.mce)],
        vec!["Brier score".into(), interval(&found.brier, 1.0)],
        vec!["AUROC".into(), found.auroc.map_or("all right or all wrong".into(), |auroc| format!("{auroc:.3}"))],
        vec!["mean confidence, %".into(), percent(found.confidence)],
        vec![
            "answers not found".into(),
            format!("{} of {}, counted with confidence 0", found.not_found, found.answers),
        ],
    ];
    output.line("")?;
    output.table(&["calibration", "with 95 % interval"], rows)
}
