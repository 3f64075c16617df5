//! Robust RLHF: debiasing with an auxiliary preference model, a doubly robust policy loss, and M-estimation.

mod auxiliary;
mod control;
mod drpo;
#[cfg(test)]
mod flips;
mod rho;
#[cfg(test)]
mod theory;

pub use auxiliary::{clipped, fold_of, symmetrised};
pub(crate) use control::Control;
pub use drpo::{Drpo, DrpoOutput, DrpoSample};
