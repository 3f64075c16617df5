//! Products with weights in bf16 keep every promise that those in f32 keep.

use super::sharing::rollouts;
use super::*;

fn open_half(family: &str, threads: usize) -> Native {
    let mut native = open(family, threads);
    native.compute_in(Compute::Bf16);
    native
}

#[test]
fn sampled_scored_and_trained_tokens_have_the_same_bits_in_bf16() {
    for family in FAMILIES {
        for isa in Isa::available() {
            let mut native = open_half(family, 2);
            native.use_isa(isa);
            let (batch, said) = rollouts(&native, 0.7);
            let check = |stats: &TokenStats| {
                for (row, said) in said.iter().enumerate() {
                    let all = stats.logp.row(row);
                    assert_eq!(&bits(&all[all.len() - said.len()..]), said, "{family} {isa:?} row {row}");
                }
            };
            check(&native.score(&batch, ENTROPY).unwrap());
            for (row, said) in said.iter().enumerate() {
                let alone = native.score(&batch.select(&[row]), Want::default()).unwrap();
                let first = alone.logp.values() - said.len();
                assert_eq!(&bits(&alone.logp.flat()[first..]), said, "{family} row {row} alone");
            }
            let objective = &mut |stats: &TokenStats| {
                check(stats);
                Ok(TokenGrads { logp: stats.logp.like(0.0), ..Default::default() })
            };
            native.accumulate(&batch, ENTROPY, objective).unwrap();
        }
    }
}

/// Log-probabilities before, and weights after, two steps.
fn learned(mut native: Native) -> (Vec<f32>, Vec<f32>) {
    let batch = Expected::of("qwen3").batch();
    let before = native.score(&batch, Want::default()).unwrap().logp.flat().to_vec();
    for _ in 0..2 {
        native.accumulate(&batch, ENTROPY, &mut |stats| Ok(mean_nll(stats, &batch).1)).unwrap();
        native.step(&adamw()).unwrap();
    }
    (before, native.flat)
}

#[test]
fn learning_in_bf16_is_the_same_on_any_threads_and_close_to_f32() {
    let (logp, weights) = learned(open("qwen3", 1));
    let (half_logp, half_weights) = learned(open_half("qwen3", 1));
    assert_eq!(bits(&half_weights), bits(&learned(open_half("qwen3", 3)).1));
    assert_ne!(bits(&logp), bits(&half_logp), "rounding does something");
    let worst = logp.iter().zip(&half_logp).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Eight bits of precision on logits of up to about 20.
    assert!(worst < 0.15, "log-probabilities differ by {worst}");
    // Two steps of AdamW at 1e-3 move a weight by at most 2e-3, and most of them the same way.
    let same = weights.iter().zip(&half_weights).filter(|(a, b)| (*a - *b).abs() < 5e-4).count();
    assert!(same * 10 > 9 * weights.len(), "{same} of {}", weights.len());
}

#[test]
fn a_step_and_a_restored_model_renew_the_rounded_weights() {
    let batch = Expected::of("llama").batch();
    let directory = tempfile::tempdir().unwrap();
    let mut native = open_half("llama", 1);
    let first = native.score(&batch, Want::default()).unwrap();
    native.save_model(directory.path()).unwrap();
    native.save_optimizer(directory.path()).unwrap();
    native.accumulate(&batch, ENTROPY, &mut |stats| Ok(mean_nll(stats, &batch).1)).unwrap();
    native.step(&adamw()).unwrap();
    let second = native.score(&batch, Want::default()).unwrap();
    assert_ne!(first, second);
    let mut fresh = open_half("llama", 1);
    fresh.flat.clone_from(&native.flat);
    assert_eq!(fresh.score(&batch, Want::default()).unwrap(), second, "the master weights say the same");
    native.restore(directory.path(), directory.path()).unwrap();
    assert_eq!(native.score(&batch, Want::default()).unwrap(), first);
}
