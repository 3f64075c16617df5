//! The recipes that come with Lapidary, and the schema, are what the binary says they are.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test says what is wrong by panicking

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn lapidary(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lapidary")).args(arguments).current_dir(root()).output().unwrap()
}

fn recipes() -> Vec<String> {
    let mut recipes: Vec<String> = std::fs::read_dir(root().join("recipes"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .map(|path| format!("recipes/{}", path.file_name().unwrap().to_str().unwrap()))
        .collect();
    recipes.sort();
    recipes
}

#[test]
fn every_recipe_checks_and_begins_with_its_schema() {
    let recipes = recipes();
    assert!(recipes.len() >= 9);
    let mut arguments = vec!["config", "check"];
    arguments.extend(recipes.iter().map(String::as_str));
    let output = lapidary(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), recipes.len());
    for recipe in recipes {
        let text = std::fs::read_to_string(root().join(&recipe)).unwrap();
        assert!(text.starts_with("#:schema ../lapidary.schema.json\n"), "{recipe}");
    }
}

#[test]
fn every_method_has_a_recipe() {
    let output = lapidary(&["methods", "--json"]);
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let method: serde_json::Value = serde_json::from_str(line).unwrap();
        let path = format!("recipes/{}.toml", method["name"].as_str().unwrap());
        assert!(root().join(&path).exists(), "{path} is missing");
    }
}

/// Run with `LAPIDARY_RENEW=1` to write the schema anew.
#[test]
fn the_committed_schema_is_current() {
    let output = lapidary(&["config", "schema"]);
    let path = root().join("lapidary.schema.json");
    if std::env::var_os("LAPIDARY_RENEW").is_some() {
        std::fs::write(&path, &output.stdout).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    assert_eq!(committed, String::from_utf8(output.stdout).unwrap(), "stale: LAPIDARY_RENEW=1 cargo test -p lapidary");
}

#[test]
fn a_resolved_recipe_resolves_to_itself() {
    let directory = tempfile::tempdir().unwrap();
    for recipe in recipes() {
        let shown = lapidary(&["config", "show", &recipe]).stdout;
        let name = Path::new(&recipe).file_name().unwrap();
        let copy = directory.path().join(name);
        std::fs::write(&copy, &shown).unwrap();
        let again = lapidary(&["config", "show", copy.to_str().unwrap()]).stdout;
        assert!(!shown.is_empty());
        assert_eq!(String::from_utf8(again).unwrap(), String::from_utf8(shown).unwrap(), "{recipe}");
        let difference = lapidary(&["config", "diff", &recipe, copy.to_str().unwrap()]);
        assert!(difference.stdout.is_empty(), "{recipe}");
    }
}

#[test]
fn origins_are_shown_as_markdown_into_a_pipe() {
    let output = lapidary(&["config", "show", "recipes/quickstart.toml", "--origin", "--set", "stage.rl.steps=7"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let row = |key: &str| text.lines().find(|line| line.contains(&format!("| {key} "))).unwrap().to_string();
    assert!(row("stage.2.steps").contains("--set stage.rl.steps=7"), "{text}");
    assert!(row("eval.temperature").contains("default"), "{text}");
    assert!(row("seed").contains("recipes/quickstart.toml:"), "{text}");
}

#[test]
fn completions_know_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let output = lapidary(&["completions", shell]);
        assert!(String::from_utf8(output.stdout).unwrap().contains("completions"), "{shell}");
    }
}
