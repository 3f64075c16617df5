//! The real binary, killed by SIGKILL at random times and aborted at every step of a save, ends in the bytes of a run that was
//! never killed. `LAPIDARY_KILLS=1000` kills more often than the 40 times of every push.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lapidary_core::{Key, Purpose};
use lapidary_train::fault;

/// Both kinds of stage, a frozen reference, several updates per rollout, a checkpoint every second step.
const RECIPE: &str = r#"
seed = 11
model = "tiny"

[[stage]]
kind = "sft"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
steps = 5
prompts_per_step = 4
learning_rate = 0.003

[[stage]]
kind = "rl"
method = "grpo"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
reward = ["answer", { name = "length", weight = 0.05, max = 16 }]
steps = 7
prompts_per_step = 4
samples_per_prompt = 4
max_new_tokens = 8
updates_per_rollout = 2
learning_rate = 0.001

[stage.grpo]
kl_coefficient = 0.02

[eval]
prompts = 8
every = 4

[checkpoint]
every = 2
keep = 2
"#;

/// What chooses prompts, groups and temperature, and a method with a critic and a moving KL coefficient: all of it is state.
const EXPLORING: &str = r#"
seed = 11
model = "tiny"

[[stage]]
kind = "rl"
method = "ppo"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
reward = ["answer", { name = "length", weight = 0.1, max = 16 }]
steps = 12
prompts_per_step = 3
samples_per_prompt = 3
max_new_tokens = 12
updates_per_rollout = 2
epochs_per_rollout = 2
learning_rate = 0.001

[stage.ppo]
dynamic_sampling = true
critic_warmup_steps = 14
kl_coefficient = 0.05
kl_target = 0.01
kl_horizon = 10

[stage.dynamic_sampling]
oversample = 2.0

[stage.curriculum]
pool = 12
draws = 4
hard_draws = 20
right_from = -0.06
switch = "step"
switch_step = 7

[stage.dynamic_temperature]
grid = [1.0, 1.2]
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

/// Rewards and demonstrations by turns, with all detectors: the buffer, the machine and what the detectors saw are state. The model
/// knows nothing, so every question fails; the policy moves away from the demonstrations in the first step, and the buffer
/// fills again and again.
const INTERLEAVED: &str = r#"
seed = 11
model = "tiny"

[[stage]]
kind = "rl"
method = "relift"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
reward = ["answer"]
steps = 12
prompts_per_step = 4
samples_per_prompt = 2
max_new_tokens = 6
learning_rate = 0.001

[stage.interleave]
demonstrations = 6
minibatch = 3
max_updates = 2
learning_rate = 0.002
cap = 20
policy = "any"
full_buffer = true
cooldown_steps = 3

[stage.interleave.plateau]
patience = 2

[stage.interleave.gap]
key = "num_digits"
window = 8

[stage.interleave.shift]
window = 6
max_k3 = 0.001
demonstrations = 4

[eval]
prompts = 8
every = 2

[checkpoint]
every = 2
keep = 2
"#;

/// Stages that feed each other: pairs of the model's own confidence, a preference stage that learns from them, rewards, and answers that
/// pass as demonstrations. Drawn answers of a fresh model have a number now and then.
const CHAINED: &str = r#"
seed = 11
model = "tiny"

[[stage]]
kind = "sft"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
steps = 2
prompts_per_step = 4
learning_rate = 0.003

[[stage]]
kind = "self-feedback"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
steps = 2
prompts_per_step = 4
samples_per_prompt = 6
max_new_tokens = 24
temperature = 1.0

[stage.confidence]
statistic = "predictive_probability"
span = "last_number"

[stage.ranking]
min_confidence = 0.0

[[stage]]
kind = "preference"
method = "dpo"
task = { pairs = "stage.2", test_fraction = 0 }
steps = 2
prompts_per_step = 4
learning_rate = 0.001

[[stage]]
kind = "rl"
method = "grpo"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
reward = ["answer", { name = "length", weight = 0.05, max = 16 }]
steps = 4
prompts_per_step = 4
samples_per_prompt = 4
max_new_tokens = 8
learning_rate = 0.001

[stage.grpo]
kl_coefficient = 0.02

[[stage]]
kind = "distill"
task = { name = "chain-sum", style = "terse", max_terms = 2, max_digits = 1 }
reward = [{ name = "length", max = 16 }]
steps = 2
prompts_per_step = 4
samples_per_prompt = 4
max_new_tokens = 8
learning_rate = 0.001

[stage.filter]
pass = -1

[eval]
prompts = 8

[checkpoint]
every = 2
keep = 2
"#;

const KILLS: u64 = 40;
/// A run is killed at most so often before it may end; a run that is killed for ever proves nothing.
const KILLS_PER_RUN: u64 = 5;

struct Place(tempfile::TempDir);

impl Place {
    fn new(recipe: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("x.toml"), recipe).unwrap();
        Self(directory)
    }

    fn start(&self, threads: &str, fault: Option<&str>) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lapidary"));
        command.args(["train", "x.toml", "--run-dir", "run", "--threads", threads]);
        command.current_dir(self.0.path()).stdout(Stdio::null()).stderr(Stdio::piped()).env_remove("LAPIDARY_FAULT");
        if let Some(fault) = fault {
            command.env("LAPIDARY_FAULT", fault);
        }
        command.spawn().unwrap()
    }

    /// Runs to the end.
    fn finish(&self, threads: &str) {
        let output = self.start(threads, None).wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What is promised to be the same bytes: metrics, rollouts, evaluations, and the last checkpoint with its state.
    fn result(&self) -> BTreeMap<String, Vec<u8>> {
        let root = self.0.path().join("run");
        let mut files = BTreeMap::new();
        files.insert("metrics.jsonl".to_string(), std::fs::read(root.join("metrics.jsonl")).unwrap());
        let last = ["checkpoints/step-000012", "checkpoints/step-000012/state"];
        let rare = ["traces", "pairs"].into_iter().filter(|folder| root.join(folder).exists());
        for folder in ["rollouts", "evaluations"].into_iter().chain(last).chain(rare) {
            for entry in std::fs::read_dir(root.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                if path.is_file() {
                    files.insert(name, std::fs::read(&path).unwrap());
                }
            }
        }
        files
    }
}

fn differences(a: &BTreeMap<String, Vec<u8>>, b: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    names.into_iter().filter(|name| a.get(*name) != b.get(*name)).cloned().collect()
}

/// The reference run, and how long it took.
fn reference(recipe: &str, threads: &str) -> (BTreeMap<String, Vec<u8>>, Duration) {
    let place = Place::new(recipe);
    let started = Instant::now();
    place.finish(threads);
    let seconds = started.elapsed();
    let result = place.result();
    assert!(result.keys().filter(|name| name.starts_with("rollouts/")).count() >= 6);
    assert!(result.contains_key("checkpoints/step-000012/model.safetensors"));
    (result, seconds)
}

#[test]
fn killed_at_random_times() {
    let recipes = [RECIPE, EXPLORING, INTERLEAVED, CHAINED];
    let expected = recipes.map(|recipe| reference(recipe, "2"));
    assert!(expected[3].0["pairs/stage-02.jsonl"].len() > 100, "there are pairs to learn from");
    let wanted = std::env::var("LAPIDARY_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let root = Key::new(7, Purpose::Bootstrap);
    let (mut kills, mut runs) = (0, 0);
    while kills < wanted {
        let which = runs as usize % recipes.len();
        let (expected, duration) = &expected[which];
        let place = Place::new(recipes[which]);
        for attempt in 0..KILLS_PER_RUN {
            let key = root.at(runs).at(attempt);
            let mut child = place.start(if attempt % 2 == 0 { "2" } else { "1" }, None);
            std::thread::sleep(duration.mul_f64(key.uniform()));
            child.kill().unwrap();
            // A run that was over before the kill came is not counted.
            if child.wait().unwrap().success() {
                break;
            }
            kills += 1;
        }
        place.finish("2");
        assert_eq!(differences(expected, &place.result()), Vec::<String>::new(), "run {runs} after {kills} kills");
        runs += 1;
    }
    println!("{kills} kills in {runs} runs, 0 differences");
}

#[test]
fn aborted_at_every_fault_point() {
    let (expected, _) = reference(RECIPE, "1");
    let mut aborts = 0;
    for point in fault::POINTS {
        for nth in [1, 2, 3] {
            let place = Place::new(RECIPE);
            let status = place.start("1", Some(&format!("{point}:{nth}:abort"))).wait().unwrap();
            assert!(!status.success(), "{point}:{nth} was not passed");
            place.finish("1");
            assert_eq!(differences(&expected, &place.result()), Vec::<String>::new(), "{point}:{nth}");
            let left = std::fs::read_dir(place.0.path().join("run/checkpoints")).unwrap().count();
            assert_eq!(left, 2, "{point}:{nth} left a temporary folder, or more than `keep`");
            aborts += 1;
        }
    }
    println!("{aborts} aborts at {} points, 0 differences", fault::POINTS.len());
}

/// Between the decision to learn demonstrations and the update, and between the two updates of the phase: the second and the third
/// optimiser step of the run, both of its first step.
#[test]
fn aborted_between_a_switch_and_its_updates() {
    // A checkpoint at every step, so that the rows of the steps before are on the disk.
    let recipe = INTERLEAVED.replace("[checkpoint]\nevery = 2", "[checkpoint]\nevery = 1");
    let (expected, _) = reference(&recipe, "1");
    for nth in [2, 3] {
        let place = Place::new(&recipe);
        assert!(!place.start("1", Some(&format!("optimizer.step:{nth}:abort"))).wait().unwrap().success());
        let rows = std::fs::read_to_string(place.0.path().join("run/metrics.jsonl")).unwrap();
        assert_eq!(rows.lines().count(), 1, "it ended within the first step: {rows}");
        place.finish("1");
        let rows = std::fs::read_to_string(place.0.path().join("run/metrics.jsonl")).unwrap();
        assert!(rows.lines().nth(1).unwrap().contains("\"switch/fired\":1.0"), "which switched: {rows}");
        assert_eq!(differences(&expected, &place.result()), Vec::<String>::new(), "{nth}");
    }
}

/// The control: the same comparison fails where a piece of the state is left out.
#[test]
fn a_forgotten_piece_of_state_is_noticed() {
    let fields = [
        (RECIPE, "cursors"),
        (EXPLORING, "surplus"),
        (EXPLORING, "curriculum"),
        (EXPLORING, "temperature"),
        (EXPLORING, "method"),
        (INTERLEAVED, "interleave.buffer"),
        (INTERLEAVED, "interleave.machine"),
        (INTERLEAVED, "interleave.plateau"),
        (INTERLEAVED, "interleave.gap"),
        (INTERLEAVED, "interleave.shift"),
    ];
    let recipes = [RECIPE, EXPLORING, INTERLEAVED];
    let expected = recipes.map(|recipe| reference(recipe, "1").0);
    for (recipe, field) in fields {
        let place = Place::new(recipe);
        let status = place.start("1", Some(&format!("omit:{field},checkpoint.prune:3:abort"))).wait().unwrap();
        assert!(!status.success());
        let finished = place.start("1", None).wait_with_output().unwrap().status.success();
        let which = recipes.iter().position(|known| *known == recipe).unwrap();
        let expected = &expected[which];
        let same = finished && differences(expected, &place.result()).is_empty();
        assert!(!same, "nobody noticed that `{field}` was forgotten");
    }
}

#[test]
fn a_second_process_is_refused_at_once_and_a_signal_saves() {
    let (expected, _) = reference(RECIPE, "4");
    let place = Place::new(RECIPE);
    let first = place.start("1", None);
    let lock = place.0.path().join("run/.lock");
    let deadline = Instant::now() + Duration::from_secs(20);
    while std::fs::read_to_string(&lock).unwrap_or_default().is_empty() {
        assert!(Instant::now() < deadline, "the first process never took the directory");
        std::thread::sleep(Duration::from_millis(1));
    }
    let started = Instant::now();
    let second = place.start("1", None).wait_with_output().unwrap();
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(75), "{said}");
    assert!(said.contains(&format!("process {}", first.id())), "{said}");
    // One signal: the step is finished, everything is saved, the exit code says that it was interrupted.
    let signalled = Command::new("kill").args(["-INT", &first.id().to_string()]).status().unwrap();
    assert!(signalled.success());
    let stopped = first.wait_with_output().unwrap();
    let code = stopped.status.code();
    assert!(code == Some(130) || code == Some(0), "{code:?}: {}", String::from_utf8_lossy(&stopped.stderr));
    place.finish("2");
    assert_eq!(differences(&expected, &place.result()), Vec::<String>::new());
}
