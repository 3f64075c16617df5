//! The reliability diagram: how often answers of a confidence are right, against how sure they are.

use std::fmt::Write;

use lapidary_eval::Reliability;

use super::data::CalibrationData;
use super::text::{escape, number, percent};

const SIDE: f64 = 210.0;
const LEFT: f64 = 40.0;
const TOP: f64 = 8.0;
/// Below the square: ticks and the name of the axis.
const FOOT: f64 = 36.0;

/// Diagrams of the evaluations that have one, side by side; empty where none has.
pub(super) fn section(all: &[CalibrationData]) -> String {
    let one = |data: &CalibrationData| {
        let Reliability { ece, ece_equal_mass, mce, brier, auroc, answers, not_found, .. } = &data.calibration;
        let auroc = auroc.map_or("–".to_string(), number);
        format!(
            "<div><h3>{}</h3>{}<p class=\"soft\">ECE <b>{}</b> [{} to {}], of equal mass {}, largest {}; Brier {}; AUROC {auroc}. \
             {answers} answers, {not_found} not found in their text (confidence 0).</p></div>",
            escape(&data.label),
            diagram(&data.calibration, &data.label),
            percent(ece.estimate),
            percent(ece.low),
            percent(ece.high),
            percent(*ece_equal_mass),
            percent(*mce),
            number(brier.estimate),
        )
    };
    if all.is_empty() {
        return String::new();
    }
    let diagrams: String = all.iter().map(one).collect();
    format!(
        "<h2>Is it right as often as it is sure? <small>reliability: bars on the diagonal are calibrated</small></h2>\
         <div class=\"grid\">{diagrams}</div>\n"
    )
}

fn diagram(calibration: &Reliability, label: &str) -> String {
    let x = |confidence: f64| LEFT + confidence * SIDE;
    let y = |accuracy: f64| TOP + (1.0 - accuracy) * SIDE;
    let mut out = format!(
        "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"reliability diagram, {}\">",
        LEFT + SIDE + 10.0,
        TOP + SIDE + FOOT,
        escape(label)
    );
    for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let _ = write!(
            out,
            "<path class=\"rule\" d=\"M{:.1} {:.1}H{:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            x(0.0),
            y(tick),
            x(1.0),
            x(0.0) - 5.0,
            y(tick) + 4.0,
            number(tick),
            x(tick),
            y(0.0) + 15.0,
            number(tick)
        );
    }
    for bin in calibration.bins.iter().filter(|bin| bin.count > 0) {
        let _ = write!(
            out,
            "<rect class=\"stage other\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\
             <circle class=\"dot\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"><title>{} answers: confidence {}, right {}</title></circle>",
            x(bin.low) + 1.0,
            y(bin.accuracy),
            x(bin.high) - x(bin.low) - 2.0,
            y(0.0) - y(bin.accuracy),
            x(bin.confidence),
            y(bin.accuracy),
            bin.count,
            number(bin.confidence),
            percent(bin.accuracy)
        );
    }
    let _ = write!(
        out,
        "<path class=\"zero\" d=\"M{:.1} {:.1}L{:.1} {:.1}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">confidence</text></svg>",
        x(0.0),
        y(0.0),
        x(1.0),
        y(1.0),
        x(0.5),
        y(0.0) + 31.0
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapidary_eval::Sure;

    #[test]
    fn a_bin_stands_where_its_answers_are() {
        let prompts: Vec<Vec<Sure>> = (0..8).map(|at| vec![Sure { confidence: 0.95, right: at % 2 == 0 }]).collect();
        let calibration = Reliability::of(&prompts, 1, 0).unwrap();
        let html = section(&[CalibrationData { label: "start <b>".into(), calibration }]);
        assert!(html.contains("start &lt;b&gt;") && !html.contains("<b>\""), "{html}");
        // One bar from 0.9 to 1, half high: x = 40 + 0.9·210 + 1, y = 8 + 105, height 105.
        assert!(html.contains("x=\"230.0\" y=\"113.0\" width=\"19.0\" height=\"105.0\""), "{html}");
        assert_eq!(html.matches("<rect").count(), 1, "empty bins are not drawn");
        assert!(html.contains("8 answers: confidence 0.95, right 50 %"), "{html}");
        assert_eq!(section(&[]), "");
    }
}
