//! What the options of `experiment analyze` ask for, as a plan over columns.

use lapidary_core::{Kind, Problem, Result};
use lapidary_feedback::experiment::{Better, Column, Margin, Metric, Role, Source};

use super::analyze::Analyze;
use crate::commands::did_you_mean;

/// The columns to read, and the metrics over them.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub columns: Vec<Column>,
    pub metrics: Vec<Metric>,
}

fn wrong(message: String) -> Problem {
    Problem::new(Kind::Usage, "U019", message)
}

impl Request {
    /// The place of a column, which is added where it is new.
    fn column(&mut self, name: &str, before: bool) -> Result<usize> {
        match self.columns.iter().position(|column| column.name == name) {
            Some(at) if self.columns[at].before == before => Ok(at),
            Some(_) => Err(wrong(format!("`{name}` is a metric and a covariate"))
                .why("a covariate is known before the experiment begins, an outcome after it")),
            None => {
                self.columns.push(Column { name: name.to_string(), before });
                Ok(self.columns.len() - 1)
            }
        }
    }

    /// What the options ask for.
    ///
    /// # Errors
    /// `U019` for an option that cannot be.
    pub(super) fn of(options: &Analyze) -> Result<Self> {
        let mut request = Request::default();
        let ratios = options.ratio.iter().map(|text| ratio(text)).collect::<Result<Vec<_>>>()?;
        let mut wanted: Vec<(String, Role, Better)> = Vec::new();
        wanted.extend(options.metric.iter().map(|name| (name.clone(), Role::Primary, Better::Up)));
        for text in &options.guardrail {
            let (name, margin, better) = guardrail(text)?;
            wanted.push((name, Role::Guardrail(margin), better));
        }
        wanted.extend(options.explore.iter().map(|name| (name.clone(), Role::Exploratory, Better::Up)));
        wanted.extend(options.safety.iter().map(|name| (name.clone(), Role::Safety, Better::Down)));
        // A ratio that no other option names is a metric of its own.
        let lone = |name: &String| !wanted.iter().any(|want| want.0 == *name);
        let more: Vec<_> =
            ratios.iter().filter(|ratio| lone(&ratio.0)).map(|r| (r.0.clone(), Role::Primary, Better::Up)).collect();
        wanted.splice(options.metric.len()..options.metric.len(), more);
        for (name, role, better) in wanted {
            if request.metrics.iter().any(|metric| metric.name == name) {
                return Err(wrong(format!("`{name}` is asked for twice")).hint("a metric has one role"));
            }
            let source = match ratios.iter().find(|ratio| ratio.0 == name) {
                Some((_, numerator, denominator)) => {
                    Source::Ratio(request.column(numerator, false)?, request.column(denominator, false)?)
                }
                None => Source::Column(request.column(&name, false)?),
            };
            request.metrics.push(Metric { name, source, role, better, covariates: Vec::new(), tau: None });
        }
        if !request.metrics.iter().any(|metric| metric.role == Role::Primary) {
            return Err(
                wrong("no metric is named".into()).hint("`--metric COLUMN`, or `--ratio NAME=NUMERATOR/DENOMINATOR`")
            );
        }
        request.turn(&options.lower_is_better)?;
        request.covariates(&options.covariate)?;
        request.taus(&options.tau)?;
        Ok(request)
    }

    fn metric(&mut self, name: &str) -> Result<&mut Metric> {
        let names: Vec<String> = self.metrics.iter().map(|metric| metric.name.clone()).collect();
        self.metrics.iter_mut().find(|metric| metric.name == name).ok_or_else(|| {
            let known: Vec<&str> = names.iter().map(String::as_str).collect();
            wrong(format!("no metric is called `{name}`")).hint(did_you_mean(name, &known))
        })
    }

    fn turn(&mut self, lower: &[String]) -> Result<()> {
        for name in lower {
            let metric = self.metric(name)?;
            if matches!(metric.role, Role::Guardrail(_)) {
                return Err(wrong(format!("the direction of the guardrail `{name}` is the sign of its margin"))
                    .hint(format!("`--guardrail {name}=+0.01` where more is worse")));
            }
            metric.better = Better::Down;
        }
        Ok(())
    }

    /// `COLUMN` for all metrics, or `METRIC=COLUMN`.
    fn covariates(&mut self, covariates: &[String]) -> Result<()> {
        for text in covariates {
            let names: Vec<String> = self.metrics.iter().map(|metric| metric.name.clone()).collect();
            match text.split_once('=').filter(|(metric, _)| names.iter().any(|name| name == metric)) {
                Some((metric, column)) => {
                    let at = self.column(column, true)?;
                    self.metric(metric)?.covariates.push(at);
                }
                None => {
                    let at = self.column(text, true)?;
                    self.metrics.iter_mut().for_each(|metric| metric.covariates.push(at));
                }
            }
        }
        Ok(())
    }

    /// A number for all metrics, or `METRIC=NUMBER`.
    fn taus(&mut self, taus: &[String]) -> Result<()> {
        for text in taus {
            let (metric, number) =
                text.rsplit_once('=').map_or((None, text.as_str()), |(metric, number)| (Some(metric), number));
            let tau = super::above_zero(number).map_err(|expected| wrong(format!("`--tau {text}`: {expected}")))?;
            match metric {
                Some(name) => self.metric(name)?.tau = Some(tau),
                None => self.metrics.iter_mut().for_each(|metric| metric.tau = Some(tau)),
            }
        }
        Ok(())
    }
}

/// `NAME=NUMERATOR/DENOMINATOR`.
fn ratio(text: &str) -> Result<(String, String, String)> {
    let parts = text.split_once('=').and_then(|(name, of)| {
        let (numerator, denominator) = of.split_once('/')?;
        Some((name.to_string(), numerator.to_string(), denominator.to_string()))
    });
    parts.filter(|(a, b, c)| ![a, b, c].iter().any(|part| part.is_empty())).ok_or_else(|| {
        wrong(format!("`--ratio {text}` is no ratio"))
            .hint("write `--ratio NAME=NUMERATOR/DENOMINATOR`, with two columns")
    })
}

/// `NAME=-0.01` may fall by that, `NAME=+20` may rise by that; with `%` of the control's mean.
fn guardrail(text: &str) -> Result<(String, Margin, Better)> {
    let parsed = text.rsplit_once('=').and_then(|(name, margin)| {
        let (number, relative) = margin.strip_suffix('%').map_or((margin, false), |number| (number, true));
        let number: f64 = number.trim().parse().ok().filter(|number: &f64| *number != 0.0 && number.is_finite())?;
        let margin = if relative { Margin::Relative(number.abs() / 100.0) } else { Margin::Absolute(number.abs()) };
        let better = if number < 0.0 { Better::Up } else { Better::Down };
        (!name.is_empty()).then(|| (name.to_string(), margin, better))
    });
    parsed.ok_or_else(|| {
        wrong(format!("`--guardrail {text}` has no margin"))
            .why("a guardrail is held when a loss of more than a margin is ruled out, so it needs one")
            .hint("`--guardrail helpful=-0.01` may fall by 0.01; `--guardrail latency_ms=+2%` may rise by 2 %")
    })
}

/// `ARM=SHARE,ARM=SHARE`.
///
/// # Errors
/// `U019` for a share that is none, or an arm that stands twice.
pub(super) fn weights(text: &str) -> Result<Vec<(String, f64)>> {
    let mut weights: Vec<(String, f64)> = Vec::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        let parsed = part.rsplit_once('=').and_then(|(arm, weight)| {
            let weight: f64 = weight.trim().trim_end_matches('%').parse().ok()?;
            (weight > 0.0 && weight.is_finite() && !arm.is_empty()).then(|| (arm.trim().to_string(), weight))
        });
        let Some(parsed) = parsed else {
            return Err(
                wrong(format!("`{part}` is no share of an arm")).hint("write `--split control=50,treatment=50`")
            );
        };
        if weights.iter().any(|arm| arm.0 == parsed.0) {
            return Err(wrong(format!("the arm `{}` stands twice in the split", parsed.0)));
        }
        weights.push(parsed);
    }
    Ok(weights)
}
