//! The one matrix product at the shapes of real layers: `cargo bench -p lapidary-engine --bench kernels`.
//!
//! Prints GFLOP per CPU second of one thread for every instruction set of the machine, beside the FMA peak of the best one,
//! and whether a row computed alone has the bits that it has among many.
#![allow(clippy::print_stdout, missing_docs)]

mod machine;

use lapidary_engine::native::{Isa, packed_product};
use machine::{fma_peak, usage};

const SHAPES: [(usize, usize, usize); 8] = [
    (1024, 256, 256),
    (1024, 1376, 256),
    (1024, 256, 688),
    (1024, 2048, 256),
    (256, 3072, 576),
    (64, 704, 256),
    (8, 704, 256),
    (1, 704, 256),
];

fn main() {
    println!("FMA peak of one thread: {:.1} GFLOP per CPU second", fma_peak());
    println!("{:<10} {:<16} {:>10}  same bits as one row", "set", "m x n x k", "GFLOP/s");
    for isa in Isa::available() {
        for (m, n, k) in SHAPES {
            let value = |i: usize| ((i * 7919 % 1000) as f32 - 500.0) / 500.0;
            let x: Vec<f32> = (0..m * k).map(value).collect();
            let packed: Vec<f32> = (0..n * k).map(|i| value(i + 17)).collect();
            let mut y = vec![0.0f32; m * n];
            packed_product(isa, m, &x, &packed, k, &mut y);
            let mut one = vec![0.0f32; n];
            packed_product(isa, 1, &x[(m - 1) * k..], &packed, k, &mut one);
            let same = one.iter().zip(&y[(m - 1) * n..]).all(|(a, b)| a.to_bits() == b.to_bits());
            let (start, mut times) = (usage().0, 0u32);
            while usage().0 - start < 0.5 {
                for _ in 0..(200_000_000 / (m * n * k)).max(1) {
                    packed_product(isa, m, &x, &packed, k, &mut y);
                    times += 1;
                }
            }
            let rate = 2.0 * (m * n * k) as f64 * f64::from(times) / (usage().0 - start) / 1e9;
            println!("{:<10} {:<16} {rate:>10.1}  {same}", isa.name(), format!("{m}x{n}x{k}"));
        }
    }
}
