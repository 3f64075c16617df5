//! An episode: a task, the records it changes, and who answers when the agent speaks.

use lapidary_core::Result;

use crate::python::{Raised, Value};
use crate::records::{Mode, Records};
use crate::reward::{Judgement, judge};
use crate::user::{STOP, User};
use crate::world::{Action, RESPOND, Task, World};

/// Actions that an agent has, as published.
pub const STEPS: usize = 30;

/// How an episode ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The user said that it is over.
    UserStopped,
    /// The agent handed over to a person.
    Transferred,
    /// The agent used all its actions.
    OutOfSteps,
}

/// A conversation under way.
#[derive(Debug)]
pub struct Episode<'w> {
    world: &'w World,
    task: &'w Task,
    records: Records,
    said: Vec<String>,
    steps: usize,
    most_steps: usize,
    end: Option<End>,
}

impl<'w> Episode<'w> {
    /// The start of a task.
    pub fn new(world: &'w World, task: &'w Task, mode: Mode, most_steps: usize) -> Self {
        Self { world, task, records: world.records(mode), said: Vec::new(), steps: 0, most_steps, end: None }
    }

    /// Does one thing: what the agent sees of it. After the end nothing happens any more and `None` comes back.
    ///
    /// What ends an episode: the user's [`STOP`], a tool that hands over, and as many actions as there may be.
    ///
    /// # Errors
    /// The user simulator failed; the episode is no data then, and its reward not 0 but unknown.
    pub fn act(&mut self, action: &Action, user: &mut dyn User) -> Result<Option<Value>> {
        if self.end.is_some() {
            return Ok(None);
        }
        self.steps += 1;
        let seen = if action.name == RESPOND {
            match action.said() {
                Some(content) => {
                    self.said.push(content.to_string());
                    let reply = user.answer(content)?;
                    if reply.contains(STOP) {
                        self.end = Some(End::UserStopped);
                    }
                    Value::str(reply)
                }
                None => Value::str("Error: `respond` needs a text as `content`"),
            }
        } else {
            let answer = self.world.apply(&mut self.records, action);
            if answer.is_ok() && self.world.domain.tool(&action.name).is_some_and(|tool| tool.ends) {
                self.end = Some(End::Transferred);
            }
            answer.unwrap_or_else(|Raised(words)| Value::str(format!("Error: {words}")))
        };
        if self.end.is_none() && self.steps >= self.most_steps {
            self.end = Some(End::OutOfSteps);
        }
        Ok(Some(seen))
    }

    /// How it ended, or `None` while it goes on.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Actions so far.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The records as they are now.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// The reward as the episode stands; one that still goes on counts as if the user said now that it is over.
    pub fn judge(&self) -> Judgement {
        judge(self.world, self.task, &self.records, &self.said, self.end.unwrap_or(End::UserStopped))
    }
}
