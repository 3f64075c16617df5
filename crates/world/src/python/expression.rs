//! `calculate`: TAU-bench's tool evaluates its text as Python, so this is Python's arithmetic on `0123456789+-*/(). `.
//!
//! What those characters can spell beside numbers is here too: `()` is an empty tuple, `...` an ellipsis, `2(3)` a call, `(-8)**.5`
//! a complex number; an agent that writes such a thing sees the exception that Python raises.

use super::arithmetic::{Found, binary};
use super::operate::{Raised, cents};
use super::print::repr_float;
use super::{Value, contains, iterate};

/// Nested brackets, signs and powers; CPython's own parser stops at 200 brackets.
const DEEPEST: usize = 200;
/// Characters of an expression.
const LONGEST: usize = 10_000;

/// What the tool `calculate` answers: the number rounded to cents, or `Error: …`.
///
/// # Errors
/// What Python raises on an expression that is no text.
pub fn calculate(expression: &Value) -> Result<String, Raised> {
    let allowed = Value::str("0123456789+-*/(). ");
    for character in iterate(expression)? {
        if !contains(&allowed, &character)? {
            return Ok("Error: invalid characters in expression".into());
        }
    }
    let Value::Str(text) = expression else {
        return Ok("Error: eval() arg 1 must be a string, bytes or code object".into());
    };
    Ok(match evaluate(text).and_then(|found| found.float()) {
        Ok(number) => repr_float(cents(number)),
        Err(Raised(words)) => format!("Error: {words}"),
    })
}

fn evaluate(text: &str) -> Result<Found, Raised> {
    if text.len() > LONGEST {
        return raise("too many characters in expression");
    }
    let (tokens, open) = tokens(text)?;
    if tokens.is_empty() {
        return raise("invalid syntax (<string>, line 0)");
    }
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0, open };
    let tree = parser.sum()?;
    if parser.at < tokens.len() {
        return parser.syntax();
    }
    tree.value()
}

fn raise<T>(words: impl Into<String>) -> Result<T, Raised> {
    Err(Raised(words.into()))
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(Found),
    Ellipsis,
    Sign(&'static str),
}

/// The tokens, and whether a bracket stays open.
fn tokens(text: &str) -> Result<(Vec<Token>, bool), Raised> {
    let bytes = text.as_bytes();
    let (mut tokens, mut at, mut open) = (Vec::new(), 0, 0usize);
    while at < bytes.len() {
        let rest = &text[at..];
        let sign = ["**", "//", "+", "-", "*", "/", "(", ")"].into_iter().find(|sign| rest.starts_with(sign));
        match (bytes[at], sign) {
            (b' ', _) => at += 1,
            (_, Some(sign)) => {
                match (sign, open) {
                    ("(", _) => open += 1,
                    (")", 0) => return raise("unmatched ')' (<string>, line 1)"),
                    (")", _) => open -= 1,
                    _ => {}
                }
                tokens.push(Token::Sign(sign));
                at += sign.len();
            }
            _ if rest.starts_with("...") => {
                tokens.push(Token::Ellipsis);
                at += 3;
            }
            _ => {
                let (token, length) = number(rest)?;
                tokens.push(token);
                at += length;
            }
        }
    }
    Ok((tokens, open > 0))
}

/// The number or lone point at the start of a text, and its length.
fn number(text: &str) -> Result<(Token, usize), Raised> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(text);
    let point = text[whole..].starts_with('.');
    let fraction = if point { digits(&text[whole + 1..]) } else { 0 };
    if whole + fraction == 0 {
        return Ok((Token::Sign("."), 1));
    }
    let length = whole + usize::from(point) + fraction;
    if point {
        return Ok((Token::Number(Found::Float(text[..length].parse().unwrap_or(f64::INFINITY))), length));
    }
    if text.starts_with('0') && text[..whole].bytes().any(|digit| digit != b'0') {
        return raise(
            "leading zeros in decimal integer literals are not permitted; use an 0o prefix for octal integers (<string>, line 1)",
        );
    }
    Ok((Token::Number(Found::Int(text[..whole].parse().unwrap_or_default())), length))
}

/// An expression, read before anything of it is computed: syntax errors come before all others.
enum Tree {
    Leaf(Found),
    Binary(Box<Tree>, &'static str, Box<Tree>),
    Unary(&'static str, Box<Tree>),
    Call(Box<Tree>),
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
    open: bool,
}

impl Parser<'_> {
    fn sign(&mut self, signs: &[&'static str]) -> Option<&'static str> {
        match self.tokens.get(self.at) {
            Some(Token::Sign(sign)) if signs.contains(sign) => {
                self.at += 1;
                Some(sign)
            }
            _ => None,
        }
    }

    /// What Python says of the token that fits nowhere: it complains of an open bracket only where it had to read to the end, and of two
    /// values side by side in brackets as of a forgotten comma.
    fn syntax<T>(&self) -> Result<T, Raised> {
        let before = &self.tokens[..self.at];
        let brackets =
            |sign: &str| before.iter().filter(|token| matches!(token, Token::Sign(own) if *own == sign)).count();
        let value = |token: Option<&Token>| matches!(token, Some(Token::Number(_) | Token::Ellipsis));
        let beside =
            value(self.tokens.get(self.at)) && (value(before.last()) || before.last() == Some(&Token::Sign(")")));
        let comma = beside && brackets("(") > brackets(")");
        let mut ahead = Parser { at: self.at, ..*self };
        if comma {
            let _ = ahead.product();
        }
        if self.open && ahead.at >= self.tokens.len() {
            return raise("'(' was never closed (<string>, line 1)");
        }
        if comma {
            return raise("invalid syntax. Perhaps you forgot a comma? (<string>, line 1)");
        }
        raise("invalid syntax (<string>, line 1)")
    }

    fn deeper(&mut self) -> Result<(), Raised> {
        self.depth += 1;
        if self.depth > DEEPEST { raise("too many nested parentheses (<string>, line 1)") } else { Ok(()) }
    }

    fn sum(&mut self) -> Result<Tree, Raised> {
        let mut left = self.product()?;
        while let Some(sign) = self.sign(&["+", "-"]) {
            left = Tree::Binary(Box::new(left), sign, Box::new(self.product()?));
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Tree, Raised> {
        let mut left = self.signed()?;
        while let Some(sign) = self.sign(&["*", "//", "/"]) {
            left = Tree::Binary(Box::new(left), sign, Box::new(self.signed()?));
        }
        Ok(left)
    }

    fn signed(&mut self) -> Result<Tree, Raised> {
        let Some(sign) = self.sign(&["+", "-"]) else { return self.power() };
        self.deeper()?;
        let tree = Tree::Unary(sign, Box::new(self.signed()?));
        self.depth -= 1;
        Ok(tree)
    }

    fn power(&mut self) -> Result<Tree, Raised> {
        let base = self.called()?;
        if self.sign(&["**"]).is_none() {
            return Ok(base);
        }
        self.deeper()?;
        let exponent = self.signed()?;
        self.depth -= 1;
        Ok(Tree::Binary(Box::new(base), "**", Box::new(exponent)))
    }

    fn called(&mut self) -> Result<Tree, Raised> {
        let mut tree = self.atom()?;
        while self.sign(&["("]).is_some() {
            self.deeper()?;
            if self.sign(&[")"]).is_none() {
                self.sum()?;
                self.close()?;
            }
            self.depth -= 1;
            tree = Tree::Call(Box::new(tree));
        }
        Ok(tree)
    }

    fn close(&mut self) -> Result<(), Raised> {
        if self.sign(&[")"]).is_some() { Ok(()) } else { self.syntax() }
    }

    fn atom(&mut self) -> Result<Tree, Raised> {
        if self.sign(&["("]).is_some() {
            if self.sign(&[")"]).is_some() {
                return Ok(Tree::Leaf(Found::Tuple));
            }
            self.deeper()?;
            let tree = self.sum()?;
            self.close()?;
            self.depth -= 1;
            return Ok(tree);
        }
        let leaf = match self.tokens.get(self.at) {
            Some(Token::Number(number)) => number.clone(),
            Some(Token::Ellipsis) => Found::Ellipsis,
            _ => return self.syntax(),
        };
        self.at += 1;
        Ok(Tree::Leaf(leaf))
    }
}

impl Tree {
    fn value(self) -> Result<Found, Raised> {
        match self {
            Tree::Leaf(found) => Ok(found),
            Tree::Unary(sign, tree) => tree.value()?.signed(sign),
            Tree::Call(tree) => raise(format!("'{}' object is not callable", tree.value()?.type_name())),
            // sums and products of many parts lean to the left: walk down that side instead of calling
            Tree::Binary(left, sign, right) => {
                let (mut left, mut waiting) = (*left, vec![(sign, *right)]);
                while let Tree::Binary(inner, sign, right) = left {
                    waiting.push((sign, *right));
                    left = *inner;
                }
                let mut found = left.value()?;
                while let Some((sign, right)) = waiting.pop() {
                    found = binary(found, sign, right.value()?)?;
                }
                Ok(found)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(text: &str) -> String {
        calculate(&Value::str(text)).unwrap()
    }

    #[test]
    fn numbers_as_python_rounds_and_prints_them() {
        for (text, printed) in [
            ("2 + 2", "4.0"),
            ("  5  ", "5.0"),
            ("2**1000", "1.0715086071862673e+301"),
            ("-2**2", "-4.0"),
            ("2**3**2", "512.0"),
            ("2**-1", "0.5"),
            ("2**-2**2", "0.06"),
            ("7//2", "3.0"),
            ("-7//2", "-4.0"),
            ("5//-2", "-3.0"),
            ("-7//2.5", "-3.0"),
            ("0.125", "0.12"),
            ("0.375", "0.38"),
            ("2.675*1", "2.67"),
            ("-0.001", "-0.0"),
            ("1/7*100", "14.29"),
            ("10**309/10**308", "10.0"),
            ("123456789012345678901234567890/7", "1.763668414462081e+28"),
            ("10**16*1.0", "1e+16"),
            ("2**1023*2.0", "inf"),
            ("1*-1", "-1.0"),
            ("1 - - 1", "2.0"),
            ("00", "0.0"),
            ("09.5", "9.5"),
            (".5", "0.5"),
            ("0**0", "1.0"),
            ("(-1)**99999999999", "-1.0"),
            ("(-1)**99999999998", "1.0"),
            ("0**99999999999", "0.0"),
            ("8/2*(2+2)", "16.0"),
        ] {
            assert_eq!(said(text), printed, "{text}");
        }
    }

    #[test]
    fn exceptions_in_pythons_words() {
        let zeros = "leading zeros in decimal integer literals are not permitted; use an 0o prefix for octal integers (<string>, line 1)";
        for (text, words) in [
            ("1/0", "division by zero"),
            ("1//0", "integer division or modulo by zero"),
            ("1.0/0", "float division by zero"),
            ("1//0.0", "float floor division by zero"),
            ("0**-1", "0.0 cannot be raised to a negative power"),
            ("9**9**9", "int too large to convert to float"),
            ("10**400*1.0", "int too large to convert to float"),
            ("10.0**400", "(34, 'Numerical result out of range')"),
            ("(-8)**.5", "float() argument must be a string or a real number, not 'complex'"),
            ("(-8)**.5//2", "unsupported operand type(s) for //: 'complex' and 'int'"),
            ("", "invalid syntax (<string>, line 0)"),
            ("1 +", "invalid syntax (<string>, line 1)"),
            ("1 2", "invalid syntax (<string>, line 1)"),
            ("(1 2)", "invalid syntax. Perhaps you forgot a comma? (<string>, line 1)"),
            ("(1", "'(' was never closed (<string>, line 1)"),
            ("(1 2", "'(' was never closed (<string>, line 1)"),
            ("(1 2)(", "invalid syntax. Perhaps you forgot a comma? (<string>, line 1)"),
            ("/2-2(5", "invalid syntax (<string>, line 1)"),
            ("1)", "unmatched ')' (<string>, line 1)"),
            ("007", zeros),
            ("1 007", zeros),
            ("1..", "invalid syntax (<string>, line 1)"),
            ("()", "float() argument must be a string or a real number, not 'tuple'"),
            ("...", "float() argument must be a string or a real number, not 'ellipsis'"),
            ("2(3)", "'int' object is not callable"),
            ("()+1", "can only concatenate tuple (not \"int\") to tuple"),
            ("()*1.5", "can't multiply sequence by non-int of type 'float'"),
            ("2**()", "unsupported operand type(s) for ** or pow(): 'int' and 'tuple'"),
            ("-...", "bad operand type for unary -: 'ellipsis'"),
            ("1e5", "invalid characters in expression"),
        ] {
            assert_eq!(said(text), format!("Error: {words}"), "{text}");
        }
        assert_eq!(calculate(&Value::int(5)).unwrap_err().0, "'int' object is not iterable");
        let characters = Value::list([Value::str("1")]);
        assert_eq!(calculate(&characters).unwrap(), "Error: eval() arg 1 must be a string, bytes or code object");
    }

    #[test]
    fn long_and_deep_expressions_end() {
        assert_eq!(said(&vec!["1"; 3000].join("+")), "3000.0");
        assert!(said(&format!("{}1{}", "(".repeat(4000), ")".repeat(4000))).starts_with("Error: too many nested"));
        assert!(said(&"-".repeat(9000)).starts_with("Error: "));
        assert!(said(&format!("2{}", "**2".repeat(3000))).starts_with("Error: "));
        assert!(said(&format!("2{}", "(2)".repeat(3000))).starts_with("Error: 'int'"));
        assert!(said(&"9".repeat(20_000)).starts_with("Error: too many characters"));
        assert!(said(&vec!["9"; 4000].join("*")).starts_with("Error: int too large"));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[0-9+\\-*/(). ]{0,30}") {
            let _ = said(&text);
        }
    }
}
