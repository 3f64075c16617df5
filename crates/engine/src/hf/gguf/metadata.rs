//! What a GGUF file's metadata says about the model and its vocabulary.

use std::path::Path;

use lapidary_core::{GgufVocabulary, Kind, Problem, Result};
use serde_json::json;

use super::header::{Header, Value};
use crate::hf::config::shortest;

/// Tensor of the divisors of the rotary frequencies.
pub(super) const ROPE_FACTORS: &str = "rope_freqs.weight";
/// What every published model with llama3 scaling uses; GGUF stores only the divisors that follow from it.
const LLAMA3_LOW: f64 = 1.0;
const LLAMA3_HIGH: f64 = 4.0;
const LLAMA3_CONTEXT: f64 = 8192.0;
/// Largest relative error of a divisor; they are stored as f32.
const FACTOR_TOLERANCE: f64 = 1e-4;

/// Typed look-ups that say which key is wrong.
struct Lookup<'a> {
    path: &'a Path,
    header: &'a Header,
}

impl<'a> Lookup<'a> {
    fn wrong(&self, key: &str, expected: &str) -> Problem {
        let got = match self.header.metadata.get(key) {
            None => "it is missing".to_string(),
            Some(value) => format!("it is {}", describe(value)),
        };
        let message = format!("metadata `{key}` of `{}` must be {expected}; {got}", self.path.display());
        Problem::new(Kind::Model, "M005", message)
    }

    fn integer(&self, key: &str) -> Result<Option<u64>> {
        match self.header.metadata.get(key) {
            None => Ok(None),
            Some(&Value::Integer(value)) if (0..1 << 62).contains(&value) => Ok(Some(value as u64)),
            Some(_) => Err(self.wrong(key, "one integer")),
        }
    }

    fn required(&self, key: &str) -> Result<u64> {
        self.integer(key)?.ok_or_else(|| self.wrong(key, "one integer"))
    }

    /// A token id; −1 and 2³²−1 are how converters write "none".
    fn token(&self, key: &str) -> Result<Option<u32>> {
        match self.header.metadata.get(key) {
            Some(&Value::Integer(value)) => Ok(u32::try_from(value).ok().filter(|&id| id != u32::MAX)),
            None => Ok(None),
            Some(_) => Err(self.wrong(key, "a token id")),
        }
    }

    fn float(&self, key: &str) -> Result<Option<f64>> {
        match self.header.metadata.get(key) {
            None => Ok(None),
            Some(&Value::Float(value)) => Ok(Some(shortest(value as f32))),
            Some(&Value::Integer(value)) => Ok(Some(value as f64)),
            Some(_) => Err(self.wrong(key, "a number")),
        }
    }

    fn flag(&self, key: &str) -> Result<Option<bool>> {
        match self.header.metadata.get(key) {
            None => Ok(None),
            Some(&Value::Flag(value)) => Ok(Some(value)),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>> {
        match self.header.metadata.get(key) {
            None => Ok(None),
            Some(Value::Text(value)) => Ok(Some(value)),
            Some(_) => Err(self.wrong(key, "a text")),
        }
    }

    fn texts(&self, key: &str) -> Result<Vec<String>> {
        match self.header.metadata.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Texts(value)) => Ok(value.clone()),
            Some(_) => Err(self.wrong(key, "a list of texts")),
        }
    }

    fn has_tensor(&self, name: &str) -> bool {
        self.header.tensors.iter().any(|entry| entry.name == name)
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Flag(value) => value.to_string(),
        Value::Text(_) => "a text".into(),
        Value::Integers(list) => format!("a list of {} integers", list.len()),
        Value::Floats(list) => format!("a list of {} numbers", list.len()),
        Value::Texts(list) => format!("a list of {} texts", list.len()),
    }
}

/// The same configuration as `config.json` of a Hugging Face directory.
pub(super) fn config_json(path: &Path, header: &Header, rope_factors: Option<&[f32]>) -> Result<serde_json::Value> {
    let lookup = Lookup { path, header };
    let (architecture, class) = architecture(&lookup)?;
    let key = |rest: &str| format!("{architecture}.{rest}");
    refuse_experts(&lookup, &key("expert_count"))?;
    let heads = lookup.required(&key("attention.head_count"))?;
    let hidden = lookup.required(&key("embedding_length"))?;
    let kv_heads = lookup.integer(&key("attention.head_count_kv"))?.unwrap_or(heads);
    let head_width = lookup.integer(&key("attention.key_length"))?.unwrap_or(hidden.checked_div(heads).unwrap_or(0));
    for (rest, what) in [("attention.value_length", "values"), ("rope.dimension_count", "the rotated part")] {
        if let Some(width) = lookup.integer(&key(rest))?.filter(|&width| width != head_width) {
            let message = format!("`{}`: {what} of a head are {width} wide, its keys {head_width}", path.display());
            return Err(Problem::new(Kind::Model, "M007", message).hint("such models are not computed"));
        }
    }
    let embedding = header.tensors.iter().find(|entry| entry.name == "token_embd.weight").map(|entry| entry.shape());
    let Some(&[vocabulary, _]) = embedding.as_deref() else {
        let message = format!("`{}` has no matrix `token_embd.weight`", path.display());
        return Err(Problem::new(Kind::Model, "M010", message));
    };
    let theta = lookup.float(&key("rope.freq_base"))?.unwrap_or(10_000.0);
    let scaling = match rope_factors {
        Some(factors) => llama3_scaling(path, factors, theta)?,
        None => rope_scaling(&lookup, architecture)?,
    };
    let mut eos: Vec<u32> = Vec::new();
    for name in ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"] {
        eos.extend(lookup.token(name)?.filter(|id| !eos.contains(id)));
    }
    let window = lookup.integer(&key("attention.sliding_window"))?.filter(|&window| window > 0);
    let has_attention_bias = lookup.has_tensor("blk.0.attn_q.bias") || lookup.has_tensor("blk.0.attn_output.bias");
    let mut config = json!({
        "architectures": [class],
        "model_type": architecture,
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": lookup.required(&key("block_count"))?,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_width,
        "intermediate_size": lookup.required(&key("feed_forward_length"))?,
        "hidden_act": "silu",
        "max_position_embeddings": lookup.required(&key("context_length"))?,
        "rope_theta": theta,
        "rope_scaling": scaling,
        "rms_norm_eps": lookup.float(&key("attention.layer_norm_rms_epsilon"))?.unwrap_or(1e-6),
        "tie_word_embeddings": !lookup.has_tensor("output.weight"),
        "bos_token_id": lookup.token("tokenizer.ggml.bos_token_id")?,
        "eos_token_id": match eos.as_slice() { [id] => json!(id), ids => json!(ids) },
        "pad_token_id": lookup.token("tokenizer.ggml.padding_token_id")?,
        "torch_dtype": "float32",
        "use_cache": true,
    });
    if architecture != "qwen2" {
        config["attention_bias"] = json!(has_attention_bias);
        config["mlp_bias"] = json!(lookup.has_tensor("blk.0.ffn_gate.bias"));
    }
    if let Some(window) = window {
        config["use_sliding_window"] = json!(true);
        config["sliding_window"] = json!(window);
        config["max_window_layers"] = json!(0);
    }
    Ok(config)
}

/// The architecture and the class that Hugging Face has for it.
fn architecture<'a>(lookup: &Lookup<'a>) -> Result<(&'a str, &'static str)> {
    let Some(architecture) = lookup.text("general.architecture")? else {
        return Err(lookup.wrong("general.architecture", "a text"));
    };
    match architecture {
        "llama" => Ok((architecture, "LlamaForCausalLM")),
        "qwen2" => Ok((architecture, "Qwen2ForCausalLM")),
        "qwen3" => Ok((architecture, "Qwen3ForCausalLM")),
        other => {
            let path = lookup.path.display();
            let message = format!("the native engine does not compute architecture `{other}` of `{path}`");
            Err(Problem::new(Kind::Model, "M006", message).hint("supported: llama, qwen2, qwen3"))
        }
    }
}

fn refuse_experts(lookup: &Lookup, key: &str) -> Result<()> {
    match lookup.integer(key)? {
        None | Some(0) => Ok(()),
        Some(experts) => {
            let path = lookup.path.display();
            let message =
                format!("`{path}` is a mixture of {experts} experts, which the native engine does not compute");
            Err(Problem::new(Kind::Model, "M007", message).hint("use a dense model"))
        }
    }
}

/// `rope_scaling` of `config.json` from the metadata.
fn rope_scaling(lookup: &Lookup, architecture: &str) -> Result<serde_json::Value> {
    let kind = lookup.text(&format!("{architecture}.rope.scaling.type"))?;
    let new = lookup.float(&format!("{architecture}.rope.scaling.factor"))?;
    let old = lookup.float(&format!("{architecture}.rope.scale_linear"))?;
    let factor = new.or(old).filter(|&factor| factor != 0.0 && factor != 1.0);
    Ok(match (kind, factor) {
        (Some("none"), _) | (None | Some("linear"), None) => serde_json::Value::Null,
        (None | Some("linear"), Some(factor)) => json!({ "rope_type": "linear", "factor": factor }),
        (Some(other), _) => json!({ "rope_type": other, "factor": factor }),
    })
}

/// The llama3 scaling whose divisors are these:
/// `1 / ((1 − s) / factor + s)` with `s = clamp((context / wavelength − low) / (high − low), 0, 1)`.
fn llama3_scaling(path: &Path, factors: &[f32], theta: f64) -> Result<serde_json::Value> {
    let factor = factors.iter().copied().fold(1.0, f32::max);
    let expected = |i: usize| {
        let wavelength = std::f64::consts::TAU * theta.powf(i as f64 / factors.len() as f64);
        let smooth = ((LLAMA3_CONTEXT / wavelength - LLAMA3_LOW) / (LLAMA3_HIGH - LLAMA3_LOW)).clamp(0.0, 1.0);
        1.0 / ((1.0 - smooth) / f64::from(factor) + smooth)
    };
    let close = |(i, &got): (usize, &f32)| (f64::from(got) / expected(i) - 1.0).abs() <= FACTOR_TOLERANCE;
    if !factors.iter().enumerate().all(close) {
        let message = format!("`{}`: `{ROPE_FACTORS}` is not the llama3 rule of any published model", path.display());
        return Err(Problem::new(Kind::Model, "M007", message)
            .why("GGUF stores the divisors of the rotary frequencies, not the rule they came from")
            .hint("use the Hugging Face directory of this model"));
    }
    if factor == 1.0 {
        return Ok(serde_json::Value::Null);
    }
    Ok(json!({
        "rope_type": "llama3",
        "factor": shortest(factor),
        "low_freq_factor": LLAMA3_LOW,
        "high_freq_factor": LLAMA3_HIGH,
        "original_max_position_embeddings": LLAMA3_CONTEXT as u64,
    }))
}

/// The vocabulary; its lists are as long as there are tokens, of which the embedding has at least as many rows.
pub(super) fn vocabulary(path: &Path, header: &Header, rows: usize) -> Result<GgufVocabulary> {
    let lookup = Lookup { path, header };
    let tokens = lookup.texts("tokenizer.ggml.tokens")?;
    if tokens.len() > rows {
        return Err(
            lookup.wrong("tokenizer.ggml.tokens", &format!("at most {rows} texts, one per row of the embedding"))
        );
    }
    let scores = match header.metadata.get("tokenizer.ggml.scores") {
        None => Vec::new(),
        Some(Value::Floats(scores)) if scores.len() == tokens.len() => scores.clone(),
        Some(_) => return Err(lookup.wrong("tokenizer.ggml.scores", "one number per token")),
    };
    let token_types = match header.metadata.get("tokenizer.ggml.token_type") {
        None => Vec::new(),
        Some(Value::Integers(types)) if types.len() == tokens.len() => types.iter().map(|&kind| kind as i32).collect(),
        Some(_) => return Err(lookup.wrong("tokenizer.ggml.token_type", "one integer per token")),
    };
    let inside = |key: &str| Ok::<_, Problem>(lookup.token(key)?.filter(|&id| (id as usize) < rows));
    Ok(GgufVocabulary {
        model: lookup.text("tokenizer.ggml.model")?.unwrap_or_default().to_string(),
        pre: lookup.text("tokenizer.ggml.pre")?.unwrap_or_default().to_string(),
        merges: lookup.texts("tokenizer.ggml.merges")?,
        scores,
        token_types,
        bos: inside("tokenizer.ggml.bos_token_id")?,
        eos: inside("tokenizer.ggml.eos_token_id")?,
        pad: inside("tokenizer.ggml.padding_token_id")?,
        add_bos: lookup.flag("tokenizer.ggml.add_bos_token")?,
        add_space_prefix: lookup.flag("tokenizer.ggml.add_space_prefix")?,
        chat_template: lookup.text("tokenizer.chat_template")?.map(str::to_string),
        tokens,
    })
}
