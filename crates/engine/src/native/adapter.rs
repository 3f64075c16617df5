//! Adapters of low rank on projections: `y = W·x + s·B·(A·x)` (Hu et al. 2021, arXiv 2106.09685).
//!
//! The product `A·x` is one for all modules of a fused matrix (q, k and v; gate and up); each module then has its own B. Every
//! product is the one of `gemm`, so an adapted model keeps all promises of exactness, and B = 0 gives the bits of the base.

use std::cell::RefCell;

use super::attention::grow;
use super::backward::Product;
use super::gemm::{linear, pack_row, packed_rows_len, unpack_row};
use super::layout::{Adapter, Module};
use super::net::Net;
use super::row;
use super::tape::{block, blocks};
use super::threads::{Shared, Threads};

thread_local! {
    /// `s·A·x`, or its derivative, of one block of rows.
    static ADAPTED: RefCell<Vec<f32>> = RefCell::default();
    /// Inputs of one block of rows, unpacked.
    static INPUTS: RefCell<Vec<f32>> = RefCell::default();
}

/// What the gradients of an adapter need of a pass, over all its rows.
pub(super) struct AdapterInputs<'a> {
    pub adapter: &'a Adapter,
    /// `[rows][width]` the derivative of `A·x`.
    pub d_down: Vec<f32>,
    /// Of each module: `s·A·x`, laid out for the gradient of B.
    pub downs: Vec<Vec<f32>>,
}

impl Net<'_> {
    /// `y += s·B·(A·x)` of rows.
    pub(super) fn adapt(
        &self,
        adapter: &Adapter,
        rows: usize,
        x: &[f32],
        x_stride: usize,
        y: &mut [f32],
        y_stride: usize,
    ) {
        let width = adapter.a.outputs;
        ADAPTED.with_borrow_mut(|down| {
            let down = grow(down, rows * width);
            self.down(adapter, rows, x, x_stride, down);
            for Module { b, first, at } in &adapter.modules {
                let y = &mut y[*first..];
                linear(self.isa, rows, &down[*at..], width, self.matrix(b), b.inputs, y, y_stride, true);
            }
        });
    }

    /// `dx += Aᵀ·(s·Bᵀ·dy)` of rows.
    pub(super) fn adapt_back(
        &self,
        adapter: &Adapter,
        transposed: &[f32],
        rows: usize,
        dy: &[f32],
        dy_stride: usize,
        dx: &mut [f32],
        dx_stride: usize,
    ) {
        let width = adapter.a.outputs;
        ADAPTED.with_borrow_mut(|d_down| {
            let d_down = grow(d_down, rows * width);
            self.d_down(adapter, transposed, rows, dy, dy_stride, d_down);
            let packed = &transposed[adapter.a.transposed.clone()];
            linear(self.isa, rows, d_down, width, packed, width, dx, dx_stride, true);
        });
    }

    /// `s·A·x` of rows, `[rows][width]`.
    fn down(&self, adapter: &Adapter, rows: usize, x: &[f32], x_stride: usize, out: &mut [f32]) {
        let a = &adapter.a;
        linear(self.isa, rows, x, x_stride, self.matrix(a), a.inputs, out, a.outputs, false);
        self.scale(adapter.scale, rows * a.outputs, out);
    }

    /// `s·Bᵀ·dy` of rows, `[rows][width]`.
    fn d_down(
        &self,
        adapter: &Adapter,
        transposed: &[f32],
        rows: usize,
        dy: &[f32],
        dy_stride: usize,
        out: &mut [f32],
    ) {
        let width = adapter.a.outputs;
        for Module { b, first, at } in &adapter.modules {
            let packed = &transposed[b.transposed.clone()];
            let out = &mut out[*at..];
            linear(self.isa, rows, &dy[*first..], dy_stride, packed, b.outputs, out, width, false);
        }
        self.scale(adapter.scale, rows * width, out);
    }

    fn scale(&self, scale: f32, len: usize, values: &mut [f32]) {
        assert!(values.len() >= len);
        // SAFETY: `len` values, whole lanes, read and written in place.
        unsafe { row::scale(self.isa, len, values.as_ptr(), scale, values.as_mut_ptr()) };
    }

    /// Computes again what the gradients of A and B need, from the operands of the adapted matrix's own gradient.
    pub(super) fn adapter_inputs<'m>(
        &self,
        threads: &Threads,
        adapter: &'m Adapter,
        product: &Product<'_>,
        transposed: &[f32],
    ) -> AdapterInputs<'m> {
        let &Product { rows, matrix, inputs, outputs } = product;
        let (width, k) = (adapter.a.outputs, matrix.inputs);
        let mut d_down = vec![0.0; rows * width];
        let mut downs: Vec<Vec<f32>> =
            adapter.modules.iter().map(|module| vec![0.0; packed_rows_len(rows, module.b.inputs)]).collect();
        let d_down_at = Shared::new(&mut d_down);
        let downs_at: Vec<Shared<'_>> = downs.iter_mut().map(|down| Shared::new(down)).collect();
        threads.each(blocks(rows), |index| {
            let (from, to) = block(rows, index);
            let m = to - from;
            // SAFETY: blocks are disjoint ranges of rows.
            let d_down = unsafe { d_down_at.part(from * width..to * width) };
            let dy = &outputs[from * matrix.outputs..];
            self.d_down(adapter, transposed, m, dy, matrix.outputs, d_down);
            INPUTS.with_borrow_mut(|x| {
                ADAPTED.with_borrow_mut(|down| {
                    let (x, down) = (grow(x, m * k), grow(down, m * width));
                    for (i, line) in x.chunks_exact_mut(k).enumerate() {
                        unpack_row(rows, from + i, inputs, line);
                    }
                    self.down(adapter, m, x, k, down);
                    for (Module { b, at, .. }, packed) in adapter.modules.iter().zip(&downs_at) {
                        for (i, line) in down.chunks_exact(width).enumerate() {
                            // SAFETY: the array is sized for all rows, and this row belongs to this block.
                            unsafe { pack_row(rows, from + i, &line[*at..][..b.inputs], packed.pointer()) };
                        }
                    }
                });
            });
        });
        AdapterInputs { adapter, d_down, downs }
    }
}
