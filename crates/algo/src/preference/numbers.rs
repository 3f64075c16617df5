//! Numbers: what shapes a loss, under the names that a recipe has for them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::choices::{Divergence, Rho, RhoOn, Shift, Ties, Weighting};
use crate::overrides::InvalidSetting;
use crate::page::shown;

/// One variant per number, and the settings of a recipe: a field per number and per choice.
macro_rules! numbers {
    ($($(#[$meta:meta])* $variant:ident = $key:ident,)*) => {
        /// A number that some loss reads.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Number { $($(#[$meta])* $variant,)* }

        impl Number {
            /// Every number, in the order of the docs.
            pub const ALL: &'static [Number] = &[$(Number::$variant,)*];

            /// Its name in a recipe.
            pub fn key(self) -> &'static str {
                match self { $(Number::$variant => stringify!($key),)* }
            }
        }

        /// Settings of a preference loss; what is not given stays as the loss has it.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct PreferenceOverrides {
            $($(#[$meta])* #[serde(skip_serializing_if = "Option::is_none")] pub $key: Option<f64>,)*
            /// The whole sum of losses as name → weight; without it the loss alone. A number given here is every loss's
            /// that reads it.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub mix: Option<std::collections::BTreeMap<String, f64>>,
            /// The loss that `vrpo` debiases. Only with `vrpo`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub primary_loss: Option<String>,
            /// How a log-ratio to the reference becomes a score. Only where the loss sees nothing but their difference.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub f_divergence: Option<Divergence>,
            /// Whether pairs are weighted by how likely the policy is to write them.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub weighting: Option<Weighting>,
            /// The robust function. Only with `m_estimator`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub rho: Option<Rho>,
            /// What the robust function is put on. Only with `m_estimator`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub rho_on: Option<RhoOn>,
            /// What rewards are compared with. Only with `bco`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub bco_shift: Option<Shift>,
            /// What a tie teaches. Only with `bradley_terry`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub ties: Option<Ties>,
        }

        impl PreferenceOverrides {
            /// The value given for a number.
            pub fn number(&self, number: Number) -> Option<f64> {
                match number { $(Number::$variant => self.$key,)* }
            }

            /// The name that was chosen under a key that is no number.
            pub(crate) fn choice(&self, key: &str) -> Option<String> {
                match key {
                    "f_divergence" => self.f_divergence.map(named),
                    "weighting" => self.weighting.map(named),
                    "rho" => self.rho.map(named),
                    "rho_on" => self.rho_on.map(named),
                    "bco_shift" => self.bco_shift.map(named),
                    "ties" => self.ties.map(named),
                    "primary_loss" => self.primary_loss.clone(),
                    _ => None,
                }
            }

            pub(crate) fn number_mut(&mut self, number: Number) -> &mut Option<f64> {
                match number { $(Number::$variant => &mut self.$key,)* }
            }
        }
    };
}

numbers! {
    /// β: how much reward a nat of log-ratio is worth; above 0.
    Beta = beta,
    /// ε: assumed share of pairs that are labelled the wrong way round, from 0 to below ½.
    LabelSmoothing = label_smoothing,
    /// τ: width of DiscoPOP's gate, above 0 and at most 1.
    DiscopopTau = discopop_tau,
    /// α of ROPO, above 2.
    RopoAlpha = ropo_alpha,
    /// γ of Hölder-DPO, above 0.
    HolderGamma = holder_gamma,
    /// q of the generalised cross-entropy, above 0 and at most 1.
    GceQ = gce_q,
    /// β′ of Dr. DPO, above 0: small trusts the pairs that fit.
    DrDpoBeta = dr_dpo_beta,
    /// γ of SimPO: the margin that is wanted, at least 0.
    SimpoGamma = simpo_gamma,
    /// α of AlphaPO, not 0.
    AlphapoAlpha = alphapo_alpha,
    /// λ_D: weight of desirable answers, at least 0.
    DesirableWeight = desirable_weight,
    /// λ_U: weight of undesirable answers, at least 0.
    UndesirableWeight = undesirable_weight,
    /// c: scale of the robust function, above 0. Unused while `rho_mad` is above 0.
    RhoScale = rho_scale,
    /// c = this · MAD (median absolute deviation, averaged over steps); 0 keeps `rho_scale`.
    RhoMad = rho_mad,
    /// Share of the pairs that `rho = "trimmed"` keeps, above 0 and at most 1.
    RhoKeep = rho_keep,
    /// Share of the stage's steps at its start that learn with the plain logistic loss, from 0 to 1.
    RhoWarmup = rho_warmup,
    /// m: pairs per prompt sampled from the reference, at least 0.
    SyntheticPairs = synthetic_pairs,
    /// Auxiliary preferences are held in [this, 1 − this], from 0 to below ½.
    AuxiliaryClip = auxiliary_clip,
    /// Weight of the penalty for margins beyond `guard_margin`; 0 is off.
    Guard = guard,
    /// |margin| from which the guard counts, above 0.
    GuardMargin = guard_margin,
    /// Weight of the chosen answer's negative log-likelihood per token; 0 is off.
    NllCoefficient = nll_coefficient,
    /// Weight of the tokens beyond the shorter answer's length (LD-DPO), from 0 to 1; 1 is off.
    LdAlpha = ld_alpha,
    /// α of `f_divergence = "alpha_divergence"`, not 1.
    FAlpha = f_alpha,
    /// Weight of the squared sum of a pair's rewards, which keeps them centred; 0 is off.
    CenterRewards = center_rewards,
    /// How close a tie is, at least 0: η of Rao and Kupper, ν of Davidson.
    TieWidth = tie_width,
}

/// A choice as a recipe writes it: its variant's name in snake case.
fn named(choice: impl fmt::Debug) -> String {
    let mut out = String::new();
    for (index, letter) in format!("{choice:?}").chars().enumerate() {
        if letter.is_uppercase() && index > 0 {
            out.push('_');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

/// Values of the numbers that a loss reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers([Option<f64>; Number::ALL.len()]);

impl Numbers {
    pub(crate) const NONE: Numbers = Numbers([None; Number::ALL.len()]);

    /// The value, where this loss reads that number.
    pub fn get(&self, number: Number) -> Option<f64> {
        self.0[number as usize]
    }

    /// The value of a number that the loss is declared to read; panics where it is not.
    pub(crate) fn at(&self, number: Number) -> f64 {
        self.get(number).unwrap_or_else(|| panic!("`{}` is read but not declared", number.key()))
    }

    pub(crate) fn set(&mut self, number: Number, value: f64) {
        self.0[number as usize] = Some(value);
    }
}

/// Which values a number may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Range {
    /// Above.
    Above(f64),
    /// At least.
    AtLeast(f64),
    /// Above the first, at most the second.
    AboveTo(f64, f64),
    /// At least the first, below the second.
    Below(f64, f64),
    /// Above the first, below the second.
    Between(f64, f64),
    /// Both ends belong to it.
    Within(f64, f64),
    /// Any but this.
    Not(f64),
    /// A whole number, at least.
    Whole(f64),
}

impl Range {
    pub(crate) fn holds(self, value: f64) -> bool {
        value.is_finite()
            && match self {
                Range::Above(low) => value > low,
                Range::AtLeast(low) => value >= low,
                Range::AboveTo(low, high) => value > low && value <= high,
                Range::Below(low, high) => value >= low && value < high,
                Range::Between(low, high) => value > low && value < high,
                Range::Within(low, high) => value >= low && value <= high,
                Range::Not(value_not) => value != value_not,
                Range::Whole(low) => value >= low && value.fract() == 0.0,
            }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Range::Above(low) => write!(f, "a number > {low}"),
            Range::AtLeast(low) => write!(f, "a number ≥ {low}"),
            Range::AboveTo(low, high) => write!(f, "a number in ({low}, {high}]"),
            Range::Below(low, high) => write!(f, "a number in [{low}, {high})"),
            Range::Between(low, high) => write!(f, "a number in ({low}, {high})"),
            Range::Within(low, high) => write!(f, "a number from {low} to {high}"),
            Range::Not(value) => write!(f, "a number other than {value}"),
            Range::Whole(low) => write!(f, "a whole number ≥ {low}"),
        }
    }
}

/// A number that a loss reads: its vetted value, what it may be, and where that comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameter {
    /// Which.
    pub number: Number,
    /// The default.
    pub default: f64,
    /// What it may be.
    pub range: Range,
    /// Where the default comes from.
    pub source: &'static str,
}

impl Parameter {
    /// The given value, or the default.
    pub(crate) fn resolve(&self, overrides: &PreferenceOverrides) -> Result<f64, InvalidSetting> {
        let value = overrides.number(self.number).unwrap_or(self.default);
        if self.range.holds(value) {
            return Ok(value);
        }
        Err(InvalidSetting { key: self.number.key(), expected: self.range.to_string(), got: shown(value) })
    }
}
