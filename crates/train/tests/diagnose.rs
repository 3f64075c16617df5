//! Diagnoses of real runs: ours with the toy engine, TRL's own log, logs in the shapes of verl and TensorBoard.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

mod common;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use common::go;
use lapidary_train::diagnose::{Diagnosis, Severity, Sureness, Verdict, Writer, read, remedy};
use lapidary_train::metrics::{Row, Sink, TensorBoard};
use lapidary_train::{Recipe, diagnose};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnose").join(name)
}

fn diagnosis_of(path: &Path) -> Diagnosis {
    Diagnosis::of(&read(path).unwrap())
}

fn weighty(diagnosis: &Diagnosis) -> Vec<&'static str> {
    diagnosis.findings.iter().filter(|it| it.severity > Severity::Note).map(|it| it.rule).collect()
}

/// A toy run: it learns the shape of answers from demonstrations, then to answer shortly; only the learning rate differs.
fn toy(learning_rate: f64) -> String {
    format!(
        "seed = 5\nmodel = \"tiny\"\nname = \"toy\"\n[[stage]]\nkind = \"sft\"\ntask = {{ name = \"chain-sum\", style = \
         \"terse\" }}\nsteps = 60\nprompts_per_step = 16\nlearning_rate = 0.1\n[[stage]]\nkind = \"rl\"\nmethod = \
         \"grpo\"\ntask = {{ name = \"chain-sum\", style = \"terse\" }}\nreward = [{{ name = \"length\", max = 48 }}]\n\
         steps = 40\nprompts_per_step = 8\nsamples_per_prompt = 8\nmax_new_tokens = 48\nupdates_per_rollout = 4\n\
         learning_rate = {learning_rate}\n[stage.grpo]\nkl_coefficient = 0.001\n[eval]\nprompts = 0\n\
         [checkpoint]\nevery = 5\nkeep = 20\n"
    )
}

#[test]
fn a_sound_run_of_ours_is_sound() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), &toy(0.002)).unwrap();
    let diagnosis = diagnosis_of(directory.path());
    assert_eq!((diagnosis.writer, diagnosis.method.as_deref()), (Writer::Lapidary, Some("grpo")));
    assert_eq!(diagnosis.steps, Some([61, 100]), "the rl stage alone");
    assert_eq!((weighty(&diagnosis), diagnosis.verdict), (vec![], Verdict::Healthy), "{diagnosis:#?}");
    assert!(diagnosis.passed.contains(&"one_answer"), "rollouts are read");
}

#[test]
fn a_wrecked_run_of_ours_is_found_and_its_remedy_runs() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), &toy(3.0)).unwrap();
    let history = read(directory.path()).unwrap();
    let diagnosis = Diagnosis::of(&history);
    assert_eq!(diagnosis.verdict, Verdict::Collapsing, "{diagnosis:#?}");
    assert!(weighty(&diagnosis).contains(&"entropy_collapse"), "{:?}", weighty(&diagnosis));
    assert!(diagnosis.sample.is_some());
    let remedy = remedy(&history, &diagnosis).unwrap().unwrap();
    let lower = remedy.changes.iter().find(|change| change.key == "learning_rate").unwrap();
    assert!(lower.to.parse::<f64>().unwrap() < 3.0);
    let recipe = Recipe::load_text(Path::new("m.toml"), &remedy.toml, &[]).unwrap();
    let [.., on_the_way, last] = recipe.stages.as_slice() else { panic!("two stages") };
    assert!(on_the_way.training().steps < last.training().steps && last.training().learning_rate < 3.0);
    let again = tempfile::tempdir().unwrap();
    go(again.path(), &recipe.to_toml()).unwrap();
}

#[test]
fn a_run_that_failed_says_why() {
    let directory = tempfile::tempdir().unwrap();
    go(directory.path(), &toy(0.002)).unwrap();
    assert!(!weighty(&diagnosis_of(directory.path())).contains(&"failed"));
    let events = directory.path().join("events.jsonl");
    let mut text = std::fs::read_to_string(&events).unwrap();
    text.push_str("{\"time\":1.0,\"event\":\"failed\",\"step\":10,\"why\":\"[N003] the loss is NaN\"}\n");
    std::fs::write(&events, text).unwrap();
    let diagnosis = diagnosis_of(directory.path());
    let failed = diagnosis.findings.iter().find(|it| it.rule == "failed").unwrap();
    assert_eq!(failed.evidence[0].seen, "stopped after step 10: [N003] the loss is NaN");
}

#[test]
fn what_trl_wrote_of_a_collapse_is_read_and_found() {
    // `make.py` beside the fixture says how TRL made it.
    let directory = tempfile::tempdir().unwrap();
    for step in [20, 40] {
        std::fs::create_dir(directory.path().join(format!("checkpoint-{step}"))).unwrap();
    }
    let state = directory.path().join("checkpoint-40/trainer_state.json");
    std::fs::copy(fixture("trl_trainer_state.json"), &state).unwrap();
    for path in [directory.path(), &state] {
        let diagnosis = diagnosis_of(path);
        assert_eq!((diagnosis.writer, diagnosis.steps), (Writer::Trl, Some([1, 40])));
        assert_eq!(diagnosis.verdict, Verdict::Collapsing);
        let first = &diagnosis.findings[0];
        assert_eq!((first.rule, first.sureness, first.since), ("entropy_collapse", Sureness::Sure, Some(14)));
        assert!(first.changes.iter().any(|change| change.trl == "epsilon_high" && change.to == "× 1.4"));
        let nothing = diagnosis.findings.iter().find(|it| it.rule == "learns_nothing").unwrap();
        assert_eq!(nothing.follows, Some("entropy_collapse"));
        assert!(diagnosis.passed.contains(&"reward_collapse"));
    }
}

/// What verl's file logger writes of a run of 40 steps.
fn verl(of_step: impl Fn(u64) -> Vec<(&'static str, f64)>) -> String {
    let mut text = String::new();
    for step in 1..=40 {
        let values: Vec<String> = of_step(step).iter().map(|(name, value)| format!("\"{name}\": {value:?}")).collect();
        writeln!(text, "{{\"step\": {step}, \"data\": {{{}, \"training/epoch\": 0}}}}", values.join(", ")).unwrap();
    }
    text
}

fn explosion(step: u64) -> Vec<(&'static str, f64)> {
    let x = step as f64 / 40.0;
    vec![
        ("actor/entropy", 0.4 + 5.0 * x * x),
        ("actor/ppo_kl", 0.001 + 0.4 * x),
        ("actor/pg_clipfrac", 0.002),
        ("actor/grad_norm", 0.3),
        ("actor/lr", 1e-6),
        ("critic/score/mean", 0.3 + if step < 20 { 0.4 * x } else { 0.4 * (1.0 - x) }),
        ("critic/rewards/mean", -100.0),
        ("response_length/mean", 400.0 + 3000.0 * x),
        ("response_length/clip_ratio", 0.6 * x),
        ("training/rollout_probs_diff_mean", 0.004),
        ("val-core/openai/gsm8k/acc/mean@1", 0.4 - 0.2 * x),
        ("val-core/math/acc/mean@1", 0.2),
    ]
}

#[test]
fn what_verl_writes_is_read_under_our_names() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gsm8k.jsonl");
    std::fs::write(&path, verl(explosion)).unwrap();
    let history = read(directory.path()).unwrap();
    assert_eq!(history.writer, Writer::Verl);
    assert_eq!(history.get("reward").unwrap().written_as, "critic/score/mean");
    let accuracy = history.get("eval/accuracy").unwrap().points[39].1;
    assert!((accuracy - 0.2).abs() < 1e-12, "the mean over data sets: {accuracy}");
    let diagnosis = Diagnosis::of(&history);
    assert_eq!((diagnosis.verdict, diagnosis.findings[0].rule), (Verdict::Collapsing, "entropy_explosion"));
    let evidence = &diagnosis.findings[0].evidence[0];
    assert_eq!((evidence.metric.as_str(), evidence.written_as.as_deref()), ("entropy", Some("actor/entropy")));
    for rule in ["large_steps", "length_growth", "truncation"] {
        assert!(weighty(&diagnosis).contains(&rule), "{rule}: {:?}", weighty(&diagnosis));
    }
    assert!(diagnosis.passed.contains(&"peer_sampler_mismatch"));

    // The same from its console.
    let console = directory.path().join("console.log");
    let mut text = String::from("(TaskRunner pid=1) Training Progress: 3%\n");
    for step in 1..=40 {
        let values: Vec<String> =
            explosion(step).iter().map(|(name, value)| format!("{name}:np.float64({value:?})")).collect();
        writeln!(text, "\u{1b}[36m(TaskRunner pid=1)\u{1b}[0m step:{step} - {}", values.join(" - ")).unwrap();
    }
    std::fs::write(&console, text).unwrap();
    let same = diagnosis_of(&console);
    assert_eq!((same.findings, same.vitals), (diagnosis.findings, diagnosis.vitals));
}

#[test]
fn tensorboard_files_of_any_writer_are_read() {
    let diagnosis = diagnosis_of(&fixture("events.out.tfevents.tensor"));
    assert_eq!((diagnosis.steps, diagnosis.verdict), (Some([1, 30]), Verdict::Healthy));
    assert_eq!(diagnosis.vitals[0].metric, "reward");
    assert_eq!((diagnosis.vitals[0].begin, diagnosis.vitals[0].end), (Some(2.0 / 32.0), Some(29.0 / 32.0)));

    let directory = tempfile::tempdir().unwrap();
    let mut board = TensorBoard::open(&directory.path().join("runs/Nov24"), 0).unwrap();
    for step in 1..=40 {
        let values =
            explosion(step).into_iter().fold(Row::new(step, 1, ""), |row, (name, value)| row.with(name, value));
        board.record(&values).unwrap();
    }
    let diagnosis = diagnosis_of(directory.path());
    assert_eq!((diagnosis.writer, diagnosis.findings[0].rule), (Writer::Verl, "entropy_explosion"));
}

#[test]
fn a_nan_in_a_log_is_found_where_it_begins() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.jsonl");
    let line = |step: u64| {
        let kl = if step > 25 { "NaN".to_string() } else { "0.01".to_string() };
        format!("{{\"step\": {step}, \"kl\": {kl}, \"reward\": 0.5, \"epoch\": 0.1}}\n")
    };
    std::fs::write(&path, (1..=30).map(line).collect::<String>()).unwrap();
    let diagnosis = diagnosis_of(&path);
    assert_eq!((diagnosis.verdict, diagnosis.findings[0].rule), (Verdict::Collapsing, "not_finite"));
    assert_eq!(diagnosis.findings[0].evidence[0].seen, "NaN or infinite from step 26 on, 5 values in all");
}

#[test]
fn what_is_no_log_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let code = |path: &Path| diagnose::read(path).unwrap_err().code();
    assert_eq!(code(&at("gone")), "U013");
    assert_eq!(code(directory.path()), "D072");
    std::fs::write(at("a.jsonl"), "{\"step\": 1, \"reward\": 0.5}\n").unwrap();
    std::fs::write(at("b.jsonl"), "{\"step\": 1, \"reward\": 0.5}\n").unwrap();
    let problem = diagnose::read(directory.path()).unwrap_err();
    assert_eq!(problem.code(), "D073");
    assert!(problem.message().ends_with("holds 2 logs"), "{problem}");
    std::fs::write(at("c.jsonl"), "{\"text\": \"no number\"}\n").unwrap();
    assert_eq!(code(&at("c.jsonl")), "D072");
    let mut events = std::fs::read(fixture("events.out.tfevents.tensor")).unwrap();
    events[200] ^= 1;
    std::fs::write(at("events.out.tfevents.x"), events).unwrap();
    assert_eq!(code(&at("events.out.tfevents.x")), "D070");
}

/// Run with `LAPIDARY_RENEW=1` to write the page anew.
#[test]
fn the_page_of_rules_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/diagnose-rules.md");
    let page = diagnose::page();
    if std::env::var_os("LAPIDARY_RENEW").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, page, "{} is stale: LAPIDARY_RENEW=1 cargo test -p lapidary-train", path.display());
}
