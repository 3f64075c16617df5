//! JSON out of completions: a strict reader, and JSON Schema with a budget.

mod compile;
mod read;
mod reward;
mod schema;
mod validate;

pub(crate) use read::read;
pub(crate) use reward::INFO;
pub(crate) use schema::Schema;
pub(crate) use validate::{Invalid, canonical};

#[cfg(test)]
mod tests;
