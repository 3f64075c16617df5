//! What a person sees when the program itself is wrong.

use std::io::Write;
use std::panic;

/// Replaces Rust's panic message. The backtrace appears only with `RUST_BACKTRACE`.
pub fn install() {
    panic::set_hook(Box::new(|info| {
        if lapidary_core::panic_is_expected() {
            return;
        }
        let message = info.payload_as_str().unwrap_or("no message");
        let location = info.location().map_or(String::new(), |at| format!(" at {}:{}", at.file(), at.line()));
        let command: Vec<String> = std::env::args_os().map(|part| part.to_string_lossy().into_owned()).collect();
        let mut stderr = std::io::stderr().lock();
        // If stderr is gone there is nobody left to tell.
        let _ = writeln!(
            stderr,
            "error: {message}{location}\n  \
             This is a bug in lapidary {}. What was saved is safe; the same command resumes a run.\n  \
             Please report it with the command `{}`\n  at {}/issues",
            env!("CARGO_PKG_VERSION"),
            command.join(" "),
            env!("CARGO_PKG_REPOSITORY"),
        );
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            let _ = writeln!(stderr, "{}", std::backtrace::Backtrace::force_capture());
        } else {
            let _ = writeln!(stderr, "  RUST_BACKTRACE=1 shows where it came from.");
        }
    }));
}
