//! Two arms of a metric to an effect, with and without covariates.

use lapidary_statistics::{
    Comoments, Effect, Lift, Mixture, Moments, Ratio, Test, adjust, lift_of_means, lift_of_proportions, means,
    proportions, ratio, z_test,
};

use super::outcome::{Outcome, Shape};
use super::report::Bound;

/// An arm's mean (share, ratio) and the variance of that mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arm {
    pub units: u64,
    pub mean: f64,
    pub variance: f64,
    /// Successes, for a proportion.
    successes: u64,
}

impl Arm {
    /// As the tests of proportions take it.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.successes, self.units)
    }
}

/// Treatment against control.
#[derive(Clone, Copy, Debug)]
pub(super) struct Estimate {
    pub control: Arm,
    pub treatment: Arm,
    pub effect: Effect,
    /// Whether the two counts are all there is, so that the pooled test applies.
    counted: bool,
}

/// What covariates did.
#[derive(Clone, Debug)]
pub(super) struct Adjusted {
    pub theta: Vec<f64>,
    pub r2: f64,
    pub estimate: Estimate,
}

impl Estimate {
    /// The effect of the units of two arms; what is in the way otherwise.
    pub(super) fn of(outcome: &Outcome, control: &[usize], treatment: &[usize]) -> Result<Self, String> {
        if control.is_empty() || treatment.is_empty() {
            return Err("an arm has no units".into());
        }
        if outcome.shape == Shape::Proportion {
            let arm = |units: &[usize]| {
                let successes = units.iter().filter(|&&unit| outcome.numerators[unit] == 1.0).count() as u64;
                let count = units.len() as u64;
                let mean = successes as f64 / count as f64;
                Arm { units: count, mean, variance: mean * (1.0 - mean) / count as f64, successes }
            };
            let (control, treatment) = (arm(control), arm(treatment));
            let effect = proportions(control.counts(), treatment.counts()).ok_or("an arm has no units")?;
            return Ok(Self { control, treatment, effect, counted: true });
        }
        let values = |units: &[usize]| stand_ins(outcome, units);
        Self::from_values(outcome.shape, &values(control)?, &values(treatment)?)
    }

    fn from_values(shape: Shape, control: &[f64], treatment: &[f64]) -> Result<Self, String> {
        let moments = |values: &[f64]| Moments::of(values.iter().copied());
        let (c, t) = (moments(control), moments(treatment));
        let mut effect = means(&c, &t).ok_or("an arm has fewer than two units")?;
        if shape == Shape::Ratio {
            effect.degrees = None;
        }
        let arm = |moments: &Moments| {
            let (mean, variance) = moments.mean_and_variance();
            Arm { units: moments.count, mean, variance, successes: 0 }
        };
        Ok(Self { control: arm(&c), treatment: arm(&t), effect, counted: false })
    }

    /// The same with covariates; `None` where none is asked for or nothing can be adjusted.
    pub(super) fn adjusted(outcome: &Outcome, control: &[usize], treatment: &[usize]) -> Option<Adjusted> {
        if outcome.covariates.is_empty() {
            return None;
        }
        let mut values = stand_ins(outcome, control).ok()?;
        values.extend(stand_ins(outcome, treatment).ok()?);
        let units = || control.iter().chain(treatment);
        let covariates: Vec<Vec<f64>> =
            outcome.covariates.iter().map(|x| units().map(|&unit| x[unit]).collect()).collect();
        let adjustment = adjust(&values, &covariates);
        let (c, t) = adjustment.values.split_at(control.len());
        let estimate = Self::from_values(outcome.shape, c, t).ok()?;
        Some(Adjusted { theta: adjustment.theta, r2: adjustment.r2, estimate })
    }

    /// The fixed-horizon test: for two counts the p of the pooled test with Wald's interval.
    pub(super) fn test(&self, alpha: f64) -> Option<Test> {
        let test = self.effect.test(alpha)?;
        match self.counted {
            false => Some(test),
            true => z_test(self.control.counts(), self.treatment.counts()).map(|(statistic, p)| Test {
                statistic,
                p,
                ..test
            }),
        }
    }

    /// Relative change.
    pub(super) fn lift(&self, alpha: f64) -> Option<Lift> {
        if self.counted {
            return lift_of_proportions(self.control.counts(), self.treatment.counts(), alpha);
        }
        let part = |arm: &Arm| (arm.mean, arm.variance);
        lift_of_means(part(&self.control), part(&self.treatment), alpha)
    }

    /// The mixture of the metric, or the one tuned to the planned units; `None` without variance.
    pub(super) fn mixture(&self, tau: Option<f64>, planned_units: f64, alpha: f64) -> Option<Mixture> {
        let (c, t) = (self.control.units as f64, self.treatment.units as f64);
        let each = 2.0 / (1.0 / c + 1.0 / t);
        match tau {
            _ if self.effect.variance <= 0.0 => None,
            Some(tau) => Some(Mixture::new(tau)),
            None => Some(Mixture::tuned(planned_units, self.effect.variance * each, alpha)),
        }
    }

    /// The always-valid interval.
    pub(super) fn sequence(&self, mixture: Mixture, alpha: f64) -> Option<Bound> {
        let half = (self.effect.variance > 0.0).then(|| mixture.half_width(self.effect.variance, alpha))?;
        Some([self.effect.difference - half, self.effect.difference + half])
    }

    /// The always-valid p of this look alone.
    pub(super) fn always_valid_p(&self, mixture: Mixture) -> Option<f64> {
        (self.effect.variance > 0.0).then(|| mixture.p(self.effect.difference, self.effect.variance))
    }
}

/// A number per unit whose mean is the arm's mean and whose variance of the mean is that of the arm's estimate: the value itself, or for
/// a ratio the ratio plus the unit's own part.
fn stand_ins(outcome: &Outcome, units: &[usize]) -> Result<Vec<f64>, String> {
    let numerators = || units.iter().map(|&unit| outcome.numerators[unit]);
    if outcome.shape != Shape::Ratio {
        return Ok(numerators().collect());
    }
    let denominators = || units.iter().map(|&unit| outcome.denominators[unit]);
    let moments = Comoments::of(numerators().zip(denominators()));
    let Some(found): Option<Ratio> = ratio(&moments) else {
        let reason =
            if units.len() < 2 { "an arm has fewer than two units" } else { "an arm's denominators are all 0" };
        return Err(reason.into());
    };
    let part = |(s, n)| found.ratio + found.part(s, n, moments.y.mean);
    Ok(numerators().zip(denominators()).map(part).collect())
}
