//! `count-bits`: how many ones a number has in binary.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::dice::Dice;
use crate::procedural::{Generator, NUMBER, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`count_bits`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "count-bits",
    family: Family::Arithmetic,
    summary: "Count the ones of a number in binary.",
    example: "13 → 3",
    answer_reward: "count-bits",
    options: &[
        whole("min_n", (1, (1 << 53) - 1), "1", "smallest number"),
        whole("max_n", (1, (1 << 53) - 1), "2147483647", "largest number"),
        STYLE,
    ],
    levels: &[
        &[("max_n", "15")],
        &[("min_n", "16"), ("max_n", "255")],
        &[("min_n", "256"), ("max_n", "4095")],
        &[("min_n", "4096"), ("max_n", "1048575")],
        &[("min_n", "1048576"), ("max_n", "2147483647")],
    ],
    build: |options, seed| Procedural::build(CountBits::new(options)?, options, seed),
};

struct CountBits {
    value: (i64, i64),
}

impl CountBits {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self { value: options.range("min_n", "max_n")? })
    }
}

impl Generator for CountBits {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn draw(&self, key: Key) -> Option<Question> {
        let number = Dice::new(key).within(self.value);
        let plain = format!("How many digits 1 has the number {number} when it is written in binary?");
        let size = (64 - number.leading_zeros()) as usize;
        let terse = format!("bits {number}=");
        let question = Question::new(size, (plain, NUMBER), terse, number.count_ones().to_string());
        Some(question.with("number", number))
    }
}
