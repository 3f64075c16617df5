//! The pieces of a demonstration, and the ids of its first ones.

use lapidary_core::Item;
use lapidary_text::Tokenizer;

use crate::recipe::HintUnit;

/// Characters that end a sentence where a blank or the end follows.
const ENDS: &[char] = &['.', '!', '?'];
/// Characters that end a sentence whatever follows.
const FULL_ENDS: &[char] = &['。', '！', '？', '\n'];

/// A demonstration that hints can be taken from.
pub(super) enum Pieces {
    /// Text, and where each of its pieces ends in bytes.
    Text { text: String, ends: Vec<usize> },
    /// Ids, each a piece.
    Tokens(Vec<u32>),
}

impl Pieces {
    /// The pieces of an item's demonstration; none where it has no demonstration.
    ///
    /// A list of texts in the item's metadata under `hint` is its sentences, as UFT's data has them.
    pub(super) fn of(item: &Item, unit: HintUnit, tokenizer: &Tokenizer) -> Self {
        let completion = item.completion.as_deref().unwrap_or_default();
        let given = item.metadata.get("hint").and_then(|list| list.as_array());
        let given: Option<Vec<&str>> = given.and_then(|list| list.iter().map(|text| text.as_str()).collect());
        match (unit, given) {
            (HintUnit::Tokens, _) => Self::Tokens(tokenizer.encode_continuation(completion)),
            (HintUnit::Sentences, Some(sentences)) => {
                let ends = sentences.iter().scan(0, |end, sentence| {
                    *end += sentence.len();
                    Some(*end)
                });
                Self::Text { ends: ends.collect(), text: sentences.concat() }
            }
            (HintUnit::Sentences, None) => {
                Self::Text { ends: ends(completion, ends_sentence), text: completion.to_string() }
            }
            (HintUnit::Lines, _) => {
                Self::Text { ends: ends(completion, |c, _| c == '\n'), text: completion.to_string() }
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Pieces::Text { ends, .. } => ends.len(),
            Pieces::Tokens(ids) => ids.len(),
        }
    }

    /// Ids of the first `count` pieces, tokenised apart from the prompt: no token spans both.
    pub(super) fn first(&self, count: usize, tokenizer: &Tokenizer) -> Vec<u32> {
        match self {
            _ if count == 0 => Vec::new(),
            Pieces::Text { text, ends } => tokenizer.encode_continuation(&text[..ends[count - 1]]),
            Pieces::Tokens(ids) => ids[..count].to_vec(),
        }
    }
}

fn ends_sentence(c: char, next: Option<char>) -> bool {
    FULL_ENDS.contains(&c) || (ENDS.contains(&c) && next.is_none_or(char::is_whitespace))
}

/// Where pieces end, in bytes: behind each end and the blanks that follow it. What is left is a piece too.
fn ends(text: &str, is_end: impl Fn(char, Option<char>) -> bool) -> Vec<usize> {
    let mut out = Vec::new();
    let mut ended = false;
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        if ended && !c.is_whitespace() {
            out.push(at);
            ended = false;
        }
        ended |= is_end(c, characters.peek().map(|(_, next)| *next));
    }
    if !text.is_empty() {
        out.push(text.len());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapidary_core::PromptText;
    use serde_json::json;

    fn item(completion: Option<&str>) -> Item {
        Item {
            id: "a".into(),
            prompt: PromptText::Text("2+3=".into()),
            answer: None,
            completion: completion.map(String::from),
            metadata: Default::default(),
        }
    }

    /// Each piece as text.
    fn cut(item: &Item, unit: HintUnit) -> Vec<String> {
        let tokenizer = Tokenizer::characters();
        let pieces = Pieces::of(item, unit, &tokenizer);
        let upto = |count: usize| tokenizer.decode(&pieces.first(count, &tokenizer));
        (0..pieces.len()).map(|at| upto(at + 1)[upto(at).len()..].to_string()).collect()
    }

    #[test]
    fn a_demonstration_is_cut_where_sentences_lines_or_tokens_end() {
        let text = item(Some("It is 3.5. Is it? Yes!\n\nSo: 7"));
        assert_eq!(cut(&text, HintUnit::Sentences), ["It is 3.5. ", "Is it? ", "Yes!\n\n", "So: 7"]);
        assert_eq!(cut(&text, HintUnit::Lines), ["It is 3.5. Is it? Yes!\n\n", "So: 7"]);
        assert_eq!(cut(&item(Some("3*5")), HintUnit::Tokens), ["3", "*", "5"]);
        assert_eq!(cut(&item(Some("3*5")), HintUnit::Sentences), ["3*5"]);
        for nothing in [None, Some("")] {
            assert_eq!(cut(&item(nothing), HintUnit::Sentences), Vec::<String>::new());
            assert_eq!(cut(&item(nothing), HintUnit::Tokens), Vec::<String>::new());
        }
    }

    #[test]
    fn sentences_that_the_data_gives_are_taken_as_they_are() {
        let mut given = item(Some("whole"));
        given.metadata.insert("hint".into(), json!(["One. Two. ", "Three."]));
        assert_eq!(cut(&given, HintUnit::Sentences), ["One. Two. ", "Three."]);
        given.metadata.insert("hint".into(), json!([""]));
        assert_eq!(cut(&given, HintUnit::Sentences), [""], "an empty sentence is a piece without ids");
    }
}
