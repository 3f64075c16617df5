use super::*;
use crate::build;

fn rows(options: Value, metadata: &Value, completion: &str) -> (Verdict, Value) {
    let reward = build("ifeval", &options).unwrap();
    let metadata = metadata.as_object().unwrap().clone();
    let (verdict, detail) = reward.detailed(&[Attempt::new("", completion, None, &metadata)]).remove(0);
    assert_eq!(verdict, reward.score(&[Attempt::new("", completion, None, &metadata)])[0]);
    (verdict, Value::Object(detail))
}

fn two() -> Value {
    json!({
        "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
        "kwargs": [{}, {"num_words": 3, "relation": "at least"}],
    })
}

#[test]
fn the_score_is_the_share_of_instructions_or_all_or_nothing() {
    for (completion, fraction, all) in
        [("one two three", 1.0, 1.0), ("one, two, three", 0.5, 0.0), ("a,b", 0.0, 0.0), (" ", 0.0, 0.0)]
    {
        assert_eq!(rows(json!({}), &two(), completion).0.value(), Some(fraction), "{completion}");
        assert_eq!(rows(json!({"score": "all"}), &two(), completion).0.value(), Some(all), "{completion}");
    }
}

#[test]
fn loose_tries_eight_variants() {
    assert_eq!(
        variants("Sure:\n*a*\nBye"),
        ["Sure:\n*a*\nBye", "Sure:\na\nBye", "*a*\nBye", "Sure:\n*a*", "*a*", "a\nBye", "Sure:\na", "a"]
    );
    assert_eq!(variants("*a*"), ["*a*", "a", "", "", "", "", "", ""]);
    assert_eq!(variants("a\nb")[2..5], ["b", "a", ""]);
    let (verdict, detail) = rows(json!({}), &two(), "Sure, here it is:\none two three");
    assert_eq!(detail, json!({"strict": [false, true], "loose": [true, true]}));
    assert_eq!(verdict.value(), Some(0.5));
    assert_eq!(rows(json!({"reading": "loose"}), &two(), "Sure, here:\none two three").0.value(), Some(1.0));
}

#[test]
fn thoughts_are_no_part_of_the_response() {
    let thought = "<think>well, well</think><answer>one two three</answer>";
    assert_eq!(rows(json!({}), &two(), thought).0.value(), Some(1.0));
    assert_eq!(rows(json!({"thoughts": "keep"}), &two(), thought).0.value(), Some(0.5));
    assert_eq!(rows(json!({}), &two(), "<think>one two three").0.value(), Some(0.0), "it never came to a response");
}

/// A row that cannot be judged is never a 0, and says why.
#[test]
fn a_broken_row_has_no_verdict() {
    let row = |ids: Value, kwargs: Value| json!({"instruction_id_list": ids, "kwargs": kwargs});
    let comma = "punctuation:no_comma";
    for (metadata, words) in [
        (json!({}), "no `instruction_id_list`"),
        (row(json!([]), json!([])), "0 instructions"),
        (row(json!("x"), json!([])), "is a text, not a list"),
        (row(json!([1]), json!([{}])), "no text"),
        (row(json!([comma]), json!([])), "0 entries for 1"),
        (row(json!([comma]), json!({})), "is a table, not a list"),
        (row(json!(["no:such"]), json!([{}])), "no instruction `no:such`"),
        (row(json!([comma]), json!([{"a": 1}])), "no argument `a`"),
        (row(json!(["length_constraints:number_words"]), json!([{}])), "`num_words` is missing"),
        (
            row(json!(["length_constraints:number_words"]), json!([{"num_words": "3", "relation": "at least"}])),
            "`num_words` is a text",
        ),
        (row(json!(["length_constraints:number_words"]), json!([{"num_words": 3, "relation": "over"}])), "\"over\""),
        (row(json!(["keywords:existence"]), json!([{"keywords": "a"}])), "not a list of texts"),
        (row(json!(["keywords:existence"]), Value::Null), "`keywords` is missing"),
    ] {
        let verdict = rows(json!({}), &metadata, "text").0;
        assert!(verdict.value().is_none() && verdict.reason().contains(words), "{metadata}: {verdict:?}");
    }
    let half = row(json!([comma, "no:such"]), json!([null, null]));
    assert_eq!(rows(json!({}), &half, "text").1, json!({"strict": [true, null], "loose": [true, null]}));
    let bare = row(json!([comma]), Value::Null);
    assert_eq!(rows(json!({}), &bare, "text").0.value(), Some(1.0), "no kwargs where none are needed");
}

#[test]
fn windows_line_ends_are_line_ends() {
    let metadata = json!({
        "instruction_id_list": ["length_constraints:nth_paragraph_first_word"],
        "kwargs": [{"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "two"}],
    });
    assert_eq!(rows(json!({}), &metadata, "One.\r\n\r\nTwo.").0.value(), Some(1.0));
    assert_eq!(rows(json!({"compat": "ifeval"}), &metadata, "One.\r\n\r\nTwo.").0.value(), Some(0.0));
}

/// The page for users names every instruction.
#[test]
fn every_instruction_is_documented() {
    let page = include_str!("../../../../docs/instructions.md");
    for (id, _) in check::CHECKS {
        assert!(page.contains(&format!("`{id}`")), "docs/instructions.md does not name {id}");
    }
}
