//! `reward test` and `replay` of the real binary.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test says what is wrong by panicking

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn lapidary(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lapidary")).args(arguments).current_dir(directory).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The exit code and the JSON object.
fn told(output: &Output) -> (i32, Value) {
    let whole = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    (output.status.code().unwrap(), whole)
}

fn write(directory: &Path, name: &str, rows: &[Value]) {
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    std::fs::write(directory.join(name), lines.join("\n")).unwrap();
}

fn cases() -> [Value; 2] {
    [
        json!({"prompt": "6*12?", "answer": "72", "good": ["so\n#### 72.0", "\\boxed{72}"], "bad": ["#### 27", "", "72 or 27? \\boxed{72} \\boxed{27}"]}),
        json!({"prompt": "half?", "answer": "0.5", "completion": "#### 1/2", "score": 1.0}),
    ]
}

#[test]
fn a_sound_reward_passes_its_cases_and_a_lenient_one_is_found_out() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    write(at, "cases.jsonl", &cases());
    let sound = lapidary(at, &["reward", "test", "cases.jsonl", "--reward", "math"]);
    assert_eq!(sound.status.code(), Some(0), "{}", text(&sound.stderr));
    assert!(text(&sound.stdout).contains("the reward agrees with all 6 cases"), "{}", text(&sound.stdout));

    let arguments = ["reward", "test", "cases.jsonl", "--reward", "math", "--set", "several=last"];
    let lenient = lapidary(at, &arguments);
    let shown = text(&lenient.stdout);
    assert_eq!(lenient.status.code(), Some(0), "the last of several boxes is 27: {shown}");
    let lenient = lapidary(at, &["reward", "test", "cases.jsonl", "-r", "{ name = \"regex\", require = \"72\" }"]);
    let shown = text(&lenient.stdout);
    assert_eq!(lenient.status.code(), Some(1), "{shown}");
    assert!(shown.contains("cases.jsonl:1 (bad)") && shown.contains("expected  less than 0.99"), "{shown}");
    assert!(shown.contains("the reward disagrees with 2 of 6 cases"), "{shown}");
    assert!(text(&lenient.stderr).is_empty(), "a disagreement is no error: {}", text(&lenient.stderr));

    let (code, whole) = told(&lapidary(
        at,
        &["reward", "test", "cases.jsonl", "-r", "{\"name\": \"regex\", \"require\": \"72\"}", "--json"],
    ));
    assert_eq!((code, &whole["cases"], &whole["agree"]), (1, &json!(6), &json!(4)));
    assert_eq!(whole["kinds"]["bad"], json!({"cases": 3, "agree": 2, "no_verdict": 0}));
    assert_eq!(whole["disagreements"][0]["expected"], "fail");
}

#[test]
fn plain_data_and_tasks_are_turned_into_cases() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let rows = [("6*12?", "6*12=72\n#### 72"), ("1+1?", "1+1=2\n#### 2"), ("3+4?", "#### 7")];
    let rows: Vec<Value> =
        rows.iter().map(|(question, answer)| json!({"question": question, "answer": answer})).collect();
    write(at, "rows.jsonl", &rows);
    let (code, whole) = told(&lapidary(at, &["reward", "test", "rows.jsonl", "--json"]));
    let kind = json!({"cases": 3, "agree": 3, "no_verdict": 0});
    let kinds = json!({"empty": kind, "foreign": kind, "mutated": kind, "reference": kind});
    assert_eq!((code, &whole["kinds"]), (0, &kinds), "{whole}");
    // a reward that only looks for a mark pays every other answer too, and says so by failing its own mutations
    let (code, whole) = told(&lapidary(
        at,
        &["reward", "test", "rows.jsonl", "-r", "[\"answer\", { name = \"format\", weight = 1.0 }]", "--json"],
    ));
    assert_eq!((code, &whole["kinds"]["mutated"]["agree"]), (1, &json!(0)), "{whole}");
    // alone, its form is all that is asked
    let (code, whole) = told(&lapidary(at, &["reward", "test", "rows.jsonl", "-r", "format", "--json"]));
    assert_eq!((code, &whole["cases"]), (0, &json!(3)), "{whole}");
    for task in ["chain-sum", "countdown", "spell-backward", "number-sorting"] {
        let (code, whole) = told(&lapidary(at, &["reward", "test", task, "--limit", "40", "--json"]));
        assert_eq!(code, 0, "{task}: {whole}");
        assert_eq!(whole["kinds"]["reference"]["cases"], 40, "{task}");
    }
}

#[test]
fn broken_data_is_told_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let refused = |name: &str, content: &str| {
        std::fs::write(at.join(name), content).unwrap();
        let output = lapidary(at, &["reward", "test", name]);
        (output.status.code().unwrap(), text(&output.stderr))
    };
    for (content, code) in [
        ("{\"good\": [\"a\"], \"answer\": \"a\"}\n{\"good\": 7}\n", "error[D003]"),
        ("{\"good\": [\"a\"]}\n{\"answer\": \"a\"}\n", "error[D004]"),
        ("{\"score\": \"one\", \"completion\": \"x\"}", "error[D003]"),
        ("{\"good\": [\"a\"]\n", "error[D002]"),
        ("", "error[D007]"),
    ] {
        let (exit, told) = refused("x.jsonl", content);
        assert!(exit == 3 && told.contains(code), "{content}: {exit} {told}");
    }
    assert_eq!(lapidary(at, &["reward", "test", "gone.jsonl"]).status.code(), Some(3));
    std::fs::write(at.join("x.jsonl"), "{\"good\": [\"a\"]}").unwrap();
    let unknown = lapidary(at, &["reward", "test", "x.jsonl", "-r", "anwser"]);
    assert!(unknown.status.code() == Some(2) && text(&unknown.stderr).contains("did you mean `answer`?"));
    let none = lapidary(at, &["reward", "test", "x.jsonl", "-r", "answer"]);
    assert_eq!(none.status.code(), Some(1), "no verdict agrees with nothing");
    // the name of a reward is still what `reward` scores with
    let scored = lapidary(at, &["reward", "tst"]);
    assert!(text(&scored.stderr).contains("there is no reward `tst`"), "{}", text(&scored.stderr));
}

const RECIPE: &str = "\
seed = 3
model = \"tiny\"
[[stage]]
kind = \"rl\"
method = \"grpo\"
task = \"countdown\"
reward = [{ name = \"length\", kind = \"within\", max = 100, label = \"short\", gate = 1 }, \"answer\", { name = \"length\", max = 20, weight = 0.5 }]
steps = 3
prompts_per_step = 2
samples_per_prompt = 4
max_new_tokens = 8
[eval]
prompts = 0
";

#[test]
fn a_run_is_replayed_by_its_own_rewards_and_by_others() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    std::fs::write(at.join("x.toml"), RECIPE).unwrap();
    let trained = lapidary(at, &["train", "x.toml", "--run-dir", "run", "--quiet"]);
    assert!(trained.status.success(), "{}", text(&trained.stderr));

    let own = lapidary(at, &["replay", "run"]);
    let shown = text(&own.stdout);
    assert_eq!(own.status.code(), Some(0), "{}", text(&own.stderr));
    assert!(shown.contains("all 24 samples have the same scores, bit for bit"), "{shown}");
    assert!(shown.contains("| saved \\ now |"), "{shown}");

    let (code, whole) = told(&lapidary(at, &["replay", "run", "--json"]));
    assert_eq!(
        (code, &whole["samples"], &whole["same_parts"], &whole["reward"]),
        (0, &json!(24), &json!(24), &Value::Null)
    );
    assert_eq!(whole["steps"].as_array().unwrap().len(), 3);

    let other = ["replay", "run", "-r", "[{ name = \"length\", kind = \"within\", max = 5, weight = 3.0 }]", "-n", "2"];
    let shown = text(&lapidary(at, &other).stdout);
    assert!(shown.contains("samples have another score") && shown.contains("  model     "), "{shown}");
    let (code, whole) = told(&lapidary(at, &["replay", "run", "-r", "length", "-s", "max=4", "--json"]));
    assert_eq!((code, whole["changed"].as_array().unwrap().len()), (0, 5));
    assert!(
        whole["changed"][0]["completion"].is_string() && whole["changed"][0]["saved"]["score"].is_number(),
        "{whole}"
    );

    // a saved score that its rewards do not give is found
    let unknown = lapidary(at, &["replay", "run", "-r", "[math"]);
    assert!(unknown.status.code() == Some(2) && text(&unknown.stderr).contains("error[U017]"));
    assert_eq!(lapidary(at, &["replay", "nowhere"]).status.code(), Some(2));
    let changed = std::fs::read_to_string(at.join("run/recipe.toml")).unwrap().replace("weight = 0.5", "weight = 0.25");
    std::fs::write(at.join("run/recipe.toml"), changed).unwrap();
    let differs = lapidary(at, &["replay", "run"]);
    assert_eq!(differs.status.code(), Some(1), "{}", text(&differs.stdout));
    assert!(text(&differs.stdout).contains("other scores than the run's own rewards gave"));
}

/// `tasks NAME --items N` writes what `task = { path = … }` reads back as the same items.
#[test]
fn items_of_a_task_are_a_data_set() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    for name in ["preferences", "chain-sum", "countdown"] {
        let made = lapidary(at, &["tasks", name, "--items", "40", "--seed", "5"]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        std::fs::write(at.join("rows.jsonl"), &made.stdout).unwrap();
        let task = lapidary_task::build(&serde_json::from_value(json!({"name": name})).unwrap(), 5).unwrap();
        let spec = json!({"path": at.join("rows.jsonl"), "test_fraction": 0, "chat": name == "countdown" || name == "chain-sum"});
        let read = lapidary_task::build(&serde_json::from_value(spec).unwrap(), 5).unwrap();
        assert_eq!(read.len(lapidary_task::Split::Train), Some(40));
        for index in 0..40 {
            let [made, read] = [&task, &read].map(|task| task.item(lapidary_task::Split::Train, index).unwrap());
            assert_eq!((made.prompt, made.completion), (read.prompt, read.completion), "{name}");
            assert_eq!(made.metadata.get("chosen"), read.metadata.get("chosen"));
            assert_eq!(made.metadata.get("numbers"), read.metadata.get("numbers"));
        }
    }
    let refused = lapidary(at, &["tasks", "preferences", "--items", "1", "--set", "flips=1"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("flip"), "{}", text(&refused.stderr));
    assert_eq!(lapidary(at, &["tasks", "--items", "1"]).status.code(), Some(2), "items of no task");
}
