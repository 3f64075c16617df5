//! Stages that feed each other: demonstrations, the model's own confidence, what is made of it, rewards, and its own answers as
//! demonstrations. Stopped inside any of them, the chain ends in the bytes of a whole one.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{go, recipe_of, stopped_anywhere};
use lapidary_core::Kind;
use lapidary_train::Recipe;
use lapidary_train::metrics::{Row, describe, read_rows};

const SFT: &str = r#"
seed = 5
name = "chain"
model = "tiny"

[[stage]]
kind = "sft"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
steps = 2
prompts_per_step = 4
learning_rate = 0.1
"#;

/// The toy is not sure of anything, so any confidence will do.
const SELF_FEEDBACK: &str = r#"
[[stage]]
kind = "self-feedback"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
steps = 3
prompts_per_step = 4
samples_per_prompt = 5
max_new_tokens = 20
temperature = 1.0

[stage.confidence]
statistic = "predictive_probability"
span = "last_number"

[stage.ranking]
min_confidence = 0.0
"#;

const PREFERENCE: &str = r#"
[[stage]]
kind = "preference"
method = "dpo"
task = { pairs = "stage.2", test_fraction = 0.2 }
steps = 4
prompts_per_step = 4
learning_rate = 0.05

[stage.early_stop]
every = 2
"#;

const RL: &str = r#"
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

[stage.grpo]
kl_coefficient = 0.01
"#;

const DISTILL: &str = r#"
[[stage]]
kind = "distill"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
reward = [{ name = "length", max = 80 }]
steps = 2
prompts_per_step = 3
samples_per_prompt = 6
max_new_tokens = 20
learning_rate = 0.05

[stage.filter]
pass = -0.15
min_tokens = 2
"#;

const REST: &str = r#"
[eval]
prompts = 3

[checkpoint]
every = 2
"#;

fn rows(directory: &Path) -> Vec<Row> {
    read_rows(&directory.join("metrics.jsonl")).unwrap()
}

/// The chain of issue 7, and beside it the one that learns from the pairs as DPO does.
#[test]
fn a_chain_stopped_inside_any_of_its_stages_ends_in_the_bytes_of_a_whole_one() {
    stopped_anywhere(&[SFT, SELF_FEEDBACK, RL, DISTILL, REST].concat(), 9, &["reference"], 6);
    stopped_anywhere(&[SFT, SELF_FEEDBACK, PREFERENCE, RL, DISTILL, REST].concat(), 13, &["cursors"], 6);
}

#[test]
fn pairs_of_a_stage_are_what_it_wrote() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), &[SFT, SELF_FEEDBACK, PREFERENCE, REST].concat()).unwrap();
    let written = std::fs::read_to_string(directory.path().join("pairs/stage-02.jsonl")).unwrap().lines().count();
    let rows = rows(directory.path());
    let first = rows.iter().find(|row| row.stage == 3).unwrap();
    let skipped = first.get("pairs/duplicates").unwrap();
    for (name, _) in rows.iter().flat_map(|row| &row.values) {
        assert!(describe(name).is_some(), "`{name}` is not in the catalogue");
    }
    assert!(written > 10 && skipped < written as f64, "{written} pairs, {skipped} of them said twice");
    assert!(rows.iter().any(|row| row.stage == 3 && row.get("eval/loss").is_some()), "some are held out");
    // The same stage over the file as it is learns the same.
    let path = directory.path().join("pairs/stage-02.jsonl");
    let by_path = format!("{{ path = {path:?}, chat = false, test_fraction = 0.2 }}");
    let recipe = [SFT, SELF_FEEDBACK, PREFERENCE, REST].concat();
    let other = tempfile::tempdir().unwrap();
    go(other.path(), &recipe.replace(r#"{ pairs = "stage.2", test_fraction = 0.2 }"#, &by_path)).unwrap();
    let losses = |rows: &[Row]| -> Vec<f64> {
        rows.iter().filter(|row| row.stage == 3).filter_map(|row| row.get("loss")).collect()
    };
    assert_eq!(losses(&rows), losses(&self::rows(other.path())));
}

#[test]
fn a_stage_that_is_sure_of_nothing_leaves_nothing_to_learn_from() {
    let recipe =
        [SFT, SELF_FEEDBACK, PREFERENCE, REST].concat().replace("min_confidence = 0.0", "min_confidence = 1.0");
    let directory = tempfile::tempdir().unwrap();
    let problem = go(directory.path(), &recipe).unwrap_err();
    assert_eq!((problem.kind(), problem.code()), (Kind::Data, "D056"));
    assert!(problem.to_string().contains("min_confidence"), "{problem}");
    // Nothing of the stages before is lost: with another recipe the run does not go on, with the same it says the same.
    assert_eq!(go(directory.path(), &recipe).unwrap_err().code(), "D056");
}

#[test]
fn wrong_pairs_are_refused_with_their_place() {
    let whole = [SFT, SELF_FEEDBACK, PREFERENCE, REST].concat();
    assert_eq!(recipe_of(&whole).stages[2].task().pairs, Some(1));
    let written = recipe_of(&whole).to_toml();
    assert!(written.contains(r#"pairs = "stage.2""#), "{written}");
    for (from, to, code) in [
        ("stage.2", "stage.1", "R053"),
        ("stage.2", "stage.3", "R053"),
        ("stage.2", "stage.9", "R053"),
        ("stage.2", "2", "R053"),
        ("pairs = \"stage.2\"", "pairs = 2", "R002"),
        ("pairs = \"stage.2\"", "pairs = \"stage.2\", path = \"x.jsonl\"", "R011"),
        ("test_fraction = 0.2", "test_fractoin = 0.2", "D021"),
        ("steps = 4", "epochs = 1", "R031"),
    ] {
        let text = whole.replace(from, to);
        let problem = match Recipe::load_text(Path::new("x.toml"), &text, &[]) {
            Err(problem) => problem,
            Ok(recipe) => go(tempfile::tempdir().unwrap().path(), &recipe.to_toml()).unwrap_err(),
        };
        assert_eq!(problem.code(), code, "{to}: {problem}");
    }
    let rl = RL.replace(
        r#"{ name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }"#,
        r#"{ pairs = "stage.2" }"#,
    );
    let problem = Recipe::load_text(Path::new("x.toml"), &[SFT, SELF_FEEDBACK, &rl, REST].concat(), &[]).unwrap_err();
    assert_eq!(problem.code(), "R053", "an rl stage answers prompts: {problem}");
}
