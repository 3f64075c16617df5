//! Answers to procedural tasks: one rule per task.
//!
//! Strict by default: an answer is right or wrong, judged by what it means. With `compat = "reasoning_gym"` the completion
//! as it stands earns what reasoning-gym 0.1.25 gives it, with its partial credit and its mistakes; models' text is parsed
//! there as well, never run.

mod boards;
mod by_task;
mod colouring;
mod exact;
mod factors;
mod integral;
mod knights;
mod lists;
mod moves;
mod polynomial;

use lapidary_core::{Result, Verdict};
use serde_json::{Map, Value};

use crate::find::{COMPAT, EXTRACT, Finder, SEVERAL, reasoning_gym, shorten};
use crate::options::Options;
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};

pub(crate) use boards::{BINARY_MATRIX, MINI_SUDOKU, N_QUEENS, ROTATE_MATRIX};
pub(crate) use by_task::TASK;
pub(crate) use colouring::GRAPH_COLOR;
pub(crate) use exact::{
    BASE_CONVERSION, BASIC_ARITHMETIC, CAESAR_CIPHER, COUNT_BITS, COUNT_PRIMES, COURSE_SCHEDULE, DECIMAL_CHAIN_SUM,
    GAME_OF_LIFE_HALTING, GCD, GSM_SYMBOLIC, LARGEST_ISLAND, LCM, LEG_COUNTING, LETTER_COUNTING, MAZE, NEEDLE_HAYSTACK,
    NUMBER_SEQUENCE, PRODUCTS, SIMPLE_EQUATIONS, SIMPLE_GEOMETRY, STRING_INSERTION,
};
pub(crate) use factors::{COMPLEX_ARITHMETIC, FRACTION_SIMPLIFICATION, PRIME_FACTORIZATION, PUZZLE24};
pub(crate) use integral::SIMPLE_INTEGRATION;
pub(crate) use knights::KNIGHTS_KNAVES;
pub(crate) use lists::{NUMBER_FILTERING, SPIRAL_MATRIX, WORD_SORTING};
pub(crate) use moves::{SHORTEST_PATH, TOWER_OF_HANOI};

/// A longer answer is none: the longest that is asked for has some thousand characters.
const LONGEST: usize = 16 * 1024;

/// What a question asks, as far as its answer is judged by it.
struct Asked<'a> {
    /// The reference answer of the row.
    reference: &'a str,
    metadata: &'a Map<String, Value>,
}

/// What a rule says of an answer.
enum Ruling {
    Right,
    /// With what is wrong.
    Wrong(String),
    /// The row does not say what is asked.
    Unknown(&'static str),
}

impl Ruling {
    fn of(right: bool, wrong: impl FnOnce() -> String) -> Self {
        if right { Ruling::Right } else { Ruling::Wrong(wrong()) }
    }
}

/// How the answers of a task are judged.
#[derive(Clone, Copy)]
struct Rule {
    name: &'static str,
    /// Whether the answer is a number: then the last number of a completion may be it.
    numeric: bool,
    /// Whether an answer is right.
    judge: fn(&str, &Asked<'_>) -> Ruling,
    /// What reasoning-gym gives to a completion; `None` where the row does not say what is asked.
    credit: fn(&str, &Asked<'_>) -> Option<f64>,
}

/// The row of the registry.
const fn info(
    name: &'static str,
    summary: &'static str,
    formula: &'static str,
    build: fn(&Options) -> Result<Box<dyn Reward>>,
) -> RewardInfo {
    RewardInfo { name, summary, formula, options: &[EXTRACT, SEVERAL, COMPAT], build }
}

/// A rule with the options that say where an answer may stand.
struct Judge {
    rule: Rule,
    finder: Finder,
    compat: bool,
}

impl Rule {
    fn build(self, options: &Options) -> Result<Box<dyn Reward>> {
        Ok(Box::new(Judge { rule: self, finder: Finder::of(options), compat: reasoning_gym(options) }))
    }
}

impl Judge {
    fn judge(&self, attempt: &Attempt<'_>) -> Verdict {
        let asked = Asked { reference: attempt.answer.unwrap_or(""), metadata: attempt.metadata };
        if self.compat {
            return match (self.rule.credit)(attempt.completion, &asked) {
                Some(credit) => Verdict::score(credit as f32, "reasoning-gym's credit"),
                None => Verdict::none("the row lacks what reasoning-gym judges by"),
            };
        }
        let (answer, mark) = match self.finder.find(attempt.completion, self.rule.numeric) {
            Ok(found) => found,
            Err(verdict) => return verdict,
        };
        if answer.len() > LONGEST {
            return Verdict::score(0.0, format!("an answer of {} bytes is none", answer.len()));
        }
        let bare = answer.trim_matches(|c: char| matches!(c, '`' | '*' | '$' | '.') || c.is_whitespace());
        match (self.rule.judge)(bare, &asked) {
            Ruling::Right => Verdict::score(1.0, format!("{} ({}) is right", shorten(bare), mark.place())),
            Ruling::Wrong(why) => Verdict::score(0.0, format!("{} ({}): {why}", shorten(bare), mark.place())),
            Ruling::Unknown(why) => Verdict::none(why),
        }
    }
}

impl Reward for Judge {
    fn name(&self) -> &str {
        self.rule.name
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        attempts.iter().map(|attempt| self.judge(attempt)).collect()
    }
}

/// reasoning-gym's score where a task has none of its own: 1 for the reference; where the text merely contains it, the
/// share of its characters that the reference makes up; else 0. (So `10` for `1` earns ½: do not train on it.)
fn contained(completion: &str, reference: &str) -> f64 {
    if completion == reference {
        return f64::from(u8::from(!completion.is_empty()));
    }
    match !completion.is_empty() && completion.contains(reference) {
        true => reference.chars().count() as f64 / completion.chars().count() as f64,
        false => 0.0,
    }
}

/// [`contained`], as a credit.
fn base(completion: &str, asked: &Asked<'_>) -> Option<f64> {
    (!asked.reference.is_empty()).then(|| contained(completion, asked.reference))
}

/// Whole numbers in a list of the row.
fn whole_numbers(value: Option<&Value>) -> Option<Vec<i64>> {
    value?.as_array()?.iter().map(Value::as_i64).collect()
}
