//! Methods: one file each, one line each in the registry. Adding a method touches nothing else.

mod dapo;
mod dr_grpo;
mod grpo;
mod gspo;
mod reinforce;
mod rloo;
mod sft;

use crate::metrics::Metric;
use crate::objective::Objective;

/// Every method, in the order of the docs.
static REGISTRY: &[Method] =
    &[sft::METHOD, reinforce::METHOD, rloo::METHOD, grpo::METHOD, dr_grpo::METHOD, dapo::METHOD, gspo::METHOD];

/// What a method learns from, and so what a stage must give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodKind {
    /// Demonstrations: a stage of kind `sft`.
    Supervised,
    /// Rewards of several answers per prompt: a stage of kind `rl`.
    Group {
        /// Fewer `samples_per_prompt` make every advantage 0.
        min_samples: usize,
    },
    /// Rewards of single answers: a stage of kind `rl` with any `samples_per_prompt`.
    Single,
}

/// Why a default is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// A key of [`crate::Overrides`].
    pub key: &'static str,
    /// Where the value comes from.
    pub source: &'static str,
}

/// A value for a key of the stage that the method was published or is run with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suggestion {
    /// A key of the stage: `samples_per_prompt`, `updates_per_rollout`, `learning_rate`.
    pub key: &'static str,
    /// The value.
    pub value: f64,
    /// Where it comes from.
    pub source: &'static str,
}

/// A row of the registry.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// Its name in a recipe.
    pub name: &'static str,
    /// Its name among people.
    pub title: &'static str,
    /// Where it was published.
    pub paper: &'static str,
    /// The loss that is minimised, in plain text; several lines.
    pub equation: &'static str,
    /// What it is, in a sentence.
    pub summary: &'static str,
    /// When to use it.
    pub when: &'static str,
    /// How it differs from its neighbours.
    pub differs: &'static str,
    /// What it learns from.
    pub kind: MethodKind,
    /// The vetted objective.
    pub defaults: fn() -> Objective,
    /// A source for every setting of the defaults.
    pub sources: &'static [Source],
    /// Stage values that go with it.
    pub suggestions: &'static [Suggestion],
}

impl Method {
    /// The metrics that a run of this method logs, with a reference and entropies at hand.
    pub fn metrics(&self) -> Vec<&'static Metric> {
        crate::page::metrics_of(self)
    }

    /// The method's page in the docs, in Markdown.
    pub fn page(&self) -> String {
        crate::page::page_of(self)
    }

    /// The suggested value of a key of the stage.
    pub fn suggestion(&self, key: &str) -> Option<f64> {
        self.suggestions.iter().find(|suggestion| suggestion.key == key).map(|suggestion| suggestion.value)
    }
}

/// All methods.
pub fn methods() -> &'static [Method] {
    REGISTRY
}

/// The method of that name.
pub fn method(name: &str) -> Option<&'static Method> {
    REGISTRY.iter().find(|method| method.name == name)
}
