//! The launcher: this same executable, started again, which builds the sandbox around itself and becomes the interpreter.
//!
//! A process with many threads (the trainer) cannot safely prepare a sandbox between `fork` and `exec`: another thread may
//! hold any lock. So the executable is started anew with a hidden verb; there is one thread then, and ordinary code can run.

use std::ffi::CString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Signal, WaitOptions, waitpid};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{confine, filter, namespaces};
use crate::{Interpreter, Layer, Layers, Limits};

/// The hidden verb. No command line of a user begins with it by accident.
pub(super) const VERB: &str = "__lapidary-sandbox";
/// Where the work folder is inside.
pub(super) const WORK: &str = "/work";

/// Runs inside; started once per sandbox.
const ZYGOTE: &str = include_str!("../zygote.py");
/// Whether this executable answers to the hidden verb.
static READY: AtomicBool = AtomicBool::new(false);

/// What the launcher is told.
#[derive(Serialize, Deserialize)]
pub(super) struct Spec {
    pub interpreter: Interpreter,
    pub limits: Limits,
    /// Source of the harness, and modules that are loaded before any program comes.
    pub role: String,
    pub preload: Vec<String>,
    /// Layers that are left out, so that tests see what the others stop.
    pub without: Vec<Layer>,
    /// A control group made for this sandbox, or why there is none.
    pub cgroup: Result<PathBuf, String>,
}

/// What the launcher answers, as one JSON line, before it becomes the interpreter.
#[derive(Serialize, Deserialize)]
pub(super) struct Status {
    pub layers: Layers,
    pub error: Option<String>,
}

/// Becomes a sandbox if this process was started as one; otherwise notes that this executable can be, and returns.
///
/// The first line of `main` of every program that uses a [`Sandbox`](crate::Sandbox). It must run before any thread starts.
pub fn launch_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|verb| verb != VERB) {
        READY.store(true, Ordering::Release);
        return;
    }
    let spec = arguments.next().unwrap_or_default();
    let code = match serde_json::from_slice::<Spec>(spec.as_bytes()) {
        Ok(spec) => launch(spec),
        Err(error) => refuse(Layers::default(), error),
    };
    std::process::exit(code)
}

/// Whether [`launch_if_asked`] has run here.
pub(super) fn ready() -> bool {
    READY.load(Ordering::Acquire)
}

/// Says on stdout how far it came.
fn report(status: &Status) -> bool {
    let Ok(mut line) = serde_json::to_vec(status) else { return false };
    line.push(b'\n');
    let mut stdout = std::io::stdout();
    stdout.write_all(&line).and_then(|()| stdout.flush()).is_ok()
}

fn refuse(layers: Layers, error: impl std::fmt::Display) -> i32 {
    report(&Status { layers, error: Some(error.to_string()) });
    1
}

/// Builds the sandbox, starts its first process and waits for it.
fn launch(spec: Spec) -> i32 {
    confine::close_inherited();
    let mut layers = Layers::default();
    let joined = spec.cgroup.as_ref().map_err(Clone::clone).and_then(|folder| super::cgroup::join(folder));
    layers.note(Layer::Cgroup, joined);
    if let Err(error) = rustix::process::setsid() {
        return refuse(layers, error);
    }
    if let Err(error) = namespaces::enter(&spec, &mut layers) {
        return refuse(layers, error);
    }
    let work = if layers.has(Layer::Mount) { PathBuf::from(WORK) } else { work_folder_outside(std::process::id()) };
    // SAFETY: this process has one thread, so the child may run any code: no lock can be held by a thread that is gone.
    match unsafe { libc::fork() } {
        -1 => refuse(layers, std::io::Error::last_os_error()),
        0 => {
            let failure = become_interpreter(&spec, &work, layers.clone());
            let _ = std::io::stderr().write_all(failure.as_bytes()); // where the answer was given already, this is what is read
            refuse(layers, failure)
        }
        child => wait(child),
    }
}

/// Waits for the first process; when this process dies before it, the kernel kills that one and with it all others.
fn wait(child: i32) -> i32 {
    let Some(child) = rustix::process::Pid::from_raw(child) else { return 1 };
    // the socket must not be held open here: its end is how the other side notices that the sandbox is gone
    confine::close_standard_streams();
    loop {
        match waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some((_, status))) => {
                return status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0));
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return 1,
        }
    }
}

/// The last steps, in the first process of the sandbox. Returns only to say what failed.
fn become_interpreter(spec: &Spec, work: &Path, mut layers: Layers) -> String {
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return format!("could not tie the sandbox to its parent: {error}");
    }
    if !layers.has(Layer::Mount)
        && let Err(error) = std::fs::create_dir_all(work)
    {
        return format!("could not make a work folder: {error}");
    }
    if let Err(error) = std::env::set_current_dir(work) {
        return format!("could not enter {}: {error}", work.display());
    }
    let filters = match filter::Filters::build() {
        Ok(filters) => filters,
        Err(error) => return error,
    };
    let executable = match CString::new(spec.interpreter.executable.as_os_str().as_bytes()) {
        Ok(executable) => executable,
        Err(error) => return error.to_string(),
    };
    let settings = json!({
        "role": spec.role,
        "preload": spec.preload,
        "filters": if spec.without.contains(&Layer::Program) { Vec::new() } else { filters.program_hex() },
        "work": work,
    });
    let arguments = match interpreter_arguments(&executable, &settings) {
        Ok(arguments) => arguments,
        Err(error) => return error,
    };
    confine::restrict(spec, work, &mut layers);
    let outcome = if spec.without.contains(&Layer::Seccomp) { Err("switched off".into()) } else { filters.apply() };
    layers.note(Layer::Seccomp, outcome);
    let program = if spec.without.contains(&Layer::Program) { Err("switched off") } else { Ok(()) };
    layers.note(Layer::Program, program);
    if !report(&Status { layers, error: None }) {
        return "nobody listens".into();
    }
    // The same seed of hashes for every program; nothing of the environment outside.
    let environment = [c"PYTHONHASHSEED=0".as_ptr(), std::ptr::null()];
    let mut pointers: Vec<*const libc::c_char> = arguments.iter().map(|argument| argument.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: both arrays end in a null pointer and point to C strings that live until the call; on success it does not return.
    unsafe { libc::execve(executable.as_ptr(), pointers.as_ptr(), environment.as_ptr()) };
    format!("could not start {}: {}", executable.to_string_lossy(), std::io::Error::last_os_error())
}

/// No site packages, no user's folder, no byte code written, UTF-8 whatever the locale.
fn interpreter_arguments(executable: &CString, settings: &Value) -> Result<Vec<CString>, String> {
    let rest = ["-S", "-s", "-B", "-X", "utf8", "-c", ZYGOTE, &settings.to_string()];
    let rest = rest.iter().map(|text| CString::new(*text).map_err(|error| error.to_string()));
    std::iter::once(Ok(executable.clone())).chain(rest).collect()
}

/// The work folder of a sandbox without a mount namespace; whoever started the sandbox removes it.
fn work_folder_outside(launcher: u32) -> PathBuf {
    std::env::temp_dir().join(format!("lapidary-sandbox-{launcher}"))
}

/// Removes what a sandbox without a mount namespace left on disk.
pub(super) fn remove_work_folder(launcher: u32) {
    let folder: &Path = &work_folder_outside(launcher);
    if folder.exists()
        && let Err(error) = std::fs::remove_dir_all(folder)
    {
        tracing::warn!("could not remove {}: {error}", folder.display());
    }
}
