//! Ids and renderings against those of Hugging Face and jinja2. Needs `LAPIDARY_DATA`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::io::Read;
use std::path::{Path, PathBuf};

use lapidary_core::{GgufVocabulary, Message, PromptText};
use lapidary_text::{ChatTemplate, RenderOptions, Tokenizer};
use serde_json::Value;

fn data() -> Option<PathBuf> {
    let data = std::env::var_os("LAPIDARY_DATA").map(PathBuf::from);
    if data.is_none() {
        println!("skipped: LAPIDARY_DATA is not set");
    }
    data
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn smollm2_json(data: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(data.join("smollm2_tokenizer.json.gz")).unwrap();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes
}

fn smollm2(data: &Path) -> Tokenizer {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("tokenizer.json"), smollm2_json(data)).unwrap();
    let config = r#"{"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}"#;
    std::fs::write(directory.path().join("tokenizer_config.json"), config).unwrap();
    Tokenizer::from_directory(directory.path()).unwrap()
}

/// The GGUF metadata that the tokenizer.json of SmolLM2 was made from.
fn smollm2_gguf(data: &Path) -> GgufVocabulary {
    let file: Value = serde_json::from_slice(&smollm2_json(data)).unwrap();
    let tokens: Vec<String> = file["model"]["vocab"].as_object().unwrap().keys().cloned().collect();
    let pair = |pair: &Value| format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap());
    let control = file["added_tokens"].as_array().unwrap().len();
    GgufVocabulary {
        model: "gpt2".to_string(),
        pre: "smollm".to_string(),
        merges: file["model"]["merges"].as_array().unwrap().iter().map(pair).collect(),
        token_types: (0..tokens.len()).map(|id| if id < control { 3 } else { 1 }).collect(),
        tokens,
        bos: Some(1),
        eos: Some(2),
        pad: Some(2),
        ..GgufVocabulary::default()
    }
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

#[test]
fn smollm2_gives_the_ids_of_hugging_face_from_both_formats() {
    let Some(data) = data() else { return };
    let cases = json(&data.join("tokenizer_cases.json"));
    let models = [smollm2(&data), Tokenizer::from_gguf(&smollm2_gguf(&data)).unwrap()];
    let mut checked = 0;
    for tokenizer in &models {
        assert_eq!((tokenizer.vocabulary(), tokenizer.eos(), tokenizer.adds_bos()), (49_152, Some(2), false));
        for (text, expected) in cases["texts"].as_array().unwrap().iter().zip(cases["smollm2"].as_array().unwrap()) {
            let text = text.as_str().unwrap();
            assert_eq!(tokenizer.encode(text), ids(expected), "{text:?}");
            assert_eq!(tokenizer.decode_with_specials(&ids(expected)), text);
            checked += 1;
        }
        for case in json(&data.join("golden_smollm2.json"))["cases"].as_array().unwrap() {
            assert_eq!(tokenizer.encode(case["prompt"].as_str().unwrap()), ids(&case["ids"]));
            checked += 1;
        }
    }
    println!("{checked} texts");
    assert!(checked >= 60);
}

#[test]
fn stories260k_gives_the_ids_of_llama2_c() {
    let Some(data) = data() else { return };
    let tokenizer = Tokenizer::from_directory(&data.join("models/stories260K-hf")).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.vocabulary()), (Some(1), Some(2), 512));
    for case in json(&data.join("golden_stories260K.json"))["cases"].as_array().unwrap() {
        let prompt = case["prompt"].as_str().unwrap();
        let expected = ids(&case["ids"]);
        assert_eq!(tokenizer.encode_prompt(&PromptText::Text(prompt.to_string())).unwrap(), expected, "{prompt:?}");
        assert_eq!(tokenizer.encode(prompt), expected[1..]);
        assert_eq!(tokenizer.decode(&expected), prompt);
    }
}

#[test]
fn chat_templates_render_as_jinja2_does() {
    let Some(data) = data() else { return };
    let templates = json(&data.join("chat_templates.json"));
    let file = json(&data.join("chat_template_cases.json"));
    let specials = |template: &str| match template {
        "llama3" => vec![("bos_token".to_string(), "<|begin_of_text|>".to_string())],
        _ => Vec::new(),
    };
    let cases = file["cases"].as_array().unwrap();
    for case in cases {
        let name = case["template"].as_str().unwrap();
        let messages: Vec<Message> =
            serde_json::from_value(file["conversations"][case["conversation"].as_str().unwrap()].clone()).unwrap();
        let tools =
            if case["tools"].as_bool().unwrap() { file["tools"].as_array().unwrap().clone() } else { Vec::new() };
        let options = RenderOptions {
            add_generation_prompt: case["add_generation_prompt"].as_bool().unwrap(),
            tools,
            extra: case["kwargs"].as_object().unwrap().clone(),
            ..RenderOptions::default()
        };
        let template = ChatTemplate::new(templates[name].as_str().unwrap(), name);
        let rendered = template.render(&messages, &specials(name), &options).unwrap();
        assert_eq!(rendered, case["rendered"].as_str().unwrap(), "{name} {}", case["conversation"]);
    }
    println!("{} renderings", cases.len());
    assert!(cases.len() >= 41);
}

/// Where each token wrote in the decoded text: a merged blank belongs to its word, half characters share one, special
/// tokens write nothing.
#[test]
fn places_of_tokens_cover_the_text() {
    let Some(data) = data() else { return };
    let tokenizer = smollm2(&data);
    for text in ["so it is 12.5, and 72.", " 6 × 12 = 72 — 🦙🦙 naïve", "a\n\nb  c", "漢字かな交じり文"]
    {
        let mut ids = tokenizer.encode(text);
        ids.insert(2, tokenizer.eos().unwrap());
        ids.push(tokenizer.eos().unwrap());
        let (places, whole) = (tokenizer.places(&ids), tokenizer.decode(&ids));
        assert_eq!(places.len(), ids.len());
        assert!(places[2].is_empty() && places[ids.len() - 1].is_empty(), "{text}: {places:?}");
        let mut end = 0;
        for (id, place) in ids.iter().zip(&places).filter(|(id, _)| !tokenizer.is_special(**id)) {
            assert!(place.start <= end && place.end >= end, "{text}: {places:?}");
            end = place.end;
            let written = &whole[place.clone()];
            let own = tokenizer.decode(&[*id]);
            assert!(own.contains('\u{FFFD}') || own == written, "{own:?} {written:?}");
        }
        assert_eq!(end, whole.len(), "{text}");
    }
    let ids = tokenizer.encode("it is 72");
    let places = tokenizer.places(&ids);
    assert_eq!(places[2].start, 5, "the blank before the number is its token's: {places:?}");
}
