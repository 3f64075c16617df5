//! `lapidary reward code` and `ifeval` of the real binary, which is its own launcher.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test says what is wrong by panicking

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

fn lapidary(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lapidary"))
        .args(arguments)
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
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn programs_are_scored_line_by_line() {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("skipped: there is no python3");
        return;
    }
    let prompt = "def double(x):\n    \"\"\"Twice x.\"\"\"\n";
    let check = "def check(candidate):\n    assert candidate(4) == 8\n";
    let rows = [
        json!({"prompt": prompt, "completion": "    return 2 * x\n", "test": check, "entry_point": "double"}),
        json!({"prompt": prompt, "completion": "    import os; os._exit(0)\n", "test": check, "entry_point": "double"}),
        json!({"completion": "print(input())", "inputs": ["a"], "outputs": ["a"]}),
        json!({"completion": "print(input())"}),
    ];
    let input = rows.iter().fold(String::new(), |all, row| format!("{all}{row}\n"));
    let verdicts = lines(&lapidary(&["reward", "code", "--input", "-", "--json"], &input));
    let scores: Vec<&Value> = verdicts.iter().map(|verdict| &verdict["score"]).collect();
    assert_eq!(scores, [&json!(1.0), &json!(0.0), &json!(1.0), &Value::Null], "{verdicts:?}");
    assert_eq!(verdicts[1]["reason"], "it ended itself with exit code 0");
    assert!(verdicts[3]["reason"].as_str().unwrap().contains("no tests"), "{}", verdicts[3]);
}

#[test]
fn instructions_are_scored_line_by_line() {
    let row = |ids: Value, kwargs: Value, completion: &str| json!({"prompt": "p", "completion": completion, "instruction_id_list": ids, "kwargs": kwargs});
    let words = || json!({"num_words": 3, "relation": "at least"});
    let two = || json!(["punctuation:no_comma", "length_constraints:number_words"]);
    let rows = [
        row(two(), json!([{}, words()]), "Sure, here:\nrivers run downhill"),
        row(json!(["no:such"]), json!([{}]), "text"),
    ];
    let input = rows.iter().fold(String::new(), |all, row| format!("{all}{row}\n"));
    let output = lapidary(&["reward", "ifeval", "--input", "-", "--json"], &input);
    let verdicts = lines(&output);
    assert_eq!(verdicts[0], json!({"score": 0.5, "strict": [false, true], "loose": [true, true]}));
    assert_eq!((&verdicts[1]["score"], &verdicts[1]["strict"]), (&Value::Null, &json!([null])));
    assert!(verdicts[1]["reason"].as_str().unwrap().contains("`no:such`"));
    let metrics = String::from_utf8_lossy(&output.stderr);
    assert!(metrics.contains("strict: 0.0000 of prompts, 0.5000 of instructions followed"), "{metrics}");
    assert!(metrics.contains("loose: 1.0000 of prompts, 1.0000 of instructions followed"), "{metrics}");
}

#[test]
fn the_doctor_names_the_layers() {
    let findings = lines(&lapidary(&["doctor", "--json"], ""));
    let sandbox = findings.iter().find(|finding| finding["check"] == "sandbox").unwrap();
    let found = sandbox["found"].as_str().unwrap();
    assert!(found.contains("seccomp, program") || found.starts_with("none"), "{found}");
}
