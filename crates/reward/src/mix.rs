//! Several rewards as one: a sum of weights, with gates.
//!
//! ```text
//! r = Σ_k w_k r_k          while every gate is open
//! ```
//! Parts are gone through in the order in which they are written. A gate whose score is below its threshold decides the
//! whole, and no later part is asked: a cheap check in front of a judge saves its calls. A part that gives no verdict leaves
//! the whole without one, unless it is marked optional.

use std::collections::BTreeMap;

use lapidary_core::{Kind, Problem, Result, Verdict};
use serde_json::{Map, Value, json};

use crate::options::{OptionInfo, OptionKind, Options, Owner};
use crate::{Attempt, Reward, build, reward};

/// The keys that every entry of a list of rewards may have beside the options of its reward.
pub const PART_OPTIONS: &[OptionInfo] = &[
    OptionInfo {
        name: "label",
        kind: OptionKind::Text,
        default: "null",
        meaning: "its name in metrics; unset: the reward's own name",
    },
    OptionInfo {
        name: "weight",
        kind: OptionKind::Number(-1e6, 1e6),
        default: "null",
        meaning: "factor in the sum of rewards; unset: 1, and 0 for a gate",
    },
    OptionInfo {
        name: "gate",
        kind: OptionKind::Number(-1e6, 1e6),
        default: "null",
        meaning: "makes it a gate: where its score is below this, `closed` is the whole reward and later parts are not asked",
    },
    OptionInfo {
        name: "closed",
        kind: OptionKind::NumberOr("score"),
        default: "0",
        meaning: "the whole reward where the gate is closed: a number, or the gate's own score, without its weight",
    },
    OptionInfo {
        name: "optional",
        kind: OptionKind::Flag,
        default: "false",
        meaning: "where it gives no verdict it counts as nothing (a gate as open); else the whole has no verdict",
    },
    OptionInfo {
        name: "normalise",
        kind: OptionKind::Choice(&["none", "group"]),
        default: "\"none\"",
        meaning: "`group`: in place of its score, the score's distance from the mean of the prompt's samples in standard \
                  deviations is added; a gate goes by the score itself",
    },
];

/// A part that may decide the whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gate {
    /// It is closed below this score.
    pub threshold: f32,
    /// What the whole is then; `None` is the gate's own score.
    pub closed: Option<f32>,
}

/// What an entry of a list of rewards says beside the options of its reward.
#[derive(Clone, Debug, PartialEq)]
pub struct PartSettings {
    /// The name under which its scores are reported.
    pub label: String,
    /// What its score is multiplied with.
    pub weight: f32,
    /// Whether and when it decides the whole.
    pub gate: Option<Gate>,
    /// Whether the whole can do without its verdict.
    pub optional: bool,
    /// Whether its scores are standardised among the samples of a prompt before they are added.
    pub normalise: bool,
}

impl PartSettings {
    /// Takes the keys of [`PART_OPTIONS`] out of the options of reward `name`.
    ///
    /// # Errors
    /// `Usage` `W003`: a key that holds the wrong thing, `closed` without `gate`, a weight of 0 without a gate.
    pub fn take(name: &'static str, options: &mut Map<String, Value>) -> Result<Self> {
        let own = |key: &str| PART_OPTIONS.iter().any(|option| option.name == key);
        let given: Map<String, Value> =
            options.iter().filter(|(key, _)| own(key)).map(|(key, value)| (key.clone(), value.clone())).collect();
        options.retain(|key, _| !own(key));
        let owner = Owner { what: "reward", name, unknown: "W002", wrong: "W003" };
        let checked = Options::check(owner, PART_OPTIONS, &Value::Object(given.clone()))?;
        let gate = checked.number("gate").map(|threshold| Gate {
            threshold: threshold as f32,
            closed: checked.number("closed").map(|closed| closed as f32),
        });
        if gate.is_none() && given.contains_key("closed") {
            return Err(checked.wrong("`closed` only means something for a gate").hint("set `gate` to a threshold"));
        }
        let weight = checked.number("weight").unwrap_or(if gate.is_some() { 0.0 } else { 1.0 }) as f32;
        if weight == 0.0 && gate.is_none() {
            return Err(checked
                .wrong("a `weight` of 0 leaves the reward without effect")
                .hint("remove the reward, or give it a `gate`"));
        }
        let label = match checked.text("label") {
            Some("") => return Err(checked.wrong("its `label` is empty")),
            label => label.unwrap_or(name).to_string(),
        };
        let normalise = checked.text("normalise") == Some("group");
        Ok(Self { label, weight, gate, optional: checked.flag("optional"), normalise })
    }
}

/// One reward of a mix.
pub struct Part {
    /// Its name, weight and gate; the name is unique in the mix.
    pub settings: PartSettings,
    /// The reward.
    pub reward: Box<dyn Reward>,
}

/// What a mix says of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct MixVerdicts {
    /// One verdict per attempt: Σ weight · score, or what a gate says, or no verdict.
    pub total: Vec<Verdict>,
    /// The verdicts of each part, unweighted: `parts[part][attempt]`; `None` where a gate before it was closed, so that it was
    /// not asked.
    pub parts: Vec<Vec<Option<Verdict>>>,
}

/// Several rewards as one.
pub struct Mix {
    parts: Vec<Part>,
}

impl Mix {
    /// Builds what a recipe says: a name, a table `{ name, …part options, …options }`, or a list of these. The name `answer`
    /// stands for the reward that checks answers of the task at hand, given as `answer_means`.
    ///
    /// # Errors
    /// `Usage`: an unknown reward or option, a wrong key of a part, two parts with one label, an empty list, a first part that
    /// goes by the first part.
    pub fn build(spec: &Value, answer_means: &str) -> Result<Self> {
        let single = [spec.clone()];
        let entries = spec.as_array().map_or(single.as_slice(), Vec::as_slice);
        if entries.is_empty() {
            return Err(wrong("no reward is given").hint("name at least one: `reward = [\"answer\"]`"));
        }
        let mut parts: Vec<Part> = Vec::with_capacity(entries.len());
        for entry in entries {
            let part = part(entry, answer_means, parts.is_empty())?;
            let label = &part.settings.label;
            if parts.iter().any(|other| other.settings.label == *label) {
                return Err(wrong(format!("two rewards are called `{label}`")).hint("give one of them another `label`"));
            }
            parts.push(part);
        }
        Ok(Self { parts })
    }

    /// The parts.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub(crate) fn parts_mut(&mut self) -> &mut [Part] {
        &mut self.parts
    }

    /// Scores a batch: every part is asked about every attempt that no gate before it has decided.
    pub fn score(&self, attempts: &[Attempt<'_>]) -> MixVerdicts {
        let mut parts: Vec<Vec<Option<Verdict>>> = Vec::with_capacity(self.parts.len());
        let mut asked: Vec<usize> = (0..attempts.len()).collect();
        for Part { settings, reward } in &self.parts {
            let first = |row: usize| match parts.first() {
                Some(verdicts) => verdicts[row].as_ref().and_then(Verdict::value),
                None => attempts[row].first,
            };
            let batch: Vec<Attempt<'_>> =
                asked.iter().map(|&row| Attempt { first: first(row), ..attempts[row] }).collect();
            let given = if batch.is_empty() { Vec::new() } else { reward.score(&batch) };
            assert_eq!(given.len(), batch.len(), "reward `{}` must judge every attempt", settings.label);
            let mut column = vec![None; attempts.len()];
            for (&row, verdict) in asked.iter().zip(given) {
                column[row] = Some(verdict);
            }
            asked.retain(|&row| column[row].as_ref().is_none_or(|verdict| settings.shuts(verdict).is_none()));
            parts.push(column);
        }
        let standing: Vec<Vec<f64>> = self
            .parts
            .iter()
            .zip(&parts)
            .map(|(part, column)| if part.settings.normalise { standardised(attempts, column) } else { Vec::new() })
            .collect();
        let total = (0..attempts.len()).map(|row| self.total(&parts, &standing, row)).collect();
        MixVerdicts { total, parts }
    }

    fn total(&self, parts: &[Vec<Option<Verdict>>], standing: &[Vec<f64>], row: usize) -> Verdict {
        let mut sum = 0.0f64;
        let mut reasons = Vec::new();
        for ((Part { settings, .. }, verdicts), standing) in self.parts.iter().zip(parts).zip(standing) {
            let Some(verdict) = &verdicts[row] else { break };
            let (label, reason) = (&settings.label, verdict.reason());
            match verdict.value() {
                None if settings.optional => reasons.push(format!("{label}: left out, no verdict: {reason}")),
                None => return Verdict::none(format!("{label}: {reason}")),
                Some(score) => {
                    if let Some(whole) = settings.shuts(verdict) {
                        return Verdict::score(whole, format!("{label}: gate closed at {score}: {reason}"));
                    }
                    let counted = standing.get(row).copied().unwrap_or(f64::from(score));
                    sum += f64::from(settings.weight) * counted;
                    if !reason.is_empty() {
                        reasons.push(format!("{label}: {reason}"));
                    }
                }
            }
        }
        Verdict::score(sum as f32, reasons.join("; "))
    }
}

impl PartSettings {
    /// What the whole is, where this part is a gate that the verdict closes.
    fn shuts(&self, verdict: &Verdict) -> Option<f32> {
        let (gate, score) = (self.gate?, verdict.value()?);
        (score < gate.threshold).then(|| gate.closed.unwrap_or(score))
    }
}

/// z = (r − mean)/(std + 1e-4) among the samples of a prompt with a verdict, n − 1 in the deviation; 0 of a single one. What
/// Intuitor's code does to each reward before they are added (arXiv 2505.19590).
fn standardised(attempts: &[Attempt<'_>], column: &[Option<Verdict>]) -> Vec<f64> {
    const EPSILON: f64 = 1e-4;
    let score = |row: usize| column[row].as_ref().and_then(Verdict::value).map(f64::from);
    let mut groups: BTreeMap<(usize, &str), Vec<usize>> = BTreeMap::new();
    for row in (0..attempts.len()).filter(|row| score(*row).is_some()) {
        groups.entry(attempts[row].prompt_key()).or_default().push(row);
    }
    let mut out = vec![0.0; attempts.len()];
    for rows in groups.values() {
        let scores: Vec<f64> = rows.iter().filter_map(|row| score(*row)).collect();
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        let squares: f64 = scores.iter().map(|score| (score - mean).powi(2)).sum();
        let deviation = (squares / (scores.len() as f64 - 1.0).max(1.0)).sqrt();
        rows.iter().zip(&scores).for_each(|(row, score)| out[*row] = (score - mean) / (deviation + EPSILON));
    }
    out
}

fn wrong(message: impl Into<String>) -> Problem {
    Problem::new(Kind::Usage, "W003", message)
}

fn part(entry: &Value, answer_means: &str, first: bool) -> Result<Part> {
    let mut options = match entry {
        Value::String(name) => Map::from_iter([("name".to_string(), json!(name))]),
        Value::Object(table) => table.clone(),
        other => return Err(wrong(format!("a reward must be a name or a table with a `name`, got {other}"))),
    };
    let name = match options.shift_remove("name") {
        Some(Value::String(name)) => name,
        Some(other) => return Err(wrong(format!("the `name` of a reward must be a text, got {other}"))),
        // `{ model = DIR }` is a reward model.
        None if options.contains_key(crate::model::INFO.name) => crate::model::INFO.name.to_string(),
        None => return Err(wrong("a reward has no `name`").hint("write `{ name = \"answer\", … }`")),
    };
    let meant = if name == "answer" { answer_means } else { &name };
    let shown = if name == "answer" { "answer" } else { reward(meant).map_or("", |info| info.name) };
    let settings = PartSettings::take(shown, &mut options)?;
    if first && follows(meant, &options) {
        return Err(wrong(format!("reward `{name}` goes by the score of the first reward, but is the first"))
            .hint("put the reward that checks the answer before it: `reward = [\"answer\", { … }]`"));
    }
    Ok(Part { settings, reward: build(meant, &Value::Object(options))? })
}

/// Whether a reward with these options goes by the score of the first reward of its list.
pub fn follows(name: &str, options: &Map<String, Value>) -> bool {
    name == crate::length::INFO.name && crate::length::follows(options)
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

    /// The whole of one attempt, and whether each part was asked.
    fn whole(spec: Value, completion: &str, answer: Option<&str>) -> (Verdict, Vec<bool>) {
        let metadata = Map::new();
        let given = Mix::build(&spec, "answer").unwrap().score(&[Attempt::new("", completion, answer, &metadata)]);
        (given.total[0].clone(), given.parts.iter().map(|column| column[0].is_some()).collect())
    }

    #[test]
    fn the_total_is_the_weighted_sum() {
        let spec = json!(["answer", {"name": "length", "weight": 0.5, "target": 0, "max": 4}]);
        let mix = Mix::build(&spec, "answer").unwrap();
        let metadata = Map::new();
        let attempt = Attempt { tokens: 2, ..Attempt::new("", "#### 7", Some("7"), &metadata) };
        let verdicts = mix.score(&[attempt]);
        assert_eq!(verdicts.total[0].value(), Some(1.0 - 0.25));
        assert_eq!(verdicts.parts[1][0].as_ref().unwrap().value(), Some(-0.5));
    }

    /// Scores −1, −2 and −3 of one prompt are 1, 0 and −1 deviations from their mean; another prompt has a mean of its own.
    #[test]
    fn a_part_may_be_standardised_among_the_samples_of_a_prompt() {
        let spec = json!([{"name": "length", "max": 1, "normalise": "group", "weight": 2}]);
        let mix = Mix::build(&spec, "answer").unwrap();
        let metadata = Map::new();
        let attempt = |prompt, tokens| Attempt { tokens, ..Attempt::new(prompt, "x", None, &metadata) };
        let attempts = [attempt("a", 1), attempt("a", 2), attempt("b", 9), attempt("a", 3)];
        let plain = Mix::build(&json!([{"name": "length", "max": 1}]), "answer").unwrap().score(&attempts);
        let given = mix.score(&attempts);
        assert_eq!(given.parts, plain.parts, "what is reported is the score itself");
        let scores: Vec<f64> = plain.total.iter().map(|verdict| f64::from(verdict.value().unwrap())).collect();
        let of_a = [scores[0], scores[1], scores[3]];
        let mean = of_a.iter().sum::<f64>() / 3.0;
        let deviation = (of_a.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / 2.0).sqrt();
        for (row, score) in [(0, scores[0]), (1, scores[1]), (3, scores[3])] {
            let whole = f64::from(given.total[row].value().unwrap());
            assert!((whole - 2.0 * (score - mean) / (deviation + 1e-4)).abs() < 1e-5, "{row}: {whole}");
        }
        assert_eq!(given.total[2].value(), Some(0.0), "alone with its prompt");
    }

    #[test]
    fn no_verdict_of_one_part_is_no_verdict_of_the_sum_unless_it_is_optional() {
        let (verdict, asked) = whole(json!([{"name": "length", "max": 4}, "answer"]), "7", None);
        assert_eq!((verdict.value(), asked), (None, vec![true, true]));
        assert!(verdict.reason().starts_with("answer: "), "{verdict:?}");
        let spec = json!([{"name": "length", "max": 4}, {"name": "answer", "optional": true}]);
        let (verdict, _) = whole(spec, "7", None);
        assert_eq!(verdict.value(), Some(-0.25));
        assert!(verdict.reason().contains("answer: left out, no verdict"), "{verdict:?}");
    }

    #[test]
    fn a_closed_gate_decides_and_nothing_after_it_is_asked() {
        let format = |gate: Value| {
            let mut entry = json!({"name": "format", "preset": "hash"});
            entry.as_object_mut().unwrap().extend(gate.as_object().unwrap().clone());
            json!([entry, "answer", {"name": "length", "weight": 0.5, "max": 4}])
        };
        // open: a gate has no weight of its own
        assert_eq!(whole(format(json!({"gate": 1})), "#### 7", Some("7")).0.value(), Some(1.0 - 0.25));
        assert_eq!(whole(format(json!({"gate": 1, "weight": 0.25})), "#### 7", Some("7")).0.value(), Some(1.0));
        // closed
        let (verdict, asked) = whole(format(json!({"gate": 1})), "it is 7", Some("7"));
        assert_eq!((verdict.value(), asked), (Some(0.0), vec![true, false, false]));
        assert_eq!(verdict.reason(), "format: gate closed at 0: no `####`");
        assert_eq!(whole(format(json!({"gate": 1, "closed": -1})), "it is 7", Some("7")).0.value(), Some(-1.0));
        // the control: the same part as no gate lets the rest through
        assert_eq!(whole(format(json!({})), "it is 7", Some("7")).0.value(), Some(1.0 - 0.375));
    }

    #[test]
    fn a_gate_may_give_its_own_score_and_order_decides() {
        let spec = json!([{"name": "length", "max": 4, "gate": -0.5, "closed": "score", "weight": 9}, "answer"]);
        assert_eq!(whole(spec, "a b c 7", Some("7")).0.value(), Some(-1.0));
        // an earlier part without a verdict decides before a later gate
        let gate = json!({"name": "format", "gate": 1});
        assert_eq!(whole(json!(["answer", gate]), "7", None).0.value(), None);
        assert_eq!(whole(json!([gate, "answer"]), "7", None).0.value(), Some(0.0));
    }

    #[test]
    fn rows_are_gated_one_by_one_and_batches_do_not_matter() {
        let mix = Mix::build(&json!([{"name": "format", "gate": 1}, "answer"]), "answer").unwrap();
        let metadata = Map::new();
        let texts = ["#### 7", "7", "#### 8", ""];
        let attempts: Vec<Attempt> = texts.iter().map(|text| Attempt::new("", text, Some("7"), &metadata)).collect();
        let together = mix.score(&attempts);
        assert_eq!(together.total.iter().map(Verdict::value).collect::<Vec<_>>(), [1.0, 0.0, 0.0, 0.0].map(Some));
        for (row, attempt) in attempts.iter().enumerate() {
            assert_eq!(mix.score(&[*attempt]).total[0], together.total[row]);
        }
    }

    #[test]
    fn answer_means_what_the_task_says() {
        let mix = Mix::build(&json!({"name": "answer", "max": 4}), "length").unwrap();
        assert_eq!((mix.parts()[0].settings.label.as_str(), mix.parts()[0].reward.name()), ("answer", "length"));
    }

    #[test]
    fn wrong_specs_are_refused() {
        assert_eq!(refusal(json!(["anwser"])).advice(), Some("did you mean `answer`?"));
        assert_eq!(refusal(json!({"name": "answer", "wieght": 1})).code(), "W002");
        for spec in [
            json!([]),
            json!(["answer", "answer"]),
            json!({"name": "answer", "weight": "big"}),
            json!({"name": "answer", "weight": 0}),
            json!({"name": "answer", "weight": 1e60}),
            json!({"name": "answer", "gate": "half"}),
            json!({"name": "answer", "gate": 1, "closed": "open"}),
            json!({"name": "answer", "closed": 1}),
            json!({"name": "answer", "optional": 1}),
            json!({"name": "answer", "label": ""}),
            json!({"weight": 1}),
            json!([{"name": "length", "kind": "kimi"}, "answer"]),
            json!(7),
        ] {
            assert_eq!(refusal(spec.clone()).code(), "W003", "{spec}");
        }
    }

    #[test]
    fn no_reward_has_an_option_that_belongs_to_its_place_in_the_list() {
        for option in crate::rewards().iter().flat_map(|info| info.options) {
            assert!(!PART_OPTIONS.iter().any(|part| part.name == option.name), "{}", option.name);
        }
    }
}
