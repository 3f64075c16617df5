//! The grammar of answers, continued: what a product is made of.

use super::lex::{Numeral, Token};
use super::node::{Function, Node};
use super::parse::{MOST_MEMBERS, Parse, Parser, letter, shown, whole_number};

/// Units that are written without `\text{}` and are no product of letters.
const UNITS: &[&str] = &[
    "mm", "cm", "dm", "km", "ft", "in", "yd", "mi", "kg", "mg", "lb", "oz", "ml", "mL", "hr", "min", "sec", "mph",
    "kph", "km/h", "sq", "cu", "am", "pm",
];
/// More letters side by side are a word and not a product of variables.
const MOST_LETTERS: usize = 3;
/// Words that multiply.
const MAGNITUDES: &[(&str, u32)] = &[("hundred", 2), ("thousand", 3), ("million", 6), ("billion", 9), ("trillion", 12)];

impl Parser {
    pub(super) fn atom(&mut self) -> Parse<Node> {
        let Some(token) = self.peek().cloned() else { return Err("it ends where a value is expected".into()) };
        match token {
            Token::Number(numeral) => self.number(&numeral),
            Token::Letters(word) if word.len() > MOST_LETTERS && !word.bytes().all(|b| b.is_ascii_uppercase()) => {
                Err(format!("`{word}` is a word, no formula"))
            }
            Token::Letters(word) if word.len() > 1 => {
                self.single_letter();
                self.atom()
            }
            Token::Letters(word) => {
                self.at += 1;
                let name = word.chars().next().map_or(Node::E, letter);
                self.called(name)
            }
            Token::Name(name) => {
                self.at += 1;
                self.called(Node::Name(name))
            }
            Token::Text(words) => {
                self.at += 1;
                let mut each = words.chars().filter(|c| c.is_alphanumeric());
                match (each.next(), each.next()) {
                    (Some(only), None) => self.called(letter(only)),
                    _ => self.called(Node::Name(words.to_lowercase())),
                }
            }
            Token::Command(name) => {
                self.at += 1;
                self.command(&name)
            }
            Token::Join(_) => Err("a connective stands where a value is expected".into()),
            Token::Sign(sign) => self.enclosed(sign),
        }
    }

    /// A name with its subscript, or a function of several values: `f(x, y)`.
    fn called(&mut self, name: Node) -> Parse<Node> {
        let mut named = match &name {
            Node::Name(text) => text.clone(),
            Node::E => "e".into(),
            _ => "i".into(),
        };
        let mut node = name;
        if self.sign() == Some('_') {
            self.at += 1;
            let subscript = self.deeper(Self::argument)?;
            named = format!("{named}_{subscript}");
            node = Node::Name(named.clone());
        }
        if matches!(node, Node::Name(_)) && self.several_values() {
            return Ok(match self.deeper(Self::atom)? {
                Node::Bracketed(_, items, _) => Node::Opaque(named, items),
                other => Node::Opaque(named, vec![other]),
            });
        }
        Ok(node)
    }

    /// Whether a round bracket follows that holds more than one member.
    fn several_values(&self) -> bool {
        if self.sign() != Some('(') {
            return false;
        }
        let mut depth = 0usize;
        for word in &self.words[self.at..] {
            match word.token {
                Token::Sign('(' | '[' | '{' | '⦃') => depth += 1,
                Token::Sign(')' | ']' | '}' | '⦄') => depth = depth.saturating_sub(1),
                Token::Sign(',' | ';') if depth == 1 => return true,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        false
    }

    fn enclosed(&mut self, sign: char) -> Parse<Node> {
        self.at += 1;
        match sign {
            '(' | '[' | '⟨' | ']' => self.bracket(sign),
            '{' => {
                let node = self.inside('}', false)?;
                Ok(node)
            }
            '⦃' => self.braces(),
            '|' | '‖' => {
                self.bars += 1;
                let inner = self.sum();
                self.bars -= 1;
                let inner = inner?;
                self.expect(sign)?;
                Ok(match sign {
                    '|' => Node::Call(Function::Abs, vec![inner]),
                    _ => Node::Opaque("norm".into(), vec![inner]),
                })
            }
            '⌊' | '⌈' => {
                let inner = self.sum()?;
                self.expect(if sign == '⌊' { '⌋' } else { '⌉' })?;
                let function = if sign == '⌊' { Function::Floor } else { Function::Ceil };
                Ok(Node::Call(function, vec![inner]))
            }
            '√' => {
                let radicand = self.deeper(Self::atom)?;
                Ok(Node::Call(Function::Root, vec![radicand, Node::integer(2)]))
            }
            '∞' => Ok(Node::Infinity),
            '∅' => Ok(Node::Set(Vec::new())),
            '…' => Err("it leaves something out (…)".into()),
            other => Err(format!("{} stands where a value is expected", shown(&Token::Sign(other)))),
        }
    }

    /// Members up to `close`; bars that are open outside do not count inside.
    fn inside(&mut self, close: char, set: bool) -> Parse<Node> {
        let outer = (std::mem::take(&mut self.bars), std::mem::replace(&mut self.set, set));
        let node = self.answer(Some(close));
        (self.bars, self.set) = outer;
        let node = node?;
        if self.eat(close) || set {
            return Ok(node);
        }
        self.expect(close).map(|()| node)
    }

    fn bracket(&mut self, open: char) -> Parse<Node> {
        let outer = (std::mem::take(&mut self.bars), std::mem::take(&mut self.set));
        let node = self.answer(None);
        (self.bars, self.set) = outer;
        let node = node?;
        let close = match (open, self.sign()) {
            ('⟨', Some('⟩')) => '⟩',
            ('(' | '[', Some(close @ (')' | ']'))) => close,
            (']' | '[', Some('[')) => ')',
            (']', Some(']')) => ']',
            _ => {
                self.expect(if open == '⟨' { '⟩' } else { ')' })?;
                ')'
            }
        };
        self.at += 1;
        let open = if open == ']' { '(' } else { open };
        Ok(match node {
            Node::List(items) => Node::Bracketed(open, items, close),
            single if open == '⟨' => Node::Bracketed(open, vec![single], close),
            single => single,
        })
    }

    fn braces(&mut self) -> Parse<Node> {
        if self.eat('⦄') {
            return Ok(Node::Set(Vec::new()));
        }
        let first = self.inside('⦄', true)?;
        let closed = self.words.get(self.at - 1).is_some_and(|word| word.token == Token::Sign('⦄'));
        if !closed {
            // {x | x > 5} is what the condition says
            if !self.eat('|') {
                self.expect('⦄')?;
            }
            return self.inside('⦄', false);
        }
        Ok(match first {
            Node::List(items) => Node::Set(items),
            Node::Ratio(mut parts) if parts.len() == 2 && matches!(parts[1], Node::Relation(..)) => {
                parts.swap_remove(1)
            }
            single => Node::Set(vec![single]),
        })
    }

    /// An argument of a command: a group in braces, one digit, one letter or one command.
    pub(super) fn argument(&mut self) -> Parse<Node> {
        match self.peek().cloned() {
            Some(Token::Sign('{')) => {
                self.at += 1;
                self.inside('}', false)
            }
            Some(Token::Number(numeral))
                if numeral.places.is_none() && numeral.exponent == 0 && numeral.digits.len() > 1 =>
            {
                let (first, rest) = numeral.digits.split_at(1);
                let digit = |digits: &str| Numeral { digits: digits.into(), places: None, exponent: 0 };
                self.words[self.at].token = Token::Number(digit(rest));
                self.words[self.at].spaced = false;
                Ok(Node::exact(digit(first).value()))
            }
            Some(Token::Number(numeral)) => {
                self.at += 1;
                Ok(Node::Number { value: numeral.value(), places: numeral.places })
            }
            Some(Token::Letters(_)) => {
                self.single_letter();
                let word = match self.peek() {
                    Some(Token::Letters(word)) => word.clone(),
                    _ => String::new(),
                };
                self.at += 1;
                word.chars().next().map(letter).ok_or_else(|| "an argument is missing".into())
            }
            _ => self.atom(),
        }
    }

    fn command(&mut self, name: &str) -> Parse<Node> {
        match name {
            "pi" => Ok(Node::Pi),
            "frac" => {
                let above = self.deeper(Self::argument)?;
                let below = self.deeper(Self::argument)?;
                Ok(Node::Quotient(Box::new(above), Box::new(below)))
            }
            "binom" => {
                let all = vec![self.deeper(Self::argument)?, self.deeper(Self::argument)?];
                Ok(Node::Call(Function::Binomial, all))
            }
            "sqrt" => self.root(),
            "overline" | "dot" => {
                let inner = self.deeper(Self::argument)?;
                let point = |node: &Node| matches!(node, Node::Name(name) if name.starts_with(char::is_uppercase));
                Ok(match inner {
                    // a line over points only says that they span a segment
                    Node::Product(points) if points.iter().all(point) => Node::Product(points),
                    other => Node::Opaque(name.into(), vec![other]),
                })
            }
            "sum" | "prod" | "int" | "lim" => self.bound(name),
            _ => {
                if let Some(environment) = name.strip_prefix("begin ") {
                    return self.deeper(|parser| parser.matrix(environment.trim()));
                }
                if let Some(letter) = name.strip_prefix("mathbb ") {
                    let letter = letter.chars().next().unwrap_or('?');
                    let doubled = [('R', 'ℝ'), ('Z', 'ℤ'), ('N', 'ℕ'), ('Q', 'ℚ'), ('C', 'ℂ')];
                    return Ok(Node::Everything(doubled.iter().find(|d| d.0 == letter).map_or(letter, |d| d.1)));
                }
                match Function::named(name) {
                    Some(function) => self.function(function),
                    // an unknown command is a name, as `\zzz` is for Math-Verify
                    None if name.chars().all(|c| c.is_ascii_alphabetic()) => self.called(Node::Name(name.into())),
                    None => Err(format!("`\\{name}` is not read")),
                }
            }
        }
    }

    fn root(&mut self) -> Parse<Node> {
        let index = if self.sign() == Some('[') {
            self.at += 1;
            let index = self.deeper(Self::sum)?;
            self.expect(']')?;
            index
        } else {
            Node::integer(2)
        };
        let plain = self.sign() == Some('(');
        let radicand = if plain { self.deeper(Self::atom)? } else { self.deeper(Self::argument)? };
        Ok(Node::Call(Function::Root, vec![radicand, index]))
    }

    /// `\sin x`, `\sin^2 x`, `\sin^{-1} x`, `\log_2 8`, `\sin(x) y`, `\max(a, b)`.
    fn function(&mut self, function: Function) -> Parse<Node> {
        let mut base = None;
        let mut power = None;
        for _ in 0..2 {
            if self.eat('_') {
                base = Some(self.deeper(Self::argument)?);
            } else if self.eat('^') {
                power = Some(self.deeper(Self::argument)?);
            }
        }
        let mut values = if self.sign() == Some('(') {
            match self.deeper(Self::atom)? {
                Node::Bracketed('(', items, ')') => items,
                single => vec![single],
            }
        } else {
            vec![self.deeper(Self::operand)?]
        };
        if function == Function::Root {
            values.push(Node::integer(2));
        }
        if function == Function::Log {
            values.push(base.unwrap_or_else(|| Node::integer(10)));
        }
        let inverse = match (function, &power) {
            (Function::Sin, Some(power)) if *power == Node::integer(-1) => Some(Function::Arcsin),
            (Function::Cos, Some(power)) if *power == Node::integer(-1) => Some(Function::Arccos),
            (Function::Tan, Some(power)) if *power == Node::integer(-1) => Some(Function::Arctan),
            _ => None,
        };
        Ok(match (inverse, power) {
            (Some(inverse), _) => Node::Call(inverse, values),
            (None, Some(power)) => Node::Power(Box::new(Node::Call(function, values)), Box::new(power)),
            (None, None) => Node::Call(function, values),
        })
    }

    /// What a function without brackets is taken of: factors side by side, up to the next function.
    fn operand(&mut self) -> Parse<Node> {
        let negative = self.eat('-');
        let mut factors = vec![self.power()?];
        while factors.len() < MOST_MEMBERS {
            let stops =
                matches!(self.peek(), Some(Token::Command(name)) if Function::named(name).is_some() && name != "sqrt");
            let stops = stops || matches!(self.peek(), Some(Token::Sign('(' | '[' | '|') | Token::Text(_)));
            if stops || !factors.last().is_some_and(|last| self.juxtaposed(last)) {
                break;
            }
            factors.push(self.power()?);
        }
        let node = if factors.len() == 1 { factors.swap_remove(0) } else { Node::Product(factors) };
        Ok(if negative { node.negated() } else { node })
    }

    /// A sum, a product, an integral or a limit: its bounds and its body, compared part by part.
    fn bound(&mut self, name: &str) -> Parse<Node> {
        let mut parts = Vec::new();
        for _ in 0..2 {
            if let Some(sign @ ('_' | '^')) = self.sign() {
                self.at += 1;
                parts.push(Node::Opaque(sign.to_string(), vec![self.deeper(Self::argument)?]));
            }
        }
        let mut factors = vec![self.deeper(Self::power)?];
        while factors.last().is_some_and(|last| self.juxtaposed(last)) && factors.len() < MOST_MEMBERS {
            factors.push(self.power()?);
        }
        parts.push(if factors.len() == 1 { factors.swap_remove(0) } else { Node::Product(factors) });
        Ok(Node::Opaque(name.into(), parts))
    }

    fn matrix(&mut self, environment: &str) -> Parse<Node> {
        if !matches!(environment, "pmatrix" | "bmatrix" | "matrix" | "smallmatrix" | "array" | "Bmatrix") {
            return Err(format!("`\\begin{{{environment}}}` is not read"));
        }
        if environment == "array" && self.sign() == Some('{') {
            while self.at < self.words.len() && !self.eat('}') {
                self.at += 1;
            }
        }
        let end = Token::Command(format!("end {environment}"));
        let mut rows = vec![Vec::new()];
        while self.peek() != Some(&end) {
            let row_full = rows.last().is_some_and(|row| row.len() >= MOST_MEMBERS);
            if row_full || rows.len() > MOST_MEMBERS {
                return Err("the matrix is too large".into());
            }
            let entry = self.item()?;
            if let Some(row) = rows.last_mut() {
                row.push(entry);
            }
            if self.eat('\n') {
                rows.push(Vec::new());
            } else if !self.eat('&') && self.peek() != Some(&end) {
                return Err("the matrix does not end".into());
            }
        }
        self.at += 1;
        if rows.last().is_some_and(Vec::is_empty) {
            rows.pop(); // a line end after the last row
        }
        let width = rows.first().map_or(0, Vec::len);
        if width == 0 || rows.iter().any(|row| row.len() != width) {
            return Err("the rows of the matrix differ in length".into());
        }
        Ok(Node::Matrix(rows))
    }

    /// A unit after a number: words in `\text{}`, or a known unit, up to the end of the member.
    pub(super) fn unit(&mut self, value: &Node) -> Parse<Option<Node>> {
        // behind an expression with variables only \text{} is a unit, and no word is one behind a word
        let said = matches!(self.peek(), Some(Token::Text(_)));
        let constant = !value.any(&|node| match node {
            Node::Name(name) => !said || name.chars().filter(|c| c.is_alphabetic()).count() > 1 && !name.contains('_'),
            Node::Text(_) | Node::Bracketed(..) | Node::Set(_) | Node::Sets(..) => true,
            _ => false,
        });
        let starts = match self.peek() {
            Some(Token::Text(_)) => true,
            Some(Token::Letters(word)) => {
                let word = word.as_str();
                UNITS.contains(&word) || word.len() > 3 || MAGNITUDES.iter().any(|(name, _)| *name == word)
            }
            _ => false,
        };
        if !constant || !starts {
            return Ok(None);
        }
        let mut unit = String::new();
        let mut power = 0;
        loop {
            match self.peek().cloned() {
                Some(Token::Text(words) | Token::Letters(words)) => {
                    let words = words.to_lowercase();
                    match MAGNITUDES.iter().find(|(name, _)| *name == words) {
                        Some((_, zeros)) if unit.is_empty() => power += zeros,
                        _ if unit.is_empty() || unit.ends_with('/') => unit.push_str(words.trim()),
                        _ => unit.push_str(&format!(" {}", words.trim())),
                    }
                }
                Some(Token::Sign('^')) => {
                    self.at += 1;
                    let exponent = self.deeper(Self::argument)?;
                    let exponent = whole_number(&exponent).ok_or_else(|| String::from("a unit has a strange power"))?;
                    unit.push_str(&format!("^{exponent}"));
                    continue;
                }
                Some(Token::Sign('/'))
                    if !unit.is_empty() && matches!(self.ahead(1), Some(Token::Text(_) | Token::Letters(_))) =>
                {
                    unit.push('/');
                }
                Some(Token::Sign('.' | '*')) if !unit.is_empty() => {}
                _ => break,
            }
            self.at += 1;
        }
        let ten = num_rational::BigRational::from_integer(num_bigint::BigInt::from(10).pow(power));
        let value = match (value, power) {
            (value, 0) => value.clone(),
            (Node::Number { value, .. }, _) => Node::exact(value * ten),
            (value, _) => Node::Product(vec![value.clone(), Node::exact(ten)]),
        };
        Ok(Some(if unit.is_empty() { value } else { Node::Measured(Box::new(value), unit) }))
    }
}
