//! What a person sees when a recipe is wrong: the whole text, from the real binary.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test says what is wrong by panicking

use std::process::{Command, Output};

const GOOD: &str = "\
seed = 17
model = \"tiny\"

[[stage]]
kind = \"rl\"
method = \"gspo\"
task = \"chain-sum\"
reward = [\"answer\"]
steps = 30
prompts_per_step = 4
";

fn lapidary(directory: &std::path::Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lapidary"))
        .args(arguments)
        .current_dir(directory)
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap()
}

/// Runs `config check x.toml` on the recipe with one change; gives the exit code, stderr must be the whole answer.
fn check(from: &str, to: &str, set: &[&str]) -> (i32, String) {
    assert!(GOOD.contains(from), "{from}");
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("x.toml"), GOOD.replacen(from, to, 1)).unwrap();
    let mut arguments = vec!["config", "check", "x.toml"];
    for set in set {
        arguments.extend(["--set", set]);
    }
    let output = lapidary(directory.path(), &arguments);
    assert!(output.stdout.is_empty(), "a refusal leaves stdout empty");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// Every refusal: its name, what is changed in [`GOOD`], and the overrides.
const CASES: &[(&str, &str, &str, &[&str])] = &[
    ("unknown_key", "steps = 30", "steps = 30\nzebra = 1", &[]),
    ("misspelt_key", "prompts_per_step", "prompt_per_step", &[]),
    ("key_of_another_tool", "prompts_per_step", "batch_size", &[]),
    ("group_of_one", "prompts_per_step = 4", "samples_per_prompt = 1", &[]),
    ("key_of_another_kind", "kind = \"rl\"\nmethod = \"gspo\"", "kind = \"sft\"\nsamples_per_prompt = 4", &[]),
    ("missing_key", "steps = 30\n", "", &[]),
    ("unknown_method", "gspo", "gpso", &[]),
    ("unknown_task", "chain-sum", "chain-sums", &[]),
    ("unknown_reward", "\"answer\"", "\"anwser\"", &[]),
    ("gate_of_another_type", "[\"answer\"]", "[{ name = \"format\", gate = \"open\" }, \"answer\"]", &[]),
    ("closed_without_gate", "[\"answer\"]", "[\"answer\", { name = \"format\", closed = -1 }]", &[]),
    ("first_reward_follows_itself", "[\"answer\"]", "[{ name = \"length\", kind = \"kimi\" }, \"answer\"]", &[]),
    ("weight_of_nothing", "[\"answer\"]", "[\"answer\", { name = \"format\", weight = 0 }]", &[]),
    (
        "gate_in_an_evaluation",
        "prompts_per_step = 4\n",
        "prompts_per_step = 4\n[eval]\nreward = { name = \"format\", gate = 1 }\n",
        &[],
    ),
    ("no_verdict_out_of_range", "steps = 30\n", "steps = 30\nhealth = { stop_no_verdict = 2 }\n", &[]),
    ("unknown_model", "\"tiny\"", "\"tinny\"", &[]),
    ("unknown_task_option", "\"chain-sum\"", "{ name = \"chain-sum\", max_term = 3 }", &[]),
    ("number_out_of_range", "steps = 30", "steps = 0", &[]),
    ("more_updates_than_prompts", "prompts_per_step = 4", "prompts_per_step = 4\nupdates_per_rollout = 5", &[]),
    ("broken_toml", "seed = 17", "seed = = 17", &[]),
    ("wrong_type", "seed = 17", "seed = \"seventeen\"", &[]),
    ("method_setting_out_of_range", "steps = 30\n", "steps = 30\ngspo = { clip_low = 2 }\n", &[]),
    ("settings_of_another_method", "steps = 30\n", "steps = 30\ngrpo = { clip_low = 0.2 }\n", &[]),
    ("override_without_value", "", "", &["stage.rl.steps"]),
    ("override_of_absent_stage", "", "", &["stage.sft.steps=3"]),
    ("override_with_bad_value", "", "", &["stage.rl.steps=-3"]),
    ("override_of_unknown_key", "", "", &["stage.rl.step=3"]),
];

/// The texts are in `tests/refusals/`. Run with `LAPIDARY_RENEW=1` to write them anew, and read what changed.
#[test]
fn every_refusal_says_what_where_why_and_what_to_do() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refusals");
    for (name, from, to, set) in CASES {
        let (code, text) = check(from, to, set);
        let path = folder.join(format!("{name}.txt"));
        if std::env::var_os("LAPIDARY_RENEW").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
        assert_eq!(text, expected, "\n{name}, got:\n{text}");
        assert_eq!(code, 2, "{name}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{name} is wider than 80 columns:\n{text}");
        assert!(!text.contains('\x1b'), "{name}: no colours into a pipe");
    }
}

#[test]
fn a_recipe_that_does_not_exist() {
    let directory = tempfile::tempdir().unwrap();
    let output = lapidary(directory.path(), &["config", "check", "nowhere.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("error[R019]: there is no recipe `nowhere.toml`\n"));
}

#[test]
fn json_errors_are_one_object_on_stderr() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("x.toml"), GOOD.replace("gspo", "gpso")).unwrap();
    let output = lapidary(directory.path(), &["config", "check", "--json", "x.toml"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let error: serde_json::Value = serde_json::from_str(&text).unwrap();
    let error = &error["error"];
    assert_eq!((error["code"].as_str(), error["exit_code"].as_u64()), (Some("R010"), Some(2)));
    assert_eq!((error["place"]["line"].as_u64(), error["place"]["column"].as_u64()), (Some(6), Some(10)));
}

#[test]
fn colours_are_there_when_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("x.toml"), GOOD.replace("gspo", "gpso")).unwrap();
    let output = lapidary(directory.path(), &["--color", "always", "config", "check", "x.toml"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("\x1b["));
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let directory = tempfile::tempdir().unwrap();
    let output = lapidary(directory.path(), &["trian"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("error: unrecognized subcommand 'trian'"));
    let output = lapidary(directory.path(), &["config", "check", "--json"]);
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((output.status.code(), error["error"]["kind"].as_str()), (Some(2), Some("usage")));
}

#[test]
fn a_closed_pipe_is_no_error() {
    use std::io::Read;
    let mut child = Command::new(env!("CARGO_BIN_EXE_lapidary"))
        .args(["config", "schema"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 1];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
