//! `count-primes`: how many primes lie in a range.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::arithmetic::prime_factorization::primes;
use crate::dice::Dice;
use crate::procedural::{Generator, NUMBER, Procedural, Question, STYLE, integer, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`count_primes`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "count-primes",
    family: Family::Algorithmic,
    summary: "Count the primes of a range.",
    example: "from 10 to 20 → 4",
    answer_reward: "count-primes",
    options: &[
        whole("min_n", (1, 1_000_000), "1", "smallest number"),
        whole("max_n", (1, 1_000_000), "10000", "largest number"),
        whole("max_span", (1, 100_000), "100000", "most numbers of a range; not in reasoning-gym"),
        STYLE,
    ],
    levels: &[
        &[("max_n", "20"), ("max_span", "10")],
        &[("max_n", "50"), ("max_span", "20")],
        &[("max_n", "100"), ("max_span", "50")],
        &[("max_n", "1000"), ("max_span", "200")],
        &[("max_n", "10000"), ("max_span", "2000")],
    ],
    build: |options, seed| Procedural::build(CountPrimes::new(options)?, options, seed),
};

struct CountPrimes {
    value: (i64, i64),
    span: i64,
}

impl CountPrimes {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self { value: options.range("min_n", "max_n")?, span: integer(options, "max_span") })
    }
}

impl Generator for CountPrimes {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let start = dice.within(self.value);
        let end = dice.between(start, self.value.1.min(start.saturating_add(self.span - 1)));
        let count = (start.max(2)..=end).filter(|&number| primes(number as u64).len() == 1).count();
        let plain = format!("How many prime numbers are there from {start} to {end}, both included?");
        let size = (end - start + 1) as usize;
        let question = Question::new(size, (plain, NUMBER), format!("primes {start}-{end}="), count.to_string());
        Some(question.with("start", start).with("end", end))
    }
}
