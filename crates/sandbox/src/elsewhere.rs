//! Systems other than Linux: the same names, and a refusal. There is no sandbox of ours there, so no program is run.

use std::time::Duration;

use lapidary_core::{Kind, Problem, Result};

use crate::{Interpreter, Layer, Layers, Limits};

/// Does nothing here.
pub fn launch_if_asked() {}

/// How to make cells; here there are none.
#[derive(Clone, Debug)]
pub struct Sandbox {
    limits: Limits,
}

impl Sandbox {
    /// A sandbox that cannot be started.
    pub fn new(_: Interpreter, limits: Limits, _: impl Into<String>) -> Self {
        Self { limits }
    }

    /// Changes nothing.
    pub fn preload(self, _: &[&str]) -> Self {
        self
    }

    /// Changes nothing.
    pub fn require(self, _: &[Layer]) -> Self {
        self
    }

    /// Changes nothing.
    pub fn without(self, _: &[Layer]) -> Self {
        self
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Refuses.
    ///
    /// # Errors
    /// `Failed` `W022`, always.
    pub fn start(&self) -> Result<Cell> {
        let message = format!("there is no sandbox for programs on {}", std::env::consts::OS);
        Err(Problem::new(Kind::Failed, "W022", message).hint("score code on Linux"))
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ending {
    /// Its exit code; minus the signal that killed it.
    pub code: i32,
    /// CPU time it took.
    pub cpu_s: f64,
    /// Most memory it held, in KiB.
    pub memory: u64,
}

/// What was heard of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A frame.
    Frame(Vec<u8>),
    /// It closed its frames.
    End,
    /// Nothing before the deadline.
    Nothing,
    /// Beyond the limit.
    TooMuch,
}

/// A running sandbox; no value of this type exists here.
#[derive(Debug)]
pub enum Cell {}

impl Cell {
    /// The layers around it.
    pub fn layers(&self) -> &Layers {
        match *self {}
    }

    /// Whether it can run another program.
    pub fn is_fit(&self) -> bool {
        match *self {}
    }

    /// Runs a program.
    ///
    /// # Errors
    /// Never reached.
    pub fn run(&mut self, _: &[u8]) -> Result<Run> {
        match *self {}
    }

    /// Ends a program.
    ///
    /// # Errors
    /// Never reached.
    pub fn end(&mut self, run: Run, _: Option<Duration>) -> Result<Ending> {
        match run {}
    }
}

/// A running program; no value of this type exists here.
#[derive(Debug)]
pub enum Run {}

impl Run {
    /// Puts a frame in line.
    pub fn say(&mut self, _: &[u8]) {
        match *self {}
    }

    /// The next frame.
    pub fn hear(&mut self) -> Heard {
        match *self {}
    }

    /// What it wrote.
    ///
    /// # Errors
    /// Never reached.
    pub fn output(&mut self) -> std::result::Result<Vec<u8>, Heard> {
        match *self {}
    }

    /// How much time is left.
    pub fn left(&self) -> Duration {
        match *self {}
    }
}
