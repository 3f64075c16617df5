//! Saving: what is written opens again as the same model.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

mod fixtures;

use fixtures::{golden, refusal, tensors};
use lapidary_engine::hf::{Checkpoint, config_json, save};
use lapidary_engine::{Experts, Family, ModelConfig, RopeScaling, Router};
use serde_json::{Value, json};

fn json_file(path: &std::path::Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn a_saved_model_opens_with_the_same_bits() {
    for family in ["llama", "qwen2", "qwen3", "qwen3_moe", "glm4_moe", "llama_bias"] {
        let original = Checkpoint::open(&golden(family)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let values = tensors(&original);
        let generation = original.raw_generation_config();
        save(directory.path(), original.raw_config(), generation, values.clone()).unwrap();

        let again = Checkpoint::open(directory.path()).unwrap();
        assert_eq!(again.config, original.config);
        assert_eq!((again.raw_config(), again.raw_generation_config()), (original.raw_config(), generation));
        for ((spec, before), (_, after)) in values.iter().zip(tensors(&again)) {
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(before), bits(&after), "{}", spec.name);
        }
        let mut files: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        files.sort();
        assert_eq!(files, ["config.json", "generation_config.json", "model.safetensors"]);
    }
}

#[test]
fn the_order_in_which_tensors_are_handed_out_does_not_matter() {
    let original = Checkpoint::open(&golden("qwen3")).unwrap();
    let (forward, backward) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let values = tensors(&original);
    save(forward.path(), original.raw_config(), None, values.clone()).unwrap();
    save(backward.path(), original.raw_config(), None, values.into_iter().rev()).unwrap();
    let bytes = |directory: &tempfile::TempDir| std::fs::read(directory.path().join("model.safetensors")).unwrap();
    assert_eq!(bytes(&forward), bytes(&backward));
    let header_length = u64::from_le_bytes(bytes(&forward)[..8].try_into().unwrap());
    assert_eq!(header_length % 8, 0, "the numbers are aligned");
}

#[test]
fn unknown_keys_are_kept_and_the_number_type_is_what_was_written() {
    let original = Checkpoint::open(&golden("llama")).unwrap();
    for (key, other) in [("dtype", "torch_dtype"), ("torch_dtype", "dtype")] {
        let mut raw = original.raw_config().clone();
        raw.as_object_mut().unwrap().remove("dtype");
        raw[key] = json!("bfloat16");
        raw["our_own"] = json!({"a": [1, 2.5e-7]});
        let directory = tempfile::tempdir().unwrap();
        save(directory.path(), &raw, None, tensors(&original)).unwrap();
        let saved = json_file(&directory.path().join("config.json"));
        assert_eq!((saved["our_own"].clone(), saved[key].clone()), (raw["our_own"].clone(), json!("float32")));
        assert_eq!(saved.get(other), None);
        let generation = json_file(&directory.path().join("generation_config.json"));
        let expected = json!({"_from_model_config": true, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0});
        assert_eq!(generation, expected);
    }
}

fn small(family: Family) -> ModelConfig {
    ModelConfig {
        family,
        vocabulary: 40,
        hidden: 12,
        layers: 1,
        heads: 3,
        kv_heads: 1,
        head_width: 6,
        rotary_width: 6,
        feed_forward: 10,
        experts: None,
        context: 64,
        rope_theta: 5e5,
        rope_scaling: None,
        norm_epsilon: 1e-5,
        qkv_bias: family == Family::Qwen2,
        output_bias: false,
        qk_norm: !matches!(family, Family::Llama | Family::Qwen2),
        tied: true,
        language_head: true,
        value_head: false,
        reward_head: false,
        bos: Some(3),
        eos: vec![4, 5],
    }
}

fn mixtures() -> [ModelConfig; 3] {
    let experts = Experts {
        count: 6,
        per_token: 2,
        feed_forward: 5,
        shared_feed_forward: 0,
        router: Router::Softmax,
        renormalise: true,
        scale: 1.0,
        dense_layers: vec![1],
    };
    let glm = Experts {
        shared_feed_forward: 10,
        router: Router::Sigmoid { groups: 3, kept_groups: 2 },
        renormalise: false,
        scale: 2.5,
        dense_layers: vec![0, 1],
        ..experts.clone()
    };
    let of = |family, experts| ModelConfig { layers: 3, experts: Some(experts), ..small(family) };
    let glm = ModelConfig { head_width: 8, rotary_width: 4, qkv_bias: true, ..of(Family::Glm4Moe, glm) };
    let whole = ModelConfig { rotary_width: 8, qkv_bias: false, qk_norm: false, ..glm.clone() };
    [of(Family::Qwen3Moe, experts), glm, whole]
}

#[test]
fn a_configuration_made_here_comes_back_from_its_file() {
    let llama3 = RopeScaling::Llama3 {
        factor: 32.0,
        low_frequency_factor: 1.0,
        high_frequency_factor: 4.0,
        original_context: 8192,
    };
    let biased = ModelConfig { qkv_bias: true, output_bias: true, ..small(Family::Qwen3) };
    let dense = [small(Family::Llama), small(Family::Qwen2), small(Family::Qwen3), biased];
    for shape in dense.into_iter().chain(mixtures()) {
        for rope_scaling in [None, Some(llama3), Some(RopeScaling::Linear { factor: 2.5 })] {
            let config = ModelConfig { rope_scaling, tied: rope_scaling.is_none(), ..shape.clone() };
            let zeros = config.tensors().into_iter().map(|spec| {
                let size = spec.shape.iter().product();
                (spec, vec![0.0; size])
            });
            let directory = tempfile::tempdir().unwrap();
            save(directory.path(), &config_json(&config), None, zeros).unwrap();
            assert_eq!(Checkpoint::open(directory.path()).unwrap().config, config);
        }
    }
    assert_eq!(config_json(&small(Family::Llama))["rms_norm_eps"].to_string(), "0.00001");
    let without = ModelConfig { bos: None, eos: Vec::new(), ..small(Family::Llama) };
    let directory = tempfile::tempdir().unwrap();
    let zeros = without.tensors().into_iter().map(|spec| (spec.clone(), vec![0.0; spec.shape.iter().product()]));
    save(directory.path(), &config_json(&without), None, zeros).unwrap();
    let again = Checkpoint::open(directory.path()).unwrap().config;
    assert_eq!((again.bos, again.eos), (None, Vec::new()), "an absent key would mean Llama's defaults 1 and 2");
}

#[test]
fn a_failed_save_leaves_the_old_model_alone() {
    let original = Checkpoint::open(&golden("llama")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    save(directory.path(), original.raw_config(), None, tensors(&original)).unwrap();
    let halfway = std::panic::catch_unwind(|| {
        save(directory.path(), original.raw_config(), None, tensors(&original).into_iter().take(3)).unwrap();
    });
    assert!(halfway.is_err(), "a missing tensor is a bug of the caller");
    assert_eq!(tensors(&Checkpoint::open(directory.path()).unwrap()), tensors(&original));

    let nowhere = directory.path().join("absent");
    let problem = save(&nowhere, original.raw_config(), None, tensors(&original)).unwrap_err();
    assert_eq!(problem.code(), "I001");
    assert_eq!(refusal(&nowhere).code(), "M001");
}
