//! Golden loaders, gradient checks and fault injection for tests.
