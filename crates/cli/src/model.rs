//! Models that are only asked, not trained.

use std::path::{Path, PathBuf};

use clap::Args;
use lapidary_core::{Kind, Problem, PromptText, Result};
use lapidary_engine::Engine;
use lapidary_text::Tokenizer;

use crate::input::Sequence;

/// Which model is asked.
#[derive(Args, Debug)]
pub struct ModelFlags {
    /// A Hugging Face directory, a checkpoint, a GGUF file, an adapter of PEFT, or a built-in preset
    #[arg(short, long, value_name = "DIR")]
    pub model: String,
    /// An adapter of PEFT to put on the model
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// Threads that compute; 0 is one per core. Results do not depend on it
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub threads: usize,
}

/// A model, with its tokenizer where it has one.
pub struct Asked {
    /// What computes.
    pub engine: Box<dyn Engine>,
    /// What makes ids of words; token ids can be asked about without it.
    tokenizer: Option<Tokenizer>,
    source: String,
}

impl ModelFlags {
    /// Opens the model.
    pub fn open(&self, seed: u64) -> Result<Asked> {
        open(&self.model, self.adapter.as_deref(), seed, self.threads)
    }
}

/// Opens a model, with an adapter on top where one is given. A Hugging Face directory without `tokenizer.json` opens too: ids
/// can be asked about without one.
pub fn open(source: &str, adapter: Option<&Path>, seed: u64, threads: usize) -> Result<Asked> {
    let opened = lapidary_train::model::open(source, adapter, seed, threads)?;
    Ok(Asked { engine: Box::new(opened.native), tokenizer: opened.tokenizer, source: source.into() })
}

impl Asked {
    /// The tokenizer; an error where the model has none.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        self.tokenizer.as_ref().ok_or_else(|| {
            Problem::new(Kind::Model, "T001", format!("`{}` has no tokenizer.json", self.source))
                .why("words cannot be turned into tokens without it")
                .hint("give token ids: {\"ids\": [1, 2, 3]}")
        })
    }

    /// The words of ids, where the model has a tokenizer.
    pub fn words(&self, ids: &[u32]) -> Option<String> {
        Some(self.tokenizer.as_ref()?.decode(ids))
    }

    /// One token for people to read.
    pub fn token(&self, id: u32) -> String {
        self.tokenizer.as_ref().map_or_else(String::new, |tokenizer| tokenizer.token_text(id))
    }

    /// Ids of a sequence as a line gave it.
    pub fn ids(&self, sequence: Sequence) -> Result<Vec<u32>> {
        match sequence {
            Sequence::Ids(ids) => Ok(ids),
            Sequence::Prompt(prompt) => self.prompt_ids(&prompt),
        }
    }

    /// Ids of a prompt, through the chat template where it is messages and the model has one.
    pub fn prompt_ids(&self, prompt: &PromptText) -> Result<Vec<u32>> {
        self.tokenizer()?.encode_prompt(prompt)
    }

    /// Tokens that end an answer: those of the model and those of its tokenizer.
    pub fn end_tokens(&self) -> Vec<u32> {
        let mut ends = self.engine.model().eos.clone();
        ends.extend(self.tokenizer.iter().flat_map(|tokenizer| tokenizer.end_tokens().iter().copied()));
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    /// Refuses a sequence that does not fit the model's context with `room` more tokens; `what` names it.
    pub fn check_length(&self, tokens: usize, room: usize, what: &str) -> Result<()> {
        let context = self.engine.model().context;
        if tokens + room <= context {
            return Ok(());
        }
        let more = if room > 0 { " and leaves no room for an answer" } else { "" };
        Err(Problem::new(Kind::Data, "D041", format!("{what} has {tokens} tokens, the context is {context}{more}"))
            .hint("shorten it, or use a model with a longer context"))
    }
}
