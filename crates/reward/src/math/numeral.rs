//! The grammar of answers, continued: numerals, mixed numbers, repeating decimals, numerals of other bases.

use num_rational::BigRational;
use num_traits::{One, Zero};

use super::lex::{Lexeme, Numeral, Token};
use super::node::Node;
use super::parse::{Parse, Parser, whole_number};

impl Parser {
    /// Splits letters that stand together, so that the next word is one of them.
    pub(super) fn single_letter(&mut self) {
        let Some(Token::Letters(word)) = self.peek() else { return };
        if word.len() > 1 {
            let (first, rest) = (word[..1].to_string(), word[1..].to_string());
            self.words[self.at].token = Token::Letters(rest);
            let spaced = std::mem::take(&mut self.words[self.at].spaced);
            self.words.insert(self.at, Lexeme { token: Token::Letters(first), spaced });
        }
    }

    /// A number, with what makes it a mixed one or one of another base.
    pub(super) fn number(&mut self, numeral: &Numeral) -> Parse<Node> {
        self.at += 1;
        let value = numeral.value();
        if self.sign() == Some('_') {
            let (at, whole) = (self.at, numeral.places.is_none());
            self.at += 1;
            let base = self.deeper(Self::argument)?;
            return match whole_number(&base) {
                Some(base @ 2..=36) if whole => Ok(Node::Based(numeral.digits.trim_start_matches('0').into(), base)),
                _ => {
                    self.at = at;
                    Err("a numeral has a subscript that is no base".into())
                }
            };
        }
        if let Some(value) = self.repeating(numeral) {
            return Ok(Node::exact(value));
        }
        if value.is_integer()
            && numeral.places.is_none()
            && let Some(fraction) = self.mixed()
        {
            return Ok(Node::exact(value + fraction));
        }
        Ok(Node::Number { value, places: numeral.places })
    }

    /// `0.1\overline{6}`: the digits under the bar repeat without end.
    fn repeating(&mut self, numeral: &Numeral) -> Option<BigRational> {
        let point = usize::from(self.sign() == Some('.'));
        if point == usize::from(numeral.places.is_some()) || numeral.exponent != 0 {
            return None;
        }
        let word = |ahead: usize| self.ahead(point + ahead);
        let braces = word(1) == Some(&Token::Sign('{')) && word(3) == Some(&Token::Sign('}'));
        let Some(Token::Number(period)) =
            word(2).filter(|_| braces && word(0) == Some(&Token::Command("overline".into())))
        else {
            return None;
        };
        let length = u32::try_from(period.digits.len()).ok().filter(|_| period.places.is_none())?;
        let ten = |power: u32| BigRational::from_integer(num_bigint::BigInt::from(10).pow(power));
        let period = period.value() / (ten(length) - BigRational::one()) / ten(numeral.places.unwrap_or(0));
        self.at += point + 4;
        Some(numeral.value() + period)
    }

    /// The fraction of a mixed number, which follows a whole number: `\frac{3}{4}` or ` 3/4`.
    fn mixed(&mut self) -> Option<BigRational> {
        let number = |token: Option<&Token>| match token {
            Some(Token::Number(numeral)) if numeral.places.is_none() && numeral.exponent == 0 => Some(numeral.value()),
            _ => None,
        };
        let sign = |ahead: usize, sign: char| self.ahead(ahead) == Some(&Token::Sign(sign));
        let (above, below, length) = if self.peek() == Some(&Token::Command("frac".into())) {
            if sign(1, '{') && sign(3, '}') && sign(4, '{') && sign(6, '}') {
                (number(self.ahead(2))?, number(self.ahead(5))?, 7)
            } else {
                return None;
            }
        } else if sign(1, '/') && self.words.get(self.at)?.spaced {
            (number(self.peek())?, number(self.ahead(2))?, 3)
        } else {
            return None;
        };
        if below.is_zero() || above >= below {
            return None;
        }
        self.at += length;
        Some(above / below)
    }
}
