//! `keywords:*` and `punctuation:no_comma`: what must, and what must not, occur.

use regex::RegexBuilder;

use super::check::{Check, Made};
use super::kwargs::{Kwargs, Why};
use super::response::{Response, is_word};

/// Size of a compiled pattern of `compat`.
const LARGEST_PATTERN: usize = 1 << 20;

/// Counts something in a response.
type Counter = Box<dyn Fn(&Response<'_>) -> usize>;

/// How often a keyword occurs, inside words too: a plain text without regard to case, or in `compat` a regular expression.
fn counter(keyword: &str, compat: bool) -> Result<Counter, Why> {
    if !compat {
        let keyword = keyword.to_lowercase();
        return Ok(Box::new(move |response| response.lower().matches(&*keyword).count()));
    }
    let pattern = pattern(keyword)?;
    Ok(Box::new(move |response| pattern.find_iter(response.text).count()))
}

fn pattern(pattern: &str) -> Result<regex::Regex, Why> {
    let built = RegexBuilder::new(pattern).case_insensitive(true).size_limit(LARGEST_PATTERN).build();
    built.map_err(|_| format!("{pattern:?} is no regular expression, which the published checker takes it for"))
}

/// `keywords:existence`: every one of `keywords` occurs.
pub(super) fn existence(kwargs: &mut Kwargs<'_>, compat: bool) -> Made {
    let keywords = kwargs.texts("keywords")?;
    let counters: Vec<_> = keywords.iter().map(|keyword| counter(keyword, compat)).collect::<Result<_, _>>()?;
    Check::new(move |response| counters.iter().all(|count| count(response) > 0))
}

/// `keywords:frequency`: `keyword` occurs `relation` `frequency` times.
pub(super) fn frequency(kwargs: &mut Kwargs<'_>, compat: bool) -> Made {
    let count = counter(kwargs.text("keyword")?, compat)?;
    let (bound, relation) = (kwargs.count("frequency")?, kwargs.relation("relation")?);
    Check::new(move |response| relation.holds(count(response), bound))
}

/// `keywords:forbidden_words`: none of `forbidden_words` occurs as a whole word.
pub(super) fn forbidden_words(kwargs: &mut Kwargs<'_>, compat: bool) -> Made {
    let forbidden = kwargs.texts("forbidden_words")?;
    if compat {
        let bounded = |word: &&str| pattern(&format!(r"\b{word}\b"));
        let patterns: Vec<_> = forbidden.iter().map(bounded).collect::<Result<_, _>>()?;
        return Check::new(move |response| !patterns.iter().any(|pattern| pattern.is_match(response.text)));
    }
    let forbidden: Vec<String> = forbidden.iter().map(|word| word.trim().to_lowercase()).collect();
    Check::new(move |response| !forbidden.iter().any(|word| has_word(response.lower(), word)))
}

/// Whether `word` occurs without a letter, digit or mark of the same word next to it. `C++` has no word's end to keep apart.
fn has_word(text: &str, word: &str) -> bool {
    let word_like = |c: Option<char>| c.is_some_and(|c| is_word(c, false));
    let (first, last) = (word_like(word.chars().next()), word_like(word.chars().next_back()));
    let step = word.chars().next().map_or(1, char::len_utf8);
    let mut from = 0;
    while let Some(at) = text[from..].find(word).map(|at| from + at) {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        let joined = first && word_like(before.chars().next_back()) || last && word_like(after.chars().next());
        if !joined {
            return true;
        }
        from = at + step;
    }
    false
}

/// `keywords:letter_frequency`: `letter`, in either case, occurs `let_relation` `let_frequency` times.
pub(super) fn letter_frequency(kwargs: &mut Kwargs<'_>, _compat: bool) -> Made {
    let text = kwargs.text("letter")?;
    let mut letters = text.chars();
    let (Some(letter), None) = (letters.next(), letters.next()) else {
        return Err(format!("`letter` is {text:?}, not one letter"));
    };
    let (bound, relation) = (kwargs.count("let_frequency")?, kwargs.relation("let_relation")?);
    let letter = letter.to_lowercase().next().unwrap_or(letter);
    Check::new(move |response| relation.holds(response.lower().chars().filter(|c| *c == letter).count(), bound))
}

/// The commas of all scripts; the published checker knows the first.
const COMMAS: &[char] =
    &[',', '՝', '،', '߸', '፣', '᠂', '᠈', '⹁', '⹌', '、', '꓾', '꘍', '꛵', '︐', '︑', '﹐', '﹑', '，', '､'];

/// `punctuation:no_comma`: no comma of any script; in `compat`, no `,`.
pub(super) fn no_comma(_kwargs: &mut Kwargs<'_>, compat: bool) -> Made {
    let commas = if compat { &COMMAS[..1] } else { COMMAS };
    Check::new(move |response| !response.text.contains(commas))
}

#[cfg(test)]
mod tests {
    use super::super::check::tests::{follows, refused};
    use serde_json::json;

    #[test]
    fn keywords_are_plain_texts_inside_words_too() {
        let id = "keywords:existence";
        assert!(follows(id, json!({"keywords": ["C++", "cat"]}), "a concatenation in c++"));
        assert!(!follows(id, json!({"keywords": ["C++", "dog"]}), "a concatenation in c++"));
        assert!(!follows(id, json!({"keywords": ["a.c"]}), "abc"), "no regular expression");
        let twice = json!({"keyword": "cat", "relation": "at least", "frequency": 2});
        assert!(follows("keywords:frequency", twice.clone(), "cat concat"));
        assert!(!follows("keywords:frequency", twice, "cat"));
        let less = json!({"keyword": "cat", "relation": "less than", "frequency": 2});
        assert!(!follows("keywords:frequency", less, "cat Cat"));
    }

    #[test]
    fn forbidden_words_are_whole_words() {
        let id = "keywords:forbidden_words";
        let cat = json!({"forbidden_words": ["cat"]});
        for (text, free) in [("concat", true), ("cats", true), ("a Cat.", false), ("cat", false), ("cat_", true)] {
            assert_eq!(follows(id, cat.clone(), text), free, "{text}");
        }
        let sharp = json!({"forbidden_words": ["C++"]});
        assert!(!follows(id, sharp, "I write C++ all day"), "the published checker finds no end of the word after +");
        // a mark is part of the word that it stands in
        assert!(follows(id, json!({"forbidden_words": ["कर"]}), "करें"));
        assert!(!follows(id, json!({"forbidden_words": ["aa"]}), "xaa aa"));
    }

    #[test]
    fn letters_count_in_either_case_and_a_sign_is_a_letter() {
        let id = "keywords:letter_frequency";
        let two = |letter: &str| json!({"letter": letter, "let_relation": "at least", "let_frequency": 2});
        assert!(follows(id, two("A"), "a A"));
        assert!(!follows(id, two("a"), "a b"));
        assert!(follows(id, two("!"), "so! it! is"));
        assert!(refused(id, two("ab")).contains("not one letter"));
    }

    #[test]
    fn a_comma_is_a_comma_in_any_script() {
        for (text, free) in [("a b", true), ("a, b", false), ("一，二", false), ("一、二", false), ("a; b", true)]
        {
            assert_eq!(follows("punctuation:no_comma", json!({}), text), free, "{text}");
        }
    }
}
