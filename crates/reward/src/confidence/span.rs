//! Where the answer stands in a trace.
//!
//! RLSF asks: it appends `So the answer is`, lets the model go on for at most 20 tokens, and takes the longest run of that
//! answer that also stands in the trace (arXiv 2402.10200, §2.2; RLSF's `answer_processor.py`). That code compares token ids;
//! here words are compared and mapped to tokens by their bytes, so that ` 72` and `72` are one answer to tokenizers that
//! merge a blank into a number, and `5` is not found inside `54`.

use std::ops::Range;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::extract::{after_thought, boxed};
use crate::number::numerals;

/// Which of several equally long runs is the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tie {
    /// The first, as Python's difflib in RLSF's code.
    First,
    /// The last: what comes last is what the trace concluded.
    #[default]
    Last,
}

/// How an answer is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SpanSource {
    /// The model is asked once more, and its answer is looked for in the trace.
    #[default]
    Probe,
    /// The last number.
    LastNumber,
    /// The last letter A to H that stands alone.
    LastOption,
    /// What the last `\boxed{…}` holds.
    Boxed,
    /// What the last `<answer>…</answer>` holds.
    AnswerTag,
    /// The last match of a regular expression: its first group, or all of it.
    Regex,
}

impl SpanSource {
    /// The words of a recipe that need no second look at the model.
    pub const OF_TEXT: &'static [&'static str] = &["last_number", "last_option", "boxed", "answer_tag", "regex"];

    /// The source of a word of [`SpanSource::OF_TEXT`].
    pub fn of_text(name: &str) -> Option<Self> {
        Some(match name {
            "last_number" => SpanSource::LastNumber,
            "last_option" => SpanSource::LastOption,
            "boxed" => SpanSource::Boxed,
            "answer_tag" => SpanSource::AnswerTag,
            "regex" => SpanSource::Regex,
            _ => return None,
        })
    }
}

/// Finds the answer of a completion.
#[derive(Clone, Debug)]
pub struct Span {
    source: SpanSource,
    tie: Tie,
    pattern: Option<Regex>,
}

impl Span {
    /// A way to find answers; [`SpanSource::Regex`] needs its pattern.
    pub fn new(source: SpanSource, tie: Tie, pattern: Option<Regex>) -> Self {
        assert_eq!(source == SpanSource::Regex, pattern.is_some(), "a pattern belongs to `regex` and to nothing else");
        Self { source, tie, pattern }
    }

    /// Whether [`Span::locate`] wants the model's answer to the probe.
    pub fn asks(&self) -> bool {
        self.source == SpanSource::Probe
    }

    /// The bytes of `text` that hold the answer. `probe` is what the model answered when asked again.
    pub fn locate(&self, text: &str, probe: Option<&str>) -> Option<Range<usize>> {
        let start = text.len() - after_thought(text).len();
        let conclusion = &text[start..];
        let within = |range: Range<usize>| start + range.start..start + range.end;
        match self.source {
            SpanSource::Probe => probed(text, probe?, self.tie),
            SpanSource::LastNumber => numerals(conclusion, conclusion.len()).pop().map(|(_, range)| within(range)),
            SpanSource::LastOption => last_option(conclusion).map(within),
            SpanSource::Boxed => boxed(conclusion).pop().map(|found| within(trimmed(conclusion, found.inside))),
            SpanSource::AnswerTag => tag(conclusion).map(within),
            SpanSource::Regex => {
                let found = self.pattern.as_ref()?.captures_iter(conclusion).last()?;
                found.get(1).or(found.get(0)).map(|found| within(found.range()))
            }
        }
        .filter(|range| !range.is_empty())
    }
}

/// The longest run of `answer` that also stands in `trace`, by place in the trace; `None` where they share nothing.
pub fn longest_common_run<T: PartialEq>(trace: &[T], answer: &[T], tie: Tie) -> Option<Range<usize>> {
    let mut best = 0..0;
    // Length of the common run that ends at the trace's last element and at each of the answer's.
    let mut ending = vec![0usize; answer.len() + 1];
    for (at, element) in trace.iter().enumerate() {
        for place in (0..answer.len()).rev() {
            ending[place + 1] = if answer[place] == *element { ending[place] + 1 } else { 0 };
            let length = ending[place + 1];
            if length > best.len() || (length == best.len() && length > 0 && tie == Tie::Last) {
                best = at + 1 - length..at + 1;
            }
        }
    }
    (!best.is_empty()).then_some(best)
}

/// The bytes of `trace` where the answer that the model gave to the probe stands.
///
/// The probe's answer ends with its first line or sentence: what a model writes after it answers nothing. Full stops and line
/// ends are no words, as in RLSF's code, but a decimal point is part of its number.
pub fn probed(trace: &str, answer: &str, tie: Tie) -> Option<Range<usize>> {
    let (places, words): (Vec<Range<usize>>, Vec<&str>) = words(trace).into_iter().unzip();
    let wanted: Vec<&str> = words_of(first_sentence(answer));
    let run = longest_common_run(&words, &wanted, tie)?;
    let says_something = |word: &&str| word.chars().any(char::is_alphanumeric);
    words[run.clone()].iter().any(says_something).then(|| places[run.start].start..places[run.end - 1].end)
}

fn words_of(text: &str) -> Vec<&str> {
    words(text).into_iter().map(|(_, word)| word).collect()
}

/// Words and numbers whole, every other sign by itself; blanks and full stops left out.
fn words(text: &str) -> Vec<(Range<usize>, &str)> {
    let mut found: Vec<(Range<usize>, &str)> = Vec::new();
    let mut open: Option<usize> = None;
    let mut characters = text.char_indices().peekable();
    let mut before = ' ';
    while let Some((at, c)) = characters.next() {
        let next = characters.peek().map(|(_, c)| *c);
        let inside = c.is_alphanumeric()
            || (matches!(c, '.' | ',') && before.is_ascii_digit() && next.is_some_and(|c| c.is_ascii_digit()));
        before = c;
        if inside {
            open.get_or_insert(at);
            continue;
        }
        if let Some(start) = open.take() {
            found.push((start..at, &text[start..at]));
        }
        if !c.is_whitespace() && c != '.' {
            let end = at + c.len_utf8();
            found.push((at..end, &text[at..end]));
        }
    }
    if let Some(start) = open {
        found.push((start..text.len(), &text[start..]));
    }
    found
}

/// Up to the first line end, or the first full stop before a blank.
fn first_sentence(answer: &str) -> &str {
    let answer = answer.trim_start();
    let stop = answer.match_indices('.').map(|(at, _)| at).find(|at| {
        let rest = &answer[at + 1..];
        rest.is_empty() || rest.starts_with(char::is_whitespace)
    });
    let end = [answer.find('\n'), stop].into_iter().flatten().min().unwrap_or(answer.len());
    &answer[..end]
}

/// `(B)`, `B.`, `B`: a capital A to H that is no part of a word and no article (`A dog`).
fn last_option(text: &str) -> Option<Range<usize>> {
    let alone = |at: usize| {
        let (before, after) = (text[..at].chars().next_back(), &text[at + 1..]);
        let article = after.strip_prefix(' ').is_some_and(|rest| rest.starts_with(char::is_lowercase));
        let part = |c: char| c.is_alphanumeric() || matches!(c, '\'' | '’' | '_');
        !before.is_some_and(part) && !after.starts_with(part) && !article
    };
    let letters = text.match_indices(|c: char| ('A'..='H').contains(&c));
    letters.map(|(at, _)| at).rfind(|at| alone(*at)).map(|at| at..at + 1)
}

/// What the last whole `<answer>…</answer>` holds.
fn tag(text: &str) -> Option<Range<usize>> {
    let close = text.rfind("</answer>")?;
    let open = text[..close].rfind("<answer>")? + "<answer>".len();
    Some(trimmed(text, open..close))
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let inside = &text[range.clone()];
    let start = range.start + inside.len() - inside.trim_start().len();
    start..start + inside.trim().len()
}

/// The tokens that wrote any of the bytes; `None` where none did.
pub fn tokens_of(places: &[Range<usize>], bytes: &Range<usize>) -> Option<Range<usize>> {
    let touches = |place: &Range<usize>| place.start < bytes.end && bytes.start < place.end;
    let first = places.iter().position(touches)?;
    let last = places.iter().rposition(touches)?;
    Some(first..last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(source: SpanSource) -> impl Fn(&str) -> Option<String> {
        let span = Span::new(source, Tie::Last, None);
        move |text| span.locate(text, None).map(|range| text[range].to_string())
    }

    /// Spec B §1.3: trace [5,6,7,8,9,6,7], answer [6,7].
    #[test]
    fn the_golden_run_is_first_or_last() {
        let trace = [5, 6, 7, 8, 9, 6, 7];
        assert_eq!(longest_common_run(&trace, &[6, 7], Tie::First), Some(1..3));
        assert_eq!(longest_common_run(&trace, &[6, 7], Tie::Last), Some(5..7));
        assert_eq!(longest_common_run(&trace, &[1, 2], Tie::Last), None);
        assert_eq!(longest_common_run(&trace, &[], Tie::Last), None);
        // A longer run wins whatever the tie says.
        assert_eq!(longest_common_run(&trace, &[8, 9, 6, 1, 7], Tie::Last), Some(3..6));
    }

    #[test]
    fn the_probe_is_looked_for_word_by_word() {
        let at = |trace: &str, answer: &str, tie| probed(trace, answer, tie).map(|range| trace[range].to_string());
        assert_eq!(at("6 × 12 makes 72, so 72.", " 72.", Tie::Last).as_deref(), Some("72"));
        assert_eq!(probed("6 × 12 makes 72, so 72.", " 72.", Tie::First).map(|r| r.start), Some(14));
        assert_eq!(at("there are 54", " 5", Tie::Last), None, "a digit of another number is no answer");
        assert_eq!(at("it is (B), I think", " (B)", Tie::Last).as_deref(), Some("(B)"));
        assert_eq!(at("he has 7 apples left", " 7 apples.\nQuestion: he has", Tie::Last).as_deref(), Some("7 apples"));
        assert_eq!(at("so, , ,", " ,", Tie::Last), None, "signs alone say nothing");
        assert_eq!(at("", " 7", Tie::Last), None);
    }

    /// RLSF's code cuts its probe off by splitting at full stops, which turns 12.5 into `12. 5`.
    #[test]
    fn decimals_stay_whole() {
        let trace = "Half of 25 is 12.5. That is all.";
        assert_eq!(probed(trace, " 12.5.", Tie::Last).map(|range| &trace[range]), Some("12.5"));
        assert_eq!(probed("it is 12. 5 are left", " 12.5", Tie::Last), None);
        assert_eq!(probed("cost 1,234.50 in all", " 1,234.50", Tie::Last), Some(5..13));
    }

    #[test]
    fn answers_are_found_in_text() {
        let number = text(SpanSource::LastNumber);
        assert_eq!(number("3 and 1,234.5 then").as_deref(), Some("1,234.5"));
        assert_eq!(number("none"), None);
        assert_eq!(number("<think>3</think>none"), None, "a thought is no conclusion");
        let option = text(SpanSource::LastOption);
        assert_eq!(option("A dog ate B). So (C) it is. A cat"), Some("C".into()));
        assert_eq!(option("Answer: D"), Some("D".into()));
        assert_eq!(option("I have no BAD idea, C'mon"), None);
        let boxed = text(SpanSource::Boxed);
        assert_eq!(boxed("\\boxed{1} or \\boxed{ \\frac{1}{2} }").as_deref(), Some("\\frac{1}{2}"));
        let tag = text(SpanSource::AnswerTag);
        assert_eq!(tag("<answer> 7\n</answer>").as_deref(), Some("7"));
        assert_eq!(tag("<answer> </answer>"), None);
        assert_eq!(tag("</answer><answer>7"), None);
        let pattern = Span::new(SpanSource::Regex, Tie::Last, Some(Regex::new(r"x = (\d+)").unwrap()));
        let found = pattern.locate("x = 4, x = 52é", None).unwrap();
        assert_eq!(&"x = 4, x = 52é"[found], "52");
    }

    #[test]
    fn bytes_are_mapped_to_the_tokens_that_wrote_them() {
        // `so`, ` 72` (the blank is merged), an end token that writes nothing, `.`.
        let places = [0..2, 2..5, 5..5, 5..6];
        assert_eq!(tokens_of(&places, &(3..5)), Some(1..2));
        assert_eq!(tokens_of(&places, &(1..6)), Some(0..4));
        assert_eq!(tokens_of(&places, &(6..7)), None);
        // Two tokens that share a character are both its writers.
        assert_eq!(tokens_of(&[0..2, 0..2], &(0..2)), Some(0..2));
    }

    proptest! {
        /// The run that is found stands in both, and none that is longer does.
        #[test]
        fn the_longest_run_is_longest(
            trace in prop::collection::vec(0u8..4, 0..24),
            answer in prop::collection::vec(0u8..4, 0..8),
            last in any::<bool>(),
        ) {
            let tie = if last { Tie::Last } else { Tie::First };
            let found = longest_common_run(&trace, &answer, tie);
            let length = found.as_ref().map_or(0, |run| run.len());
            let common = |size: usize| -> Vec<usize> {
                let starts = 0..(trace.len() + 1).saturating_sub(size);
                starts.filter(|at| answer.windows(size.max(1)).any(|w| w == &trace[*at..*at + size])).collect()
            };
            prop_assert!(common(length + 1).is_empty());
            if let Some(run) = found {
                let starts = common(length);
                prop_assert_eq!(run.start, if last { starts[starts.len() - 1] } else { starts[0] });
            }
        }

        #[test]
        fn whatever_is_written_is_located_within_it(trace in ".{0,60}", answer in ".{0,30}") {
            for source in [SpanSource::LastNumber, SpanSource::LastOption, SpanSource::Boxed, SpanSource::AnswerTag] {
                if let Some(range) = Span::new(source, Tie::Last, None).locate(&trace, None) {
                    prop_assert!(trace.get(range).is_some_and(|found| !found.is_empty()));
                }
            }
            if let Some(range) = probed(&trace, &answer, Tie::Last) {
                prop_assert!(trace.get(range).is_some());
            }
        }
    }
}
