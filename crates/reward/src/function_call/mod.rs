//! Calls of functions, given as calls and not as text, against the right ones: BFCL's score, and GLM-4.5's stricter one.

mod bfcl;
mod step;

use lapidary_core::Verdict;
use serde_json::{Map, Value};

/// The scores by name.
pub const SCORES: &[&str] = &["bfcl", "tool-step"];

/// Most calls of an output.
const MOST_CALLS: usize = 1024;

/// Scores a row `{"category", "function", "ground_truth", "output": [{name: {arguments}}, …]}` by a name of [`SCORES`].
///
/// * `bfcl`: the AST check of the Berkeley function-calling leaderboard (simple, multiple, parallel, parallel_multiple,
///   irrelevance, relevance), as published: any of the acceptable values of a parameter, texts without regard to case, blanks and
///   some punctuation.
/// * `tool-step`: the step-wise reward of GLM-4.5 (arXiv 2508.06471, §3.4.2): every call well-formed for its function and equal to the
///   right one in name, parameters and every value.
///
/// No verdict where the row itself cannot be scored; a wrong output scores 0 with its reason.
pub fn score_calls(name: &str, row: &Map<String, Value>) -> Verdict {
    let output = match output(row) {
        Ok(output) => output,
        Err(reason) => return Verdict::score(0.0, reason),
    };
    let said = match name {
        "bfcl" => bfcl::check(row, output),
        _ => step::check(row, output),
    };
    match said {
        Ok(Ok(())) => Verdict::score(1.0, ""),
        Ok(Err(wrong)) => Verdict::score(0.0, wrong),
        Err(unusable) => Verdict::none(unusable),
    }
}

/// Right, or what is wrong with the output; an error where the row is of no use.
type Checked = Result<Result<(), String>, String>;

/// The calls of the output. One that is missing, or null, is none.
fn output(row: &Map<String, Value>) -> Result<&[Value], String> {
    match row.get("output") {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(calls)) if calls.len() > MOST_CALLS => Err(format!("more than {MOST_CALLS} calls")),
        Some(Value::Array(calls)) => Ok(calls),
        Some(_) => Err("the output is no list of calls".into()),
    }
}

/// The functions of the row: a list, or one.
fn functions(row: &Map<String, Value>) -> Result<Vec<&Value>, String> {
    match row.get("function").or_else(|| row.get("tools")) {
        Some(Value::Array(functions)) if !functions.is_empty() => {
            Ok(functions.iter().map(|function| function.get("function").unwrap_or(function)).collect())
        }
        Some(function @ Value::Object(_)) => Ok(vec![function]),
        _ => Err("the row has no `function`".into()),
    }
}

/// The name and the rest of a table with one key: a call, or a right answer.
fn single(call: &Value) -> Option<(&String, &Value)> {
    call.as_object().and_then(|call| call.iter().next())
}
