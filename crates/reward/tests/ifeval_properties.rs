//! What holds of every instruction check on any text: it ends soon, it does not panic, and it tells a response that was built to follow
//! from the same one broken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test may panic and print, its helpers too

use std::time::{Duration, Instant};

use lapidary_core::Verdict;
use lapidary_reward::{Attempt, build};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// The words of the responses that are built below; none is in capitals, and none holds a letter z.
const WORDS: [&str; 6] = ["the", "river", "runs", "under", "an", "bridge"];

fn judge(options: &Value, metadata: &Map<String, Value>, completion: &str) -> Verdict {
    build("ifeval", options).unwrap().score(&[Attempt::new("", completion, None, metadata)]).remove(0)
}

fn row(id: &str, kwargs: &Value) -> Map<String, Value> {
    let row = json!({"instruction_id_list": [id], "kwargs": [kwargs]});
    row.as_object().unwrap().clone()
}

fn words(count: usize) -> String {
    (0..count).map(|at| WORDS[at % WORDS.len()]).collect::<Vec<_>>().join(" ")
}

fn repeated(piece: &str, count: usize) -> String {
    vec![piece; count].join("\n")
}

/// An instruction that asks for `n` of something, a response that follows it, and one that just does not.
fn case(which: usize, n: usize) -> (&'static str, Value, String, String) {
    let text = words(7);
    match which {
        0 => (
            "length_constraints:number_words",
            json!({"num_words": n, "relation": "at least"}),
            words(n),
            words(n - 1) + ".",
        ),
        1 => (
            "length_constraints:number_words",
            json!({"num_words": n + 1, "relation": "less than"}),
            words(n),
            words(n + 1),
        ),
        2 => (
            "length_constraints:number_sentences",
            json!({"num_sentences": n, "relation": "at least"}),
            repeated("The river runs.", n),
            repeated("The river runs.", n - 1) + "...",
        ),
        3 => (
            "length_constraints:number_sentences",
            json!({"num_sentences": n + 1, "relation": "less than"}),
            repeated("The river runs.", n),
            repeated("The river runs.", n + 1),
        ),
        4 => (
            "length_constraints:number_paragraphs",
            json!({"num_paragraphs": n}),
            vec!["text"; n].join("\n***\n"),
            vec!["text"; n + 1].join("\n***\n"),
        ),
        5 => (
            "length_constraints:nth_paragraph_first_word",
            json!({"num_paragraphs": n, "nth_paragraph": n, "first_word": "Last"}),
            "text\n\n".repeat(n - 1) + "Last, it ends.",
            "text\n\n".repeat(n - 1) + "Lastly, it ends.",
        ),
        6 => (
            "detectable_content:number_placeholders",
            json!({"num_placeholders": n}),
            repeated("to [name]", n),
            repeated("to [name]", n - 1) + " []",
        ),
        7 => (
            "detectable_format:number_bullet_lists",
            json!({"num_bullets": n}),
            repeated("* one", n),
            repeated("* one", n) + "\n- more",
        ),
        8 => (
            "detectable_format:number_highlighted_sections",
            json!({"num_highlights": n}),
            repeated("so *it* is", n),
            repeated("so **it** is", n - 1) + " * no *",
        ),
        9 => (
            "detectable_format:multiple_sections",
            json!({"section_spliter": "Part", "num_sections": n}),
            repeated("Part 1\ntext", n),
            repeated("Part 1\ntext", n - 1) + "\nPart",
        ),
        10 => (
            "keywords:frequency",
            json!({"keyword": "River", "frequency": n, "relation": "at least"}),
            repeated("river", n),
            repeated("river", n - 1) + " rive",
        ),
        11 => (
            "keywords:letter_frequency",
            json!({"letter": "z", "let_frequency": n, "let_relation": "less than"}),
            text.clone() + &"z".repeat(n - 1),
            text + &"Z".repeat(n),
        ),
        12 => (
            "change_case:capital_word_frequency",
            json!({"capital_frequency": n, "capital_relation": "at least"}),
            text.clone() + &" LOUD".repeat(n),
            text + &" LOUD".repeat(n - 1),
        ),
        13 => ("keywords:existence", json!({"keywords": ["river", "a+b"]}), text.clone() + " A+B", text + " aab"),
        14 => ("keywords:forbidden_words", json!({"forbidden_words": ["river"]}), "riverside".repeat(n), text),
        15 => ("punctuation:no_comma", json!({}), text.clone(), text + ","),
        16 => {
            ("startend:end_checker", json!({"end_phrase": "The end."}), text.clone() + " the end.", text + " The end")
        }
        17 => ("startend:quotation", json!({}), format!("\"{text}\""), text),
        18 => {
            ("combination:repeat_prompt", json!({"prompt_to_repeat": "Why?"}), format!("Why? {text}"), text + " Why?")
        }
        19 => ("combination:two_responses", json!({}), format!("{text}******{text}!"), format!("{text}******{text}")),
        20 => ("detectable_content:postscript", json!({"postscript_marker": "P.S."}), text.clone() + "\nP.S. so", text),
        21 => ("detectable_format:title", json!({}), format!("<<{text}>>"), format!("<{text}>")),
        22 => ("detectable_format:json_format", json!({}), json!({"a": vec![1; n]}).to_string(), n.to_string()),
        23 => (
            "detectable_format:constrained_response",
            json!({}),
            "My answer is no.".into(),
            "My answer is nothing.".into(),
        ),
        24 => ("change_case:english_capital", json!({}), text.to_uppercase(), text.to_uppercase() + " a"),
        25 => ("change_case:english_lowercase", json!({}), text.clone(), text + " A"),
        _ => ("language:response_language", json!({"language": "en"}), text, "der Fluss unter der Brücke".into()),
    }
}

const CASES: usize = 27;

/// Texts made of the marks that checks look for, and anything else.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "*", "**", "***", "******", "\n", "\n\n", "\r\n", " ", ".", "!", "?", "...", "e.g.", "Mr.", "1.", "\"", "'", "<<", ">>", "[", "]",
            "```json", "```", "{", "}", ",", "،", "P.S.", "p. p. s", "- ", "* a", "Section 1", "My answer is no.", "DON'T", "NASA's", "the", "der",
            "是", "か", "को", "ے", "ї", "।", "。", "\u{94D}", "\u{200C}", "\u{0}", "İ", "ß", "ǅ", "😀", "<think>", "</think>", "<answer>", "_", "--",
        ]).prop_map(String::from),
        1 => "\\PC{0,8}",
        1 => any::<String>(),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn any_json() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
        prop::sample::select(vec!["(", "a|b", "[", "\\", "x{9999}", "at least", "less than", "en"])
            .prop_map(Value::from),
        prop::collection::vec(".{0,4}".prop_map(Value::from), 0..3).prop_map(Value::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_response_built_to_follow_follows_and_broken_does_not(which in 0..CASES, n in 1usize..30) {
        let (id, kwargs, good, bad) = case(which, n);
        let row = row(id, &kwargs);
        for options in [json!({}), json!({"score": "all"}), json!({"reading": "loose"})] {
            let value = judge(&options, &row, &good).value();
            prop_assert_eq!(value, Some(1.0), "{} {}: {:?}", id, kwargs, good);
        }
        prop_assert_eq!(judge(&json!({}), &row, &bad).value(), Some(0.0), "{} {}: {:?}", id, kwargs, bad);
    }

    #[test]
    fn no_text_makes_a_check_panic_or_leaves_it_without_a_verdict(which in 0..CASES, n in 1usize..30, text in hostile(), compat in any::<bool>()) {
        let (id, kwargs, ..) = case(which, n);
        let options = if compat { json!({"compat": "ifeval"}) } else { json!({}) };
        let verdict = judge(&options, &row(id, &kwargs), &text);
        // `a+b` is a pattern in `compat`, and a good one: no row of these lacks a verdict
        prop_assert!(matches!(verdict.value(), Some(score) if score == 0.0 || score == 1.0), "{id}: {verdict:?}");
    }

    /// Whatever the arguments are, they make a check or a reason, for whole texts as for parts of them.
    #[test]
    fn no_argument_makes_a_check_panic(which in 0..CASES, at in 0usize..3, value in any_json(), text in hostile(), compat in any::<bool>()) {
        let (id, mut kwargs, ..) = case(which, 3);
        let key = kwargs.as_object().unwrap().keys().nth(at).cloned().unwrap_or_else(|| "other".into());
        kwargs[key.as_str()] = value;
        let options = if compat { json!({"compat": "ifeval"}) } else { json!({}) };
        let verdict = judge(&options, &row(id, &kwargs), &text);
        prop_assert!(verdict.value().is_some() || !verdict.reason().is_empty());
    }

    /// The loose reading is never stricter, and cutting a thought leaves what a response without one gets.
    #[test]
    fn loose_follows_where_strict_does(which in 0..CASES, text in hostile()) {
        let (id, kwargs, ..) = case(which, 2);
        let row = row(id, &kwargs);
        let strict = judge(&json!({}), &row, &text).value();
        let loose = judge(&json!({"reading": "loose"}), &row, &text).value();
        prop_assert!(loose >= strict, "{id}: {strict:?} {loose:?}");
        let thought = format!("<think>so, so</think>{}", text.replace("</think>", "").replace("<think>", ""));
        let plain = judge(&json!({}), &row, &text.replace("</think>", "").replace("<think>", "")).value();
        prop_assert_eq!(judge(&json!({}), &row, &thought).value(), plain);
    }
}

/// 128 KiB of anything take a second at most for all checks and both rule sets: no check looks at a text more than a few times, and
/// one that took the square of the length would need minutes.
#[test]
fn time_is_bounded_by_length() {
    let size = 1 << 17;
    for piece in [
        "a", ".", "!", " ", "*", "-", "[", "<<", "\"", "a. ", "* a*", "\n", "***\n", "{\"a\":", "I. ", "A.B", "क्",
        "是", "P.", "'", ",1", "! \"", "\\",
    ] {
        let text = piece.repeat(size / piece.len());
        let started = Instant::now();
        for which in 0..CASES {
            let (id, kwargs, ..) = case(which, 3);
            for options in [json!({}), json!({"compat": "ifeval"})] {
                judge(&options, &row(id, &kwargs), &text);
            }
        }
        let spent = started.elapsed();
        println!("{piece:?}: {spent:?}");
        assert!(spent < Duration::from_secs(30), "{piece:?} took {spent:?}");
    }
}
