//! What a row asks of a program: columns as the data sets name them.

use serde_json::{Map, Value};

use crate::Attempt;

/// The tests of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Case {
    /// Test code that calls functions of the program.
    Functions(Functions),
    /// Whole runs: what is on stdin, what must be on stdout.
    Runs(Vec<(String, String)>),
}

/// Test code. It never enters the program's process.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Functions {
    /// Code that the program continues, or that stands before it: `HumanEval`'s prompt.
    pub prefix: String,
    /// The function that `candidate` means.
    pub entry: Option<String>,
    /// Code that is run before the tests.
    pub setup: Vec<String>,
    /// The tests, counted one by one.
    pub tests: Vec<String>,
}

impl Case {
    /// Reads the row. `test` with `entry_point` (HumanEval); `test_list` with `test_setup_code`, `test_imports` and
    /// `challenge_test_list` (MBPP); `inputs` and `outputs`, also inside `input_output`, or `test_cases` (stdin and stdout).
    ///
    /// # Errors
    /// In words: the row has no tests, or columns that hold the wrong thing.
    pub(crate) fn of(attempt: &Attempt<'_>, challenge: bool) -> Result<Self, String> {
        let row = attempt.metadata;
        if row.contains_key("test") {
            return human_eval(attempt).map(Case::Functions);
        }
        if row.contains_key("test_list") {
            return mbpp(row, challenge).map(Case::Functions);
        }
        if let Some(cases) = row.get("test_cases") {
            let cases = cases.as_array().ok_or("`test_cases` is not a list")?;
            let case = |case: &Value| Some((text(case.get("input")?)?, text(case.get("output")?)?));
            let cases: Option<Vec<_>> = cases.iter().map(case).collect();
            return runs(cases.ok_or("a test case has no `input` and `output`")?);
        }
        let nested = row.get("input_output").map(|value| match value {
            Value::String(json) => serde_json::from_str(json).map_err(|error| format!("`input_output`: {error}")),
            other => Ok(other.clone()),
        });
        let nested = nested.transpose()?;
        let table = nested.as_ref().and_then(Value::as_object).unwrap_or(row);
        if table.get("fn_name").is_some_and(|name| !name.is_null()) {
            return Err("`fn_name` rows are not supported; write their calls as `test_list`".into());
        }
        let list = |key: &str| table.get(key).and_then(Value::as_array);
        let (Some(inputs), Some(outputs)) = (list("inputs"), list("outputs")) else {
            return Err("the row has no tests: `test` and `entry_point`, `test_list`, `inputs` and `outputs`, or \
                        `test_cases`"
                .into());
        };
        if inputs.len() != outputs.len() {
            return Err(format!("{} inputs and {} outputs", inputs.len(), outputs.len()));
        }
        let pair = |(input, output)| Some((text(input)?, text(output)?));
        let pairs: Option<Vec<_>> = inputs.iter().zip(outputs).map(pair).collect();
        runs(pairs.ok_or("an input or output is not a text")?)
    }
}

fn runs(cases: Vec<(String, String)>) -> Result<Case, String> {
    if cases.is_empty() { Err("the row has no tests: its list is empty".into()) } else { Ok(Case::Runs(cases)) }
}

/// A text, or lines of text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(lines) => {
            let lines: Option<Vec<&str>> = lines.iter().map(Value::as_str).collect();
            Some(lines?.join("\n"))
        }
        _ => None,
    }
}

fn human_eval(attempt: &Attempt<'_>) -> Result<Functions, String> {
    let word = |key: &str| attempt.metadata.get(key).and_then(Value::as_str);
    let test = word("test").ok_or("`test` is not a text")?;
    let entry = word("entry_point").ok_or("a row with `test` needs `entry_point`")?;
    if entry.is_empty() || !entry.chars().all(|letter| letter.is_alphanumeric() || letter == '_') {
        return Err(format!("`entry_point` is {entry:?}, which is no name"));
    }
    let prompt = word("code_prompt").unwrap_or(attempt.prompt);
    // a prompt in words, or with a fence, is no code that a program could continue
    let prefix = if defines(prompt, entry) && !prompt.contains("```") { prompt } else { "" };
    Ok(Functions {
        prefix: prefix.to_string(),
        entry: Some(entry.to_string()),
        setup: vec![test.to_string()],
        tests: vec!["check(candidate)".to_string()],
    })
}

fn mbpp(row: &Map<String, Value>, challenge: bool) -> Result<Functions, String> {
    let list = |key: &str| -> Result<Vec<String>, String> {
        match row.get(key) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                let texts: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(String::from)).collect();
                texts.ok_or_else(|| format!("`{key}` is not a list of texts"))
            }
            Some(_) => Err(format!("`{key}` is not a list of texts")),
        }
    };
    let mut tests = list("test_list")?;
    if challenge {
        tests.extend(list("challenge_test_list")?);
    }
    if tests.is_empty() {
        return Err("the row has no tests: `test_list` is empty".into());
    }
    let imports = list("test_imports")?.join("\n");
    let setup = row.get("test_setup_code").and_then(Value::as_str).unwrap_or_default();
    Ok(Functions { setup: vec![imports, setup.replace("\r\n", "\n")], tests, ..Functions::default() })
}

/// Whether the code defines the name at its outermost level.
pub(crate) fn defines(code: &str, name: &str) -> bool {
    code.lines().any(|line| {
        let rest = ["def ", "async def ", "class "].iter().find_map(|word| line.strip_prefix(word)).unwrap_or(line);
        let Some(after) = rest.trim_start().strip_prefix(name) else { return false };
        let keyword = rest.len() != line.len();
        let next = after.trim_start().chars().next();
        if keyword {
            matches!(next, Some('(' | ':' | '['))
        } else {
            next == Some('=') && !after.trim_start().starts_with("==")
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn case(prompt: &str, row: Value) -> Result<Case, String> {
        let row = row.as_object().unwrap().clone();
        Case::of(&Attempt::new(prompt, "", None, &row), false)
    }

    #[test]
    fn rows_of_every_kind_are_read() {
        let prompt = "def f(x):\n    \"\"\"Doubles.\"\"\"\n";
        let Ok(Case::Functions(read)) =
            case(prompt, json!({"test": "def check(c): assert c(1) == 2", "entry_point": "f"}))
        else {
            panic!("HumanEval")
        };
        assert_eq!((read.prefix.as_str(), read.entry.as_deref()), (prompt, Some("f")));
        let Ok(Case::Functions(read)) = case("Double it.", json!({"test": "", "entry_point": "f"})) else {
            panic!("words")
        };
        assert_eq!(read.prefix, "", "words are no code");
        let row = json!({"test_list": ["assert f(1) == 2"], "test_imports": ["import math"], "challenge_test_list": ["assert 0"]});
        let Ok(Case::Functions(read)) = case("", row) else { panic!("MBPP") };
        assert_eq!((read.setup[0].as_str(), read.tests.len()), ("import math", 1));
        let runs = Case::Runs(vec![("1\n2".into(), "3".into())]);
        for row in [
            json!({"inputs": ["1\n2"], "outputs": ["3"]}),
            json!({"input_output": "{\"inputs\": [\"1\\n2\"], \"outputs\": [\"3\"]}"}),
            json!({"input_output": {"inputs": [["1", "2"]], "outputs": ["3"]}}),
            json!({"test_cases": [{"input": "1\n2", "output": "3"}]}),
        ] {
            assert_eq!(case("", row.clone()).as_ref(), Ok(&runs), "{row}");
        }
    }

    #[test]
    fn rows_without_usable_tests_say_so() {
        for (row, words) in [
            (json!({}), "no tests"),
            (json!({"test_list": []}), "empty"),
            (json!({"test_list": [1]}), "list of texts"),
            (json!({"test": "x"}), "entry_point"),
            (json!({"test": "x", "entry_point": "f; import os"}), "no name"),
            (json!({"inputs": ["1"], "outputs": []}), "1 inputs and 0 outputs"),
            (json!({"inputs": [1], "outputs": [1]}), "not a text"),
            (json!({"input_output": "{"}), "input_output"),
            (json!({"input_output": {"fn_name": "f", "inputs": [], "outputs": []}}), "fn_name"),
        ] {
            let said = case("", row.clone()).unwrap_err();
            assert!(said.contains(words), "{row}: {said}");
        }
    }

    #[test]
    fn definitions_stand_at_the_outermost_level() {
        for code in
            ["def f(x): pass", "import a\ndef f (x): pass", "f = lambda x: x", "class f:\n  pass", "async def f(): 1"]
        {
            assert!(defines(code, "f"), "{code}");
        }
        for code in ["    def f(x): pass", "def ff(x): pass", "f(1)", "f == 1", "# def f(x)", "return f"] {
            assert!(!defines(code, "f"), "{code}");
        }
    }
}
