//! The AST check of the Berkeley function-calling leaderboard (Patil et al. 2025; `ast_checker` at gorilla 6ea5797), for Python.
//!
//! ```text
//! right = name ∧ required given ∧ every argument known, of its type, and one of its acceptable values
//!              ∧ every parameter that is left out may be left out ("" among its acceptable values)
//! ```
//! The published check is dynamic Python. What follows from that is kept: 1 = 1.0 = true where values are compared and not where types
//! are, an integer passes for a float and no other way round, and acceptable values of another type than the parameter's stand
//! for a variable, which is compared as it is.

use serde_json::{Map, Value};

use super::{Checked, functions, single};

/// Whether the calls are right for the row's category.
pub(super) fn check(row: &Map<String, Value>, output: &[Value]) -> Checked {
    let category = row.get("category").and_then(Value::as_str).ok_or("the row has no `category`")?;
    if category.contains("irrelevance") {
        return Ok(if is_empty(output) { Ok(()) } else { Err("a call where none is right".into()) });
    }
    if category.contains("relevance") {
        return Ok(if is_empty(output) { Err("no call where one is right".into()) } else { Ok(()) });
    }
    if ["java", "multi_turn", "sql", "rest", "exec"].iter().any(|other| category.contains(other)) {
        return Err(format!("category `{category}` is not scored by the AST check for Python"));
    }
    let functions = functions(row)?;
    let Some(Value::Array(gold)) = row.get("ground_truth") else { return Err("the row has no `ground_truth`".into()) };
    if gold.is_empty() {
        return Err("the `ground_truth` is empty".into());
    }
    if category.contains("parallel") {
        return parallel(&functions, output, gold);
    }
    if output.len() != 1 {
        return Ok(Err(format!("{} calls where 1 is right", output.len())));
    }
    if !category.contains("multiple") {
        return simple(functions[0], &output[0], &gold[0]);
    }
    let (name, _) = single(&gold[0]).ok_or("a ground truth names no function")?;
    simple(described(&functions, name)?, &output[0], &gold[0])
}

fn is_empty(output: &[Value]) -> bool {
    match output {
        [] => true,
        [only] => only.as_object().is_some_and(Map::is_empty),
        _ => false,
    }
}

fn described<'a>(functions: &[&'a Value], name: &str) -> Result<&'a Value, String> {
    let named = |function: &&&Value| function.get("name").and_then(Value::as_str) == Some(name);
    functions.iter().find(named).copied().ok_or_else(|| format!("`{name}` is none of the row's functions"))
}

/// Each right call takes the first call not yet taken that it accepts.
fn parallel(functions: &[&Value], output: &[Value], gold: &[Value]) -> Checked {
    if output.len() != gold.len() {
        return Ok(Err(format!("{} calls where {} are right", output.len(), gold.len())));
    }
    let mut taken = vec![false; output.len()];
    for wanted in gold {
        let (name, _) = single(wanted).ok_or("a ground truth names no function")?;
        let function = described(functions, name)?;
        let mut last = String::new();
        let mut found = None;
        for (place, call) in output.iter().enumerate().filter(|(place, _)| !taken[*place]) {
            match simple(function, call, wanted)? {
                Ok(()) => {
                    found = Some(place);
                    break;
                }
                Err(reason) => last = reason,
            }
        }
        match found {
            Some(place) => taken[place] = true,
            None => return Ok(Err(format!("no call matches `{name}`: {last}"))),
        }
    }
    Ok(Ok(()))
}

fn simple(function: &Value, call: &Value, wanted: &Value) -> Checked {
    let name = function.get("name").and_then(Value::as_str).ok_or("a function has no `name`")?;
    let parameters = &function["parameters"];
    let properties = parameters["properties"].as_object().ok_or("a function has no `parameters.properties`")?;
    let required: Vec<&str> =
        parameters["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let (_, wanted) = single(wanted).ok_or("a ground truth names no function")?;
    let wanted = wanted.as_object().ok_or("a ground truth has no table of arguments")?;
    let Some(given) = call.as_object().and_then(|call| call.get(name)) else {
        return Ok(Err(format!("`{name}` is not called")));
    };
    let Some(given) = given.as_object() else { return Ok(Err(format!("the arguments of `{name}` are no table"))) };
    if let Some(missing) = required.iter().find(|name| !given.contains_key(**name)) {
        return Ok(Err(format!("`{missing}` is required and missing")));
    }
    for (argument, value) in given {
        let (Some(property), Some(acceptable)) = (properties.get(argument), wanted.get(argument)) else {
            return Ok(Err(format!("`{argument}` is not expected")));
        };
        let acceptable = acceptable.as_array().ok_or("the acceptable values of a parameter are no list")?;
        if let Err(reason) = argument_is_right(property, value, acceptable)? {
            return Ok(Err(format!("`{argument}`: {reason}")));
        }
    }
    let left_out = |(name, acceptable): &(&String, &Value)| !given.contains_key(*name) && !may_be_left_out(acceptable);
    Ok(match wanted.iter().find(left_out) {
        Some((missing, _)) => Err(format!("`{missing}` is missing")),
        None => Ok(()),
    })
}

fn may_be_left_out(acceptable: &Value) -> bool {
    acceptable.as_array().is_some_and(|values| values.iter().any(|value| value == ""))
}

/// A type of Python, as far as JSON values have it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Type {
    None,
    Bool,
    Int,
    Float,
    Str,
    List,
    Dict,
}

fn type_of(value: &Value) -> Type {
    match value {
        Value::Null => Type::None,
        Value::Bool(_) => Type::Bool,
        Value::Number(number) if number.is_f64() => Type::Float,
        Value::Number(_) => Type::Int,
        Value::String(_) => Type::Str,
        Value::Array(_) => Type::List,
        Value::Object(_) => Type::Dict,
    }
}

fn type_named(property: &Value) -> Result<Type, String> {
    Ok(match property["type"].as_str() {
        Some("string" | "any") => Type::Str,
        Some("integer") => Type::Int,
        Some("float") => Type::Float,
        Some("boolean") => Type::Bool,
        Some("array" | "tuple") => Type::List,
        Some("dict") => Type::Dict,
        other => return Err(format!("a parameter has the unknown type {other:?}")),
    })
}

/// The type of the acceptable values: that of the first that is not "".
fn type_of_acceptable<'a>(acceptable: impl IntoIterator<Item = &'a Value>) -> Option<Type> {
    acceptable.into_iter().find(|value| *value != "").map(type_of)
}

fn argument_is_right(property: &Value, value: &Value, acceptable: &[Value]) -> Checked {
    let wanted = type_named(property)?;
    let nested = match property["type"].as_str() {
        Some("array" | "tuple") => Some(type_named(&property["items"])?),
        _ => None,
    };
    let as_float = match value.as_f64() {
        Some(number) if property["type"] == "float" && type_of(value) == Type::Int => Value::from(number),
        _ => value.clone(),
    };
    let value = &as_float;
    let Some(variable) = typed(value, acceptable, wanted, nested) else {
        return Ok(Err(format!("wrong type: {} where {} is right", name_of(type_of(value)), name_of(wanted))));
    };
    if variable {
        return Ok(among(acceptable.iter().any(|right| equal(value, right))));
    }
    Ok(among(match (value, wanted, nested) {
        (Value::Object(given), Type::Dict, _) => acceptable.iter().any(|right| dict_is_right(given, right)),
        (Value::Array(given), Type::List, Some(Type::Dict)) => {
            acceptable.iter().any(|right| dicts_are_right(given, right))
        }
        (Value::String(given), Type::Str, _) => {
            acceptable.iter().filter_map(Value::as_str).any(|right| standard(given) == standard(right))
        }
        (Value::Array(given), Type::List, _) => acceptable.iter().any(|right| list_is_right(given, right)),
        _ => acceptable.iter().any(|right| equal(value, right)),
    }))
}

fn among(found: bool) -> Result<(), String> {
    if found { Ok(()) } else { Err("not one of the acceptable values".into()) }
}

fn name_of(kind: Type) -> &'static str {
    match kind {
        Type::None => "null",
        Type::Bool => "boolean",
        Type::Int => "integer",
        Type::Float => "float",
        Type::Str => "string",
        Type::List => "array",
        Type::Dict => "dict",
    }
}

/// Whether the value has a type that is accepted, and then whether it counts as a variable.
fn typed(value: &Value, acceptable: &[Value], wanted: Type, nested: Option<Type>) -> Option<bool> {
    let known = type_of_acceptable(acceptable);
    if type_of(value) == wanted {
        let variable = known.is_some_and(|known| known != wanted);
        let Some(nested) = nested else { return Some(variable) };
        let fits = |right: &Value| match (right, value) {
            (Value::Array(right), Value::Array(given)) => {
                given.iter().all(|given| typed(given, right, nested, None).is_some())
            }
            // acceptable values that are no list say nothing about what is inside
            _ => true,
        };
        if acceptable.iter().any(fits) {
            return Some(variable);
        }
    }
    (known == Some(type_of(value))).then_some(true)
}

/// A text without case, blanks and `,./-_*^`, and with one kind of quote.
fn standard(text: &str) -> String {
    let kept: String = text.chars().filter(|character| !" ,./-_*^".contains(*character)).collect();
    kept.to_lowercase().replace('\'', "\"")
}

fn standard_value(value: &Value) -> Value {
    value.as_str().map_or_else(|| value.clone(), |text| Value::String(standard(text)))
}

/// A list in order, its texts standardised. An acceptable "" has no parts, as the empty list.
fn list_is_right(given: &[Value], right: &Value) -> bool {
    let right = match right {
        Value::Array(right) => right.clone(),
        Value::String(text) => text.chars().map(|character| Value::String(character.into())).collect(),
        _ => return false,
    };
    given.len() == right.len() && given.iter().zip(&right).all(|(a, b)| equal(&standard_value(a), &standard_value(b)))
}

/// A table with acceptable values for each of its keys.
fn dict_is_right(given: &Map<String, Value>, right: &Value) -> bool {
    let Value::Object(right) = right else { return false };
    let fits = |(key, value): (&String, &Value)| {
        let acceptable = right.get(key).and_then(Value::as_array);
        let value = standard_value(value);
        acceptable.is_some_and(|acceptable| acceptable.iter().any(|right| equal(&value, &standard_value(right))))
    };
    given.iter().all(fits) && right.iter().all(|(key, value)| given.contains_key(key) || may_be_left_out(value))
}

fn dicts_are_right(given: &[Value], right: &Value) -> bool {
    let right = match right {
        Value::Array(right) => right.as_slice(),
        Value::String(text) if text.is_empty() => &[],
        _ => return false,
    };
    let fits = |(given, right): (&Value, &Value)| given.as_object().is_some_and(|given| dict_is_right(given, right));
    given.len() == right.len() && given.iter().zip(right).all(fits)
}

/// Python's `==`: numbers and truth values by worth.
fn equal(a: &Value, b: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        Value::Number(number) => number.as_f64(),
        _ => None,
    };
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        (Value::Number(a), Value::Number(b)) if !a.is_f64() && !b.is_f64() => a == b,
        _ => match (number(a), number(b)) {
            (Some(a), Some(b)) => a == b,
            (None, None) => a == b,
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::score_calls;

    fn row(kind: &str, value: serde_json::Value, acceptable: serde_json::Value) -> Option<f32> {
        let items = json!({"type": "integer"});
        let row = json!({
            "category": "simple",
            "function": [{"name": "f", "parameters": {"properties": {"a": {"type": kind, "items": items}}, "required": ["a"]}}],
            "ground_truth": [{"f": {"a": acceptable}}],
            "output": [{"f": {"a": value}}],
        });
        score_calls("bfcl", row.as_object().unwrap()).value()
    }

    #[test]
    fn values_and_types_by_hand() {
        for (kind, value, acceptable, score) in [
            ("integer", json!(5), json!([5]), 1.0),
            ("integer", json!(5.0), json!([5]), 0.0),
            ("integer", json!(true), json!([1]), 0.0),
            ("float", json!(5), json!([5.0]), 1.0),
            ("float", json!(5), json!([5]), 1.0),
            ("float", json!("5"), json!([5.0]), 0.0),
            ("string", json!("New-York, USA"), json!(["new york usa"]), 1.0),
            ("string", json!("it's"), json!(["it\"s"]), 1.0),
            ("string", json!("2024/06/27"), json!(["2024-06-27"]), 1.0),
            ("string", json!("2024-6-27"), json!(["2024-06-27"]), 0.0),
            ("boolean", json!(1), json!([true]), 0.0),
            ("array", json!([1, 2]), json!([[1, 2]]), 1.0),
            ("array", json!([2, 1]), json!([[1, 2]]), 0.0),
            ("array", json!([1.5]), json!([[1]]), 0.0),
            ("dict", json!({"x": "A b"}), json!([{"x": ["ab"], "y": [""]}]), 1.0),
            ("dict", json!({"x": "A b", "z": 1}), json!([{"x": ["ab"]}]), 0.0),
            ("dict", json!({}), json!([{"x": ["ab"]}]), 0.0),
        ] {
            assert_eq!(row(kind, value.clone(), acceptable.clone()), Some(score), "{kind} {value} {acceptable}");
        }
        assert_eq!(row("colour", json!(1), json!([1])), None, "a row that cannot be scored has no verdict");
    }

    #[test]
    fn hostile_outputs_score_0_and_hostile_rows_have_no_verdict() {
        let base = json!({
            "category": "parallel",
            "function": [{"name": "f", "parameters": {"properties": {}, "required": []}}],
            "ground_truth": [{"f": {}}, {"f": {}}],
        });
        for (output, score) in [
            (json!([{"f": {}}, {"f": {}}]), Some(1.0)),
            (json!([{"f": {}}]), Some(0.0)),
            (json!([{"f": []}, {"f": {}}]), Some(0.0)),
            (json!([7, null]), Some(0.0)),
            (json!("f()"), Some(0.0)),
            (json!(null), Some(0.0)),
        ] {
            let mut row = base.as_object().unwrap().clone();
            row.insert("output".into(), output.clone());
            assert_eq!(score_calls("bfcl", &row).value(), score, "{output}");
            for key in ["category", "function", "ground_truth"] {
                let mut row = row.clone();
                row.insert(key.into(), json!(7));
                let value = score_calls("bfcl", &row).value();
                assert!(value.is_none() || value == Some(0.0), "{key} {output}");
            }
        }
        let none = json!({"category": "irrelevance", "output": []});
        assert_eq!(score_calls("bfcl", none.as_object().unwrap()).value(), Some(1.0));
        let some = json!({"category": "irrelevance", "output": [{"f": {}}]});
        assert_eq!(score_calls("bfcl", some.as_object().unwrap()).value(), Some(0.0));
    }
}
