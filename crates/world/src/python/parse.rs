//! `json.loads`, with two limits: nesting, and no NaN.

use std::sync::Arc;

use num_bigint::BigInt;

use super::{Dict, Value};

/// Deeper nesting is an attack on the stack.
pub const DEEPEST: usize = 128;

/// Most digits of an integer: Python's own limit of a text that becomes an integer (`sys.set_int_max_str_digits`).
const MOST_DIGITS: usize = 4300;

/// Reads a text that is one JSON value and blanks. Of a key that occurs twice the last value counts, as in Python.
///
/// # Errors
/// The byte and words, for broken syntax, NaN and Infinity, more than 4300 digits, nesting deeper than [`DEEPEST`].
pub fn parse(text: &str) -> Result<Value, (usize, String)> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.blanks();
    if reader.at < text.len() { reader.fail("expected the end of the text") } else { Ok(value) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

type Read<T> = Result<T, (usize, String)>;

impl Reader<'_> {
    fn fail<T>(&self, what: &str) -> Read<T> {
        Err((self.at, what.to_string()))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn takes(&mut self, word: &str) -> bool {
        let found = self.text[self.at..].starts_with(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn value(&mut self, depth: usize) -> Read<Value> {
        if depth > DEEPEST {
            return self.fail("nested too deeply");
        }
        self.blanks();
        match self.peek() {
            Some(b'{') => self.dict(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => Ok(Value::str(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.takes("true") => Ok(Value::Bool(true)),
            _ if self.takes("false") => Ok(Value::Bool(false)),
            _ if self.takes("null") => Ok(Value::None),
            None => self.fail("expected a value, the text ends"),
            _ => self.fail("expected a value"),
        }
    }

    fn dict(&mut self, depth: usize) -> Read<Value> {
        self.at += 1;
        let mut dict = Dict::new();
        self.blanks();
        if self.takes("}") {
            return Ok(Value::Dict(Arc::new(dict)));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return self.fail("expected a key in double quotes");
            }
            let key = self.string()?;
            self.blanks();
            if !self.takes(":") {
                return self.fail("expected `:`");
            }
            let value = self.value(depth + 1)?;
            dict.insert(Arc::from(key), value);
            self.blanks();
            if self.takes("}") {
                return Ok(Value::Dict(Arc::new(dict)));
            }
            if !self.takes(",") {
                return self.fail("expected `,` or `}`");
            }
        }
    }

    fn list(&mut self, depth: usize) -> Read<Value> {
        self.at += 1;
        let mut values = Vec::new();
        self.blanks();
        if self.takes("]") {
            return Ok(Value::list(values));
        }
        loop {
            values.push(self.value(depth + 1)?);
            self.blanks();
            if self.takes("]") {
                return Ok(Value::list(values));
            }
            if !self.takes(",") {
                return self.fail("expected `,` or `]`");
            }
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Read<Value> {
        let start = self.at;
        self.takes("-");
        let leading = self.peek();
        match self.digits() {
            0 => return self.fail("expected a digit"),
            count if count > 1 && leading == Some(b'0') => return self.fail("a number begins with 0"),
            count if count > MOST_DIGITS => return self.fail("a number has more than 4300 digits"),
            _ => {}
        }
        let mut whole = true;
        if self.takes(".") {
            whole = false;
            if self.digits() == 0 {
                return self.fail("expected a digit after the point");
            }
        }
        if self.takes("e") || self.takes("E") {
            whole = false;
            let _ = self.takes("+") || self.takes("-");
            if self.digits() == 0 {
                return self.fail("expected a digit in the exponent");
            }
        }
        let text = &self.text[start..self.at];
        let number =
            if whole { text.parse::<BigInt>().ok().map(Value::Int) } else { text.parse().ok().map(Value::Float) };
        number.ok_or_else(|| (start, "this is no number".to_string()))
    }

    fn string(&mut self) -> Read<String> {
        self.at += 1;
        let mut string = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(next) = rest.chars().next() else { return self.fail("a text has no end") };
            self.at += next.len_utf8();
            match next {
                '"' => return Ok(string),
                '\\' => string.push(self.escape()?),
                '\0'..='\x1f' => {
                    self.at -= 1;
                    return self.fail("a control character in a text must be escaped");
                }
                other => string.push(other),
            }
        }
    }

    fn escape(&mut self) -> Read<char> {
        let Some(kind) = self.peek() else { return self.fail("a text has no end") };
        if !kind.is_ascii() {
            return self.fail("no such escape");
        }
        self.at += 1;
        Ok(match kind {
            b'"' | b'\\' | b'/' => char::from(kind),
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.hex()?;
                let code = match high {
                    0xd800..=0xdbff if self.takes("\\u") => match self.hex()? {
                        low @ 0xdc00..=0xdfff => 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00),
                        _ => return self.fail("half of a surrogate pair"),
                    },
                    other => other,
                };
                match char::from_u32(code) {
                    Some(character) => character,
                    None => return self.fail("half of a surrogate pair"),
                }
            }
            _ => return self.fail("no such escape"),
        })
    }

    fn hex(&mut self) -> Read<u32> {
        let digits = self.text.get(self.at..self.at + 4).filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(code) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else {
            return self.fail("expected four hexadecimal digits");
        };
        self.at += 4;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_python_reads() {
        for (json, repr) in [
            ("{\"b\": 1, \"a\": [2.50, -0.0, 1e400, true, null]}", "{'b': 1, 'a': [2.5, -0.0, inf, True, None]}"),
            ("\"\\ud83d\\ude00 \\u00e9\\n\"", "'😀 é\\n'"),
            ("{\"a\": 1, \"b\": 2, \"a\": 3}", "{'a': 3, 'b': 2}"),
            (" [ ] ", "[]"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("1E5", "100000.0"),
        ] {
            assert_eq!(crate::python::repr(&parse(json).unwrap()), repr);
        }
    }

    #[test]
    fn what_is_refused_and_where() {
        let deep = "[".repeat(100_000);
        for (json, at) in [
            ("", 0),
            ("{\"a\" 1}", 5),
            ("{a: 1}", 1),
            ("[1,]", 3),
            ("01", 2),
            ("1.", 2),
            ("NaN", 0),
            ("Infinity", 0),
            ("\"\\ud800\"", 7),
            ("\"\\ud800\\u0041\"", 13),
            ("\"\\é\"", 2),
            ("\"a\nb\"", 2),
            ("1 2", 2),
            (deep.as_str(), DEEPEST + 1),
        ] {
            assert_eq!(parse(json).unwrap_err().0, at, "{json:.20}");
        }
        assert!(parse(&"9".repeat(5000)).is_err() && parse(&"9".repeat(4300)).is_ok());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[\\[\\]{}\",:0-9a-f\\\\u.eE+\\- é\u{1F600}]{0,40}") {
            let _ = parse(&text);
        }
    }
}
