//! Tokenizers from the metadata of a GGUF file.

use std::collections::HashMap;
use std::path::Path;

use lapidary_core::{GgufVocabulary, Kind, Problem, Result};
use serde_json::{Map, Value, json};

use crate::ChatTemplate;
use crate::characters::starts_with;
use crate::specials::Specials;
use crate::tokenizer::{Parts, Tokenizer, read};

const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER: i32 = 4;
const BYTE: i32 = 6;

/// Llama 3's cut (`pre = llama-bpe`): contractions, words with one leading mark, up to three digits, other marks, newlines.
const CUT_LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen 2's cut: the same with single digits.
const CUT_QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Tokenizer {
    /// Builds the tokenizer that a GGUF file describes. Its ids are those of the Hugging Face tokenizer that the file was
    /// made from.
    ///
    /// # Errors
    /// T006 for a vocabulary that contradicts itself or uses a layout that is not supported.
    pub fn from_gguf(vocabulary: &GgufVocabulary) -> Result<Self> {
        let path = Path::new("tokenizer.ggml of the GGUF file");
        check(vocabulary)?;
        let file = match vocabulary.model.as_str() {
            "gpt2" => byte_level(vocabulary)?,
            "llama" => sentence_piece(vocabulary)?,
            other => return Err(unusable(format!("its tokenizer model `{other}` is not supported"))),
        };
        let reader = read(path, &file.to_string())?;
        let named = [("bos_token", vocabulary.bos), ("eos_token", vocabulary.eos), ("pad_token", vocabulary.pad)]
            .into_iter()
            .filter_map(|(role, id)| Some((role.to_string(), vocabulary.tokens.get(id? as usize)?.clone())))
            .collect();
        let specials = Specials::resolve(named, |text| reader.token_to_id(text), path)?;
        let add_bos = Some(adds_bos(vocabulary));
        let template =
            vocabulary.chat_template.clone().map(|source| ("default".to_string(), ChatTemplate::new(source, path)));
        let templates = template.into_iter().collect();
        Ok(Tokenizer::from_parts(Parts { reader, specials, add_bos, templates, config: Map::new() }))
    }
}

fn unusable(why: String) -> Problem {
    Problem::new(Kind::Model, "T006", "the GGUF file holds a vocabulary that cannot be used")
        .why(why)
        .hint("use the model's Hugging Face directory instead")
}

fn adds_bos(vocabulary: &GgufVocabulary) -> bool {
    let usual = vocabulary.model == "llama" || matches!(vocabulary.pre.as_str(), "llama-bpe" | "llama3" | "llama-v3");
    vocabulary.bos.is_some() && vocabulary.add_bos.unwrap_or(usual)
}

/// Lengths, ids and uniqueness.
fn check(vocabulary: &GgufVocabulary) -> Result<()> {
    let count = vocabulary.tokens.len();
    if count == 0 {
        return Err(unusable("it has no tokens".to_string()));
    }
    for (name, length) in [("scores", vocabulary.scores.len()), ("token types", vocabulary.token_types.len())] {
        if length != 0 && length != count {
            return Err(unusable(format!("it has {count} tokens but {length} {name}")));
        }
    }
    for (name, id) in [("bos", vocabulary.bos), ("eos", vocabulary.eos), ("padding", vocabulary.pad)] {
        if let Some(id) = id.filter(|&id| id as usize >= count) {
            return Err(unusable(format!("its {name} token is {id}, but it has {count} tokens")));
        }
    }
    let mut seen = HashMap::with_capacity(count);
    for (id, token) in vocabulary.tokens.iter().enumerate() {
        if let Some(first) = seen.insert(token, id) {
            return Err(unusable(format!("tokens {first} and {id} are both `{token}`")));
        }
    }
    Ok(())
}

fn kind_of(vocabulary: &GgufVocabulary, id: usize) -> i32 {
    vocabulary.token_types.get(id).copied().unwrap_or(1)
}

/// Tokens that are found in text before anything is cut: control tokens (special) and those defined by the user.
fn added(vocabulary: &GgufVocabulary) -> Vec<Value> {
    let named = [vocabulary.bos, vocabulary.eos, vocabulary.pad];
    let one = |(id, token): (usize, &String)| {
        let special = matches!(kind_of(vocabulary, id), CONTROL | UNKNOWN) || named.contains(&Some(id as u32));
        (special || kind_of(vocabulary, id) == USER).then(|| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": special})
        })
    };
    vocabulary.tokens.iter().enumerate().filter_map(one).collect()
}

fn vocab(vocabulary: &GgufVocabulary) -> Map<String, Value> {
    vocabulary.tokens.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect()
}

/// `bos` before every sequence where the file says so, so that Hugging Face does the same.
fn processor(vocabulary: &GgufVocabulary) -> Value {
    match vocabulary.bos {
        Some(id) if adds_bos(vocabulary) => starts_with(&vocabulary.tokens[id as usize], id),
        _ => Value::Null,
    }
}

/// GPT-2's layout: bytes as visible characters, merges in order.
fn byte_level(vocabulary: &GgufVocabulary) -> Result<Value> {
    let bytes = |own_cut: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": own_cut});
    let cut = |pattern: &str| {
        json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false}, bytes(false)]})
    };
    let (normalizer, cutter) = match vocabulary.pre.as_str() {
        "" | "default" | "gpt-2" | "gpt2" => (Value::Null, bytes(true)),
        "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" | "minerva-7b" => {
            let digits = json!({"type": "Digits", "individual_digits": true});
            (Value::Null, json!({"type": "Sequence", "pretokenizers": [digits, bytes(true)]}))
        }
        "qwen2" | "deepseek-r1-qwen" => (json!({"type": "NFC"}), cut(CUT_QWEN2)),
        "llama-bpe" | "llama3" | "llama-v3" => (Value::Null, cut(CUT_LLAMA3)),
        other => {
            return Err(unusable(format!(
                "its pre-tokenizer `{other}` is not one of default, gpt-2, smollm, qwen2, llama-bpe"
            )));
        }
    };
    let mut merges = Vec::with_capacity(vocabulary.merges.len());
    for (rank, merge) in vocabulary.merges.iter().enumerate() {
        let Some((left, right)) = merge.split_once(' ') else {
            return Err(unusable(format!("its merge {rank} is `{merge}`, which is not a pair")));
        };
        merges.push(json!([left, right]));
    }
    // Llama 3 takes a whole word that is a token without asking the merges.
    let whole_words = matches!(vocabulary.pre.as_str(), "llama-bpe" | "llama3" | "llama-v3");
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added(vocabulary), "normalizer": normalizer, "pre_tokenizer": cutter,
        "post_processor": processor(vocabulary), "decoder": bytes(true),
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": whole_words,
                  "vocab": vocab(vocabulary), "merges": merges}
    }))
}

/// Llama 2's layout: blanks as `▁`, one before the first word, unknown characters as bytes.
fn sentence_piece(vocabulary: &GgufVocabulary) -> Result<Value> {
    if vocabulary.scores.is_empty() {
        return Err(unusable("it has no scores, so the order of merges is unknown".to_string()));
    }
    let unknown = (0..vocabulary.tokens.len()).find(|&id| kind_of(vocabulary, id) == UNKNOWN);
    let unknown = unknown.or_else(|| vocabulary.tokens.iter().position(|token| token == "<unk>"));
    let prefix = vocabulary.add_space_prefix.unwrap_or(true);
    let blanks = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    let normalizer = if prefix {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, blanks]})
    } else {
        blanks
    };
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added(vocabulary), "normalizer": normalizer, "pre_tokenizer": null,
        "post_processor": processor(vocabulary), "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {"type": "BPE", "dropout": null, "unk_token": unknown.map(|id| vocabulary.tokens[id].clone()),
                  "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
                  "byte_fallback": true, "ignore_merges": false,
                  "vocab": vocab(vocabulary), "merges": merges_by_score(vocabulary)}
    }))
}

/// Merges in the order in which SentencePiece would make them: every way to cut a token into two tokens, by descending
/// score of the whole. Equal scores: longer left part first, then longer right part, then lower ids, which is the order
/// of `transformers` (`convert_slow_tokenizer.generate_merges`), so that the saved files agree with its own.
fn merges_by_score(vocabulary: &GgufVocabulary) -> Vec<(String, String)> {
    let usable = |id: usize| !matches!(kind_of(vocabulary, id), CONTROL | UNKNOWN | BYTE);
    let ids: HashMap<&str, usize> = vocabulary
        .tokens
        .iter()
        .enumerate()
        .filter(|(id, _)| usable(*id))
        .map(|(id, token)| (token.as_str(), id))
        .collect();
    let mut merges = Vec::new();
    for (id, token) in vocabulary.tokens.iter().enumerate().filter(|(id, _)| usable(*id)) {
        let first = merges.len();
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(&left_id), Some(&right_id)) = (ids.get(left), ids.get(right)) {
                let lengths = (left.chars().count(), right.chars().count());
                merges.push((vocabulary.scores[id], lengths, left_id, right_id));
            }
        }
        merges[first..].sort_by_key(|&(_, _, left, right)| (left, right));
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
    let text = |id: usize| vocabulary.tokens[id].clone();
    merges.into_iter().map(|(_, _, left, right)| (text(left), text(right))).collect()
}
