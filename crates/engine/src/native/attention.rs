//! Causal attention of one head over packed keys and values, and its derivatives.
//!
//! Keys are packed as the columns of a matrix, `[keys/16][head][16]`, values row by row, `[keys][padded head]`. Scores are
//! chains over the head's width, the weighted sum is one chain over ascending keys, the softmax sums by position: a query
//! gives the same bits alone against a cache or in a block of a training batch, where later keys add exact zeros.

use std::ops::Range;

use super::gemm::{Product, product};
use super::row;
use super::rows::Place;
use super::simd::{Isa, LANES, padded};

/// Queries of a block; 8 register tiles.
pub(crate) const QUERIES: usize = 48;

/// Length of the packed keys of one head: whole panels.
pub(crate) fn keys_len(keys: usize, head: usize) -> usize {
    padded(keys) * head
}

/// Writes key `position` into packed keys.
pub(crate) fn put_key(packed: &mut [f32], head: usize, position: usize, key: &[f32]) {
    let base = position / LANES * head * LANES + position % LANES;
    for (d, value) in key.iter().enumerate() {
        packed[base + d * LANES] = *value;
    }
}

/// Working memory of one thread.
#[derive(Default)]
pub(crate) struct Scratch {
    /// `[queries][head]`, already scaled by 1/√head.
    pub q: Vec<f32>,
    pub scores: Vec<f32>,
    /// `[queries][padded head]`.
    pub out: Vec<f32>,
    d_scores: Vec<f32>,
    d_out: Vec<f32>,
    q_padded: Vec<f32>,
    value_panels: Vec<f32>,
    key_rows: Vec<f32>,
    d_q: Vec<f32>,
    d_k: Vec<f32>,
    d_v: Vec<f32>,
}

pub(crate) fn grow(v: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if v.len() < len {
        v.resize(len, 0.0);
    }
    &mut v[..len]
}

/// Some consecutive keys and values of one head.
#[derive(Clone, Copy)]
pub(crate) struct Segment<'a> {
    pub count: usize,
    pub keys: &'a [f32],
    pub values: &'a [f32],
}

impl Segment<'_> {
    /// `scores[m][stride] = q·Kᵀ` for the keys of this segment, from column `first` on.
    fn score(&self, isa: Isa, m: usize, head: usize, q: &[f32], scores: &mut [f32], stride: usize, first: usize) {
        let panels = padded(self.count) / LANES;
        if m == 0 || panels == 0 {
            return;
        }
        assert!(first.is_multiple_of(LANES) && self.keys.len() >= keys_len(self.count, head) && q.len() >= m * head);
        assert!(scores.len() >= (m - 1) * stride + first + panels * LANES);
        // SAFETY: the asserts bound every address the strides reach; the buffers are distinct.
        unsafe {
            product(
                isa,
                Product {
                    m,
                    panels,
                    k: head,
                    a: q.as_ptr(),
                    a_row: head,
                    a_k: 1,
                    b: self.keys.as_ptr(),
                    b_panel: head * LANES,
                    b_k: LANES,
                    c: scores.as_mut_ptr().add(first),
                    c_row: stride,
                    c_panel: LANES,
                    accumulate: false,
                    tiled: false,
                    half: false,
                },
            );
        }
    }

    /// `out[m][width] (+)= scores·V` for the values of this segment, whose weights start at column `first`.
    fn weigh(&self, isa: Isa, m: usize, width: usize, scores: &[f32], stride: usize, first: usize, out: &mut [f32]) {
        if m == 0 || self.count == 0 {
            return;
        }
        assert!(scores.len() >= (m - 1) * stride + first + self.count && out.len() >= m * width);
        assert!(self.values.len() >= self.count * width);
        // SAFETY: as above.
        unsafe {
            product(
                isa,
                Product {
                    m,
                    panels: width / LANES,
                    k: self.count,
                    a: scores.as_ptr().add(first),
                    a_row: stride,
                    a_k: 1,
                    b: self.values.as_ptr(),
                    b_panel: LANES,
                    b_k: width,
                    c: out.as_mut_ptr(),
                    c_row: width,
                    c_panel: LANES,
                    accumulate: first > 0,
                    tiled: false,
                    half: false,
                },
            );
        }
    }
}

/// Attends `m` scaled queries in `scratch.q` to the keys of a segment; query `i` sees the first `live(i)`. Leaves the outputs in
/// `scratch.out` and tells `(row, max, 1/sum)` of every softmax.
pub(crate) fn attend(
    isa: Isa,
    m: usize,
    head: usize,
    seen: Segment<'_>,
    live: impl Fn(usize) -> usize,
    scratch: &mut Scratch,
    mut tell: impl FnMut(usize, f32, f32),
) {
    let (width, stride) = (padded(head), padded(seen.count));
    let (scores, out) = (grow(&mut scratch.scores, m * stride), grow(&mut scratch.out, m * width));
    seen.score(isa, m, head, &scratch.q, scores, stride, 0);
    let mut inverse = [0.0f32; QUERIES];
    for (i, inverse) in inverse.iter_mut().enumerate().take(m) {
        assert!((1..=seen.count).contains(&live(i)));
        // SAFETY: a row of scores holds `stride` values and live(i) ≤ keys ≤ stride.
        let (max, sum) = unsafe { row::softmax(isa, stride, live(i), scores[i * stride..].as_mut_ptr()) };
        *inverse = 1.0 / sum;
        tell(i, max, *inverse);
    }
    seen.weigh(isa, m, width, scores, stride, 0, out);
    for (line, inverse) in out.chunks_exact_mut(width).zip(inverse) {
        // SAFETY: a row of `out` holds `width` values.
        unsafe { row::scale(isa, width, line.as_ptr(), inverse, line.as_mut_ptr()) };
    }
}

/// Attends the newest token of several sequences that go on from one prompt: `each` scaled queries of every sequence, one after
/// another in `scratch.q`, see the whole panels of the prompt, `shared`, and then their own keys. The prompt's keys and values are
/// read once for all. Leaves the outputs in `scratch.out`.
pub(crate) fn attend_together(
    isa: Isa,
    head: usize,
    shared: Segment<'_>,
    own: &[Segment<'_>],
    each: usize,
    scratch: &mut Scratch,
) {
    let longest = own.iter().map(|own| own.count).max().unwrap_or(0);
    let (width, stride, m) = (padded(head), padded(shared.count + longest), own.len() * each);
    let (scores, out) = (grow(&mut scratch.scores, m * stride), grow(&mut scratch.out, m * width));
    shared.score(isa, m, head, &scratch.q, scores, stride, 0);
    let mut inverse = [0.0f32; QUERIES];
    assert!(m <= QUERIES, "{m} queries at a time");
    for (i, own) in own.iter().enumerate() {
        let (q, scores) = (&scratch.q[i * each * head..], &mut scores[i * each * stride..]);
        own.score(isa, each, head, q, scores, stride, shared.count);
        let live = shared.count + own.count;
        assert!(live > 0);
        for (line, inverse) in scores.chunks_exact_mut(stride).zip(&mut inverse[i * each..]).take(each) {
            // SAFETY: a row of scores holds `stride` values and live ≤ stride.
            *inverse = 1.0 / unsafe { row::softmax(isa, stride, live, line.as_mut_ptr()) }.1;
        }
    }
    shared.weigh(isa, m, width, scores, stride, 0, out);
    for (i, own) in own.iter().enumerate() {
        let out = &mut out[i * each * width..];
        own.weigh(isa, each, width, &scores[i * each * stride..], stride, shared.count, out);
    }
    for (line, inverse) in out.chunks_exact_mut(width).zip(inverse) {
        // SAFETY: a row of `out` holds `width` values.
        unsafe { row::scale(isa, width, line.as_ptr(), inverse, line.as_mut_ptr()) };
    }
}

/// One sequence inside the larger `[tokens, stride]` arrays of a pass: a prefix that other sequences may share, then its own
/// tokens.
pub(crate) struct Sequence<'a> {
    /// `[all tokens][stride]` q, k, v after rotation.
    pub qkv: &'a [f32],
    pub qkv_stride: usize,
    pub place: Place,
    /// Width of one head.
    pub head: usize,
    /// Where k of key head 0 starts in a row, and v.
    pub k_at: usize,
    pub v_at: usize,
    /// Query heads that share a key head.
    pub group: usize,
}

impl Sequence<'_> {
    fn row(&self, token: usize, at: usize) -> &[f32] {
        &self.qkv[self.place.at(token) * self.qkv_stride + at..][..self.head]
    }

    /// Tokens of the prefix: attended to, not attending.
    fn first(&self) -> usize {
        self.place.prefix.len()
    }

    /// The blocks of positions whose queries are computed together.
    pub fn blocks(&self) -> impl Iterator<Item = (usize, usize)> {
        let (first, tokens) = (self.first(), self.place.len());
        (first..tokens).step_by(QUERIES).map(move |from| (from, (from + QUERIES).min(tokens)))
    }

    /// Packs the own keys of key head `kv` and copies its values, behind those of the prefix.
    pub fn pack(&self, kv: usize, keys: &mut [f32], values: &mut [f32]) {
        let width = padded(self.head);
        for t in self.first()..self.place.len() {
            put_key(keys, self.head, t, self.row(t, self.k_at + kv * self.head));
            values[t * width..][..self.head].copy_from_slice(self.row(t, self.v_at + kv * self.head));
        }
    }

    /// Fills `out` with the scaled queries of positions `from..to` of query head `h`.
    pub fn queries(&self, h: usize, from: usize, to: usize, out: &mut Vec<f32>) {
        let scale = scale(self.head);
        out.clear();
        for t in from..to {
            out.extend(self.row(t, h * self.head).iter().map(|x| x * scale));
        }
    }

    /// Derivatives of key head `kv` and of the query heads that share it: writes every value of the q, k and v columns of these
    /// heads in the own rows of `d_qkv`, and adds to the sums of k and v of the prefix.
    ///
    /// `keys` and the scratch (see [`Scratch::size_backward`]) hold what the sequences of the group before this one left there:
    /// keys, values and their derivatives of the prefix. What a prefix gets is complete after the group's last sequence, and
    /// written by [`Sequence::store_keys`].
    /// `statistic(h, index)` is the `(max, 1/sum)` that [`attend`] told; `output` and `d_output` are `[all tokens][out_stride]`.
    ///
    /// # Safety
    /// `d_qkv` must be valid for all tokens × `qkv_stride` values, and no other thread may touch these columns of these rows.
    pub unsafe fn backward(
        &self,
        isa: Isa,
        kv: usize,
        statistic: impl Fn(usize, usize) -> (f32, f32),
        output: &[f32],
        d_output: &[f32],
        out_stride: usize,
        d_qkv: *mut f32,
        keys: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let (head, width, tokens) = (self.head, padded(self.head), self.place.len());
        // Values as columns for dP = dO·Vᵀ, keys as rows for dQ = dS·K.
        for t in self.first()..tokens {
            put_key(keys, head, t, self.row(t, self.k_at + kv * head));
            put_key(&mut scratch.value_panels, head, t, self.row(t, self.v_at + kv * head));
            scratch.key_rows[t * width..][..head].copy_from_slice(self.row(t, self.k_at + kv * head));
        }
        scratch.d_k[self.first() * width..tokens * width].fill(0.0);
        scratch.d_v[self.first() * width..tokens * width].fill(0.0);
        for h in kv * self.group..(kv + 1) * self.group {
            for (from, to) in self.blocks() {
                let (m, seen) = (to - from, padded(to));
                self.queries(h, from, to, &mut scratch.q);
                let q_padded = grow(&mut scratch.q_padded, m * width);
                let d_out = grow(&mut scratch.d_out, m * width);
                q_padded.fill(0.0);
                d_out.fill(0.0);
                let scores = grow(&mut scratch.scores, m * seen);
                let d_scores = grow(&mut scratch.d_scores, m * seen);
                let d_q = grow(&mut scratch.d_q, m * width);
                for i in 0..m {
                    q_padded[i * width..][..head].copy_from_slice(&scratch.q[i * head..][..head]);
                    let at = self.place.at(from + i) * out_stride + h * head;
                    d_out[i * width..][..head].copy_from_slice(&d_output[at..][..head]);
                }
                let block = |a: *const f32, a_row, a_k, k, b: *const f32, b_panel, b_k| Product {
                    m,
                    panels: 0,
                    k,
                    a,
                    a_row,
                    a_k,
                    b,
                    b_panel,
                    b_k,
                    c: std::ptr::null_mut(),
                    c_row: 0,
                    c_panel: LANES,
                    accumulate: false,
                    tiled: false,
                    half: false,
                };
                assert!(keys.len() >= keys_len(tokens, head) && scratch.value_panels.len() >= keys_len(tokens, head));
                assert!(scratch.d_k.len() >= tokens * width && scratch.d_v.len() >= tokens * width);
                // SAFETY: all operands are the scratch buffers sized above: [m][seen], [m][width], [tokens][width] and packed
                // keys of `tokens` ≥ `to` keys; outputs never overlap inputs.
                unsafe {
                    // S = Q·Kᵀ and dP = dO·Vᵀ.
                    let s = block(scratch.q.as_ptr(), head, 1, head, keys.as_ptr(), head * LANES, LANES);
                    product(isa, Product { panels: seen / LANES, c: scores.as_mut_ptr(), c_row: seen, ..s });
                    let s = block(d_out.as_ptr(), width, 1, head, scratch.value_panels.as_ptr(), head * LANES, LANES);
                    product(isa, Product { panels: seen / LANES, c: d_scores.as_mut_ptr(), c_row: seen, ..s });
                    for i in 0..m {
                        let index = self.place.at(from + i);
                        let (max, inverse) = statistic(h, index);
                        let p = scores[i * seen..].as_mut_ptr();
                        row::softmax_again(isa, seen, from + i + 1, p, max, inverse);
                        // Σ_j P·dP = dO·O.
                        let o = &output[index * out_stride + h * head..][..head];
                        let dot: f32 = o.iter().zip(&d_out[i * width..]).map(|(a, b)| a * b).sum();
                        row::softmax_backward(isa, seen, p, d_scores[i * seen..].as_mut_ptr(), dot);
                    }
                    // dQ = dS·K, dV += Pᵀ·dO, dK += dSᵀ·Q.
                    let s = block(d_scores.as_ptr(), seen, 1, to, scratch.key_rows.as_ptr(), LANES, width);
                    product(isa, Product { panels: width / LANES, c: d_q.as_mut_ptr(), c_row: width, ..s });
                    for (a, b, c) in [(&*scores, &*d_out, &mut scratch.d_v), (&*d_scores, &*q_padded, &mut scratch.d_k)]
                    {
                        let s = block(a.as_ptr(), 1, seen, m, b.as_ptr(), LANES, width);
                        product(
                            isa,
                            Product {
                                m: to,
                                panels: width / LANES,
                                c: c.as_mut_ptr(),
                                c_row: width,
                                accumulate: true,
                                ..s
                            },
                        );
                    }
                    let scale = scale(head);
                    for i in 0..m {
                        let line = d_qkv.add(self.place.at(from + i) * self.qkv_stride + h * head);
                        for d in 0..head {
                            line.add(d).write(d_q[i * width + d] * scale);
                        }
                    }
                }
            }
        }
        // SAFETY: the caller gave these columns of these rows to this call alone.
        unsafe { self.store_keys(kv, self.first()..tokens, d_qkv, scratch) };
    }

    /// Writes the sums of dK and dV at some positions of key head `kv` into `d_qkv`.
    ///
    /// # Safety
    /// As [`Sequence::backward`].
    pub unsafe fn store_keys(&self, kv: usize, positions: Range<usize>, d_qkv: *mut f32, scratch: &Scratch) {
        let (head, width) = (self.head, padded(self.head));
        for t in positions {
            let (d_k, d_v) = (&scratch.d_k[t * width..][..head], &scratch.d_v[t * width..][..head]);
            // SAFETY: the caller's promise.
            unsafe {
                let line = d_qkv.add(self.place.at(t) * self.qkv_stride + kv * head);
                line.add(self.k_at).copy_from_nonoverlapping(d_k.as_ptr(), head);
                line.add(self.v_at).copy_from_nonoverlapping(d_v.as_ptr(), head);
            }
        }
    }
}

impl Scratch {
    /// Makes room for the derivatives of up to `tokens` keys of one head.
    pub fn size_backward(&mut self, tokens: usize, head: usize) {
        let width = padded(head);
        grow(&mut self.value_panels, keys_len(tokens, head));
        grow(&mut self.key_rows, tokens * width);
        grow(&mut self.d_k, tokens * width);
        grow(&mut self.d_v, tokens * width);
    }
}

/// `1/√head`.
pub(crate) fn scale(head: usize) -> f32 {
    1.0 / (head as f32).sqrt()
}
