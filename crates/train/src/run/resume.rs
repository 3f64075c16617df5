//! Where a run goes on: at its newest valid checkpoint, or at the beginning.

use lapidary_core::{Kind, Problem, Result};
use serde_json::json;

use super::Run;
use crate::bench::{Ear, Stopwatch};
use crate::checkpoint::Found;
use crate::evaluate::Evaluator;
use crate::journal::Journal;
use crate::model::LoadedModel;
use crate::plan::Plan;
use crate::prompts::Tasks;
use crate::recipe::Recipe;
use crate::rollouts;
use crate::run_dir::RunDirectory;
use crate::stage::Work;
use crate::state::RunState;
use crate::watch::Notice;

impl<'r, 'e, 'w> Run<'r, 'e, 'w> {
    /// Takes up the run that `directory` holds. Everything that was written after the checkpoint is cut off: it will be
    /// written again, the same.
    pub(super) fn resume(
        recipe: &'r Recipe,
        directory: RunDirectory,
        mut model: LoadedModel,
        (works, evaluator, tasks): (Vec<Box<dyn Work + 'r>>, Option<Evaluator>, Tasks),
        plan: Plan,
        ear: &'e Ear<'w>,
    ) -> Result<Self> {
        let checkpoints = directory.checkpoints();
        checkpoints.remove_stale()?;
        directory.best().remove_stale()?;
        let Found { step: found, skipped } = checkpoints.newest_valid()?;
        for skipped in &skipped {
            ear.notice(&Notice::Skipped(skipped));
        }
        let state = match &found {
            Some(step) => {
                let path = checkpoints.path_of(*step);
                let state = RunState::load(&path.join("state"))?;
                model.engine.restore(&path, &path.join("state"))?;
                state
            }
            None if !skipped.is_empty() => return Err(none_usable(&directory, &skipped)),
            None => RunState::default(),
        };
        if state.stage > recipe.stages.len() {
            return Err(Problem::new(Kind::Model, "S005", "the checkpoint is of a run with more stages"));
        }
        for skipped in &skipped {
            checkpoints.set_aside(&skipped.name)?;
        }
        checkpoints.prune(recipe.checkpoint.keep)?;
        for folder in [directory.rollouts(), directory.traces(), directory.evaluations()] {
            rollouts::cut_back(&folder, state.step)?;
        }
        let (mut journal, trouble) = Journal::open(&directory, state.metrics_bytes, state.step)?;
        if let Some(trouble) = &trouble {
            ear.notice(&Notice::Trouble(trouble));
        }
        for skipped in &skipped {
            journal.event("skipped", json!(skipped))?;
        }
        let event = if found.is_some() { "resumed" } else { "started" };
        journal.event(event, json!({ "step": state.step, "process": std::process::id(), "plan": plan }))?;
        if found.is_some() {
            ear.notice(&Notice::Resumed { step: state.step, path: &checkpoints.path_of(state.step) });
        }
        let saved = state.step;
        let (stopwatch, pace) = (Stopwatch::default(), (0, 0.0));
        Ok(Self {
            recipe,
            directory,
            model,
            works,
            tasks,
            evaluator,
            plan,
            state,
            journal,
            ear,
            stopwatch,
            saved,
            pace,
        })
    }
}

fn none_usable(directory: &RunDirectory, skipped: &[crate::checkpoint::Skipped]) -> Problem {
    let problem = Problem::new(
        Kind::Model,
        "S008",
        format!("none of the checkpoints in `{}` can be used", directory.path().join("checkpoints").display()),
    );
    let problem =
        skipped.iter().fold(problem, |problem, skipped| problem.why(format!("{}: {}", skipped.name, skipped.reason)));
    problem.hint("restore one of them, or start over with `--fresh`")
}
