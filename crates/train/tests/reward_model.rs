//! Stages of kind `reward-model` through the loop: what is learned, exact resume, the policy that waits, packing.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{StopAt, differences, go, go_watched, recipe_of, result_of, settings};
use lapidary_core::{Kind, PromptText, TokenBatch, Want};
use lapidary_engine::Engine;
use lapidary_train::metrics::{Row, describe, read_rows};
use lapidary_train::{Recipe, Silent, StopFlag, fault, model, run};

/// Of two answers the one with more `a` won; every ninth label is wrong, and every seventh row is a tie.
fn pairs(folder: &Path) -> PathBuf {
    let line = |at: usize| {
        let (good, bad) = ("a".repeat(1 + at % 4), "b".repeat(1 + at % 3));
        let (chosen, rejected) = if at % 9 == 8 { (&bad, &good) } else { (&good, &bad) };
        let label = if at % 7 == 6 { ",\"label\":0.5" } else { "" };
        let source = ["one", "two"][at % 2];
        format!(
            "{{\"prompt\":\"{}+{}=\",\"chosen\":\"{chosen}\",\"rejected\":\"{rejected}\",\"source\":\"{source}\"{label}}}\n",
            at,
            at % 5
        )
    };
    let path = folder.join("pairs.jsonl");
    std::fs::write(&path, (0..60).map(line).collect::<String>()).unwrap();
    path
}

fn recipe(path: &Path) -> String {
    format!(
        r#"
seed = 5
name = "rm"
model = "tiny"

[[stage]]
kind = "sft"
task = {{ name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }}
steps = 2
prompts_per_step = 3
learning_rate = 0.05

[[stage]]
kind = "reward-model"
task = {{ path = {path:?}, chat = false, test_fraction = 0.3 }}
steps = 12
prompts_per_step = 8
learning_rate = 0.3

[stage.bradley_terry]
center_rewards = 0.01
ties = "davidson"

[stage.early_stop]
every = 2
patience = 3
keep_best = true

[[stage]]
kind = "rl"
method = "grpo"
task = {{ name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }}
reward = [{{ name = "length", max = 80 }}]
steps = 2
prompts_per_step = 2
samples_per_prompt = 4
max_new_tokens = 8
learning_rate = 0.02

[eval]
prompts = 4

[checkpoint]
every = 3
"#
    )
}

fn rows(directory: &Path) -> Vec<Row> {
    read_rows(&directory.join("metrics.jsonl")).unwrap()
}

#[test]
fn a_reward_model_is_learned_kept_and_leaves_the_policy_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let text = recipe(&pairs(directory.path()));
    let every = text.replace("every = 3\n", "every = 1\nkeep = 99\n");
    let run_dir = directory.path().join("run");
    go(&run_dir, &every).unwrap();
    let rows = rows(&run_dir);
    for (name, _) in rows.iter().flat_map(|row| &row.values) {
        assert!(describe(name).is_some(), "`{name}` is not in the catalogue");
    }
    let of = |stage: usize, name: &str| -> Vec<f64> {
        rows.iter().filter(|row| row.stage == stage).filter_map(|row| row.get(name)).collect()
    };
    let (losses, accuracy) = (of(2, "eval/loss"), of(2, "eval/pairs/accuracy"));
    assert!(losses.len() >= 3 && losses.last().unwrap() < &losses[0], "{losses:?}");
    assert!(*accuracy.last().unwrap() > 0.7, "{accuracy:?}");
    for name in
        ["eval/pairs/ece", "eval/pairs/length_correlation", "eval/source/one/accuracy", "eval/source/two/accuracy"]
    {
        assert_eq!(of(2, name).len(), losses.len(), "{name}");
    }
    assert_eq!(of(2, "pairs/duplicates").len(), 1, "said once");
    // No answers are asked of a reward model; the policy was asked at the start, after sft, and at the end.
    let asked: Vec<usize> = rows.iter().filter(|row| row.get("eval/accuracy").is_some()).map(|row| row.stage).collect();
    assert_eq!(asked, [0, 1, 3]);
    // The policy that goes on is the one that waited.
    let file = |path: PathBuf| std::fs::read(path.join("model.safetensors")).unwrap();
    let waited = file(run_dir.join("references/policy-02"));
    assert_eq!(waited, file(run_dir.join("checkpoints/step-000002")));
    let kept = file(run_dir.join("reward-models/stage-2"));
    assert_ne!(waited, kept, "the reward model is another");
    let about = std::fs::read_to_string(run_dir.join("reward-models/stage-2/reward_model.json")).unwrap();
    let about: serde_json::Value = serde_json::from_str(&about).unwrap();
    let best = losses.iter().position(|loss| *loss == losses.iter().copied().fold(f64::INFINITY, f64::min)).unwrap();
    assert_eq!(about["accuracy"], accuracy[best], "of the weights that were kept");
}

#[test]
fn a_run_stopped_anywhere_around_a_reward_model_ends_in_the_bytes_of_a_whole_one() {
    let folder = tempfile::tempdir().unwrap();
    let text = recipe(&pairs(folder.path()));
    let whole = tempfile::tempdir().unwrap();
    go(whole.path(), &text).unwrap();
    let steps = rows(whole.path()).last().unwrap().step;
    let mut expected = result_of(whole.path());
    add_reward_model(whole.path(), &mut expected);
    for step in 1..steps {
        let directory = tempfile::tempdir().unwrap();
        let stop = StopFlag::default();
        go_watched(directory.path(), &text, &mut StopAt { step, stop: stop.clone() }, &stop).unwrap_err();
        go(directory.path(), &text).unwrap();
        let mut got = result_of(directory.path());
        add_reward_model(directory.path(), &mut got);
        assert_eq!(differences(&expected, &got), Vec::<String>::new(), "{step}");
    }
    // The control: a policy that is forgotten is not taken back.
    let directory = tempfile::tempdir().unwrap();
    let stop = StopFlag::default();
    fault::arm_omission("comparison");
    let _ = go_watched(directory.path(), &text, &mut StopAt { step: 4, stop: stop.clone() }, &stop);
    fault::disarm();
    let resumed = go(directory.path(), &text);
    let same = resumed.is_ok() && differences(&result_of(whole.path()), &result_of(directory.path())).is_empty();
    assert!(!same, "nobody noticed that `comparison` was forgotten");
}

fn add_reward_model(directory: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for name in ["model.safetensors", "reward_model.json"] {
        files.insert(name.into(), std::fs::read(directory.join("reward-models/stage-2").join(name)).unwrap());
    }
}

/// What a loss remembers between steps, the scale of an M-estimator say, is part of the state.
#[test]
fn what_a_loss_remembers_survives_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path = pairs(folder.path());
    let text = format!(
        "seed = 5\nname = \"m\"\nmodel = \"tiny\"\n[[stage]]\nkind = \"reward-model\"\nmethod = \"m_estimator\"\n\
         task = {{ path = {path:?}, chat = false }}\nsteps = 6\nprompts_per_step = 8\nlearning_rate = 0.3\n\
         [stage.m_estimator]\nrho_mad = 1.4826\nrho_warmup = 0.2\n[stage.early_stop]\nevery = 50\n[checkpoint]\nevery = 50"
    );
    let whole = tempfile::tempdir().unwrap();
    go(whole.path(), &text).unwrap();
    let stopped = |omit: Option<&str>| {
        let directory = tempfile::tempdir().unwrap();
        let stop = StopFlag::default();
        omit.into_iter().for_each(fault::arm_omission);
        let _ = go_watched(directory.path(), &text, &mut StopAt { step: 3, stop: stop.clone() }, &stop);
        fault::disarm();
        go(directory.path(), &text).unwrap();
        differences(&result_of(whole.path()), &result_of(directory.path()))
    };
    assert_eq!(stopped(None), Vec::<String>::new());
    assert_ne!(stopped(Some("comparison")), Vec::<String>::new(), "the scale is an average over steps");
}

/// With the real engine: how rows are packed is no part of the result, and what is saved says what the trained model says.
#[test]
fn packing_changes_no_bit_and_a_saved_reward_model_is_the_one_that_was_trained() {
    let folder = tempfile::tempdir().unwrap();
    let path = pairs(folder.path());
    let text = |tokens: usize| {
        format!(
            "seed = 3\nname = \"packing\"\nmodel = \"tiny\"\n[[stage]]\nkind = \"reward-model\"\n\
             task = {{ path = {path:?}, chat = false }}\nsteps = 3\nprompts_per_step = 6\nlearning_rate = 0.003\n\
             tokens_per_microbatch = {tokens}\n"
        )
    };
    let train = |tokens: usize, directory: &Path| {
        run(&recipe_of(&text(tokens)), &settings(directory), &mut Silent, &StopFlag::default()).unwrap();
        result_of(directory)
    };
    let directory = tempfile::tempdir().unwrap();
    let alone = train(1, directory.path());
    for tokens in [40, 100_000] {
        let other = tempfile::tempdir().unwrap();
        let differ = differences(&alone, &train(tokens, other.path()));
        assert_eq!(differ, Vec::<String>::new(), "{tokens}");
    }
    let both = model::open(directory.path().join("checkpoints/step-000003").to_str().unwrap(), None, 0, 1).unwrap();
    let kept = model::open(directory.path().join("reward-models/stage-1").to_str().unwrap(), None, 0, 1).unwrap();
    assert!(both.native.model().language_head && !kept.native.model().language_head);
    let tokenizer = kept.tokenizer.unwrap();
    let example = tokenizer.encode_example(&PromptText::Text("1+1=".into()), "aab").unwrap();
    let mut batch = TokenBatch::default();
    batch.push(&example.tokens, &vec![false; example.tokens.len()], 1.0);
    let want = Want { reward: true, ..Want::default() };
    let reward = |engine: &dyn Engine| engine.score(&batch, want).unwrap().reward.unwrap();
    let (a, b) = (reward(&both.native), reward(&kept.native));
    assert_eq!(a, b);
    assert!(a[0].is_finite() && a[0] != 0.0);
}

#[test]
fn judgements_of_single_answers_train_by_cross_entropy() {
    let folder = tempfile::tempdir().unwrap();
    let line = |at: usize| {
        let good = at.is_multiple_of(3);
        let answer = if good { "aaa" } else { "bb" };
        format!("{{\"prompt\":\"{at}?\",\"completion\":\"{answer}\",\"label\":{good}}}\n")
    };
    let path = folder.path().join("thumbs.jsonl");
    std::fs::write(&path, (0..60).map(line).collect::<String>()).unwrap();
    let text = format!(
        "seed = 5\nname = \"bce\"\nmodel = \"tiny\"\n[[stage]]\nkind = \"reward-model\"\nmethod = \"reward_bce\"\n\
         task = {{ path = {path:?}, chat = false, test_fraction = 0.3 }}\nepochs = 4\nprompts_per_step = 4\nlearning_rate = 0.3\n\
         [stage.early_stop]\nevery = 5"
    );
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), &text).unwrap();
    let last = rows(directory.path()).into_iter().rev().find(|row| row.get("eval/pairs/auroc").is_some()).unwrap();
    assert_eq!(last.get("eval/pairs/auroc"), Some(1.0));
    assert_eq!(last.get("eval/pairs/accuracy"), Some(1.0));
    // A loss of two answers refuses them, by name.
    let problem = go(&directory.path().join("x"), &text.replace("method = \"reward_bce\"\n", "")).unwrap_err();
    assert_eq!((problem.kind(), problem.code()), (Kind::Data, "D068"), "{problem}");
    assert!(problem.message().contains("thumbs.jsonl:"), "{problem}");
}

#[test]
fn a_recipe_that_makes_no_sense_is_refused() {
    let base = "model = \"tiny\"\n[[stage]]\nkind = \"reward-model\"\ntask = \"pairs.jsonl\"\nsteps = 2\n";
    let problem = |more: &str| Recipe::load_text(Path::new("x.toml"), &format!("{base}{more}"), &[]).unwrap_err();
    for (more, code) in [
        ("temperature = 1.0", "R007"),
        ("method = \"orpo\"", "R016"),
        ("method = \"bradly_terry\"", "R010"),
        ("[stage.dpo]\nbeta = 0.1", "R018"),
        ("[stage.bradley_terry]\nbeta = 0.1", "R017"),
        ("[stage.grpo]\nkl_coefficient = 0.1", "R018"),
        ("method = \"aot\"\nprompts_per_step = 4", "R016"),
        ("method = \"m_estimator\"\nprompts_per_step = 3", "R050"),
        ("[stage.pairs]\nnear_tie = -1", "R006"),
        ("[stage.pairs]\nnear = 1", "R003"),
    ] {
        let problem = problem(more);
        assert_eq!(problem.code(), code, "{more}: {problem}");
        assert!(problem.place().is_some(), "{more}: {problem}");
    }
    let elsewhere =
        "model = \"tiny\"\n[[stage]]\nkind = \"sft\"\ntask = \"pairs.jsonl\"\nsteps = 2\n[stage.pairs]\nnear_tie = 1";
    assert_eq!(Recipe::load_text(Path::new("x.toml"), elsewhere, &[]).unwrap_err().code(), "R007");
}

#[test]
fn a_resolved_recipe_reads_as_itself() {
    let text = recipe(Path::new("pairs.jsonl"));
    let recipe = recipe_of(&text);
    let written = recipe.to_toml();
    assert_eq!(recipe_of(&written), recipe, "{written}");
    let bare = recipe_of("model = \"tiny\"\n[[stage]]\nkind = \"reward-model\"\ntask = \"pairs.jsonl\"\nsteps = 2\n");
    assert_eq!(bare.eval.prompts, 0, "comparisons have no answers that a reward could check");
    assert_eq!(recipe_of(&bare.to_toml()), bare);
}
