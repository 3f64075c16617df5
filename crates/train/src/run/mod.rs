//! The loop. A run is a list of stages; what is done between two checkpoints is done again after a kill, to the same bytes.
//!
//! ```text
//! begin stage ─▶ step ─▶ metrics, rollouts ─▶ evaluation if due ─▶ checkpoint if due ─▶ …
//! ```

mod best;
mod conclude;
mod resume;
mod reward;
mod teacher;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use lapidary_core::{Kind, Problem, Result};
use lapidary_engine::ModelConfig;
use lapidary_eval::{Comparison, Evaluation};
use serde_json::json;

use crate::bench::{Bench, Ear, Stopwatch};
use crate::checkpoint::{commit_directory, verify};
use crate::classes;
use crate::disk::require_space;
use crate::evaluate::{self, Evaluator};
use crate::feedback;
use crate::journal::Journal;
use crate::metrics::Row;
use crate::model::{LoadedModel, load_for};
use crate::plan::Plan;
use crate::prompts::Tasks;
use crate::recipe::{Recipe, RoutingReplay, Stage};
use crate::reference::Reference;
use crate::reward_models;
use crate::rollouts;
use crate::run_dir::RunDirectory;
use crate::stage::{Asks, StepReport, Work, prepare};
use crate::state::{EvaluationRecord, RunState, WARNINGS_KEPT};
use crate::watch::{At, Notice, Phase, StopFlag, Watch};

/// How a recipe is run; nothing here changes a byte of the result.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where everything is written; made if absent, continued if not.
    pub run_dir: PathBuf,
    /// Threads that compute; 0 takes one per core.
    pub threads: usize,
    /// Removes what an earlier run left in `run_dir`.
    pub fresh: bool,
    /// Stops after the plan; writes nothing.
    pub dry_run: bool,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its directory.
    pub run_dir: PathBuf,
    /// The numbers that followed from the recipe.
    pub plan: Plan,
    /// Steps that are done; 0 for a dry run.
    pub step: u64,
    /// The newest checkpoint.
    pub checkpoint: Option<PathBuf>,
    /// All evaluations, in order.
    pub evaluations: Vec<EvaluationRecord>,
    /// What training changed.
    pub summary: Option<Summary>,
    /// The page with plots, where it could be written.
    pub report: Option<PathBuf>,
}

/// What training changed on held-out prompts.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Summary {
    /// Before the first rl stage; at the start where there is none.
    pub before: EvaluationRecord,
    /// After the last stage.
    pub after: EvaluationRecord,
    /// The change, paired by prompt; `None` where the answers are no longer at hand.
    pub comparison: Option<Comparison>,
}

/// Runs a recipe, or goes on with it.
///
/// # Errors
/// [`Kind::Interrupted`] after `stop` was requested: everything is saved, the same call goes on. [`Kind::Busy`] where another
/// process is at it or the disk is full. [`Kind::Diverged`] where a number is not finite. Others as they come.
pub fn run(recipe: &Recipe, settings: &Settings, watch: &mut dyn Watch, stop: &StopFlag) -> Result<Outcome> {
    let ear = Ear::new(watch);
    let mut tasks = Tasks::default();
    let recipe = &recipe.with_steps(&mut tasks)?;
    let directory = open_directory(recipe, settings, &ear)?;
    let recipe = &recipe.with_reward_models(&settings.run_dir);
    reward_models::install(settings.threads);
    let model = load_for(recipe, settings.threads)?;
    go(recipe, settings, directory, (model, tasks), &ear, stop)
}

/// As [`run`], with a model that is already there: an engine of your own, or a toy one in tests. The recipe's `[adapter]` is
/// yours to make then.
pub fn run_model(
    recipe: &Recipe,
    settings: &Settings,
    model: LoadedModel,
    watch: &mut dyn Watch,
    stop: &StopFlag,
) -> Result<Outcome> {
    let ear = Ear::new(watch);
    let mut tasks = Tasks::default();
    let recipe = &recipe.with_steps(&mut tasks)?;
    let directory = open_directory(recipe, settings, &ear)?;
    let recipe = &recipe.with_reward_models(&settings.run_dir);
    reward_models::install(settings.threads);
    go(recipe, settings, directory, (model, tasks), &ear, stop)
}

fn open_directory(recipe: &Recipe, settings: &Settings, ear: &Ear<'_>) -> Result<Option<RunDirectory>> {
    if settings.dry_run {
        return Ok(None);
    }
    ear.notice(&Notice::Directory { path: &settings.run_dir });
    RunDirectory::open(&settings.run_dir, &recipe.to_toml(), recipe.seed, settings.fresh).map(Some)
}

fn go(
    recipe: &Recipe,
    settings: &Settings,
    directory: Option<RunDirectory>,
    (model, mut tasks): (LoadedModel, Tasks),
    ear: &Ear<'_>,
    stop: &StopFlag,
) -> Result<Outcome> {
    let works =
        recipe.stages.iter().map(|stage| prepare(stage, &mut tasks, recipe.seed)).collect::<Result<Vec<_>>>()?;
    let evaluator = Evaluator::new(recipe, &mut tasks)?;
    let prompts = evaluator.as_ref().map_or(0, Evaluator::prompts);
    let shape = model.engine.model();
    check_shape(recipe, shape)?;
    let plan = Plan::of(recipe, shape, &model.tokenizer, &works, prompts, settings.threads)?;
    ear.notice(&Notice::Plan(&plan));
    let Some(directory) = directory else {
        let run_dir = settings.run_dir.clone();
        let (evaluations, summary) = (Vec::new(), None);
        return Ok(Outcome { run_dir, plan, step: 0, checkpoint: None, evaluations, summary, report: None });
    };
    let mut run = Run::resume(recipe, directory, model, (works, evaluator, tasks), plan, ear)?;
    let finished = run.stages(stop);
    run.conclude(finished)
}

/// What the stages ask of a model beyond a language head.
fn check_shape(recipe: &Recipe, model: &ModelConfig) -> Result<()> {
    if recipe.needs_value_head() && !model.value_head {
        return Err(Problem::new(Kind::Model, "M014", "the critic of this recipe needs a model with a value head")
            .hint("give the engine a value head before the run; `lapidary train` does it by itself"));
    }
    if recipe.needs_reward_head() && !model.reward_head {
        return Err(Problem::new(
            Kind::Model,
            "M050",
            "this recipe trains a reward model, and the model has no reward head",
        )
        .hint("give the engine a reward head before the run; `lapidary train` does it by itself"));
    }
    let replays = |stage: &&Stage| matches!(stage, Stage::Rl(rl) if rl.routing_replay != RoutingReplay::Off);
    match recipe.stages.iter().find(replays) {
        Some(stage) if model.experts.is_none() => {
            let message = format!("`{}` replays the routing of experts, but the model has none", stage.name());
            Err(Problem::new(Kind::Usage, "R023", message)
                .hint("remove `routing_replay`, or use a mixture-of-experts model"))
        }
        _ => Ok(()),
    }
}

/// Folder of a checkpoint's state that holds the moving mean of the weights.
const MEAN: &str = "mean";

struct Run<'r, 'e, 'w> {
    recipe: &'r Recipe,
    directory: RunDirectory,
    model: LoadedModel,
    works: Vec<Box<dyn Work + 'r>>,
    tasks: Tasks,
    evaluator: Option<Evaluator>,
    plan: Plan,
    state: RunState,
    journal: Journal,
    ear: &'e Ear<'w>,
    stopwatch: Stopwatch,
    /// Step of the newest checkpoint.
    saved: u64,
    /// Steps and seconds of this launch.
    pace: (u64, f64),
}

impl<'r, 'e, 'w> Run<'r, 'e, 'w> {
    /// Runs the stages; false where it was asked to stop before the end.
    fn stages(&mut self, stop: &StopFlag) -> Result<bool> {
        if self.state.step == 0 {
            self.evaluate(&self.start())?;
        }
        if self.state.stage_step > 0 {
            self.read_pairs()?;
        }
        self.resume_reference()?;
        self.resume_mean()?;
        while self.state.stage < self.recipe.stages.len() {
            if self.state.stage_step == 0 {
                self.begin_stage()?;
            }
            let (ended, worth_it) = self.step()?;
            let at = self.at();
            let ends = ended || at.stage_step == at.stage_steps;
            if ends {
                self.take_best()?;
                self.gather_pairs()?;
                self.keep_reward_model()?;
                self.state.stage += 1;
                self.state.stage_step = 0;
                self.state.reference = None;
            }
            if ends || worth_it || due(self.recipe.eval.every, at.stage_step) {
                self.evaluate(&at)?;
            }
            if ends || due(self.recipe.checkpoint.every, at.stage_step) || stop.requested() {
                self.save()?;
            }
            if stop.requested() && self.state.stage < self.recipe.stages.len() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The pairs of a self-feedback stage that has ended.
    fn gather_pairs(&self) -> Result<()> {
        let at = self.state.stage;
        if !matches!(self.recipe.stages[at], Stage::SelfFeedback(_)) {
            return Ok(());
        }
        let steps = self.state.step + 1 - self.state.stage_step..=self.state.step;
        feedback::gather(&self.directory.traces(), steps, &self.directory.pairs(at))
    }

    /// Makes a stage ready that learns from the pairs of an earlier one: they are there by now.
    fn read_pairs(&mut self) -> Result<()> {
        let Some(stage) = self.recipe.stages.get(self.state.stage) else { return Ok(()) };
        let Some(maker) = stage.task().pairs else { return Ok(()) };
        let path = self.directory.pairs(maker);
        let empty = std::fs::metadata(&path).map_err(|error| Problem::io("read", &path, &error))?.len() == 0;
        if empty {
            let message = format!("stage {} wrote no pairs, so there is nothing to learn from", maker + 1);
            return Err(Problem::new(Kind::Data, "D056", message)
                .why("it was sure enough of no answer, or of all alike")
                .hint("lower `min_confidence` of `[stage.ranking]`, or give the stage more questions"));
        }
        self.tasks.open_pairs(stage.task(), &path, self.recipe.seed)?;
        self.works[self.state.stage] = prepare(stage, &mut self.tasks, self.recipe.seed)?;
        Ok(())
    }

    /// A stage starts with a fresh optimiser and, where it has a KL term, with its weights frozen as the reference.
    fn begin_stage(&mut self) -> Result<()> {
        self.read_pairs()?;
        self.take_policy_back()?;
        self.model.engine.reset_optimizer();
        self.state.health = Default::default();
        self.state.surplus = Vec::new();
        self.state.curriculum = Default::default();
        self.state.difficulty = Default::default();
        self.state.temperature = Default::default();
        self.state.method = Default::default();
        self.state.early_stop = Default::default();
        self.state.one_shot = Default::default();
        self.state.hint = Default::default();
        self.state.interleave.begin_stage();
        self.state.memory = Default::default();
        self.state.comparison = Default::default();
        self.state.reference = None;
        self.set_policy_aside()?;
        if (self.needs_reference() && !self.starts_without_adapter()) || self.asks().mean {
            let path = self.directory.reference(self.state.stage);
            let parent = path.parent().unwrap_or(Path::new("."));
            std::fs::create_dir_all(parent).map_err(|error| Problem::io("make", parent, &error))?;
            require_space(parent, 4 * self.plan.trained_parameters, "the frozen reference model")?;
            let engine = &self.model.engine;
            let manifest = commit_directory(&path, self.state.step, |directory| engine.save_model(directory))?;
            self.state.reference = Some(manifest.blake3);
        }
        if self.asks().mean {
            let mean = (self.model.reopen)(&self.directory.reference(self.state.stage))?;
            self.works[self.state.stage].set_mean(mean);
        }
        self.resume_reference()?;
        self.ear.notice(&Notice::Stage(&self.next()));
        self.journal.event("stage", json!({ "stage": self.state.stage + 1, "name": self.next().stage_name }))
    }

    fn needs_reference(&self) -> bool {
        self.recipe.stages.get(self.state.stage).is_some_and(Stage::needs_reference) || self.asks().frozen
    }

    /// Which models the rewards of the stage ask.
    fn asks(&self) -> Asks {
        self.works.get(self.state.stage).map(|work| work.asks()).unwrap_or_default()
    }

    /// Whether the stage begins with adapters that say nothing yet: then the model without them is its reference.
    fn starts_without_adapter(&self) -> bool {
        self.recipe.adapter.is_some() && self.state.stage == 0 && !self.recipe.stages[0].samples_frozen()
    }

    /// Opens the reference that the state names.
    fn resume_reference(&mut self) -> Result<()> {
        self.open_teacher()?;
        if self.needs_reference() && self.starts_without_adapter() {
            self.works[self.state.stage].set_reference(Reference::WithoutAdapter);
            return Ok(());
        }
        let Some(expected) = &self.state.reference else {
            if self.needs_reference() && self.state.stage_step > 0 {
                let message = "the checkpoint does not say which frozen reference its stage measures against";
                return Err(Problem::new(Kind::Model, "S007", message).hint("start over with `--fresh`"));
            }
            return Ok(());
        };
        let path = self.directory.reference(self.state.stage);
        let found = verify(&path).and_then(|manifest| {
            if &manifest.blake3 == expected { Ok(()) } else { Err("it is that of another run".to_string()) }
        });
        found.map_err(|reason| {
            Problem::new(
                Kind::Model,
                "S007",
                format!("the frozen reference `{}` cannot be used: {reason}", path.display()),
            )
            .hint("restore the folder, or start over with `--fresh`")
        })?;
        let reference = Arc::from((self.model.reopen)(&path)?);
        self.works[self.state.stage].set_reference(Reference::Frozen(reference));
        Ok(())
    }

    /// Takes up the moving mean of the weights where the checkpoint left it.
    fn resume_mean(&mut self) -> Result<()> {
        if self.asks().mean && self.state.stage_step > 0 {
            let place = self.directory.checkpoints().path_of(self.state.step).join("state").join(MEAN);
            let mean = (self.model.reopen)(&place)?;
            self.works[self.state.stage].set_mean(mean);
        }
        Ok(())
    }

    /// Does a step; whether the work says that the stage is over, and whether its weights are worth an evaluation that is not due.
    fn step(&mut self) -> Result<(bool, bool)> {
        let started = Instant::now();
        let at = self.next();
        let work = &mut self.works[self.state.stage];
        let mut bench = Bench {
            engine: &mut *self.model.engine,
            tokenizer: &self.model.tokenizer,
            ear: self.ear,
            stopwatch: &self.stopwatch,
        };
        let placed = |problem: Problem| {
            let context = format!("step {} ({}, step {} of its stage)", at.step, at.stage_name, at.stage_step);
            if problem.kind() == Kind::Diverged { problem.context(context) } else { problem }
        };
        let mut report = work.step(&mut bench, &mut self.state).map_err(placed)?;
        let stop = report.stop.take();
        self.state.step += 1;
        self.state.stage_step += 1;
        if !report.samples.is_empty() {
            rollouts::write_lines(&rollouts::path_of(&self.directory.rollouts(), at.step), &report.samples)?;
        }
        if !report.traces.is_empty() {
            feedback::write(&self.directory.traces(), at.step, &report.traces)?;
        }
        let values = report.metrics.clone();
        self.row(&Row { step: at.step, stage: at.stage, stage_name: at.stage_name.clone(), values })?;
        if report.improved {
            self.keep_best()?;
        }
        self.tell_step(&at, &report, started.elapsed().as_secs_f64())?;
        stop.map_or(Ok((report.ends, report.evaluate)), |problem| Err(placed(problem)))
    }

    /// Timings go to events and to whoever watches; nothing of the result depends on them.
    fn tell_step(&mut self, at: &At, report: &StepReport, seconds: f64) -> Result<()> {
        self.pace = (self.pace.0 + 1, self.pace.1 + seconds);
        let tokens_per_second = report.tokens as f64 / seconds.max(1e-9);
        let remaining = at.steps - at.step;
        let example =
            report.samples.get(at.step as usize % report.samples.len().max(1)).map(rollouts::Sampled::example);
        self.ear.notice(&Notice::Step {
            at,
            metrics: &report.metrics,
            seconds,
            tokens_per_second,
            eta_seconds: self.pace.1 / self.pace.0 as f64 * remaining as f64,
            example: example.as_ref(),
        });
        let laps: serde_json::Map<String, serde_json::Value> = self
            .stopwatch
            .laps()
            .into_iter()
            .map(|(phase, seconds)| (phase.name().to_string(), json!(seconds)))
            .collect();
        let fields =
            json!({ "step": at.step, "seconds": seconds, "phases": laps, "tokens_per_second": tokens_per_second });
        self.journal.event("step", fields)?;
        for transition in &report.transitions {
            self.ear.notice(&Notice::Switch(transition));
            self.journal.event("switch", json!(transition))?;
        }
        for warning in &report.warnings {
            self.ear.notice(&Notice::Warning(warning));
            self.journal.event("warning", json!(warning))?;
            self.state.warnings.push(warning.clone());
        }
        let surplus = self.state.warnings.len().saturating_sub(WARNINGS_KEPT);
        self.state.warnings.drain(..surplus);
        Ok(())
    }

    /// Evaluates, unless these weights were evaluated already.
    fn evaluate(&mut self, at: &At) -> Result<()> {
        let Some(evaluator) = &self.evaluator else { return Ok(()) };
        if self.is_reward_model(at.stage.wrapping_sub(1)) {
            return Ok(());
        }
        if self.state.evaluations.last().is_some_and(|last| last.step == self.state.step) {
            return Ok(());
        }
        let started = Instant::now();
        let evaluation = evaluator.evaluate(&*self.model.engine, &self.model.tokenizer, self.ear)?;
        evaluate::write(&evaluate::path_of(&self.directory.evaluations(), at.step), &evaluation)?;
        let second = evaluator.again(&*self.model.engine, &self.model.tokenizer, &evaluation, self.ear)?;
        let (mut row, record) = evaluate::record(&evaluation, (at.step, at.stage, &at.stage_name));
        if let Some(second) = &second {
            evaluate::write(&evaluate::second_path_of(&self.directory.evaluations(), at.step), second)?;
            row = evaluate::turned(&evaluation, second, row);
        }
        if let Some(first) = self.first_evaluation() {
            row = classes::add(row, &first, &evaluation);
        }
        let row = self.state.one_shot.record(row, &evaluation, &record);
        let evaluation = record;
        self.row(&row)?;
        let seconds = started.elapsed().as_secs_f64();
        self.journal
            .event("evaluation", json!({ "step": at.step, "accuracy": evaluation.accuracy, "seconds": seconds }))?;
        self.ear.notice(&Notice::Evaluation(&evaluation));
        self.state.evaluations.push(evaluation);
        Ok(())
    }

    /// The evaluation of the model that the run began with, where it is at hand.
    fn first_evaluation(&self) -> Option<Evaluation> {
        evaluate::read(&evaluate::path_of(&self.directory.evaluations(), 0)).ok()
    }

    /// The place of the step that was done last.
    fn at(&self) -> At {
        let stage = &self.recipe.stages[self.state.stage];
        At {
            step: self.state.step,
            steps: self.plan.steps(),
            stage: self.state.stage + 1,
            stage_name: stage.name().to_string(),
            stage_step: self.state.stage_step,
            stage_steps: stage.training().steps,
        }
    }

    /// The place of the step that comes next.
    fn next(&self) -> At {
        let at = self.at();
        At { step: at.step + 1, stage_step: at.stage_step + 1, ..at }
    }

    /// The place before everything.
    fn start(&self) -> At {
        let name = "start".to_string();
        At { step: 0, steps: self.plan.steps(), stage: 0, stage_name: name, stage_step: 0, stage_steps: 0 }
    }

    fn row(&mut self, row: &Row) -> Result<()> {
        for trouble in self.journal.row(row)? {
            self.ear.notice(&Notice::Trouble(&trouble));
        }
        Ok(())
    }

    /// Writes a checkpoint; the logs that it counts on are made durable first.
    fn save(&mut self) -> Result<()> {
        let started = Instant::now();
        self.ear.notice(&Notice::Progress { phase: Phase::Save, done: 0, total: 1 });
        self.state.metrics_bytes = self.journal.sync()?;
        for folder in [self.directory.rollouts(), self.directory.traces()] {
            rollouts::sync(&folder, self.saved + 1, self.state.step)?;
        }
        let checkpoints = self.directory.checkpoints();
        let (model, state, works) = (&self.model, &self.state, &self.works);
        let manifest = checkpoints.commit(state.step, self.plan.checkpoint_bytes, |directory| {
            model.engine.save_model(directory)?;
            model.tokenizer.save(directory)?;
            let inner = directory.join("state");
            std::fs::create_dir(&inner).map_err(|error| Problem::io("make", &inner, &error))?;
            state.save(&inner)?;
            if let Some(mean) = works.get(state.stage).and_then(|work| work.mean()) {
                let place = inner.join(MEAN);
                std::fs::create_dir(&place).map_err(|error| Problem::io("make", &place, &error))?;
                mean.save_model(&place)?;
            }
            reward::describe(state, directory)?;
            model.engine.save_optimizer(&inner)
        })?;
        checkpoints.prune(self.recipe.checkpoint.keep)?;
        self.prune_best()?;
        self.saved = self.state.step;
        let (path, bytes, seconds) =
            (checkpoints.path_of(self.saved), manifest.bytes(), started.elapsed().as_secs_f64());
        self.journal.event("saved", json!({ "step": self.saved, "bytes": bytes, "seconds": seconds }))?;
        self.ear.notice(&Notice::Saved { path: &path, bytes, seconds });
        Ok(())
    }
}

/// Whether something that is done every `every` steps (0: never) is due after `step` steps.
fn due(every: u64, step: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}
