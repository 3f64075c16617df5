//! The one matrix product at the shapes of real layers: `cargo bench -p lapidary-engine --bench kernels`.
//!
//! Prints one JSON line per shape and instruction set of the machine: GFLOP per CPU second of one thread, the share of the FMA
//! peak of the best set, and whether a row computed alone has the bits that it has among many. Rows go in blocks of 48, as the
//! engine sends them.
#![allow(clippy::print_stdout, missing_docs)]

mod machine;

use lapidary_engine::native::{Isa, packed_product};
use machine::{fma_peak, usage};

/// Rows of a block, as in the engine.
const BLOCK: usize = 48;

const SHAPES: [(usize, usize, usize); 8] = [
    (1008, 256, 256),
    (1008, 1376, 256),
    (1008, 256, 688),
    (1008, 2048, 256),
    (240, 3072, 576),
    (48, 704, 256),
    (8, 704, 256),
    (1, 704, 256),
];

fn main() {
    for isa in Isa::available() {
        for (m, n, k) in SHAPES {
            let value = |i: usize| ((i * 7919 % 1000) as f32 - 500.0) / 500.0;
            let x: Vec<f32> = (0..m * k).map(value).collect();
            let packed: Vec<f32> = (0..n * k).map(|i| value(i + 17)).collect();
            let mut y = vec![0.0f32; m * n];
            let product = |y: &mut [f32]| {
                for (x, y) in x.chunks(BLOCK * k).zip(y.chunks_mut(BLOCK * n)) {
                    packed_product(isa, x.len() / k, x, &packed, k, y);
                }
            };
            product(&mut y);
            let mut one = vec![0.0f32; n];
            packed_product(isa, 1, &x[(m - 1) * k..], &packed, k, &mut one);
            let same = one.iter().zip(&y[(m - 1) * n..]).all(|(a, b)| a.to_bits() == b.to_bits());
            let peak = fma_peak();
            let (start, mut times) = (usage().0, 0u32);
            while usage().0 - start < 0.3 {
                for _ in 0..(100_000_000 / (m * n * k)).max(1) {
                    product(&mut y);
                    times += 1;
                }
            }
            let gflops = 2.0 * (m * n * k) as f64 * f64::from(times) / (usage().0 - start) / 1e9;
            println!(
                "{{\"set\":\"{}\",\"m\":{m},\"n\":{n},\"k\":{k},\"gflops\":{gflops:.1},\"fma_peak\":{peak:.1},\"fma_share\":{:.3},\"same_bits\":{same}}}",
                isa.name(),
                gflops / peak,
            );
        }
    }
}
