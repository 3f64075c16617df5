//! How GGUF stores numbers: plain, or in blocks that share a scale. This file has the plain types and the blocks of 32;
//! [`super::superblocks`] has the blocks of 256.
//!
//! Every value is a few f32 operations in the order of ggml's own description (`ggml-common.h`, `ggml-quants.c`): scales are
//! widened and multiplied first, then the quant, then the minimum. Hence the bits are those of every other exact reader.
//! Here `d` is a block's scale, `m` its minimum and q a quant.

use half::f16;

use super::superblocks;
use crate::hf::file::{Decode, decode_bf16, decode_f16, decode_f32};

/// Values in a quantised block.
const BLOCK: usize = 32;

/// What refusals and the documentation list.
pub(super) const READABLE: &str =
    "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL and IQ4_XS";

/// The 16 values that a quant of IQ4_NL and IQ4_XS stands for: part of the format.
pub(super) const NONLINEAR: [f32; 16] =
    [-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0];

/// The block types that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockType {
    F32,
    F16,
    Bf16,
    /// d, 32 nibbles: (q − 8)·d.
    Q4_0,
    /// d, m, 32 nibbles: q·d + m.
    Q4_1,
    /// d, 32 fifth bits, 32 nibbles: (q − 16)·d.
    Q5_0,
    /// d, m, 32 fifth bits, 32 nibbles: q·d + m.
    Q5_1,
    /// d, 32 signed bytes: q·d.
    Q8_0,
    /// d, 32 nibbles: `NONLINEAR[q]·d`.
    Iq4Nl,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Iq4Xs,
}

impl BlockType {
    /// The type of that number in a file, or the number.
    pub(super) fn of(kind: u32) -> Result<Self, u32> {
        match kind {
            0 => Ok(BlockType::F32),
            1 => Ok(BlockType::F16),
            2 => Ok(BlockType::Q4_0),
            3 => Ok(BlockType::Q4_1),
            6 => Ok(BlockType::Q5_0),
            7 => Ok(BlockType::Q5_1),
            8 => Ok(BlockType::Q8_0),
            10 => Ok(BlockType::Q2K),
            11 => Ok(BlockType::Q3K),
            12 => Ok(BlockType::Q4K),
            13 => Ok(BlockType::Q5K),
            14 => Ok(BlockType::Q6K),
            20 => Ok(BlockType::Iq4Nl),
            23 => Ok(BlockType::Iq4Xs),
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
            BlockType::Q5_0 => (22, BLOCK),
            BlockType::Q5_1 => (24, BLOCK),
            BlockType::Q8_0 => (34, BLOCK),
            BlockType::Iq4Nl => (18, BLOCK),
            BlockType::Q2K => (84, superblocks::SUPERBLOCK),
            BlockType::Q3K => (110, superblocks::SUPERBLOCK),
            BlockType::Q4K => (144, superblocks::SUPERBLOCK),
            BlockType::Q5K => (176, superblocks::SUPERBLOCK),
            BlockType::Q6K => (210, superblocks::SUPERBLOCK),
            BlockType::Iq4Xs => (136, superblocks::SUPERBLOCK),
        }
    }

    pub(super) fn decoder(self) -> Decode {
        match self {
            BlockType::F32 => decode_f32,
            BlockType::F16 => decode_f16,
            BlockType::Bf16 => decode_bf16,
            BlockType::Q4_0 => decode_q4_0,
            BlockType::Q4_1 => decode_q4_1,
            BlockType::Q5_0 => decode_q5_0,
            BlockType::Q5_1 => decode_q5_1,
            BlockType::Q8_0 => decode_q8_0,
            BlockType::Iq4Nl => decode_iq4_nl,
            BlockType::Q2K => superblocks::decode_q2_k,
            BlockType::Q3K => superblocks::decode_q3_k,
            BlockType::Q4K => superblocks::decode_q4_k,
            BlockType::Q5K => superblocks::decode_q5_k,
            BlockType::Q6K => superblocks::decode_q6_k,
            BlockType::Iq4Xs => superblocks::decode_iq4_xs,
        }
    }
}

/// ggml's name of a type that is not read, for messages.
pub(super) fn name(kind: u32) -> String {
    let name = match kind {
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        21 => "IQ3_S",
        22 => "IQ2_S",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        40 => "NVFP4",
        _ => return format!("number {kind}, which is unknown here"),
    };
    name.to_string()
}

/// The half-precision number at byte `at`.
pub(super) fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Byte j of `packed` holds value j in its low and value j + 16 in its high nibble.
fn nibbles(packed: &[u8], out: &mut Vec<f32>, value: impl Fn(u8) -> f32) {
    out.extend(packed.iter().map(|byte| value(byte & 15)));
    out.extend(packed.iter().map(|byte| value(byte >> 4)));
}

/// As [`nibbles`]; bit i of the four bytes before them is the fifth bit of value i.
fn five_bits(packed: &[u8], out: &mut Vec<f32>, value: impl Fn(u8) -> f32) {
    let (fifth, low) = packed.split_at(4);
    let fifth = u32::from_le_bytes([fifth[0], fifth[1], fifth[2], fifth[3]]);
    let bit = |i: usize| ((fifth >> i & 1) as u8) << 4;
    out.extend(low.iter().enumerate().map(|(j, byte)| value(byte & 15 | bit(j))));
    out.extend(low.iter().enumerate().map(|(j, byte)| value(byte >> 4 | bit(j + 16))));
}

fn decode_q4_0(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.chunks_exact(18) {
        let scale = half_at(block, 0);
        nibbles(&block[2..], out, |q| (f32::from(q) - 8.0) * scale);
    }
}

fn decode_q4_1(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.chunks_exact(20) {
        let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
        nibbles(&block[4..], out, |q| f32::from(q) * scale + minimum);
    }
}

fn decode_q5_0(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.chunks_exact(22) {
        let scale = half_at(block, 0);
        five_bits(&block[2..], out, |q| (f32::from(q) - 16.0) * scale);
    }
}

fn decode_q5_1(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.chunks_exact(24) {
        let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
        five_bits(&block[4..], out, |q| f32::from(q) * scale + minimum);
    }
}

fn decode_q8_0(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.chunks_exact(34) {
        let scale = half_at(block, 0);
        out.extend(block[2..].iter().map(|&byte| f32::from(byte as i8) * scale));
    }
}

fn decode_iq4_nl(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.chunks_exact(18) {
        let scale = half_at(block, 0);
        nibbles(&block[2..], out, |q| NONLINEAR[usize::from(q)] * scale);
    }
}
