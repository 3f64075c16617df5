//! `command`: any program that reads and writes JSON lines judges the completions.
//!
//! The program is started once and kept. For each attempt it is sent one line
//! `{"id", "prompt", "completion", "answer", "metadata", "tokens", "truncated"}` and must write one line
//! `{"score": number | null, "reason": text}`, in order. What it writes to stderr is kept for messages. There is no shell.
//!
//! A program that crashes, hangs, writes something else or too little gives no verdict for the attempts it left open, and
//! is started anew for the next batch. Nothing it does is ever read as a score of 0.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lapidary_core::{Kind, Problem, Result, Verdict};
use serde_json::{Value, json};

use crate::child::{Child, Heard};
use crate::find::shorten;
use crate::options::{OptionInfo, OptionKind, Options};
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "command",
    summary: "Your own program judges: JSON lines in, JSON lines {\"score\", \"reason\"} out.",
    formula: "whatever the program says",
    options: &[
        OptionInfo {
            name: "program",
            kind: OptionKind::Texts,
            default: "",
            meaning: "the program and its arguments, run without a shell: `[\"python3\", \"reward.py\"]`",
        },
        OptionInfo {
            name: "timeout_s",
            kind: OptionKind::Number(0.01, 86_400.0),
            default: "60",
            meaning: "seconds that one batch may take, the start of the program included",
        },
        OptionInfo {
            name: "max_line_bytes",
            kind: OptionKind::Integer(64, 64 << 20),
            default: "1048576",
            meaning: "longest line that is read from the program",
        },
    ],
    build: |options| Ok(Box::new(Command::new(options)?)),
};

struct Command {
    program: Vec<String>,
    timeout: Duration,
    longest_line: usize,
    child: Mutex<Option<Child>>,
}

impl Command {
    fn new(options: &Options) -> Result<Self> {
        let program = options.texts("program");
        find_program(program.first().map_or("", String::as_str))?;
        Ok(Self {
            program,
            timeout: Duration::from_secs_f64(options.number("timeout_s").unwrap_or(60.0)),
            longest_line: options.integer("max_line_bytes").unwrap_or(1 << 20) as usize,
            child: Mutex::new(None),
        })
    }

    /// The verdicts that could be had, and why there are no more where that is so.
    fn judge(&self, child: &mut Child, attempts: &[Attempt<'_>]) -> (Vec<Verdict>, Option<String>) {
        let deadline = Instant::now() + self.timeout;
        let mut verdicts = Vec::with_capacity(attempts.len());
        if child.spoke_unasked() {
            let reason = "the program wrote more lines than it was sent; print one line per line, the rest to stderr";
            return (verdicts, Some(reason.into()));
        }
        child.say(requests(attempts));
        while verdicts.len() < attempts.len() {
            let failure = match child.hear(deadline) {
                Heard::Line(line) => match verdict(&line, verdicts.len()) {
                    Ok(verdict) => {
                        verdicts.push(verdict);
                        continue;
                    }
                    Err(reason) => reason,
                },
                Heard::TooLong => format!("the program wrote a line of more than {} bytes", self.longest_line),
                Heard::Nothing => format!("the program did not answer within {} s", self.timeout.as_secs_f64()),
                Heard::End => format!("the program ended ({})", child.ending()),
            };
            return (verdicts, Some(format!("{failure}{}", child.complaint())));
        }
        (verdicts, None)
    }
}

impl Reward for Command {
    fn name(&self) -> &str {
        INFO.name
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        if attempts.is_empty() {
            return Vec::new();
        }
        // a panic while the lock was held leaves nothing half done: the child is taken out first
        let mut slot = self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let started = match slot.take() {
            Some(child) => Ok(child),
            None => Child::start(&self.program, self.longest_line),
        };
        let (mut verdicts, failure) = match started {
            Err(error) => (Vec::new(), Some(format!("could not start `{}`: {error}", self.program[0]))),
            Ok(mut child) => {
                let (verdicts, failure) = self.judge(&mut child, attempts);
                if failure.is_none() {
                    *slot = Some(child); // a child that failed is dropped, and so ended
                }
                (verdicts, failure)
            }
        };
        let reason = failure.unwrap_or_default();
        verdicts.resize_with(attempts.len(), || Verdict::none(reason.clone()));
        verdicts
    }
}

fn requests(attempts: &[Attempt<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (id, attempt) in attempts.iter().enumerate() {
        let line = json!({
            "id": id,
            "prompt": attempt.prompt,
            "completion": attempt.completion,
            "answer": attempt.answer,
            "metadata": attempt.metadata,
            "tokens": attempt.tokens,
            "truncated": attempt.truncated,
        });
        // writing to a vector cannot fail
        let written = writeln!(bytes, "{line}");
        assert!(written.is_ok(), "a vector takes every byte");
    }
    bytes
}

/// What one line says: a verdict, or that the conversation is broken.
fn verdict(line: &str, id: usize) -> std::result::Result<Verdict, String> {
    let value: Value = match serde_json::from_str(line) {
        Ok(value) => value,
        // Python writes NaN and Infinity: the line stands for its attempt, but says no score
        Err(_) if line.starts_with('{') && ["NaN", "Infinity"].iter().any(|word| line.contains(word)) => {
            return Ok(Verdict::none("the program's score is not a finite number"));
        }
        Err(_) => return Err(format!("the program wrote {}, which is not a JSON line", shorten(line))),
    };
    let Some(map) = value.as_object() else {
        return Err(format!("the program wrote {}, which is not a JSON object", shorten(line)));
    };
    if let Some(echo) = map.get("id")
        && echo.as_u64() != Some(id as u64)
    {
        return Err(format!("the program answered id {echo} where {id} was due"));
    }
    let reason = map.get("reason").and_then(Value::as_str).unwrap_or("").to_string();
    match map.get("score") {
        Some(Value::Number(score)) => Ok(Verdict::score(score.as_f64().unwrap_or(f64::NAN) as f32, reason)),
        Some(Value::Bool(right)) => Ok(Verdict::score(f32::from(u8::from(*right)), reason)),
        Some(Value::Null) if reason.is_empty() => Ok(Verdict::none("the program gave no score")),
        Some(Value::Null) => Ok(Verdict::none(reason)),
        Some(_) => Err(format!("the program wrote {}, whose `score` is not a number", shorten(line))),
        None => Err(format!("the program wrote {}, which has no `score`", shorten(line))),
    }
}

/// Where a program is, so that a misspelt one is found before the first step.
fn find_program(name: &str) -> Result<PathBuf> {
    let missing = |hint: &str| {
        let message = format!("reward `command`: there is no program `{name}`");
        Err(Problem::new(Kind::Usage, "W010", message).hint(hint))
    };
    if name.contains(['/', '\\']) {
        let path = Path::new(name);
        return if path.is_file() {
            Ok(path.to_path_buf())
        } else {
            missing("give its path as seen from the folder in which lapidary runs")
        };
    }
    let places = std::env::var_os("PATH").unwrap_or_default();
    let suffixes: &[&str] = if cfg!(windows) { &[".exe", ".cmd", ".bat", ""] } else { &[""] };
    let found = std::env::split_paths(&places)
        .flat_map(|place| suffixes.iter().map(move |suffix| place.join(format!("{name}{suffix}"))))
        .find(|path| path.is_file());
    match found {
        Some(path) if !name.is_empty() => Ok(path),
        _ if name.contains(' ') => {
            missing("there is no shell: write the arguments apart, `[\"python3\", \"reward.py\"]`")
        }
        _ => missing("install it, or give its full path"),
    }
}
