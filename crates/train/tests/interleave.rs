//! Demonstrations between the updates (ReLIFT) in the real loop, with the toy engine, which never answers right.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{StopAt, differences, go, go_watched, recipe_of, result_of, toy};
use lapidary_core::{Kind, TokenBatch, TokenGrads, Want};
use lapidary_engine::{Engine, Update};
use lapidary_task::Split;
use lapidary_text::Tokenizer;
use lapidary_train::fault::{self, Action};
use lapidary_train::metrics::{Row, describe, read_rows};
use lapidary_train::recipe::Stage;
use lapidary_train::state::RunState;
use lapidary_train::switch::{Mode, Transition};
use lapidary_train::{Notice, Silent, StopFlag, Watch};

/// The paper's form: four failures a step, six demonstrations a phase, in two updates.
const PAPER: &str = r#"
seed = 5
name = "paper"
model = "tiny"

[[stage]]
kind = "rl"
method = "relift"
task = { name = "chain-sum", style = "terse", max_terms = 3, max_digits = 1 }
reward = ["answer"]
steps = 7
prompts_per_step = 4
samples_per_prompt = 4
max_new_tokens = 12
learning_rate = 0.02
schedule = "linear"

[stage.interleave]
demonstrations = 6
minibatch = 3
learning_rate = 0.05
max_grad_norm = 0.5

[eval]
prompts = 6
samples = 8
temperature = 1.0
every = 2

[checkpoint]
every = 2
keep = 2
"#;

/// The article's form with every detector.
const ARTICLE: &str = r#"
seed = 5
name = "article"
model = "tiny"

[[stage]]
kind = "rl"
method = "relift"
task = { name = "chain-sum", style = "terse", max_terms = 3, max_digits = 1 }
reward = ["answer"]
steps = 12
prompts_per_step = 4
samples_per_prompt = 4
max_new_tokens = 12
learning_rate = 0.02

[stage.interleave]
demonstrations = 6
minibatch = 2
learning_rate = 0.05
cap = 30
policy = "any"
cooldown_steps = 3
budget = 3

[stage.interleave.plateau]
patience = 2

[stage.interleave.gap]
key = "num_terms"
window = 8
min_answers = 30
traffic = 0.3

[stage.interleave.shift]
window = 6
max_psi = 1e3
max_k3 = 0.5
demonstrations = 4

[eval]
prompts = 6
every = 2

[checkpoint]
every = 3
keep = 2
"#;

fn rows(directory: &Path) -> Vec<Row> {
    read_rows(&directory.join("metrics.jsonl")).unwrap()
}

/// A metric of every step.
fn series(directory: &Path, name: &str) -> Vec<f64> {
    let rows = rows(directory);
    rows.iter().filter(|row| row.get("switch/fired").is_some()).map(|row| row.get(name).unwrap_or(f64::NAN)).collect()
}

fn state(directory: &Path, step: u64) -> RunState {
    RunState::load(&directory.join(format!("checkpoints/step-{step:06}/state"))).unwrap()
}

#[derive(Default)]
struct Switches(Vec<Transition>);

impl Watch for Switches {
    fn notice(&mut self, notice: &Notice<'_>) {
        if let Notice::Switch(transition) = notice {
            self.0.push((*transition).clone());
        }
    }
}

#[test]
fn a_full_buffer_is_learned_newest_first_and_what_is_left_stays() {
    let directory = tempfile::tempdir().unwrap();
    let mut heard = Switches::default();
    go_watched(directory.path(), PAPER, &mut heard, &StopFlag::default()).unwrap();
    let at = directory.path();
    assert_eq!(series(at, "batch/failed"), [1.0; 7], "the toy never answers right");
    // Waiting before: 4, 8, 6, 4, 8, 6, 4; six are taken where there are six.
    assert_eq!(series(at, "switch/fired"), [0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0]);
    assert_eq!(series(at, "buffer/len"), [4.0, 2.0, 0.0, 4.0, 2.0, 0.0, 4.0]);
    assert_eq!(series(at, "buffer/added"), [4.0; 7]);
    assert_eq!(series(at, "buffer/age_mean")[1], 1.0, "those that are left are of the first step");
    assert_eq!(series(at, "sft/updates"), [0.0, 2.0, 4.0, 4.0, 6.0, 8.0, 8.0]);
    assert_eq!(series(at, "sft/demos_used_frac")[6], 24.0 / 28.0);
    assert!(series(at, "sft/entropy")[1] > 0.0);
    // Every move is told, written down and kept; the two of a phase say why and what came of it.
    assert_eq!(heard.0.len(), 8);
    let to: Vec<(u64, Mode, usize)> = heard.0.iter().map(|one| (one.step, one.to, one.buffer)).collect();
    assert_eq!(to[..4], [(2, Mode::Sft, 8), (2, Mode::Rl, 2), (3, Mode::Sft, 6), (3, Mode::Rl, 0)]);
    assert!(heard.0.iter().all(|one| one.reasons == ["buffer"] && one.mask == 1));
    assert!(heard.0[1].metrics.iter().any(|(name, value)| name == "sft/demonstrations" && *value == 6.0));
    assert_eq!(state(at, 7).interleave.transitions, heard.0);
    let events = std::fs::read_to_string(at.join("events.jsonl")).unwrap();
    assert_eq!(events.lines().filter(|line| line.contains("\"event\":\"switch\"")).count(), 8);
    let report = std::fs::read_to_string(at.join("report.html")).unwrap();
    assert!(report.contains("4 phases of demonstrations between the updates"));
    for row in rows(at) {
        for (name, _) in &row.values {
            assert!(describe(name).is_some(), "`{name}` is not in the catalogue");
        }
    }
}

/// The rollouts after a phase are of the weights that it left: sampler and trainer agree to the last bit, and ratios begin at 1.
#[test]
fn after_a_phase_ratios_are_exactly_one() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), PAPER).unwrap();
    for row in rows(directory.path()).iter().filter(|row| row.get("reward").is_some()) {
        assert_eq!(row.get("ratio/min"), Some(1.0), "{row:?}");
        assert_eq!(row.get("ratio/max"), Some(1.0));
        assert_eq!(row.get("sampling/logp_difference/max"), Some(0.0));
        assert_eq!(row.get("sampling/staleness"), Some(0.0));
    }
    // Several updates: the first of each step still begins there.
    let more = PAPER.replace("samples_per_prompt = 4\n", "samples_per_prompt = 4\nupdates_per_rollout = 2\n");
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), &more).unwrap();
    let differences =
        rows(directory.path()).iter().filter_map(|row| row.get("sampling/logp_difference/max")).collect::<Vec<_>>();
    assert_eq!(differences, [0.0; 7]);
}

/// The reference's third defect: a supervised update moves the schedule of rewards, and is logged with its rate.
#[test]
fn a_phase_does_not_move_the_schedule_of_the_rewards() {
    let (with, without) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    go(with.path(), PAPER).unwrap();
    let table = PAPER.find("[stage.interleave]").unwrap()..PAPER.find("[eval]").unwrap();
    go(without.path(), &PAPER.replace(&PAPER[table], "")).unwrap();
    let rates =
        |directory: &Path| -> Vec<f64> { rows(directory).iter().filter_map(|row| row.get("learning_rate")).collect() };
    assert_eq!(rates(with.path()), rates(without.path()));
    let sft: Vec<f64> = rows(with.path()).iter().filter_map(|row| row.get("sft/learning_rate")).collect();
    assert_eq!(sft, [0.05; 4]);
    // The control: a schedule that counts the eight supervised updates too is somewhere else by the third step.
    let Stage::Rl(rl) = &recipe_of(PAPER).stages[0] else { panic!("an rl stage") };
    assert_ne!(rl.training.learning_rate_at(2, 7), rl.training.learning_rate_at(2 + 2, 7 + 8));
}

/// The demonstrations of the first `count` questions, as the loop learns them.
fn demonstrations(count: u64) -> TokenBatch {
    let table = serde_json::json!({ "name": "chain-sum", "style": "terse", "max_terms": 3, "max_digits": 1 });
    let spec = lapidary_task::TaskSpec::Table(table.as_object().unwrap().clone());
    let task = lapidary_task::build(&spec, 5).unwrap();
    let mut batch = TokenBatch::default();
    for index in 0..count {
        let item = task.item(Split::Train, index).unwrap();
        let example =
            Tokenizer::characters().encode_example(&item.prompt, item.completion.as_deref().unwrap()).unwrap();
        batch.push(&example.tokens, &example.mask, 1.0);
    }
    batch
}

/// Gradient norm of −Σ log p · `weight` over the demonstrations, at the toy's first weights.
fn norm_of(batch: &TokenBatch, weight: f32) -> f64 {
    let mut toy = toy();
    toy.accumulate(batch, Want::default(), &mut |stats| {
        let mut grads = TokenGrads { logp: stats.logp.like(0.0), ..TokenGrads::default() };
        grads.logp.flat_mut().iter_mut().for_each(|grad| *grad = -weight);
        Ok(grads)
    })
    .unwrap();
    let update = Update {
        learning_rate: 0.0,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.0,
        decay_all: false,
        max_grad_norm: None,
        optimizer: 0,
    };
    toy.step(&update).unwrap().grad_norm
}

/// The reference's first defect: its supervised gradient is divided by eight times too much (once per worker), so that its clip
/// hardly ever binds. Ours is divided by the number of tokens, however rows are split.
#[test]
fn a_supervised_gradient_is_a_mean_over_tokens() {
    // Without a step of rewards in between: rate 0, and one update of all demonstrations.
    let recipe = |more: &str| {
        PAPER
            .replace("learning_rate = 0.02\n", &format!("learning_rate = 0\n{more}"))
            .replace("demonstrations = 6\nminibatch = 3", "demonstrations = 4\nentropy_coefficient = 0")
            .replace("steps = 7", "steps = 1")
    };
    let norm = |more: &str| {
        let directory = tempfile::tempdir().unwrap();
        go(directory.path(), &recipe(more)).unwrap();
        series(directory.path(), "sft/grad_norm")[0]
    };
    let batch = demonstrations(4);
    let tokens = batch.scored.flat().iter().filter(|scored| **scored).count() as f32;
    let (whole, expected) = (norm(""), norm_of(&batch, 1.0 / tokens));
    assert!((whole - expected).abs() < 1e-6 * expected, "{whole} against {expected}");
    assert_eq!(norm("tokens_per_microbatch = 9\n"), whole, "the same bits, row by row");
    // The control: over eight workers the reference's gradient is an eighth, and a clip that binds ours does not bind it.
    let theirs = norm_of(&batch, 1.0 / (8.0 * tokens));
    assert!((theirs - expected / 8.0).abs() < 1e-6, "{theirs}");
    assert!(theirs < 0.5 * expected && 0.5 * expected < whole);
}

/// Two optimisers over the same weights: the moments of demonstrations are not those of rewards.
#[test]
fn rewards_and_demonstrations_have_moments_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), PAPER).unwrap();
    let file = std::fs::read(directory.path().join("checkpoints/step-000007/state/optimizer.safetensors")).unwrap();
    let header = String::from_utf8_lossy(&file[8..400]).into_owned();
    assert!(header.contains("15 7 8"), "15 updates: 7 of rewards, 8 of demonstrations: {header}");
    let plain = recipe_of(&PAPER.replace(
        "[stage.interleave]\ndemonstrations = 6\nminibatch = 3\nlearning_rate = 0.05\nmax_grad_norm = 0.5",
        "",
    ));
    let moments = |recipe| {
        let settings = lapidary_train::Settings { dry_run: true, ..common::settings(directory.path()) };
        let outcome = lapidary_train::run_model(recipe, &settings, common::model(), &mut Silent, &StopFlag::default());
        outcome.unwrap().plan.memory.moments
    };
    assert_eq!(moments(&recipe_of(PAPER)), 2 * moments(&plain), "and the plan says so");
}

#[test]
fn detectors_ask_and_cooldown_buffer_and_budget_decide() {
    let directory = tempfile::tempdir().unwrap();
    let mut heard = Switches::default();
    go_watched(directory.path(), ARTICLE, &mut heard, &StopFlag::default()).unwrap();
    let at = directory.path();
    let begins: Vec<&Transition> = heard.0.iter().filter(|one| one.to == Mode::Sft).collect();
    assert_eq!(begins.len(), 3, "the budget: one update each: {begins:?}");
    assert!(begins.windows(2).all(|pair| pair[1].step - pair[0].step >= 3), "{begins:?}");
    assert_eq!(series(at, "sft/updates").last(), Some(&3.0));
    assert!(series(at, "buffer/len").iter().all(|len| *len <= 30.0), "the cap");
    assert!(series(at, "buffer/dropped").iter().sum::<f64>() > 0.0);
    // Nothing is ever right: 32 answers of a kind are needed to say so, and accuracy stands still from the start.
    let reasons: std::collections::BTreeSet<&str> =
        begins.iter().flat_map(|one| one.reasons.iter().map(String::as_str)).collect();
    assert!(reasons.contains("plateau") && reasons.contains("gap"), "{reasons:?}");
    let seen = |name: &str| begins[0].metrics.iter().any(|(known, _)| known == name);
    assert!(seen("switch/plateau_bad") && seen("switch/gap_traffic") && seen("switch/demonstration_nll"), "{begins:?}");
    assert!(
        heard
            .0
            .iter()
            .filter(|one| one.to == Mode::Rl)
            .all(|one| { one.metrics.iter().any(|(name, value)| name == "sft/demonstrations" && *value == 2.0) })
    );
    for name in ["switch/shift_excess", "switch/demonstration_nll_rise", "switch/demonstration_k3"] {
        assert!(series(at, name).iter().all(|value| value.is_finite()), "{name}");
    }
    assert!(series(at, "switch/input_psi").iter().any(|value| value.is_finite()), "once both windows are full");
}

#[test]
fn stopped_after_any_step_it_ends_in_the_same_bytes_and_no_detector_may_be_forgotten() {
    for (recipe, steps) in [(PAPER, 7), (ARTICLE, 12)] {
        let whole = tempfile::tempdir().unwrap();
        go(whole.path(), recipe).unwrap();
        let expected = result_of(whole.path());
        let stopped = |step: u64| {
            let directory = tempfile::tempdir().unwrap();
            let stop = StopFlag::default();
            go_watched(directory.path(), recipe, &mut StopAt { step, stop: stop.clone() }, &stop).unwrap_err();
            directory
        };
        for step in 1..steps {
            let directory = stopped(step);
            go(directory.path(), recipe).unwrap();
            assert_eq!(differences(&expected, &result_of(directory.path())), Vec::<String>::new(), "{step}");
        }
        let fields: &[&str] = match recipe {
            PAPER => &["interleave", "interleave.buffer", "interleave.machine"],
            _ => {
                &["interleave.buffer", "interleave.machine", "interleave.plateau", "interleave.gap", "interleave.shift"]
            }
        };
        for field in fields {
            fault::arm_omission(field);
            let directory = stopped(4);
            fault::disarm();
            let same =
                go(directory.path(), recipe).is_ok() && differences(&expected, &result_of(directory.path())).is_empty();
            assert!(!same, "nobody noticed that `{field}` was forgotten");
        }
    }
}

/// The third optimiser step of the run is the first of the second step's phase, the fourth its second.
#[test]
fn a_failure_between_a_switch_and_its_update_changes_nothing() {
    let whole = tempfile::tempdir().unwrap();
    go(whole.path(), PAPER).unwrap();
    for nth in [3, 4] {
        let directory = tempfile::tempdir().unwrap();
        fault::arm("optimizer.step", nth, Action::Full);
        let mut heard = Switches::default();
        let problem = go_watched(directory.path(), PAPER, &mut heard, &StopFlag::default()).unwrap_err();
        fault::disarm();
        assert_eq!(problem.kind(), Kind::Busy);
        assert_eq!(rows(directory.path()).last().unwrap().step, 1, "within the second step");
        go(directory.path(), PAPER).unwrap();
        assert_eq!(differences(&result_of(whole.path()), &result_of(directory.path())), Vec::<String>::new());
    }
}

/// A data set of three questions that no answer of this length solves: one without a demonstration, asked again and again.
#[test]
fn a_question_waits_once_and_one_without_a_demonstration_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data.jsonl");
    let lines = [
        r#"{"prompt":"1+1=","answer":"22222222222","completion":"2"}"#,
        r#"{"prompt":"1+2=","answer":"33333333333","completion":"3"}"#,
        // A repetition of the prompt demonstrates nothing.
        r#"{"prompt":"2+2=","answer":"44444444444","completion":"2+2="}"#,
    ];
    std::fs::write(&data, lines.join("\n")).unwrap();
    let recipe = PAPER
        .replace(
            r#"{ name = "chain-sum", style = "terse", max_terms = 3, max_digits = 1 }"#,
            &format!("{{ path = {data:?}, test_fraction = 0 }}"),
        )
        .replace("demonstrations = 6\nminibatch = 3", "demonstrations = 3\nmax_age_steps = 1\nbudget = 1")
        .replace("prompts = 6", "prompts = 0")
        .replace("prompts_per_step = 4", "prompts_per_step = 1");
    let run = directory.path().join("run");
    go(&run, &recipe).unwrap();
    let sum = |name: &str| series(&run, name).iter().sum::<f64>();
    assert!(sum("buffer/no_demonstration") >= 2.0, "once in each pass over the data");
    assert!(sum("buffer/expired") > 0.0, "not asked for more than a step");
    assert_eq!(sum("switch/fired"), 0.0, "two questions never make three");
    let all = recipe.replace("max_age_steps = 1\n", "").replace("prompts_per_step = 1", "prompts_per_step = 3");
    let run = directory.path().join("all");
    go(&run, &all).unwrap();
    assert_eq!(series(&run, "buffer/len"), [2.0; 7]);
    assert_eq!(series(&run, "buffer/dedup"), [0.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]);
    assert_eq!(series(&run, "buffer/no_demonstration"), [1.0; 7]);
}

/// The toy hardly ever answers right: nearly all prompts are of the hardest class, and stay in it whatever they become.
#[test]
fn held_out_prompts_are_told_apart_by_how_hard_they_were() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), PAPER).unwrap();
    let evaluations: Vec<Row> =
        rows(directory.path()).into_iter().filter(|row| row.get("eval/accuracy").is_some()).collect();
    let of = |row: &Row, what: &str| row.get(&format!("eval/class/{what}"));
    assert_eq!(of(&evaluations[0], "hardest/accuracy"), Some(0.0), "by definition");
    let [hardest, hard] = ["hardest/prompts", "hard/prompts"].map(|what| of(&evaluations[0], what).unwrap_or(0.0));
    assert!(hardest >= 4.0 && hardest + hard == 6.0, "{evaluations:?}");
    assert!(evaluations.iter().all(|row| of(row, "hardest/prompts") == Some(hardest)), "{evaluations:?}");
    assert!(evaluations.iter().all(|row| of(row, "easy/prompts").is_none()));
}

/// What a plateau detector looks at must be there; where it is not, it counts as no improvement and is said.
#[test]
fn a_metric_without_a_value_is_a_warning() {
    let recipe = ARTICLE.replace("patience = 2\n", "patience = 2\nmetric = \"kl\"\n");
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), &recipe).unwrap();
    let warnings = state(directory.path(), 12).warnings;
    assert!(warnings.iter().any(|warning| warning.rule == "plateau_metric" && warning.seen.contains("`kl`")));
    assert!(series(directory.path(), "switch/plateau_bad").contains(&2.0));
}
