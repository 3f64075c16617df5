//! Rows of reasoning-gym for the tests that hold ours up against them.

use std::io::Read;

use serde_json::Value;

/// The 1,000 rows of one of its tasks; `None`, and a word about it, where `LAPIDARY_DATA` is not set.
pub(crate) fn rows(task: &str) -> Option<Vec<Value>> {
    let Some(folder) = std::env::var_os("LAPIDARY_DATA") else {
        println!("skipped: LAPIDARY_DATA is not set");
        return None;
    };
    let path = std::path::PathBuf::from(folder).join("reasoning_gym").join(format!("{task}.jsonl.gz"));
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 1000);
    Some(rows)
}

/// The number of an answer.
pub(crate) fn number(row: &Value) -> i64 {
    row["answer"].as_str().unwrap().parse().unwrap()
}
