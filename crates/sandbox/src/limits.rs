//! What a program may use up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What one program may use up. Everything is a bound of the kernel or of the process that reads its output.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Address space of the program, the interpreter included.
    pub memory_bytes: u64,
    /// CPU time, in whole seconds, at least 1.
    pub cpu_s: u64,
    /// Time on the clock.
    pub wall: Duration,
    /// Threads of the program, together with the two processes that hold the sandbox.
    pub threads: u64,
    /// Open files.
    pub files: u64,
    /// Size of the work folder in memory; also the largest file.
    pub work_bytes: u64,
    /// Most that is read of what it writes.
    pub output_bytes: usize,
}

impl Default for Limits {
    /// 512 MiB, 5 s of CPU time within 15 s on the clock, 32 threads, 64 files, 8 MiB of files, 1 MiB of output.
    fn default() -> Self {
        Self {
            memory_bytes: 512 << 20,
            cpu_s: 5,
            wall: Duration::from_secs(15),
            threads: 32,
            files: 64,
            work_bytes: 8 << 20,
            output_bytes: 1 << 20,
        }
    }
}
