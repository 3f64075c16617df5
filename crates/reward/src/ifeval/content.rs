//! `detectable_content:*`: placeholders and a postscript.

use std::sync::LazyLock;

use regex::{Regex, RegexBuilder};

use super::check::{Check, Made};
use super::kwargs::Kwargs;

static PLACEHOLDER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\[(.*?)\]").ok());

/// `detectable_content:number_placeholders`: at least `num_placeholders` of `[…]` on one line, with something inside.
pub(super) fn number_placeholders(kwargs: &mut Kwargs<'_>, compat: bool) -> Made {
    let least = kwargs.count("num_placeholders")?;
    Check::new(move |response| {
        let found = PLACEHOLDER.iter().flat_map(|pattern| pattern.captures_iter(response.text));
        let inner = found.filter_map(|found| found.get(1));
        inner.filter(|inner| compat || !inner.as_str().trim().is_empty()).count() >= least
    })
}

/// `detectable_content:postscript`: `postscript_marker` occurs, without regard to case; `P.S.` and `P.P.S` may have a space between the
/// letters.
pub(super) fn postscript(kwargs: &mut Kwargs<'_>, compat: bool) -> Made {
    let marker = kwargs.text("postscript_marker")?;
    let pattern = match marker {
        "P.P.S" => r"p\.\s?p\.\s?s".into(),
        "P.S." => r"p\.\s?s\.".into(),
        other if compat => other.to_lowercase(),
        other => regex::escape(&other.to_lowercase()),
    };
    let built = RegexBuilder::new(&pattern).size_limit(1 << 20).build();
    let pattern =
        built.map_err(|_| format!("{marker:?} is no regular expression, which the published checker takes it for"))?;
    Check::new(move |response| pattern.is_match(response.lower()))
}

#[cfg(test)]
mod tests {
    use super::super::check::tests::follows;
    use serde_json::json;

    #[test]
    fn placeholders_are_brackets_with_something_inside() {
        let two = || json!({"num_placeholders": 2});
        for (text, holds) in [("[a] [b]", true), ("[a [b]]", false), ("[] [ ] [a]", false), ("[a\n] [b]", false)] {
            assert_eq!(follows("detectable_content:number_placeholders", two(), text), holds, "{text:?}");
        }
    }

    #[test]
    fn a_postscript_has_its_points() {
        let marker = |marker: &str| json!({"postscript_marker": marker});
        for (kwargs, text, holds) in [
            (marker("P.S."), "bye\np.s. hi", true),
            (marker("P.S."), "P. S. hi", true),
            (marker("P.S."), "PS hi", false),
            (marker("P.P.S"), "P.P.S hi", true),
            (marker("P.P.S"), "P.S. hi", false),
            (marker("N.B."), "N.B. hi", true),
            (marker("N.B."), "NxBx hi", false),
        ] {
            assert_eq!(follows("detectable_content:postscript", kwargs.clone(), text), holds, "{kwargs} {text}");
        }
    }
}
