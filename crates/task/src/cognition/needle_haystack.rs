//! `needle-haystack`: one fact among many.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;

use crate::dice::Dice;
use crate::procedural::{Generator, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};
use crate::words::{NAMES, word};

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`needle_haystack`); people, things and sentences are ours.
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "needle-haystack",
    family: Family::Cognition,
    summary: "Find who does something among many statements.",
    example: "Ada likes tea. Hugo likes rain. Who likes rain? → Hugo",
    answer_reward: "needle-haystack",
    options: &[
        whole("min_num_statements", (1, 500), "10", "fewest statements"),
        whole("max_num_statements", (1, 500), "100", "most statements"),
        STYLE,
    ],
    levels: &[
        &[("min_num_statements", "2"), ("max_num_statements", "2")],
        &[("min_num_statements", "3"), ("max_num_statements", "6")],
        &[("min_num_statements", "8"), ("max_num_statements", "16")],
        &[("min_num_statements", "20"), ("max_num_statements", "60")],
        &[("min_num_statements", "80"), ("max_num_statements", "200")],
    ],
    build: |options, seed| Procedural::build(NeedleHaystack::new(options)?, options, seed),
};

struct NeedleHaystack {
    statements: (i64, i64),
}

impl NeedleHaystack {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self { statements: options.range("min_num_statements", "max_num_statements")? })
    }
}

const VERBS: &[&str] = &["likes", "avoids", "collects", "paints", "studies", "sells", "describes", "remembers"];
const THINGS: &[&str] = &[
    "tea", "rain", "old maps", "bridges", "clocks", "snow", "violins", "bread", "comets", "ferns", "kites", "mirrors",
    "salt", "towers", "moths", "letters",
];

impl Generator for NeedleHaystack {
    fn name(&self) -> &'static str {
        INFO.name
    }

    /// Whoever is asked for is the only one of whom it is said. Names are first names or made up.
    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let count = dice.within(self.statements) as usize;
        let fact = |dice: &mut Dice| (*dice.pick(VERBS), *dice.pick(THINGS));
        let (verb, thing) = fact(dice);
        let mut facts = Vec::with_capacity(count);
        while facts.len() + 1 < count {
            let other = fact(dice);
            if other != (verb, thing) {
                facts.push((name(dice), other));
            }
        }
        let who = name(dice);
        if facts.iter().any(|(other, _)| *other == who) {
            return None;
        }
        facts.insert(dice.below(count), (who.clone(), (verb, thing)));
        let told =
            facts.iter().map(|(who, (verb, thing))| format!("{who} {verb} {thing}.")).collect::<Vec<_>>().join(" ");
        let plain = format!("{told} Who {verb} {thing}?");
        let ending = "End with the name after \"####\", like this: #### Ada";
        Some(Question::new(count, (plain, ending), format!("{told} Who {verb} {thing}? "), who))
    }
}

/// A first name, or one time in two a made-up one: there are more statements than first names.
fn name(dice: &mut Dice) -> String {
    if dice.coin() {
        return dice.pick(NAMES).to_string();
    }
    let length = 4 + dice.below(4);
    let word = word(dice, length);
    word[..1].to_uppercase() + &word[1..]
}
