//! Gates, rewards that fail, and saved rollouts judged again.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::path::Path;

use common::{RECIPE, StopAt, go, go_watched, result_of};
use lapidary_core::Kind;
use lapidary_train::metrics::{Row, read_rows};
use lapidary_train::replay::{Settings, replay};
use lapidary_train::rollouts::{self, Sampled};
use lapidary_train::{Silent, StopFlag};
use serde_json::{Value, json};

/// Rows of which the first `broken` bring no pattern, so that the reward `regex` cannot judge them. A step sees each once.
fn recipe(directory: &Path, broken: usize, health: &str) -> String {
    let row = |at: usize| match at < broken {
        true => json!({"prompt": format!("{at}+1="), "answer": "1"}),
        false => json!({"prompt": format!("{at}+1="), "answer": "1", "want": "[0-9]"}),
    };
    let lines: Vec<String> = (0..4).map(|at| row(at).to_string()).collect();
    let path = directory.join("rows.jsonl");
    std::fs::write(&path, lines.join("\n")).unwrap();
    format!(
        r#"
seed = 5
name = "failing"
model = "tiny"
[[stage]]
kind = "rl"
method = "grpo"
task = {{ path = {path:?}, test_fraction = 0.0 }}
reward = [{{ name = "length", max = 80 }}, {{ name = "regex", column = "want", label = "mine", optional = true }}]
steps = 6
prompts_per_step = 4
samples_per_prompt = 2
max_new_tokens = 12
[stage.health]
{health}
[eval]
prompts = 0
[checkpoint]
every = 1
"#
    )
}

fn rows(directory: &Path) -> Vec<Row> {
    read_rows(&directory.join("metrics.jsonl")).unwrap()
}

fn share(row: &Row) -> f64 {
    row.get("rewards/mine/no_verdict").unwrap()
}

#[test]
fn a_reward_that_fails_on_most_rows_stops_the_run_with_its_own_words() {
    let directory = tempfile::tempdir().unwrap();
    let run = directory.path().join("run");
    let problem = go(&run, &recipe(directory.path(), 3, "window = 5")).unwrap_err();
    assert_eq!((problem.kind(), problem.code()), (Kind::Diverged, "W030"));
    assert!(problem.message().starts_with("step 3 (grpo, step 3 of its stage): reward `mine`"), "{problem}");
    assert!(problem.message().contains("75 %") && problem.reasons()[0].contains("holds no pattern"), "{problem}");
    let rows = rows(&run);
    assert_eq!(rows.iter().map(share).collect::<Vec<_>>(), [0.75; 3], "the step that stops it is written down");
    assert_eq!(rows[0].get("rewards/length/no_verdict"), Some(0.0));
    assert!(rollouts::path_of(&run.join("rollouts"), 3).exists());
}

#[test]
fn below_the_limit_a_run_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    for (name, broken, health) in [("few", 1, ""), ("half", 2, ""), ("never", 4, "stop_no_verdict = 1")] {
        let run = directory.path().join(name);
        go(&run, &recipe(directory.path(), broken, health)).unwrap();
        let rows = rows(&run);
        assert_eq!((rows.len(), share(&rows[5])), (6, broken as f64 / 4.0), "{name}");
        assert_eq!(rows[5].get("rewards/mine/mean").is_some(), broken < 4, "a mean of nothing is not written");
    }
}

/// The count of failing steps is part of what a run remembers.
#[test]
fn a_run_that_is_stopped_between_failing_steps_still_stops_at_the_third() {
    let directory = tempfile::tempdir().unwrap();
    let run = directory.path().join("run");
    let recipe = recipe(directory.path(), 4, "");
    let stop = StopFlag::default();
    let mut watch = StopAt { step: 2, stop: stop.clone() };
    assert_eq!(go_watched(&run, &recipe, &mut watch, &stop).unwrap_err().kind(), Kind::Interrupted);
    let problem = go_watched(&run, &recipe, &mut Silent, &StopFlag::default()).unwrap_err();
    assert!(problem.message().starts_with("step 3 "), "{problem}");
}

/// All rewards of a run, gates among them.
const REWARDS: &str = r#"reward = [
    { name = "length", label = "short", kind = "within", max = 8, gate = 1.0, closed = -1.0 },
    "answer",
    { name = "length", kind = "kimi", weight = 0.5 },
    { name = "regex", require = "[0-9]", weight = 0.1 },
]"#;

fn gated() -> String {
    RECIPE.replacen("reward = [\"answer\", { name = \"length\", weight = 0.01, max = 16 }]", REWARDS, 1)
}

fn samples(run: &Path, step: u64) -> Vec<Sampled> {
    rollouts::read(&rollouts::path_of(&run.join("rollouts"), step)).unwrap()
}

#[test]
fn a_closed_gate_is_the_whole_and_asks_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), &gated()).unwrap();
    let (mut open, mut closed) = (0, 0);
    for step in 5..=9 {
        for sampled in samples(directory.path(), step) {
            if sampled.length() > 8 {
                closed += 1;
                assert_eq!((sampled.verdict.value(), sampled.rewards.len()), (Some(-1.0), 1), "{sampled:?}");
            } else {
                open += 1;
                let part = |label: &str| sampled.rewards[label].as_f64().unwrap();
                let total = part("answer") + 0.5 * part("length") + f64::from(0.1f32) * part("regex");
                assert_eq!(sampled.verdict.value(), Some(total as f32), "{sampled:?}");
            }
        }
    }
    assert!(open > 0 && closed > 0, "{open} open, {closed} closed");
    let rows = rows(directory.path());
    let row = rows.iter().rfind(|row| row.get("reward").is_some()).unwrap();
    assert!(row.get("rewards/short/mean").is_some(), "{row:?}");
}

fn settings(rewards: Option<Value>) -> Settings {
    Settings { rewards, right_from: 0.5, keep: 3 }
}

#[test]
fn the_same_rewards_give_the_same_bits_and_others_are_compared() {
    let directory = tempfile::tempdir().unwrap();
    let run = directory.path();
    go(run, &gated()).unwrap();
    let before = result_of(run);
    let own = replay(run, &settings(None)).unwrap();
    assert_eq!((own.samples, own.same, own.same_parts), (80, 80, 80));
    assert!(own.changed.is_empty() && own.steps.iter().all(|step| step.agree == 16 && step.saved == step.replayed));
    assert_eq!(own.steps.iter().map(|step| step.step).collect::<Vec<_>>(), [5, 6, 7, 8, 9]);

    let other = replay(run, &settings(Some(json!({"name": "length", "kind": "within", "max": 8})))).unwrap();
    assert!(other.same < other.samples && other.changed.len() == 3);
    assert_eq!(other.agreement.iter().flatten().sum::<usize>(), 80);
    let worst = &other.changed[0];
    assert_eq!((worst.saved.value(), worst.replayed.value()), (Some(-1.0), Some(0.0)));
    assert!(worst.replayed.reason().ends_with(" tokens") && !worst.prompt.is_empty());
    // by hand: the mean of a step
    let step = samples(run, 5);
    let short = step.iter().filter(|sampled| sampled.length() <= 8).count();
    assert_eq!(other.steps[0].replayed, Some(short as f64 / 16.0));
    assert_eq!(result_of(run), before, "a replay changes no file");
}

#[test]
fn a_reward_without_a_verdict_is_counted_as_such() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), RECIPE).unwrap();
    let none = replay(directory.path(), &settings(Some(json!({"name": "regex", "column": "gone"})))).unwrap();
    let none_of = |row: [usize; 3]| (row[0], row[1]);
    assert!(none.agreement.iter().all(|row| none_of(*row) == (0, 0)));
    assert_eq!((none.steps[0].no_verdict, none.steps[0].replayed), ([0, 16], None));
}

#[test]
fn what_is_no_run_or_holds_no_rollouts_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(replay(directory.path(), &settings(None)).unwrap_err().code(), "S015");
    go(directory.path(), RECIPE).unwrap();
    let unknown = replay(directory.path(), &settings(Some(json!("anwser")))).unwrap_err();
    assert_eq!((unknown.kind(), unknown.code()), (Kind::Usage, "W001"));
    let file = rollouts::path_of(&directory.path().join("rollouts"), 5);
    std::fs::write(&file, b"torn").unwrap();
    assert_eq!(replay(directory.path(), &settings(None)).unwrap_err().kind(), Kind::Data);
    std::fs::remove_dir_all(directory.path().join("rollouts")).unwrap();
    assert_eq!(replay(directory.path(), &settings(None)).unwrap_err().code(), "D054");
}
