//! Broken files: 2,000 mutants each of a small safetensors directory and a small GGUF file are read or refused, never more.

#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

mod fixtures;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use fixtures::{Gguf, golden, tensors};
use lapidary_core::{Key, Kind, Purpose};
use lapidary_engine::hf::Checkpoint;

const MUTANTS: u64 = 2_000;

/// One to four flipped bits, or a cut, or a run of one byte. Half of them fall into the header, where structure is.
fn mutate(original: &[u8], header: usize, key: Key) -> Vec<u8> {
    let mut bytes = original.to_vec();
    let within = if key.at(0).below(2) == 0 { header } else { bytes.len() };
    let place = |coordinate: u64| key.at(1).at(coordinate).below(within as u64) as usize;
    match key.at(2).below(8) {
        0 => bytes.truncate(place(0)),
        1 => {
            let start = place(0);
            let end = (start + key.at(3).between(1, 16) as usize).min(bytes.len());
            bytes[start..end].fill([0, 0xff, b'9', b'"'][key.at(4).below(4) as usize]);
        }
        _ => {
            for flip in 0..key.at(3).between(1, 4) as u64 {
                bytes[place(flip)] ^= 1 << key.at(4).at(flip).below(8);
            }
        }
    }
    bytes
}

/// Writes mutants to `file`, opens `model` and reads every tensor. Counts those that could still be read.
fn survivors(model: &Path, file: &Path, header: usize, seed: u64) -> u64 {
    let original = std::fs::read(file).unwrap();
    let mut read = 0;
    for number in 0..MUTANTS {
        std::fs::write(file, mutate(&original, header, Key::new(seed, Purpose::Task).at(number))).unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let checkpoint = Checkpoint::open(model)?;
            checkpoint.config.tensors().iter().try_for_each(|spec| checkpoint.read(spec).map(drop))
        }));
        match outcome {
            Err(_) => panic!("mutant {number} of seed {seed} panics"),
            Ok(Ok(())) => read += 1,
            Ok(Err(problem)) => {
                assert_eq!(problem.kind(), Kind::Model, "mutant {number}: {problem:?}");
                assert!(!problem.message().is_empty());
            }
        }
    }
    read
}

/// Flipped bits of weights cannot be noticed, those of structure must be: both kinds of outcome are there.
fn assert_mixed(read: u64) {
    assert!((MUTANTS / 10..MUTANTS * 9 / 10).contains(&read), "{read} of {MUTANTS} mutants were read");
}

#[test]
fn no_mutant_of_a_safetensors_file_panics() {
    let directory = tempfile::tempdir().unwrap();
    for file in ["config.json", "generation_config.json", "model.safetensors"] {
        std::fs::copy(golden("qwen2").join(file), directory.path().join(file)).unwrap();
    }
    let file = directory.path().join("model.safetensors");
    let header = u64::from_le_bytes(std::fs::read(&file).unwrap()[..8].try_into().unwrap()) as usize + 8;
    assert_mixed(survivors(directory.path(), &file, header, 1));
}

#[test]
fn no_mutant_of_a_configuration_panics() {
    let directory = tempfile::tempdir().unwrap();
    for file in ["config.json", "generation_config.json", "model.safetensors"] {
        std::fs::copy(golden("qwen3").join(file), directory.path().join(file)).unwrap();
    }
    for file in ["config.json", "generation_config.json"] {
        let path = directory.path().join(file);
        let original = std::fs::read(&path).unwrap();
        survivors(directory.path(), &path, original.len(), 2);
        std::fs::write(&path, original).unwrap();
    }
}

#[test]
fn no_mutant_of_a_gguf_file_panics() {
    let checkpoint = Checkpoint::open(&golden("llama")).unwrap();
    let mut gguf = Gguf::of(&checkpoint.config, &tensors(&checkpoint));
    gguf.tensor("rope_freqs.weight", &[4], 0, fixtures::f32_bytes(&[1.0; 4]));
    gguf.tensor("blk.1.attn_v.weight", &[32, 16], 3, vec![0x11; 20 * 16]);
    gguf.tensor("blk.0.attn_v.weight", &[32, 16], 8, vec![0x11; 34 * 16]);
    gguf.texts("tokenizer.ggml.tokens", &["a", "b", "c"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("model.gguf");
    std::fs::write(&file, gguf.bytes()).unwrap();
    Checkpoint::open(&file).unwrap();
    let data: usize = gguf.tensors.iter().map(|tensor| tensor.3.len().next_multiple_of(32)).sum();
    assert_mixed(survivors(&file, &file, gguf.bytes().len() - data, 3));
}

/// A file that ggml's own package wrote, with every block type in it.
#[test]
fn no_mutant_of_a_file_with_every_block_type_panics() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("model.gguf");
    std::fs::copy(golden("gguf").join("blocks.gguf"), &file).unwrap();
    // Header and list of tensors end there.
    assert_mixed(survivors(&file, &file, 3_800, 4));
}
