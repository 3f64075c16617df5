//! `judge`: another model grades the completion, over any endpoint that speaks OpenAI's chat completions.
//!
//! Whatever goes wrong (no connection, a deadline, an error, a reply without one clear score) is no verdict, never 0. The
//! completion stands between marks that carry its own hash, so that it cannot close them; only the judge's reply is searched
//! for a score, and a reply with two different ones has none.

mod chat;
mod client;
mod prompt;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lapidary_core::{Kind, Problem, Result, Verdict};
use regex::Regex;

use crate::find::shorten;
use crate::format::pattern;
use crate::options::{OptionInfo, OptionKind, Options};
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};
pub use chat::ChatEndpoint;
use client::{Client, Patience};
use prompt::Template;

/// Completions in a row that got no answer from the endpoint, after all retries, before the rest of a batch is not asked.
const GIVE_UP_AFTER: usize = 8;

const fn text(name: &'static str, default: &'static str, meaning: &'static str) -> OptionInfo {
    OptionInfo { name, kind: OptionKind::Text, default, meaning }
}

const fn number(name: &'static str, kind: OptionKind, default: &'static str, meaning: &'static str) -> OptionInfo {
    OptionInfo { name, kind, default, meaning }
}

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "judge",
    summary: "Another model grades the completion, over an endpoint that speaks OpenAI's chat completions.",
    formula: "(grade - lowest) / (highest - lowest)",
    options: &[
        text(
            "url",
            "",
            "the endpoint up to its version: `http://127.0.0.1:8000/v1`; https needs a build with `--features tls`",
        ),
        text("model", "", "the judge's name at the endpoint"),
        text(
            "prompt",
            "null",
            "what the judge is asked, with `{prompt}`, `{completion}`, `{answer}`, `{lowest}` and `{highest}` where they go; unset: \
             a short text that asks for a line `Score: N`",
        ),
        text("system", "null", "a system message before it"),
        text(
            "pattern",
            r#""(?im)^[\\s*#>]*score[\\s*:=]+(-?[0-9]+(?:\\.[0-9]+)?)""#,
            "regular expression whose first group is the grade in the judge's reply; all that match must agree",
        ),
        number("lowest", OptionKind::Number(-1e6, 1e6), "0", "the grade that is worth 0"),
        number("highest", OptionKind::Number(-1e6, 1e6), "10", "the grade that is worth 1"),
        text("api_key_env", "null", "environment variable that holds the key; the key itself is written nowhere"),
        number("temperature", OptionKind::Number(0.0, 2.0), "0", "the judge's temperature"),
        number(
            "max_tokens",
            OptionKind::Integer(1, 1 << 20),
            "1024",
            "most tokens of its reply; one that is cut is no verdict",
        ),
        number("timeout_s", OptionKind::Number(0.01, 3600.0), "60", "seconds that one request may take"),
        number(
            "deadline_s",
            OptionKind::Number(0.01, 86_400.0),
            "180",
            "seconds that one completion may take, waits and further requests included",
        ),
        number(
            "retries",
            OptionKind::Integer(0, 5),
            "3",
            "further requests after 408, 409, 425, 429, 5xx and broken connections",
        ),
        number(
            "backoff_s",
            OptionKind::Number(0.0, 60.0),
            "0.5",
            "seconds before the first of them, doubling, at least half of it; `Retry-After` is obeyed",
        ),
        number("concurrency", OptionKind::Integer(1, 256), "8", "requests at once"),
        number(
            "any_model",
            OptionKind::Flag,
            "false",
            "whether a reply that names another model than was asked is taken all the same",
        ),
    ],
    build: |options| Ok(Box::new(Judge::new(options)?)),
};

struct Judge {
    client: Client,
    template: Template,
    pattern: Regex,
    range: (f64, f64),
    concurrency: usize,
}

impl Judge {
    fn new(options: &Options) -> Result<Self> {
        let url = endpoint(options)?;
        let number = |name: &str| options.number(name).unwrap_or(0.0);
        let range = (number("lowest"), number("highest"));
        if range.0 >= range.1 {
            return Err(options.wrong(format!("`lowest` = {} is not below `highest` = {}", range.0, range.1)));
        }
        let score = pattern(options, "pattern", options.text("pattern").unwrap_or_default(), false)?;
        if score.captures_len() < 2 {
            return Err(options
                .wrong("the `pattern` has no group")
                .hint("put the grade in brackets: `Score: ([0-9]+)`"));
        }
        let patience = Patience {
            timeout: Duration::from_secs_f64(number("timeout_s")),
            deadline: Duration::from_secs_f64(number("deadline_s")),
            retries: options.integer("retries").unwrap_or(0) as u32,
            backoff: Duration::from_secs_f64(number("backoff_s")),
        };
        let request = serde_json::json!({
            "model": options.text("model"),
            "temperature": number("temperature"),
            "max_tokens": options.integer("max_tokens"),
        });
        Ok(Self {
            client: Client::new(url, key(options)?, request, patience, options.flag("any_model")),
            template: Template::new(options.text("prompt"), options.text("system"), range)
                .map_err(|what| options.wrong(what))?,
            pattern: score,
            range,
            concurrency: options.integer("concurrency").map_or(1, |count| count as usize),
        })
    }

    /// The verdict of one completion, and whether the endpoint answered at all.
    fn ask(&self, attempt: &Attempt<'_>) -> (Verdict, bool) {
        match self.client.ask(&self.template.messages(attempt), attempt.completion) {
            Ok(reply) => (self.grade(&reply), true),
            Err(client::Failure::Silent(reason)) => (Verdict::none(reason), false),
            Err(client::Failure::Said(reason)) => (Verdict::none(reason), true),
        }
    }

    fn grade(&self, reply: &str) -> Verdict {
        let said = reply.rsplit_once("</think>").map_or(reply, |(_, after)| after);
        let mut grades = Vec::new();
        for found in self.pattern.captures_iter(said) {
            let grade = found.get(1).and_then(|grade| grade.as_str().trim().parse::<f64>().ok());
            let Some(grade) = grade.filter(|grade| grade.is_finite()) else {
                return Verdict::none(format!("the judge's grade {} is no number", shorten(&found[0])));
            };
            if !grades.contains(&grade) {
                grades.push(grade);
            }
        }
        let (lowest, highest) = self.range;
        match grades[..] {
            [grade] if (lowest..=highest).contains(&grade) => {
                let score = (grade - lowest) / (highest - lowest);
                Verdict::score(score as f32, format!("the judge gives {grade}"))
            }
            [grade] => Verdict::none(format!("the judge gives {grade}, outside {lowest} to {highest}")),
            [] => Verdict::none(format!("the judge gives no grade: {}", shorten(last_line(said)))),
            _ => Verdict::none(format!("the judge gives {} different grades", grades.len())),
        }
    }
}

fn last_line(text: &str) -> &str {
    text.trim().lines().next_back().unwrap_or("")
}

/// The address that requests go to.
fn endpoint(options: &Options) -> Result<String> {
    let url = options.text("url").unwrap_or_default().trim_end_matches('/');
    let usage = |message: String| Problem::new(Kind::Usage, "W011", message);
    if url.starts_with("https://") && !cfg!(feature = "tls") {
        return Err(usage("reward `judge`: this build speaks no https".into()).hint(
            "build with `cargo install --path crates/cli --features tls`, or put a proxy on this machine before it",
        ));
    }
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() && !host.starts_with('/') && !host.contains([' ', '@', '#', '?']) => {
            Ok(format!("{url}/chat/completions"))
        }
        // an address with a password in it is not repeated
        _ if url.contains('@') => Err(usage("reward `judge`: the `url` must not hold a name or a password".into())
            .hint("give the key by `api_key_env`")),
        _ => Err(usage(format!("reward `judge`: {} is no address of an endpoint", shorten(url)))
            .hint("write it up to its version: `http://127.0.0.1:8000/v1`")),
    }
}

/// The key, from the environment alone.
fn key(options: &Options) -> Result<Option<String>> {
    let Some(variable) = options.text("api_key_env") else { return Ok(None) };
    let sound = |key: &String| !key.is_empty() && key.chars().all(|c| c.is_ascii_graphic());
    match std::env::var(variable).ok().filter(sound) {
        Some(key) => Ok(Some(key)),
        None => Err(Problem::new(
            Kind::Usage,
            "W012",
            format!("reward `judge`: the environment variable `{variable}` holds no key"),
        )
        .hint(format!("set it before the run: `{variable}=… lapidary train …`"))),
    }
}

impl Reward for Judge {
    fn name(&self) -> &str {
        INFO.name
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        let verdicts: Mutex<Vec<Option<Verdict>>> = Mutex::new(vec![None; attempts.len()]);
        let (next, silent) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = || {
            while let Some((at, attempt)) = {
                let at = next.fetch_add(1, Ordering::Relaxed);
                attempts.get(at).map(|attempt| (at, attempt))
            } {
                let verdict = if silent.load(Ordering::Relaxed) >= GIVE_UP_AFTER {
                    Verdict::none(format!("not asked: the endpoint did not answer {GIVE_UP_AFTER} times in a row"))
                } else {
                    let (verdict, answered) = self.ask(attempt);
                    match answered {
                        true => silent.store(0, Ordering::Relaxed),
                        false => _ = silent.fetch_add(1, Ordering::Relaxed),
                    }
                    verdict
                };
                verdicts.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[at] = Some(verdict);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.concurrency.min(attempts.len()) {
                scope.spawn(work);
            }
        });
        let verdicts = verdicts.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        verdicts.into_iter().map(|verdict| verdict.unwrap_or_else(|| Verdict::none("not asked"))).collect()
    }
}
