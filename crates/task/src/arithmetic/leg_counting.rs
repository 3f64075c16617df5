//! `leg-counting`: how many legs some animals have together.

use lapidary_core::{Key, Result};
use lapidary_reward::options::Options;
use serde_json::{Map, json};

use crate::dice::Dice;
use crate::procedural::{Generator, NUMBER, Procedural, Question, STYLE, whole};
use crate::registry::{Family, TaskInfo};

/// Animals, several of them, and the legs of one; the animals of reasoning-gym (`leg_counting`), so that its questions
/// can be answered. A starfish has five arms, which count.
pub(crate) const ANIMALS: &[(&str, &str, i64)] = &[
    ("snake", "snakes", 0),
    ("sea slug", "sea slugs", 0),
    ("jellyfish", "jellyfish", 0),
    ("flatworm", "flatworms", 0),
    ("leech", "leeches", 0),
    ("chicken", "chickens", 2),
    ("bird", "birds", 2),
    ("human", "humans", 2),
    ("duck", "ducks", 2),
    ("dog", "dogs", 4),
    ("cat", "cats", 4),
    ("cow", "cows", 4),
    ("horse", "horses", 4),
    ("lion", "lions", 4),
    ("elephant", "elephants", 4),
    ("giraffe", "giraffes", 4),
    ("tiger", "tigers", 4),
    ("deer", "deer", 4),
    ("sheep", "sheep", 4),
    ("starfish", "starfish", 5),
    ("insect", "insects", 6),
    ("ant", "ants", 6),
    ("butterfly", "butterflies", 6),
    ("beetle", "beetles", 6),
    ("bee", "bees", 6),
    ("wasp", "wasps", 6),
    ("grasshopper", "grasshoppers", 6),
    ("cricket", "crickets", 6),
    ("cockroach", "cockroaches", 6),
    ("praying mantis", "praying mantises", 6),
    ("firefly", "fireflies", 6),
    ("spider", "spiders", 8),
    ("scorpion", "scorpions", 8),
    ("crab", "crabs", 10),
    ("lobster", "lobsters", 10),
    ("shrimp", "shrimps", 10),
    ("woodlouse", "woodlice", 14),
];

/// The row of the registry. Options, ranges and defaults are reasoning-gym's (`leg_counting`).
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "leg-counting",
    family: Family::Arithmetic,
    summary: "Count the legs of several animals.",
    example: "2 deer, 3 dogs → 20",
    answer_reward: "leg-counting",
    options: &[
        whole("min_animals", (1, ANIMALS.len() as i64), "3", "fewest kinds of animal"),
        whole("max_animals", (1, ANIMALS.len() as i64), "10", "most kinds of animal"),
        whole("min_instances", (1, 10_000), "1", "fewest animals of a kind"),
        whole("max_instances", (1, 10_000), "15", "most animals of a kind"),
        STYLE,
    ],
    levels: &[
        &[("min_animals", "1"), ("max_animals", "2"), ("max_instances", "3")],
        &[("min_animals", "2"), ("max_animals", "3"), ("max_instances", "5")],
        &[("min_animals", "3"), ("max_animals", "5"), ("max_instances", "9")],
        &[("min_animals", "5"), ("max_animals", "10")],
        &[("min_animals", "10"), ("max_animals", "20"), ("max_instances", "99")],
    ],
    build: |options, seed| Procedural::build(LegCounting::new(options)?, options, seed),
};

struct LegCounting {
    kinds: (i64, i64),
    instances: (i64, i64),
}

impl LegCounting {
    fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            kinds: options.range("min_animals", "max_animals")?,
            instances: options.range("min_instances", "max_instances")?,
        })
    }
}

impl Generator for LegCounting {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn draw(&self, key: Key) -> Option<Question> {
        let dice = &mut Dice::new(key);
        let kinds = dice.within(self.kinds) as usize;
        let (mut parts, mut total, mut animals) = (Vec::new(), 0, Map::new());
        for (one, several, legs) in dice.sample(ANIMALS, kinds) {
            let count = dice.within(self.instances);
            parts.push(format!("{count} {}", if count == 1 { one } else { several }));
            animals.insert(one.to_string(), json!(count));
            total += count * legs;
        }
        let listed = parts.join(", ");
        let plain = format!("How many legs do these have together: {listed}?");
        parts.sort();
        let question = Question::new(kinds, (plain, NUMBER), format!("legs {listed}="), total.to_string());
        Some(question.same_as(parts.join(", ")).with("animals", animals))
    }
}

#[cfg(test)]
mod tests {
    use super::ANIMALS;

    #[test]
    fn reasoning_gym_counts_the_same_legs() {
        for row in crate::gym::rows("leg_counting").unwrap_or_default() {
            let count = |(animal, count): (&String, &serde_json::Value)| {
                let known = ANIMALS.iter().find(|(one, ..)| one == animal).unwrap_or_else(|| panic!("{animal}"));
                known.2 * count.as_i64().unwrap()
            };
            let legs: i64 = row["metadata"]["animals"].as_object().unwrap().iter().map(count).sum();
            assert_eq!(legs, crate::gym::number(&row), "{row}");
        }
    }
}
