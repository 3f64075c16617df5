//! The tables and plots of the speed comparison, made from `benches/bench.json` (which `benches/peers/compare.py` writes).

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

/// Makes the generated part of a page.
type Maker = fn(&Value) -> String;
/// Files that hold a generated part.
const PAGES: [(&str, Maker); 2] = [("README.md", summary), ("docs/speed.md", page)];
/// Marks around a generated part; the rest of a page is written by hand.
const MARKS: [&str; 2] = ["<!-- made by `cargo run -p xtask -- speed` -->", "<!-- end of what is made -->"];
/// Axes of the growth measurements, with what a plot says of them.
const AXES: [(&str, &str); 5] = [
    ("parameters", "parameters"),
    ("batch", "sequences in a batch"),
    ("length", "tokens of a sequence"),
    ("vocabulary", "tokens in the vocabulary"),
    ("experts", "experts per layer, 2 used"),
];

/// Writes the generated parts; gives the files.
pub fn write(root: &Path) -> Result<String, String> {
    let files = generated(root)?;
    for (name, text) in &files {
        let path = root.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        }
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join("\n"))
}

/// Every generated file with its text.
fn generated(root: &Path) -> Result<Vec<(String, String)>, String> {
    let read = |name: &str| std::fs::read_to_string(root.join(name)).map_err(|e| format!("{name}: {e}"));
    let bench: Value = serde_json::from_str(&read("benches/bench.json")?).map_err(|e| format!("bench.json: {e}"))?;
    let mut files = Vec::new();
    for (name, make) in PAGES {
        let text = read(name)?;
        let (before, rest) = text.split_once(MARKS[0]).ok_or_else(|| format!("{name} lacks `{}`", MARKS[0]))?;
        let (_, after) = rest.split_once(MARKS[1]).ok_or_else(|| format!("{name} lacks `{}`", MARKS[1]))?;
        files.push((name.to_string(), format!("{before}{}\n{}{}{after}", MARKS[0], make(&bench), MARKS[1])));
    }
    for (axis, label) in AXES {
        let points = points(&bench, axis);
        if !points.is_empty() {
            files.push((format!("docs/speed/{axis}.svg"), plot(label, &points)));
        }
    }
    Ok(files)
}

fn rows(bench: &Value, key: &str) -> Vec<Value> {
    bench[key].as_array().cloned().unwrap_or_default()
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or(0.0)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
}

/// `12,345`.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What was measured, on what.
fn machine(bench: &Value) -> String {
    let m = &bench["machine"];
    let sets = if m["avx512"] == Value::Bool(true) { "AVX-512" } else { "**AVX2 only**" };
    let threads = match number(m, "threads") as u64 {
        1 => "one thread".to_string(),
        threads => format!("{threads} threads"),
    };
    let rounds = match m["quick"] == Value::Bool(true) {
        true => "one quick round on a busy machine",
        false => "medians",
    };
    format!(
        "{}, {sets}, {threads}; PyTorch {}, TRL {}; both sides interleaved, {rounds}.\n",
        text(m, "cpu"),
        text(m, "torch"),
        text(m, "trl")
    )
}

fn table(bench: &Value) -> String {
    let mut out = String::from(
        "| work | Lapidary, tokens per CPU second | against | its tokens per CPU second | ratio (spread) | memory, MiB |\n|---|---|---|---|---|---|\n",
    );
    for row in rows(bench, "rows") {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {:.2}× ({:.2}–{:.2}) | {:.0} against {:.0} |",
            text(&row, "work"),
            grouped(number(&row, "lapidary_cpu")),
            text(&row, "peer"),
            grouped(number(&row, "peer_cpu")),
            number(&row, "ratio"),
            number(&row, "low"),
            number(&row, "high"),
            number(&row, "lapidary_mib"),
            number(&row, "peer_mib"),
        );
    }
    out
}

fn summary(bench: &Value) -> String {
    format!("{}\n{}", machine(bench), table(bench))
}

/// The page of the book: the comparison with what was aimed at, the kernel, and the growth.
fn page(bench: &Value) -> String {
    let mut out = summary(bench);
    out += "\n| work | aimed at | reached |\n|---|---|---|\n";
    for row in rows(bench, "rows") {
        let (asked, ratio) = (number(&row, "asked"), number(&row, "ratio"));
        let verdict = if ratio >= asked { "yes" } else { "no" };
        let name = format!("{} against {}", text(&row, "work"), text(&row, "peer"));
        let _ = writeln!(out, "| {name} | {asked}× | {verdict}: {ratio:.2}×{} |", shares(&row));
    }
    out += "\n**The product.** GFLOP per CPU second, and the share of the FMA peak that the same run measures.\n\n";
    out += "| instruction set | m × n × k | GFLOP/s | share of the peak |\n|---|---|---|---|\n";
    for row in rows(bench, "kernels") {
        let [m, n, k] = ["m", "n", "k"].map(|key| number(&row, key));
        let (gflops, share) = (number(&row, "gflops"), 100.0 * number(&row, "fma_share"));
        let _ = writeln!(out, "| {} | {m} × {n} × {k} | {gflops:.1} | {share:.0} % |", text(&row, "set"));
    }
    out += "\n**Growth.** One axis at a time from the shape of 5.4 M parameters, tokens per CPU second.\n";
    for (axis, label) in AXES {
        let points = points(bench, axis);
        if points.is_empty() {
            continue;
        }
        let _ = write!(
            out,
            "\n![tokens per CPU second over {label}](speed/{axis}.svg)\n\n| {label} | train | decode |\n|---|---|---|\n"
        );
        for (x, train, decode) in points {
            let _ = writeln!(out, "| {} | {} | {} |", grouped(x), grouped(train), grouped(decode));
        }
    }
    out
}

fn shares(row: &Value) -> String {
    let share = |key: &str, of: &str| match row[key].as_f64() {
        Some(share) => format!(", {:.0} % of {of}", 100.0 * share),
        None => String::new(),
    };
    share("fma_share", "the FMA peak") + &share("bandwidth_share", "the memory's bandwidth")
}

/// `(x, train, decode)` of an axis; the lines say `growth AXIS X train|decode`.
fn points(bench: &Value, axis: &str) -> Vec<(f64, f64, f64)> {
    let mut out: Vec<(f64, f64, f64)> = Vec::new();
    for row in rows(bench, "growth") {
        let words: Vec<&str> = text(&row, "what").split(' ').collect();
        let [_, this, x, what] = words[..] else { continue };
        let Ok(x) = x.parse::<f64>() else { continue };
        if this != axis {
            continue;
        }
        if out.last().is_none_or(|point| point.0 != x) {
            out.push((x, 0.0, 0.0));
        }
        if let Some(point) = out.last_mut() {
            let value = if what == "train" { &mut point.1 } else { &mut point.2 };
            *value = number(&row, "cpu");
        }
    }
    out
}

/// A line plot with logarithmic axes.
fn plot(label: &str, points: &[(f64, f64, f64)]) -> String {
    const WIDTH: f64 = 560.0;
    const HEIGHT: f64 = 300.0;
    const EDGE: f64 = 60.0;
    let ends = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, 0.0f64), |(low, high), v| (low.min(v), high.max(v)))
    };
    let (left, right) = ends(&mut points.iter().map(|p| p.0));
    let (low, high) = ends(&mut points.iter().flat_map(|p| [p.1, p.2]));
    let (low, high) = (low * 0.8, high * 1.25);
    let place = |v: f64, from: f64, to: f64| (v.ln() - from.ln()) / (to.ln() - from.ln()).max(1e-9);
    let x = |v: f64| EDGE + place(v, left, right) * (WIDTH - EDGE - 20.0);
    let y = |v: f64| HEIGHT - EDGE + 10.0 - place(v, low, high) * (HEIGHT - EDGE - 20.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for point in points {
        let at = x(point.0);
        let _ = writeln!(
            out,
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 30.0,
            short(point.0)
        );
    }
    let mut tick = 10f64.powf(low.log10().ceil());
    while tick <= high {
        let at = y(tick);
        let _ = writeln!(
            out,
            "<line x1=\"{EDGE}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - 20.0,
            EDGE - 6.0,
            at + 4.0,
            short(tick)
        );
        tick *= 10.0;
    }
    for (name, colour, value) in [("train", "#1b6ca8", 1usize), ("decode", "#c8553d", 2)] {
        let of = |p: &(f64, f64, f64)| if value == 1 { p.1 } else { p.2 };
        let line: Vec<String> = points.iter().map(|p| format!("{:.1},{:.1}", x(p.0), y(of(p)))).collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            line.join(" ")
        );
        for p in points {
            let _ = writeln!(out, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>", x(p.0), y(of(p)));
        }
        if let Some(last) = points.last() {
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"{colour}\">{name}</text>",
                x(last.0),
                y(of(last)) - 8.0
            );
        }
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>\n<text x=\"{EDGE}\" y=\"14\">tokens per CPU second</text>\n</svg>",
        WIDTH / 2.0,
        HEIGHT - 8.0
    );
    out
}

/// `65k`, `5.4M`.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.1}M", v / 1e6),
        v if v >= 1e4 => format!("{:.0}k", v / 1e3),
        v => format!("{v:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_hold_what_the_bench_says() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default();
        for (name, expected) in generated(&root).unwrap_or_else(|message| panic!("{message}")) {
            let found = std::fs::read_to_string(root.join(&name)).unwrap_or_default();
            assert!(found == expected, "{name} is stale: `cargo run --release -p xtask -- speed` renews it");
        }
    }

    #[test]
    fn numbers_are_grouped_and_shortened() {
        assert_eq!([grouped(5.0), grouped(1234.4), grouped(1_234_567.0)], ["5", "1,234", "1,234,567"]);
        assert_eq!([short(512.0), short(65_536.0), short(5_401_856.0)], ["512", "66k", "5.4M"]);
    }
}
