//! Rewards as the command line gives them.

use lapidary_core::{Kind, Problem, Result};
use serde_json::{Value, json};

use super::options;

/// What `--reward` (as often as wanted) and `--set` say, as a recipe writes it: names, tables and lists of them in TOML or JSON.
pub fn rewards(given: &[String], set: &[String]) -> Result<Option<Value>> {
    let mut entries = Vec::new();
    for text in given {
        match one(text)? {
            Value::Array(list) => entries.extend(list),
            entry => entries.push(entry),
        }
    }
    if set.is_empty() {
        return Ok((!entries.is_empty()).then_some(Value::Array(entries)));
    }
    match entries.as_slice() {
        [Value::String(name)] => {
            let mut table = options(set)?;
            table.insert("name".into(), json!(name));
            Ok(Some(Value::Array(vec![Value::Object(table)])))
        }
        _ => Err(Problem::new(Kind::Usage, "U017", "`--set` needs one `--reward` that is a name")
            .hint("write the options into the table: `--reward '{ name = \"length\", max = 200 }'`")),
    }
}

fn one(text: &str) -> Result<Value> {
    let text = text.trim();
    if !text.starts_with(['[', '{']) {
        return Ok(json!(text));
    }
    let json: Result<Value, _> = serde_json::from_str(text);
    let toml = || toml::from_str::<Value>(&format!("reward = {text}")).map(|mut table| table["reward"].take());
    json.or_else(|_| toml()).map_err(|error| {
        let what = error.message().lines().next().unwrap_or("broken").to_string();
        Problem::new(Kind::Usage, "U017", format!("`--reward {text}` is neither TOML nor JSON: {what}"))
            .hint("as in a recipe: `--reward '[\"math\", { name = \"format\", weight = 0.1 }]'`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(given: &[&str], set: &[&str]) -> Result<Option<Value>> {
        let own = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        rewards(&own(given), &own(set))
    }

    #[test]
    fn names_tables_and_lists_are_read_as_in_a_recipe() {
        assert_eq!(spec(&[], &[]).unwrap(), None);
        assert_eq!(spec(&["math", "length"], &[]).unwrap(), Some(json!(["math", "length"])));
        let list = json!(["math", {"name": "format", "weight": 0.1}]);
        assert_eq!(spec(&["[\"math\", { name = \"format\", weight = 0.1 }]"], &[]).unwrap().as_ref(), Some(&list));
        assert_eq!(spec(&[&list.to_string()], &[]).unwrap().as_ref(), Some(&list));
        assert_eq!(spec(&["length"], &["max=9"]).unwrap(), Some(json!([{"max": 9, "name": "length"}])));
        for (given, set) in [(&["[math"][..], &[][..]), (&["a", "b"], &["max=9"]), (&[], &["max=9"])] {
            assert_eq!(spec(given, set).unwrap_err().code(), "U017");
        }
    }
}
