//! What an analysis says, as data. The names are part of the format of `--json`.

use serde::Serialize;

use super::plan::Better;

/// The whole report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// `fixed` or `sequential`: which test decides.
    pub test: &'static str,
    /// Error rate.
    pub alpha: f64,
    /// The arm that others are compared to.
    pub control: String,
    /// Units that were compared.
    pub units: u64,
    /// Rows that were read.
    pub rows: u64,
    /// Units that stood in two arms and were left out.
    pub units_in_two_arms: u64,
    /// Each arm.
    pub arms: Vec<ArmReport>,
    /// Test of the shares of the arms; null without two arms.
    pub srm_chi2: Option<f64>,
    /// Its probability; below 0.001 nothing else in the report can be trusted.
    pub srm_p: Option<f64>,
    /// The units that met what was changed, where a column says so.
    pub triggered: Option<TriggerReport>,
    /// Each metric of each treatment.
    pub metrics: Vec<MetricReport>,
    /// Effects within segments.
    pub segments: Vec<SegmentReport>,
    /// What to do, for each treatment.
    pub decisions: Vec<DecisionReport>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// An arm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmReport {
    /// Its name.
    pub arm: String,
    /// Its units.
    pub units: u64,
    /// Their share.
    pub share: f64,
    /// The planned share.
    pub expected_share: f64,
}

/// Units that met what was changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TriggerReport {
    /// All units before the others were left out.
    pub of_units: u64,
    /// Share of each arm that was triggered, in the order of `arms`.
    pub shares: Vec<f64>,
    /// Probability of shares this different by chance; below 0.001 the trigger depends on the arm.
    pub p: Option<f64>,
}

/// An interval, low and high.
pub type Bound = [f64; 2];

/// A metric of one treatment against the control.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricReport {
    /// Its name.
    pub metric: String,
    /// The treatment.
    pub arm: String,
    /// `primary`, `guardrail`, `exploratory` or `safety`.
    pub role: &'static str,
    /// `proportion`, `mean` or `ratio`.
    pub kind: &'static str,
    /// Which direction is good.
    pub better: Better,
    /// Units of the control.
    pub n_c: u64,
    /// Units of the treatment.
    pub n_t: u64,
    /// Mean (share, ratio) of the control.
    pub mean_c: Option<f64>,
    /// Mean (share, ratio) of the treatment.
    pub mean_t: Option<f64>,
    /// Treatment less control, without covariates.
    pub diff: Option<f64>,
    /// Its standard error.
    pub se: Option<f64>,
    /// z of the pooled test (proportions), t of Welch's (means), z of the delta method (ratios).
    pub statistic: Option<f64>,
    /// Degrees of freedom of Welch's test.
    pub df: Option<f64>,
    /// Interval for one look.
    pub ci_fixed: Option<Bound>,
    /// Interval for any number of looks.
    pub ci_seq: Option<Bound>,
    /// p for one look.
    pub p_fixed: Option<f64>,
    /// p for any number of looks: the least so far.
    pub p_seq: Option<f64>,
    /// The mixture's standard deviation.
    pub tau: Option<f64>,
    /// Relative change.
    pub lift: Option<f64>,
    /// Its interval (one look).
    pub ci_lift: Option<Bound>,
    /// Interval of the difference by the bootstrap over units.
    pub ci_bootstrap: Option<Bound>,
    /// The same with covariates; this is then what decides.
    pub cuped: Option<CupedReport>,
    /// The deciding p, adjusted for all metrics of the role (and all treatments): Holm, or Benjamini–Hochberg for exploratory ones.
    pub p_adjusted: Option<f64>,
    /// For guardrails.
    pub guardrail: Option<GuardrailReport>,
    /// Of the experiment.
    pub srm_p: Option<f64>,
    /// Looks after each day of exposure.
    pub looks: Vec<Look>,
    /// Whether the effect depends on the day of exposure.
    pub novelty: Option<Novelty>,
    /// `better`, `worse`, `no difference shown`; `held`, `not shown`, `harmed`; `no alarm`, `alarm`; or `not measurable`.
    pub decision: &'static str,
    /// Why something is null.
    pub reason: Option<String>,
}

/// One coefficient, or one per covariate.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Theta {
    /// Of the only covariate.
    One(f64),
    /// Of each.
    Several(Vec<f64>),
}

/// The comparison after what covariates explain was taken out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CupedReport {
    /// Regression coefficient.
    pub theta: Theta,
    /// Share of the variance that is explained.
    pub r2: f64,
    /// Adjusted mean of the control.
    pub mean_c: f64,
    /// Adjusted mean of the treatment.
    pub mean_t: f64,
    /// Adjusted difference.
    pub diff: f64,
    /// Its standard error.
    pub se: f64,
    /// Test statistic.
    pub statistic: Option<f64>,
    /// Degrees of freedom.
    pub df: Option<f64>,
    /// Interval for one look.
    pub ci_fixed: Option<Bound>,
    /// Interval for any number of looks.
    pub ci_seq: Option<Bound>,
    /// p for one look.
    pub p_fixed: Option<f64>,
    /// p for any number of looks.
    pub p_seq: Option<f64>,
    /// Units whose covariate was missing: the mean stands for it, and that it was missing is a covariate too.
    pub imputed: u64,
}

/// Test that a loss is smaller than a margin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GuardrailReport {
    /// The loss that would be accepted, in units of the metric.
    pub margin: f64,
    /// As a share of the control, where it was given so.
    pub relative_margin: Option<f64>,
    /// `(gain + margin)/se`, where a gain is a change in the good direction.
    pub z: Option<f64>,
    /// One-sided p for one look.
    pub p: Option<f64>,
    /// p for any number of looks.
    pub p_seq: Option<f64>,
    /// p, for any number of looks, that it got worse at all; below 0.001 rolls back.
    pub harm_p_seq: Option<f64>,
    /// Whether it is shown, at the adjusted p.
    pub non_inferior: bool,
}

/// A metric after a day of exposure, over all units that were exposed until then.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Look {
    /// The day.
    pub day: String,
    /// Units of the control so far.
    pub n_c: u64,
    /// Units of the treatment so far.
    pub n_t: u64,
    /// Difference so far (with covariates, where there are).
    pub diff: f64,
    /// Always-valid interval.
    pub ci_seq: Bound,
    /// Always-valid p: the least so far. 1 until there is enough to look at.
    pub p_seq: f64,
    /// p of a fixed test at this look: what one must not decide by.
    pub p_fixed: Option<f64>,
}

/// Slope of the effect over the days of exposure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Novelty {
    /// Change of the effect per day of exposure.
    pub slope: f64,
    /// Its standard error.
    pub se: f64,
    /// Two-sided p.
    pub p: f64,
}

/// A primary metric within a segment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SegmentReport {
    /// The segment.
    pub segment: String,
    /// The metric.
    pub metric: String,
    /// The treatment.
    pub arm: String,
    /// Units of the control.
    pub n_c: u64,
    /// Units of the treatment.
    pub n_t: u64,
    /// Difference.
    pub diff: Option<f64>,
    /// Interval for one look.
    pub ci_fixed: Option<Bound>,
    /// p for one look.
    pub p_fixed: Option<f64>,
    /// Benjamini–Hochberg over all segments, metrics and treatments.
    pub p_adjusted: Option<f64>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Better, and nothing that is guarded got worse.
    Ship,
    /// Nothing is shown yet, or a guardrail is not.
    Hold,
    /// Stop and go back to the control.
    RollBack,
}

/// What to do with a treatment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DecisionReport {
    /// The treatment.
    pub arm: String,
    /// What to do.
    pub decision: Decision,
    /// Why.
    pub reasons: Vec<String>,
}
