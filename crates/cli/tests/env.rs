//! `env` and `reward bfcl` of the real binary, on a made-up shop.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test says what is wrong by panicking

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

fn shop() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("tau_bench");
    std::fs::create_dir(&folder).unwrap();
    let tables: Value = serde_json::from_str(include_str!("../../world/tests/shop/world.json")).unwrap();
    for table in ["orders", "products", "users"] {
        std::fs::write(folder.join(format!("retail_db_{table}.json")), tables[table].to_string()).unwrap();
    }
    let cancel = json!({"name": "cancel_pending_order", "kwargs": {"order_id": "#W1", "reason": "no longer needed"}});
    let tasks = json!([{"id": "retail_test_0", "user_id": "ann_1", "instruction": "Cancel it.", "actions": [cancel], "outputs": ["37.45"]}]);
    std::fs::write(folder.join("tasks_retail_test.json"), tasks.to_string()).unwrap();
    std::fs::write(folder.join("retail_policy.md"), "Be kind.").unwrap();
    std::fs::write(folder.join("retail_tools.json"), "{\"tools\": []}").unwrap();
    directory
}

fn lapidary(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lapidary"))
        .args(arguments)
        .env("LAPIDARY_DATA", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn recorded_actions_are_scored_line_by_line() {
    let shop = shop();
    let cancel = r##"{"name": "cancel_pending_order", "kwargs": {"order_id": "#W1", "reason": "no longer needed"}}"##;
    let say = r#"{"name": "respond", "kwargs": {"content": "37.45 are back on your card."}}"#;
    let input = format!(
        "{{\"task_id\": \"retail_test_0\", \"actions\": [{cancel}, {say}]}}\n{{\"task_id\": 0, \"actions\": [{say}]}}\n\
         {{\"task_id\": 0, \"actions\": [{{\"name\": \"think\", \"kwargs\": {{}}}}, {{\"name\": \"fly\"}}]}}\n"
    );
    let scored = lines(&lapidary(shop.path(), &["env", "run", "tau-retail", "--json"], &input));
    assert_eq!(scored.iter().map(|line| line["reward"].clone()).collect::<Vec<_>>(), [json!(1), json!(0), json!(0)]);
    assert_eq!(scored[0]["hash"], scored[0]["gold_hash"]);
    assert_eq!(scored[0]["observations"][1], "###STOP###");
    assert_eq!(
        scored[2]["observations"],
        json!(["Error: Think.invoke() missing 1 required positional argument: 'thought'", "Unknown action fly"])
    );
}

#[test]
fn wrong_lines_and_names_are_refused_with_their_place() {
    let shop = shop();
    for (input, code) in [
        ("{\"task_id\": \"retail_test_9\", \"actions\": []}", "E006"),
        ("{\"task_id\": 9, \"actions\": []}", "E010"),
        ("{\"task_id\": true, \"actions\": []}", "E010"),
        ("{\"task_id\": 0}", "E010"),
        ("{\"task_id\": 0, \"actions\": [{\"name\": 5}]}", "E010"),
        ("{\"task_id\": 0, \"actions\": [{\"name\": \"think\", \"kwargs\": []}]}", "E010"),
        ("{\"task_id\": 0, \"actions\": [NaN]}", "D002"),
        ("[]", "E010"),
    ] {
        let output = lapidary(shop.path(), &["env", "run", "tau-retail", "--json"], input);
        let told: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!((output.status.code(), told["error"]["code"].as_str()), (Some(3), Some(code)), "{input}");
        assert_eq!(told["error"]["place"]["line"], 1, "{input}");
    }
    for (arguments, code) in
        [(["env", "run", "tau-retial", "--json"], "E000"), (["env", "run", "tau-airline", "--json"], "E003")]
    {
        let told: Value = serde_json::from_slice(&lapidary(shop.path(), &arguments, "").stderr).unwrap();
        assert_eq!(told["error"]["code"], code);
    }
}

#[test]
fn a_person_can_act() {
    let shop = shop();
    let typed = "find_user_id_by_email {\"email\": \"ann@example.com\"}\nnonsense [\n\
                 cancel_pending_order {\"order_id\": \"#W1\", \"reason\": \"no longer needed\"}\nsay 37.45 are back.\nstop\n";
    let output = lapidary(shop.path(), &["env", "play", "tau-retail"], typed);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success());
    for part in ["Be kind.", "Cancel it.", "ann_1", "no JSON", "\"status\": \"cancelled\"", "reward 1"] {
        assert!(shown.contains(part), "{part} is missing in\n{shown}");
    }
}

#[test]
fn calls_are_scored_against_right_calls() {
    let shop = shop();
    let function = json!([{"name": "f", "parameters": {"type": "dict", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}]);
    let row = |output: Value| json!({"category": "simple", "function": function, "ground_truth": [{"f": {"a": [1, 2]}}], "output": output});
    let input = format!("{}\n{}\n", row(json!([{"f": {"a": 2}}])), row(json!([{"f": {"a": "2"}}])));
    let scored = lines(&lapidary(shop.path(), &["reward", "bfcl", "--json"], &input));
    assert_eq!([&scored[0]["score"], &scored[1]["score"]], [&json!(1), &json!(0)]);
    assert_eq!(scored[1]["reason"], "`a`: wrong type: string where integer is right");
}
