//! Sixteen lanes of f32 on every instruction set, chosen at run time.
//!
//! A kernel is written once, generic over [`Simd`], and instantiated inside a function that enables the instruction set.
//! All operations are IEEE 754 operations (fused multiply-add included), so a kernel gives the same bits on every
//! instruction set that has FMA; vector tails use the same operations as vector bodies.

use std::fmt;

/// Lanes of a vector, and outputs of a weight panel.
pub(crate) const LANES: usize = 16;

/// `n` rounded up to whole panels.
pub(crate) const fn padded(n: usize) -> usize {
    n.div_ceil(LANES) * LANES
}

/// An instruction set that this machine has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa(pub(super) Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Isa {
    /// Everything this machine can run, best first. The last is always `portable`.
    pub fn available() -> Vec<Isa> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 && is_x86_feature_detected!("avx512f") {
                sets.push(Isa(Set::Avx512));
            }
            if avx2 {
                sets.push(Isa(Set::Avx2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        sets.push(Isa(Set::Neon));
        sets.push(Isa(Set::Portable));
        sets
    }

    /// The best of this machine, or the one named by `LAPIDARY_CPU` (`avx512`, `avx2`, `neon`, `portable`) where it has it.
    pub fn detect() -> Isa {
        let sets = Self::available();
        let wanted = std::env::var("LAPIDARY_CPU").unwrap_or_default();
        sets.iter().copied().find(|isa| isa.name() == wanted).unwrap_or(sets[0])
    }

    /// How many panels of 16 outputs a register tile of six rows takes.
    pub(super) fn tile_panels(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => Avx512::WIDE,
            _ => 1,
        }
    }

    /// `avx512`, `avx2`, `neon` or `portable`.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon",
            Set::Portable => "portable",
        }
    }
}

/// Sixteen lanes and the IEEE operations on them.
///
/// # Safety
/// Every function may only run where the instruction set is available; `load` and `store` touch 16 values.
pub(super) trait Simd: Copy {
    /// Sixteen f32.
    type V: Copy;
    /// Panels per tile for blocks of at least four rows; 1, 2 or 4.
    const WIDE: usize;
    /// Panels per tile for a single row; 4 or 8.
    const THIN: usize;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(p: *const f32) -> Self::V;
    unsafe fn store(p: *mut f32, v: Self::V);
    /// Sixteen bf16, widened.
    unsafe fn load_half(p: *const u16) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a·b + c`, rounded once.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sqrt(a: Self::V) -> Self::V;
    /// To the nearest integer, ties to even.
    unsafe fn round(a: Self::V) -> Self::V;
    /// `2^n` for integral lanes in −126..=127.
    unsafe fn exp2i(n: Self::V) -> Self::V;
}

#[cfg(target_arch = "aarch64")]
/// Applies an intrinsic to each part of a vector that is made of several registers.
macro_rules! each {
    ($f:ident, $($v:ident),+) => { std::array::from_fn(|i| $f($($v[i]),+)) };
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};
#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Simd;
    use std::arch::x86_64::*;

    #[derive(Clone, Copy)]
    pub struct Avx2;
    impl Simd for Avx2 {
        type V = [__m256; 2];
        const WIDE: usize = 1;
        const THIN: usize = 4;
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self::V {
            unsafe { [_mm256_set1_ps(x); 2] }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self::V {
            unsafe { [_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))] }
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, v: Self::V) {
            unsafe {
                _mm256_storeu_ps(p, v[0]);
                _mm256_storeu_ps(p.add(8), v[1]);
            }
        }
        #[inline(always)]
        unsafe fn load_half(p: *const u16) -> Self::V {
            unsafe {
                let widen = |p: *const u16| {
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()))))
                };
                [widen(p), widen(p.add(8))]
            }
        }
        #[inline(always)]
        unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
            unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
        }
        #[inline(always)]
        unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
            unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
        }
        #[inline(always)]
        unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
            unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
        }
        #[inline(always)]
        unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
            unsafe { [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])] }
        }
        #[inline(always)]
        unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
        }
        #[inline(always)]
        unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
            unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
        }
        #[inline(always)]
        unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
            unsafe { [_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])] }
        }
        #[inline(always)]
        unsafe fn sqrt(a: Self::V) -> Self::V {
            unsafe { [_mm256_sqrt_ps(a[0]), _mm256_sqrt_ps(a[1])] }
        }
        #[inline(always)]
        unsafe fn round(a: Self::V) -> Self::V {
            const EVEN: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
            unsafe { [_mm256_round_ps::<EVEN>(a[0]), _mm256_round_ps::<EVEN>(a[1])] }
        }
        #[inline(always)]
        unsafe fn exp2i(n: Self::V) -> Self::V {
            unsafe {
                let bias = _mm256_set1_epi32(127);
                let half =
                    |v| _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_cvtps_epi32(v), bias)));
                [half(n[0]), half(n[1])]
            }
        }
    }

    #[derive(Clone, Copy)]
    pub struct Avx512;
    impl Simd for Avx512 {
        type V = __m512;
        const WIDE: usize = 4;
        const THIN: usize = 8;
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self::V {
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self::V {
            unsafe { _mm512_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, v: Self::V) {
            unsafe { _mm512_storeu_ps(p, v) }
        }
        #[inline(always)]
        unsafe fn load_half(p: *const u16) -> Self::V {
            unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast())))) }
        }
        #[inline(always)]
        unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
            unsafe { _mm512_sub_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
            unsafe { _mm512_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
            unsafe { _mm512_div_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
            unsafe { _mm512_max_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
            unsafe { _mm512_min_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sqrt(a: Self::V) -> Self::V {
            unsafe { _mm512_sqrt_ps(a) }
        }
        #[inline(always)]
        unsafe fn round(a: Self::V) -> Self::V {
            unsafe { _mm512_roundscale_ps::<0>(a) }
        }
        #[inline(always)]
        unsafe fn exp2i(n: Self::V) -> Self::V {
            unsafe {
                let bits = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
                _mm512_castsi512_ps(_mm512_slli_epi32::<23>(bits))
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
pub(super) use arm::Neon;
#[cfg(target_arch = "aarch64")]
mod arm {
    use super::Simd;
    use std::arch::aarch64::*;

    #[derive(Clone, Copy)]
    pub struct Neon;
    impl Simd for Neon {
        type V = [float32x4_t; 4];
        const WIDE: usize = 1;
        const THIN: usize = 4;
        #[inline(always)]
        unsafe fn splat(x: f32) -> Self::V {
            unsafe { [vdupq_n_f32(x); 4] }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> Self::V {
            unsafe { [vld1q_f32(p), vld1q_f32(p.add(4)), vld1q_f32(p.add(8)), vld1q_f32(p.add(12))] }
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, v: Self::V) {
            unsafe {
                for (i, part) in v.into_iter().enumerate() {
                    vst1q_f32(p.add(4 * i), part);
                }
            }
        }
        #[inline(always)]
        unsafe fn load_half(p: *const u16) -> Self::V {
            unsafe {
                let widen = |p: *const u16| vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(p)));
                [widen(p), widen(p.add(4)), widen(p.add(8)), widen(p.add(12))]
            }
        }
        #[inline(always)]
        unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
            unsafe { each!(vaddq_f32, a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
            unsafe { each!(vsubq_f32, a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
            unsafe { each!(vmulq_f32, a, b) }
        }
        #[inline(always)]
        unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
            unsafe { each!(vdivq_f32, a, b) }
        }
        #[inline(always)]
        unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            unsafe { each!(vfmaq_f32, c, a, b) }
        }
        #[inline(always)]
        unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
            unsafe { each!(vmaxq_f32, a, b) }
        }
        #[inline(always)]
        unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
            unsafe { each!(vminq_f32, a, b) }
        }
        #[inline(always)]
        unsafe fn sqrt(a: Self::V) -> Self::V {
            unsafe { each!(vsqrtq_f32, a) }
        }
        #[inline(always)]
        unsafe fn round(a: Self::V) -> Self::V {
            unsafe { each!(vrndnq_f32, a) }
        }
        #[inline(always)]
        unsafe fn exp2i(n: Self::V) -> Self::V {
            unsafe {
                std::array::from_fn(|i| {
                    let bits = vaddq_s32(vcvtnq_s32_f32(n[i]), vdupq_n_s32(127));
                    vreinterpretq_f32_s32(vshlq_n_s32::<23>(bits))
                })
            }
        }
    }
}

/// Plain Rust: what the other instruction sets are tested against, and what runs where none of them is.
#[derive(Clone, Copy)]
pub(super) struct Portable;
impl Simd for Portable {
    type V = [f32; LANES];
    const WIDE: usize = 1;
    const THIN: usize = 1;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::V {
        unsafe { p.cast::<Self::V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Self::V) {
        unsafe { p.cast::<Self::V>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_half(p: *const u16) -> Self::V {
        let halves = unsafe { p.cast::<[u16; LANES]>().read_unaligned() };
        halves.map(|half| f32::from_bits(u32::from(half) << 16))
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] / b[i])
    }
    /// Multiplies and adds with two roundings: without hardware FMA a fused one would be a slow library call.
    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn sqrt(a: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i].sqrt())
    }
    /// Adding and subtracting 1.5·2²³ rounds to the nearest integer, ties to even, for |x| < 2²².
    #[inline(always)]
    unsafe fn round(a: Self::V) -> Self::V {
        const MAGIC: f32 = 12_582_912.0;
        std::array::from_fn(|i| (a[i] + MAGIC) - MAGIC)
    }
    #[inline(always)]
    unsafe fn exp2i(n: Self::V) -> Self::V {
        std::array::from_fn(|i| f32::from_bits(((n[i] as i32 + 127) << 23) as u32))
    }
}

/// Instantiates generic kernels for every instruction set and dispatches on an [`Isa`].
///
/// The generated functions are `unsafe` only because of their pointer arguments: the instruction set is proven by `Isa`.
macro_rules! dispatched {
    ($( $(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $generic:path; )*) => { $(
        $(#[$doc])*
        pub(crate) unsafe fn $name(isa: Isa, $($arg: $ty),*) $(-> $ret)? {
            use $crate::native::simd as sets;
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx2,fma")]
            unsafe fn avx512($($arg: $ty),*) $(-> $ret)? {
                use $generic as generic;
                unsafe { generic::<sets::Avx512>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $ty),*) $(-> $ret)? {
                use $generic as generic;
                unsafe { generic::<sets::Avx2>($($arg),*) }
            }
            use $generic as generic;
            // SAFETY: an `Isa` is only made for a set that this machine has; the rest is the caller's promise.
            unsafe {
                match isa.0 {
                    #[cfg(target_arch = "x86_64")]
                    sets::Set::Avx512 => avx512($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    sets::Set::Avx2 => avx2($($arg),*),
                    #[cfg(target_arch = "aarch64")]
                    sets::Set::Neon => generic::<sets::Neon>($($arg),*),
                    sets::Set::Portable => generic::<sets::Portable>($($arg),*),
                }
            }
        }
    )* };
}
pub(super) use dispatched;
