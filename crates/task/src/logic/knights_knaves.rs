//! `knights-knaves`: who tells the truth, from what they say about each other.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::procedural::{Generator, Procedural, Question, STYLE, integer, whole};
use crate::registry::{Family, TaskInfo};
use crate::words::NAMES;

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`knights_knaves`); the sentences are ours.
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "knights-knaves",
    family: Family::Logic,
    summary: "Find out who is a knight and who is a knave from what they say.",
    example: "Ada says: Hugo is a knave. Hugo says: we are both knaves. → Ada is a knight, and Hugo is a knave",
    answer_reward: "knights-knaves",
    options: &[
        whole("n_people", (1, 8), "2", "people"),
        whole("depth_constraint", (1, 5), "2", "how deep a statement may be nested"),
        whole("width_constraint", (2, 5), "2", "most parts of an and or an or"),
        STYLE,
    ],
    // With a depth of 1 no puzzle has one solution: whoever is what, the opposite fits as well.
    levels: &[
        &[("n_people", "2")],
        &[("n_people", "3")],
        &[("n_people", "4")],
        &[("n_people", "5"), ("depth_constraint", "3")],
        &[("n_people", "6"), ("depth_constraint", "3"), ("width_constraint", "3")],
    ],
    build: |options, seed| Procedural::build(KnightsKnaves::new(options)?, options, seed),
};

struct KnightsKnaves {
    people: usize,
    depth: i64,
    width: i64,
}

impl KnightsKnaves {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            people: integer(options, "n_people") as usize,
            depth: integer(options, "depth_constraint"),
            width: integer(options, "width_constraint"),
        })
    }

    /// A statement of the person `speaker`; "I am a knave" alone, which nobody can say, is left out.
    fn statement(&self, dice: &mut Dice, speaker: usize, depth: i64) -> Statement {
        let kind = if depth == 1 { 0 } else { dice.below(6) };
        let count = match kind {
            0 => loop {
                let (knight, person) = (dice.coin(), dice.below(self.people));
                if knight || person != speaker {
                    return Statement::Is(person, knight);
                }
            },
            1 => return Statement::Not(Box::new(self.statement(dice, speaker, depth - 1))),
            2 | 3 => dice.between(2, self.width),
            _ => 2,
        };
        let mut parts: Vec<Statement> = Vec::new();
        // Equal parts are drawn again, but not for ever: one person alone has few things to say.
        for _ in 0..100 {
            let part = self.statement(dice, speaker, depth - 1);
            if !parts.contains(&part) {
                parts.push(part);
            }
            if parts.len() as i64 == count {
                break;
            }
        }
        match (kind, parts.len()) {
            (_, 1) => parts.remove(0),
            (2, _) => Statement::All(parts),
            (3, _) => Statement::Any(parts),
            (4, _) => Statement::If(Box::new((parts.remove(0), parts.remove(0)))),
            _ => Statement::Same(Box::new((parts.remove(0), parts.remove(0)))),
        }
    }
}

/// What somebody says.
#[derive(Clone, Debug, PartialEq)]
enum Statement {
    /// A person is a knight (true) or a knave (false).
    Is(usize, bool),
    Not(Box<Statement>),
    All(Vec<Statement>),
    Any(Vec<Statement>),
    If(Box<(Statement, Statement)>),
    Same(Box<(Statement, Statement)>),
}

impl Statement {
    /// Whether it is true when `knights` says who tells the truth.
    fn holds(&self, knights: &[bool]) -> bool {
        match self {
            Statement::Is(person, knight) => knights[*person] == *knight,
            Statement::Not(inner) => !inner.holds(knights),
            Statement::All(parts) => parts.iter().all(|part| part.holds(knights)),
            Statement::Any(parts) => parts.iter().any(|part| part.holds(knights)),
            Statement::If(pair) => !pair.0.holds(knights) || pair.1.holds(knights),
            Statement::Same(pair) => pair.0.holds(knights) == pair.1.holds(knights),
        }
    }

    fn said(&self, names: &[&str]) -> String {
        let inner = |statement: &Statement| match statement {
            Statement::Is(..) => statement.said(names),
            _ => format!("({})", statement.said(names)),
        };
        let joined = |parts: &[Statement], word: &str| parts.iter().map(inner).collect::<Vec<_>>().join(word);
        match self {
            Statement::Is(person, knight) => format!("{} is a {}", names[*person], role(*knight)),
            Statement::Not(part) => format!("it is not so that {}", inner(part)),
            Statement::All(parts) => joined(parts, " and "),
            Statement::Any(parts) => joined(parts, " or "),
            Statement::If(pair) => format!("if {} then {}", inner(&pair.0), inner(&pair.1)),
            Statement::Same(pair) => format!("{} exactly if {}", inner(&pair.0), inner(&pair.1)),
        }
    }

    /// As reasoning-gym writes it: `["and", ["telling-truth", 0], ["lying", 1]]`.
    fn json(&self) -> Value {
        let all = |name: &str, parts: &mut dyn Iterator<Item = &Statement>| {
            Value::Array(std::iter::once(json!(name)).chain(parts.map(Statement::json)).collect())
        };
        match self {
            Statement::Is(person, true) => json!(["telling-truth", person]),
            Statement::Is(person, false) => json!(["lying", person]),
            Statement::Not(inner) => json!(["not", inner.json()]),
            Statement::All(parts) => all("and", &mut parts.iter()),
            Statement::Any(parts) => all("or", &mut parts.iter()),
            Statement::If(pair) => json!(["->", pair.0.json(), pair.1.json()]),
            Statement::Same(pair) => json!(["<=>", pair.0.json(), pair.1.json()]),
        }
    }

    /// What [`Statement::json`] wrote.
    #[cfg(test)]
    fn parse(value: &Value) -> Option<Self> {
        let list = value.as_array()?;
        let person = || list.get(1)?.as_u64().map(|person| person as usize);
        let part = |at: usize| list.get(at).and_then(Statement::parse);
        let pair = || Some(Box::new((part(1)?, part(2)?)));
        let parts = || list[1..].iter().map(Statement::parse).collect::<Option<Vec<_>>>();
        Some(match list.first()?.as_str()? {
            "telling-truth" => Statement::Is(person()?, true),
            "lying" => Statement::Is(person()?, false),
            "not" => Statement::Not(Box::new(part(1)?)),
            "and" => Statement::All(parts()?),
            "or" => Statement::Any(parts()?),
            "->" => Statement::If(pair()?),
            "<=>" => Statement::Same(pair()?),
            _ => return None,
        })
    }

    fn parts(&self) -> usize {
        match self {
            Statement::Is(..) => 1,
            Statement::Not(inner) => 1 + inner.parts(),
            Statement::All(parts) | Statement::Any(parts) => parts.iter().map(Statement::parts).sum(),
            Statement::If(pair) | Statement::Same(pair) => pair.0.parts() + pair.1.parts(),
        }
    }
}

fn role(knight: bool) -> &'static str {
    if knight { "knight" } else { "knave" }
}

/// Who may be what: every assignment in which knights, and knights alone, say what is true.
fn solutions(statements: &[Statement]) -> Vec<Vec<bool>> {
    let people = statements.len();
    let all = (0..1u32 << people).map(|bits| (0..people).map(|person| bits >> person & 1 == 1).collect::<Vec<bool>>());
    all.filter(|knights| statements.iter().zip(knights).all(|(said, knight)| said.holds(knights) == *knight)).collect()
}

impl Generator for KnightsKnaves {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// Statements with exactly one solution; others are drawn again.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let said: Vec<Statement> = (0..self.people).map(|person| self.statement(dice, person, self.depth)).collect();
        let found = solutions(&said);
        let [solution] = found.as_slice() else { return None };
        let names = dice.sample(NAMES, self.people);
        let is = |(name, knight): (&&str, &bool)| format!("{name} is a {}", role(*knight));
        let parts: Vec<String> = names.iter().zip(solution).map(is).collect();
        let answer = match parts.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{}, and {last}", rest.join(", ")),
            _ => parts.concat(),
        };
        let told = names
            .iter()
            .zip(&said)
            .map(|(name, said)| format!("{name} says: {}.", said.said(&names)))
            .collect::<Vec<_>>()
            .join(" ");
        let plain = format!(
            "Everybody here is a knight, who only says what is true, or a knave, who only says what is false. {told} Who is what?"
        );
        let ending = "End with all of them after \"####\", like this: #### Ada is a knight, and Hugo is a knave";
        let statements: Vec<Value> = said.iter().map(Statement::json).collect();
        let size = said.iter().map(Statement::parts).sum();
        let question = Question::new(size, (plain, ending), format!("{told} "), answer);
        let question = question.same_as(Value::Array(statements.clone()).to_string());
        Some(question.with("statements", statements).with("solution", solution.clone()).with("names", names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Their statements mean here what they mean there: one solution, and it is theirs.
    #[test]
    fn the_solutions_of_reasoning_gym_are_found() {
        let Some(rows) = crate::gym::rows("knights_knaves") else { return };
        for row in &rows {
            let statements: Option<Vec<Statement>> =
                row["metadata"]["statements"].as_array().unwrap().iter().map(Statement::parse).collect();
            let wanted: Vec<bool> = serde_json::from_value(row["metadata"]["solution"].clone()).unwrap();
            assert_eq!(solutions(&statements.unwrap()), [wanted], "{row}");
        }
    }

    #[test]
    fn a_liar_cannot_call_himself_a_liar() {
        assert!(solutions(&[Statement::Is(0, false)]).is_empty());
        assert_eq!(solutions(&[Statement::Is(0, true)]).len(), 2);
        let both = Statement::All(vec![Statement::Is(0, false), Statement::Is(1, false)]);
        assert_eq!(solutions(&[Statement::Is(1, false), both.clone()]), [[true, false]]);
        assert_eq!(Statement::parse(&both.json()), Some(both));
    }
}
