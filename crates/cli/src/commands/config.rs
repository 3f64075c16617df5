//! `lapidary config`: recipes without a run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use lapidary_train::recipe::{Recipe, json_schema};
use serde_json::json;

use crate::output::Output;
use crate::report;
use crate::stop::{Outcome, Stop};

/// Look at recipes: their schema, their resolved values, their mistakes, their differences
#[derive(Debug, Subcommand)]
#[command(before_help = "Example: lapidary config check recipes/*.toml")]
pub enum Config {
    Schema(Schema),
    Show(Show),
    Check(Check),
    Diff(Diff),
}

/// Print the JSON schema of a recipe, for editors
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary config schema > lapidary.schema.json")]
pub struct Schema {}

/// Print a recipe as it is resolved: every key, every default
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary config show recipes/quickstart.toml --set stage.rl.steps=50 --origin")]
pub struct Show {
    /// The recipe
    recipe: PathBuf,
    /// Override a key of the recipe: stage.rl.steps=50, stage.1.task=countdown, model=DIR
    #[arg(short, long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Say where every value comes from: the line of the file, an override, or the default
    #[arg(long)]
    origin: bool,
}

/// Check recipes without running them
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary config check recipes/*.toml")]
pub struct Check {
    /// The recipes
    #[arg(required = true)]
    recipes: Vec<PathBuf>,
    /// Override a key of every recipe
    #[arg(short, long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Print the keys in which two resolved recipes differ
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary config diff recipes/grpo.toml runs/grpo/recipe.toml")]
pub struct Diff {
    /// One recipe
    left: PathBuf,
    /// The other
    right: PathBuf,
}

impl Config {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Outcome {
        match self {
            Config::Schema(_) => output.line(format!("{:#}", json_schema())),
            Config::Show(verb) => verb.run(output),
            Config::Check(verb) => verb.run(output),
            Config::Diff(verb) => verb.run(output),
        }
    }
}

impl Show {
    fn run(&self, output: &mut Output) -> Outcome {
        let (recipe, origins) = Recipe::load_with_origins(&self.recipe, &self.set)?;
        if output.json {
            for key in origins {
                output.json(&json!({ "key": key.key, "value": key.value, "origin": key.origin }))?;
            }
            return Ok(());
        }
        if self.origin {
            let rows = origins.into_iter().map(|key| vec![key.key, key.value, key.origin]);
            return output.table(&["key", "value", "from"], rows);
        }
        output.text(&recipe.to_toml())
    }
}

impl Check {
    fn run(&self, output: &mut Output) -> Outcome {
        let mut worst = None;
        for path in &self.recipes {
            let shown = path.to_string_lossy();
            match Recipe::load(path, &self.set) {
                Ok(recipe) if output.json => {
                    output.json(&json!({ "recipe": shown, "ok": true, "name": recipe.name }))?
                }
                Ok(recipe) => output.line(format!("{shown}: ok ({})", summary(&recipe)))?,
                Err(problem) => {
                    worst = Some(problem.kind());
                    output.flush()?;
                    report::problem(&problem, output.json);
                }
            }
        }
        match worst {
            Some(kind) => Err(Stop::Said(kind)),
            None => Ok(()),
        }
    }
}

/// `sft 200 steps, gspo 100 steps`.
fn summary(recipe: &Recipe) -> String {
    let stages = recipe.stages.iter().map(|stage| format!("{} {}", stage.name(), stage.length()));
    stages.collect::<Vec<_>>().join(", ")
}

impl Diff {
    fn run(&self, output: &mut Output) -> Outcome {
        let values = |path: &PathBuf| -> Outcome<BTreeMap<String, String>> {
            let (_, origins) = Recipe::load_with_origins(path, &[])?;
            Ok(origins.into_iter().map(|key| (key.key, key.value)).collect())
        };
        let (left, right) = (values(&self.left)?, values(&self.right)?);
        let mut keys: Vec<&String> = left.keys().chain(right.keys()).collect();
        keys.sort();
        keys.dedup();
        let differing = keys.into_iter().filter(|key| left.get(*key) != right.get(*key));
        if output.json {
            for key in differing {
                output.json(&json!({ "key": key, "left": left.get(key), "right": right.get(key) }))?;
            }
            return Ok(());
        }
        let value =
            |side: &BTreeMap<String, String>, key: &String| side.get(key).cloned().unwrap_or_else(|| "—".into());
        let rows: Vec<Vec<String>> =
            differing.map(|key| vec![key.clone(), value(&left, key), value(&right, key)]).collect();
        if rows.is_empty() {
            output.note("no difference");
            return Ok(());
        }
        let (left, right) = (self.left.to_string_lossy(), self.right.to_string_lossy());
        output.table(&["key", &left, &right], rows)
    }
}
