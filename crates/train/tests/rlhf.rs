//! The classic loop in one run, with the real engine: a reward model, debiased preferences that it helps to judge, PPO against it.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{StopAt, differences, recipe_of, result_of, settings};
use lapidary_core::Problem;
use lapidary_train::metrics::{describe, read_rows};
use lapidary_train::{Outcome, Recipe, Silent, StopFlag, Watch, replay, run};

const LOOP: &str = r#"
seed = 5
name = "loop"
model = "tiny"

[[stage]]
kind = "reward-model"
task = { name = "preferences", letters = 2, alphabet = 4 }
steps = 2
prompts_per_step = 8
learning_rate = 1e-3

[stage.early_stop]
every = 2
prompts = 20

[[stage]]
kind = "preference"
method = "vrpo"
task = { name = "preferences", letters = 2, alphabet = 4, items = 12 }
steps = 3
prompts_per_step = 4
learning_rate = 1e-3

[stage.vrpo]
synthetic_pairs = 2

[stage.auxiliary]
model = "stage.1"
max_new_tokens = 200

[stage.early_stop]
every = 3
prompts = 4

[[stage]]
kind = "rl"
method = "ppo"
task = { name = "preferences", letters = 2, alphabet = 4 }
reward = [
    { model = "stage.1", scale = "standardised", clip = 3.0, missing_end = 0.5 },
    { name = "preferences", of = "utility", label = "truth", gate = -1e6 },
]
steps = 2
prompts_per_step = 4
samples_per_prompt = 2
max_new_tokens = 8

[stage.ppo]
kl_coefficient = 0.05

[eval]
prompts = 0

[checkpoint]
every = 2
"#;

fn go(directory: &Path, watch: &mut dyn Watch, stop: &StopFlag) -> Result<Outcome, Problem> {
    run(&recipe_of(LOOP), &settings(directory), watch, stop)
}

#[test]
fn the_loop_runs_and_ends_in_the_same_bytes_wherever_it_was_stopped() {
    let whole = tempfile::tempdir().unwrap();
    go(whole.path(), &mut Silent, &StopFlag::default()).unwrap();
    let rows = read_rows(&whole.path().join("metrics.jsonl")).unwrap();
    for (name, value) in rows.iter().flat_map(|row| &row.values) {
        assert!(describe(name).is_some() && value.is_finite(), "`{name}` is {value}");
    }
    let of = |stage: usize, name: &str| -> Vec<f64> {
        rows.iter().filter(|row| row.stage == stage).filter_map(|row| row.get(name)).collect()
    };
    assert_eq!(of(2, "vrpo/data").len(), 3);
    assert_eq!(of(2, "vrpo/synthetic").len(), 3, "some answers of the reference end");
    let (proxy, total) = (of(3, "rewards/model/mean"), of(3, "reward"));
    assert!(proxy.len() == 2 && proxy == total, "what is measured is no part of the reward: {proxy:?} {total:?}");
    assert!(proxy.iter().all(|reward| reward.abs() <= 3.5));
    assert_eq!((of(3, "rewards/truth/mean").len(), of(3, "kl").len()), (2, 2));
    for step in 1..7 {
        let directory = tempfile::tempdir().unwrap();
        let stop = StopFlag::default();
        go(directory.path(), &mut StopAt { step, stop: stop.clone() }, &stop).unwrap_err();
        go(directory.path(), &mut Silent, &StopFlag::default()).unwrap();
        assert_eq!(differences(&result_of(whole.path()), &result_of(directory.path())), Vec::<String>::new(), "{step}");
    }
    // Saved answers get the same rewards again.
    let again = replay::replay(whole.path(), &replay::Settings { rewards: None, right_from: 0.5, keep: 0 }).unwrap();
    assert_eq!((again.samples, again.same), (16, 16));
}

#[test]
fn a_reward_model_that_no_earlier_stage_makes_is_refused_where_it_is_named() {
    let refused = |text: &str| Recipe::load_text(Path::new("x.toml"), text, &[]).unwrap_err();
    for (from, to) in [
        ("\"stage.1\", scale", "\"stage.2\", scale"),
        ("\"stage.1\", scale", "\"stage.3\", scale"),
        ("\"stage.1\"\nmax", "\"stage.2\"\nmax"),
    ] {
        let problem = refused(&LOOP.replace(from, to));
        assert_eq!(problem.code(), "R051", "{problem}");
        assert!(problem.place().is_some());
    }
    let elsewhere =
        LOOP.replace("method = \"vrpo\"", "method = \"dpo\"").replace("[stage.vrpo]\nsynthetic_pairs = 2\n", "");
    assert_eq!(refused(&elsewhere).code(), "R052");
}

/// RLSF (arXiv 2507.21931) between demonstrations and distillation: `sft → self-feedback → reward-model → rl → distill`.
const RLSF: &str = r#"
seed = 11
name = "rlsf"
model = "tiny"

[[stage]]
kind = "sft"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
steps = 1
prompts_per_step = 4
learning_rate = 0.003

[[stage]]
kind = "self-feedback"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
steps = 2
prompts_per_step = 4
samples_per_prompt = 6
max_new_tokens = 24
temperature = 1.0

[stage.confidence]
statistic = "predictive_probability"
span = "last_number"

[stage.ranking]
min_confidence = 0.0

[[stage]]
kind = "reward-model"
task = { pairs = "stage.2", test_fraction = 0 }
steps = 2
prompts_per_step = 4
learning_rate = 1e-3

[[stage]]
kind = "rl"
method = "ppo"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
reward = [{ model = "stage.3" }]
steps = 2
prompts_per_step = 4
samples_per_prompt = 2
max_new_tokens = 8

[[stage]]
kind = "distill"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
reward = [{ model = "stage.3" }]
steps = 1
prompts_per_step = 4
samples_per_prompt = 2
max_new_tokens = 8

[stage.filter]
pass = -100

[eval]
prompts = 0

[checkpoint]
every = 2
"#;

/// The run of a recipe, and that it ends in the same bytes wherever it was stopped.
fn whole_and_stopped(text: &str, steps: u64) -> tempfile::TempDir {
    let recipe = recipe_of(text);
    let go = |directory: &Path, watch: &mut dyn Watch, stop: &StopFlag| run(&recipe, &settings(directory), watch, stop);
    let whole = tempfile::tempdir().unwrap();
    assert_eq!(go(whole.path(), &mut Silent, &StopFlag::default()).unwrap().step, steps);
    for step in 1..steps {
        let directory = tempfile::tempdir().unwrap();
        let stop = StopFlag::default();
        go(directory.path(), &mut StopAt { step, stop: stop.clone() }, &stop).unwrap_err();
        go(directory.path(), &mut Silent, &StopFlag::default()).unwrap();
        assert_eq!(differences(&result_of(whole.path()), &result_of(directory.path())), Vec::<String>::new(), "{step}");
    }
    whole
}

/// As a whole model, and, as the paper has it, with an adapter on a model that is there already.
#[test]
fn self_feedback_becomes_a_reward_and_the_chain_ends_in_the_same_bytes_wherever_it_was_stopped() {
    let whole = whole_and_stopped(RLSF, 8);
    assert!(whole.path().join("reward-models/stage-3/model.safetensors").exists());
    let rows = read_rows(&whole.path().join("metrics.jsonl")).unwrap();
    assert_eq!(rows.iter().filter(|row| row.stage == 4 && row.get("rewards/model/mean").is_some()).count(), 2);
    let model = whole.path().join("checkpoints/step-000008");
    let adapter = format!("model = {model:?}\n\n[adapter]\nrank = 2\nalpha = 4\nrslora = true\n");
    let adapted = whole_and_stopped(&RLSF.replace("model = \"tiny\"\n", &adapter), 8);
    assert!(adapted.path().join("reward-models/stage-3/adapter_model.safetensors").exists());
}
