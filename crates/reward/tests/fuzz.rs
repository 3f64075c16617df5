//! No text makes a reward panic, think for long, or give a score that is not finite.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test may panic and print, its helpers too

use std::time::Duration;

use lapidary_reward::{Attempt, Example, build, rewards};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Texts made of the marks that rewards look for, and anything else.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => prop::sample::select(vec![
            "####", "#### ", "\\boxed{", "\\fbox{", "}", "{", "<answer>", "</answer>", "<think>", "</think>", "answer is ", "A:",
            "\n", " ", ".", ",", "-", "−", "$", "%", "/", "(", ")", "[", "]", "'", "\"", "e9", "E-400", "1e400", "\\frac", "\\frac{",
            "<<", ">>", "=", "+", "*", "0", "7", "1,000", "72", "million", "or", "é", "😀", "\u{0}", "\u{feff}", "٣", "½",
        ]).prop_map(String::from),
        1 => "\\PC{0,8}",
        1 => any::<String>(),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// CPU time of this thread: what a reward takes, however busy the machine is.
#[cfg(unix)]
fn spent() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Time on the wall, where there is no such clock.
#[cfg(not(unix))]
fn spent() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

fn all() -> Vec<(String, Value)> {
    let mut list = vec![
        ("answer".to_string(), json!({"several": "last", "extract": ["last-number", "whole"]})),
        ("answer".to_string(), json!({"compat": "verl"})),
        ("answer".to_string(), json!({"compat": "verl", "method": "flexible"})),
        ("format".to_string(), json!({"pattern": "(?s).*(a+)+[0-9]"})),
    ];
    for preset in ["hash", "boxed", "tags", "think"] {
        list.push(("format".to_string(), json!({"preset": preset})));
    }
    for compat in ["open_r1", "open_r1_tags", "open_r1_steps", "trl", "reasoning_gym"] {
        list.push(("format".to_string(), json!({"compat": compat})));
    }
    list.push(("format".to_string(), json!({"preset": "parsed"})));
    list.push(("format".to_string(), json!({"tags": ["think", "answer"], "opened": true})));
    list.push(("repetition".to_string(), json!({"unit": "characters", "n": 32})));
    list.push((
        "json-schema".to_string(),
        json!({"schema": {"uniqueItems": true, "items": {"pattern": "(a|1)*"}}, "place": "fence"}),
    ));
    // a judge, a program and a sandbox are outside, and have tests of their own
    for info in rewards().iter().filter(|info| !["command", "code", "judge", "model"].contains(&info.name)) {
        let options = match info.name {
            "length" => json!({"max": 10}),
            "language" => json!({"script": ["latin"]}),
            "regex" => json!({"require": ["(a|b)*c"], "forbid": "7+$", "column": "pattern"}),
            _ => json!({}),
        };
        // Rewards with one formula have one rule: counting eggs is read as counting primes is.
        let known = |name: &String| rewards().iter().any(|other| other.name == *name && other.formula == info.formula);
        if !list.iter().any(|(name, given)| known(name) && *given == options) {
            list.push((info.name.to_string(), options));
        }
    }
    for info in rewards().iter().filter(|info| build(info.name, &json!({"compat": "reasoning_gym"})).is_ok()) {
        list.push((info.name.to_string(), json!({"compat": "reasoning_gym"})));
    }
    list
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn any_text_gets_a_finite_verdict(completion in hostile(), answer in hostile()) {
        let metadata = Map::new();
        for (name, options) in all() {
            let reward = build(&name, &options).unwrap();
            let attempt = Attempt::new("", &completion, Some(&answer), &metadata);
            let verdicts = reward.score(&[attempt, attempt]);
            prop_assert_eq!(verdicts.len(), 2);
            prop_assert_eq!(&verdicts[0], &verdicts[1], "equal attempts, equal verdicts");
            prop_assert!(verdicts[0].value().is_none_or(f32::is_finite));
            prop_assert!(verdicts[0].reason().chars().count() < 400, "{}", verdicts[0].reason());
        }
    }

    #[test]
    fn any_line_is_an_example_or_a_problem_with_its_place(text in hostile()) {
        for text in [text.clone(), format!("{{\"completion\":{text}}}")] {
            let line = lapidary_reward::jsonl::Line { path: "x".into(), number: 1, text };
            if let Err(problem) = Example::parse(&line) {
                prop_assert!(problem.place().is_some(), "{}", problem);
            }
        }
    }

    /// A right answer passes however it is marked; the same text never passes for another number.
    #[test]
    fn a_number_is_right_in_every_dress_and_wrong_for_every_other(number in -1_000_000i64..1_000_000, off in 1i64..1000) {
        let reward = build("answer", &Value::Null).unwrap();
        let metadata = Map::new();
        let grouped = {
            let digits = number.unsigned_abs().to_string();
            let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
            format!("{}{}", if number < 0 { "-" } else { "" }, groups.join(","))
        };
        for text in [
            format!("so\n#### {number}"), format!("#### ${grouped}."), format!("\\boxed{{{number}}}"), format!("<answer>{grouped}</answer>"),
            format!("The answer is {number}.0 dollars."), grouped.clone(), format!("2 + 2 = {number} apples"), format!("A: {number}%"),
        ] {
            let score = |answer: i64| {
                let answer = answer.to_string();
                reward.score(&[Attempt::new("", &text, Some(&answer), &metadata)])[0].value()
            };
            prop_assert_eq!(score(number), Some(1.0), "{}", &text);
            prop_assert_eq!(score(number + off), Some(0.0), "{}", &text);
        }
    }
}

#[test]
fn megabytes_are_judged_within_seconds() {
    let metadata = Map::new();
    for piece in [
        "#### 1 ",
        "\\boxed{",
        "\\boxed{1}",
        "<answer>",
        "<answer>1</answer>",
        "answer is 1. ",
        "A:\n",
        "9",
        "1,000",
        "-",
        "(",
        "[",
        "a",
        "1 ",
        "1+",
        "'",
        "<<1",
        "1/",
        "\\frac{",
        "é",
    ] {
        let text = piece.repeat((1 << 20) / piece.len());
        for (name, options) in all() {
            let reward = build(&name, &options).unwrap();
            let before = spent();
            reward.score(&[
                Attempt::new("", &text, Some("72"), &metadata),
                Attempt::new("", &text, Some(&text), &metadata),
            ]);
            let took = spent() - before;
            assert!(took < Duration::from_secs(4), "{name} {options} took {took:?} on {piece:?}");
        }
    }
}
