//! A harness that runs what it is sent and answers with what the code leaves in `answer`.
#![allow(dead_code, clippy::print_stdout)] // each test uses a part

use std::sync::OnceLock;

use lapidary_sandbox::{Cell, Ending, Heard, Interpreter, Limits, Sandbox};

const ROLE: &str = r#"
import os, struct
def main(frames_in, frames_out):
    def read(count):
        data = b""
        while len(data) < count:
            part = os.read(frames_in, count - len(data))
            if not part:
                os._exit(0)
            data += part
        return data
    source = read(struct.unpack(">I", read(4))[0]).decode()
    scope = {"answer": None, "outside": False}
    try:
        exec(source, scope)
        answer = str(scope["answer"])
    except BaseException as error:
        answer = type(error).__name__ + ": " + str(error)
    data = answer.encode("utf-8", "replace")[:60000]
    os.write(frames_out, struct.pack(">I", len(data)) + data)
"#;

/// Without an interpreter there are no programs to run: the test says so and passes.
pub fn no_python() -> bool {
    let absent = Interpreter::find("python3").is_err();
    if absent {
        println!("skipped: there is no python3 of version 3.9 or newer");
    }
    absent
}

/// A sandbox with the usual limits.
pub fn sandbox() -> Sandbox {
    with_limits(Limits::default())
}

/// This machine's interpreter.
pub fn python() -> &'static Interpreter {
    static FOUND: OnceLock<Interpreter> = OnceLock::new();
    FOUND.get_or_init(|| Interpreter::find("python3").unwrap())
}

/// A sandbox with these limits.
pub fn with_limits(limits: Limits) -> Sandbox {
    Sandbox::new(python().clone(), limits, ROLE)
}

/// What the code leaves in `answer`, or its exception; else what was heard instead. And how it ended.
pub fn run(cell: &mut Cell, source: &str) -> (String, Ending) {
    let mut run = cell.run(b"").unwrap();
    run.say(source.as_bytes());
    let heard = run.hear();
    // a program that said nothing more is ending by itself, and how is of interest
    let wait = (heard == Heard::End).then(|| run.left());
    let ending = cell.end(run, wait).unwrap();
    match heard {
        Heard::Frame(bytes) => (String::from_utf8(bytes).unwrap(), ending),
        other => (format!("{other:?}"), ending),
    }
}

/// The same without the ending.
pub fn ask(cell: &mut Cell, source: &str) -> String {
    run(cell, source).0
}

/// The same code as a plain process of this machine: the control that shows that a denial comes from the sandbox.
pub fn control(source: &str) -> String {
    let source = format!("answer = None; outside = True\n{source}\nprint('RESULT', answer)");
    let folder = tempfile::tempdir().unwrap();
    let mut python = std::process::Command::new(python().executable());
    python.args(["-S", "-B", "-c", &source]).env("TMPDIR", folder.path()).current_dir(folder.path());
    let output = python.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match text.lines().find_map(|line| line.strip_prefix("RESULT ")) {
        Some(answer) => answer.to_string(),
        None => format!("{text}{}", String::from_utf8_lossy(&output.stderr)),
    }
}
