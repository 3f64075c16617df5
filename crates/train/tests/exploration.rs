//! What a step learns from: dynamic sampling, a curriculum, a temperature that rises, with the toy engine.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::{EXPLORING, LEVELLED, go};
use lapidary_core::Kind;
use lapidary_train::metrics::{Row, describe, read_rows};
use lapidary_train::rollouts::{self, Sampled};

/// Every answer has a token, so this reward never varies.
const FLAT: &str = r#"[{ name = "length", max = 1 }]"#;
const VARYING: &str = r#"[{ name = "length", max = 80 }]"#;

fn rows(directory: &Path) -> Vec<Row> {
    read_rows(&directory.join("metrics.jsonl")).unwrap()
}

fn samples(directory: &Path, step: u64) -> Vec<Sampled> {
    rollouts::read(&rollouts::path_of(&directory.join("rollouts"), step)).unwrap()
}

/// Without the tables of the curriculum and the temperature.
fn sampling_only(settings: &str) -> String {
    let start = EXPLORING.find("[stage.dynamic_sampling]").unwrap();
    let end = EXPLORING.find("[eval]").unwrap();
    format!("{}[stage.dynamic_sampling]\n{settings}\n{}", &EXPLORING[..start], &EXPLORING[end..])
}

fn get(row: &Row, name: &str) -> f64 {
    row.get(name).unwrap_or_else(|| panic!("no `{name}` in {row:?}"))
}

/// Every prompt is accounted for: kept, dropped for a reason, or held over for the next step.
#[test]
fn groups_are_kept_held_over_or_dropped_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), &sampling_only("oversample = 2.0")).unwrap();
    let rows = rows(directory.path());
    assert!(rows[1..].iter().any(|row| get(row, "sampling/held_over") > 0.0));
    for (at, row) in rows.iter().enumerate() {
        let dropped: f64 =
            row.values.iter().filter(|(name, _)| name.starts_with("sampling/dropped/")).map(|(_, count)| count).sum();
        let next = rows.get(at + 1).map_or(0.0, |next| get(next, "sampling/held_over"));
        let come = get(row, "sampling/prompts") + get(row, "sampling/held_over");
        if at + 1 < rows.len() {
            assert_eq!(come, get(row, "sampling/kept") + dropped + next, "step {}: {row:?}", row.step);
        }
        assert_eq!(get(row, "sampling/kept"), 3.0);
        let held = get(row, "sampling/held_over") as usize;
        let all = samples(directory.path(), row.step);
        let behind = |sampled: &Sampled| sampled.rollout.weights < 4 * (row.step - 1);
        assert_eq!(
            all.iter().filter(|sampled| behind(sampled)).count(),
            4 * held,
            "held-over groups are of older weights"
        );
        assert_eq!(get(row, "sampling/staleness") > 0.0, held > 0);
        assert_ne!(get(row, "ratio/mean"), 1.0, "four updates");
        // What is held over was sampled by other weights, and the trainer's own numbers are what the ratio starts from.
        assert_eq!(get(row, "sampling/logp_difference/max") > 0.0, held > 0, "step {}", row.step);
        for (name, _) in &row.values {
            assert!(describe(name).is_some(), "`{name}` is not in the catalogue");
        }
    }
    let dropped = tempfile::tempdir().unwrap();
    go(dropped.path(), &sampling_only("oversample = 2.0\nsurplus = \"drop\"")).unwrap();
    let rows = self::rows(dropped.path());
    assert!(rows.iter().all(|row| get(row, "sampling/held_over") == 0.0 && get(row, "sampling/staleness") == 0.0));
    assert!(rows.iter().any(|row| get(row, "sampling/dropped/surplus") > 0.0));
}

#[test]
fn what_happens_when_rounds_or_prompts_are_used_up_is_a_setting() {
    let flat = |settings: &str| sampling_only(settings).replace(VARYING, FLAT);
    let stopped = tempfile::tempdir().unwrap();
    let problem = go(stopped.path(), &flat("max_rounds = 3\non_exhausted = \"stop\"")).unwrap_err();
    assert_eq!((problem.kind(), problem.code()), (Kind::Failed, "S012"));
    assert!(problem.message().contains("found 0 of 3 groups that teach, in 9 prompts"), "{problem}");
    assert!(problem.to_string().contains("9 all_wrong"), "{problem}");

    let budget = tempfile::tempdir().unwrap();
    go(budget.path(), &flat("oversample = 1.5\nmax_prompts = 7")).unwrap();
    let row = &rows(budget.path())[0];
    assert_eq!(
        (get(row, "sampling/prompts"), get(row, "sampling/rounds")),
        (7.0, 2.0),
        "5 and then the 2 that are left"
    );
    assert_eq!((get(row, "sampling/kept"), get(row, "sampling/dropped/all_wrong")), (0.0, 7.0));

    // One prompt per round and one round: a step of three is never full at once, but what is found may wait.
    let one = "max_rounds = 1\nmax_prompts = 3\non_exhausted = \"skip\"";
    let skipped = tempfile::tempdir().unwrap();
    go(skipped.path(), &flat(one)).unwrap();
    assert!(rows(skipped.path()).iter().all(|row| row.get("grad_norm").is_none() && get(row, "sampling/kept") == 0.0));
}

#[test]
fn a_curriculum_measures_chooses_and_switches() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), EXPLORING).unwrap();
    let rows = rows(directory.path());
    let draws: Vec<f64> = rows.iter().map(|row| get(row, "curriculum/draws")).collect();
    assert_eq!(draws[0], 40.0, "4 draws of 10 items");
    assert_eq!(draws.iter().filter(|draws| **draws > 0.0).count(), 2, "and once more at the switch: {draws:?}");
    assert!(draws[4] >= 40.0, "after four steps: {draws:?}");
    let pool: BTreeSet<String> =
        (1..=7).flat_map(|step| samples(directory.path(), step)).map(|sampled| sampled.id).collect();
    assert!(pool.len() <= 10, "{pool:?}");
    let phases: Vec<f64> = rows.iter().map(|row| get(row, "curriculum/phase")).collect();
    assert!(phases[..4].iter().all(|phase| *phase == 1.0), "{phases:?}");
    for row in &rows {
        assert!(get(row, "curriculum/eligible") <= 10.0);
        for (name, _) in &row.values {
            assert!(describe(name).is_some(), "`{name}` is not in the catalogue");
        }
    }
}

/// The level of a step decides its questions, follows the rate of the step before, and each level has its own cursor.
#[test]
fn levels_move_by_the_success_rate() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), LEVELLED).unwrap();
    let rows = rows(directory.path());
    let levels: Vec<f64> = rows.iter().map(|row| get(row, "difficulty/level")).collect();
    assert_eq!(levels[0], 2.0);
    for (at, row) in rows.iter().enumerate() {
        assert!(describe("difficulty/level").is_some() && describe("difficulty/rate").is_some());
        let level = levels[at];
        let all = samples(directory.path(), row.step);
        assert!(all.iter().all(|sampled| sampled.id.starts_with(&format!("chain-sum@{level}/train/"))), "{level}");
        let right = all.iter().filter(|sampled| sampled.verdict.value().unwrap() >= -0.05).count();
        assert_eq!(get(row, "difficulty/rate"), right as f64 / all.len() as f64);
        let wanted = match get(row, "difficulty/rate") {
            rate if rate > 0.5 => (level + 1.0).min(6.0),
            rate if rate < 0.49 => (level - 1.0).max(1.0),
            _ => level,
        };
        if let Some(next) = levels.get(at + 1) {
            assert_eq!(*next, wanted, "{levels:?}");
        }
    }
    let different: BTreeSet<u64> = levels.iter().map(|level| *level as u64).collect();
    assert!(different.len() > 1, "a level that never moves proves nothing: {levels:?}");
    let mut seen = BTreeSet::new();
    let ids = rows
        .iter()
        .flat_map(|row| samples(directory.path(), row.step))
        .map(|sampled| (sampled.rollout.sample, sampled.id));
    for id in ids {
        assert!(seen.insert(id.clone()), "{id:?} was asked twice");
    }
}

#[test]
fn a_curriculum_over_a_task_without_end_needs_a_pool() {
    let directory = tempfile::tempdir().unwrap();
    let problem = go(directory.path(), &EXPLORING.replace("pool = 10", "")).unwrap_err();
    assert_eq!((problem.kind(), problem.code()), (Kind::Usage, "R022"));
}

/// The temperature rises as soon as the reward is steady, and every sample is trained at the temperature it was drawn at.
#[test]
fn the_temperature_rises_and_reaches_the_trainer() {
    let directory = tempfile::tempdir().unwrap();
    let calm = EXPLORING.replace("updates_per_rollout = 2\nepochs_per_rollout = 2", "");
    go(directory.path(), &calm.replace("oversample = 2.0", "surplus = \"drop\"")).unwrap();
    let rows = rows(directory.path());
    let logged: Vec<f64> = rows.iter().map(|row| get(row, "temperature")).collect();
    assert_eq!(logged[..3], [1.0; 3]);
    assert!((logged[3] - 1.2).abs() < 1e-6, "nothing is right at any temperature, so the warmest costs nothing");
    assert_eq!(rows[2].get("temperature/accuracy/1.1"), Some(0.0));
    for row in &rows {
        let all = samples(directory.path(), row.step);
        assert!(all.iter().all(|sampled| f64::from(sampled.rollout.temperature) == get(row, "temperature")));
        assert_eq!(get(row, "sampling/logp_difference/max"), 0.0, "sampled and trained at the same temperature");
        assert_eq!(get(row, "ratio/mean"), 1.0);
    }
}
