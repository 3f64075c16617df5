//! Directories as Hugging Face writes them: read, written, and refused with words that help.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::path::Path;
use std::time::Instant;

use lapidary_core::{Kind, Message, PromptText, Role};
use lapidary_text::{ChatTemplate, RenderOptions, Tokenizer};
use proptest::prelude::*;
use serde_json::{Value, json};

fn added(id: u32, content: &str) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
}

/// Byte-level BPE with every byte, one merge, and two special tokens.
fn byte_level() -> Value {
    let visible = |byte: u8| match byte {
        b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
        _ => {
            let hidden = (0..byte).filter(|b| !matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)).count() as u32;
            char::from_u32(256 + hidden).unwrap()
        }
    };
    let mut vocab: serde_json::Map<String, Value> =
        (0..=255u8).map(|byte| (visible(byte).to_string(), byte.into())).collect();
    vocab.insert("he".into(), 256.into());
    json!({
        "version": "1.0", "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "!"},
        "added_tokens": [added(257, "<|user|>"), added(258, "<|end|>")],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": 0.5, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
                  "fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocab, "merges": [["h", "e"]]}
    })
}

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn load(files: &[(&str, &str)]) -> lapidary_core::Result<Tokenizer> {
    Tokenizer::from_directory(directory(files).path())
}

const CONFIG: &str = r#"{"eos_token": {"content": "<|end|>", "special": true}, "model_max_length": 4096,
    "chat_template": "{% for m in messages %}<|user|>{{ m.role }}: {{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|user|>{% endif %}"}"#;

fn small() -> Tokenizer {
    load(&[("tokenizer.json", &byte_level().to_string()), ("tokenizer_config.json", CONFIG)]).unwrap()
}

#[test]
fn ids_depend_on_the_text_alone() {
    let tokenizer = small();
    for _ in 0..20 {
        assert_eq!(tokenizer.encode("hehe, he"), [256, 256, 44, 220 - 188, 256], "no truncation, padding or dropout");
    }
    assert_eq!(tokenizer.encode("<|user|>h"), [257, 104]);
    assert_eq!((tokenizer.vocabulary(), tokenizer.eos(), tokenizer.bos()), (259, Some(258), None));
    assert!(tokenizer.is_special(258) && !tokenizer.is_special(256) && !tokenizer.is_special(9_999));
    assert_eq!(tokenizer.token_text(9_999), "<9999>");
    assert_eq!(tokenizer.id_of("<|end|>"), Some(258));
}

#[test]
fn half_characters_become_the_replacement_character() {
    let tokenizer = small();
    let ids = tokenizer.encode("é!");
    assert_eq!(ids.len(), 3);
    assert_eq!(tokenizer.decode(&ids[1..]), "\u{FFFD}!");
    assert_eq!(tokenizer.decode(&[257, 104, 258, 4_000_000_000]), "h");
    assert_eq!(tokenizer.decode_with_specials(&[257, 104, 258]), "<|user|>h<|end|>");
}

#[test]
fn what_is_saved_loads_as_the_same_tokenizer() {
    for tokenizer in [small(), Tokenizer::characters()] {
        let saved = tempfile::tempdir().unwrap();
        tokenizer.save(saved.path()).unwrap();
        let again = Tokenizer::from_directory(saved.path()).unwrap();
        for text in ["", "he said: 2+2=4\n", "naïve 你好 🙂", "<|user|>x<|end|>", "<bos>1<eos>"] {
            assert_eq!(again.encode(text), tokenizer.encode(text));
            assert_eq!(
                again.encode_prompt(&PromptText::Text(text.into())).unwrap(),
                tokenizer.encode_prompt(&PromptText::Text(text.into())).unwrap()
            );
        }
        assert_eq!(again.vocabulary(), tokenizer.vocabulary());
        assert_eq!((again.bos(), again.eos(), again.pad()), (tokenizer.bos(), tokenizer.eos(), tokenizer.pad()));
        assert_eq!(again.end_tokens(), tokenizer.end_tokens());
        assert_eq!(
            again.chat_template().map(ChatTemplate::source),
            tokenizer.chat_template().map(ChatTemplate::source)
        );
        // A second generation is the same files, byte for byte.
        let twice = tempfile::tempdir().unwrap();
        again.save(twice.path()).unwrap();
        for name in ["tokenizer.json", "tokenizer_config.json"] {
            let read = |directory: &Path| std::fs::read(directory.join(name)).unwrap();
            assert_eq!(read(saved.path()), read(twice.path()), "{name}");
        }
    }
}

#[test]
fn templates_come_from_the_file_or_the_configuration() {
    let tokenizer = byte_level().to_string();
    let list =
        r#"{"chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]}"#;
    let named = load(&[("tokenizer.json", &tokenizer), ("tokenizer_config.json", list)]).unwrap();
    let messages = [Message::new(Role::User, "x")];
    let with_tools = RenderOptions { tools: vec![json!({})], ..RenderOptions::default() };
    assert_eq!(named.render(&messages, &RenderOptions::default()).unwrap(), "plain");
    assert_eq!(named.render(&messages, &with_tools).unwrap(), "tools");
    let saved = tempfile::tempdir().unwrap();
    named.save(saved.path()).unwrap();
    assert_eq!(Tokenizer::from_directory(saved.path()).unwrap().render(&messages, &with_tools).unwrap(), "tools");

    let file =
        [("tokenizer.json", tokenizer.as_str()), ("tokenizer_config.json", CONFIG), ("chat_template.jinja", "file")];
    assert_eq!(load(&file).unwrap().render(&messages, &RenderOptions::default()).unwrap(), "file");
    let none = load(&[("tokenizer.json", &tokenizer)]).unwrap();
    assert_eq!(none.render(&messages, &RenderOptions::default()).unwrap_err().code(), "T015");
    assert_eq!(none.encode_prompt(&PromptText::Messages(messages.to_vec())).unwrap(), none.encode("x"));
    let given = none.with_chat_template(Some(ChatTemplate::new("given", "x")));
    assert_eq!(given.render(&messages, &RenderOptions::default()).unwrap(), "given");
}

#[test]
fn end_tokens_come_from_every_file_that_names_them() {
    let tokenizer = byte_level().to_string();
    let generation = r#"{"eos_token_id": [256, 258]}"#;
    let both = load(&[
        ("tokenizer.json", &tokenizer),
        ("tokenizer_config.json", CONFIG),
        ("generation_config.json", generation),
    ]);
    assert_eq!(both.unwrap().end_tokens(), [256, 258]);
    let only = load(&[("tokenizer.json", &tokenizer), ("config.json", r#"{"eos_token_id": 258}"#)]).unwrap();
    assert_eq!((only.eos(), only.end_tokens()), (Some(258), [258].as_slice()));
    let map =
        load(&[("tokenizer.json", &tokenizer), ("special_tokens_map.json", r#"{"bos_token": "<|user|>"}"#)]).unwrap();
    assert_eq!((map.bos(), map.eos(), map.adds_bos()), (Some(257), None, false));
    assert_eq!(map.encode_example(&PromptText::Text("h".into()), "e").unwrap_err().code(), "T016");
}

#[test]
fn bos_is_added_as_the_files_say() {
    let mut file = byte_level();
    let ids = |file: &Value, config: &str| {
        let tokenizer = load(&[("tokenizer.json", &file.to_string()), ("tokenizer_config.json", config)]).unwrap();
        assert_eq!(tokenizer.encode("h"), [104], "never behind the caller's back");
        tokenizer.encode_prompt(&PromptText::Text("h".into())).unwrap()
    };
    let bos = r#"{"bos_token": "<|user|>"}"#;
    assert_eq!(ids(&file, bos), [104]);
    assert_eq!(ids(&file, r#"{"bos_token": "<|user|>", "add_bos_token": true}"#), [257, 104]);
    assert_eq!(ids(&file, r#"{"add_bos_token": true}"#), [104]);
    file["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|user|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|user|>": {"id": "<|user|>", "ids": [257], "tokens": ["<|user|>"]}}
    });
    assert_eq!(ids(&file, bos), [257, 104]);
    assert_eq!(ids(&file, r#"{"bos_token": "<|user|>", "add_bos_token": false}"#), [104]);
}

#[test]
fn problems_say_what_to_do() {
    let empty = load(&[]).unwrap_err();
    assert_eq!((empty.code(), empty.kind()), ("T001", Kind::Model));
    let absent = Tokenizer::from_directory(Path::new("/nonexistent/model")).unwrap_err();
    assert!(absent.code() == "T001" && absent.reasons()[0].contains("no such directory"));
    let sentence_piece = load(&[("tokenizer.model", "")]).unwrap_err();
    assert!(
        sentence_piece.code() == "T001" && sentence_piece.advice().unwrap().contains("use_fast=True"),
        "{sentence_piece}"
    );
    assert!(load(&[("vocab.json", "{}")]).unwrap_err().advice().unwrap().contains("save_pretrained"));

    let broken = load(&[("tokenizer.json", "{\"model\":\n  {\"type\": \"BPE\",,}}")]).unwrap_err();
    let place = broken.place().unwrap();
    assert_eq!((broken.code(), place.line, place.text.as_str()), ("T002", 2, "  {\"type\": \"BPE\",,}}"), "{broken}");
    let one_line = format!("{{\"model\": \"{}\" oops}}", "x".repeat(100_000));
    let place = load(&[("tokenizer.json", &one_line)]).unwrap_err().place().cloned().unwrap();
    assert!(place.text.len() < 200 && place.text.chars().nth(place.column - 1) == Some('o'), "{place:?}");

    let config = load(&[("tokenizer.json", &byte_level().to_string()), ("tokenizer_config.json", "{\n]")]).unwrap_err();
    assert_eq!((config.code(), config.place().unwrap().line), ("T002", 2));
    let other =
        load(&[("tokenizer.json", &byte_level().to_string()), ("tokenizer_config.json", r#"{"eos_token": "</s>"}"#)]);
    assert_eq!(other.unwrap_err().code(), "T004");
    for text in ["{}", "[]", "null", "{\"model\": {}}", "\u{0}"] {
        assert_eq!(load(&[("tokenizer.json", text)]).unwrap_err().code(), "T002", "{text:?}");
    }
    let latin = directory(&[]);
    std::fs::write(latin.path().join("tokenizer.json"), [b'{', 0xE9]).unwrap();
    assert_eq!(Tokenizer::from_directory(latin.path()).unwrap_err().code(), "T002");
}

#[test]
fn contradicting_tables_are_refused_and_break_nothing() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut file = byte_level();
        change(&mut file["model"]);
        load(&[("tokenizer.json", &file.to_string())])
    };
    assert!(with(&|_| {}).is_ok(), "the control is usable");
    let refused = |change: &dyn Fn(&mut Value)| assert_eq!(with(change).unwrap_err().code(), "T002");
    refused(&|model| model["merges"] = json!([["he", "he"]]));
    refused(&|model| model["merges"] = json!([["h", "zzz"]]));
    refused(&|model| model["merges"] = json!(["h"]));
    refused(&|model| model["continuing_subword_prefix"] = json!("##"));
    refused(&|model| model["unk_token"] = json!("<unk>"));
    refused(&|model| model["vocab"] = json!({"a": -1}));
    refused(&|model| model["dropout"] = json!(7.0));
    refused(&|model| model["type"] = json!("Unheard"));

    // A post-processor that names a token it does not define breaks the reader at its first use.
    let mut file = byte_level();
    file["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|user|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"other": {"id": "<|user|>", "ids": [257], "tokens": ["<|user|>"]}}
    });
    assert_eq!(load(&[("tokenizer.json", &file.to_string())]).unwrap_err().code(), "T002");
}

/// RELIABILITY S4: load ≤ 5 s, encode 1 MB ≤ 2 s.
#[test]
fn hostile_sizes_and_patterns_take_bounded_time() {
    let mut file = byte_level();
    let mut vocab = file["model"]["vocab"].as_object().unwrap().clone();
    let mut merges = Vec::new();
    // A chain: a, aa, aaa, … is the slowest kind of table to merge with.
    let mut chain = "a".to_string();
    for id in 300..1_300u32 {
        merges.push(json!([chain.clone(), "a"]));
        chain.push('a');
        vocab.insert(chain.clone(), id.into());
    }
    file["model"]["vocab"] = vocab.into();
    file["model"]["merges"] = merges.into();
    file["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "(a|a)*(?!.)b|(a+)+$"}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]});
    let start = Instant::now();
    let hostile = load(&[("tokenizer.json", &file.to_string())]).unwrap();
    println!("load: {:?}", start.elapsed());
    for text in ["a".repeat(1_000_000) + "c", "ab".repeat(500_000), " ".repeat(1_000_000), "🙂".repeat(250_000)] {
        for (name, tokenizer) in [("plain", small()), ("hostile", hostile.clone())] {
            let start = Instant::now();
            let ids = tokenizer.encode(&text);
            let took = start.elapsed();
            println!("{name}: {} bytes of {:?}: {} ids in {took:?}", text.len(), &text[..4], ids.len());
            assert!(took.as_secs_f64() < 10.0, "{took:?} (2 s on an idle machine)");
            assert_eq!(tokenizer.decode(&ids), text);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bytes_come_back_as_they_went_in(text in "\\PC{0,60}|[ \n\t]{0,20}") {
        let tokenizer = small();
        prop_assume!(!text.contains("<|"));
        let ids = tokenizer.encode(&text);
        prop_assert_eq!(&tokenizer.decode(&ids), &text);
        let mut stream = tokenizer.stream();
        let mut streamed = String::new();
        for &id in &ids {
            let piece = stream.push(id);
            let half = piece.contains('\u{FFFD}') && !text.contains('\u{FFFD}');
            prop_assert!(!half, "half a character was handed out");
            streamed += &piece;
        }
        prop_assert_eq!(streamed + &stream.finish(), text);
    }
}

#[test]
fn a_stream_waits_for_whole_characters_and_gives_halves_up_at_the_end() {
    let tokenizer = small();
    let ids = tokenizer.encode("h🙂");
    let mut stream = tokenizer.stream();
    let pieces: Vec<String> = ids.iter().map(|&id| stream.push(id)).collect();
    assert_eq!(pieces, ["h", "", "", "", "🙂"]);
    let mut cut = tokenizer.stream();
    ids[..3].iter().for_each(|&id| drop(cut.push(id)));
    assert_eq!(cut.finish(), "\u{FFFD}");
    let mut broken = tokenizer.stream();
    let text: String = (0..30).map(|_| broken.push(ids[1])).collect::<String>();
    assert!(text.chars().count() > 10, "bytes that never become a character are not held back for ever");
}
