//! `simple-equations`: a linear equation in one unknown.

use lapidary_core::{Key, Result};
use lapidary_reward::options::{OptionInfo, OptionKind, Options};

use crate::dice::Dice;
use crate::procedural::{Generator, NUMBER, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`simple_equations`); its weights of the
/// operators (0.4, 0.4, 0.2) are fixed here.
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "simple-equations",
    family: Family::Algebra,
    summary: "Solve a linear equation in one unknown.",
    example: "32*u + 4 = 3044 → 95",
    answer_reward: "simple-equations",
    options: &[
        whole("min_terms", (1, 20), "2", "fewest terms on the left"),
        whole("max_terms", (1, 20), "4", "most terms on the left"),
        whole("min_value", (1, 100_000_000), "1", "smallest number, and smallest solution"),
        whole("max_value", (1, 100_000_000), "100", "largest number, and largest solution"),
        OptionInfo {
            name: "operators",
            kind: OptionKind::Choices(&["+", "-", "*"]),
            default: r#"["+", "-", "*"]"#,
            meaning: "what stands between two terms; with `*` the unknown has a factor",
        },
        STYLE,
    ],
    levels: &[
        &[("max_terms", "2"), ("max_value", "9"), ("operators", r#"["+", "-"]"#)],
        &[("max_terms", "2"), ("max_value", "20")],
        &[("max_terms", "3"), ("max_value", "50")],
        &[("min_terms", "3"), ("max_terms", "5")],
        &[("min_terms", "4"), ("max_terms", "8"), ("max_value", "1000")],
    ],
    build: |options, seed| Procedural::build(SimpleEquations::new(options)?, options, seed),
};

struct SimpleEquations {
    terms: (i64, i64),
    value: (i64, i64),
    operators: Vec<(char, f64)>,
}

impl SimpleEquations {
    fn new(options: &Options) -> Result<Self> {
        let weighed = |text: &String| match text.as_str() {
            "*" => ('*', 0.2),
            "-" => ('-', 0.4),
            _ => ('+', 0.4),
        };
        Ok(Self {
            terms: options.range("min_terms", "max_terms")?,
            value: options.range("min_value", "max_value")?,
            operators: options.texts("operators").iter().map(weighed).collect(),
        })
    }

    fn operator(&self, dice: &mut Dice) -> char {
        let mut rest: f64 = self.operators.iter().map(|(_, weight)| weight).sum();
        for (operator, weight) in &self.operators {
            if dice.chance(weight / rest) {
                return *operator;
            }
            rest -= weight;
        }
        self.operators[self.operators.len() - 1].0
    }
}

/// The left side so far: factor·x + constant, as it is written.
struct Side {
    text: String,
    factor: i64,
    constant: i64,
    is_sum: bool,
}

impl Side {
    /// `(self) operator (factor·x + constant)`; `None` where it grows too large. One of both holds the unknown.
    fn then(self, operator: char, term: Side) -> Option<Self> {
        let (factor, constant) = match operator {
            '+' => (self.factor.checked_add(term.factor)?, self.constant.checked_add(term.constant)?),
            '-' => (self.factor.checked_sub(term.factor)?, self.constant.checked_sub(term.constant)?),
            _ if term.factor == 0 => {
                (self.factor.checked_mul(term.constant)?, self.constant.checked_mul(term.constant)?)
            }
            _ => (self.constant.checked_mul(term.factor)?, 0),
        };
        let text = match operator {
            '*' if self.is_sum => format!("({})*{}", self.text, term.text),
            '*' => format!("{}*{}", self.text, term.text),
            _ => format!("{} {operator} {}", self.text, term.text),
        };
        Some(Self { text, factor, constant, is_sum: operator != '*' })
    }
}

impl Generator for SimpleEquations {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let terms = dice.within(self.terms) as usize;
        let variable = (b'a' + dice.below(26) as u8) as char;
        let place = dice.below(terms);
        let scaled = self.operators.iter().any(|(operator, _)| *operator == '*');
        let (mut side, mut size): (Option<Side>, usize) = (None, 0);
        for at in 0..terms {
            let number = dice.within(self.value);
            size += number.to_string().len();
            let term = match at == place {
                true if scaled => {
                    Side { text: format!("{number}*{variable}"), factor: number, constant: 0, is_sum: false }
                }
                true => Side { text: variable.to_string(), factor: 1, constant: 0, is_sum: false },
                false => Side { text: number.to_string(), factor: 0, constant: number, is_sum: false },
            };
            side = Some(match side {
                None => term,
                Some(side) => side.then(self.operator(dice), term)?,
            });
        }
        let side = side.filter(|side| side.factor != 0)?;
        let solution = dice.within(self.value);
        let right = side.factor.checked_mul(solution)?.checked_add(side.constant)?;
        let equation = format!("{} = {right}", side.text);
        let plain = format!("Which number is {variable} if {equation}?");
        let terse = format!("{};{variable}=", equation.replace(' ', ""));
        let question = Question::new(size, (plain, NUMBER), terse, solution.to_string());
        Some(question.with("equation", equation).with("variable", variable.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use lapidary_core::Purpose;
    use lapidary_reward::Expression;

    use super::*;

    /// What both sides come to when the solution stands for the unknown.
    fn sides(equation: &str, variable: &str, solution: &str) -> (String, String) {
        let (left, right) = equation.split_once('=').unwrap();
        let side = |text: &str| {
            let put_in = text.replace(variable, &format!("({solution})"));
            Expression::parse(&put_in).unwrap_or_else(|error| panic!("{equation}: {error}")).value.to_string()
        };
        (side(left), side(right))
    }

    #[test]
    fn the_solution_makes_both_sides_equal_and_another_number_does_not() {
        let operators = vec![('+', 0.4), ('-', 0.4), ('*', 0.2)];
        let task = SimpleEquations { terms: (1, 6), value: (1, 50), operators };
        let mut asked = 0;
        for seed in 0..500 {
            let Some(question) = task.draw(Key::new(seed, Purpose::Task)) else { continue };
            let text = |name: &str| question.metadata()[name].as_str().unwrap().to_string();
            let (equation, variable) = (text("equation"), text("variable"));
            let (left, right) = sides(&equation, &variable, question.answer());
            assert_eq!(left, right, "{equation}");
            let (left, right) = sides(&equation, &variable, &format!("{}1", question.answer()));
            assert_ne!(left, right, "{equation}");
            asked += 1;
        }
        assert!(asked > 400, "{asked}");
    }

    #[test]
    fn reasoning_gym_means_the_same() {
        for row in crate::gym::rows("simple_equations").unwrap_or_default() {
            let text = |name: &str| row["metadata"][name].as_str().unwrap();
            let (left, right) = sides(text("equation"), text("variable"), row["answer"].as_str().unwrap());
            assert_eq!(left, right, "{row}");
        }
    }
}
