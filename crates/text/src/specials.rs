//! The tokens with a meaning: start, end, padding.

use std::path::Path;

use lapidary_core::{Kind, Problem, Result};
use serde_json::{Map, Value};

/// Texts that the chat template and Hugging Face know by name, in the order they were given.
pub(crate) type Named = Vec<(String, String)>;

/// A token with a meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Special {
    /// Its id.
    pub id: u32,
    /// Its text.
    pub text: String,
}

/// Start, end and padding of a tokenizer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Specials {
    pub bos: Option<Special>,
    pub eos: Option<Special>,
    pub pad: Option<Special>,
    /// Every token that ends an answer: `eos` and those that the model's generation config adds. Ascending.
    pub ends: Vec<u32>,
    /// `bos_token`, `eos_token`, `unk_token`, … with their texts.
    pub named: Named,
}

/// The `…_token` entries of a configuration: a text, or an object with its `content`.
pub(crate) fn named(config: &Map<String, Value>) -> Named {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(object) => object.get("content").and_then(Value::as_str).map(str::to_string),
        _ => None,
    };
    config
        .iter()
        .filter(|(key, _)| key.ends_with("_token"))
        .filter_map(|(key, value)| Some((key.clone(), text(value)?)))
        .collect()
}

/// The end tokens of `generation_config.json` or `config.json`: a number or a list of them.
pub(crate) fn end_ids(config: &Map<String, Value>) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match config.get("eos_token_id") {
        Some(Value::Array(list)) => list.iter().filter_map(id).collect(),
        Some(value) => id(value).into_iter().collect(),
        None => Vec::new(),
    }
}

impl Specials {
    /// Looks the named texts up. A start or end token that the vocabulary lacks is a problem; padding is only for others.
    pub fn resolve(named: Named, lookup: impl Fn(&str) -> Option<u32>, path: &Path) -> Result<Self> {
        let find = |role: &str, needed: bool| -> Result<Option<Special>> {
            let Some((_, text)) = named.iter().find(|(key, _)| key == role) else { return Ok(None) };
            match lookup(text) {
                Some(id) => Ok(Some(Special { id, text: text.clone() })),
                None if needed => Err(Problem::new(
                    Kind::Model,
                    "T004",
                    format!("`{}` names `{text}` as {role}, which the vocabulary does not hold", path.display()),
                )
                .hint("the tokenizer files belong to different models: copy all of them from one")),
                None => Ok(None),
            }
        };
        let (bos, eos, pad) = (find("bos_token", true)?, find("eos_token", true)?, find("pad_token", false)?);
        let ends = eos.iter().map(|special| special.id).collect();
        Ok(Self { bos, eos, pad, ends, named })
    }

    /// Adds end tokens; the first becomes `eos` where there is none.
    pub fn add_ends(&mut self, ids: &[u32], token: impl Fn(u32) -> Option<String>) {
        for &id in ids {
            let Some(text) = token(id) else { continue };
            if self.eos.is_none() {
                self.named.push(("eos_token".to_string(), text.clone()));
                self.eos = Some(Special { id, text });
            }
            self.ends.push(id);
        }
        self.ends.sort_unstable();
        self.ends.dedup();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_as_text_or_as_object() {
        let config: Map<String, Value> = serde_json::from_str(
            r#"{"bos_token": null, "eos_token": {"content": "</s>", "lstrip": false}, "pad_token": "<p>", "add_bos_token": true}"#,
        )
        .unwrap();
        let got = named(&config);
        assert_eq!(got, [("eos_token".into(), "</s>".into()), ("pad_token".into(), "<p>".into())]);
        let lookup = |text: &str| (text == "</s>").then_some(2);
        let specials = Specials::resolve(got, lookup, Path::new("x")).unwrap();
        assert_eq!((specials.eos.unwrap().id, specials.pad, specials.bos), (2, None, None));
    }

    #[test]
    fn a_missing_end_token_is_named() {
        let named = vec![("eos_token".to_string(), "<|end|>".to_string())];
        let problem = Specials::resolve(named, |_| None, Path::new("tokenizer_config.json")).unwrap_err();
        assert_eq!(problem.code(), "T004");
        assert!(problem.message().contains("<|end|>"));
    }

    #[test]
    fn generation_configs_hold_one_id_or_many() {
        let read = |text: &str| end_ids(&serde_json::from_str(text).unwrap());
        assert_eq!(read(r#"{"eos_token_id": 7}"#), [7]);
        assert_eq!(read(r#"{"eos_token_id": [128001, 128009]}"#), [128001, 128009]);
        assert_eq!(read(r#"{"eos_token_id": null}"#), [0; 0]);
    }
}
