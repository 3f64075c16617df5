//! A preference that a recipe has chosen: every number in place and checked.

use super::choices::{Choices, Divergence, Rho, Ties, Weighting};
use super::coupling::Coupling;
use super::formula::Formula;
use super::losses::{preference_loss, preference_losses};
use super::numbers::{Number, Numbers, PreferenceOverrides};
use super::robust::Control;
use super::row::{Choice, Learns, PreferenceLoss};
use crate::overrides::InvalidSetting;

/// One loss of a mix, resolved.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub loss: &'static PreferenceLoss,
    pub weight: f64,
    /// Whose formula is computed: `loss` itself, or the one that it debiases.
    pub shape: &'static PreferenceLoss,
    pub numbers: Numbers,
    pub control: Option<Control>,
}

/// A loss, or a mix of several, with all numbers: what a stage minimises.
#[derive(Clone, Debug, PartialEq)]
pub struct Preference {
    pub(crate) target: Learns,
    pub(crate) method: &'static PreferenceLoss,
    pub(crate) parts: Vec<Part>,
    pub(crate) choices: Choices,
    /// Numbers that belong to the whole: `nll_coefficient`, `ld_alpha`, `center_rewards`.
    pub(crate) common: Numbers,
    primary: Option<&'static PreferenceLoss>,
    mixed: bool,
}

/// What a preference must be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreferenceNeeds {
    /// Log-probabilities by the reference.
    pub reference: bool,
    /// Answers scored under other examples' prompts, by policy and reference (KTO's z₀).
    pub mismatched: bool,
    /// Largest probability at each token ([`lapidary_core::Want::top`]).
    pub top: bool,
    /// Auxiliary preferences and pairs sampled from the reference, this many per prompt.
    pub synthetic_pairs: Option<usize>,
    /// The whole optimiser step must be scored before its first micro-batch.
    pub whole_batch: bool,
    /// Fewer examples in an optimiser step make the loss meaningless.
    pub min_examples: usize,
    /// Whether single answers can be learned from.
    pub unpaired: bool,
    /// Whether pairs can carry a margin.
    pub margins: bool,
}

type Checked<T> = Result<T, InvalidSetting>;

impl Preference {
    pub(super) fn resolve(
        method: &'static PreferenceLoss,
        target: Learns,
        overrides: &PreferenceOverrides,
    ) -> Checked<Preference> {
        let named = match &overrides.mix {
            None => vec![(method, 1.0)],
            Some(mix) => mix.iter().map(|(name, weight)| part_of_mix(name, *weight)).collect::<Checked<Vec<_>>>()?,
        };
        if named.is_empty() {
            return Err(invalid("mix", "at least one loss with its weight", "none"));
        }
        for (loss, _) in &named {
            if !loss.teaches(target) {
                let kind = if target == Learns::Reward { "a reward model" } else { "a policy" };
                let got = format!("\"{}\"", loss.name);
                return Err(InvalidSetting { key: "method", expected: format!("a loss that teaches {kind}"), got });
            }
        }
        let losses: Vec<&PreferenceLoss> = named.iter().map(|(loss, _)| *loss).collect();
        let primary = primary_of(&losses, overrides)?;
        let choices = choices_of(&losses, target, overrides)?;
        let common = numbers_of(&losses, target, overrides)?;
        let mut parts = Vec::new();
        for (loss, weight) in named {
            parts.push(Part::resolve(loss, weight, target, primary, &choices, overrides)?);
        }
        let preference = Preference { target, method, parts, choices, common, primary, mixed: overrides.mix.is_some() };
        preference.refuse_unread(overrides)?;
        preference.refuse_mixtures()?;
        Ok(preference)
    }

    /// Keys that nothing reads are refused, which is better than silently ignored.
    fn refuse_unread(&self, overrides: &PreferenceOverrides) -> Checked<()> {
        let unread = |key: &'static str, only_with: String| InvalidSetting {
            key,
            expected: format!("no such key, as it only has a meaning with {only_with}"),
            got: format!("it together with method \"{}\"", self.method.name),
        };
        let given = Number::ALL.iter().filter(|number| overrides.number(**number).is_some());
        for &number in given {
            if !self.reads(number) {
                let readers: Vec<String> = preference_losses()
                    .iter()
                    .filter(|loss| loss.teaches(self.target))
                    .filter(|loss| loss.parameters_for(self.target).iter().any(|own| own.number == number))
                    .map(|loss| format!("`{}`", loss.name))
                    .collect();
                let only_with = match (number, readers.is_empty()) {
                    (Number::Beta, _) => "a policy".into(),
                    (Number::RhoScale, _) => "a `rho` that has a scale, and `rho_mad = 0`".into(),
                    (Number::RhoKeep, _) => "rho = \"trimmed\"".into(),
                    (Number::TieWidth, _) => "ties = \"rao_kupper\" or \"davidson\"".into(),
                    (Number::FAlpha, _) => "f_divergence = \"alpha_divergence\"".into(),
                    (_, true) if self.target == Learns::Reward => "a policy".into(),
                    (_, true) => "a reward model".into(),
                    (_, false) => readers.join(", "),
                };
                return Err(unread(number.key(), only_with));
            }
        }
        Ok(())
    }

    /// Combinations without a meaning.
    fn refuse_mixtures(&self) -> Checked<()> {
        if self.choices.weighting != Weighting::Off && self.needs().whole_batch {
            let expected = "off, as this loss weighs the examples of the whole batch itself";
            return Err(invalid("weighting", expected, "a weight of its own"));
        }
        if self.common.get(Number::FAlpha).is_some() && self.parts.iter().any(|part| !part.loss.takes_divergence()) {
            return Err(invalid("f_divergence", "\"reverse_kl\" in this mix", "another"));
        }
        Ok(())
    }

    /// Whether a number that a recipe gives would be read.
    fn reads(&self, number: Number) -> bool {
        // A reward needs no scale of its own: its β is 1, and no recipe's business.
        if self.target == Learns::Reward && number == Number::Beta {
            return false;
        }
        self.common.get(number).is_some() || self.parts.iter().any(|part| part.numbers.get(number).is_some())
    }

    /// What it must be given.
    pub fn needs(&self) -> PreferenceNeeds {
        let policy = self.target == Learns::Policy;
        let any = |of: &dyn Fn(&Part) -> bool| self.parts.iter().any(of);
        let all = |of: &dyn Fn(&Part) -> bool| self.parts.iter().all(of);
        let synthetic = self.parts.iter().filter_map(|part| part.control.as_ref().map(|control| control.pairs)).max();
        PreferenceNeeds {
            reference: policy
                && any(&|part| part.loss.score.needs_reference() || part.loss.coupling == Coupling::Sorted),
            mismatched: any(&|part| part.loss.coupling == Coupling::MismatchedKl),
            top: self.choices.weighting == Weighting::WpoGreedy,
            synthetic_pairs: synthetic,
            whole_batch: any(&|part| part.loss.coupling != Coupling::None),
            min_examples: self.parts.iter().map(|part| part.loss.coupling.min_examples()).max().unwrap_or(1),
            unpaired: all(&|part| part.loss.unpaired),
            margins: all(&|part| part.loss.formula.takes_margin() && part.loss.coupling != Coupling::Sorted),
        }
    }

    /// The loss that the recipe named.
    pub fn method(&self) -> &'static PreferenceLoss {
        self.method
    }

    /// A number of the loss, where it has one that all losses of the mix agree on.
    pub fn number(&self, number: Number) -> Option<f64> {
        if let Some(value) = self.common.get(number) {
            return Some(value);
        }
        let mut values = self.parts.iter().filter_map(|part| part.numbers.get(number));
        let first = values.next()?;
        values.all(|value| value == first).then_some(first)
    }

    /// The settings of this preference, as a recipe would write them; resolving them gives it again.
    pub fn settings(&self) -> PreferenceOverrides {
        let mut settings = PreferenceOverrides::default();
        for &number in Number::ALL {
            *settings.number_mut(number) = self.number(number).filter(|_| self.reads(number));
        }
        let has = |choice: Choice| self.parts.iter().any(|part| part.loss.choice == Some(choice));
        settings.mix =
            self.mixed.then(|| self.parts.iter().map(|part| (part.loss.name.to_string(), part.weight)).collect());
        settings.primary_loss = self.primary.map(|loss| loss.name.to_string());
        if self.target == Learns::Policy {
            let divergent = self.parts.iter().all(|part| part.loss.takes_divergence());
            settings.f_divergence = divergent.then_some(self.choices.divergence);
            settings.weighting = Some(self.choices.weighting);
        }
        settings.rho = has(Choice::Rho).then_some(self.choices.rho);
        settings.rho_on = has(Choice::Rho).then_some(self.choices.rho_on);
        settings.bco_shift = has(Choice::Shift).then_some(self.choices.shift);
        settings.ties = has(Choice::Ties).then_some(self.choices.ties);
        settings
    }
}

impl Part {
    fn resolve(
        loss: &'static PreferenceLoss,
        weight: f64,
        target: Learns,
        primary: Option<&'static PreferenceLoss>,
        choices: &Choices,
        overrides: &PreferenceOverrides,
    ) -> Checked<Part> {
        let debiases = loss.choice == Some(Choice::Primary);
        let shape = primary.filter(|_| debiases).unwrap_or(loss);
        let mut numbers = Numbers::NONE;
        for parameter in shape.parameters_for(target).iter().chain(&loss.parameters_for(target)) {
            if applies(parameter.number, choices, overrides) && !is_common(parameter.number) {
                numbers.set(parameter.number, parameter.resolve(overrides)?);
            }
        }
        if numbers.get(Number::RhoScale).is_some() && overrides.rho_scale.is_none() {
            numbers.set(Number::RhoScale, choices.rho.default_scale());
        }
        let control = debiases.then(|| Control::new(&numbers, shape.bounded)).transpose()?;
        if target == Learns::Reward {
            numbers.set(Number::Beta, 1.0);
        }
        Ok(Part { loss, weight, shape, numbers, control })
    }
}

/// Numbers of the whole, not of a part.
fn is_common(number: Number) -> bool {
    matches!(number, Number::NllCoefficient | Number::LdAlpha | Number::CenterRewards)
}

/// Whether a number has a meaning under these choices.
fn applies(number: Number, choices: &Choices, overrides: &PreferenceOverrides) -> bool {
    match number {
        Number::FAlpha => choices.divergence == Divergence::AlphaDivergence,
        Number::RhoKeep => choices.rho == Rho::Trimmed,
        Number::RhoScale => choices.rho != Rho::Trimmed && overrides.rho_mad.unwrap_or(0.0) == 0.0,
        Number::RhoMad => choices.rho != Rho::Trimmed,
        Number::TieWidth => choices.ties != Ties::Half,
        _ => true,
    }
}

fn part_of_mix(name: &str, weight: f64) -> Checked<(&'static PreferenceLoss, f64)> {
    let Some(loss) = preference_loss(name) else {
        return Err(invalid("mix", "names of preference losses", &format!("\"{name}\"")));
    };
    if !(weight.is_finite() && weight > 0.0) {
        return Err(InvalidSetting { key: "mix", expected: "weights > 0".into(), got: weight.to_string() });
    }
    Ok((loss, weight))
}

fn primary_of(losses: &[&PreferenceLoss], overrides: &PreferenceOverrides) -> Checked<Option<&'static PreferenceLoss>> {
    let debiases = losses.iter().any(|loss| loss.choice == Some(Choice::Primary));
    match (&overrides.primary_loss, debiases) {
        (None, false) => Ok(None),
        (Some(name), false) => {
            let expected = "no such key, as it only has a meaning with `vrpo`";
            Err(invalid("primary_loss", expected, &format!("\"{name}\"")))
        }
        (name, true) => {
            let name = name.as_deref().unwrap_or("ramp");
            let fits = |loss: &&PreferenceLoss| {
                matches!(loss.formula, Formula::Margin(_)) && loss.coupling == Coupling::None && loss.choice.is_none()
            };
            preference_loss(name).filter(fits).map(Some).ok_or_else(|| {
                invalid("primary_loss", "a loss of the margin alone, as \"ramp\"", &format!("\"{name}\""))
            })
        }
    }
}

fn choices_of(losses: &[&PreferenceLoss], target: Learns, overrides: &PreferenceOverrides) -> Checked<Choices> {
    let has = |choice: Choice| losses.iter().any(|loss| loss.choice == Some(choice));
    let refuse = |key: &'static str, given: bool, fits: bool, with: &str| match given && !fits {
        true => Err(invalid(key, &format!("no such key, as it only has a meaning with {with}"), "it")),
        false => Ok(()),
    };
    let policy = target == Learns::Policy;
    let divergent = policy && losses.iter().all(|loss| loss.takes_divergence());
    let with = "a loss of the difference of two log-ratios";
    refuse("f_divergence", overrides.f_divergence.is_some(), divergent, with)?;
    refuse("weighting", overrides.weighting.is_some(), policy, "a policy")?;
    refuse("rho", overrides.rho.is_some(), has(Choice::Rho), "`m_estimator`")?;
    refuse("rho_on", overrides.rho_on.is_some(), has(Choice::Rho), "`m_estimator`")?;
    refuse("bco_shift", overrides.bco_shift.is_some(), has(Choice::Shift), "`bco`")?;
    refuse("ties", overrides.ties.is_some(), has(Choice::Ties), "`bradley_terry`")?;
    Ok(Choices {
        divergence: overrides.f_divergence.unwrap_or_default(),
        weighting: overrides.weighting.unwrap_or_default(),
        rho: overrides.rho.unwrap_or_default(),
        rho_on: overrides.rho_on.unwrap_or_default(),
        shift: overrides.bco_shift.unwrap_or_default(),
        ties: overrides.ties.unwrap_or_default(),
    })
}

/// The numbers of the whole; where losses of a mix differ in a default, the first one's counts.
fn numbers_of(losses: &[&PreferenceLoss], target: Learns, overrides: &PreferenceOverrides) -> Checked<Numbers> {
    let mut numbers = Numbers::NONE;
    for loss in losses {
        for parameter in loss.parameters_for(target) {
            if is_common(parameter.number) && numbers.get(parameter.number).is_none() {
                numbers.set(parameter.number, parameter.resolve(overrides)?);
            }
        }
    }
    Ok(numbers)
}

fn invalid(key: &'static str, expected: &str, got: &str) -> InvalidSetting {
    InvalidSetting { key, expected: expected.into(), got: got.into() }
}
