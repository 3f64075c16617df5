//! `mixture`: questions of several tasks, drawn by weight.

use lapidary_core::{Item, Key, Purpose, Result};
use lapidary_reward::options::{OptionInfo, OptionKind, Options};
use serde_json::{Map, Value, json};

use crate::registry::{Family, TaskInfo, build, task};
use crate::{Split, Task, TaskSpec};

/// The row of the registry. reasoning-gym's `CompositeDataset`.
pub(crate) const INFO: TaskInfo = TaskInfo {
    name: "mixture",
    family: Family::Mixture,
    summary: "Questions of several procedural tasks, drawn by weight.",
    example: "parts = [{ name = \"gcd\", weight = 2 }, { name = \"maze\", level = 1 }]",
    answer_reward: "task",
    options: &[OptionInfo {
        name: "parts",
        kind: OptionKind::Tables,
        default: "",
        meaning: "tasks with their options; `weight` (1 where it is not given) says how often one is drawn",
    }],
    levels: &[],
    build: |options, seed| Ok(Box::new(Mixture::new(options, seed)?)),
};

struct Mixture {
    parts: Vec<Box<dyn Task>>,
    /// Sums of the weights up to each part, the last one 1.
    shares: Vec<f64>,
    seed: u64,
}

impl Mixture {
    fn new(options: &Options, seed: u64) -> Result<Self> {
        let (mut parts, mut weights) = (Vec::new(), Vec::new());
        for mut table in options.tables("parts") {
            weights.push(weight(options, &mut table)?);
            // What has no name is a file; a name that nobody knows is refused by `build`.
            let name = table.get("name").and_then(Value::as_str);
            let fits = name.is_some_and(|name| task(name).is_none_or(|info| !info.levels.is_empty()));
            let spec = TaskSpec::Table(table);
            if !fits {
                return Err(options
                    .wrong(format!("`{}` cannot be part of it", spec.name()))
                    .hint("take procedural tasks; they have no end"));
            }
            parts.push(build(&spec, seed)?);
        }
        let total: f64 = weights.iter().sum();
        let mut sum = 0.0;
        let share = |weight: &f64| {
            sum += weight / total;
            sum
        };
        Ok(Self { shares: weights.iter().map(share).collect(), parts, seed })
    }

    fn part(&self, split: Split, index: u64) -> &dyn Task {
        let key = Key::new(self.seed, Purpose::Task).at_name(INFO.name).at(split as u64).at(index);
        let place = key.uniform();
        let at = self.shares.iter().position(|share| place < *share).unwrap_or(self.parts.len() - 1);
        &*self.parts[at]
    }
}

fn weight(options: &Options, table: &mut Map<String, Value>) -> Result<f64> {
    match table.shift_remove("weight") {
        None => Ok(1.0),
        Some(value) => match value.as_f64() {
            Some(weight) if weight > 0.0 && weight.is_finite() => Ok(weight),
            _ => Err(options.wrong(format!("a `weight` must be a number above 0, got {value}"))),
        },
    }
}

impl Task for Mixture {
    fn name(&self) -> &str {
        INFO.name
    }

    fn len(&self, _: Split) -> Option<usize> {
        None
    }

    /// Item `index` of the part that is drawn for `index`.
    fn item(&self, split: Split, index: u64) -> Result<Item> {
        let part = self.part(split, index);
        let mut item = part.item(split, index)?;
        item.metadata.insert("task".into(), json!(part.name()));
        Ok(item)
    }

    fn answer_reward(&self) -> &'static str {
        INFO.answer_reward
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(parts: Value) -> Result<Box<dyn Task>> {
        build(&serde_json::from_value(json!({"name": "mixture", "parts": parts})).unwrap(), 3)
    }

    #[test]
    fn parts_come_by_weight_and_are_judged_as_what_they_are() {
        let task = made(json!([{"name": "gcd", "weight": 3}, {"name": "knights-knaves", "level": 1}])).unwrap();
        let reward = lapidary_reward::build(task.answer_reward(), &Value::Null).unwrap();
        let mut count = 0;
        for index in (0..400).rev() {
            let item = task.item(Split::Train, index).unwrap();
            count += usize::from(item.metadata["task"] == "gcd");
            let prompt = item.prompt.plain();
            let completion = item.completion.as_deref().unwrap();
            let attempt = lapidary_reward::Attempt::new(&prompt, completion, item.answer.as_deref(), &item.metadata);
            assert_eq!(reward.score(&[attempt])[0].value(), Some(1.0), "{item:?}");
        }
        assert!((270..=330).contains(&count), "{count} of 400, expected about 300");
    }

    #[test]
    fn parts_that_cannot_be_are_refused() {
        for (parts, code) in [
            (json!([]), "D022"),
            (json!([{"name": "gcd", "weight": 0}]), "D022"),
            (json!([{"path": "x.jsonl"}]), "D022"),
            (json!([{"name": "mixture", "parts": [{"name": "gcd"}]}]), "D022"),
            (json!([{"name": "gdc"}]), "D020"),
            (json!([{"name": "gcd", "min_valeu": 1}]), "D021"),
        ] {
            let problem = made(parts.clone()).err().unwrap_or_else(|| panic!("{parts} must be refused"));
            assert_eq!(problem.code(), code, "{parts}: {problem}");
        }
    }
}
