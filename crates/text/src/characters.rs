//! The tokenizer of the built-in preset: one token per character.

use std::path::Path;

use lapidary_core::Result;
use serde_json::{Map, Value, json};

use crate::specials::Specials;
use crate::tokenizer::{Parts, Tokenizer, read};

const PAD: &str = "<pad>";
const BOS: &str = "<bos>";
const EOS: &str = "<eos>";
/// What every other character becomes, and what it is written as when it comes back.
const UNKNOWN: &str = "\u{FFFD}";

impl Tokenizer {
    /// The built-in character tokenizer: `<pad>` 0, `<bos>` 1, `<eos>` 2, U+FFFD 3, newline 4, then printable ASCII from
    /// blank (5) to `~` (99).
    ///
    /// Text of those characters comes back as it went in; any other character becomes U+FFFD, one for one. A plain prompt
    /// starts with `<bos>`. There is no chat template: conversations are plain text.
    pub fn characters() -> Self {
        match build() {
            Ok(tokenizer) => tokenizer,
            Err(problem) => unreachable!("the built-in tokenizer is well formed: {problem}"),
        }
    }
}

fn build() -> Result<Tokenizer> {
    let characters = (b' '..=b'~').map(|byte| char::from(byte).to_string());
    let tokens = [PAD, BOS, EOS, UNKNOWN, "\n"].map(str::to_string).into_iter().chain(characters);
    let vocab: Map<String, Value> = tokens.enumerate().map(|(id, token)| (token, id.into())).collect();
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(0, PAD), special(1, BOS), special(2, EOS)],
        "normalizer": null, "pre_tokenizer": null,
        "post_processor": starts_with(BOS, 1),
        "decoder": {"type": "Fuse"},
        "model": {"type": "BPE", "dropout": null, "unk_token": UNKNOWN, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                  "vocab": vocab, "merges": []}
    });
    let path = Path::new("characters");
    let reader = read(path, &file.to_string())?;
    let named = [("bos_token", BOS), ("eos_token", EOS), ("pad_token", PAD)];
    let named = named.map(|(role, text)| (role.to_string(), text.to_string())).to_vec();
    let specials = Specials::resolve(named, |text| reader.token_to_id(text), path)?;
    Ok(Tokenizer::from_parts(Parts {
        reader,
        specials,
        add_bos: Some(true),
        templates: Vec::new(),
        config: Map::new(),
    }))
}

/// A post-processor that puts one token before every sequence.
pub(crate) fn starts_with(token: &str, id: u32) -> Value {
    let special = json!({"SpecialToken": {"id": token, "type_id": 0}});
    json!({
        "type": "TemplateProcessing",
        "single": [special, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [special, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}}
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_are_where_the_documentation_says() {
        let tokenizer = Tokenizer::characters();
        assert_eq!(tokenizer.vocabulary(), 100);
        assert_eq!((tokenizer.pad(), tokenizer.bos(), tokenizer.eos()), (Some(0), Some(1), Some(2)));
        assert_eq!(tokenizer.encode("\n ~2é"), [4, 5, 99, 23, 3]);
        assert_eq!(tokenizer.decode(&[1, 23, 3, 2]), "2\u{FFFD}");
        assert_eq!(tokenizer.decode_with_specials(&[1, 23, 2]), "<bos>2<eos>");
        assert_eq!(tokenizer.encode("1<eos>"), [22, 2]);
        assert_eq!(tokenizer.token_text(4), "\n");
        assert!(tokenizer.adds_bos() && tokenizer.chat_template().is_none());
        assert!(tokenizer.check_vocabulary(100).is_ok() && tokenizer.check_vocabulary(128).is_ok());
        assert_eq!(tokenizer.check_vocabulary(99).unwrap_err().code(), "T005");
    }

    proptest! {
        #[test]
        fn ascii_comes_back_and_other_characters_are_marked_one_for_one(text in "[ -~\n]{0,40}", other in "\\PC{0,10}") {
            let tokenizer = Tokenizer::characters();
            prop_assume!(!["<pad>", "<bos>", "<eos>"].iter().any(|special| text.contains(special) || other.contains(special)));
            prop_assert_eq!(&tokenizer.decode(&tokenizer.encode(&text)), &text);
            let marked: String = other.chars().map(|c| if (' '..='~').contains(&c) { c } else { '\u{FFFD}' }).collect();
            prop_assert_eq!(tokenizer.decode(&tokenizer.encode(&other)), marked);
        }
    }
}
