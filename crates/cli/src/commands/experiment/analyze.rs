//! `lapidary experiment analyze`: what an A/B test says.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use lapidary_feedback::experiment::{self, Missing, PLANNED_UNITS, Plan};

use super::read::{self, Labels};
use super::request::{Request, weights};
use super::{above_zero, share};
use crate::output::Output;
use crate::stop::Outcome;

/// Compare the arms of an experiment: one row per unit with its arm and outcomes
///
/// The file is CSV, TSV, JSON lines (each also .gz) or Parquet. A metric of 0 and 1 is a proportion, any other a mean. With --json the
/// whole report is one JSON object. How to read it: docs/experiments.md.
#[derive(Args, Debug)]
#[command(
    before_help = "Example: lapidary experiment analyze --input users.csv --metric clicked --guardrail latency_ms=+2%"
)]
pub struct Analyze {
    /// Units, arms and outcomes: .csv, .tsv, .jsonl (also .gz), .parquet
    #[arg(short, long, value_name = "FILE")]
    input: PathBuf,
    /// Column of the units; unset: unit, user, user_id, …
    #[arg(long, value_name = "COLUMN")]
    unit: Option<String>,
    /// Column of the arms; unset: arm, variant, group, …
    #[arg(long, value_name = "COLUMN")]
    arm: Option<String>,
    /// The arm that others are compared to; unset: control, baseline, A, …
    #[arg(long, value_name = "ARM")]
    control: Option<String>,
    /// A primary metric: it decides (repeat for more; they share alpha by Holm)
    #[arg(short, long, value_name = "COLUMN")]
    pub(super) metric: Vec<String>,
    /// A metric that is a sum over a sum, such as reactions per message
    #[arg(long, value_name = "NAME=NUM/DEN")]
    pub(super) ratio: Vec<String>,
    /// A metric that must not get worse by a margin: -0.01 may fall by that, +2% may rise by that share
    #[arg(long, value_name = "METRIC=MARGIN", allow_hyphen_values = true)]
    pub(super) guardrail: Vec<String>,
    /// A metric that is looked at for ideas (Benjamini–Hochberg)
    #[arg(long, value_name = "METRIC")]
    pub(super) explore: Vec<String>,
    /// A rate of harm: a relative rise that is above 1.1 with its whole interval rolls back
    #[arg(long, value_name = "METRIC")]
    pub(super) safety: Vec<String>,
    /// A metric for which less is better
    #[arg(long, value_name = "METRIC")]
    pub(super) lower_is_better: Vec<String>,
    /// A column known before the experiment that explains outcomes (CUPED), for all metrics or one
    #[arg(long, value_name = "[METRIC=]COLUMN")]
    pub(super) covariate: Vec<String>,
    /// Error rate
    #[arg(long, default_value = "0.05", value_name = "P", value_parser = share)]
    alpha: f64,
    /// Decide by the always-valid test, which may be looked at any time
    #[arg(long)]
    sequential: bool,
    /// Effect that the always-valid test is tuned to, in units of the metric, for all metrics or one; fix it before the start
    #[arg(long, value_name = "[METRIC=]SIZE")]
    pub(super) tau: Vec<String>,
    /// Units per arm that the always-valid test is tuned to where no --tau is given; fix it before the start
    #[arg(long, default_value_t = PLANNED_UNITS, value_name = "N", value_parser = above_zero)]
    planned_units: f64,
    /// Planned shares of the arms; unset: equal
    #[arg(long, value_name = "ARM=SHARE,…")]
    split: Option<String>,
    /// Column of the day of exposure: looks after each day, and whether the effect fades
    #[arg(long, value_name = "COLUMN")]
    day: Option<String>,
    /// Column of a segment known before the experiment: effects within each
    #[arg(long, value_name = "COLUMN")]
    segment: Option<String>,
    /// Column that says whether a unit met what was changed; the others are left out
    #[arg(long, value_name = "COLUMN")]
    triggered: Option<String>,
    /// How several rows of one unit count
    #[arg(long, value_enum, default_value = "one")]
    rows: RowsOf,
    /// What a missing outcome means
    #[arg(long, value_enum, default_value = "refuse")]
    missing: MissingOf,
    /// Bring means beyond this quantile to it, for heavy tails (0.999)
    #[arg(long, value_name = "Q", value_parser = quantile)]
    winsorize: Option<f64>,
    /// Also an interval by the bootstrap over units, with this many resamples
    #[arg(long, default_value_t = 0, value_name = "N")]
    bootstrap: usize,
    /// For --bootstrap
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
}

/// The words of --rows.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum RowsOf {
    /// A second row is an error
    One,
    /// Outcomes are added
    Sum,
    /// Outcomes are averaged
    Mean,
    /// The largest outcome counts
    Max,
}

/// The words of --missing.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum MissingOf {
    /// It is an error
    Refuse,
    /// Nothing happened: 0
    Zero,
    /// The unit is left out of that metric
    Drop,
}

/// Resamples are bounded: each costs a pass over all units.
const MOST_RESAMPLES: usize = 100_000;

fn quantile(text: &str) -> Result<f64, String> {
    share(text).ok().filter(|q| *q > 0.5).ok_or_else(|| "expected a quantile between 0.5 and 1, such as 0.999".into())
}

impl Analyze {
    fn plan(&self, request: Request) -> lapidary_core::Result<Plan> {
        if self.bootstrap == 1 || self.bootstrap > MOST_RESAMPLES {
            let message = format!("`--bootstrap {}`: expected 2 to {MOST_RESAMPLES} resamples", self.bootstrap);
            return Err(lapidary_core::Problem::new(lapidary_core::Kind::Usage, "U019", message));
        }
        Ok(Plan {
            control: self.control.clone(),
            metrics: request.metrics,
            alpha: self.alpha,
            sequential: self.sequential,
            planned_units: self.planned_units,
            split: self.split.as_deref().map(weights).transpose()?.unwrap_or_default(),
            winsorize: self.winsorize,
            missing: match self.missing {
                MissingOf::Refuse => Missing::Refuse,
                MissingOf::Zero => Missing::Zero,
                MissingOf::Drop => Missing::Drop,
            },
            resamples: self.bootstrap,
            seed: self.seed,
        })
    }

    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Outcome {
        let mut request = Request::of(self)?;
        let columns = std::mem::take(&mut request.columns);
        let plan = self.plan(request)?;
        let labels = Labels {
            unit: self.unit.as_deref(),
            arm: self.arm.as_deref(),
            day: self.day.as_deref(),
            segment: self.segment.as_deref(),
            triggered: self.triggered.as_deref(),
        };
        let rows = match self.rows {
            RowsOf::One => experiment::Rows::One,
            RowsOf::Sum => experiment::Rows::Sum,
            RowsOf::Mean => experiment::Rows::Mean,
            RowsOf::Max => experiment::Rows::Max,
        };
        let units = read::units(&self.input, columns, &labels, rows)?;
        let report = experiment::analyze(&units, &plan)?;
        if output.json {
            return output.json(&report);
        }
        output.text(&experiment::text(&report))
    }
}
