//! `number-sorting`: put numbers in ascending or descending order.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::procedural::{Generator, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`number_sorting`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "number-sorting",
    family: Family::Algorithmic,
    summary: "Sort numbers in ascending or descending order.",
    example: "descending: 1, 12, 37 → 37, 12, 1",
    answer_reward: "number-sorting",
    options: &[
        whole("min_numbers", (2, 64), "3", "fewest numbers"),
        whole("max_numbers", (2, 64), "10", "most numbers"),
        whole("min_decimals", (0, 6), "0", "fewest decimal places"),
        whole("max_decimals", (0, 6), "2", "most decimal places"),
        whole("min_value", (-1_000_000, 1_000_000), "-100", "smallest number"),
        whole("max_value", (-1_000_000, 1_000_000), "100", "largest number"),
        STYLE,
    ],
    levels: &[
        &[("max_numbers", "3"), ("max_decimals", "0"), ("min_value", "0"), ("max_value", "50")],
        &[("max_numbers", "5"), ("max_decimals", "0"), ("min_value", "0")],
        &[("min_numbers", "4"), ("max_numbers", "8"), ("max_decimals", "1")],
        &[("min_numbers", "6"), ("max_numbers", "12")],
        &[("min_numbers", "10"), ("max_numbers", "24"), ("min_value", "-1000"), ("max_value", "1000")],
    ],
    build: |options, seed| Procedural::build(NumberSorting::new(options)?, options, seed),
};

struct NumberSorting {
    count: (i64, i64),
    decimals: (i64, i64),
    value: (i64, i64),
}

impl NumberSorting {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            count: options.range("min_numbers", "max_numbers")?,
            decimals: options.range("min_decimals", "max_decimals")?,
            value: options.range("min_value", "max_value")?,
        })
    }
}

/// `scaled` · 10^−decimals in digits, exactly.
pub(crate) fn digits(scaled: i64, decimals: u32) -> String {
    if decimals == 0 {
        return scaled.to_string();
    }
    let unit = 10u64.pow(decimals);
    let sign = if scaled < 0 { "-" } else { "" };
    let size = scaled.unsigned_abs();
    format!("{sign}{}.{:0width$}", size / unit, size % unit, width = decimals as usize)
}

impl Generator for NumberSorting {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// All numbers of a question have the same number of decimal places.
    fn draw(&self, key: Key) -> Option<Question> {
        let count = key.at(0).between(self.count.0, self.count.1) as u64;
        let decimals = key.at(1).between(self.decimals.0, self.decimals.1) as u32;
        let falling = key.at(2).below(2) == 1;
        let scale = 10i64.pow(decimals);
        let numbers: Vec<i64> =
            (0..count).map(|at| key.at(3).at(at).between(self.value.0 * scale, self.value.1 * scale)).collect();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        if falling {
            sorted.reverse();
        }
        let listed = |list: &[i64], separator: &str| {
            list.iter().map(|&number| digits(number, decimals)).collect::<Vec<_>>().join(separator)
        };
        let (direction, sign) = if falling { ("descending", '>') } else { ("ascending", '<') };
        let plain = format!("Put these numbers in {direction} order: {}.", listed(&numbers, ", "));
        let ending =
            "End with the sorted list after \"####\", with commas between the numbers, like this: #### 1, 2, 3";
        let terse = format!("{sign}{}=", listed(&numbers, " "));
        let question = Question::new(count as usize, (plain, ending), terse, listed(&sorted, ", "));
        // the sorted list: the same numbers in another order are the same question
        let question = question.same_as(format!("{direction} {}", listed(&sorted, ", ")));
        Some(question.terse_answer(listed(&sorted, " ")).with("direction", direction).with("count", count))
    }
}

#[cfg(test)]
mod tests {
    use super::digits;

    #[test]
    fn decimals_are_written_exactly() {
        assert_eq!(
            [digits(5, 0), digits(-5, 1), digits(-105, 2), digits(7, 3), digits(0, 2)],
            ["5", "-0.5", "-1.05", "0.007", "0.00"]
        );
    }
}
