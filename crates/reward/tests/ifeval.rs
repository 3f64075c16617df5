//! Agreement with the published IFEval checker. Needs LAPIDARY_DATA = the folder `data`; says so and skips without.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test may panic and print, its helpers too

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::PathBuf;

use lapidary_reward::{Attempt, Reward, build};
use serde_json::{Map, Value, json};

/// What the published checker says otherwise, one a line: `key response_id instruction-index reading`, and why.
const DISAGREEMENTS: &str = include_str!("ifeval/disagreements.txt");

fn data(name: &str) -> Option<String> {
    let Some(folder) = std::env::var_os("LAPIDARY_DATA") else {
        println!("skipped: LAPIDARY_DATA is not set");
        return None;
    };
    let path = PathBuf::from(folder).join("ifeval").join(name);
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    if name.ends_with(".gz") {
        flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    } else {
        std::io::BufReader::new(file).read_to_string(&mut text).unwrap();
    }
    Some(text)
}

fn detail(reward: &dyn Reward, metadata: &Map<String, Value>, completion: &str) -> Map<String, Value> {
    let (verdict, detail) = reward.detailed(&[Attempt::new("", completion, None, metadata)]).remove(0);
    assert!(verdict.value().is_some(), "{verdict:?} for {metadata:?}");
    detail
}

/// Where, in which instruction, and what we say there.
type Difference = (String, String, bool);

/// Every difference to the golden verdicts, and how many cases and verdicts there are.
fn compared(options: Value) -> Option<(Vec<Difference>, usize, usize)> {
    let (prompts, golden) = (data("input_data.jsonl.gz")?, data("golden_responses.json.gz")?);
    let prompts: BTreeMap<u64, Map<String, Value>> = prompts
        .lines()
        .map(|line| serde_json::from_str::<Map<String, Value>>(line).unwrap())
        .map(|row| (row["key"].as_u64().unwrap(), row))
        .collect();
    let golden: Value = serde_json::from_str(&golden).unwrap();
    let reward = build("ifeval", &options).unwrap();
    let (mut wrong, mut verdicts) = (Vec::new(), 0);
    let cases = golden["cases"].as_array().unwrap();
    for case in cases {
        let (key, id) = (case["key"].as_u64().unwrap(), case["response_id"].as_u64().unwrap());
        let completion = golden["responses"][id as usize].as_str().unwrap();
        let found = detail(&*reward, &prompts[&key], completion);
        for reading in ["strict", "loose"] {
            let (ours, theirs) = (found[reading].as_array().unwrap(), case[reading].as_array().unwrap());
            assert_eq!(ours.len(), theirs.len());
            for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                verdicts += 1;
                if ours != theirs {
                    let instruction = prompts[&key]["instruction_id_list"][at].as_str().unwrap().to_string();
                    wrong.push((format!("{key} {id} {at} {reading}"), instruction, ours.as_bool().unwrap()));
                }
            }
        }
    }
    Some((wrong, cases.len(), verdicts))
}

fn print(wrong: &[Difference], cases: usize, verdicts: usize) -> f64 {
    for (name, instruction, ours) in wrong {
        println!("{name}  {instruction}: ours {ours}");
    }
    let broken: BTreeSet<&str> = wrong.iter().map(|(name, _, _)| name.rsplitn(3, ' ').nth(2).unwrap()).collect();
    let agreement = 1.0 - broken.len() as f64 / cases as f64;
    println!(
        "{} of {verdicts} verdicts differ, in {} of {cases} cases: agreement {agreement:.4}",
        wrong.len(),
        broken.len()
    );
    agreement
}

#[test]
fn strict_rules_differ_from_the_published_ones_where_listed() {
    let Some((wrong, cases, verdicts)) = compared(json!({})) else { return };
    assert!(print(&wrong, cases, verdicts) >= 0.99);
    let listed: BTreeSet<&str> = DISAGREEMENTS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('|'))
        .map(|(name, _)| name.trim())
        .collect();
    let found: BTreeSet<&str> = wrong.iter().map(|(name, _, _)| name.as_str()).collect();
    assert_eq!(found, listed, "tests/ifeval/disagreements.txt must list exactly what differs");
}

#[test]
fn the_compat_rules_are_the_published_ones() {
    let Some((wrong, cases, verdicts)) = compared(json!({"compat": "ifeval"})) else { return };
    assert!(print(&wrong, cases, verdicts) >= 0.995);
    // the published checker draws a letter where `#` or `!` is asked for
    assert!(wrong.iter().all(|(_, instruction, _)| instruction == "keywords:letter_frequency"));
}

/// The classes of the published code, and our names for them.
const CLASSES: [(&str, &str); 28] = [
    ("CapitalWordFrequencyChecker", "change_case:capital_word_frequency"),
    ("CommaChecker", "punctuation:no_comma"),
    ("ConstrainedResponseChecker", "detectable_format:constrained_response"),
    ("ConstrainedStartChecker", "multi-turn:constrained_start"),
    ("EndChecker", "startend:end_checker"),
    ("CapitalLettersEnglishChecker", "change_case:english_capital"),
    ("LowercaseLettersEnglishChecker", "change_case:english_lowercase"),
    ("ForbiddenWords", "keywords:forbidden_words"),
    ("KeySentenceChecker", "keywords:key_sentences"),
    ("KeywordChecker", "keywords:existence"),
    ("KeywordFrequencyChecker", "keywords:frequency"),
    ("LetterFrequencyChecker", "keywords:letter_frequency"),
    ("NumberOfWords", "length_constraints:number_words"),
    ("BulletListChecker", "detectable_format:number_bullet_lists"),
    ("HighlightSectionChecker", "detectable_format:number_highlighted_sections"),
    ("PlaceholderChecker", "detectable_content:number_placeholders"),
    ("NumberOfSentences", "length_constraints:number_sentences"),
    ("ParagraphChecker", "length_constraints:number_paragraphs"),
    ("ParagraphFirstWordCheck", "length_constraints:nth_paragraph_first_word"),
    ("PostscriptChecker", "detectable_content:postscript"),
    ("RepeatPromptThenAnswer", "combination:repeat_prompt"),
    ("QuotationChecker", "startend:quotation"),
    ("RephraseChecker", "detectable_format:rephrase"),
    ("RephraseParagraph", "detectable_content:rephrase_paragraph"),
    ("ResponseLanguageChecker", "language:response_language"),
    ("SectionChecker", "detectable_format:multiple_sections"),
    ("TitleChecker", "detectable_format:title"),
    ("TwoResponsesChecker", "combination:two_responses"),
];

/// The recorded calls of the published code's own unit tests, under both sets of rules.
#[test]
fn the_published_unit_tests_hold() {
    let Some(text) = data("unit_cases.json") else { return };
    let file: Value = serde_json::from_str(&text).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 94);
    let mut wrong = Vec::new();
    for options in [json!({}), json!({"compat": "ifeval"})] {
        let reward = build("ifeval", &options).unwrap();
        for case in cases {
            let (_, id) = CLASSES.iter().find(|(class, _)| case["cls"] == *class).unwrap();
            let metadata = json!({"instruction_id_list": [id], "kwargs": [case["args"]]});
            let found = detail(&*reward, metadata.as_object().unwrap(), case["response"].as_str().unwrap());
            if found["strict"][0] != case["result"] {
                wrong.push(format!("{options} {case}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
