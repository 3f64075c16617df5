//! A recipe that moves a run away from what was found: a stage on the way, then one at the new values.

use lapidary_algo::{Objective, method};
use lapidary_core::Result;
use serde_json::Value;

use super::history::{History, Writer};
use super::knobs::{self, Change, Turn};
use super::{Diagnosis, Finding, Severity};
use crate::recipe::{Recipe, Rl, Stage};

/// Keys changed at once; more, and nobody knows which one helped.
const MOST_KEYS: usize = 4;
/// The stage on the way has this share of the steps.
const SHARE_ON_THE_WAY: f64 = 0.25;
/// Stands in for the recipe of another trainer's run.
const SKELETON: &str = "\
seed = 0
name = \"mended\"
model = \"tiny\"
[[stage]]
kind = \"rl\"
method = \"grpo\"
task = \"chain-sum\"
steps = 200
";

/// A recipe with its reasons.
#[derive(Clone, Debug)]
pub struct Remedy {
    /// The recipe as TOML, reasons as comments.
    pub toml: String,
    /// The changes that it makes.
    pub changes: Vec<Change>,
}

/// What the turns of a rule come to for a run.
pub(super) fn changes(turns: &[Turn], history: &History) -> Vec<Change> {
    let method = history.rl().map(|rl| rl.method.as_str());
    turns.iter().filter_map(|turn| turn.from(current(turn.key, history)?.as_deref(), method)).collect()
}

/// The value of a key as TOML: `Some(None)` where it is not known, `None` where such a run does not have the key.
fn current(key: &str, history: &History) -> Option<Option<String>> {
    let Some(rl) = history.rl() else {
        let learning_rate = history.get("learning_rate").map(super::Series::scale).filter(|rate| *rate > 0.0);
        return Some(learning_rate.filter(|_| key == "learning_rate").map(real));
    };
    value(key, rl)
}

/// The value of a key of a stage as TOML: `Some(None)` where it is off, `None` where its method does not have it.
fn value(key: &str, rl: &Rl) -> Option<Option<String>> {
    let of_method = knobs::find(key)?.of_method;
    let value = if of_method { settings(&rl.objective).get(key)?.clone() } else { of_stage(key, rl)? };
    Some(match value {
        Value::Null => None,
        Value::Number(number) => {
            number.as_f64().filter(|_| number.is_f64()).map_or(Some(number.to_string()), |number| Some(real(number)))
        }
        other => Some(other.to_string()),
    })
}

fn real(number: f64) -> String {
    if number != 0.0 && number.abs() < 1e-3 { format!("{number:e}") } else { format!("{number:?}") }
}

/// Every setting of an objective; one that is off has its neutral value.
fn settings(objective: &Objective) -> serde_json::Map<String, Value> {
    match serde_json::to_value(objective.settings()) {
        Ok(Value::Object(settings)) => settings,
        _ => serde_json::Map::new(),
    }
}

fn of_stage(key: &str, rl: &Rl) -> Option<Value> {
    let training = &rl.training;
    Some(match key {
        "method" => rl.method.clone().into(),
        "learning_rate" => training.learning_rate.into(),
        "warmup_steps" => training.warmup_steps.into(),
        "max_grad_norm" => training.max_grad_norm.map_or(Value::Null, Value::from),
        "samples_per_prompt" => rl.samples_per_prompt.into(),
        "max_new_tokens" => rl.max_new_tokens.into(),
        "temperature" => f64::from(rl.temperature).into(),
        "updates_per_rollout" => rl.updates_per_rollout.into(),
        "routing_replay" => serde_json::to_value(rl.routing_replay).ok()?,
        "truncated" => serde_json::to_value(rl.truncated).ok()?,
        _ => return None,
    })
}

/// The recipe against the findings of a diagnosis; `None` where none of them has a change.
///
/// It goes on from the newest intact checkpoint before the first sign. Of every key the first change (of the worst finding)
/// counts. Changes that would make no recipe are left out, so that what comes out can be run.
///
/// # Errors
/// A run's own recipe that cannot be read any more.
pub fn remedy(history: &History, diagnosis: &Diagnosis) -> Result<Option<Remedy>> {
    let treated = diagnosis.findings.iter().filter(|it| it.severity > Severity::Note && it.follows.is_none());
    let mut wanted: Vec<(&Finding, &'static Turn)> = Vec::new();
    for finding in treated {
        for turn in super::rule(finding.rule).map_or(&[] as &[Turn], |rule| rule.turns) {
            if !wanted.iter().any(|(_, known)| known.key == turn.key) {
                wanted.push((finding, turn));
            }
        }
    }
    if wanted.is_empty() {
        return Ok(None);
    }
    let base = base(history, diagnosis)?;
    let (mut recipe, mut kept) = (base.recipe.clone(), Vec::new());
    for (finding, turn) in wanted {
        if kept.len() < MOST_KEYS
            && let Some((turned, change)) = base.with(&recipe, turn)
        {
            recipe = turned;
            kept.push((finding, change));
        }
    }
    if kept.is_empty() {
        return Ok(None);
    }
    let toml = format!("{}{}", base.comment(history, &kept), recipe.to_toml());
    Ok(Some(Remedy { toml, changes: kept.into_iter().map(|(_, change)| change).collect() }))
}

/// Where a remedy begins: a recipe whose last two stages are the sick one, twice.
struct Base {
    recipe: Recipe,
    /// The first of the two.
    way: usize,
    /// What it starts from, in words.
    start: String,
}

fn base(history: &History, diagnosis: &Diagnosis) -> Result<Base> {
    let Some((recipe, at)) = &history.stage else {
        let rate = current("learning_rate", history).flatten().map(|rate| format!("stage.1.learning_rate={rate}"));
        let rate: Vec<String> = rate.into_iter().collect();
        let mut recipe = Recipe::load_text(std::path::Path::new("mended.toml"), SKELETON, &rate)?;
        recipe.stages.push(recipe.stages[0].clone());
        share_steps(&mut recipe, 0, 200);
        let start = "It runs as it is on a toy: put your model, task and rewards in".to_string();
        return Ok(Base { recipe, way: 0, start });
    };
    let mut recipe = recipe.clone();
    let onset = diagnosis.story().first().and_then(|finding| finding.since).unwrap_or(u64::MAX);
    let usable = |(step, _): &&(u64, std::path::PathBuf)| *step < onset && *step >= history.steps_before;
    let checkpoint = history.checkpoints.iter().rev().find(usable);
    let sick = recipe.stages[*at].clone();
    let before = if checkpoint.is_some() { Vec::new() } else { recipe.stages[..*at].to_vec() };
    let way = before.len();
    let done = checkpoint.map_or(0, |(step, _)| step - history.steps_before);
    let steps = sick.training().steps.saturating_sub(done).max(2);
    recipe.stages = before.into_iter().chain([sick.clone(), sick]).collect();
    recipe.name = format!("{}-mended", recipe.name);
    let start = match checkpoint {
        Some((step, path)) => {
            recipe.model = path.display().to_string();
            format!("It goes on from the checkpoint of step {step}, before the first sign")
        }
        None => "No checkpoint is older than the first sign, so it starts over".to_string(),
    };
    share_steps(&mut recipe, way, steps);
    Ok(Base { recipe, way, start })
}

fn share_steps(recipe: &mut Recipe, way: usize, steps: u64) {
    let first = ((steps as f64 * SHARE_ON_THE_WAY).round() as u64).clamp(1, steps - 1);
    for (at, steps) in [(way, first), (way + 1, steps - first)] {
        if let Stage::Rl(rl) = &mut recipe.stages[at] {
            rl.training.steps = steps;
            rl.training.warmup_steps = rl.training.warmup_steps.min(steps / 2);
        }
    }
}

impl Base {
    /// The recipe with one more change, half of the way in the first of the two stages, the whole in the second; `None` where
    /// nothing is to be changed or the change makes no recipe.
    fn with(&self, recipe: &Recipe, turn: &Turn) -> Option<(Recipe, Change)> {
        let path = std::path::Path::new("mended.toml");
        let Stage::Rl(rl) = recipe.stages.get(self.way)? else { return None };
        let change = turn.from(value(turn.key, rl)?.as_deref(), Some(&rl.method))?;
        if turn.key == "method" {
            return Some((self.with_method(recipe, change.to.trim_matches('"'))?, change));
        }
        let mut turned = recipe.clone();
        for (at, value) in [(self.way, change.halfway.as_ref().unwrap_or(&change.to)), (self.way + 1, &change.to)] {
            let assignment = format!("stage.{}.{}={value}", at + 1, change.key);
            turned = Recipe::load_text(path, &turned.to_toml(), &[assignment]).ok()?;
        }
        Some((turned, change))
    }

    /// Another method in the second stage, with its vetted defaults.
    fn with_method(&self, recipe: &Recipe, name: &str) -> Option<Recipe> {
        let mut recipe = recipe.clone();
        let Stage::Rl(rl) = recipe.stages.get_mut(self.way + 1)? else { return None };
        rl.objective = (method(name)?.defaults)();
        rl.method = name.to_string();
        Recipe::load_text(std::path::Path::new("mended.toml"), &recipe.to_toml(), &[]).ok()
    }

    /// Why the recipe is what it is.
    fn comment(&self, history: &History, kept: &[(&Finding, Change)]) -> String {
        let mut out = format!("# By `lapidary diagnose {}`.\n# {}.\n#\n", history.path.display(), self.start);
        if history.writer != Writer::Lapidary {
            out.push_str("# Values that the log does not say are the defaults of Lapidary.\n#\n");
        }
        out.push_str("# Changed, and against what (half of the way in the first of the last two stages):\n");
        for (finding, change) in kept {
            let from = change.from.as_deref().map_or(String::new(), |from| format!("{from} → "));
            let halfway = change.halfway.as_ref().map_or(String::new(), |halfway| format!("{halfway} → "));
            out.push_str(&format!("#   {} = {from}{halfway}{}   {}\n", change.key, change.to, finding.title));
        }
        out.push('\n');
        out
    }
}
