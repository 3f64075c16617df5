//! From what users do to labels, and from arms to decisions: pure types and functions, no server, no store and no clock.
//!
//! * [`event`]: what a client may send, and what is accepted; [`canonical`] and [`idempotency`]: what makes two deliveries one.
//! * [`label`]: events to labels with maturity windows; [`propensity`] and [`positive_unlabelled`]: what the labels do not show.
//! * [`prior`]: probabilities after positives were sampled; [`split`]: validation that no user and no hour leaks into.
//! * [`gate`]: what a reward model must show before a policy learns from it.
//! * [`objective`] and [`judge`]: several rewards, constraints and judges to one advantage (RLUF, CGPO).
//! * [`assign`], [`experiment`], [`routing`]: which arm a unit sees, what an experiment says, and Thompson sampling with floors.

pub mod assign;
pub mod canonical;
pub mod event;
pub mod experiment;
pub mod gate;
pub mod idempotency;
pub mod judge;
pub mod label;
pub mod objective;
pub mod positive_unlabelled;
pub mod prior;
pub mod propensity;
pub mod routing;
pub mod split;
