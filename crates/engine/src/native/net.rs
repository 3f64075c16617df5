//! The decoder's forward pass on blocks of rows: the one code that sampling, scoring and training share.

use super::bf16::with_rounded;
use super::gemm::{Weights, linear_in, linear_into};
use super::layout::{Gated, LayerLayout, Layout, Matrix, Vector, Widths};
use super::logits::{self, Asked};
use super::rope::Rope;
use super::row;
use super::simd::{Isa, LANES};
use super::threads::{Shared, Threads};
use crate::ModelConfig;
use lapidary_core::Want;

/// Rows that a thread works on at a time: 8 register tiles, small enough for the second-level cache.
pub(crate) const BLOCK: usize = 48;

/// Weights of a matrix from which on it is split over threads: below, telling them takes longer than the product.
const SPLIT: usize = 1 << 16;

/// A model ready to compute: shape, layout and weights.
#[derive(Clone, Copy)]
pub(crate) struct Net<'a> {
    pub c: &'a ModelConfig,
    pub w: Widths,
    pub layout: &'a Layout,
    pub flat: &'a [f32],
    pub isa: Isa,
    pub rope: &'a Rope,
    /// Whether adapters are switched on.
    pub adapters: bool,
    /// The weights as bf16, where products are computed in it.
    pub halves: Option<&'a [u16]>,
    /// Threads that a projection splits its outputs over, where nothing else is there to be split.
    pub split: Option<&'a Threads>,
}

/// What a block of rows leaves behind for the backward pass, besides its outputs.
pub(crate) struct QkNorm<'a> {
    /// `[rows][q + kv]` before norm and rotation.
    pub raw: &'a mut [f32],
    /// `[rows][heads + kv_heads]` factors.
    pub factors: &'a mut [f32],
}

impl Net<'_> {
    pub fn vector(&self, v: &Vector) -> &[f32] {
        &self.flat[v.at.clone()]
    }

    pub fn matrix(&self, m: &Matrix) -> &[f32] {
        &self.flat[m.at.clone()]
    }

    /// Copies the embedding of `token` into a padded row.
    pub fn embed(&self, token: u32, out: &mut [f32]) {
        let token = token as usize;
        match &self.layout.embedding {
            Some(table) => {
                out.copy_from_slice(&self.flat[table.at.start + token * self.w.hidden..][..self.w.hidden]);
            }
            None => {
                let head = self.matrix(&self.layout.head);
                let line = &head[token / LANES * self.c.hidden * LANES + token % LANES..];
                for (k, value) in out.iter_mut().take(self.c.hidden).enumerate() {
                    *value = line[k * LANES];
                }
                out[self.c.hidden..].fill(0.0);
            }
        }
    }

    /// `y (+)= x·Wᵀ` of rows: every projection of the forward pass.
    pub fn project(
        &self,
        matrix: &Matrix,
        rows: usize,
        x: &[f32],
        x_stride: usize,
        y: &mut [f32],
        y_stride: usize,
        accumulate: bool,
    ) {
        match self.halves {
            None => {
                self.multiply(matrix, Weights::Full(self.matrix(matrix)), rows, x, x_stride, y, y_stride, accumulate)
            }
            Some(halves) => with_rounded(rows, x, x_stride, matrix.inputs, |x| {
                let packed = Weights::Half(&halves[matrix.at.clone()]);
                self.multiply(matrix, packed, rows, x, matrix.inputs, y, y_stride, accumulate);
            }),
        }
        if let Some(adapter) = matrix.adapter.as_deref().filter(|_| self.adapters) {
            self.adapt(adapter, rows, x, x_stride, y, y_stride);
        }
    }

    /// The product of [`Net::project`], its outputs split over threads where there are some to be had.
    fn multiply(
        &self,
        matrix: &Matrix,
        packed: Weights<'_>,
        rows: usize,
        x: &[f32],
        x_stride: usize,
        y: &mut [f32],
        y_stride: usize,
        accumulate: bool,
    ) {
        let Some(threads) = self.split.filter(|_| rows > 0 && packed.len() >= SPLIT) else {
            return linear_in(self.isa, rows, x, x_stride, packed, matrix.inputs, y, y_stride, accumulate);
        };
        let panel = matrix.inputs * LANES;
        let part = (packed.len() / panel).div_ceil(threads.count());
        assert!(y.len() >= (rows - 1) * y_stride + matrix.outputs, "y holds {rows} rows");
        let y = Shared::new(y);
        threads.each(threads.count(), |task| {
            let panels = packed.part(part * panel, task);
            if panels.len() > 0 {
                // SAFETY: every task has columns of its own, inside y by the assert.
                unsafe {
                    let y = y.pointer().add(task * part * LANES);
                    linear_into(self.isa, rows, x, x_stride, panels, matrix.inputs, y, y_stride, accumulate);
                }
            }
        });
    }

    /// RMS norm of rows; returns the factors through `factors`.
    pub fn norm(&self, weight: &Vector, rows: usize, x: &[f32], y: &mut [f32], factors: &mut [f32]) {
        let n = self.w.hidden;
        let w = self.vector(weight);
        assert!(x.len() >= rows * n && y.len() >= rows * n && w.len() == n);
        for (i, factor) in factors.iter_mut().enumerate().take(rows) {
            // SAFETY: each row holds n values.
            *factor = unsafe {
                row::norm(
                    self.isa,
                    n,
                    self.c.hidden,
                    x[i * n..].as_ptr(),
                    w.as_ptr(),
                    self.c.norm_epsilon,
                    y[i * n..].as_mut_ptr(),
                )
            };
        }
    }

    /// From the residual stream to rotated q, k, v.
    pub fn attention_input(
        &self,
        layer: &LayerLayout,
        rows: usize,
        x: &[f32],
        positions: &[usize],
        y: &mut [f32],
        factors: &mut [f32],
        qkv: &mut [f32],
        qk_norm: Option<QkNorm<'_>>,
    ) {
        let width = self.w.qkv;
        self.norm(&layer.norm1, rows, x, y, factors);
        if let Some(bias) = &layer.qkv_bias {
            let bias = self.vector(bias);
            qkv.chunks_exact_mut(width).take(rows).for_each(|line| line.copy_from_slice(bias));
        }
        self.project(&layer.qkv, rows, y, self.w.hidden, qkv, width, layer.qkv_bias.is_some());
        if let (Some(q), Some(k)) = (&layer.q_norm, &layer.k_norm) {
            self.normalise_heads(self.vector(q), self.vector(k), rows, qkv, qk_norm);
        }
        for (line, &position) in qkv.chunks_exact_mut(width).zip(positions).take(rows) {
            for head in self.rotated_heads(line) {
                self.rope.turn(position, head);
            }
        }
    }

    /// The query heads, then the key heads of a row of qkv.
    pub fn rotated_heads<'r>(&self, line: &'r mut [f32]) -> impl Iterator<Item = &'r mut [f32]> {
        let d = self.c.head_width;
        let (q, rest) = line.split_at_mut(self.w.q);
        let (heads, kv_heads) = (self.c.heads, self.c.kv_heads);
        q.chunks_exact_mut(d).take(heads).chain(rest.chunks_exact_mut(d).take(kv_heads))
    }

    /// RMS norm of every query and key head (Qwen3), before the rotation.
    fn normalise_heads(&self, q: &[f32], k: &[f32], rows: usize, qkv: &mut [f32], mut keep: Option<QkNorm<'_>>) {
        let (d, width) = (self.c.head_width, self.w.head);
        let heads = self.c.heads + self.c.kv_heads;
        let kept = self.w.q + self.w.kv;
        let (mut x, mut y) = (vec![0.0f32; width], vec![0.0f32; width]);
        for (i, line) in qkv.chunks_exact_mut(self.w.qkv).take(rows).enumerate() {
            if let Some(keep) = &mut keep {
                keep.raw[i * kept..][..kept].copy_from_slice(&line[..kept]);
            }
            for (h, head) in self.rotated_heads(line).enumerate() {
                x[..d].copy_from_slice(head);
                let weight = if h < self.c.heads { q } else { k };
                // SAFETY: x, y and the weight hold `width` values.
                let factor = unsafe {
                    row::norm(self.isa, width, d, x.as_ptr(), weight.as_ptr(), self.c.norm_epsilon, y.as_mut_ptr())
                };
                head.copy_from_slice(&y[..d]);
                if let Some(keep) = &mut keep {
                    keep.factors[i * heads + h] = factor;
                }
            }
        }
    }

    /// From attention's output to the residual stream after it, `middle`, and what the feed-forward reads, `y`.
    pub fn attention_output(
        &self,
        layer: &LayerLayout,
        rows: usize,
        x: &[f32],
        attention: &[f32],
        middle: &mut [f32],
        y: &mut [f32],
        factors: &mut [f32],
    ) {
        let h = self.w.hidden;
        middle[..rows * h].copy_from_slice(&x[..rows * h]);
        if let Some(bias) = &layer.output_bias {
            let bias = self.vector(bias);
            for line in middle.chunks_exact_mut(h).take(rows) {
                // SAFETY: the row and the bias hold h values.
                unsafe { row::add(self.isa, bias.len(), bias.as_ptr(), line.as_mut_ptr()) };
            }
        }
        self.project(&layer.output, rows, attention, self.w.q, middle, h, true);
        self.norm(&layer.norm2, rows, middle, y, factors);
    }

    /// `x += down(silu(gate(y)) · up(y))`, a gated feed-forward.
    pub fn feed_forward(
        &self,
        gated: &Gated,
        rows: usize,
        y: &[f32],
        gate_up: &mut [f32],
        hidden: &mut [f32],
        x: &mut [f32],
    ) {
        let (h, f) = (self.w.hidden, gated.width());
        self.project(&gated.gate_up, rows, y, h, gate_up, 2 * f, false);
        assert!(gate_up.len() >= rows * 2 * f && hidden.len() >= rows * f);
        for i in 0..rows {
            let line = &gate_up[i * 2 * f..];
            // SAFETY: gate, up and the output row hold f values each.
            unsafe { row::gate(self.isa, f, line.as_ptr(), line[f..].as_ptr(), hidden[i * f..].as_mut_ptr()) };
        }
        self.project(&gated.down, rows, hidden, f, x, h, true);
    }

    /// Final norm and output head.
    pub fn logits(&self, rows: usize, x: &[f32], y: &mut [f32], factors: &mut [f32], logits: &mut [f32]) {
        self.norm(&self.layout.norm, rows, x, y, factors);
        self.project(&self.layout.head, rows, y, self.w.hidden, logits, self.w.vocabulary, false);
    }

    /// Statistics of a row of logits at a temperature; `want` decides which beside those of every log-probability.
    pub fn distribution(&self, logits: &[f32], temperature: f32, want: Want) -> Distribution {
        assert!(logits.len() >= self.w.vocabulary);
        let inverse = 1.0 / temperature;
        let asked = Asked { second: want.top, moment: want.entropy, total: want.mean_nll };
        // SAFETY: the row holds at least `vocabulary` values.
        let m = unsafe { logits::distribution(self.isa, self.c.vocabulary, logits.as_ptr(), inverse, asked) };
        let log_sum = m.sum.ln();
        let mut out = Distribution { inverse, max: m.max, sum: m.sum, log_sum, ..Distribution::default() };
        if want.entropy {
            // H = ln Σe^d − Σ d·e^d / Σe^d with d = z − max.
            out.entropy = (log_sum - m.moment / m.sum).max(0.0) as f32;
        }
        if want.top {
            out.top = [0.0, f64::from(m.second - m.max)].map(|d| (d - log_sum).exp() as f32);
        }
        if want.mean_nll {
            out.mean_nll = (log_sum - m.total / self.c.vocabulary as f64) as f32;
        }
        out
    }
}

/// The softmax of a row of logits, kept as a few numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Distribution {
    /// 1 / temperature.
    pub inverse: f32,
    /// Largest logit / temperature.
    pub max: f32,
    /// `Σ e^(z − max)` and its logarithm.
    pub sum: f64,
    pub log_sum: f64,
    /// In nats; 0 when it was not asked for.
    pub entropy: f32,
    /// The two largest probabilities; 0 when they were not asked for.
    pub top: [f32; 2],
    /// `−(1/V) Σ ln p`; 0 when it was not asked for.
    pub mean_nll: f32,
}

impl Distribution {
    /// Log-probability of the token with this logit.
    pub fn logp(&self, logit: f32) -> f32 {
        (f64::from(logit * self.inverse - self.max) - self.log_sum) as f32
    }
}
