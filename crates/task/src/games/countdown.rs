//! `countdown`: make a target out of given numbers, each used once. Every question has a solution, because it is made
//! from one.

use lapidary_core::{Key, Result};
use lapidary_reward::options::{OptionInfo, OptionKind, Options};

use crate::procedural::{Generator, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`countdown`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "countdown",
    family: Family::Games,
    summary: "Combine given numbers, each used exactly once, to reach a target.",
    example: "48, 7, 9 → 50: 9 + 48 - 7",
    answer_reward: "countdown",
    options: &[
        whole("min_numbers", (2, 10), "4", "fewest numbers"),
        whole("max_numbers", (2, 10), "4", "most numbers"),
        whole("min_value", (1, 100_000), "1", "smallest number"),
        whole("max_value", (1, 100_000), "100", "largest number"),
        whole("min_target", (0, 1_000_000_000), "100", "smallest target"),
        whole("max_target", (0, 1_000_000_000), "999", "largest target"),
        OptionInfo {
            name: "operators",
            kind: OptionKind::Choices(&["+", "-", "*", "/"]),
            default: r#"["+", "-", "*", "/"]"#,
            meaning: "what the solution that a question is made from may use",
        },
        STYLE,
    ],
    levels: &[
        &[("min_numbers", "2"), ("max_numbers", "2"), ("max_value", "20"), ("min_target", "1"), ("max_target", "50")],
        &[("min_numbers", "3"), ("max_numbers", "3"), ("max_value", "20"), ("min_target", "1"), ("max_target", "99")],
        &[("min_numbers", "3"), ("max_numbers", "4"), ("max_value", "50"), ("min_target", "10"), ("max_target", "100")],
        &[("min_numbers", "4"), ("max_numbers", "5")],
        &[("min_numbers", "5"), ("max_numbers", "6")],
    ],
    build: |options, seed| Procedural::build(Countdown::new(options)?, options, seed),
};

struct Countdown {
    count: (i64, i64),
    value: (i64, i64),
    target: (i64, i64),
    operators: Vec<char>,
}

impl Countdown {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            count: options.range("min_numbers", "max_numbers")?,
            value: options.range("min_value", "max_value")?,
            target: options.range("min_target", "max_target")?,
            operators: options.texts("operators").iter().filter_map(|operator| operator.chars().next()).collect(),
        })
    }
}

/// A solution as it grows from left to right.
pub(super) struct Solution {
    pub(super) text: String,
    pub(super) value: i64,
    /// Whether the last operator binds less than `*`, so that the text needs brackets before one.
    is_sum: bool,
}

impl Solution {
    /// One number alone.
    pub(super) fn of(number: i64) -> Self {
        Self { text: number.to_string(), value: number, is_sum: false }
    }

    /// One more number; `None` where it does not divide or grows too large.
    pub(super) fn then(self, operator: char, number: i64) -> Option<Self> {
        let value = match operator {
            '+' => self.value.checked_add(number)?,
            '-' => self.value.checked_sub(number)?,
            '*' => self.value.checked_mul(number)?,
            _ => (self.value % number == 0).then(|| self.value / number)?,
        };
        let binds = matches!(operator, '*' | '/');
        let left = if binds && self.is_sum { format!("({})", self.text) } else { self.text };
        Some(Self { text: format!("{left} {operator} {number}"), value, is_sum: !binds })
    }
}

impl Generator for Countdown {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn draw(&self, key: Key) -> Option<Question> {
        let count = key.at(0).between(self.count.0, self.count.1) as usize;
        let numbers: Vec<i64> =
            (0..count as u64).map(|at| key.at(1).at(at).between(self.value.0, self.value.1)).collect();
        let order = key.at(2).permutation(count);
        let mut solution = Solution::of(numbers[order[0]]);
        for (at, &index) in order.iter().enumerate().skip(1) {
            let choice = key.at(3).at(at as u64).below(self.operators.len() as u64) as usize;
            solution = solution.then(self.operators[choice], numbers[index])?;
        }
        let target = solution.value;
        if !(self.target.0..=self.target.1).contains(&target) {
            return None;
        }
        let listed = |separator: &str| numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(separator);
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        let plain = format!(
            "Make {target} out of the numbers {}. Use each of them exactly once, with +, -, *, / and brackets.",
            listed(", ")
        );
        let ending = "End with the expression after \"####\", without an equals sign, like this: #### (1 + 2) * 3";
        let short = solution.text.replace(' ', "");
        let question = Question::new(count, (plain, ending), format!("{}={target}:", listed(" ")), solution.text);
        let question = question.same_as(format!("{sorted:?} {target}")).terse_answer(short);
        Some(question.with("numbers", numbers).with("target", target))
    }
}
