//! Hugging Face directories: what is read, and what is said about those that cannot be.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

use std::path::{Path, PathBuf};

use lapidary_engine::hf::Checkpoint;
use lapidary_engine::{Experts, Family, Router, TensorSpec};

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
fn golden_mixtures_open_with_every_tensor_and_their_routers() {
    let qwen3 = Experts {
        count: 8,
        per_token: 3,
        feed_forward: 20,
        shared_feed_forward: 0,
        router: Router::Softmax,
        renormalise: true,
        scale: 1.0,
        dense_layers: vec![],
    };
    let glm4 = Experts {
        per_token: 2,
        shared_feed_forward: 20,
        router: Router::Sigmoid { groups: 1, kept_groups: 1 },
        scale: 2.5,
        dense_layers: vec![0],
        ..qwen3.clone()
    };
    let mixed = Experts {
        count: 5,
        per_token: 2,
        feed_forward: 12,
        renormalise: false,
        dense_layers: vec![0, 2, 3],
        ..qwen3.clone()
    };
    let groups = Experts {
        feed_forward: 12,
        shared_feed_forward: 24,
        router: Router::Sigmoid { groups: 2, kept_groups: 1 },
        renormalise: false,
        scale: 1.5,
        ..glm4.clone()
    };
    for (name, family, experts, rotary_width, biases, qk_norm, tensors) in [
        ("qwen3_moe", Family::Qwen3Moe, qwen3, 16, [false, false], true, 69),
        ("glm4_moe", Family::Glm4Moe, glm4, 4, [true, false], true, 57),
        ("qwen3_moe_mixed", Family::Qwen3Moe, mixed, 8, [true, true], true, 76),
        ("glm4_moe_groups", Family::Glm4Moe, groups, 4, [false, false], false, 47),
    ] {
        let checkpoint = Checkpoint::open(&golden(name)).unwrap();
        let config = &checkpoint.config;
        assert_eq!(
            (config.family, config.experts.as_ref(), config.rotary_width),
            (family, Some(&experts), rotary_width)
        );
        assert_eq!(([config.qkv_bias, config.output_bias], config.qk_norm), (biases, qk_norm), "{name}");
        assert!(checkpoint.unused().is_empty(), "{name}: {:?}", checkpoint.unused());
        assert_eq!(config.tensors().len(), tensors, "{name}");
        let buffers = config.tensors().iter().filter(|spec| spec.is_buffer()).count();
        assert_eq!(buffers, if family == Family::Glm4Moe { 1 } else { 0 }, "{name}");
        for spec in config.tensors() {
            assert!(checkpoint.read(&spec).unwrap().iter().any(|&value| value != 0.0), "{}", spec.name);
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

/// llama2.c's first format: seven i32 (dim, ffn, layers, heads, kv heads, vocabulary, context), then f32 by kind of tensor.
/// Rows of q and k lie as pairs; Hugging Face keeps the halves of a head apart.
#[test]
fn stories260k_holds_the_weights_of_the_original_file() {
    let Some(data) = std::env::var_os("LAPIDARY_DATA") else {
        println!("skipped: LAPIDARY_DATA (a folder with models/stories260K.bin) is not set");
        return;
    };
    let models = Path::new(&data).join("models");
    let checkpoint = Checkpoint::open(&models.join("stories260K-hf")).unwrap();
    let bytes = std::fs::read(models.join("stories260K.bin")).unwrap();
    let head: Vec<i32> = bytes[..28].chunks(4).map(|four| i32::from_le_bytes(four.try_into().unwrap())).collect();
    assert_eq!(head, [64, 172, 5, 8, 4, 512, 512]);
    let floats: Vec<f32> = bytes[28..].chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let kinds: [(&str, usize, usize); 9] = [
        ("input_layernorm", 1, 64),
        ("self_attn.q_proj", 64, 64),
        ("self_attn.k_proj", 32, 64),
        ("self_attn.v_proj", 32, 64),
        ("self_attn.o_proj", 64, 64),
        ("post_attention_layernorm", 1, 64),
        ("mlp.gate_proj", 172, 64),
        ("mlp.down_proj", 64, 172),
        ("mlp.up_proj", 172, 64),
    ];
    let of = |name: &str| {
        let spec = checkpoint.config.tensors().into_iter().find(|spec| spec.name == name).unwrap();
        checkpoint.read(&spec).unwrap()
    };
    let mut at = 512 * 64;
    assert_eq!(of("model.embed_tokens.weight"), floats[..at]);
    for (kind, rows, columns) in kinds {
        for layer in 0..5 {
            let mut expected = Vec::new();
            for row in 0..rows {
                let (head, half, i) = (row / 8, row % 8 / 4, row % 4);
                let paired = kind.ends_with("q_proj") || kind.ends_with("k_proj");
                let source = if paired { head * 8 + 2 * i + half } else { row };
                expected.extend_from_slice(&floats[at + source * columns..at + (source + 1) * columns]);
            }
            assert_eq!(of(&format!("model.layers.{layer}.{kind}.weight")), expected, "{kind} {layer}");
            at += rows * columns;
        }
    }
    assert_eq!(of("model.norm.weight"), floats[at..at + 64]);
    assert_eq!(at + 64, 260_032, "every parameter was compared");
}
