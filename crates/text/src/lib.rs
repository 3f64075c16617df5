//! Tokenizers, chat templates and the masks that come from them.
//!
//! ```text
//! directory │ GGUF │ built-in ─▶ Tokenizer ─▶ ids, masks ─▶ engine
//!                                   └─ ChatTemplate ─▶ text
//! ```
//! Ids are made from text once, here, and never re-derived from text: a rollout is continued by appending ids.
//! Codes of problems: T001 nothing to load · T002 broken or unusable tokenizer · T003 a file above its bound ·
//! T004 a named special token that does not exist · T005 more tokens than the model has rows · T006 an unusable GGUF
//! vocabulary · T010 a template that does not parse · T011 a template that fails · T012 a template above its bounds ·
//! T013 a template that refuses the conversation · T014 a template that rewrites earlier turns · T015 no template ·
//! T016 no end token · T017 no assistant turn.

mod characters;
mod directory;
mod files;
mod gguf;
pub mod limits;
mod masks;
mod peek;
mod specials;
mod stream;
mod template;
mod tokenizer;

pub use masks::MaskedTokens;
pub use stream::TextStream;
pub use template::{ChatTemplate, RenderOptions};
pub use tokenizer::Tokenizer;
