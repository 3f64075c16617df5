//! What is wrong with a model is said by name, with a code and a way out.

#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

mod fixtures;

use std::path::Path;

use fixtures::{f32_bytes, golden, raw_safetensors, refusal, safetensors};
use lapidary_core::Problem;
use lapidary_engine::RopeScaling;
use lapidary_engine::hf::Checkpoint;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A copy of a golden model whose configuration is changed by `edit`.
fn edited(family: &str, edit: impl FnOnce(&mut Value)) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for file in ["config.json", "generation_config.json", "model.safetensors"] {
        std::fs::copy(golden(family).join(file), directory.path().join(file)).unwrap();
    }
    let path = directory.path().join("config.json");
    let mut json: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    edit(&mut json);
    std::fs::write(&path, format!("{json:#}\n")).unwrap();
    directory
}

fn edited_config(family: &str, edit: impl FnOnce(&mut Value)) -> lapidary_engine::ModelConfig {
    Checkpoint::open(edited(family, edit).path()).unwrap().config
}

#[test]
fn a_wrong_configuration_is_refused_at_its_key() {
    let cases: [(&str, &str, Value, &str, &str); 31] = [
        ("llama", "model_type", json!("mistral"), "M006", "model_type `mistral`"),
        ("llama", "model_type", json!(3), "M005", "`model_type` must be a string, got 3"),
        ("llama", "architectures", json!(["LlamaForTokenClassification"]), "M006", "expected [\"LlamaForCausalLM\"]"),
        (
            "llama",
            "architectures",
            json!(["LlamaForSequenceClassification"]),
            "M007",
            "a classification head with 2 labels",
        ),
        ("llama", "hidden_act", json!("gelu"), "M007", "activation `gelu`"),
        ("llama", "mlp_bias", json!(true), "M007", "`mlp_bias`"),
        ("llama", "attention_bias", json!("yes"), "M005", "`attention_bias` must be true or false, got \"yes\""),
        (
            "qwen3_moe",
            "num_local_experts",
            json!(65_535),
            "M005",
            "`num_local_experts` must be an integer from 1 to 65534",
        ),
        ("qwen3_moe", "num_experts", json!(4), "M005", "`num_experts` is 4, but `num_local_experts` is 8"),
        ("qwen3_moe", "num_experts_per_tok", json!(9), "M005", "a token cannot use 9 of 8 experts"),
        ("qwen3_moe", "mlp_only_layers", json!([0, "x"]), "M005", "`mlp_only_layers` must be a list of layers"),
        ("qwen3_moe", "partial_rotary_factor", json!(0.5), "M007", "a part of each head"),
        ("qwen3_moe", "use_sliding_window", json!(true), "M007", "sliding-window attention over 64 tokens"),
        ("glm4_moe", "n_group", json!(3), "M005", "8 experts cannot form 3 groups of at least two"),
        ("glm4_moe", "topk_group", json!(2), "M005", "2 experts per token cannot come from 2 of 1 groups"),
        ("glm4_moe", "hidden_act", json!("gelu"), "M007", "activation `gelu`"),
        ("glm4_moe", "rope_parameters", json!({"partial_rotary_factor": 0.4}), "M005", "3 of 8 values of a head"),
        ("llama", "quantization_config", json!({"bits": 4}), "M007", "quantised weights"),
        ("llama", "partial_rotary_factor", json!(0.5), "M007", "a part of each head"),
        ("llama", "rope_scaling", json!({"type": "dynamic", "factor": 2.0}), "M007", "RoPE of type `dynamic`"),
        ("llama", "rope_parameters", json!({"full_attention": {"rope_theta": 1e4}}), "M007", "differ between blocks"),
        ("llama", "rope_scaling", json!({"type": "linear", "factor": 2.0}), "M005", "contradict each other"),
        ("llama", "rope_parameters", json!({"rope_type": "llama3", "factor": 8.0}), "M005", "no `low_freq_factor`"),
        (
            "llama",
            "rope_parameters",
            json!({"rope_type": "linear", "factor": -8}),
            "M005",
            "`factor` must be a positive",
        ),
        ("llama", "num_attention_heads", json!(0), "M005", "an integer from 1 to 16777216, got 0"),
        ("llama", "num_key_value_heads", json!(3), "M005", "4 query heads cannot share 3 key heads evenly"),
        ("llama", "head_dim", json!(7), "M005", "7 of 7 values of a head cannot be rotated"),
        ("llama", "vocab_size", json!(1u64 << 40), "M005", "`vocab_size` must be an integer from 1"),
        ("llama", "rms_norm_eps", json!("1e-5"), "M005", "`rms_norm_eps` must be a positive number, got \"1e-5\""),
        ("llama", "tie_word_embeddings", json!("no"), "M005", "`tie_word_embeddings` must be true or false"),
        ("llama", "sliding_window", json!(64), "M007", "sliding-window attention over 64 tokens"),
    ];
    for (family, key, value, code, words) in cases {
        let directory = edited(family, |config| {
            config[key] = value;
            if family == "qwen3_moe" {
                config["sliding_window"] = json!(64);
            }
        });
        let problem = refusal(directory.path());
        assert_eq!((problem.code(), problem.kind().exit_code()), (code, 4), "{problem:?}");
        assert!(problem.message().contains(words), "{problem:?}");
        let place = problem.place().unwrap_or_else(|| panic!("{problem:?} has no place"));
        assert!(place.path.ends_with("config.json") && place.text.contains('"'), "{place:?}");
    }
}

#[test]
fn the_caret_stands_under_the_key() {
    let directory = edited("llama", |config| config["hidden_act"] = json!("gelu"));
    let place = refusal(directory.path()).place().cloned().unwrap();
    assert_eq!((place.text.as_str(), place.column, place.width), ("  \"hidden_act\": \"gelu\",", 3, 12));
}

#[test]
fn sliding_windows_matter_only_where_they_hide_something() {
    let window = |edit: fn(&mut Value)| {
        edited("qwen2", |config| {
            config.as_object_mut().unwrap().remove("layer_types");
            config["use_sliding_window"] = json!(true);
            config["sliding_window"] = json!(64);
            config["max_window_layers"] = json!(1);
            edit(config);
        })
    };
    assert_eq!(refusal(window(|_| {}).path()).code(), "M007");
    assert_eq!(
        refusal(window(|config| config["layer_types"] = json!(["full_attention", "sliding_attention"])).path()).code(),
        "M007"
    );
    for harmless in [
        (|config| config["use_sliding_window"] = json!(false)) as fn(&mut Value),
        |config| config["sliding_window"] = json!(256),
        |config| config["max_window_layers"] = json!(2),
        |config| config["layer_types"] = json!(["full_attention", "full_attention"]),
        |config| drop(config.as_object_mut().unwrap().remove("max_window_layers")),
    ] {
        Checkpoint::open(window(harmless).path()).unwrap();
    }
}

#[test]
fn both_forms_of_rotary_parameters_are_read() {
    let old = |scaling: Value| {
        edited_config("llama", |config| {
            config.as_object_mut().unwrap().remove("rope_parameters");
            config["rope_theta"] = json!(5e5);
            config["rope_scaling"] = scaling;
        })
    };
    let new = |parameters: Value| edited_config("llama", |config| config["rope_parameters"] = parameters);
    let llama3 = RopeScaling::Llama3 {
        factor: 8.0,
        low_frequency_factor: 1.0,
        high_frequency_factor: 4.0,
        original_context: 8192,
    };
    let keys = json!({"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192});
    let with = |extra: &[(&str, Value)]| {
        let mut out = keys.clone();
        extra.iter().for_each(|(key, value)| out[*key] = value.clone());
        out
    };
    let cases = [
        (old(Value::Null), None),
        (old(with(&[("rope_type", json!("llama3"))])), Some(llama3)),
        (old(json!({"type": "linear", "factor": 4})), Some(RopeScaling::Linear { factor: 4.0 })),
        (new(with(&[("rope_type", json!("llama3")), ("rope_theta", json!(5e5))])), Some(llama3)),
        (new(json!({"rope_type": "default", "rope_theta": 5e5})), None),
        (
            new(json!({"rope_type": "linear", "factor": 4.0, "rope_theta": 5e5})),
            Some(RopeScaling::Linear { factor: 4.0 }),
        ),
    ];
    for (config, expected) in cases {
        assert_eq!((config.rope_theta, config.rope_scaling), (5e5, expected));
    }
}

#[test]
fn absent_keys_mean_what_transformers_says() {
    let without = |family: &str, keys: &[&str]| {
        let directory = edited(family, |config| {
            let config = config.as_object_mut().unwrap();
            keys.iter().for_each(|key| drop(config.remove(*key)));
        });
        std::fs::remove_file(directory.path().join("generation_config.json")).unwrap();
        Checkpoint::open(directory.path()).map(|checkpoint| checkpoint.config)
    };
    let config =
        without("llama", &["head_dim", "rope_parameters", "rms_norm_eps", "bos_token_id", "eos_token_id"]).unwrap();
    assert_eq!((config.head_width, config.rope_theta, config.norm_epsilon), (8, 1e4, 1e-6));
    assert_eq!((config.bos, config.eos), (Some(1), vec![2]));
    let config = without("qwen2", &["bos_token_id", "eos_token_id", "max_position_embeddings", "dtype"]).unwrap();
    assert_eq!((config.bos, config.eos, config.context), (None, vec![], 32_768));
    // Qwen3's own default is 128, whatever hidden_size / heads would be: the weights do not fit then.
    assert_eq!(
        without("qwen3", &["head_dim"]).unwrap_err().message(),
        "tensor `model.layers.0.self_attn.q_proj.weight` has shape [64, 32], expected [512, 32]"
    );
    assert_eq!(without("llama", &["vocab_size"]).unwrap_err().code(), "M005");
    let keys = ["num_local_experts", "num_experts_per_tok", "moe_intermediate_size", "norm_topk_prob"];
    let glm = ["n_routed_experts", "n_shared_experts", "routed_scaling_factor", "first_k_dense_replace", "n_group"];
    // The weights do not fit what the keys default to; the shape that is asked for first shows it.
    for (family, keys, message) in [
        ("qwen3_moe", &keys[..], "tensor `model.layers.0.mlp.gate.weight` has shape [8, 32], expected [128, 32]"),
        ("qwen3_moe", &["moe_intermediate_size"], "has shape [20, 32], expected [768, 32]"),
        ("qwen3_moe", &["num_key_value_heads"], "k_proj.weight` has shape [32, 32], expected [64, 32]"),
        ("glm4_moe", &glm[..], "tensor `model.layers.1.mlp.gate.weight` has shape [8, 32], expected [128, 32]"),
        ("glm4_moe", &["moe_intermediate_size"], "has shape [20, 32], expected [1408, 32]"),
        ("glm4_moe", &["intermediate_size"], "has shape [56, 32], expected [10944, 32]"),
    ] {
        let problem = without(family, keys).unwrap_err();
        assert!(problem.message().contains(message), "{problem:?}");
    }
    let with = |family: &str, key: &str, value: Value| edited_config(family, |config| config[key] = value);
    let absent = |family: &str, key: &str| without(family, &[key]).unwrap();
    assert!(!absent("qwen3_moe", "norm_topk_prob").experts.unwrap().renormalise);
    let config = absent("glm4_moe", "rope_parameters");
    assert_eq!((config.rope_theta, config.rotary_width, config.norm_epsilon), (1e4, 4, 1e-5), "half of a head of 8");
    assert_eq!(with("glm4_moe", "partial_rotary_factor", json!(1.0)).rotary_width, 4, "rope_parameters come first");
    assert_eq!(absent("glm4_moe", "norm_topk_prob").experts.unwrap().scale, 2.5);
    assert_eq!(absent("glm4_moe", "routed_scaling_factor").experts.unwrap().scale, 1.0);
    assert_eq!(absent("glm4_moe", "first_k_dense_replace").experts.unwrap().dense_layers, [0]);
}

#[test]
fn end_tokens_of_both_files_are_merged() {
    let directory = edited("llama", |config| config["eos_token_id"] = json!([5, 900, 2]));
    std::fs::write(directory.path().join("generation_config.json"), r#"{"eos_token_id": [2, 7, -1]}"#).unwrap();
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    assert_eq!(checkpoint.config.eos, [5, 2, 7], "900 is outside the vocabulary of 128");
    assert_eq!(checkpoint.generation_eos(), [2, 7]);
}

#[test]
fn a_path_that_is_no_model_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    let says = |path: &Path, code: &str, words: &[&str]| {
        let problem = refusal(path);
        let text = format!("{problem}");
        assert_eq!(problem.code(), code, "{text}");
        words.iter().for_each(|words| assert!(text.contains(words), "{text}"));
    };
    says(&directory.path().join("nothing"), "M001", &["there is no model at", "check the path"]);
    says(
        Path::new("no-such-owner/no-such-model"),
        "M001",
        &["hub", "downloads nothing", "hf download no-such-owner/no-such-model"],
    );
    says(directory.path(), "M002", &["no model.safetensors"]);
    std::fs::write(directory.path().join("x.gguf"), b"GGUF").unwrap();
    says(directory.path(), "M002", &["to use the GGUF file, name it"]);
    says(&directory.path().join("x.gguf"), "M008", &["ends early"]);
    std::fs::write(directory.path().join("pytorch_model.bin"), b"PK").unwrap();
    says(directory.path(), "M003", &["Python pickle", "runs whatever its author put in", "save_pretrained"]);
    for name in ["pytorch_model.bin", "last.ckpt", "consolidated.00.pth", "model.pt"] {
        std::fs::write(directory.path().join(name), b"PK").unwrap();
        says(&directory.path().join(name), "M003", &["pickle"]);
    }
    std::fs::write(directory.path().join("model.safetensors"), b"").unwrap();
    says(&directory.path().join("model.safetensors"), "M001", &["name the directory"]);
    let broken = edited("llama", |_| {});
    std::fs::write(broken.path().join("config.json"), "{\n \"a\": 1,\n}").unwrap();
    let problem = refusal(broken.path());
    assert_eq!((problem.code(), problem.place().map(|place| (place.line, place.column))), ("M004", Some((3, 1))));
    std::fs::remove_file(broken.path().join("config.json")).unwrap();
    says(broken.path(), "M004", &["has no config.json"]);
}

#[test]
fn a_model_of_the_local_cache_is_found_by_its_id() {
    // A child process, because the environment belongs to all tests of this one.
    if let Some(id) = std::env::var_os("LAPIDARY_TEST_HUB_ID") {
        assert!(Checkpoint::open(Path::new(&id)).unwrap().path().ends_with("snapshots/abc123"));
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let model = home.path().join("hub/models--some-owner--Tiny-1.0");
    let snapshot = model.join("snapshots/abc123");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(model.join("refs")).unwrap();
    std::fs::write(model.join("refs/main"), "abc123\n").unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(golden("llama").join(file), snapshot.join(file)).unwrap();
    }
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_model_of_the_local_cache_is_found_by_its_id"])
        .env_remove("HF_HUB_CACHE")
        .env("HF_HOME", home.path())
        .env("LAPIDARY_TEST_HUB_ID", "some-owner/Tiny-1.0")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
}

/// The tensors of the golden Llama as another number type, in as many files as `split` says.
fn rewritten(dtype: &str, encode: fn(f32) -> Vec<u8>, split: usize, index: impl FnOnce(&mut Value)) -> TempDir {
    let directory = edited("llama", |_| {});
    let original = Checkpoint::open(&golden("llama")).unwrap();
    std::fs::remove_file(directory.path().join("model.safetensors")).unwrap();
    let specs = original.config.tensors();
    let encoded: Vec<Vec<u8>> =
        specs.iter().map(|spec| original.read(spec).unwrap().into_iter().flat_map(encode).collect()).collect();
    let mut map = serde_json::Map::new();
    for part in 0..split {
        let file = if split == 1 { "model.safetensors".into() } else { format!("model-{part}-of-{split}.safetensors") };
        let mine: Vec<usize> = (0..specs.len()).filter(|at| at % split == part).collect();
        let tensors: Vec<_> = mine
            .iter()
            .map(|&at| (specs[at].name.as_str(), dtype, specs[at].shape.clone(), encoded[at].clone()))
            .collect();
        std::fs::write(directory.path().join(&file), safetensors(&tensors)).unwrap();
        mine.iter().for_each(|&at| drop(map.insert(specs[at].name.clone(), json!(file))));
    }
    if split > 1 {
        let mut json = json!({"metadata": {"total_size": 1}, "weight_map": map});
        index(&mut json);
        std::fs::write(directory.path().join("model.safetensors.index.json"), json.to_string()).unwrap();
    }
    directory
}

#[test]
fn halves_and_shards_are_read() {
    let original = Checkpoint::open(&golden("llama")).unwrap();
    let f32 = |value: f32| value.to_le_bytes().to_vec();
    let f16 = |value: f32| half::f16::from_f32(value).to_le_bytes().to_vec();
    let bf16 = |value: f32| half::bf16::from_f32(value).to_le_bytes().to_vec();
    type Case = (&'static str, fn(f32) -> Vec<u8>, fn(f32) -> f32);
    let cases: [Case; 3] = [
        ("F32", f32, |value| value),
        ("F16", f16, |value| half::f16::from_f32(value).to_f32()),
        ("BF16", bf16, |value| half::bf16::from_f32(value).to_f32()),
    ];
    for (dtype, encode, rounded) in cases {
        for split in [1, 3] {
            let again = rewritten(dtype, encode, split, |_| {});
            let again = Checkpoint::open(again.path()).unwrap();
            for spec in original.config.tensors() {
                let expected: Vec<f32> = original.read(&spec).unwrap().into_iter().map(rounded).collect();
                assert_eq!(again.read(&spec).unwrap(), expected, "{dtype} {split} {}", spec.name);
            }
        }
    }
    let problem = refusal(rewritten("F64", |value| f64::from(value).to_le_bytes().to_vec(), 1, |_| {}).path());
    assert_eq!(problem.code(), "M012");
    assert!(problem.message().contains("tensor `model.embed_tokens.weight` of"), "{problem}");
    assert!(problem.message().ends_with("has type F64"), "{problem}");
}

#[test]
fn a_broken_index_is_refused() {
    let f32 = |value: f32| value.to_le_bytes().to_vec();
    let broken = |index: &dyn Fn(&mut Value)| refusal(rewritten("F32", f32, 2, index).path());
    let norm = "model.norm.weight";
    for name in ["../model.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "C:x", "a\\b"] {
        let problem = broken(&|json| json["weight_map"][norm] = json!(name));
        assert_eq!(problem.code(), "M009");
        assert!(problem.message().contains("is not a plain file name"), "{name}: {problem}");
    }
    for (index, words) in [
        (
            &(|json: &mut Value| json["weight_map"][norm] = json!("absent.safetensors")) as &dyn Fn(&mut Value),
            "is missing",
        ),
        (
            &|json| json["weight_map"]["model.other"] = json!("model-0-of-2.safetensors"),
            "tensor `model.other` is not in",
        ),
        (&|json| json["weight_map"][norm] = json!(3), "is not a string"),
        (&|json| *json = json!([]), "no object `weight_map`"),
    ] {
        let problem = broken(index);
        assert_eq!(problem.code(), "M009");
        assert!(problem.message().contains(words), "{problem}");
    }
    let problem = broken(&|json| drop(json["weight_map"].as_object_mut().unwrap().remove(norm)));
    assert_eq!(
        (problem.code(), problem.message()),
        ("M010", "tensor `model.norm.weight` is missing from the checkpoint")
    );
}

#[test]
fn a_broken_weights_file_is_refused() {
    let with = |bytes: &[u8]| -> Problem {
        let directory = edited("llama", |_| {});
        std::fs::write(directory.path().join("model.safetensors"), bytes).unwrap();
        refusal(directory.path())
    };
    let whole = std::fs::read(golden("llama").join("model.safetensors")).unwrap();
    let entry = |name: &str, start: usize, end: usize| {
        format!(r#""{name}":{{"dtype":"F32","shape":[{}],"data_offsets":[{start},{end}]}}"#, (end - start) / 4)
    };
    let overlapping = format!("{{{},{}}}", entry("a", 0, 16), entry("b", 8, 24));
    let hole = format!("{{{},{}}}", entry("a", 0, 8), entry("b", 16, 24));
    let shape = r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,16]}}"#;
    let cases: [(Vec<u8>, &str); 9] = [
        (whole[..whole.len() - 1].to_vec(), "bytes of tensors"),
        ([&whole[..], b"x"].concat(), "bytes of tensors"),
        (whole[..100].to_vec(), "its header claims"),
        (whole[..5].to_vec(), "it has 5 bytes"),
        ((200_000_000u64).to_le_bytes().to_vec(), "its header claims 200000000 bytes, at most 0 are possible"),
        (raw_safetensors(&overlapping, &[0; 24]), "its header is invalid"),
        (raw_safetensors(&hole, &[0; 24]), "its header is invalid"),
        (raw_safetensors(shape, &[0; 16]), "its header is invalid"),
        (raw_safetensors("{\"a\":", &[]), "its header is invalid"),
    ];
    for (bytes, words) in cases {
        let problem = with(&bytes);
        assert_eq!(problem.code(), "M008", "{problem}");
        assert!(problem.message().contains(words), "{problem}");
    }
    let pointer = with(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
    assert!(pointer.advice().unwrap().contains("git lfs pull"), "{pointer}");
}

#[test]
fn layers_that_draft_tokens_are_passed_over() {
    for (family, unused) in [("glm4_moe", &[][..]), ("qwen3_moe", &["model.layers.2.eh_proj.weight"][..])] {
        let directory = edited(family, |_| {});
        let original = Checkpoint::open(&golden(family)).unwrap();
        let specs = original.config.tensors();
        let mut tensors: Vec<_> = specs
            .iter()
            .map(|spec| (spec.name.as_str(), "F32", spec.shape.clone(), f32_bytes(&original.read(spec).unwrap())))
            .collect();
        tensors.push(("model.layers.2.eh_proj.weight", "F32", vec![1], vec![0; 4]));
        std::fs::write(directory.path().join("model.safetensors"), safetensors(&tensors)).unwrap();
        assert_eq!(Checkpoint::open(directory.path()).unwrap().unused(), unused, "{family}");
    }
}

#[test]
fn tensors_that_nobody_asks_for_are_listed() {
    let directory = edited("llama", |config| config["tie_word_embeddings"] = json!(true));
    let original = Checkpoint::open(&golden("llama")).unwrap();
    let specs = original.config.tensors();
    let mut tensors: Vec<_> = specs
        .iter()
        .map(|spec| (spec.name.as_str(), "F32", spec.shape.clone(), f32_bytes(&original.read(spec).unwrap())))
        .collect();
    tensors.push(("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", vec![4], vec![0; 16]));
    tensors.push(("value_head.weight", "F32", vec![1], vec![0; 4]));
    tensors.push(("model.position_ids", "I64", vec![1], vec![0; 8]));
    let file = directory.path().join("model.safetensors");
    std::fs::write(&file, safetensors(&tensors)).unwrap();
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    assert_eq!(checkpoint.unused(), ["model.position_ids", "value_head.weight"]);

    let norm = tensors.iter_mut().find(|tensor| tensor.0 == "model.norm.weight").unwrap();
    norm.3[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&file, safetensors(&tensors)).unwrap();
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    let spec = specs.iter().find(|spec| spec.name == "model.norm.weight").unwrap();
    let problem = checkpoint.read(spec).unwrap_err();
    assert_eq!((problem.code(), problem.message()), ("M013", "tensor `model.norm.weight` holds NaN at element 2"));
}
