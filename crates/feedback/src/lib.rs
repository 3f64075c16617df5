//! From what users do to labels, and from arms to decisions: pure types and functions, no server and no store.
//!
//! * [`assign`]: which arm a unit sees, for ever.
//! * [`experiment`]: units, arms and outcomes in, a report with a decision out.

pub mod assign;
pub mod experiment;
