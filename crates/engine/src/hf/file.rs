//! Random reads of a weights file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lapidary_core::{Kind, Problem, Result};

/// How much is read at once, at most, while a tensor is converted.
const CHUNK_BYTES: usize = 1 << 20;

/// Appends the values that a run of whole blocks stores.
pub(super) type Decode = fn(&[u8], &mut Vec<f32>);

/// A file opened for reading. Plain reads instead of a memory map: a file that is changed or cut under the process is an
/// error then, not undefined behaviour.
#[derive(Debug)]
pub(super) struct WeightFile {
    path: PathBuf,
    length: u64,
    file: Mutex<File>,
}

impl WeightFile {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let failed = |error| Problem::io("open", path, &error).with_kind(Kind::Model);
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(Problem::new(Kind::Model, "M008", format!("`{}` is not a file", path.display())));
        }
        Ok(Self { path: path.to_path_buf(), length: metadata.len(), file: Mutex::new(file) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Size in bytes when it was opened.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Fills `buffer` from the byte `offset`.
    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.read_exact(buffer))
            .map_err(|error| Problem::io("read", &self.path, &error).with_kind(Kind::Model))
    }

    /// Reads `elements` values stored as blocks of `block_bytes` bytes that hold `block_elements` values each.
    /// The caller has checked that the range lies in the file.
    pub(super) fn read_blocks(
        &self,
        offset: u64,
        elements: usize,
        (block_bytes, block_elements): (usize, usize),
        decode: Decode,
    ) -> Result<Vec<f32>> {
        assert_eq!(elements % block_elements, 0, "whole blocks");
        let bytes = elements / block_elements * block_bytes;
        assert!(offset + bytes as u64 <= self.length, "checked before allocation");
        let mut values = Vec::with_capacity(elements);
        let mut buffer = vec![0; bytes.min(CHUNK_BYTES / block_bytes * block_bytes)];
        let mut done = 0;
        while done < bytes {
            let take = buffer.len().min(bytes - done);
            self.read_at(offset + done as u64, &mut buffer[..take])?;
            decode(&buffer[..take], &mut values);
            done += take;
        }
        assert_eq!(values.len(), elements, "one value per element");
        Ok(values)
    }
}

/// Little-endian f32.
pub(super) fn decode_f32(bytes: &[u8], out: &mut Vec<f32>) {
    let (quads, _) = bytes.as_chunks::<4>();
    out.extend(quads.iter().map(|quad| f32::from_le_bytes(*quad)));
}

/// Little-endian IEEE half.
pub(super) fn decode_f16(bytes: &[u8], out: &mut Vec<f32>) {
    let (pairs, _) = bytes.as_chunks::<2>();
    out.extend(pairs.iter().map(|pair| half::f16::from_le_bytes(*pair).to_f32()));
}

/// Little-endian bfloat16: the upper half of an f32.
pub(super) fn decode_bf16(bytes: &[u8], out: &mut Vec<f32>) {
    let (pairs, _) = bytes.as_chunks::<2>();
    out.extend(pairs.iter().map(|pair| half::bf16::from_le_bytes(*pair).to_f32()));
}
