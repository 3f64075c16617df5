//! Which tokens are the assistant's.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use lapidary_core::{Kind, Message, PromptText, Role};
use lapidary_text::{ChatTemplate, GgufVocabulary, MaskedTokens, RenderOptions, Tokenizer};
use proptest::prelude::*;

const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Byte-level letters with ChatML's special tokens and one merge across a newline.
fn chatml(template: &str) -> Tokenizer {
    let mut tokens: Vec<String> = ["<|im_start|>", "<|im_end|>"].map(str::to_string).to_vec();
    tokens.extend((b'!'..=b'~').map(|byte| char::from(byte).to_string()));
    tokens.extend(["Ċ", "Ġ", "ĊĊ"].map(str::to_string));
    let token_types = (0..tokens.len()).map(|id| if id < 2 { 3 } else { 1 }).collect();
    Tokenizer::from_gguf(GgufVocabulary {
        model: "gpt2".into(),
        pre: "gpt-2".into(),
        tokens,
        token_types,
        merges: vec!["Ċ Ċ".into()],
        eos: Some(1),
        chat_template: Some(template.into()),
        ..GgufVocabulary::default()
    })
    .unwrap()
}

fn talk(turns: &[(Role, &str)]) -> Vec<Message> {
    turns.iter().map(|&(role, text)| Message::new(role, text)).collect()
}

fn marked(tokenizer: &Tokenizer, masked: &MaskedTokens) -> String {
    let mut out = String::new();
    let mut inside = false;
    for (&id, &own) in masked.tokens.iter().zip(&masked.mask) {
        if own != inside {
            out.push(if own { '[' } else { ']' });
            inside = own;
        }
        out += &tokenizer.decode_with_specials(&[id]);
    }
    if inside { out + "]" } else { out }
}

#[test]
fn the_assistant_owns_its_words_and_its_end_token() {
    let tokenizer = chatml(CHATML);
    let messages = talk(&[(Role::User, "Hi"), (Role::Assistant, "Yo!"), (Role::User, "Bye"), (Role::Assistant, "")]);
    let masked = tokenizer.assistant_mask(&messages, &RenderOptions::default()).unwrap();
    assert_eq!(
        marked(&tokenizer, &masked),
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n[Yo!<|im_end|>]\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n[<|im_end|>]\n"
    );
    assert_eq!(masked.tokens, tokenizer.encode_chat(&messages, &RenderOptions::default()).unwrap());
}

#[test]
fn a_turn_is_tokenised_as_it_is_sampled() {
    let tokenizer = chatml(CHATML);
    let messages = talk(&[(Role::User, "Hi"), (Role::Assistant, "\n\nYo")]);
    let masked = tokenizer.assistant_mask(&messages, &RenderOptions::default()).unwrap();
    let prompt = tokenizer.encode_prompt(&PromptText::Messages(messages[..1].to_vec())).unwrap();
    assert_eq!(masked.tokens[..prompt.len()], prompt, "no token spans the prompt and the answer");
    assert_eq!(masked.mask.iter().position(|&own| own), Some(prompt.len()));
    let whole = tokenizer.encode_chat(&messages, &RenderOptions::default()).unwrap();
    assert_ne!(whole, masked.tokens, "the control: tokenised whole, two newlines across the border are one token");
    assert_eq!(tokenizer.decode_with_specials(&whole), tokenizer.decode_with_specials(&masked.tokens));
}

#[test]
fn templates_that_rewrite_turns_are_refused_by_turn() {
    let forgetful = "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and loop.last %}thought {% endif %}{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    let tokenizer = chatml(forgetful);
    let one = talk(&[(Role::User, "a"), (Role::Assistant, "b")]);
    let masked = tokenizer.assistant_mask(&one, &RenderOptions::default()).unwrap();
    assert!(marked(&tokenizer, &masked).ends_with("[thought b<|im_end|>]\n"));
    let two = talk(&[(Role::User, "a"), (Role::Assistant, "b"), (Role::User, "c"), (Role::Assistant, "d")]);
    let problem = tokenizer.assistant_mask(&two, &RenderOptions::default()).unwrap_err();
    assert_eq!((problem.code(), problem.kind()), ("T014", Kind::Data));
    assert!(problem.message().contains("message 2"), "{problem}");
    assert!(problem.reasons()[0].contains("thought b"), "{problem}");

    let other_prompt = CHATML
        .replace("assistant\\n' }}", "assistant: ' }}")
        .replace("'<|im_start|>assistant\n'", "'<|im_start|>bot\n'");
    let problem = chatml(&other_prompt).assistant_mask(&one, &RenderOptions::default()).unwrap_err();
    assert!(problem.code() == "T014" && problem.message().contains("message 2"), "{problem}");
}

#[test]
fn conversations_without_an_assistant_teach_nothing() {
    let problem = chatml(CHATML).assistant_mask(&talk(&[(Role::User, "a")]), &RenderOptions::default()).unwrap_err();
    assert_eq!(problem.code(), "T017");
    let none = chatml(CHATML).with_chat_template(None);
    assert_eq!(none.assistant_mask(&talk(&[(Role::User, "a")]), &RenderOptions::default()).unwrap_err().code(), "T015");
    let broken = chatml("{% if %}").assistant_mask(&talk(&[(Role::User, "a")]), &RenderOptions::default());
    assert_eq!(broken.unwrap_err().code(), "T010");
}

#[test]
fn a_template_without_end_tokens_gives_the_whole_turn() {
    let bare = "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}";
    let tokenizer = chatml(bare);
    let masked =
        tokenizer.assistant_mask(&talk(&[(Role::User, "a"), (Role::Assistant, "b")]), &RenderOptions::default());
    assert_eq!(marked(&tokenizer, &masked.unwrap()), "user:a;assistant:[b;]");
}

#[test]
fn a_demonstration_is_prompt_completion_and_end() {
    let tokenizer = Tokenizer::characters();
    let example = tokenizer.encode_example(&PromptText::Text("1+1=".into()), "2").unwrap();
    assert_eq!(example.tokens, [1, 22, 16, 22, 34, 23, 2]);
    assert_eq!(example.mask, [false, false, false, false, false, true, true]);
    let chat = chatml(CHATML);
    let example = chat.encode_example(&PromptText::Messages(talk(&[(Role::User, "q")])), "\na").unwrap();
    assert_eq!(marked(&chat, &example), "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n[\na<|im_end|>]");
    let empty = tokenizer.encode_example(&PromptText::Text(String::new()), "").unwrap();
    assert_eq!((empty.tokens, empty.mask), (vec![1, 2], vec![false, true]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn masks_cover_exactly_the_assistants_words(turns in prop::collection::vec("[a-z\n ]{0,12}", 1..6)) {
        let tokenizer = chatml(CHATML);
        let role = |at: usize| if at.is_multiple_of(2) { Role::User } else { Role::Assistant };
        let mut messages: Vec<Message> = turns.iter().enumerate().map(|(at, text)| Message::new(role(at), text.clone())).collect();
        messages.push(Message::new(Role::Assistant, "end"));
        let masked = tokenizer.assistant_mask(&messages, &RenderOptions::default()).unwrap();
        let own: Vec<u32> = masked.tokens.iter().zip(&masked.mask).filter(|(_, own)| **own).map(|(id, _)| *id).collect();
        let expected: String = messages.iter().filter(|m| m.role == Role::Assistant).map(|m| m.content.clone() + "<|im_end|>").collect();
        prop_assert_eq!(tokenizer.decode_with_specials(&own), expected);
        let whole = tokenizer.render(&messages, &RenderOptions::default()).unwrap();
        prop_assert_eq!(tokenizer.decode_with_specials(&masked.tokens), whole);
    }
}

#[test]
fn a_broken_template_leaves_plain_text_alone() {
    let tokenizer = chatml("{% broken");
    assert_eq!(tokenizer.chat_template().map(|template| template.check().is_err()), Some(true));
    assert_eq!(tokenizer.encode_prompt(&PromptText::Text("ab".into())).unwrap(), tokenizer.encode("ab"));
    assert!(ChatTemplate::new(CHATML, "x").check().is_ok());
}
