//! Frames from a program, before anything else reads them: JSON of a known form and size, or nothing.

use serde_json::Value;

/// What a program answered to one question.
#[derive(Debug, PartialEq)]
pub(crate) enum Reply {
    /// It returned: the frame's `{"v": …}` for the tests.
    Value(Value),
    /// It raised: type, words, line of the program.
    Raised(String, String, Option<u64>),
}

/// Reads an answer to the question with this nonce.
///
/// # Errors
/// In words: what is wrong with it. No answer that was not asked for passes, and no value of unknown form.
pub(crate) fn reply(frame: &[u8], nonce: &str) -> Result<Reply, &'static str> {
    let Ok(Value::Object(mut map)) = serde_json::from_slice::<Value>(frame) else {
        return Err("an answer that is not a JSON object");
    };
    if map.get("n").and_then(Value::as_str) != Some(nonce) || map.len() != 2 {
        return Err("an answer to a question that was not asked");
    }
    if let Some(value) = map.shift_remove("v") {
        return if is_value(&value) { Ok(Reply::Value(value)) } else { Err("a value of unknown form") };
    }
    match map.get("e").and_then(Value::as_array).map(Vec::as_slice) {
        Some([Value::String(name), Value::String(text), line]) if line.is_u64() || line.is_null() => {
            Ok(Reply::Raised(name.clone(), text.clone(), line.as_u64()))
        }
        _ => Err("neither a value nor an exception"),
    }
}

/// Whether this is the form of a value, as `wire.py` writes it.
fn is_value(form: &Value) -> bool {
    match form {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => number.is_i64(),
        Value::Array(items) => items.iter().all(is_value),
        Value::Object(map) => {
            let mut entries = map.iter();
            let (Some((tag, inner)), None) = (entries.next(), entries.next()) else { return false };
            is_tagged(tag, inner)
        }
    }
}

fn is_tagged(tag: &str, inner: &Value) -> bool {
    let list = |test: fn(&Value) -> bool| inner.as_array().is_some_and(|items| items.iter().all(test));
    let length = |length: usize| inner.as_array().is_some_and(|items| items.len() == length);
    match tag {
        "t" | "s" | "z" | "q" | "n" | "k" | "v" => list(is_value),
        "d" | "y" => list(|pair| pair.as_array().is_some_and(|pair| pair.len() == 2 && pair.iter().all(is_value))),
        "f" => is_float(inner),
        "c" => length(2) && list(is_float),
        "i" => is_hex(inner),
        "F" => length(2) && list(is_hex),
        "r" => length(3) && list(is_hex),
        "u" => list(|point| point.as_u64().is_some_and(|point| point < 0x11_0000)),
        "b" | "B" => {
            inner.as_str().is_some_and(|text| text.len() % 2 == 0 && text.bytes().all(|b| b.is_ascii_hexdigit()))
        }
        "x" => inner.as_str().is_some_and(|text| text.len() <= 1000 && text.bytes().all(|b| b.is_ascii_graphic())),
        "o" => {
            matches!(inner.as_array().map(Vec::as_slice), Some([number, truth]) if number.is_u64() && truth.is_boolean())
        }
        _ => false,
    }
}

fn is_float(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    matches!(text, "nan" | "inf" | "-inf") || (text.len() <= 40 && text.parse::<f64>().is_ok())
}

fn is_hex(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_answers_that_were_asked_for_pass() {
        let say = |value: Value| reply(value.to_string().as_bytes(), "77");
        assert_eq!(say(json!({"n": "77", "v": [1, {"f": "0.5"}]})), Ok(Reply::Value(json!([1, {"f": "0.5"}]))));
        assert_eq!(
            say(json!({"n": "77", "e": ["KeyError", "'a'", 3]})),
            Ok(Reply::Raised("KeyError".into(), "'a'".into(), Some(3)))
        );
        for wrong in [
            json!({"n": "78", "v": 1}),
            json!({"v": 1}),
            json!({"n": "77"}),
            json!({"n": "77", "v": 1, "e": ["A", "b", null]}),
            json!({"n": "77", "e": ["A", "b"]}),
            json!({"n": "77", "v": 1.5}),
            json!([1]),
        ] {
            assert!(say(wrong.clone()).is_err(), "{wrong}");
        }
        assert!(reply(b"{", "77").is_err());
        let deep = format!("{{\"n\": \"77\", \"v\": {}1{}}}", "[".repeat(4000), "]".repeat(4000));
        assert!(reply(deep.as_bytes(), "77").is_err(), "depth is bounded");
    }

    #[test]
    fn forms_are_checked_to_the_bottom() {
        for good in [
            json!({"t": []}),
            json!({"d": [[1, {"s": [2]}]]}),
            json!({"i": "-ff"}),
            json!({"c": ["1.0", "nan"]}),
            json!({"b": "00ff"}),
            json!({"o": [3, true]}),
            json!({"u": [55296]}),
            json!({"x": "1E+5"}),
            json!({"r": ["0", "a", "1"]}),
        ] {
            assert!(is_value(&good), "{good}");
        }
        for bad in [
            json!({}),
            json!({"t": 1}),
            json!({"t": [], "s": []}),
            json!({"d": [[1]]}),
            json!({"i": ""}),
            json!({"i": "0x1"}),
            json!({"f": "1; import os"}),
            json!({"c": ["1"]}),
            json!({"b": "0"}),
            json!({"b": "zz"}),
            json!({"o": 3}),
            json!({"o": ["x", true]}),
            json!({"P": "eval"}),
            json!({"g": "f"}),
            json!({"u": [1114112]}),
            json!({"eval": "1"}),
            json!([{"t": [{"no": 1}]}]),
        ] {
            assert!(!is_value(&bad), "{bad}");
        }
    }
}
