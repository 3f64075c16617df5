//! Weights in one safetensors file or several.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use lapidary_core::{Kind, Problem, Result};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::Value;

use super::file::{Decode, WeightFile, decode_bf16, decode_f16, decode_f32};

/// Longest header that the format allows.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// The header's length comes first, as a little-endian u64.
const LENGTH_BYTES: u64 = 8;
/// Most shards an index may name: far above any published model.
const MAX_SHARDS: usize = 4096;

/// One `.safetensors` file with its checked header.
#[derive(Debug)]
struct Shard {
    file: WeightFile,
    data_start: u64,
    metadata: Metadata,
}

/// All tensors of a checkpoint, by name.
#[derive(Debug)]
pub(super) struct Shards {
    shards: Vec<Shard>,
    shard_of: BTreeMap<String, usize>,
}

impl Shards {
    /// Opens a single file.
    pub(super) fn single(path: &Path) -> Result<Self> {
        let shard = Shard::open(path)?;
        let shard_of = shard.metadata.offset_keys().into_iter().map(|name| (name, 0)).collect();
        Ok(Self { shards: vec![shard], shard_of })
    }

    /// Opens the shards that `model.safetensors.index.json` names; they lie beside it.
    pub(super) fn indexed(index: &Path, json: &Value) -> Result<Self> {
        let broken = |message: String| {
            Problem::new(Kind::Model, "M009", format!("`{}`: {message}", index.display()))
                .hint("download the checkpoint again; the index names one plain file in the same directory per tensor")
        };
        let map = json.get("weight_map").and_then(Value::as_object);
        let map = map.ok_or_else(|| broken("no object `weight_map`".into()))?;
        let directory = index.parent().unwrap_or(Path::new("."));
        let (mut files, mut shards, mut shard_of) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        for (tensor, file) in map {
            let file = file.as_str().ok_or_else(|| broken(format!("the file of tensor `{tensor}` is not a string")))?;
            let at = match files.get(file) {
                Some(&at) => at,
                None => {
                    if !is_plain_name(file) {
                        return Err(broken(format!("shard `{file}` of tensor `{tensor}` is not a plain file name"))
                            .why("a name that leaves the directory could read any file of this machine"));
                    }
                    if shards.len() == MAX_SHARDS {
                        return Err(broken(format!("more than {MAX_SHARDS} shards")));
                    }
                    let path = directory.join(file);
                    if !path.is_file() {
                        return Err(broken(format!("shard `{file}` is missing")));
                    }
                    shards.push(Shard::open(&path)?);
                    files.insert(file, shards.len() - 1);
                    shards.len() - 1
                }
            };
            if shards[at].metadata.info(tensor).is_none() {
                return Err(broken(format!("tensor `{tensor}` is not in `{file}`")));
            }
            shard_of.insert(tensor.clone(), at);
        }
        Ok(Self { shards, shard_of })
    }

    /// Every tensor's name.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.shard_of.keys().map(String::as_str)
    }

    fn find(&self, name: &str) -> Option<(&Shard, &TensorInfo)> {
        let shard = &self.shards[*self.shard_of.get(name)?];
        Some((shard, shard.metadata.info(name)?))
    }

    /// Shape of a tensor, if there is one of that name.
    pub(super) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.find(name).map(|(_, info)| info.shape.clone())
    }

    /// Whether the tensor's numbers can be read; true of names that do not exist.
    pub(super) fn check_type(&self, name: &str) -> Result<()> {
        match self.find(name) {
            Some((shard, info)) if codec(info.dtype).is_none() => Err(Problem::new(
                Kind::Model,
                "M012",
                format!("tensor `{name}` of `{}` has type {}", shard.file.path().display(), info.dtype),
            )
            .why("Lapidary reads F32, BF16 and F16 weights")
            .hint("save the model in one of these types first: `model.to(torch.bfloat16).save_pretrained(...)`")),
            _ => Ok(()),
        }
    }

    /// The tensor's values; the name exists and its type has been checked.
    pub(super) fn read(&self, name: &str) -> Result<Vec<f32>> {
        self.check_type(name)?;
        let found = self.find(name).and_then(|(shard, info)| Some((shard, info, codec(info.dtype)?)));
        let Some((shard, info, (bytes, decode))) = found else {
            return Err(Problem::new(Kind::Model, "M010", format!("tensor `{name}` is missing from the checkpoint")));
        };
        let (start, end) = info.data_offsets;
        shard.file.read_blocks(shard.data_start + start as u64, (end - start) / bytes, (bytes, 1), decode)
    }
}

impl Shard {
    fn open(path: &Path) -> Result<Self> {
        let file = WeightFile::open(path)?;
        let broken = |message: String| {
            Problem::new(
                Kind::Model,
                "M008",
                format!("`{}` is not a whole safetensors file: {message}", path.display()),
            )
            .hint("download or copy the file again")
        };
        let length = file.length();
        if length < LENGTH_BYTES {
            return Err(broken(format!("it has {length} bytes, fewer than the {LENGTH_BYTES} of the header's length")));
        }
        let mut prefix = [0; LENGTH_BYTES as usize];
        file.read_at(0, &mut prefix)?;
        let header_bytes = u64::from_le_bytes(prefix);
        let room = (length - LENGTH_BYTES).min(MAX_HEADER_BYTES);
        if header_bytes > room {
            let problem = broken(format!("its header claims {header_bytes} bytes, at most {room} are possible"));
            return Err(match &prefix {
                b"version " => problem.why("this is a Git LFS pointer, not the weights").hint("run `git lfs pull`"),
                _ => problem,
            });
        }
        let mut header = vec![0; header_bytes as usize];
        file.read_at(LENGTH_BYTES, &mut header)?;
        let metadata: Metadata =
            serde_json::from_slice(&header).map_err(|error| broken(format!("its header is invalid: {error}")))?;
        let data_start = LENGTH_BYTES + header_bytes;
        let (expected, got) = (metadata.data_len() as u64, length - data_start);
        if expected != got {
            return Err(broken(format!("its header describes {expected} bytes of tensors, {got} follow it")));
        }
        Ok(Self { file, data_start, metadata })
    }
}

/// Bytes per number and their decoder.
fn codec(dtype: Dtype) -> Option<(usize, Decode)> {
    match dtype {
        Dtype::F32 => Some((4, decode_f32)),
        Dtype::F16 => Some((2, decode_f16)),
        Dtype::BF16 => Some((2, decode_bf16)),
        _ => None,
    }
}

/// Whether `name` is a single ordinary path component on every system.
fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!(components.next(), Some(Component::Normal(_)))
        && components.next().is_none()
        && !name.contains(['/', '\\', ':', '\0'])
}
