//! `basic-arithmetic`: an expression with all four operations and brackets.

use lapidary_core::{Key, Result};
use lapidary_reward::options::{OptionInfo, OptionKind, Options};

use crate::dice::Dice;
use crate::procedural::{Generator, NUMBER, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`basic_arithmetic`); every division comes
/// out even, so that its floor division and exact division are the same.
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "basic-arithmetic",
    family: Family::Arithmetic,
    summary: "Work out an expression with +, -, *, / and brackets.",
    example: "-5 * (6 - 8) → 10",
    answer_reward: "basic-arithmetic",
    options: &[
        whole("min_terms", (1, 16), "2", "fewest numbers"),
        whole("max_terms", (1, 16), "6", "most numbers"),
        whole("min_digits", (1, 6), "1", "fewest digits of a number"),
        whole("max_digits", (1, 6), "4", "most digits of a number"),
        OptionInfo {
            name: "operators",
            kind: OptionKind::Choices(&["+", "-", "*", "/"]),
            default: r#"["+", "-", "*", "/"]"#,
            meaning: "what stands between two numbers",
        },
        OptionInfo {
            name: "allow_parentheses",
            kind: OptionKind::Flag,
            default: "true",
            meaning: "whether there may be brackets",
        },
        OptionInfo {
            name: "allow_negation",
            kind: OptionKind::Flag,
            default: "true",
            meaning: "whether a number may be negative",
        },
        OptionInfo {
            name: "whitespace",
            kind: OptionKind::Choice(&["single", "no_space"]),
            default: "\"single\"",
            meaning: "whether a space stands around an operator",
        },
        STYLE,
    ],
    levels: &[
        &[("max_terms", "2"), ("max_digits", "1"), ("operators", r#"["+", "-"]"#), ("allow_negation", "false")],
        &[("max_terms", "2"), ("max_digits", "2"), ("allow_negation", "false")],
        &[("max_terms", "3"), ("max_digits", "2")],
        &[("max_terms", "4"), ("max_digits", "3")],
        &[("max_terms", "6"), ("max_digits", "4")],
    ],
    build: |options, seed| Procedural::build(BasicArithmetic::new(options)?, options, seed),
};

struct BasicArithmetic {
    terms: (i64, i64),
    digits: (i64, i64),
    operators: Vec<char>,
    brackets: bool,
    negative: bool,
    space: &'static str,
}

/// A part of an expression: how it is written, what it comes to, and how tightly it binds.
struct Part {
    text: String,
    value: i128,
    binding: Binding,
}

#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Binding {
    Sum,
    Product,
    Number,
}

impl BasicArithmetic {
    fn new(options: &Options) -> Result<Self> {
        let operators: Vec<char> = options.texts("operators").iter().filter_map(|text| text.chars().next()).collect();
        Ok(Self {
            terms: options.range("min_terms", "max_terms")?,
            digits: options.range("min_digits", "max_digits")?,
            operators,
            brackets: options.flag("allow_parentheses"),
            negative: options.flag("allow_negation"),
            space: if options.text("whitespace") == Some("no_space") { "" } else { " " },
        })
    }

    /// An expression of so many numbers below `limit`; `None` where it grows too large or would need a bracket that is
    /// not allowed.
    fn part(&self, dice: &mut Dice, terms: i64, limit: i64) -> Option<Part> {
        if terms == 1 {
            let number = dice.between(if self.negative { 1 - limit } else { 0 }, limit - 1);
            return Some(Part { text: number.to_string(), value: number.into(), binding: Binding::Number });
        }
        let operator = *dice.pick(&self.operators);
        if operator == '/' {
            let left = self.part(dice, terms - 1, limit)?;
            let divisor = divisor(dice, left.value, limit);
            let right = Part { text: divisor.to_string(), value: divisor.into(), binding: Binding::Number };
            return self.join(left, '/', right);
        }
        let first = dice.between(1, terms - 1);
        let left = self.part(dice, first, limit)?;
        let right = self.part(dice, terms - first, limit)?;
        self.join(left, operator, right)
    }

    fn join(&self, left: Part, operator: char, right: Part) -> Option<Part> {
        let value = match operator {
            '+' => left.value.checked_add(right.value)?,
            '-' => left.value.checked_sub(right.value)?,
            '*' => left.value.checked_mul(right.value)?,
            _ => left.value / right.value,
        };
        let binding = if matches!(operator, '+' | '-') { Binding::Sum } else { Binding::Product };
        // On the right of - and / an equal binding needs brackets; on the right of * as well, so that a/b stays exact.
        let loose = match operator {
            '+' => right.binding < binding,
            _ => right.binding <= binding,
        };
        let left = self.written(left.text, left.binding < binding)?;
        let right = self.written(right.text, loose)?;
        let space = self.space;
        Some(Part { text: format!("{left}{space}{operator}{space}{right}"), value, binding })
    }

    fn written(&self, text: String, brackets: bool) -> Option<String> {
        match brackets {
            false => Some(text),
            true => self.brackets.then(|| format!("({text})")),
        }
    }
}

/// A number below `limit` that divides `value`; anything but 0 divides 0.
fn divisor(dice: &mut Dice, value: i128, limit: i64) -> i64 {
    const TRIED: i64 = 1000; // larger divisors are seldom, and trying them costs more than they teach
    if value == 0 {
        return dice.between(1, limit - 1);
    }
    let known: Vec<i64> = (2..limit.min(TRIED)).filter(|&number| value % i128::from(number) == 0).collect();
    if known.is_empty() { 1 } else { *dice.pick(&known) }
}

impl Generator for BasicArithmetic {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let terms = dice.within(self.terms);
        let digits = dice.within(self.digits);
        let whole = self.part(dice, terms, 10i64.pow(digits as u32))?;
        let terse = format!("{}=", whole.text.replace(' ', ""));
        let plain = format!("Work this out: {}", whole.text);
        let question = Question::new((terms * digits) as usize, (plain, NUMBER), &*terse, whole.value.to_string());
        Some(question.with("expression", whole.text).with("num_terms", terms).with("num_digits", digits))
    }
}

#[cfg(test)]
mod tests {
    use lapidary_reward::Expression;

    /// Their floor division and exact division are the same on all rows.
    #[test]
    fn reasoning_gym_means_the_same() {
        for task in ["basic_arithmetic", "chain_sum", "products"] {
            for row in crate::gym::rows(task).unwrap_or_default() {
                let value = Expression::parse(row["metadata"]["expression"].as_str().unwrap()).unwrap().value;
                assert_eq!(value.to_string(), row["answer"].as_str().unwrap(), "{row}");
            }
        }
    }
}
