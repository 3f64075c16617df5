//! `combination:*` and `startend:*`: what stands before, after and around.

use super::check::{Check, Made};
use super::kwargs::Kwargs;

/// `combination:two_responses`: exactly two that are not blank and differ, separated by `******`; only before the first and after
/// the last may it be blank.
pub(super) fn two_responses(_kwargs: &mut Kwargs<'_>, _compat: bool) -> Made {
    Check::new(|response| {
        let parts: Vec<&str> = response.text.split("******").map(str::trim).collect();
        let inner = parts.get(1..parts.len() - 1).unwrap_or_default();
        let full: Vec<&&str> = parts.iter().filter(|part| !part.is_empty()).collect();
        !inner.contains(&"") && full.len() == 2 && full[0] != full[1]
    })
}

/// `combination:repeat_prompt`: starts with `prompt_to_repeat`, without regard to case, and the response does not end with it.
pub(super) fn repeat_prompt(kwargs: &mut Kwargs<'_>, compat: bool) -> Made {
    let prompt = kwargs.text("prompt_to_repeat")?.to_lowercase();
    Check::new(move |response| {
        let answered = || response.whole.trim().chars().count() > prompt.chars().count();
        response.lower().trim().starts_with(&prompt) && (compat || answered())
    })
}

/// `startend:end_checker`: ends with `end_phrase`, without regard to case; a quotation mark may follow.
pub(super) fn end_checker(kwargs: &mut Kwargs<'_>, _compat: bool) -> Made {
    let phrase = kwargs.text("end_phrase")?.to_lowercase();
    Check::new(move |response| response.lower().trim().trim_matches('"').ends_with(&phrase))
}

/// `startend:quotation`: all of it between two `"`, and something in between.
pub(super) fn quotation(_kwargs: &mut Kwargs<'_>, compat: bool) -> Made {
    Check::new(move |response| {
        let inner = response.text.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        inner.is_some_and(|inner| compat || !inner.trim_matches(|c: char| c == '"' || c.is_whitespace()).is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::super::check::tests::follows;
    use serde_json::json;

    #[test]
    fn two_responses_are_two_and_differ() {
        for (text, holds) in [
            ("a******b", true),
            ("******a******b******", true),
            ("a******a", false),
            ("a******", false),
            ("a******b******c", false),
            ("a************b", false),
            ("a", false),
        ] {
            assert_eq!(follows("combination:two_responses", json!({}), text), holds, "{text}");
        }
    }

    #[test]
    fn a_repeated_prompt_is_followed_by_an_answer() {
        let kwargs = || json!({"prompt_to_repeat": "What is 2+2?"});
        for (text, holds) in [
            ("what is 2+2? 4", true),
            ("  What is 2+2?\n4", true),
            ("What is 2+2?", false),
            ("So: What is 2+2? 4", false),
        ] {
            assert_eq!(follows("combination:repeat_prompt", kwargs(), text), holds, "{text}");
        }
    }

    #[test]
    fn ends_are_exact() {
        let bye = || json!({"end_phrase": "Bye."});
        for (text, holds) in [("ok bye. ", true), ("\"ok Bye.\"", true), ("Bye", false), ("Bye. x", false)] {
            assert_eq!(follows("startend:end_checker", bye(), text), holds, "{text}");
        }
        for (text, holds) in [(" \"a\" ", true), ("\"a", false), ("\"", false), ("\"\"", false), ("“a”", false)] {
            assert_eq!(follows("startend:quotation", json!({}), text), holds, "{text}");
        }
    }
}
