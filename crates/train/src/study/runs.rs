//! The runs of a study: one start per seed, then every arm from it, several side by side.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use lapidary_core::{Kind, Problem, Result};

use super::{Arm, START, Study};
use crate::metrics::{Row, read_rows};
use crate::recipe::Recipe;
use crate::watch::{Silent, StopFlag};
use crate::{Outcome, Settings, evaluate};

/// How a study is run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the runs are; those that are finished are not repeated.
    pub directory: PathBuf,
    /// Seeds 1 to this.
    pub seeds: u64,
    /// Runs side by side, each on one thread.
    pub jobs: usize,
}

/// A run that is done.
#[derive(Clone, Debug)]
pub struct Heard {
    /// `start`, or the arm.
    pub name: String,
    /// Its seed.
    pub seed: u64,
    /// How long it took now; next to nothing where it was done before.
    pub seconds: f64,
    /// Runs that are done.
    pub done: usize,
    /// Runs in all.
    pub total: usize,
}

/// What a run of an arm left.
#[derive(Clone, Debug)]
pub struct ArmRun {
    /// The arm, by its place in the study.
    pub arm: usize,
    /// The seed.
    pub seed: u64,
    /// Rows of its steps and evaluations.
    pub rows: Vec<Row>,
    /// `pass@k` of the last evaluation, by k.
    pub pass: Vec<(usize, f64)>,
}

/// The recipe of what comes before the arms.
pub(super) fn start_recipe(study: &Study, seed: u64) -> Result<Recipe> {
    let path = PathBuf::from(format!("{}-start.toml", study.name));
    Recipe::load_text(&path, &study.start, &[format!("seed={seed}")])
}

/// The recipe of an arm that starts from `model`; `place` says where a run of the seed is.
pub(super) fn arm_recipe(
    study: &Study,
    arm: &Arm,
    seed: u64,
    model: &str,
    place: &dyn Fn(&str) -> PathBuf,
) -> Result<Recipe> {
    let path = PathBuf::from(format!("{}-{}.toml", study.name, arm.name));
    let mut set = vec![format!("seed={seed}"), format!("model={model:?}")];
    let filled = |text: &String| {
        arm.mentions()
            .fold(text.clone(), |text, name| text.replace(&format!("{{run.{name}}}"), &place(name).to_string_lossy()))
    };
    set.extend(arm.set.iter().map(filled));
    let recipe = arm.recipe.as_ref().unwrap_or(&study.recipe);
    Recipe::load_text(&path, recipe, &set).map_err(|problem| problem.context(format!("arm `{}`", arm.name)))
}

/// Runs what is not done yet and gives what all arms left, by seed and then by arm.
///
/// # Errors
/// The first problem of a run; [`Kind::Interrupted`] where it was asked to stop: the same call goes on.
pub fn run(study: &Study, plan: &Plan, hear: &(dyn Fn(&Heard) + Sync), stop: &StopFlag) -> Result<Vec<ArmRun>> {
    let seeds: Vec<u64> = (1..=plan.seeds).collect();
    let total = seeds.len() * (1 + study.arms.len());
    let done = AtomicUsize::new(0);
    let tell = |name: &str, seed: u64, started: Instant| {
        let done = done.fetch_add(1, Ordering::SeqCst) + 1;
        hear(&Heard { name: name.into(), seed, seconds: started.elapsed().as_secs_f64(), done, total });
    };
    let place = |name: &str, seed: u64| plan.directory.join(format!("{name}-{seed}"));
    let starts = side_by_side(plan.jobs, &seeds, |&seed| {
        let started = Instant::now();
        let outcome = one(&start_recipe(study, seed)?, &place(START, seed), stop)?;
        tell(START, seed, started);
        outcome.checkpoint.ok_or_else(|| Problem::new(Kind::Failed, "S013", "the start of a study left no checkpoint"))
    })?;
    let mut runs = Vec::new();
    for wave in study.waves()? {
        let jobs: Vec<(usize, usize)> =
            (0..seeds.len()).flat_map(|at| wave.iter().map(move |&arm| (at, arm))).collect();
        runs.extend(side_by_side(plan.jobs, &jobs, |&(at, arm)| {
            let (started, seed) = (Instant::now(), seeds[at]);
            let (given, path) = (&study.arms[arm], place(&study.arms[arm].name, seed));
            let other = |name: &str| place(name, seed);
            let recipe = arm_recipe(study, given, seed, &starts[at].to_string_lossy(), &other)?;
            let outcome = one(&recipe, &path, stop)?;
            tell(&given.name, seed, started);
            gather(arm, seed, &path, &outcome)
        })?);
    }
    runs.sort_by_key(|run| (run.seed, run.arm));
    Ok(runs)
}

fn one(recipe: &Recipe, path: &Path, stop: &StopFlag) -> Result<Outcome> {
    let settings = Settings { run_dir: path.to_path_buf(), threads: 1, ..Settings::default() };
    crate::run(recipe, &settings, &mut Silent, stop)
        .map_err(|problem| problem.context(format!("run `{}`", path.display())))
}

fn gather(arm: usize, seed: u64, path: &Path, outcome: &Outcome) -> Result<ArmRun> {
    let rows = read_rows(&path.join("metrics.jsonl"))?;
    let pass = match outcome.evaluations.last() {
        Some(last) => {
            let evaluation = evaluate::read(&evaluate::path_of(&path.join("evaluations"), last.step))?;
            evaluation.summary.pass.iter().map(|rate| (rate.k, rate.any.estimate)).collect()
        }
        None => Vec::new(),
    };
    Ok(ArmRun { arm, seed, rows, pass })
}

/// Does `work` on every item, `threads` at a time; answers are in the items' order. After a failure no further item is begun.
fn side_by_side<T: Sync, U: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<U> + Sync,
) -> Result<Vec<U>> {
    let next = AtomicUsize::new(0);
    let answers: Mutex<Vec<(usize, Result<U>)>> = Mutex::new(Vec::new());
    let failed = || {
        let answers = answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        answers.iter().any(|(_, answer)| answer.is_err())
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1).min(items.len()) {
            scope.spawn(|| {
                while !failed() {
                    let at = next.fetch_add(1, Ordering::SeqCst);
                    let Some(item) = items.get(at) else { break };
                    let answer = work(item);
                    answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((at, answer));
                }
            });
        }
    });
    let mut answers = answers.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    answers.sort_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_keep_the_order_of_the_items_and_a_failure_ends_it() {
        let items: Vec<u64> = (0..20).collect();
        assert_eq!(side_by_side(3, &items, |item| Ok(item * 2)).unwrap(), (0..20).map(|x| x * 2).collect::<Vec<_>>());
        let seen = AtomicUsize::new(0);
        let failing = |item: &u64| {
            seen.fetch_add(1, Ordering::SeqCst);
            if *item == 2 { Err(Problem::new(Kind::Failed, "S013", "two")) } else { Ok(*item) }
        };
        assert_eq!(side_by_side(1, &items, failing).unwrap_err().message(), "two");
        assert_eq!(seen.load(Ordering::SeqCst), 3);
    }
}
