//! Four checks that the published code has but does not register: no prompt of its 541 asks for them.

use std::collections::HashMap;

use super::check::{Check, Made};
use super::kwargs::Kwargs;
use super::response::words;
use super::sentences::split_sentences;

/// `keywords:key_sentences`: exactly `num_sentences` of `key_sentences` are sentences of the response.
pub(super) fn key_sentences(kwargs: &mut Kwargs<'_>, compat: bool) -> Made {
    let wanted: Vec<String> = kwargs.texts("key_sentences")?.iter().map(|text| text.trim().to_string()).collect();
    let exactly = kwargs.count("num_sentences")?;
    Check::new(move |response| {
        let sentences = split_sentences(response.text, compat);
        // a line end inside a sentence is a space
        let plain: Vec<String> =
            sentences.iter().map(|sentence| sentence.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        wanted.iter().filter(|sentence| plain.contains(sentence)).count() == exactly
    })
}

/// `detectable_content:rephrase_paragraph`: from `low` to `high` words of `original_paragraph` occur, each as often as there.
pub(super) fn rephrase_paragraph(kwargs: &mut Kwargs<'_>, compat: bool) -> Made {
    let original = counts(&kwargs.text("original_paragraph")?.to_lowercase(), compat);
    let (low, high) = (kwargs.count("low")?, kwargs.count("high")?);
    Check::new(move |response| {
        let given = counts(response.lower(), compat);
        let alike: usize =
            original.iter().map(|(word, count)| given.get(word).map_or(0, |other| *count.min(other))).sum();
        (low..=high).contains(&alike)
    })
}

fn counts(text: &str, compat: bool) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for word in words(text, compat) {
        *counts.entry(word.to_string()).or_default() += 1;
    }
    counts
}

/// `detectable_format:rephrase`: changes nothing of `original_message` but what stands between stars.
pub(super) fn rephrase(kwargs: &mut Kwargs<'_>, _compat: bool) -> Made {
    let original = kwargs.text("original_message")?;
    let Some(kept) = without_changes(original) else {
        return Err("`original_message` has nothing between stars that may be changed".into());
    };
    Check::new(move |response| without_changes(response.text.trim()).is_some_and(|text| text == kept))
}

/// The text without what stands between the first and the last star of each line; `None` where no line has two stars.
fn without_changes(text: &str) -> Option<String> {
    let mut changed = false;
    let keep = |line: &str| match (line.find('*'), line.rfind('*')) {
        (Some(first), Some(last)) if first < last => {
            changed = true;
            format!("{}{}", &line[..first], &line[last + 1..])
        }
        _ => line.to_string(),
    };
    let kept: Vec<String> = text.split('\n').map(keep).collect();
    changed.then(|| kept.join("\n"))
}

/// `multi-turn:constrained_start`: starts with `starter`; in `compat` any line may.
pub(super) fn constrained_start(kwargs: &mut Kwargs<'_>, compat: bool) -> Made {
    let starter = kwargs.text("starter")?.to_string();
    Check::new(move |response| {
        let mut lines = response.text.lines().map(str::trim_start);
        response.text.trim_start().starts_with(&starter) || compat && lines.any(|line| line.starts_with(&starter))
    })
}

#[cfg(test)]
mod tests {
    use super::super::check::tests::{follows, refused};
    use serde_json::json;

    #[test]
    fn words_are_shared_as_often_as_they_occur() {
        let kwargs = |low: usize, high: usize| json!({"original_paragraph": "a a b c", "low": low, "high": high});
        let id = "detectable_content:rephrase_paragraph";
        assert!(follows(id, kwargs(2, 2), "A b x"));
        assert!(follows(id, kwargs(3, 3), "a a a b"));
        assert!(!follows(id, kwargs(3, 3), "a b"));
    }

    #[test]
    fn only_what_is_between_stars_changes() {
        let id = "detectable_format:rephrase";
        let kwargs = || json!({"original_message": "I am *happy*."});
        for (text, holds) in [("I am *content*.", true), ("I was *happy*.", false), ("I am happy.", false)] {
            assert_eq!(follows(id, kwargs(), text), holds, "{text}");
        }
        assert!(refused(id, json!({"original_message": "no star"})).contains("between stars"));
    }

    #[test]
    fn sentences_and_starts() {
        let kwargs = |n: usize| json!({"key_sentences": ["It rains.", "It\u{20}snows."], "num_sentences": n});
        assert!(follows("keywords:key_sentences", kwargs(1), "It rains. It does."));
        assert!(!follows("keywords:key_sentences", kwargs(2), "It rains. It does."));
        let start = || json!({"starter": "I think"});
        for (text, holds) in [(" I think so", true), ("So\nI think", false), ("i think", false)] {
            assert_eq!(follows("multi-turn:constrained_start", start(), text), holds, "{text}");
        }
    }
}
