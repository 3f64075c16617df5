//! Whole steps of the native engine: `cargo bench -p lapidary-engine --bench steps [-- train a|b|e | decode a|b|e BATCH | grpo [PROMPTS GROUP PROMPT COMPLETION]]`.
//!
//! Prints one JSON line per measurement: tokens per wall second and per CPU second of this process, peak memory, and for
//! training GFLOP/s beside the FMA peak measured in between. `THREADS` sets the threads (default 1), `ROUNDS` the measured repetitions (default 5). The shapes
//! are those of the peers' side (`benches/peers`): `a` 5.4 M parameters, batch 8×128; `b` SmolLM2-135M's, batch 2×128. `e` is `a` with 16
//! experts per layer, of which a token uses 2 that are half as wide: as much work per token.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod machine;

use std::ops::Range;
use std::time::Instant;

use lapidary_core::{Key, Purpose, TokenBatch, TokenGrads, Want};
use lapidary_engine::native::Native;
use lapidary_engine::{Choose, Engine, Experts, Family, ModelConfig, Record, Router, SampleRequest, Update};
use machine::{fma_peak, usage};

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

fn measure(what: &str, tokens: usize, flops: f64, mut work: impl FnMut()) {
    work();
    let mut rates = Vec::new();
    let mut peaks = Vec::new();
    for _ in 0..environment("ROUNDS", 5) {
        peaks.push(fma_peak());
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
    let flops = 6.0 * (config.active_parameters() - embedding) as f64 * (rows * length) as f64;
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
                Ok(TokenGrads {
                    logp: scored.map(|s| if *s { -1.0 / n } else { 0.0 }),
                    entropy: None,
                    ..Default::default()
                })
            })
            .unwrap();
        native.step(&adamw(1e-4)).unwrap();
    });
}

fn decode(name: &str, batch: usize, threads: usize) {
    let (config, _, _) = shape(name);
    let vocabulary = config.vocabulary;
    let native = Native::initialise(config, 1, threads).unwrap();
    let new = if name == "b" { 48 } else { 128 };
    let requests: Vec<SampleRequest> = (0..batch)
        .map(|r| SampleRequest {
            prompt: (0..16).map(|t| ((r * 16 + t) * 7919 % vocabulary) as u32).collect(),
            samples: 1,
            max_new_tokens: new,
            choose: Choose::Greedy,
            stop_tokens: vec![],
            key: Key::new(1, Purpose::Generate).at(r as u64),
            record: Record::default(),
        })
        .collect();
    let isa = native.isa().name();
    measure(&format!("decode {name} {isa} batch {batch} threads {threads}"), batch * new, 0.0, || {
        std::hint::black_box(native.sample(&requests, &|_| ()).unwrap());
    });
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
    let (isa, parameters) = (native.isa().name(), native.model().parameters());
    let Step { prompts, group, prompt, completion, .. } = step;
    let what = format!(
        "grpo {parameters} parameters, {prompts} x {group}, {prompt} + {completion} tokens, {isa} threads {threads}"
    );
    let mut count = 0;
    measure(&what, prompts * group * completion, 0.0, || {
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

fn adamw(learning_rate: f64) -> Update {
    Update {
        learning_rate,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.01,
        decay_all: true,
        max_grad_norm: Some(1.0),
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|w| !w.starts_with("--")).collect();
    let threads = environment("THREADS", 1);
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["train", name] => train(name, threads),
        ["grpo", ref rest @ ..] => {
            let number = |at: usize, default| rest.get(at).map_or(default, |word| word.parse().unwrap());
            let (prompts, group, prompt, completion) = (number(0, 8), number(1, 8), number(2, 32), number(3, 64));
            grpo(Step { prompts, group, prompt, completion, microbatch: environment("MICROBATCH", 2048) }, threads);
        }
        ["decode", name, batch] => decode(name, batch.parse().unwrap(), threads),
        _ => {
            train("a", threads);
            for batch in [1, 16, 64] {
                decode("a", batch, threads);
            }
        }
    }
}
