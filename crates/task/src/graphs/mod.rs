//! Tasks of the family `graphs`.

pub(crate) mod course_schedule;
pub(crate) mod largest_island;
pub(crate) mod shortest_path;
