//! `config.json`: from Hugging Face's keys to a [`ModelConfig`] and back.
//!
//! Keys, defaults and their precedence are those of transformers' `LlamaConfig`, `Qwen2Config`, `Qwen3Config`, `Qwen3MoeConfig`
//! and `Glm4MoeConfig`, in the 4.x form (`rope_theta`, `rope_scaling`, `torch_dtype`) and the 5.x form (`rope_parameters`,
//! `dtype`).

use std::path::Path;

use lapidary_core::{Kind, Place, Problem, Result};
use serde_json::{Value, json};

use super::{experts, heads};
use crate::{Family, ModelConfig, RopeScaling};

/// Bound of every width, so that products of two stay far inside 64 bits.
pub(super) const MAX_WIDTH: u64 = 1 << 24;
/// Bound of the number of blocks.
const MAX_LAYERS: u64 = 4096;
/// Blocks from the first that see everything where a Qwen configuration does not say.
const QWEN_FULL_LAYERS: u64 = 28;
/// Bound of the context length.
const MAX_CONTEXT: u64 = 1 << 30;

/// A configuration with what is needed to point at its lines.
pub(super) struct ConfigSource<'a> {
    /// Where it was read from.
    pub(super) path: &'a Path,
    /// The file's text; empty for a configuration that was not read from text.
    pub(super) text: &'a str,
    /// The same as a value.
    pub(super) json: &'a Value,
}

impl ConfigSource<'_> {
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.json.get(key).filter(|value| !value.is_null())
    }

    /// A problem that points at `key`.
    pub(super) fn problem(&self, code: &'static str, key: &str, message: impl std::fmt::Display) -> Problem {
        let problem = Problem::new(Kind::Model, code, format!("`{}`: {message}", self.path.display()));
        let quoted = format!("\"{key}\"");
        let is_key = |&(at, _): &(usize, &str)| self.text[at + quoted.len()..].trim_start().starts_with(':');
        match self.text.match_indices(&quoted).find(is_key) {
            Some((at, _)) => problem.at(Place::of_bytes(self.path, self.text, at, at + quoted.len(), "this key")),
            None => problem,
        }
    }

    /// A feature that the engine does not compute.
    pub(super) fn refuse(&self, key: &str, message: impl std::fmt::Display) -> Problem {
        self.problem("M007", key, message)
            .why("computing the model without it would give other numbers than the model was trained with")
            .hint(
                "supported: Llama, Qwen2, Qwen3, Qwen3-MoE and GLM-4-MoE decoders with full attention and default, linear or \
                 llama3 RoPE",
            )
    }

    /// A positive integer up to `most`, if the key is there.
    pub(super) fn integer(&self, key: &str, most: u64) -> Result<Option<usize>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match value.as_u64() {
            Some(number) if (1..=most).contains(&number) => Ok(Some(number as usize)),
            _ => Err(self.problem("M005", key, format!("`{key}` must be an integer from 1 to {most}, got {value}"))),
        }
    }

    fn required(&self, key: &str, most: u64) -> Result<usize> {
        self.integer(key, most)?.ok_or_else(|| {
            self.problem("M005", key, format!("`{key}` is missing"))
                .hint("take config.json from where the weights came from")
        })
    }

    /// A positive finite number of `object`, if the key is there.
    pub(super) fn number_in(&self, object: &Value, key: &str) -> Result<Option<f64>> {
        let Some(value) = object.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
        match value.as_f64() {
            Some(number) if number > 0.0 && number.is_finite() => Ok(Some(number)),
            _ => Err(self.problem("M005", key, format!("`{key}` must be a positive number, got {value}"))),
        }
    }

    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_bool().ok_or_else(|| self.problem("M005", key, format!("`{key}` must be true or false, got {value}")))
    }

    fn text_of(&self, key: &str) -> Result<Option<&str>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let text = value.as_str();
        text.map(Some).ok_or_else(|| self.problem("M005", key, format!("`{key}` must be a string, got {value}")))
    }
}

/// What a family's configuration class assumes where a key is absent.
struct Defaults {
    kv_heads: Option<usize>,
    head_width: Option<usize>,
    /// `None`: the key is needed.
    feed_forward: Option<usize>,
    context: usize,
    norm_epsilon: f64,
    /// How much of a head is rotated.
    rotary: f64,
    bos: Option<u32>,
    eos: Vec<u32>,
}

impl Family {
    const ALL: [Self; 5] = [Self::Llama, Self::Qwen2, Self::Qwen3, Self::Qwen3Moe, Self::Glm4Moe];

    /// Every `model_type`, for hints.
    fn names() -> String {
        Self::ALL.map(Self::model_type).join(", ")
    }

    /// `model_type` of `config.json`.
    fn model_type(self) -> &'static str {
        match self {
            Family::Llama => "llama",
            Family::Qwen2 => "qwen2",
            Family::Qwen3 => "qwen3",
            Family::Qwen3Moe => "qwen3_moe",
            Family::Glm4Moe => "glm4_moe",
        }
    }

    /// The entry of `architectures` with a language head.
    pub(super) fn architecture(self) -> &'static str {
        match self {
            Family::Llama => "LlamaForCausalLM",
            Family::Qwen2 => "Qwen2ForCausalLM",
            Family::Qwen3 => "Qwen3ForCausalLM",
            Family::Qwen3Moe => "Qwen3MoeForCausalLM",
            Family::Glm4Moe => "Glm4MoeForCausalLM",
        }
    }

    /// Whether `attention_bias` adds a bias to the projection behind the attention too.
    fn has_output_bias(self) -> bool {
        matches!(self, Family::Llama | Family::Qwen3 | Family::Qwen3Moe)
    }

    fn defaults(self) -> Defaults {
        let qwen = Defaults {
            kv_heads: Some(32),
            head_width: None,
            feed_forward: None,
            context: 32_768,
            norm_epsilon: 1e-6,
            rotary: 1.0,
            bos: None,
            eos: Vec::new(),
        };
        match self {
            Family::Llama => Defaults { kv_heads: None, context: 2048, bos: Some(1), eos: vec![2], ..qwen },
            Family::Qwen2 => qwen,
            Family::Qwen3 => Defaults { head_width: Some(128), ..qwen },
            Family::Qwen3Moe => Defaults { kv_heads: Some(4), feed_forward: Some(6144), ..qwen },
            Family::Glm4Moe => Defaults {
                kv_heads: Some(8),
                feed_forward: Some(10_944),
                context: 131_072,
                norm_epsilon: 1e-5,
                rotary: 0.5,
                ..qwen
            },
        }
    }
}

/// The shape that a configuration describes, or what about it the engine cannot compute.
pub(super) fn parse(source: &ConfigSource) -> Result<ModelConfig> {
    if !source.json.is_object() {
        let message = format!("`{}` is not a JSON object", source.path.display());
        return Err(Problem::new(Kind::Model, "M004", message));
    }
    let family = family(source)?;
    let defaults = family.defaults();
    let heads = source.required("num_attention_heads", MAX_WIDTH)?;
    let hidden = source.required("hidden_size", MAX_WIDTH)?;
    let vocabulary = source.required("vocab_size", MAX_WIDTH)?;
    let or_default = |key: &str, absent: Option<usize>, null: usize| match source.json.get(key) {
        None => Ok(absent.unwrap_or(null)),
        Some(Value::Null) => Ok(null),
        Some(_) => source.integer(key, MAX_WIDTH).map(|found| found.unwrap_or(null)),
    };
    let token = |id: u32| ((id as usize) < vocabulary).then_some(id);
    let ids = |key: &str, default: Vec<u32>| match source.json.get(key) {
        None => default,
        found => token_ids(found),
    };
    let (rope_theta, rope_scaling) = rope(source)?;
    let layers = source.required("num_hidden_layers", MAX_LAYERS)?;
    let head_width = or_default("head_dim", defaults.head_width, hidden / heads)?;
    let attention_bias = source.flag("attention_bias", false)? && family != Family::Qwen2;
    let with = heads::parse(source, family)?;
    let config = ModelConfig {
        family,
        vocabulary,
        hidden,
        layers,
        heads,
        kv_heads: or_default("num_key_value_heads", defaults.kv_heads, heads)?,
        head_width,
        rotary_width: rotary_width(source, family, head_width)?,
        feed_forward: match (source.integer("intermediate_size", MAX_WIDTH)?, defaults.feed_forward) {
            (Some(width), _) | (None, Some(width)) => width,
            (None, None) => source.required("intermediate_size", MAX_WIDTH)?,
        },
        experts: experts::parse(source, family, layers)?,
        context: source.integer("max_position_embeddings", MAX_CONTEXT)?.unwrap_or(defaults.context),
        rope_theta,
        rope_scaling,
        norm_epsilon: source.number_in(source.json, "rms_norm_eps")?.unwrap_or(defaults.norm_epsilon) as f32,
        qkv_bias: family == Family::Qwen2 || attention_bias,
        output_bias: attention_bias && family.has_output_bias(),
        qk_norm: match family {
            Family::Llama | Family::Qwen2 => false,
            Family::Qwen3 | Family::Qwen3Moe => true,
            Family::Glm4Moe => source.flag("use_qk_norm", false)?,
        },
        tied: source.flag("tie_word_embeddings", false)? || !with.language,
        language_head: with.language,
        value_head: with.value,
        reward_head: with.reward,
        bos: ids("bos_token_id", defaults.bos.into_iter().collect()).first().copied().and_then(token),
        eos: ids("eos_token_id", defaults.eos).into_iter().filter_map(token).collect(),
    };
    check_heads(source, &config)?;
    refuse_other_features(source, &config)?;
    Ok(config)
}

fn family(source: &ConfigSource) -> Result<Family> {
    let Some(model_type) = source.text_of("model_type")? else {
        return Err(source
            .problem("M006", "model_type", "`model_type` is missing")
            .hint(format!("expected one of {}", Family::names())));
    };
    let Some(family) = Family::ALL.into_iter().find(|family| family.model_type() == model_type) else {
        return Err(source
            .problem("M006", "model_type", format!("the native engine does not compute model_type `{model_type}`"))
            .hint(format!("supported: {}", Family::names())));
    };
    Ok(family)
}

fn check_heads(source: &ConfigSource, config: &ModelConfig) -> Result<()> {
    let (heads, kv_heads, width) = (config.heads, config.kv_heads, config.head_width);
    if heads % kv_heads != 0 {
        let message = format!("{heads} query heads cannot share {kv_heads} key heads evenly");
        return Err(source.problem("M005", "num_key_value_heads", message));
    }
    if (heads * width) as u64 > MAX_WIDTH {
        let message = format!("{heads} heads of width {width} are wider than {MAX_WIDTH}");
        return Err(source.problem("M005", "num_attention_heads", message));
    }
    Ok(())
}

fn refuse_other_features(source: &ConfigSource, config: &ModelConfig) -> Result<()> {
    let activation = source.text_of("hidden_act")?.unwrap_or("silu");
    if activation != "silu" && activation != "swish" {
        return Err(source.refuse("hidden_act", format!("activation `{activation}`; only `silu` is computed")));
    }
    if source.flag("mlp_bias", false)? && config.family == Family::Llama {
        return Err(source.refuse("mlp_bias", "biases in the feed-forward (`mlp_bias`)"));
    }
    if source.get("quantization_config").is_some() {
        return Err(source
            .refuse("quantization_config", "quantised weights (`quantization_config`)")
            .hint("use the unquantised checkpoint of this model, or a GGUF file"));
    }
    if let Some(window) = sliding_window(source, config)? {
        let message = format!("sliding-window attention over {window} tokens");
        return Err(source.refuse("sliding_window", message));
    }
    Ok(())
}

/// The window, where it hides something within the context.
fn sliding_window(source: &ConfigSource, config: &ModelConfig) -> Result<Option<usize>> {
    if config.family == Family::Glm4Moe {
        return Ok(None);
    }
    if !source.flag("use_sliding_window", config.family == Family::Llama)? {
        return Ok(None);
    }
    let window = source.integer("sliding_window", u64::MAX)?.filter(|&window| window < config.context);
    let default = if config.family == Family::Llama { 0 } else { QWEN_FULL_LAYERS };
    let first = source.get("max_window_layers").and_then(Value::as_u64).unwrap_or(default);
    // In Qwen3-MoE every block slides or none.
    let slides = match source.get("layer_types").filter(|_| config.family != Family::Qwen3Moe).and_then(Value::as_array)
    {
        Some(types) => types.iter().any(|kind| kind != "full_attention"),
        None => first < config.layers as u64 || config.family == Family::Qwen3Moe,
    };
    Ok(window.filter(|_| slides))
}

/// Base and scaling of the rotary frequencies, from `rope_parameters` (5.x) or `rope_theta` and `rope_scaling` (4.x).
fn rope(source: &ConfigSource) -> Result<(f64, Option<RopeScaling>)> {
    let mut answer: Option<(&str, Option<RopeScaling>)> = None;
    let mut theta = source.number_in(source.json, "rope_theta")?;
    for key in ["rope_parameters", "rope_scaling"] {
        let Some(object) = source.get(key) else { continue };
        if !object.is_object() {
            return Err(source.problem("M005", key, format!("`{key}` must be an object or null, got {object}")));
        }
        if object.as_object().is_some_and(|entries| entries.values().any(Value::is_object)) {
            return Err(source.refuse(key, format!("rotary frequencies that differ between blocks (`{key}`)")));
        }
        let scaling = rope_scaling(source, key, object)?;
        if let Some((first, other)) = answer
            && other != scaling
        {
            return Err(source.problem("M005", key, format!("`{first}` and `{key}` contradict each other")));
        }
        answer = Some((key, scaling));
        theta = source.number_in(object, "rope_theta")?.or(theta);
    }
    Ok((theta.unwrap_or(10_000.0), answer.and_then(|(_, scaling)| scaling)))
}

/// How many values of a head are rotated: `partial_rotary_factor`, beside the other keys (4.x) or with the rotary parameters
/// (5.x), which come first.
fn rotary_width(source: &ConfigSource, family: Family, head_width: usize) -> Result<usize> {
    let key = "partial_rotary_factor";
    let mut factor = None;
    for object in [source.get("rope_scaling"), source.get("rope_parameters"), Some(source.json)].into_iter().flatten() {
        let found = source.number_in(object, key)?;
        if family != Family::Glm4Moe && found.is_some_and(|factor| factor != 1.0) {
            return Err(
                source.refuse(key, "rotation of only a part of each head in this family (`partial_rotary_factor`)")
            );
        }
        factor = factor.or(found);
    }
    let width = (head_width as f64 * factor.unwrap_or(family.defaults().rotary)) as usize;
    if width == 0 || !width.is_multiple_of(2) || width > head_width {
        let message = format!("{width} of {head_width} values of a head cannot be rotated in pairs");
        let key = if source.json.get("head_dim").is_some() && factor.is_none() { "head_dim" } else { key };
        return Err(source.problem("M005", key, message).hint(
            "`head_dim` defaults to hidden_size / num_attention_heads; `partial_rotary_factor` is the part of it",
        ));
    }
    Ok(width)
}

fn rope_scaling(source: &ConfigSource, key: &str, object: &Value) -> Result<Option<RopeScaling>> {
    let kind = object.get("rope_type").or_else(|| object.get("type")).filter(|value| !value.is_null());
    let needed = |name: &str| {
        let missing = || source.problem("M005", key, format!("`{key}` has no `{name}`"));
        source.number_in(object, name)?.ok_or_else(missing)
    };
    match kind.map_or(Some("default"), Value::as_str) {
        Some("default") => Ok(None),
        Some("linear") => Ok(Some(RopeScaling::Linear { factor: needed("factor")? })),
        Some("llama3") => {
            let scaling = RopeScaling::Llama3 {
                factor: needed("factor")?,
                low_frequency_factor: needed("low_freq_factor")?,
                high_frequency_factor: needed("high_freq_factor")?,
                original_context: needed("original_max_position_embeddings")? as usize,
            };
            match scaling {
                RopeScaling::Llama3 { low_frequency_factor: low, high_frequency_factor: high, .. } if low >= high => {
                    Err(source.problem(
                        "M005",
                        "high_freq_factor",
                        "`high_freq_factor` must be above `low_freq_factor`",
                    ))
                }
                scaling => Ok(Some(scaling)),
            }
        }
        other => {
            let name = other.map_or_else(|| "?".to_string(), str::to_string);
            Err(source.refuse(key, format!("RoPE of type `{name}`; default, linear and llama3 are computed")))
        }
    }
}

/// A token id or a list of them; anything else (null, −1) is none.
pub(super) fn token_ids(value: Option<&Value>) -> Vec<u32> {
    let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(one).collect(),
        Some(value) => one(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// `config.json` for a model made here. Keys of the 4.x form, which every version of transformers reads.
pub fn config_json(config: &ModelConfig) -> Value {
    let ids = |ids: &[u32]| match ids {
        [] => Value::Null,
        [id] => json!(id),
        ids => json!(ids),
    };
    let scaling = config.rope_scaling.map_or(Value::Null, |scaling| match scaling {
        RopeScaling::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
        RopeScaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_context } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_frequency_factor,
            "high_freq_factor": high_frequency_factor,
            "original_max_position_embeddings": original_context,
        }),
    });
    let mut out = json!({
        "model_type": config.family.model_type(),
        "vocab_size": config.vocabulary,
        "hidden_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_width,
        "intermediate_size": config.feed_forward,
        "hidden_act": "silu",
        "max_position_embeddings": config.context,
        "rope_theta": config.rope_theta,
        "rope_scaling": scaling,
        "rms_norm_eps": shortest(config.norm_epsilon),
        "tie_word_embeddings": config.tied,
        "bos_token_id": config.bos,
        "eos_token_id": ids(&config.eos),
        "torch_dtype": "float32",
        "use_cache": true,
    });
    if config.family != Family::Qwen2 {
        out["attention_bias"] = json!(config.qkv_bias);
    }
    if config.family == Family::Glm4Moe {
        out["use_qk_norm"] = json!(config.qk_norm);
        out["partial_rotary_factor"] = json!(config.rotary_width as f64 / config.head_width as f64);
    }
    if let (Value::Object(out), Some(found)) = (&mut out, &config.experts) {
        experts::write(found, config, out);
    }
    heads::describe(&mut out, config);
    out
}

/// The f64 whose decimal form is the shortest that names this f32: 1e-5 and not 9.999999747378752e-6.
pub(super) fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}
