//! Faults on purpose: places where a test makes the run die, fail or forget, to prove that nothing is lost.
//!
//! A process is told by `LAPIDARY_FAULT=point:n:action` (several joined by `,`): the `n`-th time that `point` is passed,
//! `abort` ends the process without clean-up, `full` fails the operation as on a full disk, `error` fails it as broken
//! hardware does. `LAPIDARY_FAULT=omit:field` leaves one field of the run's state out of every checkpoint: the negative
//! control of the resume tests. Tests inside one process use [`arm`], which counts per thread.
//!
//! Unarmed, a point costs one thread-local read.

use std::cell::RefCell;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every point, in the order of a step. Crash tests visit each.
pub const POINTS: &[&str] = &[
    "optimizer.step",
    "metrics.append",
    "rollouts.write",
    "rollouts.rename",
    "checkpoint.begin",
    "checkpoint.write",
    "checkpoint.fsync",
    "checkpoint.manifest",
    "checkpoint.fsync_directory",
    "checkpoint.rename",
    "checkpoint.fsync_parent",
    "checkpoint.prune",
];

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The process ends at once, as by `kill -9`.
    Abort,
    /// The operation fails because the disk is full.
    Full,
    /// The operation fails because of the device.
    Error,
}

struct Fault {
    point: String,
    nth: u64,
    action: Action,
    passed: AtomicU64,
}

impl Fault {
    fn pass(&self, point: &str) -> Option<Action> {
        let due = self.point == point && self.passed.fetch_add(1, Ordering::Relaxed) + 1 == self.nth;
        due.then_some(self.action)
    }
}

#[derive(Default)]
struct Faults {
    faults: Vec<Fault>,
    omit: Option<String>,
}

thread_local! {
    static ARMED: RefCell<Faults> = RefCell::default();
}

/// Arms a fault for the calling thread: the `nth` pass (from 1) of `point` does `action`.
pub fn arm(point: &str, nth: u64, action: Action) {
    assert!(POINTS.contains(&point), "`{point}` is not a fault point");
    let fault = Fault { point: point.to_string(), nth, action, passed: AtomicU64::new(0) };
    ARMED.with_borrow_mut(|armed| armed.faults.push(fault));
}

/// Leaves `field` out of every state that the calling thread saves.
pub fn arm_omission(field: &str) {
    ARMED.with_borrow_mut(|armed| armed.omit = Some(field.to_string()));
}

/// Disarms the calling thread; says how often each armed point was passed, in the order they were armed.
pub fn disarm() -> Vec<u64> {
    let armed = ARMED.take();
    armed.faults.iter().map(|fault| fault.passed.load(Ordering::Relaxed)).collect()
}

/// Passes a point: an error if a fault says so.
pub(crate) fn pass(point: &str) -> io::Result<()> {
    debug_assert!(POINTS.contains(&point), "`{point}` is not listed in POINTS");
    let here = ARMED.with_borrow(|armed| armed.faults.iter().find_map(|fault| fault.pass(point)));
    match here.or_else(|| environment().faults.iter().find_map(|fault| fault.pass(point))) {
        None => Ok(()),
        Some(Action::Abort) => std::process::abort(),
        Some(Action::Full) => Err(io::Error::from(io::ErrorKind::StorageFull)),
        Some(Action::Error) => Err(io::Error::other(format!("fault on purpose at {point}"))),
    }
}

/// Whether a test wants this field of the state forgotten.
pub(crate) fn omits(field: &str) -> bool {
    ARMED.with_borrow(|armed| armed.omit.as_deref() == Some(field)) || environment().omit.as_deref() == Some(field)
}

fn environment() -> &'static Faults {
    static FAULTS: OnceLock<Faults> = OnceLock::new();
    FAULTS.get_or_init(|| std::env::var("LAPIDARY_FAULT").map(|text| parse(&text)).unwrap_or_default())
}

/// Malformed entries are ignored: the variable is for tests, and a test that arms nothing fails by itself.
fn parse(text: &str) -> Faults {
    let mut out = Faults::default();
    for entry in text.split(',') {
        match entry.split(':').collect::<Vec<_>>()[..] {
            ["omit", field] => out.omit = Some(field.to_string()),
            [point, nth, action] => {
                let action = match action {
                    "abort" => Action::Abort,
                    "full" => Action::Full,
                    "error" => Action::Error,
                    _ => continue,
                };
                let Ok(nth) = nth.parse() else { continue };
                out.faults.push(Fault { point: point.to_string(), nth, action, passed: AtomicU64::new(0) });
            }
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_pass_fails_and_only_that_one() {
        arm("checkpoint.write", 2, Action::Full);
        assert!(pass("checkpoint.write").is_ok());
        assert!(pass("checkpoint.rename").is_ok());
        assert_eq!(pass("checkpoint.write").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(pass("checkpoint.write").is_ok());
        assert_eq!(disarm(), [3]);
    }

    #[test]
    fn the_variable_is_read_as_documented() {
        let faults = parse("checkpoint.rename:7:abort,omit:cursors,nonsense");
        assert_eq!(faults.omit.as_deref(), Some("cursors"));
        assert_eq!(faults.faults.len(), 1);
        assert_eq!((faults.faults[0].nth, faults.faults[0].action), (7, Action::Abort));
    }
}
