//! `train`, `eval` and `inspect` of the real binary on a run of a few steps.
#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

const RECIPE: &str = "\
seed = 3
model = \"tiny\"
[[stage]]
kind = \"sft\"
task = { name = \"chain-sum\", max_terms = 2, max_digits = 1, style = \"terse\" }
steps = 3
prompts_per_step = 4
[[stage]]
kind = \"rl\"
method = \"grpo\"
task = { name = \"chain-sum\", max_terms = 2, max_digits = 1, style = \"terse\" }
steps = 3
prompts_per_step = 2
samples_per_prompt = 2
max_new_tokens = 6
[eval]
prompts = 4
[checkpoint]
every = 1
";

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapidary"));
    command.args(arguments).current_dir(directory).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn lapidary(directory: &Path, arguments: &[&str]) -> Output {
    command(directory, arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn with_recipe(recipe: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("x.toml"), recipe).unwrap();
    directory
}

#[test]
fn a_run_is_the_same_bytes_for_any_threads_and_can_be_looked_at() {
    let directory = with_recipe(RECIPE);
    let at = directory.path();
    let one = lapidary(at, &["train", "x.toml", "--run-dir", "one", "--threads", "1"]);
    assert!(one.status.success(), "{}", stderr(&one));
    let two = json(&lapidary(at, &["train", "x.toml", "--run-dir", "two", "--threads", "2", "--json"]));
    let metrics = |run: &str| std::fs::read(at.join(run).join("metrics.jsonl")).unwrap();
    assert!(!metrics("one").is_empty());
    assert_eq!(metrics("one"), metrics("two"));
    assert_eq!(two["step"], 6);

    let (text, told) = (String::from_utf8(one.stdout.clone()).unwrap(), stderr(&one));
    assert!(
        text.contains("| after") && text.contains("saved one/checkpoints/") && text.contains("next: lapidary"),
        "{text}"
    );
    assert!(told.contains("stage 2 grpo on chain-sum: 3 steps of 2 × 2 = 4 completions"), "{told}");
    assert!(told.contains("sft step 3/3 ") && told.contains("grpo step 3/3 reward "), "{told}");
    assert!(!told.contains('\x1b') && !text.contains('\x1b'), "no colours into a pipe");

    let run = json(&lapidary(at, &["inspect", "one", "--json"]));
    assert_eq!((&run["steps"], &run["steps_in_all"]), (&Value::from(6), &Value::from(6)));
    let checkpoints = run["checkpoints"].as_array().unwrap();
    assert!(checkpoints.iter().all(|it| it["state"].as_str().unwrap().starts_with("intact")), "{run}");
    let checkpoint = checkpoints.last().unwrap()["path"].as_str().unwrap();
    let model = json(&lapidary(at, &["inspect", checkpoint, "--json"]));
    assert!(model["parameters"].as_u64().unwrap() > 100_000, "{model}");

    let story = json(&lapidary(at, &["explain", "one", "--json"]));
    assert_eq!((&story["status"], &story["steps"]), (&Value::from("finished"), &Value::from(6)));
    let stages = story["stages"].as_array().unwrap();
    assert_eq!((stages.len(), &stages[1]["name"]), (2, &Value::from("grpo")));
    assert!(stages.iter().all(|stage| stage["effect"]["verdict"].is_string()), "{story}");
    let told = String::from_utf8(lapidary(at, &["explain", "one"]).stdout).unwrap();
    assert!(
        told.contains("Stage 2: grpo on chain-sum, 3 steps") && told.lines().all(|l| l.chars().count() <= 110),
        "{told}"
    );
    assert_eq!(lapidary(at, &["explain", "nowhere"]).status.code(), Some(2));

    let again = json(&lapidary(at, &["eval", "--run", "one", "--self-correct", "--phrase", "sure?", "--json"]));
    assert_eq!(again["self_correction"]["correction"]["answers"], 4, "{again}");
    let wrong = lapidary(at, &["eval", "--run", "one", "--self-correct", "--template", "{answer}"]);
    assert!(wrong.status.code() == Some(2) && stderr(&wrong).contains("lacks `{question}`"), "{}", stderr(&wrong));

    let evaluated = json(&lapidary(at, &["eval", "--run", "one", "--json"]));
    assert_eq!(evaluated["summary"]["prompts"], 4);
    assert_eq!(
        evaluated["summary"]["accuracy"]["estimate"],
        two["evaluations"].as_array().unwrap().last().unwrap()["accuracy"]
    );
    let saved = at.join(evaluated["saved"].as_str().unwrap());
    let again =
        ["eval", "-m", checkpoint, "-t", "chain-sum", "-s", "max_terms=2", "-s", "max_digits=1", "-s", "style=terse"];
    let mut arguments = again.to_vec();
    arguments.extend(["--seed", "3", "--prompts", "4", "-n", "6", "--json", "--against", saved.to_str().unwrap()]);
    let compared = json(&lapidary(at, &arguments));
    assert_eq!(compared["change"]["difference"]["estimate"], 0.0, "the same model on the same prompts");
    let generated = lapidary(at, &["generate", "-m", checkpoint, "-p", "1 + 2 =", "-n", "4", "--greedy"]);
    assert!(generated.status.success(), "{}", stderr(&generated));
}

#[test]
fn a_dry_run_prints_the_plan_and_writes_nothing() {
    let directory = with_recipe(RECIPE);
    let output = lapidary(directory.path(), &["train", "x.toml", "--dry-run"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("model tiny") && text.contains("stage 1 sft on chain-sum: 3 steps"), "{text}");
    assert!(!directory.path().join("runs").exists());
}

#[test]
fn another_recipe_on_a_run_directory_is_refused() {
    let directory = with_recipe(RECIPE);
    let run = |set: &str| lapidary(directory.path(), &["train", "x.toml", "--quiet", "--set", set]);
    assert!(run("stage.rl.steps=1").status.success());
    let refused = run("stage.rl.steps=2");
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("error[S003]"), "{}", stderr(&refused));
}

/// Starts a long run and waits until it has saved something.
#[cfg(unix)]
fn long_run(directory: &Path) -> Child {
    let child =
        command(directory, &["train", "x.toml", "--run-dir", "run", "--set", "stage.rl.steps=100000"]).spawn().unwrap();
    for _ in 0..600 {
        let steps = std::fs::read_dir(directory.join("run/checkpoints")).map_or(0, |entries| entries.count());
        if steps > 0 {
            return child;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    panic!("no checkpoint within a minute: {}", stderr(&output));
}

#[cfg(unix)]
fn interrupt(child: &Child) {
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
}

#[test]
#[cfg(unix)]
fn ctrl_c_saves_and_a_second_process_is_told_to_wait() {
    let directory = with_recipe(RECIPE);
    let child = long_run(directory.path());
    let busy = lapidary(directory.path(), &["train", "x.toml", "--run-dir", "run", "--set", "stage.rl.steps=100000"]);
    assert_eq!(busy.status.code(), Some(75), "{}", stderr(&busy));
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{told}");
    assert!(told.contains("and saving; press Ctrl-C again to stop now"), "{told}");
    assert!(told.contains("stopped after step ") && told.contains("run the same command again"), "{told}");
    let run = json(&lapidary(directory.path(), &["inspect", "run", "--json"]));
    assert!(
        run["checkpoints"].as_array().unwrap().iter().all(|it| it["state"].as_str().unwrap().starts_with("intact"))
    );
}

#[test]
fn inspect_says_what_a_mixture_of_experts_is() {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/golden");
    let says = |name: &str| json(&lapidary(&goldens, &["inspect", name, "--json"]));
    let model = says("qwen3_moe");
    // A token passes 5 of 8 experts of 3·32·20 weights by, in two layers.
    let unused = model["parameters"].as_u64().unwrap() - model["active_parameters"].as_u64().unwrap();
    assert_eq!((&model["family"], unused), (&Value::from("qwen3_moe"), 2 * 5 * 3 * 32 * 20));
    assert_eq!(
        (&model["experts"], &model["experts_per_token"], &model["router"]),
        (&8.into(), &3.into(), &"softmax".into())
    );
    let model = says("glm4_moe_groups");
    assert_eq!((&model["router"], &model["dense_layers"]), (&"sigmoid, 1 of 2 groups".into(), &vec![0].into()));
    assert_eq!(says("llama").get("experts"), None);
}
