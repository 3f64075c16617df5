//! Products of bf16 operands with f32 sums: half the bytes of weights to read, f32 master weights and optimiser.
//!
//! What reads weights (projections of the forward pass, derivatives with respect to inputs) rounds both operands to bf16, to the
//! nearest, ties to even, and sums their exact products in f32 as everything else does: one chain per output. A product of two
//! bf16 values is exact in f32, so a fused multiply-add of widened operands is what a bf16 unit with f32 accumulation computes.
//! Gradients of weights, attention, norms and the softmax stay in f32.

use std::cell::RefCell;

use super::attention::grow;
use super::threads::Threads;

/// In what precision weights are multiplied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compute {
    /// f32 throughout.
    #[default]
    F32,
    /// Operands of products with weights rounded to bf16, sums in f32; master weights and optimiser in f32.
    Bf16,
}

thread_local! {
    /// Rounded rows of one thread.
    static ROUNDED: RefCell<Vec<f32>> = RefCell::default();
}

/// Rounded to bf16, to the nearest, ties to even: half of the last place kept is added, a little less where that place is even,
/// and the rest cut off. Infinities and NaN stay what they are.
#[inline(always)]
pub(crate) fn rounded(x: f32) -> f32 {
    let bits = x.to_bits();
    let cut = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000;
    if x.is_nan() { x } else { f32::from_bits(cut) }
}

/// The bits of the bf16 value nearest to `x`.
fn half(x: f32) -> u16 {
    let quiet = if x.is_nan() { 0x40 } else { 0 };
    (rounded(x).to_bits() >> 16) as u16 | quiet
}

/// The f32 value of the bits of a bf16: what the kernel's loads do, for tests of them.
#[cfg(test)]
pub(crate) fn widened(half: u16) -> f32 {
    f32::from_bits(u32::from(half) << 16)
}

/// The weights of a model as bf16, in the same order.
pub(crate) fn halves(threads: &Threads, weights: &[f32]) -> Vec<u16> {
    const CHUNK: usize = 1 << 16;
    let mut out = vec![0u16; weights.len()];
    let parts: Vec<std::sync::Mutex<&mut [u16]>> = out.chunks_mut(CHUNK).map(std::sync::Mutex::new).collect();
    threads.each(parts.len(), |i| {
        if let Ok(mut part) = parts[i].lock() {
            let from = &weights[i * CHUNK..];
            part.iter_mut().zip(from).for_each(|(to, from)| *to = half(*from));
        }
    });
    drop(parts);
    out
}

/// Lends rows rounded to bf16 to `work`, one after another without a gap.
pub(crate) fn with_rounded<R>(
    rows: usize,
    x: &[f32],
    x_stride: usize,
    width: usize,
    work: impl FnOnce(&[f32]) -> R,
) -> R {
    ROUNDED.with_borrow_mut(|lines| {
        let lines = grow(lines, rows * width);
        for (i, line) in lines.chunks_exact_mut(width).enumerate() {
            line.iter_mut().zip(&x[i * x_stride..]).for_each(|(to, from)| *to = rounded(*from));
        }
        work(lines)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_the_half_crate() {
        let specials = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE, 1.0e-42];
        // Ties: the last place kept odd and even, and a little to either side.
        let ties = [0x3f80_8000, 0x3f81_8000, 0x3f80_7fff, 0x3f80_8001, 0xbf81_8000].map(f32::from_bits);
        let spread = (0..100_000u32).map(|i| f32::from_bits(i.wrapping_mul(42_949)));
        for x in specials.into_iter().chain(ties).chain(spread) {
            let want = half::bf16::from_f32(x);
            assert_eq!(half(x), want.to_bits(), "{x:e}");
            if !x.is_nan() {
                assert_eq!(
                    (rounded(x).to_bits(), widened(half(x)).to_bits()),
                    (want.to_f32().to_bits(), rounded(x).to_bits())
                );
            }
        }
        assert!(rounded(f32::NAN).is_nan() && widened(half(f32::from_bits(0x7f80_0001))).is_nan());
    }
}
