//! The header of a GGUF file: metadata and the list of tensors, with a bound on everything.

use std::collections::BTreeMap;

use lapidary_core::{Kind, Problem, Result};

use super::blocks::BlockType;
use crate::hf::file::WeightFile;

pub(super) const MAGIC: &[u8; 4] = b"GGUF";
/// Metadata and tensor list together; a vocabulary of a million tokens takes some 30 MB.
const MAX_HEADER_BYTES: u64 = 256 << 20;
/// Entries of the metadata; models have about 40.
const MAX_ENTRIES: u64 = 1 << 16;
/// Tensors; a model of 4096 blocks has 50,000.
const MAX_TENSORS: u64 = 1 << 16;
/// Bytes of a key or a tensor's name, as the format's description allows.
const MAX_NAME_BYTES: u64 = 65_535;
/// Dimensions of a tensor in ggml.
const MAX_DIMENSIONS: u32 = 4;
/// How much of a header is fetched from the file at once.
const FETCH_BYTES: u64 = 1 << 16;

/// A value of the metadata. Integers of every width are one kind, and so are floats.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Integer(i128),
    Float(f64),
    Flag(bool),
    Text(String),
    Integers(Vec<i64>),
    Floats(Vec<f32>),
    Texts(Vec<String>),
}

/// One line of the list of tensors.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Fastest dimension first, as in the file.
    dimensions: Vec<usize>,
    pub(super) block_type: Result<BlockType, u32>,
    /// Bytes from the start of the data.
    pub(super) offset: u64,
}

impl Entry {
    /// Slowest dimension first, as Hugging Face counts.
    pub(super) fn shape(&self) -> Vec<usize> {
        self.dimensions.iter().rev().copied().collect()
    }
}

/// A checked header: every tensor of a known type lies inside the file and none overlap.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) metadata: BTreeMap<String, Value>,
    pub(super) tensors: Vec<Entry>,
    /// Where in the file offsets count from.
    pub(super) data_start: u64,
}

/// Reads and checks the header.
pub(super) fn read(file: &WeightFile) -> Result<Header> {
    let mut reader = Reader { file, position: 0, buffer: Vec::new(), buffer_start: 0 };
    if &reader.array::<4>()? != MAGIC {
        return Err(reader.broken("it does not begin with `GGUF`"));
    }
    match reader.u32()? {
        2 | 3 => {}
        version if version.swap_bytes() <= 3 => {
            return Err(reader.broken("it is big-endian").hint("use the little-endian file of this model"));
        }
        version => {
            return Err(reader.broken(format!("version {version} of the format; 2 and 3 are read")));
        }
    }
    let tensor_count = reader.count("tensors", MAX_TENSORS)?;
    let entry_count = reader.count("metadata entries", MAX_ENTRIES)?;
    let mut metadata = BTreeMap::new();
    for _ in 0..entry_count {
        let key = reader.text("a metadata key", MAX_NAME_BYTES)?;
        let kind = reader.u32()?;
        let value = reader.value(&key, kind)?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(reader.broken(format!("metadata `{key}` is there twice")));
        }
    }
    let mut tensors: Vec<Entry> = Vec::new();
    let mut names = std::collections::HashSet::new();
    for _ in 0..tensor_count {
        let entry = reader.entry()?;
        if !names.insert(entry.name.clone()) {
            return Err(reader.broken(format!("tensor `{}` is there twice", entry.name)));
        }
        tensors.push(entry);
    }
    let alignment = match metadata.get("general.alignment") {
        None => 32,
        Some(&Value::Integer(alignment)) if (1..=1 << 20).contains(&alignment) => alignment as u64,
        Some(other) => return Err(reader.broken(format!("`general.alignment` is {other:?}"))),
    };
    let data_start = reader.position.next_multiple_of(alignment);
    check_extents(&reader, &tensors, data_start)?;
    Ok(Header { metadata, tensors, data_start })
}

/// Tensors of known type lie inside the file, on whole blocks, and do not overlap.
fn check_extents(reader: &Reader, tensors: &[Entry], data_start: u64) -> Result<()> {
    let room = reader.file.length().saturating_sub(data_start);
    let mut extents = Vec::with_capacity(tensors.len());
    for entry in tensors {
        let Ok(block_type) = entry.block_type else { continue };
        let (block_bytes, block_elements) = block_type.block();
        let elements = entry.dimensions.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        let whole = entry.dimensions.first().is_some_and(|fastest| fastest % block_elements == 0);
        let bytes =
            elements.filter(|_| whole).and_then(|elements| (elements / block_elements).checked_mul(block_bytes));
        let Some(bytes) = bytes else {
            let shape = entry.shape();
            return Err(reader.broken(format!("tensor `{}` cannot have shape {shape:?}", entry.name)));
        };
        match entry.offset.checked_add(bytes as u64) {
            Some(end) if end <= room => extents.push((entry.offset, end, &entry.name)),
            _ => {
                let name = &entry.name;
                return Err(reader.broken(format!("tensor `{name}` reaches beyond the end of the file")));
            }
        }
    }
    extents.sort_unstable();
    match extents.windows(2).find(|pair| pair[1].0 < pair[0].1) {
        Some(pair) => Err(reader.broken(format!("tensors `{}` and `{}` overlap", pair[0].2, pair[1].2))),
        None => Ok(()),
    }
}

/// Reads forward through a header, fetching a piece of the file at a time.
struct Reader<'a> {
    file: &'a WeightFile,
    position: u64,
    buffer: Vec<u8>,
    buffer_start: u64,
}

impl Reader<'_> {
    fn broken(&self, message: impl std::fmt::Display) -> Problem {
        let path = self.file.path().display();
        Problem::new(Kind::Model, "M008", format!("`{path}` cannot be read as GGUF: {message}"))
            .hint("download or copy the file again")
    }

    fn remaining(&self) -> u64 {
        self.file.length().min(MAX_HEADER_BYTES).saturating_sub(self.position)
    }

    /// The next `count` bytes; checks that they exist before making room for them.
    fn bytes(&mut self, count: u64) -> Result<&[u8]> {
        if count > self.remaining() {
            let what = if self.file.length() > MAX_HEADER_BYTES { "is longer than 256 MiB" } else { "ends early" };
            return Err(self.broken(format!("its header {what} (at byte {})", self.position)));
        }
        let buffered_end = self.buffer_start + self.buffer.len() as u64;
        if self.position + count > buffered_end {
            let fetch = count.max(FETCH_BYTES).min(self.remaining());
            self.buffer.resize(fetch as usize, 0);
            self.file.read_at(self.position, &mut self.buffer)?;
            self.buffer_start = self.position;
        }
        let start = (self.position - self.buffer_start) as usize;
        self.position += count;
        Ok(&self.buffer[start..start + count as usize])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N as u64)?);
        Ok(out)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn count(&mut self, what: &str, most: u64) -> Result<u64> {
        match self.u64()? {
            count if count <= most => Ok(count),
            count => Err(self.broken(format!("it claims {count} {what}, at most {most} are read"))),
        }
    }

    fn text(&mut self, what: &str, most: u64) -> Result<String> {
        let length = self.u64()?;
        if length > most {
            return Err(self.broken(format!("{what} claims {length} bytes")));
        }
        let text = String::from_utf8(self.bytes(length)?.to_vec());
        text.map_err(|_| self.broken(format!("{what} is not UTF-8 text")))
    }

    fn value(&mut self, key: &str, kind: u32) -> Result<Value> {
        Ok(match kind {
            0..=5 | 10 | 11 => Value::Integer(self.integer(kind)?),
            6 => Value::Float(f64::from(self.array().map(f32::from_le_bytes)?)),
            7 => Value::Flag(self.array::<1>()? != [0]),
            8 => Value::Text(self.text(&format!("metadata `{key}`"), MAX_HEADER_BYTES)?),
            9 => self.list(key)?,
            12 => Value::Float(self.array().map(f64::from_le_bytes)?),
            _ => return Err(self.broken(format!("metadata `{key}` has the unknown type {kind}"))),
        })
    }

    fn integer(&mut self, kind: u32) -> Result<i128> {
        Ok(match kind {
            0 => u8::from_le_bytes(self.array()?).into(),
            1 => i8::from_le_bytes(self.array()?).into(),
            2 => u16::from_le_bytes(self.array()?).into(),
            3 => i16::from_le_bytes(self.array()?).into(),
            4 => u32::from_le_bytes(self.array()?).into(),
            5 => i32::from_le_bytes(self.array()?).into(),
            10 => u64::from_le_bytes(self.array()?).into(),
            _ => i64::from_le_bytes(self.array()?).into(),
        })
    }

    /// An array. It grows as its elements are read, so a false count costs nothing.
    fn list(&mut self, key: &str) -> Result<Value> {
        let kind = self.u32()?;
        let count = self.u64()?;
        let least = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            _ => return Err(self.broken(format!("metadata `{key}` is a list of the unknown type {kind}"))),
        };
        if count.checked_mul(least).is_none_or(|bytes| bytes > self.remaining()) {
            return Err(self.broken(format!("metadata `{key}` claims {count} elements, more than the file holds")));
        }
        Ok(match kind {
            8 => {
                let what = format!("an element of metadata `{key}`");
                Value::Texts((0..count).map(|_| self.text(&what, MAX_HEADER_BYTES)).collect::<Result<_>>()?)
            }
            6 => Value::Floats((0..count).map(|_| self.array().map(f32::from_le_bytes)).collect::<Result<_>>()?),
            12 => {
                let float = |_| self.array().map(|bytes| f64::from_le_bytes(bytes) as f32);
                Value::Floats((0..count).map(float).collect::<Result<_>>()?)
            }
            7 => Value::Integers((0..count).map(|_| Ok(i64::from(self.array::<1>()? != [0]))).collect::<Result<_>>()?),
            _ => Value::Integers((0..count).map(|_| self.integer(kind).map(|n| n as i64)).collect::<Result<_>>()?),
        })
    }

    fn entry(&mut self) -> Result<Entry> {
        let name = self.text("a tensor's name", MAX_NAME_BYTES)?;
        let rank = self.u32()?;
        if rank == 0 || rank > MAX_DIMENSIONS {
            return Err(self.broken(format!("tensor `{name}` claims {rank} dimensions")));
        }
        let mut dimensions = Vec::new();
        for _ in 0..rank {
            let size = self.u64()?;
            let size = usize::try_from(size).ok().filter(|&size| size > 0);
            dimensions.push(size.ok_or_else(|| self.broken(format!("tensor `{name}` has an impossible dimension")))?);
        }
        let block_type = BlockType::of(self.u32()?);
        Ok(Entry { name, dimensions, block_type, offset: self.u64()? })
    }
}
