//! Promises of every procedural task: random access, no overlap of splits, exact demonstrations.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test may panic and print, its helpers too

use std::collections::HashSet;

use lapidary_core::{Item, PromptText};
use lapidary_reward::Attempt;
use lapidary_task::{Split, Task, TaskInfo, TaskSpec, build, tasks};
use proptest::prelude::*;
use serde_json::{Value, json};

fn made(spec: Value, seed: u64) -> Box<dyn Task> {
    build(&serde_json::from_value::<TaskSpec>(spec.clone()).unwrap(), seed).unwrap_or_else(|e| panic!("{spec}: {e}"))
}

fn procedural() -> impl Iterator<Item = &'static TaskInfo> {
    tasks().iter().filter(|info| !["preferences", "mixture", "data"].contains(&info.name))
}

fn names() -> Vec<&'static str> {
    procedural().map(|info| info.name).collect()
}

fn score(task: &dyn Task, item: &Item, completion: &str) -> f32 {
    let reward = lapidary_reward::build(task.answer_reward(), &Value::Null).unwrap();
    let prompt = item.prompt.plain();
    let attempt = Attempt::new(&prompt, completion, item.answer.as_deref(), &item.metadata);
    let verdict = reward.score(&[attempt]).remove(0);
    verdict.value().unwrap_or_else(|| panic!("{item:?}: {verdict:?}"))
}

/// Small changes that make a right answer wrong.
fn corrupted(task: &str, completion: &str) -> Vec<String> {
    let mut wrong = vec![String::new(), format!("{completion}7"), format!("{completion} 7")];
    if !completion.starts_with("####") {
        wrong.push(format!("{completion} {completion}")); // with marks it is the same answer twice
    }
    // another colour may do as well
    if let Some(at) = completion.rfind(|c: char| c.is_ascii_digit()).filter(|_| task != "graph-color") {
        let digit = completion.as_bytes()[at] - b'0';
        wrong.push(format!("{}{}{}", &completion[..at], (digit + 1) % 10, &completion[at + 1..]));
    }
    if !completion.ends_with('0') {
        let end = completion.char_indices().last().map_or(0, |(at, _)| at);
        wrong.push(completion[..end].to_string()); // without a last 0, `8.0` would stay 8
    }
    wrong
}

#[test]
fn demonstrations_score_one_and_corrupted_ones_zero() {
    for name in names() {
        for style in ["plain", "terse"] {
            let task = made(json!({"name": name, "style": style}), 7);
            for split in [Split::Train, Split::Test] {
                for index in 0..60 {
                    let item = task.item(split, index).unwrap();
                    let completion = item.completion.clone().unwrap();
                    assert_eq!(score(&*task, &item, &completion), 1.0, "{item:?}");
                    for wrong in corrupted(name, &completion) {
                        assert_eq!(score(&*task, &item, &wrong), 0.0, "{wrong:?} for {item:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn no_question_is_in_both_splits_whatever_the_seed_and_the_style() {
    let mut small = vec![
        json!({"name": "chain-sum", "min_terms": 2, "max_terms": 2, "max_digits": 1}),
        json!({"name": "countdown", "min_numbers": 2, "max_numbers": 2, "max_value": 9, "min_target": 1, "max_target": 20}),
        json!({"name": "number-sorting", "min_numbers": 2, "max_numbers": 2, "max_decimals": 0, "min_value": 0, "max_value": 9}),
        json!({"name": "spell-backward", "max_word_len": 3}),
    ];
    small.extend(names().into_iter().map(|name| json!({"name": name, "level": 2})));
    for spec in small {
        let mut seen = [HashSet::new(), HashSet::new()];
        for (at, split) in [Split::Train, Split::Test].into_iter().enumerate() {
            for seed in 0..4 {
                let task = made(spec.clone(), seed);
                for index in 0..150 {
                    let item = task.item(split, index).unwrap();
                    let PromptText::Messages(messages) = &item.prompt else { panic!("{item:?}") };
                    seen[at].insert(messages[0].content.clone());
                }
            }
        }
        assert!(seen[0].len() > 5 && seen[1].len() > 1, "{spec}: {} and {}", seen[0].len(), seen[1].len());
        assert_eq!(seen[0].intersection(&seen[1]).count(), 0, "{spec}");
    }
}

#[test]
fn items_depend_on_seed_split_and_index_alone() {
    for name in names() {
        let (forward, backward) = (made(json!(name), 3), made(json!(name), 3));
        let ahead: Vec<Item> = (0..50).map(|index| forward.item(Split::Train, index).unwrap()).collect();
        let mut behind: Vec<Item> = (0..50).rev().map(|index| backward.item(Split::Train, index).unwrap()).collect();
        behind.reverse();
        assert_eq!(ahead, behind, "{name}");
        let other: Vec<Item> = (0..50).map(|index| made(json!(name), 4).item(Split::Train, index).unwrap()).collect();
        assert!(ahead.iter().zip(&other).filter(|(a, b)| a.prompt == b.prompt).count() < 5, "{name}");
        assert_eq!(forward.len(Split::Train), None);
        assert_eq!(ahead[7].id, format!("{name}/train/7"));
    }
}

/// A changed generator changes every saved run. `LAPIDARY_RENEW=1` writes the file anew.
#[test]
fn golden_items_never_change() {
    let terse = |name: &str| {
        let item = made(json!({"name": name, "style": "terse"}), 17).item(Split::Train, 0).unwrap();
        json!([name, item.prompt.plain(), item.completion.unwrap()]).to_string() + "\n"
    };
    let items: String = names().into_iter().map(terse).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden_items.jsonl");
    if std::env::var_os("LAPIDARY_RENEW").is_some() {
        std::fs::write(path, &items).unwrap();
    }
    assert_eq!(items, std::fs::read_to_string(path).unwrap());
    for old in [
        r#"["chain-sum","8530-8318-6830=","-6618"]"#,
        r#"["countdown","11 39 97 86=133:","97+86-39-11"]"#,
        r#"["number-sorting",">-94.8 39.3 98.6 40.6=","98.6 40.6 39.3 -94.8"]"#,
        r#"["spell-backward","hedeleduse>","esudeledeh"]"#,
    ] {
        assert!(items.contains(old), "{old}");
    }
}

#[test]
fn the_page_names_every_task() {
    let page = include_str!("../../../docs/tasks.md");
    for info in procedural() {
        assert!(page.contains(&format!("| `{}` |", info.name)), "{} is missing in docs/tasks.md", info.name);
    }
    assert!(names().len() >= 25);
}

/// Every level can be built and asks more than the one before it.
#[test]
fn levels_rise_in_size() {
    for info in procedural() {
        assert!(info.levels.len() >= 4, "{}", info.name);
        let sizes: Vec<f64> = (1..=info.levels.len())
            .map(|level| {
                let task = made(json!({"name": info.name, "level": level}), 5);
                let size = |index| task.item(Split::Train, index).unwrap().metadata["size"].as_f64().unwrap();
                (0..100).map(size).sum::<f64>() / 100.0
            })
            .collect();
        assert!(sizes.windows(2).all(|pair| pair[0] < pair[1]), "{}: {sizes:?}", info.name);
    }
}

#[test]
fn demonstrations_of_every_level_score_one() {
    for info in procedural() {
        for level in 1..=info.levels.len() {
            for style in ["plain", "question", "terse"] {
                let task = made(json!({"name": info.name, "level": level, "style": style}), 11);
                for index in 0..12 {
                    let item = task.item(Split::Test, index).unwrap();
                    let completion = item.completion.clone().unwrap();
                    assert_eq!(score(&*task, &item, &completion), 1.0, "{item:?}");
                    assert!(item.id.starts_with(&format!("{}@{level}/test/", info.name)));
                }
            }
        }
    }
}

/// A level is a set of parameters: given one by one they make the same questions, and one that is given stays.
#[test]
fn a_level_is_what_it_sets() {
    let level = made(json!({"name": "chain-sum", "level": 3}), 5).item(Split::Train, 4).unwrap();
    let same = made(json!({"name": "chain-sum", "max_terms": 3, "max_digits": 2}), 5).item(Split::Train, 4).unwrap();
    assert_eq!((level.prompt, level.answer), (same.prompt, same.answer));
    let task = made(json!({"name": "chain-sum", "level": 1, "min_terms": 2, "max_terms": 9}), 5);
    assert!((0..50).any(|index| task.item(Split::Train, index).unwrap().metadata["num_terms"] == 9));
    for (spec, code) in [
        (json!({"name": "chain-sum", "level": 0}), "D022"),
        (json!({"name": "chain-sum", "level": 7}), "D022"),
        (json!({"name": "chain-sum", "level": 1, "min_terms": 5}), "D022"),
        (json!({"path": "x.jsonl", "level": 1}), "D021"),
    ] {
        let Err(problem) = build(&serde_json::from_value::<TaskSpec>(spec.clone()).unwrap(), 1) else {
            panic!("{spec}")
        };
        assert_eq!(problem.code(), code, "{spec}");
    }
}

/// What a model might try instead of answering. Nothing of it is an answer, and nothing of it panics or takes long.
#[test]
fn hostile_answers_score_zero() {
    let long = |unit: &str| unit.repeat(20_000 / unit.len());
    let mut hostile: Vec<String> = [
        "",
        " ",
        "\n",
        "####",
        "#### ",
        "\\boxed{}",
        "<answer></answer>",
        "None",
        "null",
        "nan",
        "inf",
        "-",
        ".",
        ",",
        ";",
        "[",
        "]",
        "[]]",
        "[[",
        "{}",
        "{\"0\": null}",
        "()",
        "?",
        "🙂",
        "\u{0}",
        "is",
        "a is a",
        "__import__('os').system('true')",
        "eval('1')",
        "1;2;3",
        "1>1",
        "0>0",
        "up down left right sideways",
        "C",
        "**",
        "x**",
        "1/0",
        "0/0",
        "{{7*7}}",
        "\\frac{1}{0}",
        "answer",
        "the reference answer",
    ]
    .map(String::from)
    .to_vec();
    hostile.extend(
        ["9", "(", "[", "{", "1 ", "1;", "1,", "0:1 ", "1>2 ", "up ", "x*", "-", "####", "\\boxed{", "a is a b, "]
            .map(long),
    );
    for name in names() {
        let task = made(json!({"name": name}), 3);
        for index in 0..2 {
            let item = task.item(Split::Train, index).unwrap();
            let answer = item.answer.clone().unwrap();
            let hedged = [format!("77 or {answer}"), format!("{answer} or 77"), format!("{answer}\n\nor\n\n77")];
            // A text with the one number that is the answer is an answer.
            let says = |wrong: &&String| answer.parse::<f64>().is_ok() && wrong.contains(&answer);
            for wrong in
                hostile.iter().filter(|wrong| !says(wrong)).chain(&hedged).filter(|wrong| wrong.trim() != answer)
            {
                let start: String = wrong.chars().take(60).collect();
                assert_eq!(score(&*task, &item, wrong), 0.0, "{name}: {start:?} for {answer:?}");
            }
        }
    }
}

#[test]
fn options_that_leave_no_question_are_refused() {
    let spec = json!({"name": "countdown", "min_numbers": 2, "max_numbers": 2, "max_value": 2, "min_target": 500});
    let Err(problem) = build(&serde_json::from_value::<TaskSpec>(spec).unwrap(), 1) else { panic!("must be refused") };
    assert_eq!(problem.code(), "D023");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn any_item_of_any_task_is_its_own_and_scores_one(which: prop::sample::Index, seed: u64, index: u64, level in 1i64..=4) {
        let name = *which.get(&names());
        let (one, other) = (made(json!({"name": name, "level": level}), seed), made(json!({"name": name, "level": level}), seed));
        let item = one.item(Split::Train, index).unwrap();
        other.item(Split::Train, index.wrapping_add(1)).unwrap();
        prop_assert_eq!(&item, &other.item(Split::Train, index).unwrap());
        prop_assert_eq!(score(&*one, &item, item.completion.as_deref().unwrap()), 1.0, "{:?}", &item);
        let answer = item.answer.clone().unwrap();
        prop_assert_eq!(score(&*one, &item, &answer), 1.0, "{:?}", item);
    }

    #[test]
    fn chain_sums_keep_to_their_ranges(seed: u64, low in 2i64..6, more in 0i64..4, digits in 1i64..6, index: u64) {
        let task = made(json!({"name": "chain-sum", "min_terms": low, "max_terms": low + more, "min_digits": digits, "max_digits": digits}), seed);
        let item = task.item(Split::Train, index).unwrap();
        let expression = item.metadata["expression"].as_str().unwrap();
        let numbers: Vec<&str> = expression.split([' ', '+', '-']).filter(|part| !part.is_empty()).collect();
        prop_assert!((low..=low + more).contains(&(numbers.len() as i64)));
        prop_assert!(numbers.iter().all(|number| number.len() as i64 == digits));
        let value = lapidary_reward::Expression::parse(expression).unwrap().value;
        prop_assert_eq!(Some(value.to_string()), item.answer);
    }

    #[test]
    fn countdowns_are_solvable_within_their_ranges(seed: u64, index: u64, count in 2i64..6) {
        let spec = json!({"name": "countdown", "min_numbers": count, "max_numbers": count, "min_value": 2, "max_value": 30, "min_target": 10, "max_target": 100});
        let item = made(spec, seed).item(Split::Test, index).unwrap();
        let solution = lapidary_reward::Expression::parse(item.answer.as_deref().unwrap()).unwrap();
        let mut used = solution.numbers;
        let mut given: Vec<i64> = item.metadata["numbers"].as_array().unwrap().iter().map(|n| n.as_i64().unwrap()).collect();
        prop_assert!(given.iter().all(|number| (2..=30).contains(number)));
        used.sort_unstable();
        given.sort_unstable();
        prop_assert_eq!(&used, &given);
        let target = item.metadata["target"].as_i64().unwrap();
        prop_assert!((10..=100).contains(&target));
        prop_assert_eq!(solution.value.to_string(), target.to_string());
    }

    #[test]
    fn sorted_numbers_are_sorted_and_the_same(seed: u64, index: u64) {
        let item = made(json!({"name": "number-sorting", "style": "terse"}), seed).item(Split::Train, index).unwrap();
        let question = item.prompt.plain();
        let falling = question.starts_with('>');
        let mut numbers: Vec<f64> = question[1..question.len() - 1].split(' ').map(|n| n.parse().unwrap()).collect();
        numbers.sort_by(f64::total_cmp);
        if falling {
            numbers.reverse();
        }
        let answer: Vec<f64> = item.answer.unwrap().split(", ").map(|n| n.parse().unwrap()).collect();
        prop_assert_eq!(answer, numbers);
    }
}
