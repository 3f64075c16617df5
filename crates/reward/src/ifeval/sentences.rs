//! Sentences of a text.
//!
//! The procedure is Punkt's (Kiss and Strunk 2006, as NLTK runs it): a point ends a sentence unless the word before it is an
//! abbreviation, an initial or a number and what follows does not look like a beginning. Punkt learns its abbreviations and how words
//! are written from a corpus; here they are a list of English abbreviations and of words that begin sentences ([`super::abbreviations`]).
//! Outside `compat`, the full stops of other scripts end a sentence too, and marks alone are none.

use super::abbreviations::{begins, is_abbreviation, is_common};

/// How many sentences there are.
pub(super) fn count_sentences(text: &str, compat: bool) -> usize {
    split_sentences(text, compat).len()
}

/// The sentences, without the spaces around them.
pub(super) fn split_sentences(text: &str, compat: bool) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut from = 0;
    for end in ends(text, compat) {
        // closing marks may have been taken along by the sentence before
        sentences.push(text[from..end.max(from)].trim());
        from = end.max(from);
    }
    sentences.push(text[from..].trim());
    let counts = |sentence: &&str| match compat {
        true => !sentence.is_empty(),
        false => sentence.chars().any(char::is_alphanumeric),
    };
    sentences.into_iter().filter(counts).collect()
}

/// Full stops of other scripts: CJK, Devanagari, Urdu, Arabic, Armenian, Ethiopic, Burmese, Khmer.
const OTHER_STOPS: &[char] = &['。', '！', '？', '｡', '।', '॥', '۔', '؟', '։', '።', '፧', '။', '។'];
/// What may close a sentence after its stop.
const CLOSERS: &[char] = &['"', '\'', ')', ']', '}', '‘', '’', '“', '”', '«', '»'];

fn is_stop(c: char) -> bool {
    matches!(c, '.' | '?' | '!')
}

/// Characters that are no part of a word: Punkt's `re_non_word_chars`.
fn is_mark(c: char) -> bool {
    matches!(c, ')' | '"' | ';' | '}' | ']' | '*' | ':' | '@' | '\'' | '(' | '{' | '[' | '!' | '?')
        || matches!(c, '‘' | '’' | '“' | '”' | '«' | '»')
}

/// Where sentences end, in bytes, the closing quotation mark or bracket included.
fn ends(text: &str, compat: bool) -> Vec<usize> {
    let mut ends = Vec::new();
    // the last possible end of a word decides for the word
    let mut pending: Option<Candidate<'_>> = None;
    let mut word = 0;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        if c.is_whitespace() {
            ends.extend(pending.take().and_then(|candidate| candidate.end(text)));
        } else if before.is_whitespace() {
            word = at;
        }
        before = c;
        if !compat && OTHER_STOPS.contains(&c) {
            ends.extend(pending.take().and_then(|candidate| candidate.end(text)));
            ends.push(closed(text, at + c.len_utf8()));
        } else if is_stop(c)
            && let Some(candidate) = Candidate::new(text, word, at)
        {
            // a stop that starts a word decides for itself
            let alone = pending.take_if(|candidate| candidate.word.len() == 1);
            ends.extend(alone.and_then(|candidate| candidate.end(text)));
            pending = Some(candidate);
        }
    }
    ends.extend(pending.and_then(|candidate| candidate.end(text)));
    ends
}

/// Past the closers behind `at`, or behind the spaces there, if a space follows them; else `at`.
fn closed(text: &str, at: usize) -> usize {
    let from = text[at..].trim_start();
    let rest = from.trim_start_matches(CLOSERS);
    let free = rest.is_empty() || rest.starts_with(char::is_whitespace) || rest.starts_with("--");
    if free && rest.len() < from.len() { text.len() - rest.len() } else { at }
}

/// A stop that may end a sentence: the word it stands in, and what follows.
struct Candidate<'a> {
    /// Whether the line starts with the word.
    leads: bool,
    /// From the start of the word to behind the stop.
    word: &'a str,
    /// Behind the stop, in bytes of the text.
    at: usize,
    /// The mark that follows at once, or the next word.
    next: &'a str,
}

impl<'a> Candidate<'a> {
    fn new(text: &'a str, word: usize, stop: usize) -> Option<Self> {
        let at = stop + 1;
        let rest = &text[at..];
        let first = rest.chars().next()?;
        let next = if is_mark(first) {
            &rest[..first.len_utf8()]
        } else if first.is_whitespace() {
            rest.split_whitespace().next()?
        } else {
            return None;
        };
        let leads =
            text[..word].trim_end_matches([' ', '\t', '-', '*', '#']).chars().next_back().is_none_or(|c| c == '\n');
        Some(Self { leads, word: &text[word..at], at, next })
    }

    /// Where the sentence ends, if one does.
    fn end(&self, text: &str) -> Option<usize> {
        let mut tokens = tokens(self.word);
        tokens.extend(self::tokens(self.next));
        // `A.` at the start of a line counts things and is nobody's initial
        let heading = self.leads
            && is_initial(self.word)
            && !is_abbreviation(&self.word[..self.word.len() - 1].to_lowercase())
            && self.next.starts_with(char::is_uppercase);
        let breaks = heading || (0..tokens.len() - 1).any(|i| breaks(tokens[i], tokens[i + 1]));
        breaks.then(|| closed(text, self.at))
    }
}

/// A word cut into Punkt's tokens: runs of `-` or `.`, marks one by one, and what is between.
fn tokens(word: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let run = run(rest);
        let length = if run > 1 {
            run
        } else if starts_no_word(first) {
            first.len_utf8()
        } else {
            first.len_utf8()
                + rest[first.len_utf8()..]
                    .char_indices()
                    .find(|(at, c)| ends_word(&rest[first.len_utf8() + at..], *c))
                    .map_or(rest.len() - first.len_utf8(), |(at, _)| at)
        };
        tokens.push(&rest[..length]);
        rest = &rest[length..];
    }
    tokens
}

/// Length of the run of `-` or `.` that a text starts with.
fn run(text: &str) -> usize {
    let of = |mark: u8| text.bytes().take_while(|byte| *byte == mark).count();
    of(b'-').max(of(b'.'))
}

fn starts_no_word(c: char) -> bool {
    matches!(c, '(' | '"' | '`' | '{' | '[' | ':' | ';' | '&' | '#' | '*' | '@' | ')' | '}' | ']' | '-' | ',')
}

fn ends_word(rest: &str, c: char) -> bool {
    let after = &rest[c.len_utf8()..];
    let comma = || after.is_empty() || after.starts_with(is_mark) || run(after) > 1;
    is_mark(c) || run(rest) > 1 || c == ',' && comma()
}

/// Whether a sentence ends between two tokens.
fn breaks(token: &str, next: &str) -> bool {
    if matches!(token, "." | "?" | "!") {
        return true;
    }
    let Some(stem) = token.strip_suffix('.') else { return false };
    let upper = next.starts_with(char::is_uppercase);
    let next_word = next.trim_end_matches('.').to_lowercase();
    let mark = matches!(next, ";" | ":" | "," | "." | "!" | "?");
    let lower = next.starts_with(char::is_lowercase);
    let ellipsis = stem.ends_with('.');
    let stem = stem.to_lowercase();
    let initial = is_initial(token);
    // Punkt looks at the part behind the last hyphen too
    let abbreviation = is_abbreviation(&stem) || stem.rsplit('-').next().is_some_and(is_abbreviation);
    if ellipsis || abbreviation && !initial {
        return upper && !mark && begins(&next_word);
    }
    if abbreviation {
        return false;
    }
    if initial {
        return !mark && !lower && (!upper || is_common(&next_word));
    }
    if is_number(&stem) {
        return !mark && !lower;
    }
    true
}

/// One letter and a point.
fn is_initial(token: &str) -> bool {
    let mut chars = token.chars();
    chars.next().is_some_and(char::is_alphabetic) && chars.as_str() == "."
}

/// `3`, `1,000`, `-2.5`.
fn is_number(stem: &str) -> bool {
    let digits = stem.strip_prefix('-').unwrap_or(stem);
    let digits = digits.strip_prefix(['.', ',']).unwrap_or(digits);
    digits.starts_with(char::is_numeric) && digits.chars().all(|c| c.is_numeric() || matches!(c, ',' | '.' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(text: &str, ours: usize, published: usize) {
        assert_eq!(split_sentences(text, false).len(), ours, "{text}: {:?}", split_sentences(text, false));
        assert_eq!(split_sentences(text, true).len(), published, "{text}: {:?}", split_sentences(text, true));
    }

    /// The right-hand numbers are NLTK's own.
    #[test]
    fn sentences_end_where_punkt_ends_them() {
        both("What?! No", 2, 2);
        both("Wow!!! Yes.", 2, 2);
        both("1. Foo bar\n2. Baz", 3, 3);
        both("e.g. this is. Dr. Smith came.", 3, 3);
        both("At 8 a.m. we left. At 9 a.m. The man came.", 3, 3);
        both("cancer. !?! This is", 2, 4);
        both("I. Setting\nII. End", 3, 3);
        both("It ends.\n\"", 1, 1);
        both("He said \"Stop!\" and left.", 2, 2);
        both("Hello... World. a. b", 2, 2);
        both("U.S. The man. In the U.S. we", 3, 3);
        both("Hello.World", 1, 1);
        both("(It is so.) Then it was not.", 2, 2);
        both("A title\n\nA text without a stop", 1, 1);
        both("In Jan. 2020 Mr. J. Smith paid 3.5 dollars.", 1, 1);
    }

    #[test]
    fn other_scripts_have_their_own_stops() {
        assert_eq!(split_sentences("a?'।", false), ["a?", "'।"][..1]);
        both("नमस्ते। कैसे हो?", 2, 1);
        both("你好。我很好！", 2, 1);
        assert_eq!(split_sentences("「你好。」 我", false).len(), 2);
    }

    #[test]
    fn marks_alone_are_no_sentence() {
        both("Yes. ... !!! 1. 2. 3.", 4, 7);
        both(" ", 0, 0);
    }
}
