//! `diagnose` of the real binary.
#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Two rl steps a second on the smallest preset; a learning rate that wrecks it.
const RECIPE: &str = "\
seed = 3
model = \"tiny\"
[[stage]]
kind = \"sft\"
task = { name = \"chain-sum\", max_terms = 2, max_digits = 1, style = \"terse\" }
steps = 20
prompts_per_step = 16
learning_rate = 2e-3
[[stage]]
kind = \"rl\"
method = \"grpo\"
task = { name = \"chain-sum\", max_terms = 2, max_digits = 1, style = \"terse\" }
steps = 24
prompts_per_step = 4
samples_per_prompt = 4
max_new_tokens = 6
learning_rate = 0.1
[eval]
prompts = 4
[checkpoint]
every = 100
";

fn lapidary(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lapidary")).args(arguments).current_dir(directory).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_wrecked_run_is_diagnosed_and_its_recipe_runs() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    std::fs::write(at.join("x.toml"), RECIPE).unwrap();
    let trained = lapidary(at, &["train", "x.toml", "--run-dir", "run", "--quiet"]);
    assert!(trained.status.success(), "{}", text(&trained.stderr));

    let shown = lapidary(at, &["diagnose", "run"]);
    let (told, messages) = (text(&shown.stdout), text(&shown.stderr));
    assert_eq!(shown.status.code(), Some(0), "findings are no failure: {messages}");
    assert!(told.contains("run: a run of Lapidary, grpo on chain-sum, steps 2"), "{told}");
    assert!(told.contains("learning_rate = 0.1 → "), "{told}");
    assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
    assert!(!told.contains('\x1b'), "no colours into a pipe");
    assert!(messages.contains("next: lapidary diagnose run --recipe mended.toml"), "{messages}");
    assert!(!told.contains("from      "), "sources are shown with --rules");
    let rules = text(&lapidary(at, &["diagnose", "run", "--rules"]).stdout);
    assert!(rules.contains("\n  rule      ") && rules.contains("\n  from      "), "{rules}");

    let json = lapidary(at, &["diagnose", "run", "--json"]);
    let whole: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(["collapsing", "unwell"].contains(&whole["verdict"].as_str().unwrap()), "{whole}");
    assert_eq!((&whole["writer"], &whole["method"]), (&Value::from("lapidary"), &Value::from("grpo")));
    assert!(whole["findings"][0]["evidence"][0]["curve"].as_array().unwrap().len() > 10);
    assert!(whole["recipe"].is_null());

    let written = lapidary(at, &["diagnose", "run", "--recipe", "mended.toml"]);
    assert!(text(&written.stderr).contains("next: lapidary train mended.toml"), "{}", text(&written.stderr));
    let printed = lapidary(at, &["diagnose", "run", "--recipe", "-"]);
    assert_eq!(text(&printed.stdout), std::fs::read_to_string(at.join("mended.toml")).unwrap());
    let twice = lapidary(at, &["diagnose", "run", "--recipe", "mended.toml"]);
    assert_eq!(twice.status.code(), Some(2));
    assert!(text(&twice.stderr).contains("error[U014]"), "{}", text(&twice.stderr));
    let again = lapidary(at, &["train", "mended.toml", "--quiet", "--run-dir", "mended"]);
    assert!(again.status.success(), "{}", text(&again.stderr));
}

#[test]
fn what_cannot_be_read_is_an_error_with_its_kind() {
    let directory = tempfile::tempdir().unwrap();
    let gone = lapidary(directory.path(), &["diagnose", "nothing"]);
    assert_eq!(gone.status.code(), Some(2));
    std::fs::write(directory.path().join("notes.txt"), "dear diary").unwrap();
    let notes = lapidary(directory.path(), &["diagnose", "notes.txt"]);
    assert_eq!(notes.status.code(), Some(3));
    assert!(text(&notes.stderr).contains("error[D072]"), "{}", text(&notes.stderr));
}
