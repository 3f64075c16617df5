//! Rewards that need no label, in the loop: what they ask of which model, how they add up, and that a cut changes nothing.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{StopAt, differences, go, go_watched, result_of};
use lapidary_train::fault;
use lapidary_train::metrics::{Row, describe, read_rows};
use lapidary_train::rollouts::{self, Sampled};
use lapidary_train::{Recipe, StopFlag};

/// Three rewards that ask three models, two of them with a memory of their own. Sums of one digit, so that some answers are right.
const INTRINSIC: &str = r#"
seed = 5
name = "intrinsic"
model = "tiny"

[[stage]]
kind = "sft"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
steps = 2
prompts_per_step = 4
learning_rate = 0.05

[[stage]]
kind = "rl"
method = "reinforce"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
reward = [
  { name = "confidence", map = "baseline", baseline_decay = 0.5 },
  { name = "confidence", label = "mean", model = "ema", model_decay = 0.5, map = "signed" },
  { name = "self-certainty", weight = 0.1 },
]
steps = 5
prompts_per_step = 3
samples_per_prompt = 2
max_new_tokens = 8
learning_rate = 0.05

[eval]
prompts = 4

[eval.confidence]
statistic = "max_probability"
span = "last_number"

[checkpoint]
every = 2
keep = 2
"#;

const VOTES: &str = r#"
seed = 5
name = "votes"
model = "tiny"

[[stage]]
kind = "rl"
method = "grpo"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
reward = [{ name = "majority-vote", votes = 12 }]
steps = 3
prompts_per_step = 4
samples_per_prompt = 3
max_new_tokens = 4
learning_rate = 0.01

[eval]
prompts = 0
"#;

fn rows(directory: &Path, stage: usize) -> Vec<Row> {
    let rows = read_rows(&directory.join("metrics.jsonl")).unwrap();
    rows.into_iter().filter(|row| row.stage == stage && row.get("learning_rate").is_some()).collect()
}

fn samples(directory: &Path, step: u64) -> Vec<Sampled> {
    rollouts::read(&rollouts::path_of(&directory.join("rollouts"), step)).unwrap()
}

fn score(sampled: &Sampled, label: &str) -> f64 {
    sampled.rewards[label].as_f64().unwrap()
}

#[test]
fn cut_anywhere_it_ends_in_the_same_bytes_and_a_forgotten_memory_is_noticed() {
    let whole = tempfile::tempdir().unwrap();
    go(whole.path(), INTRINSIC).unwrap();
    let expected = result_of(whole.path());
    let stopped = |step: u64, forget: Option<&str>| {
        let directory = tempfile::tempdir().unwrap();
        let stop = StopFlag::default();
        forget.into_iter().for_each(fault::arm_omission);
        go_watched(directory.path(), INTRINSIC, &mut StopAt { step, stop: stop.clone() }, &stop).unwrap_err();
        fault::disarm();
        go(directory.path(), INTRINSIC).map(|_| differences(&expected, &result_of(directory.path())))
    };
    for step in 1..7 {
        assert_eq!(stopped(step, None).unwrap(), Vec::<String>::new(), "{step}");
    }
    for field in ["memory", "reference"] {
        assert!(stopped(5, Some(field)).map_or(true, |differences| !differences.is_empty()), "{field}");
    }
    // The mean of the weights is part of a checkpoint inside the stage, and of none after it.
    assert!(expected.keys().all(|name| !name.contains("state/mean")));
}

#[test]
fn each_reward_asks_its_own_model() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), INTRINSIC).unwrap();
    let first = samples(directory.path(), 3);
    assert_eq!(first.len(), 6);
    // Before the first update frozen and mean are the same model: C − m with the batch's mean, and 2C − 1.
    let confidences: Vec<f64> = first.iter().map(|sampled| (score(sampled, "mean") + 1.0) / 2.0).collect();
    let mean = confidences.iter().sum::<f64>() / 6.0;
    for (sampled, confidence) in first.iter().zip(&confidences) {
        assert!((score(sampled, "confidence") - (confidence - mean)).abs() < 1e-6);
        assert!((1.0 / common::toy_vocabulary() as f64 - 1e-6..1.0).contains(confidence));
        // ln V is what a model that knows nothing has.
        assert!(score(sampled, "self-certainty") >= (common::toy_vocabulary() as f64).ln() - 1e-6);
    }
    // After updates they differ.
    let last = samples(directory.path(), 7);
    let shift = |sampled: &Sampled| (score(sampled, "mean") + 1.0) / 2.0 - score(sampled, "confidence");
    let shifts: Vec<f64> = last.iter().map(shift).collect();
    assert!(shifts.iter().any(|other| (other - shifts[0]).abs() > 1e-6), "{shifts:?}");
    let rows = rows(directory.path(), 2);
    assert!(rows.iter().all(|row| row.get("rewards/confidence/mean").is_some()));
    let events = std::fs::read_to_string(directory.path().join("events.jsonl")).unwrap();
    assert_eq!(events.matches("intrinsic_kl").count(), 1, "said once: nothing holds this policy");
}

#[test]
fn more_samples_vote_than_are_learned_from() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), VOTES).unwrap();
    let all = samples(directory.path(), 1);
    assert_eq!(all.len(), 4 * 12, "every vote is kept");
    let learned: Vec<&Sampled> = all.iter().filter(|sampled| sampled.advantage.is_some()).collect();
    assert!(learned.iter().all(|sampled| sampled.rollout.sample < 3));
    for prompt in 0..4 {
        let votes: Vec<&Sampled> = all.iter().filter(|sampled| sampled.rollout.prompt == prompt).collect();
        assert_eq!(votes.len(), 12);
    }
    for row in rows(directory.path(), 1) {
        for name in ["majority_ratio", "label_accuracy", "reward_accuracy", "ground_truth_ratio", "pass"] {
            let name = format!("vote/{name}");
            assert!((0.0..=1.0).contains(&row.get(&name).unwrap()), "{name}");
            assert!(describe(&name).is_some());
        }
        assert!(row.get("vote/pass").unwrap() >= row.get("vote/ground_truth_ratio").unwrap());
    }
    let few = VOTES.replace("votes = 12", "votes = 2");
    let problem = go(tempfile::tempdir().unwrap().path(), &few).unwrap_err();
    assert_eq!(problem.code(), "R040", "{problem}");
}

/// The vote never looks at the answer: without one the same samples get the same rewards.
#[test]
fn no_label_is_read() {
    let data = tempfile::tempdir().unwrap();
    let path = |name: &str| data.path().join(name).to_string_lossy().into_owned();
    let line = |answer: &str| format!("{{\"prompt\": \"1+1=\"{answer}}}\n");
    std::fs::write(path("with.jsonl"), line(", \"answer\": \"2\"").repeat(9)).unwrap();
    std::fs::write(path("without.jsonl"), line("").repeat(9)).unwrap();
    let task = "{ name = \"chain-sum\", style = \"terse\", max_terms = 2, max_digits = 1 }";
    let run = |name: &str| {
        let directory = tempfile::tempdir().unwrap();
        go(directory.path(), &VOTES.replace(task, &format!("{:?}", path(name)))).unwrap();
        let of = |sampled: Sampled| (sampled.completion, sampled.rewards, sampled.advantage);
        let all: Vec<_> = (1..=3).flat_map(|step| samples(directory.path(), step)).map(of).collect();
        (all, rows(directory.path(), 1))
    };
    let ((with, logged), (without, silent)) = (run("with.jsonl"), run("without.jsonl"));
    assert_eq!(with, without);
    assert!(logged[0].get("vote/label_accuracy").is_some() && silent[0].get("vote/label_accuracy").is_none());
    assert!(silent[0].get("vote/majority_ratio").is_some());
}

#[test]
fn an_evaluation_says_how_well_calibrated_the_model_is() {
    let directory = tempfile::tempdir().unwrap();
    let outcome = go(directory.path(), INTRINSIC).unwrap();
    let all = read_rows(&directory.path().join("metrics.jsonl")).unwrap();
    let evaluations: Vec<&Row> = all.iter().filter(|row| row.get("eval/accuracy").is_some()).collect();
    assert_eq!(evaluations.len(), outcome.evaluations.len());
    for row in evaluations {
        for name in
            ["eval/ece", "eval/ece_equal_mass", "eval/mce", "eval/brier", "eval/confidence", "eval/frac_not_found"]
        {
            assert!((0.0..=1.0).contains(&row.get(name).unwrap()), "{name}");
        }
        assert!(row.values.iter().all(|(name, _)| describe(name).is_some()), "{row:?}");
    }
    let report = std::fs::read_to_string(directory.path().join("report.html")).unwrap();
    assert_eq!(report.matches("aria-label=\"reliability diagram").count(), 2, "before and after");
}

#[test]
fn a_reward_of_the_models_own_judges_no_held_out_answer() {
    for reward in ["confidence", "majority-vote"] {
        let recipe = INTRINSIC.replace("[eval]\n", &format!("[eval]\nreward = \"{reward}\"\n"));
        let problem = go(tempfile::tempdir().unwrap().path(), &recipe).unwrap_err();
        assert_eq!(problem.code(), "R041", "{problem}");
    }
    let other = INTRINSIC.replace(
        "{ name = \"self-certainty\", weight = 0.1 }",
        "{ name = \"confidence\", label = \"c\", model = \"ema\" }",
    );
    assert_eq!(go(tempfile::tempdir().unwrap().path(), &other).unwrap_err().code(), "R040", "two means of the weights");
    let unknown = INTRINSIC.replace("map = \"signed\"", "map = \"singed\"");
    let problem = Recipe::load_text(Path::new("x.toml"), &unknown, &[]).unwrap_err();
    assert_eq!((problem.code(), problem.advice()), ("W003", Some("did you mean `signed`?")));
}
