//! Tokenizers from the metadata of a GGUF file.

use std::collections::HashMap;
use std::path::Path;

use lapidary_core::{Kind, Problem, Result};
use serde_json::{Map, Value, json};

use crate::ChatTemplate;
use crate::specials::Specials;
use crate::tokenizer::{Parts, Tokenizer, read};

/// The `tokenizer.ggml.*` entries of a GGUF file, as they are there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GgufVocabulary {
    /// `model`: `gpt2` (byte-level BPE with merges) or `llama` (SentencePiece-like BPE with scores).
    pub model: String,
    /// `pre`: how text is cut before merging (`smollm`, `qwen2`, `llama-bpe`, …); empty counts as `default`.
    pub pre: String,
    /// `tokens`: one text per id.
    pub tokens: Vec<String>,
    /// `merges`: `left right`, likeliest first; only for `gpt2`.
    pub merges: Vec<String>,
    /// `scores`: one per token; only for `llama`, where higher merges earlier.
    pub scores: Vec<f32>,
    /// `token_type`: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte. Empty counts as all normal.
    pub token_types: Vec<i32>,
    /// `bos_token_id`.
    pub bos: Option<u32>,
    /// `eos_token_id`.
    pub eos: Option<u32>,
    /// `padding_token_id`.
    pub pad: Option<u32>,
    /// `add_bos_token`; where absent, yes for `llama` and `llama-bpe`, else no (as llama.cpp).
    pub add_bos: Option<bool>,
    /// `add_space_prefix`; where absent, yes. Only for `llama`.
    pub add_space_prefix: Option<bool>,
    /// `tokenizer.chat_template`.
    pub chat_template: Option<String>,
}

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
    pub fn from_gguf(vocabulary: GgufVocabulary) -> Result<Self> {
        let path = Path::new("tokenizer.ggml of the GGUF file");
        check(&vocabulary)?;
        let file = match vocabulary.model.as_str() {
            "gpt2" => byte_level(&vocabulary)?,
            "llama" => sentence_piece(&vocabulary)?,
            other => return Err(unusable(format!("its tokenizer model `{other}` is not supported"))),
        };
        let reader = read(path, &file.to_string())?;
        let named = [("bos_token", vocabulary.bos), ("eos_token", vocabulary.eos), ("pad_token", vocabulary.pad)]
            .into_iter()
            .filter_map(|(role, id)| Some((role.to_string(), vocabulary.tokens.get(id? as usize)?.clone())))
            .collect();
        let specials = Specials::resolve(named, |text| reader.token_to_id(text), path)?;
        let add_bos = Some(adds_bos(&vocabulary));
        let template = vocabulary.chat_template.map(|source| ("default".to_string(), ChatTemplate::new(source, path)));
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
        "post_processor": null, "decoder": bytes(true),
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
        "post_processor": null, "decoder": {"type": "Sequence", "decoders": decoders},
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `<unk> <s> </s>`, all bytes, then pieces with scores.
    fn llama(pieces: &[(&str, f32)]) -> GgufVocabulary {
        let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_string).to_vec();
        tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
        let mut token_types = vec![UNKNOWN, CONTROL, CONTROL];
        token_types.extend([BYTE; 256]);
        let mut scores = vec![0.0; tokens.len()];
        for (piece, score) in pieces {
            tokens.push(piece.to_string());
            token_types.push(1);
            scores.push(*score);
        }
        GgufVocabulary {
            model: "llama".to_string(),
            tokens,
            scores,
            token_types,
            bos: Some(1),
            eos: Some(2),
            ..GgufVocabulary::default()
        }
    }

    const PIECES: [(&str, f32); 8] =
        [("▁", -9.0), ("a", -8.0), ("b", -7.0), ("ab", -2.0), ("ba", -1.0), ("▁a", -3.0), ("aba", -4.0), ("▁ab", -5.0)];

    #[test]
    fn merges_follow_the_scores() {
        let merges = merges_by_score(&llama(&PIECES));
        let merges: Vec<String> = merges.into_iter().map(|(left, right)| format!("{left} {right}")).collect();
        assert_eq!(merges, ["b a", "a b", "▁ a", "ab a", "a ba", "▁a b", "▁ ab"]);
    }

    #[test]
    fn sentence_piece_ids_are_those_of_the_greedy_rule() {
        let tokenizer = Tokenizer::from_gguf(llama(&PIECES)).unwrap();
        let id = |piece: &str| 259 + PIECES.iter().position(|(known, _)| *known == piece).unwrap() as u32;
        // ▁ a b a: the best pair is `b a`, then `▁ a`. Without the blank: `b a`, then `a ba`.
        assert_eq!(tokenizer.encode("aba"), [id("▁a"), id("ba")]);
        assert_eq!(tokenizer.encode_continuation("aba"), [id("aba")]);
        assert_eq!(tokenizer.encode("é"), [id("▁"), 3 + 0xC3, 3 + 0xA9]);
        assert_eq!(tokenizer.decode(&tokenizer.encode("a é b")), "a é b");
        assert_eq!(tokenizer.decode(&[3 + 0xC3]), "\u{FFFD}");
        assert_eq!(tokenizer.token_text(id("▁ab")), " ab");
        assert!(tokenizer.adds_bos());
    }

    #[test]
    fn bos_and_blanks_follow_the_flags() {
        let plain = GgufVocabulary { add_bos: Some(false), add_space_prefix: Some(false), ..llama(&PIECES) };
        let tokenizer = Tokenizer::from_gguf(plain).unwrap();
        assert!(!tokenizer.adds_bos());
        assert_eq!(tokenizer.encode("ab"), tokenizer.encode_continuation("ab"));
        assert_eq!(tokenizer.decode(&tokenizer.encode(" ab")), " ab");
    }

    fn gpt2(pre: &str) -> GgufVocabulary {
        let letters = ["<|end|>", "1", "2", "3", "12", "123", "a", "Ġ", "Ġa", "Ċ"];
        GgufVocabulary {
            model: "gpt2".to_string(),
            pre: pre.to_string(),
            tokens: letters.map(str::to_string).to_vec(),
            merges: ["1 2", "12 3", "Ġ a"].map(str::to_string).to_vec(),
            token_types: vec![CONTROL, 1, 1, 1, 1, 1, 1, 1, 1, 1],
            bos: Some(0),
            eos: Some(0),
            ..GgufVocabulary::default()
        }
    }

    #[test]
    fn digits_are_cut_as_the_family_cuts_them() {
        let ids = |pre: &str| Tokenizer::from_gguf(gpt2(pre)).unwrap().encode("1231 a\n");
        assert_eq!(ids("smollm"), [1, 2, 3, 1, 8, 9]);
        assert_eq!(ids("qwen2"), [1, 2, 3, 1, 8, 9]);
        assert_eq!(ids("llama-bpe"), [5, 1, 8, 9]);
        assert_eq!(ids("gpt-2"), [5, 1, 8, 9]);
        assert_eq!(ids(""), ids("default"));
        assert!(Tokenizer::from_gguf(gpt2("llama-bpe")).unwrap().adds_bos());
        assert!(!Tokenizer::from_gguf(gpt2("qwen2")).unwrap().adds_bos());
        let forced = GgufVocabulary { add_bos: Some(true), ..gpt2("qwen2") };
        assert!(Tokenizer::from_gguf(forced).unwrap().adds_bos());
    }

    #[test]
    fn unusable_vocabularies_say_why() {
        let refused = |change: &dyn Fn(&mut GgufVocabulary), words: &str| {
            let mut vocabulary = gpt2("smollm");
            change(&mut vocabulary);
            let problem = Tokenizer::from_gguf(vocabulary).unwrap_err();
            assert_eq!(problem.code(), "T006");
            assert!(problem.to_string().contains(words), "{problem}");
        };
        refused(&|v| v.tokens.clear(), "no tokens");
        refused(&|v| v.tokens[1] = "2".into(), "tokens 1 and 2 are both `2`");
        refused(&|v| v.eos = Some(10), "eos token is 10");
        refused(&|v| v.scores = vec![0.0; 3], "10 tokens but 3 scores");
        refused(&|v| v.merges[0] = "12".into(), "merge 0");
        refused(&|v| v.model = "bert".into(), "`bert`");
        refused(&|v| v.pre = "jina".into(), "`jina`");
        refused(&|v| v.model = "llama".into(), "no scores");
        let mut broken = gpt2("smollm");
        broken.merges[0] = "1 9".into();
        assert_eq!(Tokenizer::from_gguf(broken).unwrap_err().code(), "T002");
    }
}
