//! Worlds that an agent acts in: TAU-bench's retail and airline, played and scored as published, and shops and bookings made up to any
//! size.
//!
//! ```text
//! Task ─▶ Episode ─▶ Action ─▶ Tool or User ─▶ what the agent sees ─▶ … ─▶ Judgement
//! ```
//! Nothing here runs a model or opens a connection; a user played by a model is given its `Speaker`. The databases of TAU-bench
//! are read from files that are no part of this repository; the tools and the rules are ours.

mod airline;
mod episode;
mod load;
pub mod python;
mod records;
mod retail;
mod reward;
mod tool;
mod user;
mod world;

pub use episode::{End, Episode, STEPS};
pub use load::{DATA_VARIABLE, PUBLISHED, Published, data_folder, read};
pub use records::{Mode, Records};
pub use reward::{Judgement, floor, is_said, judge, state_hash};
pub use tool::{Kind, Parameter, Tool};
pub use user::{Played, STOP, Silent, Speaker, User};
pub use world::{Action, DEEPEST_ARGUMENT, Domain, Gold, RESPOND, Task, World, kind_of};
