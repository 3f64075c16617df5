//! Recipes, stages, the loop, run directories, checkpoints, metrics, reports.

pub mod metrics;
pub mod recipe;
pub mod report;
