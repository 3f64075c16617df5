//! Adapters as PEFT writes them: `adapter_config.json` and `adapter_model.safetensors`.

use std::path::{Path, PathBuf};

use lapidary_core::{Kind, Problem, Result};
use serde_json::{Value, json};

use super::directory::{pickle_refused, read_json};
use super::safetensors::Shards;
use super::save::{write_json, write_tensors_file};
use crate::{LoraConfig, TensorSpec};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// Keys of `adapter_config.json` that change nothing in what the adapter computes, or that are looked at one by one.
const UNDERSTOOD: [&str; 19] = [
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "ensure_weight_tying",
    "exclude_modules",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "modules_to_save",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "revision",
    "target_modules",
];
/// Modules that may be saved whole beside the adapters; `classifier` is what PEFT always names beside `score`.
const SAVED_WHOLE: [&str; 3] = ["score", "classifier", "value_head"];

/// An adapter on disk whose configuration has been checked.
#[derive(Debug)]
pub struct AdapterCheckpoint {
    path: PathBuf,
    raw: Value,
    lora: LoraConfig,
    weights: Shards,
}

impl AdapterCheckpoint {
    /// Whether a directory holds an adapter and no model of its own.
    pub fn is_at(directory: &Path) -> bool {
        directory.join(CONFIG).is_file() && !directory.join("config.json").is_file()
    }

    /// Opens an adapter directory.
    ///
    /// # Errors
    /// [`Kind::Model`]: `M030` a broken or missing file, `M031` a feature of PEFT that is not computed, by its name.
    pub fn open(directory: &Path) -> Result<Self> {
        let path = directory.join(CONFIG);
        let Some((_, raw)) = read_json(&path)? else {
            return Err(Problem::new(Kind::Model, "M030", format!("`{}` holds no {CONFIG}", directory.display()))
                .hint("name a directory that PEFT or Lapidary saved an adapter into"));
        };
        refuse_features(&path, &raw)?;
        let lora = lora_config(&path, &raw)?;
        let file = directory.join(WEIGHTS);
        let pickle = directory.join("adapter_model.bin");
        if !file.is_file() && pickle.is_file() {
            return Err(pickle_refused(&pickle));
        }
        Ok(Self { path: directory.to_path_buf(), raw, lora, weights: Shards::single(&file)? })
    }

    /// Rank, scale and targets.
    pub fn lora(&self) -> &LoraConfig {
        &self.lora
    }

    /// `adapter_config.json` as it was read.
    pub fn raw_config(&self) -> &Value {
        &self.raw
    }

    /// The model that is adapted: `base_model_name_or_path`, which may be relative to the working directory, to the adapter, or
    /// an id of the hub.
    pub fn base(&self) -> Result<PathBuf> {
        let Some(name) = self.raw.get("base_model_name_or_path").and_then(Value::as_str) else {
            let message = format!("`{}` does not say which model it adapts", self.path.join(CONFIG).display());
            return Err(Problem::new(Kind::Model, "M030", message).hint("name the base model too"));
        };
        let beside = self.path.join(name);
        Ok(if !Path::new(name).exists() && beside.exists() { beside } else { PathBuf::from(name) })
    }

    /// Whether it adapts a sequence classifier: a reward model.
    pub fn classifies(&self) -> bool {
        self.raw.get("task_type").and_then(Value::as_str) == Some("SEQ_CLS")
    }

    /// The names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.weights.names()
    }

    /// Shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.weights.shape(name)
    }

    /// The tensor `spec.name` as f32 in row-major order.
    ///
    /// # Errors
    /// `M032` where it is missing or has another shape.
    pub fn read(&self, spec: &TensorSpec) -> Result<Vec<f32>> {
        match self.shape(&spec.name) {
            Some(shape) if shape == spec.shape => self.weights.read(&spec.name),
            Some(shape) => Err(self.misfit(format!("`{}` has shape {shape:?}, expected {:?}", spec.name, spec.shape))),
            None => Err(self.misfit(format!("`{}` is missing", spec.name))),
        }
    }

    /// Tensors that do not fit the model.
    pub fn misfit(&self, what: String) -> Problem {
        Problem::new(
            Kind::Model,
            "M032",
            format!("the adapter `{}` does not fit its model: {what}", self.path.display()),
        )
        .hint("it was made for another model, or by a version of PEFT that adapts more than linears")
    }
}

fn refuse_features(path: &Path, raw: &Value) -> Result<()> {
    let refuse = |feature: String| {
        Err(Problem::new(Kind::Model, "M031", format!("`{}`: {feature} is not computed", path.display()))
            .why("without it the adapted model would give other numbers than it was trained with")
            .hint("merge it in Python: `model.merge_and_unload().save_pretrained(...)`, and open the result"))
    };
    let Some(keys) = raw.as_object() else { return refuse("what is not a JSON object".into()) };
    let kind = raw.get("peft_type").and_then(Value::as_str).unwrap_or("");
    if kind != "LORA" {
        return refuse(format!("PEFT's method `{kind}`"));
    }
    let bias = raw.get("bias").and_then(Value::as_str).unwrap_or("none");
    if bias != "none" {
        return refuse(format!("`bias: {bias}`"));
    }
    match raw.get("init_lora_weights") {
        None | Some(Value::Bool(_) | Value::Null) => {}
        Some(Value::String(name)) if name == "gaussian" => {}
        Some(other) => return refuse(format!("`init_lora_weights: {other}`, which changes the base weights")),
    }
    let whole = raw.get("modules_to_save").and_then(Value::as_array).cloned().unwrap_or_default();
    if let Some(other) = whole.iter().find(|name| !SAVED_WHOLE.iter().any(|known| *name == known)) {
        return refuse(format!("the module {other} saved whole (`modules_to_save`)"));
    }
    let off = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Object(entries) => entries.is_empty(),
        Value::Array(entries) => entries.is_empty(),
        _ => false,
    };
    let known = |key: &str| UNDERSTOOD.contains(&key) || key == "task_type" || key == "use_rslora";
    match keys.iter().find(|(key, value)| !known(key) && !off(value)) {
        Some((key, value)) => refuse(format!("`{key}: {value}`")),
        None => Ok(()),
    }
}

fn lora_config(path: &Path, raw: &Value) -> Result<LoraConfig> {
    let broken = |key: &str| {
        let value = raw.get(key).unwrap_or(&Value::Null);
        Problem::new(Kind::Model, "M030", format!("`{}`: `{key}` is {value}", path.display()))
    };
    let rank = raw.get("r").and_then(Value::as_u64).filter(|r| (1..=1 << 16).contains(r)).ok_or_else(|| broken("r"))?;
    let alpha = raw.get("lora_alpha").and_then(Value::as_f64).filter(|alpha| alpha.is_finite());
    let targets = match raw.get("target_modules") {
        Some(Value::String(pattern)) => vec![pattern.clone()],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_string).collect(),
        _ => return Err(broken("target_modules")),
    };
    Ok(LoraConfig {
        rank: rank as usize,
        alpha: alpha.ok_or_else(|| broken("lora_alpha"))?,
        rslora: raw.get("use_rslora").and_then(Value::as_bool).unwrap_or(false),
        targets,
    })
}

/// `adapter_config.json` of an adapter made here; `modules` are the full names of what it adapts.
pub(crate) fn adapter_json(lora: &LoraConfig, modules: &[String], base: Option<&Path>) -> Value {
    let all = lora.targets.iter().any(|target| target == crate::ALL_LINEAR);
    let alpha = if lora.alpha.fract() == 0.0 { json!(lora.alpha as i64) } else { json!(lora.alpha) };
    json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base.map(|path| path.to_string_lossy()),
        "r": lora.rank,
        "lora_alpha": alpha,
        "use_rslora": lora.rslora,
        "target_modules": if all { modules } else { &lora.targets },
        "bias": "none",
        "lora_dropout": 0.0,
        "fan_in_fan_out": false,
        "init_lora_weights": true,
        "inference_mode": true,
        "modules_to_save": null,
        "use_dora": false,
        "lora_bias": false,
        "rank_pattern": {},
        "alpha_pattern": {},
        "layers_to_transform": null,
        "layers_pattern": null,
        "revision": null,
    })
}

/// Writes an adapter into an existing directory; `tensors` are named as PEFT names them.
pub(crate) fn save_adapter(directory: &Path, raw: &Value, tensors: Vec<(TensorSpec, Vec<f32>)>) -> Result<()> {
    write_tensors_file(&directory.join(WEIGHTS), tensors)?;
    write_json(&directory.join(CONFIG), raw)?;
    super::save::sync_directory(directory)
}
