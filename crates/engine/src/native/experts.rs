//! The feed-forward of a layer of experts: rows are sorted by expert, and each expert multiplies its own contiguous rows.
//!
//! A row's sum runs over its slots in ascending order, a weight's gradient over its rows in order. So a row gives the same bits
//! alone or in a batch, and a gradient the same bits for any threads and micro-batches.

use std::cell::RefCell;

use super::attention::grow;
use super::backward::Product;
use super::gemm::{pack_row, packed_rows_len};
use super::layout::{ExpertsLayout, Gated, Vector};
use super::net::{BLOCK, Net};
use super::router::{Routes, Visit, weigh_backward};
use super::row;
use super::tape::{LayerTape, block, blocks};
use super::threads::{Shared, Threads};
use lapidary_core::UNROUTED;

/// What a layer of experts keeps for its backward pass.
#[derive(Default)]
pub(crate) struct ExpertsTape {
    pub routes: Routes,
    /// `[rows · k][2 · width]` gate and up, sorted by expert.
    gate_up: Vec<f32>,
    /// `[rows][2 · width]` gate and up of the shared expert.
    shared: Vec<f32>,
}

/// Working memory of the forward pass; every layer uses the same.
#[derive(Default)]
pub(crate) struct ExpertsBuffers {
    /// `[rows][hidden]` what the layer reads: the normed rows.
    pub y: Vec<f32>,
    /// `[rows · k][hidden]` outputs of the experts, sorted by expert.
    out: Vec<f32>,
}

/// Working memory of the backward pass.
#[derive(Default)]
pub(crate) struct ExpertsWork {
    y: Vec<f32>,
    /// `[rows][k]` and `[rows][padded experts]`.
    d_weight: Vec<f32>,
    d_logit: Vec<f32>,
    /// Sorted by expert: derivatives of its outputs, its gate and up, its inputs.
    d_out: Vec<f32>,
    d_gate_up: Vec<f32>,
    d_y: Vec<f32>,
    d_shared: Vec<f32>,
    /// Inputs of matrices, laid out for their gradients: of every expert, one after another, then of all rows.
    packed_y: Vec<f32>,
    packed_hidden: Vec<f32>,
    packed_rows: Vec<f32>,
    packed_shared: Vec<f32>,
}

thread_local! {
    /// Gathered rows of one thread. Its own, because a sampling thread lends its scratch while it calls into here.
    static GATHERED: RefCell<[Vec<f32>; 4]> = RefCell::default();
}

impl ExpertsTape {
    /// Takes over the choices of this layer for each row from `routing`, `[rows][stride]`.
    pub fn expect(&mut self, routing: &[u16], stride: usize, at: usize, k: usize) {
        self.routes.expert.clear();
        self.routes.expert.extend(routing.chunks_exact(stride).flat_map(|token| &token[at..at + k]));
    }

    /// Writes what was chosen to `routing`, `[rows][stride]`.
    pub fn tell(&self, routing: &mut [u16], stride: usize, at: usize, k: usize) {
        for (token, chosen) in routing.chunks_exact_mut(stride).zip(self.routes.expert.chunks_exact(k)) {
            token[at..at + k].copy_from_slice(chosen);
        }
    }
}

impl Net<'_> {
    /// `x += shared(y) + Σ_j weight_j · expert_j(y)` of `rows` rows with `y` in `buffers`. `routing` is `[rows][stride]`, where
    /// [`UNROUTED`] leaves the choice to the router; afterwards it holds what was used.
    pub(crate) fn experts(
        &self,
        threads: &Threads,
        e: &ExpertsLayout,
        rows: usize,
        buffers: &mut ExpertsBuffers,
        x: &mut [f32],
        routing: &mut [u16],
        tape: &mut ExpertsTape,
    ) {
        let (k, h, stride) = (self.per_token(), self.w.hidden, self.w.routing);
        assert_eq!(routing.len(), rows * stride, "a choice or UNROUTED ({UNROUTED}) per slot of each row");
        tape.expect(routing, stride, e.routing_at, k);
        self.route(threads, e, rows, &buffers.y, &mut tape.routes);
        tape.tell(routing, stride, e.routing_at, k);
        let f = e.experts[0].width();
        let shared_width = e.shared.as_ref().map_or(0, Gated::width);
        tape.gate_up.resize(rows * k * 2 * f, 0.0);
        tape.shared.resize(rows * 2 * shared_width, 0.0);
        let ExpertsBuffers { y, out } = buffers;
        let (routes, y) = (&tape.routes, &*y);
        let visits = routes.visits();
        {
            let (gate_up, out) = (Shared::new(&mut tape.gate_up), Shared::new(grow(out, rows * k * h)));
            threads.each(visits.len(), |task| {
                let Visit { expert, from, to } = visits[task];
                // SAFETY: visits are disjoint ranges of slots.
                let (gate_up, out) = unsafe { (gate_up.part(from * 2 * f..to * 2 * f), out.part(from * h..to * h)) };
                GATHERED.with_borrow_mut(|[gathered, hidden, ..]| {
                    let input = gather(&routes.order[from..to], k, y, h, gathered);
                    out.fill(0.0);
                    self.feed_forward(
                        &e.experts[expert],
                        to - from,
                        input,
                        gate_up,
                        grow(hidden, (to - from) * f),
                        out,
                    );
                });
            });
        }
        let (x, shared) = (Shared::new(x), Shared::new(&mut tape.shared));
        let (routes, out) = (&tape.routes, &*out);
        threads.each(blocks(rows), |b| {
            let (from, to) = block(rows, b);
            // SAFETY: blocks are disjoint ranges of rows.
            let x = unsafe { x.part(from * h..to * h) };
            if let Some(gated) = &e.shared {
                // SAFETY: as above.
                let gate_up = unsafe { shared.part(from * 2 * shared_width..to * 2 * shared_width) };
                GATHERED.with_borrow_mut(|[hidden, ..]| {
                    let hidden = grow(hidden, (to - from) * shared_width);
                    self.feed_forward(gated, to - from, &y[from * h..to * h], gate_up, hidden, x);
                });
            }
            for (i, line) in x.chunks_exact_mut(h).enumerate() {
                for slot in (from + i) * k..(from + i + 1) * k {
                    let expert = &out[routes.place[slot] as usize * h..][..h];
                    // SAFETY: both rows hold h values.
                    unsafe { row::add_scaled(self.isa, h, expert.as_ptr(), routes.weight[slot], line.as_mut_ptr()) };
                }
            }
        });
    }

    /// Experts per token.
    pub(crate) fn per_token(&self) -> usize {
        self.c.experts.as_ref().map_or(0, |experts| experts.per_token)
    }

    /// From `d_x`, the derivative of the layer's outputs, to `d_norm`, that of its normed inputs; adds the gradients of the
    /// router, the experts and the shared expert.
    pub(crate) fn backward_experts(
        &self,
        threads: &Threads,
        e: &ExpertsLayout,
        norm: &Vector,
        tape: &LayerTape,
        d_x: &[f32],
        d_norm: &mut [f32],
        transposed: &[f32],
        work: &mut ExpertsWork,
        gradient: &mut [f32],
    ) {
        let (k, h) = (self.per_token(), self.w.hidden);
        let n = tape.factors2.len();
        let y = Shared::new(grow(&mut work.y, n * h));
        threads.each(blocks(n), |b| {
            let (from, to) = block(n, b);
            // SAFETY: blocks are disjoint ranges of rows.
            let y = unsafe { y.part(from * h..to * h) };
            self.norm(norm, to - from, &tape.middle[from * h..to * h], y, &mut [0.0; BLOCK]);
        });
        self.backward_visits(threads, e, &tape.experts, d_x, transposed, work);
        self.backward_rows(threads, e, &tape.experts, d_x, d_norm, transposed, work);
        let routes = &tape.experts.routes;
        let (f, width) = (e.experts[0].down.inputs, e.experts[0].width());
        let packed_rows = &work.packed_rows[..packed_rows_len(n, self.c.hidden)];
        let mut products = vec![Product {
            rows: n,
            matrix: &e.router,
            inputs: packed_rows,
            outputs: &work.d_logit[..n * e.router.outputs],
        }];
        if let Some(Gated { gate_up, down }) = &e.shared {
            let hidden = &work.packed_shared[..packed_rows_len(n, down.inputs)];
            products.push(Product { rows: n, matrix: down, inputs: hidden, outputs: d_x });
            products.push(Product { rows: n, matrix: gate_up, inputs: packed_rows, outputs: &work.d_shared });
        }
        for (Gated { gate_up, down }, range) in e.experts.iter().zip(routes.start.windows(2)) {
            let (from, rows) = (range[0], range[1] - range[0]);
            let at = |inputs: usize| packed_rows_len(from, inputs)..packed_rows_len(from + rows, inputs);
            let (hidden, outputs) = (&work.packed_hidden[at(f)], &work.d_out[from * h..(from + rows) * h]);
            products.push(Product { rows, matrix: down, inputs: hidden, outputs });
            let inputs = &work.packed_y[at(self.c.hidden)];
            let outputs = &work.d_gate_up[from * 2 * width..(from + rows) * 2 * width];
            products.push(Product { rows, matrix: gate_up, inputs, outputs });
        }
        debug_assert_eq!(routes.order.len(), n * k);
        self.weight_gradients(threads, &products, &[], transposed, gradient);
    }

    /// Every expert's part: derivatives of its weight for each row, of its inputs, and the operands of its gradient.
    ///
    /// With `o = down(hidden)` and weight w: dLoss/dw = ⟨dx, o⟩ = ⟨downᵀ·dx, hidden⟩, so that outputs need not be kept.
    fn backward_visits(
        &self,
        threads: &Threads,
        e: &ExpertsLayout,
        tape: &ExpertsTape,
        d_x: &[f32],
        transposed: &[f32],
        work: &mut ExpertsWork,
    ) {
        let (k, h, routes) = (self.per_token(), self.w.hidden, &tape.routes);
        let (slots, f) = (routes.order.len(), e.experts[0].width());
        let (hidden_width, inputs) = (e.experts[0].down.inputs, self.c.hidden);
        let d_weight = Shared::new(grow(&mut work.d_weight, slots));
        let d_out = Shared::new(grow(&mut work.d_out, slots * h));
        let d_gate_up = Shared::new(grow(&mut work.d_gate_up, slots * 2 * f));
        let d_y = Shared::new(grow(&mut work.d_y, slots * h));
        let packed_hidden = Shared::new(grow(&mut work.packed_hidden, packed_rows_len(slots, hidden_width)));
        let packed_y = Shared::new(grow(&mut work.packed_y, packed_rows_len(slots, inputs)));
        let y = &work.y;
        let visits = routes.visits();
        threads.each(visits.len(), |task| {
            let Visit { expert, from, to } = visits[task];
            let (m, gated) = (to - from, &e.experts[expert]);
            let (start, rows) = (routes.start[expert], routes.start[expert + 1] - routes.start[expert]);
            GATHERED.with_borrow_mut(|[gathered, d_hidden, hidden, _]| {
                // SAFETY: visits are disjoint ranges of slots; each expert's packed rows are a part of their own, and a row of
                // it belongs to one visit.
                unsafe {
                    let order = &routes.order[from..to];
                    let d_gu = d_gate_up.part(from * 2 * f..to * 2 * f);
                    let gate_up = &tape.gate_up[from * 2 * f..to * 2 * f];
                    let d_rows = gather(order, k, d_x, h, gathered);
                    let d_hidden = grow(d_hidden, m * f);
                    let hidden = grow(hidden, m * f);
                    self.backward_hidden(gated, m, d_rows, gate_up, transposed, d_hidden, d_gu, hidden);
                    let packed_hidden = packed_hidden.pointer().add(packed_rows_len(start, hidden_width));
                    let packed_y = packed_y.pointer().add(packed_rows_len(start, inputs));
                    let d_out = d_out.part(from * h..to * h);
                    for (i, &slot) in order.iter().enumerate() {
                        let (slot, weight) = (slot as usize, routes.weight[slot as usize]);
                        let line = &hidden[i * f..][..f];
                        d_weight.part(slot..slot + 1)[0] =
                            row::dot(self.isa, f, d_hidden[i * f..].as_ptr(), line.as_ptr());
                        row::scale(self.isa, h, d_rows[i * h..].as_ptr(), weight, d_out[i * h..].as_mut_ptr());
                        let d_line = d_gu[i * 2 * f..].as_mut_ptr();
                        row::scale(self.isa, 2 * f, d_line, weight, d_line);
                        pack_row(rows, from - start + i, &line[..hidden_width], packed_hidden);
                        pack_row(rows, from - start + i, &y[slot / k * h..][..inputs], packed_y);
                    }
                    self.project_back(&gated.gate_up, transposed, m, d_gu, 2 * f, d_y.part(from * h..to * h), h, false);
                }
            });
        });
    }

    /// Every row's part: the router, the shared expert, and the sum over its experts, in that order.
    fn backward_rows(
        &self,
        threads: &Threads,
        e: &ExpertsLayout,
        tape: &ExpertsTape,
        d_x: &[f32],
        d_norm: &mut [f32],
        transposed: &[f32],
        work: &mut ExpertsWork,
    ) {
        let Some(c) = &self.c.experts else { return };
        let (k, h, routes, width) = (c.per_token, self.w.hidden, &tape.routes, e.router.outputs);
        let n = routes.order.len() / k;
        let (f, hidden_width) = e.shared.as_ref().map_or((0, 0), |gated| (gated.width(), gated.down.inputs));
        let d_logit = Shared::new(grow(&mut work.d_logit, n * width));
        let d_shared = Shared::new(grow(&mut work.d_shared, n * 2 * f));
        let packed_rows = Shared::new(grow(&mut work.packed_rows, packed_rows_len(n, self.c.hidden)));
        let packed_shared = Shared::new(grow(&mut work.packed_shared, packed_rows_len(n, hidden_width)));
        let d_norm = Shared::new(d_norm);
        let (y, d_y, d_weight) = (&work.y, &work.d_y, &work.d_weight);
        threads.each(blocks(n), |b| {
            let (from, to) = block(n, b);
            let m = to - from;
            // SAFETY: blocks are disjoint ranges of rows.
            let (d_logit, d_y_rows, d_gu) = unsafe {
                (
                    d_logit.part(from * width..to * width),
                    d_norm.part(from * h..to * h),
                    d_shared.part(from * 2 * f..to * 2 * f),
                )
            };
            for (i, line) in d_logit.chunks_exact_mut(width).enumerate() {
                let slots = (from + i) * k..(from + i + 1) * k;
                let score = &routes.score[(from + i) * width..][..width];
                weigh_backward(c, score, &routes.expert[slots.clone()], &d_weight[slots], line);
            }
            self.project_back(&e.router, transposed, m, d_logit, width, d_y_rows, h, false);
            if let Some(gated) = &e.shared {
                GATHERED.with_borrow_mut(|[d_hidden, hidden, ..]| {
                    let (d_hidden, hidden) = (grow(d_hidden, m * f), grow(hidden, m * f));
                    let gate_up = &tape.shared[from * 2 * f..to * 2 * f];
                    self.backward_hidden(gated, m, &d_x[from * h..to * h], gate_up, transposed, d_hidden, d_gu, hidden);
                    self.project_back(&gated.gate_up, transposed, m, d_gu, 2 * f, d_y_rows, h, true);
                    for (i, line) in hidden.chunks_exact(f).enumerate() {
                        // SAFETY: as above.
                        unsafe { pack_row(n, from + i, &line[..hidden_width], packed_shared.pointer()) };
                    }
                });
            }
            for (i, line) in d_y_rows.chunks_exact_mut(h).enumerate() {
                for slot in (from + i) * k..(from + i + 1) * k {
                    let part = &d_y[routes.place[slot] as usize * h..][..h];
                    // SAFETY: both rows hold h values.
                    unsafe { row::add(self.isa, h, part.as_ptr(), line.as_mut_ptr()) };
                }
                // SAFETY: as above.
                unsafe { pack_row(n, from + i, &y[(from + i) * h..][..self.c.hidden], packed_rows.pointer()) };
            }
        });
    }
}

/// Copies the rows that some slots read, one after another.
fn gather<'a>(slots: &[u32], k: usize, from: &[f32], width: usize, to: &'a mut Vec<f32>) -> &'a mut [f32] {
    let to = grow(to, slots.len() * width);
    for (line, &slot) in to.chunks_exact_mut(width).zip(slots) {
        line.copy_from_slice(&from[slot as usize / k * width..][..width]);
    }
    to
}
