//! Which files make a checkpoint, and what to say where there is none.

use std::path::{Path, PathBuf};

use lapidary_core::{Kind, Place, Problem, Result};
use serde_json::Value;

use super::config::{self, ConfigSource};
use super::gguf;
use super::safetensors::Shards;
use crate::ModelConfig;

/// Largest JSON file read: an index of a model with 100,000 tensors has 10 MB.
const MAX_JSON_BYTES: u64 = 100_000_000;

/// A directory that was read.
pub(super) struct Parts {
    pub(super) config: ModelConfig,
    pub(super) raw: Value,
    pub(super) generation: Option<Value>,
    pub(super) weights: Shards,
}

/// The directory or GGUF file that `path` names: itself, or the snapshot that the Hugging Face cache keeps of that id.
pub(super) fn locate(path: &Path) -> Result<PathBuf> {
    if path.is_dir() || (path.is_file() && gguf::is_gguf(path)) {
        return Ok(path.to_path_buf());
    }
    if path.is_file() {
        return Err(not_a_model_file(path));
    }
    let Some((owner, name)) = hub_id(path) else { return Err(no_such_model(path)) };
    let snapshot = hub_cache().and_then(|cache| cached(&cache, owner, name));
    snapshot.ok_or_else(|| {
        no_such_model(path)
            .why("as an id of the Hugging Face hub it is not in the local cache, and Lapidary downloads nothing")
            .hint(format!("`hf download {owner}/{name}` on a machine with network, then run this again"))
    })
}

/// Reads everything but the weights themselves.
pub(super) fn open(path: &Path) -> Result<Parts> {
    let weights = weights(path)?;
    let config_path = path.join("config.json");
    let (text, raw) = read_json(&config_path)?.ok_or_else(|| {
        Problem::new(Kind::Model, "M004", format!("`{}` has no config.json", path.display()))
            .hint("copy config.json from where the weights came from")
    })?;
    let mut config = config::parse(&ConfigSource { path: &config_path, text: &text, json: &raw })?;
    let generation = read_json(&path.join("generation_config.json"))?.map(|(_, json)| json);
    let more = generation.as_ref().map_or_else(Vec::new, |json| config::token_ids(json.get("eos_token_id")));
    for id in more {
        if (id as usize) < config.vocabulary && !config.eos.contains(&id) {
            config.eos.push(id);
        }
    }
    Ok(Parts { config, raw, generation, weights })
}

fn weights(directory: &Path) -> Result<Shards> {
    let single = directory.join("model.safetensors");
    if single.is_file() {
        return Shards::single(&single);
    }
    let index = directory.join("model.safetensors.index.json");
    if let Some((_, json)) = read_json(&index)? {
        return Shards::indexed(&index, &json);
    }
    Err(no_weights(directory))
}

fn no_weights(directory: &Path) -> Problem {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort_unstable();
    if let Some(pickle) = files.iter().find(|file| is_pickle_name(file)) {
        return pickle_refused(pickle);
    }
    let problem = Problem::new(
        Kind::Model,
        "M002",
        format!("`{}` holds no model.safetensors and no model.safetensors.index.json", directory.display()),
    );
    let gguf = files.iter().find(|file| file.extension().is_some_and(|extension| extension == "gguf"));
    match (gguf, directory.join("adapter_config.json").is_file()) {
        (Some(gguf), _) => problem.hint(format!("to use the GGUF file, name it: `{}`", gguf.display())),
        (None, true) => problem
            .why("it is a PEFT adapter, which needs its base model")
            .hint("give its base as the model and this directory as the adapter, or merge it: `lapidary merge DIRECTORY --out DIRECTORY`"),
        _ => problem.hint("name a directory that a model was saved into"),
    }
}

/// A file that is no model by itself.
fn not_a_model_file(path: &Path) -> Problem {
    if is_pickle_name(path) {
        return pickle_refused(path);
    }
    let problem = Problem::new(Kind::Model, "M001", format!("`{}` is not a model", path.display()));
    let in_directory = path.extension().is_some_and(|extension| extension == "safetensors" || extension == "json");
    match (in_directory, path.parent()) {
        (true, Some(parent)) => {
            problem.hint(format!("name the directory: `{}`", Path::new(".").join(parent).display()))
        }
        _ => problem.hint("name a Hugging Face directory or a .gguf file"),
    }
}

fn is_pickle_name(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    [".pt", ".pth", ".ckpt", ".pkl", ".pickle"].iter().any(|end| name.ends_with(end))
        || (name.ends_with(".bin") && (name.starts_with("pytorch_model") || name.starts_with("model")))
        || name == "pytorch_model.bin.index.json"
}

pub(super) fn pickle_refused(path: &Path) -> Problem {
    let command = "python -c 'from transformers import AutoModelForCausalLM as M; \
                   M.from_pretrained(\"DIRECTORY\").save_pretrained(\"NEW_DIRECTORY\", safe_serialization=True)'";
    Problem::new(Kind::Model, "M003", format!("`{}` is a Python pickle, which Lapidary does not read", path.display()))
        .why("a pickle is a program: loading one runs whatever its author put in")
        .hint(format!("convert it once, where you trust it: {command}"))
}

fn no_such_model(path: &Path) -> Problem {
    Problem::new(Kind::Model, "M001", format!("there is no model at `{}`", path.display()))
        .hint("check the path: a model is a Hugging Face directory or a .gguf file")
}

/// `organisation/name`, if the path is spelled like one.
fn hub_id(path: &Path) -> Option<(&str, &str)> {
    let (owner, name) = path.to_str()?.split_once('/')?;
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    (plain(owner) && plain(name) && !name.ends_with(".gguf")).then_some((owner, name))
}

/// Where Hugging Face keeps downloads: `HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`.
fn hub_cache() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("HF_HUB_CACHE")
        .or_else(|| variable("HF_HOME").map(|home| home.join("hub")))
        .or_else(|| variable("HOME").map(|home| home.join(".cache/huggingface/hub")))
}

/// The snapshot of a model's main branch in the cache, which names it in `refs/main`.
fn cached(cache: &Path, owner: &str, name: &str) -> Option<PathBuf> {
    let model = cache.join(format!("models--{owner}--{name}"));
    let revision = std::fs::read_to_string(model.join("refs/main")).ok()?;
    let revision = revision.trim();
    let is_hash = !revision.is_empty() && revision.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let snapshot = model.join("snapshots").join(revision);
    (is_hash && snapshot.is_dir()).then_some(snapshot)
}

/// Text and value of a JSON file; `None` where there is no such file.
pub(super) fn read_json(path: &Path) -> Result<Option<(String, Value)>> {
    let length = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Problem::io("read", path, &error).with_kind(Kind::Model)),
    };
    let broken = |message: String| Problem::new(Kind::Model, "M004", format!("`{}` {message}", path.display()));
    if length > MAX_JSON_BYTES {
        return Err(broken(format!("has {length} bytes, more than the {MAX_JSON_BYTES} that are read")));
    }
    let bytes = std::fs::read(path).map_err(|error| Problem::io("read", path, &error).with_kind(Kind::Model))?;
    let text = String::from_utf8(bytes).map_err(|_| broken("is not UTF-8 text".into()))?;
    match serde_json::from_str(&text) {
        Ok(json) => Ok(Some((text, json))),
        Err(error) => {
            let line_start: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
            let at = line_start + error.column().saturating_sub(1);
            let place = Place::of_bytes(path, &text, at, at + 1, "here");
            Err(broken(format!("is not JSON: {error}")).at(place))
        }
    }
}
