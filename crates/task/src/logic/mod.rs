//! Tasks of the family `logic`.

pub(crate) mod knights_knaves;
