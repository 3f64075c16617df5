//! The second layer of MGRPO in whole runs: what it leaves alone, what it changes, and that it resumes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::path::Path;

use common::{StopAt, differences, go, go_watched, result_of};
use lapidary_core::TokenRole;
use lapidary_train::StopFlag;
use lapidary_train::metrics::{Row, read_rows};
use lapidary_train::rollouts::{self, Sampled};

/// The toy never finds an answer: what is longer is better, and thirty tokens count as right.
fn recipe(layer: &str) -> String {
    format!(
        "seed = 2\nname = \"m\"\nmodel = \"tiny\"\n[[stage]]\nkind = \"rl\"\nmethod = \"grpo\"\n\
         task = {{ name = \"chain-sum\", style = \"terse\", max_terms = 2, max_digits = 1 }}\n\
         reward = [{{ name = \"length\", max = 60, weight = -1.0 }}]\nsteps = 4\nprompts_per_step = 4\nsamples_per_prompt = 3\n\
         max_new_tokens = 40\nlearning_rate = 0.01\nupdates_per_rollout = 2\n{layer}\n\
         [eval]\nprompts = 3\n[checkpoint]\nevery = 1\nkeep = 2\n"
    )
}

const LAYER: &str =
    "[stage.second_layer]\nsamples = 3\nphrases = [\"sure?\", \"again:\"]\ntemplate = \"{question}{answer};{phrase}\"";

fn run(layer: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), &recipe(layer)).unwrap_or_else(|problem| panic!("{layer}: {problem}"));
    directory
}

fn rows(directory: &Path) -> Vec<Row> {
    read_rows(&directory.join("metrics.jsonl")).unwrap().into_iter().filter(|row| row.get("reward").is_some()).collect()
}

fn samples(directory: &Path, step: u64) -> Vec<Sampled> {
    rollouts::read(&rollouts::path_of(&directory.join("rollouts"), step)).unwrap()
}

fn weights(directory: &Path) -> Vec<u8> {
    let files = result_of(directory);
    files.iter().find(|(name, _)| name.ends_with("model.safetensors")).unwrap().1.clone()
}

#[test]
fn a_layer_of_no_weight_is_plain_training_bit_for_bit() {
    let (plain, without, with) = (run(""), run(&format!("{LAYER}\nweight = 0")), run(LAYER));
    assert_eq!(weights(plain.path()), weights(without.path()));
    assert_ne!(weights(plain.path()), weights(with.path()));
    // The samples of the first layer are the same too, and second ones stand behind them.
    for step in 1..=4 {
        let (first, both) = (samples(plain.path(), step), samples(without.path(), step));
        assert_eq!(first[..], both[..first.len()]);
        assert_eq!((first.len(), both.len()), (12, 12 + 36));
    }
}

#[test]
fn first_answer_and_phrase_are_prompt_to_the_second() {
    let directory = run(LAYER);
    for second in &samples(directory.path(), 1)[12..] {
        let prompt: Vec<TokenRole> =
            second.rollout.roles.iter().copied().take_while(|role| *role == TokenRole::Prompt).collect();
        let text = second.prompt_text.plain();
        assert!(text.ends_with("sure?") || text.ends_with("again:"), "{text}");
        assert_eq!(prompt.len(), text.chars().count() + 1, "one id per character, and the start");
        assert!(second.rollout.roles[prompt.len()..].iter().all(|role| *role == TokenRole::Policy));
    }
    for row in rows(directory.path()) {
        for name in ["layer2/loss", "layer2/reward", "layer2/groups_kept", "layer2/acc_t2", "layer2/delta"] {
            assert!(row.get(name).is_some_and(f64::is_finite), "{name} in {row:?}");
        }
    }
}

#[test]
fn every_choice_runs_and_a_run_that_was_stopped_goes_on_to_the_same_bytes() {
    let choices = [
        "",
        "update = \"sequential\"",
        "policies = \"separate\"",
        "inputs = \"incorrect_only\"\nfraction = 0.5",
        "inputs = \"balanced\"\nreward = \"shaped\"",
        "group = \"query\"\nreward = \"improve\"\nphrase_order = \"round_robin\"",
        "filter = \"success_only\"\nshown = { tail = 5 }\nexclude_truncated = true\ntemperature = 0.7",
    ];
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for choice in choices {
        let text = recipe(&format!("{LAYER}\n{choice}"));
        let whole = tempfile::tempdir().unwrap();
        go(whole.path(), &text).unwrap_or_else(|problem| panic!("{choice}: {problem}"));
        let cut = tempfile::tempdir().unwrap();
        for step in 1..4 {
            let stop = StopFlag::default();
            let stopped = go_watched(cut.path(), &text, &mut StopAt { step, stop: stop.clone() }, &stop);
            assert_eq!(stopped.unwrap_err().code(), "S010", "{choice}");
        }
        go(cut.path(), &text).unwrap();
        assert_eq!(differences(&result_of(whole.path()), &result_of(cut.path())), Vec::<String>::new(), "{choice}");
        let weights = weights(whole.path());
        assert!(!seen.contains(&weights), "`{choice}` changes nothing");
        seen.push(weights);
    }
}

#[test]
fn separate_policies_leave_the_first_one_as_it_was() {
    let directory = run(&format!("{LAYER}\npolicies = \"separate\""));
    for step in 1..=4 {
        let samples = samples(directory.path(), step);
        assert!(samples[..12].iter().all(|sampled| sampled.rollout.weights == 0), "the frozen model answers first");
        let version = 2 * (step - 1);
        assert!(samples[12..].iter().all(|sampled| sampled.rollout.weights == version), "the model at hand corrects");
    }
}
