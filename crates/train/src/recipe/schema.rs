//! The JSON schema of a recipe, with the names of the registries.

use lapidary_algo::{MethodKind, Overrides, PreferenceOverrides};
use lapidary_reward::mix::PART_OPTIONS;
use lapidary_reward::options::OptionInfo;
use schemars::{Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Value, json};

use super::names::{self, KINDS};
use super::raw::{RawRecipe, RawStage};
use super::sources::schema_with;

/// The schema of a recipe file (JSON Schema 2020-12), for editors: every key with its meaning, and the names that the
/// registries know. `lapidary config schema` prints it; `lapidary.schema.json` is it.
pub fn json_schema() -> Value {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<RawRecipe>();
    let mut schema = schema.to_value();
    drop_null(&mut schema);
    for method in lapidary_algo::methods() {
        let about = format!("Settings of `{}`: {} {}", method.name, method.summary, method.paper);
        schema["$defs"]["RawStage"]["properties"][method.name] =
            json!({ "$ref": "#/$defs/Overrides", "description": about });
    }
    for loss in lapidary_algo::preference_losses() {
        let about = format!("Settings of `{}`: {} {}", loss.name, loss.title, loss.paper);
        schema["$defs"]["RawStage"]["properties"][loss.name] =
            json!({ "$ref": "#/$defs/PreferenceOverrides", "description": about });
    }
    schema
}

pub(super) fn model(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "examples": names::PRESETS })
}

pub(super) fn stages(generator: &mut SchemaGenerator) -> Schema {
    let stage = generator.subschema_for::<RawStage>();
    generator.subschema_for::<Overrides>(); // referred to by the table of each method
    generator.subschema_for::<PreferenceOverrides>();
    json_schema!({ "type": "array", "minItems": 1, "items": stage })
}

pub(super) fn kind(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": KINDS })
}

pub(super) fn method(_: &mut SchemaGenerator) -> Schema {
    let learns_from_rewards = |method: &&lapidary_algo::Method| method.kind != MethodKind::Supervised;
    let names: Vec<&str> =
        lapidary_algo::methods().iter().filter(learns_from_rewards).map(|method| method.name).collect();
    let names = [names, names::losses()].concat();
    json_schema!({ "enum": names })
}

pub(super) fn task(_: &mut SchemaGenerator) -> Schema {
    let mut choices = vec![
        json!({ "enum": names::tasks(), "description": "a built-in task" }),
        json!({ "type": "string", "pattern": "[/\\\\]|\\.(jsonl|json|gz|parquet)$", "description": "a data file" }),
    ];
    choices.extend(lapidary_task::tasks().iter().map(|task| match task.name {
        names::DATA => schema_with("path", json!({ "type": "string" }), &task.all_options(), &[]),
        name => schema_with("name", json!({ "const": name, "description": task.summary }), &task.all_options(), &[]),
    }));
    json_schema!({ "anyOf": choices })
}

/// A reward, with the keys that `parts` names beside its own.
fn reward_value(parts: &[OptionInfo]) -> Value {
    let mut choices = vec![json!({ "enum": names::rewards() })];
    let extra: Vec<(&str, Value)> = parts.iter().map(|option| (option.name, option.schema())).collect();
    // The rewards of the tasks take the same options: one entry for all of them.
    let mut groups: Vec<Vec<&lapidary_reward::RewardInfo>> = Vec::new();
    for reward in lapidary_reward::rewards() {
        match groups.iter_mut().find(|group| group[0].schema() == reward.schema()) {
            Some(group) => group.push(reward),
            None => groups.push(vec![reward]),
        }
    }
    choices.extend(groups.iter().map(|group| {
        let reward = group[0];
        let known: Vec<&str> = group.iter().map(|reward| reward.name).collect();
        let name = match known.as_slice() {
            [only] => json!({ "const": only, "description": reward.summary }),
            several => json!({ "enum": several }),
        };
        let mut schema = schema_with("name", name, reward.options, &extra);
        if reward.name == "answer" {
            // It stands for the reward of the task at hand and takes that one's options.
            schema["additionalProperties"] = json!(true);
        }
        schema
    }));
    json!({ "anyOf": choices })
}

pub(super) fn reward(_: &mut SchemaGenerator) -> Schema {
    // A resolved recipe writes every weight, though the only reward of an evaluation needs none.
    let weight: Vec<OptionInfo> = PART_OPTIONS.iter().filter(|option| option.name == "weight").copied().collect();
    json_schema!({ "anyOf": [reward_value(&weight)] })
}

pub(super) fn rewards(_: &mut SchemaGenerator) -> Schema {
    let one = reward_value(PART_OPTIONS);
    json_schema!({ "anyOf": [one, { "type": "array", "minItems": 1, "items": one }] })
}

/// TOML has no null: an optional key is left out.
fn drop_null(value: &mut Value) {
    match value {
        Value::Object(table) => {
            if let Some(Value::Array(types)) = table.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    table.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(choices)) = table.get_mut("anyOf") {
                choices.retain(|choice| choice != &json!({ "type": "null" }));
            }
            table.values_mut().for_each(drop_null);
        }
        Value::Array(values) => values.iter_mut().for_each(drop_null),
        _ => {}
    }
}
