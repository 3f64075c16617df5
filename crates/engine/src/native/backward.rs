//! The backward pass. Gradients of weights are chains over tokens in order, split over outputs only.

use std::collections::BTreeMap;

use super::adapter::AdapterInputs;
use super::attention::{grow, keys_len};
use super::bf16::{rounded, with_rounded};
use super::experts::ExpertsWork;
use super::gemm::{linear, linear_gradient, pack_row, packed_rows_len};
use super::layout::{FeedForward, Gated, LayerLayout, Layout, Matrix, Vector, transpose};
use super::logits;
use super::net::{BLOCK, Distribution, Net};
use super::row;
use super::rows::{Place, Rows};
use super::simd::LANES;
use super::support::Cut;
use super::tape::{LayerTape, Tape, Targets, block, blocks, head_rows};
use super::threads::{Shared, Threads, with_scratch};
use lapidary_core::TokenGrads;

/// Panels of 16 outputs that a thread takes at a time when it computes the gradient of a matrix.
const PANELS: usize = 8;
/// Logits are kept between the forward and the backward pass up to this size, and computed again beyond it (same bits).
pub(crate) const KEPT_LOGITS_BYTES: usize = 64 << 20;

/// The accumulated gradient, laid out as the weights.
#[derive(Clone, Default)]
pub(crate) struct Gradient {
    pub flat: Vec<f32>,
    /// What flows into the embedding of each token when it is tied to the head. Kept apart until the step: the head's chain
    /// over tokens would otherwise be interrupted between micro-batches, and its bits would depend on where.
    pub tied_rows: BTreeMap<u32, Vec<f32>>,
    /// What the reward head sends into the final norm's weight: kept apart as the tied rows are, and for the same reason.
    pub reward_norm: Vec<f32>,
}

impl Gradient {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.flat.fill(0.0);
        self.tied_rows.clear();
        self.reward_norm.clear();
    }

    /// Adds what was kept apart: the tied rows in the order of token ids, then the reward head's part.
    pub fn merge(&mut self, layout: &Layout) {
        if layout.learned.start > 0 {
            assert!(self.tied_rows.is_empty() && self.reward_norm.is_empty(), "nothing flows into what is frozen");
            return;
        }
        for (at, value) in layout.norm.at.clone().zip(std::mem::take(&mut self.reward_norm)) {
            self.flat[at] += value;
        }
        let head = &layout.head;
        let k = head.inputs;
        for (id, row) in std::mem::take(&mut self.tied_rows) {
            let at = head.at.start + id as usize / LANES * k * LANES + id as usize % LANES;
            for (i, value) in row[..k].iter().enumerate() {
                self.flat[at + i * LANES] += value;
            }
        }
    }
}

/// What the objective answered about a target: dLoss/dlogp, dLoss/dentropy and dLoss/dvalue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub distribution: Distribution,
    pub logp: f32,
    pub entropy: f32,
    pub value: f32,
}

/// What the objective answered about a batch.
pub(crate) struct Answers {
    pub targets: Vec<Target>,
    /// dLoss/dreward per row, where it uses the reward head.
    pub rewards: Option<Vec<f32>>,
}

impl Answers {
    pub fn of(targets: &Targets<'_>, found: &[(Distribution, f32)], grads: TokenGrads) -> Self {
        let answer = |(&at, (distribution, _)): (&usize, &(Distribution, f32))| Target {
            distribution: *distribution,
            logp: grads.logp.flat()[at],
            entropy: grads.entropy.as_ref().map_or(0.0, |entropy| entropy.flat()[at]),
            value: grads.value.as_ref().map_or(0.0, |value| value.flat()[at]),
        };
        Self { targets: targets.token.iter().zip(found).map(answer).collect(), rewards: grads.reward }
    }
}

/// Derivatives of activations, kept from call to call.
#[derive(Default)]
pub(crate) struct Work {
    /// Of the residual stream after and before the current block, and after attention.
    d_stream: Vec<f32>,
    d_middle: Vec<f32>,
    d_norm: Vec<f32>,
    d_gate_up: Vec<f32>,
    d_attention: Vec<f32>,
    d_qkv: Vec<f32>,
    /// Inputs of matrices, laid out for their gradients.
    packed_a: Vec<f32>,
    packed_b: Vec<f32>,
    packed_c: Vec<f32>,
    experts: ExpertsWork,
    /// Of the head: rows of the stream that predict, what flows back into them, factors of their norm; logits that were not kept.
    sources: Vec<f32>,
    d_sources: Vec<f32>,
    source_factors: Vec<f32>,
    logits: Vec<f32>,
    /// Transposed packing of the matrices of one layer, or of the head.
    transposed: Vec<f32>,
}

/// One matrix's gradient: its packed inputs and the derivative of its outputs.
pub(super) struct Product<'a> {
    pub rows: usize,
    pub matrix: &'a Matrix,
    pub inputs: &'a [f32],
    pub outputs: &'a [f32],
}

/// The gradient of a matrix, or of one that adapts it: as [`Product`], where the derivative of its outputs is a part of rows
/// of `stride` values that begins at `first`.
struct Sum<'a> {
    rows: usize,
    matrix: &'a Matrix,
    inputs: &'a [f32],
    outputs: &'a [f32],
    stride: usize,
    first: usize,
}

impl<'a> Sum<'a> {
    fn of(product: &Product<'a>) -> Self {
        let &Product { rows, matrix, inputs, outputs } = product;
        Self { rows, matrix, inputs, outputs, stride: matrix.outputs, first: 0 }
    }

    /// The gradients of A and of every B.
    fn of_adapter(product: &Product<'a>, kept: &'a AdapterInputs<'a>) -> Vec<Self> {
        let whole = Self::of(product);
        let a = &kept.adapter.a;
        let mut out = vec![Self { matrix: a, outputs: &kept.d_down, stride: a.outputs, ..Self::of(product) }];
        out.extend(kept.adapter.modules.iter().zip(&kept.downs).map(|(module, inputs)| Self {
            matrix: &module.b,
            inputs,
            first: module.first,
            ..Self { ..whole }
        }));
        out
    }
}

/// The gradient of a vector of weights: `Σ rows x·z·factor` (norm) or `Σ rows x` (bias).
pub(super) struct Columns<'a> {
    pub rows: usize,
    pub vector: &'a Vector,
    pub x: &'a [f32],
    pub z: Option<(&'a [f32], &'a [f32])>,
}

/// Rows whose derivatives are laid out together, at most.
pub(crate) fn chunk_rows(threads: usize) -> usize {
    BLOCK * (4 * threads).max(16)
}

/// Ranges of rows whose derivatives are laid out together: enough blocks to keep every thread busy, few enough to stay small.
/// A weight's gradient is one chain over all rows wherever they are cut.
fn chunks(threads: &Threads, n: usize) -> impl Iterator<Item = (usize, usize)> {
    let rows = chunk_rows(threads.count());
    (0..n).step_by(rows).map(move |start| (start, (start + rows).min(n)))
}

impl Net<'_> {
    /// Adds the derivatives of a batch whose forward pass is on `tape` to `gradient`.
    ///
    /// `logits` holds all logits if they were kept.
    pub(crate) fn backward(
        &self,
        threads: &Threads,
        rows: &Rows,
        targets: &Targets<'_>,
        answers: &Answers,
        tape: &mut Tape,
        logits: Option<&mut Vec<f32>>,
        work: &mut Work,
        gradient: &mut Gradient,
    ) {
        let h = self.w.hidden;
        let n = rows.len();
        work.d_stream.clear();
        work.d_stream.resize(n * h, 0.0);
        let heads = &answers.targets;
        let mut transposed = std::mem::take(&mut work.transposed);
        if targets.len() > 0 {
            self.transpose(threads, &[&self.layout.head], &mut transposed);
        }
        self.backward_head(threads, targets, heads, &tape.stream, logits, &transposed, work, &mut gradient.flat);
        self.value_gradient(targets, heads, &tape.stream, &mut gradient.flat);
        if let Some(slopes) = &answers.rewards {
            self.reward_backward(&rows.lasts(), slopes, &tape.stream, &mut work.d_stream, gradient);
        }
        let Gradient { flat: gradient, tied_rows, .. } = gradient;
        for l in (0..self.c.layers).rev() {
            self.transpose(threads, &self.layout.layers[l].matrices(), &mut transposed);
            self.backward_layer(threads, l, rows, tape.layer(self, threads, l, rows), &transposed, work, gradient);
        }
        work.transposed = transposed;
        match &self.layout.embedding {
            _ if self.layout.learned.start > 0 => {}
            Some(table) => {
                let table = &mut gradient[table.at.clone()];
                for (line, &id) in work.d_stream.chunks_exact(h).zip(&rows.tokens) {
                    let row = table[id as usize * h..].as_mut_ptr();
                    // SAFETY: a row of the table and of the stream hold h values.
                    unsafe { row::add(self.isa, h, line.as_ptr(), row) };
                }
            }
            None => {
                for (line, &id) in work.d_stream.chunks_exact(h).zip(&rows.tokens) {
                    let row = tied_rows.entry(id).or_insert_with(|| vec![0.0; h]);
                    // SAFETY: a row and the stream hold h values.
                    unsafe { row::add(self.isa, h, line.as_ptr(), row.as_mut_ptr()) };
                }
            }
        }
    }

    fn backward_head(
        &self,
        threads: &Threads,
        targets: &Targets<'_>,
        answers: &[Target],
        stream: &[f32],
        mut kept: Option<&mut Vec<f32>>,
        transposed: &[f32],
        work: &mut Work,
        gradient: &mut [f32],
    ) {
        let (h, v, k) = (self.w.hidden, self.w.vocabulary, self.c.hidden);
        let head = &self.layout.head;
        let chunk_rows = head_rows(&self.w, threads.count());
        let Work { d_stream, d_norm, packed_a, sources, d_sources, source_factors, logits: own, .. } = work;
        for from in (0..targets.len()).step_by(chunk_rows) {
            let to = (from + chunk_rows).min(targets.len());
            let m = to - from;
            let logits: &mut [f32] = match &mut kept {
                Some(all) => &mut all[from * v..to * v],
                None => {
                    let logits = grow(own, m * v);
                    self.chunk_logits(threads, targets, stream, from, to, logits);
                    logits
                }
            };
            let (d_norm, packed) = (grow(d_norm, m * h), grow(packed_a, packed_rows_len(m, k)));
            let (xs, dx, factors) = (grow(sources, m * h), grow(d_sources, m * h), grow(source_factors, m));
            dx.fill(0.0);
            let (packed_at, shared_logits, d_norm_at) = (Shared::new(packed), Shared::new(logits), Shared::new(d_norm));
            let (xs_at, dx_at, factors_at) = (Shared::new(xs), Shared::new(dx), Shared::new(factors));
            threads.each(blocks(m), |b| {
                let (first, last) = block(m, b);
                let rows = last - first;
                // SAFETY: blocks are disjoint rows.
                unsafe {
                    let logits = shared_logits.part(first * v..last * v);
                    for (i, line) in logits.chunks_exact_mut(v).enumerate() {
                        self.logits_backward(targets, from + first + i, answers[from + first + i], line);
                    }
                    let dy = d_norm_at.part(first * h..last * h);
                    self.project_back(head, transposed, rows, logits, v, dy, h, false);
                    for (dy, answer) in dy.chunks_exact_mut(h).zip(&answers[from + first..]) {
                        self.value_backward(answer.value, dy);
                    }
                    let (xs, factors) = (xs_at.part(first * h..last * h), factors_at.part(first..last));
                    for (i, line) in xs.chunks_exact_mut(h).enumerate() {
                        line.copy_from_slice(&stream[targets.source[from + first + i] * h..][..h]);
                    }
                    with_scratch(|s| {
                        let y = grow(&mut s.a, rows * h);
                        self.norm(&self.layout.norm, rows, xs, y, factors);
                        for i in 0..rows {
                            pack_row(m, first + i, &y[i * h..][..k], packed_at.pointer());
                            let dx = &mut dx_at.part((first + i) * h..(first + i + 1) * h);
                            self.norm_backward(&self.layout.norm, &xs[i * h..], factors[i], &dy[i * h..], dx);
                        }
                    });
                }
            });
            self.add_to_sources(threads, &targets.source[from..to], dx, d_stream);
            self.weight_gradients(
                threads,
                &[Product { rows: m, matrix: head, inputs: packed, outputs: logits }],
                &[Columns { rows: m, vector: &self.layout.norm, x: d_norm, z: Some((xs, factors)) }],
                transposed,
                gradient,
            );
        }
    }

    /// Turns the logits of a target into their derivatives.
    fn logits_backward(&self, targets: &Targets<'_>, target: usize, answer: Target, line: &mut [f32]) {
        let Target { distribution: d, logp: g_logp, entropy: g_entropy, .. } = answer;
        let (v, width, id) = (self.w.vocabulary, self.c.vocabulary, targets.id[target]);
        assert!(line.len() == v && (id as usize) < width);
        // Entropy is that of the whole distribution; within a support only its ids' logits move the log-probability.
        let support = targets.support(target).map(|ids| (ids, Cut::of(line, d.inverse, ids).slopes(id, g_logp)));
        let g_logp = if support.is_some() { 0.0 } else { g_logp };
        // SAFETY: the row holds v values, and the target is one of them.
        unsafe {
            logits::logits_backward(
                self.isa,
                v,
                width,
                line.as_mut_ptr(),
                d.inverse,
                d.max,
                d.log_sum as f32,
                d.entropy,
                id as usize,
                g_logp,
                g_entropy,
            );
        }
        if let Some((ids, slopes)) = support {
            for (&id, slope) in ids.iter().zip(slopes) {
                line[id as usize] += slope;
            }
        }
    }

    /// `dx (+)= dy·W` of rows: every projection of the backward pass.
    pub(super) fn project_back(
        &self,
        matrix: &Matrix,
        transposed: &[f32],
        rows: usize,
        dy: &[f32],
        dy_stride: usize,
        dx: &mut [f32],
        dx_stride: usize,
        accumulate: bool,
    ) {
        let packed = &transposed[matrix.transposed.clone()];
        let outputs = matrix.outputs;
        match self.halves {
            None => linear(self.isa, rows, dy, dy_stride, packed, outputs, dx, dx_stride, accumulate),
            Some(_) => with_rounded(rows, dy, dy_stride, outputs, |dy| {
                linear(self.isa, rows, dy, outputs, packed, outputs, dx, dx_stride, accumulate);
            }),
        }
        if let Some(adapter) = matrix.adapter.as_deref() {
            self.adapt_back(adapter, transposed, rows, dy, dy_stride, dx, dx_stride);
        }
    }

    /// Packs matrices the other way round, for derivatives with respect to their inputs. Done for one layer at a time: it costs a
    /// hundredth of the layer's products, and a copy of the whole model would cost its memory.
    fn transpose(&self, threads: &Threads, matrices: &[&Matrix], out: &mut Vec<f32>) {
        // A matrix that sends no derivative back has no place in the array.
        let back = matrices.iter().filter(|m| !m.transposed.is_empty());
        let panels = |m: &&Matrix| m.inputs.div_ceil(LANES);
        let tasks: Vec<(&Matrix, usize)> = back.flat_map(|m| (0..panels(m)).map(move |panel| (*m, panel))).collect();
        let out = Shared::new(grow(out, self.layout.transposed_len));
        threads.each(tasks.len(), |task| {
            let (matrix, panel) = tasks[task];
            let len = matrix.outputs * LANES;
            let at = matrix.transposed.start + panel * len;
            // SAFETY: every panel of every matrix is one task, and the matrices of a layer have places of their own.
            let out = unsafe { out.part(at..at + len) };
            transpose(matrix, self.matrix(matrix), panel, out);
            // Adapters are multiplied in f32.
            if self.halves.is_some() && !matrix.is_adapter() {
                out.iter_mut().for_each(|value| *value = rounded(*value));
            }
        });
    }

    /// Adds the derivatives of targets to the rows of the stream that predict them, in the order of targets: rows that share a
    /// prefix all add to its last row. Threads split columns.
    fn add_to_sources(&self, threads: &Threads, sources: &[usize], dx: &[f32], d_stream: &mut [f32]) {
        const COLUMNS: usize = 4 * LANES;
        let h = self.w.hidden;
        let d_stream = Shared::new(d_stream);
        threads.each(h.div_ceil(COLUMNS), |task| {
            let (from, to) = (task * COLUMNS, ((task + 1) * COLUMNS).min(h));
            for (line, source) in dx.chunks_exact(h).zip(sources) {
                // SAFETY: these columns belong to this task; both rows hold h values.
                unsafe {
                    let sum = d_stream.part(source * h + from..source * h + to);
                    row::add(self.isa, to - from, line[from..].as_ptr(), sum.as_mut_ptr());
                }
            }
        });
    }

    /// `dx +=` the derivative of a norm of one row.
    pub(super) fn norm_backward(&self, weight: &Vector, x: &[f32], factor: f32, dy: &[f32], dx: &mut [f32]) {
        let (n, w) = (self.w.hidden, self.vector(weight));
        assert!(x.len() >= n && dy.len() >= n && dx.len() >= n);
        // SAFETY: all rows hold n values.
        unsafe {
            row::norm_backward(
                self.isa,
                n,
                self.c.hidden,
                x.as_ptr(),
                w.as_ptr(),
                factor,
                dy.as_ptr(),
                dx.as_mut_ptr(),
            );
        }
    }

    fn backward_layer(
        &self,
        threads: &Threads,
        l: usize,
        rows: &Rows,
        tape: &LayerTape,
        transposed: &[f32],
        work: &mut Work,
        gradient: &mut [f32],
    ) {
        let layer = &self.layout.layers[l];
        self.backward_feed_forward(threads, layer, rows, tape, transposed, work, gradient);
        self.backward_attention(threads, rows, tape, work);
        self.backward_qkv(threads, layer, rows, tape, transposed, work, gradient);
    }

    /// Through the feed-forward and the output projection: `d_stream` → `d_middle`, `d_attention`.
    fn backward_feed_forward(
        &self,
        threads: &Threads,
        layer: &LayerLayout,
        rows: &Rows,
        tape: &LayerTape,
        transposed: &[f32],
        work: &mut Work,
        gradient: &mut [f32],
    ) {
        let (n, h, q) = (rows.len(), self.w.hidden, self.w.q);
        grow(&mut work.d_norm, n * h);
        let dense = match &layer.feed_forward {
            FeedForward::Dense(gated) => Some(gated),
            FeedForward::Experts(e) => {
                let Work { d_stream, d_norm, experts, .. } = work;
                self.backward_experts(threads, e, &layer.norm2, tape, d_stream, d_norm, transposed, experts, gradient);
                None
            }
        };
        grow(&mut work.d_middle, n * h);
        grow(&mut work.d_attention, n * q);
        for (start, end) in chunks(threads, n) {
            self.backward_feed_forward_rows(threads, layer, dense, start, end, tape, transposed, work, gradient);
        }
    }

    /// Rows `start..end` of [`Net::backward_feed_forward`]: what is laid out for the weights' gradients is bounded by them.
    fn backward_feed_forward_rows(
        &self,
        threads: &Threads,
        layer: &LayerLayout,
        dense: Option<&Gated>,
        start: usize,
        end: usize,
        tape: &LayerTape,
        transposed: &[f32],
        work: &mut Work,
        gradient: &mut [f32],
    ) {
        let (n, h, q) = (end - start, self.w.hidden, self.w.q);
        let (hidden, heads) = (self.c.hidden, self.c.heads * self.c.head_width);
        let (f, width) = dense.map_or((0, 0), |gated| (gated.width(), gated.down.inputs));
        let d_middle = Shared::new(&mut work.d_middle);
        let d_norm = Shared::new(&mut work.d_norm);
        let d_gate_up = Shared::new(grow(&mut work.d_gate_up, n * 2 * f));
        let d_attention = Shared::new(&mut work.d_attention);
        let packed_f = Shared::new(grow(&mut work.packed_a, packed_rows_len(n, width)));
        let packed_y = Shared::new(grow(&mut work.packed_b, packed_rows_len(n, hidden)));
        let packed_o = Shared::new(grow(&mut work.packed_c, packed_rows_len(n, heads)));
        let d_stream = &work.d_stream;
        threads.each(blocks(n), |b| {
            let (first, last) = block(n, b);
            let (from, to, m) = (start + first, start + last, last - first);
            with_scratch(|s| {
                // SAFETY: blocks are disjoint ranges of rows.
                unsafe {
                    let dx = &d_stream[from * h..to * h];
                    let dy = d_norm.part(from * h..to * h);
                    let middle = &tape.middle[from * h..to * h];
                    if let Some(gated) = dense {
                        let d_gu = d_gate_up.part(first * 2 * f..last * 2 * f);
                        let (d_hidden, hid) = (grow(&mut s.a, m * f), grow(&mut s.b, m * f));
                        let gate_up = &tape.gate_up[from * 2 * f..to * 2 * f];
                        self.backward_hidden(gated, m, dx, gate_up, transposed, d_hidden, d_gu, hid);
                        for i in 0..m {
                            pack_row(n, first + i, &hid[i * f..][..width], packed_f.pointer());
                        }
                        self.project_back(&gated.gate_up, transposed, m, d_gu, 2 * f, dy, h, false);
                        self.pack_normed(n, first, &layer.norm2, middle, &tape.factors2[from..to], packed_y);
                    }
                    let d_mid = d_middle.part(from * h..to * h);
                    d_mid.copy_from_slice(dx);
                    for i in 0..m {
                        let (x, dx) = (&middle[i * h..], &mut d_mid[i * h..][..h]);
                        self.norm_backward(&layer.norm2, x, tape.factors2[from + i], &dy[i * h..], dx);
                    }
                    let d_att = d_attention.part(from * q..to * q);
                    self.project_back(&layer.output, transposed, m, d_mid, h, d_att, q, false);
                    for i in 0..m {
                        pack_row(n, first + i, &tape.attention[(from + i) * q..][..heads], packed_o.pointer());
                    }
                }
            });
        });
        let d_middle = &work.d_middle[start * h..];
        let mut products = vec![Product {
            rows: n,
            matrix: &layer.output,
            inputs: &work.packed_c[..packed_rows_len(n, heads)],
            outputs: d_middle,
        }];
        if let Some(Gated { gate_up, down }) = dense {
            let inputs = &work.packed_a[..packed_rows_len(n, width)];
            products.push(Product { rows: n, matrix: down, inputs, outputs: &work.d_stream[start * h..] });
            let inputs = &work.packed_b[..packed_rows_len(n, hidden)];
            products.push(Product { rows: n, matrix: gate_up, inputs, outputs: &work.d_gate_up });
        }
        let z = Some((&tape.middle[start * h..], &tape.factors2[start..]));
        let mut columns = vec![Columns { rows: n, vector: &layer.norm2, x: &work.d_norm[start * h..], z }];
        if let Some(bias) = &layer.output_bias {
            columns.push(Columns { rows: n, vector: bias, x: d_middle, z: None });
        }
        self.weight_gradients(threads, &products, &columns, transposed, gradient);
    }

    /// Through the down projection and the gate of a block of rows: `d_hidden` = downᵀ·dx, `d_gate_up`, and `hidden` again.
    pub(super) fn backward_hidden(
        &self,
        gated: &Gated,
        m: usize,
        dx: &[f32],
        gate_up: &[f32],
        transposed: &[f32],
        d_hidden: &mut [f32],
        d_gate_up: &mut [f32],
        hidden: &mut [f32],
    ) {
        let f = gated.width();
        assert!(gate_up.len() >= m * 2 * f && d_gate_up.len() >= m * 2 * f && hidden.len() >= m * f);
        self.project_back(&gated.down, transposed, m, dx, self.w.hidden, d_hidden, f, false);
        for i in 0..m {
            let line = &gate_up[i * 2 * f..][..2 * f];
            let (d_gate, d_up) = d_gate_up[i * 2 * f..][..2 * f].split_at_mut(f);
            // SAFETY: all seven rows hold f values.
            unsafe {
                row::gate_backward(
                    self.isa,
                    f,
                    line.as_ptr(),
                    line[f..].as_ptr(),
                    d_hidden[i * f..][..f].as_ptr(),
                    d_gate.as_mut_ptr(),
                    d_up.as_mut_ptr(),
                    hidden[i * f..].as_mut_ptr(),
                );
            }
        }
    }

    /// Packs `norm(x)` of a block of rows, computed again from the kept factors.
    ///
    /// # Safety
    /// As [`pack_row`]: the rows `from..from + factors.len()` of `packed` must belong to the caller.
    unsafe fn pack_normed(
        &self,
        n: usize,
        from: usize,
        weight: &Vector,
        x: &[f32],
        factors: &[f32],
        packed: Shared<'_>,
    ) {
        let (h, w) = (self.w.hidden, self.vector(weight));
        let mut y = vec![0.0f32; h];
        for (i, factor) in factors.iter().enumerate() {
            for ((y, x), w) in y.iter_mut().zip(&x[i * h..][..h]).zip(w) {
                *y = x * factor * w;
            }
            // SAFETY: the caller's promise.
            unsafe { pack_row(n, from + i, &y[..self.c.hidden], packed.pointer()) };
        }
    }

    /// Through the attention of every group and key head: `d_attention` → `d_qkv`.
    fn backward_attention(&self, threads: &Threads, rows: &Rows, tape: &LayerTape, work: &mut Work) {
        let (n, kv_heads, d) = (rows.len(), self.c.kv_heads, self.c.head_width);
        grow(&mut work.d_qkv, n * self.w.qkv);
        // Padding columns must be zero: nothing below writes them.
        if self.w.q + 2 * self.w.kv != (self.c.heads + 2 * kv_heads) * d {
            work.d_qkv[..n * self.w.qkv].fill(0.0);
        }
        let d_qkv = Shared::new(&mut work.d_qkv);
        let d_attention = &work.d_attention;
        threads.each(rows.groups.len() * kv_heads, |task| {
            let (group, kv) = (task / kv_heads, task % kv_heads);
            let longest = rows.longest(group);
            with_scratch(|s| {
                let keys = grow(&mut s.keys, keys_len(longest, d));
                s.attention.size_backward(longest, d);
                let statistic = |head: usize, index: usize| {
                    let at = (head * n + index) * 2;
                    (tape.softmax[at], tape.softmax[at + 1])
                };
                for place in rows.sequences(group) {
                    // SAFETY: the columns of key head `kv` and its query heads in the rows of this group belong to this task.
                    unsafe {
                        self.sequence(&tape.qkv, place).backward(
                            self.isa,
                            kv,
                            statistic,
                            &tape.attention,
                            d_attention,
                            self.w.q,
                            d_qkv.pointer(),
                            keys,
                            &mut s.attention,
                        );
                    }
                }
                // What the prefix wrote of itself lacked what its rows added since.
                let prefix = rows.groups[group].prefix.clone();
                let tokens = prefix.len();
                let prefix = self.sequence(&tape.qkv, Place { prefix: 0..0, own: prefix });
                // SAFETY: as above.
                unsafe { prefix.store_keys(kv, 0..tokens, d_qkv.pointer(), &s.attention) };
            });
        });
    }

    /// Through the rotation, the head norms, the projection and the first norm: `d_qkv`, `d_middle` → `d_stream`.
    fn backward_qkv(
        &self,
        threads: &Threads,
        layer: &LayerLayout,
        rows: &Rows,
        tape: &LayerTape,
        transposed: &[f32],
        work: &mut Work,
        gradient: &mut [f32],
    ) {
        let (n, h, width) = (rows.len(), self.w.hidden, self.w.qkv);
        {
            let d_qkv = Shared::new(&mut work.d_qkv);
            threads.each(blocks(n), |b| {
                let (from, to) = block(n, b);
                // SAFETY: blocks are disjoint ranges of rows.
                let lines = unsafe { d_qkv.part(from * width..to * width) };
                for (line, &position) in lines.chunks_exact_mut(width).zip(&rows.positions[from..to]) {
                    for head in self.rotated_heads(line) {
                        self.rope.turn_back(position, head);
                    }
                }
            });
        }
        self.head_norm_gradients(layer, tape, &work.d_qkv[..n * width], gradient);
        grow(&mut work.d_norm, n * h);
        for (start, end) in chunks(threads, n) {
            self.backward_qkv_rows(threads, layer, start, end, tape, transposed, work, gradient);
        }
    }

    /// Rows `start..end` of [`Net::backward_qkv`], from the head norms on.
    fn backward_qkv_rows(
        &self,
        threads: &Threads,
        layer: &LayerLayout,
        start: usize,
        end: usize,
        tape: &LayerTape,
        transposed: &[f32],
        work: &mut Work,
        gradient: &mut [f32],
    ) {
        let (n, h, width) = (end - start, self.w.hidden, self.w.qkv);
        let d_qkv = Shared::new(&mut work.d_qkv);
        let d_norm = Shared::new(&mut work.d_norm);
        let packed = Shared::new(grow(&mut work.packed_a, packed_rows_len(n, self.c.hidden)));
        let d_stream = Shared::new(&mut work.d_stream);
        let d_middle = &work.d_middle;
        threads.each(blocks(n), |b| {
            let (first, last) = block(n, b);
            let (from, to, m) = (start + first, start + last, last - first);
            // SAFETY: blocks are disjoint ranges of rows.
            unsafe {
                let d_line = d_qkv.part(from * width..to * width);
                self.backward_head_norms(layer, tape, from, d_line);
                let x = &tape.x[from * h..to * h];
                self.pack_normed(n, first, &layer.norm1, x, &tape.factors1[from..to], packed);
                if layer.qkv.transposed.is_empty() {
                    return;
                }
                let dy = d_norm.part(from * h..to * h);
                self.project_back(&layer.qkv, transposed, m, d_line, width, dy, h, false);
                let dx = d_stream.part(from * h..to * h);
                dx.copy_from_slice(&d_middle[from * h..to * h]);
                for i in 0..m {
                    let factor = tape.factors1[from + i];
                    self.norm_backward(&layer.norm1, &x[i * h..], factor, &dy[i * h..], &mut dx[i * h..][..h]);
                }
            }
        });
        let z = Some((&tape.x[start * h..], &tape.factors1[start..]));
        let mut columns = vec![Columns { rows: n, vector: &layer.norm1, x: &work.d_norm[start * h..], z }];
        let d_qkv = &work.d_qkv[start * width..];
        if let Some(bias) = &layer.qkv_bias {
            columns.push(Columns { rows: n, vector: bias, x: d_qkv, z: None });
        }
        let inputs = &work.packed_a[..packed_rows_len(n, self.c.hidden)];
        let product = Product { rows: n, matrix: &layer.qkv, inputs, outputs: d_qkv };
        self.weight_gradients(threads, &[product], &columns, transposed, gradient);
    }

    /// `dw += Σ d·raw·factor` over tokens and heads, for the q and k norms of Qwen3.
    fn head_norm_gradients(&self, layer: &LayerLayout, tape: &LayerTape, d_qkv: &[f32], gradient: &mut [f32]) {
        let (Some(q), Some(k)) = (&layer.q_norm, &layer.k_norm) else { return };
        let (d, heads, kv_heads) = (self.c.head_width, self.c.heads, self.c.kv_heads);
        let (kept, all) = (self.w.q + self.w.kv, heads + kv_heads);
        for (vector, first, count, at) in [(q, 0, heads, 0), (k, heads, kv_heads, self.w.q)] {
            let Some(at_gradient) = self.layout.learned_at(&vector.at) else { return };
            let gradient = &mut gradient[at_gradient];
            for (t, line) in d_qkv.chunks_exact(self.w.qkv).enumerate() {
                for head in 0..count {
                    let factor = tape.qk_factors[t * all + first + head];
                    let column = at + head * d;
                    let raw = &tape.raw[t * kept + column..][..d];
                    for ((g, d), x) in gradient.iter_mut().zip(&line[column..][..d]).zip(raw) {
                        *g += d * x * factor;
                    }
                }
            }
        }
    }

    /// Through the q and k norms of rows `from..`, in place.
    fn backward_head_norms(&self, layer: &LayerLayout, tape: &LayerTape, from: usize, d_qkv: &mut [f32]) {
        let (Some(q), Some(k)) = (&layer.q_norm, &layer.k_norm) else { return };
        let (d, width, heads) = (self.c.head_width, self.w.head, self.c.heads);
        let (kept, all) = (self.w.q + self.w.kv, heads + self.c.kv_heads);
        let (mut x, mut dy, mut dx) = (vec![0.0f32; width], vec![0.0f32; width], vec![0.0f32; width]);
        for (i, line) in d_qkv.chunks_exact_mut(self.w.qkv).enumerate() {
            let t = from + i;
            for (index, head) in self.rotated_heads(line).enumerate() {
                let column = if index < heads { index * d } else { self.w.q + (index - heads) * d };
                x[..d].copy_from_slice(&tape.raw[t * kept + column..][..d]);
                dy[..d].copy_from_slice(head);
                dx.fill(0.0);
                let weight = self.vector(if index < heads { q } else { k });
                let factor = tape.qk_factors[t * all + index];
                // SAFETY: all four rows hold `width` values.
                unsafe {
                    row::norm_backward(
                        self.isa,
                        width,
                        d,
                        x.as_ptr(),
                        weight.as_ptr(),
                        factor,
                        dy.as_ptr(),
                        dx.as_mut_ptr(),
                    );
                }
                head.copy_from_slice(&dx[..d]);
            }
        }
    }

    /// Gradients of matrices, their adapters and vectors over their rows, split over threads by outputs. What is frozen has none.
    pub(super) fn weight_gradients(
        &self,
        threads: &Threads,
        products: &[Product<'_>],
        columns: &[Columns<'_>],
        transposed: &[f32],
        gradient: &mut [f32],
    ) {
        let kept: Vec<(&Product<'_>, AdapterInputs<'_>)> = products
            .iter()
            .filter_map(|product| {
                let adapter = product.matrix.adapter.as_deref()?;
                Some((product, self.adapter_inputs(threads, adapter, product, transposed)))
            })
            .collect();
        let mut sums: Vec<Sum<'_>> = products.iter().map(Sum::of).collect();
        sums.extend(kept.iter().flat_map(|(product, inputs)| Sum::of_adapter(product, inputs)));
        let mut tasks = Vec::new();
        for sum in &sums {
            if let Some(at) = self.layout.learned_at(&sum.matrix.at) {
                let panels = sum.matrix.outputs / LANES;
                tasks.extend((0..panels).step_by(PANELS).map(|p| (sum, at.start, p, PANELS.min(panels - p))));
            }
        }
        let vectors: Vec<_> = columns.iter().filter_map(|c| Some((c, self.layout.learned_at(&c.vector.at)?))).collect();
        let gradient = Shared::new(gradient);
        threads.each(tasks.len() + vectors.len(), |task| {
            if let Some(&(sum, start, panel, count)) = tasks.get(task) {
                let inputs = sum.matrix.inputs;
                let at = start + panel * inputs * LANES;
                // SAFETY: tasks are disjoint panels.
                let out = unsafe { gradient.part(at..at + count * inputs * LANES) };
                let first = sum.first + panel * LANES;
                linear_gradient(self.isa, sum.rows, sum.inputs, inputs, sum.outputs, sum.stride, first, out);
            } else {
                let (column, at) = &vectors[task - tasks.len()];
                // SAFETY: every vector is one task.
                let out = unsafe { gradient.part(at.clone()) };
                self.vector_gradient(column, out);
            }
        });
    }

    fn vector_gradient(&self, column: &Columns<'_>, out: &mut [f32]) {
        let n = out.len();
        for i in 0..column.rows {
            let x = &column.x[i * n..][..n];
            // SAFETY: all rows hold n values.
            unsafe {
                match column.z {
                    Some((z, factors)) => {
                        let z = z[i * n..][..n].as_ptr();
                        row::add_product(self.isa, n, x.as_ptr(), z, factors[i], out.as_mut_ptr());
                    }
                    None => row::add(self.isa, n, x.as_ptr(), out.as_mut_ptr()),
                }
            }
        }
    }
}
