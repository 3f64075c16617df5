//! What templates expect of Python: `json.dumps`, `strftime`, and JSON as values.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind};
use serde_json::Value as Json;

use crate::limits;

/// A JSON value as a template value, order of keys kept.
pub(super) fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Value::from(integer),
            (None, Some(integer)) => Value::from(integer),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(list) => list.iter().map(value).collect(),
        Json::Object(object) => {
            Value::from_pairs(object.iter().map(|(key, json)| (Value::from(key.as_str()), value(json))))
        }
    }
}

/// About how many bytes a JSON value has when it is written.
pub(super) fn size(json: &Json) -> u64 {
    match json {
        Json::Null | Json::Bool(_) | Json::Number(_) => 8,
        Json::String(text) => text.len() as u64 + 2,
        Json::Array(list) => 2 + list.iter().map(size).sum::<u64>(),
        Json::Object(object) => 2 + object.iter().map(|(key, json)| key.len() as u64 + 4 + size(json)).sum::<u64>(),
    }
}

/// The `tojson` filter of `transformers`: `json.dumps(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
pub(super) fn to_json(value: &Value, options: &Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let separators: Option<Vec<String>> = options.get("separators")?;
    let ascii: Option<bool> = options.get("ensure_ascii")?;
    let sort: Option<bool> = options.get("sort_keys")?;
    options.assert_all_used()?;
    let (item, key) = match separators.as_deref() {
        None if indent.is_some() => (",".to_string(), ": ".to_string()),
        None => (", ".to_string(), ": ".to_string()),
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => return Err(Error::new(ErrorKind::InvalidOperation, "separators must be a pair of texts")),
    };
    if indent.is_some_and(|indent| indent > 16) {
        return Err(Error::new(ErrorKind::InvalidOperation, "an indent above 16 is refused"));
    }
    let mut writer = Dump {
        out: String::new(),
        indent,
        item,
        key,
        ascii: ascii.unwrap_or(false),
        sort: sort.unwrap_or(false),
        depth: 0,
    };
    writer.value(value)?;
    Ok(Value::from(writer.out))
}

struct Dump {
    out: String,
    indent: Option<usize>,
    item: String,
    key: String,
    ascii: bool,
    sort: bool,
    depth: usize,
}

impl Dump {
    fn value(&mut self, value: &Value) -> Result<(), Error> {
        match value.kind() {
            ValueKind::Undefined | ValueKind::Invalid | ValueKind::Plain | ValueKind::Bytes => Err(Error::new(
                ErrorKind::BadSerialization,
                format!("a value of kind {} cannot be written as JSON", value.kind()),
            )),
            ValueKind::None => self.put("null"),
            ValueKind::Bool => self.put(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.number(value),
            ValueKind::String => {
                let text = value.as_str().unwrap_or_default();
                self.text(text);
                Ok(())
            }
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.checked().collect::<Result<_, _>>()?;
                self.container('[', ']', &items, |dump, item| dump.value(item))
            }
            ValueKind::Map => self.map(value),
            _ => Err(Error::new(ErrorKind::BadSerialization, "a value of this kind cannot be written as JSON")),
        }
    }

    fn map(&mut self, value: &Value) -> Result<(), Error> {
        let mut keys: Vec<Value> = value.try_iter()?.checked().collect::<Result<_, _>>()?;
        if self.sort {
            keys.sort();
        }
        let key_separator = self.key.clone();
        self.container('{', '}', &keys, |dump, key| {
            match key.as_str() {
                Some(text) => dump.text(text),
                None => dump.text(&key.to_string()),
            }
            dump.out.push_str(&key_separator);
            dump.value(&value.get_item(key)?)
        })
    }

    fn container(
        &mut self,
        open: char,
        close: char,
        items: &[Value],
        write: impl Fn(&mut Self, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.depth == limits::JSON_DEPTH {
            return Err(Error::new(ErrorKind::BadSerialization, "recursion limit of JSON exceeded"));
        }
        self.out.push(open);
        self.depth += 1;
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                let separator = self.item.clone();
                self.out.push_str(&separator);
            }
            self.line();
            write(self, item)?;
        }
        self.depth -= 1;
        if !items.is_empty() {
            self.line();
        }
        self.out.push(close);
        Ok(())
    }

    fn line(&mut self) {
        if let Some(indent) = self.indent {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', indent * self.depth));
        }
    }

    fn put(&mut self, text: &str) -> Result<(), Error> {
        self.out.push_str(text);
        Ok(())
    }

    fn number(&mut self, value: &Value) -> Result<(), Error> {
        if value.is_integer() {
            return self.put(&value.to_string());
        }
        let number = f64::try_from(value.clone())?;
        self.put(&float(number))
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                c if c < ' ' || (self.ascii && !c.is_ascii()) => {
                    let mut units = [0; 2];
                    for unit in c.encode_utf16(&mut units) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

/// A float as Python writes it: shortest digits, an exponent below 1e-4 and from 1e16 on.
fn float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_string();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity".to_string() } else { "-Infinity".to_string() };
    }
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{number:?}")
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Python's `strftime` in the C locale for a time in UTC, for the directives that name a date or a time of day.
pub(super) fn strftime(clock: i64, format: &str) -> Result<String, Error> {
    let (days, second) = (clock.div_euclid(86_400), clock.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let (weekday, month_name) = (DAYS[(days + 3).rem_euclid(7) as usize], MONTHS[month as usize - 1]);
    let of_year = days - days_before(year, 1, 1) + 1;
    let half = (hour + 11) % 12 + 1;
    let mut out = String::new();
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut directive = rest.next();
        let bare = directive == Some('-');
        if bare {
            directive = rest.next();
        }
        let mut pad = |number: i64, width: usize| {
            out.push_str(&if bare { number.to_string() } else { format!("{number:0width$}") });
        };
        match directive {
            Some('Y') => pad(year, 4),
            Some('y') => pad(year.rem_euclid(100), 2),
            Some('m') => pad(month, 2),
            Some('d') => pad(day, 2),
            Some('H') => pad(hour, 2),
            Some('I') => pad(half, 2),
            Some('M') => pad(minute, 2),
            Some('S') => pad(second, 2),
            Some('j') => pad(of_year, 3),
            Some('e') => out.push_str(&format!("{day:2}")),
            Some('B') => out.push_str(month_name),
            Some('b' | 'h') => out.push_str(&month_name[..3]),
            Some('A') => out.push_str(weekday),
            Some('a') => out.push_str(&weekday[..3]),
            Some('p') => out.push_str(if hour < 12 { "AM" } else { "PM" }),
            Some('Z') => out.push_str("UTC"),
            Some('z') => out.push_str("+0000"),
            Some('F') => out.push_str(&format!("{year:04}-{month:02}-{day:02}")),
            Some('D') => out.push_str(&format!("{month:02}/{day:02}/{:02}", year.rem_euclid(100))),
            Some('T') => out.push_str(&format!("{hour:02}:{minute:02}:{second:02}")),
            Some('R') => out.push_str(&format!("{hour:02}:{minute:02}")),
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('%') => out.push('%'),
            other => {
                let name = other.map(String::from).unwrap_or_default();
                return Err(Error::new(ErrorKind::InvalidOperation, format!("strftime_now does not know %{name}")));
            }
        }
    }
    Ok(out)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years are counted from March, so that the leap day is the
/// last of its year; 400 years have 146,097 days.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let mut year = 1970 + days.div_euclid(366);
    while days_before(year + 1, 1, 1) <= days {
        year += 1;
    }
    let month = (1..=12).rev().find(|&month| days_before(year, month, 1) <= days).unwrap_or(1);
    (year, month, days - days_before(year, month, 1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_python_writes_them() {
        let cases = [
            (1.0, "1.0"),
            (-0.1, "-0.1"),
            (1e16, "1e+16"),
            (1e-5, "1e-05"),
            (123456789.125, "123456789.125"),
            (1e15, "1000000000000000.0"),
            (2.5e300, "2.5e+300"),
            (0.0001, "0.0001"),
            (-0.0, "-0.0"),
            (f64::INFINITY, "Infinity"),
        ];
        for (number, text) in cases {
            assert_eq!(float(number), text);
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let now = |clock, format| strftime(clock, format).unwrap();
        assert_eq!(now(super::super::DEFAULT_CLOCK, "%d %b %Y"), "26 Jul 2024");
        assert_eq!(now(951_827_696, "%A, %-d %B %Y %H:%M:%S day %j"), "Tuesday, 29 February 2000 12:34:56 day 060");
        assert_eq!(now(-1, "%F %T %p %I"), "1969-12-31 23:59:59 PM 11");
        assert_eq!(now(0, "%a %D %e%%"), "Thu 01/01/70  1%");
        assert_eq!(now(4_102_444_799, "%F"), "2099-12-31");
        assert!(strftime(0, "%Q").is_err() && strftime(0, "%").is_err());
        for days in (-200_000..200_000).step_by(37) {
            let (year, month, day) = civil(days);
            assert_eq!(days_before(year, month, day), days);
        }
    }
}
