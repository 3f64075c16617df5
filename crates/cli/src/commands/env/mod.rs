//! `lapidary env`: worlds that an agent acts in.

mod play;
mod run;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use lapidary_core::{Kind, Problem, Result};
use lapidary_world::{DATA_VARIABLE, Mode, PUBLISHED, Published, World, data_folder, floor};
use serde_json::json;

use super::did_you_mean;
use crate::output::Output;
use crate::stop::Outcome;

/// Worlds that an agent acts in: list them, score actions, or act oneself
#[derive(Debug, Subcommand)]
#[command(before_help = "Example: lapidary env run tau-retail --input actions.jsonl --json")]
pub enum Env {
    List(List),
    Run(run::Run),
    Play(play::Play),
}

/// List the worlds with their tasks, their tools and what doing nothing earns
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary env list")]
pub struct List {
    /// The folder that holds TAU-bench's files [default: $LAPIDARY_DATA]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

/// Which world, and how its rules are read.
#[derive(Args, Debug)]
struct Choice {
    /// A name of `lapidary env list`
    name: String,
    /// The split of its tasks [default: the first of the world]
    #[arg(long)]
    split: Option<String>,
    /// The folder that holds TAU-bench's files [default: $LAPIDARY_DATA]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// The published rules, byte for byte, or the mended ones
    #[arg(long, value_enum, default_value = "compat")]
    mode: Rules,
}

/// How the published rules are read.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Rules {
    /// As published
    Compat,
    /// With the quirks mended
    Fixed,
}

impl Choice {
    fn mode(&self) -> Mode {
        match self.mode {
            Rules::Compat => Mode::Compat,
            Rules::Fixed => Mode::Fixed,
        }
    }

    fn world(&self) -> Result<World> {
        world(&self.name, self.split.as_deref(), self.data.as_deref())
    }
}

/// The world of a name.
fn world(name: &str, split: Option<&str>, data: Option<&Path>) -> Result<World> {
    let Some(published) = Published::named(name) else {
        let known: Vec<&str> = PUBLISHED.iter().map(|world| world.name).collect();
        return Err(
            Problem::new(Kind::Usage, "E000", format!("there is no world `{name}`")).hint(did_you_mean(name, &known))
        );
    };
    published.load(&data_folder(data)?, split.unwrap_or(published.splits[0]))
}

impl Env {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Outcome {
        match self {
            Env::List(verb) => verb.run(output),
            Env::Run(verb) => verb.run(output),
            Env::Play(verb) => verb.run(output),
        }
    }
}

impl List {
    fn run(&self, output: &mut Output) -> Outcome {
        let folder = data_folder(self.data.as_deref()).ok();
        let mut rows = Vec::new();
        for published in PUBLISHED {
            for split in published.splits {
                let world = folder.as_deref().map(|folder| published.load(folder, split)).transpose()?;
                let tasks = world.as_ref().map(|world| world.tasks.len());
                let floor = world.as_ref().map(|world| floor(world, Mode::Compat).1);
                if output.json {
                    output.json(&json!({
                        "name": published.name, "split": split, "tools": published.domain.tools().len(),
                        "tasks": tasks, "solved_by_doing_nothing": floor,
                    }))?;
                    continue;
                }
                let number = |number: Option<usize>| number.map_or("?".into(), |number| number.to_string());
                rows.push(vec![
                    published.name.to_string(),
                    (*split).to_string(),
                    published.domain.tools().len().to_string(),
                    number(tasks),
                    number(floor),
                ]);
            }
        }
        if !output.json {
            output.table(&["world", "split", "tools", "tasks", "solved by doing nothing"], rows)?;
            if folder.is_none() {
                output.note(format!("set {DATA_VARIABLE} to the folder that holds `tau_bench` to see the tasks"));
            }
        }
        Ok(())
    }
}
