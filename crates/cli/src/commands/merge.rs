//! `lapidary merge`: an adapter folded into the model that it adapts.

use std::path::PathBuf;

use clap::Args;
use lapidary_core::{Kind, Problem};
use lapidary_engine::Engine;
use lapidary_train::model::{Opened, open};
use serde_json::json;

use crate::output::{Output, theme};
use crate::stop::Outcome;

/// Fold an adapter into its model and save the result as a plain Hugging Face directory
///
/// The base is the model that the adapter names, or --model. The new directory needs neither of them, and opens in
/// Lapidary and in transformers.
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary merge runs/math/checkpoints/step-000200 --out math-merged")]
pub struct Merge {
    /// An adapter of PEFT: a checkpoint of a run with `[adapter]`, or a directory that PEFT saved
    adapter: PathBuf,
    /// Where the merged model goes: a directory that is not there yet, or an empty one
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// The model that is adapted, if it is not where the adapter says
    #[arg(short, long, value_name = "DIR")]
    model: Option<String>,
    /// Seed of a preset that was adapted
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Merge {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Outcome {
        let adapter = self.adapter.to_string_lossy();
        let Opened { mut native, tokenizer } = match &self.model {
            Some(model) => open(model, Some(&self.adapter), self.seed, 0)?,
            None => open(&adapter, None, self.seed, 0)?,
        };
        if native.adapter().is_none() {
            return Err(Problem::new(
                Kind::Usage,
                "U014",
                format!("`{adapter}` is no adapter: there is nothing to merge"),
            )
            .hint("an adapter directory holds adapter_config.json and adapter_model.safetensors")
            .into());
        }
        let occupied = std::fs::read_dir(&self.out).is_ok_and(|mut entries| entries.next().is_some());
        if occupied {
            return Err(Problem::new(Kind::Usage, "U015", format!("`{}` is not empty", self.out.display()))
                .hint("name a new directory for --out")
                .into());
        }
        native.merge_adapter();
        std::fs::create_dir_all(&self.out).map_err(|error| Problem::io("make", &self.out, &error))?;
        native.save_model(&self.out)?;
        if let Some(tokenizer) = &tokenizer {
            tokenizer.save(&self.out)?;
        }
        let out = self.out.to_string_lossy();
        if output.json {
            return output
                .json(&json!({ "adapter": adapter, "merged": out, "parameters": native.model().parameters() }));
        }
        output.line(format!("merged into {}", theme::path(out)))
    }
}
