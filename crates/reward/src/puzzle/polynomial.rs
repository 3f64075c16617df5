//! Polynomials in one variable that a model wrote: parsed, never run; exact, and bounded.

use std::collections::BTreeMap;

use num_rational::BigRational;
use num_traits::{One, ToPrimitive, Zero};

/// A longer text is no answer.
const LONGEST: usize = 2048;
/// Deepest nesting of brackets and signs, well inside the stack.
const DEEPEST: usize = 32;
/// Largest exponent, and most terms: the largest that are asked for have exponent 32.
const MOST: u32 = 128;
/// Most digits of a number.
const MOST_DIGITS: usize = 18;
/// Most bits of a coefficient: products of products stop here.
const MOST_BITS: u64 = 4096;

/// Coefficients by the exponents of the variable and of the constant `C`; none is 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Polynomial(BTreeMap<(u32, u32), BigRational>);

impl Polynomial {
    /// Parses sums, differences, products, quotients by numbers and whole powers; `^` and `**` are powers, `2x` is a
    /// product. `C` is an unknown constant; with `loose` so is every other letter.
    pub(super) fn parse(text: &str, variable: char, loose: bool) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let plain = text.replace("**", "^").replace('−', "-").replace(['×', '·'], "*");
        let characters: Vec<char> = plain.chars().filter(|c| !c.is_whitespace()).collect();
        let mut parser = Parser { characters, at: 0, variable, loose };
        let value = parser.sum(0)?;
        (parser.peek().is_none()).then_some(value)
    }

    /// The derivative by the variable; `C` is a constant.
    pub(super) fn derivative(&self) -> Self {
        let term = |((power, constant), amount): (&(u32, u32), &BigRational)| {
            (*power > 0).then(|| ((power - 1, *constant), amount * BigRational::from_integer((*power).into())))
        };
        Self(self.0.iter().filter_map(term).collect())
    }

    fn one(key: (u32, u32), amount: BigRational) -> Self {
        Self([(key, amount)].into_iter().filter(|(_, amount)| !amount.is_zero()).collect())
    }

    fn plus(mut self, other: Self, sign: i64) -> Self {
        for (key, amount) in other.0 {
            *self.0.entry(key).or_insert_with(BigRational::zero) += amount * BigRational::from_integer(sign.into());
        }
        self.0.retain(|_, amount| !amount.is_zero());
        self
    }

    fn times(&self, other: &Self) -> Option<Self> {
        let mut product = Self::default();
        for ((power, constant), amount) in &self.0 {
            for ((other_power, other_constant), other_amount) in &other.0 {
                let key = (power + other_power, constant + other_constant);
                let bits = amount.numer().bits()
                    + amount.denom().bits()
                    + other_amount.numer().bits()
                    + other_amount.denom().bits();
                if key.0 > MOST || key.1 > MOST || bits > MOST_BITS {
                    return None;
                }
                product = product.plus(Self::one(key, amount * other_amount), 1);
            }
        }
        (product.0.len() <= MOST as usize).then_some(product)
    }

    /// The number that it is, where it is one.
    fn number(&self) -> Option<BigRational> {
        match self.0.len() {
            0 => Some(BigRational::zero()),
            1 => self.0.get(&(0, 0)).cloned(),
            _ => None,
        }
    }
}

struct Parser {
    characters: Vec<char>,
    at: usize,
    variable: char,
    loose: bool,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    fn is_constant(&self, c: char) -> bool {
        c == 'C' || (self.loose && c.is_ascii_alphabetic() && c != self.variable)
    }

    fn sum(&mut self, depth: usize) -> Option<Polynomial> {
        let mut total = self.product(depth)?;
        while let Some(operator @ ('+' | '-')) = self.peek() {
            self.at += 1;
            total = total.plus(self.product(depth)?, if operator == '+' { 1 } else { -1 });
        }
        Some(total)
    }

    fn product(&mut self, depth: usize) -> Option<Polynomial> {
        let mut total = self.factor(depth)?;
        loop {
            match self.peek() {
                Some('*') => {
                    self.at += 1;
                    total = total.times(&self.factor(depth)?)?;
                }
                Some('/') => {
                    self.at += 1;
                    let divisor = self.factor(depth)?.number().filter(|number| !number.is_zero())?;
                    total = total.times(&Polynomial::one((0, 0), divisor.recip()))?;
                }
                Some(c) if c == self.variable || self.is_constant(c) || c == '(' => {
                    total = total.times(&self.factor(depth)?)?
                }
                _ => return Some(total),
            }
        }
    }

    fn factor(&mut self, depth: usize) -> Option<Polynomial> {
        if depth > DEEPEST {
            return None;
        }
        if let Some(sign @ ('+' | '-')) = self.peek() {
            self.at += 1;
            let value = self.factor(depth + 1)?;
            return Some(if sign == '-' { Polynomial::default().plus(value, -1) } else { value });
        }
        let base = self.atom(depth)?;
        if self.peek() != Some('^') {
            return Some(base);
        }
        self.at += 1;
        let exponent = self.factor(depth + 1)?.number()?;
        let exponent =
            exponent.is_integer().then(|| exponent.to_integer().to_u32()).flatten().filter(|power| *power <= MOST)?;
        let one = Polynomial::one((0, 0), BigRational::one());
        (0..exponent).try_fold(one, |power, _| power.times(&base))
    }

    fn atom(&mut self, depth: usize) -> Option<Polynomial> {
        match self.peek()? {
            '(' => {
                self.at += 1;
                let value = self.sum(depth + 1)?;
                (self.peek() == Some(')')).then(|| self.at += 1)?;
                Some(value)
            }
            c if c == self.variable => {
                self.at += 1;
                Some(Polynomial::one((1, 0), BigRational::one()))
            }
            c if self.is_constant(c) => {
                self.at += 1;
                Some(Polynomial::one((0, 1), BigRational::one()))
            }
            c if c.is_ascii_digit() => self.number(),
            _ => None,
        }
    }

    /// `12` or `1.5`.
    fn number(&mut self) -> Option<Polynomial> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit() || c == '.') {
            self.at += 1;
        }
        let text: String = self.characters[start..self.at].iter().collect();
        let (whole, places) = text.split_once('.').unwrap_or((&text, ""));
        let digits = format!("{whole}{places}");
        if digits.len() > MOST_DIGITS || places.contains('.') || digits.is_empty() {
            return None;
        }
        let unit = num_bigint::BigInt::from(10).pow(places.len() as u32);
        Some(Polynomial::one((0, 0), BigRational::new(digits.parse().ok()?, unit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_polynomials_are_equal_however_they_are_written() {
        for (a, b) in [
            ("2*x**3 - 4*x/3 + 1", "1+2x^3-(4/3)x"),
            ("(x+1)^2", "x*x + 2*x + 1"),
            ("-x**2", "0 - x*x"),
            ("0.5*x", "x/2"),
            ("x - x", "0"),
            ("2(x+1)", "2*x+2"),
        ] {
            assert_eq!(
                Polynomial::parse(a, 'x', false).unwrap(),
                Polynomial::parse(b, 'x', false).unwrap(),
                "{a}, {b}"
            );
        }
        assert_eq!(Polynomial::parse("x + k", 'x', false), None);
        assert_eq!(Polynomial::parse("x + k", 'x', true), Polynomial::parse("x + C", 'x', true));
        let derivative = Polynomial::parse("x**3/3 - 5*x + C", 'x', false).unwrap().derivative();
        assert_eq!(derivative, Polynomial::parse("x**2 - 5", 'x', false).unwrap());
    }

    #[test]
    fn everything_else_is_refused_in_bounded_work() {
        for text in
            ["", "x+", "y", "1/x", "x**x", "x**-1", "x**1000", "1/0", "sin(x)", "__import__('os')", "1.2.3", "(x", "x)"]
        {
            assert_eq!(Polynomial::parse(text, 'x', false), None, "{text}");
        }
        assert_eq!(Polynomial::parse(&"(".repeat(2000), 'x', false), None);
        assert_eq!(Polynomial::parse(&"(9**128)**128".repeat(20), 'x', false), None);
        assert_eq!(Polynomial::parse(&"(x+C+1)**64*".repeat(50), 'x', false), None);
    }
}
