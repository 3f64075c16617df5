//! At-least-once delivery, exactly-once effect: what a repeated event or batch is answered (specification C §6.2).

use serde::Serialize;

/// Milliseconds for which a batch's answer is kept.
pub const BATCH_KEPT_MS: i64 = 24 * 3600 * 1000;
/// Milliseconds for which event ids are kept at least.
pub const EVENTS_KEPT_MS: i64 = 7 * 24 * 3600 * 1000;

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// New, and stored.
    Accepted,
    /// The same event again: nothing happens.
    Duplicate,
    /// Another event under an id that is taken: the first stays.
    Conflict,
    /// Not an event.
    Rejected,
}

/// The status of a sound event, by the canonical hash that is stored under its `(tenant, event_id)`.
pub fn status(stored: Option<&str>, hash: &str) -> Status {
    match stored {
        None => Status::Accepted,
        Some(stored) if stored == hash => Status::Duplicate,
        Some(_) => Status::Conflict,
    }
}

/// A batch under an `Idempotency-Key`, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Canonical hash of the request.
    pub request_hash: String,
    /// The response, once it is there; `None` while the batch is in flight. Responses of class 5xx are not stored.
    pub response: Option<String>,
    /// When it was stored, in milliseconds.
    pub at_ms: i64,
}

/// How a batch is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Do it.
    Do,
    /// The stored response, with `Idempotent-Replayed: true`.
    Replay(String),
    /// 409 with `Retry-After`.
    InFlight,
    /// 422: the key belongs to another request.
    Mismatch,
}

/// How a batch is to be answered, by what is stored under its `(tenant, key)`.
pub fn answer(stored: Option<&Batch>, request_hash: &str, now_ms: i64) -> Answer {
    match stored.filter(|batch| now_ms.saturating_sub(batch.at_ms) < BATCH_KEPT_MS) {
        None => Answer::Do,
        Some(batch) if batch.request_hash != request_hash => Answer::Mismatch,
        Some(Batch { response: Some(response), .. }) => Answer::Replay(response.clone()),
        Some(_) => Answer::InFlight,
    }
}

/// The longest wait before attempt `attempt` (from 0) of a client: exponential from half a second, at most a minute. A client waits a
/// uniform part of it (full jitter).
pub fn longest_wait_ms(attempt: u32) -> u64 {
    500u64.saturating_mul(1u64.checked_shl(attempt).unwrap_or(u64::MAX)).min(60_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_and_batches() {
        assert_eq!(
            (status(None, "a"), status(Some("a"), "a"), status(Some("b"), "a")),
            (Status::Accepted, Status::Duplicate, Status::Conflict)
        );
        let batch = |response: Option<&str>| Batch {
            request_hash: "h".into(),
            response: response.map(Into::into),
            at_ms: 1000,
        };
        assert_eq!(answer(None, "h", 0), Answer::Do);
        assert_eq!(answer(Some(&batch(Some("r"))), "h", 2000), Answer::Replay("r".into()));
        assert_eq!(answer(Some(&batch(None)), "h", 2000), Answer::InFlight);
        assert_eq!(answer(Some(&batch(Some("r"))), "other", 2000), Answer::Mismatch);
        assert_eq!(answer(Some(&batch(Some("r"))), "other", 1000 + BATCH_KEPT_MS), Answer::Do);
    }

    #[test]
    fn waits_double_and_end() {
        assert_eq!(
            [0, 1, 2, 6, 7, 63, 64, 400].map(longest_wait_ms),
            [500, 1000, 2000, 32_000, 60_000, 60_000, 60_000, 60_000]
        );
    }
}
