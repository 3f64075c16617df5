//! The native engine against Hugging Face's numbers, finite differences, and its own promises of exactness.

use std::path::PathBuf;

use safetensors::SafeTensors;

use super::*;
use crate::{Choose, Family};
use lapidary_core::Ragged;

mod bf16;
mod decay;
mod experts;
mod heads;
mod lora;
mod sharing;
mod statistics;

fn golden(family: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(family)
}

/// What Hugging Face computed for a golden model (see the golden folder's README).
struct Expected {
    bytes: Vec<u8>,
}

impl Expected {
    fn of(family: &str) -> Self {
        Self { bytes: std::fs::read(golden(family).join("expected.safetensors")).unwrap() }
    }

    fn get(&self, name: &str) -> Vec<f64> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = file.tensor(name).unwrap_or_else(|_| panic!("{name}"));
        let data = tensor.data();
        match tensor.dtype() {
            safetensors::Dtype::F32 => {
                data.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
            }
            safetensors::Dtype::F64 => {
                data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
            }
            safetensors::Dtype::I32 => {
                data.chunks_exact(4).map(|b| f64::from(i32::from_le_bytes(b.try_into().unwrap()))).collect()
            }
            safetensors::Dtype::I64 => {
                data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect()
            }
            other => panic!("{name} is {other:?}"),
        }
    }

    fn batch(&self) -> TokenBatch {
        let (ids, lengths) = (self.get("input_ids"), self.get("lengths"));
        let width = ids.len() / lengths.len();
        TokenBatch::all(
            lengths
                .iter()
                .enumerate()
                .map(|(i, n)| ids[i * width..][..*n as usize].iter().map(|x| *x as u32).collect()),
        )
    }
}

/// One model of each family, then those that carry a feature besides.
const FAMILIES: [&str; 8] =
    ["llama", "qwen2", "qwen3", "qwen3_moe", "glm4_moe", "llama_bias", "qwen3_moe_mixed", "glm4_moe_groups"];
const ENTROPY: Want = Want::ENTROPY;

fn open(family: &str, threads: usize) -> Native {
    Native::open(&golden(family), threads).unwrap()
}

/// Mean negative log-probability over all scored tokens.
fn mean_nll(stats: &TokenStats, batch: &TokenBatch) -> (f64, TokenGrads) {
    let n = batch.scored.flat().iter().filter(|s| **s).count() as f64;
    let loss = -stats.logp.flat().iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let logp = batch.scored.map(|s| if *s { (-1.0 / n) as f32 } else { 0.0 });
    (loss, TokenGrads { logp, entropy: None, ..Default::default() })
}

fn adamw() -> Update {
    Update {
        learning_rate: 1e-3,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.01,
        decay_all: true,
        max_grad_norm: None,
        optimizer: 0,
    }
}

fn close(name: &str, got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{name}");
    let (mut difference, mut norm) = (0.0, 0.0);
    for (g, w) in got.iter().zip(want) {
        difference += (f64::from(*g) - w).powi(2);
        norm += w * w;
    }
    let relative = (difference / norm.max(1e-30)).sqrt();
    assert!(relative <= tolerance, "{name}: relative error {relative:.2e}");
}

#[test]
fn log_probabilities_and_entropies_are_hugging_faces() {
    for family in FAMILIES {
        let expected = Expected::of(family);
        let batch = expected.batch();
        let (logp, entropy) = (expected.get("logp"), expected.get("entropy"));
        let width = logp.len() / batch.tokens.rows();
        for isa in Isa::available() {
            let mut native = open(family, 1);
            native.use_isa(isa);
            let stats = native.score(&batch, ENTROPY).unwrap();
            for row in 0..batch.tokens.rows() {
                for t in 1..batch.tokens.len_of(row) {
                    let at = row * width + t - 1;
                    let got = (f64::from(stats.logp.row(row)[t]), f64::from(stats.entropy.row(row)[t]));
                    assert!((got.0 - logp[at]).abs() < 1e-5, "{family} {isa:?} logp {row},{t}: {} {}", got.0, logp[at]);
                    assert!((got.1 - entropy[at]).abs() < 1e-5, "{family} {isa:?} entropy {row},{t}");
                }
            }
        }
    }
}

#[test]
fn every_gradient_is_hugging_faces() {
    for family in FAMILIES {
        let expected = Expected::of(family);
        let batch = expected.batch();
        for isa in Isa::available() {
            let mut native = open(family, 1);
            native.use_isa(isa);
            let mut loss = 0.0;
            native
                .accumulate(&batch, Want::default(), &mut |stats| {
                    let (value, grads) = mean_nll(stats, &batch);
                    loss = value;
                    Ok(grads)
                })
                .unwrap();
            assert!((loss - expected.get("loss")[0]).abs() < 1e-6, "{family} {loss}");
            for spec in native.model().tensors().into_iter().filter(|spec| !spec.is_buffer()) {
                let want = expected.get(&format!("grad.{}", spec.name));
                close(&format!("{family} {isa:?} {}", spec.name), &native.gradient(&spec.name), &want, 1e-5);
            }
        }
    }
}

#[test]
fn ten_steps_of_adamw_are_hugging_faces() {
    for family in FAMILIES {
        let expected = Expected::of(family);
        let batch = expected.batch();
        let mut native = open(family, 2);
        for (step, want) in expected.get("losses10").into_iter().enumerate() {
            let mut loss = 0.0;
            native
                .accumulate(&batch, Want::default(), &mut |stats| {
                    let (value, grads) = mean_nll(stats, &batch);
                    loss = value;
                    Ok(grads)
                })
                .unwrap();
            assert!((loss - want).abs() < 1e-4, "{family} step {step}: {loss} {want}");
            native.step(&adamw()).unwrap();
        }
    }
}

#[test]
fn greedy_tokens_are_hugging_faces() {
    for family in FAMILIES {
        let expected = Expected::of(family);
        let greedy: Vec<u32> = expected.get("greedy").iter().map(|x| *x as u32).collect();
        let native = open(family, 1);
        let out = native.sample(&[request(greedy[..6].to_vec(), 1, 12, Choose::Greedy)], &|_| ()).unwrap();
        let margins = expected.get("greedy_margin");
        for (i, (got, want)) in out[0][0].tokens.iter().zip(&greedy[6..]).enumerate() {
            assert_eq!(got, want, "{family} token {i}, margin {}", margins[i]);
        }
    }
}

fn request(prompt: Vec<u32>, samples: usize, max_new_tokens: usize, choose: Choose) -> SampleRequest {
    SampleRequest {
        prompt,
        samples,
        max_new_tokens,
        choose,
        stop_tokens: vec![2],
        key: Key::new(5, Purpose::Sample),
        record: crate::Record::default(),
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// Prompts of many lengths around the sizes of panels and blocks.
fn requests(temperature: f32) -> Vec<SampleRequest> {
    [1, 2, 15, 16, 17, 31, 32, 33, 48, 49, 70, 97]
        .into_iter()
        .enumerate()
        .map(|(i, n)| SampleRequest {
            prompt: (0..n).map(|t| (t * 7 + i * 13 + 3) as u32 % 128).collect(),
            samples: 1 + i % 5,
            max_new_tokens: 10 + 3 * i,
            choose: Choose::Draw { temperature, top_k: 0, top_p: 1.0 },
            stop_tokens: vec![2],
            key: Key::new(9, Purpose::Sample).at(i as u64),
            record: crate::Record::default(),
        })
        .collect()
}

#[test]
fn a_sampled_token_has_the_same_bits_in_sampling_scoring_and_training() {
    for family in FAMILIES {
        for isa in Isa::available() {
            for temperature in [1.0, 0.7] {
                let mut native = open(family, 2);
                native.use_isa(isa);
                let requests = requests(temperature);
                let sampled = native.sample(&requests, &|_| ()).unwrap();
                let mut batch = TokenBatch::default();
                let mut expected = Vec::new();
                for (request, group) in requests.iter().zip(&sampled) {
                    assert_eq!(group.len(), request.samples);
                    for sample in group {
                        let tokens: Vec<u32> = request.prompt.iter().chain(&sample.tokens).copied().collect();
                        let scored: Vec<bool> = (0..tokens.len()).map(|t| t >= request.prompt.len()).collect();
                        batch.push(&tokens, &scored, temperature);
                        expected.push(bits(&sample.logp));
                    }
                }
                let check = |stats: &TokenStats, rows: &[usize], what: &str| {
                    for (i, &row) in rows.iter().enumerate() {
                        let n = expected[row].len();
                        let all = stats.logp.row(i);
                        assert_eq!(bits(&all[all.len() - n..]), expected[row], "{family} {isa:?} {what} row {row}");
                    }
                };
                let all: Vec<usize> = (0..batch.tokens.rows()).collect();
                check(&native.score(&batch, ENTROPY).unwrap(), &all, "scored together");
                for row in &all {
                    check(&native.score(&batch.select(&[*row]), Want::default()).unwrap(), &[*row], "scored alone");
                }
                let reversed: Vec<usize> = all.iter().rev().copied().collect();
                native
                    .accumulate(&batch.select(&reversed), ENTROPY, &mut |stats| {
                        check(stats, &reversed, "trained");
                        Ok(TokenGrads { logp: stats.logp.like(0.0), entropy: None, ..Default::default() })
                    })
                    .unwrap();
            }
        }
    }
}

/// Gradient of a made-up objective that uses log-probabilities and entropies, accumulated over the given micro-batches.
fn gradients(family: &str, threads: usize, splits: &[&[usize]]) -> Vec<Vec<u32>> {
    let batch = Expected::of(family).batch();
    let mut native = open(family, threads);
    for rows in splits {
        native
            .accumulate(&batch.select(rows), ENTROPY, &mut |stats| {
                Ok(TokenGrads {
                    logp: stats.logp.map(|x| x * 0.1),
                    entropy: Some(stats.entropy.map(|x| if *x > 0.0 { 0.03 } else { 0.0 })),
                    ..Default::default()
                })
            })
            .unwrap();
    }
    let mut out: Vec<_> = native.model().tensors().iter().map(|s| bits(&native.gradient(&s.name))).collect();
    native.step(&adamw()).unwrap();
    out.extend(native.model().tensors().iter().map(|s| {
        let len = s.shape.iter().product();
        bits(&native.tensor(&native.flat, 0, &s.name, len))
    }));
    out
}

#[test]
fn threads_and_micro_batches_do_not_change_a_bit() {
    for family in FAMILIES {
        let whole = gradients(family, 1, &[&[0, 1, 2]]);
        assert_eq!(whole, gradients(family, 2, &[&[0, 1, 2]]), "{family}: two threads");
        assert_eq!(whole, gradients(family, 4, &[&[0], &[1, 2]]), "{family}: two micro-batches, four threads");
        assert_eq!(whole, gradients(family, 1, &[&[0], &[1], &[2]]), "{family}: three micro-batches");
        assert_ne!(whole, gradients(family, 1, &[&[0, 1]]), "the comparison can fail");
    }
}

#[test]
fn logits_that_are_not_kept_are_computed_again_with_the_same_bits() {
    let batch = Expected::of("llama").batch();
    let native = open("llama", 1);
    let rope = native.rope(longest(&batch));
    let net = native.net(&rope);
    let rows = Rows::of(&batch, false);
    let targets = Targets::of(&batch, &rows);
    let mut tape = Tape::default();
    net.forward(&native.threads, &rows, Keep::All, &mut tape);
    let mut kept = Vec::new();
    let first = net.statistics(&native.threads, &targets, &tape.stream, ENTROPY, &mut Vec::new(), Some(&mut kept));
    let answer = |(d, logp): &(net::Distribution, f32)| backward::Target {
        distribution: *d,
        logp: *logp,
        entropy: 0.1,
        value: 0.0,
    };
    let answers = Answers { targets: first.iter().map(answer).collect(), rewards: None };
    let run = |logits: Option<&mut Vec<f32>>| {
        let mut tape = Tape::default();
        net.forward(&native.threads, &rows, Keep::All, &mut tape);
        let mut gradient = Gradient { flat: vec![0.0; native.layout.learned.len()], ..Gradient::default() };
        let work = &mut Work::default();
        net.backward(&native.threads, &rows, &targets, &answers, &mut tape, logits, work, &mut gradient);
        bits(&gradient.flat)
    };
    assert_eq!(run(Some(&mut kept)), run(None));
}

fn tiny() -> ModelConfig {
    ModelConfig {
        family: Family::Llama,
        vocabulary: 40,
        hidden: 24,
        layers: 2,
        heads: 3,
        kv_heads: 1,
        head_width: 8,
        rotary_width: 8,
        feed_forward: 20,
        experts: None,
        context: 64,
        rope_theta: 1e4,
        rope_scaling: None,
        norm_epsilon: 1e-5,
        qkv_bias: true,
        output_bias: false,
        qk_norm: true,
        tied: true,
        language_head: true,
        value_head: false,
        reward_head: false,
        bos: Some(1),
        eos: vec![2],
    }
}

#[test]
fn derivatives_agree_with_finite_differences() {
    let mut native = Native::initialise(tiny(), 3, 1).unwrap();
    // Larger weights than a fresh model's, so that nothing is nearly linear.
    native.flat.iter_mut().for_each(|w| *w *= 4.0);
    let mut batch = TokenBatch::default();
    batch.push(&[1, 5, 9, 11, 3, 2], &[false, false, true, true, true, true], 0.8);
    batch.push(&[4, 4, 17], &[false, true, true], 1.3);
    let objective = |stats: &TokenStats| -> (f64, TokenGrads) {
        let weight = |i: usize| 0.3 + 0.2 * ((i * 7) % 5) as f64;
        let mut loss = 0.0;
        let (mut logp, mut entropy) = (stats.logp.like(0.0f32), stats.logp.like(0.0f32));
        for i in 0..stats.logp.values() {
            if stats.logp.flat()[i] != 0.0 {
                loss += weight(i) * f64::from(stats.logp.flat()[i]) - 0.5 * f64::from(stats.entropy.flat()[i]);
                logp.flat_mut()[i] = weight(i) as f32;
                entropy.flat_mut()[i] = -0.5;
            }
        }
        (loss, TokenGrads { logp, entropy: Some(entropy), ..Default::default() })
    };
    native.accumulate(&batch, ENTROPY, &mut |stats| Ok(objective(stats).1)).unwrap();
    native.assert_finite_differences(&|native| objective(&native.score(&batch, ENTROPY).unwrap()).0);
}

impl Native {
    /// Compares the accumulated gradient of every tensor with differences of `loss`.
    fn assert_finite_differences(&mut self, loss: &dyn Fn(&Native) -> f64) {
        let slots: Vec<(String, usize)> =
            self.learned_tensors().into_iter().map(|s| (s.name.clone(), s.size())).collect();
        for (name, len) in slots {
            let gradient = self.gradient(&name);
            let scale = gradient.iter().fold(0.0f32, |a, g| a.max(g.abs()));
            for index in (0..len).step_by(len.div_ceil(7)) {
                let values = self.tensor(&self.flat, 0, &name, len);
                let mut at = |delta: f32| -> f64 {
                    let mut moved = values.clone();
                    moved[index] += delta;
                    self.put(&name, &moved);
                    let loss = loss(self);
                    self.put(&name, &values);
                    loss
                };
                // Central differences of fourth order: f32 noise allows no small step, curvature no plain one.
                let h = 1e-3;
                let numeric = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / f64::from(12.0 * h);
                let error = (numeric - f64::from(gradient[index])).abs();
                assert!(error < 5e-3 * f64::from(scale) + 3e-3, "{name}[{index}]: {numeric} {}", gradient[index]);
            }
        }
    }

    fn put(&mut self, name: &str, values: &[f32]) {
        let mut flat = std::mem::take(&mut self.flat);
        for slot in self.layout.slots() {
            if let Some(part) = slot.parts().iter().find(|p| p.name == name) {
                slot.write(&mut flat, 0, part, values);
            }
        }
        self.flat = flat;
        self.halves.take();
    }
}

#[test]
fn a_gradient_that_is_not_finite_leaves_everything_as_it_was() {
    let batch = Expected::of("qwen2").batch();
    let mut native = open("qwen2", 1);
    let before = bits(&native.flat);
    native
        .accumulate(&batch, Want::default(), &mut |stats| {
            let mut grads = TokenGrads { logp: stats.logp.like(0.0), entropy: None, ..Default::default() };
            grads.logp.row_mut(0)[3] = f32::NAN;
            Ok(grads)
        })
        .unwrap();
    let problem = native.step(&adamw()).unwrap_err();
    assert_eq!(problem.kind(), Kind::Diverged);
    assert_eq!((bits(&native.flat), native.version()), (before, 0));
}

#[test]
fn one_sample_has_the_same_bits_on_any_number_of_threads() {
    // Wide enough that products are split.
    let config = ModelConfig { hidden: 256, feed_forward: 300, heads: 4, kv_heads: 2, head_width: 64, ..tiny() };
    let config = ModelConfig { rotary_width: 64, vocabulary: 700, ..config };
    let sampled = |threads: usize, samples: usize| {
        let native = Native::initialise(config.clone(), 3, threads).unwrap();
        assert!(native.layout.layers[0].matrices().iter().any(|matrix| matrix.at.len() > 1 << 16));
        let choose = Choose::Draw { temperature: 1.0, top_k: 0, top_p: 1.0 };
        let out = native.sample(&[request((0..37).collect(), samples, 20, choose)], &|_| ()).unwrap();
        out[0].iter().map(|sample| (sample.tokens.clone(), bits(&sample.logp))).collect::<Vec<_>>()
    };
    let one = sampled(1, 1);
    assert_eq!(one, sampled(2, 1));
    assert_eq!(one, sampled(5, 1));
    assert_eq!(sampled(5, 3), sampled(1, 3));
}

#[test]
fn what_cannot_be_computed_is_refused() {
    let native = open("llama", 1);
    let outside = native.score(&TokenBatch::all([vec![1, 500]]), Want::default()).unwrap_err();
    assert_eq!((outside.kind(), outside.code()), (Kind::Data, "N005"));
    let long = native.score(&TokenBatch::all([vec![1; 300]]), Want::default()).unwrap_err();
    assert_eq!(long.code(), "N004");
    let empty = native.sample(&[request(vec![], 1, 4, Choose::Greedy)], &|_| ()).unwrap_err();
    assert_eq!(empty.code(), "N003");
    let full = native.sample(&[request(vec![1; 256], 1, 4, Choose::Greedy)], &|_| ()).unwrap_err();
    assert_eq!(full.code(), "N004");
}

#[test]
fn a_row_without_scored_tokens_and_an_empty_batch_are_fine() {
    let mut native = open("llama", 2);
    let mut batch = TokenBatch::default();
    batch.push(&[1, 2, 3], &[false; 3], 1.0);
    batch.push(&[], &[], 1.0);
    let stats = native.score(&batch, ENTROPY).unwrap();
    assert_eq!(stats.logp, Ragged::from_flat(vec![0.0; 3], [3, 0]));
    native
        .accumulate(&batch, ENTROPY, &mut |s| {
            Ok(TokenGrads { logp: s.logp.like(0.0), entropy: None, ..Default::default() })
        })
        .unwrap();
    assert_eq!(native.step(&adamw()).unwrap().grad_norm, 0.0);
    assert!(native.sample(&[], &|_| ()).unwrap().is_empty());
}

#[test]
fn saved_and_restored_training_continues_with_the_same_bits() {
    for family in ["qwen3", "glm4_moe"] {
        let batch = Expected::of(family).batch();
        let learn = |native: &mut Native| {
            native.accumulate(&batch, Want::default(), &mut |stats| Ok(mean_nll(stats, &batch).1)).unwrap();
            native.step(&adamw()).unwrap()
        };
        let mut never_stopped = open(family, 1);
        let directory = tempfile::tempdir().unwrap();
        let mut resumed = open(family, 2);
        for _ in 0..3 {
            learn(&mut never_stopped);
        }
        never_stopped.save_model(directory.path()).unwrap();
        never_stopped.save_optimizer(directory.path()).unwrap();
        resumed.restore(directory.path(), directory.path()).unwrap();
        assert_eq!(resumed.version(), 3);
        for _ in 0..3 {
            assert_eq!(learn(&mut never_stopped), learn(&mut resumed));
        }
        assert_eq!(bits(&never_stopped.flat), bits(&resumed.flat));
        // The control: without the optimiser's state the bits differ.
        resumed.restore(directory.path(), directory.path()).unwrap();
        resumed.reset_optimizer();
        for _ in 0..3 {
            learn(&mut resumed);
        }
        assert_ne!(bits(&never_stopped.flat), bits(&resumed.flat));
    }
}

#[test]
fn optimizers_over_the_same_weights_know_nothing_of_each_other_and_are_all_resumed() {
    let batch = Expected::of("qwen3").batch();
    let learn = |native: &mut Native, optimizer: usize, factor: f32| {
        let objective = &mut |stats: &TokenStats| {
            let mut grads = mean_nll(stats, &batch).1;
            grads.logp.flat_mut().iter_mut().for_each(|grad| *grad *= factor);
            Ok(grads)
        };
        native.accumulate(&batch, Want::default(), objective).unwrap();
        native.step(&Update { optimizer, max_grad_norm: None, ..adamw() }).unwrap()
    };
    // The first step of an optimiser is that of a fresh one, whatever another one has met.
    let second_step = |first: usize, fresh: bool| {
        let mut native = open("qwen3", 1);
        learn(&mut native, first, 1e3);
        if fresh {
            native.reset_optimizer();
        }
        learn(&mut native, 0, 1.0);
        bits(&native.flat)
    };
    assert_eq!(second_step(1, false), second_step(1, true));
    assert_ne!(second_step(0, false), second_step(0, true));

    let (mut never_stopped, mut resumed) = (open("qwen3", 1), open("qwen3", 1));
    for step in 0..3 {
        learn(&mut never_stopped, step % 2, 1.0);
    }
    let directory = tempfile::tempdir().unwrap();
    never_stopped.save_model(directory.path()).unwrap();
    never_stopped.save_optimizer(directory.path()).unwrap();
    resumed.restore(directory.path(), directory.path()).unwrap();
    for optimizer in [1, 0, 2, 1] {
        assert_eq!(learn(&mut never_stopped, optimizer, 1.0), learn(&mut resumed, optimizer, 1.0));
    }
    assert_eq!(bits(&never_stopped.flat), bits(&resumed.flat));
    // The control: the second optimiser's steps taken with the first one's state.
    resumed.restore(directory.path(), directory.path()).unwrap();
    for _ in 0..4 {
        learn(&mut resumed, 0, 1.0);
    }
    assert_ne!(bits(&never_stopped.flat), bits(&resumed.flat));
}

#[test]
fn a_broken_optimizer_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut native = open("llama", 1);
    native.save_model(directory.path()).unwrap();
    native.save_optimizer(directory.path()).unwrap();
    let path = directory.path().join("optimizer.safetensors");
    let whole = std::fs::read(&path).unwrap();
    for cut in [0, 4, 12, whole.len() - 1] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert_eq!(native.restore(directory.path(), directory.path()).unwrap_err().kind(), Kind::Model, "{cut}");
    }
}
