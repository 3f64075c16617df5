//! `lapidary env run`: recorded actions played and scored.

use std::path::PathBuf;

use clap::Args;
use lapidary_core::{Kind, Problem, Result};
use lapidary_reward::jsonl::Line;
use lapidary_world::python::{Value, parse, text};
use lapidary_world::{Action, End, Episode, RESPOND, STEPS, Silent, World, floor, kind_of};
use serde_json::json;

use super::Choice;
use crate::input;
use crate::output::{Output, theme};
use crate::stop::Outcome;

/// Play recorded actions and score how they end
///
/// A line of input is {"task_id": "retail_test_0", "actions": [{"name": "…", "kwargs": {…}}]}; a number as task_id counts the tasks of
/// the split from 0. What the agent says is {"name": "respond", "kwargs": {"content": "…"}}; the user is taken to end the conversation
/// after the last action. With --json a line of output is {"reward": 0 or 1, "hash": "…", "observations": […], …}.
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary env run tau-retail --split test --input actions.jsonl --json")]
pub struct Run {
    #[command(flatten)]
    choice: Choice,
    /// JSON lines; - is stdin
    #[arg(short, long, default_value = "-", value_name = "FILE")]
    input: PathBuf,
    /// Actions that an agent has; one that does not end within them earns 0
    #[arg(long, default_value_t = STEPS, value_parser = steps, value_name = "N")]
    most_steps: usize,
}

fn steps(text: &str) -> Result<usize, String> {
    super::super::count(text)
}

impl Run {
    pub(super) fn run(&self, output: &mut Output) -> Outcome {
        let world = self.choice.world()?;
        let (mut rows, mut solved, mut count) = (Vec::new(), 0, 0);
        for line in input::lines(&self.input, output)? {
            let (id, actions) = recorded(&line?, &world)?;
            let played = self.play(&world, &id, &actions)?;
            count += 1;
            solved += usize::from(played["reward"] == 1);
            if output.json {
                output.json(&played)?;
                output.flush()?;
            } else {
                rows.push(vec![id, played["reward"].to_string(), played["reason"].as_str().unwrap_or_default().into()]);
            }
        }
        let idle = floor(&world, self.choice.mode()).1;
        let floor = format!("doing nothing solves {idle} of the {} tasks", world.tasks.len());
        if output.json {
            output.note(floor);
            return Ok(());
        }
        output.table(&["task", "reward", "why not"], rows)?;
        output.line(theme::bold(format!("{solved} of {count} solved; {floor}")))
    }

    fn play(&self, world: &World, id: &str, actions: &[Action]) -> Result<serde_json::Value> {
        let task = world.task(id)?;
        let mut episode = Episode::new(world, task, self.choice.mode(), self.most_steps);
        let said = actions.iter().filter(|action| action.said().is_some()).count();
        let last_speaks = actions.last().is_some_and(|action| action.said().is_some());
        let mut user = Silent { messages: if last_speaks { said } else { 0 } };
        let mut seen = Vec::with_capacity(actions.len());
        for action in actions {
            let Some(observation) = episode.act(action, &mut user)? else { break };
            seen.push(match observation {
                Value::Str(text) => json!(&*text),
                other => serde_json::from_str(&text(&other)).unwrap_or_default(),
            });
        }
        let judgement = episode.judge();
        Ok(json!({
            "task_id": id,
            "reward": judgement.reward,
            "hash": judgement.hash,
            "gold_hash": judgement.gold_hash,
            "observations": seen,
            "end": match episode.end() {
                Some(End::UserStopped) | None => "user",
                Some(End::Transferred) => "transfer",
                Some(End::OutOfSteps) => "steps",
            },
            "reason": judgement.reason,
        }))
    }
}

/// The task and the actions of a line.
fn recorded(line: &Line, world: &World) -> Result<(String, Vec<Action>)> {
    let wrong = |what: &str| {
        let message = format!("line {} holds no recorded actions: {what}", line.number);
        Problem::new(Kind::Data, "E010", message).at(line.place(0, 1, what)).hint(format!(
            "write {{\"task_id\": \"…\", \"actions\": [{{\"name\": \"{RESPOND}\", \"kwargs\": {{…}}}}]}}"
        ))
    };
    let value =
        parse(&line.text).map_err(|(at, what)| {
            Problem::new(Kind::Data, "D002", format!("line {} is not a JSON object: {what}", line.number))
                .at(line.place(at, at + 1, what))
        })?;
    let id = match value.get("task_id") {
        Some(Value::Str(id)) => id.to_string(),
        Some(number @ Value::Int(_)) => {
            let index = number.number().filter(|number| *number >= 0.0).map(|number| number as usize);
            match index.and_then(|index| world.tasks.get(index)) {
                Some(task) => task.id.clone(),
                None => return Err(wrong(&format!("there are {} tasks, from 0", world.tasks.len()))),
            }
        }
        Some(other) => return Err(wrong(&format!("`task_id` must be a text or a number, got {}", kind_of(other)))),
        None => return Err(wrong("there is no `task_id`")),
    };
    world.task(&id).map_err(|problem| problem.at(line.place(0, 1, "this line")))?;
    let Some(Value::List(actions)) = value.get("actions") else {
        return Err(wrong("`actions` must be a list of actions"));
    };
    let actions = actions.iter().map(Action::read).collect::<Result<Vec<_>, _>>().map_err(|what| wrong(&what))?;
    Ok((id, actions))
}
