//! A run that was stopped, killed or starved anywhere ends in the bytes of a run that never was.

#![allow(clippy::unwrap_used)]

mod common;

use common::{
    CRITIC, EXPLORING, LEVELLED, ONE_SHOT, RECIPE, StopAt, differences, go, go_watched, result_of, stopped_anywhere,
};
use lapidary_core::Kind;
use lapidary_train::fault::{self, Action};
use lapidary_train::{Silent, StopFlag};

const STEPS: u64 = 9;

#[test]
fn equal_runs_are_equal_bytes_and_learn() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let outcome = go(a.path(), RECIPE).unwrap();
    go(b.path(), RECIPE).unwrap();
    assert_eq!(outcome.step, STEPS);
    assert_eq!(differences(&result_of(a.path()), &result_of(b.path())), Vec::<String>::new());
    let rows = lapidary_train::metrics::read_rows(&a.path().join("metrics.jsonl")).unwrap();
    let losses: Vec<f64> = rows.iter().filter(|row| row.stage == 1).filter_map(|row| row.get("loss")).collect();
    assert!(losses.len() == 4 && losses[3] < losses[0], "{losses:?}");
    assert!(a.path().join("report.html").exists());
}

/// `run(N) == run(k); resume; run(N − k)` for every k.
#[test]
fn stopped_after_any_step() {
    let whole = tempfile::tempdir().unwrap();
    go(whole.path(), RECIPE).unwrap();
    for step in 1..STEPS {
        let directory = tempfile::tempdir().unwrap();
        let stop = StopFlag::default();
        let mut watch = StopAt { step, stop: stop.clone() };
        let problem = go_watched(directory.path(), RECIPE, &mut watch, &stop).unwrap_err();
        assert_eq!(problem.kind(), Kind::Interrupted);
        assert!(problem.message().contains(&format!("after step {step} of {STEPS}")), "{problem}");
        go(directory.path(), RECIPE).unwrap();
        assert_eq!(differences(&result_of(whole.path()), &result_of(directory.path())), Vec::<String>::new(), "{step}");
    }
}

/// RELIABILITY C2, C5, C6: every fault point at its first, second, middle and last pass, on a full disk and a broken one.
#[test]
fn any_operation_may_fail() {
    let whole = tempfile::tempdir().unwrap();
    let passes: Vec<u64> = {
        fault::POINTS.iter().for_each(|point| fault::arm(point, u64::MAX, Action::Error));
        go(whole.path(), RECIPE).unwrap();
        fault::disarm()
    };
    let expected = result_of(whole.path());
    let mut tried = 0;
    for (point, &last) in fault::POINTS.iter().zip(&passes) {
        assert!(last > 0, "{point} is never passed");
        let mut places = vec![1, 2.min(last), last.div_ceil(2), last];
        places.dedup();
        for (place, nth) in places.into_iter().enumerate() {
            // How the operation fails decides the exit code only, so the second way is tried once.
            for &action in if place == 0 { &[Action::Full, Action::Error][..] } else { &[Action::Full] } {
                let directory = tempfile::tempdir().unwrap();
                fault::arm(point, nth, action);
                let problem = go(directory.path(), RECIPE).unwrap_err();
                fault::disarm();
                let kind = if action == Action::Full { Kind::Busy } else { Kind::Failed };
                assert_eq!(problem.kind(), kind, "{point}:{nth}: {problem}");
                go(directory.path(), RECIPE).unwrap_or_else(|problem| panic!("{point}:{nth}: {problem}"));
                assert_eq!(differences(&expected, &result_of(directory.path())), Vec::<String>::new(), "{point}:{nth}");
                let left: Vec<_> = std::fs::read_dir(directory.path().join("checkpoints")).unwrap().collect();
                assert_eq!(left.len(), 2, "no temporary folder is left, and `keep` are: {left:?}");
                tried += 1;
            }
        }
    }
    println!("{tried} failures at {} points, 0 differences", fault::POINTS.len());
    assert!(tried >= 40, "{tried}");
}

/// The same for what chooses prompts, temperature and groups.
#[test]
fn a_stopped_exploring_run_ends_in_the_bytes_of_a_whole_one() {
    stopped_anywhere(EXPLORING, 7, &["surplus", "curriculum", "temperature"], 4);
}

/// The same for a level that moves.
#[test]
fn a_stopped_run_with_levels_ends_in_the_bytes_of_a_whole_one() {
    stopped_anywhere(LEVELLED, 7, &["difficulty"], 4);
}

/// And for what a method remembers: halfway through a critic's warm-up, with a KL coefficient that has moved.
#[test]
fn a_stopped_run_with_a_critic_ends_in_the_bytes_of_a_whole_one() {
    stopped_anywhere(CRITIC, 6, &["method", "reference"], 1);
}

/// And for a single example: when it was saturated, and what held-out accuracy was then.
#[test]
fn a_stopped_one_shot_run_ends_in_the_bytes_of_a_whole_one() {
    stopped_anywhere(ONE_SHOT, 6, &["one_shot", "reference", "cursors"], 3);
}

/// The control: where a piece of state is left out, the same comparison must fail.
#[test]
fn a_state_with_a_piece_left_out_is_noticed() {
    let whole = tempfile::tempdir().unwrap();
    go(whole.path(), RECIPE).unwrap();
    for field in ["cursors", "step", "tokens", "metrics_bytes", "evaluations"] {
        let directory = tempfile::tempdir().unwrap();
        let stop = StopFlag::default();
        fault::arm_omission(field);
        let _ = go_watched(directory.path(), RECIPE, &mut StopAt { step: 6, stop: stop.clone() }, &stop);
        fault::disarm();
        let resumed = go_watched(directory.path(), RECIPE, &mut Silent, &StopFlag::default());
        let same = resumed.is_ok() && differences(&result_of(whole.path()), &result_of(directory.path())).is_empty();
        assert!(!same, "nobody noticed that `{field}` was forgotten");
    }
}
