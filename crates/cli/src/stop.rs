//! Why a command ended before its end.

use std::io;
use std::process::ExitCode;

use lapidary_core::{Kind, Problem};

use crate::report;

/// Result of a command.
pub type Outcome<T = ()> = Result<T, Stop>;

/// Why a command ended before its end.
#[derive(Debug)]
pub enum Stop {
    /// Something is wrong.
    Problem(Problem),
    /// Whoever reads our output has seen enough (`lapidary … | head`); this is no error.
    PipeClosed,
    /// Everything was said already; only the exit code is left.
    Said(Kind),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Stop::Problem(problem)
    }
}

/// An error while writing our own output.
impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Stop::PipeClosed,
            _ => Stop::Problem(Problem::io("write to", std::path::Path::new("stdout"), &error)),
        }
    }
}

impl Stop {
    /// Says what is to be said on stderr; gives the exit code.
    pub fn report(&self, json: bool) -> ExitCode {
        match self {
            Stop::PipeClosed => ExitCode::SUCCESS,
            Stop::Said(kind) => ExitCode::from(kind.exit_code()),
            Stop::Problem(problem) => {
                report::problem(problem, json);
                ExitCode::from(problem.kind().exit_code())
            }
        }
    }
}
