//! A metric's values over the units: what is missing, what kind it is, what is cut off.

use lapidary_core::{Kind, Problem, Result};

use super::plan::{Metric, Missing, Plan, Role, Source};
use super::table::Units;

/// What kind of number a unit has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// 0 or 1.
    Proportion,
    /// Any number.
    Mean,
    /// A numerator and a denominator.
    Ratio,
}

impl Shape {
    pub(super) fn name(self) -> &'static str {
        match self {
            Shape::Proportion => "proportion",
            Shape::Mean => "mean",
            Shape::Ratio => "ratio",
        }
    }
}

/// A metric's values over all units.
#[derive(Debug)]
pub(super) struct Outcome {
    pub shape: Shape,
    /// The value, or the numerator; NaN where the unit has none.
    pub numerators: Vec<f64>,
    /// 1 but for ratios.
    pub denominators: Vec<f64>,
    /// Covariates without gaps, and last an indicator for each that had some.
    pub covariates: Vec<Vec<f64>>,
    /// Units with a covariate that was missing.
    pub imputed: u64,
    /// Units without an outcome.
    pub dropped: u64,
    /// Units that were cut off, and the bounds.
    pub winsorized: Option<(u64, f64, f64)>,
}

impl Outcome {
    /// The values of a metric for the units that `keep` holds for.
    ///
    /// # Errors
    /// `D095` for a missing outcome that may not be, `D094` for a primary metric that is the same for all units.
    pub(super) fn of(units: &Units, plan: &Plan, metric: &Metric, keep: &[bool]) -> Result<Self> {
        let (numerator, denominator) = match metric.source {
            Source::Column(column) => (column, None),
            Source::Ratio(numerator, denominator) => (numerator, Some(denominator)),
        };
        let mut numerators = filled(units, plan, numerator, keep)?;
        let denominators = match denominator {
            Some(column) => filled(units, plan, column, keep)?,
            None => vec![1.0; numerators.len()],
        };
        let mut dropped = 0;
        for (unit, value) in numerators.iter_mut().enumerate() {
            if !keep[unit] {
                *value = f64::NAN;
            } else if value.is_nan() || denominators[unit].is_nan() {
                *value = f64::NAN;
                dropped += 1;
            }
        }
        let binary = numerators.iter().all(|value| value.is_nan() || *value == 0.0 || *value == 1.0);
        let shape = match metric.source {
            Source::Ratio(..) => Shape::Ratio,
            Source::Column(_) if binary => Shape::Proportion,
            Source::Column(_) => Shape::Mean,
        };
        let mut outcome =
            Self { shape, numerators, denominators, covariates: Vec::new(), imputed: 0, dropped, winsorized: None };
        if let Some(quantile) = plan.winsorize.filter(|_| shape == Shape::Mean) {
            outcome.winsorize(quantile);
        }
        outcome.check(metric)?;
        for &column in &metric.covariates {
            outcome.add_covariate(&units.values[column]);
        }
        Ok(outcome)
    }

    /// Whether a unit has an outcome.
    pub(super) fn has(&self, unit: usize) -> bool {
        !self.numerators[unit].is_nan()
    }

    fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.numerators.iter().copied().filter(|value| !value.is_nan())
    }

    fn check(&self, metric: &Metric) -> Result<()> {
        let name = &metric.name;
        let ratio = self.shape == Shape::Ratio;
        if ratio && (0..self.numerators.len()).any(|unit| self.has(unit) && self.denominators[unit] < 0.0) {
            let message = format!("the denominator of `{name}` is below 0 for a unit");
            return Err(Problem::new(Kind::Data, "D095", message)
                .hint("a denominator counts something: trials, messages, seconds"));
        }
        let mut values = self.values();
        let Some(first) = values.next() else {
            let message = format!("no unit has an outcome `{name}`");
            return Err(Problem::new(Kind::Data, "D095", message).hint("is the column empty?"));
        };
        let same = |of: &[f64]| {
            let mut seen = (0..of.len()).filter(|&unit| self.has(unit)).map(|unit| of[unit]);
            seen.next().is_none_or(|first| seen.all(|value| value == first))
        };
        let constant = values.all(|value| value == first) && (!ratio || same(&self.denominators));
        if constant && metric.role == Role::Primary {
            let message = format!("the metric `{name}` is the same for all units: {first}");
            return Err(Problem::new(Kind::Data, "D094", message)
                .why("without variance there is nothing to compare")
                .hint("is it the right column, and was the outcome logged?"));
        }
        Ok(())
    }

    /// Brings values beyond the quantile (and 1 less it) of all units together to it.
    fn winsorize(&mut self, quantile: f64) {
        let mut sorted: Vec<f64> = self.values().collect();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else { return };
        // The nearest rank: the least value with at least this share at or below it.
        let at = |share: f64| sorted[((share * sorted.len() as f64).ceil() as usize).clamp(1, last + 1) - 1];
        let (low, high) = (at(1.0 - quantile), at(quantile));
        let mut count = 0;
        for value in self.numerators.iter_mut().filter(|value| !value.is_nan()) {
            count += u64::from(*value < low || *value > high);
            *value = value.clamp(low, high);
        }
        self.winsorized = Some((count, low, high));
    }

    /// The mean stands for what is missing, and that it is missing becomes a covariate (specification C §7, edge cases).
    fn add_covariate(&mut self, column: &[f64]) {
        let known =
            || (0..column.len()).filter(|&unit| self.has(unit)).map(|unit| column[unit]).filter(|x| !x.is_nan());
        let mean = lapidary_statistics::Moments::of(known()).mean;
        let missing: Vec<f64> = column.iter().map(|x| f64::from(u8::from(x.is_nan()))).collect();
        let count = (0..column.len()).filter(|&unit| self.has(unit) && column[unit].is_nan()).count();
        self.covariates.push(column.iter().map(|x| if x.is_nan() { mean } else { *x }).collect());
        if count > 0 {
            self.covariates.push(missing);
            self.imputed += count as u64;
        }
    }
}

/// A column with what the plan puts in its gaps.
fn filled(units: &Units, plan: &Plan, column: usize, keep: &[bool]) -> Result<Vec<f64>> {
    let values = &units.values[column];
    let missing = || (0..values.len()).filter(|&unit| keep[unit] && values[unit].is_nan()).count();
    match plan.missing {
        Missing::Zero => Ok(values.iter().map(|value| if value.is_nan() { 0.0 } else { *value }).collect()),
        Missing::Drop => Ok(values.clone()),
        Missing::Refuse => {
            match missing() {
                0 => Ok(values.clone()),
                count => {
                    let plural = if count == 1 { "unit has" } else { "units have" };
                    let message = format!("{count} {plural} no value in the column `{}`", units.columns[column]);
                    Err(Problem::new(Kind::Data, "D095", message)
                    .why("units rarely lose their outcome at random, so leaving them out can make or hide an effect")
                    .hint("`--missing zero` where it means that nothing happened; `--missing drop` leaves the units out"))
                }
            }
        }
    }
}
