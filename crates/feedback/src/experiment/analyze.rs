//! The analysis of an experiment.

use lapidary_core::{Kind, Problem, Result};
use lapidary_statistics::{benjamini_hochberg, chi_square_above, holm, sample_ratio};

use super::compare::Comparison;
use super::decide::{decide, metric_decision};
use super::explore;
use super::outcome::Outcome;
use super::plan::{Metric, Missing, Plan};
use super::report::{ArmReport, MetricReport, Report, TriggerReport};
use super::table::Units;

/// Names that mean the arm that others are compared to, where the plan names none.
const CONTROLS: &[&str] = &["control", "baseline", "ctrl", "a", "off", "0", "false"];
/// A share of units in two arms above this says that assignment is not sticky.
const TWO_ARMS_ALARM: f64 = 0.001;
/// Days of exposure below which a week's rhythm is in the effect.
const WEEK: usize = 7;

/// Compares every treatment with the control.
///
/// # Errors
/// `D092` with fewer than two arms, `D093` for a control or a planned share that no arm has, `D094` for a primary metric without
/// variance, `D095` for missing outcomes, `D096` where no unit was triggered.
pub fn analyze(units: &Units, plan: &Plan) -> Result<Report> {
    let control = control_of(units, plan)?;
    let weights = weights_of(units, plan)?;
    let any_triggered = units.triggered.iter().any(|triggered| *triggered);
    if !any_triggered {
        return Err(Problem::new(Kind::Data, "D096", "no unit was triggered")
            .hint("is the column of the trigger the right one?"));
    }
    let keep = &units.triggered;
    let counts: Vec<u64> = arm_counts(units, |_| true);
    let srm = sample_ratio(&counts, &weights);
    let srm_p = srm.map(|srm| srm.p);
    let mut notes = notes_of(units);
    let mut outcomes = Vec::with_capacity(plan.metrics.len());
    for metric in &plan.metrics {
        let outcome = Outcome::of(units, plan, metric, keep)?;
        note_outcome(metric, &outcome, plan, &mut notes);
        outcomes.push(outcome);
    }
    let mut metrics = Vec::new();
    for arm in (0..units.arm_names.len() as u32).filter(|arm| *arm != control) {
        for (metric, outcome) in plan.metrics.iter().zip(&outcomes) {
            let comparison = Comparison { units, plan, metric, outcome, control, arm };
            metrics.push(MetricReport { srm_p, ..comparison.report(&mut notes) });
        }
    }
    adjust_family(&mut metrics, plan);
    let decisions = units.arm_names.iter().enumerate().filter(|(arm, _)| *arm != control as usize).map(|(_, name)| {
        let of_arm: Vec<&MetricReport> = metrics.iter().filter(|metric| metric.arm == *name).collect();
        decide(name, srm_p, &of_arm)
    });
    let decisions = decisions.collect();
    let total: f64 = weights.iter().sum();
    let all: u64 = counts.iter().sum();
    let arms = units.arm_names.iter().zip(&counts).zip(&weights).map(|((name, &count), weight)| ArmReport {
        arm: name.clone(),
        units: count,
        share: count as f64 / all as f64,
        expected_share: weight / total,
    });
    Ok(Report {
        test: if plan.sequential { "sequential" } else { "fixed" },
        alpha: plan.alpha,
        control: units.arm_names[control as usize].clone(),
        units: all,
        rows: units.rows,
        units_in_two_arms: units.in_two_arms,
        arms: arms.collect(),
        srm_chi2: srm.map(|srm| srm.chi2),
        srm_p,
        triggered: trigger_of(units, &counts),
        segments: explore::segments(units, plan, &outcomes, control, keep),
        metrics,
        decisions,
        notes,
    })
}

fn arm_counts(units: &Units, keep: impl Fn(usize) -> bool + Copy) -> Vec<u64> {
    (0..units.arm_names.len() as u32).map(|arm| units.of_arm(arm, keep).len() as u64).collect()
}

fn control_of(units: &Units, plan: &Plan) -> Result<u32> {
    let names = &units.arm_names;
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    if names.len() < 2 {
        let message = format!("there is only one arm: {}", quoted.join(""));
        return Err(Problem::new(Kind::Data, "D092", message)
            .hint("an effect is a difference between arms; is the column of arms the right one?"));
    }
    let place = |wanted: &str| names.iter().position(|name| name == wanted).map(|place| place as u32);
    // However it is written, if only one arm is called so.
    let only = |usual: &str| {
        let mut called = (0..names.len()).filter(|&arm| names[arm].eq_ignore_ascii_case(usual));
        called.next().filter(|_| called.next().is_none()).map(|arm| arm as u32)
    };
    match &plan.control {
        Some(name) => place(name).ok_or_else(|| {
            Problem::new(Kind::Data, "D093", format!("no arm is called `{name}`"))
                .hint(format!("the arms are {}", quoted.join(", ")))
        }),
        None => CONTROLS.iter().find_map(|usual| only(usual)).ok_or_else(|| {
            Problem::new(Kind::Data, "D093", "which arm is the control?")
                .why(format!("the arms are {}", quoted.join(", ")))
                .hint("name it: `--control NAME`")
        }),
    }
}

fn weights_of(units: &Units, plan: &Plan) -> Result<Vec<f64>> {
    let names = &units.arm_names;
    if plan.split.is_empty() {
        return Ok(vec![1.0; names.len()]);
    }
    if let Some((name, _)) = plan.split.iter().find(|(name, _)| !names.contains(name)) {
        return Err(Problem::new(Kind::Data, "D093", format!("no unit is in the arm `{name}` of the planned split"))
            .hint(format!("the arms are {}", names.join(", "))));
    }
    let weight = |name: &String| {
        plan.split.iter().find(|(of, _)| of == name).map(|(_, weight)| *weight).ok_or_else(|| {
            Problem::new(Kind::Data, "D093", format!("the planned split has no share for the arm `{name}`"))
                .hint("give every arm a share: `--split control=50,treatment=50`")
        })
    };
    names.iter().map(weight).collect()
}

fn trigger_of(units: &Units, counts: &[u64]) -> Option<TriggerReport> {
    if units.triggered.iter().all(|triggered| *triggered) {
        return None;
    }
    let triggered = arm_counts(units, |unit| units.triggered[unit]);
    let weights: Vec<f64> = counts.iter().map(|count| *count as f64).collect();
    let others: Vec<u64> = counts.iter().zip(&triggered).map(|(all, some)| all - some).collect();
    // Pearson's test of independence: both rows of the table against the arms' own sizes.
    let degrees = counts.len() - 1;
    let chi2 = sample_ratio(&triggered, &weights).zip(sample_ratio(&others, &weights)).map(|(a, b)| a.chi2 + b.chi2);
    Some(TriggerReport {
        of_units: counts.iter().sum(),
        shares: triggered.iter().zip(counts).map(|(some, all)| *some as f64 / *all as f64).collect(),
        p: chi2.map(|chi2| chi_square_above(chi2, degrees)),
    })
}

fn notes_of(units: &Units) -> Vec<String> {
    let mut notes = Vec::new();
    let (two, all) = (units.in_two_arms, units.arms.len() as u64 + units.in_two_arms);
    if two > 0 {
        let alarm = if two as f64 > TWO_ARMS_ALARM * all as f64 { ": assignment is not sticky" } else { "" };
        notes.push(format!("{two} of {all} units stood in two arms and were left out{alarm}"));
    }
    let days = units.day_names.len();
    if (1..WEEK).contains(&days) {
        notes.push(format!("{days} days of exposure: a week's rhythm is not averaged out"));
    }
    notes
}

fn note_outcome(metric: &Metric, outcome: &Outcome, plan: &Plan, notes: &mut Vec<String>) {
    let name = &metric.name;
    if outcome.dropped > 0 && plan.missing == Missing::Drop {
        notes.push(format!("`{name}`: {} units without an outcome were left out", outcome.dropped));
    }
    if let Some((count, low, high)) = outcome.winsorized.filter(|(count, ..)| *count > 0) {
        notes.push(format!("`{name}`: {count} values were brought to {low} … {high}"));
    }
    if outcome.imputed > 0 {
        notes.push(format!("`{name}`: {} units had no covariate; the mean stands for it", outcome.imputed));
    }
}

/// Holm over all primary metrics and over all guardrails of all treatments, Benjamini–Hochberg over the exploratory ones; then words.
fn adjust_family(metrics: &mut [MetricReport], plan: &Plan) {
    let deciding = |metric: &MetricReport| match (&metric.guardrail, &metric.cuped) {
        (Some(guardrail), _) if plan.sequential => guardrail.p_seq,
        (Some(guardrail), _) => guardrail.p,
        (None, Some(cuped)) if plan.sequential => cuped.p_seq,
        (None, Some(cuped)) => cuped.p_fixed,
        (None, None) if plan.sequential => metric.p_seq,
        (None, None) => metric.p_fixed,
    };
    for role in ["primary", "guardrail", "exploratory"] {
        let family: Vec<usize> =
            (0..metrics.len()).filter(|&at| metrics[at].role == role && deciding(&metrics[at]).is_some()).collect();
        let p_values: Vec<f64> = family.iter().filter_map(|&at| deciding(&metrics[at])).collect();
        let adjusted = if role == "exploratory" { benjamini_hochberg(&p_values) } else { holm(&p_values) };
        for (&at, p) in family.iter().zip(adjusted) {
            metrics[at].p_adjusted = Some(p);
            if let Some(guardrail) = &mut metrics[at].guardrail {
                guardrail.non_inferior = p < plan.alpha;
            }
        }
    }
    for metric in metrics {
        metric.decision = metric_decision(metric, plan.sequential, plan.alpha);
    }
}
