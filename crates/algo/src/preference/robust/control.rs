//! Control variate: labelled pairs less what an auxiliary model expects of them, plus what it expects of pairs sampled from
//! the reference (VRPO; Ye et al. 2025, arXiv 2504.03784).
//!
//! ```text
//! E_g f = g·f(h) + (1−g)·f(−h)
//! L = mean_i [ E_z f(h_i) − E_ĝ f(h_i) ] + mean_i mean_j E_ĝ* f(h*_ij) + λ·mean max(0, |h| − h_max)²
//!        I₁             I₂                     I₃                            guard
//! ```
//! The minimiser is right if either ĝ is right or the labelled pairs come from the reference. The labelled part is
//! `(z − ĝ)·(f(h) − f(−h))`: for the logistic `f` that is `−(z − ĝ)·h`, linear and unbounded below, so nothing but the synthetic
//! pairs and the guard hold it.

use super::clipped;
use crate::overrides::InvalidSetting;
use crate::preference::example::{Example, Pair};
use crate::preference::formula::{Context, Formula, PairTerm, Point};
use crate::preference::metrics::PreferenceMetrics;
use crate::preference::numbers::{Number, Numbers};
use crate::preference::numeric::sigmoid;
use crate::preference::resolve::Part;

/// The numbers of a control variate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Control {
    /// m: synthetic pairs per prompt.
    pub pairs: usize,
    clip: f64,
    guard: f64,
    guard_margin: f64,
}

impl Control {
    pub(crate) fn new(numbers: &Numbers, bounded: bool) -> Result<Control, InvalidSetting> {
        let (pairs, guard) = (numbers.at(Number::SyntheticPairs), numbers.at(Number::Guard));
        let needs = |key: &'static str, got: f64| InvalidSetting {
            key,
            expected: "a number > 0, as the labelled term of this `primary_loss` is unbounded below".into(),
            got: got.to_string(),
        };
        if !bounded && pairs == 0.0 {
            return Err(needs("synthetic_pairs", pairs));
        }
        if !bounded && guard == 0.0 {
            return Err(needs("guard", guard));
        }
        Ok(Control {
            pairs: pairs as usize,
            clip: numbers.at(Number::AuxiliaryClip),
            guard,
            guard_margin: numbers.at(Number::GuardMargin),
        })
    }

    /// `I₁ − I₂` of a labelled pair, and its part of the guard.
    pub(crate) fn labelled(
        &self,
        part: &Part,
        context: &Context<'_>,
        rewards: &[f64],
        pair: &Pair,
        metrics: &mut PreferenceMetrics,
    ) -> PairTerm {
        let Some(auxiliary) = &pair.auxiliary else { panic!("`{}` needs auxiliary preferences", part.loss.name) };
        let expected = checked(auxiliary.preference, self.clip);
        let label = pair.label.probability();
        let difference = rewards[pair.chosen] - rewards[pair.rejected];
        let won = of(part, context, difference - pair.margin);
        let lost = of(part, context, -difference - pair.margin);
        let mix = |g: f64| g * won.value + (1.0 - g) * lost.value;
        metrics.mean("vrpo/data", mix(label));
        metrics.mean("vrpo/control", mix(expected));
        metrics.mean("vrpo/residual", label - expected);
        metrics.mean("vrpo/residual_squared", (label - expected).powi(2));
        let residual = label - expected;
        let labelled = Point { value: residual * (won.value - lost.value), slope: residual * (won.slope + lost.slope) };
        let guard = self.guard(difference, metrics);
        PairTerm::of_margin(labelled).plus(PairTerm::of_margin(guard))
    }

    /// `I₃` of an example's synthetic pairs with weight `weight`, and their part of the guard.
    #[expect(clippy::too_many_arguments, reason = "a micro-batch has this many sides")]
    pub(crate) fn synthetic(
        &self,
        part: &Part,
        context: &Context<'_>,
        rewards: &[f64],
        example: &Example,
        weight: f64,
        by_reward: &mut [f64],
        metrics: &mut PreferenceMetrics,
    ) -> f64 {
        let pairs = example.synthetic();
        let weight = weight / pairs.len().max(1) as f64;
        let mut loss = 0.0;
        for pair in pairs {
            let expected = checked(pair.preference, self.clip);
            let margin = rewards[pair.first] - rewards[pair.second];
            let (won, lost) = (of(part, context, margin), of(part, context, -margin));
            let value = expected * won.value + (1.0 - expected) * lost.value;
            let slope = expected * won.slope - (1.0 - expected) * lost.slope;
            metrics.mean("vrpo/synthetic", value);
            metrics.mean("vrpo/misspecification", (sigmoid(margin) - expected).abs());
            metrics.mean("vrpo/entropy", entropy(expected));
            let guard = self.guard(margin, metrics);
            loss += weight * (value + guard.value);
            by_reward[pair.first] += weight * (slope + guard.slope);
            by_reward[pair.second] -= weight * (slope + guard.slope);
        }
        loss
    }

    /// `λ·max(0, |h| − h_max)²`.
    fn guard(&self, margin: f64, metrics: &mut PreferenceMetrics) -> Point {
        let beyond = (margin.abs() - self.guard_margin).max(0.0);
        metrics.mean("vrpo/guarded", f64::from(beyond > 0.0));
        Point { value: self.guard * beyond * beyond, slope: 2.0 * self.guard * beyond * margin.signum() }
    }
}

fn of(part: &Part, context: &Context<'_>, margin: f64) -> Point {
    let Formula::Margin(formula) = part.shape.formula else { panic!("`{}` is no loss of a margin", part.shape.name) };
    formula(margin, context)
}

fn checked(preference: f64, clip: f64) -> f64 {
    assert!((0.0..=1.0).contains(&preference), "an auxiliary preference is a probability, got {preference}");
    clipped(preference, clip)
}

fn entropy(p: f64) -> f64 {
    [p, 1.0 - p].into_iter().filter(|p| *p > 0.0).map(|p| -p * p.ln()).sum()
}
