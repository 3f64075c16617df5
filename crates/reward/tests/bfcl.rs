//! BFCL's own check on 5,523 mutated calls. The file is not part of this repository: without `LAPIDARY_DATA` this test says that it skips.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use lapidary_reward::score_calls;
use serde_json::{Map, Value, json};

fn rows(path: &Path) -> Vec<Map<String, Value>> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_case_scores_as_bfcl_does() {
    let Some(folder) = std::env::var_os("LAPIDARY_DATA") else {
        println!("skipped: LAPIDARY_DATA is not set");
        return;
    };
    let folder = Path::new(&folder).join("bfcl");
    let mut questions = HashMap::new();
    for file in ["simple_python", "multiple", "parallel", "parallel_multiple", "irrelevance"] {
        for row in rows(&folder.join(format!("{file}.jsonl.gz"))) {
            questions.insert(row["id"].as_str().unwrap().to_string(), row);
        }
    }
    let (mut agree, mut differ) = (0, Vec::new());
    for case in rows(&folder.join("ast_checker_cases.jsonl.gz")) {
        let id = case["id"].as_str().unwrap();
        let mut row = questions[id].clone();
        row.insert("category".into(), case["category"].clone());
        row.insert("output".into(), case["output"].clone());
        let verdict = score_calls("bfcl", &row);
        if verdict.value() == Some(if case["valid"] == true { 1.0 } else { 0.0 }) {
            agree += 1;
        } else {
            differ.push(format!(
                "{id} {}: {verdict:?}, BFCL says {} {}",
                case["output"], case["valid"], case["error_type"]
            ));
        }
    }
    println!("{agree} of {} cases agree", agree + differ.len());
    assert!(differ.is_empty() && agree >= 5523, "{}", differ[..differ.len().min(10)].join("\n"));
    for row in questions.values().filter(|row| !row.contains_key("ground_truth")) {
        let mut row = row.clone();
        row.insert("category".into(), json!("irrelevance"));
        row.insert("output".into(), json!([]));
        assert_eq!(score_calls("bfcl", &row).value(), Some(1.0));
        row.insert("output".into(), json!([{"f": {}}]));
        assert_eq!(score_calls("bfcl", &row).value(), Some(0.0));
    }
}
