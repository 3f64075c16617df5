//! `prime-factorization`: the primes whose product a number is.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::dice::Dice;
use crate::procedural::{Generator, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`prime_factorization`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "prime-factorization",
    family: Family::Arithmetic,
    summary: "Write a number as a product of primes.",
    example: "12 → 2 × 2 × 3",
    answer_reward: "prime-factorization",
    options: &[
        whole("min_value", (2, 1_000_000_000), "2", "smallest number"),
        whole("max_value", (2, 1_000_000_000), "1000", "largest number"),
        STYLE,
    ],
    levels: &[
        &[("max_value", "30")],
        &[("min_value", "20"), ("max_value", "200")],
        &[("min_value", "100"), ("max_value", "1000")],
        &[("min_value", "1000"), ("max_value", "10000")],
        &[("min_value", "10000"), ("max_value", "1000000")],
    ],
    build: |options, seed| Procedural::build(PrimeFactorization::new(options)?, options, seed),
};

struct PrimeFactorization {
    value: (i64, i64),
}

impl PrimeFactorization {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self { value: options.range("min_value", "max_value")? })
    }
}

/// The primes of a number above 1, ascending, by trial division.
pub(crate) fn primes(mut number: u64) -> Vec<u64> {
    let mut found = Vec::new();
    let mut divisor = 2;
    while divisor * divisor <= number {
        while number.is_multiple_of(divisor) {
            found.push(divisor);
            number /= divisor;
        }
        divisor += 1;
    }
    if number > 1 {
        found.push(number);
    }
    found
}

impl Generator for PrimeFactorization {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn draw(&self, key: Key) -> Option<Question> {
        let number = Dice::new(key).within(self.value);
        let factors: Vec<String> = primes(number as u64).iter().map(u64::to_string).collect();
        let plain = format!("Write {number} as a product of prime numbers; a prime alone is its own product.");
        let ending = "End with the primes after \"####\", with × between them, like this: #### 2 × 2 × 3";
        let size = number.to_string().len() + factors.len();
        let question = Question::new(size, (plain, ending), format!("{number}="), factors.join(" × "));
        Some(question.terse_answer(factors.join("*")).with("number", number))
    }
}

#[cfg(test)]
mod tests {
    use super::primes;

    #[test]
    fn factors_are_prime_and_multiply_to_the_number() {
        for number in 2..2000u64 {
            let found = primes(number);
            assert_eq!(found.iter().product::<u64>(), number);
            assert!(found.iter().all(|prime| (2..*prime).all(|d| prime % d != 0)), "{number}: {found:?}");
            assert!(found.is_sorted());
        }
    }
}
