//! Kernels on one row of activations: exponentials, norms, gates, softmax and its derivatives.
//!
//! Rows are padded to 16 values; what is beyond a row's true width must be zero and stays zero. A sum over a row runs in 16
//! lanes by position and ends in one fixed tree, so it depends on the row alone.

use super::simd::{Isa, LANES, Simd, dispatched};

/// Adds sixteen lanes in one fixed order.
#[inline(always)]
pub(super) fn tree(mut v: [f32; LANES]) -> f32 {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            v[i] += v[i + half];
        }
    }
    v[0]
}

#[inline(always)]
pub(super) unsafe fn sum<S: Simd>(v: S::V) -> f32 {
    let mut lanes = [0.0f32; LANES];
    unsafe { S::store(lanes.as_mut_ptr(), v) };
    tree(lanes)
}

#[inline(always)]
unsafe fn maximum<S: Simd>(v: S::V) -> f32 {
    let mut lanes = [0.0f32; LANES];
    unsafe { S::store(lanes.as_mut_ptr(), v) };
    lanes.into_iter().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a })
}

/// `eˣ` for x in −87..=88 (clamped), within 2 ulp.
///
/// x = n·ln 2 + r with n integral, so eˣ = 2ⁿ·eʳ; eʳ on |r| ≤ ln 2 / 2 by the degree-6 minimax polynomial of Cephes' `expf`.
#[inline(always)]
pub(super) unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    unsafe {
        // The constant comes first: max and min give their second operand when one is NaN, so NaN stays NaN.
        let x = S::min(S::splat(88.0), S::max(S::splat(-87.0), x));
        let n = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
        let r = S::fma(n, S::splat(-0.693_359_4), x);
        let r = S::fma(n, S::splat(2.121_944_4e-4), r);
        let mut p = S::splat(1.987_569_1e-4);
        for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_6e-1, 0.5] {
            p = S::fma(p, r, S::splat(c));
        }
        let y = S::add(S::fma(S::mul(r, r), p, r), S::splat(1.0));
        S::mul(y, S::exp2i(n))
    }
}

/// `1 / (1 + e⁻ˣ)`.
#[inline(always)]
unsafe fn sigmoid<S: Simd>(x: S::V) -> S::V {
    unsafe {
        let one = S::splat(1.0);
        S::div(one, S::add(one, exp::<S>(S::sub(S::splat(0.0), x))))
    }
}

#[inline(always)]
unsafe fn dot_generic<S: Simd>(n: usize, a: *const f32, b: *const f32) -> f32 {
    unsafe {
        let mut acc = S::splat(0.0);
        for i in (0..n).step_by(LANES) {
            acc = S::fma(S::load(a.add(i)), S::load(b.add(i)), acc);
        }
        sum::<S>(acc)
    }
}

/// RMS norm (Zhang & Sennrich 2019): `y = x·w / √(mean(x²) + ε)`; returns the factor. `n` is padded, `width` the true width.
#[inline(always)]
unsafe fn norm_generic<S: Simd>(
    n: usize,
    width: usize,
    x: *const f32,
    w: *const f32,
    epsilon: f32,
    y: *mut f32,
) -> f32 {
    unsafe {
        let factor = 1.0 / (dot_generic::<S>(n, x, x) / width as f32 + epsilon).sqrt();
        let f = S::splat(factor);
        for i in (0..n).step_by(LANES) {
            S::store(y.add(i), S::mul(S::mul(S::load(x.add(i)), f), S::load(w.add(i))));
        }
        factor
    }
}

/// `dx += f·(w·dy) − x·f³/width·Σ(w·dy·x)`, the derivative of [`norm`] with respect to x.
#[inline(always)]
unsafe fn norm_backward_generic<S: Simd>(
    n: usize,
    width: usize,
    x: *const f32,
    w: *const f32,
    factor: f32,
    dy: *const f32,
    dx: *mut f32,
) {
    unsafe {
        let mut acc = S::splat(0.0);
        for i in (0..n).step_by(LANES) {
            acc = S::fma(S::mul(S::load(dy.add(i)), S::load(w.add(i))), S::load(x.add(i)), acc);
        }
        let (f, s) = (S::splat(factor), S::splat(-sum::<S>(acc) * factor * factor * factor / width as f32));
        for i in (0..n).step_by(LANES) {
            let direct = S::fma(S::mul(S::load(dy.add(i)), S::load(w.add(i))), f, S::load(dx.add(i)));
            S::store(dx.add(i), S::fma(S::load(x.add(i)), s, direct));
        }
    }
}

/// `y = silu(gate)·up` (Shazeer 2020).
#[inline(always)]
unsafe fn gate_generic<S: Simd>(n: usize, gate: *const f32, up: *const f32, y: *mut f32) {
    unsafe {
        for i in (0..n).step_by(LANES) {
            let g = S::load(gate.add(i));
            S::store(y.add(i), S::mul(S::mul(g, sigmoid::<S>(g)), S::load(up.add(i))));
        }
    }
}

/// Derivatives of [`gate`]: `d_up = dy·g·σ`, `d_gate = dy·u·σ·(1 + g·(1 − σ))`; also gives `y` again.
#[inline(always)]
unsafe fn gate_backward_generic<S: Simd>(
    n: usize,
    gate: *const f32,
    up: *const f32,
    dy: *const f32,
    d_gate: *mut f32,
    d_up: *mut f32,
    y: *mut f32,
) {
    unsafe {
        let one = S::splat(1.0);
        for i in (0..n).step_by(LANES) {
            let (g, u, d) = (S::load(gate.add(i)), S::load(up.add(i)), S::load(dy.add(i)));
            let s = sigmoid::<S>(g);
            let silu = S::mul(g, s);
            S::store(y.add(i), S::mul(silu, u));
            S::store(d_up.add(i), S::mul(d, silu));
            let slope = S::mul(s, S::fma(g, S::sub(one, s), one));
            S::store(d_gate.add(i), S::mul(S::mul(d, u), slope));
        }
    }
}

/// `x[..live] = e^(x − max)`, zero beyond up to `n`; returns the maximum and the sum. `live ≥ 1`.
#[inline(always)]
unsafe fn softmax_generic<S: Simd>(n: usize, live: usize, x: *mut f32) -> (f32, f32) {
    unsafe {
        for i in live..live.next_multiple_of(LANES) {
            x.add(i).write(f32::NEG_INFINITY);
        }
        let mut top = S::splat(f32::NEG_INFINITY);
        for i in (0..live).step_by(LANES) {
            top = S::max(top, S::load(x.add(i)));
        }
        let top = maximum::<S>(top);
        let shift = S::splat(top);
        let mut acc = S::splat(0.0);
        for i in (0..live).step_by(LANES) {
            S::store(x.add(i), exp::<S>(S::sub(S::load(x.add(i)), shift)));
            if i + LANES > live {
                zero(x, live, i + LANES);
            }
            acc = S::add(acc, S::load(x.add(i)));
        }
        zero(x, live.next_multiple_of(LANES), n);
        (top, sum::<S>(acc))
    }
}

/// `x[..live] = scale·e^(x − max)`, zero beyond up to `n`: the probabilities again, for the backward pass.
#[inline(always)]
unsafe fn softmax_again_generic<S: Simd>(n: usize, live: usize, x: *mut f32, max: f32, scale: f32) {
    unsafe {
        let (shift, scale) = (S::splat(max), S::splat(scale));
        for i in (0..live).step_by(LANES) {
            S::store(x.add(i), S::mul(exp::<S>(S::sub(S::load(x.add(i)), shift)), scale));
        }
        zero(x, live, n);
    }
}

#[inline(always)]
pub(super) unsafe fn zero(x: *mut f32, from: usize, to: usize) {
    if from < to {
        unsafe { std::ptr::write_bytes(x.add(from), 0, to - from) };
    }
}

/// `dp = p·(dp − d)`: through the softmax.
#[inline(always)]
unsafe fn softmax_backward_generic<S: Simd>(n: usize, p: *const f32, dp: *mut f32, d: f32) {
    unsafe {
        let d = S::splat(d);
        for i in (0..n).step_by(LANES) {
            S::store(dp.add(i), S::mul(S::load(p.add(i)), S::sub(S::load(dp.add(i)), d)));
        }
    }
}

/// `y = x·scale`.
#[inline(always)]
unsafe fn scale_generic<S: Simd>(n: usize, x: *const f32, scale: f32, y: *mut f32) {
    unsafe {
        let scale = S::splat(scale);
        for i in (0..n).step_by(LANES) {
            S::store(y.add(i), S::mul(S::load(x.add(i)), scale));
        }
    }
}

/// `y += x`.
#[inline(always)]
unsafe fn add_generic<S: Simd>(n: usize, x: *const f32, y: *mut f32) {
    unsafe {
        for i in (0..n).step_by(LANES) {
            S::store(y.add(i), S::add(S::load(y.add(i)), S::load(x.add(i))));
        }
    }
}

/// `y += x·scale`.
#[inline(always)]
unsafe fn add_scaled_generic<S: Simd>(n: usize, x: *const f32, scale: f32, y: *mut f32) {
    unsafe {
        let scale = S::splat(scale);
        for i in (0..n).step_by(LANES) {
            S::store(y.add(i), S::fma(S::load(x.add(i)), scale, S::load(y.add(i))));
        }
    }
}

/// `x = 1 / (1 + e⁻ˣ)`.
#[inline(always)]
unsafe fn sigmoids_generic<S: Simd>(n: usize, x: *mut f32) {
    unsafe {
        for i in (0..n).step_by(LANES) {
            S::store(x.add(i), sigmoid::<S>(S::load(x.add(i))));
        }
    }
}

/// `y += x·z·scale`: a row's part of the gradient of a norm's weight.
#[inline(always)]
unsafe fn add_product_generic<S: Simd>(n: usize, x: *const f32, z: *const f32, scale: f32, y: *mut f32) {
    unsafe {
        let scale = S::splat(scale);
        for i in (0..n).step_by(LANES) {
            S::store(y.add(i), S::fma(S::mul(S::load(x.add(i)), scale), S::load(z.add(i)), S::load(y.add(i))));
        }
    }
}

/// Constants of one AdamW step, already corrected for bias.
#[derive(Clone, Copy)]
pub(crate) struct Adam {
    /// Multiplies the gradient (clipping).
    pub scale: f32,
    pub beta1: f32,
    pub beta2: f32,
    /// `1 / (1 − β₁ᵗ)`.
    pub correction1: f32,
    /// `1 / (1 − β₂ᵗ)`.
    pub correction2: f32,
    pub learning_rate: f32,
    pub epsilon: f32,
    /// `1 − learning rate · weight decay`.
    pub keep: f32,
}

/// AdamW on `n` (padded) values; clears the gradient.
#[inline(always)]
unsafe fn adam_generic<S: Simd>(n: usize, c: Adam, w: *mut f32, g: *mut f32, m: *mut f32, v: *mut f32) {
    unsafe {
        let (b1, b2) = (S::splat(c.beta1), S::splat(c.beta2));
        let (a1, a2) = (S::splat(1.0 - c.beta1), S::splat(1.0 - c.beta2));
        let (c1, c2) = (S::splat(c.correction1), S::splat(c.correction2));
        let (scale, epsilon, keep) = (S::splat(c.scale), S::splat(c.epsilon), S::splat(c.keep));
        let rate = S::splat(-c.learning_rate);
        for i in (0..n).step_by(LANES) {
            let grad = S::mul(S::load(g.add(i)), scale);
            let first = S::fma(b1, S::load(m.add(i)), S::mul(a1, grad));
            let second = S::fma(b2, S::load(v.add(i)), S::mul(a2, S::mul(grad, grad)));
            let update = S::div(S::mul(first, c1), S::add(S::sqrt(S::mul(second, c2)), epsilon));
            S::store(w.add(i), S::fma(rate, update, S::mul(S::load(w.add(i)), keep)));
            S::store(m.add(i), first);
            S::store(v.add(i), second);
            S::store(g.add(i), S::splat(0.0));
        }
    }
}

dispatched! {
    /// `Σ a·b` over `n` (padded) values.
    fn dot(n: usize, a: *const f32, b: *const f32) -> f32 = dot_generic;
    /// See the generic kernel.
    fn norm(n: usize, width: usize, x: *const f32, w: *const f32, epsilon: f32, y: *mut f32) -> f32 = norm_generic;
    /// See the generic kernel.
    fn norm_backward(n: usize, width: usize, x: *const f32, w: *const f32, factor: f32, dy: *const f32, dx: *mut f32) = norm_backward_generic;
    /// See the generic kernel.
    fn gate(n: usize, gate: *const f32, up: *const f32, y: *mut f32) = gate_generic;
    /// See the generic kernel.
    fn gate_backward(n: usize, gate: *const f32, up: *const f32, dy: *const f32, d_gate: *mut f32, d_up: *mut f32, y: *mut f32) = gate_backward_generic;
    /// See the generic kernel.
    fn softmax(n: usize, live: usize, x: *mut f32) -> (f32, f32) = softmax_generic;
    /// See the generic kernel.
    fn softmax_again(n: usize, live: usize, x: *mut f32, max: f32, scale: f32) = softmax_again_generic;
    /// See the generic kernel.
    fn softmax_backward(n: usize, p: *const f32, dp: *mut f32, d: f32) = softmax_backward_generic;
    /// See the generic kernel.
    fn scale(n: usize, x: *const f32, scale: f32, y: *mut f32) = scale_generic;
    /// See the generic kernel.
    fn add(n: usize, x: *const f32, y: *mut f32) = add_generic;
    /// See the generic kernel.
    fn add_scaled(n: usize, x: *const f32, scale: f32, y: *mut f32) = add_scaled_generic;
    /// See the generic kernel.
    fn sigmoids(n: usize, x: *mut f32) = sigmoids_generic;
    /// See the generic kernel.
    fn add_product(n: usize, x: *const f32, z: *const f32, scale: f32, y: *mut f32) = add_product_generic;
    /// See the generic kernel.
    fn adam(n: usize, c: Adam, w: *mut f32, g: *mut f32, m: *mut f32, v: *mut f32) = adam_generic;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_norm_is_that_of_the_spec() {
        // Spec A §12.6: [1, 2, 3, 4] with ε = 1e-5; the padding stays zero.
        let (mut x, mut y) = ([0.0f32; LANES], [9.0f32; LANES]);
        x[..4].copy_from_slice(&[1.0, 2.0, 3.0, 4.0]);
        for isa in Isa::available() {
            // SAFETY: all three rows hold 16 values.
            unsafe { norm(isa, LANES, 4, x.as_ptr(), [1.0f32; LANES].as_ptr(), 1e-5, y.as_mut_ptr()) };
            for (got, want) in y.iter().zip([0.365148, 0.730296, 1.095444, 1.460593]) {
                assert!((got - want).abs() < 1e-6, "{isa:?} {y:?}");
            }
            assert_eq!(y[4..], [0.0; 12]);
        }
    }

    #[test]
    fn sigmoids_and_scaled_sums_are_those_of_f64() {
        let x: [f32; 2 * LANES] = std::array::from_fn(|i| (i as f32 - 13.0) * 0.7);
        for isa in Isa::available() {
            let (mut s, mut y) = (x, [0.5f32; 2 * LANES]);
            // SAFETY: all rows hold 32 values.
            unsafe {
                sigmoids(isa, 2 * LANES, s.as_mut_ptr());
                add_scaled(isa, 2 * LANES, x.as_ptr(), -1.5, y.as_mut_ptr());
            }
            for i in 0..2 * LANES {
                let exact = 1.0 / (1.0 + (-f64::from(x[i])).exp());
                assert!((f64::from(s[i]) - exact).abs() < 2e-7, "{isa:?} {} {exact}", s[i]);
                assert!((f64::from(y[i]) - (0.5 - 1.5 * f64::from(x[i]))).abs() < 2e-6, "{isa:?}");
            }
        }
    }
}
