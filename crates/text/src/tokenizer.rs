//! Text to ids and back.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use lapidary_core::{Kind, Problem, Result, catch_panic};
use serde_json::{Map, Value};
use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::{Model, Tokenizer as Reader};

use crate::specials::Specials;
use crate::{ChatTemplate, files, peek};

/// A model's tokenizer with its special tokens and chat templates. Cloning shares everything.
#[derive(Clone)]
pub struct Tokenizer(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    /// Text at the start of a sequence.
    pub reader: Reader,
    /// Text that follows other text, where the tokenizer puts a blank before the first word (SentencePiece's dummy prefix).
    pub follower: Option<Reader>,
    pub specials: Specials,
    /// Whether a plain prompt starts with `bos`.
    pub add_bos: bool,
    /// Templates by name; Hugging Face's names are `default` and `tool_use`.
    pub templates: Vec<(String, ChatTemplate)>,
    /// `tokenizer_config.json` as it was, without templates.
    pub config: Map<String, Value>,
    /// Largest id plus one.
    pub vocabulary: usize,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer").field("vocabulary", &self.0.vocabulary).field("eos", &self.eos()).finish()
    }
}

/// Everything a [`Tokenizer`] is made of but what is derived from it.
pub(crate) struct Parts {
    pub reader: Reader,
    pub specials: Specials,
    /// `None`: as the post-processor of `tokenizer.json` does.
    pub add_bos: Option<bool>,
    pub templates: Vec<(String, ChatTemplate)>,
    pub config: Map<String, Value>,
}

impl Tokenizer {
    pub(crate) fn from_parts(parts: Parts) -> Self {
        let Parts { reader, specials, add_bos, templates, config } = parts;
        let vocabulary = reader.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1);
        let add_bos = specials.bos.is_some() && add_bos.unwrap_or_else(|| starts_with_bos(&reader, &specials));
        let follower = without_prefix(&reader);
        Tokenizer(Arc::new(Inner { reader, follower, specials, add_bos, templates, config, vocabulary }))
    }

    /// Ids of a text that starts a sequence. Nothing is added; texts of special tokens inside are read as those tokens.
    ///
    /// A character that the tokenizer has no token for becomes its unknown token, or nothing where it has none.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        encode(&self.0.reader, text)
    }

    /// Ids of a text that follows other text: as [`Tokenizer::encode`], but no blank is put before the first word.
    pub fn encode_continuation(&self, text: &str) -> Vec<u32> {
        encode(self.0.follower.as_ref().unwrap_or(&self.0.reader), text)
    }

    /// The text of ids, without special tokens. Bytes that are no UTF-8 (half a character, say) become U+FFFD; ids that
    /// no token has are skipped.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.0.reader.decode(ids, true).unwrap_or_default()
    }

    /// The text of ids, special tokens as they are written.
    pub fn decode_with_specials(&self, ids: &[u32]) -> String {
        self.0.reader.decode(ids, false).unwrap_or_default()
    }

    /// One token for people to read: blanks as blanks, half a character as U+FFFD, an unknown id as `<id>`.
    pub fn token_text(&self, id: u32) -> String {
        let Some(token) = self.0.reader.id_to_token(id) else { return format!("<{id}>") };
        match token.strip_prefix('▁') {
            Some(rest) if self.0.follower.is_some() => format!(" {}", rest.replace('▁', " ")),
            _ => self.decode_with_specials(&[id]),
        }
    }

    /// The id of a token given as it is written in the vocabulary.
    pub fn id_of(&self, token: &str) -> Option<u32> {
        self.0.reader.token_to_id(token)
    }

    /// Whether the id is a special token: skipped by [`Tokenizer::decode`].
    pub fn is_special(&self, id: u32) -> bool {
        let added = self.0.reader.get_added_vocabulary();
        added.simple_id_to_token(id).is_some_and(|token| added.is_special_token(&token))
    }

    /// The largest id plus one: how many rows of an embedding it can address.
    pub fn vocabulary(&self) -> usize {
        self.0.vocabulary
    }

    /// Refuses a model with fewer rows than this tokenizer has ids. Further rows are padding and never appear in text.
    pub fn check_vocabulary(&self, model_vocabulary: usize) -> Result<()> {
        if self.0.vocabulary <= model_vocabulary {
            return Ok(());
        }
        let (last, ids) = (self.0.vocabulary as u32 - 1, self.0.vocabulary);
        let message = format!("the tokenizer has {ids} ids but the model has {model_vocabulary} rows");
        Err(Problem::new(Kind::Model, "T005", message)
            .why(format!("id {last} is `{}`, which the model could not be given", self.token_text(last)))
            .hint("use the tokenizer that came with this model"))
    }

    /// The token that starts a sequence.
    pub fn bos(&self) -> Option<u32> {
        self.0.specials.bos.as_ref().map(|special| special.id)
    }

    /// The token that ends an answer.
    pub fn eos(&self) -> Option<u32> {
        self.0.specials.eos.as_ref().map(|special| special.id)
    }

    /// The padding token. Nothing of Lapidary pads; it is kept for others.
    pub fn pad(&self) -> Option<u32> {
        self.0.specials.pad.as_ref().map(|special| special.id)
    }

    /// Every token that ends an answer: [`Tokenizer::eos`] and those that the model's generation config adds. Ascending.
    pub fn end_tokens(&self) -> &[u32] {
        &self.0.specials.ends
    }

    /// Whether a plain prompt starts with [`Tokenizer::bos`].
    pub fn adds_bos(&self) -> bool {
        self.0.add_bos
    }

    /// The model's chat template.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.template_for(false)
    }

    /// The template for a conversation with or without tools, as Hugging Face chooses among named ones.
    pub(crate) fn template_for(&self, tools: bool) -> Option<&ChatTemplate> {
        let find =
            |wanted: &str| self.0.templates.iter().find(|(name, _)| name == wanted).map(|(_, template)| template);
        if tools { find("tool_use").or_else(|| find("default")) } else { find("default") }
    }

    /// The same tokenizer with another chat template, or with none.
    pub fn with_chat_template(&self, template: Option<ChatTemplate>) -> Self {
        let inner = &self.0;
        Self::from_parts(Parts {
            reader: inner.reader.clone(),
            specials: inner.specials.clone(),
            add_bos: Some(inner.add_bos),
            templates: template.into_iter().map(|template| ("default".to_string(), template)).collect(),
            config: inner.config.clone(),
        })
    }
}

/// Reads the text of a `tokenizer.json` and takes out what would change ids behind the caller's back: truncation,
/// padding and the random dropping of merges.
pub(crate) fn read(path: &Path, text: &str) -> Result<Reader> {
    peek::check(path, text)?;
    let unusable = |why: String| {
        Problem::new(Kind::Model, "T002", format!("`{}` is not a usable tokenizer", path.display()))
            .why(why)
            .hint("save the tokenizer again with the program that made it")
    };
    // The reader is not ours: should one of its own assumptions break on a hostile file, that is a problem of the file.
    let mut reader = match catch_panic(|| text.parse::<Reader>()) {
        Ok(Ok(reader)) => reader,
        Ok(Err(error)) => {
            return Err(match serde_json::from_str::<serde::de::IgnoredAny>(text) {
                Err(json) => files::broken_json(path, text, &json),
                Ok(_) => unusable(error.to_string()),
            });
        }
        Err(_) => return Err(unusable("reading it broke the reader".to_string())),
    };
    reader.with_padding(None);
    reader.with_truncation(None).map_err(|error| unusable(error.to_string()))?;
    if let ModelWrapper::BPE(bpe) = reader.get_model()
        && bpe.dropout.is_some()
    {
        let mut bpe = bpe.clone();
        bpe.dropout = None;
        reader.with_model(bpe);
    }
    let unknown = match reader.get_model() {
        ModelWrapper::BPE(bpe) => bpe.unk_token.clone(),
        ModelWrapper::WordLevel(words) => Some(words.unk_token.clone()),
        ModelWrapper::WordPiece(pieces) => Some(pieces.unk_token.clone()),
        ModelWrapper::Unigram(_) => None,
    };
    match unknown {
        Some(token) if reader.get_model().token_to_id(&token).is_none() => {
            Err(unusable(format!("its unknown token `{token}` is not in its vocabulary")))
        }
        _ => Ok(reader),
    }
}

fn encode(reader: &Reader, text: &str) -> Vec<u32> {
    match reader.encode_fast(text, false) {
        Ok(encoding) => encoding.get_ids().to_vec(),
        // Only a character without any token can fail; `read` has made sure that all others do not depend on it.
        Err(_) => {
            let mut buffer = [0; 4];
            let one = |c: char| reader.encode_fast(&*c.encode_utf8(&mut buffer), false);
            text.chars().map(one).filter_map(Result::ok).flat_map(|encoding| encoding.get_ids().to_vec()).collect()
        }
    }
}

/// Whether the post-processor puts `bos` first.
fn starts_with_bos(reader: &Reader, specials: &Specials) -> bool {
    let first = reader.encode_fast("", true).ok().and_then(|encoding| encoding.get_ids().first().copied());
    first.is_some() && first == specials.bos.as_ref().map(|special| special.id)
}

/// The same reader without the blank before the first word; `None` where it puts none.
fn without_prefix(reader: &Reader) -> Option<Reader> {
    let (mut normalizer, mut splitter) = (reader.get_normalizer().cloned(), reader.get_pre_tokenizer().cloned());
    let mut found = false;
    match &mut normalizer {
        Some(NormalizerWrapper::Prepend(_)) => {
            found = true;
            normalizer = None;
        }
        Some(NormalizerWrapper::Sequence(sequence)) => {
            let all: Vec<NormalizerWrapper> = sequence.as_ref().to_vec();
            let kept: Vec<_> =
                all.iter().filter(|step| !matches!(step, NormalizerWrapper::Prepend(_))).cloned().collect();
            found = kept.len() < all.len();
            *sequence = tokenizers::normalizers::Sequence::new(kept);
        }
        _ => {}
    }
    match &mut splitter {
        Some(PreTokenizerWrapper::Sequence(sequence)) => {
            for step in sequence.as_mut() {
                found |= drop_prefix(step);
            }
        }
        Some(step) => found |= drop_prefix(step),
        None => {}
    }
    if !found {
        return None;
    }
    let mut follower = reader.clone();
    follower.with_pre_tokenizer(splitter);
    follower.with_normalizer(normalizer).ok()?;
    Some(follower)
}

fn drop_prefix(step: &mut PreTokenizerWrapper) -> bool {
    match step {
        PreTokenizerWrapper::Metaspace(metaspace) if metaspace.get_prepend_scheme() != PrependScheme::Never => {
            metaspace.set_prepend_scheme(PrependScheme::Never);
            true
        }
        PreTokenizerWrapper::ByteLevel(bytes) if bytes.add_prefix_space => {
            bytes.add_prefix_space = false;
            true
        }
        _ => false,
    }
}
