//! Calls as Python writes them: `[f(a=1, b='x'), g()]`. Arguments are literals with names; nothing is evaluated.

use serde_json::{Map, Number, Value};

use super::Call;
use crate::find::shorten;

/// Deepest nesting of lists and tables.
const DEEPEST: usize = 64;

/// The calls of a text that is nothing but calls.
pub(super) fn read(text: &str) -> Result<Vec<Call>, String> {
    let mut reader = Reader { text, at: 0 };
    let mut calls = Vec::new();
    reader.blanks();
    let listed = reader.eat("[");
    loop {
        reader.blanks();
        if listed && reader.eat("]") {
            break;
        }
        calls.push(reader.call()?);
        reader.blanks();
        if !listed {
            break;
        }
        if !reader.eat(",") {
            reader.blanks();
            if !reader.eat("]") {
                return Err(reader.wrong("`,` or `]`"));
            }
            break;
        }
    }
    reader.blanks();
    if reader.rest().is_empty() { Ok(calls) } else { Err(reader.wrong("the end")) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn wrong(&self, expected: &str) -> String {
        match self.rest() {
            "" => format!("no calls of Python: {expected} was due at the end"),
            rest => format!("no calls of Python: {expected} was due at {}", shorten(rest)),
        }
    }

    fn blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn name(&mut self, dotted: bool) -> Result<&'a str, String> {
        let rest = self.rest();
        let fits = |c: char| c.is_alphanumeric() || c == '_' || (dotted && c == '.');
        let end = rest.find(|c: char| !fits(c)).unwrap_or(rest.len());
        let name = &rest[..end];
        if name.is_empty() || name.starts_with(|c: char| c.is_numeric() || c == '.') || name.ends_with('.') {
            return Err(self.wrong("a name"));
        }
        self.at += end;
        Ok(name)
    }

    fn call(&mut self) -> Result<Call, String> {
        let name = self.name(true)?.to_string();
        self.blanks();
        if !self.eat("(") {
            return Err(self.wrong("`(`"));
        }
        let mut arguments = Map::new();
        loop {
            self.blanks();
            if self.eat(")") {
                return Ok(Call { name, arguments });
            }
            let key = self.name(false).map_err(|_| self.wrong("an argument's name"))?;
            self.blanks();
            if !self.eat("=") {
                return Err(self.wrong("`=`"));
            }
            let value = self.value(0)?;
            if arguments.insert(key.to_string(), value).is_some() {
                return Err(format!("the argument {} is there twice", shorten(key)));
            }
            self.blanks();
            if !self.eat(",") {
                self.blanks();
                if !self.rest().starts_with(')') {
                    return Err(self.wrong("`,` or `)`"));
                }
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err(format!("it is nested deeper than {DEEPEST}"));
        }
        self.blanks();
        match self.rest().chars().next() {
            Some('[') => self.items("[", "]", depth).map(|(list, _)| Value::Array(list)),
            Some('(') => {
                let (mut list, comma) = self.items("(", ")", depth)?;
                // (x) is x, (x,) is a tuple
                Ok(if list.len() == 1 && !comma { list.remove(0) } else { Value::Array(list) })
            }
            Some('{') => self.table(depth),
            Some('\'' | '"') => self.quoted().map(Value::String),
            Some(c) if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => self.number(),
            _ => match self.name(false)? {
                "True" | "true" => Ok(Value::Bool(true)),
                "False" | "false" => Ok(Value::Bool(false)),
                "None" | "null" => Ok(Value::Null),
                word => Err(format!("{} is no literal", shorten(word))),
            },
        }
    }

    /// Values between brackets, and whether a comma follows the last.
    fn items(&mut self, open: &str, close: &str, depth: usize) -> Result<(Vec<Value>, bool), String> {
        self.eat(open);
        let mut list = Vec::new();
        let mut comma = true;
        loop {
            self.blanks();
            if self.eat(close) {
                return Ok((list, comma));
            }
            if !comma {
                return Err(self.wrong("`,`"));
            }
            list.push(self.value(depth + 1)?);
            self.blanks();
            comma = self.eat(",");
        }
    }

    fn table(&mut self, depth: usize) -> Result<Value, String> {
        self.eat("{");
        let mut map = Map::new();
        let mut comma = true;
        loop {
            self.blanks();
            if self.eat("}") {
                return Ok(Value::Object(map));
            }
            if !comma || !self.rest().starts_with(['\'', '"']) {
                return Err(self.wrong("a key in quotes"));
            }
            let key = self.quoted()?;
            self.blanks();
            if !self.eat(":") {
                return Err(self.wrong("`:`"));
            }
            let value = self.value(depth + 1)?;
            if map.insert(key, value).is_some() {
                return Err("a key is there twice".into());
            }
            self.blanks();
            comma = self.eat(",");
        }
    }

    fn quoted(&mut self) -> Result<String, String> {
        let mut letters = self.rest().char_indices();
        let quote = letters.next().map_or('"', |(_, quote)| quote);
        let mut out = String::new();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\n' => break,
                '\\' => match letters.next() {
                    Some((_, 'n')) => out.push('\n'),
                    Some((_, 't')) => out.push('\t'),
                    Some((_, 'r')) => out.push('\r'),
                    Some((_, c @ ('\\' | '\'' | '"'))) => out.push(c),
                    Some((_, 'u')) => {
                        let digits: String = letters.by_ref().take(4).map(|(_, digit)| digit).collect();
                        let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                        out.push(code.and_then(char::from_u32).ok_or("`\\u` needs four digits of a letter")?);
                    }
                    // as Python does with an escape that it does not know
                    Some((_, other)) => out.extend(['\\', other]),
                    None => break,
                },
                letter if letter == quote => {
                    self.at += at + quote.len_utf8();
                    return Ok(out);
                }
                letter => out.push(letter),
            }
        }
        Err(self.wrong("a text that ends in its line"))
    }

    fn number(&mut self) -> Result<Value, String> {
        let rest = self.rest();
        let fits = |at: usize, byte: u8| match byte {
            b'0'..=b'9' | b'.' | b'e' | b'E' => true,
            b'+' | b'-' => at == 0 || matches!(rest.as_bytes()[at - 1], b'e' | b'E'),
            _ => false,
        };
        let end = rest.bytes().enumerate().position(|(at, byte)| !fits(at, byte)).unwrap_or(rest.len());
        let digits = rest[..end].trim_start_matches('+');
        let whole = digits.parse::<i64>().ok().map(Value::from);
        let real = || digits.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number);
        let value = whole.or_else(real).ok_or_else(|| self.wrong("a number"))?;
        self.at += end;
        Ok(value)
    }
}
