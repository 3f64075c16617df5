//! Distillation through the loop: a chain of stages that resumes inside any of them, and a teacher.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{StopAt, differences, go, go_watched, result_of};
use lapidary_core::{Kind, TokenRole};
use lapidary_train::metrics::{Row, describe, read_rows};
use lapidary_train::{StopFlag, rollouts};

/// The toy is right where its answer is short.
const CHAIN: &str = r#"
seed = 5
name = "chain"
model = "tiny"

[[stage]]
kind = "sft"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
steps = 3
prompts_per_step = 4
learning_rate = 0.3

[[stage]]
kind = "rl"
method = "grpo"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
reward = [{ name = "length", max = 80 }]
steps = 2
prompts_per_step = 3
samples_per_prompt = 4
max_new_tokens = 20
learning_rate = 0.02

[[stage]]
kind = "distill"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
reward = [{ name = "length", max = 80 }]
steps = 4
prompts_per_step = 3
samples_per_prompt = 6
max_new_tokens = 20
learning_rate = 0.05

[stage.filter]
pass = -0.15
min_tokens = 2
best_of = 2

[eval]
prompts = 3

[checkpoint]
every = 2
"#;

fn rows(directory: &Path) -> Vec<Row> {
    read_rows(&directory.join("metrics.jsonl")).unwrap()
}

#[test]
fn a_chain_of_stages_stopped_inside_any_of_them_ends_in_the_bytes_of_a_whole_one() {
    let whole = tempfile::tempdir().unwrap();
    let outcome = go(whole.path(), CHAIN).unwrap();
    assert_eq!(outcome.step, 9);
    for step in 1..9 {
        let directory = tempfile::tempdir().unwrap();
        let stop = StopFlag::default();
        go_watched(directory.path(), CHAIN, &mut StopAt { step, stop: stop.clone() }, &stop).unwrap_err();
        go(directory.path(), CHAIN).unwrap();
        assert_eq!(differences(&result_of(whole.path()), &result_of(directory.path())), Vec::<String>::new(), "{step}");
    }
    for (name, _) in rows(whole.path()).iter().flat_map(|row| &row.values) {
        assert!(describe(name).is_some(), "`{name}` is not in the catalogue");
    }
}

#[test]
fn what_passes_is_learned_and_everything_is_accounted_for() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), CHAIN).unwrap();
    let mut kept = 0;
    for row in rows(directory.path()).iter().filter(|row| row.stage == 3 && row.get("distill/kept").is_some()) {
        let samples = rollouts::read(&rollouts::path_of(&directory.path().join("rollouts"), row.step)).unwrap();
        assert_eq!(samples.len(), 18);
        let learned: Vec<_> = samples.iter().filter(|sampled| sampled.advantage.is_some()).collect();
        assert_eq!(row.get("distill/kept"), Some(learned.len() as f64));
        for group in samples.chunks(6) {
            assert!(group.iter().filter(|sampled| sampled.advantage.is_some()).count() <= 2);
        }
        assert!(learned.iter().all(|sampled| sampled.length() >= 2 && sampled.length() <= 12 && !sampled.truncated()));
        let dropped = row.values.iter().filter(|(name, _)| name.starts_with("distill/dropped/"));
        let dropped: f64 = dropped.map(|(_, share)| share * 18.0).sum();
        assert!((dropped + learned.len() as f64 - 18.0).abs() < 1e-9, "{row:?}");
        assert_eq!(row.get("loss").is_some(), !learned.is_empty());
        kept += learned.len();
    }
    assert!(kept > 0, "the test is of a stage that learns");
}

/// A step of which nothing passes learns nothing and says so.
#[test]
fn nothing_passes_and_nothing_is_learned() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), &CHAIN.replace("pass = -0.15", "pass = 1.0")).unwrap();
    let weights = |step: u64| {
        std::fs::read(directory.path().join(format!("checkpoints/step-{step:06}/model.safetensors"))).unwrap()
    };
    assert_eq!(weights(7), weights(9), "checkpoints of the stage");
    assert!(rows(directory.path()).iter().filter(|row| row.stage == 3).all(|row| row.get("loss").is_none()));
}

/// A teacher answers with its own weights: its answers are those of a run that began with them, whatever the model at hand is.
#[test]
fn a_teacher_answers_in_place_of_the_model() {
    let taught = tempfile::tempdir().unwrap();
    go(taught.path(), CHAIN).unwrap();
    let teacher = taught.path().join("checkpoints/step-000009");
    let alone = |settings: &str| {
        let start = CHAIN.rfind("[[stage]]").unwrap();
        format!("seed = 6\nname = \"taught\"\nmodel = \"tiny\"\n\n{}", &CHAIN[start..])
            .replace("steps = 4", &format!("steps = 1\n{settings}"))
    };
    let answers = |settings: &str| {
        let directory = tempfile::tempdir().unwrap();
        go(directory.path(), &alone(settings)).unwrap();
        let samples = rollouts::read(&rollouts::path_of(&directory.path().join("rollouts"), 1)).unwrap();
        assert!(samples.iter().all(|sampled| sampled.rollout.roles.contains(&TokenRole::Policy)));
        samples.iter().map(|sampled| sampled.rollout.logp.clone()).collect::<Vec<_>>()
    };
    let theirs = answers(&format!("teacher = {:?}", teacher.to_str().unwrap()));
    assert_ne!(theirs, answers(""), "the model at hand has not learned yet");
    let again = answers(&format!("teacher = {:?}", teacher.to_str().unwrap()));
    assert_eq!(theirs, again);
    let problem = go(taught.path().join("x").as_path(), &alone("teacher = \"no/such/model\"")).unwrap_err();
    assert!(problem.to_string().contains("no/such/model"), "{problem}");
}

#[test]
fn keys_of_other_stages_are_refused() {
    let refused = |from: &str, to: &str| {
        let problem =
            lapidary_train::Recipe::load_text(Path::new("x.toml"), &CHAIN.replace(from, to), &[]).unwrap_err();
        assert_eq!(problem.kind(), Kind::Usage);
        problem.code()
    };
    assert_eq!(refused("samples_per_prompt = 6", "samples_per_prompt = 6\nupdates_per_rollout = 2"), "R007");
    assert_eq!(refused("samples_per_prompt = 6", "samples_per_prompt = 6\nloss_on = \"all\""), "R007");
    assert_eq!(refused("samples_per_prompt = 4", "samples_per_prompt = 4\nteacher = \"x\""), "R007");
    assert_eq!(refused("min_tokens = 2", "min_tokens = 9\nmax_tokens = 3"), "R006");
}
