//! Reading and writing the tokenizer files of a Hugging Face directory.

use std::path::Path;

use lapidary_core::{Kind, Problem, Result};
use serde_json::{Map, Value, json};

use crate::specials::{Specials, end_ids, named};
use crate::tokenizer::{Parts, Tokenizer, read};
use crate::{ChatTemplate, files, limits};

const TOKENIZER: &str = "tokenizer.json";
const CONFIG: &str = "tokenizer_config.json";
const SPECIALS: &str = "special_tokens_map.json";
const TEMPLATE: &str = "chat_template.jinja";

impl Tokenizer {
    /// Reads a Hugging Face directory: `tokenizer.json`, and where they exist `tokenizer_config.json`,
    /// `special_tokens_map.json`, `chat_template.jinja`, and the end tokens of `generation_config.json` or `config.json`.
    ///
    /// Truncation, padding and merge dropout that the files ask for are left out: ids depend on the text alone.
    pub fn from_directory(directory: &Path) -> Result<Self> {
        let path = directory.join(TOKENIZER);
        let Some(text) = files::read_text(&path, limits::TOKENIZER_BYTES)? else {
            return Err(missing(directory));
        };
        let reader = read(&path, &text)?;
        let object = |name: &str| files::read_object(&directory.join(name), limits::CONFIG_BYTES);
        let mut config = object(CONFIG)?.unwrap_or_default();
        let mut names = named(&config);
        for (role, token) in object(SPECIALS)?.map(|map| named(&map)).unwrap_or_default() {
            if !names.iter().any(|(known, _)| *known == role) {
                names.push((role, token));
            }
        }
        let mut specials = Specials::resolve(names, |token| reader.token_to_id(token), &directory.join(CONFIG))?;
        for name in ["generation_config.json", "config.json"] {
            let ends = object(name)?.map(|config| end_ids(&config)).unwrap_or_default();
            if !ends.is_empty() {
                specials.add_ends(&ends, |id| reader.id_to_token(id));
                break;
            }
        }
        let templates = templates(directory, config.shift_remove("chat_template"))?;
        let add_bos = config.get("add_bos_token").and_then(Value::as_bool);
        Ok(Tokenizer::from_parts(Parts { reader, specials, add_bos, templates, config }))
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json` (with the chat template) into an existing directory, so that
    /// Hugging Face and [`Tokenizer::from_directory`] load the same tokenizer from it.
    pub fn save(&self, directory: &Path) -> Result<()> {
        let bug = |error: &dyn std::fmt::Display| {
            Problem::new(Kind::Failed, "T002", format!("the tokenizer could not be written down: {error}"))
        };
        let tokenizer = self.0.reader.to_string(false).map_err(|error| bug(&error))?;
        files::write(&directory.join(TOKENIZER), tokenizer.as_bytes())?;
        let config = serde_json::to_string_pretty(&self.config()).map_err(|error| bug(&error))?;
        files::write(&directory.join(CONFIG), (config + "\n").as_bytes())
    }

    /// `tokenizer_config.json` with everything that this tokenizer knows.
    fn config(&self) -> Value {
        let inner = &self.0;
        let mut config = inner.config.clone();
        for (role, text) in &inner.specials.named {
            if !config.get(role).is_some_and(Value::is_object) {
                config.insert(role.clone(), text.clone().into());
            }
        }
        config.insert("add_bos_token".to_string(), inner.add_bos.into());
        config.entry("tokenizer_class").or_insert_with(|| "PreTrainedTokenizerFast".into());
        config.entry("clean_up_tokenization_spaces").or_insert(false.into());
        match inner.templates.as_slice() {
            [] => {}
            [(name, template)] if name == "default" => {
                config.insert("chat_template".to_string(), template.source().into());
            }
            many => {
                let list = many.iter().map(|(name, template)| json!({"name": name, "template": template.source()}));
                config.insert("chat_template".to_string(), Value::Array(list.collect()));
            }
        }
        Value::Object(config)
    }
}

/// The templates of a directory: the file wins over `chat_template` of the configuration, which is a text or a list.
fn templates(directory: &Path, configured: Option<Value>) -> Result<Vec<(String, ChatTemplate)>> {
    let path = directory.join(TEMPLATE);
    if let Some(source) = files::read_text(&path, limits::CONFIG_BYTES)? {
        return Ok(vec![("default".to_string(), ChatTemplate::new(source, path))]);
    }
    let path = directory.join(format!("{CONFIG}#chat_template"));
    let text = |object: &Map<String, Value>, key: &str| object.get(key).and_then(Value::as_str).map(str::to_string);
    Ok(match configured {
        Some(Value::String(source)) => vec![("default".to_string(), ChatTemplate::new(source, path))],
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(Value::as_object)
            .filter_map(|entry| Some((text(entry, "name")?, text(entry, "template")?)))
            .map(|(name, source)| (name, ChatTemplate::new(source, path.clone())))
            .collect(),
        _ => Vec::new(),
    })
}

/// No `tokenizer.json`: says what is there instead and how it is converted.
fn missing(directory: &Path) -> Problem {
    let problem = Problem::new(Kind::Model, "T001", format!("`{}` has no {TOKENIZER}", directory.display()));
    let convert = format!(
        "convert it once: python -c \"from transformers import AutoTokenizer as T; \
         T.from_pretrained('{0}', use_fast=True).save_pretrained('{0}')\"",
        directory.display()
    );
    let has = |name: &str| directory.join(name).is_file();
    if !directory.is_dir() {
        problem.why("there is no such directory").hint("check the path of the model")
    } else if has("tokenizer.model") || has("spiece.model") {
        problem.why("it has a SentencePiece .model file, which Lapidary does not read").hint(convert)
    } else if has("vocab.json") || has("tekken.json") {
        problem.why("it has a tokenizer in an older layout, which Lapidary does not read").hint(convert)
    } else {
        problem.hint("copy tokenizer.json and tokenizer_config.json of the model into it")
    }
}
