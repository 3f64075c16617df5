//! The table of all tasks.

use lapidary_core::{Kind, Problem, Result};
use lapidary_reward::options::{OptionInfo, OptionKind, Options, Owner, nearest, schema, suggestion};
use serde_json::{Map, Value, json};

use crate::{Task, TaskSpec};

/// What a task exercises; the families of reasoning-gym, and data sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Sums, products, factors, word problems.
    Arithmetic,
    /// Equations and symbols.
    Algebra,
    /// Strings, lists and grids worked through by rule.
    Algorithmic,
    /// Patterns and facts to be picked out.
    Cognition,
    /// Who tells the truth.
    Logic,
    /// Puzzles.
    Games,
    /// Ways, islands and orders.
    Graphs,
    /// Angles.
    Geometry,
    /// Two answers and which is better.
    Preference,
    /// Several tasks.
    Mixture,
    /// Rows of a file.
    Data,
}

impl Family {
    /// `arithmetic`.
    pub fn name(self) -> &'static str {
        match self {
            Family::Arithmetic => "arithmetic",
            Family::Algebra => "algebra",
            Family::Algorithmic => "algorithmic",
            Family::Cognition => "cognition",
            Family::Logic => "logic",
            Family::Games => "games",
            Family::Graphs => "graphs",
            Family::Geometry => "geometry",
            Family::Preference => "preference",
            Family::Mixture => "mixture",
            Family::Data => "data",
        }
    }
}

/// The parameters that a level of difficulty sets, as JSON literals.
pub type Level = &'static [(&'static str, &'static str)];

/// The option that sets the parameters of a level; the same for every task that has levels.
pub(crate) const LEVEL: &str = "level";

/// What there is to know about a task: its name, what it asks, its options and its levels.
#[derive(Clone, Copy)]
pub struct TaskInfo {
    /// The name in a recipe; `data` for data sets, which are named by their path.
    pub name: &'static str,
    /// What it exercises.
    pub family: Family,
    /// One sentence.
    pub summary: &'static str,
    /// A question and its answer.
    pub example: &'static str,
    /// The reward that `answer` stands for.
    pub answer_reward: &'static str,
    /// The options it takes, but for `level`.
    pub options: &'static [OptionInfo],
    /// What its levels set, the easiest first; empty where it has none.
    pub levels: &'static [Level],
    pub(crate) build: fn(&Options, u64) -> Result<Box<dyn Task>>,
}

impl TaskInfo {
    /// All options it takes, `level` among them where it has levels.
    pub fn all_options(&self) -> Vec<OptionInfo> {
        let mut options = self.options.to_vec();
        if !self.levels.is_empty() {
            options.push(OptionInfo {
                name: LEVEL,
                kind: OptionKind::Integer(1, self.levels.len() as i64),
                default: "null",
                meaning: "difficulty: sets the parameters of this level; those given beside it stay",
            });
        }
        options
    }

    /// The JSON schema of its options.
    pub fn schema(&self) -> Value {
        schema(&self.all_options())
    }

    /// Puts what a level sets under what is given.
    fn apply_level(&self, options: &mut Map<String, Value>) {
        let level = options.get(LEVEL).and_then(Value::as_u64).and_then(|level| (level as usize).checked_sub(1));
        for (name, literal) in level.and_then(|level| self.levels.get(level)).copied().unwrap_or_default() {
            if let (false, Ok(value)) = (options.contains_key(*name), serde_json::from_str(literal)) {
                options.insert(name.to_string(), value);
            }
        }
    }
}

static TASKS: &[TaskInfo] = &[
    crate::arithmetic::chain_sum::INFO,
    crate::arithmetic::basic_arithmetic::INFO,
    crate::arithmetic::products::INFO,
    crate::arithmetic::gcd::INFO,
    crate::arithmetic::lcm::INFO,
    crate::arithmetic::decimal_chain_sum::INFO,
    crate::arithmetic::fraction_simplification::INFO,
    crate::arithmetic::prime_factorization::INFO,
    crate::arithmetic::count_bits::INFO,
    crate::arithmetic::leg_counting::INFO,
    crate::arithmetic::gsm_symbolic::INFO,
    crate::algebra::simple_equations::INFO,
    crate::algebra::complex_arithmetic::INFO,
    crate::algebra::simple_integration::INFO,
    crate::algorithmic::number_sorting::INFO,
    crate::algorithmic::spell_backward::INFO,
    crate::algorithmic::letter_counting::INFO,
    crate::algorithmic::base_conversion::INFO,
    crate::algorithmic::caesar_cipher::INFO,
    crate::algorithmic::count_primes::INFO,
    crate::algorithmic::number_filtering::INFO,
    crate::algorithmic::word_sorting::INFO,
    crate::algorithmic::string_insertion::INFO,
    crate::algorithmic::binary_matrix::INFO,
    crate::algorithmic::spiral_matrix::INFO,
    crate::algorithmic::rotate_matrix::INFO,
    crate::algorithmic::graph_color::INFO,
    crate::algorithmic::game_of_life_halting::INFO,
    crate::cognition::number_sequence::INFO,
    crate::cognition::needle_haystack::INFO,
    crate::logic::knights_knaves::INFO,
    crate::games::countdown::INFO,
    crate::games::puzzle24::INFO,
    crate::games::mini_sudoku::INFO,
    crate::games::n_queens::INFO,
    crate::games::tower_of_hanoi::INFO,
    crate::games::maze::INFO,
    crate::graphs::shortest_path::INFO,
    crate::graphs::largest_island::INFO,
    crate::graphs::course_schedule::INFO,
    crate::geometry::simple_geometry::INFO,
    crate::preferences::INFO,
    crate::mixture::INFO,
    crate::data::INFO,
];

/// All tasks.
pub fn tasks() -> &'static [TaskInfo] {
    TASKS
}

/// The task of that name.
pub fn task(name: &str) -> Option<&'static TaskInfo> {
    TASKS.iter().find(|info| info.name == name)
}

/// Builds a task from what a recipe says and the run's seed.
///
/// # Errors
/// `Usage` `D020` for an unknown task, `D021` for an unknown option, `D022` for an option that holds the wrong thing;
/// `Data` for a data set that cannot be read.
pub fn build(spec: &TaskSpec, seed: u64) -> Result<Box<dyn Task>> {
    let (info, mut options) = resolve(spec)?;
    info.apply_level(&mut options);
    let owner = Owner { what: "task", name: info.name, unknown: "D021", wrong: "D022" };
    (info.build)(&Options::check(owner, &info.all_options(), &Value::Object(options))?, seed)
}

fn resolve(spec: &TaskSpec) -> Result<(&'static TaskInfo, Map<String, Value>)> {
    let mut options = match spec {
        TaskSpec::Name(name) if task(name).is_none() && looks_like_a_path(name) => {
            Map::from_iter([("path".to_string(), json!(name))])
        }
        TaskSpec::Name(name) => Map::from_iter([("name".to_string(), json!(name))]),
        TaskSpec::Table(table) => table.clone(),
    };
    let name = match options.shift_remove("name") {
        Some(Value::String(name)) => name,
        Some(other) => return Err(wrong(format!("the `name` of a task must be a text, got {other}"))),
        None if options.contains_key("path") => "data".to_string(),
        None => {
            return Err(wrong("a task has neither `name` nor `path`")
                .hint("write `task = \"chain-sum\"` or `task = { path = \"train.jsonl\" }`"));
        }
    };
    match task(&name) {
        Some(info) => Ok((info, options)),
        None => {
            let names: Vec<&str> = TASKS.iter().map(|info| info.name).collect();
            let problem = Problem::new(Kind::Usage, "D020", format!("no task is named `{name}`"));
            Err(match nearest(&name, &names) {
                Some(_) => problem.hint(suggestion(&name, &names)),
                None => problem.hint(format!("{}; a data set is given as `{{ path = … }}`", suggestion(&name, &names))),
            })
        }
    }
}

fn looks_like_a_path(name: &str) -> bool {
    name.contains(['/', '\\'])
        || [".jsonl", ".jsonl.gz", ".parquet", ".json"].iter().any(|end| name.ends_with(end))
        || std::path::Path::new(name).exists()
}

fn wrong(message: impl Into<String>) -> Problem {
    Problem::new(Kind::Usage, "D022", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(spec: Value) -> Problem {
        match build(&serde_json::from_value(spec.clone()).unwrap(), 1) {
            Err(problem) => problem,
            Ok(_) => panic!("{spec} must be refused"),
        }
    }

    #[test]
    fn wrong_specs_are_refused_with_advice() {
        assert_eq!(refusal(json!("chain-smu")).advice(), Some("did you mean `chain-sum`?"));
        assert_eq!(refusal(json!({"min_terms": 2})).code(), "D022");
        assert_eq!(refusal(json!({"name": 3})).code(), "D022");
        let problem = refusal(json!({"name": "chain-sum", "min_term": 2}));
        assert_eq!((problem.code(), problem.advice()), ("D021", Some("did you mean `min_terms`?")));
        let problem = refusal(json!({"name": "chain-sum", "min_terms": 5, "max_terms": 3}));
        assert_eq!((problem.code(), problem.kind()), ("D022", Kind::Usage));
    }

    #[test]
    fn every_task_describes_itself_and_names_a_real_reward() {
        for info in tasks() {
            assert!(lapidary_reward::reward(info.answer_reward).is_some(), "{}", info.name);
            assert!(!info.summary.is_empty() && !info.example.is_empty());
            for option in info.options {
                assert!(option.schema().is_object() && !option.meaning.is_empty(), "{}.{}", info.name, option.name);
            }
        }
    }
}
