//! A small SVG writer: lines with bands, interval plots, axes with round ticks. Equal data gives equal bytes.
//!
//! Colours come from the page's style sheet by class, so charts follow light, dark and print.

use std::fmt::Write;

use super::text::escape;

/// Points of a path; more are averaged in equal groups. About one per two pixels.
const PATH_POINTS: usize = 200;
/// Points that answer to the mouse.
const HOVER_POINTS: usize = 60;

/// A shaded part of the horizontal axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    pub label: String,
    pub from: f64,
    pub to: f64,
}

/// One unbroken piece of a curve.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Piece {
    /// `(x, y)` in order of x.
    pub line: Vec<(f64, f64)>,
    /// The same before smoothing, drawn faintly; may be empty.
    pub raw: Vec<(f64, f64)>,
    /// `(x, low, high)`; may be empty.
    pub band: Vec<(f64, f64, f64)>,
}

/// A chart of one quantity against the step.
pub(super) struct Chart<'a> {
    /// What it shows, for those who do not see it.
    pub title: &'a str,
    pub width: f64,
    pub height: f64,
    pub pieces: &'a [Piece],
    pub spans: &'a [Span],
    /// Ends of the horizontal axis.
    pub steps: (f64, f64),
    /// Ends of the vertical axis, where they are known.
    pub limits: Option<(f64, f64)>,
    /// How a value is written.
    pub show: fn(f64) -> String,
}

/// Ticks at multiples of 1, 2 or 5 times a power of ten, about `wanted` of them, inside `low..=high`.
pub(crate) fn ticks(low: f64, high: f64, wanted: usize) -> Vec<f64> {
    assert!(low < high && low.is_finite() && high.is_finite(), "an axis from {low} to {high}");
    let rough = (high - low) / wanted as f64;
    let power = 10f64.powi(rough.log10().floor() as i32);
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|&m| m * power >= rough * 0.75).unwrap_or(10.0) * power;
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|at| at as f64 * step).collect()
}

/// A vertical range that holds the values with some air; 0 belongs to it where it is near.
pub(crate) fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return (0.0, 1.0);
    }
    if low == high {
        return if low == 0.0 { (0.0, 1.0) } else { (low - low.abs() / 2.0, low + low.abs() / 2.0) };
    }
    let air = 0.06 * (high - low);
    let bottom = if low >= 0.0 && low < 0.4 * high { 0.0 } else { low - air };
    let top = if high <= 0.0 && high > 0.4 * low { 0.0 } else { high + air };
    (bottom, top)
}

fn thin<const N: usize>(points: &[[f64; N]], at_most: usize) -> Vec<[f64; N]> {
    if points.len() <= at_most {
        return points.to_vec();
    }
    (0..at_most)
        .map(|group| {
            let part = &points[group * points.len() / at_most..(group + 1) * points.len() / at_most];
            std::array::from_fn(|n| part.iter().map(|point| point[n]).sum::<f64>() / part.len() as f64)
        })
        .collect()
}

fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut out = String::new();
    for (at, (x, y)) in points.enumerate() {
        let _ = write!(out, "{}{x:.1} {y:.1}", if at == 0 { "M" } else { "L" });
    }
    out
}

impl Chart<'_> {
    /// The chart as an `<svg>` element.
    pub(super) fn draw(&self) -> String {
        let values = self.pieces.iter().flat_map(|piece| {
            let line = piece.line.iter().chain(&piece.raw).map(|point| point.1);
            line.chain(piece.band.iter().flat_map(|point| [point.1, point.2]))
        });
        let (low, high) = self.limits.unwrap_or_else(|| range(values));
        let marks = ticks(low, high, 4);
        let labels: Vec<String> = marks.iter().map(|&mark| (self.show)(mark)).collect();
        let widest = labels.iter().map(|label| label.chars().count()).max().unwrap_or(1);
        let (left, right, top, bottom) = (12.0 + 6.2 * widest as f64, 8.0, 16.0, 20.0);
        let (from, to) = self.steps;
        let x = |step: f64| left + (step - from) / (to - from).max(1e-9) * (self.width - left - right);
        let y = |value: f64| {
            self.height - bottom - (value.clamp(low, high) - low) / (high - low) * (self.height - top - bottom)
        };
        let mut out = format!(
            "<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">",
            self.width,
            self.height,
            escape(self.title)
        );
        self.spans_and_axes(&mut out, &x, (top, self.height - bottom));
        for (mark, label) in marks.iter().zip(&labels) {
            let (at, end) = (y(*mark), self.width - right);
            let _ = write!(
                out,
                "<path class=\"rule\" d=\"M{left:.1} {at:.1}H{end:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 5.0,
                at + 4.0,
                escape(label)
            );
        }
        for piece in self.pieces {
            self.piece(&mut out, piece, &x, &y);
        }
        out.push_str("</svg>");
        out
    }

    fn spans_and_axes(&self, out: &mut String, x: &dyn Fn(f64) -> f64, (top, base): (f64, f64)) {
        for (at, span) in self.spans.iter().enumerate() {
            let (start, end) = (x(span.from.max(self.steps.0)), x(span.to.min(self.steps.1)));
            if end <= start {
                continue;
            }
            let class = if at % 2 == 0 { "stage" } else { "stage other" };
            let (width, height) = (end - start, base - top);
            let _ = write!(
                out,
                "<rect class=\"{class}\" x=\"{start:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{height}\">\
                 <title>{}</title></rect>",
                escape(&span.label)
            );
            if width > 6.5 * span.label.chars().count() as f64 {
                let _ = write!(
                    out,
                    "<text class=\"stage-name\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                    start + 3.0,
                    top - 4.0,
                    escape(&span.label)
                );
            }
        }
        for mark in ticks(self.steps.0, self.steps.1.max(self.steps.0 + 1.0), 4) {
            let _ = write!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                x(mark),
                base + 15.0,
                super::text::number(mark)
            );
        }
    }

    fn piece(&self, out: &mut String, piece: &Piece, x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64) {
        let pairs = |points: &[(f64, f64)], at_most| {
            thin(&points.iter().map(|point| [point.0, point.1]).collect::<Vec<_>>(), at_most)
        };
        let band: Vec<[f64; 3]> = piece.band.iter().map(|point| [point.0, point.1, point.2]).collect();
        let band = thin(&band, PATH_POINTS);
        if band.len() > 1 {
            let upper = band.iter().map(|point| (x(point[0]), y(point[2])));
            let lower = band.iter().rev().map(|point| (x(point[0]), y(point[1])));
            let _ = write!(out, "<path class=\"band\" d=\"{}Z\"/>", path(upper.chain(lower)));
        }
        let few = piece.line.len() <= 25;
        if few {
            for point in &band {
                let (at, low, high) = (x(point[0]), y(point[1]), y(point[2]));
                let _ = write!(out, "<path class=\"whisker\" d=\"M{at:.1} {low:.1}V{high:.1}\"/>");
            }
        }
        for (class, points) in [("raw", &piece.raw), ("line", &piece.line)] {
            if points.len() > 1 {
                let d = path(pairs(points, PATH_POINTS).iter().map(|point| (x(point[0]), y(point[1]))));
                let _ = write!(out, "<path class=\"{class}\" d=\"{d}\"/>");
            }
        }
        for point in pairs(&piece.line, HOVER_POINTS) {
            let _ = write!(
                out,
                "<circle class=\"{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"{}\"><title>step {}: {}</title></circle>",
                if few { "dot" } else { "hover" },
                x(point[0]),
                y(point[1]),
                if few { 3 } else { 7 },
                super::text::number(point[0]),
                escape(&(self.show)(point[1]))
            );
        }
    }
}

/// One line of an interval plot.
pub(super) struct IntervalRow {
    pub label: String,
    /// What stands at the right end.
    pub value: String,
    pub estimate: f64,
    pub low: f64,
    pub high: f64,
    /// Drawn in the accent colour.
    pub strong: bool,
}

/// Estimates with their intervals on one axis; `zero` draws the line of no difference.
pub(super) fn intervals(title: &str, rows: &[IntervalRow], limits: (f64, f64), show: fn(f64) -> String) -> String {
    let (width, left, right, row_height, top) = (420.0, 10.0, 10.0, 42.0, 6.0);
    let base = top + row_height * rows.len() as f64;
    let (low, high) = limits;
    let x = |value: f64| left + (value.clamp(low, high) - low) / (high - low) * (width - left - right);
    let mut out = format!(
        "<svg class=\"intervals\" viewBox=\"0 0 {width} {}\" role=\"img\" aria-label=\"{}\">",
        base + 20.0,
        escape(title)
    );
    for mark in ticks(low, high, 5) {
        let at = x(mark);
        let class = if mark == 0.0 && low < 0.0 { "zero" } else { "rule" };
        let anchor = if at < 24.0 {
            "start"
        } else if at > width - 24.0 {
            "end"
        } else {
            "middle"
        };
        let _ = write!(
            out,
            "<path class=\"{class}\" d=\"M{at:.1} {top}V{base}\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            base + 15.0,
            escape(&show(mark))
        );
    }
    for (at, row) in rows.iter().enumerate() {
        let y = top + row_height * (at as f64 + 1.0) - 13.0;
        let class = if row.strong { "strong" } else { "plain" };
        let (from, to, middle) = (x(row.low), x(row.high), x(row.estimate));
        let _ = write!(
            out,
            "<g class=\"{class}\"><title>{}: {}</title>\
             <text class=\"name\" x=\"{left}\" y=\"{:.1}\">{}</text>\
             <text class=\"value\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <path class=\"bar\" d=\"M{from:.1} {y:.1}H{to:.1}M{from:.1} {:.1}v10M{to:.1} {:.1}v10\"/>\
             <circle cx=\"{middle:.1}\" cy=\"{y:.1}\" r=\"5\"/></g>",
            escape(&row.label),
            escape(&row.value),
            y - 13.0,
            escape(&row.label),
            width - right,
            y - 13.0,
            escape(&row.value),
            y - 5.0,
            y - 5.0
        );
    }
    out.push_str("</svg>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let shown = |low, high| ticks(low, high, 4).into_iter().map(super::super::text::number).collect::<Vec<_>>();
        assert_eq!(shown(0.0, 1.0), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(shown(0.0, 0.8), ["0", "0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(shown(-0.013, 0.029), ["-0.01", "0", "0.01", "0.02"]);
        assert_eq!(shown(1.0, 500.0), ["100", "200", "300", "400", "500"]);
        assert_eq!(shown(3e-7, 9e-7), ["4e-7", "6e-7", "8e-7"]);
    }

    #[test]
    fn ranges_hold_their_values() {
        assert_eq!(range([0.0, 0.0].into_iter()), (0.0, 1.0));
        assert_eq!(range([].into_iter()), (0.0, 1.0));
        assert_eq!(range([4.0].into_iter()), (2.0, 6.0));
        assert_eq!(range([1.0, 10.0].into_iter()).0, 0.0);
        let (low, high) = range([9.0, 10.0].into_iter());
        assert!(low > 8.0 && low < 9.0 && high > 10.0 && high < 11.0);
    }

    #[test]
    fn thinning_keeps_the_mean_and_the_number() {
        let points: Vec<[f64; 2]> = (0..1000).map(|i| [f64::from(i), 2.0 * f64::from(i)]).collect();
        let thinned = thin(&points, 200);
        assert_eq!(thinned.len(), 200);
        assert_eq!(thinned[0], [2.0, 4.0]);
    }
}
