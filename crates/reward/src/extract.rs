//! Where the answer of a completion stands.

use crate::number::{numerals, parse_number};

/// A way to mark an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// `#### 72`, as in GSM8K: the rest of that line.
    Hash,
    /// `\boxed{72}` or `\fbox{72}`.
    Boxed,
    /// `<answer>72</answer>`.
    Tags,
    /// `The final answer is 72.`, `Answer: 72`, `A: 72` at the start of a line.
    Final,
    /// The last formula: `$…$`, `$$…$$`, `\(…\)`, `\[…\]`.
    LastMath,
    /// The last line's number: its only one, or the one after its last `=`.
    LastNumber,
    /// The completion is the answer.
    Whole,
}

impl Mark {
    /// The words of the option `extract`.
    pub const NAMES: &'static [&'static str] = &["hash", "boxed", "tags", "final", "last-math", "last-number", "whole"];

    /// The mark of a word.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "hash" => Mark::Hash,
            "boxed" => Mark::Boxed,
            "tags" => Mark::Tags,
            "final" => Mark::Final,
            "last-math" => Mark::LastMath,
            "last-number" => Mark::LastNumber,
            "whole" => Mark::Whole,
            _ => return None,
        })
    }

    /// For messages: where the answer was found.
    pub fn place(self) -> &'static str {
        match self {
            Mark::Hash => "after ####",
            Mark::Boxed => "in \\boxed{}",
            Mark::Tags => "in <answer>",
            Mark::Final => "after \"answer\"",
            Mark::LastMath => "last formula",
            Mark::LastNumber => "last number",
            Mark::Whole => "whole text",
        }
    }
}

/// What [`extract`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extraction<'a> {
    /// One answer.
    Found(&'a str, Mark),
    /// Marks of one kind that hold different answers, at most three of them.
    Several(Vec<&'a str>, Mark),
    /// No mark of any kind asked for.
    Missing,
}

/// More marks than this in one completion are a listing, whatever they hold.
pub(crate) const MOST_MARKS: usize = 64;

/// Looks for the marks in the given order; the first kind that occurs decides, also when it is ambiguous.
///
/// Only what follows the last `</think>` is looked at. `numeric` says that the reference is a number: then a `####`
/// before a word is a heading, and `LastNumber` applies. With `last` the last of several different marks counts.
pub fn extract<'a>(completion: &'a str, order: &[Mark], numeric: bool, last: bool) -> Extraction<'a> {
    let text = after_thought(completion);
    for &mark in order {
        let found = match mark {
            Mark::LastNumber if numeric => match last_number(text, last) {
                Extraction::Missing => continue,
                decided => return decided,
            },
            _ => marked(text, mark, numeric),
        };
        if let Some(&answer) = found.last() {
            let agree = found.iter().all(|other| same(other, answer));
            if last || (agree && found.len() <= MOST_MARKS) {
                return Extraction::Found(inside(answer), mark);
            }
            return Extraction::Several(found.into_iter().take(3).collect(), mark);
        }
    }
    Extraction::Missing
}

/// What follows the last `</think>`; all of a completion without one.
pub(crate) fn after_thought(completion: &str) -> &str {
    completion.rfind("</think>").map_or(completion, |at| &completion[at + "</think>".len()..])
}

/// Everything that one kind of mark marks, in order; nothing for `LastNumber`, which is no mark.
pub(crate) fn marked(text: &str, mark: Mark, numeric: bool) -> Vec<&str> {
    match mark {
        Mark::Hash => hashes(text, numeric),
        Mark::Boxed => boxes(text),
        Mark::Tags => tags(text),
        Mark::Final => finals(text),
        Mark::LastMath => formulas(text).last().map(|range| text[range.clone()].trim()).into_iter().collect(),
        Mark::Whole => Some(text.trim()).filter(|whole| !whole.is_empty()).into_iter().collect(),
        Mark::LastNumber => Vec::new(),
    }
}

fn same(a: &str, b: &str) -> bool {
    a == b || matches!((parse_number(a), parse_number(b)), (Some(x), Some(y)) if x == y)
}

/// `<answer>\boxed{5}</answer>` means 5: one mark inside another is opened once.
fn inside(answer: &str) -> &str {
    match (boxes(answer).as_slice(), hashes(answer, false).as_slice()) {
        ([only], _) => only,
        (_, [only]) => only,
        _ => answer,
    }
}

fn hashes(text: &str, numeric: bool) -> Vec<&str> {
    let mut found = Vec::new();
    for piece in text.split("####").skip(1) {
        let line = piece.lines().next().unwrap_or("").trim();
        let heading = numeric && line.starts_with(|c: char| c.is_alphabetic() || c == '#');
        if !line.is_empty() && !heading && found.len() <= MOST_MARKS {
            found.push(line);
        }
    }
    found
}

/// Contents of outermost boxes.
fn boxes(text: &str) -> Vec<&str> {
    boxed(text).into_iter().map(|found| text[found.inside].trim()).collect()
}

/// A box: the range of all of it, and that of what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Boxed {
    pub(crate) all: std::ops::Range<usize>,
    pub(crate) inside: std::ops::Range<usize>,
}

/// Outermost boxes with balanced braces that hold something. One pass: a box that never closes ends the search.
pub(crate) fn boxed(text: &str) -> Vec<Boxed> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find("\\boxed{").into_iter().chain(text[from..].find("\\fbox{")).min() {
        let start = from + at;
        let Some(open) = text[start..].find('{').map(|open| start + open + 1) else { break };
        let mut depth = 1usize;
        let close = text[open..].bytes().position(|byte| {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        let Some(length) = close else { break };
        from = open + length + 1;
        if !text[open..open + length].trim().is_empty() {
            found.push(Boxed { all: start..from, inside: open..open + length });
        }
        if found.len() > MOST_MARKS {
            break;
        }
    }
    found
}

/// The ranges of what `$…$`, `$$…$$`, `\(…\)` and `\[…\]` hold, in order; an escaped `\$` is no mark. One pass.
pub(crate) fn formulas(text: &str) -> Vec<std::ops::Range<usize>> {
    let bytes = text.as_bytes();
    let mut found: Vec<std::ops::Range<usize>> = Vec::new();
    let mut open: Option<(usize, &[u8])> = None;
    let mut at = 0;
    while at < bytes.len() {
        let pair = bytes.get(at..at + 2).unwrap_or(&[]);
        let (mark, closes): (usize, &[u8]) = match (bytes[at], pair) {
            (_, b"$$") => (2, b"$$"),
            (b'$', _) => (1, b"$"),
            (_, b"\\(") => (2, b"\\)"),
            (_, b"\\[") => (2, b"\\]"),
            (_, b"\\)" | b"\\]") => (2, pair),
            (b'\\', [_, _]) => (2, b""),
            _ => (1, b""),
        };
        open = match open {
            Some((start, wanted)) if !closes.is_empty() && (pair == wanted || (wanted == b"$" && closes == b"$")) => {
                if !text[start..at].trim().is_empty() {
                    found.push(start..at);
                }
                None
            }
            None if !closes.is_empty() && !matches!(pair, b"\\)" | b"\\]") => Some((at + mark, closes)),
            other => other,
        };
        at += mark;
        while at < bytes.len() && !text.is_char_boundary(at) {
            at += 1;
        }
    }
    found
}

fn tags(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for piece in text.split("<answer>").skip(1) {
        if let Some(end) = piece.find("</answer>")
            && !piece[..end].trim().is_empty()
            && found.len() <= MOST_MARKS
        {
            found.push(piece[..end].trim());
        }
    }
    found
}

/// What follows `final answer is`, or where that never occurs `answer is`, `answer:` and a line's `A:`, up to the end of
/// the sentence.
fn finals(text: &str) -> Vec<&str> {
    let lower = text.to_ascii_lowercase();
    let explicit = after_phrases(text, &lower, &["final answer is", "final answer:"], false);
    if !explicit.is_empty() {
        return explicit;
    }
    let mut found = after_phrases(text, &lower, &["answer is", "answer:"], false);
    found.extend(after_phrases(text, &lower, &["a:"], true));
    found.truncate(MOST_MARKS + 1);
    found
}

fn after_phrases<'a>(text: &'a str, lower: &str, phrases: &[&str], line_start: bool) -> Vec<&'a str> {
    let mut ends: Vec<usize> = phrases
        .iter()
        .flat_map(|phrase| lower.match_indices(phrase).take(MOST_MARKS + 1).map(|(at, _)| (at, phrase.len())))
        .filter(|(at, _)| !line_start || text[..*at].trim_end_matches([' ', '*']).ends_with('\n') || *at == 0)
        .map(|(at, length)| at + length)
        .collect();
    ends.sort_unstable();
    // of "Final answer: the final answer is 5" only the last phrase counts
    let reach = |end: usize| end + (text.len() - end).min(text[end..].find('\n').unwrap_or(usize::MAX));
    let nested = |index: usize| {
        let (here, next) = (ends[index], ends.get(index + 1));
        next.is_some_and(|next| *next <= reach(here) && !text[here..*next].contains(['.', ',', '$', '\\']))
    };
    let outer: Vec<usize> = (0..ends.len()).filter(|index| !nested(*index)).map(|index| ends[index]).collect();
    outer.into_iter().map(|end| sentence(&text[end..])).filter(|answer| !answer.is_empty()).collect()
}

/// The rest of a sentence: to the end of the line, or to a full stop that no digit follows.
fn sentence(rest: &str) -> &str {
    let line = rest.trim_start_matches([':', ' ', '*', '=']);
    let line = line.lines().next().unwrap_or("");
    let stop = line.match_indices('.').map(|(at, _)| at).find(|at| {
        let after = line[at + 1..].chars().next();
        after.is_none_or(|c| c.is_whitespace() || matches!(c, '*' | '"' | ')'))
    });
    line[..stop.unwrap_or(line.len())].trim()
}

/// The number that the last line comes to. Several numbers that nothing connects are a listing.
fn last_number(text: &str, last: bool) -> Extraction<'_> {
    const MOST_NUMBERS: usize = 256; // in one line; more are a listing anyway
    let Some(line) = text.lines().map(str::trim).rfind(|line| !line.is_empty()) else { return Extraction::Missing };
    let spoken = line.rfind(">>").map_or(line, |at| &line[at + 2..]); // GSM8K writes <<9*2=18>>18
    let found = numerals(spoken, MOST_NUMBERS);
    let pick = |range: &std::ops::Range<usize>| &spoken[range.clone()];
    if !last && only_numbers(text) {
        let all: Vec<&str> = text.split_whitespace().take(3).collect();
        return Extraction::Several(all, Mark::LastNumber);
    }
    match found.as_slice() {
        [] => Extraction::Missing,
        [(_, only)] => Extraction::Found(pick(only), Mark::LastNumber),
        [.., (_, end)] => {
            let lead =
                spoken[..end.start].trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '$' | '*' | '('));
            if last || lead.ends_with('=') {
                return Extraction::Found(pick(end), Mark::LastNumber);
            }
            Extraction::Several(found.iter().take(3).map(|(_, range)| pick(range)).collect(), Mark::LastNumber)
        }
    }
}

/// Whether a text is nothing but two or more numbers.
fn only_numbers(text: &str) -> bool {
    let mut words = text.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '|' | '[' | ']'));
    let mut count = 0;
    let all = words.all(|word| match word.trim_matches(['.', '-', '*', '(', ')']) {
        "" | "or" | "and" | "&" => true,
        word => {
            count += 1;
            word.starts_with(|c: char| c.is_ascii_digit() || c == '$') && parse_number(word).is_some()
        }
    });
    all && count > 1 && parse_number(text.trim()).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Mark::*;

    const ALL: &[Mark] = &[Hash, Boxed, Tags, Final, LastNumber, Whole];

    fn found(text: &str) -> Option<&str> {
        match extract(text, ALL, true, false) {
            Extraction::Found(answer, _) => Some(answer),
            _ => None,
        }
    }

    #[test]
    fn each_mark_is_found() {
        assert_eq!(extract("so\n#### 72", ALL, true, false), Extraction::Found("72", Hash));
        assert_eq!(extract("so \\boxed{\\frac{1}{2}} ok", ALL, true, false), Extraction::Found("\\frac{1}{2}", Boxed));
        assert_eq!(extract("<answer> 72 </answer>", ALL, true, false), Extraction::Found("72", Tags));
        assert_eq!(extract("The final answer is: $3.50. Bye.", ALL, true, false), Extraction::Found("$3.50", Final));
        assert_eq!(extract("9*8=72\nA: 72", ALL, true, false), Extraction::Found("72", Final));
        assert_eq!(extract("9 * 8 = <<9*8=72>>72 clips", ALL, true, false), Extraction::Found("72", LastNumber));
        assert_eq!(extract("12 + 7 = 19", ALL, true, false), Extraction::Found("19", LastNumber));
        assert_eq!(extract("tlek", ALL, false, false), Extraction::Found("tlek", Whole));
        assert_eq!(extract(" \n", ALL, false, false), Extraction::Missing);
    }

    #[test]
    fn listings_are_several_answers() {
        for text in [
            "#### 5 #### 6",
            "\\boxed{2} \\boxed{3}",
            "<answer>1</answer><answer>2</answer>",
            "the answer is 1. the answer is 2.",
            "70 71 72",
            "70\n71\n72",
            "70 or 72",
            "It could be 70, 71, 72",
        ] {
            assert!(matches!(extract(text, ALL, true, false), Extraction::Several(..)), "{text}");
        }
        assert_eq!(extract("#### 5 #### 6", ALL, true, true), Extraction::Found("6", Hash));
        assert_eq!(found("\\boxed{2} so \\boxed{2.0}"), Some("2.0"), "the same answer twice is one answer");
    }

    #[test]
    fn formulas_are_found_in_every_notation() {
        let found = |text: &'static str| formulas(text).into_iter().map(|range| &text[range]).collect::<Vec<_>>();
        assert_eq!(found("a $x$ b $$y$$ c \\(z\\) d \\[w\\]"), ["x", "y", "z", "w"]);
        assert_eq!(found("costs \\$5, so $1+\\$2$ and $open"), ["1+\\$2"]);
        assert_eq!(
            extract("so $1$, then $\\frac{1}{2}$ é", &[LastMath], true, false),
            Extraction::Found("\\frac{1}{2}", LastMath)
        );
    }

    #[test]
    fn headings_thoughts_unclosed_and_nested_marks() {
        assert_eq!(found("#### Step 1\nadd\n\\boxed{7}"), Some("7"));
        assert_eq!(found("<think>\\boxed{1}</think>\\boxed{2}"), Some("2"));
        assert_eq!(found("\\boxed{1"), Some("1"), "not a box; the last number of the line");
        assert_eq!(found("<answer>\\boxed{5}</answer>"), Some("5"));
        assert_eq!(found("\\boxed{}\n4"), Some("4"));
        assert_eq!(found("I think the answer is 5. The final answer is 6."), Some("6"));
        assert_eq!(found("Final Answer: The final answer is 7. I hope it is correct."), Some("7"));
        assert_eq!(found("The answer is 5, the answer is 6"), None, "two answers on one line");
    }
}
