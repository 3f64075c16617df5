//! Who answers when the agent speaks.

use lapidary_core::Result;

/// What a user says when everything is done: the episode ends.
pub const STOP: &str = "###STOP###";

/// A user. One that fails is an error, never an answer: the episode is no data then.
pub trait User {
    /// What the user says first.
    ///
    /// # Errors
    /// There is nobody to answer.
    fn begin(&mut self) -> Result<String>;

    /// What the user says to what the agent said.
    ///
    /// # Errors
    /// There is nobody to answer.
    fn answer(&mut self, said: &str) -> Result<String>;
}

/// A user of whom nothing is known: for replaying recorded actions. Says nothing, and [`STOP`] after so many messages.
#[derive(Clone, Copy, Debug)]
pub struct Silent {
    /// Messages of the agent until the user says [`STOP`]; 0 is never.
    pub messages: usize,
}

impl User for Silent {
    fn begin(&mut self) -> Result<String> {
        Ok(String::new())
    }

    fn answer(&mut self, _: &str) -> Result<String> {
        let last = self.messages == 1;
        self.messages = self.messages.saturating_sub(1);
        Ok(if last { STOP.into() } else { String::new() })
    }
}

/// A chat model: the words of the next message after these `(role, content)`.
pub trait Speaker {
    /// The next message.
    ///
    /// # Errors
    /// The model did not answer.
    fn say(&mut self, messages: &[(&'static str, String)]) -> Result<String>;
}

/// A user played by a chat model, which is told what the user wants and how users behave.
#[derive(Debug)]
pub struct Played<S> {
    speaker: S,
    messages: Vec<(&'static str, String)>,
}

impl<S: Speaker> Played<S> {
    /// A user who wants what `instruction` says.
    pub fn new(speaker: S, instruction: &str) -> Self {
        Self { speaker, messages: vec![("system", direction(instruction))] }
    }

    fn hear(&mut self, said: &str) -> Result<String> {
        self.messages.push(("user", said.to_string()));
        let reply = self.speaker.say(&self.messages)?;
        self.messages.push(("assistant", reply.clone()));
        Ok(reply)
    }
}

impl<S: Speaker> User for Played<S> {
    fn begin(&mut self) -> Result<String> {
        self.hear("Hi! How can I help you today?")
    }

    fn answer(&mut self, said: &str) -> Result<String> {
        self.hear(said)
    }
}

/// What the model is told: τ-bench's rules for its user, and those that GLM-4.5 adds (arXiv 2508.06471, figure 11), in our words.
fn direction(instruction: &str) -> String {
    format!(
        "You play a customer who talks to a service agent.\n\nWhat you want:\n{instruction}\n\nHow you play:\n\
         - Write one short message at a time, as the customer, in your own words.\n\
         - Say only what the present question needs; keep the rest for when it is asked for.\n\
         - What is not written above you do not know. If you are asked for it, say that you do not remember and offer what you do know.\n\
         - Do not loosen or tighten what you want: a budget, a date, and `the same` instead of `similar` stay as they are.\n\
         - What is not mentioned above does not matter to you: leave it to the agent.\n\
         - Go on until everything you want is done and confirmed. If the agent hands you over to a person, accept it.\n\
         - When you are finished, answer with {STOP} and nothing else."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo(usize);

    impl Speaker for Echo {
        fn say(&mut self, messages: &[(&'static str, String)]) -> Result<String> {
            self.0 += 1;
            Ok(format!("{} messages, last {:?}", messages.len(), messages.last().map(|last| last.1.as_str())))
        }
    }

    #[test]
    fn a_played_user_hears_the_agent_as_its_user() {
        let mut user = Played::new(Echo(0), "You want tea.");
        assert!(user.messages[0].1.contains("You want tea."));
        assert_eq!(user.begin().unwrap(), "2 messages, last Some(\"Hi! How can I help you today?\")");
        assert_eq!(user.answer("Which?").unwrap(), "4 messages, last Some(\"Which?\")");
        let roles: Vec<&str> = user.messages.iter().map(|message| message.0).collect();
        assert_eq!(roles, ["system", "user", "assistant", "user", "assistant"]);
    }

    #[test]
    fn a_silent_user_stops_when_told() {
        let mut user = Silent { messages: 2 };
        assert_eq!([user.answer("a").unwrap(), user.answer("b").unwrap(), user.answer("c").unwrap()], ["", STOP, ""]);
    }
}
