//! `gcd`: the greatest common divisor of a few numbers.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::dice::Dice;
use crate::procedural::{Generator, NUMBER, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`gcd`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "gcd",
    family: Family::Arithmetic,
    summary: "Find the greatest common divisor of a few numbers.",
    example: "26, 760 → 2",
    answer_reward: "gcd",
    options: &[
        whole("min_numbers", (2, 6), "2", "fewest numbers"),
        whole("max_numbers", (2, 6), "2", "most numbers"),
        whole("min_value", (1, 1_000_000), "1", "smallest number"),
        whole("max_value", (1, 1_000_000), "1000", "largest number"),
        STYLE,
    ],
    levels: &[
        &[("max_value", "20")],
        &[("max_value", "100")],
        &[("max_numbers", "3"), ("max_value", "1000")],
        &[("max_numbers", "4"), ("max_value", "10000")],
        &[("min_numbers", "3"), ("max_numbers", "5"), ("max_value", "100000")],
    ],
    build: |options, seed| Procedural::build(Gcd::new(options)?, options, seed),
};

struct Gcd {
    count: (i64, i64),
    value: (i64, i64),
}

impl Gcd {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            count: options.range("min_numbers", "max_numbers")?,
            value: options.range("min_value", "max_value")?,
        })
    }
}

/// Euclid.
pub(crate) fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Generator for Gcd {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// Up to three draws until the numbers have a common divisor: half of all pairs have none.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let (mut numbers, mut divisor) = (Vec::new(), 0);
        for _ in 0..3 {
            let count = dice.within(self.count);
            numbers = (0..count).map(|_| dice.within(self.value)).collect();
            divisor = numbers.iter().fold(0, |divisor, &number| gcd(divisor, number as u128));
            if divisor > 1 {
                break;
            }
        }
        let listed = numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let plain = format!("What is the greatest number that divides all of {listed}?");
        let size = numbers.iter().map(|number| number.to_string().len()).sum();
        let terse = format!("gcd {}=", listed.replace(", ", " "));
        let question = Question::new(size, (plain, NUMBER), terse, divisor.to_string());
        numbers.sort_unstable();
        Some(question.same_as(format!("{numbers:?}")).with("numbers", numbers))
    }
}

#[cfg(test)]
mod tests {
    use super::gcd;

    #[test]
    fn euclid_agrees_with_trying_every_divisor() {
        for a in 1..60u128 {
            for b in 1..60 {
                let tried = (1..=a).rev().find(|d| a % d == 0 && b % d == 0);
                assert_eq!(Some(gcd(a, b)), tried, "{a}, {b}");
            }
        }
        assert_eq!(gcd(0, 7), 7);
    }

    #[test]
    fn reasoning_gym_means_the_same() {
        for row in crate::gym::rows("gcd").unwrap_or_default() {
            let numbers: Vec<u128> = serde_json::from_value(row["metadata"]["numbers"].clone()).unwrap();
            assert_eq!(numbers.into_iter().fold(0, gcd) as i64, crate::gym::number(&row), "{row}");
        }
    }
}
