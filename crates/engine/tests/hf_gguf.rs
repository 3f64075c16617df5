//! GGUF files, from a writer of our own, and the one real file where it is at hand.
#![allow(clippy::unwrap_used)] // a failed step of a test is a failed test

mod fixtures;

use fixtures::{Gguf, f32_bytes, golden, refusal, tensors};
use lapidary_engine::hf::{Checkpoint, save};
use lapidary_engine::{RopeScaling, TensorSpec};

fn open(gguf: &Gguf) -> Checkpoint {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.gguf");
    std::fs::write(&path, gguf.bytes()).unwrap();
    Checkpoint::open(&path).unwrap()
}

fn refused(gguf: &Gguf) -> (&'static str, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.gguf");
    std::fs::write(&path, gguf.bytes()).unwrap();
    let problem = refusal(&path);
    (problem.code(), problem.message().replace(&format!("{}/", directory.path().display()), ""))
}

fn golden_gguf(family: &str) -> Gguf {
    let checkpoint = Checkpoint::open(&golden(family)).unwrap();
    Gguf::of(&checkpoint.config, &tensors(&checkpoint))
}

#[test]
fn a_golden_model_as_gguf_is_the_golden_model() {
    for family in ["llama", "qwen2", "qwen3"] {
        let original = Checkpoint::open(&golden(family)).unwrap();
        for version in [2, 3] {
            let again = open(&Gguf { version, ..golden_gguf(family) });
            assert_eq!(again.config, original.config, "{family}");
            assert_eq!(tensors(&again), tensors(&original), "{family}");
            assert!(again.unused().is_empty());
        }
    }
}

#[test]
fn a_gguf_model_is_saved_as_a_hugging_face_directory() {
    let checkpoint = open(&golden_gguf("qwen2"));
    let directory = tempfile::tempdir().unwrap();
    save(directory.path(), checkpoint.raw_config(), None, tensors_of_file(&golden_gguf("qwen2"))).unwrap();
    let again = Checkpoint::open(directory.path()).unwrap();
    assert_eq!(again.config, checkpoint.config);
}

fn tensors_of_file(gguf: &Gguf) -> Vec<(TensorSpec, Vec<f32>)> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.gguf");
    std::fs::write(&path, gguf.bytes()).unwrap();
    tensors(&Checkpoint::open(&path).unwrap())
}

/// 0.5, 2 and −0.25 as halves.
const HALF: [u8; 2] = [0x00, 0x38];
const TWO: [u8; 2] = [0x00, 0x40];
const MINUS_QUARTER: [u8; 2] = [0x00, 0xb4];

#[test]
fn every_small_block_type_decodes_to_hand_computed_values() {
    // Byte j is 0x10·(15 − j mod 16) + j: its low nibble is j, its high nibble 15 − j.
    let packed: Vec<u8> = (0..16).map(|j| 0x10 * (15 - j) + j).collect();
    let nibble = |i: usize| if i < 16 { i as f32 } else { (31 - i) as f32 };
    let bytes: Vec<u8> = (0..32i16).map(|j| (j * 8 - 128) as u8).collect();
    // Values 16 to 31 have their fifth bit set.
    let fifth: [u8; 4] = 0xffff_0000u32.to_le_bytes();
    let five = |i: usize| nibble(i) + if i < 16 { 0.0 } else { 16.0 };
    let nonlinear =
        [-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0];
    let cases: [(u32, Vec<u8>, Vec<f32>); 9] = [
        (0, f32_bytes(&[1.5; 32]), vec![1.5; 32]),
        (1, HALF.repeat(32), vec![0.5; 32]),
        (30, [0x40, 0xc0].repeat(32), vec![-3.0; 32]),
        (2, [&HALF[..], &packed].concat(), (0..32).map(|i| (nibble(i) - 8.0) * 0.5).collect()),
        (3, [&TWO[..], &MINUS_QUARTER, &packed].concat(), (0..32).map(|i| nibble(i) * 2.0 - 0.25).collect()),
        (6, [&HALF[..], &fifth, &packed].concat(), (0..32).map(|i| (five(i) - 16.0) * 0.5).collect()),
        (7, [&TWO[..], &MINUS_QUARTER, &fifth, &packed].concat(), (0..32).map(|i| five(i) * 2.0 - 0.25).collect()),
        (20, [&TWO[..], &packed].concat(), (0..32).map(|i| nonlinear[nibble(i) as usize] * 2.0).collect()),
        (8, [&MINUS_QUARTER[..], &bytes].concat(), (0..32).map(|i| (i as f32 * 8.0 - 128.0) * -0.25).collect()),
    ];
    for (kind, block, expected) in cases {
        let mut gguf = golden_gguf("llama");
        gguf.tensor("output_norm.weight", &[32], kind, block.clone());
        // The same block as every row of a matrix, to see more than one block decoded.
        gguf.tensor("blk.1.attn_v.weight", &[32, 16], kind, block.repeat(16));
        let values = tensors_of_file(&gguf);
        let of = |name: &str| &values.iter().find(|(spec, _)| spec.name == name).unwrap().1;
        assert_eq!(*of("model.norm.weight"), expected, "type {kind}");
        assert_eq!(*of("model.layers.1.self_attn.v_proj.weight"), expected.repeat(16), "type {kind}");
    }
}

/// `golden/gguf/make.py` wrote random blocks of every type with ggml's Python package, and what its numpy code makes of them.
#[test]
fn random_blocks_of_every_type_have_the_bits_of_ggmls_own_package() {
    let checkpoint = Checkpoint::open(&golden("gguf").join("blocks.gguf")).unwrap();
    let file = std::fs::read(golden("gguf").join("blocks.safetensors")).unwrap();
    let expected = safetensors::SafeTensors::deserialize(&file).unwrap();
    let mut kinds = std::collections::BTreeMap::new();
    for (name, view) in expected.tensors() {
        let (kind, name) = name.split_once(':').unwrap();
        let spec = TensorSpec { name: name.into(), shape: view.shape().to_vec() };
        let values = checkpoint.read(&spec).unwrap();
        assert_eq!(f32_bytes(&values), view.data(), "{kind} {name}");
        *kinds.entry(kind.to_string()).or_insert(0) += values.len();
    }
    let names = "BF16 F16 IQ4_NL IQ4_XS Q2_K Q3_K Q4_0 Q4_1 Q4_K Q5_0 Q5_1 Q5_K Q6_K Q8_0";
    assert_eq!(kinds.keys().cloned().collect::<Vec<_>>().join(" "), names);
    assert!(kinds.values().all(|&values| values >= 512), "{kinds:?}");
}

#[test]
fn the_vocabulary_is_handed_out_as_it_is() {
    let mut gguf = golden_gguf("llama");
    let types = |kinds: [i32; 3]| kinds.map(|kind| kind.to_le_bytes().to_vec()).to_vec();
    gguf.text("tokenizer.ggml.model", "gpt2");
    gguf.text("tokenizer.ggml.pre", "smollm");
    gguf.texts("tokenizer.ggml.tokens", &["<s>", "Ġa", "é"]);
    gguf.texts("tokenizer.ggml.merges", &["Ġ a"]);
    gguf.list("tokenizer.ggml.token_type", 5, types([3, 1, 1]));
    gguf.list("tokenizer.ggml.scores", 6, [0.5f32, -1.0, 2.0].map(|score| score.to_le_bytes().to_vec()).to_vec());
    gguf.u32("tokenizer.ggml.padding_token_id", 0);
    gguf.u32("tokenizer.ggml.bos_token_id", u32::MAX);
    gguf.flag("tokenizer.ggml.add_bos_token", false);
    gguf.text("tokenizer.chat_template", "{{ messages }}");
    let checkpoint = open(&gguf);
    let vocabulary = checkpoint.gguf_vocabulary().unwrap();
    assert_eq!((vocabulary.model.as_str(), vocabulary.pre.as_str()), ("gpt2", "smollm"));
    assert_eq!((vocabulary.tokens.join("|"), vocabulary.merges.join("|")), ("<s>|Ġa|é".into(), "Ġ a".into()));
    assert_eq!((vocabulary.token_types.clone(), vocabulary.scores.clone()), (vec![3, 1, 1], vec![0.5, -1.0, 2.0]));
    assert_eq!((vocabulary.bos, vocabulary.eos, vocabulary.pad), (None, Some(2), Some(0)));
    assert_eq!((vocabulary.add_bos, vocabulary.add_space_prefix), (Some(false), None));
    assert_eq!(vocabulary.chat_template.as_deref(), Some("{{ messages }}"));
    assert_eq!((checkpoint.config.bos, checkpoint.config.eos.as_slice()), (None, &[2][..]));
    assert!(Checkpoint::open(&golden("llama")).unwrap().gguf_vocabulary().is_none());

    gguf.list("tokenizer.ggml.token_type", 5, types([3, 1, 1])[..2].to_vec());
    let expected = "metadata `tokenizer.ggml.token_type` of `model.gguf` must be one integer per token; it is a list of 2 integers";
    assert_eq!(refused(&gguf), ("M005", expected.to_string()));
}

#[test]
fn rotary_divisors_are_traced_back_to_the_llama3_rule() {
    let mut gguf = golden_gguf("llama");
    gguf.f32("llama.rope.freq_base", 500_000.0);
    // Head width 8: wavelengths 2π·500000^(i/4) = 6.28, 167, 4443, 118142. Up to 2048 kept, beyond 8192 divided by 32;
    // 4443: s = (8192/4442.9 − 1)/3 = 0.281285, divisor 1/((1 − s)/32 + s) = 3.292074.
    gguf.tensor("rope_freqs.weight", &[4], 0, f32_bytes(&[1.0, 1.0, 3.292_074, 32.0]));
    let llama3 = RopeScaling::Llama3 {
        factor: 32.0,
        low_frequency_factor: 1.0,
        high_frequency_factor: 4.0,
        original_context: 8192,
    };
    let checkpoint = open(&gguf);
    assert_eq!((checkpoint.config.rope_scaling, checkpoint.config.rope_theta), (Some(llama3), 500_000.0));
    assert!(checkpoint.unused().is_empty());

    gguf.tensor("rope_freqs.weight", &[4], 0, f32_bytes(&[1.0, 1.0, 5.0, 32.0]));
    assert_eq!(refused(&gguf).0, "M007");

    let mut gguf = golden_gguf("llama");
    gguf.text("llama.rope.scaling.type", "linear");
    gguf.f32("llama.rope.scaling.factor", 4.0);
    assert_eq!(open(&gguf).config.rope_scaling, Some(RopeScaling::Linear { factor: 4.0 }));
    gguf.text("llama.rope.scaling.type", "yarn");
    let (code, message) = refused(&gguf);
    assert_eq!(code, "M007");
    assert!(message.contains("RoPE of type `yarn`"), "{message}");
}

#[test]
fn what_cannot_be_computed_is_refused_by_name() {
    let change = |change: &dyn Fn(&mut Gguf)| {
        let mut gguf = golden_gguf("llama");
        change(&mut gguf);
        refused(&gguf)
    };
    type Case<'a> = (&'a dyn Fn(&mut Gguf), &'a str, &'a str);
    let cases: [Case; 14] = [
        (&|g| g.text("general.architecture", "gemma3"), "M006", "does not compute architecture `gemma3`"),
        (&|g| g.u32("llama.expert_count", 8), "M007", "a mixture of 8 experts"),
        (&|g| g.u32("llama.rope.dimension_count", 4), "M007", "the rotated part of a head are 4 wide, its keys 8"),
        (&|g| g.u32("llama.attention.sliding_window", 64), "M007", "sliding-window attention over 64 tokens"),
        (
            &|g| g.tensor("blk.0.attn_q.bias", &[32], 0, vec![0; 128]),
            "M010",
            "`model.layers.0.self_attn.k_proj.bias` is missing",
        ),
        (&|g| g.metadata.retain(|entry| entry.0 != "llama.block_count"), "M005", "`llama.block_count` of"),
        (&|g| g.u32("llama.block_count", 3), "M010", "tensor `model.layers.2.input_layernorm.weight` is missing"),
        (&|g| g.tensor("output_norm.weight", &[31], 0, vec![0; 124]), "M011", "shape [31], expected [32]"),
        (&|g| g.tensor("blk.0.attn_v.weight", &[32, 16], 19, vec![0; 288]), "M012", "`blk.0.attn_v.weight` of"),
        (&|g| g.tensor("blk.0.attn_v.weight", &[31, 16], 8, vec![0; 544]), "M008", "cannot have shape [16, 31]"),
        // Superblocks need rows of a multiple of 256.
        (&|g| g.tensor("blk.0.attn_v.weight", &[32, 16], 12, vec![0; 288]), "M008", "cannot have shape [16, 32]"),
        (&|g| g.version = 1, "M008", "version 1 of the format"),
        (&|g| g.version = 3u32.swap_bytes(), "M008", "big-endian"),
        (&|g| g.tensor("blk.0.attn_v.weight", &[1 << 40, 1 << 40], 0, vec![]), "M008", "cannot have shape"),
    ];
    for (how, code, words) in cases {
        let (got, message) = change(how);
        assert_eq!(got, code, "{message}");
        assert!(message.contains(words), "{message}");
    }
    let (_, message) = change(&|g| g.tensor("blk.0.attn_v.weight", &[32, 16], 19, vec![0; 288]));
    assert!(message.ends_with("has type IQ1_S"), "{message}");
}

#[test]
fn a_header_that_claims_too_much_costs_nothing() {
    let claims = |at: usize, value: u64| {
        let mut bytes = golden_gguf("llama").bytes();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.gguf");
        std::fs::write(&path, bytes).unwrap();
        let problem = refusal(&path);
        assert_eq!(problem.code(), "M008");
        problem.message().to_string()
    };
    assert!(claims(8, 1 << 60).contains("claims 1152921504606846976 tensors"));
    assert!(claims(16, u64::MAX).contains("metadata entries"));
    assert!(claims(24, u64::MAX).contains("a metadata key claims"), "length of the first key");
    let mut gguf = golden_gguf("llama");
    let mut list = 6u32.to_le_bytes().to_vec();
    list.extend((1u64 << 61).to_le_bytes());
    gguf.put("tokenizer.ggml.scores", 9, list);
    assert!(refused(&gguf).1.contains("claims 2305843009213693952 elements"));
    for (length, words) in [(1u64 << 40, "claims 1099511627776 bytes"), (1 << 20, "ends early")] {
        let mut gguf = golden_gguf("llama");
        gguf.put("tokenizer.chat_template", 8, length.to_le_bytes().to_vec());
        assert!(refused(&gguf).1.contains(words));
    }
}

/// Σ value·(index mod 1009 + 1) in f64 over numpy's own dequantisation (and un-permutation) of the same blocks, which
/// agreed with this reader bit for bit on all 272 tensors.
const SMOLLM2_SUMS: [(&str, &[usize], f64); 5] = [
    ("model.embed_tokens.weight", &[49152, 576], -7820164.797816753),
    ("model.layers.7.self_attn.q_proj.weight", &[576, 576], -48279.77819824219),
    ("model.layers.29.self_attn.k_proj.weight", &[192, 576], 42919.932846069336),
    ("model.layers.3.mlp.down_proj.weight", &[576, 1536], 44041.635108947754),
    ("model.norm.weight", &[576], 299776.453125),
];

#[test]
fn smollm2_opens_with_every_tensor() {
    let Some(models) = std::env::var_os("LAPIDARY_MODELS") else {
        println!("skipped: LAPIDARY_MODELS (a folder with SmolLM2-135M-Instruct.Q4_1.gguf) is not set");
        return;
    };
    let path = std::path::Path::new(&models).join("SmolLM2-135M-Instruct.Q4_1.gguf");
    let checkpoint = Checkpoint::open(&path).unwrap();
    assert_eq!((checkpoint.config.parameters(), checkpoint.config.tied), (134_515_008, true));
    assert_eq!((checkpoint.config.rope_theta, checkpoint.config.norm_epsilon), (1e5, 1e-5));
    let vocabulary = checkpoint.gguf_vocabulary().unwrap();
    assert_eq!((vocabulary.tokens.len(), vocabulary.merges.len()), (49_152, 48_900));
    for (name, shape, sum) in SMOLLM2_SUMS {
        let spec = TensorSpec { name: name.into(), shape: shape.to_vec() };
        let values = checkpoint.read(&spec).unwrap();
        let got: f64 = values.iter().enumerate().map(|(i, &value)| f64::from(value) * ((i % 1009) as f64 + 1.0)).sum();
        assert!((got - sum).abs() <= 1e-9 * sum.abs().max(1.0), "{name}: {got} {sum}");
    }
}
