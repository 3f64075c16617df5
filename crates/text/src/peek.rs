//! A first look at `tokenizer.json` that keeps nothing of its tables: what the reader behind must not be given.

use std::fmt;
use std::path::Path;

use lapidary_core::{Kind, Problem, Result};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The parts of `tokenizer.json` that are checked before it is read in earnest.
#[derive(Deserialize)]
struct File {
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    vocab: Longest,
    #[serde(default)]
    merges: Longest,
}

/// Length in bytes of the longest entry of a table: a key of an object, or a pair (glued) of a list.
#[derive(Default)]
struct Longest(usize);

impl<'de> Deserialize<'de> for Longest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Table;
        impl<'de> Visitor<'de> for Table {
            type Value = Longest;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or a list")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Longest, A::Error> {
                let mut longest = 0;
                while let Some((key, _)) = map.next_entry::<Text, IgnoredAny>()? {
                    longest = longest.max(key.0);
                }
                Ok(Longest(longest))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Longest, A::Error> {
                let mut longest = 0;
                while let Some(text) = seq.next_element::<Text>()? {
                    longest = longest.max(text.0);
                }
                Ok(Longest(longest))
            }
            fn visit_unit<E>(self) -> std::result::Result<Longest, E> {
                Ok(Longest(0))
            }
        }
        deserializer.deserialize_any(Table)
    }
}

/// Length of a text without the blank that separates a pair, or of a list of texts together.
struct Text(usize);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Piece;
        impl<'de> Visitor<'de> for Piece {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a pair")
            }
            fn visit_str<E>(self, text: &str) -> std::result::Result<Text, E> {
                Ok(Text(text.len() - usize::from(text.contains(' '))))
            }
            fn visit_f64<E>(self, _: f64) -> std::result::Result<Text, E> {
                Ok(Text(0))
            }
            fn visit_i64<E>(self, _: i64) -> std::result::Result<Text, E> {
                Ok(Text(0))
            }
            fn visit_u64<E>(self, _: u64) -> std::result::Result<Text, E> {
                Ok(Text(0))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Text, A::Error> {
                let mut length = 0;
                while let Some(text) = seq.next_element::<Text>()? {
                    length += text.0;
                }
                Ok(Text(length))
            }
        }
        deserializer.deserialize_any(Piece)
    }
}

/// Refuses a `tokenizer.json` whose tables contradict each other in ways that the reader behind does not survive.
///
/// Everything else that is wrong in the file is left to that reader.
pub(crate) fn check(path: &Path, text: &str) -> Result<()> {
    let Ok(File { model }) = serde_json::from_str::<File>(text) else { return Ok(()) };
    if model.kind.as_deref().is_some_and(|kind| kind != "BPE") {
        return Ok(());
    }
    let unusable = |why: &str| {
        Err(Problem::new(Kind::Model, "T002", format!("the tables of `{}` contradict each other", path.display()))
            .why(why)
            .hint("save the tokenizer again with the program that made it"))
    };
    if model.continuing_subword_prefix.is_some_and(|prefix| !prefix.is_empty()) && model.merges.0 > 0 {
        return unusable("pairs with a prefix for continued words are a layout that no decoder family uses");
    }
    if model.merges.0 > model.vocab.0 {
        return unusable("a pair is longer than the longest token, so what it makes cannot exist");
    }
    Ok(())
}
