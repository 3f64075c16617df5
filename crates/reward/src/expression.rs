//! Arithmetic that a model wrote: parsed, never evaluated by an interpreter; exact, and bounded in length and depth.

use num_rational::BigRational;
use num_traits::Zero;

/// A longer text is no answer to a countdown. Also bounds the size of any result.
const LONGEST: usize = 1024;
/// Deepest nesting of brackets and signs, well inside the stack.
const DEEPEST: usize = 64;
/// Most digits of a number.
const MOST_DIGITS: usize = 18;

/// What an expression of whole numbers, `+ - * /` and brackets comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    /// Its exact value.
    pub value: BigRational,
    /// Its numbers in the order in which they stand, signs left out.
    pub numbers: Vec<i64>,
}

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpressionError {
    /// It does not parse; what is wrong, and at which byte.
    Syntax(&'static str, usize),
    /// Something is divided by zero.
    DivisionByZero,
}

impl std::fmt::Display for ExpressionError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ExpressionError::Syntax(what, at) => write!(formatter, "{what} at character {}", at + 1),
            ExpressionError::DivisionByZero => formatter.write_str("a division by zero"),
        }
    }
}

impl std::error::Error for ExpressionError {}

impl Expression {
    /// Parses and computes.
    ///
    /// ```text
    /// sum     = product (('+' | '-') product)*
    /// product = factor (('*' | '×' | '·' | '/' | '÷') factor)*
    /// factor  = ('-' | '+') factor | '(' sum ')' | digits
    /// ```
    ///
    /// # Errors
    /// Anything else, a division by zero, more than 1024 bytes, more than 64 levels, numbers of more than 18 digits.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > LONGEST {
            return Err(ExpressionError::Syntax("too long a text", LONGEST));
        }
        let characters: Vec<char> = text.chars().map(|c| if c == '−' { '-' } else { c }).collect();
        let mut parser = Parser { characters, at: 0, numbers: Vec::new() };
        let value = parser.sum(0)?;
        match parser.peek() {
            None => Ok(Self { value, numbers: parser.numbers }),
            Some(_) => Err(ExpressionError::Syntax("something else than an operator", parser.at)),
        }
    }
}

struct Parser {
    characters: Vec<char>,
    at: usize,
    numbers: Vec<i64>,
}

impl Parser {
    fn peek(&mut self) -> Option<char> {
        while self.characters.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
        self.characters.get(self.at).copied()
    }

    fn sum(&mut self, depth: usize) -> Result<BigRational, ExpressionError> {
        let mut total = self.product(depth)?;
        while let Some(operator @ ('+' | '-')) = self.peek() {
            self.at += 1;
            let next = self.product(depth)?;
            total = if operator == '+' { total + next } else { total - next };
        }
        Ok(total)
    }

    fn product(&mut self, depth: usize) -> Result<BigRational, ExpressionError> {
        let mut total = self.factor(depth)?;
        while let Some(operator @ ('*' | '×' | '·' | '/' | '÷')) = self.peek() {
            self.at += 1;
            let next = self.factor(depth)?;
            if matches!(operator, '*' | '×' | '·') {
                total *= next;
            } else if next.is_zero() {
                return Err(ExpressionError::DivisionByZero);
            } else {
                total /= next;
            }
        }
        Ok(total)
    }

    fn factor(&mut self, depth: usize) -> Result<BigRational, ExpressionError> {
        if depth > DEEPEST {
            return Err(ExpressionError::Syntax("too deep a nesting", self.at));
        }
        match self.peek() {
            Some(sign @ ('-' | '+')) => {
                self.at += 1;
                let value = self.factor(depth + 1)?;
                Ok(if sign == '-' { -value } else { value })
            }
            Some('(') => {
                self.at += 1;
                let value = self.sum(depth + 1)?;
                if self.peek() != Some(')') {
                    return Err(ExpressionError::Syntax("a bracket that is not closed", self.at));
                }
                self.at += 1;
                Ok(value)
            }
            Some(c) if c.is_ascii_digit() => self.number(),
            Some(_) => Err(ExpressionError::Syntax("something else than a number", self.at)),
            None => Err(ExpressionError::Syntax("a number is missing", self.at)),
        }
    }

    fn number(&mut self) -> Result<BigRational, ExpressionError> {
        let start = self.at;
        while self.characters.get(self.at).is_some_and(char::is_ascii_digit) {
            self.at += 1;
        }
        let digits: String = self.characters[start..self.at].iter().collect();
        if digits.len() > MOST_DIGITS {
            return Err(ExpressionError::Syntax("too long a number", start));
        }
        if digits.len() > 1 && digits.starts_with('0') {
            return Err(ExpressionError::Syntax("a number that starts with 0", start));
        }
        let number: i64 = digits.parse().map_err(|_| ExpressionError::Syntax("no number", start))?;
        self.numbers.push(number);
        Ok(BigRational::from_integer(number.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_is_exact_and_binds_as_in_school() {
        for (text, numerator, denominator) in [
            ("2 + 3 * 4", 14, 1),
            ("(2 + 3) * 4", 20, 1),
            ("10 - 4 - 3", 3, 1),
            ("8 / 4 / 2", 1, 1),
            ("1 / 3 + 1 / 6", 1, 2),
            ("-(2 - 5) × 2", 6, 1),
            ("2 - -3", 5, 1),
            ("0", 0, 1),
        ] {
            let value = Expression::parse(text).unwrap().value;
            assert_eq!(value, BigRational::new(numerator.into(), denominator.into()), "{text}");
        }
        assert_eq!(Expression::parse("9 + 48 - 7").unwrap().numbers, [9, 48, 7]);
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "()",
            "(1",
            "1)",
            "1 2",
            "1 +",
            "* 1",
            "1 ** 2",
            "2^3",
            "3!",
            "07",
            "1.5",
            "x",
            "1 = 1",
            "__import__('os')",
            "1e9",
            "1//2",
            "0x10",
        ] {
            assert!(matches!(Expression::parse(text), Err(ExpressionError::Syntax(..))), "{text}");
        }
        assert_eq!(Expression::parse("1 / (2 - 2)"), Err(ExpressionError::DivisionByZero));
        assert!(Expression::parse(&"(".repeat(1000)).is_err());
        assert!(Expression::parse(&"-".repeat(1024)).is_err());
        assert!(Expression::parse(&"1+".repeat(5000)).is_err());
        assert!(Expression::parse(&"9".repeat(19)).is_err());
    }
}
