//! `detectable_format:*`: bullets, highlights, sections, JSON, a title, one of three answers.

use std::sync::LazyLock;

use regex::{Regex, RegexBuilder};
use serde::de::IgnoredAny;

use super::check::{Check, Made};
use super::kwargs::Kwargs;

/// Bullets as the published checker counts them, dividers, negative numbers and lines in italics included.
static PUBLISHED_BULLETS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [r"(?m)^\s*\*[^*].*$", r"(?m)^\s*-.*$"].iter().filter_map(|pattern| Regex::new(pattern).ok()).collect()
});
/// Highlights as the published checker counts them: both patterns may count the same text.
static PUBLISHED_HIGHLIGHTS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [r"\*([^\n*]*)\*", r"\*\*([^\n*]*)\*\*"].iter().filter_map(|pattern| Regex::new(pattern).ok()).collect()
});
static TITLE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"<<[^\n]+>>").ok());

/// `detectable_format:number_bullet_lists`: exactly `num_bullets` lines that start with the bullet `*` or `-`.
pub(super) fn number_bullet_lists(kwargs: &mut Kwargs<'_>, compat: bool) -> Made {
    let wanted = kwargs.count("num_bullets")?;
    Check::new(move |response| {
        let text = response.text;
        let count = if compat {
            PUBLISHED_BULLETS.iter().map(|pattern| pattern.find_iter(text).count()).sum()
        } else {
            text.lines().filter(|line| is_bullet(line)).count()
        };
        count == wanted
    })
}

/// A marker and a text. A space between them is not asked for (the published unit tests have none), but `---` and `* * *` are dividers,
/// `**so**` and `*so* it is` are highlights, and `-5` is a number.
fn is_bullet(line: &str) -> bool {
    let line = line.trim();
    let Some(rest) = line.strip_prefix(['*', '-']) else { return false };
    if !rest.chars().any(|c| !c.is_whitespace() && c != '*' && c != '-') {
        return false;
    }
    rest.starts_with(char::is_whitespace)
        || match line.starts_with('*') {
            true => !rest.starts_with('*') && highlights(line) == 0,
            false => !rest.starts_with(|c: char| c == '-' || c.is_numeric()),
        }
}

/// `detectable_format:number_highlighted_sections`: at least `num_highlights` of `*…*` or `**…**`, each on one line.
pub(super) fn number_highlighted_sections(kwargs: &mut Kwargs<'_>, compat: bool) -> Made {
    let least = kwargs.count("num_highlights")?;
    Check::new(move |response| {
        let count: usize = if compat {
            let filled = |pattern: &Regex| {
                let inner = pattern.captures_iter(response.text).filter_map(|found| found.get(1));
                inner.filter(|inner| !inner.as_str().trim().is_empty()).count()
            };
            PUBLISHED_HIGHLIGHTS.iter().map(filled).sum()
        } else {
            response.text.lines().map(highlights).sum()
        };
        count >= least
    })
}

/// Highlights of a line, as Markdown has them: stars that touch a text before it, closed by stars that touch it behind. A bullet's
/// star and a product's star touch no text on one side.
fn highlights(line: &str) -> usize {
    let stars: Vec<(usize, usize)> = runs(line);
    let (mut count, mut open) = (0, false);
    for (start, end) in stars {
        let before = line[..start].chars().next_back().is_some_and(|c| !c.is_whitespace());
        let after = line[end..].chars().next().is_some_and(|c| !c.is_whitespace());
        match (open, before, after) {
            (true, true, _) => {
                count += 1;
                open = false;
            }
            (_, _, true) => open = true,
            _ => {}
        }
    }
    count
}

/// Where the runs of stars are.
fn runs(line: &str) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (at, _) in line.match_indices('*') {
        match runs.last_mut() {
            Some((_, end)) if *end == at => *end = at + 1,
            _ => runs.push((at, at + 1)),
        }
    }
    runs
}

/// `detectable_format:multiple_sections`: `section_spliter` and a number, at least `num_sections` times.
pub(super) fn multiple_sections(kwargs: &mut Kwargs<'_>, compat: bool) -> Made {
    let splitter = kwargs.text("section_spliter")?;
    let least = kwargs.count("num_sections")?;
    let mark = if compat { splitter.to_string() } else { regex::escape(splitter) };
    let built = RegexBuilder::new(&format!(r"\s?{mark}\s?\d+\s?")).size_limit(1 << 20).build();
    let pattern = built
        .map_err(|_| format!("{splitter:?} is no regular expression, which the published checker takes it for"))?;
    Check::new(move |response| pattern.find_iter(response.text).count() >= least)
}

/// `detectable_format:json_format`: all of it, a fence aside, is one JSON object or array; in `compat` any JSON value.
pub(super) fn json_format(_kwargs: &mut Kwargs<'_>, compat: bool) -> Made {
    Check::new(move |response| {
        let mut text = response.text.trim();
        for fence in ["```json", "```Json", "```JSON", "```"] {
            text = text.strip_prefix(fence).unwrap_or(text);
        }
        let text = text.strip_suffix("```").unwrap_or(text).trim();
        (compat || text.starts_with(['{', '['])) && serde_json::from_str::<IgnoredAny>(text).is_ok()
    })
}

/// `detectable_format:title`: `<<…>>` on one line, with something inside.
pub(super) fn title(_kwargs: &mut Kwargs<'_>, _compat: bool) -> Made {
    Check::new(|response| {
        let mut titles = TITLE.iter().flat_map(|pattern| pattern.find_iter(response.text));
        titles.any(|title| !title.as_str().trim_start_matches('<').trim_end_matches('>').trim().is_empty())
    })
}

const ANSWERS: [&str; 3] = ["My answer is yes.", "My answer is no.", "My answer is maybe."];

/// `detectable_format:constrained_response`: exactly one of three answers occurs; in `compat` at least one.
pub(super) fn constrained_response(_kwargs: &mut Kwargs<'_>, compat: bool) -> Made {
    Check::new(move |response| {
        let given = ANSWERS.iter().filter(|answer| response.text.contains(**answer)).count();
        given == 1 || compat && given > 0
    })
}

#[cfg(test)]
mod tests {
    use super::super::check::tests::{follows, follows_compat};
    use super::*;
    use serde_json::json;

    #[test]
    fn bullets_are_lines_with_a_marker_and_a_text() {
        let one = || json!({"num_bullets": 1});
        for (text, holds) in [
            ("intro\n* a", true),
            ("  - a", true),
            ("* a\n- b", false),
            ("* a\n---\n***\n* * *", true),
            ("* a\n-5 degrees", true),
            ("* a\n*so* it is", true),
            ("* a\n**b** is", true),
            ("*(a) no space", true),
            ("-a", true),
            ("--a", false),
            ("* \n", false),
        ] {
            assert_eq!(follows("detectable_format:number_bullet_lists", one(), text), holds, "{text:?}");
        }
        assert!(!follows_compat("detectable_format:number_bullet_lists", one(), "* a\n---"));
    }

    #[test]
    fn a_highlight_counts_once() {
        for (line, count) in [
            ("*a*", 1),
            ("**a**", 1),
            ("***a***", 1),
            ("*a* and **b c**", 2),
            ("* *a* b", 1),
            ("* **a**: x **b**", 2),
            ("2 * 3 * 4", 0),
            ("**", 0),
            ("* a", 0),
            ("*a", 0),
            ("**bold *nested* x**", 1),
        ] {
            assert_eq!(highlights(line), count, "{line}");
        }
        let two = || json!({"num_highlights": 2});
        assert!(!follows("detectable_format:number_highlighted_sections", two(), "**a**"));
        assert!(!follows("detectable_format:number_highlighted_sections", two(), "* **a**"));
        assert!(follows_compat("detectable_format:number_highlighted_sections", two(), "* **a**"));
        assert!(!follows("detectable_format:number_highlighted_sections", two(), "*a\nb* *c*"));
    }

    #[test]
    fn json_is_an_object_or_an_array() {
        for (text, holds) in [
            ("{\"a\": [1, 2]}", true),
            ("```json\n[1]\n```", true),
            ("1", false),
            ("\"a\"", false),
            ("{\"a\": 1", false),
            ("here: {}", false),
            ("{\"a\": NaN}", false),
        ] {
            assert_eq!(follows("detectable_format:json_format", json!({}), text), holds, "{text}");
        }
        assert!(follows_compat("detectable_format:json_format", json!({}), "1"));
        assert!(follows(
            "detectable_format:json_format",
            json!({}),
            &format!("{}{}", "[".repeat(9999), "]".repeat(9999))
        ));
    }

    #[test]
    fn sections_titles_and_answers() {
        let two = || json!({"section_spliter": "Part", "num_sections": 2});
        for (text, holds) in [("Part 1\na\nPart2 b", true), ("Part 1\nPart A", false), ("PART 1 PART 2", false)] {
            assert_eq!(follows("detectable_format:multiple_sections", two(), text), holds, "{text:?}");
        }
        for (text, holds) in [("x <<a>>", true), ("<<>>", false), ("<< >>", false), ("<<a\nb>>", false), ("<a>", false)]
        {
            assert_eq!(follows("detectable_format:title", json!({}), text), holds, "{text:?}");
        }
        for (text, holds) in [
            ("So: My answer is no. Bye", true),
            ("my answer is no.", false),
            ("My answer is yes. My answer is no.", false),
        ] {
            assert_eq!(follows("detectable_format:constrained_response", json!({}), text), holds, "{text}");
        }
    }
}
