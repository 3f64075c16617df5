//! Runs that train an adapter: what is saved, how it goes on, and that the base stays as it is.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{StopAt, differences, recipe_of, result_of, settings};
use lapidary_core::{Kind, TokenBatch, Want};
use lapidary_engine::Engine;
use lapidary_train::metrics::read_rows;
use lapidary_train::{Recipe, Settings, Silent, StopFlag, model, run};

const RECIPE: &str = r#"
seed = 3
name = "adapter"
model = "MODEL"

[adapter]
rank = 4
targets = ["q_proj", "v_proj", "down_proj"]

[[stage]]
kind = "sft"
task = "spell-backward"
steps = 2
prompts_per_step = 4
learning_rate = 0.01

[[stage]]
kind = "rl"
method = "gspo"
task = "spell-backward"
reward = ["answer", { name = "length", weight = 0.01, max = 16 }]
steps = 3
prompts_per_step = 3
samples_per_prompt = 4
max_new_tokens = 12
updates_per_rollout = 3
tokens_per_microbatch = 300
learning_rate = 0.01

[stage.gspo]
kl_coefficient = 0.01

[eval]
prompts = 4
max_new_tokens = 12

[checkpoint]
every = 2
"#;

/// A model directory with a tokenizer.
fn base(directory: &Path) -> Recipe {
    let made = model::load("tiny", 3, 1).unwrap();
    made.engine.save_model(directory).unwrap();
    made.tokenizer.save(directory).unwrap();
    recipe_of(&RECIPE.replace("MODEL", directory.to_str().unwrap()))
}

#[test]
fn a_run_with_an_adapter_keeps_every_promise_and_leaves_the_base_alone() {
    let home = tempfile::tempdir().unwrap();
    let recipe = base(home.path());
    let weights = std::fs::read(home.path().join("model.safetensors")).unwrap();
    let go = |directory: &Path, threads| {
        run(&recipe, &Settings { threads, ..settings(directory) }, &mut Silent, &StopFlag::default()).unwrap()
    };
    let one = tempfile::tempdir().unwrap();
    let outcome = go(one.path(), 1);
    assert!(outcome.plan.trained_parameters * 10 < outcome.plan.parameters);
    let expected = result_of(one.path());
    let stopped = tempfile::tempdir().unwrap();
    let stop = StopFlag::default();
    let mut watch = StopAt { step: 4, stop: stop.clone() };
    let problem = run(&recipe, &settings(stopped.path()), &mut watch, &stop).unwrap_err();
    assert_eq!(problem.kind(), Kind::Interrupted);
    go(stopped.path(), 2);
    assert_eq!(differences(&expected, &result_of(stopped.path())), Vec::<String>::new(), "stopped, other threads");
    assert!(std::fs::read(home.path().join("model.safetensors")).unwrap() == weights);
    let rows = read_rows(&one.path().join("metrics.jsonl")).unwrap();
    let exact = rows.iter().filter_map(|row| row.get("sampling/logp_difference/max")).collect::<Vec<_>>();
    assert_eq!(exact, [0.0; 3], "sampler and trainer are one model");

    let checkpoint = one.path().join("checkpoints/step-000005");
    for file in ["adapter_config.json", "adapter_model.safetensors", "tokenizer.json"] {
        assert!(checkpoint.join(file).exists(), "{file}");
    }
    assert!(!checkpoint.join("model.safetensors").exists(), "a checkpoint holds what learned");
    let mut opened = model::open(checkpoint.to_str().unwrap(), None, 0, 1).unwrap();
    assert!(opened.tokenizer.is_some() && opened.native.adapter().is_some());
    let batch = TokenBatch::all([vec![1, 9, 12, 5, 7]]);
    let adapted = opened.native.score(&batch, Want::default()).unwrap();
    let plain = model::open(home.path().to_str().unwrap(), None, 0, 1).unwrap().native;
    assert_eq!(
        opened.native.score_base(&batch, Want::default()).unwrap(),
        plain.score(&batch, Want::default()).unwrap()
    );
    assert_ne!(adapted, plain.score(&batch, Want::default()).unwrap(), "something was learned");
    let other = model::open(home.path().to_str().unwrap(), Some(&checkpoint), 0, 2).unwrap().native;
    assert_eq!(other.score(&batch, Want::default()).unwrap(), adapted);
    opened.native.merge_adapter();
    let merged = opened.native.score(&batch, Want::default()).unwrap();
    assert!(merged.logp.flat().iter().zip(adapted.logp.flat()).all(|(a, b)| (a - b).abs() < 1e-4));
}
