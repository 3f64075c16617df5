//! Hugging Face directories: what is read, and what is said about those that cannot be.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::path::{Path, PathBuf};

use lapidary_engine::hf::Checkpoint;
use lapidary_engine::{Family, TensorSpec};

fn golden(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(family)
}

#[test]
fn the_golden_models_open_with_every_tensor() {
    for (name, family, tensors) in
        [("llama", Family::Llama, 21), ("qwen2", Family::Qwen2, 26), ("qwen3", Family::Qwen3, 24)]
    {
        let checkpoint = Checkpoint::open(&golden(name)).unwrap();
        let config = &checkpoint.config;
        assert_eq!((config.family, config.vocabulary, config.hidden, config.layers), (family, 128, 32, 2));
        assert_eq!((config.heads, config.kv_heads, config.feed_forward, config.context), (4, 2, 56, 256));
        assert_eq!(config.head_width, if family == Family::Qwen3 { 16 } else { 8 });
        assert_eq!(config.rope_theta, if family == Family::Llama { 1e4 } else { 1e6 });
        assert_eq!(config.norm_epsilon, if family == Family::Llama { 1e-5 } else { 1e-6 });
        assert_eq!((config.tied, config.bos, config.eos.as_slice()), (family != Family::Llama, Some(1), &[2][..]));
        assert_eq!((checkpoint.generation_eos(), checkpoint.unused()), (vec![2], &[][..]));
        let specs = config.tensors();
        assert_eq!(specs.len(), tensors);
        for spec in specs {
            let values = checkpoint.read(&spec).unwrap();
            assert_eq!(values.len(), spec.shape.iter().product::<usize>(), "{}", spec.name);
            assert!(values.iter().any(|&value| value != 0.0), "{} is not all zeros", spec.name);
        }
    }
}

#[test]
fn a_tensor_of_another_shape_or_name_is_refused_by_name() {
    let checkpoint = Checkpoint::open(&golden("llama")).unwrap();
    let spec = |name: &str, shape: &[usize]| TensorSpec { name: name.into(), shape: shape.to_vec() };
    let problem = checkpoint.read(&spec("model.norm.weight", &[31])).unwrap_err();
    assert_eq!(problem.code(), "M011");
    assert_eq!(problem.message(), "tensor `model.norm.weight` has shape [32], expected [31]");
    let problem = checkpoint.read(&spec("model.norm.bias", &[32])).unwrap_err();
    assert_eq!((problem.code(), problem.kind().exit_code()), ("M010", 4));
}
