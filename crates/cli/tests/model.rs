//! `score` and `generate` on a real checkpoint, against each other.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test says what is wrong by panicking

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A tiny random Llama with Hugging Face's answers; it has no tokenizer.
fn llama() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/golden/llama")
}

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
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|x| x.to_string().parse().unwrap()).collect()
}

fn ids(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
}

#[test]
fn what_was_generated_scores_the_same_bits() {
    let model = llama();
    let model = model.to_str().unwrap();
    for choice in [vec!["--greedy"], vec!["--seed", "5", "--samples", "3"]] {
        let mut arguments = vec!["generate", "--model", model, "--json", "--max-new-tokens", "8", "--input", "-"];
        arguments.extend(choice);
        let prompts = [[3u64, 1, 4].as_slice(), &[1, 5, 9, 2, 6]];
        let input: String = prompts.iter().map(|ids| format!("{{\"ids\":{ids:?}}}\n")).collect();
        let generated = lines(&lapidary(&arguments, &input));
        let samples = generated.len() / prompts.len();
        let mut sequences = String::new();
        for (row, answer) in generated.iter().enumerate() {
            let keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["ids", "logp"]);
            let whole: Vec<u64> = [prompts[row / samples], &ids(&answer["ids"])].concat();
            sequences.push_str(&format!("{{\"ids\":{whole:?}}}\n"));
        }
        let scored = lines(&lapidary(&["score", "--model", model, "--json", "--threads", "1"], &sequences));
        for (row, (answer, score)) in generated.iter().zip(&scored).enumerate() {
            let (sampled, scored) = (floats(&answer["logp"]), floats(&score["logp"]));
            let prompt = prompts[row / samples].len();
            assert_eq!(scored.len(), prompt + sampled.len() - 1, "positions 1 to n-1");
            assert_eq!(score["entropy"].as_array().unwrap().len(), scored.len());
            let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&sampled), bits(&scored[prompt - 1..]), "sampler and scorer are one model");
        }
    }
}

#[test]
fn a_single_token_has_nothing_to_score() {
    let output = lapidary(&["score", "--model", llama().to_str().unwrap(), "--json"], "{\"ids\":[3]}\n{\"ids\":[]}\n");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "{\"logp\":[],\"entropy\":[]}\n".repeat(2));
}

#[test]
fn broken_input_is_placed_and_the_exit_code_says_data() {
    let model = llama();
    let model = model.to_str().unwrap();
    for (input, code, at) in [
        ("{\"ids\":[1]}\n{\"ids\":[1,2}\n", "D002", "<stdin>:2:"),
        ("{\"ids\":[1,99999]}\n", "D060", "<stdin>:1:11"),
        ("{\"ids\":[1,-1]}\n", "D060", "<stdin>:1:11"),
        ("{\"ids\":7}\n", "D003", "<stdin>:1:2"),
        ("{\"idz\":[7]}\n", "D004", "<stdin>:1:1"),
        ("{\"ids\":[7],\"text\":\"a\"}\n", "D061", "<stdin>:1:1"),
    ] {
        for verb in ["score", "generate"] {
            let output = lapidary(&[verb, "--model", model, "--json", "--input", "-"], input);
            let error: Value = serde_json::from_slice(&output.stderr).unwrap();
            let place = &error["error"]["place"];
            let found = format!("{}:{}:{}", place["path"].as_str().unwrap(), place["line"], place["column"]);
            assert_eq!((output.status.code(), error["error"]["code"].as_str()), (Some(3), Some(code)), "{input}");
            assert!(found.starts_with(at), "{input}: {found}");
        }
    }
}

#[test]
fn words_need_a_tokenizer_and_a_model_must_be_there() {
    let output = lapidary(&["score", "--model", llama().to_str().unwrap(), "--json"], "{\"text\":\"hello\"}\n");
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((output.status.code(), error["error"]["code"].as_str()), (Some(4), Some("T001")));
    let output = lapidary(&["score", "--model", "nowhere/at-all", "--json"], "");
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((output.status.code(), error["error"]["code"].as_str()), (Some(4), Some("M001")));
}

#[test]
fn rewards_are_tried_on_lines() {
    let input = "{\"prompt\":\"6*12?\",\"completion\":\"#### 72\",\"answer\":\"72\"}\n{\"completion\":\"#### 71\",\"answer\":\"72\"}\n{\"completion\":\"x\"}\n";
    let answers = lines(&lapidary(&["reward", "answer", "--json"], input));
    assert_eq!(answers.iter().map(|it| it["score"].as_f64()).collect::<Vec<_>>(), [Some(1.0), Some(0.0), None]);
    let keys: Vec<&String> = answers[2].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["score", "reason"]);
    assert!(answers[2]["score"].is_null());
    let output = lapidary(&["reward", "anwser", "--json"], "");
    assert_eq!(output.status.code(), Some(2));
}

/// The real models of `LAPIDARY_DATA`.
#[test]
fn stories260k_tells_a_story() {
    let Some(data) = std::env::var_os("LAPIDARY_DATA") else {
        println!("skipped: LAPIDARY_DATA is not set");
        return;
    };
    let model = Path::new(&data).join("models/stories260K-hf");
    let output = lapidary(
        &["generate", "-m", model.to_str().unwrap(), "-p", "Once upon a time", "--raw", "--greedy", "-n", "40"],
        "",
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("there was a little girl named Lily"), "{text} {}", String::from_utf8_lossy(&output.stderr));
}

/// Ids scored by a model, through the binary.
fn scored(arguments: &[&str]) -> Vec<f32> {
    let mut all = vec!["score", "--json", "--threads", "1"];
    all.extend(arguments);
    floats(&lines(&lapidary(&all, "{\"ids\":[3,1,4,1,5,9,2,6]}\n"))[0]["logp"])
}

#[test]
fn an_adapter_scores_on_its_base_and_merged_into_it() {
    let base = llama();
    let adapter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/golden/lora/llama");
    let (base, adapter) = (base.to_str().unwrap(), adapter.to_str().unwrap());
    let plain = scored(&["--model", base]);
    let adapted = scored(&["--model", base, "--adapter", adapter]);
    assert_ne!(plain, adapted);
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("merged");
    let out = out.to_str().unwrap();
    let merged = lapidary(&["merge", adapter, "--model", base, "--out", out], "");
    assert!(merged.status.success(), "{}", String::from_utf8_lossy(&merged.stderr));
    for (got, want) in scored(&["--model", out]).iter().zip(&adapted) {
        assert!((got - want).abs() < 2e-5, "{got} {want}");
    }
    let refused = |arguments: &[&str]| {
        let output = lapidary(arguments, "");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = refused(&["merge", adapter, "--model", base, "--out", out]);
    assert!(code == 2 && text.contains("U015"), "{text}");
    let (code, text) = refused(&["merge", base, "--out", "elsewhere"]);
    assert!(code == 2 && text.contains("U014"), "{text}");
    // The golden adapter names its base by a path that is not there.
    let (code, text) = refused(&["score", "--model", adapter]);
    assert!(code == 4 && text.contains("M001"), "{text}");
    let inspected = lapidary(&["inspect", adapter, "--json"], "");
    let facts: Value = serde_json::from_slice(&inspected.stdout).unwrap();
    assert_eq!((facts["rank"].as_u64(), facts["base"].as_str()), (Some(4), Some("golden/llama")));
}
