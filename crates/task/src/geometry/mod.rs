//! Tasks of the family `geometry`.

pub(crate) mod simple_geometry;
