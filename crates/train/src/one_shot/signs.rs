//! What answers look like while a single example is learned far beyond its saturation (arXiv 2504.20571, §3.2): letters of
//! other scripts, words of reflection, and whether there is an answer in a box.

use std::collections::BTreeSet;

use lapidary_reward::{Extraction, Mark, extract};

/// Beginnings of the words that the paper counts, without hyphens.
const REFLECTIONS: [&str; 3] = ["rethink", "recheck", "recalculat"];

/// What a set of answers looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Signs {
    /// Share of the characters that belong to no script of their prompt.
    pub garble: f64,
    /// Share of the answers with `\boxed{…}`.
    pub boxed: f64,
    /// Words of reflection per answer.
    pub reflections: f64,
}

/// The signs of answers `(prompt, reference answer, answer)`.
pub(super) fn of<'a>(texts: impl Iterator<Item = (String, Option<&'a str>, &'a str)>) -> Signs {
    let (mut answers, mut boxed, mut reflections) = (0usize, 0usize, 0usize);
    let (mut garbled, mut characters) = (0usize, 0usize);
    for (prompt, reference, text) in texts {
        answers += 1;
        boxed += usize::from(!matches!(extract(text, &[Mark::Boxed], false, true), Extraction::Missing));
        reflections += reflection_words(text);
        let known = scripts(prompt.chars().chain(reference.unwrap_or("").chars()));
        let (bad, all) = garble(&known, text);
        (garbled, characters) = (garbled + bad, characters + all);
    }
    let per_answer = |count: usize| count as f64 / answers.max(1) as f64;
    Signs {
        garble: garbled as f64 / characters.max(1) as f64,
        boxed: per_answer(boxed),
        reflections: per_answer(reflections),
    }
}

/// How often a word of reflection begins: `rethink`, `recheck`, `recalculate` with their forms, also as `re-check`.
fn reflection_words(text: &str) -> usize {
    let text = text.to_lowercase().replace("re-", "re");
    let words = text.split(|c: char| !c.is_alphanumeric());
    words.filter(|word| REFLECTIONS.iter().any(|stem| word.starts_with(stem))).count()
}

/// A family of scripts whose letters stand together in ordinary text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Script {
    Latin,
    Greek,
    Cyrillic,
    Caucasian,
    Hebrew,
    Arabic,
    Indic,
    SouthEastAsian,
    Korean,
    /// Chinese characters and Japanese syllables.
    EastAsian,
    /// Everything else, which is as good as nothing that was asked for.
    Other,
}

/// The script of a letter; `None` for what belongs to all of them: digits, marks, punctuation, mathematics.
fn script(c: char) -> Option<Script> {
    if !c.is_alphabetic() {
        return None;
    }
    Some(match u32::from(c) {
        0x0000..=0x02FF | 0x1D00..=0x1DBF | 0x1E00..=0x1EFF | 0x2C60..=0x2C7F | 0xA720..=0xA7FF | 0xFB00..=0xFB06 => {
            Script::Latin
        }
        0xFF21..=0xFF5A => Script::Latin,
        0x0370..=0x03FF | 0x1F00..=0x1FFF => Script::Greek,
        0x0400..=0x052F | 0x1C80..=0x1C8F | 0x2DE0..=0x2DFF | 0xA640..=0xA69F => Script::Cyrillic,
        0x0530..=0x058F | 0x10A0..=0x10FF | 0x1C90..=0x1CBF => Script::Caucasian,
        0x0590..=0x05FF | 0xFB1D..=0xFB4F => Script::Hebrew,
        0x0600..=0x077F | 0x08A0..=0x08FF | 0xFB50..=0xFDFF | 0xFE70..=0xFEFF => Script::Arabic,
        0x0900..=0x0DFF => Script::Indic,
        0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF => Script::SouthEastAsian,
        0x1100..=0x11FF | 0x3130..=0x318F | 0xA960..=0xA97F | 0xAC00..=0xD7FF => Script::Korean,
        0x2E80..=0x312F | 0x31A0..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0xFF66..=0xFF9F => Script::EastAsian,
        0x20000..=0x3FFFF => Script::EastAsian,
        // ℝ, 𝑥: letters as symbols.
        0x2100..=0x214F | 0x1D400..=0x1D7FF => return None,
        _ => Script::Other,
    })
}

/// The scripts of a prompt. Latin is always among them: formulas and commands are written in it.
fn scripts(text: impl Iterator<Item = char>) -> BTreeSet<Script> {
    text.filter_map(script).chain([Script::Latin]).collect()
}

/// Characters that stand for no text: what bytes that are none decode to, private use, controls.
fn is_debris(c: char) -> bool {
    let private = matches!(u32::from(c), 0xE000..=0xF8FF | 0xF0000..=0x10FFFF);
    c == char::REPLACEMENT_CHARACTER || private || (c.is_control() && !c.is_whitespace())
}

/// Characters that do not belong, and all but white space. A Greek letter by itself is a symbol.
fn garble(known: &BTreeSet<Script>, text: &str) -> (usize, usize) {
    let characters: Vec<char> = text.chars().collect();
    let (mut bad, mut all) = (0, 0);
    for (at, &c) in characters.iter().enumerate().filter(|(_, c)| !c.is_whitespace()) {
        all += 1;
        let foreign = script(c).is_some_and(|script| !known.contains(&script));
        let neighbour = |to: Option<usize>| {
            to.and_then(|to| characters.get(to)).is_some_and(|c| script(*c) == script(characters[at]))
        };
        let symbol = script(c) == Some(Script::Greek) && !neighbour(at.checked_sub(1)) && !neighbour(Some(at + 1));
        bad += usize::from(is_debris(c) || (foreign && !symbol));
    }
    (bad, all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(prompt: &str, text: &str) -> (usize, usize) {
        garble(&scripts(prompt.chars()), text)
    }

    #[test]
    fn letters_of_other_scripts_are_garble_and_mathematics_is_not() {
        let clean = "θ = 2π·r ≤ √5, x ∈ ℝ, so “é” → 𝑥² and \\boxed{½}";
        assert_eq!(share("Find x.", clean).0, 0);
        assert_eq!(share("Find x.", "x is 因此 5"), (2, 6));
        assert_eq!(share("求 x 的值", "x is 因此 5").0, 0, "the prompt is Chinese");
        assert_eq!(share("求 x", "поэтому x=5").0, 7);
        assert_eq!(share("Find x.", "λόγος 5").0, 5, "a Greek word is no symbol");
        assert_eq!(share("Find x.", "a\u{FFFD}\u{E000}\u{7} b"), (3, 5));
        assert_eq!(share("", ""), (0, 0));
    }

    #[test]
    fn words_of_reflection_are_counted_with_their_forms() {
        let text = "Let me recheck. Rechecking: I re-calculate, then RETHINK it; unrecheckable.";
        assert_eq!(reflection_words(text), 4);
        assert_eq!(reflection_words("check, think, calculate"), 0);
    }

    #[test]
    fn signs_are_means_over_answers_and_characters() {
        let answers =
            [("Find x.", "so \\boxed{5}"), ("Find x.", "recheck 因此"), ("Find x.", "\\boxed 5"), ("Find x.", "")];
        let signs = of(answers.into_iter().map(|(prompt, text)| (prompt.to_string(), None, text)));
        assert_eq!(signs.boxed, 0.25);
        assert_eq!(signs.reflections, 0.25);
        assert_eq!(signs.garble, 2.0 / (11.0 + 9.0 + 7.0));
        assert_eq!(of(std::iter::empty()), Signs::default());
    }
}
