//! Numbers as sentences have them.

use crate::metrics::describe;

/// The unit of a metric, as the catalogue has it.
pub(super) fn unit_of(name: &str) -> String {
    match name {
        "rollouts/commonest" | "rollouts/repetition" | "routing/changed" => "share".into(),
        _ => describe(name).map_or("", |metric| metric.unit).to_string(),
    }
}

pub(super) fn with_unit(value: f64, unit: &str) -> String {
    match unit {
        "share" => percent(value),
        "" => number(value),
        unit => format!("{} {unit}", number(value)),
    }
}

/// A share as percent, any other number without its unit.
pub fn plain(value: f64, unit: &str) -> String {
    if unit == "share" { percent(value) } else { number(value) }
}

fn percent(share: f64) -> String {
    crate::report::text::percent(share)
}

/// A number with three digits: `0.0123`, `318`, `2.5e-6`.
pub(super) fn number(value: f64) -> String {
    crate::report::text::number(value)
}
