//! The words of an answer: LaTeX and plain text alike become numbers, letters, commands and single signs.
//!
//! Signs of both notations are one: `\cdot`, `\times`, `×`, `·` and `*` are `*`; `\le`, `\leqslant`, `≤` and `<=` are `≤`.
//! What only changes the looks of a formula is left out. Letters of other scripts that look like Latin ones, and digits
//! that are not ASCII, are not read: a number in disguise is no number.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::Zero;

use super::node::Function;
use super::notation::{greek, greek_sign, is_looks, is_space, is_words, plain_sign, sign_of};

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// Digits as they stand, without separators of thousands; the digits after the point; the exponent of ten.
    Number(Numeral),
    /// Latin letters that stand together.
    Letters(String),
    /// A variable whose name is one word: a Greek letter.
    Name(String),
    /// What `\text{}` holds.
    Text(String),
    /// A command that means something, without its backslash; also `begin` and `end` with their name after a space.
    Command(String),
    /// `and` (false) or `or` (true) between two answers.
    Join(bool),
    /// Any other sign. `⦃ ⦄` are the braces of a set, `{ }` those of LaTeX, a line end starts the next row of a matrix.
    Sign(char),
}

/// A numeral.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Numeral {
    /// The digits before the point, then those after it.
    pub(crate) digits: String,
    /// How many of them stand after a point; `None` where there is no point.
    pub(crate) places: Option<u32>,
    /// The power of ten of `1e9`.
    pub(crate) exponent: i64,
}

impl Numeral {
    /// Its value.
    pub(crate) fn value(&self) -> BigRational {
        let whole = self.digits.parse::<BigInt>().unwrap_or_else(|_| BigInt::zero());
        let power = self.exponent - i64::from(self.places.unwrap_or(0));
        let size = u32::try_from(power.unsigned_abs()).unwrap_or(u32::MAX).min(MOST_PLACES);
        let ten = BigInt::from(10).pow(size);
        if power < 0 { BigRational::new(whole, ten) } else { BigRational::from_integer(whole * ten) }
    }
}

/// A word, and whether a space stands before it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lexeme {
    pub(crate) token: Token,
    pub(crate) spaced: bool,
}

/// Longest text that is read as mathematics. A longer answer is prose.
pub(crate) const LONGEST: usize = 4096;
/// Largest power of ten in a numeral, on both sides of the point.
const MOST_PLACES: u32 = 5000;
/// Largest exponent of `1e9`.
const LARGEST_EXPONENT: i64 = 400;

/// Reads the words of a text.
///
/// # Errors
/// What cannot be read, in words.
pub(crate) fn lex(text: &str) -> Result<Vec<Lexeme>, String> {
    if text.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    // `\\frac` is `\frac` that went through one program too many; in a matrix `\\` ends a row
    let doubled = text.contains("\\\\begin") || !text.contains("\\begin");
    let text = if doubled { text.replace("\\\\", "\\") } else { text.to_string() };
    // boxes side by side are members of a list
    let text = text.replace("}\\boxed", "}, \\boxed").replace("} \\boxed", "}, \\boxed");
    let characters: Vec<char> = text.chars().map(plain_sign).collect();
    let mut lexer = Lexer { characters, at: 0, listings: Vec::new(), spaced: false, words: Vec::new() };
    while lexer.at < lexer.characters.len() {
        lexer.next()?;
    }
    Ok(lexer.words)
}

struct Lexer {
    characters: Vec<char>,
    at: usize,
    /// For each bracket that is open, whether a comma with a space after it separates its members.
    listings: Vec<bool>,
    spaced: bool,
    words: Vec<Lexeme>,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.at + ahead).copied()
    }

    fn starts(&self, from: usize, text: &str) -> bool {
        text.chars().enumerate().all(|(index, c)| self.characters.get(from + index) == Some(&c))
    }

    fn push(&mut self, token: Token) {
        let spaced = std::mem::take(&mut self.spaced);
        self.words.push(Lexeme { token, spaced });
    }

    fn next(&mut self) -> Result<(), String> {
        let Some(c) = self.peek(0) else { return Ok(()) };
        match c {
            '$' | '~' => {
                self.at += 1;
                self.spaced |= c == '~';
            }
            _ if c.is_whitespace() => {
                self.at += 1;
                self.spaced = true;
            }
            '\\' => return self.command(),
            '.' if self.peek(1).is_some_and(|d| d.is_ascii_digit()) => self.number()?,
            _ if c.is_ascii_digit() => self.number()?,
            _ if c.is_ascii_alphabetic() => self.letters(),
            '{' if self.peek(1) == Some('}') => self.at += 2,
            _ => return self.sign(c),
        }
        Ok(())
    }

    fn sign(&mut self, c: char) -> Result<(), String> {
        let (sign, length) = match (c, self.peek(1)) {
            ('*', Some('*')) => ('^', 2),
            ('<', Some('=')) => ('≤', 2),
            ('>', Some('=')) => ('≥', 2),
            ('!', Some('=')) => ('≠', 2),
            ('=', Some('=')) => ('=', 2),
            _ => (c, 1),
        };
        self.at += length;
        self.put(sign)
    }

    fn put(&mut self, sign: char) -> Result<(), String> {
        if let Some(power) = "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().position(|known| known == sign) {
            self.push(Token::Sign('^'));
            self.push(Token::Number(Numeral { digits: power.to_string(), places: None, exponent: 0 }));
            return Ok(());
        }
        if let Some((up, down)) =
            [('½', ("1", "2")), ('¼', ("1", "4")), ('¾', ("3", "4"))].iter().find(|f| f.0 == sign).map(|f| f.1)
        {
            let digits = |text: &str| Token::Number(Numeral { digits: text.into(), places: None, exponent: 0 });
            self.push(Token::Command("frac".into()));
            for part in [up, down] {
                self.push(Token::Sign('{'));
                self.push(digits(part));
                self.push(Token::Sign('}'));
            }
            return Ok(());
        }
        match sign {
            'π' => self.push(Token::Command("pi".into())),
            'ℝ' | 'ℤ' | 'ℕ' | 'ℚ' | 'ℂ' => self.push(Token::Command(format!("mathbb {sign}"))),
            _ if greek_sign(sign) => self.push(Token::Name(sign.to_string())),
            '(' | '[' | '⟨' | '⦃' | '{' | ')' | ']' | '⟩' | '⦄' | '}' => {
                match sign {
                    '(' | '[' | '⟨' | '⦃' => self.listings.push(self.listing()),
                    ')' | ']' | '⟩' | '⦄' => drop(self.listings.pop()),
                    _ => {}
                }
                self.push(Token::Sign(sign));
            }
            '+' | '-' | '*' | '/' | '^' | '_' | '|' | '‖' | ',' | ';' | ':' | '=' | '<' | '>' | '!' | '%' | '\''
            | '&' => {
                self.push(Token::Sign(sign));
            }
            '≤' | '≥' | '≠' | '≈' | '±' | '∓' | '∪' | '∩' | '∖' | '∈' | '∞' | '√' | '°' | '⌊' | '⌋' | '⌈' | '⌉'
            | '∅' | '…' | '.' | '$' | '€' | '£' | '¥' => self.push(Token::Sign(sign)),
            other => return Err(format!("`{}` is not read", other.escape_debug())),
        }
        Ok(())
    }

    /// Whether the bracket that was just opened has a comma with a space after it, not counting brackets inside.
    fn listing(&self) -> bool {
        const FAR: usize = 256; // a longer list has a space before that
        let mut depth = 0usize;
        let near = &self.characters[self.at..(self.at + FAR).min(self.characters.len())];
        for pair in near.windows(2) {
            match pair[0] {
                '(' | '[' => depth += 1,
                ')' | ']' if depth == 0 => return false,
                ')' | ']' => depth -= 1,
                ',' if depth == 0 && pair[1].is_whitespace() => return true,
                _ => {}
            }
        }
        false
    }

    fn command(&mut self) -> Result<(), String> {
        self.at += 1;
        let Some(c) = self.peek(0) else { return Err("a backslash ends it".into()) };
        if !c.is_ascii_alphabetic() {
            self.at += 1;
            match c {
                ',' | ';' | ':' | '!' | ' ' | '>' | '(' | ')' | '[' | ']' | '-' => self.spaced |= c != '!',
                '\\' => self.push(Token::Sign('\n')),
                '{' => return self.put('⦃'),
                '}' => return self.put('⦄'),
                '|' => self.push(Token::Sign('‖')),
                '%' | '&' | '_' | '$' => self.push(Token::Sign(c)),
                other => return Err(format!("`\\{}` is not read", other.escape_debug())),
            }
            return Ok(());
        }
        let start = self.at;
        while self.peek(0).is_some_and(|c| c.is_ascii_alphabetic()) {
            self.at += 1;
        }
        let name: String = self.characters[start..self.at].iter().collect();
        self.named(&name)
    }

    fn named(&mut self, name: &str) -> Result<(), String> {
        if matches!(name, "left" | "right") && self.peek(0) == Some('.') {
            self.at += 1;
        } else if is_looks(name) {
        } else if is_space(name) {
            self.spaced = true;
        } else if is_words(name) {
            let words = self.group().ok_or_else(|| format!("`\\{name}` holds nothing"))?;
            self.words(name, &words)?;
        } else if let Some(sign) = sign_of(name) {
            self.put(sign)?;
        } else if let Some(letter) = greek(name) {
            self.push(Token::Name(letter.to_string()));
        } else {
            match name {
                "lor" | "vee" => self.push(Token::Join(true)),
                "land" | "wedge" => self.push(Token::Join(false)),
                "begin" | "end" | "mathbb" => {
                    let inside = self.group().ok_or_else(|| format!("`\\{name}` holds nothing"))?;
                    self.push(Token::Command(format!("{name} {}", inside.trim())));
                }
                "dfrac" | "tfrac" | "cfrac" => self.push(Token::Command("frac".into())),
                "dbinom" | "tbinom" => self.push(Token::Command("binom".into())),
                other => self.push(Token::Command(other.into())),
            }
        }
        Ok(())
    }

    /// What balanced braces hold, or one character.
    fn group(&mut self) -> Option<String> {
        while self.peek(0) == Some(' ') {
            self.at += 1;
        }
        if self.peek(0)? != '{' {
            self.at += 1;
            return Some(self.characters[self.at - 1].to_string());
        }
        let start = self.at + 1;
        let mut depth = 0usize;
        for (index, c) in self.characters[self.at..].iter().enumerate() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let end = self.at + index;
                self.at = end + 1;
                return Some(self.characters[start..end].iter().collect());
            }
        }
        None
    }

    /// Words in `\text{}`: a connective, a number, or words.
    fn words(&mut self, command: &str, words: &str) -> Result<(), String> {
        let plain = words.replace(['~', '$'], " ").replace("\\ ", " ");
        let trimmed = plain.trim().trim_matches(',').trim();
        self.spaced |= plain.starts_with(' ');
        match trimmed.to_lowercase().as_str() {
            "" => self.spaced = true,
            "and" | "&" => self.push(Token::Join(false)),
            "or" => self.push(Token::Join(true)),
            "pi" | "π" => self.push(Token::Command("pi".into())),
            "%" | "\\%" | "percent" => self.push(Token::Sign('%')),
            lower if command == "operatorname" || (command == "mathrm" && Function::named(lower).is_some()) => {
                self.push(Token::Command(trimmed.to_string()));
            }
            lower
                if lower.starts_with(|c: char| c.is_ascii_digit())
                    || lower.contains(['\\', '{'])
                    || choices(trimmed) =>
            {
                // a formula inside a text, or several letters of choices: read in place
                let rest = self.characters.split_off(self.at);
                self.characters.extend(trimmed.chars());
                self.characters.push(' ');
                self.characters.extend(rest);
                if self.characters.len() > 2 * LONGEST {
                    return Err("its texts are nested too deeply".into());
                }
            }
            _ => self.push(Token::Text(trimmed.to_string())),
        }
        self.spaced |= plain.ends_with(' ');
        Ok(())
    }

    fn letters(&mut self) {
        let start = self.at;
        while self.peek(0).is_some_and(|c| c.is_ascii_alphabetic()) {
            self.at += 1;
        }
        let word: String = self.characters[start..self.at].iter().collect();
        if matches!(word.as_str(), "a" | "p") && self.starts(self.at, ".m") {
            self.at += 2 + usize::from(self.peek(2) == Some('.'));
            return self.push(Token::Text(word + "m"));
        }
        let token = match word.as_str() {
            "and" | "AND" => Token::Join(false),
            "or" | "OR" => Token::Join(true),
            "pi" => Token::Command("pi".into()),
            "infinity" | "infty" => Token::Sign('∞'),
            "percent" | "percentage" | "pct" => Token::Sign('%'),
            "degrees" | "degree" | "deg" => Token::Sign('°'),
            "sqrt" => Token::Sign('√'),
            "U" if self.between_brackets() => Token::Sign('∪'),
            _ if Function::named(&word).is_some() => Token::Command(word),
            _ => Token::Letters(word),
        };
        self.push(token);
    }

    fn between_brackets(&self) -> bool {
        let before = self.words.last().is_some_and(|word| matches!(word.token, Token::Sign(')' | ']' | '⦄')));
        let after = self.characters[self.at..].iter().find(|c| !c.is_whitespace());
        before && after.is_some_and(|c| matches!(c, '(' | '[' | '\\' | '{'))
    }

    fn number(&mut self) -> Result<(), String> {
        let mut digits = self.digits();
        if (1..=3).contains(&digits.len()) {
            while let Some(skip) = self.separator() {
                self.at += skip;
                digits.push_str(&self.digits());
            }
        }
        let mut places = None;
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
            let fraction = self.digits();
            places = Some(u32::try_from(fraction.len()).unwrap_or(u32::MAX));
            digits.push_str(&fraction);
        }
        let exponent = self.exponent()?;
        self.push(Token::Number(Numeral { digits, places, exponent }));
        Ok(())
    }

    fn digits(&mut self) -> String {
        let start = self.at;
        while self.peek(0).is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        self.characters[start..self.at].iter().collect()
    }

    /// The length of a separator of thousands here: three digits follow it, and no fourth.
    fn separator(&self) -> Option<usize> {
        let spaces =
            |from: usize| self.characters[from.min(self.characters.len())..].iter().take_while(|c| **c == ' ').count();
        let lead = spaces(self.at);
        let at = self.at + lead;
        let (mark, sure) = if self.starts(at, "{") {
            let comma = at + 1 + spaces(at + 1);
            let close = comma + 1 + spaces(comma + 1);
            (self.starts(comma, ",") && self.starts(close, "}")).then_some((close + 1 - at, true))?
        } else if self.starts(at, ",\\!") {
            (3, true)
        } else if self.starts(at, "\\,") {
            (2, lead == 0)
        } else if self.starts(at, ",") && lead == 0 {
            (1, self.listings.last().is_none_or(|listing| *listing))
        } else if lead == 1 {
            (0, true)
        } else {
            return None;
        };
        let length = lead + mark + if mark >= 3 { spaces(at + mark) } else { 0 };
        let from = self.at + length;
        let group =
            self.characters[from.min(self.characters.len())..].iter().take_while(|c| c.is_ascii_digit()).count();
        let fraction = mark == 0 && self.characters[from + group.min(3)..].iter().find(|c| **c != ' ') == Some(&'/');
        (sure && group == 3 && !fraction).then_some(length)
    }

    /// `e9`, `E-3` directly after a numeral.
    fn exponent(&mut self) -> Result<i64, String> {
        if !matches!(self.peek(0), Some('e' | 'E')) {
            return Ok(0);
        }
        let sign = usize::from(matches!(self.peek(1), Some('-' | '+')));
        if !self.peek(1 + sign).is_some_and(|c| c.is_ascii_digit()) {
            return Ok(0);
        }
        let negative = self.peek(1) == Some('-');
        self.at += 1 + sign;
        let digits = self.digits();
        let size = digits.parse::<i64>().ok().filter(|size| *size <= LARGEST_EXPONENT);
        let size = size.ok_or_else(|| format!("the exponent of ten {} is too large", digits.len()))?;
        Ok(if negative { -size } else { size })
    }
}

/// Whether a text lists single letters: `A, C`.
fn choices(text: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    text.contains(',') && words.all(|word| word.len() == 1 && word.bytes().all(|b| b.is_ascii_uppercase()))
}
