//! Runs with the toy engine: a whole run takes milliseconds.
#![allow(dead_code, clippy::unwrap_used)]

pub mod tabular;

use std::collections::BTreeMap;
use std::path::Path;

use lapidary_core::{Key, Problem, Purpose};
use lapidary_engine::Engine;
use lapidary_testkit::Bigram;
use lapidary_text::Tokenizer;
use lapidary_train::model::LoadedModel;
use lapidary_train::{Notice, Outcome, Recipe, Settings, Silent, StopFlag, Watch, fault, run_model};

/// Two kinds of stage, a KL term against a frozen reference, several updates per rollout, evaluations, and checkpoints at
/// steps 3, 4, 6, 7 and 9 of the run.
pub const RECIPE: &str = r#"
seed = 5
name = "toy"
model = "tiny"

[[stage]]
kind = "sft"
task = "chain-sum"
steps = 4
prompts_per_step = 3
learning_rate = 0.05
warmup_steps = 2

[[stage]]
kind = "rl"
method = "grpo"
task = "chain-sum"
reward = ["answer", { name = "length", weight = 0.01, max = 16 }]
steps = 5
prompts_per_step = 4
samples_per_prompt = 4
max_new_tokens = 12
updates_per_rollout = 2
tokens_per_microbatch = 100
learning_rate = 0.02
schedule = "linear"

[stage.grpo]
kl_coefficient = 0.05

[eval]
prompts = 6
every = 2

[checkpoint]
every = 3
keep = 2
"#;

/// A critic that warms up, a KL in the reward whose coefficient moves, several passes over the rollouts.
pub const CRITIC: &str = r#"
seed = 5
name = "critic"
model = "tiny"

[[stage]]
kind = "rl"
method = "ppo"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
reward = [{ name = "length", max = 80 }]
steps = 6
prompts_per_step = 4
samples_per_prompt = 2
max_new_tokens = 40
updates_per_rollout = 2
epochs_per_rollout = 2
learning_rate = 0.02

[stage.ppo]
critic_warmup_steps = 6
kl_coefficient = 0.1
kl_target = 0.01
kl_horizon = 20

[eval]
prompts = 0

[checkpoint]
every = 2
keep = 2
"#;

/// Everything that chooses what is learned from: dynamic sampling with groups held over, a curriculum that switches, a
/// temperature that rises, several passes over the rollouts. The toy's answers differ in length and are never right, so a
/// total reward above −0.1 (fewer than nine tokens) counts as right, and no temperature costs accuracy.
pub const EXPLORING: &str = r#"
seed = 5
name = "exploring"
model = "tiny"

[[stage]]
kind = "rl"
method = "dapo"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
reward = [{ name = "length", max = 80 }]
steps = 7
prompts_per_step = 3
samples_per_prompt = 4
max_new_tokens = 40
updates_per_rollout = 2
epochs_per_rollout = 2
learning_rate = 0.02

[stage.dynamic_sampling]
oversample = 2.0

[stage.curriculum]
pool = 10
draws = 4
hard_draws = 60
right_from = -0.05
switch = "step"
switch_step = 4

[stage.dynamic_temperature]
grid = [0.9, 1.0, 1.1, 1.2]
window = 3
tolerance = 10.0
prompts = 2
samples = 2

[eval]
prompts = 0

[checkpoint]
every = 2
keep = 2
"#;

/// The level of the task rises and falls.
#[allow(dead_code)] // not every test file uses it
pub const LEVELLED: &str = r#"
seed = 5
name = "levelled"
model = "tiny"

[[stage]]
kind = "rl"
method = "grpo"
task = { name = "chain-sum", style = "terse" }
reward = [{ name = "length", max = 80 }]
steps = 7
prompts_per_step = 3
samples_per_prompt = 4
max_new_tokens = 40
learning_rate = 0.02

[stage.difficulty]
start = 2
window = 1
raise_above = 0.5
lower_below = 0.49
right_from = -0.05

[eval]
prompts = 0

[checkpoint]
every = 2
keep = 2
"#;

/// Two examples of six, repeated over three rows, with a KL term, an entropy bonus and evaluations. Every answer of the toy counts
/// as right, so the examples are saturated at once.
pub const ONE_SHOT: &str = r#"
seed = 5
name = "one-shot"
model = "tiny"

[[stage]]
kind = "rl"
method = "grpo"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
reward = [{ name = "length", max = 80 }]
steps = 6
prompts_per_step = 4
samples_per_prompt = 4
max_new_tokens = 40
learning_rate = 0.02

[stage.grpo]
aggregate = "token_mean"
kl_coefficient = 0.001
entropy_coefficient = 0.001

[stage.one_shot]
pool = 6
by = "random"
top = 2
repeat_to = 3
right_from = -10.0

[eval]
prompts = 6
every = 4

[checkpoint]
every = 2
keep = 2
"#;

pub fn recipe_of(text: &str) -> Recipe {
    Recipe::load_text(Path::new("toy.toml"), text, &[]).unwrap()
}

pub fn toy() -> Bigram {
    let tokenizer = Tokenizer::characters();
    let eos = tokenizer.eos().unwrap();
    Bigram::new(tokenizer.vocabulary(), 256, eos, Key::new(5, Purpose::Initialise))
}

pub fn toy_vocabulary() -> usize {
    Tokenizer::characters().vocabulary()
}

pub fn model() -> LoadedModel {
    model_of(Box::new(toy()))
}

/// The toy, with a value head where a stage has a critic, or a reward head where one trains it.
pub fn model_for(recipe: &Recipe) -> LoadedModel {
    if recipe.needs_value_head() {
        model_of(Box::new(toy().with_value_head()))
    } else if recipe.needs_reward_head() {
        model_of(Box::new(toy().with_reward_head()))
    } else {
        model()
    }
}

pub fn model_of(engine: Box<dyn Engine>) -> LoadedModel {
    let reopen = |directory: &Path| {
        // The reference's optimiser is never used, so that of the checkpoint stands in.
        let config = std::fs::read_to_string(directory.join("config.json")).unwrap();
        let has = |head: &str| config.contains(&format!("\"{head}_head\": true"));
        let mut engine = match () {
            () if has("value") => toy().with_value_head(),
            () if has("reward") => toy().with_reward_head(),
            () => toy(),
        };
        let optimizer = tempfile::tempdir().unwrap();
        engine.save_optimizer(optimizer.path()).unwrap();
        engine.restore(directory, optimizer.path())?;
        Ok(Box::new(engine) as Box<dyn Engine>)
    };
    LoadedModel { engine, tokenizer: Tokenizer::characters(), reopen: Box::new(reopen) }
}

pub fn settings(directory: &Path) -> Settings {
    Settings { run_dir: directory.to_path_buf(), threads: 1, ..Settings::default() }
}

pub fn go(directory: &Path, recipe: &str) -> Result<Outcome, Problem> {
    go_watched(directory, recipe, &mut Silent, &StopFlag::default())
}

pub fn go_watched(directory: &Path, recipe: &str, watch: &mut dyn Watch, stop: &StopFlag) -> Result<Outcome, Problem> {
    let recipe = recipe_of(recipe);
    run_model(&recipe, &settings(directory), model_for(&recipe), watch, stop)
}

/// Asks to stop when a step is done.
pub struct StopAt {
    pub step: u64,
    pub stop: StopFlag,
}

impl Watch for StopAt {
    fn notice(&mut self, notice: &Notice<'_>) {
        if let Notice::Step { at, .. } = notice
            && at.step == self.step
        {
            self.stop.request();
        }
    }
}

/// What must be the same bytes for the same run: metrics, rollouts, evaluations, and everything in the newest checkpoint.
pub fn result_of(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    add(directory, "metrics.jsonl", &mut files);
    add(directory, "rollouts", &mut files);
    add(directory, "evaluations", &mut files);
    for folder in ["traces", "pairs"].into_iter().filter(|folder| directory.join(folder).exists()) {
        add(directory, folder, &mut files);
    }
    let newest = std::fs::read_dir(directory.join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("step-"))
        .max();
    add(directory, &format!("checkpoints/{}", newest.unwrap()), &mut files);
    files
}

fn add(root: &Path, name: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    let path = root.join(name);
    if path.is_dir() {
        for entry in std::fs::read_dir(&path).unwrap() {
            add(root, &format!("{name}/{}", entry.unwrap().file_name().to_string_lossy()), files);
        }
    } else {
        files.insert(name.to_string(), std::fs::read(path).unwrap());
    }
}

/// Names of files that differ; empty when everything is the same.
pub fn differences(a: &BTreeMap<String, Vec<u8>>, b: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    names.into_iter().filter(|name| a.get(*name) != b.get(*name)).cloned().collect()
}

/// Stops a run after each of its steps and goes on; then the control, with a field of the state forgotten at step `at`.
pub fn stopped_anywhere(recipe: &str, steps: u64, fields: &[&str], at: u64) {
    let whole = tempfile::tempdir().unwrap();
    go(whole.path(), recipe).unwrap();
    for step in 1..steps {
        let directory = tempfile::tempdir().unwrap();
        let stop = StopFlag::default();
        go_watched(directory.path(), recipe, &mut StopAt { step, stop: stop.clone() }, &stop).unwrap_err();
        go(directory.path(), recipe).unwrap();
        assert_eq!(differences(&result_of(whole.path()), &result_of(directory.path())), Vec::<String>::new(), "{step}");
    }
    for field in fields {
        let directory = tempfile::tempdir().unwrap();
        let stop = StopFlag::default();
        fault::arm_omission(field);
        let _ = go_watched(directory.path(), recipe, &mut StopAt { step: at, stop: stop.clone() }, &stop);
        fault::disarm();
        let resumed = go(directory.path(), recipe);
        let same = resumed.is_ok() && differences(&result_of(whole.path()), &result_of(directory.path())).is_empty();
        assert!(!same, "nobody noticed that `{field}` was forgotten");
    }
}
