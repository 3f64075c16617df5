//! Writing a model as Hugging Face reads it.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use lapidary_core::{Problem, Result};
use serde_json::{Map, Value, json};

use super::config::{self, ConfigSource};
use crate::TensorSpec;

/// Values converted to bytes at once.
const CHUNK: usize = 1 << 16;
/// The header's length is a multiple of this, so that the numbers behind it are aligned.
const HEADER_ALIGNMENT: usize = 8;

/// Writes `config.json`, `generation_config.json` and `model.safetensors` (f32) into an existing directory.
///
/// `config_json` is [`super::Checkpoint::raw_config`] or [`super::config_json`]; its unknown keys are kept and its number
/// type becomes float32. `generation_config` is [`super::Checkpoint::raw_generation_config`]; where there is none, one is
/// made of the start and end tokens. `tensors` hands out every tensor of the model once, in any order; each is written
/// and dropped before the next is asked for.
///
/// Every file is written beside its final name, brought to the disk, and renamed, `config.json` last. Fails when the disk
/// is full ([`lapidary_core::Kind::Busy`]), on any other write error, and on a configuration that
/// [`super::Checkpoint::open`] would refuse.
///
/// # Panics
/// If a tensor is missing, unknown, handed out twice, or has other dimensions than the configuration says.
pub fn save(
    directory: &Path,
    config_json: &Value,
    generation_config: Option<&Value>,
    tensors: impl IntoIterator<Item = (TensorSpec, Vec<f32>)>,
) -> Result<()> {
    let config_path = directory.join("config.json");
    let config = config::parse(&ConfigSource { path: &config_path, text: "", json: config_json })?;
    write_whole(&directory.join("model.safetensors"), |file| write_tensors(file, &config.tensors(), tensors))?;
    let generation = generation_config.cloned().unwrap_or_else(|| generation_json(config_json));
    write_json(&directory.join("generation_config.json"), &generation)?;
    write_json(&config_path, &as_f32(config_json))?;
    sync_directory(directory)
}

/// The tokens that begin, end and pad a generated text.
fn generation_json(config_json: &Value) -> Value {
    let mut out = Map::new();
    out.insert("_from_model_config".into(), json!(true));
    for key in ["bos_token_id", "eos_token_id", "pad_token_id"] {
        if let Some(id) = config_json.get(key).filter(|id| !id.is_null()) {
            out.insert(key.into(), id.clone());
        }
    }
    Value::Object(out)
}

/// `config.json` with the number type that is written, under the keys it had.
fn as_f32(config_json: &Value) -> Value {
    let mut out = config_json.clone();
    let key = if out.get("dtype").is_some() { "dtype" } else { "torch_dtype" };
    for key in ["dtype", "torch_dtype"].into_iter().filter(|name| *name == key || config_json.get(name).is_some()) {
        out[key] = json!("float32");
    }
    out
}

pub(super) fn write_json(path: &Path, json: &Value) -> Result<()> {
    write_whole(path, |file| writeln!(file, "{json:#}"))
}

/// Writes a file beside its name, brings it to the disk, renames it. A failure leaves what was there before.
fn write_whole(path: &Path, write: impl FnOnce(&mut BufWriter<&File>) -> std::io::Result<()>) -> Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    let partial = PathBuf::from(name);
    let written = File::create(&partial).and_then(|file| {
        let mut writer = BufWriter::with_capacity(1 << 20, &file);
        write(&mut writer)?;
        writer.flush()?;
        drop(writer);
        file.sync_all()
    });
    written.and_then(|()| std::fs::rename(&partial, path)).map_err(|error| {
        // The write error is what the caller must hear; a left-over partial file is overwritten by the next attempt.
        let _ = std::fs::remove_file(&partial);
        Problem::io("write", path, &error)
    })
}

/// A rename is on the disk only when its directory is.
pub(super) fn sync_directory(directory: &Path) -> Result<()> {
    if cfg!(unix) {
        let synced = File::open(directory).and_then(|file| file.sync_all());
        synced.map_err(|error| Problem::io("write", directory, &error))?;
    }
    Ok(())
}

/// Writes these tensors, in this order, as one safetensors file.
pub(super) fn write_tensors_file(path: &Path, tensors: Vec<(TensorSpec, Vec<f32>)>) -> Result<()> {
    let specs: Vec<TensorSpec> = tensors.iter().map(|(spec, _)| spec.clone()).collect();
    write_whole(path, |file| write_tensors(file, &specs, tensors))
}

fn write_tensors(
    file: &mut BufWriter<&File>,
    specs: &[TensorSpec],
    tensors: impl IntoIterator<Item = (TensorSpec, Vec<f32>)>,
) -> std::io::Result<()> {
    let (header, starts) = header(specs);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let data_start = (size_of::<u64>() + header.len()) as u64;
    let (mut position, mut written) = (data_start, vec![false; specs.len()]);
    let index: std::collections::HashMap<&str, usize> =
        specs.iter().enumerate().map(|(i, spec)| (spec.name.as_str(), i)).collect();
    let mut bytes = Vec::with_capacity(CHUNK * 4);
    for (spec, values) in tensors {
        let at = *index.get(spec.name.as_str()).unwrap_or_else(|| panic!("`{}` is no tensor of the model", spec.name));
        assert_eq!(specs[at].shape, spec.shape, "shape of `{}`", spec.name);
        assert_eq!(values.len(), spec.shape.iter().product::<usize>(), "size of `{}`", spec.name);
        assert!(!std::mem::replace(&mut written[at], true), "`{}` is there twice", spec.name);
        if position != data_start + starts[at] {
            position = file.seek(SeekFrom::Start(data_start + starts[at]))?;
        }
        for chunk in values.chunks(CHUNK) {
            bytes.clear();
            bytes.extend(chunk.iter().flat_map(|value| value.to_le_bytes()));
            file.write_all(&bytes)?;
        }
        position += 4 * values.len() as u64;
    }
    let missing = written.iter().position(|done| !done).map(|at| specs[at].name.as_str());
    assert_eq!(missing, None, "every tensor of the model is saved");
    Ok(())
}

/// The safetensors header and where each tensor's data begins behind it.
fn header(specs: &[TensorSpec]) -> (String, Vec<u64>) {
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({ "format": "pt" }));
    let (mut end, mut starts) = (0u64, Vec::with_capacity(specs.len()));
    for spec in specs {
        let start = end;
        end += 4 * spec.shape.iter().product::<usize>() as u64;
        starts.push(start);
        let entry = json!({ "dtype": "F32", "shape": spec.shape, "data_offsets": [start, end] });
        header.insert(spec.name.clone(), entry);
    }
    let mut text = Value::Object(header).to_string();
    text.push_str(&" ".repeat(text.len().next_multiple_of(HEADER_ALIGNMENT) - text.len()));
    (text, starts)
}
