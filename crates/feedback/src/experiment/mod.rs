//! An experiment's table of units, arms and outcomes, and what it says (specification C §7).

mod analyze;
mod compare;
mod decide;
mod estimate;
mod explore;
mod looks;
mod outcome;
mod plan;
mod report;
mod table;
mod text;

pub use analyze::analyze;
pub use decide::{HARM_ALPHA, SAFETY_RATIO, SRM_ALPHA};
pub use plan::{Better, Margin, Metric, Missing, PLANNED_UNITS, Plan, Role, Source};
pub use report::{
    ArmReport, Bound, CupedReport, Decision, DecisionReport, GuardrailReport, Look, MetricReport, Novelty, Report,
    SegmentReport, Theta, TriggerReport,
};
pub use table::{Column, MOST_ARMS, Row, Rows, TableBuilder, Units};
pub use text::text;
