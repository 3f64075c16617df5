//! Which heads a checkpoint has, as `config.json` says it.
//!
//! | directory | `architectures` | heads in the weights file |
//! |---|---|---|
//! | language model | `…ForCausalLM` | `lm_head.weight`, or the embedding |
//! | reward model | `…ForSequenceClassification`, one label | `score.weight` |
//! | both on one trunk | both names | both |
//!
//! A value head is our own: `"value_head": true`, `value_head.weight`, `value_head.bias`. transformers loads each of them as
//! the class that is asked for, and passes over the heads that the class does not have.

use lapidary_core::Result;
use serde_json::{Value, json};

use super::config::ConfigSource;
use crate::{Family, ModelConfig};

/// Which heads there are.
pub(super) struct Heads {
    pub(super) language: bool,
    pub(super) value: bool,
    pub(super) reward: bool,
}

/// The names under which transformers has the family with a language head, and with a reward head.
fn architectures(family: Family) -> [String; 2] {
    let causal = family.architecture();
    [causal.to_string(), causal.replace("ForCausalLM", "ForSequenceClassification")]
}

pub(super) fn parse(source: &ConfigSource, family: Family) -> Result<Heads> {
    let names = source.get("architectures").and_then(Value::as_array).cloned().unwrap_or_default();
    let [causal, classification] = architectures(family);
    let has = |name: &str| names.iter().any(|found| found == name);
    let (language, reward) = (names.is_empty() || has(&causal), has(&classification));
    if !language && !reward {
        let message = format!("`architectures` is {}, expected [\"{causal}\"]", Value::from(names));
        return Err(source
            .problem("M006", "architectures", message)
            .why("the checkpoint was saved without, or with another, head than the one that predicts tokens")
            .hint(format!(
                "save it from `AutoModelForCausalLM`, or a reward model from `AutoModelForSequenceClassification` as {classification}"
            )));
    }
    if reward && labels(source) != 1 {
        let message = format!("a classification head with {} labels", labels(source));
        return Err(source
            .refuse("architectures", message)
            .hint("a reward head has one label: `num_labels=1` when it is made"));
    }
    Ok(Heads { language, value: source.flag("value_head", false)?, reward })
}

/// How many labels a classification head has; transformers' default is 2.
fn labels(source: &ConfigSource) -> usize {
    let named = source.get("id2label").and_then(Value::as_object).map(serde_json::Map::len);
    named.or_else(|| source.get("num_labels").and_then(Value::as_u64).map(|n| n as usize)).unwrap_or(2)
}

/// Makes `config.json` say which heads `config` has.
pub(crate) fn describe(json: &mut Value, config: &ModelConfig) {
    let there = [config.language_head, config.reward_head];
    let names = architectures(config.family).into_iter().zip(there).filter_map(|(name, there)| there.then_some(name));
    json["architectures"] = names.collect();
    if config.reward_head && json.get("id2label").is_none() {
        json["id2label"] = json!({ "0": "LABEL_0" });
        json["label2id"] = json!({ "LABEL_0": 0 });
    }
    if config.value_head {
        json["value_head"] = json!(true);
    }
}
