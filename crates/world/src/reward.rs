//! What an episode is worth: 1 where the records are those that the gold actions leave and everything that had to be said was said.
//!
//! ```text
//! reward = 1[hash(records) = hash(gold records)] · ∏_output 1[output was said]
//! ```
//! Yao et al. 2024, §3. As published ([`Mode::Compat`]) the hash is of Python's print of the records, so that 1 and 1.0 differ, and
//! an output counts as said where it occurs in any message, letter case and the message's commas aside. Mended ([`Mode::Fixed`]) amounts
//! are compared in cents, an output must stand alone ("10" is not said by "100"), and an agent that neither said anything nor
//! handed over earns nothing.

use crate::episode::End;
use crate::python::{Value, canonical_hash, published_hash, round_cents};
use crate::records::{Mode, Records};
use crate::world::{Task, World};

/// What an episode came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The reward, 0 or 1.
    pub reward: u8,
    /// The hash of the records at the end.
    pub hash: String,
    /// The hash that the gold actions leave.
    pub gold_hash: String,
    /// The outputs that were not said.
    pub missing: Vec<String>,
    /// Why the reward is 0, or empty.
    pub reason: String,
}

/// The hash of the records: the published one, or that of the canonical form.
pub fn state_hash(records: &Records) -> String {
    match records.mode() {
        Mode::Compat => published_hash(records.tables()),
        Mode::Fixed => canonical_hash(&in_cents(records.tables())),
    }
}

/// The value with every number rounded to cents and whole ones as integers.
fn in_cents(value: &Value) -> Value {
    match value {
        Value::List(values) => Value::list(values.iter().map(in_cents)),
        Value::Dict(dict) => {
            Value::Dict(std::sync::Arc::new(dict.iter().map(|(key, value)| (key.clone(), in_cents(value))).collect()))
        }
        Value::Float(_) => match round_cents(value) {
            Ok(Value::Float(number)) if number == number.trunc() && number.abs() < 9e15 => Value::int(number as i64),
            Ok(rounded) => rounded,
            Err(_) => value.clone(),
        },
        other => other.clone(),
    }
}

/// Whether an output was said in a message.
pub fn is_said(mode: Mode, output: &str, message: &str) -> bool {
    let message = message.to_lowercase().replace(',', "");
    let output = output.to_lowercase();
    if mode == Mode::Compat {
        return message.contains(&output);
    }
    let output = output.replace(',', "");
    !output.is_empty() && message.match_indices(&output).any(|(at, _)| stands_alone(&message, at, at + output.len()))
}

/// Whether neither a letter nor a digit, nor a point between digits, continues the text on either side.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let mut before = text[..start].chars().rev();
    let mut after = text[end..].chars();
    let word = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
    let digit = |character: Option<char>| character.is_some_and(|character| character.is_ascii_digit());
    let (left, further_left) = (before.next(), before.next());
    let (right, further_right) = (after.next(), after.next());
    let inner = &text[start..end];
    let decimal_left = left == Some('.') && digit(further_left) && digit(inner.chars().next());
    let decimal_right = right == Some('.') && digit(further_right) && digit(inner.chars().next_back());
    !word(left) && !word(right) && !decimal_left && !decimal_right
}

/// Judges the end of an episode: the records, what was said, and how it ended.
pub fn judge(world: &World, task: &Task, records: &Records, said: &[String], end: End) -> Judgement {
    let mode = records.mode();
    let (hash, gold_hash) = (state_hash(records), state_hash(&world.gold(task, mode).records));
    let missing: Vec<String> = task
        .outputs
        .iter()
        .filter(|output| !said.iter().any(|message| is_said(mode, output, message)))
        .cloned()
        .collect();
    let silent = mode == Mode::Fixed && said.is_empty() && end != End::Transferred;
    let reason = match end {
        End::OutOfSteps => "the conversation did not end within its steps".to_string(),
        _ if hash != gold_hash => "the records are not those that the gold actions leave".into(),
        _ if !missing.is_empty() => format!("not said: {}", missing.join(", ")),
        _ if silent => "the agent neither said anything nor handed over".into(),
        _ => String::new(),
    };
    Judgement { reward: u8::from(reason.is_empty()), hash, gold_hash, missing, reason }
}

/// How many tasks an agent solves that does nothing: silently, and by handing over at once.
///
/// Every score of a world stands beside this floor: 7 of 115 on retail test, 19 of 50 on airline.
pub fn floor(world: &World, mode: Mode) -> (usize, usize) {
    let start = world.records(mode);
    let same = |records: &Records| records.tables() == start.tables() && state_hash(records) == state_hash(&start);
    let idle = |task: &&Task| task.outputs.is_empty() && same(&world.gold(task, mode).records);
    let handing_over = world.tasks.iter().filter(idle).count();
    (if mode == Mode::Fixed { 0 } else { handing_over }, handing_over)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::parse;

    #[test]
    fn as_published_an_output_is_any_part_of_a_message() {
        for (output, message, compat, fixed) in [
            ("10", "There are 10 options.", true, true),
            ("10", "That is 100 dollars.", true, false),
            ("10", "It costs 3.10.", true, false),
            ("10", "It costs 10.50.", true, false),
            ("10", "It costs 10.", true, true),
            ("1,000", "It costs 1,000 dollars.", false, true),
            ("1000", "It costs $1,000.", true, true),
            ("Camera", "your CAMERA!", true, true),
            ("camera", "cameras", true, false),
            ("4", "five", false, false),
            ("", "anything", true, false),
        ] {
            assert_eq!(is_said(Mode::Compat, output, message), compat, "{output} {message}");
            assert_eq!(is_said(Mode::Fixed, output, message), fixed, "{output} {message}");
        }
    }

    #[test]
    fn mended_hashes_compare_amounts_in_cents() {
        let hash = |json: &str, mode| state_hash(&Records::new(parse(json).unwrap(), mode));
        for (a, b) in [("[1]", "[1.0]"), ("[0.30000000000000004]", "[0.3]"), ("[-0.0]", "[0]")] {
            assert_eq!(hash(a, Mode::Fixed), hash(b, Mode::Fixed), "{a} {b}");
            assert_ne!(hash(a, Mode::Compat), hash(b, Mode::Compat), "{a} {b}");
        }
        assert_ne!(hash("[0.01]", Mode::Fixed), hash("[0.02]", Mode::Fixed));
        assert_ne!(hash("[1e300]", Mode::Fixed), hash("[2e300]", Mode::Fixed));
    }
}
