//! Panics of other people's code on untrusted input.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a step of a library that may panic on damaged input, as [`catch_unwind`]; the caller drops what the step touched.
///
/// # Errors
/// What the step panicked with.
pub fn catch_panic<R>(step: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    let before = EXPECTED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(step));
    EXPECTED.set(before);
    result
}

/// Whether a panic of this thread would be caught by [`catch_panic`]: a panic hook has nothing to say then.
pub fn panic_is_expected() -> bool {
    EXPECTED.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_expected_inside_only() {
        assert!(catch_panic(|| assert!(panic_is_expected())).is_ok());
        assert!(catch_panic(|| panic!("damaged")).is_err());
        assert!(!panic_is_expected());
    }
}
