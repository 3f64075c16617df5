//! The sandbox on Linux.

mod cell;
mod cgroup;
mod confine;
mod filter;
mod launcher;
mod namespaces;
mod root;
mod run;

pub use cell::{Cell, Ending, Sandbox};
pub use launcher::launch_if_asked;
pub use run::{Heard, Run};
