//! The table of all rewards.

use lapidary_core::{Kind, Problem, Result};
use serde_json::Value;

use crate::Reward;
use crate::options::{OptionInfo, Options, Owner, schema, suggestion};

/// What there is to know about a reward: its name, what it computes, and its options.
#[derive(Clone, Copy)]
pub struct RewardInfo {
    /// The name in a recipe and on the command line.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// The score as a formula.
    pub formula: &'static str,
    /// The options it takes.
    pub options: &'static [OptionInfo],
    pub(crate) build: fn(&Options) -> Result<Box<dyn Reward>>,
}

impl RewardInfo {
    /// The JSON schema of its options.
    pub fn schema(&self) -> Value {
        schema(self.options)
    }
}

static REWARDS: &[RewardInfo] = &[
    crate::answer::INFO,
    crate::math::INFO,
    crate::format::INFO,
    crate::length::INFO,
    crate::repetition::INFO,
    crate::language::INFO,
    crate::pattern::INFO,
    crate::json::INFO,
    crate::tool_call::INFO,
    crate::judge::INFO,
    crate::model::INFO,
    crate::intrinsic::confidence::INFO,
    crate::intrinsic::self_certainty::INFO,
    crate::intrinsic::entropy::INFO,
    crate::intrinsic::majority_vote::INFO,
    crate::command::INFO,
    crate::code::INFO,
    crate::ifeval::INFO,
    crate::chain_sum::INFO,
    crate::countdown::INFO,
    crate::number_sorting::INFO,
    crate::spell_backward::INFO,
    crate::preferences::INFO,
    crate::puzzle::BASIC_ARITHMETIC,
    crate::puzzle::PRODUCTS,
    crate::puzzle::GCD,
    crate::puzzle::LCM,
    crate::puzzle::DECIMAL_CHAIN_SUM,
    crate::puzzle::FRACTION_SIMPLIFICATION,
    crate::puzzle::PRIME_FACTORIZATION,
    crate::puzzle::COUNT_BITS,
    crate::puzzle::LEG_COUNTING,
    crate::puzzle::GSM_SYMBOLIC,
    crate::puzzle::SIMPLE_EQUATIONS,
    crate::puzzle::COMPLEX_ARITHMETIC,
    crate::puzzle::SIMPLE_INTEGRATION,
    crate::puzzle::LETTER_COUNTING,
    crate::puzzle::BASE_CONVERSION,
    crate::puzzle::CAESAR_CIPHER,
    crate::puzzle::COUNT_PRIMES,
    crate::puzzle::NUMBER_FILTERING,
    crate::puzzle::WORD_SORTING,
    crate::puzzle::STRING_INSERTION,
    crate::puzzle::BINARY_MATRIX,
    crate::puzzle::SPIRAL_MATRIX,
    crate::puzzle::ROTATE_MATRIX,
    crate::puzzle::GRAPH_COLOR,
    crate::puzzle::GAME_OF_LIFE_HALTING,
    crate::puzzle::NUMBER_SEQUENCE,
    crate::puzzle::NEEDLE_HAYSTACK,
    crate::puzzle::KNIGHTS_KNAVES,
    crate::puzzle::PUZZLE24,
    crate::puzzle::MINI_SUDOKU,
    crate::puzzle::N_QUEENS,
    crate::puzzle::TOWER_OF_HANOI,
    crate::puzzle::MAZE,
    crate::puzzle::SHORTEST_PATH,
    crate::puzzle::LARGEST_ISLAND,
    crate::puzzle::COURSE_SCHEDULE,
    crate::puzzle::SIMPLE_GEOMETRY,
    crate::puzzle::TASK,
];

/// All rewards.
pub fn rewards() -> &'static [RewardInfo] {
    REWARDS
}

/// The reward of that name.
pub fn reward(name: &str) -> Option<&'static RewardInfo> {
    REWARDS.iter().find(|info| info.name == name)
}

/// Builds a reward from its name and its options (an object, or null for none).
///
/// # Errors
/// `Usage` `W001` for an unknown reward, `W002` for an unknown option, `W003` for an option that holds the wrong thing.
pub fn build(name: &str, options: &Value) -> Result<Box<dyn Reward>> {
    let Some(info) = reward(name) else {
        let names: Vec<&str> = REWARDS.iter().map(|info| info.name).collect();
        return Err(
            Problem::new(Kind::Usage, "W001", format!("no reward is named `{name}`")).hint(suggestion(name, &names))
        );
    };
    let owner = Owner { what: "reward", name: info.name, unknown: "W002", wrong: "W003" };
    (info.build)(&Options::check(owner, info.options, options)?)
}
