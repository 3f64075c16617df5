//! Numbers in text, read exactly: `1,234`, `$18.50`, `-3/4`, `7 1/2`, `\frac{1}{3}`, `25%`, `12 apples`, `5 million`.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Zero};

/// An exact rational number.
pub type Number = BigRational;

/// Longer numerals are not read: nobody answers with them, and exact arithmetic on them costs more than a line of text.
const MOST_DIGITS: usize = 1024;
/// Largest power of ten of `1e9`.
const LARGEST_EXPONENT: u32 = 400;
/// `18 dollars per hour of work` is a number with its unit; a longer tail is a sentence.
const MOST_UNIT_WORDS: usize = 6;
/// An answer longer than this is prose.
const LONGEST_PHRASE: usize = 4096;

/// Reads a phrase that is one number: with its sign, currency, markup and unit, and nothing else.
///
/// A percent sign and units are dropped: `25%` is 25. `thousand`, `million`, `billion`, `trillion` multiply. Anything
/// that holds a second number is not one number.
pub fn parse_number(phrase: &str) -> Option<Number> {
    if phrase.len() > LONGEST_PHRASE {
        return None;
    }
    let cleaned = clean(phrase);
    let text = cleaned.trim_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '`' | '"' | '_'));
    let text = text.strip_prefix("= ").unwrap_or(text);
    let (number, end) = numeral(text)?;
    Some(number * unit(&text[end..])?)
}

/// LaTeX spacing, wrappers and degree marks that do not change a number.
fn clean(phrase: &str) -> String {
    let mut text = phrase.replace("{,}", ",");
    for wrapper in ["\\!", "\\,", "\\;", "\\left", "\\right", "\\(", "\\)", "\\[", "\\]", "^{\\circ}", "^\\circ"] {
        text = text.replace(wrapper, "");
    }
    for (from, to) in [
        ("\\dfrac", "\\frac"),
        ("\\tfrac", "\\frac"),
        ("\\text{", " {"),
        ("\\mathrm{", " {"),
        ("\\$", "$"),
        ("\\%", "%"),
        ("−", "-"),
    ] {
        text = text.replace(from, to);
    }
    text
}

/// The factor that the words after a numeral stand for; `None` where they are no unit.
fn unit(tail: &str) -> Option<Number> {
    if tail.chars().any(char::is_numeric) {
        return None;
    }
    let attached: String = tail.chars().take_while(|c| c.is_alphabetic()).collect();
    let one_letter_units = ["m", "g", "h", "s", "l", "L", "C", "F"];
    if attached.chars().count() == 1 && !one_letter_units.contains(&attached.as_str()) {
        return None; // `3x`, `5k` and `12M` are other numbers than 3, 5 and 12
    }
    if tail.contains(['=', '+', '<', '>', '^', '\\', '\n', '?', ';']) {
        return None;
    }
    let words: Vec<String> = tail
        .split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase())
        .filter(|word| !word.is_empty())
        .collect();
    if words.len() > MOST_UNIT_WORDS || words.iter().any(|word| word == "or" || word == "not") {
        return None;
    }
    let power = match words.first().map(String::as_str) {
        Some("thousand") => 3,
        Some("million") => 6,
        Some("billion") => 9,
        Some("trillion") => 12,
        _ => 0,
    };
    Some(Number::from_integer(BigInt::from(10).pow(power)))
}

/// Reads a numeral at the start of `text` and says where it ends.
pub(crate) fn numeral(text: &str) -> Option<(Number, usize)> {
    let mut at = 0;
    let mut negative = false;
    let mut signed = false;
    for c in text.chars() {
        match c {
            '-' | '−' | '+' if !signed => {
                negative = c != '+';
                signed = true;
            }
            '$' | '€' | '£' | '¥' => {}
            _ => break,
        }
        at += c.len_utf8();
    }
    let (mut number, length) = if text[at..].starts_with("\\frac") {
        latex_fraction(&text[at..])?
    } else {
        let (first, length) = decimal(&text[at..])?;
        fraction_or_mixed(first, length, &text[at..])
    };
    at += length;
    if negative {
        number = -number;
    }
    Some((number, at))
}

/// `\frac{a}{b}` or `\frac12`.
fn latex_fraction(text: &str) -> Option<(Number, usize)> {
    let mut at = "\\frac".len();
    let mut parts = Vec::new();
    for _ in 0..2 {
        let rest = &text[at..];
        let (part, length) = match rest.strip_prefix('{') {
            Some(inner) => {
                let close = inner.find('}')?;
                let body = inner[..close].trim();
                let (value, end) = signed_decimal(body)?;
                (end == body.len()).then_some((value, close + 2))?
            }
            None => {
                let digit = rest.chars().next().and_then(|c| c.to_digit(10))?;
                (Number::from_integer(digit.into()), 1)
            }
        };
        parts.push(part);
        at += length;
    }
    let denominator = parts.pop()?;
    let numerator = parts.pop()?;
    (!denominator.is_zero()).then(|| (numerator / denominator, at))
}

fn signed_decimal(text: &str) -> Option<(Number, usize)> {
    match text.strip_prefix('-') {
        Some(rest) => decimal(rest).map(|(number, length)| (-number, length + 1)),
        None => decimal(text),
    }
}

/// After `first`: `/b` makes a fraction, ` a/b` a mixed number, anything else leaves it as it is.
fn fraction_or_mixed(first: Number, length: usize, text: &str) -> (Number, usize) {
    if let Some((denominator, end)) = over(&text[length..]) {
        return (first / denominator, length + end);
    }
    let rest = &text[length..];
    let spaces = rest.len() - rest.trim_start_matches(' ').len();
    if first.is_integer()
        && spaces > 0
        && let Some((numerator, middle)) = decimal(&rest[spaces..])
        && let Some((denominator, end)) = over(&rest[spaces + middle..])
        && numerator < denominator
    {
        return (first + numerator / denominator, length + spaces + middle + end);
    }
    (first, length)
}

/// `/b` with b above 0, with spaces or without.
fn over(text: &str) -> Option<(Number, usize)> {
    let trimmed = text.trim_start_matches(' ');
    let rest = trimmed.strip_prefix('/')?;
    let digits = rest.trim_start_matches(' ');
    let (denominator, end) = decimal(digits)?;
    (!denominator.is_zero()).then_some((denominator, text.len() - digits.len() + end))
}

/// Digits with groups of thousands, a decimal part and a power of ten, all but the digits optional.
fn decimal(text: &str) -> Option<(Number, usize)> {
    let bytes = text.as_bytes();
    let digits_from = |from: usize| bytes[from.min(bytes.len())..].iter().take_while(|b| b.is_ascii_digit()).count();
    let lead = digits_from(0);
    let mut at = lead;
    let mut digits = text[..lead].to_string();
    if (1..=3).contains(&lead) {
        while bytes.get(at) == Some(&b',') && digits_from(at + 1) == 3 {
            digits.push_str(&text[at + 1..at + 4]);
            at += 4;
        }
    }
    let mut places = 0;
    if bytes.get(at) == Some(&b'.') && digits_from(at + 1) > 0 {
        places = digits_from(at + 1);
        digits.push_str(&text[at + 1..at + 1 + places]);
        at += 1 + places;
    }
    if digits.is_empty() || digits.len() > MOST_DIGITS {
        return None;
    }
    let mut number = Number::new(digits.parse::<BigInt>().ok()?, BigInt::from(10).pow(places as u32));
    if let Some((power, length)) = exponent(&text[at..]) {
        number *= power;
        at += length;
    }
    Some((number, at))
}

/// `e9`, `E-3`: the power of ten and its length.
fn exponent(text: &str) -> Option<(Number, usize)> {
    let rest = text.strip_prefix(['e', 'E'])?;
    let sign = usize::from(rest.starts_with(['-', '+']));
    let length = rest[sign..].bytes().take_while(u8::is_ascii_digit).count();
    let size: u32 = rest[sign..sign + length].parse().ok().filter(|size| *size <= LARGEST_EXPONENT)?;
    let power = Number::from_integer(BigInt::from(10).pow(size));
    let power = if rest.starts_with('-') { Number::one() / power } else { power };
    Some((power, 1 + sign + length))
}

/// All numerals of a text in order, with the byte ranges they take. A `-` after a digit or a bracket subtracts and is
/// no sign. At most `limit` are looked for.
pub(crate) fn numerals(text: &str, limit: usize) -> Vec<(Number, std::ops::Range<usize>)> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut before = ' ';
    while at < text.len() && found.len() < limit {
        let Some(c) = text[at..].chars().next() else { break };
        let starts = c.is_ascii_digit()
            || (c == '.' && !before.is_alphanumeric() && text[at + 1..].starts_with(|d: char| d.is_ascii_digit()))
            || (matches!(c, '-' | '−' | '$' | '€' | '£' | '¥')
                && !(before.is_alphanumeric() || matches!(before, ')' | ']')));
        match starts.then(|| numeral(&text[at..])).flatten() {
            Some((number, length)) => {
                found.push((number, at..at + length));
                at += length;
                before = '0';
            }
            None if c.is_ascii_digit() => {
                // a numeral too long to read: step over all of it
                at += text[at..].bytes().take_while(u8::is_ascii_digit).count();
                before = '0';
            }
            None => {
                at += c.len_utf8();
                before = c;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(numerator: i64, denominator: i64) -> Option<Number> {
        Some(Number::new(numerator.into(), denominator.into()))
    }

    #[test]
    fn every_common_way_to_write_a_number_is_read_exactly() {
        for (text, numerator, denominator) in [
            ("72", 72, 1),
            (" 72. ", 72, 1),
            ("1,234", 1234, 1),
            ("1,234,567.50", 123_456_750, 100),
            ("$18", 18, 1),
            ("-$5", -5, 1),
            ("$-5", -5, 1),
            ("−7", -7, 1),
            ("+3.50", 7, 2),
            (".5", 1, 2),
            ("25%", 25, 1),
            ("25 \\%", 25, 1),
            ("3/4", 3, 4),
            ("-3 / 4", -3, 4),
            ("7 3/4", 31, 4),
            ("\\frac{1}{3}", 1, 3),
            ("$\\dfrac12$", 1, 2),
            ("-\\frac{-2}{6}", 1, 3),
            ("1{,}000", 1000, 1),
            ("**42**", 42, 1),
            ("12 apples", 12, 1),
            ("18 dollars per hour", 18, 1),
            ("5 million dollars", 5_000_000, 1),
            ("2\\text{ cm}", 2, 1),
            ("30^\\circ", 30, 1),
            ("1e3", 1000, 1),
            ("25e-2", 1, 4),
            ("5pm", 5, 1),
            ("007", 7, 1),
        ] {
            assert_eq!(parse_number(text), ratio(numerator, denominator), "{text}");
        }
    }

    #[test]
    fn what_is_not_one_number_is_not_read() {
        for text in [
            "",
            "seventy",
            "72 or 73",
            "72, 73",
            "1,23",
            "12,5",
            "3:30",
            "5k",
            "3x",
            "x = 5",
            "1/0",
            "\\frac{1}{0}",
            "- 5",
            "--5",
            "72 is not the answer",
            "9*8",
            "72 = 72",
            "72 when we add up all of the clips she sold",
            "1e999",
            "v1.2.3",
        ] {
            assert_eq!(parse_number(text), None, "{text}");
        }
        assert_eq!(parse_number(&"9".repeat(2000)), None);
    }

    #[test]
    fn numerals_of_a_sentence_keep_binary_minus_apart_from_signs() {
        let values = |text: &str| numerals(text, 10).into_iter().map(|(n, _)| n.to_string()).collect::<Vec<_>>();
        assert_eq!(values("16 - 3 - 4 = 9"), ["16", "3", "4", "9"]);
        assert_eq!(values("16-3=-13 or $-2.50"), ["16", "3", "-13", "-5/2"]);
        assert_eq!(values("1,000 and 3/4 of v2"), ["1000", "3/4", "2"]);
    }
}
