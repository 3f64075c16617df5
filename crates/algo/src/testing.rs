//! Fixtures and finite differences for the tests of this crate.
