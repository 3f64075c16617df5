//! What a study found, in words and tables: on the terminal and as a page of the book.

use std::fmt::Write;

use lapidary_eval::Interval;

use super::plot::short;
use super::{Findings, Holds, Judgement, Study};

/// Where and how a study was run, for its page.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// The command.
    pub command: String,
    /// The machine, in words.
    pub machine: String,
    /// Wall-clock of all runs, where they were not done before.
    pub minutes: Option<f64>,
    /// Seeds.
    pub seeds: u64,
}

fn word(holds: Holds) -> &'static str {
    match holds {
        Holds::Yes => "holds",
        Holds::No => "does not hold",
        Holds::Open => "not decided by these runs",
    }
}

fn interval(of: &Interval) -> String {
    format!("{} [{}, {}]", short(of.estimate), short(of.low), short(of.high))
}

fn mean_and_deviation(values: &[f64]) -> String {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let deviation = (squares / (values.len().max(2) - 1) as f64).sqrt();
    format!("{} ± {}", short(mean), short(deviation))
}

/// One sentence on the whole.
fn summary(judgements: &[Judgement]) -> String {
    let count = |holds: Holds| judgements.iter().filter(|judged| judged.holds == holds).count();
    let (yes, no, open) = (count(Holds::Yes), count(Holds::No), count(Holds::Open));
    let claims = judgements.len();
    match (yes, no, open) {
        (yes, 0, 0) if yes > 0 => format!("All {claims} claims hold at this scale."),
        (0, 0, _) => {
            format!("None of the {claims} claims is decided at this scale: every interval holds both answers.")
        }
        _ => format!("Of {claims} claims {yes} hold, {no} do not, and {open} are not decided at this scale."),
    }
}

fn judged_rows(study: &Study, findings: &Findings) -> Vec<[String; 5]> {
    let row = |judged: &Judgement| {
        let claim = &study.claims[judged.claim];
        let pair = claim.pair(&study.baseline).join(" − ");
        let (student, bootstrap) = (interval(&judged.difference.student), interval(&judged.difference.bootstrap));
        [claim.text.clone(), pair, student, bootstrap, word(judged.holds).to_string()]
    };
    findings.judgements.iter().map(row).collect()
}

/// For the terminal: values, claims with intervals drawn in characters, the verdict.
pub fn terminal(study: &Study, findings: &Findings) -> String {
    let mut out = format!("{}\n{}\n\n", study.title, study.question.trim());
    for (measure, values) in study.measures.iter().zip(&findings.values) {
        let _ = writeln!(out, "{}", measure.title);
        for (arm, values) in study.arms.iter().zip(values) {
            let seeds: Vec<String> = values.iter().map(|value| short(*value)).collect();
            let _ = writeln!(out, "  {:<16} {:<20} {}", arm.name, mean_and_deviation(values), seeds.join("  "));
        }
    }
    out.push_str("\nPaired differences with 95 % intervals (Student's t over seeds)\n");
    for (row, judged) in judged_rows(study, findings).into_iter().zip(&findings.judgements) {
        let [text, pair, student, bootstrap, verdict] = row;
        let margin = study.claims[judged.claim].margin;
        let drawn = whisker(&judged.difference.student, margin);
        let _ = writeln!(out, "  {text}\n    {pair:<24} {student}  bootstrap {bootstrap}\n    {drawn}  {verdict}");
    }
    let _ = writeln!(out, "\n{}", summary(&findings.judgements));
    out
}

/// `     ·|  ├───●────┤`: an interval against 0.
fn whisker(interval: &Interval, margin: f64) -> String {
    const WIDTH: usize = 60;
    let ends = [interval.low, interval.high, 0.0, margin, -margin];
    let low = ends.iter().copied().fold(f64::INFINITY, f64::min);
    let high = ends.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let place = |value: f64| match high > low {
        true => ((value - low) / (high - low) * (WIDTH - 1) as f64).round() as usize,
        false => 0,
    };
    let mut line = vec![' '; WIDTH];
    (place(interval.low)..=place(interval.high)).for_each(|at| line[at] = '─');
    line[place(0.0)] = '│';
    line[place(interval.low)] = '├';
    line[place(interval.high)] = '┤';
    line[place(interval.estimate)] = '●';
    line.into_iter().collect()
}

/// For the book, in Markdown; drawings are files beside it.
pub fn page(study: &Study, findings: &Findings, how: &Circumstances) -> String {
    let name = &study.name;
    let mut out = format!(
        "# {}\n\n{}\n\nSource of the claim: {}.\n\n**{}**\n\n![Paired differences]({name}-claims.svg)\n\n",
        study.title,
        study.question.trim(),
        study.paper,
        summary(&findings.judgements)
    );
    out.push_str("| claim | pair | difference, t | difference, bootstrap | verdict |\n|---|---|---|---|---|\n");
    for row in judged_rows(study, findings) {
        let _ = writeln!(out, "| {} |", row.join(" | "));
    }
    let _ = write!(
        out,
        "\nDifferences are paired by seed ({} seeds), with 95 % intervals over seeds. A claim holds where the whole t interval agrees \
         with it. With so few seeds a bootstrap is too narrow; it is shown because papers show it.\n\n## Arms\n\n| arm | what it is |\n\
         |---|---|\n",
        how.seeds
    );
    for arm in &study.arms {
        let _ = writeln!(out, "| `{}` | {} |", arm.name, arm.about);
    }
    let arms: Vec<String> = study.arms.iter().map(|arm| format!("`{}`", arm.name)).collect();
    let _ = write!(out, "\n## Measures\n\nMean ± standard deviation over seeds.\n\n| | {} |\n|---|", arms.join(" | "));
    out.push_str(&"---|".repeat(study.arms.len()));
    out.push('\n');
    for (measure, values) in study.measures.iter().zip(&findings.values) {
        let cells: Vec<String> = values.iter().map(|values| mean_and_deviation(values)).collect();
        let _ = writeln!(out, "| {} | {} |", measure.title, cells.join(" | "));
    }
    out.push_str("\n## Curves\n\nMeans over seeds; the bands reach from the lowest to the highest seed.");
    if let Some(mark) = &study.mark {
        let _ = write!(out, " Dashed lines stand at the mean of `{mark}` over the seeds that have one.");
    }
    out.push_str("\n\n");
    for metric in &study.curves {
        let _ = writeln!(out, "![{metric}]({name}-{}.svg)\n", metric.replace('/', "-"));
    }
    let minutes = how.minutes.map_or(String::new(), |minutes| format!(" in {minutes:.1} minutes"));
    let _ = write!(
        out,
        "## How it was run\n\n```\n{}\n```\n\nOn {}{minutes}. Arms of a seed start from the same weights and read the same prompts in the \
         same order. The same command on another machine of the same instruction set gives the same numbers.\n",
        how.command, how.machine
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapidary_eval::IntervalMethod;

    #[test]
    fn an_interval_is_drawn_against_zero() {
        let drawn =
            whisker(&Interval { estimate: 0.5, low: 0.0, high: 1.0, units: 5, method: IntervalMethod::StudentT }, 1.0);
        let at = |c: char| drawn.chars().position(|it| it == c);
        assert_eq!((at('├'), at('●'), at('┤')), (Some(30), Some(44), Some(59)), "{drawn}");
    }
}
