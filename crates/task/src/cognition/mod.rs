//! Tasks of the family `cognition`.

pub(crate) mod needle_haystack;
pub(crate) mod number_sequence;
