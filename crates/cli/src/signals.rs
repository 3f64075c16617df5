//! Ctrl-C: the first asks, the second does not.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use lapidary_core::{Kind, Problem, Result};
use lapidary_train::StopFlag;

/// The request to stop, and the step that is being worked on. Clones share both.
#[derive(Clone, Debug, Default)]
pub struct Interrupts {
    stop: StopFlag,
    step: Arc<AtomicU64>,
}

impl Interrupts {
    /// The request to stop.
    pub fn stop(&self) -> &StopFlag {
        &self.stop
    }

    /// Says which step is being worked on; 0 before the first.
    pub fn working_on(&self, step: u64) {
        self.step.store(step, Ordering::Relaxed);
    }
}

/// From now on the first Ctrl-C (or SIGTERM) asks the run to finish its step and save, and the second ends the process.
pub fn listen() -> Result<Interrupts> {
    let interrupts = Interrupts::default();
    let (seen, heard) = (AtomicUsize::new(0), interrupts.clone());
    ctrlc::set_handler(move || {
        if seen.fetch_add(1, Ordering::SeqCst) > 0 {
            std::process::exit(i32::from(Kind::Interrupted.exit_code()));
        }
        heard.stop.request();
        let what = match heard.step.load(Ordering::Relaxed) {
            0 => "saving".to_string(),
            step => format!("finishing step {step} and saving"),
        };
        let _ = writeln!(std::io::stderr(), "\n{what}; press Ctrl-C again to stop now");
    })
    .map_err(|error| Problem::new(Kind::Failed, "I003", format!("could not listen for Ctrl-C: {error}")))?;
    Ok(interrupts)
}
