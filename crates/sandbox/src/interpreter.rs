//! The interpreter that runs programs, and the files it needs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lapidary_core::{Kind, Problem, Result};
use serde::{Deserialize, Serialize};

/// Lists its own files; runs once, outside the sandbox.
const LIST: &str = include_str!("interpreter.py");
/// The oldest interpreter that can pass descriptors and watch a process.
const OLDEST: (u32, u32) = (3, 9);

/// A Python interpreter and everything on disk that it needs: the sandbox shows programs these files and no others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    pub(crate) executable: PathBuf,
    version: String,
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) hidden: Vec<PathBuf>,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
}

impl Interpreter {
    /// Asks the interpreter `program` (`python3`, or a path) for its files.
    ///
    /// # Errors
    /// `Failed` `W020`: there is none, it does not start, or it is older than Python 3.9.
    pub fn find(program: &str) -> Result<Self> {
        let unusable = |why: String| {
            Problem::new(Kind::Failed, "W020", format!("`{program}` cannot run programs: {why}"))
                .hint("install Python 3.9 or newer, or name one with the option `python`")
        };
        let output = Command::new(program)
            .args(["-I", "-S", "-B", "-c", LIST])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| unusable(error.to_string()))?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            return Err(unusable(words.lines().last().unwrap_or("it failed without a word").to_string()));
        }
        let found: Self = serde_json::from_slice(&output.stdout).map_err(|error| unusable(error.to_string()))?;
        let mut numbers = found.version.split('.').map_while(|part| part.parse::<u32>().ok());
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if version < OLDEST {
            return Err(unusable(format!("it is Python {}", found.version)));
        }
        Ok(found)
    }

    /// Where it is.
    pub fn executable(&self) -> &Path {
        &self.executable
    }

    /// `3.11.7`.
    pub fn version(&self) -> &str {
        &self.version
    }
}
