//! `length_constraints:*`: sentences, paragraphs, words.

use std::sync::LazyLock;

use regex::Regex;

use super::check::{Check, Made};
use super::kwargs::Kwargs;
use super::response::words;
use super::sentences::count_sentences;

/// The divider `***`, with one space or line end on either side.
static DIVIDER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\s?\*\*\*\s?").ok());

/// `length_constraints:number_sentences`: `relation` `num_sentences` sentences.
pub(super) fn number_sentences(kwargs: &mut Kwargs<'_>, compat: bool) -> Made {
    let (bound, relation) = (kwargs.count("num_sentences")?, kwargs.relation("relation")?);
    Check::new(move |response| relation.holds(count_sentences(response.text, compat), bound))
}

/// `length_constraints:number_words`: `relation` `num_words` words; `it's` is two.
pub(super) fn number_words(kwargs: &mut Kwargs<'_>, compat: bool) -> Made {
    let (bound, relation) = (kwargs.count("num_words")?, kwargs.relation("relation")?);
    // a blank to be filled in, `____`, is no word
    let counts = move |word: &&str| compat || !word.bytes().all(|byte| byte == b'_');
    Check::new(move |response| relation.holds(words(response.text, compat).filter(counts).count(), bound))
}

/// `length_constraints:number_paragraphs`: exactly `num_paragraphs` between dividers `***`; only the first and the last may be
/// blank, and then do not count.
pub(super) fn number_paragraphs(kwargs: &mut Kwargs<'_>, _compat: bool) -> Made {
    let wanted = kwargs.count("num_paragraphs")?;
    Check::new(move |response| paragraphs(response.text) == Some(wanted))
}

fn paragraphs(text: &str) -> Option<usize> {
    let parts: Vec<&str> = DIVIDER.iter().flat_map(|divider| divider.split(text)).collect();
    let last = parts.len().checked_sub(1)?;
    let inner_blank = (1..last).any(|at| parts[at].trim().is_empty());
    (!inner_blank).then(|| parts.iter().filter(|part| !part.trim().is_empty()).count())
}

/// What ends a first word.
const ENDS: &[char] = &['.', ',', '?', '!', '\'', '"'];
/// What ends it too, but not in the published checker.
const MORE_ENDS: &[char] = &[':', ';', '…', '—', '–', ')', ']', '”', '’', '»', '*', '_'];
/// What may stand before it.
const OPENERS: &[char] = &['\'', '"', '“', '‘', '«', '„'];

/// `length_constraints:nth_paragraph_first_word`: exactly `num_paragraphs` that are not blank, separated by an empty line, and
/// `nth_paragraph` of them starts with the word `first_word`.
pub(super) fn nth_paragraph_first_word(kwargs: &mut Kwargs<'_>, compat: bool) -> Made {
    let (wanted, nth) = (kwargs.count("num_paragraphs")?, kwargs.count("nth_paragraph")?);
    let first_word = kwargs.text("first_word")?.to_lowercase();
    if nth == 0 || nth > wanted {
        return Err(format!("`nth_paragraph` = {nth} is not from 1 to `num_paragraphs` = {wanted}"));
    }
    Check::new(move |response| {
        let all = || response.text.split("\n\n");
        let full = || all().filter(|paragraph| !paragraph.trim().is_empty());
        // the published checker counts without the blank ones but looks the paragraph up among all
        let paragraph = if compat { all().nth(nth - 1) } else { full().nth(nth - 1) };
        full().count() == wanted && paragraph.is_some_and(|paragraph| starts_with_word(paragraph, &first_word, compat))
    })
}

fn starts_with_word(paragraph: &str, first_word: &str, compat: bool) -> bool {
    let Some(word) = paragraph.split_whitespace().next() else { return false };
    if compat {
        let word = word.trim_start_matches('\'').trim_start_matches('"');
        return word.split(ENDS).next().is_some_and(|word| word.to_lowercase() == first_word);
    }
    // `it's` may be asked for, so that the end is looked for after it
    let word = word.trim_start_matches(OPENERS).to_lowercase();
    word.strip_prefix(first_word)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(ENDS) || rest.starts_with(MORE_ENDS))
}

#[cfg(test)]
mod tests {
    use super::super::check::tests::{follows, refused};
    use super::*;
    use serde_json::json;

    #[test]
    fn words_are_runs_of_letters_and_digits() {
        let exactly = |text: &str, count: usize| {
            let at_least = |n: usize| {
                follows("length_constraints:number_words", json!({"num_words": n, "relation": "at least"}), text)
            };
            let less = follows(
                "length_constraints:number_words",
                json!({"num_words": count + 1, "relation": "less than"}),
                text,
            );
            assert!(at_least(count) && !at_least(count + 1) && less, "{text}: {count}");
        };
        exactly("it's ok", 3);
        exactly("one-two 3.5 ____ .", 4);
        exactly("क्या यह है", 3);
    }

    #[test]
    fn paragraphs_stand_between_dividers() {
        for (text, count) in
            [("a***b", Some(2)), ("***a***b", Some(2)), ("a\n***\nb\n***", Some(2)), ("a******b", None), ("a", Some(1))]
        {
            assert_eq!(paragraphs(text), count, "{text}");
        }
    }

    #[test]
    fn the_nth_paragraph_is_the_nth_that_is_not_blank() {
        let id = "length_constraints:nth_paragraph_first_word";
        let second = |word: &str| json!({"num_paragraphs": 2, "nth_paragraph": 2, "first_word": word});
        for (text, holds) in [
            ("One.\n\nTwo it is.", true),
            ("One.\n\n\n\n\"Two\" it is.", true),
            ("One.\n\ntwo: that is.", true),
            ("One.\n\nTwofold.", false),
            ("One.\n\nTwo-fold.", false),
            ("One.\n\nTwo.\n\nThree.", false),
            ("Two.", false),
        ] {
            assert_eq!(follows(id, second("two"), text), holds, "{text:?}");
        }
        assert!(follows(id, second("it's"), "One.\n\nIt's two."));
        assert!(refused(id, json!({"num_paragraphs": 2, "nth_paragraph": 3, "first_word": "a"})).contains("from 1 to"));
    }
}
