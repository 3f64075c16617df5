//! One question to an endpoint: deadlines, retries, and replies that are not believed until they are read.

use std::time::{Duration, Instant};

use lapidary_core::{Key, Purpose};
use serde_json::{Value, json};
use ureq::Agent;

use crate::find::shorten;
use crate::json::read;

/// A longer reply is not from a judge.
const LONGEST_REPLY: u64 = 4 << 20;
/// Longest wait between two requests.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long, and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) timeout: Duration,
    pub(super) deadline: Duration,
    pub(super) retries: u32,
    pub(super) backoff: Duration,
}

/// Why there is no reply.
#[derive(Debug)]
pub(super) enum Failure {
    /// The endpoint did not answer, or with errors alone.
    Silent(String),
    /// It answered, but nothing that can be used.
    Said(String),
}

/// An endpoint. There is no `Debug`: it holds a key.
pub(super) struct Client {
    agent: Agent,
    url: String,
    key: Option<String>,
    request: Value,
    patience: Patience,
    any_model: bool,
}

/// What one request came to.
enum Tried {
    Reply(String),
    /// Another request may do better, after a while that the endpoint may have named.
    Again(String, Option<Duration>),
    Over(Failure),
}

impl Client {
    pub(super) fn new(url: String, key: Option<String>, request: Value, patience: Patience, any_model: bool) -> Self {
        // A redirect would carry the key to somebody else; a proxy of the environment too.
        let config = Agent::config_builder().http_status_as_error(false).max_redirects(0).proxy(None);
        Self { agent: config.build().into(), url, key, request, patience, any_model }
    }

    /// Asks; `completion` sets the jitter of the waits, so that equal runs wait equally.
    pub(super) fn ask(&self, messages: &Value, completion: &str) -> Result<String, Failure> {
        let started = Instant::now();
        let left = || self.patience.deadline.saturating_sub(started.elapsed());
        let mut body = self.request.clone();
        body["messages"] = messages.clone();
        let body = body.to_string();
        let key = Key::new(0, Purpose::Sample).at_name("judge wait").at_name(completion);
        let mut tries = 0;
        loop {
            let tried = match left() {
                Duration::ZERO => Tried::Over(Failure::Silent("the deadline has passed".into())),
                left => self.request(&body, self.patience.timeout.min(left)),
            };
            let (reason, named) = match tried {
                Tried::Reply(reply) => return Ok(reply),
                Tried::Over(failure) => return Err(failure),
                Tried::Again(reason, named) => (reason, named),
            };
            if tries >= self.patience.retries {
                return Err(Failure::Silent(format!("{reason}, {} requests in all", tries + 1)));
            }
            let doubled = self.patience.backoff.saturating_mul(1 << tries).min(LONGEST_WAIT);
            let wait = named.unwrap_or(doubled.mul_f64(0.5 + 0.5 * key.at(u64::from(tries)).uniform()));
            if wait >= left() {
                return Err(Failure::Silent(format!(
                    "{reason}; waiting {:.1} s would pass the deadline",
                    wait.as_secs_f64()
                )));
            }
            std::thread::sleep(wait);
            tries += 1;
        }
    }

    fn request(&self, body: &str, timeout: Duration) -> Tried {
        let mut request = self.agent.post(&self.url).header("content-type", "application/json");
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let sent = request.config().timeout_global(Some(timeout)).build().send(body);
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => return Tried::Again(self.hide(&format!("no answer from the endpoint: {error}")), None),
        };
        let status = response.status().as_u16();
        let named = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let named = named.and_then(|value| value.trim().parse::<u32>().ok()).map(|s| Duration::from_secs(s.into()));
        let body = response.body_mut().with_config().limit(LONGEST_REPLY).read_to_string();
        let text = match body {
            Ok(text) => text,
            Err(error) => return Tried::Again(self.hide(&format!("the answer broke off: {error}")), None),
        };
        match status {
            200 => match self.reply(&text) {
                Ok(reply) => Tried::Reply(reply),
                // a reply that is no reply at all may come from something in between
                Err(reason) if read(&text).is_err() => Tried::Again(self.hide(&reason), None),
                Err(reason) => Tried::Over(Failure::Said(self.hide(&reason))),
            },
            408 | 409 | 425 | 429 | 500..=599 => Tried::Again(self.error(status, &text), named),
            _ => Tried::Over(Failure::Silent(self.error(status, &text))),
        }
    }

    /// The words of a reply.
    fn reply(&self, text: &str) -> Result<String, String> {
        let value = read(text).map_err(|what| format!("the endpoint's answer is no JSON: {what}"))?;
        if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
            return Err(format!("the endpoint answers with an error: {}", shorten(&error.to_string())));
        }
        let choice = &value["choices"][0];
        let Some(content) = choice["message"]["content"].as_str() else {
            return Err("the endpoint's answer has no `choices[0].message.content`".into());
        };
        if choice["finish_reason"] == json!("length") {
            return Err("the judge's reply was cut at `max_tokens`".into());
        }
        let asked = self.request["model"].as_str().unwrap_or_default();
        match value["model"].as_str() {
            Some(model) if !self.any_model && !akin(model, asked) => {
                Err(format!("{} answered, not {}; `any_model = true` allows it", shorten(model), shorten(asked)))
            }
            _ => Ok(content.to_string()),
        }
    }

    fn error(&self, status: u16, text: &str) -> String {
        let said = read(text).ok();
        let message = said.as_ref().and_then(|said| {
            let error = said.get("error").unwrap_or(said);
            error.get("message").or(Some(error)).and_then(Value::as_str)
        });
        self.hide(&format!("the endpoint answers {status}: {}", shorten(message.unwrap_or(text.trim()))))
    }

    /// A message without the key, which an endpoint may send back.
    fn hide(&self, message: &str) -> String {
        match &self.key {
            Some(key) => message.replace(key.as_str(), "[key]"),
            None => message.to_string(),
        }
    }
}

/// Whether two names may be one model's: endpoints add dates and folders.
fn akin(answered: &str, asked: &str) -> bool {
    let bare = |name: &str| name.rsplit('/').next().unwrap_or_default().to_lowercase();
    let (answered, asked) = (bare(answered), bare(asked));
    answered.starts_with(&asked) || asked.starts_with(&answered)
}
