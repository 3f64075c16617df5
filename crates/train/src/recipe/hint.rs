//! `[stage.hint]`: an rl stage whose prompts begin with a part of their demonstrations (UFT, arXiv 2505.16984).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::raw_hint::ObjectiveName;

/// How hints are given and what is learned from them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Hint {
    /// The method that the defaults of the other fields are those of.
    pub variant: HintVariant,
    /// How the number of chunks is drawn.
    pub length: HintLength,
    /// p at the end of the hint phase; in [0, 1].
    pub low: f64,
    /// p at its beginning; in [0, 1].
    pub high: f64,
    /// Steps of the stage with hints, T_hint; positive.
    pub steps: u64,
    /// Most chunks that a demonstration is cut into, L; positive.
    pub chunks: usize,
    /// What chunks are made of.
    pub unit: HintUnit,
    /// Who shares a hint.
    pub scope: HintScope,
    /// How many samples of a prompt are given a hint; the first ones. At most `samples_per_prompt`.
    pub hinted_samples: usize,
    /// How the loss of the hint joins that of the policy.
    pub objective: HintObjective,
}

/// A row of spec C §3.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HintVariant {
    /// Unified fine-tuning: binomial length on a cosine schedule; hints are learned.
    #[default]
    Uft,
    /// R3 (arXiv 2402.05808): uniform length in every step; hints are not learned.
    R3,
    /// Hints that get one chunk shorter stage by stage; they are learned.
    Stage,
    /// No hint: reinforcement fine-tuning.
    Rft,
    /// UFT's hints without learning them: the paper's ablation.
    RftCosine,
    /// No hint and no policy gradient: the whole demonstrations of the step's prompts are learned.
    Sft,
}

/// How many of L chunks are shown at step t.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HintLength {
    /// `k ~ Binomial(L, p(t))`.
    Binomial,
    /// `k` uniform over 0..=L.
    Uniform,
    /// `k = clip(L − t div (T_hint div (L + 1)), 0, L)`.
    Stage,
    /// `k = 0`.
    None,
}

/// What a demonstration is cut into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HintUnit {
    /// Sentences: the list `hint` of the item where it has one, else cut at line ends and behind `.`, `!`, `?`.
    #[default]
    Sentences,
    /// Lines.
    Lines,
    /// Tokens: for demonstrations of one short line.
    Tokens,
}

/// Who shares a hint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HintScope {
    /// All hinted samples of a prompt, so that they are compared at equal difficulty.
    #[default]
    Group,
    /// Each sample draws its own.
    PerRollout,
}

/// How the loss of the hint joins that of the policy.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum HintObjective {
    /// `L = L_policy + β·mean_i Σ_t KL_it − β·mean_i Σ_t log π(hint_it)`: arXiv 2505.16984, eq. 3.3.
    Paper {
        /// β, of the KL and of the hint; not negative.
        coefficient: f64,
    },
    /// `L = L_policy + c_sft · NLL per hint token`: the authors' code. KL and entropy are those of the method.
    CodeParity {
        /// c_sft; not negative.
        coefficient: f64,
        /// Prompts of a micro-batch whose means are averaged, as the authors' code does; 0 is a mean over the whole step.
        micro_mean: usize,
    },
    /// `L = α·L_SFT + (1 − α)·L_policy + β·L_reg`: the article's.
    Article(Article),
}

/// The article's form.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Article {
    /// α at the beginning; in [0, 1].
    pub alpha: f64,
    /// α at the end, or where every answer is right; in [0, 1].
    pub alpha_end: f64,
    /// How α moves.
    pub schedule: AlphaSchedule,
    /// α of equal parts of the stage; for [`AlphaSchedule::Steps`].
    pub levels: Vec<f64>,
    /// What L_SFT is of.
    pub target: SftTarget,
    /// Demonstrations per step; for [`SftTarget::SeparateDemoBatch`]. Positive.
    pub demonstrations: usize,
    /// What L_reg is.
    pub regulariser: Regulariser,
    /// β; not negative.
    pub coefficient: f64,
}

/// How α moves over the stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlphaSchedule {
    /// It stays.
    Constant,
    /// Along a line from `alpha` to `alpha_end`.
    Linear,
    /// Along half a cosine from `alpha` to `alpha_end`.
    Cosine,
    /// `alpha_levels` over equal parts of the stage.
    #[default]
    Steps,
    /// `alpha_end + (alpha − alpha_end)·(1 − s)`, with s the smoothed share of right answers.
    SuccessRate,
}

/// What the article's L_SFT is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SftTarget {
    /// The hint tokens of the samples.
    Hint,
    /// The whole demonstrations of the step's prompts.
    #[default]
    FullSolution,
    /// Demonstrations of further items.
    SeparateDemoBatch,
}

/// What the article's L_reg is, per token that the policy wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Regulariser {
    /// `log π − log π_ref`.
    KlK1,
    /// `½(log π − log π_ref)²`.
    KlK2,
    /// `π_ref/π − log(π_ref/π) − 1`.
    #[default]
    KlK3,
    /// Minus the entropy.
    NegEntropy,
    /// `(log π − log π_ref)²`: a distance of log-probabilities, as no weight crosses the waist between engine and algorithms.
    L2ToRef,
}

impl HintVariant {
    /// Whether hints are learned.
    pub fn teaches(self) -> bool {
        matches!(self, HintVariant::Uft | HintVariant::Stage)
    }

    pub(super) fn length(self) -> HintLength {
        match self {
            HintVariant::Uft | HintVariant::RftCosine => HintLength::Binomial,
            HintVariant::R3 => HintLength::Uniform,
            HintVariant::Stage => HintLength::Stage,
            HintVariant::Rft | HintVariant::Sft => HintLength::None,
        }
    }
}

impl Hint {
    /// Whether the loss measures against a frozen reference, beside what the method does.
    pub(crate) fn needs_reference(&self) -> bool {
        match &self.objective {
            HintObjective::Paper { coefficient } => *coefficient > 0.0 && self.variant != HintVariant::Sft,
            HintObjective::CodeParity { .. } => false,
            HintObjective::Article(article) => {
                article.coefficient > 0.0 && article.regulariser != Regulariser::NegEntropy
            }
        }
    }

    /// Whether the whole demonstrations of the step's prompts are learned.
    pub(crate) fn learns_solutions(&self) -> bool {
        let article = matches!(&self.objective, HintObjective::Article(it) if it.target == SftTarget::FullSolution);
        article || self.variant == HintVariant::Sft
    }
}

impl Hint {
    pub(super) fn entries(&self, samples: usize) -> Vec<(&'static str, Value)> {
        let mut entries = vec![
            ("variant", json!(self.variant)),
            ("length", json!(self.length)),
            ("low", json!(self.low)),
            ("high", json!(self.high)),
            ("steps", json!(self.steps)),
            ("chunks", json!(self.chunks)),
            ("unit", json!(self.unit)),
            ("scope", json!(self.scope)),
            ("hinted_samples", json!(if self.hinted_samples == samples { 0 } else { self.hinted_samples })),
        ];
        match &self.objective {
            HintObjective::Paper { coefficient } => {
                entries.extend([("objective", json!(ObjectiveName::Paper)), ("coefficient", json!(coefficient))]);
            }
            HintObjective::CodeParity { coefficient, micro_mean } => entries.extend([
                ("objective", json!(ObjectiveName::CodeParity)),
                ("coefficient", json!(coefficient)),
                ("micro_mean", json!(micro_mean)),
            ]),
            HintObjective::Article(article) => {
                entries.extend([("objective", json!(ObjectiveName::Article))]);
                entries.extend(article.entries());
            }
        }
        entries
    }
}

impl Article {
    fn entries(&self) -> Vec<(&'static str, Value)> {
        let mut entries = vec![
            ("coefficient", json!(self.coefficient)),
            ("alpha", json!(self.alpha)),
            ("alpha_end", json!(self.alpha_end)),
            ("alpha_schedule", json!(self.schedule)),
            ("sft_target", json!(self.target)),
            ("regulariser", json!(self.regulariser)),
        ];
        if self.schedule == AlphaSchedule::Steps {
            entries.push(("alpha_levels", json!(self.levels)));
        }
        if self.target == SftTarget::SeparateDemoBatch {
            entries.push(("demonstrations", json!(self.demonstrations)));
        }
        entries
    }
}
