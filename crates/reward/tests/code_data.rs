//! The `code` reward on HumanEval and MBPP: every reference solution scores 1, and one with a change that breaks it scores 0.
//!
//! A sample runs always; all of it with `LAPIDARY_CODE_ALL=1` (minutes).
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test says what is wrong by panicking

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use lapidary_core::Verdict;
use lapidary_reward::{Attempt, build};
use lapidary_sandbox::Interpreter;
use serde_json::{Value, json};

lapidary_sandbox::launcher_of_tests!();

/// The changes that break nothing that the row's tests see, each with its reason.
const LISTED: &str = include_str!("code/changes_that_pass.txt");
/// Seed of the changes.
const SEED: u32 = 6;
/// Changes tried per solution; the first that a plain grader sees as broken ends the search.
const MOST_CHANGES: u32 = 8;
/// In the sample, one row in this many.
const SAMPLE: usize = 24;

/// A reference solution.
struct Solution {
    id: String,
    row: Value,
    completion: String,
    /// The whole program, and the tests as a plain grader runs them.
    program: String,
    tests: String,
    /// Lines of the program that are the row's, not the solution's.
    given: usize,
}

fn whole() -> bool {
    std::env::var_os("LAPIDARY_CODE_ALL").is_some()
}

fn solutions(every: usize) -> Option<Vec<Solution>> {
    let Some(folder) = std::env::var_os("LAPIDARY_DATA") else {
        println!("skipped: LAPIDARY_DATA is not set");
        return None;
    };
    if Interpreter::find("python3").is_err() {
        println!("skipped: there is no python3 of version 3.9 or newer");
        return None;
    }
    let mut all = Vec::new();
    for (set, place) in [("humaneval", "canonical_solution"), ("mbpp", "code"), ("mbpp_sanitized", "code")] {
        let path = std::path::Path::new(&folder).join(format!("code/{set}.jsonl.gz"));
        let mut text = String::new();
        flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        for line in text.lines().step_by(every) {
            let row: Value = serde_json::from_str(line).unwrap();
            let word = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().replace("\r\n", "\n");
            let list = |key: &str| -> String {
                let items = row.get(key).and_then(Value::as_array).into_iter().flatten();
                items.filter_map(Value::as_str).fold(String::new(), |all, item| format!("{all}{item}\n"))
            };
            let given = if set == "humaneval" { word("prompt").lines().count() } else { 0 };
            let (completion, program, tests) = if set == "humaneval" {
                let program = format!("{}{}", word("prompt"), word(place));
                (word(place), program, format!("{}\ncheck({})\n", word("test"), word("entry_point")))
            } else {
                let tests = format!("{}{}\n{}", list("test_imports"), word("test_setup_code"), list("test_list"));
                (word(place), word(place), tests)
            };
            all.push(Solution {
                id: format!("{set}/{}", row["task_id"]).replace('"', ""),
                row,
                completion,
                program,
                tests,
                given,
            });
        }
    }
    Some(all)
}

fn judge(attempts: &[(&Value, &str)], cpu_s: u32) -> Vec<Verdict> {
    let reward = build("code", &json!({"cpu_s": cpu_s, "wall_s": 120})).unwrap();
    let rows: Vec<_> = attempts.iter().map(|(row, _)| row.as_object().unwrap().clone()).collect();
    let prompt =
        |row: &serde_json::Map<String, Value>| row.get("prompt").and_then(Value::as_str).unwrap_or("").to_string();
    let prompts: Vec<String> = rows.iter().map(prompt).collect();
    let attempts: Vec<Attempt> = attempts
        .iter()
        .zip(rows.iter().zip(&prompts))
        .map(|((_, completion), (row, prompt))| Attempt::new(prompt, completion, None, row))
        .collect();
    reward.score(&attempts)
}

/// Whether a plain grader passes each program with its tests.
fn oracle(programs: &[(String, &Solution)]) -> Vec<bool> {
    let lines: Vec<Value> = programs
        .iter()
        .map(|(program, solution)| json!({"source": format!("{program}\n{}", solution.tests)}))
        .collect();
    through(include_str!("code/oracle.py"), &[], &lines).iter().map(|answer| answer == "pass").collect()
}

/// Lines through a script of ours.
fn through(script: &str, arguments: &[String], lines: &[Value]) -> Vec<String> {
    let python = Interpreter::find("python3").unwrap();
    let mut child = Command::new(python.executable())
        .args(["-S", "-B", "-W", "ignore", "-c", script])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let text = lines.iter().fold(String::new(), |all, line| format!("{all}{line}\n"));
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()).unwrap());
    let answers = BufReader::new(stdout).lines().map(Result::unwrap).collect();
    writer.join().unwrap();
    child.wait().unwrap();
    answers
}

#[test]
fn reference_solutions_score_1() {
    let Some(solutions) = solutions(if whole() { 1 } else { SAMPLE }) else { return };
    let started = Instant::now();
    let attempts: Vec<_> = solutions.iter().map(|solution| (&solution.row, solution.completion.as_str())).collect();
    let verdicts = judge(&attempts, 10); // one of them needs 4 s
    println!("{} programs in {:?}", verdicts.len(), started.elapsed());
    let failed: Vec<String> = solutions
        .iter()
        .zip(&verdicts)
        .filter(|(_, verdict)| verdict.value() != Some(1.0))
        .map(|(solution, verdict)| format!("{} {:?}: {}", solution.id, verdict.value(), verdict.reason()))
        .collect();
    assert_eq!(failed, Vec::<String>::new());
}

/// A change to a solution.
struct Change<'a> {
    solution: &'a Solution,
    what: String,
    program: String,
}

/// For every solution, the changes in the seed's order up to the first that breaks it as a plain grader sees it; and for each
/// change whether it broke it.
fn changes(solutions: &[Solution]) -> Vec<(Change<'_>, bool)> {
    let lines: Vec<Value> =
        solutions.iter().map(|one| json!({"id": one.id, "source": one.program, "after": one.given})).collect();
    let arguments = [SEED.to_string(), MOST_CHANGES.to_string()];
    let answers = through(include_str!("code/mutate.py"), &arguments, &lines);
    let mut waiting: Vec<std::vec::IntoIter<Change>> = solutions
        .iter()
        .zip(&answers)
        .map(|(solution, answer)| {
            let answer: Value = serde_json::from_str(answer).unwrap();
            let change = |change: &Value| Change {
                solution,
                what: change["what"].as_str().unwrap().into(),
                program: change["source"].as_str().unwrap().into(),
            };
            answer["mutants"].as_array().unwrap().iter().map(change).collect::<Vec<_>>().into_iter()
        })
        .collect();
    let mut tried = Vec::new();
    while !waiting.is_empty() {
        let round: Vec<Option<Change>> = waiting.iter_mut().map(Iterator::next).collect();
        let programs: Vec<_> = round.iter().flatten().map(|change| (change.program.clone(), change.solution)).collect();
        let mut passed = oracle(&programs).into_iter();
        let mut open = Vec::new();
        for (change, rest) in round.into_iter().zip(waiting) {
            let Some(change) = change else { continue };
            let survived = passed.next().unwrap();
            if survived {
                open.push(rest);
            }
            tried.push((change, !survived));
        }
        waiting = open;
    }
    tried
}

#[test]
fn solutions_broken_by_one_change_score_0() {
    let Some(solutions) = solutions(if whole() { 1 } else { SAMPLE }) else { return };
    let tried = changes(&solutions);
    let attempts: Vec<_> = tried.iter().map(|(change, _)| (&change.solution.row, change.program.as_str())).collect();
    let verdicts = judge(&attempts, 6);
    let mut wrong = Vec::new();
    let mut survivors = Vec::new();
    let mut broken = std::collections::BTreeSet::new();
    for ((change, breaks), verdict) in tried.iter().zip(&verdicts) {
        let expected = if *breaks { 0.0 } else { 1.0 };
        if verdict.value() != Some(expected) {
            let id = &change.solution.id;
            wrong.push(format!("{id}, {}: {:?} for {expected}: {}", change.what, verdict.value(), verdict.reason()));
        }
        if *breaks {
            broken.insert(&change.solution.id);
        } else {
            println!("passes its tests: {} | {}", change.solution.id, change.what);
            survivors.push(format!("{} | {}", change.solution.id, change.what));
        }
    }
    let never: Vec<&String> = solutions.iter().map(|one| &one.id).filter(|id| !broken.contains(id)).collect();
    println!(
        "{} solutions, {} changes tried, {} break, {} pass the row's tests, never broken: {never:?}",
        solutions.len(),
        tried.len(),
        broken.len(),
        tried.len() - broken.len()
    );
    assert_eq!(wrong, Vec::<String>::new());
    let listed: Vec<&str> = LISTED.lines().filter(|line| !line.starts_with('#')).collect();
    let missing: Vec<&String> =
        survivors.iter().filter(|one| !listed.iter().any(|line| line.starts_with(&format!("{one} | ")))).collect();
    assert_eq!(missing, Vec::<&String>::new(), "changes that pass and are not listed");
    assert!(!whole() || survivors.len() == listed.len(), "{} pass, {} are listed", survivors.len(), listed.len());
}
