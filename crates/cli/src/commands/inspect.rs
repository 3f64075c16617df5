//! `lapidary inspect`: what a run, a model or a data set holds.

use std::path::{Path, PathBuf};

use clap::Args;
use lapidary_core::{Kind, Problem, Result};
use lapidary_engine::hf::{AdapterCheckpoint, Checkpoint};
use lapidary_engine::{ModelConfig, Router};
use lapidary_task::{Split, TaskSpec, build};
use lapidary_train::checkpoint::{Checkpoints, verify};
use lapidary_train::{Recipe, human_bytes};
use serde_json::{Value, json};

use crate::output::{Output, theme};
use crate::stop::Outcome;

/// Show what a run, a checkpoint, a model or a data set holds
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary inspect runs/quickstart")]
pub struct Inspect {
    /// A run directory, a checkpoint, a Hugging Face directory, a GGUF file, a data file, or a folder of data files
    path: PathBuf,
    /// Rows of a data set to show
    #[arg(short = 'n', long, default_value_t = 3, value_name = "N")]
    rows: u64,
    /// List every tensor of a model
    #[arg(long)]
    tensors: bool,
}

impl Inspect {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Outcome {
        let path = &self.path;
        if !path.exists() {
            return Err(Problem::new(Kind::Usage, "U013", format!("there is nothing at `{}`", path.display())).into());
        }
        let is_gguf = path.extension().is_some_and(|end| end == "gguf");
        if path.join("recipe.toml").exists() {
            run_directory(path, output)
        } else if path.join("config.json").exists() || is_gguf {
            self.model(output)
        } else if AdapterCheckpoint::is_at(path) {
            self.adapter(output)
        } else {
            self.data(output)
        }
    }

    fn model(&self, output: &mut Output) -> Outcome {
        let checkpoint = Checkpoint::open(&self.path)?;
        let config = &checkpoint.config;
        let manifest = self.path.join("MANIFEST.json").exists().then(|| verify(&self.path));
        let intact = manifest.as_ref().map(|verified| match verified {
            Ok(_) => "every file has the size and hash of its manifest".to_string(),
            Err(why) => format!("BROKEN: {why}"),
        });
        let tokenizer = tokenizer(&self.path);
        let tensors = config.tensors();
        let mut facts = vec![
            ("path", json!(self.path.to_string_lossy())),
            ("parameters", json!(config.parameters())),
            ("size on disk", json!(human_bytes(bytes_below(&self.path)))),
            ("family", json!(config.family)),
            ("vocabulary", json!(config.vocabulary)),
            ("hidden", json!(config.hidden)),
            ("layers", json!(config.layers)),
            ("heads", json!(config.heads)),
            ("kv heads", json!(config.kv_heads)),
            ("head width", json!(config.head_width)),
            ("feed forward", json!(config.feed_forward)),
            ("context", json!(config.context)),
            ("tied", json!(config.tied)),
            ("end tokens", json!(config.eos)),
            ("tensors", json!(tensors.len())),
            ("unused tensors", json!(checkpoint.unused())),
            ("tokenizer", json!(tokenizer)),
            ("manifest", json!(intact)),
        ];
        facts.extend(mixture(config));
        if output.json {
            let mut whole: Value = facts.into_iter().map(|(key, value)| (key.replace(' ', "_"), value)).collect();
            whole["tensor_shapes"] = tensors.iter().map(|it| (it.name.clone(), json!(it.shape))).collect();
            return output.json(&whole);
        }
        print_facts("model", facts, output)?;
        if self.tensors {
            output.line("")?;
            let rows = tensors.into_iter().map(|tensor| vec![tensor.name, format!("{:?}", tensor.shape)]);
            output.table(&["tensor", "shape"], rows)?;
        }
        Ok(())
    }

    fn adapter(&self, output: &mut Output) -> Outcome {
        let adapter = AdapterCheckpoint::open(&self.path)?;
        let lora = adapter.lora();
        let base = adapter.raw_config().get("base_model_name_or_path");
        let facts = vec![
            ("path", json!(self.path.to_string_lossy())),
            ("base", json!(base)),
            ("rank", json!(lora.rank)),
            ("alpha", json!(lora.alpha)),
            ("rslora", json!(lora.rslora)),
            ("targets", json!(lora.targets)),
            ("tensors", json!(adapter.names().count())),
            ("size on disk", json!(human_bytes(bytes_below(&self.path)))),
            ("tokenizer", json!(tokenizer(&self.path))),
        ];
        if output.json {
            let whole: Value = facts.into_iter().map(|(key, value)| (key.replace(' ', "_"), value)).collect();
            return output.json(&whole);
        }
        print_facts("adapter", facts, output)?;
        if self.tensors {
            output.line("")?;
            let rows = adapter.names().map(|name| vec![name.to_string(), format!("{:?}", adapter.shape(name))]);
            output.table(&["tensor", "shape"], rows)?;
        }
        Ok(())
    }

    fn data(&self, output: &mut Output) -> Outcome {
        let task = build(&TaskSpec::Table([("path".to_string(), json!(self.path))].into_iter().collect()), 0)?;
        let count = |split| task.len(split).unwrap_or_default();
        let facts = vec![
            ("path", json!(self.path.to_string_lossy())),
            ("train rows", json!(count(Split::Train))),
            ("test rows", json!(count(Split::Test))),
            ("size on disk", json!(human_bytes(bytes_below(&self.path)))),
        ];
        let split = if count(Split::Train) > 0 { Split::Train } else { Split::Test };
        let shown = self.rows.min(count(split) as u64);
        let items = (0..shown).map(|index| task.item(split, index)).collect::<Result<Vec<_>>>()?;
        if output.json {
            let mut whole: Value = facts.into_iter().map(|(key, value)| (key.replace(' ', "_"), value)).collect();
            whole["rows"] = json!(items);
            return output.json(&whole);
        }
        print_facts("data set", facts, output)?;
        for item in items {
            output.line(format!("\n{}", theme::bold(&item.id)))?;
            output.line(format!("prompt      {}", item.prompt.plain()))?;
            output.line(format!("completion  {}", item.completion.unwrap_or_else(|| "—".into())))?;
            output.line(format!("answer      {}", item.answer.unwrap_or_else(|| "—".into())))?;
        }
        Ok(())
    }
}

/// What a mixture of experts has besides.
fn mixture(config: &ModelConfig) -> Vec<(&'static str, Value)> {
    let Some(experts) = &config.experts else { return Vec::new() };
    let router = match experts.router {
        Router::Softmax => "softmax".to_string(),
        Router::Sigmoid { groups: 1, .. } => "sigmoid".to_string(),
        Router::Sigmoid { groups, kept_groups } => format!("sigmoid, {kept_groups} of {groups} groups"),
    };
    vec![
        ("active parameters", json!(config.active_parameters())),
        ("experts", json!(experts.count)),
        ("experts per token", json!(experts.per_token)),
        ("expert width", json!(experts.feed_forward)),
        ("shared expert width", json!(experts.shared_feed_forward)),
        ("router", json!(router)),
        ("dense layers", json!(experts.dense_layers)),
    ]
}

fn run_directory(path: &Path, output: &mut Output) -> Outcome {
    let recipe = Recipe::load(&path.join("recipe.toml"), &[])?;
    let total: u64 = recipe.stages.iter().map(|stage| stage.training().steps).sum();
    let stages: Vec<String> =
        recipe.stages.iter().map(|stage| format!("{} × {}", stage.name(), stage.training().steps)).collect();
    let checkpoints = Checkpoints::new(path.join("checkpoints"));
    let saved: Vec<Value> =
        checkpoints.steps()?.into_iter().map(|step| state_of(&checkpoints.path_of(step), step)).collect();
    let rows = metrics(&path.join("metrics.jsonl"))?;
    let step_of = |row: &Value| row["step"].as_u64();
    let evaluations: Vec<&Value> = rows.iter().filter(|row| !row["eval/accuracy"].is_null()).collect();
    let facts = vec![
        ("path", json!(path.to_string_lossy())),
        ("model", json!(recipe.model)),
        ("stages", json!(stages)),
        ("steps", json!(rows.iter().filter_map(step_of).max().unwrap_or(0))),
        ("steps in all", json!(total)),
        ("size on disk", json!(human_bytes(bytes_below(path)))),
    ];
    if output.json {
        let mut whole: Value = facts.into_iter().map(|(key, value)| (key.replace(' ', "_"), value)).collect();
        whole["checkpoints"] = json!(saved);
        whole["evaluations"] = json!(evaluations);
        whole["last"] = json!(rows.last());
        return output.json(&whole);
    }
    print_facts("run", facts, output)?;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    if !saved.is_empty() {
        output.line("")?;
        let row = |it: &Value| vec![text(&it["step"]), text(&it["path"]), text(&it["state"])];
        output.table(&["step", "checkpoint", "state"], saved.iter().map(row))?;
    }
    if !evaluations.is_empty() {
        output.line("")?;
        let percent = |row: &Value, key: &str| row[key].as_f64().map_or("?".into(), |x| format!("{:.1}", 100.0 * x));
        let row = |row: &&Value| {
            let (low, high) = (percent(row, "eval/accuracy_low"), percent(row, "eval/accuracy_high"));
            vec![text(&row["step"]), format!("{} ({low} – {high})", percent(row, "eval/accuracy"))]
        };
        output.table(&["step", "accuracy, %"], evaluations.iter().map(row))?;
    }
    Ok(())
}

/// A checkpoint's directory with what its manifest says of it.
fn state_of(path: &Path, step: u64) -> Value {
    let state = match verify(path) {
        Ok(manifest) => format!("intact, {}", human_bytes(manifest.bytes())),
        Err(why) => format!("BROKEN: {why}"),
    };
    json!({ "step": step, "path": path.to_string_lossy(), "state": state })
}

/// The rows of `metrics.jsonl`; a torn last line, as a kill leaves it, is left out.
fn metrics(path: &Path) -> Result<Vec<Value>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Problem::io("read", path, &error)),
    }
}

/// What the model's tokenizer is, in words.
fn tokenizer(path: &Path) -> String {
    if path.is_file() {
        return "inside the GGUF file".into();
    }
    match lapidary_text::Tokenizer::from_directory(path) {
        Ok(tokenizer) => {
            let template = if tokenizer.chat_template().is_some() { "with" } else { "without" };
            format!("{} ids, {template} a chat template", tokenizer.vocabulary())
        }
        Err(problem) if !path.join("tokenizer.json").exists() => format!("none ({})", problem.code()),
        Err(problem) => format!("BROKEN: {}", problem.message()),
    }
}

/// Bytes of a file, or of all files below a directory.
fn bytes_below(path: &Path) -> u64 {
    let Ok(about) = std::fs::symlink_metadata(path) else { return 0 };
    if !about.is_dir() {
        return about.len();
    }
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    entries.flatten().map(|entry| bytes_below(&entry.path())).sum()
}

fn print_facts(what: &str, facts: Vec<(&str, Value)>, output: &mut Output) -> Outcome {
    let text = |value: Value| match value {
        Value::String(text) => text,
        Value::Array(values) => {
            let texts = values.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), String::from));
            texts.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    };
    let rows = facts.into_iter().filter(|(_, value)| !value.is_null() && *value != json!([]));
    output.table(&[what, ""], rows.map(|(key, value)| vec![key.to_string(), text(value)]))
}
