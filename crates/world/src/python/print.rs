//! What Python prints: `json.dumps`, `str`, `repr`, and the hashes of such texts.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::{Dict, Value};

/// `json.dumps(value)`: `", "` and `": "` between parts, everything beyond ASCII escaped.
pub fn text(value: &Value) -> String {
    let mut out = String::new();
    json(value, Style { separators: [", ", ": "], ascii: true, sorted: false }, &mut out);
    out
}

/// `json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)`: one text per meaning.
pub fn compact_json(value: &Value) -> String {
    let mut out = String::new();
    json(value, Style { separators: [",", ":"], ascii: false, sorted: true }, &mut out);
    out
}

/// `repr(value)`, which is `str(value)` but for a text.
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    write_repr(value, &mut out);
    out
}

/// The database as TAU-bench freezes it before hashing: a dict is a tuple of (key, value) pairs sorted by key, a list a tuple.
pub fn frozen(value: &Value) -> String {
    let mut out = String::new();
    write_frozen(value, &mut out);
    out
}

/// TAU-bench's published hash of a database: SHA-256 of the UTF-8 text of [`frozen`], in hexadecimal.
pub fn published_hash(value: &Value) -> String {
    hex(&frozen(value))
}

/// SHA-256 of [`compact_json`], in hexadecimal.
pub fn canonical_hash(value: &Value) -> String {
    hex(&compact_json(value))
}

fn hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[derive(Clone, Copy)]
struct Style {
    separators: [&'static str; 2],
    ascii: bool,
    sorted: bool,
}

fn json(value: &Value, style: Style, out: &mut String) {
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::Float(number) => out.push_str(&match repr_float(*number).as_str() {
            "inf" => "Infinity".into(),
            "-inf" => "-Infinity".into(),
            "nan" => "NaN".into(),
            finite => finite.to_string(),
        }),
        Value::Str(text) => json_text(text, style.ascii, out),
        Value::List(values) => {
            out.push('[');
            for (position, value) in values.iter().enumerate() {
                out.push_str(if position > 0 { style.separators[0] } else { "" });
                json(value, style, out);
            }
            out.push(']');
        }
        Value::Dict(dict) => {
            out.push('{');
            for (position, (key, value)) in pairs(dict, style.sorted).into_iter().enumerate() {
                out.push_str(if position > 0 { style.separators[0] } else { "" });
                json_text(key, style.ascii, out);
                out.push_str(style.separators[1]);
                json(value, style, out);
            }
            out.push('}');
        }
    }
}

/// The pairs of a dict; sorted by key in code points, which is the order of UTF-8 bytes.
fn pairs(dict: &Dict, sorted: bool) -> Vec<(&str, &Value)> {
    let mut pairs: Vec<(&str, &Value)> = dict.iter().map(|(key, value)| (&**key, value)).collect();
    if sorted {
        pairs.sort_unstable_by_key(|(key, _)| *key);
    }
    pairs
}

/// Whether nothing of a text needs escaping in either form: most of a database, and its hash is of megabytes.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\'' | b'\\'))
}

fn json_text(text: &str, ascii: bool, out: &mut String) {
    out.push('"');
    if is_plain(text) {
        out.push_str(text);
        out.push('"');
        return;
    }
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\0'..='\x1f' => {
                let _ = write!(out, "\\u{:04x}", character as u32);
            }
            ' '..='~' => out.push(character),
            _ if ascii => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

fn write_repr(value: &Value, out: &mut String) {
    match value {
        Value::None => out.push_str("None"),
        Value::Bool(truth) => out.push_str(if *truth { "True" } else { "False" }),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::Float(number) => out.push_str(&repr_float(*number)),
        Value::Str(text) => repr_text(text, out),
        Value::List(values) => {
            out.push('[');
            for (position, value) in values.iter().enumerate() {
                out.push_str(if position > 0 { ", " } else { "" });
                write_repr(value, out);
            }
            out.push(']');
        }
        Value::Dict(dict) => {
            out.push('{');
            for (position, (key, value)) in dict.iter().enumerate() {
                out.push_str(if position > 0 { ", " } else { "" });
                repr_text(key, out);
                out.push_str(": ");
                write_repr(value, out);
            }
            out.push('}');
        }
    }
}

fn write_frozen(value: &Value, out: &mut String) {
    match value {
        Value::List(values) => {
            tuple(values.len(), out, |position, out| write_frozen(&values[position], out));
        }
        Value::Dict(dict) => {
            let pairs = pairs(dict, true);
            tuple(pairs.len(), out, |position, out| {
                out.push('(');
                repr_text(pairs[position].0, out);
                out.push_str(", ");
                write_frozen(pairs[position].1, out);
                out.push(')');
            });
        }
        scalar => write_repr(scalar, out),
    }
}

fn tuple(count: usize, out: &mut String, mut part: impl FnMut(usize, &mut String)) {
    out.push('(');
    for position in 0..count {
        out.push_str(if position > 0 { ", " } else { "" });
        part(position, out);
    }
    out.push_str(if count == 1 { ",)" } else { ")" });
}

/// `repr` of a double: the shortest digits that read back, with an exponent from 1e16 up and below 1e-4.
pub fn repr_float(number: f64) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number == 0.0 || (-4..16).contains(&exponent) {
        let plain = format!("{number}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// `repr` of a text: single quotes unless it holds them and no double quote; what cannot be printed is escaped.
fn repr_text(text: &str, out: &mut String) {
    if is_plain(text) {
        out.push('\'');
        out.push_str(text);
        out.push('\'');
        return;
    }
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if character == quote => {
                out.push('\\');
                out.push(quote);
            }
            ' '..='~' => out.push(character),
            _ if printable(character) => out.push(character),
            _ => {
                let code = character as u32;
                let _ = match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push(quote);
}

/// `str.isprintable` beyond ASCII, by Rust's own table of what it escapes: control, format, private and unassigned characters and
/// all blanks but the ASCII space.
fn printable(character: char) -> bool {
    if character.is_control() || (character.is_whitespace() && character != ' ') {
        return false;
    }
    // Rust escapes what extends a character only where no character stands before it, Python nowhere
    format!("a{character}").escape_debug().nth(1) == Some(character)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::parse;

    #[test]
    fn doubles_as_python_prints_them() {
        for (number, printed) in [
            (100.0, "100.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e16, "1e+16"),
            (1e15, "1000000000000000.0"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (5e-324, "5e-324"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (0.1 + 0.2, "0.30000000000000004"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(repr_float(number), printed);
        }
    }

    #[test]
    fn texts_as_python_prints_them() {
        for (text, printed) in [
            ("a", "'a'"),
            ("it's", "\"it's\""),
            ("q\"'\\\n", "'q\"\\'\\\\\\n'"),
            ("\t\r\u{0}\u{7f}\u{a0}", "'\\t\\r\\x00\\x7f\\xa0'"),
            ("é 漢 😀", "'é 漢 😀'"),
            ("\u{200b}\u{2028}\u{e000}\u{feff}", "'\\u200b\\u2028\\ue000\\ufeff'"),
            ("\u{10ffff}", "'\\U0010ffff'"),
            ("e\u{301}", "'e\u{301}'"),
            ("\u{301}", "'\u{301}'"),
            ("\u{ad}", "'\\xad'"),
        ] {
            assert_eq!(repr(&Value::str(text)), printed);
        }
    }

    #[test]
    fn json_as_python_prints_it() {
        let value = parse("{\"é\":[1,2.0,null,true,\"\\u0001\\u007f😀\"],\"b\":{}, \"a\":1e400}").unwrap();
        assert_eq!(
            text(&value),
            "{\"\\u00e9\": [1, 2.0, null, true, \"\\u0001\\u007f\\ud83d\\ude00\"], \"b\": {}, \"a\": Infinity}"
        );
        assert_eq!(compact_json(&value), "{\"a\":Infinity,\"b\":{},\"é\":[1,2.0,null,true,\"\\u0001\u{7f}😀\"]}");
    }

    #[test]
    fn the_test_vectors_of_the_published_hash() {
        let toy = parse("{\"b\":[1,2.5],\"a\":{\"y\":\"x\",\"x\":1}}").unwrap();
        assert_eq!(frozen(&toy), "(('a', (('x', 1), ('y', 'x'))), ('b', (1, 2.5)))");
        assert_eq!(published_hash(&toy), "aa94eabf0c9be8dee817bb1b19ad20143149e34839762faa4bdefebe3e45e7a0");
        let json = "{\"b\":[1,2.5,null,true,\"it's\"],\"a\":{},\"c\":[\"x\"],\"d\":[],\"é\":\"q\\\"'\\\\\\n\",\"f\":1e16,\"g\":100.0,\"h\":-0.1}";
        let value = parse(json).unwrap();
        assert_eq!(
            frozen(&value),
            "(('a', ()), ('b', (1, 2.5, None, True, \"it's\")), ('c', ('x',)), ('d', ()), ('f', 1e+16), ('g', 100.0), ('h', -0.1), ('é', 'q\"\\'\\\\\\n'))"
        );
        assert_eq!(published_hash(&value), "079bfb7322e1e2c81e415501216280b9aa40d579bb2eeaa4fe12494b1e5fe5c1");
    }
}
