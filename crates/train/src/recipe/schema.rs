//! The JSON schema of a recipe, with the names of the registries.

use schemars::{Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Value, json};

use super::names;
use super::raw::{RawRecipe, RawStage};

/// The schema of a recipe file (JSON Schema 2020-12), for editors: every key with its meaning, and the names that the
/// registries know. `lapidary config schema` prints it; `lapidary.schema.json` is it.
pub fn json_schema() -> Value {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<RawRecipe>();
    let mut schema = schema.to_value();
    drop_null(&mut schema);
    schema
}

pub(super) fn model(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "examples": names::PRESETS })
}

pub(super) fn stages(generator: &mut SchemaGenerator) -> Schema {
    let stage = generator.subschema_for::<RawStage>();
    json_schema!({ "type": "array", "minItems": 1, "items": stage })
}

pub(super) fn kind(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": ["sft", "rl"] })
}

pub(super) fn method(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": names::methods() })
}

pub(super) fn task(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [
        { "enum": names::tasks(), "description": "a built-in task" },
        { "type": "string", "pattern": "[/\\\\]|\\.(jsonl|json|gz|parquet)$", "description": "a data file" },
        { "type": "object", "properties": { "name": { "enum": names::tasks() } }, "required": ["name"] },
        { "type": "object", "properties": { "path": { "type": "string" } }, "required": ["path"] },
    ] })
}

fn reward_value() -> Value {
    json!({ "anyOf": [
        { "enum": names::rewards() },
        {
            "type": "object",
            "properties": {
                "name": { "enum": names::rewards() },
                "weight": { "type": "number", "description": "Factor in the sum of rewards. Default 1." },
            },
            "required": ["name"],
        },
    ] })
}

pub(super) fn reward(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [reward_value()] })
}

pub(super) fn rewards(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [reward_value(), { "type": "array", "minItems": 1, "items": reward_value() }] })
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
