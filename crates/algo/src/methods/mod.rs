//! Methods: one file each, one line each in the registry. Adding a method touches nothing else.

mod cispo;
mod dapo;
mod dr_grpo;
mod grpo;
mod grpo_s;
mod gspo;
mod gspo_article;
mod gspo_token;
mod gtpo;
mod gtpo_article;
mod ppo;
mod reinforce;
mod reinforce_plus_plus;
mod reinforce_plus_plus_baseline;
mod relift;
mod rloo;
mod sft;

use crate::correction::OffPolicy;
use crate::metrics::Metric;
use crate::objective::Objective;
use crate::{Advantage, Aggregate, Kl, Ratio, Surrogate};

/// Every method, in the order of the docs.
static REGISTRY: &[Method] = &[
    sft::METHOD,
    reinforce::METHOD,
    reinforce_plus_plus::METHOD,
    reinforce_plus_plus_baseline::METHOD,
    rloo::METHOD,
    grpo::METHOD,
    dr_grpo::METHOD,
    dapo::METHOD,
    cispo::METHOD,
    ppo::METHOD,
    gspo::METHOD,
    gspo_token::METHOD,
    gspo_article::METHOD,
    gtpo::METHOD,
    grpo_s::METHOD,
    gtpo_article::METHOD,
    relift::METHOD,
];

/// Sources of settings that a method leaves as they are for all: off.
const COMMON: &[Source] = &[
    Source { key: "kl_in", source: "as GRPO: arXiv 2402.03300, eq. 3" },
    Source { key: "kl_unbiased", source: "off as in GRPO; DeepSeek-V3.2 (arXiv 2512.02556, §3.1) has it" },
    Source { key: "kl_target", source: "off as in verl and slime; arXiv 1909.08593, §2.2 has a controller" },
    Source {
        key: "correction_level",
        source: "off: on the native engine sampler and trainer agree to the last bit; slime and verl have `token` for \
                 samplers that do not",
    },
    Source { key: "rejection_level", source: "off as in verl; slime's `mis.yaml` has `geometric` or `token`" },
    Source { key: "rejection_veto", source: "off as in verl; slime's `mis.yaml` has 1e-4" },
    Source { key: "bypass", source: "off as in slime and verl: three policies are kept apart" },
    Source { key: "opsm_delta", source: "off as in slime and TRL; with it, slime has 1e-4 and TRL hints at 0.5" },
    Source { key: "dynamic_sampling", source: "off: part of DAPO" },
    Source { key: "overlong_share", source: "off: part of DAPO" },
    Source { key: "group_overlong", source: "off: part of GTPO" },
];

/// The four coordinates, with everything else off.
fn plain(advantage: Advantage, ratio: Ratio, surrogate: Surrogate, aggregate: Aggregate) -> Objective {
    Objective {
        advantage,
        ratio,
        surrogate,
        aggregate,
        length_constant: None,
        kl: Kl::OFF,
        policy_coefficient: 1.0,
        entropy_coefficient: 0.0,
        entropy_aggregate: None,
        off_policy: OffPolicy::OFF,
        critic: None,
        critic_only: false,
        dynamic_sampling: false,
        overlong: None,
        group_overlong: None,
    }
}

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
    /// Sources of the settings of the defaults; those that are off for all methods need none.
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

    /// Where the default of a setting comes from.
    pub fn source(&self, key: &str) -> Option<&'static str> {
        self.sources.iter().chain(COMMON).find(|source| source.key == key).map(|source| source.source)
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
