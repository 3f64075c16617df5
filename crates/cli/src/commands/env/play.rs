//! `lapidary env play`: a person acts.

use std::io::BufRead;

use clap::Args;
use lapidary_core::{Kind, Problem, Result};
use lapidary_reward::ChatEndpoint;
use lapidary_world::python::{Value, parse, text};
use lapidary_world::{Action, Episode, Played, STEPS, STOP, Speaker, Task, User, World};

use super::Choice;
use crate::output::{Output, theme};
use crate::stop::Outcome;

/// Act in a world yourself: call tools, answer the user, see the reward
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary env play tau-retail --task retail_test_0")]
pub struct Play {
    #[command(flatten)]
    choice: Choice,
    /// The id of the task [default: the first of the split]
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    /// Let a chat model play the user: the endpoint up to its version, http://127.0.0.1:8000/v1
    #[arg(long, value_name = "URL", requires = "model")]
    url: Option<String>,
    /// The name of that model
    #[arg(long)]
    model: Option<String>,
    /// The environment variable that holds its key
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
}

const HELP: &str = "Call a tool with its name and arguments: get_user_details {\"user_id\": \"…\"}\n\
                    Say something to the user:  say TEXT\n\
                    See again:  policy  tools  help      End:  stop";

impl Play {
    pub(super) fn run(&self, output: &mut Output) -> Outcome {
        let world = self.choice.world()?;
        let task = match &self.task {
            Some(id) => world.task(id)?,
            None => world.tasks.first().ok_or_else(|| Problem::new(Kind::Data, "E006", "this split has no tasks"))?,
        };
        let mut user: Box<dyn User> = match &self.url {
            Some(url) => {
                let model = ChatEndpoint::new(url, self.model.as_deref().unwrap_or_default(), self.key.as_deref())?;
                Box::new(Played::new(Endpoint(model), &task.instruction))
            }
            None => Box::new(Person),
        };
        output.line(&world.policy)?;
        show_tools(&world, output)?;
        output.line(format!("\n{}\n{}\n\n{HELP}", theme::bold("What the user wants"), task.instruction))?;
        output.flush()?;
        let first = user.begin()?;
        output.line(format!("\nuser: {first}"))?;
        self.converse(&world, task, user.as_mut(), output)
    }

    fn converse(&self, world: &World, task: &Task, user: &mut dyn User, output: &mut Output) -> Outcome {
        let mut episode = Episode::new(world, task, self.choice.mode(), STEPS);
        while episode.end().is_none() {
            output.line(format!("[{} of {STEPS}]", episode.steps() + 1))?;
            output.flush()?;
            let Some(line) = typed()? else { break };
            let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
            let action = match word {
                "" => continue,
                "stop" => break,
                "help" => {
                    output.line(HELP)?;
                    continue;
                }
                "policy" => {
                    output.line(&world.policy)?;
                    continue;
                }
                "tools" => {
                    show_tools(world, output)?;
                    continue;
                }
                "say" => Action::respond(rest),
                tool => match arguments(tool, rest) {
                    Ok(action) => action,
                    Err(what) => {
                        output.line(format!("{what}\n{HELP}"))?;
                        continue;
                    }
                },
            };
            let seen = episode.act(&action, user)?.unwrap_or(Value::None);
            let seen = seen.as_str().map_or_else(|| text(&seen), str::to_string);
            output.line(if word == "say" { format!("user: {seen}") } else { seen })?;
        }
        let judgement = episode.judge();
        output.line(theme::bold(format!("reward {}", judgement.reward)))?;
        if judgement.reason.is_empty() { Ok(()) } else { output.line(judgement.reason) }
    }
}

fn show_tools(world: &World, output: &mut Output) -> Outcome {
    let row = |tool: &lapidary_world::Tool| {
        let parameters: Vec<&str> = tool.parameters.iter().map(|parameter| parameter.name).collect();
        vec![tool.name.to_string(), parameters.join(", "), tool.summary.to_string()]
    };
    output.table(&["tool", "arguments", "what it does"], world.domain.tools().iter().map(row))
}

/// A call as a person writes it.
fn arguments(tool: &str, json: &str) -> Result<Action, String> {
    let json = if json.trim().is_empty() { "{}" } else { json };
    match parse(json) {
        Ok(Value::Dict(kwargs)) => Ok(Action { name: tool.into(), kwargs: (*kwargs).clone() }),
        Ok(_) => Err("the arguments of a tool are a JSON table".into()),
        Err((at, what)) => Err(format!("the arguments are no JSON: {what} at character {at}")),
    }
}

/// A line from the terminal; none at its end.
fn typed() -> Result<Option<String>> {
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(0) => Ok(None),
        Ok(_) => Ok(Some(line.trim().to_string())),
        Err(error) => Err(Problem::io("read", std::path::Path::new("<stdin>"), &error)),
    }
}

/// The user is the person too: types the user's part.
struct Person;

impl User for Person {
    fn begin(&mut self) -> Result<String> {
        Ok("(you answer for the user as well; `stop` as the user's answer ends the conversation)".into())
    }

    fn answer(&mut self, _: &str) -> Result<String> {
        let said = typed()?.unwrap_or_else(|| STOP.into());
        Ok(if said == "stop" { STOP.into() } else { said })
    }
}

struct Endpoint(ChatEndpoint);

impl Speaker for Endpoint {
    fn say(&mut self, messages: &[(&'static str, String)]) -> Result<String> {
        self.0.ask(messages)
    }
}
