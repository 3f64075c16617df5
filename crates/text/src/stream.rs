//! Text as it is generated.

use std::ops::Range;

use crate::Tokenizer;

/// How many ids are decoded again for a new one: enough for the longest character (four one-byte tokens) and the blank
/// before a word.
const OVERLAP: usize = 8;

/// Turns ids into text one at a time, never handing out half a character.
///
/// The pieces put together are what [`Tokenizer::decode`] says of all ids, where those are whole characters.
pub struct TextStream {
    tokenizer: Tokenizer,
    ids: Vec<u32>,
    /// Ids whose text was handed out.
    given: usize,
}

impl Tokenizer {
    /// A stream that starts with nothing.
    pub fn stream(&self) -> TextStream {
        TextStream { tokenizer: self.clone(), ids: Vec::new(), given: 0 }
    }
}

impl Tokenizer {
    /// The bytes of [`Tokenizer::decode`] that each id wrote. Ids that share a character all wrote it; a special token wrote
    /// nothing.
    pub fn places(&self, ids: &[u32]) -> Vec<Range<usize>> {
        let mut stream = self.stream();
        let mut places: Vec<Range<usize>> = Vec::with_capacity(ids.len());
        let (mut written, mut pending) = (0, 0);
        for &id in ids {
            places.push(written..written);
            // A special token in the middle of a character would be waited for with it.
            pending += usize::from(!self.is_special(id));
            let piece = stream.push(id).len();
            let settled = stream.given == stream.ids.len();
            if settled {
                let whose = places.iter_mut().zip(ids).rev().filter(|(_, id)| !self.is_special(**id)).take(pending);
                whose.for_each(|(place, _)| place.end = written + piece);
                (written, pending) = (written + piece, 0);
            }
        }
        let rest = stream.finish().len();
        let whose = places.iter_mut().zip(ids).rev().filter(|(_, id)| !self.is_special(**id)).take(pending);
        whose.for_each(|(place, _)| place.end = written + rest);
        places
    }
}

impl TextStream {
    /// Adds an id; answers the text that is certain now, often that of this id alone, sometimes none.
    pub fn push(&mut self, id: u32) -> String {
        self.ids.push(id);
        self.take(false)
    }

    /// What is left at the end: half characters as U+FFFD.
    pub fn finish(mut self) -> String {
        self.take(true)
    }

    fn take(&mut self, last: bool) -> String {
        let mut from = self.given.saturating_sub(OVERLAP);
        let mut before = self.tokenizer.decode(&self.ids[from..self.given]);
        while before.is_empty() && from > 0 {
            // Without a word before it, a first word would lose its blank.
            from = from.saturating_sub(OVERLAP);
            before = self.tokenizer.decode(&self.ids[from..self.given]);
        }
        let now = self.tokenizer.decode(&self.ids[from..]);
        // A trailing U+FFFD may be half a character: wait until it is one, or cannot become one.
        let pending = self.ids.len() - self.given < OVERLAP;
        if now.ends_with('\u{FFFD}') && pending && !last {
            return String::new();
        }
        self.given = self.ids.len();
        match now.strip_prefix(before.as_str()) {
            Some(new) => new.to_string(),
            None => self.tokenizer.decode(&self.ids[self.given - 1..]),
        }
    }
}
