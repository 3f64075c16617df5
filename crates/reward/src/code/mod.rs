//! `code`: does the program in the completion pass the row's tests.
//!
//! Programs and tests run in two sandboxes. The program's process is sent calls and answers with plain data; it never holds a test or
//! a value that a test expects. The tests run in the other sandbox, where a stand-in takes the program's place. The verdict is made here,
//! outside both, and whatever the program does to itself, to its interpreter or to its output, it can only answer questions.

mod case;
mod compare;
mod judge;
mod source;
mod value;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use lapidary_core::{Result, Verdict};
use lapidary_sandbox::{Layer, Limits};

use self::judge::{Judge, Worker};
use self::source::Place;
use crate::options::{OptionInfo, OptionKind, Options};
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "code",
    summary: "The program passes the row's tests, each run in a sandbox that its tests never enter.",
    formula: "1 if every test passes else 0; `score = \"fraction\"`: tests passed / tests",
    options: OPTIONS,
    build: |options| Ok(Box::new(Code::new(options)?)),
};

const OPTIONS: &[OptionInfo] = &[
    OptionInfo {
        name: "score",
        kind: OptionKind::Choice(&["all", "fraction"]),
        default: "\"all\"",
        meaning: "what some passed tests are worth: nothing, or their share",
    },
    OptionInfo {
        name: "threshold",
        kind: OptionKind::Number(0.0, 1.0),
        default: "0",
        meaning: "a share below this is 0",
    },
    OptionInfo {
        name: "extract",
        kind: OptionKind::Choice(&["fence", "whole"]),
        default: "\"fence\"",
        meaning: "where the program stands: in the last fence of Python (all, where there is no fence), or always all",
    },
    OptionInfo {
        name: "challenge",
        kind: OptionKind::Flag,
        default: "false",
        meaning: "whether `challenge_test_list` counts too",
    },
    OptionInfo {
        name: "tolerance",
        kind: OptionKind::Number(0.0, 1.0),
        default: "0",
        meaning: "how far numbers on stdout may be off, relative to max(1, |expected|)",
    },
    OptionInfo {
        name: "python",
        kind: OptionKind::Text,
        default: "\"python3\"",
        meaning: "the interpreter, 3.9 or newer; programs see its standard library and no installed package",
    },
    OptionInfo {
        name: "cpu_s",
        kind: OptionKind::Integer(1, 3600),
        default: "5",
        meaning: "seconds of CPU time of a program, for all its tests; on stdin and stdout for each",
    },
    OptionInfo {
        name: "wall_s",
        kind: OptionKind::Number(0.05, 36_000.0),
        default: "15",
        meaning: "the same on the clock",
    },
    OptionInfo {
        name: "memory_mib",
        kind: OptionKind::Integer(64, 1 << 20),
        default: "512",
        meaning: "address space of a program, the interpreter included",
    },
    OptionInfo {
        name: "output_kib",
        kind: OptionKind::Integer(1, 1 << 20),
        default: "1024",
        meaning: "most that a program may write to stdout, or answer to one call",
    },
    OptionInfo {
        name: "workers",
        kind: OptionKind::Integer(1, 512),
        default: "null",
        meaning: "programs that run at once; unset, one per core",
    },
    OptionInfo {
        name: "fresh",
        kind: OptionKind::Flag,
        default: "false",
        meaning: "whether every program gets a new sandbox, not only a new process in a sandbox that is unused and empty",
    },
    OptionInfo {
        name: "require",
        kind: OptionKind::Choices(Layer::NAMES),
        default: "null",
        meaning: "layers of the sandbox without which there is no verdict; some are always needed, `lapidary doctor` shows all",
    },
];

/// The reward; interpreters start when the first completion comes.
struct Code {
    settings: Settings,
    judge: OnceLock<std::result::Result<Judge, String>>,
    idle: Mutex<Vec<Worker>>,
}

/// The options, read.
struct Settings {
    python: String,
    limits: Limits,
    require: Vec<Layer>,
    fraction: bool,
    threshold: f64,
    place: Place,
    challenge: bool,
    tolerance: f64,
    fresh: bool,
    workers: usize,
}

impl Code {
    fn new(options: &Options) -> Result<Self> {
        let fraction = options.text("score") == Some("fraction");
        let threshold = options.number("threshold").unwrap_or(0.0);
        if threshold > 0.0 && !fraction {
            return Err(options.wrong("`threshold` is for `score = \"fraction\"`"));
        }
        let usual = Limits::default();
        let limits = Limits {
            memory_bytes: options.integer("memory_mib").map_or(usual.memory_bytes, |mib| (mib as u64) << 20),
            cpu_s: options.integer("cpu_s").map_or(usual.cpu_s, |seconds| seconds as u64),
            wall: options.number("wall_s").map_or(usual.wall, Duration::from_secs_f64),
            output_bytes: options.integer("output_kib").map_or(usual.output_bytes, |kib| (kib as usize) << 10),
            ..usual
        };
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let settings = Settings {
            python: options.text("python").unwrap_or("python3").to_string(),
            limits,
            require: options.texts("require").iter().filter_map(|name| Layer::named(name)).collect(),
            fraction,
            threshold,
            place: if options.text("extract") == Some("whole") { Place::Whole } else { Place::Fence },
            challenge: options.flag("challenge"),
            tolerance: options.number("tolerance").unwrap_or(0.0),
            fresh: options.flag("fresh"),
            workers: options.integer("workers").map_or(cores, |count| count as usize),
        };
        Ok(Self { settings, judge: OnceLock::new(), idle: Mutex::new(Vec::new()) })
    }

    /// Judges attempts one after the other until none is left; `next` counts them off among all workers.
    fn work(&self, judge: &Judge, attempts: &[Attempt<'_>], next: &AtomicUsize) -> Vec<(usize, Verdict)> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut worker = idle().pop().unwrap_or_default();
        let mut verdicts = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(attempt) = attempts.get(at) else { break };
            verdicts.push((at, judge.verdict(&mut worker, attempt, &self.settings)));
        }
        idle().push(worker);
        verdicts
    }
}

impl Reward for Code {
    fn name(&self) -> &str {
        INFO.name
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        if attempts.is_empty() {
            return Vec::new();
        }
        let judge = match self.judge.get_or_init(|| Judge::new(&self.settings)) {
            Ok(judge) => judge,
            Err(reason) => return vec![Verdict::none(reason.clone()); attempts.len()],
        };
        let next = AtomicUsize::new(0);
        let count = self.settings.workers.min(attempts.len());
        let mut verdicts = vec![Verdict::none("not judged"); attempts.len()];
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..count).map(|_| scope.spawn(|| self.work(judge, attempts, &next))).collect();
            for thread in threads {
                match thread.join() {
                    Ok(judged) => judged.into_iter().for_each(|(at, verdict)| verdicts[at] = verdict),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        verdicts
    }
}
