//! GLM-4.5's step-wise reward for function calls: 1 where every call is well-formed and equal to the right one in every field.
//!
//! ```text
//! R = 1 if FormatCorrect(a) ∧ Match(a, a*) else 0
//! ```
//! arXiv 2508.06471, §3.4.2. The paper does not say how values are compared; here keys have no order, numbers are compared by worth unless the
//! schema says `integer`, texts exactly, and an argument that is left out equals its default only where the schema declares one.
//! Several calls are compared in any order; a right answer without a call wants none.

use serde_json::{Map, Value};

use super::{Checked, functions, single};

pub(super) fn check(row: &Map<String, Value>, output: &[Value]) -> Checked {
    let gold = match row.get("ground_truth") {
        Some(Value::Array(gold)) => gold.as_slice(),
        None | Some(Value::Null) => &[],
        Some(_) => return Err("the `ground_truth` is no list".into()),
    };
    let functions = functions(row)?;
    let mut calls = Vec::new();
    for call in output {
        match well_formed(&functions, call) {
            Ok(call) => calls.push(call),
            Err(reason) => return Ok(Err(reason)),
        }
    }
    if calls.len() != gold.len() {
        return Ok(Err(format!("{} calls where {} are right", calls.len(), gold.len())));
    }
    for wanted in gold {
        let wanted = well_formed(&functions, wanted).map_err(|reason| format!("the ground truth: {reason}"))?;
        match calls.iter().position(|call| call.same_as(&wanted)) {
            Some(place) => _ = calls.swap_remove(place),
            None => return Ok(Err(format!("no call equals the right one of `{}`", wanted.name))),
        }
    }
    Ok(Ok(()))
}

/// A call that its function allows, with the defaults that the schema declares filled in.
struct Call<'a> {
    name: &'a str,
    arguments: Map<String, Value>,
    properties: &'a Map<String, Value>,
}

impl Call<'_> {
    fn same_as(&self, other: &Call<'_>) -> bool {
        let same = |(name, value): (&String, &Value)| {
            let whole = self.properties.get(name).is_some_and(|property| property["type"] == "integer");
            other.arguments.get(name).is_some_and(|right| if whole { value == right } else { equal(value, right) })
        };
        self.name == other.name && self.arguments.len() == other.arguments.len() && self.arguments.iter().all(same)
    }
}

fn well_formed<'a>(functions: &[&'a Value], call: &'a Value) -> Result<Call<'a>, String> {
    let (name, arguments) = single(call).ok_or("a call is no table with a name")?;
    if call.as_object().is_some_and(|call| call.len() > 1) {
        return Err("a call has more than one name".into());
    }
    let function = functions
        .iter()
        .find(|function| function.get("name").and_then(Value::as_str) == Some(name))
        .ok_or_else(|| format!("`{name}` is none of the functions"))?;
    let mut arguments = arguments.as_object().ok_or_else(|| format!("the arguments of `{name}` are no table"))?.clone();
    let parameters = &function["parameters"];
    let properties =
        parameters["properties"].as_object().ok_or_else(|| format!("`{name}` has no `parameters.properties`"))?;
    for (argument, value) in &arguments {
        let Some(property) = properties.get(argument) else { return Err(format!("`{name}` has no `{argument}`")) };
        if !fits(property, value) {
            return Err(format!("`{argument}` of `{name}` has the wrong type"));
        }
    }
    let required = parameters["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(missing) = required.into_iter().find(|missing| !arguments.contains_key(*missing)) {
        return Err(format!("`{missing}` of `{name}` is missing"));
    }
    for (argument, property) in properties {
        if let (false, Some(default)) = (arguments.contains_key(argument), property.get("default")) {
            arguments.insert(argument.clone(), default.clone());
        }
    }
    Ok(Call { name, arguments, properties })
}

/// Whether a value has the type that a schema names; one that it does not name allows all.
fn fits(property: &Value, value: &Value) -> bool {
    let one = |kind: &str| match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" | "float" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" | "tuple" => {
            value.as_array().is_some_and(|values| values.iter().all(|value| fits(&property["items"], value)))
        }
        "object" | "dict" => value.is_object(),
        "null" => value.is_null(),
        _ => true,
    };
    match &property["type"] {
        Value::String(kind) => one(kind),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).any(one),
        _ => true,
    }
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::score_calls;

    #[test]
    fn goldens_of_the_specification_beside_bfcl() {
        let function = json!([{"name": "get_weather", "parameters": {"type": "object", "required": ["city", "date"], "properties": {
            "city": {"type": "string"}, "date": {"type": "string"}, "days": {"type": "integer", "default": 1}, "scale": {"type": "float"}}}}]);
        let gold = json!({"city": "Beijing", "date": "2024-06-27"});
        let both = |calls: Vec<Value>| {
            let acceptable = json!([{"get_weather": {"city": ["Beijing"], "date": ["2024-06-27"], "days": [1, ""], "scale": [2, ""]}}]);
            let calls: Vec<Value> = calls.into_iter().map(|call| json!({ "get_weather": call })).collect();
            let mut row = json!({"category": "simple", "function": function, "ground_truth": [{"get_weather": gold}], "output": calls});
            let step = score_calls("tool-step", row.as_object().unwrap()).value().unwrap();
            row["ground_truth"] = acceptable;
            (step, score_calls("bfcl", row.as_object().unwrap()).value().unwrap())
        };
        assert_eq!(both(vec![gold.clone()]), (1.0, 1.0));
        assert_eq!(both(vec![json!({"date": "2024-06-27", "city": "Beijing"})]), (1.0, 1.0));
        assert_eq!(both(vec![json!({"city": "Beijing", "date": "2024-6-27"})]), (0.0, 0.0));
        assert_eq!(both(vec![json!({"city": "Beijing", "date": "2024/06/27"})]), (0.0, 1.0));
        assert_eq!(both(vec![json!({"city": "Beijing", "date": "2024-06-27", "scale": 2})]), (0.0, 1.0));
        // the default that the schema declares is the same as nothing, and an integer is not 1.0
        assert_eq!(both(vec![json!({"city": "Beijing", "date": "2024-06-27", "days": 1})]), (1.0, 1.0));
        assert_eq!(both(vec![json!({"city": "Beijing", "date": "2024-06-27", "days": 1.0})]), (0.0, 0.0));
        assert_eq!(both(vec![json!({"city": "Beijing"})]), (0.0, 0.0));
        assert_eq!(both(vec![gold.clone(), gold.clone()]), (0.0, 0.0));
        assert_eq!(both(vec![]), (0.0, 0.0));
    }

    #[test]
    fn a_right_answer_without_a_call_wants_none() {
        let row = |output: Value| json!({"function": [{"name": "f", "parameters": {"properties": {}}}], "ground_truth": [], "output": output});
        let score = |output: Value| score_calls("tool-step", row(output).as_object().unwrap()).value();
        assert_eq!(
            [score(json!([])), score(json!([{"f": {}}])), score(json!([{"g": {}}]))],
            [Some(1.0), Some(0.0), Some(0.0)]
        );
    }
}
