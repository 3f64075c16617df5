//! What an answer is once it is read.

use std::fmt::{self, Display, Formatter};

use num_rational::BigRational;
use num_traits::{One, Zero};

/// An answer, or a part of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// An exact number. `places` are the digits after the point where it is written as a decimal.
    Number { value: BigRational, places: Option<u32> },
    /// A numeral of another base: its digits, its base.
    Based(String, u32),
    /// A variable, with its subscript.
    Name(String),
    /// π.
    Pi,
    /// e.
    E,
    /// i.
    I,
    /// ∞.
    Infinity,
    /// a + b + …
    Sum(Vec<Node>),
    /// a · b · …
    Product(Vec<Node>),
    /// a / b.
    Quotient(Box<Node>, Box<Node>),
    /// −a.
    Negative(Box<Node>),
    /// ±a, or ∓a.
    PlusMinus(Box<Node>, bool),
    /// a to the power b.
    Power(Box<Node>, Box<Node>),
    /// A function of one or more values; `Root` has radicand and index, `Log` value and base.
    Call(Function, Vec<Node>),
    /// A function without a meaning here, or a sum, product, limit or integral with its bounds.
    Opaque(String, Vec<Node>),
    /// a %.
    Percent(Box<Node>),
    /// A value with its unit.
    Measured(Box<Node>, String),
    /// Two or more sides with the relations between them.
    Relation(Vec<Node>, Vec<Relation>),
    /// Members that commas or "and" separate.
    List(Vec<Node>),
    /// Members that "or" separates.
    Either(Vec<Node>),
    /// `{a, b, …}`.
    Set(Vec<Node>),
    /// Members in brackets: a tuple, a point, a vector, an interval.
    Bracketed(char, Vec<Node>, char),
    /// Sets that ∪, ∩ or ∖ joins, from left to right.
    Sets(Box<Node>, char, Box<Node>),
    /// ℝ and the like.
    Everything(char),
    /// Rows of a matrix.
    Matrix(Vec<Vec<Node>>),
    /// a : b : …
    Ratio(Vec<Node>),
    /// Words.
    Text(String),
}

/// A relation between two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    About,
    In,
}

impl Relation {
    /// The relation read from the other side.
    pub(crate) fn flipped(self) -> Self {
        match self {
            Relation::Less => Relation::Greater,
            Relation::LessEqual => Relation::GreaterEqual,
            Relation::Greater => Relation::Less,
            Relation::GreaterEqual => Relation::LessEqual,
            same => same,
        }
    }

    /// Whether it orders its sides.
    pub(crate) fn orders(self) -> bool {
        matches!(self, Relation::Less | Relation::LessEqual | Relation::Greater | Relation::GreaterEqual)
    }

    fn sign(self) -> &'static str {
        match self {
            Relation::Equal => "=",
            Relation::NotEqual => "≠",
            Relation::Less => "<",
            Relation::LessEqual => "≤",
            Relation::Greater => ">",
            Relation::GreaterEqual => "≥",
            Relation::About => "≈",
            Relation::In => "∈",
        }
    }
}

/// A function that can be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Function {
    Root,
    Exp,
    Ln,
    Log,
    Sin,
    Cos,
    Tan,
    Cot,
    Sec,
    Csc,
    Arcsin,
    Arccos,
    Arctan,
    Sinh,
    Cosh,
    Tanh,
    Abs,
    Floor,
    Ceil,
    Factorial,
    Binomial,
    Gcd,
    Lcm,
    Max,
    Min,
}

/// The names of functions, in LaTeX (without the backslash) and in plain text.
pub(crate) const FUNCTIONS: &[(&str, Function)] = &[
    ("sqrt", Function::Root),
    ("exp", Function::Exp),
    ("ln", Function::Ln),
    ("log", Function::Log),
    ("lg", Function::Log),
    ("sin", Function::Sin),
    ("cos", Function::Cos),
    ("tan", Function::Tan),
    ("tg", Function::Tan),
    ("cot", Function::Cot),
    ("sec", Function::Sec),
    ("csc", Function::Csc),
    ("arcsin", Function::Arcsin),
    ("asin", Function::Arcsin),
    ("arccos", Function::Arccos),
    ("acos", Function::Arccos),
    ("arctan", Function::Arctan),
    ("atan", Function::Arctan),
    ("sinh", Function::Sinh),
    ("cosh", Function::Cosh),
    ("tanh", Function::Tanh),
    ("abs", Function::Abs),
    ("floor", Function::Floor),
    ("ceil", Function::Ceil),
    ("factorial", Function::Factorial),
    ("binom", Function::Binomial),
    ("gcd", Function::Gcd),
    ("lcm", Function::Lcm),
    ("max", Function::Max),
    ("min", Function::Min),
];

impl Function {
    /// The function of a name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        FUNCTIONS.iter().find(|(known, _)| *known == name).map(|(_, function)| *function)
    }

    /// Its first name.
    pub(crate) fn name(self) -> &'static str {
        FUNCTIONS.iter().find(|(_, function)| *function == self).map_or("?", |(name, _)| *name)
    }
}

impl Node {
    /// A whole number.
    pub(crate) fn integer(value: i64) -> Self {
        Node::Number { value: BigRational::from_integer(value.into()), places: None }
    }

    /// An exact number.
    pub(crate) fn exact(value: BigRational) -> Self {
        Node::Number { value, places: None }
    }

    /// −a; the minus sign of a numeral goes into the number, so that −2.50 is a decimal.
    pub(crate) fn negated(self) -> Self {
        match self {
            Node::Number { value, places } => Node::Number { value: -value, places },
            Node::Negative(inner) => *inner,
            Node::Measured(inner, unit) => Node::Measured(Box::new(inner.negated()), unit),
            Node::Percent(inner) => Node::Percent(Box::new(inner.negated())),
            other => Node::Negative(Box::new(other)),
        }
    }

    /// All parts directly below.
    pub(crate) fn children(&self) -> Vec<&Node> {
        match self {
            Node::Sum(all) | Node::Product(all) | Node::Call(_, all) | Node::Opaque(_, all) => all.iter().collect(),
            Node::List(all) | Node::Either(all) | Node::Set(all) | Node::Bracketed(_, all, _) | Node::Ratio(all) => {
                all.iter().collect()
            }
            Node::Relation(all, _) => all.iter().collect(),
            Node::Matrix(rows) => rows.iter().flatten().collect(),
            Node::Quotient(a, b) | Node::Power(a, b) | Node::Sets(a, _, b) => vec![a, b],
            Node::Negative(a) | Node::PlusMinus(a, _) | Node::Percent(a) | Node::Measured(a, _) => vec![a],
            Node::Number { .. } | Node::Based(..) | Node::Name(_) | Node::Pi | Node::E | Node::I => Vec::new(),
            Node::Infinity | Node::Everything(_) | Node::Text(_) => Vec::new(),
        }
    }

    /// Whether it or any part of it is so.
    pub(crate) fn any(&self, so: &dyn Fn(&Node) -> bool) -> bool {
        so(self) || self.children().into_iter().any(|child| child.any(so))
    }

    /// The variables, each once, in alphabetical order.
    pub(crate) fn names(&self) -> Vec<String> {
        fn collect(node: &Node, names: &mut Vec<String>) {
            if let Node::Name(name) = node {
                names.push(name.clone());
            }
            node.children().into_iter().for_each(|child| collect(child, names));
        }
        let mut names = Vec::new();
        collect(self, &mut names);
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The same with every ± taken as + (or as −); `None` where there is none.
    pub(crate) fn with_sign(&self, plus: bool) -> Option<Node> {
        if !self.any(&|node| matches!(node, Node::PlusMinus(..))) {
            return None;
        }
        Some(self.signed(plus))
    }

    fn signed(&self, plus: bool) -> Node {
        let all = |nodes: &[Node]| nodes.iter().map(|node| node.signed(plus)).collect::<Vec<_>>();
        let one = |node: &Node| Box::new(node.signed(plus));
        match self {
            Node::PlusMinus(inner, flipped) if plus != *flipped => inner.signed(plus),
            Node::PlusMinus(inner, _) => inner.signed(plus).negated(),
            Node::Sum(nodes) => Node::Sum(all(nodes)),
            Node::Product(nodes) => Node::Product(all(nodes)),
            Node::Call(function, nodes) => Node::Call(*function, all(nodes)),
            Node::Quotient(a, b) => Node::Quotient(one(a), one(b)),
            Node::Power(a, b) => Node::Power(one(a), one(b)),
            Node::Negative(a) => Node::Negative(one(a)),
            Node::Percent(a) => Node::Percent(one(a)),
            Node::Measured(a, unit) => Node::Measured(one(a), unit.clone()),
            Node::Relation(sides, relations) => Node::Relation(all(sides), relations.clone()),
            Node::Opaque(name, nodes) => Node::Opaque(name.clone(), all(nodes)),
            Node::List(nodes) => Node::List(all(nodes)),
            Node::Either(nodes) => Node::Either(all(nodes)),
            Node::Set(nodes) => Node::Set(all(nodes)),
            Node::Bracketed(open, nodes, close) => Node::Bracketed(*open, all(nodes), *close),
            Node::Ratio(nodes) => Node::Ratio(all(nodes)),
            Node::Sets(a, sign, b) => Node::Sets(one(a), *sign, one(b)),
            Node::Matrix(rows) => Node::Matrix(rows.iter().map(|row| all(row)).collect()),
            other => other.clone(),
        }
    }
}

fn joined(formatter: &mut Formatter<'_>, nodes: &[Node], separator: &str) -> fmt::Result {
    for (index, node) in nodes.iter().enumerate() {
        if index > 0 {
            formatter.write_str(separator)?;
        }
        write!(formatter, "{node}")?;
    }
    Ok(())
}

/// In brackets unless it is a single number or name.
fn close(formatter: &mut Formatter<'_>, node: &Node) -> fmt::Result {
    match node {
        Node::Number { value, .. } if value.denom().is_one() && *value >= BigRational::zero() => {
            write!(formatter, "{node}")
        }
        Node::Name(_) | Node::Pi | Node::E | Node::I | Node::Call(..) | Node::Opaque(..) => {
            write!(formatter, "{node}")
        }
        other => write!(formatter, "({other})"),
    }
}

impl Display for Node {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Node::Number { value, .. } => write!(formatter, "{value}"),
            Node::Based(digits, base) => write!(formatter, "{digits} in base {base}"),
            Node::Name(name) => formatter.write_str(name),
            Node::Pi => formatter.write_str("π"),
            Node::E => formatter.write_str("e"),
            Node::I => formatter.write_str("i"),
            Node::Infinity => formatter.write_str("∞"),
            Node::Sum(nodes) => joined(formatter, nodes, " + "),
            Node::Product(nodes) => {
                for (index, node) in nodes.iter().enumerate() {
                    formatter.write_str(if index > 0 { "·" } else { "" })?;
                    close(formatter, node)?;
                }
                Ok(())
            }
            Node::Quotient(a, b) => {
                close(formatter, a)?;
                formatter.write_str("/")?;
                close(formatter, b)
            }
            Node::Negative(a) => {
                formatter.write_str("−")?;
                close(formatter, a)
            }
            Node::PlusMinus(a, flipped) => {
                formatter.write_str(if *flipped { "∓" } else { "±" })?;
                close(formatter, a)
            }
            Node::Power(a, b) => {
                close(formatter, a)?;
                formatter.write_str("^")?;
                close(formatter, b)
            }
            Node::Call(function, nodes) => {
                write!(formatter, "{}(", function.name())?;
                joined(formatter, nodes, ", ")?;
                formatter.write_str(")")
            }
            Node::Opaque(name, nodes) => {
                write!(formatter, "{name}(")?;
                joined(formatter, nodes, ", ")?;
                formatter.write_str(")")
            }
            Node::Percent(a) => write!(formatter, "{a}%"),
            Node::Measured(a, unit) => write!(formatter, "{a} {unit}"),
            _ => self.structure(formatter),
        }
    }
}

impl Node {
    /// [`Display`] of what is more than one value.
    fn structure(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Node::Relation(sides, relations) => {
                for (index, side) in sides.iter().enumerate() {
                    write!(formatter, "{side}")?;
                    if let Some(relation) = relations.get(index) {
                        write!(formatter, " {} ", relation.sign())?;
                    }
                }
                Ok(())
            }
            Node::List(nodes) => joined(formatter, nodes, ", "),
            Node::Either(nodes) => joined(formatter, nodes, " or "),
            Node::Set(nodes) => {
                formatter.write_str("{")?;
                joined(formatter, nodes, ", ")?;
                formatter.write_str("}")
            }
            Node::Bracketed(open, nodes, close) => {
                write!(formatter, "{open}")?;
                joined(formatter, nodes, ", ")?;
                write!(formatter, "{close}")
            }
            Node::Sets(a, sign, b) => write!(formatter, "{a} {sign} {b}"),
            Node::Everything(letter) => write!(formatter, "all of {letter}"),
            Node::Matrix(rows) => {
                for (index, row) in rows.iter().enumerate() {
                    formatter.write_str(if index > 0 { "; " } else { "[" })?;
                    joined(formatter, row, " ")?;
                }
                formatter.write_str("]")
            }
            Node::Ratio(nodes) => joined(formatter, nodes, " : "),
            Node::Text(words) => write!(formatter, "\"{words}\""),
            _ => Ok(()),
        }
    }
}
