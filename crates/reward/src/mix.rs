//! A weighted sum of rewards.

use lapidary_core::{Kind, Problem, Result, Verdict};
use serde_json::{Map, Value, json};

use crate::{Attempt, Reward, build};

/// One reward of a mix.
pub struct Part {
    /// The name under which its scores are reported; unique in the mix.
    pub label: String,
    /// What its score is multiplied with.
    pub weight: f32,
    /// The reward.
    pub reward: Box<dyn Reward>,
}

/// What a mix says of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct MixVerdicts {
    /// One verdict per attempt: Σ weight · score, or no verdict where any part gives none.
    pub total: Vec<Verdict>,
    /// The verdicts of each part, unweighted: `parts[part][attempt]`.
    pub parts: Vec<Vec<Verdict>>,
}

/// A weighted sum of rewards: r = Σ_k w_k r_k. No part is ever left out of the sum: where one gives no verdict, the sum
/// has none.
pub struct Mix {
    parts: Vec<Part>,
}

impl Mix {
    /// A mix of given parts; at least one.
    pub fn new(parts: Vec<Part>) -> Self {
        assert!(!parts.is_empty(), "a mix of no rewards has no score");
        Self { parts }
    }

    /// Builds what a recipe says: a name, a table `{ name, weight, label, …options }`, or a list of these. The name
    /// `answer` stands for the reward that checks answers of the task at hand, given as `answer_means`.
    ///
    /// # Errors
    /// `Usage`: an unknown reward or option, a weight that is not finite, two parts with one label, an empty list.
    pub fn build(spec: &Value, answer_means: &str) -> Result<Self> {
        let single = [spec.clone()];
        let entries = spec.as_array().map_or(single.as_slice(), Vec::as_slice);
        if entries.is_empty() {
            return Err(wrong("no reward is given").hint("name at least one: `reward = [\"answer\"]`"));
        }
        let mut parts: Vec<Part> = Vec::with_capacity(entries.len());
        for entry in entries {
            let part = part(entry, answer_means)?;
            if parts.iter().any(|other| other.label == part.label) {
                return Err(
                    wrong(format!("two rewards are called `{}`", part.label)).hint("give one of them another `label`")
                );
            }
            parts.push(part);
        }
        Ok(Self::new(parts))
    }

    /// The parts.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Scores a batch with every part.
    pub fn score(&self, attempts: &[Attempt<'_>]) -> MixVerdicts {
        let parts: Vec<Vec<Verdict>> = self
            .parts
            .iter()
            .map(|part| {
                let verdicts = part.reward.score(attempts);
                assert_eq!(verdicts.len(), attempts.len(), "reward `{}` must judge every attempt", part.label);
                verdicts
            })
            .collect();
        let total = (0..attempts.len()).map(|row| self.sum(&parts, row)).collect();
        MixVerdicts { total, parts }
    }

    fn sum(&self, parts: &[Vec<Verdict>], row: usize) -> Verdict {
        let mut sum = 0.0f64;
        let mut reasons = Vec::new();
        for (part, verdicts) in self.parts.iter().zip(parts) {
            let verdict = &verdicts[row];
            let Some(score) = verdict.value() else {
                return Verdict::none(format!("{}: {}", part.label, verdict.reason()));
            };
            sum += f64::from(part.weight) * f64::from(score);
            if !verdict.reason().is_empty() {
                reasons.push(format!("{}: {}", part.label, verdict.reason()));
            }
        }
        Verdict::score(sum as f32, reasons.join("; "))
    }
}

fn wrong(message: impl Into<String>) -> Problem {
    Problem::new(Kind::Usage, "W003", message)
}

fn part(entry: &Value, answer_means: &str) -> Result<Part> {
    let mut options = match entry {
        Value::String(name) => Map::from_iter([("name".to_string(), json!(name))]),
        Value::Object(table) => table.clone(),
        other => return Err(wrong(format!("a reward must be a name or a table with a `name`, got {other}"))),
    };
    let name = match options.shift_remove("name") {
        Some(Value::String(name)) => name,
        Some(other) => return Err(wrong(format!("the `name` of a reward must be a text, got {other}"))),
        None => return Err(wrong("a reward has no `name`").hint("write `{ name = \"answer\", … }`")),
    };
    let weight = match options.shift_remove("weight") {
        None => 1.0,
        Some(value) => {
            let weight = value.as_f64().map(|weight| weight as f32).filter(|weight| weight.is_finite());
            weight
                .ok_or_else(|| wrong(format!("the `weight` of reward `{name}` must be a finite number, got {value}")))?
        }
    };
    let label = match options.shift_remove("label") {
        None => name.clone(),
        Some(Value::String(label)) if !label.is_empty() => label,
        Some(other) => return Err(wrong(format!("the `label` of reward `{name}` must be a text, got {other}"))),
    };
    let meant = if name == "answer" { answer_means } else { &name };
    Ok(Part { label, weight, reward: build(meant, &Value::Object(options))? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(spec: Value) -> Problem {
        match Mix::build(&spec, "answer") {
            Err(problem) => problem,
            Ok(_) => panic!("{spec} must be refused"),
        }
    }

    #[test]
    fn the_total_is_the_weighted_sum() {
        let spec = json!(["answer", {"name": "length", "weight": 0.5, "target": 0, "max": 4}]);
        let mix = Mix::build(&spec, "answer").unwrap();
        let metadata = Map::new();
        let attempt = Attempt { tokens: 2, ..Attempt::new("", "#### 7", Some("7"), &metadata) };
        let verdicts = mix.score(&[attempt]);
        assert_eq!(verdicts.total[0].value(), Some(1.0 - 0.25));
        assert_eq!(verdicts.parts[1][0].value(), Some(-0.5));
    }

    #[test]
    fn no_verdict_of_one_part_is_no_verdict_of_the_sum() {
        let mix = Mix::build(&json!([{"name": "length", "max": 4}, "answer"]), "answer").unwrap();
        let metadata = Map::new();
        let verdicts = mix.score(&[Attempt::new("", "7", None, &metadata)]);
        assert_eq!(verdicts.total[0].value(), None);
        assert!(verdicts.total[0].reason().starts_with("answer: "), "{:?}", verdicts.total[0]);
        assert!(verdicts.parts[0][0].value().is_some());
    }

    #[test]
    fn answer_means_what_the_task_says() {
        let mix = Mix::build(&json!({"name": "answer", "max": 4}), "length").unwrap();
        assert_eq!((mix.parts()[0].label.as_str(), mix.parts()[0].reward.name()), ("answer", "length"));
    }

    #[test]
    fn wrong_specs_are_refused() {
        assert_eq!(refusal(json!(["anwser"])).advice(), Some("did you mean `answer`?"));
        assert_eq!(refusal(json!([])).code(), "W003");
        assert_eq!(refusal(json!(["answer", "answer"])).code(), "W003");
        assert_eq!(refusal(json!({"name": "answer", "weight": "big"})).code(), "W003");
        assert_eq!(refusal(json!({"name": "answer", "wieght": 1})).code(), "W002");
        assert_eq!(refusal(json!({"weight": 1})).code(), "W003");
        assert_eq!(refusal(json!(7)).code(), "W003");
    }
}
