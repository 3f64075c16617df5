//! One attempt: the program in one sandbox, the tests in another, and the verdict between them.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Once;
use std::time::Duration;

use lapidary_core::{Problem, Result, Verdict};
use lapidary_sandbox::{Cell, Ending, Heard, Interpreter, Limits, Run, Sandbox};
use serde_json::{Value, json};

use super::Settings;
use super::case::{Case, Functions};
use super::compare::same_output;
use super::source;
use super::value::{Reply, reply};
use crate::Attempt;
use crate::find::shorten;

const WIRE: &str = include_str!("wire.py");
const PROGRAM: &str = include_str!("program.py");
const CHECKER: &str = include_str!("checker.py");
/// What programs and tests import most; loaded once, before the first of them.
const PRELOAD: &[&str] = &[
    "math",
    "random",
    "re",
    "collections",
    "itertools",
    "functools",
    "typing",
    "string",
    "heapq",
    "bisect",
    "datetime",
    "copy",
    "operator",
    "fractions",
    "decimal",
    "statistics",
    "traceback",
    "ast",
    "threading",
    "hashlib",
];
/// What the harness says before it reads a program: from here on, what goes wrong is the program's doing.
const ENTERED: &[u8] = b"\"entered\"";
/// A program that has closed its frames is given this long to be seen as ended.
const LAST_MOMENT: Duration = Duration::from_secs(1);
/// Signals as exit codes.
const KILLED: i32 = -9;
const CPU_LIMIT: i32 = -24;

/// The two kinds of sandbox.
pub(super) struct Judge {
    program: Sandbox,
    checker: Sandbox,
}

/// The two sandboxes of one worker, once they are needed.
#[derive(Default)]
pub(super) struct Worker {
    program: Option<Cell>,
    checker: Option<Cell>,
}

/// A verdict, or a failure of the machinery, which is none.
type Outcome = Result<Verdict>;

fn wrong(reason: impl Into<String>) -> Verdict {
    Verdict::score(0.0, reason)
}

impl Judge {
    /// Finds the interpreter.
    ///
    /// # Errors
    /// In words: there is none.
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let interpreter = Interpreter::find(&settings.python).map_err(|problem| said(&problem))?;
        let sandbox = |role: &str, limits: Limits| {
            Sandbox::new(interpreter.clone(), limits, format!("{WIRE}\n{role}"))
                .preload(PRELOAD)
                .require(&settings.require)
        };
        // the tests wait for the program, so their clock is longer
        let patient = Limits { wall: settings.limits.wall * 2 + LAST_MOMENT, ..settings.limits };
        Ok(Self { program: sandbox(PROGRAM, settings.limits), checker: sandbox(CHECKER, patient) })
    }

    /// Judges one attempt.
    pub(super) fn verdict(&self, worker: &mut Worker, attempt: &Attempt<'_>, settings: &Settings) -> Verdict {
        let case = match Case::of(attempt, settings.challenge) {
            Ok(case) => case,
            Err(reason) => return Verdict::none(reason),
        };
        let program = match source::program(attempt.completion, settings.place) {
            Ok(program) => program,
            Err(reason) => return wrong(reason),
        };
        if settings.fresh {
            *worker = Worker::default();
        }
        let outcome = match &case {
            Case::Functions(case) => self.functions(worker, case, program, settings),
            Case::Runs(runs) => self.runs(worker, runs, program, settings),
        };
        outcome.unwrap_or_else(|problem| Verdict::none(said(&problem)))
    }

    /// Test code: it runs in its own sandbox and asks the program's for values.
    fn functions(&self, worker: &mut Worker, case: &Functions, program: &str, settings: &Settings) -> Outcome {
        let run = enter(&self.program, &mut worker.program, b"")?;
        let mut subject = Subject { run: Some(run), limits: settings.limits, end: None };
        let nonce = nonce();
        let start = json!({"script": false, "source": source::whole(case, program), "nonce": nonce});
        let outcome = match subject.answer(&start, &nonce, &mut worker.program) {
            Some(Reply::Value(_)) => {
                let run = enter(&self.checker, &mut worker.checker, b"");
                run.and_then(|run| self.check(run, worker, &mut subject, case, settings))
            }
            Some(Reply::Raised(name, text, line)) => Ok(wrong(raised(&name, &text, line))),
            None => Ok(wrong(subject.end.clone().unwrap_or_default())),
        };
        subject.finish(&mut worker.program);
        outcome
    }

    /// Runs the tests of `case` in `checker` and carries their questions to the program.
    fn check(
        &self,
        mut checker: Run,
        worker: &mut Worker,
        subject: &mut Subject,
        case: &Functions,
        settings: &Settings,
    ) -> Outcome {
        let task = json!({
            "prefix": case.prefix, "entry": case.entry, "setup": case.setup, "tests": case.tests, "stop": !settings.fraction,
        });
        say(&mut checker, &task);
        let mut asked = 0;
        let outcome = loop {
            let frame = match checker.hear() {
                Heard::Frame(frame) => serde_json::from_slice::<Value>(&frame).unwrap_or_default(),
                other => break Err(other),
            };
            let Some(ask) = frame.get("ask").and_then(Value::as_object) else { break Ok(frame) };
            asked += 1;
            let nonce = nonce();
            let mut ask = ask.clone();
            ask.insert("nonce".into(), json!(nonce));
            let answer = match subject.answer(&Value::Object(ask), &nonce, &mut worker.program) {
                Some(Reply::Value(value)) => json!({"v": value}),
                Some(Reply::Raised(name, text, line)) => json!({"e": [name, text, line]}),
                None => json!({"gone": true}),
            };
            say(&mut checker, &answer);
        };
        let (ended, heard) = (subject.end.clone(), outcome.as_ref().err().cloned());
        let ending = close(&mut worker.checker, checker, heard.as_ref());
        match outcome {
            Ok(report) => Ok(tally(&report, case, ended, settings)),
            // the tests handled what the program gave them, and did not come to an end
            Err(heard) if asked > 0 => Ok(wrong(format!(
                "the tests did not end on the program's values: {}",
                why(&heard, ending.ok(), &settings.limits)
            ))),
            Err(heard) => {
                Ok(Verdict::none(format!("the tests failed: {}", why(&heard, ending.ok(), &settings.limits))))
            }
        }
    }

    /// Whole runs: each in a process of its own.
    fn runs(&self, worker: &mut Worker, runs: &[(String, String)], program: &str, settings: &Settings) -> Outcome {
        let (mut passed, mut first_failure) = (0, None);
        for (at, (input, expected)) in runs.iter().enumerate() {
            match self.once(worker, program, input, expected, settings)? {
                Ok(()) => passed += 1,
                Err(reason) => {
                    first_failure.get_or_insert_with(|| format!("run {} of {}: {reason}", at + 1, runs.len()));
                    if !settings.fraction {
                        break;
                    }
                }
            }
        }
        Ok(share(passed, runs.len(), first_failure, settings))
    }

    /// One run: why it failed, if it did.
    fn once(
        &self,
        worker: &mut Worker,
        program: &str,
        input: &str,
        expected: &str,
        settings: &Settings,
    ) -> Result<std::result::Result<(), String>> {
        let mut run = enter(&self.program, &mut worker.program, input.as_bytes())?;
        say(&mut run, &json!({"script": true, "source": program}));
        let output = run.output();
        let heard = output.as_ref().err().cloned().unwrap_or_else(|| run.hear());
        let wait = (heard == Heard::End || matches!(heard, Heard::Frame(_))).then(|| run.left().max(LAST_MOMENT));
        let ending = cell(&mut worker.program).end(run, wait);
        if let (Heard::Frame(frame), Ok(Ending { code: 1, .. })) = (&heard, &ending)
            && let Some([Value::String(name), Value::String(text), line]) = serde_json::from_slice::<Value>(frame)
                .ok()
                .as_ref()
                .and_then(|v| v.get("e")?.as_array().map(Vec::as_slice))
        {
            return Ok(Err(raised(name, text, line.as_u64())));
        }
        let ending = ending.ok();
        let (Ok(output), Some(0)) = (output, ending.map(|ending| ending.code)) else {
            return Ok(Err(why(&heard, ending, &settings.limits)));
        };
        Ok(same_output(&String::from_utf8_lossy(&output), expected, settings.tolerance))
    }
}

/// The program while it is asked.
struct Subject {
    run: Option<Run>,
    limits: Limits,
    /// Why it answers no more.
    end: Option<String>,
}

impl Subject {
    /// Asks once. `None`: it is gone, and `end` says why.
    fn answer(&mut self, question: &Value, nonce: &str, place: &mut Option<Cell>) -> Option<Reply> {
        let mut run = self.run.take()?;
        say(&mut run, question);
        match run.hear() {
            Heard::Frame(frame) => match reply(&frame, nonce) {
                Ok(reply) => {
                    self.run = Some(run);
                    return Some(reply);
                }
                Err(reason) => {
                    self.end = Some(format!("the program gave {reason}"));
                    let _ = close(place, run, None); // how it ended adds nothing
                }
            },
            heard => {
                let ending = close(place, run, Some(&heard));
                self.end = Some(why(&heard, ending.ok(), &self.limits));
            }
        }
        None
    }

    /// Ends it where it has not ended.
    fn finish(self, place: &mut Option<Cell>) {
        if let Some(run) = self.run {
            let _ = close(place, run, None); // the verdict is made; a cell that is broken is replaced when it is needed
        }
    }
}

/// The verdict of a report of the tests.
fn tally(report: &Value, case: &Functions, ended: Option<String>, settings: &Settings) -> Verdict {
    let word = |key: &str| report.get(key).and_then(Value::as_str);
    if let Some(text) = word("broken") {
        return Verdict::none(format!("the row's tests cannot be run: {}", shorten(text)));
    }
    if let Some(text) = word("unset") {
        return wrong(format!("the tests could not be set up with the program: {}", shorten(text)));
    }
    let (Some(passed), Some(failed)) =
        (report.get("passed").and_then(Value::as_u64), report.get("failed").and_then(Value::as_array))
    else {
        return Verdict::none("the tests ended without a report");
    };
    let total = case.tests.len();
    let failure = failed.first().map(|entry| {
        let text = |at: usize| entry.get(at).and_then(Value::as_str).unwrap_or_default();
        let number = entry.get(0).and_then(Value::as_u64).unwrap_or(0) + 1;
        let head = if total > 1 { format!("test {number} of {total}: ") } else { String::new() };
        match (&ended, text(1)) {
            (Some(ended), _) => format!("{head}{ended}"),
            (None, "") => format!("{head}{}", text(2)),
            (None, line) => format!("{head}{} failed: {}", shorten(line), text(2)),
        }
    });
    // whoever is gone has not passed, whatever a test made of that
    share(passed as usize, total, failure.or(ended), settings)
}

/// The score of some passed tests.
fn share(passed: usize, total: usize, failure: Option<String>, settings: &Settings) -> Verdict {
    let all = passed == total && failure.is_none();
    let share = passed as f64 / total as f64;
    let score = match (all, settings.fraction) {
        (true, _) => 1.0,
        (false, true) if share >= settings.threshold && passed < total => share,
        (false, _) => 0.0,
    };
    let tests = if total == 1 { "the test passed".to_string() } else { format!("all {total} tests passed") };
    let reason = match failure {
        None => tests,
        Some(failure) if settings.fraction => format!("{passed} of {total} tests passed; {failure}"),
        Some(failure) => failure,
    };
    Verdict::score(score as f32, reason)
}

/// Starts a program in a cell that is fit, and waits until the harness is about to read it. A cell that fails before that is replaced
/// once: nothing of the program has run yet.
fn enter(sandbox: &Sandbox, place: &mut Option<Cell>, input: &[u8]) -> Result<Run> {
    let first = try_enter(sandbox, place, input);
    if first.is_ok() {
        return first;
    }
    *place = None;
    try_enter(sandbox, place, input)
}

fn try_enter(sandbox: &Sandbox, place: &mut Option<Cell>, input: &[u8]) -> Result<Run> {
    if place.as_ref().is_none_or(|cell| !cell.is_fit()) {
        *place = None;
        *place = Some(start(sandbox)?);
    }
    let cell = cell(place);
    let mut run = cell.run(input)?;
    match run.hear() {
        Heard::Frame(frame) if frame == ENTERED => Ok(run),
        other => {
            let ending = cell.end(run, Some(LAST_MOMENT))?;
            *place = None;
            let message = format!("the sandbox could not fork: {other:?}, exit code {}", ending.code);
            Err(Problem::new(lapidary_core::Kind::Failed, "W021", message))
        }
    }
}

fn start(sandbox: &Sandbox) -> Result<Cell> {
    static TOLD: Once = Once::new();
    let cell = sandbox.start()?;
    if !cell.layers().missing().is_empty() {
        TOLD.call_once(|| tracing::warn!("programs run in a sandbox of these layers: {}", cell.layers()));
    }
    Ok(cell)
}

/// The cell in which a program runs.
fn cell(place: &mut Option<Cell>) -> &mut Cell {
    match place {
        Some(cell) => cell,
        None => unreachable!("a program that runs has a cell"),
    }
}

/// Ends a program; one that closed its frames is ending by itself, and how is of interest.
fn close(place: &mut Option<Cell>, run: Run, heard: Option<&Heard>) -> Result<Ending> {
    cell(place).end(run, (heard == Some(&Heard::End)).then_some(LAST_MOMENT))
}

fn say(run: &mut Run, message: &Value) {
    run.say(message.to_string().as_bytes());
}

/// A number that nobody can guess: an answer that carries it was given after the question.
fn nonce() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

/// Why there is no more to be heard of a program.
fn why(heard: &Heard, ending: Option<Ending>, limits: &Limits) -> String {
    match (heard, ending) {
        (Heard::Nothing, _) => format!("it did not end within {} s", limits.wall.as_secs_f64()),
        (Heard::TooMuch, _) => format!("it wrote more than {} KiB", limits.output_bytes >> 10),
        (_, None) => "it ended with its sandbox".into(),
        (_, Some(Ending { code: CPU_LIMIT, .. })) => format!("it used more than {} s of CPU time", limits.cpu_s),
        (_, Some(Ending { code: KILLED, cpu_s, .. })) if cpu_s >= limits.cpu_s as f64 => {
            format!("it used more than {} s of CPU time", limits.cpu_s)
        }
        (_, Some(Ending { code, .. })) if code < 0 => format!("it was killed by signal {}", -code),
        (_, Some(Ending { code, .. })) => format!("it ended itself with exit code {code}"),
    }
}

fn raised(name: &str, text: &str, line: Option<u64>) -> String {
    let place = line.map(|line| format!(" (line {line})")).unwrap_or_default();
    let words = if text.is_empty() { String::new() } else { format!(": {}", shorten(text)) };
    format!("the program raised {}{words}{place}", shorten(name).trim_matches('`'))
}

fn said(problem: &Problem) -> String {
    problem.message().to_string()
}
