//! Which linears an adapter of low rank adapts, and how strongly.

use serde::{Deserialize, Serialize};

use crate::{ModelConfig, TensorSpec};
use lapidary_core::{Kind, Problem, Result};

/// The target that means every linear that PEFT's `all-linear` means: attention, dense and shared feed-forwards.
pub const ALL_LINEAR: &str = "all-linear";
/// Largest rank: an adapter beyond it is no smaller than the weights it spares.
const MAX_RANK: usize = 4096;

/// LoRA (Hu et al. 2021, arXiv 2106.09685): `y = W·x + scale·B·(A·x)` with W frozen, A `[rank, in]` and B `[out, rank]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoraConfig {
    /// Rows of A, columns of B.
    pub rank: usize,
    /// Numerator of the scale.
    pub alpha: f64,
    /// Whether the scale is `alpha/√rank` (Kalajdzievski 2023, arXiv 2312.03732) instead of `alpha/rank`.
    pub rslora: bool,
    /// Which linears, by PEFT's rule: the whole name of a module or what it ends with after a dot (`q_proj`,
    /// `self_attn.o_proj`), or [`ALL_LINEAR`].
    pub targets: Vec<String>,
}

impl LoraConfig {
    /// What `B·(A·x)` is multiplied with.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.rslora { rank.sqrt() } else { rank }
    }

    /// How many numbers the adapters of a model hold.
    pub fn parameters(&self, model: &ModelConfig) -> Result<usize> {
        let modules: std::collections::HashSet<String> = self.modules(model)?.into_iter().collect();
        let adapted = |spec: &TensorSpec| spec.name.strip_suffix(".weight").is_some_and(|name| modules.contains(name));
        Ok(model.tensors().iter().filter(|spec| adapted(spec)).map(|s| self.rank * s.shape.iter().sum::<usize>()).sum())
    }

    /// The names of the model's linears that the targets mean, in the order of a forward pass.
    ///
    /// # Errors
    /// `A001` ([`Kind::Usage`]) for a rank or alpha that makes no adapter, `A002` for a target that names no linear, `A003` for one that
    /// names something that cannot be adapted.
    pub fn modules(&self, model: &ModelConfig) -> Result<Vec<String>> {
        let wrong = |what: String| Problem::new(Kind::Usage, "A001", what);
        if !(1..=MAX_RANK).contains(&self.rank) {
            return Err(wrong(format!("the rank of an adapter must be from 1 to {MAX_RANK}, got {}", self.rank)));
        }
        if !(self.alpha > 0.0 && self.alpha.is_finite()) {
            return Err(wrong(format!("`alpha` of an adapter must be a positive number, got {}", self.alpha)));
        }
        if self.targets.is_empty() {
            return Err(
                wrong("an adapter without targets adapts nothing".into()).hint(format!("say [\"{ALL_LINEAR}\"]"))
            );
        }
        let linears = linears(model);
        for target in &self.targets {
            if target != ALL_LINEAR && !linears.iter().any(|name| meant(target, name)) {
                return Err(no_such_linear(target, &linears));
            }
        }
        let meant_by_any =
            |name: &String| self.targets.iter().any(|target| target == ALL_LINEAR || meant(target, name));
        Ok(linears.into_iter().filter(meant_by_any).collect())
    }
}

/// PEFT's rule for a list of targets.
fn meant(target: &str, module: &str) -> bool {
    module == target || module.strip_suffix(target).is_some_and(|rest| rest.ends_with('.'))
}

/// Every linear that an adapter can have: all but the heads, the router and the routed experts.
pub(crate) fn linears(model: &ModelConfig) -> Vec<String> {
    let names = model.tensors().into_iter().filter_map(|spec| spec.name.strip_suffix(".weight").map(str::to_string));
    names.filter(|name| name.ends_with("_proj") && !name.contains(".experts.")).collect()
}

fn no_such_linear(target: &str, linears: &[String]) -> Problem {
    let fixed = ["lm_head", "embed_tokens", "norm", "score", "value_head"];
    if fixed.iter().any(|name| target.ends_with(name)) {
        return Problem::new(Kind::Usage, "A003", format!("`{target}` cannot be adapted: it stays as it is"))
            .why("embedding, norms and the language head are frozen; value and reward heads are trained whole");
    }
    if target.contains("experts") || target.ends_with("gate") {
        return Problem::new(
            Kind::Usage,
            "A003",
            format!("`{target}` cannot be adapted: routers and routed experts stay frozen"),
        )
        .why("PEFT stores adapters of experts differently for each version of transformers")
        .hint("adapt the attention and the shared experts: targets = [\"all-linear\"]");
    }
    let mut kinds: Vec<&str> = linears.iter().filter_map(|name| name.rsplit('.').next()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    Problem::new(Kind::Usage, "A002", format!("`{target}` names no linear of the model"))
        .hint(format!("its linears end with {}", kinds.join(", ")))
}
