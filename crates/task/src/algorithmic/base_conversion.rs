//! `base-conversion`: a number in another base.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::dice::Dice;
use crate::procedural::{Generator, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`base_conversion`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "base-conversion",
    family: Family::Algorithmic,
    summary: "Write a number that is given in one base in another.",
    example: "220020 from base 3 to base 2 → 1010001110",
    answer_reward: "base-conversion",
    options: &[
        whole("min_base", (2, 36), "2", "smallest base"),
        whole("max_base", (2, 36), "16", "largest base"),
        whole("min_value", (0, 1_000_000_000_000), "0", "smallest number"),
        whole("max_value", (0, 1_000_000_000_000), "1000", "largest number"),
        STYLE,
    ],
    levels: &[
        &[("max_base", "4"), ("max_value", "15")],
        &[("max_base", "10"), ("max_value", "99")],
        &[("min_value", "100"), ("max_value", "999")],
        &[("max_base", "20"), ("min_value", "1000"), ("max_value", "99999")],
        &[("max_base", "36"), ("min_value", "1000000"), ("max_value", "999999999")],
    ],
    build: |options, seed| Procedural::build(BaseConversion::new(options)?, options, seed),
};

struct BaseConversion {
    base: (i64, i64),
    value: (i64, i64),
}

impl BaseConversion {
    fn new(options: &Options) -> Result<Self> {
        let base = options.range("min_base", "max_base")?;
        if base.0 == base.1 {
            return Err(options
                .wrong("`min_base` and `max_base` are equal")
                .hint("a conversion needs two different bases"));
        }
        Ok(Self { base, value: options.range("min_value", "max_value")? })
    }
}

/// Digits 0 to 9, then a to z.
fn written(mut number: u64, base: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit((number % base) as u32, 36).unwrap_or('?'));
        number /= base;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

impl Generator for BaseConversion {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let value = dice.within(self.value) as u64;
        let from = dice.within(self.base);
        let to = dice.between(self.base.0, self.base.1 - 1);
        let to = if to >= from { to + 1 } else { to };
        let (given, wanted) = (written(value, from as u64), written(value, to as u64));
        let plain = format!(
            "{given} is a number in base {from}. How is it written in base {to}? Digits above 9 are the letters from a on."
        );
        let ending = "End with the digits after \"####\", like this: #### 1f";
        let size = given.len() + wanted.len();
        let question = Question::new(size, (plain, ending), format!("{given}:{from}>{to}="), wanted);
        Some(question.with("decimal_value", value).with("source_base", from).with("target_base", to))
    }
}

#[cfg(test)]
mod tests {
    use super::written;

    #[test]
    fn digits_are_read_back_as_the_number() {
        for base in 2..=36 {
            for number in [0, 1, 35, 36, 638, 123_456_789] {
                assert_eq!(u64::from_str_radix(&written(number, base), base as u32), Ok(number));
            }
        }
        assert_eq!([written(638, 3), written(638, 2)], ["212122", "1001111110"]);
    }
}
