//! Names that settings go by in a recipe, where the thing itself carries numbers.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::correction::Level;
use crate::estimators::Advantage;
use crate::surrogate::Surrogate;

/// Names of [`Advantage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdvantageName {
    /// The reward itself.
    Raw,
    /// Reward − mean reward of the step.
    BatchMean,
    /// Reward − mean reward of the group.
    GroupMean,
    /// (Reward − mean of the group) / (standard deviation of the group + `std_delta`).
    GroupZscore,
    /// (Reward − mean of the group) / (standard deviation of the step + `std_delta`).
    BatchZscore,
    /// Reward − mean reward of the other answers of the group.
    LeaveOneOut,
    /// Discounted sum of token rewards, whitened over the step.
    WhitenedReturn,
    /// Reward − mean reward of the group, whitened over the step's tokens.
    WhitenedGroupMean,
    /// Generalised advantage estimation with a value head.
    Gae,
    /// Entropy-weighted credit per token.
    EntropyToken,
    /// Entropy-weighted credit per answer.
    EntropySequence,
    /// The reward shared out along the answer by entropy.
    EntropyShare,
}

/// Names of [`Surrogate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SurrogateName {
    /// PPO's clipped ratio times advantage.
    Clip,
    /// A capped ratio, without a gradient of its own, times advantage times log-probability.
    Cispo,
    /// Advantage times log-probability.
    Reinforce,
    /// Negative log-likelihood: the method `sft`, and no other.
    Nll,
}

/// Names of [`Level`], and off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LevelName {
    /// Nothing is done.
    Off,
    /// Each token by its own ratio.
    Token,
    /// An answer by the product of its tokens' ratios.
    Sequence,
    /// An answer by their geometric mean.
    Geometric,
}

impl AdvantageName {
    /// The estimators that credit by entropy.
    pub(super) fn credits_entropy(self) -> bool {
        matches!(self, AdvantageName::EntropyToken | AdvantageName::EntropySequence)
    }

    /// The estimators that divide by a standard deviation of their own.
    pub(super) fn has_deviation(self) -> bool {
        matches!(self, AdvantageName::GroupZscore | AdvantageName::BatchZscore) || self.credits_entropy()
    }
}

impl From<Advantage> for AdvantageName {
    fn from(advantage: Advantage) -> Self {
        match advantage {
            Advantage::Raw => AdvantageName::Raw,
            Advantage::BatchMean => AdvantageName::BatchMean,
            Advantage::GroupMean => AdvantageName::GroupMean,
            Advantage::GroupZscore { .. } => AdvantageName::GroupZscore,
            Advantage::BatchZscore { .. } => AdvantageName::BatchZscore,
            Advantage::LeaveOneOut => AdvantageName::LeaveOneOut,
            Advantage::WhitenedReturn { .. } => AdvantageName::WhitenedReturn,
            Advantage::WhitenedGroupMean => AdvantageName::WhitenedGroupMean,
            Advantage::Gae { .. } => AdvantageName::Gae,
            Advantage::EntropyTokens(_) => AdvantageName::EntropyToken,
            Advantage::EntropySequences(_) => AdvantageName::EntropySequence,
            Advantage::EntropyShare => AdvantageName::EntropyShare,
        }
    }
}

impl From<Surrogate> for SurrogateName {
    fn from(surrogate: Surrogate) -> Self {
        match surrogate {
            Surrogate::Clip { .. } => SurrogateName::Clip,
            Surrogate::Cispo { .. } => SurrogateName::Cispo,
            Surrogate::Reinforce => SurrogateName::Reinforce,
            Surrogate::Nll => SurrogateName::Nll,
        }
    }
}

impl From<Option<Level>> for LevelName {
    fn from(level: Option<Level>) -> Self {
        match level {
            None => LevelName::Off,
            Some(Level::Token) => LevelName::Token,
            Some(Level::Sequence) => LevelName::Sequence,
            Some(Level::Geometric) => LevelName::Geometric,
        }
    }
}

impl LevelName {
    pub(super) fn level(self) -> Option<Level> {
        match self {
            LevelName::Off => None,
            LevelName::Token => Some(Level::Token),
            LevelName::Sequence => Some(Level::Sequence),
            LevelName::Geometric => Some(Level::Geometric),
        }
    }
}

/// A value as TOML writes it.
pub(super) trait Written {
    /// The text.
    fn written(&self) -> String;
}

impl Written for f64 {
    fn written(&self) -> String {
        crate::page::shown(*self)
    }
}

macro_rules! written_plainly {
    ($($type:ty),*) => { $(impl Written for $type {
        fn written(&self) -> String {
            self.to_string()
        }
    })* };
}

macro_rules! written_as_a_word {
    ($($type:ty),*) => { $(impl Written for $type {
        fn written(&self) -> String {
            word(self)
        }
    })* };
}

written_plainly!(u8, u64, usize, bool);
written_as_a_word!(
    AdvantageName,
    SurrogateName,
    LevelName,
    crate::Ratio,
    crate::Aggregate,
    crate::KlEstimator,
    crate::KlPlace,
    crate::CorrectionMode,
    crate::Denominator,
    crate::OpsmLevel,
    crate::Normalise,
    crate::Scope,
    crate::EntropyMean,
    crate::EntropyPosition
);

/// The name as it is written in a recipe.
fn word(name: impl fmt::Debug) -> String {
    let debug = format!("{name:?}");
    let mut out = String::new();
    for (index, letter) in debug.chars().enumerate() {
        if letter.is_ascii_uppercase() && index > 0 {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    format!("\"{out}\"")
}
