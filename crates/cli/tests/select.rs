//! `lapidary select` ranks what a run or a file recorded.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test says what is wrong by panicking

use std::path::Path;
use std::process::{Command, Output};

fn select(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lapidary")).arg("select").args(arguments).current_dir(directory).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_file_of_accuracies_is_ranked_and_written_with_its_rows() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("acc.json"), r#"{"2": [0.5, 0.5], "0": [0.0, 1.0], "1": [0.0, 0.5]}"#).unwrap();
    let rows: String = (0..3).map(|n| format!("{{\"prompt\":\"{n} + 1\",\"answer\":\"{}\"}}\n", n + 1)).collect();
    std::fs::write(at("rows.jsonl"), rows).unwrap();
    let bare = select(directory.path(), &["acc.json", "--json"]);
    let ids: Vec<String> = text(&bare.stdout)
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_string())
        .collect();
    assert_eq!(ids, ["0", "1", "2"]);
    let unknown = select(directory.path(), &["acc.json", "--out", "best.jsonl"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", text(&unknown.stderr));
    assert!(text(&unknown.stderr).contains("U018") && !at("best.jsonl").exists());
    let shown = select(directory.path(), &["acc.json", "--data", "rows.jsonl", "--top", "2", "--out", "best.jsonl"]);
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    let table = text(&shown.stdout);
    assert!(table.contains("| 0.250000 | 0.5000 | 2     | 0 + 1  | 1      |"), "{table}");
    assert!(table.contains("… and 1 more"), "{table}");
    let inspected = Command::new(env!("CARGO_BIN_EXE_lapidary"))
        .args(["inspect", "best.jsonl", "--json"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    let best: serde_json::Value = serde_json::from_slice(&inspected.stdout).unwrap();
    let answers: Vec<&str> =
        best["rows"].as_array().unwrap().iter().map(|row| row["answer"].as_str().unwrap()).collect();
    assert!(answers.iter().all(|answer| ["1", "2"].contains(answer)), "{best}");
    assert_eq!(select(directory.path(), &["absent"]).status.code(), Some(3));
}

/// The published ranking, as a person sees it.
#[test]
fn the_published_ranking_is_shown_with_its_problems() {
    let Some(data) = std::env::var_os("LAPIDARY_DATA") else {
        println!("skipped: LAPIDARY_DATA is not set");
        return;
    };
    let math = Path::new(&data).join("math");
    let rows = math.join("dsr_sub.jsonl.gz");
    let output =
        select(&math, &["dsr_sub_acc_step_500.json.gz", "--data", rows.to_str().unwrap(), "--top", "13", "--json"]);
    let ranked: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let near = |at: usize, key: &str, value: f64| (ranked[at][key].as_f64().unwrap() - value).abs() < 5e-7;
    assert!(ranked[0]["answer"] == "12.8" && near(0, "variance", 0.165450) && near(0, "mean", 0.441038));
    assert!(ranked[0]["prompt"].as_str().unwrap().starts_with("The pressure"));
    assert!(ranked[1]["answer"] == "24" && near(1, "variance", 0.156875));
    assert!(ranked[12]["answer"] == "\\frac{4}{3}" && near(12, "variance", 0.074315));
}
