//! Damaged checkpoints, second processes, changed recipes, numbers that are not finite.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{RECIPE, StopAt, differences, go, go_watched, model, model_of, recipe_of, result_of, settings};
use lapidary_core::{Key, Kind, Purpose, Result, TokenBatch, TokenGrads, TokenStats, Want};
use lapidary_engine::{Engine, ModelConfig, Sample, SampleRequest, Update, UpdateStats};
use lapidary_testkit::Bigram;
use lapidary_text::Tokenizer;
use lapidary_train::{Notice, Silent, StopFlag, Watch, run_model};

/// Remembers which checkpoints were passed over, and from where the run went on.
#[derive(Default)]
struct Heard {
    skipped: Vec<(String, String)>,
    resumed: Option<u64>,
}

impl Watch for Heard {
    fn notice(&mut self, notice: &Notice<'_>) {
        match notice {
            Notice::Skipped(skipped) => self.skipped.push((skipped.name.clone(), skipped.reason.clone())),
            Notice::Resumed { step, .. } => self.resumed = Some(*step),
            _ => {}
        }
    }
}

fn stopped_at(step: u64) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let stop = StopFlag::default();
    go_watched(directory.path(), RECIPE, &mut StopAt { step, stop: stop.clone() }, &stop).unwrap_err();
    directory
}

fn checkpoint(directory: &Path, step: u64) -> PathBuf {
    directory.join(format!("checkpoints/step-{step:06}"))
}

#[test]
fn a_damaged_newest_checkpoint_is_said_and_the_one_before_is_used() {
    let whole = tempfile::tempdir().unwrap();
    go(whole.path(), RECIPE).unwrap();
    let expected = result_of(whole.path());
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let truncate = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    };
    type Damage<'a> = &'a dyn Fn(&Path);
    let damages: [(&str, Damage<'_>); 5] = [
        ("model.safetensors", &flip),
        ("model.safetensors", &truncate),
        ("state/state.json", &flip),
        ("state/optimizer.safetensors", &|path| fs::remove_file(path).unwrap()),
        ("manifest.json", &truncate),
    ];
    for (file, damage) in damages {
        let directory = stopped_at(5);
        damage(&checkpoint(directory.path(), 5).join(file));
        let mut heard = Heard::default();
        go_watched(directory.path(), RECIPE, &mut heard, &StopFlag::default()).unwrap();
        assert_eq!(heard.resumed, Some(4), "{file}");
        assert_eq!(heard.skipped.len(), 1);
        assert_eq!(heard.skipped[0].0, "step-000005");
        assert!(heard.skipped[0].1.contains(file), "{:?}", heard.skipped);
        assert_eq!(differences(&expected, &result_of(directory.path())), Vec::<String>::new(), "{file}");
        let events = fs::read_to_string(directory.path().join("events.jsonl")).unwrap();
        assert!(events.contains("\"event\":\"skipped\""));
    }
}

#[test]
fn without_any_valid_checkpoint_nothing_is_guessed() {
    let directory = stopped_at(5);
    for step in [4, 5] {
        fs::write(checkpoint(directory.path(), step).join("config.json"), "{}").unwrap();
    }
    let problem = go(directory.path(), RECIPE).unwrap_err();
    assert_eq!((problem.kind(), problem.code()), (Kind::Model, "S008"));
    assert_eq!(problem.reasons().len(), 2);
}

#[test]
fn a_damaged_reference_or_log_is_not_used() {
    let directory = stopped_at(6);
    let model = directory.path().join("references/stage-02/model.safetensors");
    let good = fs::read(&model).unwrap();
    fs::write(&model, &good[..good.len() - 1]).unwrap();
    assert_eq!(go(directory.path(), RECIPE).unwrap_err().code(), "S007");
    fs::write(&model, &good).unwrap();
    let log = directory.path().join("metrics.jsonl");
    let rows = fs::read(&log).unwrap();
    fs::write(&log, &rows[..rows.len() / 2]).unwrap();
    assert_eq!(go(directory.path(), RECIPE).unwrap_err().code(), "S006");
    fs::write(&log, rows).unwrap();
    go(directory.path(), RECIPE).unwrap();
}

#[test]
fn a_changed_recipe_is_refused_and_fresh_starts_over() {
    let directory = stopped_at(5);
    let changed = RECIPE.replace("learning_rate = 0.02", "learning_rate = 0.03");
    let problem = go(directory.path(), &changed).unwrap_err();
    assert_eq!((problem.kind(), problem.code()), (Kind::Usage, "S003"));
    assert!(problem.reasons()[0].contains("learning_rate"), "{problem}");
    assert!(problem.advice().unwrap().contains("--fresh"));
    let mut settings = settings(directory.path());
    settings.fresh = true;
    run_model(&recipe_of(&changed), &settings, model(), &mut Silent, &StopFlag::default()).unwrap();
    let other = tempfile::tempdir().unwrap();
    go(other.path(), &changed).unwrap();
    assert_eq!(differences(&result_of(other.path()), &result_of(directory.path())), Vec::<String>::new());
}

#[test]
fn checkpoints_may_be_kept_otherwise_on_the_way() {
    let directory = stopped_at(5);
    let whole = tempfile::tempdir().unwrap();
    go(whole.path(), RECIPE).unwrap();
    go(directory.path(), &RECIPE.replace("every = 3\nkeep = 2", "every = 1\nkeep = 3")).unwrap();
    assert_eq!(differences(&result_of(whole.path()), &result_of(directory.path())), Vec::<String>::new());
}

#[test]
fn micro_batches_never_change_a_result() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    go(a.path(), RECIPE).unwrap();
    go(b.path(), &RECIPE.replace("tokens_per_microbatch = 100", "tokens_per_microbatch = 30")).unwrap();
    assert_eq!(differences(&result_of(a.path()), &result_of(b.path())), Vec::<String>::new());
}

#[test]
fn a_dry_run_plans_and_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(&directory.path().join("run"));
    settings.dry_run = true;
    let outcome = run_model(&recipe_of(RECIPE), &settings, model(), &mut Silent, &StopFlag::default()).unwrap();
    assert!(!settings.run_dir.exists());
    let stage = &outcome.plan.stages[1];
    assert_eq!((stage.completions_per_step, stage.optimizer_steps, stage.samples_per_prompt), (16, 10, 4));
    assert_eq!(outcome.plan.steps(), 9);
}

#[test]
fn a_prompt_longer_than_the_context_is_named() {
    let tokenizer = Tokenizer::characters();
    let short = Bigram::new(tokenizer.vocabulary(), 6, tokenizer.eos().unwrap(), Key::new(1, Purpose::Initialise));
    let directory = tempfile::tempdir().unwrap();
    let problem = run_model(
        &recipe_of(RECIPE),
        &settings(directory.path()),
        model_of(Box::new(short)),
        &mut Silent,
        &StopFlag::default(),
    )
    .unwrap_err();
    assert_eq!((problem.kind(), problem.code()), (Kind::Data, "D041"));
    assert!(problem.message().contains("chain-sum/train/0"), "{problem}");
}

/// The toy with one number broken at one optimiser step.
struct Broken {
    inner: Bigram,
    at: u64,
    what: &'static str,
}

impl Engine for Broken {
    fn model(&self) -> &ModelConfig {
        self.inner.model()
    }
    fn version(&self) -> u64 {
        self.inner.version()
    }
    fn score(&self, batch: &TokenBatch, want: Want) -> Result<TokenStats> {
        self.inner.score(batch, want)
    }
    fn accumulate(
        &mut self,
        batch: &TokenBatch,
        want: Want,
        objective: &mut dyn FnMut(&TokenStats) -> Result<TokenGrads>,
    ) -> Result<()> {
        let (now, what) = (self.inner.version() == self.at, self.what);
        self.inner.accumulate(batch, want, &mut |stats| {
            let mut stats = stats.clone();
            let last = stats.logp.len_of(0) - 1;
            match what {
                "logp" if now => stats.logp.row_mut(0)[last] = f32::NAN,
                "entropy" if now => stats.entropy.row_mut(0)[last] = f32::INFINITY,
                _ => {}
            }
            let mut grads = objective(&stats)?;
            if what == "gradient" && now {
                grads.logp.row_mut(0)[last] = f32::NEG_INFINITY;
            }
            Ok(grads)
        })
    }
    fn step(&mut self, update: &Update) -> Result<UpdateStats> {
        self.inner.step(update)
    }
    fn clear_gradient(&mut self) {
        self.inner.clear_gradient();
    }
    fn sample(&self, requests: &[SampleRequest], progress: &(dyn Fn(usize) + Sync)) -> Result<Vec<Vec<Sample>>> {
        self.inner.sample(requests, progress)
    }
    fn save_model(&self, directory: &Path) -> Result<()> {
        self.inner.save_model(directory)
    }
    fn save_optimizer(&self, directory: &Path) -> Result<()> {
        self.inner.save_optimizer(directory)
    }
    fn restore(&mut self, model: &Path, optimizer: &Path) -> Result<()> {
        self.inner.restore(model, optimizer)
    }
    fn reset_optimizer(&mut self) {
        self.inner.reset_optimizer();
    }
}

/// RELIABILITY N1: caught before the update at every step; the names are there; the run can go on once the cause is gone.
#[test]
fn numbers_that_are_not_finite_stop_the_run_before_they_reach_the_weights() {
    let whole = tempfile::tempdir().unwrap();
    go(whole.path(), RECIPE).unwrap();
    let expected = result_of(whole.path());
    let tokenizer = Tokenizer::characters();
    for what in ["logp", "entropy", "gradient"] {
        // 4 optimiser steps of sft, then 2 per step of rl.
        for at in 0..14 {
            let inner =
                Bigram::new(tokenizer.vocabulary(), 256, tokenizer.eos().unwrap(), Key::new(5, Purpose::Initialise));
            let directory = tempfile::tempdir().unwrap();
            let broken = model_of(Box::new(Broken { inner, at, what }));
            let problem =
                run_model(&recipe_of(RECIPE), &settings(directory.path()), broken, &mut Silent, &StopFlag::default())
                    .unwrap_err();
            assert_eq!(problem.kind(), Kind::Diverged, "{what} {at}: {problem}");
            let step = if at < 4 { at + 1 } else { 5 + (at - 4) / 2 };
            assert!(problem.message().contains(&format!("step {step} ")), "{what} {at}: {problem}");
            let named = if what == "gradient" { "tensor `bigram`" } else { "sample `chain-sum/train/" };
            assert!(problem.message().contains(named), "{what} {at}: {problem}");
            go(directory.path(), RECIPE).unwrap();
            assert_eq!(differences(&expected, &result_of(directory.path())), Vec::<String>::new(), "{what} {at}");
        }
    }
}
