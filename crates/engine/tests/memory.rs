//! What learning takes, counted by the allocator, beside what the engine says it takes.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use lapidary_core::{TokenBatch, TokenGrads, Want};
use lapidary_engine::native::{Footprint, Native};
use lapidary_engine::{Engine, Family, ModelConfig, Update};

/// Counts the bytes that live, and their peak.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn config() -> ModelConfig {
    ModelConfig {
        family: Family::Qwen3,
        vocabulary: 512,
        hidden: 128,
        layers: 4,
        heads: 4,
        kv_heads: 2,
        head_width: 32,
        rotary_width: 32,
        feed_forward: 352,
        experts: None,
        context: 512,
        rope_theta: 1e4,
        rope_scaling: None,
        norm_epsilon: 1e-5,
        qkv_bias: false,
        output_bias: false,
        qk_norm: true,
        tied: true,
        language_head: true,
        value_head: false,
        reward_head: false,
        bos: None,
        eos: vec![],
    }
}

/// Bytes at the peak of learning from one batch of `rows` × 128 tokens.
fn peak_of_learning(rows: u32, limit: Option<usize>) -> usize {
    let start = LIVE.load(Ordering::Relaxed);
    let mut native = Native::initialise(config(), 1, 1).unwrap();
    native.limit_memory(limit);
    let batch = TokenBatch::all((0..rows).map(|r| (0..128).map(|t| (t * 7 + r * 31) % 512).collect()));
    PEAK.store(LIVE.load(Ordering::Relaxed), Ordering::Relaxed);
    let objective =
        &mut |stats: &lapidary_core::TokenStats| Ok(TokenGrads { logp: stats.logp.clone(), ..Default::default() });
    native.accumulate(&batch, Want::default(), objective).unwrap();
    let update = Update {
        learning_rate: 1e-3,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-8,
        weight_decay: 0.0,
        decay_all: false,
        max_grad_norm: None,
        optimizer: 0,
    };
    native.step(&update).unwrap();
    PEAK.load(Ordering::Relaxed) - start
}

#[test]
fn learning_takes_what_the_footprint_says_and_keeps_a_limit() {
    let footprint = Footprint::of(&config(), 1);
    let tokens = 24 * 128;
    for (limit, said) in
        [(None, footprint.peak(tokens, false)), (Some(footprint.peak(tokens, false) - 1), footprint.peak(tokens, true))]
    {
        let taken = peak_of_learning(24, limit);
        let ratio = taken as f64 / said as f64;
        assert!((0.85..1.1).contains(&ratio), "took {taken} bytes, {said} were said ({ratio:.2})");
    }
    // A quarter of the activations: learned from in parts.
    let limit = footprint.peak(tokens / 4, false);
    let taken = peak_of_learning(24, Some(limit));
    assert!(taken < limit + limit / 10, "took {taken} bytes of {limit}");
    assert!(peak_of_learning(24, None) > limit + limit / 2, "the limit binds");
}
