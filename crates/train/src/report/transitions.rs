//! The moves between rewards and demonstrations, as a table of the page.

use super::data::ReportData;
use super::text::{count, escape, number};
use crate::switch::{Mode, Transition};

/// Moves on the page.
const SHOWN: usize = 40;

/// The section; empty where a run never moved.
pub(super) fn section(data: &ReportData) -> String {
    if data.transitions.is_empty() {
        return String::new();
    }
    let row = |transition: &Transition| {
        let to = match transition.to {
            Mode::Sft => "to demonstrations",
            Mode::Rl => "back to rewards",
        };
        let seen: Vec<String> = transition
            .metrics
            .iter()
            .map(|(name, value)| format!("{} {}", escape(short(name)), number(*value)))
            .collect();
        format!(
            "<tr><td>{}</td><td>{to}</td><td>{}</td><td>{}</td><td class=\"soft\">{}</td></tr>",
            transition.step,
            escape(&transition.reasons.join(", ")),
            transition.buffer,
            seen.join(" · ")
        )
    };
    let rows: String = data.transitions.iter().take(SHOWN).map(row).collect();
    let phases = data.transitions.iter().filter(|transition| transition.to == Mode::Sft).count();
    let more = data.transitions.len().saturating_sub(SHOWN);
    let more = match more {
        0 => String::new(),
        more => format!("<p class=\"soft\">… and {more} more in <code>events.jsonl</code></p>"),
    };
    format!(
        "<h2>Switches <small>{} of demonstrations between the updates</small></h2><table><thead><tr><th>Step</th><th>Move</th>\
         <th>Because of</th><th>Waiting</th><th>What was seen</th></tr></thead><tbody>{rows}</tbody></table>{more}\n",
        count(phases as u64, "phase")
    )
}

/// Without the part that all of them share.
fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}
