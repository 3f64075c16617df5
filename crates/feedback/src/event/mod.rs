//! What a client may send about an answer, and what of it is accepted (specification C §6.1, §6.2).

mod parse;

use serde::Deserialize;

pub use parse::{Clock, Refusal, clock, is_uuid_v7, milliseconds};

/// The version of the schema.
pub const SCHEMA_VERSION: u64 = 1;
/// Milliseconds an event may be old when it is received: clients spool for three days, and phones sleep.
pub const OLDEST_MS: i64 = 7 * 24 * 3600 * 1000;
/// Milliseconds a client's clock may be ahead.
pub const AHEAD_MS: i64 = 5 * 60 * 1000;
/// Most events of a batch.
pub const MOST_EVENTS: usize = 500;
/// Most characters of a key or name.
const LONGEST: usize = 256;

/// A sound event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// UUIDv7 of the client: the key by which deliveries are one.
    pub event_id: String,
    /// Milliseconds since 1970, by the client's clock.
    pub occurred_at_ms: i64,
    /// Milliseconds since 1970, by the server's.
    pub received_at_ms: i64,
    /// Whose product.
    pub tenant: String,
    /// Keyed hash of the user.
    pub user_key: String,
    /// Session.
    pub session_id: String,
    /// Conversation.
    pub conversation_id: String,
    /// Turn of the conversation.
    pub turn_index: u32,
    /// The answer it is about; sessions and returns are about none.
    pub response_id: Option<String>,
    /// Whether the user lets it be used for training.
    pub consent_training: bool,
    /// Whether the user lets it be counted.
    pub consent_analytics: bool,
    /// What happened.
    pub payload: Payload,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// An answer was seen.
    Impression(Impression),
    /// A reaction was set or taken back.
    Reaction(Reaction),
    /// How long it was looked at.
    Dwell(Dwell),
    /// Another answer was asked for.
    Regenerate(Regenerate),
    /// The user changed the question and sent it again.
    Edit,
    /// A part was copied.
    Copy(Copied),
    /// It was shared.
    Share(Shared),
    /// The conversation went on.
    Followup(Followup),
    /// A session began.
    SessionStart,
    /// A session ended.
    SessionEnd,
    /// The user came back.
    ReturnVisit(ReturnVisit),
}

/// An answer was seen, with what was known when it was served.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Impression {
    /// Which weights answered.
    pub policy_version: String,
    /// Experiment.
    #[serde(default)]
    pub experiment_id: Option<String>,
    /// Its arm.
    #[serde(default)]
    pub arm: Option<String>,
    /// Probability with which the arm was assigned, in (0, 1].
    pub assignment_prob: f64,
    /// Position among the shown answers, from 0.
    pub position: u32,
    /// How many were shown.
    pub n_shown: u32,
    /// Milliseconds it was visible.
    pub visible_ms: u64,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens of the answer.
    pub completion_tokens: u32,
    /// How it was sampled.
    pub sampling: Sampling,
    /// Log-probability of the answer under the serving policy.
    pub seq_logprob: f64,
}

/// How an answer was sampled.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Temperature.
    pub temperature: f64,
    /// Nucleus.
    pub top_p: f64,
    /// Seed.
    #[serde(default)]
    pub seed: Option<u64>,
}

/// Kinds of reactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReactionKind {
    /// The heart: RLUF's only signal.
    Love,
    /// Thumb up.
    Like,
    /// Thumb down.
    Dislike,
    /// Reported as harmful.
    Report,
}

/// Set or taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Set.
    Set,
    /// Taken back.
    Unset,
}

/// A reaction was set or taken back.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reaction {
    /// Which.
    pub kind: ReactionKind,
    /// What.
    pub op: Op,
    /// Why, in a word from a list (never free text).
    #[serde(default)]
    pub reason: Option<String>,
}

/// How long an answer was looked at.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dwell {
    /// Milliseconds on the screen.
    pub visible_ms: u64,
    /// Milliseconds of them with a sign of life at most 30 s ago, in the foreground.
    pub active_ms: u64,
    /// How far it was scrolled, in [0, 1].
    pub scroll_depth: f64,
}

/// Another answer was asked for.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regenerate {
    /// The answer that replaced it.
    pub new_response_id: String,
}

/// A part was copied.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copied {
    /// How many characters.
    pub chars: u64,
}

/// It was shared.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shared {
    /// By which channel.
    pub channel: String,
}

/// The conversation went on.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Followup {
    /// The user's next turn.
    pub turn_id: String,
}

/// The user came back.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReturnVisit {
    /// Seconds since the last session.
    pub gap_s: u64,
    /// From where; a notification confounds it.
    pub source: String,
}
