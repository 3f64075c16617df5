//! `knights-knaves`: everybody's role.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Asked, Rule, Ruling, info};
use crate::registry::RewardInfo;

pub(crate) const KNIGHTS_KNAVES: RewardInfo = info(
    "knights-knaves",
    "The completion names the role of everybody, each once.",
    "1 if roles(completion) = roles(reference) else 0",
    |options| Rule { name: "knights-knaves", numeric: false, judge, credit }.build(options),
);

/// Names with their roles, from clauses like `Ada is a knight`; `None` where anything else stands, or a name twice.
fn roles(text: &str) -> Option<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let text = text.to_lowercase().replace(" and ", ",").replace(['=', ':'], " is ");
    for clause in text.split([',', ';', '.', '\n']).map(str::trim).filter(|clause| !clause.is_empty()) {
        let words: Vec<&str> = clause.split_whitespace().filter(|word| !matches!(*word, "a" | "an" | "the")).collect();
        let words = if words.first() == Some(&"and") { &words[1..] } else { &words[..] };
        let [name, "is", role] = words else { return None };
        if found.insert(name.to_string(), role.to_string()).is_some() {
            return None;
        }
    }
    (!found.is_empty()).then_some(found)
}

fn judge(answer: &str, asked: &Asked<'_>) -> Ruling {
    let Some(wanted) = roles(asked.reference) else {
        return Ruling::Unknown("the row has no names with their roles as its reference answer");
    };
    match roles(answer) {
        None => Ruling::Wrong("does not say of everybody, once, what he or she is".into()),
        Some(given) => Ruling::of(given == wanted, || "is not how it is".into()),
    }
}

/// What reasoning-gym knows as a role.
const ROLES: [&str; 14] = [
    "knight", "knave", "pioneer", "laggard", "saint", "sinner", "hero", "villain", "angel", "devil", "altruist",
    "egoist", "sage", "fool",
];

/// The pairs that reasoning-gym finds: a role and the word before it.
fn loosely(text: &str) -> BTreeSet<(String, String)> {
    let text = text.to_lowercase().replace(['.', ',', ')', '('], " ").replace(" and ", " ");
    let (mut found, mut name) = (BTreeSet::new(), None);
    for word in text.split_whitespace().filter(|word| !matches!(*word, "is" | "a" | "an")) {
        match ROLES.contains(&word) {
            true => found.extend(name.take().map(|name| (name, word.to_string()))),
            false => name = Some(word.to_string()),
        }
    }
    found
}

/// 1 for the same pairs; 0.3 + 0.7 · share of right ones where there are as many and one is right.
fn credit(completion: &str, asked: &Asked<'_>) -> Option<f64> {
    if !asked.metadata.get("solution").is_some_and(Value::is_array) && asked.reference.is_empty() {
        return None;
    }
    let (given, wanted) = (loosely(completion), loosely(asked.reference));
    if completion.is_empty() {
        return Some(0.0);
    }
    if given == wanted {
        return Some(1.0);
    }
    let right = given.intersection(&wanted).count();
    Some(if given.len() == wanted.len() && right > 0 { 0.3 + 0.7 * right as f64 / wanted.len() as f64 } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use crate::{Attempt, build};

    #[test]
    fn everybody_is_named_once() {
        let answer = "Zoey is a fool, and Riley is a sage.";
        let score = |options: serde_json::Value, completion: &str| {
            let reward = build("knights-knaves", &options).unwrap();
            reward.score(&[Attempt::new("", completion, Some(answer), &Map::new())]).remove(0).value().unwrap()
        };
        for (completion, wanted) in [
            (answer, 1.0),
            ("#### Riley is a sage and Zoey is a fool", 1.0),
            ("zoey: fool, riley: sage", 1.0),
            ("Zoey is a fool, and Riley is a fool", 0.0),
            ("Zoey is a fool", 0.0),
            ("Zoey is a fool, Riley is a sage, Riley is a fool", 0.0),
            ("Zoey is not a fool, and Riley is a sage", 0.0),
            ("Zoey is a fool, and Riley is a sage, and Ada is a sage", 0.0),
            ("fool sage", 0.0),
            ("", 0.0),
        ] {
            assert_eq!(score(json!({}), completion), wanted, "{completion}");
        }
        let half = score(json!({"compat": "reasoning_gym"}), "Zoey is a fool, and Riley is a fool");
        assert!((half - 0.65).abs() < 1e-6, "control: {half}");
    }
}
