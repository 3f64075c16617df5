//! Scoring and learning: the forward pass over packed rows that keeps what the backward pass needs.

use super::attention::{Segment, Sequence, attend, grow, keys_len};
use super::experts::{ExpertsBuffers, ExpertsTape};
use super::layout::{FeedForward, Gated, Widths};
use super::net::{BLOCK, Distribution, Net, QkNorm};
use super::rows::{Place, Rows};
use super::support::Cut;
use super::threads::{Shared, Threads, with_scratch};
use lapidary_core::{Ragged, TokenBatch, TokenStats, UNROUTED, Want};

/// Activations of one layer, `[tokens][width]` each.
#[derive(Default)]
pub(crate) struct LayerTape {
    /// Residual stream at the layer's start.
    pub x: Vec<f32>,
    pub factors1: Vec<f32>,
    /// Rotated q, k, v.
    pub qkv: Vec<f32>,
    /// q and k before norm and rotation, and the norm's factors (Qwen3 only).
    pub raw: Vec<f32>,
    pub qk_factors: Vec<f32>,
    /// Attention's output.
    pub attention: Vec<f32>,
    /// `[heads][tokens][2]`: maximum and inverse sum of each softmax.
    pub softmax: Vec<f32>,
    /// Residual stream after attention.
    pub middle: Vec<f32>,
    pub factors2: Vec<f32>,
    /// Of a dense feed-forward, and what is kept of experts.
    pub gate_up: Vec<f32>,
    pub experts: ExpertsTape,
}

/// What a forward pass leaves behind for a backward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Nothing: scoring.
    #[default]
    Nothing,
    /// The residual stream at the start of every layer; the rest is computed again, with the same bits, a layer at a time.
    Inputs,
    /// Every activation.
    All,
}

/// Activations of a whole pass; buffers are kept from call to call.
#[derive(Default)]
pub(crate) struct Tape {
    keep: Keep,
    /// Where every activation is kept, one per layer.
    layers: Vec<LayerTape>,
    /// Where they are not: the layer that ran last, and which it was.
    last: LayerTape,
    last_layer: usize,
    /// Inputs of the layers, where only these are kept.
    inputs: Vec<Vec<f32>>,
    /// The residual stream after the last layer so far.
    pub stream: Vec<f32>,
    /// `[tokens][stride]` the experts that were used; before a layer ran, those that it shall use.
    pub routing: Vec<u16>,
    buffers: ExpertsBuffers,
}

impl Tape {
    /// The activations of a layer after a forward pass that kept something; those of the last layer first.
    pub fn layer(&mut self, net: &Net<'_>, threads: &Threads, l: usize, rows: &Rows) -> &LayerTape {
        match self.keep {
            Keep::All => &self.layers[l],
            Keep::Inputs => {
                if self.last_layer != l {
                    // The stream after the last layer has been read by then.
                    self.stream.copy_from_slice(&self.inputs[l]);
                    let Tape { stream, last, routing, buffers, .. } = self;
                    net.run_layer(threads, l, rows, stream, last, routing, buffers);
                    self.last_layer = l;
                }
                &self.last
            }
            Keep::Nothing => unreachable!("a pass that learns keeps something"),
        }
    }

    /// The experts that were used, shaped as the batch's own.
    pub fn routing(&self, batch: &TokenBatch, rows: &Rows, stride: usize) -> Ragged<u16> {
        let of_token = |index: usize| self.routing[index * stride..][..stride].iter().copied();
        let of_row = |row: usize| (0..batch.tokens.len_of(row)).map(move |t| rows.place(row).at(t)).flat_map(of_token);
        (0..batch.tokens.rows()).map(of_row).collect()
    }
}

/// Which hidden state predicts which token: the scored tokens of a batch in order.
pub(crate) struct Targets<'a> {
    /// Row of the residual stream (the position before the token). Several rows may begin to differ after the same one.
    pub source: Vec<usize>,
    /// Index of the token in the flat batch.
    pub token: Vec<usize>,
    pub id: Vec<u32>,
    pub temperature: Vec<f32>,
    support: Option<&'a Ragged<u32>>,
}

impl<'a> Targets<'a> {
    pub fn of(batch: &'a TokenBatch, rows: &Rows) -> Self {
        let support = batch.support.as_ref();
        let mut out = Targets { source: vec![], token: vec![], id: vec![], temperature: vec![], support };
        for row in 0..batch.tokens.rows() {
            let start = batch.tokens.start_of(row);
            for (t, &wanted) in batch.scored.row(row).iter().enumerate().skip(1) {
                if wanted {
                    out.source.push(rows.place(row).at(t - 1));
                    out.token.push(start + t);
                    out.id.push(batch.tokens.row(row)[t]);
                    out.temperature.push(batch.temperature[row]);
                }
            }
        }
        out
    }

    pub fn len(&self) -> usize {
        self.source.len()
    }

    /// The ids that a target was drawn from, where that is not the whole vocabulary.
    pub fn support(&self, target: usize) -> Option<&'a [u32]> {
        self.support.map(|support| support.row(self.token[target])).filter(|ids| !ids.is_empty())
    }

    /// Log-probability of a target, in the whole distribution or its support.
    fn logp(&self, target: usize, logits: &[f32], d: &Distribution) -> f32 {
        let id = self.id[target];
        match self.support(target) {
            Some(ids) => Cut::of(logits, d.inverse, ids).logp(id),
            None => d.logp(logits[id as usize]),
        }
    }
}

pub(crate) fn blocks(rows: usize) -> usize {
    rows.div_ceil(BLOCK)
}

pub(crate) fn block(rows: usize, index: usize) -> (usize, usize) {
    (index * BLOCK, ((index + 1) * BLOCK).min(rows))
}

/// Rows of logits held at a time: about 64 MiB, whole blocks, not more than it takes to keep threads busy.
pub(crate) fn head_rows(w: &Widths, threads: usize) -> usize {
    const CHUNK_BYTES: usize = 64 << 20;
    (CHUNK_BYTES / (4 * w.vocabulary) / BLOCK).clamp(1, (4 * threads).max(16)) * BLOCK
}

impl Net<'_> {
    pub(crate) fn sequence<'s>(&self, qkv: &'s [f32], place: Place) -> Sequence<'s> {
        Sequence {
            qkv,
            qkv_stride: self.w.qkv,
            place,
            head: self.c.head_width,
            k_at: self.w.q,
            v_at: self.w.q + self.w.kv,
            group: self.c.heads / self.c.kv_heads,
        }
    }

    /// Runs all layers over the batch's tokens; the final residual stream is `tape.stream`.
    pub(crate) fn forward(&self, threads: &Threads, rows: &Rows, keep: Keep, tape: &mut Tape) {
        let (n, h, depth) = (rows.len(), self.w.hidden, self.c.layers);
        tape.keep = keep;
        let Tape { layers, last, inputs, stream, routing, buffers, .. } = tape;
        layers.resize_with(if keep == Keep::All { depth } else { 0 }, LayerTape::default);
        inputs.resize_with(if keep == Keep::Inputs { depth } else { 0 }, Vec::default);
        if keep == Keep::All {
            *last = LayerTape::default();
        }
        stream.resize(n * h, 0.0);
        for (line, &id) in stream.chunks_exact_mut(h).zip(&rows.tokens) {
            self.embed(id, line);
        }
        routing.clear();
        match &rows.routing {
            Some(given) => routing.extend_from_slice(given),
            None => routing.resize(n * self.w.routing, UNROUTED),
        }
        for l in 0..depth {
            if let Some(input) = inputs.get_mut(l) {
                input.clear();
                input.extend_from_slice(stream);
            }
            self.run_layer(threads, l, rows, stream, layers.get_mut(l).unwrap_or(last), routing, buffers);
        }
        tape.last_layer = depth - 1;
    }

    /// One layer, experts included: `stream` in and out.
    fn run_layer(
        &self,
        threads: &Threads,
        l: usize,
        rows: &Rows,
        stream: &mut [f32],
        tape: &mut LayerTape,
        routing: &mut [u16],
        buffers: &mut ExpertsBuffers,
    ) {
        self.forward_layer(threads, l, rows, stream, tape, buffers);
        if let FeedForward::Experts(e) = &self.layout.layers[l].feed_forward {
            self.experts(threads, e, rows.len(), buffers, stream, routing, &mut tape.experts);
        }
    }

    /// A layer up to and with its dense feed-forward; experts find what they read in `buffers`.
    fn forward_layer(
        &self,
        threads: &Threads,
        l: usize,
        rows: &Rows,
        stream: &mut [f32],
        tape: &mut LayerTape,
        buffers: &mut ExpertsBuffers,
    ) {
        let (n, w, layer) = (rows.len(), self.w, &self.layout.layers[l]);
        let (heads, kept) = (self.c.heads + self.c.kv_heads, w.q + w.kv);
        tape.x.clear();
        tape.x.extend_from_slice(stream);
        tape.factors1.resize(n, 0.0);
        tape.factors2.resize(n, 0.0);
        tape.qkv.resize(n * w.qkv, 0.0);
        tape.attention.resize(n * w.q, 0.0);
        tape.softmax.resize(n * self.c.heads * 2, 0.0);
        tape.middle.resize(n * w.hidden, 0.0);
        let dense = match &layer.feed_forward {
            FeedForward::Dense(gated) => Some(gated),
            FeedForward::Experts(_) => None,
        };
        let f = dense.map_or(0, Gated::width);
        tape.gate_up.resize(n * 2 * f, 0.0);
        if self.c.qk_norm {
            tape.raw.resize(n * kept, 0.0);
            tape.qk_factors.resize(n * heads, 0.0);
        }
        let (qkv, factors1) = (Shared::new(&mut tape.qkv), Shared::new(&mut tape.factors1));
        let (raw, qk_factors) = (Shared::new(&mut tape.raw), Shared::new(&mut tape.qk_factors));
        let x = &tape.x;
        threads.each(blocks(n), |b| {
            let (from, to) = block(n, b);
            with_scratch(|s| {
                let y = grow(&mut s.a, (to - from) * w.hidden);
                // SAFETY: blocks are disjoint ranges of rows.
                let (qkv, factors) = unsafe { (qkv.part(from * w.qkv..to * w.qkv), factors1.part(from..to)) };
                let qk_norm = self.c.qk_norm.then(|| unsafe {
                    QkNorm { raw: raw.part(from * kept..to * kept), factors: qk_factors.part(from * heads..to * heads) }
                });
                let x = &x[from * w.hidden..to * w.hidden];
                self.attention_input(layer, to - from, x, &rows.positions[from..to], y, factors, qkv, qk_norm);
            });
        });
        self.attention(threads, rows, &tape.qkv, &mut tape.attention, &mut tape.softmax);
        let (stream, middle) = (Shared::new(stream), Shared::new(&mut tape.middle));
        let (factors2, gate_up) = (Shared::new(&mut tape.factors2), Shared::new(&mut tape.gate_up));
        let attention = &tape.attention;
        let normed = Shared::new(grow(&mut buffers.y, if dense.is_none() { n * w.hidden } else { 0 }));
        threads.each(blocks(n), |b| {
            let (from, to) = block(n, b);
            with_scratch(|s| {
                // SAFETY: blocks are disjoint ranges of rows.
                let (x, middle, factors, gate_up) = unsafe {
                    (
                        stream.part(from * w.hidden..to * w.hidden),
                        middle.part(from * w.hidden..to * w.hidden),
                        factors2.part(from..to),
                        gate_up.part(from * 2 * f..to * 2 * f),
                    )
                };
                let attention = &attention[from * w.q..to * w.q];
                let y = match dense {
                    Some(_) => grow(&mut s.a, (to - from) * w.hidden),
                    // SAFETY: as above.
                    None => unsafe { normed.part(from * w.hidden..to * w.hidden) },
                };
                self.attention_output(layer, to - from, x, attention, middle, y, factors);
                x.copy_from_slice(middle);
                if let Some(gated) = dense {
                    self.feed_forward(gated, to - from, y, gate_up, grow(&mut s.b, (to - from) * f), x);
                }
            });
        });
    }

    /// Causal attention of every sequence and head. A group's keys and values are packed behind one another: those of the prefix
    /// once, those of each row over those of the row before.
    fn attention(&self, threads: &Threads, rows: &Rows, qkv: &[f32], out: &mut [f32], softmax: &mut [f32]) {
        let (d, kv_heads, n) = (self.c.head_width, self.c.kv_heads, rows.len());
        let (out, softmax) = (Shared::new(out), Shared::new(softmax));
        threads.each(rows.groups.len() * kv_heads, |task| {
            let (group, kv) = (task / kv_heads, task % kv_heads);
            let longest = rows.longest(group);
            with_scratch(|s| {
                let keys = grow(&mut s.keys, keys_len(longest, d));
                let values = grow(&mut s.values, longest * self.w.head);
                for sequence in rows.sequences(group).map(|place| self.sequence(qkv, place)) {
                    sequence.pack(kv, keys, values);
                    for head in kv * sequence.group..(kv + 1) * sequence.group {
                        for (from, to) in sequence.blocks() {
                            sequence.queries(head, from, to, &mut s.attention.q);
                            let told = |i: usize, max: f32, inverse: f32| {
                                let at = (head * n + sequence.place.at(from + i)) * 2;
                                // SAFETY: this head and position belong to this task.
                                unsafe { softmax.part(at..at + 2) }.copy_from_slice(&[max, inverse]);
                            };
                            let live = |i: usize| from + i + 1;
                            let seen = Segment { count: to, keys, values };
                            attend(self.isa, to - from, d, seen, live, &mut s.attention, told);
                            for (i, line) in s.attention.out.chunks_exact(self.w.head).take(to - from).enumerate() {
                                let at = sequence.place.at(from + i) * self.w.q + head * d;
                                // SAFETY: these columns of this row belong to this task.
                                unsafe { out.part(at..at + d) }.copy_from_slice(&line[..d]);
                            }
                        }
                    }
                }
            });
        });
    }

    /// Statistics of the scored tokens, chunk by chunk of logits; `visit` sees each chunk's logits if it wants to keep them.
    pub(crate) fn statistics(
        &self,
        threads: &Threads,
        targets: &Targets<'_>,
        stream: &[f32],
        want: Want,
        chunk: &mut Vec<f32>,
        mut keep: Option<&mut Vec<f32>>,
    ) -> Vec<(Distribution, f32)> {
        let mut out = vec![(Distribution::default(), 0.0); targets.len()];
        let rows = head_rows(&self.w, threads.count());
        for from in (0..targets.len()).step_by(rows) {
            let to = (from + rows).min(targets.len());
            let v = self.w.vocabulary;
            let logits: &mut [f32] = match &mut keep {
                Some(all) => &mut grow(all, targets.len() * v)[from * v..to * v],
                None => grow(chunk, (to - from) * v),
            };
            self.chunk_logits(threads, targets, stream, from, to, logits);
            let logits = &*logits;
            let results = std::sync::Mutex::new(&mut out[from..to]);
            threads.each(blocks(to - from), |b| {
                let (first, last) = block(to - from, b);
                let found: Vec<_> = (first..last)
                    .map(|i| {
                        let line = &logits[i * v..][..v];
                        let d = self.distribution(line, targets.temperature[from + i], want);
                        (d, targets.logp(from + i, line, &d))
                    })
                    .collect();
                if let Ok(mut results) = results.lock() {
                    results[first..last].copy_from_slice(&found);
                }
            });
        }
        out
    }

    /// Logits of targets `from..to`.
    pub(crate) fn chunk_logits(
        &self,
        threads: &Threads,
        targets: &Targets<'_>,
        stream: &[f32],
        from: usize,
        to: usize,
        logits: &mut [f32],
    ) {
        let (h, v) = (self.w.hidden, self.w.vocabulary);
        let logits = Shared::new(logits);
        threads.each(blocks(to - from), |b| {
            let (first, last) = block(to - from, b);
            with_scratch(|s| {
                let rows = last - first;
                let x = grow(&mut s.a, rows * h);
                for (i, line) in x.chunks_exact_mut(h).enumerate() {
                    line.copy_from_slice(&stream[targets.source[from + first + i] * h..][..h]);
                }
                let y = grow(&mut s.b, rows * h);
                // SAFETY: blocks are disjoint ranges of rows.
                let logits = unsafe { logits.part(first * v..last * v) };
                self.logits(rows, x, y, &mut [0.0; BLOCK], logits);
            });
        });
    }

    /// Everything that is wanted, in the shape of the batch.
    pub(crate) fn told(
        &self,
        batch: &TokenBatch,
        rows: &Rows,
        targets: &Targets<'_>,
        found: &[(Distribution, f32)],
        stream: &[f32],
        want: Want,
    ) -> TokenStats {
        let spread = |value: &dyn Fn(usize) -> f32| {
            let mut out = batch.tokens.like(0.0);
            targets.token.iter().enumerate().for_each(|(i, &at)| out.flat_mut()[at] = value(i));
            out
        };
        let values = if want.value { self.values(targets, stream) } else { Vec::new() };
        TokenStats {
            logp: spread(&|i| found[i].1),
            entropy: spread(&|i| found[i].0.entropy),
            top: want.top.then(|| [0, 1].map(|place| spread(&|i| found[i].0.top[place]))),
            mean_nll: want.mean_nll.then(|| spread(&|i| found[i].0.mean_nll)),
            value: want.value.then(|| spread(&|i| values[i])),
            reward: want.reward.then(|| self.rewards(&rows.lasts(), stream)),
            ..Default::default()
        }
    }
}
