//! Reading and checking one event.

use chrono::DateTime;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{AHEAD_MS, Event, Impression, LONGEST, OLDEST_MS, Payload, SCHEMA_VERSION};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    schema_version: u64,
    event_id: String,
    event_type: String,
    occurred_at: String,
    tenant: String,
    user_key: String,
    session_id: String,
    conversation_id: String,
    turn_index: u32,
    #[serde(default)]
    response_id: Option<String>,
    surface: String,
    locale: String,
    app_version: String,
    consent: Consent,
    #[serde(default)]
    payload: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Consent {
    training: bool,
    analytics: bool,
}

/// Why an event is refused: a stable code and a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `schema`, `version`, `event_id`, `time`, `key`, `response_id`, `payload` or `type`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
}

fn refuse<T>(code: &'static str, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { code, message: message.into() })
}

impl Event {
    /// Reads and checks one event.
    ///
    /// # Errors
    /// The first thing that is wrong; unknown fields are, because what is not read would be lost without a word.
    pub fn parse(value: &Value, received_at_ms: i64) -> Result<Self, Refusal> {
        let envelope: Envelope =
            serde_json::from_value(value.clone()).or_else(|error| refuse("schema", error.to_string()))?;
        if envelope.schema_version != SCHEMA_VERSION {
            return refuse(
                "version",
                format!("schema_version must be {SCHEMA_VERSION}, got {}", envelope.schema_version),
            );
        }
        if !is_uuid_v7(&envelope.event_id) {
            return refuse("event_id", "event_id must be a UUIDv7 in its usual form, in lower case");
        }
        let occurred_at_ms = milliseconds(&envelope.occurred_at).map_or_else(
            || refuse("time", "occurred_at must be a time of RFC 3339, such as 2026-11-24T18:00:00.000Z"),
            Ok,
        )?;
        check_keys(&envelope)?;
        let payload = Payload::parse(&envelope.event_type, envelope.payload)?;
        if payload.is_of_a_response() != envelope.response_id.is_some() {
            let needs = if payload.is_of_a_response() { "needs a" } else { "has no" };
            return refuse("response_id", format!("`{}` {needs} response_id", envelope.event_type));
        }
        Ok(Event {
            event_id: envelope.event_id,
            occurred_at_ms,
            received_at_ms,
            tenant: envelope.tenant,
            user_key: envelope.user_key,
            session_id: envelope.session_id,
            conversation_id: envelope.conversation_id,
            turn_index: envelope.turn_index,
            response_id: envelope.response_id,
            consent_training: envelope.consent.training,
            consent_analytics: envelope.consent.analytics,
            payload,
        })
    }
}

/// Names are short and not empty, and the user's key is a hash: an address or a name in its place would be stored for months.
fn check_keys(envelope: &Envelope) -> Result<(), Refusal> {
    let response = envelope.response_id.as_deref().unwrap_or("-");
    for (name, text) in [
        ("tenant", envelope.tenant.as_str()),
        ("session_id", &envelope.session_id),
        ("conversation_id", &envelope.conversation_id),
        ("response_id", response),
        ("surface", &envelope.surface),
        ("locale", &envelope.locale),
        ("app_version", &envelope.app_version),
    ] {
        if text.is_empty() || text.chars().count() > LONGEST || text.chars().any(char::is_control) {
            return refuse(
                "key",
                format!("`{name}` must be a text of 1 to {LONGEST} characters without control characters"),
            );
        }
    }
    let hashed = envelope.user_key.len() == 64
        && envelope.user_key.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if hashed {
        Ok(())
    } else {
        refuse("key", "`user_key` must be an HMAC-SHA256 in lower hexadecimal, never the user's name")
    }
}

impl Payload {
    fn parse(event_type: &str, payload: Map<String, Value>) -> Result<Self, Refusal> {
        fn read<T: serde::de::DeserializeOwned>(payload: Map<String, Value>) -> Result<T, Refusal> {
            serde_json::from_value(Value::Object(payload)).or_else(|error| refuse("payload", error.to_string()))
        }
        let parsed = match event_type {
            "impression" => Payload::Impression(read(payload)?),
            "reaction" => Payload::Reaction(read(payload)?),
            "dwell" => Payload::Dwell(read(payload)?),
            "regenerate" => Payload::Regenerate(read(payload)?),
            "edit" => Payload::Edit,
            "copy" => Payload::Copy(read(payload)?),
            "share" => Payload::Share(read(payload)?),
            "followup" => Payload::Followup(read(payload)?),
            "session_start" => Payload::SessionStart,
            "session_end" => Payload::SessionEnd,
            "return_visit" => Payload::ReturnVisit(read(payload)?),
            other => {
                return refuse(
                    "type",
                    format!("there is no event_type `{}`", other.chars().take(40).collect::<String>()),
                );
            }
        };
        let fault = match &parsed {
            Payload::Impression(seen) => seen.fault(),
            Payload::Dwell(dwell) if !(0.0..=1.0).contains(&dwell.scroll_depth) => {
                Some("scroll_depth must be in [0, 1]")
            }
            Payload::Dwell(dwell) if dwell.active_ms > dwell.visible_ms => Some("active_ms must be at most visible_ms"),
            _ => None,
        };
        fault.map_or(Ok(parsed), |fault| refuse("payload", fault))
    }

    fn is_of_a_response(&self) -> bool {
        !matches!(self, Payload::SessionStart | Payload::SessionEnd | Payload::ReturnVisit(_))
    }
}

impl Impression {
    fn fault(&self) -> Option<&'static str> {
        if !(self.assignment_prob > 0.0 && self.assignment_prob <= 1.0) {
            return Some("assignment_prob must be in (0, 1]: it is divided by");
        }
        if self.position >= self.n_shown {
            return Some("position must be below n_shown");
        }
        if self.seq_logprob > 0.0 {
            return Some("seq_logprob must be at most 0");
        }
        (self.experiment_id.is_some() != self.arm.is_some()).then_some("experiment_id and arm go together")
    }
}

/// Whether a text is a UUID of version 7 and of the variant of RFC 9562, in lower case.
pub fn is_uuid_v7(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            14 => *byte == b'7',
            19 => matches!(byte, b'8' | b'9' | b'a' | b'b'),
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(byte),
        })
}

/// Milliseconds since 1970 of an RFC 3339 time.
pub fn milliseconds(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis())
}

/// What the clocks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Within bounds; received less occurred, in milliseconds (below 0 where the client's clock is ahead).
    Sound(i64),
    /// More than seven days old: kept aside.
    TooOld(i64),
    /// More than five minutes ahead: kept aside.
    Ahead(i64),
}

/// Compares when an event occurred with when it was received. No order of arrival is ever assumed.
pub fn clock(occurred_at_ms: i64, received_at_ms: i64) -> Clock {
    match received_at_ms.saturating_sub(occurred_at_ms) {
        skew if skew > OLDEST_MS => Clock::TooOld(skew),
        skew if skew < -AHEAD_MS => Clock::Ahead(skew),
        skew => Clock::Sound(skew),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Op, Reaction, ReactionKind};
    use serde_json::json;

    const NOW: i64 = 1_795_543_200_000;

    fn sound() -> Value {
        json!({
            "schema_version": 1, "event_id": "01939f5c-7b3a-7c1e-9b1d-0123456789ab", "event_type": "reaction",
            "occurred_at": "2026-11-24T18:00:00.250Z", "tenant": "t", "user_key": "ab".repeat(32), "session_id": "s",
            "conversation_id": "c", "turn_index": 3, "response_id": "r", "surface": "web", "locale": "en", "app_version": "1",
            "consent": {"training": true, "analytics": false}, "payload": {"kind": "love", "op": "set"},
        })
    }

    #[test]
    fn a_sound_event_is_read() {
        let event = Event::parse(&sound(), NOW).unwrap();
        assert_eq!(event.payload, Payload::Reaction(Reaction { kind: ReactionKind::Love, op: Op::Set, reason: None }));
        assert_eq!((event.occurred_at_ms, event.turn_index, event.consent_training), (1_795_543_200_250, 3, true));
        assert_eq!(milliseconds("2026-11-24T19:00:00.250+01:00"), Some(event.occurred_at_ms));
    }

    #[test]
    fn each_fault_has_its_code() {
        let impression = json!({
            "policy_version": "v1", "assignment_prob": 0.5, "position": 0, "n_shown": 1, "visible_ms": 1200, "prompt_tokens": 3,
            "completion_tokens": 4, "sampling": {"temperature": 1.0, "top_p": 1.0}, "seq_logprob": -3.5,
        });
        let with = |key: &str, value: Value| {
            let mut payload = impression.clone();
            payload[key] = value;
            payload
        };
        let cases: &[(&str, Value, &str)] = &[
            ("schema_version", json!(2), "version"),
            ("event_id", json!("01939f5c-7b3a-4c1e-9b1d-0123456789ab"), "event_id"),
            ("event_id", json!("01939f5c-7b3a-7c1e-cb1d-0123456789ab"), "event_id"),
            ("event_id", json!("01939F5C-7b3a-7c1e-9b1d-0123456789ab"), "event_id"),
            ("event_type", json!("wave"), "type"),
            ("occurred_at", json!("yesterday"), "time"),
            ("occurred_at", json!("2026-02-30T00:00:00Z"), "time"),
            ("user_key", json!("alice@example.org"), "key"),
            ("tenant", json!(""), "key"),
            ("surface", json!("a\u{0}b"), "key"),
            ("locale", json!("x".repeat(300)), "key"),
            ("response_id", Value::Null, "response_id"),
            ("payload", json!({"kind": "love"}), "payload"),
            ("payload", json!({"kind": "hug", "op": "set"}), "payload"),
            ("payload", json!({"kind": "love", "op": "set", "text": "…"}), "payload"),
            ("consent", json!({"training": true}), "schema"),
            ("turn_index", json!(-1), "schema"),
            ("text", json!("hello"), "schema"),
        ];
        for (key, value, code) in cases {
            let mut event = sound();
            event[*key] = value.clone();
            assert_eq!(Event::parse(&event, NOW).unwrap_err().code, *code, "{key} = {value}");
        }
        let typed = |event_type: &str, payload: Value| {
            let mut event = sound();
            event["event_type"] = json!(event_type);
            event["payload"] = payload;
            Event::parse(&event, NOW).map(|_| ()).map_err(|refusal| refusal.code)
        };
        assert_eq!(typed("impression", impression.clone()), Ok(()));
        for (key, value) in
            [("assignment_prob", json!(0)), ("position", json!(1)), ("seq_logprob", json!(0.1)), ("arm", json!("a"))]
        {
            assert_eq!(typed("impression", with(key, value)), Err("payload"), "{key}");
        }
        assert_eq!(typed("dwell", json!({"visible_ms": 5, "active_ms": 6, "scroll_depth": 0.5})), Err("payload"));
        assert_eq!(typed("session_start", json!({})), Err("response_id"));
        for value in [json!(null), json!([]), json!("x"), json!({})] {
            assert_eq!(Event::parse(&value, NOW).unwrap_err().code, "schema");
        }
    }

    #[test]
    fn clocks_have_bounds() {
        assert_eq!(clock(NOW, NOW), Clock::Sound(0));
        assert_eq!(clock(NOW - OLDEST_MS, NOW), Clock::Sound(OLDEST_MS));
        assert_eq!(clock(NOW - OLDEST_MS - 1, NOW), Clock::TooOld(OLDEST_MS + 1));
        assert_eq!(clock(NOW + AHEAD_MS, NOW), Clock::Sound(-AHEAD_MS));
        assert_eq!(clock(NOW + AHEAD_MS + 1, NOW), Clock::Ahead(-AHEAD_MS - 1));
        assert_eq!(clock(i64::MIN, NOW), Clock::TooOld(i64::MAX));
    }
}
