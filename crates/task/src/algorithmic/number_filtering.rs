//! `number-filtering`: the numbers of a list on one side of a limit.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use super::number_sorting::digits;
use crate::dice::Dice;
use crate::procedural::{Generator, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`number_filtering`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "number-filtering",
    family: Family::Algorithmic,
    summary: "Keep or remove the numbers of a list above or below a limit.",
    example: "keep above 5: 3, 9, 4.5, 7 → 9, 7",
    answer_reward: "number-filtering",
    options: &[
        whole("min_numbers", (1, 200), "3", "fewest numbers"),
        whole("max_numbers", (1, 200), "10", "most numbers"),
        whole("min_decimals", (0, 6), "0", "fewest decimal places"),
        whole("max_decimals", (0, 6), "4", "most decimal places"),
        whole("min_value", (-1_000_000, 1_000_000), "-100", "smallest number"),
        whole("max_value", (-1_000_000, 1_000_000), "100", "largest number"),
        STYLE,
    ],
    levels: &[
        &[("max_numbers", "3"), ("max_decimals", "0"), ("min_value", "0"), ("max_value", "20")],
        &[("max_numbers", "5"), ("max_decimals", "0"), ("min_value", "0")],
        &[("min_numbers", "4"), ("max_numbers", "8"), ("max_decimals", "1")],
        &[("min_numbers", "6"), ("max_numbers", "14"), ("max_decimals", "2")],
        &[("min_numbers", "12"), ("max_numbers", "40")],
    ],
    build: |options, seed| Procedural::build(NumberFiltering::new(options)?, options, seed),
};

struct NumberFiltering {
    count: (i64, i64),
    decimals: (i64, i64),
    value: (i64, i64),
}

impl NumberFiltering {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            count: options.range("min_numbers", "max_numbers")?,
            decimals: options.range("min_decimals", "max_decimals")?,
            value: options.range("min_value", "max_value")?,
        })
    }
}

/// Six decimal places are the finest unit.
const FINEST: u32 = 6;

impl NumberFiltering {
    /// A number in units of 10^−6, and how it is written.
    fn number(&self, dice: &mut Dice, (low, high): (i64, i64)) -> (i64, String) {
        let decimals = dice.within(self.decimals) as u32;
        let unit = 10i64.pow(FINEST - decimals);
        let scaled = dice.between(low.div_euclid(unit), high.div_euclid(unit));
        (scaled * unit, digits(scaled, decimals))
    }
}

impl Generator for NumberFiltering {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// The limit lies between the smallest and the largest number; a number equal to it is neither above nor below.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let count = dice.within(self.count) as usize;
        let one = 10i64.pow(FINEST);
        let range = (self.value.0 * one, self.value.1 * one);
        let numbers: Vec<(i64, String)> = (0..count).map(|_| self.number(dice, range)).collect();
        let least = numbers.iter().map(|(number, _)| *number).min()?;
        let most = numbers.iter().map(|(number, _)| *number).max()?;
        let (limit, limit_text) = self.number(dice, (least, most));
        let (keep, above) = (dice.coin(), dice.coin());
        let passes = |number: i64| (if above { number > limit } else { number < limit }) == keep;
        let kept: Vec<&str> =
            numbers.iter().filter(|(number, _)| passes(*number)).map(|(_, text)| text.as_str()).collect();
        let all: Vec<&str> = numbers.iter().map(|(_, text)| text.as_str()).collect();
        let (verb, side) = (if keep { "Keep" } else { "Remove" }, if above { "above" } else { "below" });
        let plain = format!("{verb} the numbers {side} {limit_text} in this list, in order: {}.", all.join(", "));
        let ending =
            "End with the list after \"####\" in brackets, like this: #### [1, 2.5] or, with nothing left, #### []";
        let terse =
            format!("{}{}{limit_text}:{}=", if keep { '+' } else { '-' }, if above { '>' } else { '<' }, all.join(" "));
        let question = Question::new(count, (plain, ending), terse, format!("[{}]", kept.join(", ")));
        Some(question.terse_answer(format!("[{}]", kept.join(" "))).with("filter_value", limit_text))
    }
}
