//! One matrix product for everything: `C[m, n] (+)= Σ_k A[m, k] · B[k, n]`, each output one FMA chain over ascending `k`.
//!
//! An output's bits depend on its row of A, its column of B and the order of `k` only: not on how many rows there are, how
//! they are tiled, how `k` is cut into blocks (a partial sum that is stored and loaded again is the same sum) or which
//! thread computes it. That is what makes sampling and training agree bit for bit, at no cost in speed.

use super::simd::{Isa, LANES, Simd, dispatched};

/// Rows of a register tile.
const ROWS: usize = 6;
/// Length of a block of `k`: a panel of B of this length is 16 KiB and stays in the first-level cache.
const DEPTH: usize = 256;

/// Where the operands are. `B` and `C` are read and written in panels of 16 columns.
#[derive(Clone, Copy)]
pub(crate) struct Product {
    /// Rows of A and C.
    pub m: usize,
    /// Panels of 16 columns of B and C.
    pub panels: usize,
    /// Columns of A, rows of B.
    pub k: usize,
    /// `A[i, l]` is at `a + i·a_row + l·a_k`.
    pub a: *const f32,
    pub a_row: usize,
    pub a_k: usize,
    /// `B[l, 16·p ..]` is at `b + p·b_panel + l·b_k`; where `half`, these are bf16.
    pub b: *const f32,
    pub half: bool,
    pub b_panel: usize,
    pub b_k: usize,
    /// `C[i, 16·p ..]` is at `c + p·c_panel + i·c_row`.
    pub c: *mut f32,
    pub c_row: usize,
    pub c_panel: usize,
    /// Whether the chains start from what C holds, or from zero.
    pub accumulate: bool,
    /// Whether A is packed by [`pack_row`]: tiles of six rows, `[k][6]` each, `a_row` apart.
    pub tiled: bool,
}

/// How the operands lie, known where a product is compiled: then a step of `k` needs no arithmetic on addresses.
trait Strides {
    /// Whether A is packed in tiles of exactly [`ROWS`] rows, `a_row` apart.
    const TILED: bool;
    /// Whether B is bf16.
    const HALF: bool = false;
    fn a_k(g: &Product) -> usize;
    fn b_k(g: &Product) -> usize;

    /// Distance of two rows of a tile of A.
    #[inline(always)]
    fn a_row(g: &Product) -> usize {
        if Self::TILED { 1 } else { g.a_row }
    }

    /// Sixteen values of B, `at` values from an address of it.
    #[inline(always)]
    unsafe fn column<S: Simd>(b: *const f32, at: usize) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { if Self::HALF { S::load_half(b.cast::<u16>().add(at)) } else { S::load(b.add(at)) } }
    }

    /// An address of B, `by` values further.
    #[inline(always)]
    fn further(b: *const f32, by: usize) -> *const f32 {
        if Self::HALF { b.cast::<u16>().wrapping_add(by).cast() } else { b.wrapping_add(by) }
    }

    /// Where a tile of A starts.
    #[inline(always)]
    fn tile(g: &Product, row: usize) -> usize {
        if Self::TILED { row / ROWS * g.a_row } else { row * g.a_row }
    }
}

/// Rows of A lie whole, B is packed: weights, and scores of attention.
struct Linear;
/// As [`Linear`] with weights in bf16.
struct Half;
/// A is packed by [`pack_row`], B are panels: gradients of weights.
struct Gradient;
/// Anything.
struct Any;

impl Strides for Linear {
    const TILED: bool = false;
    #[inline(always)]
    fn a_k(_: &Product) -> usize {
        1
    }
    #[inline(always)]
    fn b_k(_: &Product) -> usize {
        LANES
    }
}

impl Strides for Half {
    const TILED: bool = false;
    const HALF: bool = true;
    #[inline(always)]
    fn a_k(_: &Product) -> usize {
        1
    }
    #[inline(always)]
    fn b_k(_: &Product) -> usize {
        LANES
    }
}

impl Strides for Gradient {
    const TILED: bool = true;
    #[inline(always)]
    fn a_k(_: &Product) -> usize {
        ROWS
    }
    #[inline(always)]
    fn b_k(_: &Product) -> usize {
        LANES
    }
}

impl Strides for Any {
    const TILED: bool = false;
    #[inline(always)]
    fn a_k(g: &Product) -> usize {
        g.a_k
    }
    #[inline(always)]
    fn b_k(g: &Product) -> usize {
        g.b_k
    }
}

/// Steps of `k` written out in a row; with strides that are known it is worth an eighth of the speed on AVX2.
const UNROLLED: usize = 4;

/// One step of `k` of a tile.
#[inline(always)]
unsafe fn step<S: Simd, T: Strides, const M: usize, const P: usize>(
    a: *const f32,
    a_row: usize,
    b: *const f32,
    b_panel: usize,
    sums: &mut [[S::V; P]; M],
) {
    unsafe {
        let mut columns = [S::splat(0.0); P];
        for (p, column) in columns.iter_mut().enumerate() {
            *column = T::column::<S>(b, p * b_panel);
        }
        for (i, line) in sums.iter_mut().enumerate() {
            let x = S::splat(*a.add(i * a_row));
            for (sum, column) in line.iter_mut().zip(columns) {
                *sum = S::fma(x, column, *sum);
            }
        }
    }
}

#[inline(always)]
unsafe fn tile<S: Simd, T: Strides, const M: usize, const P: usize>(
    g: &Product,
    row: usize,
    panel: usize,
    from: usize,
    to: usize,
    load: bool,
) {
    unsafe {
        let mut sums = [[S::splat(0.0); P]; M];
        let c = g.c.add(row * g.c_row + panel * g.c_panel);
        if load {
            for (i, line) in sums.iter_mut().enumerate() {
                for (p, sum) in line.iter_mut().enumerate() {
                    *sum = S::load(c.add(i * g.c_row + p * g.c_panel));
                }
            }
        }
        let (a_k, a_row, b_k) = (T::a_k(g), T::a_row(g), T::b_k(g));
        let mut a = g.a.add(T::tile(g, row) + from * a_k);
        let mut b = T::further(g.b, panel * g.b_panel + from * b_k);
        let mut left = to - from;
        while left >= UNROLLED {
            for l in 0..UNROLLED {
                step::<S, T, M, P>(a.add(l * a_k), a_row, T::further(b, l * b_k), g.b_panel, &mut sums);
            }
            a = a.wrapping_add(UNROLLED * a_k);
            b = T::further(b, UNROLLED * b_k);
            left -= UNROLLED;
        }
        for _ in 0..left {
            step::<S, T, M, P>(a, a_row, b, g.b_panel, &mut sums);
            a = a.wrapping_add(a_k);
            b = T::further(b, b_k);
        }
        for (i, line) in sums.iter().enumerate() {
            for (p, sum) in line.iter().enumerate() {
                S::store(c.add(i * g.c_row + p * g.c_panel), *sum);
            }
        }
    }
}

/// A tile of `rows` (1 to 6) rows and `P` panels.
#[inline(always)]
unsafe fn rows<S: Simd, T: Strides, const P: usize>(
    g: &Product,
    rows: usize,
    row: usize,
    panel: usize,
    from: usize,
    to: usize,
    load: bool,
) {
    unsafe {
        match rows {
            1 => tile::<S, T, 1, P>(g, row, panel, from, to, load),
            2 => tile::<S, T, 2, P>(g, row, panel, from, to, load),
            3 => tile::<S, T, 3, P>(g, row, panel, from, to, load),
            4 => tile::<S, T, 4, P>(g, row, panel, from, to, load),
            5 => tile::<S, T, 5, P>(g, row, panel, from, to, load),
            _ => tile::<S, T, 6, P>(g, row, panel, from, to, load),
        }
    }
}

/// Few rows: the weights are streamed once, several panels at a time to keep enough chains in flight.
#[inline(always)]
unsafe fn thin<S: Simd, T: Strides>(g: &Product) {
    unsafe {
        let load = g.accumulate;
        let mut panel = 0;
        while panel < g.panels {
            let left = g.panels - panel;
            if S::THIN >= 8 && g.m == 1 && left >= 8 {
                tile::<S, T, 1, 8>(g, 0, panel, 0, g.k, load);
                panel += 8;
            } else if S::THIN >= 4 && g.m == 1 && left >= 4 {
                tile::<S, T, 1, 4>(g, 0, panel, 0, g.k, load);
                panel += 4;
            } else if S::THIN >= 8 && left >= 4 {
                rows::<S, T, 4>(g, g.m, 0, panel, 0, g.k, load);
                panel += 4;
            } else if S::THIN >= 4 && g.m <= 2 && left >= 2 {
                rows::<S, T, 2>(g, g.m, 0, panel, 0, g.k, load);
                panel += 2;
            } else {
                rows::<S, T, 1>(g, g.m, 0, panel, 0, g.k, load);
                panel += 1;
            }
        }
    }
}

#[inline(always)]
unsafe fn generic<S: Simd>(g: Product) {
    unsafe {
        match (g.a_k, g.b_k) {
            _ if g.m == 0 => (),
            _ if g.tiled => strided::<S, Gradient>(&g),
            _ if g.half => strided::<S, Half>(&g),
            (1, LANES) => strided::<S, Linear>(&g),
            _ => strided::<S, Any>(&g),
        }
    }
}

#[inline(always)]
unsafe fn strided<S: Simd, T: Strides>(g: &Product) {
    unsafe {
        if g.m <= 3 && !T::TILED {
            return thin::<S, T>(g);
        }
        // Rows are spread evenly over tiles: 7 rows are 4 + 3, not 6 + 1.
        let tiles = g.m.div_ceil(ROWS);
        let mut panel = 0;
        while panel < g.panels {
            let left = g.panels - panel;
            let wide = if S::WIDE >= 4 && left >= 4 {
                4
            } else if S::WIDE >= 2 && left >= 2 {
                2
            } else {
                1
            };
            let mut from = 0;
            loop {
                let to = (from + DEPTH).min(g.k);
                let load = g.accumulate || from > 0;
                let mut row = 0;
                for index in 0..tiles {
                    let left = g.m - row;
                    let count = if T::TILED { left.min(ROWS) } else { left.div_ceil(tiles - index) };
                    match wide {
                        4 => rows::<S, T, 4>(g, count, row, panel, from, to, load),
                        2 => rows::<S, T, 2>(g, count, row, panel, from, to, load),
                        _ => rows::<S, T, 1>(g, count, row, panel, from, to, load),
                    }
                    row += count;
                }
                from = to;
                if from >= g.k {
                    break;
                }
            }
            panel += wide;
        }
    }
}

dispatched! {
    /// Computes a [`Product`].
    ///
    /// # Safety
    /// All addresses that the strides reach must be valid, and C must not overlap A or B.
    fn product(g: Product) = generic;
}

/// A packed matrix in the precision that it is read in.
#[derive(Clone, Copy)]
pub(crate) enum Weights<'a> {
    Full(&'a [f32]),
    /// The bits of bf16 values.
    Half(&'a [u16]),
}

impl<'a> Weights<'a> {
    pub fn len(&self) -> usize {
        match self {
            Weights::Full(values) => values.len(),
            Weights::Half(values) => values.len(),
        }
    }

    /// Part number `index` of parts of `size` values; nothing where there are fewer.
    pub fn part(&self, size: usize, index: usize) -> Self {
        match self {
            Weights::Full(values) => Weights::Full(values.chunks(size).nth(index).unwrap_or_default()),
            Weights::Half(values) => Weights::Half(values.chunks(size).nth(index).unwrap_or_default()),
        }
    }
}

/// `y[m, outputs] (+)= x[m, inputs] · Wᵀ` with `W` packed as `[outputs/16][inputs][16]`.
pub(crate) fn linear(
    isa: Isa,
    m: usize,
    x: &[f32],
    x_stride: usize,
    packed: &[f32],
    inputs: usize,
    y: &mut [f32],
    y_stride: usize,
    accumulate: bool,
) {
    linear_in(isa, m, x, x_stride, Weights::Full(packed), inputs, y, y_stride, accumulate);
}

/// As [`linear`], with weights in either precision; rows for bf16 weights are already rounded.
pub(crate) fn linear_in(
    isa: Isa,
    m: usize,
    x: &[f32],
    x_stride: usize,
    packed: Weights<'_>,
    inputs: usize,
    y: &mut [f32],
    y_stride: usize,
    accumulate: bool,
) {
    if m == 0 {
        return;
    }
    assert!(inputs > 0 && packed.len().is_multiple_of(inputs * LANES), "weights are whole panels of {inputs} inputs");
    let outputs = packed.len() / inputs;
    assert!(y.len() >= (m - 1) * y_stride + outputs, "y holds {m} rows");
    // SAFETY: the asserts above bound every address of y, which is a separate `&mut`.
    unsafe { linear_into(isa, m, x, x_stride, packed, inputs, y.as_mut_ptr(), y_stride, accumulate) }
}

/// As [`linear_in`], for some columns of rows of which other threads write other columns.
///
/// # Safety
/// `y` must be valid for `m` rows of these outputs, `y_stride` apart, and nobody else may use them.
pub(crate) unsafe fn linear_into(
    isa: Isa,
    m: usize,
    x: &[f32],
    x_stride: usize,
    packed: Weights<'_>,
    inputs: usize,
    y: *mut f32,
    y_stride: usize,
    accumulate: bool,
) {
    if m == 0 {
        return;
    }
    assert!(inputs > 0 && packed.len().is_multiple_of(inputs * LANES), "weights are whole panels of {inputs} inputs");
    assert!(x.len() >= (m - 1) * x_stride + inputs, "x holds {m} rows");
    let (b, half) = match packed {
        Weights::Full(values) => (values.as_ptr(), false),
        Weights::Half(values) => (values.as_ptr().cast(), true),
    };
    // SAFETY: the asserts bound every address of x and the weights; y is the caller's promise.
    unsafe {
        product(
            isa,
            Product {
                m,
                panels: packed.len() / (inputs * LANES),
                k: inputs,
                a: x.as_ptr(),
                a_row: x_stride,
                a_k: 1,
                b,
                half,
                b_panel: inputs * LANES,
                b_k: LANES,
                c: y,
                c_row: y_stride,
                c_panel: LANES,
                accumulate,
                tiled: false,
            },
        );
    }
}

/// `y[inputs, outputs panels] += Σ_m x[m, inputs]ᵀ · dy[m, outputs]`: the gradient of a packed matrix, in its own layout.
///
/// `x` is laid out by [`pack_row`]; `gradient` is the part for the panels that start at column `first` of `dy`.
pub(crate) fn linear_gradient(
    isa: Isa,
    m: usize,
    x_packed: &[f32],
    inputs: usize,
    dy: &[f32],
    dy_stride: usize,
    first: usize,
    gradient: &mut [f32],
) {
    if m == 0 {
        return;
    }
    let panels = gradient.len() / (inputs * LANES);
    assert_eq!(gradient.len(), panels * inputs * LANES, "whole panels");
    assert_eq!(x_packed.len(), packed_rows_len(m, inputs), "x is packed for {m} rows");
    assert!(dy.len() >= (m - 1) * dy_stride + first + panels * LANES, "dy holds {m} rows");
    // Several panels are copied together, because the rows of dy may lie a page apart; a register tile takes `wide` of them.
    const GROUP: usize = 4;
    let wide = isa.tile_panels();
    let mut block = vec![0.0f32; GROUP * DEPTH * LANES];
    for panel in (0..panels).step_by(GROUP) {
        let count = GROUP.min(panels - panel);
        for from in (0..m).step_by(DEPTH) {
            let depth = DEPTH.min(m - from);
            for i in 0..depth {
                let line = &dy[(from + i) * dy_stride + first + panel * LANES..][..count * LANES];
                for (p, part) in line.chunks_exact(LANES).enumerate() {
                    block[(p * DEPTH + i) * LANES..][..LANES].copy_from_slice(part);
                }
            }
            for p in (0..count).step_by(wide) {
                // SAFETY: every tile of x_packed holds m × ROWS values, each panel of block `depth` lines, and each panel of
                // the gradient `inputs` lines.
                unsafe {
                    product(
                        isa,
                        Product {
                            m: inputs,
                            panels: wide.min(count - p),
                            k: depth,
                            a: x_packed.as_ptr().add(from * ROWS),
                            a_row: m * ROWS,
                            a_k: ROWS,
                            b: block.as_ptr().add(p * DEPTH * LANES),
                            half: false,
                            b_panel: DEPTH * LANES,
                            b_k: LANES,
                            c: gradient.as_mut_ptr().add((panel + p) * inputs * LANES),
                            c_row: LANES,
                            c_panel: inputs * LANES,
                            accumulate: true,
                            tiled: true,
                        },
                    );
                }
            }
        }
    }
}

/// Number of values that [`pack_row`] writes for `m` rows of `inputs`.
pub(crate) fn packed_rows_len(m: usize, inputs: usize) -> usize {
    m * inputs.div_ceil(ROWS) * ROWS
}

/// Lays out a row of `x` for [`linear_gradient`]: tiles of six inputs, each `[m][6]`.
///
/// # Safety
/// `out` must be valid for [`packed_rows_len`] values, and no other thread may write row `row`.
pub(crate) unsafe fn pack_row(m: usize, row: usize, x: &[f32], out: *mut f32) {
    for (tile, part) in x.chunks(ROWS).enumerate() {
        // SAFETY: tile < ceil(inputs / 6) and row < m, so the six values lie inside `out`.
        unsafe {
            let line = out.add((tile * m + row) * ROWS);
            std::ptr::copy_nonoverlapping(part.as_ptr(), line, part.len());
            for i in part.len()..ROWS {
                line.add(i).write(0.0);
            }
        }
    }
}

/// A row that [`pack_row`] laid out, back as it was.
pub(crate) fn unpack_row(m: usize, row: usize, packed: &[f32], x: &mut [f32]) {
    for (tile, part) in x.chunks_mut(ROWS).enumerate() {
        part.copy_from_slice(&packed[(tile * m + row) * ROWS..][..part.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::simd::padded;
    use lapidary_core::{Key, Purpose};

    fn random(n: usize, at: u64) -> Vec<f32> {
        (0..n as u64).map(|i| Key::new(7, Purpose::Initialise).at(at).at(i).uniform() as f32 - 0.5).collect()
    }

    fn pack(w: &[f32], outputs: usize, inputs: usize) -> Vec<f32> {
        let mut packed = vec![0.0; padded(outputs) * inputs];
        for n in 0..outputs {
            for k in 0..inputs {
                packed[(n / LANES * inputs + k) * LANES + n % LANES] = w[n * inputs + k];
            }
        }
        packed
    }

    /// The readable reference: one chain per output.
    fn reference(m: usize, n: usize, k: usize, x: &[f32], w: &[f32], fused: bool) -> Vec<f32> {
        let mut y = vec![0.0f32; m * n];
        for i in 0..m {
            for j in 0..n {
                y[i * n + j] = (0..k).fold(0.0, |sum, l| {
                    let (a, b) = (x[i * k + l], w[j * k + l]);
                    if fused { a.mul_add(b, sum) } else { a * b + sum }
                });
            }
        }
        y
    }

    #[test]
    fn every_instruction_set_gives_the_bits_of_the_reference_for_any_number_of_rows() {
        for isa in Isa::available() {
            for (n, k) in [(16, 1), (5, 7), (48, 300), (200, 64), (130, 513)] {
                let (x, w) = (random(29 * k, 1), random(n * k, 2));
                let packed = pack(&w, n, k);
                let expected = reference(29, n, k, &x, &w, isa.name() != "portable");
                for m in [1, 2, 3, 4, 5, 6, 7, 8, 13, 29] {
                    let mut y = vec![9.0; m * padded(n)];
                    linear(isa, m, &x, k, &packed, k, &mut y, padded(n), false);
                    for i in 0..m {
                        for j in 0..n {
                            let (got, want) = (y[i * padded(n) + j], expected[i * n + j]);
                            assert_eq!(got.to_bits(), want.to_bits(), "{isa:?} {m}x{n}x{k} at {i},{j}: {got} {want}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn weights_in_bf16_give_the_bits_of_widened_weights_on_every_instruction_set() {
        for isa in Isa::available() {
            for (n, k) in [(16, 1), (5, 7), (48, 300), (200, 64)] {
                let packed = pack(&random(n * k, 2), n, k);
                let halves = crate::native::bf16::halves(&crate::native::threads::Threads::alone(), &packed);
                let widened: Vec<f32> = halves.iter().map(|half| crate::native::bf16::widened(*half)).collect();
                assert_ne!(packed, widened, "rounding does something");
                let x: Vec<f32> = random(29 * k, 1).iter().map(|x| crate::native::bf16::rounded(*x)).collect();
                for m in [1, 2, 3, 5, 13, 29] {
                    let [mut half, mut full] = [(); 2].map(|()| vec![9.0; m * padded(n)]);
                    linear_in(isa, m, &x, k, Weights::Half(&halves), k, &mut half, padded(n), false);
                    linear(isa, m, &x, k, &widened, k, &mut full, padded(n), false);
                    assert!(half.iter().zip(&full).all(|(a, b)| a.to_bits() == b.to_bits()), "{isa:?} {m}x{n}x{k}");
                }
            }
        }
    }

    #[test]
    fn a_gradient_is_the_same_bits_however_its_rows_are_split() {
        for isa in Isa::available() {
            let (m, n, k) = (530, 70, 33);
            let (x, dy) = (random(m * k, 3), random(m * padded(n), 4));
            let gradient = |splits: &[usize]| {
                let mut out = vec![0.0f32; padded(n) * k];
                let mut from = 0;
                for &rows in splits {
                    let mut packed = vec![0.0; packed_rows_len(rows, k)];
                    for i in 0..rows {
                        unsafe { pack_row(rows, i, &x[(from + i) * k..][..k], packed.as_mut_ptr()) };
                    }
                    linear_gradient(isa, rows, &packed, k, &dy[from * padded(n)..], padded(n), 0, &mut out);
                    from += rows;
                }
                out
            };
            let whole = gradient(&[m]);
            assert_eq!(whole, gradient(&[1, 256, 3, 270]));
            let (panel, row, lane) = (2, 31, 5);
            let exact: f64 =
                (0..m).map(|i| f64::from(x[i * k + row]) * f64::from(dy[i * padded(n) + panel * LANES + lane])).sum();
            let got = whole[(panel * k + row) * LANES + lane];
            assert!((f64::from(got) - exact).abs() < 1e-4, "{got} {exact}");
        }
    }
}
