//! Programs that nobody trusts, run where they can do nothing.
//!
//! A [`Sandbox`] starts [`Cell`]s. A cell is an interpreter behind up to thirteen [`Layer`]s of the Linux kernel: it sees its own files,
//! read-only, an empty work folder in memory, and no network, process, user or environment of the machine. Each program runs in a
//! fresh fork of it and is spoken to in frames ([`Run`]); it never learns more than what it is sent, and what it says is data.
//!
//! Layers that the kernel lacks are named ([`Layers::missing`]); a sandbox that would leave a program its files, its system calls or
//! unlimited memory is refused ([`Layers::gaps`]).
//!
//! The executable that uses a sandbox is also its launcher: call [`launch_if_asked`] first thing in `main`.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
mod interpreter;
mod layer;
mod limits;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(not(target_os = "linux"))]
pub use elsewhere::{Cell, Ending, Heard, Run, Sandbox, launch_if_asked};
pub use interpreter::Interpreter;
pub use layer::{Layer, Layers};
pub use limits::Limits;
#[cfg(target_os = "linux")]
pub use linux::{Cell, Ending, Heard, Run, Sandbox, launch_if_asked};

/// Has a test executable answer to the hidden verb before the test harness starts its threads: tests have no `main` of their own.
#[cfg(target_os = "linux")]
#[macro_export]
macro_rules! launcher_of_tests {
    () => {
        #[used]
        #[unsafe(link_section = ".init_array")]
        static LAUNCH: extern "C" fn() = {
            extern "C" fn launch() {
                $crate::launch_if_asked();
            }
            launch
        };
    };
}
