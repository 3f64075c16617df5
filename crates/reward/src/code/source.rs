//! The program in a completion.

use super::case::{Functions, defines};

/// Where the program stands in a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the last fence marked as Python (or unmarked); where there is no fence, everything.
    Fence,
    /// Everything.
    Whole,
}

/// The words after the last `</think>`, and of these the program.
pub(crate) fn program(completion: &str, place: Place) -> Result<&str, &'static str> {
    let answer = completion.rsplit("</think>").next().unwrap_or(completion);
    if place == Place::Whole || !answer.lines().any(|line| line.trim_start().starts_with("```")) {
        return Ok(answer);
    }
    last_fence(answer).ok_or("no fence of Python that is closed")
}

/// The inside of the last closed fence that is Python's.
fn last_fence(text: &str) -> Option<&str> {
    let (mut open, mut last) = (None, None);
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim();
        match (bare.strip_prefix("```"), open) {
            (Some(mark), None) => {
                let mark = mark.trim().to_lowercase();
                open = Some((at + line.len(), ["", "python", "py", "python3"].contains(&mark.as_str())));
            }
            (Some(""), Some((start, python))) => {
                if python {
                    last = Some(&text[start..at]);
                }
                open = None;
            }
            _ => {}
        }
        at += line.len();
    }
    last
}

/// The whole program: a completion that defines the function stands after the row's code, one that does not continues it.
pub(crate) fn whole(case: &Functions, program: &str) -> String {
    let separate = case.entry.as_ref().is_none_or(|entry| defines(program, entry));
    if separate && !case.prefix.is_empty() {
        return format!("{}\n\n{program}", case.prefix);
    }
    format!("{}{program}", case.prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_python_fence_is_the_program() {
        let two = "First\n```python\na = 1\n```\nthen\n```py\nb = 2\n```\nand\n```bash\nls\n```\n";
        assert_eq!(program(two, Place::Fence), Ok("b = 2\n"));
        assert_eq!(program("    return 1\n", Place::Fence), Ok("    return 1\n"));
        assert_eq!(program("```\nx\n```", Place::Fence), Ok("x\n"));
        assert_eq!(program("```python\nx = 1", Place::Fence), Err("no fence of Python that is closed"));
        assert_eq!(program("```bash\nls\n```", Place::Fence), Err("no fence of Python that is closed"));
        assert_eq!(program("<think>```python\nbad\n```</think>x = 1", Place::Fence), Ok("x = 1"));
        assert_eq!(program("```python\nx\n```", Place::Whole), Ok("```python\nx\n```"));
    }

    #[test]
    fn a_completion_continues_or_replaces() {
        let prefix = "import math\ndef f(x):\n    \"\"\"Doubles.\"\"\"\n".to_string();
        let case = Functions { prefix: prefix.clone(), entry: Some("f".into()), ..Functions::default() };
        assert_eq!(whole(&case, "    return 2 * x\n"), format!("{prefix}    return 2 * x\n"));
        assert_eq!(whole(&case, "def f(x):\n    return 2 * x\n"), format!("{prefix}\n\ndef f(x):\n    return 2 * x\n"));
        assert_eq!(whole(&Functions::default(), "f = 1"), "f = 1");
    }
}
