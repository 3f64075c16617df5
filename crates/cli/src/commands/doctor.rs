//! `lapidary doctor`: what this machine offers, and whether the promises hold on it.

use std::path::Path;

use clap::Args;
use lapidary_core::{Key, Kind, Problem, Purpose, Result, TokenBatch, Want};
use lapidary_engine::native::{Isa, Native};
use lapidary_engine::{Choose, Engine, Family, ModelConfig, SampleRequest};
use lapidary_sandbox::{Interpreter, Limits, Sandbox};
use serde_json::json;

use crate::output::Output;
use crate::stop::Outcome;

/// Show what this machine offers, and check that sampler and trainer agree on it
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary doctor")]
pub struct Doctor {}

/// One line of the answer.
struct Finding {
    what: &'static str,
    found: String,
    fine: bool,
}

impl Doctor {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Outcome {
        let findings = findings()?;
        if output.json {
            for finding in &findings {
                output.json(&json!({ "check": finding.what, "found": finding.found, "fine": finding.fine }))?;
            }
        } else {
            let row = |finding: &Finding| {
                vec![finding.what.into(), finding.found.clone(), if finding.fine { "ok" } else { "look here" }.into()]
            };
            output.table(&["check", "found", ""], findings.iter().map(row))?;
        }
        match findings.iter().find(|finding| !finding.fine) {
            None => Ok(()),
            Some(wrong) => Err(Problem::new(Kind::Failed, "U020", format!("{}: {}", wrong.what, wrong.found)).into()),
        }
    }
}

fn findings() -> Result<Vec<Finding>> {
    /// Less free space than this does not hold two checkpoints of a small model.
    const LEAST_DISK_BYTES: u64 = 2 << 30;
    let fine = |what, found: String| Finding { what, found, fine: true };
    let here = Path::new(".");
    let free = fs4::available_space(here).map_err(|error| Problem::io("ask for the free space of", here, &error))?;
    let sets: Vec<&str> = Isa::available().into_iter().map(Isa::name).collect();
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    Ok(vec![
        fine("version", format!("lapidary {}", env!("CARGO_PKG_VERSION"))),
        fine("system", format!("{} {}, {cores} cores", std::env::consts::OS, std::env::consts::ARCH)),
        fine("kernels", format!("{} (also here: {})", Isa::detect().name(), sets.join(", "))),
        fine("memory", memory()),
        Finding {
            what: "free disk here",
            found: format!("{:.1} GB", free as f64 / 1e9),
            fine: free >= LEAST_DISK_BYTES,
        },
        agreement()?,
        sandbox(),
    ])
}

/// Which layers stand around programs that `code` judges. Without Python, or without a sandbox, programs get no verdict: that is a
/// finding, and no fault of the machine for other work.
fn sandbox() -> Finding {
    let cell = Interpreter::find("python3").and_then(|python| {
        let version = python.version().to_string();
        Ok((version, Sandbox::new(python, Limits::default(), "").start()?))
    });
    let found = match cell {
        Ok((version, cell)) => format!("Python {version} behind {}", cell.layers()),
        Err(problem) => format!("none: reward `code` gives no verdict here ({})", problem.message()),
    };
    Finding { what: "sandbox", found, fine: true }
}

/// Total and available memory where the system says so.
fn memory() -> String {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let gigabytes = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        let kibibytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kibibytes * 1024.0 / 1e9)
    };
    match (gigabytes("MemTotal:"), gigabytes("MemAvailable:")) {
        (Some(total), Some(available)) => format!("{total:.1} GB, {available:.1} GB available"),
        _ => "unknown on this system".into(),
    }
}

/// Samples from a small random model and scores what was sampled: both must say the same bits.
fn agreement() -> Result<Finding> {
    let shape = ModelConfig {
        family: Family::Llama,
        vocabulary: 97,
        hidden: 48,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_width: 12,
        rotary_width: 12,
        feed_forward: 80,
        experts: None,
        context: 64,
        rope_theta: 10_000.0,
        rope_scaling: None,
        norm_epsilon: 1e-5,
        qkv_bias: false,
        output_bias: false,
        qk_norm: false,
        tied: true,
        language_head: true,
        value_head: false,
        reward_head: false,
        bos: None,
        eos: Vec::new(),
    };
    let engine = Native::initialise(shape, 1, 0)?;
    let request = SampleRequest {
        prompt: vec![5, 6, 7],
        samples: 4,
        max_new_tokens: 20,
        choose: Choose::Draw { temperature: 1.0, top_k: 0, top_p: 1.0 },
        stop_tokens: Vec::new(),
        key: Key::new(1, Purpose::Generate),
        record: lapidary_engine::Record::default(),
    };
    let prompt = request.prompt.clone();
    let samples = engine.sample(&[request], &|_| {})?.remove(0);
    let batch = TokenBatch::all(samples.iter().map(|sample| [prompt.as_slice(), &sample.tokens].concat()));
    let stats = engine.score(&batch, Want::default())?;
    let differing = samples.iter().enumerate().flat_map(|(row, sample)| {
        let scored = &stats.logp.row(row)[prompt.len()..];
        sample.logp.iter().zip(scored).filter(|(sampled, scored)| sampled.to_bits() != scored.to_bits())
    });
    let (differing, all) = (differing.count(), samples.iter().map(|sample| sample.tokens.len()).sum::<usize>());
    let found = match differing {
        0 => format!("the same bits on {all} tokens"),
        count => format!("{count} of {all} log-probabilities differ"),
    };
    Ok(Finding { what: "sampler = trainer", found, fine: differing == 0 })
}
