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

mod chain_sum;
mod countdown;
mod data;
mod number_sorting;
mod procedural;
mod registry;
mod spec;
mod spell_backward;
mod task;

pub use registry::{TaskInfo, build, task, tasks};
pub use spec::TaskSpec;
pub use task::{Split, Task};
