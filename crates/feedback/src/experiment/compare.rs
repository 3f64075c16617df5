//! One metric of one treatment against the control.

use lapidary_core::{Key, Purpose};
use lapidary_statistics::{Effect, Mixture, Tail, newcombe, normal_quantile, poisson_bootstrap};

use super::decide::{absolute, role_name};
use super::estimate::{Adjusted, Estimate};
use super::looks::{enough, looks, novelty};
use super::outcome::{Outcome, Shape};
use super::plan::{Margin, Metric, Plan, Role};
use super::report::{CupedReport, GuardrailReport, MetricReport, Theta};
use super::table::Units;

/// One metric of one treatment.
pub(super) struct Comparison<'a> {
    pub units: &'a Units,
    pub plan: &'a Plan,
    pub metric: &'a Metric,
    pub outcome: &'a Outcome,
    pub control: u32,
    pub arm: u32,
}

impl Comparison<'_> {
    pub(super) fn report(&self, notes: &mut Vec<String>) -> MetricReport {
        let has = |unit: usize| self.outcome.has(unit);
        let (control, treatment) = (self.units.of_arm(self.control, has), self.units.of_arm(self.arm, has));
        let mut report = self.empty(control.len() as u64, treatment.len() as u64);
        let estimate = match Estimate::of(self.outcome, &control, &treatment) {
            Ok(estimate) => estimate,
            Err(reason) => {
                report.reason = Some(reason);
                return report;
            }
        };
        let adjusted = Estimate::adjusted(self.outcome, &control, &treatment);
        self.plain(&estimate, &mut report);
        let deciding = adjusted.as_ref().map_or(estimate, |adjusted| adjusted.estimate);
        report.cuped = adjusted.map(|adjusted| self.cuped(&adjusted));
        if self.plan.resamples > 0 {
            report.ci_bootstrap = self.bootstrap(&control, &treatment);
        }
        let ends = self.over_time(&deciding, (&control, &treatment), &mut report);
        if let Role::Guardrail(margin) = self.metric.role {
            report.guardrail = self.guardrail(margin, &deciding, &ends);
            if report.guardrail.is_none() && report.reason.is_none() {
                report.reason = Some("a relative margin needs a control above 0".into());
            }
        }
        if self.plan.sequential && !(enough(self.outcome, &control) && enough(self.outcome, &treatment)) {
            let name = &self.metric.name;
            notes.push(format!(
                "`{name}`: fewer than 100 units (successes) in an arm; the always-valid test needs them"
            ));
        }
        report
    }

    fn empty(&self, n_c: u64, n_t: u64) -> MetricReport {
        MetricReport {
            metric: self.metric.name.clone(),
            arm: self.units.arm_names[self.arm as usize].clone(),
            role: role_name(&self.metric.role),
            kind: self.outcome.shape.name(),
            better: self.metric.better,
            n_c,
            n_t,
            mean_c: None,
            mean_t: None,
            diff: None,
            se: None,
            statistic: None,
            df: None,
            ci_fixed: None,
            ci_seq: None,
            p_fixed: None,
            p_seq: None,
            tau: None,
            lift: None,
            ci_lift: None,
            ci_bootstrap: None,
            cuped: None,
            p_adjusted: None,
            guardrail: None,
            srm_p: None,
            looks: Vec::new(),
            novelty: None,
            decision: "not measurable",
            reason: None,
        }
    }

    fn mixture(&self, estimate: &Estimate) -> Option<Mixture> {
        estimate.mixture(self.metric.tau, self.plan.planned_units, self.plan.alpha)
    }

    fn plain(&self, estimate: &Estimate, report: &mut MetricReport) {
        let alpha = self.plan.alpha;
        let test = estimate.test(alpha);
        let mixture = self.mixture(estimate);
        report.mean_c = Some(estimate.control.mean);
        report.mean_t = Some(estimate.treatment.mean);
        report.diff = Some(estimate.effect.difference);
        report.se = Some(estimate.effect.se());
        report.statistic = test.map(|test| test.statistic);
        report.df = estimate.effect.degrees;
        report.ci_fixed = test.map(|test| [test.low, test.high]);
        report.p_fixed = test.map(|test| test.p);
        report.ci_seq = mixture.and_then(|mixture| estimate.sequence(mixture, alpha));
        report.p_seq = mixture.and_then(|mixture| estimate.always_valid_p(mixture));
        report.tau = mixture.map(|mixture| mixture.tau);
        if let Some(lift) = estimate.lift(alpha) {
            report.lift = Some(lift.lift);
            report.ci_lift = Some([lift.low, lift.high]);
        }
        if test.is_none() {
            report.reason = Some("the outcome does not vary in these two arms".into());
        }
    }

    fn cuped(&self, adjusted: &Adjusted) -> CupedReport {
        let (estimate, alpha) = (&adjusted.estimate, self.plan.alpha);
        let test = estimate.test(alpha);
        let mixture = self.mixture(estimate);
        CupedReport {
            theta: match adjusted.theta[..] {
                [theta] => Theta::One(theta),
                _ => Theta::Several(adjusted.theta.clone()),
            },
            r2: adjusted.r2,
            mean_c: estimate.control.mean,
            mean_t: estimate.treatment.mean,
            diff: estimate.effect.difference,
            se: estimate.effect.se(),
            statistic: test.map(|test| test.statistic),
            df: estimate.effect.degrees,
            ci_fixed: test.map(|test| [test.low, test.high]),
            ci_seq: mixture.and_then(|mixture| estimate.sequence(mixture, alpha)),
            p_fixed: test.map(|test| test.p),
            p_seq: mixture.and_then(|mixture| estimate.always_valid_p(mixture)),
            imputed: self.outcome.imputed,
        }
    }

    fn bootstrap(&self, control: &[usize], treatment: &[usize]) -> Option<[f64; 2]> {
        let pairs = |units: &[usize]| -> Vec<(f64, f64)> {
            units.iter().map(|&unit| (self.outcome.numerators[unit], self.outcome.denominators[unit])).collect()
        };
        let key = Key::new(self.plan.seed, Purpose::Bootstrap).at_name(&self.metric.name).at(u64::from(self.arm));
        let ends = poisson_bootstrap(&pairs(control), &pairs(treatment), self.plan.resamples, self.plan.alpha, key);
        ends.map(|(low, high)| [low, high])
    }

    /// The looks, and from them the p at any time; gives the estimates of all looks.
    fn over_time(&self, deciding: &Estimate, arms: (&[usize], &[usize]), report: &mut MetricReport) -> Vec<Estimate> {
        let mixture = self.mixture(deciding);
        let (Some(mixture), false) = (mixture, self.units.day_names.is_empty()) else { return vec![*deciding] };
        let found = looks(self.outcome, self.units, arms, mixture, self.plan.alpha);
        let mut ends: Vec<Estimate> = found.iter().filter_map(|look| look.1).collect();
        ends.push(*deciding);
        report.looks = found.into_iter().map(|look| look.0).collect();
        let least = report.looks.iter().map(|look| look.p_seq).fold(f64::INFINITY, f64::min);
        let p = match &mut report.cuped {
            Some(cuped) => &mut cuped.p_seq,
            None => &mut report.p_seq,
        };
        *p = p.map(|p| p.min(least));
        report.novelty = novelty(self.outcome, self.units, arms);
        ends
    }

    fn guardrail(&self, margin: Margin, estimate: &Estimate, looks: &[Estimate]) -> Option<GuardrailReport> {
        let (sign, alpha) = (self.metric.better.sign(), self.plan.alpha);
        let size = absolute(margin, estimate.control.mean)?;
        // The gain plus the margin; a relative margin moves with the control's own error.
        let shifted = |estimate: &Estimate| -> Effect {
            let (c, t, effect) = (estimate.control, estimate.treatment, estimate.effect);
            match margin {
                Margin::Absolute(margin) => Effect { difference: sign * effect.difference + margin, ..effect },
                Margin::Relative(share) => Effect {
                    difference: sign * effect.difference + share * c.mean,
                    variance: t.variance + (share - sign).powi(2) * c.variance,
                    degrees: effect.degrees,
                },
            }
        };
        let mixture = self.mixture(estimate);
        let at_any_time = |of: &dyn Fn(&Estimate) -> Effect| -> Option<f64> {
            let mixture = mixture?;
            let p = |estimate: &Estimate| {
                let effect = of(estimate);
                let holds = effect.difference > 0.0 && effect.variance > 0.0;
                if holds { mixture.p(effect.difference, effect.variance) } else { 1.0 }
            };
            Some(looks.iter().map(p).fold(1.0, f64::min))
        };
        let now = shifted(estimate);
        let p = now.p(Tail::Above);
        let constant = p.is_none() && {
            let (c, t) = (estimate.control.counts(), estimate.treatment.counts());
            let ends = newcombe(c, t, normal_quantile(1.0 - alpha));
            self.outcome.shape == Shape::Proportion
                && ends.is_some_and(|(low, high)| (if sign > 0.0 { low } else { -high }) > -size)
        };
        Some(GuardrailReport {
            margin: size,
            relative_margin: match margin {
                Margin::Relative(share) => Some(share),
                Margin::Absolute(_) => None,
            },
            z: (now.variance > 0.0).then(|| now.difference / now.se()),
            p,
            p_seq: at_any_time(&shifted),
            harm_p_seq: at_any_time(&|estimate| Effect {
                difference: -sign * estimate.effect.difference,
                ..estimate.effect
            }),
            non_inferior: constant,
        })
    }
}
