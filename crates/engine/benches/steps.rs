//! Whole steps of the native engine: `cargo bench -p lapidary-engine --bench steps [-- train|decode a|b [batch]]`.
//!
//! Prints one JSON line per measurement: tokens per wall second and per CPU second of this process, peak memory, and for
//! training GFLOP/s beside the FMA peak measured in between. `THREADS` sets the threads (default 1), `ROUNDS` the measured repetitions (default 5). The shapes
//! are those of the peers' side (`benches/peers`): `a` 5.4 M parameters, batch 8×128; `b` SmolLM2-135M's, batch 2×128.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::time::Instant;

use lapidary_core::{Key, Purpose, TokenBatch, TokenGrads, Want};
use lapidary_engine::native::Native;
use lapidary_engine::{Choose, Engine, Family, ModelConfig, SampleRequest, Update};

fn shape(name: &str) -> (ModelConfig, usize, usize) {
    let small = ModelConfig {
        family: Family::Llama,
        vocabulary: 2048,
        hidden: 256,
        layers: 6,
        heads: 8,
        kv_heads: 4,
        head_width: 32,
        feed_forward: 688,
        context: 4096,
        rope_theta: 1e4,
        rope_scaling: None,
        norm_epsilon: 1e-5,
        qkv_bias: false,
        qk_norm: false,
        tied: false,
        bos: None,
        eos: vec![],
    };
    match name {
        "a" => (small, 8, 128),
        _ => (
            ModelConfig {
                vocabulary: 49_152,
                hidden: 576,
                layers: 30,
                heads: 9,
                kv_heads: 3,
                head_width: 64,
                feed_forward: 1536,
                tied: true,
                ..small
            },
            2,
            128,
        ),
    }
}

fn environment(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// User and system seconds of this process, and its peak memory in MiB.
fn usage() -> (f64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> =
        stat.rsplit(')').next().unwrap_or("").split_whitespace().map(|x| x.parse().unwrap_or(0.0)).collect();
    let cpu = fields.get(11).zip(fields.get(12)).map_or(0.0, |(u, s)| (u + s) / 100.0);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak =
        status.lines().find_map(|l| l.strip_prefix("VmHWM:")).and_then(|l| l.split_whitespace().next()?.parse().ok());
    (cpu, peak.unwrap_or(0) / 1024)
}

/// GFLOP per CPU second of one thread that does nothing but fused multiply-adds: what the machine gives right now.
fn fma_peak() -> f64 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        #[target_feature(enable = "avx512f")]
        fn wide(n: usize) -> f32 {
            let (x, mut sums) = (_mm512_set1_ps(0.999), [_mm512_set1_ps(1.0); 16]);
            for _ in 0..n {
                for s in &mut sums {
                    *s = _mm512_fmadd_ps(*s, x, x);
                }
            }
            sums.iter().map(|s| _mm512_reduce_add_ps(*s)).sum()
        }
        #[target_feature(enable = "avx2,fma")]
        fn narrow(n: usize) -> f32 {
            let (x, mut sums) = (_mm256_set1_ps(0.999), [_mm256_set1_ps(1.0); 12]);
            for _ in 0..n {
                for s in &mut sums {
                    *s = _mm256_fmadd_ps(*s, x, x);
                }
            }
            sums.iter().map(|s| _mm256_cvtss_f32(*s)).sum()
        }
        let n = 40_000_000;
        let (start, _) = usage();
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature is there.
            std::hint::black_box(unsafe { wide(n) });
            return (n * 16 * 32) as f64 / (usage().0 - start) / 1e9;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the features are there.
            std::hint::black_box(unsafe { narrow(n) });
            return (n * 12 * 16) as f64 / (usage().0 - start) / 1e9;
        }
    }
    f64::NAN
}

fn measure(what: &str, tokens: usize, flops: f64, mut work: impl FnMut()) {
    work();
    let mut rates = Vec::new();
    let mut peaks = Vec::new();
    for _ in 0..environment("ROUNDS", 5) {
        peaks.push(fma_peak());
        // Several steps a round: CPU time is counted in hundredths of a second.
        let (wall, (cpu, _)) = (Instant::now(), usage());
        let mut steps = 0;
        while wall.elapsed().as_secs_f64() < 1.0 {
            work();
            steps += 1;
        }
        let n = (tokens * steps) as f64;
        rates.push((n / (usage().0 - cpu), n / wall.elapsed().as_secs_f64()));
    }
    rates.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (per_cpu, per_wall) = rates[rates.len() / 2];
    peaks.sort_by(f64::total_cmp);
    let (gflops, peak) = (flops * per_cpu / tokens as f64 / 1e9, peaks[peaks.len() / 2]);
    println!(
        "{{\"what\":\"{what}\",\"tokens_per_cpu_second\":{per_cpu:.1},\"lowest\":{:.1},\"highest\":{:.1},\"tokens_per_second\":{per_wall:.1},\"gflops\":{gflops:.1},\"fma_peak_gflops\":{peak:.1},\"peak_mib\":{}}}",
        rates[0].0,
        rates[rates.len() - 1].0,
        usage().1,
    );
}

fn train(name: &str, threads: usize) {
    let (config, rows, length) = shape(name);
    // Six FLOP per parameter of a matrix and token, the embedding's lookup left out.
    let embedding = if config.tied { 0 } else { config.vocabulary * config.hidden };
    let flops = 6.0 * (config.parameters() - embedding) as f64 * (rows * length) as f64;
    let mut native = Native::initialise(config.clone(), 1, threads).unwrap();
    let batch = TokenBatch::all(
        (0..rows).map(|r| (0..=length).map(|t| ((r * length + t) * 7919 % config.vocabulary) as u32).collect()),
    );
    let n = (rows * length) as f32;
    let isa = native.isa().name();
    measure(&format!("train {name} {isa} threads {threads}"), rows * length, flops, || {
        let scored = &batch.scored;
        native
            .accumulate(&batch, Want::default(), &mut |_| {
                Ok(TokenGrads { logp: scored.map(|s| if *s { -1.0 / n } else { 0.0 }), entropy: None })
            })
            .unwrap();
        native
            .step(&Update {
                learning_rate: 1e-4,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                weight_decay: 0.01,
                decay_all: true,
                max_grad_norm: Some(1.0),
            })
            .unwrap();
    });
}

fn decode(name: &str, batch: usize, threads: usize) {
    let (config, _, _) = shape(name);
    let vocabulary = config.vocabulary;
    let native = Native::initialise(config, 1, threads).unwrap();
    let new = if name == "a" { 128 } else { 48 };
    let requests: Vec<SampleRequest> = (0..batch)
        .map(|r| SampleRequest {
            prompt: (0..16).map(|t| ((r * 16 + t) * 7919 % vocabulary) as u32).collect(),
            samples: 1,
            max_new_tokens: new,
            choose: Choose::Greedy,
            stop_tokens: vec![],
            key: Key::new(1, Purpose::Generate).at(r as u64),
        })
        .collect();
    let isa = native.isa().name();
    measure(&format!("decode {name} {isa} batch {batch} threads {threads}"), batch * new, 0.0, || {
        std::hint::black_box(native.sample(&requests, &|_| ()).unwrap());
    });
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|w| !w.starts_with("--")).collect();
    let threads = environment("THREADS", 1);
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["train", name] => train(name, threads),
        ["decode", name, batch] => decode(name, batch.parse().unwrap(), threads),
        _ => {
            train("a", threads);
            for batch in [1, 16, 64] {
                decode("a", batch, threads);
            }
        }
    }
}
