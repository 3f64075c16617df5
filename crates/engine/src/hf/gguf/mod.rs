//! GGUF files (versions 2 and 3), as llama.cpp's converter writes Llama, Qwen2 and Qwen3.
//!
//! Layout: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. The configuration is translated into Hugging Face's
//! `config.json` and from there takes the same way as a directory's, so that a model that came as GGUF is saved as one.

mod blocks;
mod header;
mod metadata;
mod superblocks;

use std::collections::BTreeMap;
use std::path::Path;

use lapidary_core::{GgufVocabulary, Kind, Problem, Result};
use serde_json::Value;

use super::config::{self, ConfigSource};
use super::file::WeightFile;
use crate::{Family, ModelConfig};
use blocks::BlockType;
use header::Header;

/// A GGUF file whose header has been checked.
pub(super) struct Parts {
    pub(super) config: ModelConfig,
    pub(super) raw: Value,
    pub(super) vocabulary: GgufVocabulary,
    pub(super) weights: GgufWeights,
}

/// The tensors of a GGUF file under their Hugging Face names.
#[derive(Debug)]
pub(super) struct GgufWeights {
    file: WeightFile,
    data_start: u64,
    tensors: BTreeMap<String, Tensor>,
}

#[derive(Debug)]
struct Tensor {
    /// The name in the file.
    name: String,
    /// `[out, in]`, the reverse of the file's order.
    shape: Vec<usize>,
    block_type: Result<BlockType, u32>,
    /// Bytes from the start of the data.
    offset: u64,
    /// Number of heads whose rows the converter interleaved for llama.cpp's rotary order.
    interleaved_heads: Option<usize>,
}

/// Whether the file begins as a GGUF file does.
pub(super) fn is_gguf(path: &Path) -> bool {
    let mut magic = [0; 4];
    WeightFile::open(path).and_then(|file| file.read_at(0, &mut magic)).is_ok() && &magic == header::MAGIC
}

/// Reads everything but the weights themselves.
pub(super) fn open(path: &Path) -> Result<Parts> {
    let file = WeightFile::open(path)?;
    let header = header::read(&file)?;
    let rope_factors = rope_factors(&file, &header)?;
    let raw = metadata::config_json(path, &header, rope_factors.as_deref())?;
    let config = config::parse(&ConfigSource { path, text: "", json: &raw })?;
    let vocabulary = metadata::vocabulary(path, &header, config.vocabulary)?;
    let mut tensors = BTreeMap::new();
    for entry in header.tensors {
        let name = hugging_face_name(&entry.name).unwrap_or_else(|| entry.name.clone());
        let interleaved_heads = match config.family {
            Family::Llama if name.contains(".q_proj.") => Some(config.heads),
            Family::Llama if name.contains(".k_proj.") => Some(config.kv_heads),
            _ => None,
        };
        let tensor = Tensor {
            shape: entry.shape(),
            name: entry.name,
            block_type: entry.block_type,
            offset: entry.offset,
            interleaved_heads,
        };
        tensors.insert(name, tensor);
    }
    Ok(Parts { config, raw, vocabulary, weights: GgufWeights { file, data_start: header.data_start, tensors } })
}

/// `rope_freqs.weight`: by what each rotary frequency is divided.
fn rope_factors(file: &WeightFile, header: &Header) -> Result<Option<Vec<f32>>> {
    let Some(entry) = header.tensors.iter().find(|entry| entry.name == metadata::ROPE_FACTORS) else { return Ok(None) };
    let block_type = entry.block_type.map_err(|kind| type_refused(file.path(), &entry.name, kind))?;
    let elements = entry.shape().iter().product();
    let offset = header.data_start + entry.offset;
    file.read_blocks(offset, elements, block_type.block(), block_type.decoder()).map(Some)
}

impl GgufWeights {
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str).filter(|&name| name != metadata::ROPE_FACTORS)
    }

    pub(super) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.get(name).map(|tensor| tensor.shape.clone())
    }

    pub(super) fn check_type(&self, name: &str) -> Result<()> {
        match self.tensors.get(name) {
            Some(Tensor { block_type: Err(kind), name, .. }) => Err(type_refused(self.file.path(), name, *kind)),
            _ => Ok(()),
        }
    }

    /// The tensor's values with rows in Hugging Face's order.
    pub(super) fn read(&self, name: &str) -> Result<Vec<f32>> {
        let Some(tensor) = self.tensors.get(name) else {
            return Err(Problem::new(Kind::Model, "M010", format!("tensor `{name}` is missing from the checkpoint")));
        };
        let block_type = tensor.block_type.map_err(|kind| type_refused(self.file.path(), &tensor.name, kind))?;
        let elements = tensor.shape.iter().product();
        let offset = self.data_start + tensor.offset;
        let values = self.file.read_blocks(offset, elements, block_type.block(), block_type.decoder())?;
        Ok(match tensor.interleaved_heads {
            Some(heads) => halves_from_pairs(&values, tensor.shape[0], heads),
            None => values,
        })
    }
}

/// Rows `2i + s` of each head go to row `s·width/2 + i`: the converter stores the two rows that RoPE rotates together
/// side by side, Hugging Face keeps them half a head apart.
fn halves_from_pairs(values: &[f32], rows: usize, heads: usize) -> Vec<f32> {
    let (columns, width) = (values.len() / rows, rows / heads);
    assert!(width * heads == rows && width % 2 == 0, "heads of even width");
    let mut out = Vec::with_capacity(values.len());
    for row in 0..rows {
        let (head, at) = (row / width, row % width);
        let (half, i) = (at / (width / 2), at % (width / 2));
        let source = head * width + 2 * i + half;
        out.extend_from_slice(&values[source * columns..(source + 1) * columns]);
    }
    out
}

/// `blk.3.attn_q.weight` → `model.layers.3.self_attn.q_proj.weight`; `None` for names no such model has.
fn hugging_face_name(name: &str) -> Option<String> {
    let whole = match name {
        "token_embd.weight" => Some("model.embed_tokens.weight"),
        "output_norm.weight" => Some("model.norm.weight"),
        "output.weight" => Some("lm_head.weight"),
        _ => None,
    };
    if let Some(whole) = whole {
        return Some(whole.to_string());
    }
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let layer: u32 = layer.parse().ok()?;
    let (part, kind) = rest.rsplit_once('.')?;
    let module = match part {
        "attn_norm" => "input_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_q_norm" => "self_attn.q_norm",
        "attn_k_norm" => "self_attn.k_norm",
        "attn_output" => "self_attn.o_proj",
        "ffn_norm" => "post_attention_layernorm",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        _ => return None,
    };
    matches!(kind, "weight" | "bias").then(|| format!("model.layers.{layer}.{module}.{kind}"))
}

fn type_refused(path: &Path, tensor: &str, kind: u32) -> Problem {
    let name = blocks::name(kind);
    Problem::new(Kind::Model, "M012", format!("tensor `{tensor}` of `{}` has type {name}", path.display()))
        .why(format!("Lapidary reads {}", blocks::READABLE))
        .hint("convert the model with `llama-quantize --allow-requantize MODEL OUT Q8_0`, or use the Hugging Face directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaved_rows_return_to_halves() {
        // Two heads of width 4, one column. Hugging Face's rows a0 a1 b0 b1 are stored as a0 b0 a1 b1.
        let stored = [10.0, 12.0, 11.0, 13.0, 20.0, 22.0, 21.0, 23.0];
        assert_eq!(halves_from_pairs(&stored, 8, 2), [10.0, 11.0, 12.0, 13.0, 20.0, 21.0, 22.0, 23.0]);
    }

    #[test]
    fn names_translate() {
        for (gguf, expected) in [
            ("blk.12.attn_k.bias", "model.layers.12.self_attn.k_proj.bias"),
            ("blk.0.attn_q_norm.weight", "model.layers.0.self_attn.q_norm.weight"),
            ("output.weight", "lm_head.weight"),
        ] {
            assert_eq!(hugging_face_name(gguf).as_deref(), Some(expected));
        }
        for other in ["blk.x.attn_k.bias", "blk.0.ffn_gate_inp.weight", "rope_freqs.weight", "blk.0.attn_q.scale", ""] {
            assert_eq!(hugging_face_name(other), None, "{other}");
        }
    }
}
