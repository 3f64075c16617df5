//! `lapidary reproduce`: does a method do, at our scale, what its paper claims?

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use lapidary_core::{Kind, Problem};
use lapidary_train::study::{self, Circumstances, Findings, LEAST_SEEDS, Plan, Study};
use serde_json::json;

use crate::arguments::Global;
use crate::output::{Output, theme};
use crate::signals;
use crate::stop::{Outcome, Stop};

/// Where the runs of studies go without `--run-dir`.
const RUNS: &str = "runs/reproduce";

/// Run a method and the baselines it claims to beat over several seeds, and say whether the claims hold
///
/// Arms of a seed start from the same weights and read the same prompts in the same order. Differences are paired by seed and
/// shown with 95 % intervals. What is finished is not run again: the same command goes on where it was stopped.
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary reproduce gspo --out docs/studies")]
pub struct Reproduce {
    #[arg(help = format!("The study: {}, or a TOML file of your own", study::names().join(", ")))]
    study: String,
    /// How many seeds, at least 2; fewer than 5 say next to nothing
    #[arg(long, default_value_t = LEAST_SEEDS, value_name = "N", value_parser = clap::value_parser!(u64).range(2..))]
    seeds: u64,
    /// Runs side by side, each on one thread; 0 is one per core
    #[arg(long, default_value_t = 0, value_name = "N")]
    jobs: usize,
    /// Where the runs are written and continued; runs/reproduce/STUDY by default
    #[arg(short = 'd', long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Write the page and its drawings into this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Reproduce {
    /// Runs the verb.
    pub fn run(&self, global: &Global, output: &mut Output) -> Outcome {
        let study = self.study()?;
        if self.seeds < LEAST_SEEDS {
            output.note(theme::warning(format!("{} seeds: intervals will be wide", self.seeds)));
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = if self.jobs == 0 { cores } else { self.jobs };
        let directory = self.run_dir.clone().unwrap_or_else(|| Path::new(RUNS).join(&study.name));
        let plan = Plan { directory, seeds: self.seeds, jobs };
        let interrupts = signals::listen()?;
        let started = Instant::now();
        let hear = |heard: &study::Heard| {
            if !global.quiet {
                let line = format!("{}/{} {} seed {}", heard.done, heard.total, heard.name, heard.seed);
                eprintln_line(&format!("{line}: {:.0} s", heard.seconds));
            }
        };
        let runs = study::run(&study, &plan, &hear, interrupts.stop()).map_err(|problem| match problem.kind() {
            Kind::Interrupted => {
                output.note("stopped; everything is saved: run the same command again to go on");
                Stop::Said(Kind::Interrupted)
            }
            _ => Stop::Problem(problem),
        })?;
        let findings = Findings::of(&study, &runs)?;
        if let Some(out) = &self.out {
            self.write(out, &study, &findings, &runs, started.elapsed().as_secs_f64() / 60.0)?;
            output.note(format!("page {}", theme::path(out.join(format!("{}.md", study.name)).display())));
        }
        if output.json {
            return output.json(&in_full(&study, &findings));
        }
        output.text(&study::terminal(&study, &findings))
    }

    fn study(&self) -> lapidary_core::Result<Study> {
        if self.study.ends_with(".toml") {
            let path = Path::new(&self.study);
            let text = std::fs::read_to_string(path).map_err(|error| Problem::io("read", path, &error))?;
            return Study::parse(&text).map_err(|problem| problem.context(format!("`{}`", path.display())));
        }
        Study::named(&self.study)
    }

    fn write(
        &self,
        out: &Path,
        study: &Study,
        findings: &Findings,
        runs: &[study::ArmRun],
        minutes: f64,
    ) -> lapidary_core::Result<()> {
        let how = Circumstances {
            command: format!("lapidary reproduce {} --seeds {}", self.study, self.seeds),
            machine: machine(),
            minutes: Some(minutes),
            seeds: self.seeds,
        };
        std::fs::create_dir_all(out).map_err(|error| Problem::io("make", out, &error))?;
        let put = |name: String, text: String| {
            let path = out.join(name);
            std::fs::write(&path, text).map_err(|error| Problem::io("write", &path, &error))
        };
        put(format!("{}.md", study.name), study::page(study, findings, &how))?;
        put(format!("{}-claims.svg", study.name), study::forest(study, findings))?;
        study.curves.iter().try_for_each(|metric| {
            put(format!("{}-{}.svg", study.name, metric.replace('/', "-")), study::curves(study, runs, metric))
        })
    }
}

fn eprintln_line(text: &str) {
    use std::io::Write;
    // If stderr is gone there is nobody left to tell.
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// The processor and how many of its cores there are.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")).and_then(|line| line.split_once(':'));
    let model = model.map_or(std::env::consts::ARCH, |(_, name)| name.trim());
    format!("{cores} cores of {model}")
}

fn in_full(study: &Study, findings: &Findings) -> serde_json::Value {
    let arm = |at: usize| study.arms[at].name.as_str();
    let judgements: Vec<serde_json::Value> = findings
        .judgements
        .iter()
        .map(|judged| {
            let (claim, seen) = (&study.claims[judged.claim], &judged.difference);
            json!({
                "claim": claim.text, "arm": arm(seen.arm), "against": arm(seen.against), "measure": claim.measure,
                "student": seen.student, "bootstrap": seen.bootstrap, "holds": format!("{:?}", judged.holds).to_lowercase(),
            })
        })
        .collect();
    let measures: serde_json::Map<String, serde_json::Value> = study
        .measures
        .iter()
        .zip(&findings.values)
        .map(|(measure, values)| {
            let arms = values.iter().enumerate().map(|(at, values)| (arm(at).to_string(), json!(values)));
            (measure.name.clone(), serde_json::Value::Object(arms.collect()))
        })
        .collect();
    json!({ "study": study.name, "measures": measures, "claims": judgements })
}
