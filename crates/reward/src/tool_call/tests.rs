//! Calls in every format, sound and unsound; and real ones where the data is at hand.
#![allow(clippy::print_stdout)]

use lapidary_core::Verdict;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::pythonic;
use crate::Attempt;

fn tools() -> Value {
    json!([
        {"type": "function", "function": {"name": "weather", "parameters": {
            "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}}, "required": ["city"]}}},
        {"name": "time.now"},
    ])
}

fn judge(options: Value, completion: &str, row: Value) -> Verdict {
    let reward = crate::build("tool-call", &options).unwrap();
    let metadata: Map<String, Value> = row.as_object().cloned().unwrap_or_default();
    reward.score(&[Attempt::new("", completion, None, &metadata)]).remove(0)
}

/// Scores under one format, with the row's tools.
fn check(format: &str, cases: &[(&str, f32)]) {
    for (completion, wanted) in cases {
        let verdict = judge(json!({"format": format}), completion, json!({"tools": tools()}));
        assert_eq!(verdict.value(), Some(*wanted), "{format} {completion}: {verdict:?}");
    }
}

#[test]
fn hermes_calls_stand_in_their_tags() {
    let call = r#"<tool_call>{"name": "weather", "arguments": {"city": "Oslo", "days": 2}}</tool_call>"#;
    let cases = [
        (call.to_string(), 1.0),
        (format!("<think>{call}</think>\nI look it up.\n{call}\n{}", call.replace("Oslo", "Rome")), 1.0),
        (format!("{call} done"), 0.0),
        (format!("<think>{call}</think> no call"), 0.0),
        (call.replace("</tool_call>", ""), 0.0),
        (format!("</tool_call>{call}"), 0.0),
        (format!("{call}</tool_call>"), 0.0),
        (call.replace("weather", "wether"), 0.0),
        (call.replace("\"city\": \"Oslo\", ", ""), 0.0),
        (call.replace("2", "0"), 0.0),
        (call.replace("2", "\"2\""), 0.0),
        (call.replace("\"days\"", "\"hours\""), 0.0),
        (call.replace("\"arguments\"", "\"parameters\""), 0.0),
        (call.replace("{\"name\"", "{\"thought\": 1, \"name\""), 0.0),
        (call.replace("\"days\": 2", "\"city\": \"Rome\""), 0.0),
        ("<tool_call>weather(city='Oslo')</tool_call>".into(), 0.0),
        (String::new(), 0.0),
        (call.repeat(17), 0.0),
    ];
    let cases: Vec<(&str, f32)> = cases.iter().map(|(text, score)| (text.as_str(), *score)).collect();
    check("hermes", &cases);
}

#[test]
fn the_other_formats() {
    check(
        "json",
        &[
            (r#"{"name": "weather", "arguments": {"city": "Oslo"}}"#, 1.0),
            (r#"[{"name": "weather", "arguments": {"city": "Oslo"}}, {"name": "time.now", "arguments": {}}]"#, 1.0),
            (
                r#"{"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Oslo\"}"}}"#,
                1.0,
            ),
            (r#"{"name": "weather", "arguments": "city=Oslo"}"#, 0.0),
            (r#"{"name": "time.now"}"#, 0.0),
            (r#"so {"name": "time.now", "arguments": {}}"#, 0.0),
            ("[]", 0.0),
        ],
    );
    check(
        "llama3",
        &[
            (r#"{"name": "weather", "parameters": {"city": "Oslo; Norway"}}"#, 1.0),
            (r#"<|python_tag|>{"name": "time.now", "parameters": {}}; {"name": "time.now", "parameters": {}}"#, 1.0),
            (r#"{"name": "time.now", "parameters": {}};"#, 0.0),
            (r#"{"name": "time.now", "parameters": {}} {"name": "time.now", "parameters": {}}"#, 0.0),
            (r#"{"name": "time.now", "arguments": {}}"#, 0.0),
        ],
    );
    check(
        "mistral",
        &[
            (r#"[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Oslo"}}]"#, 1.0),
            (r#"I look. [TOOL_CALLS] [{"name": "time.now", "arguments": {}}]"#, 1.0),
            (r#"[TOOL_CALLS]{"name": "time.now", "arguments": {}}"#, 0.0),
            (r#"[{"name": "time.now", "arguments": {}}]"#, 0.0),
        ],
    );
    check(
        "pythonic",
        &[
            ("[weather(city='Oslo', days=2), time.now()]", 1.0),
            ("weather(city=\"O'slo\")", 1.0),
            ("[weather('Oslo')]", 0.0),
            ("[weather(city=Oslo)]", 0.0),
            ("[weather(city='Oslo', city='Rome')]", 0.0),
            ("[weather(city='Oslo')] ok", 0.0),
            ("[weather(city='Oslo'", 0.0),
            ("[__import__('os').system('x')]", 0.0),
        ],
    );
}

#[test]
fn options_bound_words_numbers_and_unknown_arguments() {
    let call = r#"<tool_call>{"name": "time.now", "arguments": {"zone": "UTC"}}</tool_call>"#;
    let row = json!({"tools": tools()});
    let value = |options: Value, text: &str| judge(options, text, row.clone()).value();
    assert_eq!(value(json!({}), call), Some(0.0));
    assert_eq!(value(json!({"unknown_arguments": "allow"}), call), Some(1.0));
    let call = call.replace("{\"zone\": \"UTC\"}", "{}");
    assert_eq!(value(json!({"text": "none"}), &format!("so {call}")), Some(0.0));
    assert_eq!(value(json!({"text": "any"}), &format!("so {call} there")), Some(1.0));
    assert_eq!(value(json!({"min_calls": 0}), "nothing to call"), Some(1.0));
    assert_eq!(value(json!({"min_calls": 2}), &call), Some(0.0));
    assert!(crate::build("tool-call", &json!({"min_calls": 3, "max_calls": 2})).is_err());
    assert!(crate::build("tool-call", &json!({"tools": {"parameters": {}}})).is_err());
    assert_eq!(judge(json!({"tools": {"name": "time.now"}}), &call, json!({})).value(), Some(1.0));
    for row in [
        json!({}),
        json!({"tools": 7}),
        json!({"tools": "["}),
        json!({"tools": [{"name": "a", "parameters": {"typ": 1}}]}),
    ] {
        assert_eq!(judge(json!({}), &call, row.clone()).value(), None, "{row}");
    }
}

#[test]
fn expected_calls_are_compared_in_any_order() {
    let row = json!({"tools": tools(), "calls": [{"name": "time.now", "arguments": {}}, {"name": "weather", "arguments": {"city": "Oslo", "days": 2}}]});
    let score =
        |expect: &str, text: &str| judge(json!({"format": "pythonic", "expect": expect}), text, row.clone()).value();
    assert_eq!(score("calls", "[weather(days=2.0, city='Oslo'), time.now()]"), Some(1.0));
    assert_eq!(score("calls", "[weather(days=3, city='Oslo'), time.now()]"), Some(0.0));
    assert_eq!(score("names", "[weather(days=3, city='Oslo'), time.now()]"), Some(1.0));
    assert_eq!(score("names", "[time.now(), time.now()]"), Some(0.0));
    assert_eq!(score("calls", "[time.now()]"), Some(0.0));
    let none = judge(json!({"expect": "calls"}), "", json!({"tools": tools()}));
    assert_eq!(none.value(), None);
}

/// A JSON value as Python writes it.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::String(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n")),
        Value::Array(list) => format!("[{}]", list.iter().map(python).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| format!("'{key}': {}", python(value));
            format!("{{{}}}", map.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        number => number.to_string(),
    }
}

fn literal() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9f64..1e9).prop_map(Value::from),
        "[ab'\"\\\\\n é]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn what_python_writes_is_read_back(arguments in prop::collection::btree_map("[a-z]{1,3}", literal(), 0..4)) {
        let written = arguments.iter().map(|(key, value)| format!("{key}={}", python(value))).collect::<Vec<_>>().join(", ");
        let calls = pythonic::read(&format!("[f.g({written})]")).unwrap();
        prop_assert_eq!((calls.len(), calls[0].name.as_str()), (1, "f.g"));
        let wanted: Map<String, Value> = arguments.into_iter().collect();
        prop_assert_eq!(&calls[0].arguments, &wanted);
    }

    #[test]
    fn any_text_is_calls_or_a_reason(text in "[\\[\\](){}=,:'\"a1. \\n-]{0,40}") {
        let _ = pythonic::read(&text);
    }
}

/// BFCL: the reference calls of 5,523 recorded cases, and mutations that break a schema.
#[test]
fn real_calls_are_judged_by_their_real_schemas() {
    let Some(folder) = std::env::var_os("LAPIDARY_DATA") else {
        println!("skipped: LAPIDARY_DATA is unset");
        return;
    };
    let folder = std::path::Path::new(&folder).join("bfcl");
    let lines = |name: &str| -> Vec<Value> {
        let file = std::fs::File::open(folder.join(name)).unwrap();
        let text = std::io::read_to_string(flate2::read::GzDecoder::new(file)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let mut tools: std::collections::HashMap<String, Value> = std::collections::HashMap::new();
    for name in ["simple_python", "multiple", "parallel", "parallel_multiple"] {
        for row in lines(&format!("{name}.jsonl.gz")) {
            tools.insert(row["id"].as_str().unwrap().into(), row["function"].clone());
        }
    }
    let mut counts: std::collections::BTreeMap<String, [usize; 3]> = std::collections::BTreeMap::new();
    for case in lines("ast_checker_cases.jsonl.gz") {
        let (Some(tools), Some(text)) = (tools.get(case["id"].as_str().unwrap()), case["text"].as_str()) else {
            continue;
        };
        let verdict = judge(json!({"format": "pythonic"}), text, json!({"tools": tools}));
        let place = match verdict.value() {
            Some(1.0) => 0,
            Some(_) => 1,
            None => 2,
        };
        counts.entry(case["mutation"].as_str().unwrap().into()).or_default()[place] += 1;
    }
    for mutation in ["drop_required", "wrong_name", "extra_param", "wrong_type"] {
        assert_eq!(counts[mutation][0], 0, "{mutation}: {counts:?}");
    }
    // 11 of the benchmark's own answers break its schemas: true for a text, `bronze` for `Bronze`, an argument that is not there
    assert_eq!((counts["gold_first"], counts["gold_last"]), ([515, 4, 0], [492, 7, 0]), "{counts:?}");
}
