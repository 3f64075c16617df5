//! The grammar of answers.
//!
//! ```text
//! answer   = item ((',' | ';' | 'and' | 'or') item)*
//! item     = ratio (relation ratio)*                    relation = = ≠ < ≤ > ≥ ≈ ∈
//! ratio    = sets (':' sets)*
//! sets     = sum (('∪' | '∩' | '∖') sum)*
//! sum      = ['+' | '-' | '±' | '∓'] product (('+' | '-' | '±' | '∓') product)*
//! product  = unary (('*' | '/') unary | power | unit)*
//! unary    = ('+' | '-')* power
//! power    = postfix ['^' exponent]
//! postfix  = atom ('!' | '%' | '°' | "'")*
//! ```

use num_traits::One;

use super::lex::{Lexeme, Token, lex};
use super::node::{Node, Relation};

/// Deepest nesting of brackets, braces, exponents and signs; well inside the stack of any thread.
const DEEPEST: usize = 64;
/// Most divisions, set signs or marks in one row: each makes the tree one level deeper.
const MOST_IN_A_ROW: usize = 16;
/// Most factors of a product.
const MOST_FACTORS: usize = 256;
/// Most members of a list, a set, a matrix row or a relation.
pub(super) const MOST_MEMBERS: usize = 64;

/// What a parser function gives: what is wrong is said in words.
pub(super) type Parse<T> = Result<T, String>;

/// Reads an answer.
///
/// # Errors
/// What cannot be read, in words.
pub(crate) fn parse(text: &str) -> Parse<Node> {
    let trimmed = text.trim().trim_end_matches(['.', ',', ';', ':']).trim();
    let mut words = lex(trimmed)?;
    while words.last().is_some_and(|word| matches!(word.token, Token::Sign('.' | ',' | ';'))) {
        words.pop();
    }
    if words.is_empty() {
        return Err("it is empty".into());
    }
    if let Some(text) = only_words(&words) {
        return Ok(text);
    }
    let mut parser = Parser { words, at: 0, depth: 0, bars: 0, set: false };
    let node = parser.answer(None)?;
    match parser.peek() {
        None => Ok(node),
        Some(token) => Err(format!("{} is not expected", shown(token))),
    }
}

/// An answer of words alone; one letter, in brackets or not, is a name.
fn only_words(words: &[Lexeme]) -> Option<Node> {
    let mut spoken = Vec::new();
    let mut sure = false;
    let single = |word: &Lexeme| matches!(&word.token, Token::Letters(text) if text.len() == 1);
    let variables = words.iter().any(single); // p − q is no word
    for word in words {
        match &word.token {
            Token::Text(text) => {
                spoken.push(text.clone());
                sure = true;
            }
            Token::Letters(text) => {
                sure |= text.len() > 3;
                spoken.push(text.clone());
            }
            Token::Join(or) if words.len() > 3 && sure => spoken.push(if *or { "or".into() } else { "and".into() }),
            Token::Sign('-') if spoken.is_empty() || variables => return None,
            Token::Sign('(' | ')' | '-' | '\'' | '.' | '{' | '}') => {}
            _ => return None,
        }
    }
    let letters: String = spoken.concat().chars().filter(|c| c.is_alphanumeric()).collect();
    let mut each = letters.chars();
    match (each.next(), each.next()) {
        (Some(only), None) if words.len() <= 5 => Some(letter(only)),
        (Some(_), Some(_)) if sure => {
            let spoken = spoken.join(" ").to_lowercase();
            let kept: String = spoken.chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
            Some(Node::Text(kept.split_whitespace().collect::<Vec<_>>().join(" ")))
        }
        _ => None,
    }
}

/// A single letter: e and i are constants.
pub(super) fn letter(letter: char) -> Node {
    match letter {
        'e' => Node::E,
        'i' => Node::I,
        other => Node::Name(other.to_string()),
    }
}

/// A word of the text, for messages.
pub(super) fn shown(token: &Token) -> String {
    match token {
        Token::Number(numeral) => format!("the number {}", numeral.digits.chars().take(20).collect::<String>()),
        Token::Letters(word) | Token::Name(word) | Token::Text(word) => format!("`{word}`"),
        Token::Command(name) => format!("`\\{name}`"),
        Token::Join(_) => "a connective".into(),
        Token::Sign('\n') => "a new row".into(),
        Token::Sign(sign) => format!("`{sign}`"),
    }
}

pub(super) struct Parser {
    pub(super) words: Vec<Lexeme>,
    pub(super) at: usize,
    depth: usize,
    /// Bars of absolute values that are open at this level of brackets.
    pub(super) bars: usize,
    /// Inside the braces of a set, where a bar means "such that".
    pub(super) set: bool,
}

impl Parser {
    pub(super) fn peek(&self) -> Option<&Token> {
        self.words.get(self.at).map(|word| &word.token)
    }

    pub(super) fn ahead(&self, ahead: usize) -> Option<&Token> {
        self.words.get(self.at + ahead).map(|word| &word.token)
    }

    pub(super) fn sign(&self) -> Option<char> {
        match self.peek() {
            Some(Token::Sign(sign)) => Some(*sign),
            _ => None,
        }
    }

    pub(super) fn eat(&mut self, sign: char) -> bool {
        let found = self.sign() == Some(sign);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, sign: char) -> Parse<()> {
        if self.eat(sign) {
            return Ok(());
        }
        Err(match self.peek() {
            Some(token) => format!("`{sign}` is expected, not {}", shown(token)),
            None => format!("`{sign}` is missing"),
        })
    }

    /// Runs a rule one level deeper.
    pub(super) fn deeper<T>(&mut self, rule: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        if self.depth >= DEEPEST {
            return Err(format!("it is nested deeper than {DEEPEST} levels"));
        }
        self.depth += 1;
        let result = rule(self);
        self.depth -= 1;
        result
    }

    /// Members up to the closing sign, or to the end of the text.
    pub(super) fn answer(&mut self, close: Option<char>) -> Parse<Node> {
        let mut items = Vec::new();
        let mut or = 0usize;
        loop {
            items.push(self.item()?);
            let mut separated = false;
            while let Some(token) = self.peek() {
                match token {
                    Token::Join(is_or) => or += usize::from(*is_or),
                    Token::Sign(',' | ';') => {}
                    _ => break,
                }
                separated = true;
                self.at += 1;
            }
            let ended = self.peek().is_none() || (close.is_some() && self.sign() == close);
            // two answers side by side, each in its own box, are two members
            let beside = !separated && self.beside();
            if ended || !(separated || beside) {
                break;
            }
            if items.len() >= MOST_MEMBERS {
                return Err(format!("it has more than {MOST_MEMBERS} members"));
            }
        }
        Ok(match items.len() {
            1 => items.swap_remove(0),
            length if or > 0 && or + 1 == length => Node::Either(items),
            _ => Node::List(items),
        })
    }

    /// Whether a space and then a new statement follow: `x = 5 \quad y = 3`.
    fn beside(&self) -> bool {
        let spaced = self.words.get(self.at).is_some_and(|word| word.spaced);
        spaced
            && matches!(self.peek(), Some(Token::Letters(_) | Token::Name(_)))
            && self.ahead(1) == Some(&Token::Sign('='))
    }

    pub(super) fn item(&mut self) -> Parse<Node> {
        self.deeper(|parser| {
            let mut sides = vec![parser.ratio()?];
            let mut relations = Vec::new();
            while let Some(relation) = parser.relation() {
                parser.at += 1;
                relations.push(relation);
                sides.push(parser.ratio()?);
                if sides.len() > MOST_MEMBERS {
                    return Err(format!("it has more than {MOST_MEMBERS} sides"));
                }
            }
            Ok(if relations.is_empty() { sides.swap_remove(0) } else { Node::Relation(sides, relations) })
        })
    }

    fn relation(&self) -> Option<Relation> {
        Some(match self.sign()? {
            '=' => Relation::Equal,
            '≠' => Relation::NotEqual,
            '<' => Relation::Less,
            '≤' => Relation::LessEqual,
            '>' => Relation::Greater,
            '≥' => Relation::GreaterEqual,
            '≈' => Relation::About,
            '∈' => Relation::In,
            _ => return None,
        })
    }

    fn ratio(&mut self) -> Parse<Node> {
        let mut parts = vec![self.sets()?];
        while self.eat(':') {
            parts.push(self.sets()?);
            if parts.len() > MOST_MEMBERS {
                return Err(format!("it has more than {MOST_MEMBERS} parts"));
            }
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Node::Ratio(parts) })
    }

    fn sets(&mut self) -> Parse<Node> {
        let mut node = self.sum()?;
        let mut count = 0;
        while let Some(sign @ ('∪' | '∩' | '∖')) = self.sign() {
            self.at += 1;
            count += 1;
            if count > MOST_IN_A_ROW {
                return Err(format!("it joins more than {MOST_IN_A_ROW} sets"));
            }
            node = Node::Sets(Box::new(node), sign, Box::new(self.sum()?));
        }
        Ok(node)
    }

    pub(super) fn sum(&mut self) -> Parse<Node> {
        let mut terms = Vec::new();
        loop {
            let sign = self.sign().filter(|sign| matches!(sign, '+' | '-' | '±' | '∓'));
            if sign.is_none() && !terms.is_empty() {
                break;
            }
            self.at += usize::from(sign.is_some());
            if sign == Some('+') && self.eat('-') {
                // `+-` is how plain text writes ±
                let term = self.product()?;
                terms.push(if terms.is_empty() { Node::PlusMinus(Box::new(term), false) } else { term.negated() });
                continue;
            }
            let term = self.product()?;
            terms.push(match sign {
                Some('-') => term.negated(),
                Some('±') => Node::PlusMinus(Box::new(term), false),
                Some('∓') => Node::PlusMinus(Box::new(term), true),
                _ => term,
            });
        }
        if terms.len() == 1 {
            return Ok(terms.swap_remove(0));
        }
        // the unit behind the last term is that of the sum: 18 + 2π cm
        let one_unit = terms.iter().rev().skip(1).all(|term| !term.any(&|node| matches!(node, Node::Measured(..))));
        let unit = match terms.last_mut() {
            Some(Node::Measured(inner, unit)) if one_unit => {
                let (value, unit) = ((**inner).clone(), std::mem::take(unit));
                Some((value, unit))
            }
            Some(Node::PlusMinus(inner, flipped)) if one_unit => match &**inner {
                Node::Measured(value, unit) => Some((Node::PlusMinus(value.clone(), *flipped), unit.clone())),
                _ => None,
            },
            _ => None,
        };
        let Some((value, unit)) = unit else { return Ok(Node::Sum(terms)) };
        terms.pop();
        terms.push(value);
        Ok(Node::Measured(Box::new(Node::Sum(terms)), unit))
    }

    fn product(&mut self) -> Parse<Node> {
        let mut node = self.unary()?;
        let (mut factors, mut divisions) = (0, 0);
        loop {
            factors += 1;
            if factors > MOST_FACTORS || divisions > MOST_IN_A_ROW {
                return Err("a product has too many factors".into());
            }
            if self.eat('*') {
                let factor = self.unary()?;
                node = times(node, factor);
            } else if self.eat('/') {
                divisions += 1;
                let below = self.unary()?;
                node = Node::Quotient(Box::new(node), Box::new(below));
            } else if let Some(measured) = self.unit(&node)? {
                node = measured;
            } else if self.juxtaposed(&node) {
                let factor = self.power()?;
                node = times(node, factor);
            } else {
                return Ok(node);
            }
        }
    }

    /// Whether a factor without a sign follows.
    pub(super) fn juxtaposed(&self, left: &Node) -> bool {
        match self.peek() {
            Some(Token::Letters(_) | Token::Name(_)) => !self.beside(),
            Some(Token::Text(_)) => true,
            Some(Token::Number(_)) => !matches!(left, Node::Number { .. } | Node::Name(_) | Node::Measured(..)),
            Some(Token::Command(name)) => !name.starts_with("end "),
            Some(Token::Sign('(' | '{' | '√' | '⌊' | '⌈' | '∞')) => true,
            Some(Token::Sign('[')) => !matches!(left, Node::Bracketed(..)),
            Some(Token::Sign('|')) => self.bars == 0 && !self.set,
            _ => false,
        }
    }

    fn unary(&mut self) -> Parse<Node> {
        match self.sign() {
            Some('-') => {
                self.at += 1;
                self.deeper(Self::unary).map(Node::negated)
            }
            Some('+') => {
                self.at += 1;
                self.deeper(Self::unary)
            }
            Some(sign) if currency(sign).is_some() => {
                self.at += 1;
                let amount = self.deeper(Self::unary)?;
                Ok(Node::Measured(Box::new(amount), currency(sign).unwrap_or("").into()))
            }
            _ => self.power(),
        }
    }

    pub(super) fn power(&mut self) -> Parse<Node> {
        let mut base = self.postfix()?;
        if self.sign() == Some('^') {
            self.at += 1;
            if self.degrees() {
                return self.after(Node::Measured(Box::new(base), "°".into()));
            }
            let exponent = self.deeper(Self::exponent)?;
            base = Node::Power(Box::new(base), Box::new(exponent));
            base = self.after(base)?;
        }
        Ok(base)
    }

    /// `^\circ` and `^{\circ}` are degrees.
    fn degrees(&mut self) -> bool {
        let braced = self.sign() == Some('{')
            && self.ahead(1) == Some(&Token::Sign('°'))
            && self.ahead(2) == Some(&Token::Sign('}'));
        if braced {
            self.at += 3;
        }
        braced || self.eat('°')
    }

    fn exponent(&mut self) -> Parse<Node> {
        match self.sign() {
            Some('-') => {
                self.at += 1;
                self.deeper(Self::exponent).map(Node::negated)
            }
            Some('+') => {
                self.at += 1;
                self.deeper(Self::exponent)
            }
            _ => {
                // one letter only: x^ab is x^a · b
                self.single_letter();
                self.power()
            }
        }
    }

    fn postfix(&mut self) -> Parse<Node> {
        let atom = self.deeper(Self::atom)?;
        self.after(atom)
    }

    /// The marks behind a value.
    fn after(&mut self, mut node: Node) -> Parse<Node> {
        let mut count = 0;
        loop {
            count += 1;
            node = match self.sign() {
                _ if count > MOST_IN_A_ROW => return Err("too many marks follow one another".into()),
                Some('!') => Node::Call(super::node::Function::Factorial, vec![node]),
                Some('%') => Node::Percent(Box::new(node)),
                Some('°') => Node::Measured(Box::new(node), "°".into()),
                Some(sign) if currency(sign).is_some() => {
                    Node::Measured(Box::new(node), currency(sign).unwrap_or("").into())
                }
                Some('\'') => match node {
                    Node::Name(name) => Node::Name(format!("{name}'")),
                    other => other, // a minute of arc, a foot: nothing that changes the number
                },
                _ => return Ok(node),
            };
            self.at += 1;
        }
    }
}

/// The unit that a currency sign stands for.
fn currency(sign: char) -> Option<&'static str> {
    Some(match sign {
        '$' => "dollar",
        '€' => "euro",
        '£' => "pound sterling",
        '¥' => "yen",
        _ => return None,
    })
}

/// a · b, flat.
fn times(a: Node, b: Node) -> Node {
    match a {
        Node::Product(mut factors) => {
            factors.push(b);
            Node::Product(factors)
        }
        other => Node::Product(vec![other, b]),
    }
}

/// A small whole number.
pub(super) fn whole_number(node: &Node) -> Option<u32> {
    match node {
        Node::Number { value, places: None } if value.denom().is_one() => u32::try_from(value.numer()).ok(),
        _ => None,
    }
}
