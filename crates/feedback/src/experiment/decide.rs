//! From tests to a decision: ship, hold or roll back (specification C §6.5, §7).

use super::plan::{Margin, Role};
use super::report::{Decision, DecisionReport, MetricReport};

/// Below this the shares of the arms are not chance, and nothing else can be trusted.
pub const SRM_ALPHA: f64 = 0.001;
/// Below this an always-valid p says that a guardrail was harmed: roll back.
pub const HARM_ALPHA: f64 = 0.001;
/// A rate of harm whose quotient is above this with its whole interval rolls back.
pub const SAFETY_RATIO: f64 = 1.1;

pub(super) fn role_name(role: &Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Guardrail(_) => "guardrail",
        Role::Exploratory => "exploratory",
        Role::Safety => "safety",
    }
}

/// The margin in units of the metric; `None` for a relative one where the control's mean is not above 0.
pub(super) fn absolute(margin: Margin, mean_c: f64) -> Option<f64> {
    match margin {
        Margin::Absolute(margin) => Some(margin),
        Margin::Relative(share) => (mean_c > 0.0).then_some(share * mean_c),
    }
}

/// The word for a metric, once its adjusted p is there.
pub(super) fn metric_decision(report: &MetricReport, sequential: bool, alpha: f64) -> &'static str {
    let (diff, ci) = match &report.cuped {
        Some(cuped) => (Some(cuped.diff), cuped.ci_fixed),
        None => (report.diff, report.ci_fixed),
    };
    match (report.role, &report.guardrail) {
        ("guardrail", Some(guardrail)) if guardrail.harm_p_seq.is_some_and(|p| p < HARM_ALPHA) => "harmed",
        ("guardrail", Some(guardrail)) if guardrail.non_inferior => "held",
        ("guardrail", Some(guardrail)) if guardrail.p.is_some() || guardrail.p_seq.is_some() => "not shown",
        ("guardrail", _) => "not measurable",
        ("safety", _) => match (report.ci_lift, report.mean_c, report.mean_t) {
            (Some([low, _]), ..) if low + 1.0 > SAFETY_RATIO => "alarm",
            (Some(_), ..) => "no alarm",
            // A quotient needs harm in both arms; without any in the treatment there is nothing to alarm.
            (None, Some(_), Some(0.0)) => "no alarm",
            _ => "not measurable",
        },
        _ => {
            let (Some(diff), Some(p)) = (diff, report.p_adjusted) else { return "not measurable" };
            // The p of the pooled test and Wald's interval may differ at the edge: both must agree.
            let clear = sequential || ci.is_some_and(|[low, high]| low > 0.0 || high < 0.0);
            match p < alpha && clear {
                false => "no difference shown",
                true if diff * report.better.sign() > 0.0 => "better",
                true => "worse",
            }
        }
    }
}

/// What to do with a treatment.
///
/// * roll back: the shares of the arms are off, a guardrail was harmed, or a rate of harm rose;
/// * ship: a primary metric is better and none worse, and every guardrail is shown to hold;
/// * hold otherwise.
pub(super) fn decide(arm: &str, srm_p: Option<f64>, metrics: &[&MetricReport]) -> DecisionReport {
    let named = |role: &str, word: &str| -> Vec<String> {
        metrics.iter().filter(|m| m.role == role && m.decision == word).map(|m| format!("`{}`", m.metric)).collect()
    };
    let mut reasons = Vec::new();
    let mut say = |names: Vec<String>, what: &str| {
        let any = !names.is_empty();
        if any {
            reasons.push(format!("{} {what}", names.join(", ")));
        }
        any
    };
    let srm = match srm_p.filter(|p| *p < SRM_ALPHA) {
        Some(p) => say(
            vec!["the arms".into()],
            &format!("do not have their planned shares (p = {p:.2e}): assignment or logging is broken"),
        ),
        None => false,
    };
    let harmed = say(named("guardrail", "harmed"), "got worse, whenever one had looked");
    let alarm = say(named("safety", "alarm"), "rose by more than a tenth, with its whole interval");
    if srm | harmed | alarm {
        return DecisionReport { arm: arm.into(), decision: Decision::RollBack, reasons };
    }
    let better = say(named("primary", "better"), "better");
    let worse = say(named("primary", "worse"), "worse");
    let unclear = say(named("primary", "no difference shown"), "without a difference that is shown");
    let held = say(named("guardrail", "held"), "held");
    let unshown = say(named("guardrail", "not shown"), "not shown to stay within the margin");
    let blind = say(named("guardrail", "not measurable"), "cannot be measured")
        | say(named("primary", "not measurable"), "cannot be measured")
        | say(named("safety", "not measurable"), "cannot be measured");
    // Only what was said counts; that something held or is unclear decides nothing by itself.
    let _ = (held, unclear);
    let ship = better && !worse && !unshown && !blind;
    DecisionReport { arm: arm.into(), decision: if ship { Decision::Ship } else { Decision::Hold }, reasons }
}
