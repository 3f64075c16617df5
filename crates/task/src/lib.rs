//! Where prompts come from: data sets and procedural tasks.
//!
//! A task is random access: item `index` of a split is a pure function of (task, options, seed, split, index), so the
//! order of training, a resume and the number of threads cannot change it. [`tasks`] is the table of all tasks.
//!
//! ```
//! use lapidary_task::{build, Split, TaskSpec};
//! let task = build(&TaskSpec::from("chain-sum"), 17).unwrap();
//! let item = task.item(Split::Train, 0).unwrap();
//! assert_eq!(item, task.item(Split::Train, 0).unwrap());
//! ```

mod algebra;
mod algorithmic;
mod arithmetic;
mod cognition;
mod data;
mod dice;
mod games;
mod geometry;
mod graphs;
mod grid;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a helper of tests may panic and print
mod gym;
mod logic;
mod mixture;
mod preferences;
mod procedural;
mod registry;
mod spec;
mod task;
mod words;

pub use data::row::{Origin, Row, read as read_rows};
pub use registry::{Family, Level, TaskInfo, build, task, tasks};
pub use spec::TaskSpec;
pub use task::{Split, Task};
