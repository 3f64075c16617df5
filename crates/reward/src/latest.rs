//! What was made of a row's data last: the samples of a prompt share it.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

/// Something compiled from a value of a row, or why it cannot be.
pub(crate) type Made<T> = Result<Arc<T>, String>;

/// The last value and what was made of it.
pub(crate) struct Latest<T>(Mutex<Option<(Value, Made<T>)>>);

impl<T> Latest<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// What `make` makes of `value`; made once for a run of equal values.
    pub(crate) fn get(&self, value: &Value, make: impl FnOnce(&Value) -> Result<T, String>) -> Made<T> {
        // a panic while the lock was held leaves a whole entry or none
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((known, made)) if known == value => made.clone(),
            _ => {
                let made = make(value).map(Arc::new);
                *last = Some((value.clone(), made.clone()));
                made
            }
        }
    }
}
