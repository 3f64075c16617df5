//! `lcm`: the least common multiple of a few numbers.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use super::gcd::gcd;
use crate::dice::Dice;
use crate::procedural::{Generator, NUMBER, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`lcm`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "lcm",
    family: Family::Arithmetic,
    summary: "Find the least common multiple of a few numbers.",
    example: "95, 14 → 1330",
    answer_reward: "lcm",
    options: &[
        whole("min_numbers", (2, 6), "2", "fewest numbers"),
        whole("max_numbers", (2, 6), "2", "most numbers"),
        whole("min_value", (1, 1_000_000), "1", "smallest number"),
        whole("max_value", (1, 1_000_000), "100", "largest number"),
        STYLE,
    ],
    levels: &[
        &[("max_value", "20")],
        &[("max_value", "100")],
        &[("max_numbers", "3"), ("max_value", "1000")],
        &[("max_numbers", "4"), ("max_value", "10000")],
        &[("min_numbers", "3"), ("max_numbers", "5"), ("max_value", "100000")],
    ],
    build: |options, seed| Procedural::build(Lcm::new(options)?, options, seed),
};

struct Lcm {
    count: (i64, i64),
    value: (i64, i64),
}

impl Lcm {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            count: options.range("min_numbers", "max_numbers")?,
            value: options.range("min_value", "max_value")?,
        })
    }
}

impl Generator for Lcm {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// Up to three draws until the multiple is not just the product.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let (mut numbers, mut multiple) = (Vec::new(), 1u128);
        for _ in 0..3 {
            let count = dice.within(self.count);
            numbers = (0..count).map(|_| dice.within(self.value)).collect::<Vec<i64>>();
            // At most six numbers of at most 10^6: below 10^36, inside u128.
            multiple = numbers.iter().fold(1, |all, &number| all / gcd(all, number as u128) * number as u128);
            if multiple < numbers.iter().map(|&number| number as u128).product() {
                break;
            }
        }
        let listed = numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let plain = format!("What is the smallest positive number that all of {listed} divide?");
        let size = numbers.iter().map(|number| number.to_string().len()).sum();
        let terse = format!("lcm {}=", listed.replace(", ", " "));
        let question = Question::new(size, (plain, NUMBER), terse, multiple.to_string());
        numbers.sort_unstable();
        Some(question.same_as(format!("{numbers:?}")).with("numbers", numbers))
    }
}
