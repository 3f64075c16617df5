//! Every method does real steps in the real loop, and its switches do what they say.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{go, go_watched, model, recipe_of, settings};
use lapidary_algo::{Advantage, MethodKind, methods};
use lapidary_core::Kind;
use lapidary_train::metrics::{Row, describe, read_rows};
use lapidary_train::rollouts::{self, Sampled};
use lapidary_train::{Notice, Silent, StopFlag, Watch, run_model};

const TASK: &str = r#"{ name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }"#;

/// The toy's answers differ in length, so this reward varies.
const VARYING: &str = r#"["answer", { name = "length", weight = 0.1, max = 80 }]"#;
/// Every answer has a token, so this one never does.
const FLAT: &str = r#"[{ name = "length", max = 1 }]"#;

/// A recipe of one rl stage; `more` are further lines of it.
fn recipe(method: &str, more: &str) -> String {
    format!(
        "seed = 2\nname = \"m\"\nmodel = \"tiny\"\n[[stage]]\nkind = \"rl\"\nmethod = \"{method}\"\ntask = {TASK}\n\
         reward = {VARYING}\nsteps = 3\nprompts_per_step = 4\n\
         samples_per_prompt = 4\nmax_new_tokens = 80\nlearning_rate = 0.01\n{more}\n[eval]\nprompts = 0\n"
    )
}

fn rows(directory: &Path) -> Vec<Row> {
    read_rows(&directory.join("metrics.jsonl")).unwrap()
}

fn samples(directory: &Path, step: u64) -> Vec<Sampled> {
    rollouts::read(&rollouts::path_of(&directory.join("rollouts"), step)).unwrap()
}

#[test]
fn every_method_of_the_registry_learns_in_the_loop() {
    for method in methods().iter().filter(|method| method.kind != MethodKind::Supervised) {
        let directory = tempfile::tempdir().unwrap();
        // The toy is never right: what counts as right for credit by entropy is to be shorter than most.
        let credits =
            matches!((method.defaults)().advantage, Advantage::EntropyTokens(_) | Advantage::EntropySequences(_));
        let more = if credits { format!("[stage.{}]\nsuccess_above = -0.07", method.name) } else { String::new() };
        go(directory.path(), &recipe(method.name, &more))
            .unwrap_or_else(|problem| panic!("{}: {problem}", method.name));
        for row in rows(directory.path()) {
            assert_eq!(row.stage_name, method.name);
            assert!(row.get("grad_norm").unwrap() > 0.0, "{}: {row:?}", method.name);
            assert_eq!(row.get("sampling/logp_difference/max"), Some(0.0), "{}", method.name);
            assert_eq!(row.get("ratio/mean"), Some(1.0), "{}: the first update is on-policy", method.name);
            for (name, _) in &row.values {
                assert!(describe(name).is_some(), "`{name}` is not in the catalogue");
            }
        }
    }
}

#[test]
fn later_updates_of_a_rollout_have_ratios_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), &recipe("grpo", "updates_per_rollout = 4")).unwrap();
    for row in rows(directory.path()) {
        assert!(row.get("ratio/max").unwrap() > 1.0, "{row:?}");
        assert_eq!(row.get("sampling/logp_difference/max"), Some(0.0), "only the first update is compared");
    }
    let weights: Vec<u64> = samples(directory.path(), 3).iter().map(|sampled| sampled.rollout.weights).collect();
    assert!(weights.iter().all(|&version| version == 8), "two steps of four updates came before: {weights:?}");
}

/// DAPO: groups whose rewards do not vary are sampled again, within a bound, and every sample is kept in the file.
#[test]
fn dynamic_sampling_fills_the_step_or_stops_at_its_bound() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), &recipe("dapo", "")).unwrap();
    for row in rows(directory.path()) {
        assert_eq!(row.get("frac_reward_zero_std"), Some(0.0), "{row:?}");
        assert!(row.get("rewards/overlong/mean").unwrap() <= 0.0);
    }
    // A reward that never varies: ten rounds, then the last one is reported, and nothing is learned (not even length).
    let flat = recipe("dapo", "").replace(VARYING, FLAT);
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), &flat).unwrap();
    let row = &rows(directory.path())[0];
    assert_eq!((row.get("sampling/rounds"), row.get("frac_reward_zero_std")), (Some(10.0), Some(1.0)), "{row:?}");
    let all = samples(directory.path(), 1);
    assert_eq!((all.len(), all.iter().filter(|sampled| sampled.advantage.is_some()).count()), (160, 0));
    assert_eq!(row.get("grad_norm"), None);
    let prompts: std::collections::BTreeSet<&str> = all.iter().map(|sampled| sampled.id.as_str()).collect();
    assert_eq!(prompts.len(), 40, "every round takes new prompts");
}

#[test]
fn masked_truncation_leaves_cut_answers_out_of_the_loss() {
    let (penalised, masked) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // The toy seldom ends an answer by itself within three tokens.
    let short = recipe("grpo", "").replace("max_new_tokens = 80", "max_new_tokens = 3");
    go(penalised.path(), &short).unwrap();
    go(masked.path(), &short.replace("learning_rate", "truncated = \"mask\"\nlearning_rate")).unwrap();
    let (all, some) = (&rows(penalised.path())[0], &rows(masked.path())[0]);
    assert_eq!(all.get("reward"), some.get("reward"), "rewards and groups are the same");
    assert!(all.get("completions/clipped_ratio").unwrap() > 0.5);
    assert_ne!(all.get("grad_norm"), some.get("grad_norm"));
}

/// A reward that fails gives no verdict: the sample leaves statistics and loss, is counted, and is never a 0.
#[test]
fn samples_without_a_verdict_are_counted_and_not_learned_from() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data.jsonl");
    let line = |at: usize| match at % 4 {
        0 => format!("{{\"prompt\":\"{at}+1=\"}}\n"),
        _ => format!("{{\"prompt\":\"{at}+1=\",\"answer\":\"{}\"}}\n", at + 1),
    };
    std::fs::write(&data, (0..8).map(line).collect::<String>()).unwrap();
    let text = recipe("grpo", "").replace(TASK, &format!("{:?}", data.to_str().unwrap()));
    let run = directory.path().join("run");
    go(&run, &text).unwrap();
    let row = &rows(&run)[0];
    let all = samples(&run, 1);
    let silent = all.iter().filter(|sampled| sampled.verdict.value().is_none()).count();
    assert_eq!(row.get("frac_no_verdict"), Some(silent as f64 / 16.0));
    assert!(all.iter().all(|sampled| sampled.advantage.is_some() == sampled.verdict.value().is_some()));
    let silent: usize = (1..=3).map(|step| samples(&run, step).iter().filter(|s| s.advantage.is_none()).count()).sum();
    assert!(silent > 0, "the data has rows without an answer");
}

#[derive(Default)]
struct Warnings(Vec<String>);

impl Watch for Warnings {
    fn notice(&mut self, notice: &Notice<'_>) {
        if let Notice::Warning(warning) = notice {
            self.0.push(format!("{} {} {}", warning.step, warning.rule, warning.knob));
        }
    }
}

#[test]
fn a_sick_run_says_why_and_what_to_turn() {
    let directory = tempfile::tempdir().unwrap();
    let flat = recipe("grpo", "health = { window = 2 }").replace(VARYING, FLAT);
    let mut warnings = Warnings::default();
    go_watched(directory.path(), &flat, &mut warnings, &StopFlag::default()).unwrap();
    assert!(
        warnings.0.iter().any(|said| said.starts_with("2 zero_variance") && said.contains("sft")),
        "{warnings:?}",
        warnings = warnings.0
    );
    let events = std::fs::read_to_string(directory.path().join("events.jsonl")).unwrap();
    assert!(events.contains("\"rule\":\"zero_variance\""), "{events}");
    assert!(std::fs::read_to_string(directory.path().join("report.html")).unwrap().contains("equal rewards"));
}

#[test]
fn a_task_without_demonstrations_is_refused_for_sft() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data.jsonl");
    std::fs::write(&data, "{\"prompt\":\"1+1=\",\"metadata\":3}\n").unwrap();
    let text = format!(
        "seed = 2\nname = \"m\"\nmodel = \"tiny\"\n[[stage]]\nkind = \"sft\"\ntask = {:?}\nsteps = 1\n[eval]\nprompts = 0\n",
        data.to_str().unwrap()
    );
    let run = settings(&directory.path().join("run"));
    let problem = run_model(&recipe_of(&text), &run, model(), &mut Silent, &StopFlag::default()).unwrap_err();
    assert_eq!(problem.kind(), Kind::Data, "{problem}");
}
