//! `puzzle24`: 24 out of four numbers.

use lapidary_core::{Key, Result};
use lapidary_reward::options::{OptionInfo, OptionKind, Options};

use super::countdown::Solution;
use crate::dice::Dice;
use crate::procedural::{Generator, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`puzzle24`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "puzzle24",
    family: Family::Games,
    summary: "Combine four numbers, each used exactly once, to 24.",
    example: "1, 2, 3, 4 → 1 * 2 * 3 * 4",
    answer_reward: "puzzle24",
    options: &[
        whole("min_value", (1, 100), "1", "smallest number"),
        whole("max_value", (1, 100), "10", "largest number"),
        OptionInfo {
            name: "operators",
            kind: OptionKind::Choices(&["+", "-", "*", "/"]),
            default: r#"["+", "-", "*", "/"]"#,
            meaning: "what the solution that a question is made from may use",
        },
        STYLE,
    ],
    levels: &[
        &[("max_value", "9"), ("operators", r#"["+", "-"]"#)],
        &[("max_value", "9"), ("operators", r#"["+", "-", "*"]"#)],
        &[("max_value", "13")],
        &[("max_value", "25")],
        &[("max_value", "60")],
    ],
    build: |options, seed| Procedural::build(Puzzle24::new(options)?, options, seed),
};

struct Puzzle24 {
    value: (i64, i64),
    operators: Vec<char>,
}

impl Puzzle24 {
    fn in_range(&self, number: i64) -> bool {
        (self.value.0..=self.value.1).contains(&number)
    }

    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            value: options.range("min_value", "max_value")?,
            operators: options.texts("operators").iter().filter_map(|text| text.chars().next()).collect(),
        })
    }
}

const TARGET: i64 = 24;
const COUNT: usize = 4;

/// The number with which `value operator number` is 24.
fn last(operator: char, value: i64) -> Option<i64> {
    match operator {
        '+' => Some(TARGET - value),
        '-' => Some(value - TARGET),
        '*' => (value != 0 && TARGET % value == 0).then(|| TARGET / value),
        _ => (value % TARGET == 0).then_some(value / TARGET),
    }
}

impl Generator for Puzzle24 {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// Three operations in a row, the last of them with the number that makes it 24.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let mut order = vec![dice.within(self.value)];
        let mut solution = Solution::of(order[0]);
        let mut hard = 0;
        while order.len() < COUNT {
            let operator = *dice.pick(&self.operators);
            let number = match order.len() + 1 {
                COUNT => last(operator, solution.value).filter(|number| self.in_range(*number))?,
                _ => dice.within(self.value),
            };
            hard += usize::from(matches!(operator, '*' | '/'));
            solution = solution.then(operator, number)?;
            order.push(number);
        }
        let numbers = dice.shuffled(&order);
        let listed = |between: &str| numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(between);
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        let plain = format!(
            "Make 24 out of the numbers {}. Use each of them exactly once, with +, -, *, / and brackets.",
            listed(", ")
        );
        let ending = "End with the expression after \"####\", without an equals sign, like this: #### (1 + 2 + 3) * 4";
        let short = solution.text.replace(' ', "");
        let size = order.iter().map(|number| *number as usize).sum::<usize>() + 20 * hard;
        let question = Question::new(size, (plain, ending), format!("{}=24:", listed(" ")), solution.text);
        Some(question.same_as(format!("{sorted:?}")).terse_answer(short).with("numbers", numbers))
    }
}

#[cfg(test)]
mod tests {
    use super::{TARGET, last};

    #[test]
    fn the_last_number_makes_24() {
        for value in -100..100i64 {
            for operator in ['+', '-', '*', '/'] {
                let mut tried = (-200..200i64).filter(|number| match operator {
                    '+' => value + number == TARGET,
                    '-' => value - number == TARGET,
                    '*' => value * number == TARGET,
                    _ => *number != 0 && value % number == 0 && value / number == TARGET,
                });
                let wanted = tried.next();
                assert_eq!(
                    last(operator, value).filter(|number| *number != 0 || operator != '/'),
                    wanted,
                    "{value} {operator}"
                );
            }
        }
    }
}
