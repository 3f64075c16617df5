//! Agreement with other people's verifiers and labels. Needs LAPIDARY_DATA = the folder `data`; says so and skips without.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test may panic and print, its helpers too

use std::io::Read;
use std::path::PathBuf;

use lapidary_reward::{Attempt, build};
use serde_json::{Map, Value, json};

fn data(name: &str) -> Option<String> {
    let Some(folder) = std::env::var_os("LAPIDARY_DATA") else {
        println!("skipped: LAPIDARY_DATA is not set");
        return None;
    };
    let path = PathBuf::from(folder).join(name);
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    if name.ends_with(".gz") {
        flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    } else {
        std::io::BufReader::new(file).read_to_string(&mut text).unwrap();
    }
    Some(text)
}

fn rows(name: &str) -> Option<Vec<Value>> {
    data(name).map(|text| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn score(reward: &str, options: Value, completion: &str, answer: &str, metadata: &Map<String, Value>) -> f32 {
    let verdict =
        build(reward, &options).unwrap().score(&[Attempt::new("", completion, Some(answer), metadata)]).remove(0);
    verdict.value().unwrap_or_else(|| panic!("{completion:?} for {answer:?}: {verdict:?}"))
}

#[test]
fn every_reference_solution_of_gsm8k_scores_one() {
    for (name, count) in [("gsm8k/train.jsonl.gz", 7473), ("gsm8k/test.jsonl.gz", 1319)] {
        let Some(rows) = rows(name) else { return };
        assert_eq!(rows.len(), count);
        for row in rows {
            let solution = row["answer"].as_str().unwrap();
            assert_eq!(score("answer", json!({}), solution, solution, &Map::new()), 1.0, "{solution}");
            let wrong = solution.replace("#### ", "#### 1");
            assert_eq!(score("answer", json!({}), &wrong, solution, &Map::new()), 0.0, "{wrong}");
        }
    }
}

/// Labels of 5,276 solutions that real models wrote. All disagreements are printed.
#[test]
fn labels_of_model_solutions_are_met() {
    let (Some(solutions), Some(tests)) = (rows("gsm8k/model_solutions.jsonl.gz"), rows("gsm8k/test.jsonl.gz")) else {
        return;
    };
    let reward = build("answer", &json!({})).unwrap();
    let metadata = Map::new();
    let mut wrong = 0;
    for row in &solutions {
        let answer = tests[row["test_index"].as_u64().unwrap() as usize]["answer"].as_str().unwrap();
        let solution = row["solution"].as_str().unwrap();
        let verdict = reward.score(&[Attempt::new("", solution, Some(answer), &metadata)]).remove(0);
        let label = f32::from(u8::from(row["is_correct"].as_bool().unwrap()));
        if verdict.value() != Some(label) {
            wrong += 1;
            let tail: String = solution.chars().skip(solution.chars().count().saturating_sub(120)).collect();
            println!("label {label}: {verdict:?}: …{tail:?}");
        }
    }
    println!("{} of {} labels met", solutions.len() - wrong, solutions.len());
    assert_eq!(wrong, MOST_DISAGREEMENTS, "disagreements");
}
const MOST_DISAGREEMENTS: usize = 0;

#[test]
fn compat_verl_gives_verls_own_scores() {
    let Some(text) = data("verl_reward_score_cases.json.gz") else { return };
    let cases: Value = serde_json::from_str(&text).unwrap();
    let cases = cases["gsm8k"].as_array().unwrap();
    assert!(cases.len() > 700);
    for case in cases {
        for method in ["strict", "flexible"] {
            let options = json!({"compat": "verl", "method": method});
            let given = score(
                "answer",
                options,
                case["solution"].as_str().unwrap(),
                case["ground_truth"].as_str().unwrap(),
                &Map::new(),
            );
            assert_eq!(f64::from(given), case[method].as_f64().unwrap(), "{method}: {case}");
        }
    }
}

#[test]
fn compat_reasoning_gym_gives_its_own_scores() {
    let Some(text) = data("reasoning_gym/score_cases.json") else { return };
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    for (task, reward) in [
        ("chain_sum", "chain-sum"),
        ("countdown", "countdown"),
        ("number_sorting", "number-sorting"),
        ("spell_backward", "spell-backward"),
    ] {
        let rows = rows(&format!("reasoning_gym/{task}.jsonl.gz")).unwrap();
        let mut wrong = Vec::new();
        let mut count = 0;
        for case in cases.iter().filter(|case| case["task"] == task) {
            let row = rows.iter().find(|row| row["id"] == case["id"]).unwrap();
            let answer = row["answer"].as_str().unwrap();
            let completion = case["candidate"].as_str().unwrap_or("");
            let metadata = row["metadata"].as_object().unwrap();
            let given = score(reward, json!({"compat": "reasoning_gym"}), completion, answer, metadata);
            count += 1;
            if (f64::from(given) - case["score"].as_f64().unwrap()).abs() > 1e-6 {
                wrong.push(format!("{given} for {case}, answer {answer}"));
            }
            // strict never scores what reasoning-gym scores below 1, and its own references always
            let strict = score(reward, json!({}), completion, answer, metadata);
            assert!(strict == 0.0 || strict == 1.0);
            assert_eq!(score(reward, json!({}), answer, answer, metadata), 1.0, "{answer}");
        }
        println!("{task}: {} of {count} agree", count - wrong.len());
        assert!(wrong.is_empty(), "{task}: {}", wrong.join("\n"));
    }
}
