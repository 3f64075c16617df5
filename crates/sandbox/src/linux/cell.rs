//! A sandbox that is ready, and the cell that it becomes once it runs.

use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lapidary_core::{Kind, Problem, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::Deserialize;

use super::cgroup;
use super::launcher::{self, Spec, Status, VERB};
use super::run::Run;
use crate::{Interpreter, Layer, Layers, Limits};

/// A sandbox that does not start within this time does not start.
const START: Duration = Duration::from_secs(20);
/// How long a program that was told to end may take; it is killed, so this is the kernel's time, not its own.
const END: Duration = Duration::from_secs(10);
/// Bytes of a status line or of complaints that are read.
const MOST_WORDS: u64 = 64 << 10;

/// How to make cells: an interpreter, a harness that speaks with the program's judge, limits, and the layers that must be there.
#[derive(Clone, Debug)]
pub struct Sandbox {
    interpreter: Interpreter,
    limits: Limits,
    role: String,
    preload: Vec<String>,
    require: Vec<Layer>,
    without: Vec<Layer>,
}

impl Sandbox {
    /// A sandbox for programs that the harness `role` runs: Python source with a function `main(frames_in, frames_out)`, which gets
    /// two descriptors. It runs in a fork that holds nothing else, behind all layers.
    pub fn new(interpreter: Interpreter, limits: Limits, role: impl Into<String>) -> Self {
        let (role, preload) = (role.into(), Vec::new());
        Self { interpreter, limits, role, preload, require: Vec::new(), without: Vec::new() }
    }

    /// Modules that are loaded once, before any program, so that programs need not wait for them.
    pub fn preload(mut self, modules: &[&str]) -> Self {
        self.preload = modules.iter().map(ToString::to_string).collect();
        self
    }

    /// Layers without which no program is run.
    pub fn require(mut self, layers: &[Layer]) -> Self {
        self.require = layers.to_vec();
        self
    }

    /// Leaves layers out, so that a test sees what the others stop, or what a kernel without them would allow.
    pub fn without(mut self, layers: &[Layer]) -> Self {
        self.without = layers.to_vec();
        self
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Starts a cell.
    ///
    /// # Errors
    /// `Failed`: `W021` the sandbox could not be started, `W022` a layer that is required is not to be had, or what is there leaves
    /// a gap that no sandbox may have.
    pub fn start(&self) -> Result<Cell> {
        let cell = Cell::start(self)?;
        let problem = |message: String| Problem::new(Kind::Failed, "W022", message).why(cell.layers.to_string());
        let lacking = cell.layers.missing().iter().find(|(layer, _)| self.require.contains(layer));
        if let Some((layer, why)) = lacking {
            return Err(problem(format!("the sandbox lacks the layer `{}`, which is required: {why}", layer.name()))
                .hint("`lapidary doctor` shows what this machine offers"));
        }
        // a test that leaves layers out knows what it does
        if let (true, Some(gap)) = (self.without.is_empty(), cell.layers.gaps().first()) {
            return Err(problem(format!("this machine cannot hold a program: {gap}"))
                .hint("a newer kernel, or a container that allows user namespaces or Landlock"));
        }
        Ok(cell)
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Ending {
    /// Its exit code; minus the signal that killed it.
    pub code: i32,
    /// CPU time it took.
    pub cpu_s: f64,
    /// Most memory it held, in KiB.
    pub memory: u64,
    /// Whether it left no files.
    clean: bool,
}

/// A running sandbox: it runs one program after the other, each in a fresh fork. Dropping it kills everything in it.
#[derive(Debug)]
pub struct Cell {
    child: Child,
    control: OwnedFd,
    layers: Layers,
    cgroup: Option<PathBuf>,
    limits: Limits,
    busy: bool,
    fit: bool,
}

impl Cell {
    fn start(sandbox: &Sandbox) -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let failed = |what: String| Problem::new(Kind::Failed, "W021", format!("the sandbox did not start: {what}"));
        if !launcher::ready() {
            return Err(failed("this program cannot be its launcher".into())
                .hint("call `lapidary_sandbox::launch_if_asked()` first thing in `main`"));
        }
        let name = format!("lapidary-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let wanted = !sandbox.without.contains(&Layer::Cgroup);
        let cgroup = if wanted { cgroup::make(&name, &sandbox.limits) } else { Err("switched off".into()) };
        let spec = Spec {
            interpreter: sandbox.interpreter.clone(),
            limits: sandbox.limits,
            role: sandbox.role.clone(),
            preload: sandbox.preload.clone(),
            without: sandbox.without.clone(),
            cgroup: cgroup.clone(),
        };
        let (child, control) = spawn(&spec).map_err(|error| failed(error.to_string()))?;
        // from here on, dropping the cell cleans up
        let (limits, cgroup) = (sandbox.limits, cgroup.ok());
        let mut cell = Self { child, control, layers: Layers::default(), cgroup, limits, busy: false, fit: true };
        let status = cell.status().map_err(&failed)?;
        cell.layers = status.layers;
        if let Some(error) = status.error {
            return Err(failed(error));
        }
        if let Err(error) = cell.answer(START) {
            return Err(failed(format!("{error}{}", cell.complaint())));
        }
        Ok(cell)
    }

    /// The launcher's line.
    fn status(&mut self) -> std::result::Result<Status, String> {
        let Some(stdout) = self.child.stdout.take() else { return Err("it has no stdout".into()) };
        let deadline = Instant::now() + START;
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            if line.len() as u64 > MOST_WORDS || !readable(&stdout, deadline) {
                return Err(format!("its launcher did not answer{}", self.complaint()));
            }
            let mut chunk = [0u8; 4096];
            match rustix::io::read(&stdout, &mut chunk[..]) {
                Ok(0) => return Err(format!("its launcher ended without an answer{}", self.complaint())),
                Ok(count) => line.extend_from_slice(&chunk[..count]),
                Err(error) => return Err(error.to_string()),
            }
        }
        serde_json::from_slice(&line).map_err(|error| format!("its launcher said what cannot be read: {error}"))
    }

    /// What it wrote to stderr, for the end of a message. Kills it first, so that reading ends.
    fn complaint(&mut self) -> String {
        let _ = self.child.kill(); // an error means that it is gone already
        let mut words = String::new();
        if let Some(stderr) = self.child.stderr.take() {
            let _ = stderr.take(MOST_WORDS).read_to_string(&mut words); // what is not text is not shown
        }
        match words.trim().lines().last() {
            Some(line) => format!(": {line}"),
            None => String::new(),
        }
    }

    /// The layers around the programs of this cell.
    pub fn layers(&self) -> &Layers {
        &self.layers
    }

    /// Whether the cell can run another program. Otherwise drop it and start a new one.
    pub fn is_fit(&self) -> bool {
        self.fit && !self.busy
    }

    /// Forks a program that finds `input` on its stdin.
    ///
    /// # Errors
    /// `Failed` `W021`: the cell is gone. Never the program's doing: nothing of it has run yet.
    pub fn run(&mut self, input: &[u8]) -> Result<Run> {
        assert!(!self.busy, "a cell runs one program at a time");
        let gone =
            |error: rustix::io::Errno| Problem::new(Kind::Failed, "W021", format!("the sandbox is gone: {error}"));
        let (run, ends) = Run::new(input, self.limits.output_bytes, self.limits.wall).map_err(gone)?;
        let borrowed = ends.each_ref().map(AsFd::as_fd);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)), "the space is for four descriptors");
        let word = self.limits.cpu_s.max(1).to_string();
        self.busy = true;
        rustix::net::sendmsg(&self.control, &[IoSlice::new(word.as_bytes())], &mut ancillary, SendFlags::NOSIGNAL)
            .map_err(gone)?;
        Ok(run)
    }

    /// Ends the program of `run`, by force unless `wait` gives it time to end by itself, and says how it ended.
    ///
    /// # Errors
    /// `Failed` `W021`: the cell is gone.
    pub fn end(&mut self, run: Run, wait: Option<Duration>) -> Result<Ending> {
        let mut answer = wait.map(|patience| self.answer(patience));
        drop(run);
        if !matches!(answer, Some(Ok(_))) {
            // it may have ended just now: then the answer is on its way and the word is one too many, which the cell ignores
            let _ = rustix::net::send(&self.control, b"end", SendFlags::NOSIGNAL);
            answer = Some(self.answer(END));
        }
        let answer = answer.unwrap_or_else(|| Err("no answer".into()));
        let ending = answer.and_then(|text| serde_json::from_slice::<Ending>(&text).map_err(|error| error.to_string()));
        match ending {
            Ok(ending) => {
                self.busy = false;
                self.fit &= ending.clean;
                Ok(ending)
            }
            Err(error) => {
                self.fit = false;
                let message = format!("the sandbox is gone: {error}{}", self.complaint());
                Err(Problem::new(Kind::Failed, "W021", message))
            }
        }
    }

    /// One message of the first process.
    fn answer(&self, patience: Duration) -> std::result::Result<Vec<u8>, String> {
        if !readable(&self.control, Instant::now() + patience) {
            return Err(format!("no answer within {} s", patience.as_secs_f32()));
        }
        let mut bytes = vec![0u8; 4096];
        match rustix::net::recv(&self.control, &mut bytes[..], RecvFlags::empty()) {
            Ok((0, _)) => Err("it ended".into()),
            Ok((count, _)) => {
                bytes.truncate(count);
                Ok(bytes)
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        // the launcher's death kills the first process inside, and the kernel kills all others with it
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(folder) = &self.cgroup {
            cgroup::remove(folder);
        }
        if !self.layers.has(Layer::Mount) {
            launcher::remove_work_folder(self.child.id());
        }
    }
}

/// Starts this executable again as a launcher, with an empty environment and one end of a socket as its stdin.
fn spawn(spec: &Spec) -> std::io::Result<(Child, OwnedFd)> {
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let child = Command::new("/proc/self/exe")
        .arg(VERB)
        .arg(serde_json::to_string(spec)?)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    Ok((child, ours))
}

/// Waits until there is something to read; false at the deadline.
fn readable(end: impl AsFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let wait = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ };
        let mut watched = [PollFd::new(&end, PollFlags::IN)];
        match poll(&mut watched, Some(&wait)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
