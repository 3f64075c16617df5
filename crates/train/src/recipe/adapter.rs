//! `[adapter]`: few numbers that learn on top of a model that stays as it is.

use lapidary_core::Result;
use lapidary_engine::{ALL_LINEAR, LoraConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::check::Checker;
use super::names;

/// LoRA (Hu et al. 2021, arXiv 2106.09685): the model is frozen, and pairs of narrow matrices on its linears learn in every
/// stage. A checkpoint is then an adapter directory of PEFT; `lapidary merge` makes a plain model of it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAdapter {
    /// Width of the pair: how many directions a linear can learn. Default 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub rank: Option<u64>,
    /// What the pair adds is multiplied with `alpha / rank`. Default 32.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub alpha: Option<f64>,
    /// Multiply with `alpha / √rank` instead (arXiv 2312.03732). Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rslora: Option<bool>,
    /// Which linears, by their names' ends (`q_proj`, `mlp.down_proj`), as PEFT reads them. Default `["all-linear"]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub targets: Option<Vec<String>>,
}

impl Checker<'_> {
    /// The table, on a model that has learned something.
    pub fn adapter(&self, raw: RawAdapter, model: &str) -> Result<LoraConfig> {
        if names::PRESETS.contains(&model) {
            return Err(self
                .wrong_table("R030", format!("the preset `{model}` starts from nothing: there is nothing to adapt"))
                .hint(
                    "train it whole first, and adapt its checkpoint: `model = \"runs/NAME/checkpoints/step-000100\"`",
                ));
        }
        let rank = self.count("rank", raw.rank, 16, 1)?;
        let positive = |number: f64| number > 0.0 && number.is_finite();
        let alpha = self.number("alpha", raw.alpha, 32.0, positive, "a number above 0")?;
        let targets = raw.targets.unwrap_or_else(|| vec![ALL_LINEAR.into()]);
        Ok(LoraConfig { rank: rank as usize, alpha, rslora: raw.rslora.unwrap_or(false), targets })
    }
}

/// The table with every key.
pub(super) fn entries(adapter: &LoraConfig) -> Vec<(&'static str, Value)> {
    vec![
        ("rank", json!(adapter.rank)),
        ("alpha", json!(adapter.alpha)),
        ("rslora", json!(adapter.rslora)),
        ("targets", json!(adapter.targets)),
    ]
}
