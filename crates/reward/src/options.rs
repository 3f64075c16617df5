//! Options of rewards and tasks: one table gives the check, the help and the JSON schema.

use lapidary_core::{Kind, Problem, Result};
use serde_json::{Map, Value, json};

/// What an option may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OptionKind {
    /// Any text.
    Text,
    /// A list of texts; a single text stands for a list of one.
    Texts,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of these words, in an order that matters.
    Choices(&'static [&'static str]),
    /// A whole number in this range, both ends included.
    Integer(i64, i64),
    /// A finite number in this range, both ends included.
    Number(f64, f64),
    /// A finite number, or this word.
    NumberOr(&'static str),
    /// A table of anything.
    Table,
    /// A list of tables; a single table stands for a list of one.
    Tables,
    /// `true` or `false`.
    Flag,
}

/// One option: its name, what it may hold, what it is when unset, and what it means.
#[derive(Clone, Copy, Debug)]
pub struct OptionInfo {
    /// The key in a recipe.
    pub name: &'static str,
    /// What it may hold.
    pub kind: OptionKind,
    /// The default as a JSON literal; `null` where the option is unset by default; empty where it must be given.
    pub default: &'static str,
    /// What it means, in one sentence.
    pub meaning: &'static str,
}

impl OptionInfo {
    /// The JSON schema of this option.
    pub fn schema(&self) -> Value {
        let mut schema = match self.kind {
            OptionKind::Text => json!({"type": "string"}),
            OptionKind::Texts => {
                json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]})
            }
            OptionKind::Choice(words) => json!({"enum": words}),
            OptionKind::Choices(words) => json!({"type": "array", "items": {"enum": words}, "minItems": 1}),
            OptionKind::Integer(low, high) => json!({"type": "integer", "minimum": low, "maximum": high}),
            OptionKind::Number(low, high) => json!({"type": "number", "minimum": low, "maximum": high}),
            OptionKind::NumberOr(word) => json!({"anyOf": [{"type": "number"}, {"enum": [word]}]}),
            OptionKind::Table => json!({"type": "object"}),
            OptionKind::Tables => {
                json!({"anyOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}, "minItems": 1}]})
            }
            OptionKind::Flag => json!({"type": "boolean"}),
        };
        schema["description"] = json!(self.meaning);
        if let Ok(default) = serde_json::from_str::<Value>(self.default)
            && !default.is_null()
        {
            schema["default"] = default;
        }
        schema
    }

    /// What it may hold, in words: `"strict" or "flexible"`, `a whole number from 1 to 16`.
    pub fn expects(&self) -> String {
        let quoted = |words: &[&str]| words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>();
        match self.kind {
            OptionKind::Text => "a text".into(),
            OptionKind::Texts => "a list of texts".into(),
            OptionKind::Choice(words) => quoted(words).join(" or "),
            OptionKind::Choices(words) => format!("a list of {}", quoted(words).join(", ")),
            OptionKind::Integer(low, i64::MAX) => format!("a whole number, {low} or more"),
            OptionKind::Integer(low, high) => format!("a whole number from {low} to {high}"),
            OptionKind::Number(low, high) if low == f64::MIN && high == f64::MAX => "a finite number".into(),
            OptionKind::Number(low, high) if high == f64::MAX => format!("a finite number, {low} or more"),
            OptionKind::Number(low, high) => format!("a finite number from {low} to {high}"),
            OptionKind::NumberOr(word) => format!("a finite number or \"{word}\""),
            OptionKind::Table => "a table".into(),
            OptionKind::Tables => "a list of tables".into(),
            OptionKind::Flag => "true or false".into(),
        }
    }

    /// Whether `value` may be given, and if so in its full form (a single text becomes a list of one).
    fn accept(&self, value: &Value) -> Option<Value> {
        let fits = match self.kind {
            OptionKind::Text => value.is_string(),
            OptionKind::Texts => {
                if value.is_string() {
                    return Some(json!([value]));
                }
                value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_string))
            }
            OptionKind::Choice(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            OptionKind::Choices(words) => value.as_array().is_some_and(|list| {
                !list.is_empty() && list.iter().all(|word| word.as_str().is_some_and(|word| words.contains(&word)))
            }),
            OptionKind::Integer(low, high) => {
                value.as_i64().is_some_and(|whole| !value.is_f64() && (low..=high).contains(&whole))
            }
            OptionKind::Number(low, high) => {
                value.as_f64().is_some_and(|number| number.is_finite() && (low..=high).contains(&number))
            }
            OptionKind::NumberOr(word) => value.as_f64().is_some_and(f64::is_finite) || value == word,
            OptionKind::Table => value.is_object(),
            OptionKind::Tables => {
                if value.is_object() {
                    return Some(json!([value]));
                }
                value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_object))
            }
            OptionKind::Flag => value.is_boolean(),
        };
        fits.then(|| value.clone())
    }
}

/// Whose options are checked, and the codes of the two things that can be wrong with them.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// `reward` or `task`.
    pub what: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Code of an option that does not exist.
    pub unknown: &'static str,
    /// Code of an option that holds the wrong thing.
    pub wrong: &'static str,
}

/// Options that have been checked against their table; every default is filled in.
#[derive(Clone, Debug)]
pub struct Options {
    owner: Owner,
    values: Map<String, Value>,
}

impl Options {
    /// Checks what a user wrote (an object, or null for none) against the table.
    ///
    /// # Errors
    /// `Usage` for an option that does not exist (with the nearest name), for one that holds the wrong thing, and for
    /// one that must be given and is not.
    pub fn check(owner: Owner, table: &[OptionInfo], given: &Value) -> Result<Self> {
        let empty = Map::new();
        let given = match given {
            Value::Object(map) => map,
            Value::Null => &empty,
            other => {
                let message = format!("options of {} `{}` must be a table, got {other}", owner.what, owner.name);
                return Err(Problem::new(Kind::Usage, owner.wrong, message));
            }
        };
        if let Some(key) = given.keys().find(|key| !table.iter().any(|option| option.name == key.as_str())) {
            let message = format!("{} `{}` has no option `{key}`", owner.what, owner.name);
            let names: Vec<&str> = table.iter().map(|option| option.name).collect();
            return Err(Problem::new(Kind::Usage, owner.unknown, message).hint(suggestion(key, &names)));
        }
        let mut values = Map::new();
        for option in table {
            let value = match given.get(option.name) {
                Some(value) => Some(option.accept(value).ok_or_else(|| wrong(owner, option, value))?),
                None if option.default.is_empty() => {
                    let message = format!("{} `{}` needs the option `{}`", owner.what, owner.name, option.name);
                    return Err(Problem::new(Kind::Usage, owner.wrong, message).why(option.meaning).hint(format!(
                        "set `{}` to {}",
                        option.name,
                        option.expects()
                    )));
                }
                None => serde_json::from_str::<Value>(option.default).ok().and_then(|value| option.accept(&value)),
            };
            if let Some(value) = value {
                values.insert(option.name.to_string(), value);
            }
        }
        Ok(Self { owner, values })
    }

    /// A problem with the value of an option that its kind alone cannot see: a minimum above its maximum.
    pub fn wrong(&self, message: impl std::fmt::Display) -> Problem {
        let message = format!("{} `{}`: {message}", self.owner.what, self.owner.name);
        Problem::new(Kind::Usage, self.owner.wrong, message)
    }

    /// A text option, or `None` where it is unset.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).and_then(Value::as_str)
    }

    /// A list option; empty where it is unset.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let list = self.values.get(name).and_then(Value::as_array);
        list.map(|list| list.iter().filter_map(Value::as_str).map(String::from).collect()).unwrap_or_default()
    }

    /// A list of tables; empty where it is unset.
    pub fn tables(&self, name: &str) -> Vec<Map<String, Value>> {
        let list = self.values.get(name).and_then(Value::as_array);
        list.map(|list| list.iter().filter_map(Value::as_object).cloned().collect()).unwrap_or_default()
    }

    /// What was checked, with every default, as it was written.
    pub(crate) fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    /// A whole number, or `None` where it is unset.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.values.get(name).and_then(Value::as_i64)
    }

    /// A number, or `None` where it is unset.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.values.get(name).and_then(Value::as_f64)
    }

    /// A value as it is, or `None` where it is unset.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// A flag; `false` where it is unset.
    pub fn flag(&self, name: &str) -> bool {
        self.values.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Two whole numbers that are a range.
    ///
    /// # Errors
    /// `Usage` when the first is above the second.
    pub fn range(&self, low: &str, high: &str) -> Result<(i64, i64)> {
        let (Some(least), Some(most)) = (self.integer(low), self.integer(high)) else {
            return Err(self.wrong(format!("`{low}` and `{high}` are both needed")));
        };
        if least > most {
            return Err(self
                .wrong(format!("`{low}` = {least} is above `{high}` = {most}"))
                .hint(format!("set `{low}` and `{high}` so that the first is at most the second")));
        }
        Ok((least, most))
    }
}

fn wrong(owner: Owner, option: &OptionInfo, value: &Value) -> Problem {
    let shown: String = value.to_string().chars().take(80).collect();
    let message = format!(
        "option `{}` of {} `{}` must be {}, got {shown}",
        option.name,
        owner.what,
        owner.name,
        option.expects()
    );
    let problem = Problem::new(Kind::Usage, owner.wrong, message).why(option.meaning);
    match (option.kind, value.as_str()) {
        (OptionKind::Choice(words), Some(word)) => problem.hint(suggestion(word, words)),
        _ => problem,
    }
}

/// The JSON schema of a whole table of options.
pub fn schema(table: &[OptionInfo]) -> Value {
    let properties: Map<String, Value> =
        table.iter().map(|option| (option.name.to_string(), option.schema())).collect();
    let required: Vec<&str> =
        table.iter().filter(|option| option.default.is_empty()).map(|option| option.name).collect();
    json!({"type": "object", "additionalProperties": false, "properties": properties, "required": required})
}

/// `did you mean …?` where a known name is near, else the list of all known names.
pub fn suggestion(given: &str, known: &[&str]) -> String {
    match nearest(given, known) {
        Some(name) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "it takes none".to_string(),
        None => format!("known: {}", known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    }
}

/// The known name that `given` most likely means.
pub fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    const SIMILAR_ENOUGH: f64 = 0.8; // Jaro–Winkler: two swapped or one missing letter pass, another word does not
    const LONGEST_NAME: usize = 64; // a longer word is no misspelling of ours, and the measure is quadratic
    if given.len() > LONGEST_NAME {
        return None;
    }
    let plain = given.to_lowercase().replace('_', "-");
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(&plain, &name.to_lowercase().replace('_', "-")), *name))
        .filter(|(similarity, _)| *similarity >= SIMILAR_ENOUGH)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Owner = Owner { what: "reward", name: "thing", unknown: "W002", wrong: "W003" };
    const TABLE: &[OptionInfo] = &[
        OptionInfo { name: "size", kind: OptionKind::Integer(1, 9), default: "4", meaning: "how many" },
        OptionInfo { name: "mode", kind: OptionKind::Choice(&["soft", "hard"]), default: "\"soft\"", meaning: "how" },
        OptionInfo { name: "words", kind: OptionKind::Texts, default: "null", meaning: "which" },
        OptionInfo { name: "share", kind: OptionKind::Number(0.0, 1.0), default: "0.5", meaning: "part" },
        OptionInfo { name: "shut", kind: OptionKind::NumberOr("score"), default: "0", meaning: "what" },
        OptionInfo { name: "tools", kind: OptionKind::Tables, default: "null", meaning: "which" },
    ];

    fn check(given: Value) -> Result<Options> {
        Options::check(OWNER, TABLE, &given)
    }

    #[test]
    fn defaults_are_filled_in_and_given_values_kept() {
        let options = check(json!({"size": 7, "words": "one"})).unwrap();
        assert_eq!((options.integer("size"), options.text("mode")), (Some(7), Some("soft")));
        assert_eq!(options.texts("words"), ["one"]);
        assert_eq!(options.number("share"), Some(0.5));
        assert!(check(Value::Null).unwrap().texts("words").is_empty());
        let options = check(json!({"shut": "score", "tools": {"name": "f"}})).unwrap();
        assert_eq!(
            (options.value("shut"), options.value("tools")),
            (Some(&json!("score")), Some(&json!([{"name": "f"}])))
        );
    }

    #[test]
    fn a_misspelt_option_is_refused_with_the_nearest_name() {
        let problem = check(json!({"szie": 7})).unwrap_err();
        assert_eq!((problem.code(), problem.kind()), ("W002", Kind::Usage));
        assert_eq!(problem.advice(), Some("did you mean `size`?"));
    }

    #[test]
    fn values_out_of_range_or_of_another_kind_are_refused() {
        for given in [
            json!({"size": 0}),
            json!({"size": 10}),
            json!({"size": 1.5}),
            json!({"size": "4"}),
            json!({"mode": "sotf"}),
            json!({"words": []}),
            json!({"words": [1]}),
            json!({"share": 1.01}),
            json!({"shut": "scores"}),
            json!({"tools": []}),
            json!({"tools": [1]}),
            json!([1]),
        ] {
            let problem = check(given.clone()).expect_err(&given.to_string());
            assert_eq!(problem.code(), "W003", "{given}");
        }
        assert_eq!(check(json!({"mode": "sotf"})).unwrap_err().advice(), Some("did you mean `soft`?"));
    }

    #[test]
    fn every_default_of_every_reward_passes_its_own_check() {
        for info in crate::rewards() {
            for option in info.options.iter().filter(|option| !option.default.is_empty()) {
                let default: Value = serde_json::from_str(option.default).expect(option.name);
                assert!(default.is_null() || option.accept(&default).is_some(), "{}.{}", info.name, option.name);
            }
        }
    }
}
