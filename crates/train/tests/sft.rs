//! Supervised fine-tuning through the loop: packing, epochs, early stop, exact resume.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{StopAt, differences, go, go_watched, recipe_of, result_of, settings};
use lapidary_train::fault;
use lapidary_train::metrics::{Row, describe, read_rows};
use lapidary_train::{Silent, StopFlag, run};

/// Looks every second step at held-out sums; the rate is so high that the loss soon rises again. A stage follows, so that what an
/// early stop leaves behind is learned on.
const STOPPING: &str = r#"
seed = 5
name = "stopping"
model = "tiny"

[[stage]]
kind = "sft"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
steps = 40
prompts_per_step = 3
learning_rate = 0.5

[stage.early_stop]
patience = 3
every = 2
prompts = 20

[[stage]]
kind = "sft"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
steps = 2
learning_rate = 0.01
loss_on = "all"

[eval]
prompts = 0

[checkpoint]
every = 3
"#;

fn rows(directory: &Path) -> Vec<Row> {
    read_rows(&directory.join("metrics.jsonl")).unwrap()
}

fn looks(directory: &Path) -> Vec<(u64, f64)> {
    rows(directory).iter().filter_map(|row| Some((row.step, row.get("eval/loss")?))).collect()
}

/// What weights say: the model file of a folder.
fn weights(directory: &Path) -> Vec<u8> {
    std::fs::read(directory.join("model.safetensors")).unwrap()
}

#[test]
fn a_stage_ends_when_the_held_out_loss_stops_falling_and_keeps_its_best_weights() {
    let directory = tempfile::tempdir().unwrap();
    // Every step a checkpoint and all of them kept, so that weights of every step can be looked at.
    let all = STOPPING.replace("every = 3", "every = 1\nkeep = 99");
    go(directory.path(), &all).unwrap();
    let looks = looks(directory.path());
    let best = looks.iter().fold(looks[0], |best, look| if look.1 < best.1 { *look } else { best });
    let last = looks.last().unwrap().0;
    assert_eq!(last, best.0 + 6, "three looks without a better one: {looks:?}");
    assert!(last < 40);
    let at = |step: u64| weights(&directory.path().join(format!("checkpoints/step-{step:06}")));
    assert_eq!(at(last), at(best.0), "the stage ends with the best weights");
    assert_ne!(at(last - 1), at(best.0), "which are others than those of the step before");
    let second = rows(directory.path()).into_iter().filter(|row| row.stage == 2).map(|row| row.step);
    assert_eq!(second.collect::<Vec<_>>(), [last + 1, last + 2]);
    for (name, _) in rows(directory.path()).iter().flat_map(|row| &row.values) {
        assert!(describe(name).is_some(), "`{name}` is not in the catalogue");
    }
    // The control: without keeping, the last weights stay.
    let other = tempfile::tempdir().unwrap();
    go(other.path(), &all.replace("prompts = 20", "prompts = 20\nkeep_best = false")).unwrap();
    assert_eq!(self::looks(other.path()), looks);
    let end = weights(&other.path().join(format!("checkpoints/step-{last:06}")));
    assert_ne!(end, at(best.0));
    assert!(!other.path().join("best").exists());
}

#[test]
fn a_run_stopped_anywhere_around_an_early_stop_ends_in_the_bytes_of_a_whole_one() {
    let whole = tempfile::tempdir().unwrap();
    go(whole.path(), STOPPING).unwrap();
    let steps = rows(whole.path()).last().unwrap().step;
    let end = looks(whole.path()).last().unwrap().0;
    for step in 1..steps {
        let directory = tempfile::tempdir().unwrap();
        let stop = StopFlag::default();
        go_watched(directory.path(), STOPPING, &mut StopAt { step, stop: stop.clone() }, &stop).unwrap_err();
        go(directory.path(), STOPPING).unwrap();
        assert_eq!(differences(&result_of(whole.path()), &result_of(directory.path())), Vec::<String>::new(), "{step}");
    }
    // The control: forgotten two steps before the end, the stage goes on too long.
    let directory = tempfile::tempdir().unwrap();
    let stop = StopFlag::default();
    fault::arm_omission("early_stop");
    let _ = go_watched(directory.path(), STOPPING, &mut StopAt { step: end - 2, stop: stop.clone() }, &stop);
    fault::disarm();
    let resumed = go(directory.path(), STOPPING);
    let same = resumed.is_ok() && differences(&result_of(whole.path()), &result_of(directory.path())).is_empty();
    assert!(!same, "nobody noticed that `early_stop` was forgotten");
}

/// A kill between a new best and the checkpoint that names it: the checkpoint before still finds its own best.
#[test]
fn a_failure_at_any_checkpoint_operation_around_a_best_loses_nothing() {
    let whole = tempfile::tempdir().unwrap();
    go(whole.path(), STOPPING).unwrap();
    for point in ["checkpoint.write", "checkpoint.rename", "checkpoint.prune"] {
        for nth in 1..6 {
            let directory = tempfile::tempdir().unwrap();
            fault::arm(point, nth, fault::Action::Full);
            let first = go(directory.path(), STOPPING);
            fault::disarm();
            if first.is_err() {
                go(directory.path(), STOPPING).unwrap_or_else(|problem| panic!("{point}:{nth}: {problem}"));
            }
            let differ = differences(&result_of(whole.path()), &result_of(directory.path()));
            assert_eq!(differ, Vec::<String>::new(), "{point}:{nth}");
        }
    }
}

/// Rows are ragged, nothing is padded, and how they are packed into passes is no part of the result: with the real engine, one row
/// at a time and all rows at once are the same bytes.
#[test]
fn packing_changes_no_bit() {
    let text = |tokens: usize, loss_on: &str| {
        format!(
            "seed = 3\nname = \"packing\"\nmodel = \"tiny\"\n[[stage]]\nkind = \"sft\"\ntask = \"spell-backward\"\nsteps = 3\n\
             prompts_per_step = 9\nlearning_rate = 0.003\nweight_decay = 0.1\nloss_on = \"{loss_on}\"\n\
             tokens_per_microbatch = {tokens}\n[eval]\nprompts = 0"
        )
    };
    let result = |tokens: usize, loss_on: &str| -> BTreeMap<String, Vec<u8>> {
        let directory = tempfile::tempdir().unwrap();
        run(&recipe_of(&text(tokens, loss_on)), &settings(directory.path()), &mut Silent, &StopFlag::default())
            .unwrap();
        result_of(directory.path())
    };
    for loss_on in ["completion", "all"] {
        let alone = result(1, loss_on);
        for tokens in [70, 150, 100_000] {
            assert_eq!(differences(&alone, &result(tokens, loss_on)), Vec::<String>::new(), "{tokens} {loss_on}");
        }
    }
    assert!(
        !differences(&result(1, "completion"), &result(1, "all")).is_empty(),
        "which tokens are learned does matter"
    );
}

#[test]
fn epochs_are_steps_of_a_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let line = |at: usize| format!("{{\"prompt\": \"{at}+{at}=\", \"completion\": \"{}\"}}\n", 2 * at);
    std::fs::write(folder.path().join("train.jsonl"), (0..7).map(line).collect::<String>()).unwrap();
    std::fs::write(folder.path().join("test.jsonl"), line(8)).unwrap();
    let text = |length: &str| {
        format!(
            "seed = 5\nname = \"epochs\"\nmodel = \"tiny\"\n[[stage]]\nkind = \"sft\"\ntask = {{ path = {:?}, chat = false }}\n{length}\n\
             prompts_per_step = 2\nschedule = \"linear\"\nlearning_rate = 0.1\n[eval]\nprompts = 0",
            folder.path()
        )
    };
    let run = |length: &str| {
        let directory = tempfile::tempdir().unwrap();
        let outcome = go(directory.path(), &text(length)).unwrap();
        (outcome.step, result_of(directory.path()))
    };
    // 1.5 passes over 7 items, two a step: 5.25 steps, rounded up.
    let (steps, by_epochs) = run("epochs = 1.5");
    assert_eq!(steps, 6);
    assert_eq!(
        differences(&by_epochs, &run("steps = 6").1),
        Vec::<String>::new(),
        "the schedule ends with the stage too"
    );
    assert_eq!(recipe_of(&text("epochs = 1.5")).stages[0].length(), "1.5 epochs");

    let endless =
        text("epochs = 2").replace(&format!("{{ path = {:?}, chat = false }}", folder.path()), "\"chain-sum\"");
    let problem = go(folder.path(), &endless).unwrap_err();
    assert_eq!(problem.code(), "R031");
}
