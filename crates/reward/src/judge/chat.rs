//! The judge's way to an endpoint, for others who need a chat model: deadlines, retries, and a key that is written nowhere.

use std::time::Duration;

use lapidary_core::{Kind, Problem, Result};
use serde_json::{Value, json};

use super::client::{Client, Failure, Patience};
use super::{INFO, endpoint, key};
use crate::options::{Options, Owner};

/// Seconds of one request, and of one question with its retries.
const TIMEOUT_S: (u64, u64) = (60, 180);
/// Further requests after the first.
const RETRIES: u32 = 3;

/// A chat model behind an endpoint that speaks OpenAI's chat completions.
pub struct ChatEndpoint {
    client: Client,
}

impl ChatEndpoint {
    /// A model at `url` (up to its version: `http://127.0.0.1:8000/v1`), sampled at temperature 0; `key` names the environment
    /// variable that holds the key.
    ///
    /// # Errors
    /// `Usage` `W011`: no address of an endpoint, or https in a build without it; `W012`: the variable holds no key.
    pub fn new(url: &str, model: &str, key_variable: Option<&str>) -> Result<Self> {
        let owner = Owner { what: "reward", name: INFO.name, unknown: "W002", wrong: "W003" };
        let given = json!({ "url": url, "model": model, "api_key_env": key_variable });
        let options = Options::check(owner, INFO.options, &given)?;
        let request = json!({ "model": model, "temperature": 0, "max_tokens": 1024 });
        let patience = Patience {
            timeout: Duration::from_secs(TIMEOUT_S.0),
            deadline: Duration::from_secs(TIMEOUT_S.1),
            retries: RETRIES,
            backoff: Duration::from_millis(500),
        };
        Ok(Self { client: Client::new(endpoint(&options)?, key(&options)?, request, patience, false) })
    }

    /// The model's next message after these `(role, content)`.
    ///
    /// # Errors
    /// `Failed` `W013`: no answer, or one that cannot be used.
    pub fn ask(&self, messages: &[(&'static str, String)]) -> Result<String> {
        let messages: Vec<Value> =
            messages.iter().map(|(role, content)| json!({ "role": role, "content": content })).collect();
        let seed = messages.len().to_string();
        self.client.ask(&Value::Array(messages), &seed).map_err(|failure| {
            let (Failure::Silent(reason) | Failure::Said(reason)) = failure;
            Problem::new(Kind::Failed, "W013", format!("the chat model gave no answer: {reason}"))
        })
    }
}
