//! The tokenizer that a GGUF file carries, on its way from the file (engine) to a tokenizer (text).

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
