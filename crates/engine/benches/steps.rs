//! Whole steps of the native engine: `cargo bench -p lapidary-engine --bench steps [-- WHAT]` with WHAT one of `train a|b|e`,
//! `decode a|b|e BATCH`, `grpo [PROMPTS GROUP PROMPT COMPLETION]`, `growth`.
//!
//! Prints one JSON line per measurement: tokens per CPU second of this process and per wall second, peak memory, for training
//! GFLOP per CPU second beside the FMA peak measured in between, for a single sequence the bytes of weights that it reads beside
//! the memory's bandwidth. `THREADS` sets the threads (default 1), `ROUNDS` the measured repetitions (default 5), `MICROBATCH` the
//! tokens of a micro-batch of `grpo` (default 1024), `COMPUTE=bf16` multiplies weights in bf16. The shapes are those of the peers' side (`benches/peers`): `a`
//! 5.4 M parameters, batch 8×128; `b` SmolLM2-135M's, batch 2×128; `e` is `a` with 16 experts per layer, of which a token uses 2
//! that are half as wide: as much work per token.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod machine;

use std::ops::Range;
use std::time::Instant;

use lapidary_core::{Key, Purpose, TokenBatch, TokenGrads, TokenStats, Want};
use lapidary_engine::native::{Compute, Native};
use lapidary_engine::{Choose, Engine, Experts, Family, ModelConfig, Record, Router, SampleRequest, Update};
use machine::{bandwidth, fma_peak, usage};

fn shape(name: &str) -> (ModelConfig, usize, usize) {
    let small = ModelConfig {
        family: Family::Llama,
        vocabulary: 2048,
        hidden: 256,
        layers: 6,
        heads: 8,
        kv_heads: 4,
        head_width: 32,
        rotary_width: 32,
        feed_forward: 688,
        experts: None,
        context: 4096,
        rope_theta: 1e4,
        rope_scaling: None,
        norm_epsilon: 1e-5,
        qkv_bias: false,
        output_bias: false,
        qk_norm: false,
        tied: false,
        language_head: true,
        value_head: false,
        reward_head: false,
        bos: None,
        eos: vec![],
    };
    match name {
        "a" => (small, 8, 128),
        "e" => {
            let experts = Experts {
                count: 16,
                per_token: 2,
                feed_forward: small.feed_forward / 2,
                shared_feed_forward: 0,
                router: Router::Softmax,
                renormalise: true,
                scale: 1.0,
                dense_layers: vec![],
            };
            (ModelConfig { family: Family::Qwen3Moe, experts: Some(experts), ..small }, 8, 128)
        }
        _ => (
            ModelConfig {
                vocabulary: 49_152,
                hidden: 576,
                layers: 30,
                heads: 9,
                kv_heads: 3,
                head_width: 64,
                rotary_width: 64,
                feed_forward: 1536,
                experts: None,
                tied: true,
                ..small
            },
            2,
            128,
        ),
    }
}

/// A number from the environment.
fn environment(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// A measurement about to be taken.
struct Measured<'a> {
    what: &'a str,
    config: &'a ModelConfig,
    /// Tokens of one repetition.
    tokens: usize,
    /// FLOP of a token, where they are compared with the FMA peak.
    flops: f64,
    /// Bytes of weights that a token reads, where they are compared with the memory's bandwidth.
    bytes: f64,
    /// Seconds of a round.
    seconds: f64,
}

/// The precision of products with weights: `COMPUTE=bf16`, else f32.
fn compute() -> Compute {
    if std::env::var("COMPUTE").is_ok_and(|value| value == "bf16") { Compute::Bf16 } else { Compute::F32 }
}

fn measure(m: Measured<'_>, mut work: impl FnMut()) {
    work();
    let mut rates = Vec::new();
    let mut fma = Vec::new();
    for _ in 0..environment("ROUNDS", 5) {
        fma.push(if m.flops > 0.0 { fma_peak() } else { 0.0 });
        let (wall, (cpu, _)) = (Instant::now(), usage());
        let mut steps = 0;
        while wall.elapsed().as_secs_f64() < m.seconds {
            work();
            steps += 1;
        }
        let n = (m.tokens * steps) as f64;
        rates.push((n / (usage().0 - cpu), n / wall.elapsed().as_secs_f64()));
    }
    rates.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (cpu, wall) = rates[rates.len() / 2];
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let mut line = format!(
        "{{\"what\":\"{}\",\"parameters\":{},\"tokens\":{},\"cpu\":{cpu:.1},\"low\":{:.1},\"high\":{:.1},\"wall\":{wall:.1},\"mib\":{}",
        m.what,
        m.config.parameters(),
        m.tokens,
        rates[0].0,
        rates[rates.len() - 1].0,
        usage().1,
    );
    if m.flops > 0.0 {
        let (gflops, peak) = (m.flops * cpu / 1e9, median(fma));
        line += &format!(",\"gflops\":{gflops:.1},\"fma_peak\":{peak:.1},\"fma_share\":{:.3}", gflops / peak);
    }
    if m.bytes > 0.0 {
        let (read, peak) = (m.bytes * cpu / 1e9, median((0..3).map(|_| bandwidth()).collect()));
        line += &format!(",\"gb_per_s\":{read:.2},\"bandwidth\":{peak:.2},\"bandwidth_share\":{:.3}", read / peak);
    }
    println!("{line}}}");
}

/// Parameters that a token is multiplied with: the embedding's lookup is left out.
fn multiplied(config: &ModelConfig) -> f64 {
    let embedding = if config.tied { 0 } else { config.vocabulary * config.hidden };
    (config.active_parameters() - embedding) as f64
}

/// Forward, backward and AdamW on rows of `length` + 1 tokens.
fn train(what: &str, config: &ModelConfig, rows: usize, length: usize, threads: usize, seconds: f64) {
    let mut native = Native::initialise(config.clone(), 1, threads).unwrap();
    native.compute_in(compute());
    let batch = TokenBatch::all(
        (0..rows).map(|r| (0..=length).map(|t| ((r * length + t) * 7919 % config.vocabulary) as u32).collect()),
    );
    let n = (rows * length) as f32;
    let measured =
        Measured { what, config, tokens: rows * length, flops: 6.0 * multiplied(config), bytes: 0.0, seconds };
    measure(measured, || {
        let scored = &batch.scored;
        let objective = &mut |_: &TokenStats| {
            Ok(TokenGrads { logp: scored.map(|s| if *s { -1.0 / n } else { 0.0 }), ..Default::default() })
        };
        native.accumulate(&batch, Want::default(), objective).unwrap();
        native.step(&adamw(1e-4)).unwrap();
    });
}

/// Greedy tokens after prompts of `prompt` tokens.
fn decode(what: &str, config: &ModelConfig, batch: usize, prompt: usize, new: usize, threads: usize, seconds: f64) {
    let vocabulary = config.vocabulary;
    let mut native = Native::initialise(config.clone(), 1, threads).unwrap();
    native.compute_in(compute());
    let requests: Vec<SampleRequest> = (0..batch)
        .map(|r| SampleRequest {
            prompt: (0..prompt).map(|t| ((r * prompt + t) * 7919 % vocabulary) as u32).collect(),
            samples: 1,
            max_new_tokens: new,
            choose: Choose::Greedy,
            stop_tokens: vec![],
            key: Key::new(1, Purpose::Generate).at(r as u64),
            record: Record::default(),
        })
        .collect();
    // One sequence reads every weight per token.
    let width = if compute() == Compute::Bf16 { 2.0 } else { 4.0 };
    let bytes = if batch == 1 { width * multiplied(config) } else { 0.0 };
    let measured = Measured { what, config, tokens: batch * new, flops: 0.0, bytes, seconds };
    measure(measured, || {
        std::hint::black_box(native.sample(&requests, &|_| ()).unwrap());
    });
}

/// How the cost grows along one axis at a time, from the shape `a`; lines `growth AXIS X train|decode`.
fn growth(threads: usize) {
    let (a, _, _) = shape("a");
    let point = |axis: &str, x: usize, config: &ModelConfig, rows: usize, length: usize| {
        train(&format!("growth {axis} {x} train"), config, rows, length, threads, 0.4);
        decode(&format!("growth {axis} {x} decode"), config, rows, 16.min(length), length, threads, 0.4);
    };
    for hidden in [64, 128, 256, 384, 512] {
        let config = ModelConfig { hidden, heads: hidden / 32, kv_heads: hidden / 64, ..a.clone() };
        let config = ModelConfig { feed_forward: hidden * 43 / 16, ..config };
        point("parameters", config.parameters(), &config, 8, 64);
    }
    for batch in [1, 2, 4, 8, 16, 32, 64] {
        point("batch", batch, &a, batch, 64);
    }
    for length in [32, 64, 128, 256, 512, 1024] {
        point("length", length, &a, 2, length);
    }
    for vocabulary in [256, 1024, 4096, 16_384, 65_536] {
        point("vocabulary", vocabulary, &ModelConfig { vocabulary, ..a.clone() }, 8, 32);
    }
    let (e, _, _) = shape("e");
    for count in [2, 4, 8, 16, 32] {
        let experts = e.experts.clone().map(|experts| Experts { count, ..experts });
        point("experts", count, &ModelConfig { experts, ..e.clone() }, 8, 64);
    }
}

/// A GRPO step as TRL's side does it.
#[derive(Clone, Copy)]
struct Step {
    prompts: usize,
    group: usize,
    prompt: usize,
    completion: usize,
    /// Tokens of a micro-batch, as `tokens_per_microbatch` of a recipe; the gradient is the same bits for any.
    microbatch: usize,
}

/// Samples every prompt, learns from all samples, one update.
fn grpo(step: Step, threads: usize) {
    let (config, _, _) = shape("a");
    let config = ModelConfig { feed_forward: 704, tied: true, family: Family::Qwen2, qkv_bias: true, ..config };
    let mut native = Native::initialise(config, 1, threads).unwrap();
    let isa = native.isa().name();
    let Step { prompts, group, prompt, completion, .. } = step;
    let what = format!("grpo {prompts} x {group}, {prompt} + {completion} tokens, {isa} threads {threads}");
    let mut count = 0;
    let config = native.model().clone();
    let tokens = prompts * group * completion;
    let measured = Measured { what: &what, config: &config, tokens, flops: 0.0, bytes: 0.0, seconds: 1.0 };
    measure(measured, || {
        count += 1;
        let batch = rollouts(&native, step, count);
        let n = (prompts * group * completion) as f32;
        for rows in microbatches(&batch, step.microbatch) {
            let part = batch.select(&rows.clone().collect::<Vec<_>>());
            native
                .accumulate(&part, Want::ENTROPY, &mut |stats| {
                    // Advantages of both signs; at the first update every ratio is 1.
                    let mut logp = stats.logp.like(0.0f32);
                    for row in 0..logp.rows() {
                        let advantage = if (rows.start + row) % 2 == 0 { 1.0 } else { -1.0 };
                        for (grad, scored) in logp.row_mut(row).iter_mut().zip(part.scored.row(row)) {
                            *grad = if *scored { -advantage / n } else { 0.0 };
                        }
                    }
                    Ok(TokenGrads { logp, entropy: None, ..Default::default() })
                })
                .unwrap();
        }
        native.step(&adamw(1e-3)).unwrap();
    });
}

/// The samples of a step, prompt and completion in a row each.
fn rollouts(native: &Native, step: Step, count: usize) -> TokenBatch {
    let vocabulary = native.model().vocabulary;
    let requests: Vec<SampleRequest> = (0..step.prompts)
        .map(|r| SampleRequest {
            prompt: (0..step.prompt).map(|t| ((r * step.prompt + t + count) * 7919 % vocabulary) as u32).collect(),
            samples: step.group,
            max_new_tokens: step.completion,
            choose: Choose::Draw { temperature: 1.0, top_k: 0, top_p: 1.0 },
            stop_tokens: vec![],
            key: Key::new(1, Purpose::Sample).at(count as u64).at(r as u64),
            record: Record::default(),
        })
        .collect();
    let mut batch = TokenBatch::default();
    for (request, samples) in requests.iter().zip(native.sample(&requests, &|_| ()).unwrap()) {
        for sample in samples {
            let tokens = [request.prompt.as_slice(), &sample.tokens].concat();
            let scored: Vec<bool> = (0..tokens.len()).map(|t| t >= step.prompt).collect();
            batch.push(&tokens, &scored, 1.0);
        }
    }
    batch
}

/// Whole groups in order, as the trainer cuts them.
fn microbatches(batch: &TokenBatch, budget: usize) -> Vec<Range<usize>> {
    let mut out: Vec<(Range<usize>, usize)> = Vec::new();
    for group in batch.groups() {
        let size = batch.tokens_of(&group);
        match out.last_mut() {
            Some((rows, sum)) if *sum + size <= budget => (rows.end, *sum) = (group.rows.end, *sum + size),
            _ => out.push((group.rows, size)),
        }
    }
    out.into_iter().map(|(rows, _)| rows).collect()
}

fn train_shape(name: &str, threads: usize) {
    let (config, rows, length) = shape(name);
    train(&format!("train {name}, threads {threads}"), &config, rows, length, threads, 1.0);
}

fn decode_shape(name: &str, batch: usize, threads: usize) {
    let (config, _, _) = shape(name);
    let new = if name == "b" { 48 } else { 128 };
    decode(&format!("decode {name} {batch}, threads {threads}"), &config, batch, 16, new, threads, 1.0);
}

fn adamw(learning_rate: f64) -> Update {
    Update {
        learning_rate,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.01,
        decay_all: true,
        max_grad_norm: Some(1.0),
        optimizer: 0,
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|w| !w.starts_with("--")).collect();
    let threads = environment("THREADS", 1);
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["train", name] => train_shape(name, threads),
        ["growth"] => growth(threads),
        ["grpo", ref rest @ ..] => {
            let number = |at: usize, default| rest.get(at).map_or(default, |word| word.parse().unwrap());
            let (prompts, group, prompt, completion) = (number(0, 8), number(1, 8), number(2, 32), number(3, 64));
            grpo(Step { prompts, group, prompt, completion, microbatch: environment("MICROBATCH", 1024) }, threads);
        }
        ["decode", name, batch] => decode_shape(name, batch.parse().unwrap(), threads),
        _ => {
            train_shape("a", threads);
            for batch in [1, 16, 64] {
                decode_shape("a", batch, threads);
            }
        }
    }
}
