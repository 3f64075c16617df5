//! The reader, the schemas and the reward.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::read;
use super::schema::Schema;
use super::validate::Invalid;
use crate::Attempt;

fn allows(schema: &Value, value: &Value) -> bool {
    Schema::compile(schema).unwrap().validate(value).is_ok()
}

fn judge(options: Value, completion: &str, row: Value) -> lapidary_core::Verdict {
    let reward = crate::build("json-schema", &options).unwrap();
    let metadata: Map<String, Value> = row.as_object().cloned().unwrap_or_default();
    reward.score(&[Attempt::new("", completion, None, &metadata)]).remove(0)
}

#[test]
fn only_one_unambiguous_value_is_json() {
    assert_eq!(read(" {\"a\": [1, 2.5, null, true, \"x\"]} ").unwrap(), json!({"a": [1, 2.5, null, true, "x"]}));
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for text in [
        "",
        "{",
        "{} {}",
        "{'a': 1}",
        "[1,]",
        "NaN",
        "1e999",
        "{\"a\":1,\"a\":1}",
        "[{\"a\":1,\"a\":2}]",
        "01",
        &deep,
        "\"\\ud800\"",
    ] {
        assert!(read(text).is_err(), "{text}");
    }
}

/// Schema, values that it allows, values that it does not: from the sentences of the standard.
fn cases() -> Vec<(Value, Vec<Value>, Vec<Value>)> {
    vec![
        (json!(true), vec![json!(null)], vec![]),
        (json!(false), vec![], vec![json!(null)]),
        (json!({"type": "integer"}), vec![json!(1), json!(1.0), json!(-3)], vec![json!(1.5), json!("1"), json!(true)]),
        (json!({"type": ["string", "null"]}), vec![json!(""), json!(null)], vec![json!(0), json!([])]),
        (
            json!({"enum": [1, "a", {"b": [2]}]}),
            vec![json!(1.0), json!("a"), json!({"b": [2]})],
            vec![json!("1"), json!({"b": [2, 3]})],
        ),
        (
            json!({"const": {"a": 1, "b": 2}}),
            vec![json!({"b": 2, "a": 1.0})],
            vec![json!({"a": 1}), json!({"a": 1, "b": 3})],
        ),
        (
            json!({"minimum": 1, "exclusiveMaximum": 3}),
            vec![json!(1), json!(2.9), json!("x")],
            vec![json!(0.9), json!(3)],
        ),
        (json!({"exclusiveMinimum": 1, "maximum": 3}), vec![json!(1.1), json!(3)], vec![json!(1), json!(3.1)]),
        (json!({"multipleOf": 0.1}), vec![json!(0.3), json!(7), json!(0)], vec![json!(0.35)]),
        (
            json!({"minLength": 2, "maxLength": 3}),
            vec![json!("ab"), json!("é😀"), json!(1)],
            vec![json!("a"), json!("abcd")],
        ),
        (json!({"pattern": "^a+$"}), vec![json!("aa"), json!(1)], vec![json!("ab"), json!("")]),
        (
            json!({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}}),
            vec![json!(["a", 1]), json!([])],
            vec![json!([1]), json!(["a", "b"])],
        ),
        (json!({"items": [{"type": "string"}], "additionalItems": false}), vec![json!(["a"])], vec![json!(["a", 1])]),
        (json!({"items": false}), vec![json!([])], vec![json!([1])]),
        (json!({"minItems": 1, "maxItems": 2}), vec![json!([1])], vec![json!([]), json!([1, 2, 3])]),
        (
            json!({"uniqueItems": true}),
            vec![json!([1, "1", [1]])],
            vec![json!([1, 1.0]), json!([{"a": 1, "b": 2}, {"b": 2, "a": 1}])],
        ),
        (json!({"contains": {"const": 1}}), vec![json!([2, 1])], vec![json!([2]), json!([])]),
        (
            json!({"contains": {"const": 1}, "minContains": 2, "maxContains": 2}),
            vec![json!([1, 1])],
            vec![json!([1]), json!([1, 1, 1])],
        ),
        (json!({"contains": true, "minContains": 0}), vec![json!([])], vec![]),
        (
            json!({"properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": false}),
            vec![json!({"a": 1}), json!(7)],
            vec![json!({}), json!({"a": "1"}), json!({"a": 1, "b": 2})],
        ),
        (
            json!({"properties": {"a": true}, "patternProperties": {"^x_": {"type": "string"}}, "additionalProperties": {"type": "null"}}),
            vec![json!({"a": 1, "x_1": "s", "b": null})],
            vec![json!({"x_1": 1}), json!({"b": 1})],
        ),
        (json!({"propertyNames": {"maxLength": 2}}), vec![json!({"ab": 1})], vec![json!({"abc": 1})]),
        (
            json!({"minProperties": 1, "maxProperties": 1}),
            vec![json!({"a": 1})],
            vec![json!({}), json!({"a": 1, "b": 1})],
        ),
        (json!({"dependentRequired": {"a": ["b"]}}), vec![json!({"a": 1, "b": 1}), json!({})], vec![json!({"a": 1})]),
        (json!({"dependentSchemas": {"a": {"required": ["b"]}}}), vec![json!({"b": 1})], vec![json!({"a": 1})]),
        (json!({"allOf": [{"minimum": 1}, {"maximum": 2}]}), vec![json!(1)], vec![json!(0), json!(3)]),
        (json!({"anyOf": [{"type": "string"}, {"minimum": 2}]}), vec![json!("a"), json!(2)], vec![json!(1)]),
        (json!({"oneOf": [{"multipleOf": 2}, {"multipleOf": 3}]}), vec![json!(2), json!(3)], vec![json!(6), json!(1)]),
        (json!({"not": {"type": "string"}}), vec![json!(1)], vec![json!("a")]),
        (
            json!({"if": {"type": "string"}, "then": {"minLength": 2}, "else": {"minimum": 5}}),
            vec![json!("ab"), json!(5)],
            vec![json!("a"), json!(4)],
        ),
        (
            json!({"$defs": {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}, "v": {"type": "integer"}}, "required": ["v"]}}, "$ref": "#/$defs/n"}),
            vec![json!({"v": 1, "next": {"v": 2}})],
            vec![json!({"v": 1, "next": {"next": {}}})],
        ),
        (
            json!({"properties": {"a/b~c%": {"type": "null"}, "d": {"$ref": "#/properties/a~1b~0c%25"}}}),
            vec![json!({"d": null})],
            vec![json!({"d": 1})],
        ),
        (
            json!({"properties": {"x": {"$ref": "#"}}, "additionalProperties": false}),
            vec![json!({"x": {"x": {}}})],
            vec![json!({"x": {"y": 1}})],
        ),
        (
            json!({"type": "dict", "properties": {"r": {"type": "float"}, "a": {"type": "any"}}}),
            vec![json!({"r": 1.5, "a": []})],
            vec![json!({"r": "1"})],
        ),
    ]
}

#[test]
fn every_keyword_allows_what_it_must_and_no_more() {
    for (schema, right, wrong) in cases() {
        for value in right {
            assert!(allows(&schema, &value), "{schema} must allow {value}");
        }
        for value in wrong {
            assert!(!allows(&schema, &value), "{schema} must not allow {value}");
        }
    }
}

#[test]
fn what_is_not_checked_is_refused() {
    let many = json!({"allOf": vec![json!({"pattern": "a"}); 65]});
    let mut deep = json!({});
    for _ in 0..70 {
        deep = json!({"not": deep});
    }
    for schema in [
        json!({"unevaluatedProperties": false}),
        json!({"$dynamicRef": "#a"}),
        json!({"typ": "string"}),
        json!({"type": "text"}),
        json!({"type": []}),
        json!({"$ref": "http://example.com/s.json"}),
        json!({"$ref": "#/$defs/gone"}),
        json!({"$ref": "#"}),
        json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}),
        json!({"properties": {"a": {"$id": "b.json"}}}),
        json!({"pattern": "(?=x)"}),
        json!({"pattern": 1}),
        json!({"minLength": -1}),
        json!({"multipleOf": 0}),
        json!({"required": "a"}),
        json!({"allOf": []}),
        json!({"properties": []}),
        json!(7),
        many,
        deep,
    ] {
        let what = Schema::compile(&schema).expect_err(&schema.to_string());
        assert!(what.chars().count() < 250, "{what}");
    }
}

/// A schema that doubles its questions at every level ends in its budget, not in a minute.
#[test]
fn hostile_schemas_run_out_of_questions() {
    let mut schema = json!({"$defs": {"l0": {"type": "string"}}});
    for level in 1..20 {
        let below = json!({"$ref": format!("#/$defs/l{}", level - 1)});
        schema["$defs"][format!("l{level}")] = json!({"anyOf": [{"allOf": [below, below]}, below, below]});
    }
    schema["$ref"] = json!("#/$defs/l19");
    let started = std::time::Instant::now();
    let compiled = Schema::compile(&schema).unwrap();
    assert_eq!(compiled.validate(&json!(1)), Err(Invalid::Budget));
    assert!(started.elapsed().as_secs() < 3, "{:?}", started.elapsed());
    // a long value under a cheap schema is within the budget
    let list: Vec<u32> = (0..50_000).collect();
    assert!(allows(&json!({"items": {"type": "integer"}, "uniqueItems": true}), &json!(list)));
}

#[test]
fn the_completion_is_json_and_valid_or_it_is_worth_nothing() {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let options = json!({"schema": schema});
    for (text, wanted) in [
        ("{\"n\": 7}", 1.0),
        (" {\"n\": 7}\n", 1.0),
        ("{\"n\": \"7\"}", 0.0),
        ("{\"m\": 7}", 0.0),
        ("Here you are: {\"n\": 7}", 0.0),
        ("```json\n{\"n\": 7}\n```", 0.0),
        ("{\"n\": 7, \"n\": 8}", 0.0),
        ("", 0.0),
    ] {
        assert_eq!(judge(options.clone(), text, json!({})).value(), Some(wanted), "{text}");
    }
    assert_eq!(judge(options.clone(), "{\"n\": [1]}", json!({})).reason(), "n must be of type integer");
    let fence = json!({"schema": schema, "place": "fence"});
    for (text, wanted) in [
        ("so\n```json\n{\"n\": 7}\n```\nthere", 1.0),
        ("```\n{\"n\": 7}\n```", 1.0),
        ("<think>```json\n{}\n```</think>```json\n{\"n\": 7}\n```", 1.0),
        ("```python\n{\"n\": 7}\n```", 0.0),
        ("```json\n{\"n\": 7}\n```\n```json\n{\"n\": 8}\n```", 0.0),
        ("{\"n\": 7}", 0.0),
    ] {
        assert_eq!(judge(fence.clone(), text, json!({})).value(), Some(wanted), "{text}");
    }
    let answer = json!({"schema": schema, "place": "answer"});
    assert_eq!(judge(answer.clone(), "<think>n</think><answer>{\"n\": 7}</answer>", json!({})).value(), Some(1.0));
    assert_eq!(judge(answer, "<answer>{\"n\": 7}</answer><answer>{\"n\": 7}</answer>", json!({})).value(), Some(0.0));
}

#[test]
fn a_row_brings_its_schema_and_one_that_cannot_be_used_is_no_zero() {
    let schema = json!({"type": "integer"});
    assert_eq!(judge(json!({}), "7", json!({"schema": schema})).value(), Some(1.0));
    assert_eq!(judge(json!({}), "\"7\"", json!({"schema": schema.to_string()})).value(), Some(0.0));
    assert_eq!(judge(json!({"column": "s"}), "7", json!({"s": schema})).value(), Some(1.0));
    for row in [json!({}), json!({"schema": 7}), json!({"schema": "{"}), json!({"schema": {"$ref": "other.json"}})] {
        assert_eq!(judge(json!({}), "7", row.clone()).value(), None, "{row}");
    }
    let problem = crate::build("json-schema", &json!({"schema": {"typ": "integer"}})).err().unwrap();
    assert_eq!(problem.code(), "W003");
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-5i64..5).prop_map(Value::from),
        (-50i32..50).prop_map(|tenths| json!(f64::from(tenths) / 10.0)),
        "[ab]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[abc]", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn a_value_is_what_it_is_however_it_is_written(value in anything(), other in anything()) {
        prop_assert_eq!(&read(&value.to_string()).unwrap(), &value);
        let (is, among) = (json!({"const": value}), json!({"enum": [other, value]}));
        prop_assert!(allows(&is, &value), "{}", value);
        prop_assert!(allows(&among, &value), "{}", value);
        prop_assert_eq!(allows(&json!({"const": value}), &other), allows(&json!({"const": other}), &value));
        prop_assert_eq!(allows(&json!({"uniqueItems": true}), &json!([value, other])), !allows(&json!({"const": value}), &other));
    }

    /// Laws of logic hold between the combining keywords, for any schema and value of the table.
    #[test]
    fn combined_schemas_obey_logic(value in anything(), a in 0usize..30, b in 0usize..30) {
        let cases = cases();
        let pick = |at: usize| cases[at % cases.len()].0.clone();
        // subschemas that refer to the whole document cannot be moved into another
        let (a, b) = (pick(a), pick(b));
        prop_assume!(!a.to_string().contains("$ref") && !b.to_string().contains("$ref"));
        let (is_a, is_b) = (allows(&a, &value), allows(&b, &value));
        prop_assert_eq!(allows(&json!({"not": a}), &value), !is_a);
        prop_assert_eq!(allows(&json!({"allOf": [a, b]}), &value), is_a && is_b);
        prop_assert_eq!(allows(&json!({"anyOf": [a, b]}), &value), is_a || is_b);
        prop_assert_eq!(allows(&json!({"oneOf": [a, b]}), &value), is_a != is_b);
        prop_assert_eq!(allows(&json!({"if": a, "then": b}), &value), !is_a || is_b);
    }
}
