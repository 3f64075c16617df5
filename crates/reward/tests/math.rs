//! `math` against other people's verdicts and labels. Needs LAPIDARY_DATA = the folder `data`; says so and skips without.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test may panic and print, its helpers too

use std::io::Read;
use std::path::PathBuf;

use lapidary_core::Verdict;
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

fn verdict(options: &Value, completion: &str, reference: &str) -> Verdict {
    build("math", options).unwrap().score(&[Attempt::new("", completion, Some(reference), &Map::new())]).remove(0)
}

/// The pairs of a file, with the options that their configuration asks for; the ids of those that are judged otherwise.
fn disagreements(options: &Value) -> Option<Vec<String>> {
    let pairs: Value = serde_json::from_str(&data("math_verify_pairs.json")?).unwrap();
    let pairs = pairs["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 136);
    let mut wrong = Vec::new();
    for pair in pairs {
        let mut options = options.clone();
        let config = &pair["config"];
        options["places"] = config["precision"].clone();
        options["inequality-for-set"] = config["allow_set_relation_comp"].clone();
        let (gold, given) = (pair["gold"].as_str().unwrap(), pair["pred"].as_str().unwrap());
        let verdict = verdict(&options, given, gold);
        if verdict.value().map(f64::from) != pair["expected"].as_f64() {
            let id = pair["id"].as_str().unwrap();
            println!("{id}: expected {}, {verdict:?}", pair["expected"]);
            wrong.push(id.rsplit("::").next().unwrap().to_string());
        }
    }
    Some(wrong)
}

#[test]
fn pairs_of_math_verify_in_its_own_mode() {
    let Some(wrong) = disagreements(&json!({"compat": "math_verify"})) else { return };
    assert_eq!(wrong, IN_ITS_MODE);
}

#[test]
fn pairs_of_math_verify_strictly() {
    let order = ["boxed", "tags", "hash", "final", "last-math", "last-number", "whole"];
    let Some(wrong) = disagreements(&json!({"extract": order})) else { return };
    assert_eq!(wrong, STRICTLY);
}

/// Each with its reason in docs/mathematics.md.
const IN_ITS_MODE: &[&str] = &[
    "test_latex_notation[5]",
    "test_latex_notation[6]",
    "test_latex_notation[9]",
    "test_boxed[0]",
    "test_strict_variable_comparison[1]",
];
const STRICTLY: &[&str] = &[
    "test_latex_notation[5]",
    "test_latex_notation[6]",
    "test_latex_notation[9]",
    "test_math_extraction_additional_cases[1]",
    "test_math_extraction_additional_cases[8]",
    "test_math_extraction_edge_cases[0]",
    "test_math_extraction_edge_cases[1]",
    "test_number_extraction[14]",
    "test_boxed[0]",
    "test_strict_variable_comparison[1]",
];

#[test]
fn pairs_of_the_math_authors() {
    let Some(text) = data("math_is_equiv_pairs.json") else { return };
    let pairs: Value = serde_json::from_str(&text).unwrap();
    for (options, expected) in [
        (json!({"compat": "hendrycks"}), vec![]),
        (json!({"lists": "ordered"}), vec![]),
        (json!({}), vec!["test_decimals", "test_order"]),
    ] {
        let mut wrong = Vec::new();
        for pair in pairs["pairs"].as_array().unwrap() {
            let verdict = verdict(&options, pair["pred"].as_str().unwrap(), pair["gold"].as_str().unwrap());
            if verdict.value().map(f64::from) != pair["expected"].as_f64() {
                println!("{pair}: {verdict:?}");
                wrong.push(pair["id"].as_str().unwrap());
            }
        }
        assert_eq!(wrong, expected, "{options}");
    }
}

#[test]
fn compat_verl_math_gives_verls_own_scores() {
    let Some(text) = data("verl_reward_score_cases.json.gz") else { return };
    let cases: Value = serde_json::from_str(&text).unwrap();
    let options = json!({"compat": "verl_math"});
    let cases = cases["math_reward"].as_array().unwrap();
    assert_eq!(cases.len(), 916);
    for case in cases {
        let verdict = verdict(&options, case["solution"].as_str().unwrap(), case["ground_truth"].as_str().unwrap());
        assert_eq!(verdict.value().map(f64::from), case["score"].as_f64(), "{case}: {verdict:?}");
    }
}

/// Every reference of two data sets equals itself, however the completion marks it.
#[test]
fn references_are_themselves() {
    let (Some(math), Some(dsr)) = (rows("math/math500.jsonl.gz"), rows("math/dsr_sub.jsonl.gz")) else { return };
    let mut unread = Vec::new();
    for gold in references(&math, &dsr) {
        for completion in [format!("so \\boxed{{{gold}}}."), gold.clone(), format!("x\n#### {gold}")] {
            let verdict = verdict(&json!({}), &completion, &gold);
            if verdict.value().is_none() {
                unread.push(gold.clone());
            }
            assert_ne!(verdict.value(), Some(0.0), "{gold}: {completion:?}: {verdict:?}");
        }
    }
    // cut off in the data set, so that a box around it never closes
    assert_eq!(unread, ["\\frac{2 k n}{n+k-1}-2 \\frac{k!n!}{(k+n-1)!"]);
}

fn references(math: &[Value], dsr: &[Value]) -> Vec<String> {
    let mut golds: Vec<String> =
        math.iter().chain(dsr).map(|row| row["answer"].as_str().unwrap().trim().to_string()).collect();
    assert_eq!(golds.len(), 1709);
    golds.retain(|gold| !gold.is_empty() && gold != "None");
    golds.sort_unstable();
    golds.dedup();
    golds
}

/// 113,000 pairs of different references, one in eight of all: equal are exactly those that say the same in other words.
#[test]
fn references_are_no_other_reference() {
    const ONE_IN: usize = 8;
    let (Some(math), Some(dsr)) = (rows("math/math500.jsonl.gz"), rows("math/dsr_sub.jsonl.gz")) else { return };
    let golds = references(&math, &dsr);
    let boxed: Vec<String> = golds.iter().map(|given| format!("\\boxed{{{given}}}")).collect();
    let reward = build("math", &json!({})).unwrap();
    let metadata = Map::new();
    let mut equal = 0;
    let mut unread = Vec::new();
    for (index, gold) in golds.iter().enumerate() {
        let others: Vec<usize> = (0..golds.len()).filter(|other| (index + other) % ONE_IN == 0).collect();
        let attempts: Vec<Attempt<'_>> =
            others.iter().map(|other| Attempt::new("", &boxed[*other], Some(gold), &metadata)).collect();
        let verdicts = reward.score(&attempts);
        unread.extend((verdicts.iter().filter(|verdict| verdict.value().is_none()).count() > 1).then_some(gold));
        for (other, _) in others.iter().zip(verdicts).filter(|(_, verdict)| verdict.value() == Some(1.0)) {
            if *other != index {
                equal += 1;
                println!("{gold} is {}", golds[*other]);
            }
        }
    }
    println!("of {} references: {equal} equal pairs, not read: {unread:?}", golds.len());
    assert_eq!((golds.len(), equal, unread.len()), (953, EQUAL_PAIRS, 3));
}
/// Read one by one, as were the 199 of all pairs: 1/2 and 0.5 and 1:2, 10 and 10%, 90 and 90°, (−2, 1) and −2, 1.
const EQUAL_PAIRS: usize = 28;

/// The labels of GSM8K, with its places.
#[test]
fn gsm8k_is_judged_as_the_reward_answer_judges_it() {
    let order = json!({"extract": ["hash", "boxed", "tags", "final", "last-number", "whole"]});
    let reward = build("math", &order).unwrap();
    let metadata = Map::new();
    for (name, count) in [("gsm8k/train.jsonl.gz", 7473), ("gsm8k/test.jsonl.gz", 1319)] {
        let Some(rows) = rows(name) else { return };
        assert_eq!(rows.len(), count);
        for row in &rows {
            let solution = row["answer"].as_str().unwrap();
            let wrong = solution.replace("#### ", "#### 1");
            let verdicts = reward.score(&[
                Attempt::new("", solution, Some(solution), &metadata),
                Attempt::new("", &wrong, Some(solution), &metadata),
            ]);
            assert_eq!((verdicts[0].value(), verdicts[1].value()), (Some(1.0), Some(0.0)), "{solution}: {verdicts:?}");
        }
    }
    let tests = rows("gsm8k/test.jsonl.gz").unwrap();
    let mut wrong = 0;
    let solutions = rows("gsm8k/model_solutions.jsonl.gz").unwrap();
    for row in &solutions {
        let answer = tests[row["test_index"].as_u64().unwrap() as usize]["answer"].as_str().unwrap();
        let solution = row["solution"].as_str().unwrap();
        let verdict = reward.score(&[Attempt::new("", solution, Some(answer), &metadata)]).remove(0);
        if verdict.value() != Some(f32::from(u8::from(row["is_correct"].as_bool().unwrap()))) {
            wrong += 1;
            println!("{}: {verdict:?}", row["is_correct"]);
        }
    }
    assert_eq!((solutions.len(), wrong), (5276, 0));
}

/// Spec B §5.2.1: what string matching gets wrong about GSM8K is right here, and the peer's scores are there on request.
#[test]
fn false_negatives_of_string_matching_are_gone() {
    for (text, gold, strict, flexible, ours) in [
        ("#### 72", "72", 1.0, 1.0, 1.0),
        ("#### 1,234", "1234", 1.0, 0.0, 1.0),
        ("#### $5", "5", 0.0, 1.0, 1.0),
        ("#### 72.", "72", 0.0, 0.0, 1.0),
        ("#### -3.50", "-3.5", 0.0, 0.0, 1.0),
        ("#### 5 #### 6", "6", 1.0, 1.0, 0.0),
        ("the answer is 72", "72", 0.0, 1.0, 1.0),
    ] {
        for (options, expected) in [
            (json!({"compat": "verl_gsm8k"}), strict),
            (json!({"compat": "verl_gsm8k_flexible"}), flexible),
            (json!({}), ours),
        ] {
            let verdict = verdict(&options, text, gold);
            assert_eq!(verdict.value(), Some(expected), "{text} for {gold}, {options}: {verdict:?}");
        }
    }
}
