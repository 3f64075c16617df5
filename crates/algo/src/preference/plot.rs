//! Plot: the pull of the losses over the margin, as a whole SVG file. Equal code gives equal bytes.

use std::fmt::Write;

use super::losses::preference_loss;
use super::numbers::PreferenceOverrides;
use super::pull::pulls;

/// Okabe and Ito's colours, which most people can tell apart.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b07a00", "#56b4e9"];
const WIDTH: f64 = 760.0;
const PANEL: [f64; 2] = [320.0, 190.0];
const MARGINS: [f64; 2] = [-6.0, 6.0];
const PULLS: [f64; 2] = [-0.5, 2.0];
/// Points of a curve, a fortieth of a margin apart: steps look like steps.
const POINTS: usize = 481;

struct Panel {
    title: &'static str,
    /// `(label, loss, settings)`.
    curves: &'static [(&'static str, &'static str, Settings)],
}

type Settings = fn() -> PreferenceOverrides;

fn plain() -> PreferenceOverrides {
    PreferenceOverrides::default()
}

macro_rules! rho {
    ($rho:ident) => {
        || PreferenceOverrides { rho: Some(super::choices::Rho::$rho), rho_warmup: Some(0.0), ..Default::default() }
    };
}

const PANELS: [Panel; 4] = [
    Panel {
        title: "Contradicted pairs pull hardest",
        curves: &[
            ("dpo", "dpo", plain),
            ("cdpo", "cdpo", plain),
            ("rdpo", "rdpo", plain),
            ("hinge", "hinge", plain),
            ("ipo_sum", "ipo_sum", plain),
            ("discopop", "discopop", plain),
        ],
    },
    Panel {
        title: "Contradicted pairs are damped or let go",
        curves: &[
            ("ramp", "ramp", plain),
            ("ropo", "ropo", plain),
            ("holder", "holder", plain),
            ("gce", "gce", plain),
            ("exo (ε = 0.1)", "exo", || PreferenceOverrides { label_smoothing: Some(0.1), ..Default::default() }),
        ],
    },
    Panel {
        title: "m_estimator: Huber damps the easy pairs instead",
        curves: &[
            ("huber", "m_estimator", rho!(Huber)),
            ("cauchy", "m_estimator", rho!(Cauchy)),
            ("welsch", "m_estimator", rho!(Welsch)),
            ("tukey", "m_estimator", rho!(Tukey)),
            ("geman_mcclure", "m_estimator", rho!(GemanMcclure)),
        ],
    },
    Panel {
        title: "Each answer against the reference",
        curves: &[
            ("nca", "nca", plain),
            ("bco", "bco", plain),
            ("sppo", "sppo", plain),
            ("apo_zero, kto", "apo_zero", plain),
            ("apo_down", "apo_down", plain),
        ],
    },
];

/// The pull of the losses over the margin, in four panels, each curve relative to its pull at a margin of 0.
pub fn preference_plot() -> String {
    let height = 2.0 * (PANEL[1] + 96.0) + 10.0;
    let title = "How hard a pair pulls, by its margin, relative to a margin of 0";
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\">\n<title>{title}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    for (index, panel) in PANELS.iter().enumerate() {
        let corner = [44.0 + (index % 2) as f64 * 380.0, 30.0 + (index / 2) as f64 * (PANEL[1] + 96.0)];
        draw(&mut out, panel, corner);
    }
    out.push_str("</svg>\n");
    out
}

// Writing to a string cannot fail.
fn draw(out: &mut String, panel: &Panel, [left, top]: [f64; 2]) {
    let x = |margin: f64| left + (margin - MARGINS[0]) / (MARGINS[1] - MARGINS[0]) * PANEL[0];
    let y = |pull: f64| top + (PULLS[1] - pull.clamp(PULLS[0], PULLS[1])) / (PULLS[1] - PULLS[0]) * PANEL[1];
    let bottom = top + PANEL[1];
    let _ = writeln!(out, "<text x=\"{left}\" y=\"{:.1}\" font-weight=\"600\">{}</text>", top - 10.0, panel.title);
    for tick in [-0.5, 0.0, 0.5, 1.0, 1.5, 2.0] {
        let (at, stroke) = (y(tick), if tick == 0.0 { "#999999" } else { "#e5e5e5" });
        let _ = writeln!(
            out,
            "<line x1=\"{left}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"{stroke}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555555\">{tick}</text>",
            left + PANEL[0],
            left - 6.0,
            at + 4.0
        );
    }
    for (tick, word) in [(-6.0, ""), (-3.0, "contradicted"), (0.0, "uncertain"), (3.0, "easy"), (6.0, "")] {
        let at = x(tick);
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top}\" y2=\"{bottom}\" stroke=\"#eeeeee\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555555\">{tick}</text>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555555\">{word}</text>",
            bottom + 16.0,
            bottom + 30.0
        );
    }
    let mut across = left;
    let mut down = bottom + 47.0;
    for (index, (label, name, settings)) in panel.curves.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        for piece in pieces(&curve(name, *settings)) {
            let points: Vec<String> = piece.iter().map(|(m, pull)| format!("{:.1},{:.1}", x(*m), y(*pull))).collect();
            let _ = writeln!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                points.join(" ")
            );
        }
        let width = 26.0 + 7.0 * label.len() as f64;
        if across + width > left + PANEL[0] + 20.0 {
            (across, down) = (left, down + 15.0);
        }
        let _ = writeln!(
            out,
            "<rect x=\"{across:.1}\" y=\"{:.1}\" width=\"12\" height=\"3\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{down:.1}\" fill=\"{colour}\">{label}</text>",
            down - 5.5,
            across + 16.0
        );
        across += width;
    }
}

/// `(margin, pull relative to that at 0)`.
fn curve(name: &str, settings: Settings) -> Vec<(f64, f64)> {
    let Some(Ok(preference)) = preference_loss(name).map(|loss| loss.policy(&settings())) else { return Vec::new() };
    let of = |margin: f64| pulls(&preference, &[margin])[0];
    let unit = of(0.0).abs();
    let width = MARGINS[1] - MARGINS[0];
    let at = |index: usize| MARGINS[0] + width * index as f64 / (POINTS - 1) as f64;
    (0..POINTS).map(|index| (at(index), of(at(index)) / unit)).collect()
}

/// The curve where it is inside the panel, with one point beyond on either side, so that it ends at the frame.
fn pieces(curve: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
    let inside = |pull: f64| (PULLS[0]..=PULLS[1]).contains(&pull);
    let mut pieces: Vec<Vec<(f64, f64)>> = Vec::new();
    for pair in curve.windows(2) {
        let ((m0, p0), (m1, p1)) = (pair[0], pair[1]);
        if !inside(p0) && !inside(p1) {
            continue;
        }
        // Where the segment crosses the frame.
        let cut = |outside: f64| {
            let bound = outside.clamp(PULLS[0], PULLS[1]);
            (m0 + (m1 - m0) * (bound - p0) / (p1 - p0), bound)
        };
        let from = if inside(p0) { (m0, p0) } else { cut(p0) };
        let to = if inside(p1) { (m1, p1) } else { cut(p1) };
        match pieces.last_mut().filter(|piece| piece.last() == Some(&from)) {
            Some(piece) => piece.push(to),
            None => pieces.push(vec![from, to]),
        }
    }
    pieces
}
