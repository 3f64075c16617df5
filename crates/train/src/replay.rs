//! Saved rollouts judged again: by other rewards, to see what a change would mean, or by the run's own, to see that they still
//! say the same.
//!
//! A saved sample holds all that a reward may look at, so neither the task nor its data is needed, and a pure reward gives the
//! very bits that it gave when the sample was drawn.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lapidary_core::{Kind, Problem, Result, Verdict};
use lapidary_reward::{Mix, MixVerdicts};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::metrics::read_rows;
use crate::recipe::{Recipe, Rl, Stage};
use crate::rl::mix;
use crate::rollouts::{Sampled, judge, parts_of, read};

/// What is replayed and how it is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The rewards as a recipe writes them; `None` takes the run's own.
    pub rewards: Option<Value>,
    /// Total reward from which an answer counts as right.
    pub right_from: f64,
    /// Changed samples that are kept, those that changed most first.
    pub keep: usize,
}

/// What the rewards say of saved samples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replay {
    /// The steps in order.
    pub steps: Vec<StepReplay>,
    /// Samples.
    pub samples: usize,
    /// Samples whose total is the same, bit for bit.
    pub same: usize,
    /// Samples of which every part is the same too.
    pub same_parts: usize,
    /// Counts `[saved][replayed]`, each of: right, wrong, no verdict.
    pub agreement: [[usize; 3]; 3],
    /// Samples whose total changed, those that changed most first; not all of them where there are many.
    pub changed: Vec<Changed>,
}

/// A step of a replay.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepReplay {
    /// Step of the run.
    pub step: u64,
    /// Samples.
    pub samples: usize,
    /// Samples whose total is the same, bit for bit.
    pub same: usize,
    /// Samples that both call right or both call wrong, or neither judges.
    pub agree: usize,
    /// Mean of the saved totals; `None` where none has a verdict.
    pub saved: Option<f64>,
    /// Mean of the new totals.
    pub replayed: Option<f64>,
    /// Samples without a verdict, saved and new.
    pub no_verdict: [usize; 2],
}

/// A sample whose total changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Changed {
    /// Step of the run.
    pub step: u64,
    /// The item.
    pub id: String,
    /// Which sample of its prompt.
    pub sample: usize,
    /// What it was worth, and why.
    pub saved: Verdict,
    /// What it is worth now, and why.
    pub replayed: Verdict,
    /// Its prompt.
    pub prompt: String,
    /// What the model wrote.
    pub completion: String,
    /// The reference answer.
    pub answer: Option<String>,
}

impl Changed {
    /// How far the two are apart; a verdict that comes or goes is further than any number.
    fn distance(&self) -> f64 {
        match (self.saved.value(), self.replayed.value()) {
            (Some(saved), Some(replayed)) => (f64::from(saved) - f64::from(replayed)).abs(),
            _ => f64::INFINITY,
        }
    }
}

/// Changed samples held beyond those that are kept before the list is cut back.
const SLACK: usize = 1024;

/// Judges all saved samples of a run.
///
/// # Errors
/// `Usage` where `run` is no run directory or the rewards cannot be built; `Data` where it holds no rollouts, or damaged ones.
pub fn replay(run: &Path, settings: &Settings) -> Result<Replay> {
    let path = run.join("recipe.toml");
    if !path.exists() {
        let message = format!("`{}` is no run directory: it has no recipe.toml", run.display());
        return Err(Problem::new(Kind::Usage, "S015", message).hint("name a directory below `runs/`"));
    }
    let recipe = Recipe::load(&path, &[])?.with_reward_models(run);
    crate::reward_models::install(0);
    let rewards: Vec<Option<Mix>> =
        recipe.stages.iter().map(|stage| rewards_of(stage, settings.rewards.as_ref())).collect::<Result<_>>()?;
    let stages = stages(run)?;
    let mut out =
        Replay { steps: Vec::new(), samples: 0, same: 0, same_parts: 0, agreement: [[0; 3]; 3], changed: Vec::new() };
    for (step, path) in files(&run.join("rollouts"))? {
        let Some(mix) = stages.range(..=step).next_back().and_then(|(_, stage)| rewards.get(*stage)?.as_ref()) else {
            let message = format!("`{}` is of a step that the run's metrics give to no rl stage", path.display());
            return Err(Problem::new(Kind::Data, "D053", message));
        };
        let samples = read(&path)?;
        let verdicts = judge(samples.iter(), mix);
        out.add(step, &samples, (mix, &verdicts), settings);
    }
    out.cut(settings.keep);
    Ok(out)
}

/// The rewards of a stage, where it has any.
fn rewards_of(stage: &Stage, given: Option<&Value>) -> Result<Option<Mix>> {
    let Stage::Rl(rl) = stage else { return Ok(None) };
    let rl: &Rl = rl;
    let answer = rl.task.answer_reward();
    match given {
        Some(spec) => Mix::build(spec, answer).map(Some),
        None => mix(&rl.rewards, answer).map(Some),
    }
}

/// Which stage (from 0) each step belonged to: the run's own record, as a stage may end before its last step.
fn stages(run: &Path) -> Result<BTreeMap<u64, usize>> {
    let rows = read_rows(&run.join("metrics.jsonl"))?;
    Ok(rows.iter().filter(|row| row.stage > 0).map(|row| (row.step, row.stage - 1)).collect())
}

/// The files of rollouts by step.
fn files(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries.collect::<std::io::Result<Vec<_>>>(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    let entries = entries.map_err(|error| Problem::io("list", folder, &error))?;
    let step = |path: &Path| {
        let name = path.file_name()?.to_str()?.strip_prefix("step-")?.strip_suffix(".jsonl.zst")?;
        name.parse::<u64>().ok()
    };
    let mut found: Vec<(u64, PathBuf)> =
        entries.into_iter().map(|entry| entry.path()).filter_map(|path| Some((step(&path)?, path))).collect();
    found.sort();
    if found.is_empty() {
        let message = format!("`{}` holds no rollouts", folder.display());
        return Err(Problem::new(Kind::Data, "D054", message).hint("only rl steps sample; has the run got to one?"));
    }
    Ok(found)
}

impl Replay {
    fn add(&mut self, step: u64, samples: &[Sampled], (mix, verdicts): (&Mix, &MixVerdicts), settings: &Settings) {
        let class = |verdict: &Verdict| match verdict.value() {
            Some(score) if f64::from(score) >= settings.right_from => 0,
            Some(_) => 1,
            None => 2,
        };
        let mut about = StepReplay {
            step,
            samples: samples.len(),
            same: 0,
            agree: 0,
            saved: mean(samples.iter().map(|sampled| &sampled.verdict)),
            replayed: mean(verdicts.total.iter()),
            no_verdict: [0; 2],
        };
        for (row, (sampled, verdict)) in samples.iter().zip(&verdicts.total).enumerate() {
            let (saved, replayed) = (class(&sampled.verdict), class(verdict));
            self.agreement[saved][replayed] += 1;
            about.agree += usize::from(saved == replayed);
            about.no_verdict[0] += usize::from(saved == 2);
            about.no_verdict[1] += usize::from(replayed == 2);
            if same(&sampled.verdict, verdict) {
                about.same += 1;
                self.same_parts += usize::from(same_parts(&sampled.rewards, &parts_of(verdicts, mix, row)));
            } else {
                self.changed.push(changed(step, sampled, verdict));
            }
        }
        if self.changed.len() > settings.keep + SLACK {
            self.cut(settings.keep);
        }
        self.samples += about.samples;
        self.same += about.same;
        self.steps.push(about);
    }

    /// Keeps the samples that changed most; of equal ones the earliest.
    fn cut(&mut self, keep: usize) {
        self.changed.sort_by(|a, b| b.distance().total_cmp(&a.distance()));
        self.changed.truncate(keep);
    }
}

fn changed(step: u64, sampled: &Sampled, verdict: &Verdict) -> Changed {
    Changed {
        step,
        id: sampled.id.clone(),
        sample: sampled.rollout.sample,
        saved: sampled.verdict.clone(),
        replayed: verdict.clone(),
        prompt: sampled.prompt_text.plain(),
        completion: sampled.completion.clone(),
        answer: sampled.answer.clone(),
    }
}

/// Whether two verdicts are the same bits, or both none.
fn same(a: &Verdict, b: &Verdict) -> bool {
    a.value().map(f32::to_bits) == b.value().map(f32::to_bits)
}

fn same_parts(saved: &Map<String, Value>, replayed: &Map<String, Value>) -> bool {
    let bits = |value: &Value| value.as_f64().map(|score| (score as f32).to_bits());
    saved.len() == replayed.len()
        && saved.iter().all(|(label, score)| replayed.get(label).is_some_and(|other| bits(score) == bits(other)))
}

fn mean<'a>(verdicts: impl Iterator<Item = &'a Verdict>) -> Option<f64> {
    let scores: Vec<f64> = verdicts.filter_map(Verdict::value).map(f64::from).collect();
    (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
}
