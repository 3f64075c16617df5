//! How GGUF stores numbers: plain, or in blocks of 32 that share a scale.

use half::f16;

use crate::hf::file::{Decode, decode_bf16, decode_f16, decode_f32};

/// Values in a quantised block.
const BLOCK: usize = 32;

/// The block types that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockType {
    F32,
    F16,
    Bf16,
    /// Scale, 32 nibbles: (q − 8)·d.
    Q4_0,
    /// Scale, minimum, 32 nibbles: q·d + m.
    Q4_1,
    /// Scale, 32 signed bytes: q·d.
    Q8_0,
}

impl BlockType {
    /// The type of that number in a file, or the number.
    pub(super) fn of(kind: u32) -> Result<Self, u32> {
        match kind {
            0 => Ok(BlockType::F32),
            1 => Ok(BlockType::F16),
            2 => Ok(BlockType::Q4_0),
            3 => Ok(BlockType::Q4_1),
            8 => Ok(BlockType::Q8_0),
            30 => Ok(BlockType::Bf16),
            _ => Err(kind),
        }
    }

    /// Bytes and values of a block.
    pub(super) fn block(self) -> (usize, usize) {
        match self {
            BlockType::F32 => (4, 1),
            BlockType::F16 | BlockType::Bf16 => (2, 1),
            BlockType::Q4_0 => (18, BLOCK),
            BlockType::Q4_1 => (20, BLOCK),
            BlockType::Q8_0 => (34, BLOCK),
        }
    }

    pub(super) fn decoder(self) -> Decode {
        match self {
            BlockType::F32 => decode_f32,
            BlockType::F16 => decode_f16,
            BlockType::Bf16 => decode_bf16,
            BlockType::Q4_0 => decode_q4_0,
            BlockType::Q4_1 => decode_q4_1,
            BlockType::Q8_0 => decode_q8_0,
        }
    }
}

/// ggml's name of a type, for messages.
pub(super) fn name(kind: u32) -> String {
    let name = match kind {
        6 => "Q5_0",
        7 => "Q5_1",
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        12 => "Q4_K",
        13 => "Q5_K",
        14 => "Q6_K",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => return format!("number {kind}, which is unknown here"),
    };
    name.to_string()
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Byte j of `packed` holds value j in its low and value j + 16 in its high nibble.
fn nibbles(packed: &[u8], out: &mut Vec<f32>, value: impl Fn(f32) -> f32) {
    out.extend(packed.iter().map(|byte| value(f32::from(byte & 15))));
    out.extend(packed.iter().map(|byte| value(f32::from(byte >> 4))));
}

fn decode_q4_0(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.chunks_exact(18) {
        let scale = half_at(block, 0);
        nibbles(&block[2..], out, |q| (q - 8.0) * scale);
    }
}

fn decode_q4_1(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.chunks_exact(20) {
        let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
        nibbles(&block[4..], out, |q| q * scale + minimum);
    }
}

fn decode_q8_0(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.chunks_exact(34) {
        let scale = half_at(block, 0);
        out.extend(block[2..].iter().map(|&byte| f32::from(byte as i8) * scale));
    }
}
