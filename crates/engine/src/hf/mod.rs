//! Checkpoints as the field writes them: Hugging Face directories and GGUF files.
//!
//! [`Checkpoint::open`] reads and checks everything but the weights themselves: configuration, tensor names, shapes and
//! types, file sizes. [`Checkpoint::read`] then hands out one tensor at a time, so that loading needs no second copy of
//! the model. [`save`] writes a directory that Hugging Face loads, tensor by tensor.
//!
//! Every byte is untrusted: counts and lengths are checked against the file before anything is allocated, and nothing here
//! runs code from a file (there is no pickle reader).

mod config;
mod directory;
mod experts;
mod file;
mod gguf;
mod heads;
mod peft;
mod safetensors;
mod save;

use std::path::{Path, PathBuf};

use lapidary_core::{GgufVocabulary, Kind, Problem, Result};
use serde_json::Value;

use crate::{Family, ModelConfig, TensorSpec};
pub use config::config_json;
pub(crate) use heads::describe as describe_heads;
pub use peft::AdapterCheckpoint;
pub(crate) use peft::{adapter_json, save_adapter};
pub use save::save;

/// A model on disk whose configuration and tensor list have been checked.
#[derive(Debug)]
pub struct Checkpoint {
    /// The model's shape; `eos` holds the end tokens of `config.json` and `generation_config.json`.
    pub config: ModelConfig,
    path: PathBuf,
    raw: Value,
    generation: Option<Value>,
    vocabulary: Option<GgufVocabulary>,
    unused: Vec<String>,
    weights: Weights,
}

/// Where the tensors lie.
#[derive(Debug)]
enum Weights {
    Safetensors(safetensors::Shards),
    Gguf(gguf::GgufWeights),
}

impl Checkpoint {
    /// Opens a Hugging Face directory (`config.json` and `*.safetensors`), the id of a model in the local Hugging Face
    /// cache, or a GGUF file.
    ///
    /// Every tensor that the configuration asks for is there with the right shape and a readable type afterwards.
    ///
    /// # Errors
    /// [`Kind::Model`]: `M001` no such model, `M002` no weights, `M003` pickle, `M004` broken JSON, `M005` bad
    /// configuration value, `M006` unknown family, `M007` a feature the engine does not compute, `M008` broken weights
    /// file, `M009` broken shard index, `M010` missing tensor, `M011` wrong shape, `M012` unreadable number type, and
    /// whatever the operating system says.
    pub fn open(path: &Path) -> Result<Self> {
        let path = directory::locate(path)?;
        let checkpoint = if path.is_file() { Self::of_gguf(path)? } else { Self::of_directory(path)? };
        for spec in checkpoint.config.tensors() {
            checkpoint.check(&spec)?;
        }
        Ok(checkpoint)
    }

    fn of_directory(path: PathBuf) -> Result<Self> {
        let directory::Parts { config, raw, generation, weights } = directory::open(&path)?;
        let unused = unused(&config, weights.names());
        let weights = Weights::Safetensors(weights);
        Ok(Self { config, path, raw, generation, vocabulary: None, unused, weights })
    }

    fn of_gguf(path: PathBuf) -> Result<Self> {
        let gguf::Parts { config, raw, vocabulary, weights } = gguf::open(&path)?;
        let unused = unused(&config, weights.names());
        let weights = Weights::Gguf(weights);
        Ok(Self { config, path, raw, generation: None, vocabulary: Some(vocabulary), unused, weights })
    }

    /// The tensor `spec.name` as f32 in row-major order.
    ///
    /// # Errors
    /// `M010`, `M011`, `M012` as in [`Checkpoint::open`]; `M013` a value that is not finite; a file that has been cut.
    pub fn read(&self, spec: &TensorSpec) -> Result<Vec<f32>> {
        self.check(spec)?;
        let values = match &self.weights {
            Weights::Safetensors(shards) => shards.read(&spec.name)?,
            Weights::Gguf(gguf) => gguf.read(&spec.name)?,
        };
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(at) => Err(Problem::new(
                Kind::Model,
                "M013",
                format!("tensor `{}` holds {} at element {at}", spec.name, values[at]),
            )
            .why("a model with a value that is not finite answers nothing but NaN")
            .hint("take an earlier checkpoint, or download the file again")),
        }
    }

    /// The directory or GGUF file that was opened; for an id of the hub, where the cache keeps it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tokenizer of a GGUF file; `None` for a directory, whose tokenizer is in files of its own.
    pub fn gguf_vocabulary(&self) -> Option<&GgufVocabulary> {
        self.vocabulary.as_ref()
    }

    /// `config.json` as it was read (for a GGUF file: the one Hugging Face would have), so that saving keeps the keys Lapidary does not know.
    pub fn raw_config(&self) -> &Value {
        &self.raw
    }

    /// `generation_config.json` as it was read, if there is one.
    pub fn raw_generation_config(&self) -> Option<&Value> {
        self.generation.as_ref()
    }

    /// The end tokens of `generation_config.json` alone (they are part of `config.eos` too).
    pub fn generation_eos(&self) -> Vec<u32> {
        self.generation.as_ref().map_or_else(Vec::new, |json| config::token_ids(json.get("eos_token_id")))
    }

    /// Tensors of the checkpoint that the model has no place for, sorted; known harmless ones are left out.
    pub fn unused(&self) -> &[String] {
        &self.unused
    }

    fn check(&self, spec: &TensorSpec) -> Result<()> {
        let found = match &self.weights {
            Weights::Safetensors(shards) => shards.shape(&spec.name),
            Weights::Gguf(gguf) => gguf.shape(&spec.name),
        };
        let Some(found) = found else {
            return Err(Problem::new(
                Kind::Model,
                "M010",
                format!("tensor `{}` is missing from the checkpoint", spec.name),
            )
            .why(format!("the configuration asks for it with shape {:?}", spec.shape))
            .hint("a shard is missing, or config.json belongs to another model"));
        };
        if found != spec.shape {
            return Err(Problem::new(
                Kind::Model,
                "M011",
                format!("tensor `{}` has shape {found:?}, expected {:?}", spec.name, spec.shape),
            )
            .hint("config.json and the weights belong to different models"));
        }
        match &self.weights {
            Weights::Safetensors(shards) => shards.check_type(&spec.name),
            Weights::Gguf(gguf) => gguf.check_type(&spec.name),
        }
    }
}

/// Whether a tensor belongs to one of the layers behind the last, which GLM-4.5 drafts tokens with.
fn is_of_a_later_layer(config: &ModelConfig, name: &str) -> bool {
    let layer = name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.')?.0.parse::<usize>().ok());
    config.family == Family::Glm4Moe && layer.is_some_and(|layer| layer >= config.layers)
}

/// Names that no tensor of the model uses. Rotary tables and causal masks that old versions of transformers saved are
/// recomputed, a tied head is a copy of the embedding, and GLM's layers that predict several tokens at once are no part of
/// the model, as in transformers.
fn unused<'a>(config: &ModelConfig, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let used: std::collections::HashSet<String> = config.tensors().into_iter().map(|spec| spec.name).collect();
    let harmless = |name: &str| {
        name.ends_with("rotary_emb.inv_freq")
            || name.ends_with("self_attn.masked_bias")
            || (config.tied && name == "lm_head.weight")
            || is_of_a_later_layer(config, name)
    };
    let mut out: Vec<String> =
        names.filter(|name| !used.contains(*name) && !harmless(name)).map(str::to_string).collect();
    out.sort_unstable();
    out
}
