//! What can be checked: a name, its reader, and what the reader makes.

use serde_json::Value;

use super::kwargs::{Kwargs, Why};
use super::response::Response;
use super::{capitals, combination, content, keywords, layout, length, rephrase};

/// One instruction with its arguments.
pub(super) struct Check(Box<dyn Fn(&Response<'_>) -> bool>);

/// A check, or why the arguments make none.
pub(super) type Made = Result<Check, Why>;

impl Check {
    /// A check that holds where `follows` does.
    pub(super) fn new(follows: impl Fn(&Response<'_>) -> bool + 'static) -> Made {
        Ok(Self(Box::new(follows)))
    }

    /// Whether the text follows the instruction; a blank one follows none.
    pub(super) fn follows(&self, response: &Response<'_>) -> bool {
        !response.text.trim().is_empty() && (self.0)(response)
    }
}

type Reader = fn(&mut Kwargs<'_>, bool) -> Made;

/// Every instruction; the last four have no prompt in the published 541.
pub(super) const CHECKS: &[(&str, Reader)] = &[
    ("change_case:capital_word_frequency", capitals::capital_word_frequency),
    ("change_case:english_capital", capitals::english_capital),
    ("change_case:english_lowercase", capitals::english_lowercase),
    ("combination:repeat_prompt", combination::repeat_prompt),
    ("combination:two_responses", combination::two_responses),
    ("detectable_content:number_placeholders", content::number_placeholders),
    ("detectable_content:postscript", content::postscript),
    ("detectable_format:constrained_response", layout::constrained_response),
    ("detectable_format:json_format", layout::json_format),
    ("detectable_format:multiple_sections", layout::multiple_sections),
    ("detectable_format:number_bullet_lists", layout::number_bullet_lists),
    ("detectable_format:number_highlighted_sections", layout::number_highlighted_sections),
    ("detectable_format:title", layout::title),
    ("keywords:existence", keywords::existence),
    ("keywords:forbidden_words", keywords::forbidden_words),
    ("keywords:frequency", keywords::frequency),
    ("keywords:letter_frequency", keywords::letter_frequency),
    ("language:response_language", capitals::response_language),
    ("length_constraints:nth_paragraph_first_word", length::nth_paragraph_first_word),
    ("length_constraints:number_paragraphs", length::number_paragraphs),
    ("length_constraints:number_sentences", length::number_sentences),
    ("length_constraints:number_words", length::number_words),
    ("punctuation:no_comma", keywords::no_comma),
    ("startend:end_checker", combination::end_checker),
    ("startend:quotation", combination::quotation),
    ("detectable_content:rephrase_paragraph", rephrase::rephrase_paragraph),
    ("detectable_format:rephrase", rephrase::rephrase),
    ("keywords:key_sentences", rephrase::key_sentences),
    ("multi-turn:constrained_start", rephrase::constrained_start),
];

/// The check of an id with its arguments.
pub(super) fn check(id: &str, kwargs: &Value, compat: bool) -> Made {
    let Some((_, read)) = CHECKS.iter().find(|(name, _)| *name == id) else {
        let names: Vec<&str> = CHECKS.iter().map(|(name, _)| *name).collect();
        let meant = crate::options::nearest(id, &names).map(|name| format!("; did you mean `{name}`?"));
        return Err(format!("there is no instruction `{id}`{}", meant.unwrap_or_default()));
    };
    let named = |why: Why| format!("`{id}`: {why}");
    let mut kwargs = Kwargs::new(kwargs).map_err(named)?;
    let check = read(&mut kwargs, compat).map_err(named)?;
    kwargs.finish().map_err(named)?;
    Ok(check)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn holds(id: &str, kwargs: &Value, text: &str, compat: bool) -> bool {
        let check = check(id, kwargs, compat).unwrap_or_else(|why| panic!("{why}"));
        check.follows(&Response::new(text, text))
    }

    /// Whether a text follows one instruction.
    pub(in super::super) fn follows(id: &str, kwargs: Value, text: &str) -> bool {
        holds(id, &kwargs, text, false)
    }

    /// The same as the published checker has it.
    pub(in super::super) fn follows_compat(id: &str, kwargs: Value, text: &str) -> bool {
        holds(id, &kwargs, text, true)
    }

    /// Why arguments make no check.
    pub(in super::super) fn refused(id: &str, kwargs: Value) -> String {
        check(id, &kwargs, false).err().expect("these arguments must be refused")
    }

    #[test]
    fn unknown_ids_and_arguments_are_refused_by_name() {
        let why = refused("keywords:existance", Value::Null);
        assert!(why.contains("did you mean `keywords:existence`?"), "{why}");
        assert_eq!(refused("keywords:existence", Value::Null), "`keywords:existence`: `keywords` is missing");
        assert!(refused("punctuation:no_comma", serde_json::json!({"n": 1})).contains("no argument `n`"));
        assert!(refused("punctuation:no_comma", serde_json::json!([1])).contains("not a table"));
    }

    #[test]
    fn a_blank_text_follows_nothing() {
        assert!(!follows("punctuation:no_comma", Value::Null, " \n"));
        assert!(follows("punctuation:no_comma", Value::Null, "a"));
    }
}
