//! What is asked of an experiment: metrics, what they are for, and how they are decided.

use serde::Serialize;

/// Units per arm for which the always-valid interval is narrowest where neither a size nor a τ is planned.
pub const PLANNED_UNITS: f64 = 10_000.0;

/// What to compute. Columns are places in the table's list of columns.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The arm that others are compared to; unset: `control`, or another usual name.
    pub control: Option<String>,
    /// What is measured.
    pub metrics: Vec<Metric>,
    /// Error rate of the decision.
    pub alpha: f64,
    /// Whether the always-valid test decides; else the fixed-horizon test, which may be looked at once.
    pub sequential: bool,
    /// Planned units per arm, for which the always-valid interval is tuned where a metric has no τ.
    pub planned_units: f64,
    /// Planned share of each arm; empty: equal shares.
    pub split: Vec<(String, f64)>,
    /// Means are cut off at this quantile (and at 1 less it).
    pub winsorize: Option<f64>,
    /// What an outcome that is not there means.
    pub missing: Missing,
    /// Resamples of the bootstrap over units; 0 for none.
    pub resamples: usize,
    /// Seed of the bootstrap.
    pub seed: u64,
}

impl Plan {
    /// A fixed-horizon test at α = 0.05 of these metrics.
    pub fn new(metrics: Vec<Metric>) -> Self {
        Self {
            control: None,
            metrics,
            alpha: 0.05,
            sequential: false,
            planned_units: PLANNED_UNITS,
            split: Vec::new(),
            winsorize: None,
            missing: Missing::Refuse,
            resamples: 0,
            seed: 0,
        }
    }
}

/// What an outcome that is not there means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// An error: units do not lose outcomes at random.
    Refuse,
    /// Nothing happened: 0.
    Zero,
    /// The unit is left out of this metric.
    Drop,
}

/// A metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub source: Source,
    /// What it is for.
    pub role: Role,
    /// Which direction is good.
    pub better: Better,
    /// Columns known before the experiment that explain a part of it.
    pub covariates: Vec<usize>,
    /// Standard deviation of the mixture over effects, in units of the metric.
    pub tau: Option<f64>,
}

impl Metric {
    /// A primary metric of one column, where more is better.
    pub fn column(name: &str, column: usize) -> Self {
        let source = Source::Column(column);
        Self { name: name.into(), source, role: Role::Primary, better: Better::Up, covariates: Vec::new(), tau: None }
    }
}

/// Where a metric comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A value per unit.
    Column(usize),
    /// The sum of one column over the sum of another.
    Ratio(usize, usize),
}

/// What a metric is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    /// It decides; several share α (Holm).
    Primary,
    /// It must be shown not to become worse by more than a margin.
    Guardrail(Margin),
    /// It is looked at for ideas (Benjamini–Hochberg).
    Exploratory,
    /// A rate of harm: a relative rise whose interval lies above 1.1 rolls back.
    Safety,
}

/// Which direction is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// More.
    Up,
    /// Less.
    Down,
}

impl Better {
    /// 1 or −1.
    pub fn sign(self) -> f64 {
        match self {
            Better::Up => 1.0,
            Better::Down => -1.0,
        }
    }
}

/// The loss that one would accept, above 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Margin {
    /// In units of the metric.
    Absolute(f64),
    /// As a share of the control's mean.
    Relative(f64),
}
