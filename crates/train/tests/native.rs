//! The same promises with the real engine: exact sampler, any number of threads, resume.
#![allow(clippy::unwrap_used)]

mod common;

use common::{StopAt, differences, recipe_of, result_of, settings};
use lapidary_core::{Kind, TokenBatch, Want};
use lapidary_train::metrics::read_rows;
use lapidary_train::{Recipe, Settings, Silent, StopFlag, model, rollouts, run};

const RECIPE: &str = r#"
seed = 3
name = "native"
model = "tiny"

[[stage]]
kind = "sft"
task = "spell-backward"
steps = 3
prompts_per_step = 4
learning_rate = 0.003

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
learning_rate = 0.001

[stage.gspo]
kl_coefficient = 0.01

[eval]
prompts = 4
max_new_tokens = 12

[checkpoint]
every = 2
"#;

fn go(directory: &std::path::Path, threads: usize) {
    let settings = Settings { threads, ..settings(directory) };
    run(&recipe(), &settings, &mut Silent, &StopFlag::default()).unwrap();
}

fn recipe() -> Recipe {
    recipe_of(RECIPE)
}

#[test]
fn threads_and_a_stop_change_no_byte() {
    let one = tempfile::tempdir().unwrap();
    go(one.path(), 1);
    let expected = result_of(one.path());
    for threads in [2, 4] {
        let other = tempfile::tempdir().unwrap();
        go(other.path(), threads);
        assert_eq!(differences(&expected, &result_of(other.path())), Vec::<String>::new(), "{threads} threads");
    }
    let stopped = tempfile::tempdir().unwrap();
    let stop = StopFlag::default();
    let mut watch = StopAt { step: 5, stop: stop.clone() };
    let problem = run(&recipe(), &settings(stopped.path()), &mut watch, &stop).unwrap_err();
    assert_eq!(problem.kind(), Kind::Interrupted);
    go(stopped.path(), 2);
    assert_eq!(differences(&expected, &result_of(stopped.path())), Vec::<String>::new(), "stopped, other threads");

    // Sampler and trainer are one model: the difference is 0, not small.
    for row in read_rows(&one.path().join("metrics.jsonl")).unwrap() {
        if row.get("reward").is_some() {
            assert_eq!(row.get("sampling/logp_difference/max"), Some(0.0), "step {}", row.step);
            assert_eq!(row.get("sampling/mismatch_k1"), Some(0.0), "step {}", row.step);
        }
    }
}

/// A checkpoint is a Hugging Face directory: opened as a model, it says of the last rollouts' tokens what its weights say.
#[test]
fn a_checkpoint_opens_as_a_model() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), 2);
    let path = directory.path().join("checkpoints/step-000006");
    for file in
        ["config.json", "model.safetensors", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]
    {
        assert!(path.join(file).exists(), "{file}");
    }
    let opened = model::load(path.to_str().unwrap(), 0, 1).unwrap();
    let samples = rollouts::read(&rollouts::path_of(&directory.path().join("rollouts"), 6)).unwrap();
    assert_eq!(samples.len(), 12);
    let batch = TokenBatch::all(samples.iter().map(|sampled| sampled.rollout.tokens.clone()));
    let stats = opened.engine.score(&batch, Want::default()).unwrap();
    assert!(stats.logp.flat().iter().all(|logp| logp.is_finite() && *logp <= 0.0));
    assert!(model::load("no/such/model", 0, 1).is_err());
}

#[test]
fn experts_that_an_update_changes_are_counted() {
    let changed = |updates: usize, replay: &str| {
        let directory = tempfile::tempdir().unwrap();
        let text = format!(
            "model = \"tiny-moe\"\n[[stage]]\nkind = \"rl\"\nmethod = \"grpo\"\ntask = \"spell-backward\"\n\
             reward = [{{ name = \"length\", max = 4 }}]\nsteps = 2\nprompts_per_step = 4\nsamples_per_prompt = 4\n\
             max_new_tokens = 12\nupdates_per_rollout = {updates}\nlearning_rate = 0.01\nwarmup_steps = 0\n\
             routing_replay = \"{replay}\"\n[eval]\nprompts = 0\n[checkpoint]\nevery = 100\n"
        );
        run(&recipe_of(&text), &settings(directory.path()), &mut Silent, &StopFlag::default()).unwrap();
        let metrics = std::fs::read_to_string(directory.path().join("metrics.jsonl")).unwrap();
        let rows = metrics.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        rows.filter(|row| row.get("reward").is_some()).map(|row| row["routing/changed"].as_f64()).collect::<Vec<_>>()
    };
    assert_eq!(changed(1, "off"), [Some(0.0); 2], "the weights that sampled route as the sampler did");
    let several = changed(4, "off");
    assert!(several.iter().all(|share| share.is_some_and(|share| share > 0.0 && share < 1.0)), "{several:?}");
    assert_eq!(changed(4, "r3"), [None; 2], "replayed experts do not change");
}
