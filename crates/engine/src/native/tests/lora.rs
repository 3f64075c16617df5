//! Adapters: PEFT's numbers and files, and everything that is promised of the model without them.

use super::*;
use crate::hf::AdapterCheckpoint;
use crate::{ALL_LINEAR, LoraConfig};

/// Adapters that PEFT made, with the golden model that each adapts.
const ADAPTERS: [&str; 4] = ["llama", "qwen2", "qwen3", "glm4_moe"];

fn adapter(name: &str) -> PathBuf {
    golden("lora").join(name)
}

fn open_adapted(name: &str, threads: usize) -> Native {
    Native::open_adapter(&adapter(name), Some(&golden(name)), threads).unwrap()
}

fn lora(rank: usize, targets: &[&str]) -> LoraConfig {
    let targets = targets.iter().map(ToString::to_string).collect();
    LoraConfig { rank, alpha: 16.0, rslora: false, targets }
}

/// A golden model with fresh adapters whose B is not zero.
fn stirred(name: &str, rank: usize, threads: usize) -> Native {
    let mut native = open(name, threads);
    native.adapt(&lora(rank, &[ALL_LINEAR]), 5).unwrap();
    stir(&mut native);
    native
}

fn stir(native: &mut Native) {
    for spec in native.learned_tensors().into_iter().filter(|spec| spec.name.contains("lora_B")) {
        let key = Key::new(8, Purpose::Initialise).at_name(&spec.name);
        let values: Vec<f32> = (0..spec.size() as u64).map(|i| (key.at(i).normal() * 0.05) as f32).collect();
        native.put(&spec.name, &values);
    }
}

#[test]
fn an_adapter_of_peft_gives_pefts_log_probabilities_and_gradients() {
    for name in ADAPTERS {
        let expected = Expected::of(&format!("lora/{name}"));
        let batch = expected.batch();
        let logp = expected.get("logp");
        let width = logp.len() / batch.tokens.rows();
        for isa in Isa::available() {
            let mut native = open_adapted(name, 2);
            native.use_isa(isa);
            let mut loss = 0.0;
            native
                .accumulate(&batch, Want::default(), &mut |stats| {
                    for row in 0..batch.tokens.rows() {
                        for t in 1..batch.tokens.len_of(row) {
                            let (got, want) = (f64::from(stats.logp.row(row)[t]), logp[row * width + t - 1]);
                            assert!((got - want).abs() < 1e-5, "{name} {isa:?} {row},{t}: {got} {want}");
                        }
                    }
                    let (value, grads) = mean_nll(stats, &batch);
                    loss = value;
                    Ok(grads)
                })
                .unwrap();
            assert!((loss - expected.get("loss")[0]).abs() < 1e-6, "{name}");
            let learned = native.learned_tensors();
            assert!(learned.iter().all(|spec| spec.name.contains(".lora_")) && learned.len() >= 12, "{name}");
            for spec in learned {
                let want = expected.get(&format!("grad.{}", spec.name));
                close(&format!("{name} {isa:?} {}", spec.name), &native.gradient(&spec.name), &want, 1e-5);
            }
            assert!(native.gradient("model.layers.0.self_attn.q_proj.weight").is_empty(), "frozen");
        }
    }
}

#[test]
fn an_adapted_reward_model_of_peft_gives_pefts_rewards_and_trains_its_head_whole() {
    let expected = Expected::of("lora/reward");
    let mut native = Native::open_adapter(&adapter("reward"), Some(&golden("llama")), 1).unwrap();
    assert!(native.model().reward_head && !native.model().language_head);
    let mut batch = TokenBatch::default();
    expected.batch().tokens.iter().for_each(|row| batch.push(row, &vec![false; row.len()], 1.0));
    let want = Want { reward: true, ..Want::default() };
    native
        .accumulate(&batch, want, &mut |stats| {
            let reward = stats.reward.clone().unwrap();
            close("rewards", &reward, &expected.get("rewards"), 1e-5);
            Ok(TokenGrads { logp: stats.logp.like(0.0), reward: Some(reward), ..Default::default() })
        })
        .unwrap();
    for spec in native.learned_tensors() {
        let name =
            if spec.name.contains("lora") { spec.name.clone() } else { format!("base_model.model.{}", spec.name) };
        close(&spec.name, &native.gradient(&spec.name), &expected.get(&format!("grad.{name}")), 1e-5);
    }
    let directory = tempfile::tempdir().unwrap();
    native.save_model(directory.path()).unwrap();
    let again = Native::open_adapter(directory.path(), Some(&golden("llama")), 1).unwrap();
    assert_eq!(again.score(&batch, want).unwrap(), native.score(&batch, want).unwrap());
}

#[test]
fn a_fresh_adapter_changes_no_bit_and_the_base_stays_in_reach() {
    for family in ["llama", "qwen2", "qwen3", "qwen3_moe", "glm4_moe"] {
        let batch = Expected::of(family).batch();
        let plain = open(family, 1).score(&batch, ENTROPY).unwrap();
        let mut native = open(family, 2);
        native.adapt(&lora(4, &[ALL_LINEAR]), 5).unwrap();
        assert_eq!(native.score(&batch, ENTROPY).unwrap(), plain, "{family}: B is zero");
        stir(&mut native);
        let adapted = native.score(&batch, ENTROPY).unwrap();
        assert!(adapted != plain, "{family}: the comparison can fail");
        assert_eq!(native.score_base(&batch, ENTROPY).unwrap(), plain, "{family}: adapters off");
        native.accumulate(&batch, ENTROPY, &mut |stats| Ok(mean_nll(stats, &batch).1)).unwrap();
        native.step(&adamw()).unwrap();
        assert_eq!(native.score_base(&batch, ENTROPY).unwrap(), plain, "{family}: the base is frozen");
        assert_eq!(native.frozen().unwrap().score(&batch, ENTROPY), native.score(&batch, ENTROPY));
    }
}

#[test]
fn an_adapted_token_has_the_same_bits_in_sampling_scoring_and_training() {
    for family in ["llama", "qwen3", "glm4_moe"] {
        for isa in Isa::available() {
            let mut native = stirred(family, 3, 2);
            native.use_isa(isa);
            let requests: Vec<SampleRequest> = requests(0.7).into_iter().step_by(3).collect();
            let sampled = native.sample(&requests, &|_| ()).unwrap();
            let (mut batch, mut expected) = (TokenBatch::default(), Vec::new());
            for (request, group) in requests.iter().zip(&sampled) {
                for sample in group {
                    let tokens: Vec<u32> = request.prompt.iter().chain(&sample.tokens).copied().collect();
                    let scored: Vec<bool> = (0..tokens.len()).map(|t| t >= request.prompt.len()).collect();
                    batch.push(&tokens, &scored, 0.7);
                    expected.extend(bits(&sample.logp));
                }
            }
            let told = |stats: &TokenStats| -> Vec<u32> {
                let logp = stats.logp.flat().iter().zip(batch.scored.flat());
                logp.filter(|(_, scored)| **scored).map(|(x, _)| x.to_bits()).collect()
            };
            assert!(told(&native.score(&batch, ENTROPY).unwrap()) == expected, "{family} {isa:?} scored");
            let mut trained = Vec::new();
            native
                .accumulate(&batch, ENTROPY, &mut |stats| {
                    trained = told(stats);
                    Ok(TokenGrads { logp: stats.logp.like(0.0), ..Default::default() })
                })
                .unwrap();
            assert!(trained == expected, "{family} {isa:?} trained");
        }
    }
}

#[test]
fn threads_and_micro_batches_change_no_bit_of_an_adapter() {
    for family in ["llama", "glm4_moe"] {
        let batch = Expected::of(family).batch();
        let learn = |threads: usize, splits: &[&[usize]]| {
            let mut native = stirred(family, 5, threads);
            for _ in 0..2 {
                for rows in splits {
                    let grads =
                        |stats: &TokenStats| Ok(TokenGrads { logp: stats.logp.map(|x| x * 0.1), ..Default::default() });
                    native.accumulate(&batch.select(rows), ENTROPY, &mut { grads }).unwrap();
                }
                native.step(&adamw()).unwrap();
            }
            bits(&native.flat)
        };
        let whole = learn(1, &[&[0, 1, 2]]);
        assert!(whole == learn(2, &[&[0, 1, 2]]), "{family}: two threads");
        assert!(whole == learn(3, &[&[0], &[1, 2]]), "{family}: two micro-batches");
        assert!(whole != learn(1, &[&[1, 0, 2]]), "{family}: the comparison can fail");
    }
}

#[test]
fn derivatives_of_shared_experts_and_dense_layers_agree_with_finite_differences() {
    let mut native = stirred("glm4_moe", 3, 1);
    let batch = Expected::of("glm4_moe").batch().select(&[1]);
    // Choices are replayed, so that no step of a difference changes them.
    let routing = native.score(&batch, Want { routing: true, ..Want::default() }).unwrap().routing;
    let batch = TokenBatch { routing, ..batch };
    let loss = |native: &Native| mean_nll(&native.score(&batch, Want::default()).unwrap(), &batch).0 * 10.0;
    native
        .accumulate(&batch, Want::default(), &mut |stats| {
            let mut grads = mean_nll(stats, &batch).1;
            grads.logp.flat_mut().iter_mut().for_each(|g| *g *= 10.0);
            Ok(grads)
        })
        .unwrap();
    let shared = native.learned_tensors().into_iter().filter(|spec| spec.name.contains("shared_experts")).count();
    assert!(shared > 0);
    native.assert_finite_differences(&loss);
}

#[test]
fn frozen_weights_cost_no_gradient_no_moments_and_no_transposing_of_the_first_projection() {
    let batch = Expected::of("qwen3").batch();
    let learn = |native: &mut Native| {
        native.accumulate(&batch, ENTROPY, &mut |stats| Ok(mean_nll(stats, &batch).1)).unwrap();
        native.step(&adamw()).unwrap();
        let learning = native.learning.as_ref().unwrap();
        let moments = learning.optimizers.iter().flat_map(|optimizer| &optimizer.both);
        let state = learning.gradient.flat.len() + moments.map(Vec::len).sum::<usize>();
        (state, learning.gradient.tied_rows.len())
    };
    let (mut whole, mut adapted) = (open("qwen3", 1), stirred("qwen3", 4, 1));
    let (all, _) = learn(&mut whole);
    let (few, tied) = learn(&mut adapted);
    let values: usize = adapted.learned_tensors().iter().map(TensorSpec::size).sum();
    assert!(few < all / 2 && tied == 0, "{few} of {all}");
    assert!(few <= 3 * 5 * values, "no more than the adapters, padded to lanes");
    let first = |native: &Native| native.layout.layers[0].qkv.transposed.is_empty();
    assert_eq!((first(&whole), first(&adapted)), (false, true));
    assert!(adapted.layout.layers[1..].iter().all(|layer| !layer.qkv.transposed.is_empty()));
}

#[test]
fn saved_and_restored_adapters_go_on_with_the_same_bits() {
    let batch = Expected::of("qwen2").batch();
    let learn = |native: &mut Native| {
        native.accumulate(&batch, Want::default(), &mut |stats| Ok(mean_nll(stats, &batch).1)).unwrap();
        native.step(&adamw()).unwrap()
    };
    let mut never_stopped = stirred("qwen2", 4, 1);
    never_stopped.add_value_head();
    for _ in 0..3 {
        learn(&mut never_stopped);
    }
    let directory = tempfile::tempdir().unwrap();
    never_stopped.save_model(directory.path()).unwrap();
    never_stopped.save_optimizer(directory.path()).unwrap();
    assert!(AdapterCheckpoint::is_at(directory.path()));
    let mut resumed = open("qwen2", 2);
    resumed.add_value_head();
    resumed.adapt(&lora(4, &[ALL_LINEAR]), 77).unwrap();
    resumed.restore(directory.path(), directory.path()).unwrap();
    assert_eq!(resumed.version(), 3);
    for _ in 0..3 {
        assert_eq!(learn(&mut never_stopped), learn(&mut resumed));
    }
    assert!(bits(&never_stopped.flat) == bits(&resumed.flat));
    // The adapter names its base, so its directory opens by itself.
    let alone = Native::open(directory.path(), 1).unwrap();
    assert!(
        alone.model().value_head
            && alone.adapter()
                == Some(&lora(4, &alone.adapter().unwrap().targets.iter().map(String::as_str).collect::<Vec<_>>()))
    );
}

#[test]
fn a_merged_adapter_is_a_plain_checkpoint_with_the_same_answers() {
    for name in ADAPTERS {
        let batch = Expected::of(&format!("lora/{name}")).batch();
        let mut native = open_adapted(name, 1);
        let adapted = native.score(&batch, ENTROPY).unwrap();
        native.merge_adapter();
        assert!(native.adapter().is_none());
        let directory = tempfile::tempdir().unwrap();
        native.save_model(directory.path()).unwrap();
        let merged = Native::open(directory.path(), 1).unwrap();
        assert_eq!(merged.model(), open(name, 1).model());
        let (got, want) = (merged.score(&batch, ENTROPY).unwrap(), adapted);
        for (got, want) in got.logp.flat().iter().zip(want.logp.flat()) {
            assert!((got - want).abs() < 2e-5, "{name}: {got} {want}");
        }
        let len = merged.sizes()["model.norm.weight"];
        assert!(native.learned_tensors().len() == merged.model().tensors().iter().filter(|s| !s.is_buffer()).count());
        assert_eq!(
            native.tensor(&native.flat, 0, "model.norm.weight", len),
            merged.tensor(&merged.flat, 0, "model.norm.weight", len)
        );
    }
}

#[test]
fn an_adapters_first_numbers_are_pefts() {
    let mut native = open("llama", 1);
    native.adapt(&lora(64, &["down_proj", "self_attn.q_proj"]), 5).unwrap();
    let names: Vec<String> = native.learned_tensors().into_iter().map(|spec| spec.name).collect();
    assert_eq!(
        names[..2],
        ["q_proj.lora_A", "q_proj.lora_B"].map(|n| format!("base_model.model.model.layers.0.self_attn.{n}.weight"))
    );
    assert_eq!(names.len(), 2 * 2 * native.model().layers);
    let inputs = native.model().hidden;
    let a = native.tensor(&native.flat, 0, &names[0], 64 * inputs);
    let bound = 1.0 / (inputs as f32).sqrt();
    let variance = a.iter().map(|x| x * x).sum::<f32>() / a.len() as f32;
    assert!(a.iter().all(|x| x.abs() <= bound) && (variance / (bound * bound / 3.0) - 1.0).abs() < 0.1, "{variance}");
    assert!(native.tensor(&native.flat, 0, &names[1], 64 * inputs).iter().all(|x| *x == 0.0));
    assert_eq!((lora(4, &[]).scale(), LoraConfig { rslora: true, ..lora(4, &[]) }.scale()), (4.0, 8.0));
}

#[test]
fn what_cannot_be_adapted_is_refused_by_name() {
    let mut native = open("glm4_moe", 1);
    for (config, code, words) in [
        (lora(0, &[ALL_LINEAR]), "A001", "rank"),
        (LoraConfig { alpha: f64::NAN, ..lora(4, &[ALL_LINEAR]) }, "A001", "alpha"),
        (lora(4, &[]), "A001", "adapts nothing"),
        (lora(4, &["q_porj"]), "A002", "`q_porj` names no linear"),
        (lora(4, &["proj"]), "A002", "`proj`"),
        (lora(4, &["lm_head"]), "A003", "`lm_head`"),
        (lora(4, &["mlp.experts"]), "A003", "routed experts"),
    ] {
        let problem = native.adapt(&config, 1).unwrap_err();
        assert_eq!((problem.code(), problem.kind()), (code, Kind::Usage), "{problem:?}");
        assert!(problem.message().contains(words), "{problem:?}");
    }
    native.adapt(&lora(4, &["q_proj"]), 1).unwrap();
    assert_eq!(native.adapt(&lora(4, &["q_proj"]), 1).unwrap_err().code(), "A004");
}

#[test]
fn adapters_that_are_not_computed_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let refusal = |edit: &dyn Fn(&mut serde_json::Value)| {
        for file in ["adapter_config.json", "adapter_model.safetensors"] {
            std::fs::copy(adapter("llama").join(file), directory.path().join(file)).unwrap();
        }
        let path = directory.path().join("adapter_config.json");
        let mut json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        edit(&mut json);
        std::fs::write(&path, json.to_string()).unwrap();
        Native::open_adapter(directory.path(), Some(&golden("llama")), 1).err().unwrap()
    };
    for (key, value) in [
        ("use_dora", serde_json::json!(true)),
        ("bias", serde_json::json!("lora_only")),
        ("lora_bias", serde_json::json!(true)),
        ("fan_in_fan_out", serde_json::json!(true)),
        ("rank_pattern", serde_json::json!({"q_proj": 8})),
        ("alpha_pattern", serde_json::json!({"q_proj": 8})),
        ("init_lora_weights", serde_json::json!("pissa")),
        ("modules_to_save", serde_json::json!(["embed_tokens"])),
        ("peft_type", serde_json::json!("IA3")),
        ("some_later_feature", serde_json::json!(3)),
    ] {
        let problem = refusal(&|json| json[key] = value.clone());
        assert_eq!((problem.code(), problem.kind()), ("M031", Kind::Model), "{key}: {problem:?}");
        let named = problem.message().contains(key) || problem.message().contains("IA3");
        assert!(named, "{key}: {problem:?}");
    }
    assert_eq!(refusal(&|json| json["r"] = serde_json::json!(5)).code(), "M032", "another rank than the tensors'");
    assert_eq!(refusal(&|json| json["r"] = serde_json::json!(-1)).code(), "M030");
    let other = Native::open_adapter(&adapter("qwen3"), Some(&golden("qwen2")), 1).err().unwrap();
    assert_eq!(other.code(), "M032", "{other:?}");
    let nothing = Native::open_adapter(&golden("llama"), None, 1).err().unwrap();
    assert_eq!(nothing.code(), "M030");
}

/// Writes what PEFT and transformers are to read, where `LAPIDARY_KEEP` names a folder (see `tests/golden/lora/check.py`).
#[test]
fn files_for_peft_and_transformers() {
    let Some(folder) = std::env::var_os("LAPIDARY_KEEP").map(PathBuf::from) else {
        println!("skipped: LAPIDARY_KEEP is not set");
        return;
    };
    let write = |native: &Native, name: &str| {
        let directory = folder.join(name);
        std::fs::create_dir_all(&directory).unwrap();
        native.save_model(&directory).unwrap();
        let batch = Expected::of("llama").batch();
        let told = if native.model().language_head {
            native.score(&batch, Want::default()).unwrap().logp.flat().to_vec()
        } else {
            let mut batch = TokenBatch::default();
            Expected::of("llama").batch().tokens.iter().for_each(|row| batch.push(row, &vec![false; row.len()], 1.0));
            native.score(&batch, Want { reward: true, ..Want::default() }).unwrap().reward.unwrap()
        };
        std::fs::write(directory.join("told.json"), serde_json::to_string(&told).unwrap()).unwrap();
    };
    write(&stirred("llama", 4, 1), "adapter");
    let mut merged = stirred("llama", 4, 1);
    merged.merge_adapter();
    write(&merged, "merged");
    let mut reward = open("llama", 1);
    reward.add_reward_head(3);
    reward.drop_language_head();
    write(&reward, "reward");
    reward.adapt(&lora(4, &["q_proj"]), 5).unwrap();
    stir(&mut reward);
    write(&reward, "reward_adapter");
    let mut both = open("llama", 1);
    both.add_reward_head(3);
    both.add_value_head();
    write(&both, "both");
}
