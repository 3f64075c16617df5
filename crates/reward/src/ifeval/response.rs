//! A text that checks look at, with what several of them need of it worked out once.

use std::cell::OnceCell;
use std::sync::LazyLock;

use regex::Regex;

use super::language::{Language, detect};

/// A response, or one of its loose variants.
pub(super) struct Response<'a> {
    /// What is checked.
    pub text: &'a str,
    /// The response that `text` is a variant of.
    pub whole: &'a str,
    lower: OnceCell<String>,
    language: OnceCell<Option<Language>>,
}

impl<'a> Response<'a> {
    /// A variant of a response; the response itself is the first.
    pub(super) fn new(text: &'a str, whole: &'a str) -> Self {
        Self { text, whole, lower: OnceCell::new(), language: OnceCell::new() }
    }

    /// The text in small letters.
    pub(super) fn lower(&self) -> &str {
        self.lower.get_or_init(|| self.text.to_lowercase())
    }

    /// The language of the text; `None` where it has no letters or nothing tells.
    pub(super) fn language(&self) -> Option<Language> {
        *self.language.get_or_init(|| detect(self.lower()))
    }

    /// At least one letter with case, and every such letter is a capital.
    pub(super) fn is_upper(&self) -> bool {
        is_upper(self.text)
    }

    /// At least one letter with case, and every such letter is small.
    pub(super) fn is_lower(&self) -> bool {
        let small = self.text.chars().any(char::is_lowercase);
        small && !self.text.chars().any(|c| c.is_uppercase() || is_title(c))
    }
}

/// At least one letter with case, and every such letter is a capital.
pub(super) fn is_upper(text: &str) -> bool {
    let capital = text.chars().any(char::is_uppercase);
    capital && !text.chars().any(|c| c.is_lowercase() || is_title(c))
}

/// Letters that are a capital and a small letter in one, as in Dž.
fn is_title(c: char) -> bool {
    matches!(c, 'ǅ' | 'ǈ' | 'ǋ' | 'ǲ' | '\u{1F88}'..='\u{1F8F}' | '\u{1F98}'..='\u{1F9F}' | '\u{1FA8}'..='\u{1FAF}' | 'ᾼ' | 'ῌ' | 'ῼ')
}

/// Words of any script: marks belong to the letter before them.
static WORDS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\w+").ok());
/// Words as the published checker's `\w+` sees them: marks end a word.
static PUBLISHED_WORDS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[\p{L}\p{N}_]+").ok());

/// The words of a text.
pub(super) fn words(text: &str, compat: bool) -> impl Iterator<Item = &str> {
    let pattern = if compat { &PUBLISHED_WORDS } else { &WORDS };
    pattern.iter().flat_map(|pattern| pattern.find_iter(text)).map(|found| found.as_str())
}

/// Whether a character is part of a word.
pub(super) fn is_word(c: char, compat: bool) -> bool {
    words(c.encode_utf8(&mut [0; 4]), compat).next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_compile() {
        assert!(WORDS.is_some() && PUBLISHED_WORDS.is_some());
    }

    #[test]
    fn case_needs_a_letter_that_has_case() {
        let upper = |text| Response::new(text, text).is_upper();
        let lower = |text| Response::new(text, text).is_lower();
        for (text, up, low) in [("A1!", true, false), ("a1!", false, true), ("1!", false, false), ("Ab", false, false)]
        {
            assert_eq!((upper(text), lower(text)), (up, low), "{text}");
        }
        assert!(!upper("ǅ") && !lower("ǅ") && !upper("Aǅ"));
        assert!(upper("ÄÖ 日本") && lower("äöß 日本"));
    }

    #[test]
    fn marks_belong_to_words_but_not_for_the_published_checker() {
        assert_eq!(words("क्या यह है", false).count(), 3);
        assert!(words("क्या यह है", true).count() > 3);
        assert_eq!(words("it's ok", false).count(), 3);
    }
}
