//! `lapidary experiment` on files of every format, and on files that are wrong.
#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn experiment(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lapidary"))
        .arg("experiment")
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn near(value: &Value, expected: f64) {
    assert!((value.as_f64().unwrap() - expected).abs() < 1e-6, "got {value}, expected {expected}");
}

/// 45 of 1000 against 30 of 1000 (specification C §7), in a file of any format.
fn rows() -> Vec<(String, &'static str, u8)> {
    let arm = |arm: &'static str, successes: usize| {
        (0..1000).map(move |unit| (format!("{arm}-{unit}"), arm, u8::from(unit < successes)))
    };
    arm("control", 30).chain(arm("new", 45)).collect()
}

#[test]
fn csv_and_json_lines_give_the_golden() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let csv: String = rows().iter().map(|(unit, arm, y)| format!("\"{unit}\",{arm},{y}\r\n")).collect();
    std::fs::write(at("x.csv"), format!("\u{feff}user_id,variant,clicked\r\n{csv}")).unwrap();
    let lines: String = rows()
        .iter()
        .map(|(unit, arm, y)| format!("{{\"user_id\":\"{unit}\",\"variant\":\"{arm}\",\"clicked\":{}}}\n", *y == 1))
        .collect();
    std::fs::write(at("x.jsonl"), lines).unwrap();
    let of = |file: &str| {
        json(&experiment(directory.path(), &["analyze", "--input", file, "--metric", "clicked", "--json"]))
    };
    let report = of("x.csv");
    let metric = &report["metrics"][0];
    for (key, expected) in [("statistic", 1.765470), ("p_fixed", 0.077485), ("diff", 0.015), ("lift", 0.5)] {
        near(&metric[key], expected);
    }
    near(&metric["ci_fixed"][0], -0.001640);
    near(&metric["ci_fixed"][1], 0.031640);
    assert_eq!(
        (&metric["kind"], &metric["n_t"], &metric["decision"]),
        (&"proportion".into(), &1000.into(), &"no difference shown".into())
    );
    assert_eq!(report["decisions"][0]["decision"], "hold");
    assert_eq!(report, of("x.jsonl"));
    let shown = text(&experiment(directory.path(), &["analyze", "-i", "x.csv", "-m", "clicked"]).stdout);
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    assert!(shown.contains("+0.015 [-0.00164, +0.03164]  p = 0.0775"), "{shown}");
}

#[test]
fn every_option_is_heard() {
    let directory = tempfile::tempdir().unwrap();
    let mut csv = String::from("u;g;day;seg;seen;spend;loves;shown;before;ms;flag\n");
    for unit in 0..4000 {
        let (treated, wave) = (unit % 2, f64::from(unit * 7919 % 1000) / 1000.0);
        let (spend, loves, shown) = (wave * 3.0 + 0.2 * f64::from(treated), unit % 5, 5 + unit % 7);
        let day = 1 + unit / 2 % 8;
        csv += &format!(
            "u{unit};{};2026-11-0{day}T10:00:00Z;{};1;{spend};{loves};{shown};{wave};{};{}\n",
            ["old", "new"][treated as usize],
            ["a", "b", "c"][unit as usize % 3],
            100 + unit % 11,
            u8::from(unit % 50 < 2),
        );
    }
    std::fs::write(directory.path().join("x.csv"), csv).unwrap();
    let all = [
        "analyze",
        "--input",
        "x.csv",
        "--unit",
        "u",
        "--arm",
        "g",
        "--control",
        "old",
        "--metric",
        "spend",
        "--ratio",
        "rate=loves/shown",
        "--guardrail",
        "ms=+2%",
        "--safety",
        "flag",
        "--covariate",
        "spend=before",
        "--tau",
        "spend=0.1",
        "--planned-units",
        "3000",
        "--split",
        "old=50,new=50",
        "--day",
        "day",
        "--segment",
        "seg",
        "--triggered",
        "seen",
        "--sequential",
        "--alpha",
        "0.1",
        "--winsorize",
        "0.999",
        "--bootstrap",
        "100",
        "--lower-is-better",
        "rate",
        "--json",
    ];
    let report = json(&experiment(directory.path(), &all));
    let metric = |name: &str| report["metrics"].as_array().unwrap().iter().find(|m| m["metric"] == name).unwrap();
    assert_eq!(
        (&report["test"], &report["alpha"], &report["control"]),
        (&"sequential".into(), &0.1.into(), &"old".into())
    );
    assert_eq!(metric("spend")["looks"].as_array().unwrap().len(), 8);
    assert_eq!(metric("spend")["looks"][0]["day"], "2026-11-01");
    near(&metric("spend")["tau"], 0.1);
    assert!(metric("spend")["cuped"]["r2"].as_f64().unwrap() > 0.9 && metric("spend")["ci_bootstrap"].is_array());
    assert_eq!((&metric("rate")["kind"], &metric("rate")["better"]), (&"ratio".into(), &"down".into()));
    assert_eq!((&metric("ms")["role"], &metric("ms")["better"]), (&"guardrail".into(), &"down".into()));
    near(&metric("ms")["guardrail"]["relative_margin"], 0.02);
    assert_eq!(metric("flag")["role"], "safety");
    assert_eq!(report["segments"].as_array().unwrap().len(), 6);
    assert_eq!(metric("spend")["decision"], "better");
    let shown = text(&experiment(directory.path(), &all[..all.len() - 1]).stdout);
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
}

/// Each wrong file or option: its arguments after `--input x.csv`, the file, the exit code, the code and a word of the answer.
#[test]
fn what_is_wrong_is_said_with_its_place() {
    let good = "unit,arm,y,x\na,control,1,2\nb,control,0,3\nc,t,1,4\nd,t,1,5\n";
    let cases: &[(&[&str], &str, i32, &str, &str)] = &[
        (&["-m", "z"], good, 3, "D004", "column `z`"),
        (&["-m", "yy"], good, 3, "D004", "did you mean `y`?"),
        (&["-m", "y", "--unit", "who"], good, 3, "D004", "column `who`"),
        (&["-m", "y"], "person,arm,y\na,control,1\n", 3, "D004", "--unit COLUMN"),
        (&["-m", "y"], "unit,arm,y\na,control,1\nb,control,0\n", 3, "D092", "only one arm: `control`"),
        (&["-m", "y"], "unit,arm,y\na,p,1\nb,q,0\n", 3, "D093", "--control NAME"),
        (&["-m", "y", "--control", "k"], good, 3, "D093", "no arm is called `k`"),
        (&["-m", "y"], "unit,arm,y\na,control,1\nb,t,NaN\n", 3, "D003", "x.csv:3:5"),
        (&["-m", "y"], "unit,arm,y\na,control,1\nb,t,3 eur\n", 3, "D003", "without units"),
        (&["-m", "y"], "unit,arm,y\na,control,1\nb,t,\n", 3, "D095", "--missing"),
        (&["-m", "y"], "unit,arm,y\na,control,1\nb,t,1\n", 3, "D094", "the same for all units: 1"),
        (&["-m", "y"], "unit,arm,y\na,control,1\na,control,0\nb,t,1\n", 3, "D091", "the rows 1 and 2"),
        (&["-m", "y"], "unit,arm,y\na,control,1,9\n", 3, "D097", "x.csv:2:13"),
        (&["-m", "y"], "unit,arm,y\n\"a,control,1\n", 3, "D097", "never ends"),
        (&["-m", "y"], "unit,arm,y\n", 3, "D096", "no unit"),
        (&["-m", "y"], "", 3, "D007", "is empty"),
        (&["-m", "y"], "unit,arm,y\na,control,1\na,t,1\n", 3, "D096", "stand in two arms"),
        (&[], good, 2, "U019", "--metric COLUMN"),
        (&["-m", "y", "--guardrail", "x"], good, 2, "U019", "margin"),
        (&["-m", "y", "--ratio", "r=x"], good, 2, "U019", "NAME=NUMERATOR/DENOMINATOR"),
        (&["-m", "y", "--split", "control"], good, 2, "U019", "control=50"),
        (&["-m", "y", "--split", "control=1"], good, 3, "D093", "no share for the arm `t`"),
        (&["-m", "y", "--tau", "z=1"], good, 2, "U019", "no metric is called `z`"),
        (&["-m", "y", "--covariate", "y"], good, 2, "U019", "a metric and a covariate"),
        (&["-m", "y", "-m", "y"], good, 2, "U019", "twice"),
    ];
    for (arguments, file, exit, code, word) in cases {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("x.csv"), file).unwrap();
        let output = experiment(directory.path(), &[&["analyze", "--input", "x.csv"], *arguments].concat());
        let stderr = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(output.status.code(), Some(*exit), "{arguments:?} {file:?}: {stderr}");
        assert!(stderr.contains(code) && stderr.contains(word), "{arguments:?} {file:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(
            output.stderr.split(|b| *b == b'\n').all(|line| String::from_utf8_lossy(line).chars().count() <= 80),
            "{}",
            text(&output.stderr)
        );
    }
    let directory = tempfile::tempdir().unwrap();
    let absent = experiment(directory.path(), &["analyze", "--input", "no.csv", "-m", "y", "--json"]);
    let error: Value = serde_json::from_slice(&absent.stderr).unwrap();
    assert_eq!((absent.status.code(), &error["error"]["code"]), (Some(3), &"D001".into()));
}

#[test]
fn rows_of_a_unit_may_be_joined() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("x.csv"), "unit,arm,y\na,control,1\na,control,2\nb,control,5\nc,t,7\nd,t,1\n")
        .unwrap();
    for (rows, expected) in [("sum", 4.0), ("mean", 3.25), ("max", 3.5)] {
        let report =
            json(&experiment(directory.path(), &["analyze", "-i", "x.csv", "-m", "y", "--rows", rows, "--json"]));
        near(&report["metrics"][0]["mean_c"], expected);
    }
}

/// Specification C §7 and §6.3.
#[test]
fn power_and_assignment_give_the_goldens() {
    let directory = tempfile::tempdir().unwrap();
    let power = |arguments: &[&str]| json(&experiment(directory.path(), &[&["power", "--json"], arguments].concat()));
    let found = power(&["--baseline", "0.003", "--effect", "+5%"]);
    assert!(
        (found["units_exact"].as_f64().unwrap() - 2_138_762.298).abs() < 1e-3 && found["units_control"] == 2_138_763.0
    );
    near(&power(&["--baseline", "0.05", "--effect", "0.005", "--units", "30000"])["power"], 0.783992);
    near(&power(&["--sd", "1", "--units", "10000"])["effect"], 0.039620);
    let shown = text(
        &experiment(directory.path(), &["power", "--sd", "2", "--mean", "10", "--effect", "-3%", "--daily", "100"])
            .stdout,
    );
    assert!(shown.contains("-0.300000 (-3.00 % of the control)") && shown.contains("days"), "{shown}");
    for wrong in [
        &["--sd", "1"][..],
        &["--baseline", "1.5", "--effect", "1"],
        &["--baseline", "0.5", "--effect", "0.6"],
        &["--sd", "1", "--effect", "5%"],
    ] {
        let output = experiment(directory.path(), &[&["power"], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
    let output = experiment(
        directory.path(),
        &["assign", "--experiment", "exp-1", "--salt", "salt-a", "user-42", "user-43", "user-44", "--json"],
    );
    let places: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (place, (expected, arm)) in
        places.iter().zip([(0.140748, "control"), (0.407832, "control"), (0.773080, "treatment")])
    {
        near(&place["place"], expected);
        assert_eq!(place["arm"], arm);
    }
}

/// A Parquet file with a text, a number, a truth, a fraction and a date per unit.
fn write_parquet(path: &Path) {
    use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
    let schema = "message t { REQUIRED INT64 user_id; REQUIRED BYTE_ARRAY arm (UTF8); REQUIRED BOOLEAN clicked; \
                  REQUIRED DOUBLE spend; REQUIRED INT32 day (DATE); }";
    let schema = std::sync::Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let file = std::fs::File::create(path).unwrap();
    let mut writer = parquet::file::writer::SerializedFileWriter::new(file, schema, Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let (ids, treated): (Vec<i64>, Vec<bool>) = (0..2000).map(|id| (id, id >= 1000)).unzip();
    let arms: Vec<ByteArray> =
        treated.iter().map(|new| ByteArray::from(if *new { "new" } else { "control" })).collect();
    let clicked: Vec<bool> = ids.iter().map(|id| id % 1000 < if *id >= 1000 { 45 } else { 30 }).collect();
    let spend: Vec<f64> = ids.iter().map(|id| (id * 7919 % 1000) as f64 / 100.0).collect();
    let days: Vec<i32> = ids.iter().map(|id| 20_000 + (id % 10) as i32).collect();
    macro_rules! column {
        ($kind:ty, $values:expr) => {
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<$kind>().write_batch($values, None, None).unwrap();
            column.close().unwrap();
        };
    }
    column!(Int64Type, &ids);
    column!(ByteArrayType, &arms);
    column!(BoolType, &clicked);
    column!(DoubleType, &spend);
    column!(Int32Type, &days);
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn parquet_gives_the_golden() {
    let directory = tempfile::tempdir().unwrap();
    write_parquet(&directory.path().join("x.parquet"));
    let arguments = ["analyze", "-i", "x.parquet", "-m", "clicked", "--explore", "spend", "--day", "day", "--json"];
    let report = json(&experiment(directory.path(), &arguments));
    near(&report["metrics"][0]["statistic"], 1.765470);
    near(&report["metrics"][0]["p_fixed"], 0.077485);
    assert_eq!(report["metrics"][1]["kind"], "mean");
    assert_eq!(report["metrics"][0]["looks"].as_array().unwrap().len(), 10);
    // Day 20,000 of 1970 is 2024-10-04.
    assert!(report["metrics"][0]["looks"][0]["day"].as_str().unwrap().starts_with("2024-10-04"), "{report}");
}
