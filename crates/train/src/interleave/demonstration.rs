//! A demonstration as tokens: after its prompt, with an end, and no longer than it may be.

use lapidary_core::{PromptText, Result};
use lapidary_text::{RenderOptions, Tokenizer};

/// A demonstration, ready to be learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Demonstration {
    /// Prompt, then answer, then the end token.
    pub(crate) tokens: Vec<u32>,
    /// True at the answer and its end.
    pub(crate) mask: Vec<bool>,
    /// Whether the answer was cut to fit.
    pub(crate) cut: bool,
}

/// The tokens of a demonstration of at most `most` tokens, its end among them, in a model with this context. One that is too
/// long is cut and ends all the same (spec: the end stands at `min(length, most − 1)`).
///
/// What the prompt ends with already is not said twice: a template that opens `<think>` for the model, and a demonstration
/// that was written down with it.
///
/// `None` where nothing is left to learn: an empty demonstration, a repetition of the prompt, a prompt that fills the context.
///
/// # Errors
/// Those of the tokenizer and its template.
pub(crate) fn encode(
    tokenizer: &Tokenizer,
    prompt: &PromptText,
    demonstration: &str,
    (most, context): (usize, usize),
) -> Result<Option<Demonstration>> {
    let words = without_repetition(&rendered(tokenizer, prompt)?, demonstration);
    if words.is_empty() {
        return Ok(None);
    }
    let mut example = tokenizer.encode_example(prompt, words)?;
    let start = example.mask.iter().filter(|own| !**own).count();
    let room = most.min(context.saturating_sub(start));
    if room < 2 {
        return Ok(None); // a token and the end
    }
    let cut = example.tokens.len() > start + room;
    if cut {
        let end = example.tokens[example.tokens.len() - 1];
        example.tokens.truncate(start + room - 1);
        example.tokens.push(end);
        example.mask.truncate(start + room);
    }
    Ok(Some(Demonstration { tokens: example.tokens, mask: example.mask, cut }))
}

/// The prompt as the model sees it, in characters.
fn rendered(tokenizer: &Tokenizer, prompt: &PromptText) -> Result<String> {
    match prompt {
        PromptText::Messages(messages) if tokenizer.chat_template().is_some() => {
            tokenizer.render(messages, &RenderOptions::prompt())
        }
        _ => Ok(prompt.plain()),
    }
}

/// The demonstration without what the prompt says already: the whole prompt, or the tag that it ends with.
fn without_repetition<'d>(prompt: &str, demonstration: &'d str) -> &'d str {
    if !prompt.trim().is_empty()
        && let Some(rest) = demonstration.strip_prefix(prompt)
    {
        return rest;
    }
    let written = prompt.trim_end();
    let Some(tag) = last_tag(written) else { return demonstration };
    let Some(rest) = demonstration.trim_start().strip_prefix(tag) else { return demonstration };
    // The template's own white space after the tag is there already too.
    let space = &prompt[written.len()..];
    rest.strip_prefix(space).unwrap_or(rest)
}

/// `<think>` at the end of a text.
fn last_tag(text: &str) -> Option<&str> {
    let tag = &text[text.rfind('<')?..];
    let inner = tag.strip_prefix('<')?.strip_suffix('>')?;
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '|');
    (!inner.is_empty() && inner.chars().all(plain)).then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(prompt: &str, demonstration: &str, most: usize, context: usize) -> Option<(String, bool)> {
        let tokenizer = Tokenizer::characters();
        let found = encode(&tokenizer, &PromptText::Text(prompt.into()), demonstration, (most, context)).unwrap()?;
        assert_eq!(found.tokens.len(), found.mask.len());
        assert_eq!(found.tokens.last().copied(), tokenizer.eos(), "it ends");
        let own: Vec<u32> =
            found.tokens.iter().zip(&found.mask).filter(|(_, own)| **own).map(|(token, _)| *token).collect();
        assert!(found.tokens.len() <= context && own.len() <= most);
        Some((tokenizer.decode(&own[..own.len() - 1]), found.cut))
    }

    #[test]
    fn a_demonstration_that_is_too_long_is_cut_and_ends() {
        assert_eq!(encoded("1+1=", "2", 9, 64), Some(("2".into(), false)));
        assert_eq!(encoded("1+1=", "12345", 6, 64), Some(("12345".into(), false)), "five and the end are six");
        assert_eq!(encoded("1+1=", "12345", 5, 64), Some(("1234".into(), true)), "the last token gives way to the end");
        assert_eq!(
            encoded("1+1=", "12345", 99, 8),
            Some(("12".into(), true)),
            "the context is a limit too: five of the prompt, two, the end"
        );
    }

    #[test]
    fn nothing_to_learn_is_none() {
        assert_eq!(encoded("1+1=", "", 9, 64), None);
        assert_eq!(encoded("1+1=", "1+1=", 9, 64), None, "the prompt alone");
        assert_eq!(encoded("1+1=", "2", 9, 5), None, "no room for a token and an end");
    }

    #[test]
    fn what_the_prompt_ends_with_is_not_said_twice() {
        assert_eq!(without_repetition("Q<|im|>\n<think>\n", "<think>\nso\n</think> 2"), "so\n</think> 2");
        assert_eq!(without_repetition("Q <think>", "<think>\nso"), "\nso", "only what stands there already goes");
        assert_eq!(without_repetition("Q\n<think>\n", "\n<think>so"), "so");
        assert_eq!(without_repetition("1+1=", "1+1=2"), "2", "a demonstration with its prompt");
        for (prompt, demonstration) in [
            ("3+28=3", "31"),               // a digit is no template
            ("Q</think>", "<think> 2"),     // another tag
            ("Q <think>", "so <think> on"), // not at its beginning
            ("a < b >", "> c"),
            ("", "2"),
        ] {
            assert_eq!(without_repetition(prompt, demonstration), demonstration);
        }
    }
}
