//! `change_case:*` and `language:response_language`.

use std::sync::LazyLock;

use regex::Regex;

use super::check::{Check, Made};
use super::kwargs::Kwargs;
use super::language::LANGUAGES;
use super::response::is_upper;

/// Words with their apostrophes, hyphens and inner points: DON'T, WELL-KNOWN, U.S.
static WORD: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[\p{L}\p{M}\p{N}]+(?:['’.\-][\p{L}\p{M}\p{N}]+)*").ok());

/// `language:response_language`: the language of most letters and words is `language`. A text without letters has none; in `compat`
/// it has every language.
pub(super) fn response_language(kwargs: &mut Kwargs<'_>, compat: bool) -> Made {
    let text = kwargs.text("language")?;
    let Some(language) = LANGUAGES.iter().find(|code| code.eq_ignore_ascii_case(text)) else {
        return Err(format!("`language` is {text:?}, none of {}", LANGUAGES.join(", ")));
    };
    Check::new(move |response| match response.language() {
        Some(found) => found == *language,
        None => compat && !response.text.chars().any(char::is_alphabetic),
    })
}

/// `change_case:english_capital`: English, every letter a capital.
pub(super) fn english_capital(_kwargs: &mut Kwargs<'_>, _compat: bool) -> Made {
    Check::new(|response| response.is_upper() && response.language() == Some("en"))
}

/// `change_case:english_lowercase`: English, every letter small.
pub(super) fn english_lowercase(_kwargs: &mut Kwargs<'_>, _compat: bool) -> Made {
    Check::new(|response| response.is_lower() && response.language() == Some("en"))
}

/// `change_case:capital_word_frequency`: words all in capitals `capital_relation` `capital_frequency` times; `I` is one.
pub(super) fn capital_word_frequency(kwargs: &mut Kwargs<'_>, compat: bool) -> Made {
    let (bound, relation) = (kwargs.count("capital_frequency")?, kwargs.relation("capital_relation")?);
    Check::new(move |response| {
        let count = if compat { published_capitals(response.text) } else { capitals(response.text) };
        relation.holds(count, bound)
    })
}

fn capitals(text: &str) -> usize {
    let stem = |word: &str| is_upper(word.strip_suffix("'s").or_else(|| word.strip_suffix("’s")).unwrap_or(word));
    WORD.iter().flat_map(|pattern| pattern.find_iter(text)).filter(|word| stem(word.as_str())).count()
}

/// Ends that NLTK splits off as a word of their own.
const CLITICS: [&str; 7] = ["'S", "'M", "'D", "'LL", "'RE", "'VE", "N'T"];
/// Words that NLTK takes as two.
const TWO_IN_ONE: [&str; 6] = ["CANNOT", "GIMME", "GONNA", "GOTTA", "LEMME", "WANNA"];

/// Words in capitals as NLTK's tokeniser makes words: joined by `/`, `-`, `.`, `_`; DON'T and CANNOT are two.
fn published_capitals(text: &str) -> usize {
    let apart = |c: char| {
        c.is_whitespace() || "[](){}<>;@#$%&?!*\"`«»“”‘’„".contains(c) || ('\u{2012}'..='\u{2015}').contains(&c)
    };
    let mut count = 0;
    for piece in text.replace("--", " ").replace("...", " ").split(apart) {
        for token in parts(piece) {
            let token = token.trim_matches('\'');
            let stem = CLITICS.iter().find_map(|end| token.strip_suffix(end).filter(|stem| !stem.is_empty()));
            let clitic = usize::from(stem.is_some());
            // the stem may hold small letters only where the clitic, in capitals, counts alone
            let stem = stem.or_else(|| small_clitic(token)).unwrap_or(token);
            let doubled = usize::from(TWO_IN_ONE.contains(&stem));
            count += clitic + usize::from(is_upper(stem)) * (1 + doubled);
        }
    }
    count
}

fn small_clitic(token: &str) -> Option<&str> {
    CLITICS.iter().find_map(|end| token.strip_suffix(end.to_lowercase().as_str()))
}

/// A piece cut at `,` and `:` that no digit follows.
fn parts(piece: &str) -> impl Iterator<Item = &str> {
    let mut rest = piece;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let cut = rest
            .char_indices()
            .find(|(at, c)| matches!(c, ',' | ':') && !rest[at + 1..].starts_with(|next: char| next.is_numeric()));
        let (part, after) = cut.map_or((rest, ""), |(at, _)| (&rest[..at], &rest[at + 1..]));
        rest = after;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::super::check::tests::{follows, follows_compat, refused};
    use super::*;
    use serde_json::json;

    #[test]
    fn words_in_capitals_count_once() {
        for (text, ours, published) in [
            ("HERE there are THREE FUlly CAPITAL words.", 3, 3),
            ("DON'T", 1, 2),
            ("JOHN'S NASA's", 2, 3),
            ("CANNOT", 1, 2),
            ("AND/OR", 2, 1),
            ("WELL-KNOWN U.S. I A1 12", 4, 4),
            ("**BOLD**, \"HI\" A:B 3:4", 4, 4),
        ] {
            assert_eq!((capitals(text), published_capitals(text)), (ours, published), "{text}");
        }
        let less = json!({"capital_frequency": 2, "capital_relation": "less than"});
        assert!(follows("change_case:capital_word_frequency", less.clone(), "ONE two"));
        assert!(!follows("change_case:capital_word_frequency", less, "ONE TWO"));
    }

    #[test]
    fn case_and_language_must_both_hold() {
        for (text, up, low) in [
            ("THIS IS THE WHOLE ANSWER.", true, false),
            ("this is the whole answer.", false, true),
            ("This is it.", false, false),
            ("DAS IST DIE GANZE ANTWORT UND NICHT MEHR", false, false),
            ("das ist die ganze antwort und nicht mehr", false, false),
            ("123", false, false),
        ] {
            assert_eq!(follows("change_case:english_capital", json!({}), text), up, "{text}");
            assert_eq!(follows("change_case:english_lowercase", json!({}), text), low, "{text}");
        }
    }

    #[test]
    fn a_text_without_letters_is_in_no_language() {
        let german = || json!({"language": "de"});
        assert!(follows("language:response_language", german(), "Das ist nicht schwer."));
        assert!(!follows("language:response_language", german(), "This is not hard."));
        assert!(!follows("language:response_language", german(), "1234"));
        assert!(follows_compat("language:response_language", german(), "1234"));
        assert!(refused("language:response_language", json!({"language": "xx"})).contains("none of"));
    }
}
