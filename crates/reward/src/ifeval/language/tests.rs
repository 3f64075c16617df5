use super::*;

/// Sentences written for this test: code and text.
const SENTENCES: &str = include_str!("sentences.txt");

#[test]
fn every_language_is_known_by_its_sentences() {
    let mut seen = std::collections::BTreeSet::new();
    let mut wrong = Vec::new();
    for line in SENTENCES.lines().filter(|line| !line.is_empty()) {
        let (code, text) = line.split_once('\t').unwrap();
        seen.insert(code);
        let found = detect(&text.to_lowercase());
        if found != Some(code) {
            wrong.push(format!("{found:?}: {line}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), LANGUAGES.to_vec());
}

#[test]
fn profiles_are_of_known_languages_and_hold_small_letters() {
    for profile in [latin::PROFILES, shared::CYRILLIC, shared::ARABIC, shared::DEVANAGARI].into_iter().flatten() {
        assert!(LANGUAGES.contains(&profile.code), "{}", profile.code);
        assert_eq!(profile.words, profile.words.to_lowercase());
    }
}

#[test]
fn most_of_a_text_decides() {
    assert_eq!(detect("das ist nicht das wort \"hello\", sondern ein anderes"), Some("de"));
    assert_eq!(detect("यह एक computer है और यह बहुत अच्छा है"), Some("hi"));
    assert_eq!(detect("this sentence is in english and ends so: हाँ"), Some("en"));
    assert_eq!(detect("12 + 3"), None);
    assert_eq!(detect("ok"), Some("en"));
    assert_eq!(detect("{\"a\": 1}"), None);
    assert_eq!(detect("ሰላም"), None);
}
