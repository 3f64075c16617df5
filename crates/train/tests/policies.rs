//! The policy that sampled, the trainer before its updates, and the current one are kept apart; a critic learns; and the size
//! of a micro-batch changes no bit.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::path::Path;

use common::{CRITIC, StopAt, differences, go, model_of, recipe_of, result_of, settings, toy};
use lapidary_algo::{MethodKind, methods};
use lapidary_core::{Result, TokenBatch, TokenGrads, TokenStats, Want};
use lapidary_engine::{Engine, ModelConfig, Sample, SampleRequest, Update, UpdateStats};
use lapidary_testkit::Bigram;
use lapidary_train::metrics::{Row, read_rows};
use lapidary_train::rollouts::{self, Sampled};
use lapidary_train::{Silent, StopFlag, run, run_model};

/// An engine whose sampler is another model than its trainer: its log-probabilities are off by a constant.
struct Skewed(Bigram);

const SKEW: f32 = 0.25;

impl Engine for Skewed {
    fn model(&self) -> &ModelConfig {
        self.0.model()
    }
    fn version(&self) -> u64 {
        self.0.version()
    }
    fn score(&self, batch: &TokenBatch, want: Want) -> Result<TokenStats> {
        self.0.score(batch, want)
    }
    fn accumulate(
        &mut self,
        batch: &TokenBatch,
        want: Want,
        objective: &mut dyn FnMut(&TokenStats) -> Result<TokenGrads>,
    ) -> Result<()> {
        self.0.accumulate(batch, want, objective)
    }
    fn step(&mut self, update: &Update) -> Result<UpdateStats> {
        self.0.step(update)
    }
    fn clear_gradient(&mut self) {
        self.0.clear_gradient();
    }
    fn sample(&self, requests: &[SampleRequest], progress: &(dyn Fn(usize) + Sync)) -> Result<Vec<Vec<Sample>>> {
        let mut answers = self.0.sample(requests, progress)?;
        answers.iter_mut().flatten().flat_map(|sample| &mut sample.logp).for_each(|logp| *logp -= SKEW);
        Ok(answers)
    }
    fn save_model(&self, directory: &Path) -> Result<()> {
        self.0.save_model(directory)
    }
    fn save_optimizer(&self, directory: &Path) -> Result<()> {
        self.0.save_optimizer(directory)
    }
    fn restore(&mut self, model_directory: &Path, optimizer_directory: &Path) -> Result<()> {
        self.0.restore(model_directory, optimizer_directory)
    }
    fn reset_optimizer(&mut self) {
        self.0.reset_optimizer();
    }
}

const TASK: &str = r#"{ name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }"#;

/// One rl stage on the toy's lengths; `more` are further lines of it.
fn recipe(method: &str, more: &str) -> String {
    format!(
        "seed = 2\nname = \"m\"\nmodel = \"tiny\"\n[[stage]]\nkind = \"rl\"\nmethod = \"{method}\"\ntask = {TASK}\n\
         reward = [{{ name = \"length\", max = 60 }}]\nsteps = 2\nprompts_per_step = 4\nsamples_per_prompt = 4\n\
         max_new_tokens = 40\nlearning_rate = 0.01\n{more}\n[eval]\nprompts = 0\n"
    )
}

fn rows(directory: &Path) -> Vec<Row> {
    read_rows(&directory.join("metrics.jsonl")).unwrap()
}

fn samples(directory: &Path, step: u64) -> Vec<Sampled> {
    rollouts::read(&rollouts::path_of(&directory.join("rollouts"), step)).unwrap()
}

fn get(row: &Row, name: &str) -> f64 {
    row.get(name).unwrap_or_else(|| panic!("no `{name}` in {row:?}"))
}

/// Metrics of a run of the skewed engine.
fn skewed(text: &str) -> Vec<Row> {
    let directory = tempfile::tempdir().unwrap();
    let model = model_of(Box::new(Skewed(toy())));
    run_model(&recipe_of(text), &settings(directory.path()), model, &mut Silent, &StopFlag::default()).unwrap();
    rows(directory.path())
}

/// With a learning rate of 0 the current policy is the proximal one in every update, however far the sampler is.
#[test]
fn the_ratio_compares_with_the_trainer_and_the_correction_with_the_sampler() {
    let still = "learning_rate = 0\nupdates_per_rollout = 2\nepochs_per_rollout = 2";
    let text = |method: &str, more: &str| recipe(method, more).replace("learning_rate = 0.01\n", "");
    let (skew, weight) = (f64::from(SKEW), f64::from(SKEW).exp());
    for row in skewed(&text("grpo", still)) {
        assert_eq!((get(&row, "ratio/min"), get(&row, "ratio/max")), (1.0, 1.0));
        assert!((get(&row, "sampling/logp_difference/mean") - skew).abs() < 1e-5, "{row:?}");
        assert!((get(&row, "sampling/mismatch_k1") + skew).abs() < 1e-5, "the sampler says less");
    }
    let tis = "\n[stage.grpo]\ncorrection_level = \"token\"\ncorrection_high = 2.0";
    for row in skewed(&text("grpo", &format!("{still}{tis}"))) {
        assert_eq!(get(&row, "ratio/max"), 1.0);
        assert!((get(&row, "correction/weight_mean") - weight).abs() < 1e-5, "{row:?}");
    }
    for row in skewed(&text("grpo", &format!("{still}\n[stage.grpo]\nbypass = true"))) {
        assert!((get(&row, "ratio/mean") - weight).abs() < 1e-5, "two policies: {row:?}");
    }
}

/// Credit by entropy is made of the entropies of the weights that sampled, whatever the updates do.
#[test]
fn entropies_are_those_before_the_updates() {
    let (once, often) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let right = "[stage.gtpo]\nsuccess_above = -0.3\n";
    go(once.path(), &recipe("gtpo", right)).unwrap();
    go(often.path(), &recipe("gtpo", &format!("updates_per_rollout = 4\n{right}"))).unwrap();
    let advantages = |path: &Path| samples(path, 1).iter().map(|sampled| sampled.advantage).collect::<Vec<_>>();
    assert_eq!(advantages(once.path()), advantages(often.path()));
    assert_ne!(rows(once.path())[1].values, rows(often.path())[1].values);
}

/// A cut distribution is the trainer's distribution too.
#[test]
fn the_trainer_sees_the_support_that_was_sampled_from() {
    for (cut, method) in [("top_p = 0.7", "grpo"), ("top_k = 5", "gspo")] {
        let directory = tempfile::tempdir().unwrap();
        go(directory.path(), &recipe(method, &format!("{cut}\nupdates_per_rollout = 2"))).unwrap();
        for row in rows(directory.path()) {
            assert_eq!(get(&row, "sampling/logp_difference/max"), 0.0, "{cut}");
        }
        let sampled = samples(directory.path(), 1).remove(0);
        let support = sampled.rollout.support.clone().expect("recorded");
        assert_eq!(support.rows(), sampled.rollout.tokens.len());
        let own = sampled.rollout.tokens.len() - sampled.length();
        assert!((0..own).all(|token| support.len_of(token) == 0), "nothing was drawn for the prompt");
        assert!((own..support.rows()).all(|token| support.row(token).contains(&sampled.rollout.tokens[token])));
    }
}

#[test]
fn a_critic_warms_up_alone_and_then_explains_the_rewards() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), &CRITIC.replace("steps = 6\nprompts", "steps = 12\nprompts")).unwrap();
    let rows = rows(directory.path());
    let loss: Vec<f64> = rows.iter().map(|row| get(row, "value_loss")).collect();
    assert!(loss[11] < 0.7 * loss[0], "the critic learns what an answer is worth: {loss:?}");
    assert!(get(&rows[0], "value/explained_variance") < 1.0);
    // Six updates of warm-up are the first step and half of the second: the toy's policy has weights of its own.
    assert_eq!(get(&rows[0], "ratio/max"), 1.0, "the policy stands still while the critic warms up");
    assert!(get(&rows[2], "ratio/max") > 1.0);
    let coefficients: Vec<f64> = rows.iter().map(|row| get(row, "kl_coefficient")).collect();
    assert_eq!(coefficients[0], 0.1);
    assert!(coefficients.windows(2).any(|pair| pair[0] != pair[1]), "{coefficients:?}");
}

/// Micro-batches are cut between groups, so no bit of metrics, rollouts and weights depends on their size.
#[test]
fn the_size_of_a_micro_batch_changes_no_bit_for_any_method() {
    for method in methods().iter().filter(|method| method.kind != MethodKind::Supervised) {
        let updates = if (method.defaults)().on_policy_only() { "" } else { "updates_per_rollout = 2" };
        let text = |tokens: usize| recipe(method.name, &format!("tokens_per_microbatch = {tokens}\n{updates}"));
        let of = |tokens: usize| {
            let directory = tempfile::tempdir().unwrap();
            go(directory.path(), &text(tokens)).unwrap_or_else(|problem| panic!("{}: {problem}", method.name));
            result_of(directory.path())
        };
        let whole = of(8192);
        for tokens in [1, 150, 400] {
            assert_eq!(differences(&whole, &of(tokens)), Vec::<String>::new(), "{} at {tokens}", method.name);
        }
    }
}

/// The same with the real engine.
#[test]
fn the_size_of_a_micro_batch_changes_no_bit_of_the_native_engine() {
    for method in methods().iter().filter(|method| method.kind != MethodKind::Supervised) {
        let updates = if (method.defaults)().on_policy_only() { "" } else { "updates_per_rollout = 2" };
        let text = |tokens: usize| {
            recipe(method.name, &format!("tokens_per_microbatch = {tokens}\n{updates}"))
                .replace("max_new_tokens = 40", "max_new_tokens = 10")
        };
        let of = |tokens: usize| {
            let directory = tempfile::tempdir().unwrap();
            run(&recipe_of(&text(tokens)), &settings(directory.path()), &mut Silent, &StopFlag::default())
                .unwrap_or_else(|problem| panic!("{}: {problem}", method.name));
            result_of(directory.path())
        };
        assert_eq!(differences(&of(8192), &of(60)), Vec::<String>::new(), "{}", method.name);
    }
}

/// With an adapter the reference is the model without it: no frozen copy, a KL of 0 before the first update, and the same
/// bytes after a stop.
#[test]
fn an_adapter_is_measured_against_the_model_without_it() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().join("base");
    let start = "seed = 3\nmodel = \"tiny\"\n[[stage]]\nkind = \"sft\"\ntask = \"spell-backward\"\nsteps = 2\n\
                 prompts_per_step = 4\n[eval]\nprompts = 0\n";
    run(&recipe_of(start), &settings(&base), &mut Silent, &StopFlag::default()).unwrap();
    let model = base.join("checkpoints/step-000002");
    let weights = std::fs::read(model.join("model.safetensors")).unwrap();
    let text = recipe("grpo", "updates_per_rollout = 2\n[stage.grpo]\nkl_coefficient = 0.1\n")
        .replace("model = \"tiny\"", &format!("model = {:?}\n[adapter]\nrank = 4", model.to_str().unwrap()))
        .replace("steps = 2", "steps = 3")
        .replace("max_new_tokens = 40", "max_new_tokens = 10");
    let (whole, stopped) = (directory.path().join("whole"), directory.path().join("stopped"));
    run(&recipe_of(&text), &settings(&whole), &mut Silent, &StopFlag::default()).unwrap();
    let kl: Vec<f64> = rows(&whole).iter().map(|row| get(row, "kl")).collect();
    assert!(kl[0] >= 0.0 && kl[2] > kl[0], "the adapter moves away from the model it adapts: {kl:?}");
    assert!(!whole.join("reference").exists(), "no second copy of the weights");
    let checkpoint = whole.join("checkpoints/step-000003");
    assert!(checkpoint.join("adapter_model.safetensors").exists() && !checkpoint.join("model.safetensors").exists());
    assert_eq!(std::fs::read(model.join("model.safetensors")).unwrap(), weights);
    let stop = StopFlag::default();
    let mut watch = StopAt { step: 1, stop: stop.clone() };
    run(&recipe_of(&text), &settings(&stopped), &mut watch, &stop).unwrap_err();
    run(&recipe_of(&text), &settings(&stopped), &mut Silent, &StopFlag::default()).unwrap();
    assert_eq!(differences(&result_of(&whole), &result_of(&stopped)), Vec::<String>::new());
}

/// Routing replay on a mixture of experts: the sampler and the trainer agree with and without it, and later updates keep the
/// experts of the rollout.
#[test]
fn experts_are_replayed() {
    let of = |replay: &str| {
        let directory = tempfile::tempdir().unwrap();
        let text = recipe("grpo", &format!("updates_per_rollout = 2\nepochs_per_rollout = 2\n{replay}"))
            .replace("model = \"tiny\"", "model = \"tiny-moe\"")
            .replace("max_new_tokens = 40", "max_new_tokens = 10");
        run(&recipe_of(&text), &settings(directory.path()), &mut Silent, &StopFlag::default()).unwrap();
        let recorded = samples(directory.path(), 1).iter().all(|sampled| sampled.rollout.routing.is_some());
        (rows(directory.path()), recorded)
    };
    let (free, recorded) = of("");
    assert!(!recorded);
    let (r2, recorded) = of("routing_replay = \"r2\"");
    assert!(!recorded, "the trainer's own pass records");
    let (r3, recorded) = of("routing_replay = \"r3\"");
    assert!(recorded, "the sampler records");
    for row in free.iter().chain(&r2).chain(&r3) {
        assert_eq!(get(row, "sampling/logp_difference/max"), 0.0, "{row:?}");
    }
    // Sampler and trainer choose the same experts here, so what is replayed is the same.
    assert_eq!(
        r2.iter().map(|row| get(row, "ratio/max")).collect::<Vec<_>>(),
        r3.iter().map(|row| get(row, "ratio/max")).collect::<Vec<_>>()
    );
    assert_ne!(free[1].values, r3[1].values, "without replay the router moves");
}

#[test]
fn a_recipe_that_a_model_cannot_serve_is_refused() {
    let refuse = |text: &str| {
        let directory = tempfile::tempdir().unwrap();
        let model = model_of(Box::new(toy()));
        let run = settings(directory.path());
        run_model(&recipe_of(text), &run, model, &mut Silent, &StopFlag::default()).unwrap_err().code()
    };
    assert_eq!(refuse(&recipe("grpo", "routing_replay = \"r3\"")), "R023");
    assert_eq!(refuse(CRITIC), "M014");
}
