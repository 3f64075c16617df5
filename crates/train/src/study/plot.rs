//! Drawings of a study: differences with their intervals, and curves of each arm over the steps. Each is a whole SVG file.

use std::fmt::Write;

use super::{ArmRun, Findings, Holds, Study};
use crate::report::svg::{range, ticks};

/// Okabe & Ito's colours, which most people can tell apart.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const WIDTH: f64 = 720.0;

fn begin(height: f64, title: &str) -> String {
    let title = escape(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\">\n<title>{title}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A number with three significant digits.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        x if !(1e-3..1e5).contains(&x) => format!("{value:.2e}"),
        x if x < 0.1 => format!("{value:.4}"),
        x if x < 10.0 => format!("{value:.3}"),
        _ => format!("{value:.1}"),
    }
}

/// At most `most` characters, the last an ellipsis where some are missing.
fn shortened(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most - 1).chain(['…']).collect(),
        false => text.to_string(),
    }
}

/// One row per claim: the paired difference with its interval, and the line that it must not cross. Every row has a scale of
/// its own, because measures differ in unit.
pub fn forest(study: &Study, findings: &Findings) -> String {
    const ROW: f64 = 56.0;
    let mut out = begin(30.0 + ROW * findings.judgements.len() as f64, &study.title);
    for (at, judged) in findings.judgements.iter().enumerate() {
        let claim = &study.claims[judged.claim];
        let interval = &judged.difference.student;
        let top = 20.0 + ROW * at as f64;
        let (low, high) = range([interval.low, interval.high, 0.0, -claim.margin, claim.margin].into_iter());
        let x = |value: f64| 300.0 + (value - low) / (high - low) * 400.0;
        let colour = match judged.holds {
            Holds::Yes => COLOURS[2],
            Holds::No => COLOURS[1],
            Holds::Open => "#666666",
        };
        let (zero, middle) = (x(0.0), top + 22.0);
        let (from, to, estimate) = (x(interval.low), x(interval.high), x(interval.estimate));
        let text = escape(&claim.pair(&study.baseline).join(" against "));
        let measure = escape(&shortened(&study.measures[judged.difference.measure].title, 38));
        let numbers = format!("{} [{}, {}]", short(interval.estimate), short(interval.low), short(interval.high));
        let _ = write!(
            out,
            "<text x=\"10\" y=\"{:.1}\">{text}</text>\n<text x=\"10\" y=\"{:.1}\" fill=\"#555555\">{measure}</text>\n\
             <line x1=\"{zero:.1}\" x2=\"{zero:.1}\" y1=\"{top:.1}\" y2=\"{:.1}\" stroke=\"#999999\" stroke-dasharray=\"3 3\"/>\n\
             <line x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\" stroke=\"{colour}\" stroke-width=\"3\"/>\n\
             <circle cx=\"{estimate:.1}\" cy=\"{middle:.1}\" r=\"5\" fill=\"{colour}\"/>\n\
             <text x=\"300\" y=\"{:.1}\" fill=\"#555555\">{numbers}</text>\n",
            middle - 3.0,
            middle + 13.0,
            top + 44.0,
            middle + 18.0
        );
    }
    out.push_str("</svg>\n");
    out
}

/// The mean of a metric over seeds for each arm, with a band from the lowest to the highest seed.
pub fn curves(study: &Study, runs: &[ArmRun], metric: &str) -> String {
    const HEIGHT: f64 = 300.0;
    let arms: Vec<Vec<(f64, [f64; 3])>> = (0..study.arms.len()).map(|arm| curve(runs, arm, metric)).collect();
    let all = || arms.iter().flatten();
    let (low, high) = range(all().flat_map(|(_, values)| values.iter().copied()));
    let last = all().map(|(step, _)| *step).fold(1.0, f64::max);
    let x = |step: f64| 60.0 + step / last * (WIDTH - 180.0);
    let y = |value: f64| 20.0 + (high - value) / (high - low) * (HEIGHT - 60.0);
    let mut out = begin(HEIGHT, &format!("{metric}: {}", study.title));
    for tick in ticks(low, high, 5) {
        let (at, right) = (y(tick), x(last));
        let _ = write!(
            out,
            "<line x1=\"60\" x2=\"{right:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#e5e5e5\"/>\n\
             <text x=\"54\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            at + 4.0,
            short(tick)
        );
    }
    for tick in ticks(0.0, last, 6) {
        let (at, base) = (x(tick), HEIGHT - 22.0);
        let _ = writeln!(out, "<text x=\"{at:.1}\" y=\"{base:.1}\" text-anchor=\"middle\">{tick:.0}</text>");
    }
    for (arm, points) in arms.iter().enumerate().filter(|(_, points)| !points.is_empty()) {
        let colour = COLOURS[arm % COLOURS.len()];
        let line: Vec<String> = points.iter().map(|(step, v)| format!("{:.1},{:.1}", x(*step), y(v[1]))).collect();
        let up = points.iter().map(|(step, v)| format!("{:.1},{:.1}", x(*step), y(v[2])));
        let down = points.iter().rev().map(|(step, v)| format!("{:.1},{:.1}", x(*step), y(v[0])));
        let band: Vec<String> = up.chain(down).collect();
        let label = 34.0 + 18.0 * arm as f64;
        let name = escape(&study.arms[arm].name);
        let _ = write!(
            out,
            "<polygon points=\"{}\" fill=\"{colour}\" opacity=\"0.12\"/>\n\
             <polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
             <text x=\"{:.1}\" y=\"{label:.1}\" fill=\"{colour}\">{name}</text>\n",
            band.join(" "),
            line.join(" "),
            x(last) + 10.0
        );
        if let Some(step) = study.mark.as_ref().and_then(|mark| marked(runs, arm, mark)) {
            let (at, base) = (x(step), HEIGHT - 40.0);
            let _ = writeln!(
                out,
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"20\" y2=\"{base:.1}\" stroke=\"{colour}\" stroke-dasharray=\"4 3\"/>"
            );
        }
    }
    let _ = write!(out, "<text x=\"10\" y=\"14\">{}, by step of the stage</text>\n</svg>\n", escape(metric));
    out
}

/// The mean of the last values of a metric that is a step, over the seeds in which there is one.
fn marked(runs: &[ArmRun], arm: usize, mark: &str) -> Option<f64> {
    let last = |run: &ArmRun| run.rows.iter().rev().find_map(|row| row.get(mark)).filter(|step| *step > 0.0);
    let steps: Vec<f64> = runs.iter().filter(|run| run.arm == arm).filter_map(last).collect();
    (!steps.is_empty()).then(|| steps.iter().sum::<f64>() / steps.len() as f64)
}

/// `(step, [lowest, mean, highest])` over seeds, in groups of steps where there are more than can be seen.
fn curve(runs: &[ArmRun], arm: usize, metric: &str) -> Vec<(f64, [f64; 3])> {
    const POINTS: usize = 60;
    let series: Vec<Vec<(f64, f64)>> = runs
        .iter()
        .filter(|run| run.arm == arm)
        .map(|run| run.rows.iter().filter_map(|row| Some((row.step as f64, row.get(metric)?))).collect())
        .collect();
    let steps = series.iter().map(Vec::len).min().unwrap_or(0);
    let size = steps.div_ceil(POINTS).max(1);
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
        sum / count
    };
    (0..steps)
        .step_by(size)
        .map(|from| {
            let to = (from + size).min(steps);
            let of_seeds: Vec<f64> = series.iter().map(|s| mean(&mut s[from..to].iter().map(|(_, v)| *v))).collect();
            let low = of_seeds.iter().copied().fold(f64::INFINITY, f64::min);
            let high = of_seeds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            (
                mean(&mut series[0][from..to].iter().map(|(step, _)| *step)),
                [low, mean(&mut of_seeds.iter().copied()), high],
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Row;

    #[test]
    fn a_curve_is_the_mean_of_the_seeds_within_their_range() {
        let run = |seed: u64, more: f64| {
            let rows = (1..=3).map(|step| Row::new(step, 1, "x").with("reward", step as f64 + more)).collect();
            ArmRun { arm: 0, seed, rows, pass: Vec::new() }
        };
        let points = curve(&[run(1, 0.0), run(2, 1.0)], 0, "reward");
        assert_eq!(points, [(1.0, [1.0, 1.5, 2.0]), (2.0, [2.0, 2.5, 3.0]), (3.0, [3.0, 3.5, 4.0])]);
        let mut study = Study::named("gspo").unwrap();
        let svg = curves(&study, &[run(1, 0.0), run(2, 1.0)], "reward");
        study.mark = Some("reward".into());
        let lined = curves(&study, &[run(1, 0.0), run(2, 1.0)], "reward");
        assert_eq!(lined.matches("stroke-dasharray").count(), 1);
        assert_eq!(svg.matches("stroke-dasharray").count(), 0);
        assert_eq!(marked(&[run(1, 0.0), run(2, 1.0), run(3, -3.0)], 0, "reward"), Some(3.5), "0 is no step");
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && !svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, 1.23456, 0.012345, 123.456, 1e-5].map(short), ["0", "1.235", "0.0123", "123.5", "1.00e-5"]);
    }
}
