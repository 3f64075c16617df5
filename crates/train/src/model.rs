//! From what a recipe calls its model to an engine with its tokenizer.

use std::path::Path;

use lapidary_core::{Kind, Problem, Result};
use lapidary_engine::hf::{AdapterCheckpoint, Checkpoint};
use lapidary_engine::native::Native;
use lapidary_engine::{Engine, Experts, Family, LoraConfig, ModelConfig, Router};
use lapidary_text::Tokenizer;

use crate::recipe::Recipe;

/// Makes an engine of a saved model's directory: how the frozen reference of a KL term comes to be.
pub type Reopen = Box<dyn Fn(&Path) -> Result<Box<dyn Engine>>>;

/// A model that can be trained, sampled from and saved.
pub struct LoadedModel {
    /// Weights and what computes with them.
    pub engine: Box<dyn Engine>,
    /// Its tokenizer; never has more ids than the model has rows.
    pub tokenizer: Tokenizer,
    /// Opens what [`Engine::save_model`] wrote.
    pub reopen: Reopen,
}

/// A model that comes with the program: its name, what it is, its shape.
pub struct Preset {
    /// The name in a recipe.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Its shape for a vocabulary and its special tokens.
    shape: fn(&Tokenizer) -> ModelConfig,
}

/// Models that start from nothing, with the built-in character tokenizer.
pub fn presets() -> &'static [Preset] {
    &[
        Preset {
            name: "tiny",
            summary: "0.8 M parameters, 4 layers of width 128, characters as tokens, a context of 256; learns arithmetic in minutes on a laptop",
            shape: tiny,
        },
        Preset {
            name: "tiny-moe",
            summary: "2.6 M parameters of which a token uses 0.8 M: `tiny` with 8 experts per layer, 2 of them per token (qwen3_moe)",
            shape: tiny_moe,
        },
    ]
}

fn tiny(tokenizer: &Tokenizer) -> ModelConfig {
    ModelConfig {
        family: Family::Llama,
        vocabulary: tokenizer.vocabulary(),
        hidden: 128,
        layers: 4,
        heads: 4,
        kv_heads: 2,
        head_width: 32,
        rotary_width: 32,
        feed_forward: 384,
        experts: None,
        context: 256,
        rope_theta: 10_000.0,
        rope_scaling: None,
        norm_epsilon: 1e-5,
        qkv_bias: false,
        output_bias: false,
        qk_norm: false,
        tied: true,
        language_head: true,
        value_head: false,
        reward_head: false,
        bos: tokenizer.bos(),
        eos: tokenizer.eos().into_iter().collect(),
    }
}

/// As [`tiny`], with two experts of half its feed-forward's width per token.
fn tiny_moe(tokenizer: &Tokenizer) -> ModelConfig {
    let experts = Experts {
        count: 8,
        per_token: 2,
        feed_forward: 192,
        shared_feed_forward: 0,
        router: Router::Softmax,
        renormalise: true,
        scale: 1.0,
        dense_layers: Vec::new(),
    };
    ModelConfig {
        family: Family::Qwen3Moe,
        experts: Some(experts),
        norm_epsilon: 1e-6,
        qk_norm: true,
        ..tiny(tokenizer)
    }
}

/// An opened model with its tokenizer, where it has one.
pub struct Opened {
    /// Weights and what computes with them.
    pub native: Native,
    /// What makes ids of words; a directory without `tokenizer.json` has none.
    pub tokenizer: Option<Tokenizer>,
}

/// Opens a preset (initialised from `seed`), a Hugging Face directory, a GGUF file, or an adapter of PEFT with the model that
/// it names; with `adapter` that adapter is put on top. Results do not depend on `threads`; 0 takes one per core.
///
/// # Errors
/// `Model`: nothing there, an unusable checkpoint, adapter or tokenizer, a tokenizer with more ids than the model has rows.
pub fn open(source: &str, adapter: Option<&Path>, seed: u64, threads: usize) -> Result<Opened> {
    let path = Path::new(source);
    let mut opened = if let Some(preset) = presets().iter().find(|preset| preset.name == source) {
        let tokenizer = Tokenizer::characters();
        let native = Native::initialise((preset.shape)(&tokenizer), seed, threads)?;
        Opened { native, tokenizer: Some(tokenizer) }
    } else if AdapterCheckpoint::is_at(path) {
        let mut opened = open_checkpoint(&AdapterCheckpoint::open(path)?.base()?, threads)?;
        take_adapter(&mut opened, path)?;
        opened
    } else if path.exists() {
        open_checkpoint(path, threads)?
    } else {
        let names: Vec<&str> = presets().iter().map(|preset| preset.name).collect();
        return Err(Problem::new(Kind::Model, "M001", format!("there is no model `{source}`")).hint(format!(
            "give a Hugging Face directory, a GGUF file, an adapter of PEFT, or a built-in preset (`{}`)",
            names.join("`, `")
        )));
    };
    if let Some(adapter) = adapter {
        take_adapter(&mut opened, adapter)?;
    }
    Ok(opened)
}

fn open_checkpoint(path: &Path, threads: usize) -> Result<Opened> {
    let checkpoint = Checkpoint::open(path)?;
    let tokenizer = match checkpoint.gguf_vocabulary() {
        Some(vocabulary) => Some(Tokenizer::from_gguf(vocabulary)?),
        None => tokenizer_at(checkpoint.path())?,
    };
    if let Some(tokenizer) = &tokenizer {
        tokenizer.check_vocabulary(checkpoint.config.vocabulary)?;
    }
    Ok(Opened { native: Native::from_checkpoint(&checkpoint, threads)?, tokenizer })
}

fn tokenizer_at(directory: &Path) -> Result<Option<Tokenizer>> {
    directory.join("tokenizer.json").exists().then(|| Tokenizer::from_directory(directory)).transpose()
}

/// Puts the adapter on the model; a tokenizer that was saved with it is meant for it.
fn take_adapter(opened: &mut Opened, directory: &Path) -> Result<()> {
    opened.native.take_adapter(&AdapterCheckpoint::open(directory)?)?;
    if let Some(tokenizer) = tokenizer_at(directory)? {
        tokenizer.check_vocabulary(opened.native.model().vocabulary)?;
        opened.tokenizer = Some(tokenizer);
    }
    Ok(())
}

/// As [`open`], of a model that must have a tokenizer.
pub fn load(source: &str, seed: u64, threads: usize) -> Result<LoadedModel> {
    load_adapted(source, None, seed, threads)
}

/// As [`load`], with fresh adapters on a frozen model where `adapter` asks for them.
pub fn load_adapted(source: &str, adapter: Option<&LoraConfig>, seed: u64, threads: usize) -> Result<LoadedModel> {
    load_with(source, ([false; 2], adapter), seed, threads)
}

/// The model of a recipe: with a value head where a stage has a critic, a reward head where one trains it, and with fresh adapters where it asks for them.
pub(crate) fn load_for(recipe: &Recipe, threads: usize) -> Result<LoadedModel> {
    let heads = [recipe.needs_value_head(), recipe.needs_reward_head()];
    load_with(&recipe.model, (heads, recipe.adapter.as_ref()), recipe.seed, threads)
}

fn load_with(
    source: &str,
    ([value_head, reward_head], adapter): ([bool; 2], Option<&LoraConfig>),
    seed: u64,
    threads: usize,
) -> Result<LoadedModel> {
    let Opened { mut native, tokenizer } = open(source, None, seed, threads)?;
    let tokenizer = tokenizer.map_or_else(|| Tokenizer::from_directory(Path::new(source)), Ok)?;
    if value_head {
        native.add_value_head();
    }
    if reward_head {
        native.add_reward_head(seed);
    }
    if let Some(adapter) = adapter {
        native.adapt(adapter, seed)?;
    }
    let reopen: Reopen = Box::new(move |directory| Ok(Box::new(Native::open(directory, threads)?)));
    Ok(LoadedModel { engine: Box::new(native), tokenizer, reopen })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_the_sizes_that_they_say() {
        let tokenizer = Tokenizer::characters();
        for (preset, all, active) in presets().iter().zip(["0.8 M", "2.6 M"]).map(|(p, all)| (p, all, "0.8 M")) {
            let shape = (preset.shape)(&tokenizer);
            let millions = |count: usize| format!("{:.1} M", count as f64 / 1e6);
            assert_eq!(
                (millions(shape.parameters()), millions(shape.active_parameters())),
                (all.into(), active.into())
            );
            assert!(preset.summary.contains(all) && preset.summary.contains(active), "{}", preset.summary);
        }
        assert_eq!(presets().iter().map(|preset| preset.name).collect::<Vec<_>>(), ["tiny", "tiny-moe"]);
    }
}
