//! Blocks of 256 values in groups of 16 or 32, whose scales are quantised too (the `K` types, and IQ4_XS).
//!
//! A group's scale is (one half-precision scale of the whole block) × (its own small integer), and so is its minimum.

use super::blocks::{NONLINEAR, half_at};

/// Values in a superblock.
pub(super) const SUPERBLOCK: usize = 256;

/// Scale and minimum of the eight groups of Q4_K and Q5_K, six bits each in twelve bytes: bytes 0–3 hold the scales of groups
/// 0–3 in their low six bits, bytes 4–7 the minima; bytes 8–11 hold the low four bits of scale (low nibble) and minimum (high
/// nibble) of groups 4–7, whose upper two bits are the upper two of bytes 0–3 and 4–7.
fn six_bit_pairs(packed: &[u8]) -> [(f32, f32); 8] {
    std::array::from_fn(|group| {
        let (scale, minimum) = match group {
            0..4 => (packed[group] & 63, packed[group + 4] & 63),
            _ => {
                let low = packed[group + 4];
                (low & 15 | packed[group - 4] >> 6 << 4, low >> 4 | packed[group] >> 6 << 4)
            }
        };
        (f32::from(scale), f32::from(minimum))
    })
}

/// The sixteen scales of Q3_K in twelve bytes, 32 above their value: scale i < 8 has its low four bits in the low nibble of
/// byte i, scale i ≥ 8 in the high nibble of byte i − 8; bits 4 and 5 are bits 2·⌊i/4⌋ and up of byte 8 + i mod 4.
fn six_bit_scales(packed: &[u8]) -> [f32; 16] {
    std::array::from_fn(|i| {
        let low = if i < 8 { packed[i] & 15 } else { packed[i - 8] >> 4 };
        let high = packed[8 + i % 4] >> (2 * (i / 4)) & 3;
        f32::from(low | high << 4) - 32.0
    })
}

/// Sixteen (scale, minimum) nibbles, 64 bytes of two-bit quants, d, minimum's scale: q·(d·scale) − (dmin·minimum).
/// Value 128h + 32j + l is bits 2j and 2j + 1 of byte 32h + l (as in Q3_K); a group is 16 values.
pub(super) fn decode_q2_k(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.chunks_exact(84) {
        let (scales, rest) = block.split_at(16);
        let (d, dmin) = (half_at(block, 80), half_at(block, 82));
        for (group, &packed) in scales.iter().enumerate() {
            let (half, shift, side) = (group / 8, 2 * (group / 2 % 4), group % 2);
            let scale = d * f32::from(packed & 15);
            let minimum = dmin * f32::from(packed >> 4);
            let quants = &rest[32 * half + 16 * side..][..16];
            out.extend(quants.iter().map(|byte| scale * f32::from(byte >> shift & 3) - minimum));
        }
    }
}

/// 32 bytes of third bits, 64 bytes of two-bit quants, twelve bytes of scales, d: (d·scale)·(q − 4), q's third bit included.
/// Value 128h + 32j + l has its third bit in bit 4h + j of byte l.
pub(super) fn decode_q3_k(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.chunks_exact(110) {
        let (third_bits, rest) = block.split_at(32);
        let d = half_at(block, 108);
        for (group, scale) in six_bit_scales(&block[96..108]).into_iter().enumerate() {
            let (half, j, side) = (group / 8, group / 2 % 4, group % 2);
            let scale = d * scale;
            let quants = &rest[32 * half + 16 * side..][..16];
            let thirds = &third_bits[16 * side..][..16];
            out.extend(quants.iter().zip(thirds).map(|(byte, third)| {
                let q = byte >> (2 * j) & 3 | (third >> (4 * half + j) & 1) << 2;
                scale * (f32::from(q) - 4.0)
            }));
        }
    }
}

/// d, minimum's scale, twelve bytes of scales and minima, 128 bytes of nibbles: (d·scale)·q − (dmin·minimum).
/// Each 32 bytes hold a group of 32 in their low and the next in their high nibbles.
pub(super) fn decode_q4_k(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.chunks_exact(144) {
        let (d, dmin) = (half_at(block, 0), half_at(block, 2));
        for (group, (scale, minimum)) in six_bit_pairs(&block[4..16]).into_iter().enumerate() {
            let (scale, minimum) = (d * scale, dmin * minimum);
            let quants = &block[16 + 32 * (group / 2)..][..32];
            out.extend(quants.iter().map(|byte| scale * f32::from(byte >> (4 * (group % 2)) & 15) - minimum));
        }
    }
}

/// Q4_K with 32 bytes of fifth bits before the nibbles: bit g of byte l belongs to value l of group g.
pub(super) fn decode_q5_k(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.chunks_exact(176) {
        let (d, dmin) = (half_at(block, 0), half_at(block, 2));
        for (group, (scale, minimum)) in six_bit_pairs(&block[4..16]).into_iter().enumerate() {
            let (scale, minimum) = (d * scale, dmin * minimum);
            let quants = &block[48 + 32 * (group / 2)..][..32];
            out.extend(quants.iter().zip(&block[16..48]).map(|(byte, fifth)| {
                let q = byte >> (4 * (group % 2)) & 15 | (fifth >> group & 1) << 4;
                scale * f32::from(q) - minimum
            }));
        }
    }
}

/// 128 bytes of nibbles, 64 bytes of bit pairs, sixteen signed scales, d: (d·scale)·(q − 32).
/// Value 128h + 32j + l takes nibble ⌊j/2⌋ of byte 64h + 32(j mod 2) + l, and bits 2j, 2j + 1 of byte 32h + l above it.
pub(super) fn decode_q6_k(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.chunks_exact(210) {
        let (low, pairs, scales) = (&block[..128], &block[128..192], &block[192..208]);
        let d = half_at(block, 208);
        for (group, &scale) in scales.iter().enumerate() {
            let (half, j, side) = (group / 8, group / 2 % 4, group % 2);
            let scale = d * f32::from(scale as i8);
            let nibbles = &low[64 * half + 32 * (j % 2) + 16 * side..][..16];
            let uppers = &pairs[32 * half + 16 * side..][..16];
            out.extend(nibbles.iter().zip(uppers).map(|(nibble, upper)| {
                let q = nibble >> (4 * (j / 2)) & 15 | (upper >> (2 * j) & 3) << 4;
                scale * (f32::from(q) - 32.0)
            }));
        }
    }
}

/// d, eight bit pairs, eight nibbles (a group's scale, 32 above its value), 128 bytes of nibbles: (d·scale)·`NONLINEAR[q]`.
/// A group is 32 values of 16 bytes: value l in low, value l + 16 in high nibbles.
pub(super) fn decode_iq4_xs(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.chunks_exact(136) {
        let d = half_at(block, 0);
        let upper = u16::from_le_bytes([block[2], block[3]]);
        for group in 0..8 {
            let low = block[4 + group / 2] >> (4 * (group % 2)) & 15;
            let scale = d * (f32::from(low | ((upper >> (2 * group) & 3) as u8) << 4) - 32.0);
            let quants = &block[8 + 16 * group..][..16];
            out.extend(quants.iter().map(|byte| scale * NONLINEAR[usize::from(byte & 15)]));
            out.extend(quants.iter().map(|byte| scale * NONLINEAR[usize::from(byte >> 4)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hf::file::Decode;

    /// 0.25, 0.5 and 2 as halves.
    const QUARTER: [u8; 2] = [0x00, 0x34];
    const HALF: [u8; 2] = [0x00, 0x38];
    const TWO: [u8; 2] = [0x00, 0x40];

    /// Decodes a block that is zero but for these bytes.
    fn decode(decode: Decode, size: usize, bytes: &[(usize, u8)], halves: &[(usize, [u8; 2])]) -> Vec<f32> {
        let mut block = vec![0; size];
        bytes.iter().for_each(|&(at, byte)| block[at] = byte);
        halves.iter().for_each(|&(at, half)| block[at..at + 2].copy_from_slice(&half));
        let mut out = Vec::new();
        decode(&block, &mut out);
        assert_eq!(out.len(), SUPERBLOCK);
        out
    }

    #[test]
    fn q2_k_by_hand() {
        // Group 0 has scale 1 and minimum 3; its first quant is 2. Group 11 begins at 128 + 32 + 16 = 176 with bits 2 and 3 of
        // byte 16 + 32 + 16; scale 2, minimum 4, quant 3.
        let values =
            decode(decode_q2_k, 84, &[(0, 0x31), (11, 0x42), (16, 0b10), (64, 0b1100)], &[(80, HALF), (82, QUARTER)]);
        assert_eq!(values[..2], [0.5 * 2.0 - 0.75, -0.75]);
        assert_eq!(values[175..178], [0.0, 0.5 * 2.0 * 3.0 - 1.0, -1.0]);
    }

    #[test]
    fn q3_k_by_hand() {
        // Scale 0: 5 + 16·2 − 32 = 5. Scale 9: 12 + 16·1 − 32 = −4; its group begins at 144 with byte 32 + 48, third bit 4 of
        // byte 16. All other scales are −32, all other quants −4.
        let bytes = [(96, 0x05), (104, 0b10), (97, 0xc0), (105, 0b01_0000), (32, 0b10), (80, 0b11), (16, 0b1_0000)];
        let values = decode(decode_q3_k, 110, &bytes, &[(108, TWO)]);
        assert_eq!(values[..2], [2.0 * 5.0 * -2.0, 2.0 * 5.0 * -4.0]);
        assert_eq!(values[143..146], [2.0 * -32.0 * -4.0, 2.0 * -4.0 * 3.0, 2.0 * -4.0 * -4.0]);
    }

    #[test]
    fn q4_k_and_q5_k_by_hand() {
        // Group 0: scale 1, minimum 2, quants 1. Group 4: scale 3 + 16, minimum 5 + 32, quants 15. Others: scale 0, minimum 0.
        let scales = [(4, 0b01_000001), (8, 0b10_000010), (12, 0x53)];
        let halves = [(0, HALF), (2, TWO)];
        let four: Vec<_> = scales.into_iter().chain([(16, 0x21), (80, 0x0f)]).collect();
        let values = decode(decode_q4_k, 144, &four, &halves);
        assert_eq!(values[..2], [0.5 - 4.0, -4.0]);
        assert_eq!(values[127..130], [0.0, 0.5 * 19.0 * 15.0 - 74.0, -74.0]);
        // The fifth bit of value 0 is set in groups 0 and 4.
        let five: Vec<_> = scales.into_iter().chain([(48, 0x21), (112, 0x0f), (16, 0b1_0001)]).collect();
        let values = decode(decode_q5_k, 176, &five, &halves);
        assert_eq!(values[..2], [0.5 * 17.0 - 4.0, -4.0]);
        assert_eq!(values[127..130], [0.0, 0.5 * 19.0 * 31.0 - 74.0, -74.0]);
    }

    #[test]
    fn q6_k_by_hand() {
        // Group 0: scale −2, first quant 5 + 16. Group 13 begins at 208: half 1, j = 2, second side; scale 3, quant 9 + 32.
        let bytes = [(192, -2i8 as u8), (205, 3), (0, 0x05), (128, 0b01), (80, 0x90), (128 + 48, 0b10_0000)];
        let values = decode(decode_q6_k, 210, &bytes, &[(208, QUARTER)]);
        assert_eq!(values[..2], [0.25 * -2.0 * -11.0, 0.25 * -2.0 * -32.0]);
        assert_eq!(values[207..210], [0.0, 0.25 * 3.0 * 9.0, 0.25 * 3.0 * -32.0]);
    }

    #[test]
    fn iq4_xs_by_hand() {
        // Group 0: scale 3 + 16·2 − 32. Group 5: nibble 1, upper bits 0: 1 − 32.
        let bytes = [(2, 0b10), (4, 0x03), (6, 0x10), (8, 0x8f), (88, 0x00)];
        let values = decode(decode_iq4_xs, 136, &bytes, &[(0, TWO)]);
        assert_eq!((values[0], values[1], values[16]), (6.0 * 113.0, 6.0 * -127.0, 6.0));
        assert_eq!(values[160], -62.0 * -127.0);
    }
}
