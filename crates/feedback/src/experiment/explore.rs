//! Effects within segments: for ideas, never for a decision.

use lapidary_statistics::benjamini_hochberg;

use super::looks::deciding;
use super::outcome::Outcome;
use super::plan::{Plan, Role};
use super::report::SegmentReport;
use super::table::Units;

/// The primary metrics of each treatment within each segment, adjusted together by Benjamini and Hochberg.
pub(super) fn segments(
    units: &Units,
    plan: &Plan,
    outcomes: &[Outcome],
    control: u32,
    keep: &[bool],
) -> Vec<SegmentReport> {
    let mut reports = Vec::new();
    let treatments = (0..units.arm_names.len() as u32).filter(|arm| *arm != control);
    for (arm, (segment, name)) in
        treatments.flat_map(|arm| units.segment_names.iter().enumerate().map(move |segment| (arm, segment)))
    {
        for (metric, outcome) in plan.metrics.iter().zip(outcomes).filter(|(metric, _)| metric.role == Role::Primary) {
            let inside = |unit: usize| keep[unit] && outcome.has(unit) && units.segments[unit] == Some(segment as u32);
            let (c, t) = (units.of_arm(control, inside), units.of_arm(arm, inside));
            let estimate = deciding(outcome, &c, &t);
            let test = estimate.and_then(|estimate| estimate.test(plan.alpha));
            reports.push(SegmentReport {
                segment: name.clone(),
                metric: metric.name.clone(),
                arm: units.arm_names[arm as usize].clone(),
                n_c: c.len() as u64,
                n_t: t.len() as u64,
                diff: estimate.map(|estimate| estimate.effect.difference),
                ci_fixed: test.map(|test| [test.low, test.high]),
                p_fixed: test.map(|test| test.p),
                p_adjusted: None,
            });
        }
    }
    let p_values: Vec<f64> = reports.iter().filter_map(|report| report.p_fixed).collect();
    let adjusted = benjamini_hochberg(&p_values);
    reports
        .iter_mut()
        .filter(|report| report.p_fixed.is_some())
        .zip(adjusted)
        .for_each(|(report, p)| report.p_adjusted = Some(p));
    reports
}
