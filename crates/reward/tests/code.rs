//! The `code` reward: programs that are right score 1, programs that only fool a grader score 0, and what cannot be judged has no verdict.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test says what is wrong by panicking

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use lapidary_core::Verdict;
use lapidary_reward::{Attempt, Reward, build};
use lapidary_sandbox::Interpreter;
use serde_json::{Value, json};

lapidary_sandbox::launcher_of_tests!();

const TABLE: &str = include_str!("code/hacks.txt");
/// "The 60 known reward hacks" (specification B §5.4.3, reliability X8).
const LEAST_HACKS: usize = 60;
const TOKEN: &str = "ALL TESTS PASSED";

fn code(options: Value) -> Box<dyn Reward> {
    build("code", &options).unwrap()
}

fn judge(reward: &dyn Reward, row: &Value, completion: &str) -> Verdict {
    let row = row.as_object().unwrap().clone();
    let prompt = row.get("prompt").and_then(Value::as_str).unwrap_or_default().to_string();
    reward.score(&[Attempt::new(&prompt, completion, None, &row)]).remove(0)
}

fn value(verdict: &Verdict) -> Option<f32> {
    verdict.value()
}

/// Without an interpreter there are no programs to judge: the test says so and passes.
fn no_python() -> bool {
    let absent = Interpreter::find("python3").is_err();
    if absent {
        println!("skipped: there is no python3 of version 3.9 or newer");
    }
    absent
}

/// The score, with words that its reason must hold.
fn scores(reward: &dyn Reward, row: &Value, completion: &str, score: Option<f32>, words: &str) {
    let verdict = judge(reward, row, completion);
    assert_eq!(value(&verdict), score, "{completion}: {}", verdict.reason());
    assert!(verdict.reason().contains(words), "{completion}: {:?} has not {words:?}", verdict.reason());
}

/// A section of the table: its title and its text.
fn sections() -> Vec<(Vec<&'static str>, String)> {
    let parts = TABLE.split("\n=== ").skip(1);
    let section = |part: &'static str| {
        let (title, text) = part.split_once('\n').unwrap();
        let words: Vec<&str> = match title.strip_prefix("hack ") {
            Some(rest) => std::iter::once("hack").chain(rest.split('|').map(str::trim)).collect(),
            None => title.split_whitespace().collect(),
        };
        (words, format!("{text}\n"))
    };
    parts.map(section).collect()
}

/// The tests of a task as a row for the reward, and as text for a plain grader.
struct Task {
    kind: String,
    row: Value,
    tests: String,
    runs: Vec<(String, String)>,
}

fn task(name: &str, kind: &str, text: &str) -> Task {
    let mut task = Task { kind: kind.into(), row: json!({}), tests: text.to_string(), runs: Vec::new() };
    match kind {
        "check" => {
            task.row = json!({"test": text, "entry_point": name});
            task.tests = format!("{text}\ncheck({name})\n");
        }
        "asserts" => task.row = json!({"test_list": text.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>()}),
        _ => {
            let unescape = |line: &str| line.replace("\\n", "\n");
            let of = |mark: &str| text.lines().filter_map(|l| l.strip_prefix(mark)).map(unescape).collect::<Vec<_>>();
            task.runs = of("<<< ").into_iter().zip(of(">>> ")).collect();
            let (inputs, outputs): (Vec<_>, Vec<_>) = task.runs.iter().cloned().unzip();
            task.row = json!({"inputs": inputs, "outputs": outputs});
        }
    }
    task
}

/// Exit code and stdout of a plain process; after three seconds it is killed, and what it wrote counts.
fn plain(arguments: &[&str], folder: &std::path::Path, input: &str) -> (Option<i32>, String) {
    static PYTHON: OnceLock<Interpreter> = OnceLock::new();
    let python = PYTHON.get_or_init(|| Interpreter::find("python3").unwrap());
    let mut child = Command::new(python.executable())
        .args(["-S", "-B"])
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes()); // it may have ended already
    let mut stdout = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stdout, &mut text).unwrap();
        text
    });
    let deadline = Instant::now() + Duration::from_secs(3);
    while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    (child.wait().unwrap().code(), reader.join().unwrap())
}

/// Whether a grader that trusts the program gives it a full score.
fn fooled(grader: &str, task: &Task, program: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let together = format!("{program}\n{}", task.tests);
    match grader {
        "exit" => plain(&["-c", &together], folder.path(), "").0 == Some(0),
        "file" => {
            std::fs::write(folder.path().join("main.py"), &together).unwrap();
            plain(&["main.py"], folder.path(), "").0 == Some(0)
        }
        "token" => {
            let source = format!("{together}\nprint({TOKEN:?})\n");
            plain(&["-c", &source], folder.path(), "").1.contains(TOKEN)
        }
        _ => task.runs.iter().all(|(input, expected)| {
            std::fs::write(folder.path().join("expected.txt"), expected).unwrap();
            let written = plain(&["-c", program, expected], folder.path(), input).1;
            match grader {
                "zip" => written.lines().zip(expected.lines()).all(|(written, expected)| written == expected),
                _ => expected.lines().all(|line| written.contains(line)),
            }
        }),
    }
}

#[test]
fn the_known_hacks_score_0_although_a_trusting_grader_is_fooled() {
    if no_python() {
        return;
    }
    let sections = sections();
    let tasks: std::collections::BTreeMap<&str, Task> = sections
        .iter()
        .filter(|(words, _)| words[0] == "task")
        .map(|(words, text)| (words[1], task(words[1], words[2], text)))
        .collect();
    let reward = code(json!({"cpu_s": 1, "wall_s": 8}));
    let (mut count, mut wrong) = (0, Vec::new());
    for (words, program) in &sections {
        match words[0] {
            "solution" => {
                let verdict = judge(&*reward, &tasks[words[1]].row, program);
                assert_eq!(verdict.value(), Some(1.0), "{}: {}", words[1], verdict.reason());
            }
            "hack" => {
                let (task, grader) = (&tasks[words[2]], words[3]);
                let verdict = judge(&*reward, &task.row, program);
                println!("{:?} {} ({}): {}", verdict.value(), words[1], task.kind, verdict.reason());
                count += 1;
                if verdict.value() != Some(0.0) {
                    wrong.push(format!("{} scores {:?}: {}", words[1], verdict.value(), verdict.reason()));
                }
                if grader != "ours" && !fooled(grader, task, program) {
                    wrong.push(format!("{} does not even fool `{grader}`", words[1]));
                }
            }
            _ => {}
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(count >= LEAST_HACKS, "only {count} hacks");
    println!("{count} hacks score 0");
}

fn double() -> Value {
    json!({"test_list": ["assert double(2) == 4", "assert double(3) == 6", "assert double('a') == 'aa'"]})
}

#[test]
fn verdicts_say_what_happened() {
    if no_python() {
        return;
    }
    let reward = code(json!({"cpu_s": 1, "wall_s": 60, "output_kib": 64}));
    let row = double();
    let says = |completion: &str, score: f32, words: &str| scores(&*reward, &row, completion, Some(score), words);
    says("def double(x): return x + x", 1.0, "all 3 tests passed");
    says("Here it is:\n```python\ndef double(x):\n    return 2 * x\n```\nDone.", 1.0, "all 3");
    says("def double(x): return x ** 2", 0.0, "test 2 of 3: `assert double(3) == 6` failed: the last call gave 9");
    says("def double(x): return x + None", 0.0, "test 1 of 3: `assert double(2) == 4` failed: TypeError");
    says("def twice(x): return x + x", 0.0, "NameError: name 'double' is not defined");
    says("def double(x) return x", 0.0, "the program raised SyntaxError: `expected ':'` (line 1)");
    says("import numpy", 0.0, "ModuleNotFoundError");
    says("a = 1\nraise ValueError('no')", 0.0, "the program raised ValueError: `no` (line 2)");
    says("while True: pass", 0.0, "it used more than 1 s of CPU time");
    says("def double(x):\n    while True: pass", 0.0, "test 1 of 3: it used more than 1 s of CPU time");
    let hasty = code(json!({"wall_s": 0.5}));
    scores(&*hasty, &row, "import time; time.sleep(60)", Some(0.0), "it did not end within 0.5 s");
    says("x = bytearray(1 << 30)", 0.0, "the program raised MemoryError");
    says("def double(x): return 'a' * 100000", 0.0, "it wrote more than 64 KiB");
    says("import ctypes; ctypes.string_at(0)", 0.0, "killed by signal 11");
    says("import sys; sys.exit(3)", 0.0, "exit code");
    says("```python\ndef double(x): return 2 * x\n", 0.0, "no fence of Python that is closed");
    says("def double(x): return [x] * 2", 0.0, "the last call gave [2, 2]");
    says("def double(x):\n    print('x' * 10**7)\n    return x + x", 1.0, "all 3 tests passed");
}

#[test]
fn a_row_that_cannot_be_judged_has_no_verdict() {
    if no_python() {
        return;
    }
    let reward = code(json!({"cpu_s": 1, "wall_s": 60}));
    let none = |row: Value, words: &str| scores(&*reward, &row, "def f(x): return x", None, words);
    none(json!({}), "no tests");
    none(json!({"test_list": ["assert f(1) = 1"]}), "the row's tests cannot be run: `SyntaxError");
    none(json!({"test_list": ["assert f(1) == 1"], "test_imports": ["import numpy"]}), "ModuleNotFoundError");
    none(json!({"test_list": ["assert f(lambda: 1) == 1"]}), "a test hands the program a function");
    none(json!({"test": "def chek(c): pass", "entry_point": "f"}), "nothing defines check");
    none(json!({"test": "x = 1 / 0\ndef check(c): pass", "entry_point": "f"}), "ZeroDivisionError");
    none(
        json!({"test": "while True: pass\ndef check(c): pass", "entry_point": "f"}),
        "the tests failed: it used more than 1 s of CPU time",
    );
    let nowhere = code(json!({"python": "/nowhere/python3"}));
    scores(&*nowhere, &double(), "def double(x): return 2 * x", None, "`/nowhere/python3` cannot run programs");
    let strict = code(json!({"require": ["cgroup", "seccomp"]}));
    let verdict = judge(&*strict, &double(), "def double(x): return 2 * x");
    match value(&verdict) {
        Some(score) => assert_eq!(score, 1.0, "there is a cgroup here"),
        None => assert!(verdict.reason().contains("`cgroup`, which is required"), "{}", verdict.reason()),
    }
}

#[test]
fn fractions_and_thresholds() {
    if no_python() {
        return;
    }
    let half = "def double(x): return 4 if x == 2 else 6";
    scores(&*code(json!({"score": "fraction"})), &double(), half, Some(2.0 / 3.0), "2 of 3 tests passed; test 3 of 3");
    scores(&*code(json!({"score": "fraction", "threshold": 0.8})), &double(), half, Some(0.0), "2 of 3");
    scores(&*code(json!({})), &double(), half, Some(0.0), "test 3 of 3");
    // who leaves after a right answer keeps what was passed before, and no more
    let leaves = "import os\ndef double(x): return 4 if x == 2 else os._exit(0)";
    scores(
        &*code(json!({"score": "fraction"})),
        &double(),
        leaves,
        Some(1.0 / 3.0),
        "it ended itself with exit code 0",
    );
    let quiet = json!({"test_list": ["try: double(1)\nexcept: pass"]});
    scores(&*code(json!({"score": "fraction"})), &quiet, leaves, Some(0.0), "it ended itself");
    let runs = json!({"inputs": ["1", "2", "3", "4"], "outputs": ["1", "2", "x", "4"]});
    scores(
        &*code(json!({"score": "fraction"})),
        &runs,
        "print(input())",
        Some(0.75),
        "3 of 4 tests passed; run 3 of 4",
    );
    scores(&*code(json!({})), &runs, "print(input())", Some(0.0), "run 3 of 4: line 1 is not as expected");
    assert_eq!(build("code", &json!({"threshold": 0.5})).err().map(|problem| problem.code()), Some("W003"));
}

#[test]
fn values_cross_as_what_they_are() {
    if no_python() {
        return;
    }
    let reward = code(json!({}));
    for (made, test) in [
        (
            "(1, [2.5, None], {'a': {3}}, b'x', frozenset([4]))",
            "f() == (1, [2.5, None], {'a': {3}}, b'x', frozenset([4]))",
        ),
        ("2 ** 200", "f() == 1 << 200"),
        ("-2 ** 70", "f() == -2 ** 70"),
        ("True", "f() is True"),
        ("1", "f() is not True and type(f()) is int"),
        ("(1,)", "f() != [1]"),
        ("float('nan')", "f() != f()"),
        ("1e308 * 10", "f() == float('inf')"),
        ("0.1 + 0.2", "f() == 0.1 + 0.2"),
        ("3 - 2j", "f() == 3 - 2j"),
        ("'\\ud800 \\u00e9'", "f() == '\\ud800 \\u00e9'"),
        ("(n for n in range(3))", "f() != [0, 1, 2] and list(f()) == [0, 1, 2]"),
        ("{1: 2}.keys()", "f() == {1}"),
        ("{1: 2}.items()", "dict(f()) == {1: 2}"),
        ("range(3)", "f() == range(3)"),
        ("__import__('decimal').Decimal('1.10')", "str(f()) == '1.10'"),
        ("__import__('fractions').Fraction(1, 3)", "f() * 3 == 1"),
        ("__import__('collections').Counter('aab')", "f() == {'a': 2, 'b': 1}"),
        ("__import__('re').match('a', 'a')", "f()"),
        ("__import__('re').match('a', 'b')", "not f()"),
    ] {
        let row = json!({"test_list": [format!("assert {test}")]});
        scores(&*reward, &row, &format!("def f(): return {made}"), Some(1.0), "the test passed");
        let row = json!({"test_list": [format!("assert not ({test})")]});
        scores(&*reward, &row, &format!("def f(): return {made}"), Some(0.0), "failed");
    }
    let classes = "class Stack:\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x)\n    def pop(self): return self.items.pop()\ndef size(stack): return len(stack.items)";
    let row = json!({"test_setup_code": "s = Stack()\ns.push(3)\ns.name = 'n'", "test_list": ["assert size(s) == 1 and s.name == 'n'", "assert s.pop() == 3"]});
    scores(&*reward, &row, classes, Some(1.0), "all 2 tests passed");
    let deep = "def f():\n    x = []\n    x.append(x)\n    return x";
    scores(&*reward, &json!({"test_list": ["assert f()"]}), deep, Some(0.0), "nested more than");
    let endless = "def f():\n    while True: yield 1";
    scores(&*reward, &json!({"test_list": ["assert next(f()) == 1"]}), endless, Some(0.0), "more than 200000 items");
    let raises = json!({"test_list": ["try:\n    f(-1)\n    assert False\nexcept ValueError as error:\n    assert str(error) == 'no'"]});
    scores(&*reward, &raises, "def f(x): raise ValueError('no')", Some(1.0), "");
    scores(&*reward, &raises, "def f(x): raise KeyError('no')", Some(0.0), "KeyError");
}

#[test]
fn a_program_leaves_nothing_for_the_next() {
    if no_python() {
        return;
    }
    let reward = code(json!({"workers": 1}));
    let row = json!({"test_list": ["assert f() == 1"]});
    let leaves = "import builtins, os, random\nopen('left', 'w').write('x')\nbuiltins.left = 1\nrandom.seed(5)\ndef f(): return 1";
    scores(&*reward, &row, leaves, Some(1.0), "");
    let looks = "import builtins, os\ndef f(): return 1 if os.listdir() == [] and not hasattr(builtins, 'left') else 0";
    scores(&*reward, &row, looks, Some(1.0), "");
    // chance is the same for all, so that equal programs get equal verdicts
    let draws = "import random\ndrawn = random.random()\ndef f(): return drawn";
    let verdicts: Vec<String> = (0..3).map(|_| judge(&*reward, &row, draws).reason().to_string()).collect();
    assert!(verdicts.iter().all(|reason| *reason == verdicts[0]), "{verdicts:?}");
    let fresh = code(json!({"fresh": true}));
    scores(&*fresh, &row, leaves, Some(1.0), "");
    scores(&*fresh, &row, looks, Some(1.0), "");
}

#[test]
fn many_at_once_are_judged_in_order() {
    if no_python() {
        return;
    }
    let rows: Vec<Value> = (0..60).map(|n| json!({"test_list": [format!("assert f() == {}", n % 3)]})).collect();
    let rows: Vec<_> = rows.iter().map(|row| row.as_object().unwrap().clone()).collect();
    let programs: Vec<String> = (0..60).map(|n| format!("def f(): return {}", n % 2)).collect();
    let attempts: Vec<Attempt> =
        rows.iter().zip(&programs).map(|(row, program)| Attempt::new("", program, None, row)).collect();
    let reward = code(json!({"workers": 4}));
    let verdicts = reward.score(&attempts);
    for (n, verdict) in verdicts.iter().enumerate() {
        assert_eq!(value(verdict), Some(f32::from(u8::from(n % 3 == n % 2))), "{n}: {}", verdict.reason());
    }
    assert!(reward.score(&[]).is_empty());
}
