//! What the runs of a study show: measures, paired differences with intervals, and whether each claim holds.

use lapidary_core::{Key, Kind, Problem, Purpose, Result};
use lapidary_eval::{Interval, paired_bootstrap_difference, paired_mean_difference};

use super::{ArmRun, Claim, Measure, Relation, Study, Take};

/// What a study found.
#[derive(Clone, Debug)]
pub struct Findings {
    /// `[measure][arm][seed]`.
    pub values: Vec<Vec<Vec<f64>>>,
    /// Every measure of every arm against the baseline.
    pub differences: Vec<Difference>,
    /// One per claim.
    pub judgements: Vec<Judgement>,
}

/// How an arm differs from another, paired by seed.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The measure, by its place in the study.
    pub measure: usize,
    /// The arm.
    pub arm: usize,
    /// What it is compared with.
    pub against: usize,
    /// Mean of arm − against, with Student's interval over seeds.
    pub student: Interval,
    /// The same with a bootstrap over seeds; with few seeds it is too narrow, which is why both are shown.
    pub bootstrap: Interval,
}

/// Whether a claim holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// The interval says so.
    Yes,
    /// The interval says the opposite.
    No,
    /// The interval holds both: these runs do not decide it.
    Open,
}

/// A claim, what was seen, and whether it holds.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The claim, by its place in the study.
    pub claim: usize,
    /// What was seen.
    pub difference: Difference,
    /// Whether it holds, by Student's interval.
    pub holds: Holds,
}

impl Findings {
    /// Works out what `runs` show.
    ///
    /// # Errors
    /// `Data`: a run without a metric that is measured.
    pub fn of(study: &Study, runs: &[ArmRun]) -> Result<Self> {
        let of_arm = |measure: &Measure, arm: usize| {
            runs.iter().filter(|run| run.arm == arm).map(|run| value(study, measure, run)).collect::<Result<Vec<f64>>>()
        };
        let of_measure = |measure| (0..study.arms.len()).map(|arm| of_arm(measure, arm)).collect::<Result<Vec<_>>>();
        let values = study.measures.iter().map(of_measure).collect::<Result<Vec<_>>>()?;
        let arm_of = |name: &str| study.arms.iter().position(|arm| arm.name == name).unwrap_or(0);
        let baseline = arm_of(&study.baseline);
        let others = (0..study.arms.len()).filter(|arm| *arm != baseline);
        let differences = others
            .flat_map(|arm| (0..study.measures.len()).map(move |measure| (measure, arm)))
            .filter_map(|(measure, arm)| difference(&values, (measure, arm), (measure, baseline)))
            .collect();
        let judge = |(at, claim): (usize, &Claim)| {
            let measure_of = |name: &str| study.measures.iter().position(|measure| measure.name == name);
            let measure = measure_of(&claim.measure)?;
            let other = claim.against_measure.as_deref().map_or(Some(measure), measure_of)?;
            let against = claim.against.as_deref().map_or(baseline, arm_of);
            let difference = difference(&values, (measure, arm_of(&claim.arm)), (other, against))?;
            let holds = holds(claim.is, claim.margin, &difference.student);
            Some(Judgement { claim: at, difference, holds })
        };
        let judgements = study.claims.iter().enumerate().filter_map(judge).collect();
        Ok(Self { values, differences, judgements })
    }
}

/// A measure of an arm less a measure (most often the same) of another, by seed.
fn difference(
    values: &[Vec<Vec<f64>>],
    (measure, arm): (usize, usize),
    (other, against): (usize, usize),
) -> Option<Difference> {
    let (before, after) = (&values[other][against], &values[measure][arm]);
    let key = Key::new(0, Purpose::Bootstrap).at_name("study").at(measure as u64).at(arm as u64).at(against as u64);
    let student = paired_mean_difference(before, after)?;
    let bootstrap = paired_bootstrap_difference(before, after, key)?;
    Some(Difference { measure, arm, against, student, bootstrap })
}

/// A claim holds where the whole interval agrees, and fails where the whole interval contradicts.
fn holds(is: Relation, margin: f64, interval: &Interval) -> Holds {
    let (low, high) = match is {
        Relation::Higher => (interval.low, interval.high),
        Relation::Lower => (-interval.high, -interval.low),
        Relation::AtLeast => (interval.low + margin, interval.high + margin),
        Relation::AtMost => (margin - interval.high, margin - interval.low),
    };
    let strict = matches!(is, Relation::Higher | Relation::Lower);
    match (low, high) {
        (low, _) if low > 0.0 || (low == 0.0 && !strict) => Holds::Yes,
        (_, high) if high < 0.0 || (high == 0.0 && strict) => Holds::No,
        _ => Holds::Open,
    }
}

/// The number that a measure makes of a run.
fn value(study: &Study, measure: &Measure, run: &ArmRun) -> Result<f64> {
    let missing = || {
        let arm = &study.arms[run.arm].name;
        Problem::new(Kind::Data, "D048", format!("`{arm}`, seed {}, has no `{}`", run.seed, measure.metric))
            .hint("a study can only measure what its runs log")
    };
    if let Some(k) = measure.metric.strip_prefix("pass@") {
        let wanted: Option<usize> = k.parse().ok();
        return run.pass.iter().find(|(k, _)| Some(*k) == wanted).map(|(_, rate)| *rate).ok_or_else(missing);
    }
    let series: Vec<f64> = run.rows.iter().filter_map(|row| row.get(&measure.metric)).collect();
    let last = *series.last().ok_or_else(missing)?;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    Ok(match measure.take {
        Take::Mean => mean(&series),
        Take::Tail => mean(&series[series.len() - series.len().div_ceil(4)..]),
        Take::Max => series.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Take::Last => last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Row;

    fn run(arm: usize, seed: u64, rewards: &[f64]) -> ArmRun {
        let rows = rewards.iter().enumerate().map(|(at, r)| Row::new(at as u64, 1, "x").with("reward", *r)).collect();
        ArmRun { arm, seed, rows, pass: vec![(1, 0.25), (8, 0.5)] }
    }

    fn study() -> Study {
        let text = |take: &str| {
            format!(
                "name=\"s\"\ntitle=\"t\"\npaper=\"p\"\nquestion=\"q\"\nbaseline=\"a\"\nstart=\"\"\nrecipe=\"\"\ncurves=[]\n\
                 [[arm]]\nname=\"a\"\nabout=\"\"\nset=[]\n[[arm]]\nname=\"b\"\nabout=\"\"\nset=[]\n\
                 [[measure]]\nname=\"r\"\ntitle=\"R\"\nmetric=\"reward\"\ntake=\"{take}\"\n\
                 [[measure]]\nname=\"p\"\ntitle=\"P\"\nmetric=\"pass@8\"\ntake=\"last\"\n\
                 [[claim]]\ntext=\"more\"\narm=\"b\"\nmeasure=\"r\"\nis=\"higher\"\n\
                 [[claim]]\ntext=\"no worse\"\narm=\"b\"\nmeasure=\"p\"\nis=\"at_least\"\nmargin=0.0\n"
            )
        };
        Study::parse(&text("tail")).unwrap()
    }

    #[test]
    fn pairs_are_of_one_seed_and_claims_are_judged_by_the_interval() {
        // Over the last quarter (two of eight steps) b is 0.1, 0.2 and 0.3 above a.
        let runs: Vec<ArmRun> = (1..=3)
            .flat_map(|seed| {
                let end = seed as f64;
                let rewards = |more: f64| [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, end + more, end + more];
                [run(0, seed, &rewards(0.0)), run(1, seed, &rewards(0.1 * end))]
            })
            .collect();
        let findings = Findings::of(&study(), &runs).unwrap();
        assert_eq!(findings.values[0][0], [1.0, 2.0, 3.0]);
        let student = &findings.judgements[0].difference.student;
        // Mean 0.2, deviation 0.1, t(2) = 4.3027: 0.2 ± 0.2484.
        assert!((student.estimate - 0.2).abs() < 1e-12 && (student.low + 0.0484).abs() < 1e-3, "{student:?}");
        assert_eq!(findings.judgements[0].holds, Holds::Open, "three seeds do not decide it");
        assert_eq!(findings.judgements[1].holds, Holds::Yes, "equal is at least as good");
        assert_eq!(findings.differences.len(), 2);
    }

    #[test]
    fn a_claim_holds_fails_or_stays_open() {
        let between = |low: f64, high: f64| Interval {
            estimate: (low + high) / 2.0,
            low,
            high,
            units: 5,
            method: lapidary_eval::IntervalMethod::StudentT,
        };
        assert_eq!(holds(Relation::Higher, 0.0, &between(0.1, 0.3)), Holds::Yes);
        assert_eq!(holds(Relation::Higher, 0.0, &between(-0.3, -0.1)), Holds::No);
        assert_eq!(holds(Relation::Lower, 0.0, &between(-0.3, -0.1)), Holds::Yes);
        assert_eq!(holds(Relation::Higher, 0.0, &between(0.0, 0.0)), Holds::No, "no difference is not higher");
        assert_eq!(holds(Relation::AtLeast, 0.05, &between(-0.04, 0.3)), Holds::Yes);
        assert_eq!(holds(Relation::AtLeast, 0.05, &between(-0.3, -0.06)), Holds::No);
        assert_eq!(holds(Relation::AtLeast, 0.05, &between(-0.3, 0.3)), Holds::Open);
        assert_eq!(holds(Relation::AtMost, 0.05, &between(-0.3, 0.04)), Holds::Yes);
    }

    #[test]
    fn a_metric_that_nobody_logged_is_named() {
        let mut study = study();
        study.measures[0].metric = "rewrad".into();
        let problem = Findings::of(&study, &[run(0, 1, &[0.0]), run(1, 1, &[0.0])]).unwrap_err();
        assert!(problem.message().contains("`a`, seed 1, has no `rewrad`"), "{problem}");
    }
}
