//! A row of the registry: what a loss is, and the numbers that it reads.

use super::coupling::Coupling;
use super::formula::Formula;
use super::numbers::{Number, Parameter, PreferenceOverrides, Range};
use super::resolve::Preference;
use super::score::Score;
use crate::methods::{Source, Suggestion};
use crate::overrides::InvalidSetting;

/// What a loss can teach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learns {
    /// A policy, through its log-probabilities: a stage of kind `preference`.
    Policy,
    /// A reward head: a stage of kind `reward-model`.
    Reward,
    /// Either.
    Either,
}

/// A choice, beside numbers, that only some losses have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// `rho`, `rho_on`.
    Rho,
    /// `bco_shift`.
    Shift,
    /// `ties`.
    Ties,
    /// `primary_loss`, with everything that debiasing needs.
    Primary,
}

/// A row of the registry.
#[derive(Clone, Copy, Debug)]
pub struct PreferenceLoss {
    /// Its name in a recipe.
    pub name: &'static str,
    /// Its name among people.
    pub title: &'static str,
    /// Where it was published.
    pub paper: &'static str,
    /// The loss that is minimised, in plain text; several lines.
    pub equation: &'static str,
    /// When to use it.
    pub when: &'static str,
    /// How it differs from its neighbours.
    pub differs: &'static str,
    /// What it can teach.
    pub learns: Learns,
    /// What it compares.
    pub score: Score,
    /// Its shape.
    pub formula: Formula,
    /// What it must know of the whole batch.
    pub coupling: Coupling,
    /// Whether it learns from single answers too.
    pub unpaired: bool,
    /// Whether `loss(h) − loss(−h)` is bounded, as debiasing needs.
    pub bounded: bool,
    /// The numbers it reads, with their vetted values.
    pub parameters: &'static [Parameter],
    /// Sources of its choices.
    pub sources: &'static [Source],
    /// Stage values that go with it.
    pub suggestions: &'static [Suggestion],
    pub(crate) choice: Option<Choice>,
}

impl PartialEq for PreferenceLoss {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// Numbers that every policy's loss has: off unless the loss says otherwise.
pub(crate) const OF_POLICIES: &[Parameter] = &[
    Parameter {
        number: Number::NllCoefficient,
        default: 0.0,
        range: Range::AtLeast(0.0),
        source: "off; RPO (arXiv 2404.19733, eq. 1) has 1 where the chosen answers' probability must not fall",
    },
    Parameter {
        number: Number::LdAlpha,
        default: 1.0,
        range: Range::Within(0.0, 1.0),
        source: "off; LD-DPO (arXiv 2409.06411) has less against growing length",
    },
    Parameter {
        number: Number::FAlpha,
        default: 0.5,
        range: Range::Not(1.0),
        source: "TRL; arXiv 2309.16240, table 1",
    },
];

/// Numbers that every reward model's loss has.
pub(crate) const OF_REWARDS: &[Parameter] = &[Parameter {
    number: Number::CenterRewards,
    default: 0.0,
    range: Range::AtLeast(0.0),
    source: "off as in TRL, which recommends 0.01 (arXiv 2312.09244)",
}];

impl PreferenceLoss {
    /// This loss for a policy, with a recipe's settings put over its vetted ones.
    pub fn policy(&'static self, overrides: &PreferenceOverrides) -> Result<Preference, InvalidSetting> {
        Preference::resolve(self, Learns::Policy, overrides)
    }

    /// This loss for a reward head (β is 1), with a recipe's settings put over its vetted ones.
    pub fn reward(&'static self, overrides: &PreferenceOverrides) -> Result<Preference, InvalidSetting> {
        Preference::resolve(self, Learns::Reward, overrides)
    }

    /// Whether a stage that trains `target` can use it.
    pub fn teaches(&self, target: Learns) -> bool {
        self.learns == target || self.learns == Learns::Either
    }

    /// The numbers that it reads when it trains `target`, with their vetted values.
    pub fn parameters_for(&self, target: Learns) -> Vec<Parameter> {
        let common = if target == Learns::Reward { OF_REWARDS } else { OF_POLICIES };
        let scaled = |parameter: &Parameter| target == Learns::Policy || parameter.number != Number::Beta;
        let mut all: Vec<Parameter> = self.parameters.iter().copied().filter(scaled).collect();
        for parameter in common {
            let own = self.parameters.iter().any(|own| own.number == parameter.number);
            let fits = match parameter.number {
                Number::LdAlpha => !self.score.is_mean(),
                Number::FAlpha => self.takes_divergence(),
                _ => true,
            };
            if !own && fits {
                all.push(*parameter);
            }
        }
        all
    }

    /// Whether other divergences than the reverse KL have a meaning: constants must cancel.
    pub(crate) fn takes_divergence(&self) -> bool {
        self.score == Score::LogRatio && self.formula.takes_margin()
    }
}
