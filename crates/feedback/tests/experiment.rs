//! The analysis of an experiment, from rows to a decision.
#![allow(clippy::unwrap_used)] // a test says what is wrong by panicking

use lapidary_core::{Key, Purpose, Result};
use lapidary_feedback::experiment::{
    Better, Column, Decision, Margin, Metric, MetricReport, Missing, Plan, Report, Role, Row, Rows, Source,
    TableBuilder, Theta, Units, analyze, text,
};
use proptest::prelude::*;

/// A table of one metric column per name; each row is unit, arm and values.
fn table(columns: &[(&str, bool)], rows: &[(String, &str, Vec<f64>)]) -> Units {
    let columns = columns.iter().map(|(name, before)| Column { name: name.to_string(), before: *before }).collect();
    let mut table = TableBuilder::new(columns, Rows::One);
    for (unit, arm, values) in rows {
        table.push(&Row { unit, arm, values, day: None, segment: None, triggered: true }).unwrap();
    }
    table.finish().unwrap()
}

/// Two arms with their values of one column.
fn arms(control: &[f64], treatment: &[f64]) -> Units {
    let rows: Vec<(String, &str, Vec<f64>)> = control
        .iter()
        .map(|y| ("control", y))
        .chain(treatment.iter().map(|y| ("treatment", y)))
        .enumerate()
        .map(|(unit, (arm, y))| (format!("u{unit}"), arm, vec![*y]))
        .collect();
    table(&[("y", false)], &rows)
}

fn binary(successes: usize, units: usize) -> Vec<f64> {
    (0..units).map(|unit| f64::from(u8::from(unit < successes))).collect()
}

fn only(report: &Report) -> &MetricReport {
    assert_eq!(report.metrics.len(), 1);
    &report.metrics[0]
}

fn near(got: Option<f64>, expected: f64) {
    let got = got.unwrap();
    assert!((got - expected).abs() < 1e-6, "got {got}, expected {expected}");
}

fn plan() -> Plan {
    Plan::new(vec![Metric::column("y", 0)])
}

/// Specification C §7 through the whole analysis.
#[test]
fn goldens_of_proportions_and_means() {
    let report = analyze(&arms(&binary(30, 1000), &binary(45, 1000)), &plan()).unwrap();
    let metric = only(&report);
    assert_eq!(
        (metric.kind, metric.n_c, metric.n_t, metric.decision),
        ("proportion", 1000, 1000, "no difference shown")
    );
    near(metric.statistic, 1.765470);
    near(metric.p_fixed, 0.077485);
    near(metric.ci_fixed.map(|ci| ci[0]), -0.001640);
    near(metric.ci_fixed.map(|ci| ci[1]), 0.031640);
    near(metric.lift, 0.5);
    assert_eq!(report.decisions[0].decision, Decision::Hold);

    let report = analyze(&arms(&[3.1, 2.4, 4.0, 3.6, 2.9], &[4.2, 3.9, 5.1, 4.8, 3.3, 4.6]), &plan()).unwrap();
    let metric = only(&report);
    assert_eq!((metric.kind, metric.decision), ("mean", "better"));
    near(metric.statistic, 2.896663);
    near(metric.df, 8.806346);
    near(metric.p_fixed, 0.018089);
    near(metric.se, 0.385501);
    near(metric.ci_fixed.map(|ci| ci[0]), 0.241671);
    assert_eq!(report.decisions[0].decision, Decision::Ship);
    // Where less is better the same change is for the worse.
    let mut turned = plan();
    turned.metrics[0].better = Better::Down;
    let report = analyze(&arms(&[3.1, 2.4, 4.0, 3.6, 2.9], &[4.2, 3.9, 5.1, 4.8, 3.3, 4.6]), &turned).unwrap();
    assert_eq!((only(&report).decision, report.decisions[0].decision), ("worse", Decision::Hold));
}

#[test]
fn goldens_of_the_always_valid_test() {
    let mut plan = plan();
    plan.sequential = true;
    plan.metrics[0].tau = Some(0.01);
    let report = analyze(&arms(&binary(250, 5000), &binary(310, 5000)), &plan).unwrap();
    let metric = only(&report);
    near(metric.p_seq, 0.143729);
    near(metric.ci_seq.map(|ci| 0.5 * (ci[1] - ci[0])), 0.014073);
    assert_eq!((report.test, metric.decision), ("sequential", "no difference shown"));
    assert!(metric.p_fixed.unwrap() < 0.01, "a fixed test would have decided");
    // Tuned to 5,000 units per arm: 0.013952.
    plan.metrics[0].tau = None;
    plan.planned_units = 5000.0;
    let report = analyze(&arms(&binary(250, 5000), &binary(310, 5000)), &plan).unwrap();
    near(only(&report).ci_seq.map(|ci| 0.5 * (ci[1] - ci[0])), 0.013952);
}

#[test]
fn golden_of_covariates() {
    let (x, y) =
        ([2.0, 3.0, 5.0, 4.0, 1.0, 3.5, 1.0, 4.0, 5.0, 2.5], [2.5, 3.4, 5.2, 4.1, 1.8, 3.9, 2.1, 4.8, 5.9, 3.0]);
    let rows: Vec<(String, &str, Vec<f64>)> = (0..10)
        .map(|unit| (format!("u{unit}"), if unit < 5 { "control" } else { "t" }, vec![y[unit], x[unit]]))
        .collect();
    let mut plan = plan();
    plan.metrics[0].covariates = vec![1];
    let report = analyze(&table(&[("y", false), ("x", true)], &rows), &plan).unwrap();
    let metric = only(&report);
    let cuped = metric.cuped.as_ref().unwrap();
    let Theta::One(theta) = cuped.theta else { panic!("{:?}", cuped.theta) };
    near(Some(theta), 0.906186);
    near(Some(cuped.diff), 0.358763);
    near(metric.diff, 0.54);
    near(cuped.statistic, 2.451077);
    near(cuped.p_fixed, 0.050169);
    near(metric.p_fixed, 0.562364);
    near(metric.p_adjusted, cuped.p_fixed.unwrap());
    // A gap is filled with the mean and marked.
    let mut rows = rows;
    rows[3].2[1] = f64::NAN;
    let report = analyze(&table(&[("y", false), ("x", true)], &rows), &plan).unwrap();
    let cuped = only(&report).cuped.clone().unwrap();
    assert!(matches!(cuped.theta, Theta::Several(ref theta) if theta.len() == 2) && cuped.imputed == 1);
}

fn ratio_units() -> (Units, Metric) {
    let (s, n) = ([3.0, 0.0, 2.0, 5.0, 1.0], [10.0, 4.0, 8.0, 15.0, 6.0]);
    let rows: Vec<(String, &str, Vec<f64>)> = (0..10)
        .map(|unit| {
            let (arm, more) = if unit < 5 { ("control", 0.0) } else { ("t", 1.0) };
            (format!("u{unit}"), arm, vec![s[unit % 5] + more, n[unit % 5]])
        })
        .collect();
    let metric = Metric { name: "rate".into(), source: Source::Ratio(0, 1), ..Metric::column("rate", 0) };
    (table(&[("s", false), ("n", false)], &rows), metric)
}

#[test]
fn golden_of_a_ratio() {
    let (units, metric) = ratio_units();
    let report = analyze(&units, &Plan::new(vec![metric])).unwrap();
    let metric = only(&report);
    near(metric.mean_c, 11.0 / 43.0);
    near(metric.mean_t, 16.0 / 43.0);
    // Both variances by the formula; that of the control is 0.001948783.
    let treatment = lapidary_statistics::ratio(&lapidary_statistics::Comoments::of([
        (4.0, 10.0),
        (1.0, 4.0),
        (3.0, 8.0),
        (6.0, 15.0),
        (2.0, 6.0),
    ]));
    near(metric.se, (0.001948783 + treatment.unwrap().variance).sqrt());
    assert_eq!((metric.kind, metric.df), ("ratio", None));
}

#[test]
fn shares_that_are_off_stop_everything() {
    let units = arms(&binary(2500, 50_500), &binary(4000, 49_500));
    let report = analyze(&units, &plan()).unwrap();
    near(report.srm_chi2, 10.0);
    assert!((report.srm_p.unwrap() / 1.565402e-3 - 1.0).abs() < 1e-6);
    assert_eq!(report.decisions[0].decision, Decision::Ship, "p = 0.0016 is no alarm yet");
    let planned = Plan { split: vec![("treatment".into(), 1.0), ("control".into(), 9.0)], ..plan() };
    let report = analyze(&units, &planned).unwrap();
    assert!(report.srm_p.unwrap() < 1e-10);
    assert_eq!(report.decisions[0].decision, Decision::RollBack);
    assert!(text(&report).contains("NOT as planned"));
}

/// Three roles over one column each: y decides, g is guarded, h is harm.
fn guarded(g: (f64, f64), h: (usize, usize)) -> Units {
    let key = Key::new(3, Purpose::Task);
    let rows: Vec<(String, &str, Vec<f64>)> = (0..8000usize)
        .map(|unit| {
            let treated = unit % 2 == 1;
            let (mean, harm) = if treated { (g.1, h.1) } else { (g.0, h.0) };
            let key = key.at(unit as u64);
            let y = f64::from(u8::from(key.at(0).uniform() < if treated { 0.16 } else { 0.10 }));
            let (latency, flagged) = (mean + key.at(1).normal(), f64::from(u8::from(unit / 2 < harm)));
            (format!("u{unit}"), if treated { "treatment" } else { "control" }, vec![y, latency, flagged])
        })
        .collect();
    table(&[("y", false), ("g", false), ("h", false)], &rows)
}

fn guarded_plan(margin: Margin) -> Plan {
    let metric = |name: &str, column, role, better| Metric { role, better, ..Metric::column(name, column) };
    Plan::new(vec![
        Metric::column("y", 0),
        metric("g", 1, Role::Guardrail(margin), Better::Up),
        metric("h", 2, Role::Safety, Better::Down),
    ])
}

#[test]
fn what_is_guarded_decides_too() {
    let words =
        |report: &Report| -> Vec<&'static str> { report.metrics.iter().map(|metric| metric.decision).collect() };
    let decided = |units: &Units, margin: Margin| {
        let report = analyze(units, &guarded_plan(margin)).unwrap();
        (words(&report), report.decisions[0].decision)
    };
    // Shown to stay within the margin, and no harm: ship.
    let same = guarded((10.0, 10.0), (40, 40));
    assert_eq!(decided(&same, Margin::Absolute(0.1)), (vec!["better", "held", "no alarm"], Decision::Ship));
    assert_eq!(decided(&same, Margin::Relative(0.01)), (vec!["better", "held", "no alarm"], Decision::Ship));
    // A margin too small to be shown: hold. A guardrail that nothing speaks against is not one that holds.
    assert_eq!(decided(&same, Margin::Absolute(0.001)), (vec!["better", "not shown", "no alarm"], Decision::Hold));
    // Worse than the margin, beyond doubt: roll back. So is harm that doubled.
    assert_eq!(decided(&guarded((10.0, 9.5), (40, 40)), Margin::Absolute(0.1)).1, Decision::RollBack);
    assert_eq!(
        decided(&guarded((10.0, 10.0), (40, 120)), Margin::Absolute(0.1)),
        (vec!["better", "held", "alarm"], Decision::RollBack)
    );
    // A better guardrail holds; harm that is gone is no alarm.
    assert_eq!(
        decided(&guarded((10.0, 10.5), (40, 0)), Margin::Absolute(0.1)),
        (vec!["better", "held", "no alarm"], Decision::Ship)
    );
    // The always-valid test needs more, and the words stay.
    let mut sequential = guarded_plan(Margin::Absolute(0.2));
    sequential.sequential = true;
    assert_eq!(words(&analyze(&same, &sequential).unwrap()), ["better", "held", "no alarm"]);
}

/// Specification C §7: d = −0.004, δ = 0.01 and se = 0.003 give z = 2, here with the margin turned into the data's own error.
#[test]
fn the_guardrails_p_is_that_of_the_shifted_test() {
    let units = arms(&binary(300, 1000), &binary(290, 1000));
    let mut plan = plan();
    plan.metrics.push(Metric { role: Role::Guardrail(Margin::Absolute(0.05)), ..Metric::column("y again", 0) });
    let report = analyze(&units, &plan).unwrap();
    let guardrail = report.metrics[1].guardrail.unwrap();
    let se = report.metrics[1].se.unwrap();
    near(guardrail.z, (-0.01 + 0.05) / se);
    near(guardrail.p, lapidary_statistics::normal_above((-0.01 + 0.05) / se));
}

#[test]
fn nothing_of_a_rare_harm_is_not_blindness() {
    let rows: Vec<(String, &str, Vec<f64>)> = (0..4000)
        .map(|unit| {
            (
                format!("u{unit}"),
                if unit % 2 == 0 { "control" } else { "t" },
                vec![f64::from(unit % 10 / 5 * (unit % 2)), 0.0],
            )
        })
        .collect();
    let units = table(&[("y", false), ("flag", false)], &rows);
    let guard = |margin| Metric {
        role: Role::Guardrail(Margin::Absolute(margin)),
        better: Better::Down,
        ..Metric::column("flag", 1)
    };
    let word =
        |margin| analyze(&units, &Plan::new(vec![Metric::column("y", 0), guard(margin)])).unwrap().metrics[1].decision;
    // No flag among 2,000 units rules out a rise of 0.0014 (Newcombe), not one of 0.001.
    assert_eq!((word(0.002), word(0.001)), ("held", "not measurable"));
}

#[test]
fn what_cannot_be_compared_is_said() {
    let problem = |units: &Units, plan: &Plan| analyze(units, plan).unwrap_err();
    let one = table(&[("y", false)], &[("a".into(), "control", vec![1.0]), ("b".into(), "control", vec![0.0])]);
    assert_eq!(problem(&one, &plan()).code(), "D092");
    assert_eq!(problem(&arms(&[1.0, 1.0], &[1.0, 1.0]), &plan()).code(), "D094");
    assert_eq!(problem(&arms(&[1.0, f64::NAN], &[1.0, 2.0]), &plan()).code(), "D095");
    assert_eq!(problem(&arms(&[f64::NAN], &[f64::NAN]), &Plan { missing: Missing::Drop, ..plan() }).code(), "D095");
    let named = Plan { control: Some("contrl".into()), ..plan() };
    assert!(problem(&arms(&[1.0, 2.0], &[1.0, 3.0]), &named).advice().unwrap().contains("`control`"));
    let strange = table(&[("y", false)], &[("a".into(), "x", vec![1.0]), ("b".into(), "z", vec![0.0])]);
    assert_eq!(problem(&strange, &plan()).message(), "which arm is the control?");
    let split = Plan { split: vec![("control".into(), 1.0)], ..plan() };
    assert_eq!(problem(&arms(&[1.0, 2.0], &[1.0, 3.0]), &split).code(), "D093");
    // One unit in an arm is no error of the file: the report says what is missing.
    let report = analyze(&arms(&[1.5], &[1.0, 2.0]), &plan()).unwrap();
    assert_eq!(
        (only(&report).decision, only(&report).reason.as_deref()),
        ("not measurable", Some("an arm has fewer than two units"))
    );
    assert_eq!(report.decisions[0].decision, Decision::Hold);
    // No success at all in an arm: a difference, but no relative change.
    let report = analyze(&arms(&binary(0, 50), &binary(5, 50)), &plan()).unwrap();
    assert!(only(&report).lift.is_none() && only(&report).diff == Some(0.1));
}

#[test]
fn missing_outcomes_mean_what_is_said() {
    let units = arms(&[1.0, 0.0, f64::NAN, 0.0], &[1.0, 1.0, 0.0, 1.0]);
    let report = |missing| analyze(&units, &Plan { missing, ..plan() }).unwrap();
    near(only(&report(Missing::Zero)).mean_c, 0.25);
    near(only(&report(Missing::Drop)).mean_c, 1.0 / 3.0);
    assert_eq!((only(&report(Missing::Drop)).n_c, report(Missing::Drop).notes.len()), (3, 1));
}

#[test]
fn several_tests_share_alpha() {
    // Three treatments, of which none differs much: the p of each is multiplied.
    let key = Key::new(8, Purpose::Task);
    let names = ["control", "t1", "t2", "t3"];
    let rows: Vec<(String, &str, Vec<f64>)> =
        (0..400).map(|unit| (format!("u{unit}"), names[unit % 4], vec![key.at(unit as u64).normal()])).collect();
    let report = analyze(&table(&[("y", false)], &rows), &plan()).unwrap();
    let p: Vec<f64> = report.metrics.iter().map(|metric| metric.p_fixed.unwrap()).collect();
    let adjusted: Vec<f64> = report.metrics.iter().map(|metric| metric.p_adjusted.unwrap()).collect();
    assert_eq!(adjusted, lapidary_statistics::holm(&p));
    assert_eq!(report.decisions.len(), 3);
}

/// Looks after each day: the always-valid p never rises, and a fading effect is seen.
#[test]
fn days_and_segments() {
    let key = Key::new(5, Purpose::Task);
    let mut builder = TableBuilder::new(vec![Column { name: "y".into(), before: false }], Rows::One);
    for unit in 0..14_000u64 {
        let (treated, day) = (unit % 2 == 1, unit / 2 % 10);
        let lift = if treated { 0.5 - 0.05 * day as f64 } else { 0.0 };
        let (unit_name, day_name) = (format!("u{unit}"), format!("2026-11-{:02}", day + 1));
        builder
            .push(&Row {
                unit: &unit_name,
                arm: if treated { "B" } else { "A" },
                values: &[key.at(unit).normal() + lift],
                day: Some(&day_name),
                segment: Some(if unit % 7 < 3 { "app" } else { "web" }),
                triggered: unit % 3 != 0,
            })
            .unwrap();
    }
    let report = analyze(&builder.finish().unwrap(), &Plan { sequential: true, resamples: 200, ..plan() }).unwrap();
    let metric = only(&report);
    assert_eq!(metric.looks.len(), 10);
    assert!(metric.looks.windows(2).all(|pair| pair[1].p_seq <= pair[0].p_seq && pair[1].n_c > pair[0].n_c));
    assert!(metric.p_seq.unwrap() <= metric.looks[9].p_seq);
    let novelty = metric.novelty.unwrap();
    assert!((novelty.slope + 0.05).abs() < 0.02 && novelty.p < 0.001, "{novelty:?}");
    assert_eq!(report.segments.iter().map(|s| s.segment.as_str()).collect::<Vec<_>>(), ["app", "web"]);
    assert_eq!(report.segments.iter().map(|s| s.n_c).sum::<u64>(), metric.n_c);
    let triggered = report.triggered.as_ref().unwrap();
    assert!(triggered.p.unwrap() > 0.5 && triggered.of_units == 14_000 && metric.n_c < 5000);
    let [low, high] = metric.ci_bootstrap.unwrap();
    let [fixed_low, fixed_high] = metric.ci_fixed.unwrap();
    assert!((low - fixed_low).abs() < 0.02 && (high - fixed_high).abs() < 0.02);
    let shown = text(&report);
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    assert!(shown.contains("novelty") && shown.contains("2026-11-10"), "{shown}");
}

#[test]
fn a_heavy_tail_is_cut_at_a_quantile() {
    let mut values: Vec<f64> = (0..1000).map(f64::from).collect();
    values[999] = 1e9;
    let units = arms(&values, &values.iter().map(|v| v + 1.0).collect::<Vec<_>>());
    let cut = Plan { winsorize: Some(0.99), ..plan() };
    let report = analyze(&units, &cut).unwrap();
    assert!(only(&report).mean_c.unwrap() < 500.0 && only(&analyze(&units, &plan()).unwrap()).mean_c.unwrap() > 1e5);
    assert!(report.notes[0].contains("brought to"), "{:?}", report.notes);
}

fn json(report: &Report) -> String {
    serde_json::to_string(report).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// The order of rows changes no byte, and no table of finite numbers breaks the analysis or leaves the 80 columns.
    #[test]
    fn any_order_gives_the_same_bytes(
        cells in prop::collection::vec((0u8..3, -1e6f64..1e6, 0u8..4, 0.0f64..10.0), 4..60),
        seed in any::<u64>(), sequential in any::<bool>(),
    ) {
        let arms = ["control", "b", "c"];
        let rows: Vec<(String, &str, Vec<f64>)> = cells.iter().enumerate()
            .map(|(unit, (arm, y, x, n))| (format!("u{unit}"), arms[*arm as usize], vec![*y, f64::from(*x), *n, f64::from(x % 2)]))
            .collect();
        let columns = [("y", false), ("x", true), ("n", false), ("flag", false)];
        let metrics = vec![
            Metric { covariates: vec![1], ..Metric::column("y", 0) },
            Metric { source: Source::Ratio(0, 2), role: Role::Guardrail(Margin::Relative(0.02)), ..Metric::column("rate", 0) },
            Metric { role: Role::Safety, better: Better::Down, ..Metric::column("flag", 3) },
        ];
        let plan = Plan { sequential, ..Plan::new(metrics) };
        let order = Key::new(seed, Purpose::Shuffle).permutation(rows.len());
        let shuffled: Vec<_> = order.iter().map(|&at| rows[at].clone()).collect();
        let both: (Result<Report>, Result<Report>) = (analyze(&table(&columns, &rows), &plan), analyze(&table(&columns, &shuffled), &plan));
        match both {
            (Ok(one), Ok(other)) => {
                prop_assert_eq!(json(&one), json(&other));
                prop_assert!(!json(&one).contains("NaN"));
                let shown = text(&one);
                prop_assert!(shown.lines().all(|line| line.chars().count() <= 80), "{}", shown);
                for metric in &one.metrics {
                    for p in [metric.p_fixed, metric.p_seq, metric.p_adjusted].into_iter().flatten() {
                        prop_assert!((0.0..=1.0).contains(&p));
                    }
                }
            }
            (one, other) => prop_assert_eq!(one.err(), other.err()),
        }
    }
}

/// §5.7 e: of A/A tests through the whole analysis 5 % ± 3 % call a difference, and a real lift is found and shipped.
#[test]
fn a_a_tests_and_real_lifts() {
    let decided = |seed: u64, rate: f64| -> Report {
        let key = Key::new(seed, Purpose::Task);
        let arm = |arm: u64, rate: f64| -> Vec<f64> {
            (0..2000).map(|unit| f64::from(u8::from(key.at(arm).at(unit).uniform() < rate))).collect()
        };
        analyze(&arms(&arm(0, 0.10), &arm(1, rate)), &plan()).unwrap()
    };
    let called = (0..500).filter(|seed| only(&decided(*seed, 0.10)).decision != "no difference shown").count();
    assert!((10..=40).contains(&called), "{called} of 500");
    let shipped = (0..50).filter(|seed| decided(*seed, 0.15).decisions[0].decision == Decision::Ship).count();
    assert!(shipped >= 48, "{shipped} of 50");
}
