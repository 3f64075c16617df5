//! What people said of answers, read from the metadata of items.

use lapidary_algo::Label;
use lapidary_core::{Item, Kind, Problem, PromptText, Result};
use serde_json::Value;

use crate::recipe::{NearTies, PairRule};

/// A comparison or a judgement, as text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) id: String,
    pub(crate) prompt: PromptText,
    pub(crate) answers: Answers,
    pub(crate) weight: f64,
    /// What an auxiliary model says, where the data have it.
    pub(crate) auxiliary: Option<Opinion>,
    /// Where it is from: a data set, an annotator.
    pub(crate) source: Option<String>,
}

/// One or two answers and what was said of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answers {
    Two { chosen: String, rejected: String, label: Label, margin: f64 },
    One { completion: String, label: f64 },
}

/// What an auxiliary model says of a comparison, and of pairs from the reference (the columns of VRPO's code).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Opinion {
    /// Probability that the chosen answer is better.
    pub(crate) preference: f64,
    /// Two answers of the reference, and the probability that the first is better.
    pub(crate) synthetic: Vec<(String, String, f64)>,
}

/// Columns that say where a row is from, best known first.
const SOURCES: &[&str] = &["source", "subset", "dataset"];
/// Columns with the judges' scores of both answers.
const SCORES: &[[&str; 2]] =
    &[["score_chosen", "score_rejected"], ["chosen_score", "rejected_score"], ["chosen_rating", "rejected_rating"]];

impl Said {
    /// Reads an item; `None` for a comparison that is too close and is to be dropped.
    ///
    /// # Errors
    /// `D067`: neither a comparison nor a judgement, or a number that is none or out of range.
    pub(crate) fn read(item: &Item, rule: &PairRule) -> Result<Option<Self>> {
        let text = |key: &str| item.metadata.get(key).and_then(Value::as_str).map(str::to_string);
        let weight = number(item, "weight")?.unwrap_or(1.0);
        if weight < 0.0 {
            return Err(wrong(item, "weight", "0 or more"));
        }
        let answers = match (text("chosen"), text("rejected")) {
            (Some(chosen), Some(rejected)) => match pair(item, rule)? {
                Some((label, margin)) => Answers::Two { chosen, rejected, label, margin },
                None => return Ok(None),
            },
            _ => Answers::One {
                completion: item.completion.clone().ok_or_else(|| nothing_said(item))?,
                label: judgement(item)?,
            },
        };
        let source = SOURCES.iter().find_map(|key| text(key));
        let auxiliary = opinion(item)?;
        Ok(Some(Self { id: item.id.clone(), prompt: item.prompt.clone(), answers, weight, auxiliary, source }))
    }

    /// What makes two rows the same: prompt, answers, and who won.
    pub(crate) fn identity(&self) -> (String, String, String) {
        let prompt = self.prompt.plain();
        match &self.answers {
            Answers::Two { chosen, rejected, .. } => (prompt, chosen.clone(), rejected.clone()),
            Answers::One { completion, label } => (prompt, completion.clone(), label.to_string()),
        }
    }

    /// The answers: those that were judged, then those of the reference.
    pub(crate) fn texts(&self) -> Vec<&str> {
        let mut texts: Vec<&str> = match &self.answers {
            Answers::Two { chosen, rejected, .. } => vec![chosen, rejected],
            Answers::One { completion, .. } => vec![completion],
        };
        let pairs = self.auxiliary.iter().flat_map(|auxiliary| &auxiliary.synthetic);
        texts.extend(pairs.flat_map(|(first, second, _)| [first.as_str(), second.as_str()]));
        texts
    }
}

/// Who won a comparison and by how much; `None` where it is dropped as a near tie.
fn pair(item: &Item, rule: &PairRule) -> Result<Option<(Label, f64)>> {
    let mut strength = number(item, "margin")?;
    let margin = strength.unwrap_or(0.0);
    for [chosen, rejected] in SCORES {
        if let (None, Some(chosen), Some(rejected)) = (strength, number(item, chosen)?, number(item, rejected)?) {
            strength = Some(chosen - rejected);
        }
    }
    let label = match number(item, "label")? {
        Some(share) if (0.0..=1.0).contains(&share) => share,
        Some(_) => return Err(wrong(item, "label", "from 0 to 1")),
        None => 1.0,
    };
    let near = label == 0.5 || strength.is_some_and(|strength| strength.abs() < rule.near_tie);
    if near && rule.near_ties == NearTies::Drop {
        return Ok(None);
    }
    Ok(Some((if near { Label::Tie } else { Label::Prefer(label) }, rule.margin_scale * margin)))
}

/// `chosen_preference`, and `a_1`, `a_2`, `a_1_preference`: one each, or lists of them. Pairs of equal answers say nothing.
fn opinion(item: &Item) -> Result<Option<Opinion>> {
    let probability = |key: &str, value: &Value| {
        let found = value.as_f64().filter(|share| (0.0..=1.0).contains(share));
        found.ok_or_else(|| wrong(item, key, "from 0 to 1"))
    };
    let Some(said) = item.metadata.get("chosen_preference").filter(|value| !value.is_null()) else { return Ok(None) };
    let preference = probability("chosen_preference", said)?;
    let list = |key: &str| match item.metadata.get(key) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(values)) => values.clone(),
        Some(one) => vec![one.clone()],
    };
    let [first, second, said] = ["a_1", "a_2", "a_1_preference"].map(list);
    if first.len() != second.len() || first.len() != said.len() {
        return Err(wrong(item, "a_1", "as many answers as in `a_2` and numbers in `a_1_preference`"));
    }
    let mut synthetic = Vec::new();
    for ((first, second), said) in first.iter().zip(&second).zip(&said) {
        let text = |key: &str, value: &Value| {
            value.as_str().map(str::to_string).ok_or_else(|| wrong(item, key, "an answer, or a list of them"))
        };
        let (first, second) = (text("a_1", first)?, text("a_2", second)?);
        let said = probability("a_1_preference", said)?;
        if first != second {
            synthetic.push((first, second, said));
        }
    }
    Ok(Some(Opinion { preference, synthetic }))
}

/// Probability that a single answer is good.
fn judgement(item: &Item) -> Result<f64> {
    match item.metadata.get("label") {
        Some(Value::Bool(good)) => Ok(f64::from(u8::from(*good))),
        Some(Value::Null) | None => Err(nothing_said(item)),
        Some(_) => match number(item, "label")? {
            Some(share) if (0.0..=1.0).contains(&share) => Ok(share),
            _ => Err(wrong(item, "label", "true, false, or from 0 to 1")),
        },
    }
}

fn number(item: &Item, key: &str) -> Result<Option<f64>> {
    match item.metadata.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64().filter(|number| number.is_finite()) {
            Some(number) => Ok(Some(number)),
            None => Err(wrong(item, key, "a number")),
        },
    }
}

fn wrong(item: &Item, key: &str, expected: &str) -> Problem {
    let got = item.metadata.get(key).unwrap_or(&Value::Null);
    Problem::new(Kind::Data, "D067", format!("`{key}` of `{}` is {got}", item.id)).why(format!("expected {expected}"))
}

fn nothing_said(item: &Item) -> Problem {
    Problem::new(Kind::Data, "D067", format!("`{}` says nothing of its answers", item.id))
        .why("a comparison has `chosen` and `rejected`, a judgement has `completion` and `label`")
        .hint("look at the columns of the file; docs/preferences.md lists the shapes that are read")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparisons::testing::{item, rule};
    use serde_json::json;

    fn pair_of(columns: Value, rule: &PairRule) -> Option<(Label, f64)> {
        let mut columns = columns;
        columns["chosen"] = json!("a");
        columns["rejected"] = json!("b");
        match Said::read(&item(0, columns), rule).unwrap()?.answers {
            Answers::Two { label, margin, .. } => Some((label, margin)),
            one => panic!("{one:?}"),
        }
    }

    #[test]
    fn margins_are_scaled_and_what_is_close_is_a_tie_or_nothing() {
        let half = PairRule { margin_scale: 0.5, near_tie: 1.0, near_ties: NearTies::Half, ..rule() };
        assert_eq!(pair_of(json!({"margin": 3}), &half), Some((Label::WON, 1.5)));
        assert_eq!(pair_of(json!({"margin": 0.9}), &half), Some((Label::Tie, 0.45)));
        assert_eq!(pair_of(json!({"score_chosen": 8, "score_rejected": 7.5}), &half), Some((Label::Tie, 0.0)));
        assert_eq!(pair_of(json!({"score_chosen": 8, "score_rejected": 6}), &half), Some((Label::WON, 0.0)));
        assert_eq!(pair_of(json!({"label": 0.5}), &half), Some((Label::Tie, 0.0)));
        assert_eq!(pair_of(json!({"label": 0.7}), &rule()), Some((Label::Prefer(0.7), 0.0)));
        let drop = PairRule { near_ties: NearTies::Drop, ..half };
        assert_eq!(pair_of(json!({"margin": 0.9}), &drop), None);
        assert_eq!(pair_of(json!({"margin": 3}), &drop), Some((Label::WON, 1.5)), "only what is close is dropped");
    }

    #[test]
    fn judgements_have_a_label() {
        let read = |label: Value| Said::read(&item(0, json!({"label": label})), &rule());
        let label = |value: Value| match read(value).unwrap().unwrap().answers {
            Answers::One { label, .. } => label,
            two => panic!("{two:?}"),
        };
        assert_eq!([label(json!(true)), label(json!(false)), label(json!(0.25))], [1.0, 0.0, 0.25]);
        for bad in [json!(2), json!("yes"), Value::Null] {
            assert_eq!(read(bad).unwrap_err().code(), "D067");
        }
    }

    #[test]
    fn a_weight_is_not_negative() {
        assert_eq!(Said::read(&item(0, json!({"label": true, "weight": -1})), &rule()).unwrap_err().code(), "D067");
    }
}
