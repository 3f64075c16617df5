//! Rows that compare two answers to one prompt, in every usual shape, as items with `chosen` and `rejected` among their metadata.
//!
//! | columns | prompt | who won |
//! |---|---|---|
//! | `prompt`, `chosen`, `rejected` | the column, text or messages | `chosen`, or with probability `label` |
//! | `chosen`, `rejected` as whole conversations | what both begin with | the same |
//! | `chosen`, `rejected` as texts, no prompt (`\n\nHuman: … \n\nAssistant: …`) | what both begin with, up to the last common turn | the same |
//! | `response_a`, `response_b` (also `_0`, `_1`; `1`, `2`; `answer_…`, `conversation_…`) | as above, or `instruction` with `input` | `winner`, `preference`, `better_response_id`, or the mean of `annotator…` |

use lapidary_core::{Item, Kind, Message, Problem, PromptText, Result, Role};
use serde_json::{Value, json};

use super::columns::{Columns, PROMPTS, find, rest, spoken_text, without_nulls};
use super::row::Row;

/// Names of the two answers, best known first; the first pair says by itself who won.
const SIDES: &[[&str; 2]] = &[
    ["chosen", "rejected"],
    ["response_a", "response_b"],
    ["response_0", "response_1"],
    ["response_1", "response_2"],
    ["response1", "response2"],
    ["answer_a", "answer_b"],
    ["completion_a", "completion_b"],
    ["conversation_a", "conversation_b"],
];
/// Columns that say which of two answers is better.
const VERDICTS: &[&str] = &["winner", "preference", "better_response_id"];
/// Columns of single judges begin so; their mean is the label.
const ANNOTATOR: &str = "annotator";
/// How the assistant's turn begins in conversations that are one text (Bai et al. 2022, arXiv 2204.05862).
const ASSISTANT: &str = "\n\nAssistant:";
const HUMAN: &str = "\n\nHuman:";

/// The item of a row that compares two answers; `None` for a row that does not.
///
/// # Errors
/// `D003` a column that holds the wrong thing, `D004` no prompt or no verdict, `D065` conversations that part before their last turn.
pub(super) fn item(columns: &Columns, row: &Row) -> Result<Option<Item>> {
    let has = |name: &str| row.columns.get(name).is_some_and(|value| !value.is_null());
    let Some(&[first, second]) = SIDES.iter().find(|[first, second]| has(first) && has(second)) else {
        return Ok(None);
    };
    let Compared { prompt, answers: [a, b], prompt_column } = compared(columns, row, [first, second])?;
    let probability = probability(row, [first, second])?;
    let (chosen, rejected, label) = if probability < 0.5 { (b, a, 1.0 - probability) } else { (a, b, probability) };
    let used: Vec<&str> = [first, second, "label", "input"].into_iter().chain(prompt_column).collect();
    let mut metadata = rest(&row.columns, &used);
    metadata.insert("chosen".into(), json!(chosen));
    metadata.insert("rejected".into(), json!(rejected));
    if label != 1.0 {
        metadata.insert("label".into(), json!(label));
    }
    Ok(Some(Item { id: row.id(), prompt, answer: None, completion: Some(chosen), metadata }))
}

/// A prompt and two answers to it.
struct Compared<'a> {
    prompt: PromptText,
    answers: [String; 2],
    prompt_column: Option<&'a str>,
}

fn compared<'a>(columns: &'a Columns, row: &'a Row, sides: [&str; 2]) -> Result<Compared<'a>> {
    let values = sides.map(|side| &row.columns[side]);
    if let (Some(first), Some(second)) = (conversation(row, sides[0])?, conversation(row, sides[1])?) {
        let (messages, answers) = parted(row, first, second)?;
        return Ok(Compared { prompt: columns.conversation(row, sides[0], messages)?, answers, prompt_column: None });
    }
    if let Some((name, value)) = find(row, columns.prompt_name(), PROMPTS)? {
        let (prompt, _) = columns.prompt_text(row, name, value)?;
        let answers = [answer(row, sides[0])?, answer(row, sides[1])?];
        return Ok(Compared { prompt, answers, prompt_column: Some(name) });
    }
    if let Some(Value::String(instruction)) = row.columns.get("instruction") {
        let input = row.columns.get("input").and_then(Value::as_str).filter(|input| !input.is_empty());
        let whole = input.map_or(instruction.clone(), |input| format!("{instruction}\n\n{input}"));
        let (prompt, _) = columns.prompt_text(row, "instruction", &Value::String(whole))?;
        let answers = [answer(row, sides[0])?, answer(row, sides[1])?];
        return Ok(Compared { prompt, answers, prompt_column: Some("instruction") });
    }
    let [Value::String(first), Value::String(second)] = values else { return Err(row.missing("prompt", PROMPTS)) };
    let (head, answers) = shared_text(first, second);
    if head.trim().is_empty() {
        return Err(row.missing("prompt", PROMPTS).why("and its two answers do not begin with the same words"));
    }
    let prompt = match spoken_by_turns(head) {
        Some(messages) if columns.chat() => columns.conversation(row, sides[0], messages)?,
        _ => PromptText::Text(head.to_string()),
    };
    Ok(Compared { prompt, answers, prompt_column: None })
}

/// What a side says; a number or a truth value, as generators of JSON make them of answers like "2" or "true", as its text.
fn answer(row: &Row, side: &str) -> Result<String> {
    match &row.columns[side] {
        value @ (Value::Bool(_) | Value::Number(_)) => Ok(value.to_string()),
        value => spoken_text(row, side, value),
    }
}

/// The messages of a side that holds more than what the assistant says; `None` for any other.
fn conversation(row: &Row, side: &str) -> Result<Option<Vec<Message>>> {
    let Value::Array(list) = &row.columns[side] else { return Ok(None) };
    let read = |value: &Value| serde_json::from_value::<Message>(without_nulls(value));
    let messages: Option<Vec<Message>> = list.iter().map(|value| read(value).ok()).collect();
    let messages =
        messages.ok_or_else(|| row.wrong(side, "a list of messages with `role` and `content`", &row.columns[side]))?;
    Ok(messages.iter().any(|message| message.role != Role::Assistant).then_some(messages))
}

/// What two conversations begin with, and the turn of the assistant that each ends with.
fn parted(row: &Row, mut first: Vec<Message>, mut second: Vec<Message>) -> Result<(Vec<Message>, [String; 2])> {
    let last = |messages: &mut Vec<Message>| messages.pop_if(|last| last.role == Role::Assistant);
    let ends = [last(&mut first), last(&mut second)];
    match ends {
        [Some(a), Some(b)] if first == second => Ok((first, [a.content, b.content])),
        _ => Err(Problem::new(
            Kind::Data,
            "D065",
            format!("`{}`: its two conversations part before their last turn", row.id()),
        )
        .why("a comparison is of two answers to one prompt")
        .hint("cut both behind the first turn of the assistant in which they differ, or remove the row")),
    }
}

/// What two texts begin with, up to the last turn that both have, or else to the last blank before they part; and what is left of each.
fn shared_text<'t>(first: &'t str, second: &str) -> (&'t str, [String; 2]) {
    let same: usize = first.chars().zip(second.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
    let turn = first[..same].rfind(ASSISTANT).map(|at| at + ASSISTANT.len());
    let cut = turn.or_else(|| first[..same].rfind(char::is_whitespace)).unwrap_or(0);
    let answer = |text: &str| match turn {
        Some(_) => text[cut..].trim().to_string(),
        None => text[cut..].to_string(),
    };
    (&first[..cut], [answer(first), answer(second)])
}

/// The messages of a text that is written by turns.
fn spoken_by_turns(text: &str) -> Option<Vec<Message>> {
    let mut left = text.strip_suffix(ASSISTANT)?;
    let mut messages = Vec::new();
    while !left.is_empty() {
        let (role, marker) = if left.starts_with(HUMAN) { (Role::User, HUMAN) } else { (Role::Assistant, ASSISTANT) };
        let turn = left.strip_prefix(marker)?;
        let end = [HUMAN, ASSISTANT].iter().filter_map(|next| turn.find(next)).min().unwrap_or(turn.len());
        messages.push(Message::new(role, turn[..end].trim()));
        left = &turn[end..];
    }
    messages.iter().any(|message| message.role == Role::User).then_some(messages)
}

/// Probability that the first answer is the better one.
fn probability(row: &Row, sides: [&str; 2]) -> Result<f64> {
    if sides == SIDES[0] {
        let Some(label) = row.columns.get("label").filter(|label| !label.is_null()) else { return Ok(1.0) };
        return share(label).or_else(|| verdict(label, sides)).ok_or_else(|| row.wrong("label", "from 0 to 1", label));
    }
    let judges: Vec<(&String, &Value)> =
        row.columns.iter().filter(|(name, value)| name.starts_with(ANNOTATOR) && !value.is_null()).collect();
    let judges = match VERDICTS.iter().find_map(|name| row.columns.get_key_value(*name)) {
        Some(one) => vec![one],
        None if judges.is_empty() => return Err(row.missing("verdict", VERDICTS)),
        None => judges,
    };
    let mut sum = 0.0;
    for (name, value) in &judges {
        let what = format!("\"a\", \"b\", \"tie\" or the number of `{}` or `{}`", sides[0], sides[1]);
        sum += verdict(value, sides).ok_or_else(|| row.wrong(name, &what, value))?;
    }
    Ok(sum / judges.len() as f64)
}

fn share(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(first) => Some(f64::from(u8::from(*first))),
        Value::Number(number) => number.as_f64().filter(|share| (0.0..=1.0).contains(share)),
        _ => None,
    }
}

/// What a judge says, as the probability of the first: a side by its letter, name or number, or that neither is better.
fn verdict(value: &Value, [first, second]: [&str; 2]) -> Option<f64> {
    let said = match value {
        Value::String(text) => text.to_lowercase(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let is = |side: &str, others: &[&str]| {
        let digit = side.chars().last().filter(char::is_ascii_digit).map(String::from);
        said == side || digit.as_ref() == Some(&said) || others.contains(&said.as_str())
    };
    if is(first, &["a", "model_a", "first"]) {
        Some(1.0)
    } else if is(second, &["b", "model_b", "second"]) {
        Some(0.0)
    } else {
        (said.starts_with("tie") || said == "draw" || said == "0").then_some(0.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_parted_at_their_last_common_turn() {
        let shared = "\n\nHuman: hi\n\nAssistant: yes?\n\nHuman: why\n\nAssistant:";
        let [one, two] = ["Because it is.", "Because not."].map(|answer| format!("{shared} {answer}"));
        let (head, answers) = shared_text(&one, &two);
        assert_eq!((head, answers), (shared, ["Because it is.".to_string(), "Because not.".to_string()]));
        let turns = spoken_by_turns(head).unwrap();
        let turns: Vec<(Role, &str)> = turns.iter().map(|m| (m.role, m.content.as_str())).collect();
        assert_eq!(turns, [(Role::User, "hi"), (Role::Assistant, "yes?"), (Role::User, "why")]);
        // Without turns: at the last blank, which belongs to the answers.
        let (head, answers) = shared_text("the sky is blue", "the sky is black");
        assert_eq!((head, answers), ("the sky is", [" blue".to_string(), " black".to_string()]));
        assert_eq!(spoken_by_turns("no turns"), None);
    }

    #[test]
    fn judges_name_a_side_in_many_ways() {
        let says = |value: Value| verdict(&value, ["response1", "response2"]);
        assert_eq!([says(json!(1)), says(json!("2")), says(json!(0))], [Some(1.0), Some(0.0), Some(0.5)]);
        assert_eq!(
            [says(json!("A")), says(json!("model_b")), says(json!("tie (bothbad)"))],
            [Some(1.0), Some(0.0), Some(0.5)]
        );
        assert_eq!([says(json!(3)), says(json!(null)), says(json!("?"))], [None; 3]);
        // Where the sides are numbered from 0, 0 is the first.
        assert_eq!(verdict(&json!(0), ["response_0", "response_1"]), Some(1.0));
    }
}
