//! Tasks of the family `algebra`.

pub(crate) mod complex_arithmetic;
pub(crate) mod simple_equations;
pub(crate) mod simple_integration;
