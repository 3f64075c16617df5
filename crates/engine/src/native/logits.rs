//! Kernels on one row of logits: what its softmax says, and its derivatives.

use super::row::{exp, sum, tree, zero};
use super::simd::{Isa, LANES, Simd, dispatched};

/// How many values are summed in f32 before the partial sum goes to f64.
const CHUNK: usize = 1024;

/// What a row of logits says, with z = logit·inverse temperature and d = z − max.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moments {
    /// The largest z.
    pub max: f32,
    /// The second largest z, where it was asked for; −∞ in a vocabulary of one.
    pub second: f32,
    /// `Σ e^d`.
    pub sum: f64,
    /// `Σ d·e^d`, where it was asked for.
    pub moment: f64,
    /// `Σ d`, where it was asked for.
    pub total: f64,
}

/// Which of the [`Moments`] are wanted beside `max` and `sum`, whose bits do not depend on it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub second: bool,
    pub moment: bool,
    pub total: bool,
}

/// The two largest of sixteen lanes of largest and sixteen of second largest values.
#[inline(always)]
unsafe fn largest_two<S: Simd>(top: S::V, second: S::V) -> (f32, f32) {
    let mut lanes = [f32::NEG_INFINITY; 2 * LANES];
    unsafe {
        S::store(lanes.as_mut_ptr(), top);
        S::store(lanes.as_mut_ptr().add(LANES), second);
    }
    lanes.into_iter().fold((f32::NEG_INFINITY, f32::NEG_INFINITY), |(first, second), x| {
        if x > first {
            (x, first)
        } else if x > second {
            (first, x)
        } else {
            (first, second)
        }
    })
}

/// The [`Moments`] of a row of logits, of which only the first `width` count.
///
/// Sums run in f32 lanes over 1,024 values and in f64 beyond. The two largest values come out of one pass.
#[inline(always)]
unsafe fn distribution_generic<S: Simd>(
    width: usize,
    z: *const f32,
    inverse_temperature: f32,
    asked: Asked,
) -> Moments {
    unsafe {
        let inverse = S::splat(inverse_temperature);
        let whole = width / LANES * LANES;
        let mut tail = [f32::NEG_INFINITY; LANES];
        for i in whole..width {
            tail[i - whole] = *z.add(i) * inverse_temperature;
        }
        let (mut top, mut second) = (S::load(tail.as_ptr()), S::splat(f32::NEG_INFINITY));
        for i in (0..whole).step_by(LANES) {
            let x = S::mul(S::load(z.add(i)), inverse);
            if asked.second {
                second = S::max(second, S::min(top, x));
            }
            top = S::max(top, x);
        }
        let (max, second) = largest_two::<S>(top, second);
        let mut out = Moments { max, second, ..Moments::default() };
        let shift = S::splat(max);
        for from in (0..whole).step_by(CHUNK) {
            let (mut a, mut b, mut c) = (S::splat(0.0), S::splat(0.0), S::splat(0.0));
            for i in (from..(from + CHUNK).min(whole)).step_by(LANES) {
                let d = S::sub(S::mul(S::load(z.add(i)), inverse), shift);
                let e = exp::<S>(d);
                a = S::add(a, e);
                if asked.moment {
                    b = S::fma(e, d, b);
                }
                if asked.total {
                    c = S::add(c, d);
                }
            }
            out.sum += f64::from(sum::<S>(a));
            out.moment += f64::from(sum::<S>(b));
            out.total += f64::from(sum::<S>(c));
        }
        if whole < width {
            let live = width - whole;
            let (mut d, mut e, mut t) = ([0.0f32; LANES], [0.0f32; LANES], [0.0f32; LANES]);
            for i in 0..live {
                d[i] = tail[i] - max;
            }
            S::store(e.as_mut_ptr(), exp::<S>(S::load(d.as_ptr())));
            e[live..].fill(0.0);
            for i in 0..live {
                t[i] = e[i] * d[i].max(-87.0);
            }
            out.sum += f64::from(tree(e));
            out.moment += f64::from(tree(t));
            out.total += f64::from(tree(d));
        }
        out
    }
}

/// Turns logits into their derivatives: `dz_k = (g_logp·(1[k = target] − p_k) − g_entropy·p_k·(ln p_k + H))·inverse_temperature`.
#[inline(always)]
unsafe fn logits_backward_generic<S: Simd>(
    n: usize,
    width: usize,
    z: *mut f32,
    inverse_temperature: f32,
    max: f32,
    log_sum: f32,
    entropy: f32,
    target: usize,
    g_logp: f32,
    g_entropy: f32,
) {
    unsafe {
        let inverse = S::splat(inverse_temperature);
        let shift = S::splat(max + log_sum);
        let h = S::splat(entropy);
        let (gl, ge) = (S::splat(-g_logp * inverse_temperature), S::splat(-g_entropy * inverse_temperature));
        for i in (0..n).step_by(LANES) {
            let logp = S::sub(S::mul(S::load(z.add(i)), inverse), shift);
            let weight = S::fma(ge, S::add(logp, h), gl);
            S::store(z.add(i), S::mul(exp::<S>(logp), weight));
        }
        zero(z, width, n);
        *z.add(target) += g_logp * inverse_temperature;
    }
}

/// `e^(z·inverse_temperature − max)` of a whole row into `y`; values beyond `width` become 0.
#[inline(always)]
unsafe fn weights_generic<S: Simd>(
    n: usize,
    width: usize,
    z: *const f32,
    inverse_temperature: f32,
    max: f32,
    y: *mut f32,
) {
    unsafe {
        let (inverse, shift) = (S::splat(inverse_temperature), S::splat(max));
        for i in (0..n).step_by(LANES) {
            S::store(y.add(i), exp::<S>(S::sub(S::mul(S::load(z.add(i)), inverse), shift)));
        }
        zero(y, width, n);
    }
}

dispatched! {
    /// See the generic kernel.
    fn distribution(width: usize, z: *const f32, inverse_temperature: f32, asked: Asked) -> Moments = distribution_generic;
    /// See the generic kernel.
    fn logits_backward(n: usize, width: usize, z: *mut f32, inverse_temperature: f32, max: f32, log_sum: f32, entropy: f32, target: usize, g_logp: f32, g_entropy: f32) = logits_backward_generic;
    /// See the generic kernel.
    fn weights(n: usize, width: usize, z: *const f32, inverse_temperature: f32, max: f32, y: *mut f32) = weights_generic;
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapidary_core::{Key, Purpose};

    #[test]
    fn moments_are_those_of_a_plain_loop_on_every_instruction_set() {
        for isa in Isa::available() {
            for (width, inverse) in [(1, 1.0), (2, 0.5), (15, 1.4), (16, 1.0), (37, 0.7), (1024, 1.0), (5003, 2.0)] {
                let key = Key::new(3, Purpose::Initialise).at(width);
                let z: Vec<f32> = (0..width + 16).map(|i| (key.at(i).normal() * 6.0) as f32).collect();
                let all = Asked { second: true, moment: true, total: true };
                // SAFETY: the row holds `width` values and a whole vector more.
                let (got, plain) = unsafe {
                    let few = distribution(isa, width as usize, z.as_ptr(), inverse, Asked::default());
                    (distribution(isa, width as usize, z.as_ptr(), inverse, all), few)
                };
                let mut x: Vec<f64> = z[..width as usize].iter().map(|z| f64::from(z * inverse)).collect();
                x.sort_by(|a, b| b.total_cmp(a));
                let d: Vec<f64> = x.iter().map(|value| value - x[0]).collect();
                let close = |what: &str, got: f64, want: f64| {
                    assert!((got - want).abs() <= 1e-5 * want.abs().max(1.0), "{isa:?} {width} {what}: {got} {want}");
                };
                assert_eq!(f64::from(got.max), x[0]);
                assert_eq!(f64::from(got.second), x.get(1).copied().unwrap_or(f64::NEG_INFINITY));
                close("sum", got.sum, d.iter().map(|d| d.exp()).sum());
                close("moment", got.moment, d.iter().map(|d| d.exp() * d).sum());
                close("total", got.total, d.iter().sum());
                assert_eq!((plain.max.to_bits(), plain.sum.to_bits()), (got.max.to_bits(), got.sum.to_bits()));
            }
        }
    }

    #[test]
    fn equal_logits_share_the_two_first_places() {
        for isa in Isa::available() {
            let mut z = [-1.0f32; 48];
            (z[3], z[19]) = (2.0, 2.0);
            // SAFETY: the row holds more than 40 values.
            let got = unsafe { distribution(isa, 40, z.as_ptr(), 1.0, Asked { second: true, ..Asked::default() }) };
            assert_eq!((got.max, got.second), (2.0, 2.0));
        }
    }
}
