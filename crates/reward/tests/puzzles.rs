//! Agreement of the task rewards with reasoning-gym 0.1.25, in `compat` mode.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test may panic and print, its helpers too

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use lapidary_reward::{Attempt, build};
use serde_json::{Map, Value, json};

fn data(name: &str) -> Option<String> {
    let Some(folder) = std::env::var_os("LAPIDARY_DATA") else {
        println!("skipped: LAPIDARY_DATA is not set");
        return None;
    };
    let path = PathBuf::from(folder).join("reasoning_gym").join(name);
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    match name.ends_with(".gz") {
        true => flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap(),
        false => std::io::BufReader::new(file).read_to_string(&mut text).unwrap(),
    };
    Some(text)
}

fn score(reward: &str, compat: bool, completion: &str, answer: Option<&str>, metadata: &Map<String, Value>) -> f32 {
    let options = if compat { json!({"compat": "reasoning_gym"}) } else { json!({}) };
    let verdict = build(reward, &options).unwrap().score(&[Attempt::new("", completion, answer, metadata)]).remove(0);
    verdict.value().unwrap_or_else(|| panic!("{reward}: {completion:?} for {answer:?}: {verdict:?}"))
}

/// Scores that its own `score_answer` gave to answers of ours, one line each; made by running it, see the file's rows.
#[test]
fn every_task_scores_as_reasoning_gym_does() {
    let rows =
        include_str!("reasoning_gym_scores.jsonl").lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let (mut wrong, mut counts) = (Vec::new(), BTreeMap::<String, usize>::new());
    for row in rows {
        let task = row["task"].as_str().unwrap();
        let (answer, metadata) = (row["answer"].as_str(), row["metadata"].as_object().unwrap());
        let candidate = row["candidate"].as_str().unwrap();
        let given = score(task, true, candidate, answer, metadata);
        if (f64::from(given) - row["score"].as_f64().unwrap()).abs() > 1e-6 {
            wrong.push(format!("{given} for {row}"));
        }
        *counts.entry(task.to_string()).or_default() += 1;
        if let Some(answer) = answer {
            assert_eq!(score(task, false, answer, Some(answer), metadata), 1.0, "{row}");
        }
    }
    println!("{counts:?}");
    assert_eq!(counts.len(), 27);
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// The data that came with the specification: all twelve tasks, all candidates.
#[test]
fn the_reference_scores_are_met() {
    let Some(text) = data("score_cases.json") else { return };
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    let tasks: std::collections::BTreeSet<&str> = cases.iter().map(|case| case["task"].as_str().unwrap()).collect();
    assert_eq!(tasks.len(), 12);
    for task in tasks {
        let reward = task.replace('_', "-");
        let text = data(&format!("{task}.jsonl.gz")).unwrap();
        let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for row in &rows {
            let (answer, metadata) = (row["answer"].as_str(), row["metadata"].as_object().unwrap());
            assert_eq!(score(&reward, false, answer.unwrap(), answer, metadata), 1.0, "{task}: {row}");
            assert_eq!(score(&reward, false, "", answer, metadata), 0.0, "{task}: {row}");
        }
        let (mut wrong, mut count) = (Vec::new(), 0);
        for case in cases.iter().filter(|case| case["task"] == task) {
            let row = rows.iter().find(|row| row["id"] == case["id"]).unwrap();
            let (answer, metadata) = (row["answer"].as_str(), row["metadata"].as_object().unwrap());
            let completion = case["candidate"].as_str().unwrap_or("");
            let given = score(&reward, true, completion, answer, metadata);
            count += 1;
            if (f64::from(given) - case["score"].as_f64().unwrap()).abs() > 1e-6 {
                wrong.push(format!("{given} for {case}, answer {answer:?}"));
            }
        }
        println!("{task}: {} of {count} agree", count - wrong.len());
        assert!(wrong.is_empty(), "{task}: {}", wrong.join("\n"));
    }
}

/// What B §5.7.4 of the specification found: each scores 0 here, and as the control what reasoning-gym gives.
#[test]
fn the_known_exploits_do_not_work() {
    let numbers = json!({"numbers": [4, 3, 9, 8]});
    let fraction =
        json!({"numerator": 46, "denominator": 262, "simplified_numerator": 23, "simplified_denominator": 131});
    for (reward, completion, answer, metadata, credit) in [
        ("game-of-life-halting", "False", "True", json!({}), 1.0),
        ("puzzle24", "6*4*1*1", "(8 - 4) * (9 - 3)", numbers.clone(), 1.0),
        ("puzzle24", "7*7/2*1", "(8 - 4) * (9 - 3)", numbers.clone(), 1.0),
        ("number-sorting", "['1.9', '12.9', '37.9']", "['1.0', '12.0', '37.0']", json!({}), 1.0),
        ("gcd", "10", "1", json!({}), 0.5),
        ("products", "-5", "5", json!({}), 0.5),
        ("countdown", "", "9 + 48 - 7", json!({"numbers": [48, 7, 9], "target": 50}), 0.01),
        ("puzzle24", "", "(8 - 4) * (9 - 3)", numbers, 0.01),
        ("fraction-simplification", "", "23/131", fraction, 0.01),
        ("spell-backward", "ziuqerx", "ziuqer", json!({}), 1.0),
        ("countdown", "48 + 2", "9 + 48 - 7", json!({"numbers": [48, 7, 9], "target": 50}), 0.05),
    ] {
        let metadata = metadata.as_object().unwrap();
        assert_eq!(score(reward, false, completion, Some(answer), metadata), 0.0, "{reward}: {completion:?}");
        let given = score(reward, true, completion, Some(answer), metadata);
        assert!((given - credit).abs() < 1e-6, "{reward}: {completion:?} earns {given}, not {credit}");
    }
}
