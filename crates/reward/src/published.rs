//! Published format rewards as they are, gaps included, for parity with a peer.

use std::sync::LazyLock;

use regex::Regex;

/// Names of the option `compat` of `format`.
pub(crate) const NAMES: &[&str] = &["none", "open_r1", "open_r1_tags", "open_r1_steps", "trl", "reasoning_gym"];

/// A published function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// open-r1 `format_reward`: `$` matches at any line end, so lines of junk may follow.
    OpenR1,
    /// open-r1 `tag_count_reward`: a quarter for each of four tags that is there exactly once, in any order.
    TagCount,
    /// open-r1 `reasoning_steps_reward`: a third for each marker of a step, at most 1.
    Steps,
    /// TRL `think_format_reward`: one `<think>` at the start and a `</think>`.
    Trl,
    /// reasoning-gym `compute_format_reward`: 0.2 for one thought and one answer at the start.
    ReasoningGym,
}

impl Published {
    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "open_r1" => Published::OpenR1,
            "open_r1_tags" => Published::TagCount,
            "open_r1_steps" => Published::Steps,
            "trl" => Published::Trl,
            "reasoning_gym" => Published::ReasoningGym,
            _ => return None,
        })
    }

    /// Whose function it is, for the reason.
    pub(crate) fn whose(self) -> &'static str {
        match self {
            Published::OpenR1 => "open-r1's format_reward",
            Published::TagCount => "open-r1's tag_count_reward",
            Published::Steps => "open-r1's reasoning_steps_reward",
            Published::Trl => "TRL's think_format_reward",
            Published::ReasoningGym => "reasoning-gym's format reward",
        }
    }

    pub(crate) fn score(self, text: &str) -> f32 {
        match self {
            Published::OpenR1 => f32::from(u8::from(matches(&OPEN_R1, text))),
            Published::TagCount => {
                let tags = ["<think>\n", "\n</think>\n", "\n<answer>\n", "\n</answer>"];
                tags.iter().filter(|tag| text.matches(*tag).count() == 1).count() as f32 * 0.25
            }
            Published::Steps => {
                let steps = STEPS.as_ref().map_or(0, |steps| steps.find_iter(text).count());
                (steps as f32 / 3.0).min(1.0)
            }
            Published::Trl => {
                let one = text.starts_with("<think>") && text.matches("<think>").count() == 1;
                f32::from(u8::from(one && text.contains("</think>")))
            }
            Published::ReasoningGym => {
                if reasoning_gym(text) {
                    0.2
                } else {
                    0.0
                }
            }
        }
    }
}

type Pattern = LazyLock<Option<Regex>>;

static OPEN_R1: Pattern =
    LazyLock::new(|| Regex::new(r"(?sm)\A<think>\n.*?\n</think>\n<answer>\n.*?\n</answer>$").ok());
/// `^` is the start of the text alone, as the function sets no flag.
static STEPS: Pattern = LazyLock::new(|| Regex::new(r"Step \d+:|^\d+\.|\n-|\n\*|First,|Second,|Next,|Finally,").ok());
static GYM: Pattern = LazyLock::new(|| Regex::new(r"(?s)\A\s*<think>.*?</think>\s*<answer>.*?</answer>").ok());

fn matches(pattern: &Pattern, text: &str) -> bool {
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

fn reasoning_gym(text: &str) -> bool {
    if !matches(&GYM, text) {
        return false;
    }
    let alone = |tag: &str| {
        let blocks = blocks(text, tag);
        let [block] = blocks[..] else { return false };
        !block.contains("<think>") && !block.contains("<answer>")
    };
    alone("think") && alone("answer")
}

/// What stands between each opening tag and the next closing one, two at most.
fn blocks<'a>(text: &'a str, tag: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(&open)
        && let Some((block, after)) = after.split_once(&close)
        && found.len() < 2
    {
        found.push(block);
        rest = after;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_scores_of_the_specification() {
        let full = "<think>\na\n</think>\n<answer>\nb\n</answer>";
        let junk = format!("{full}\njunk");
        for (text, open_r1, trl) in [
            (full, 1.0, 1.0),
            ("<think>a</think><answer>b</answer>", 0.0, 1.0),
            ("<think>\na\n</think>\nb", 0.0, 1.0),
            ("<think><think>a</think>b", 0.0, 0.0),
            ("x<think>a</think>b", 0.0, 0.0),
            (&junk, 1.0, 1.0),
            ("<think>a", 0.0, 0.0),
        ] {
            assert_eq!((Published::OpenR1.score(text), Published::Trl.score(text)), (open_r1, trl), "{text:?}");
        }
    }

    #[test]
    fn tags_and_steps_are_counted() {
        let tags = |text| Published::TagCount.score(text);
        assert_eq!(tags("<think>\na\n</think>\n<answer>\nb\n</answer>"), 1.0);
        assert_eq!(tags("\n</answer>\n<answer>\n<think>\n"), 0.75, "the order does not matter to it");
        assert_eq!((tags("<think>\n<think>\n"), tags("")), (0.0, 0.0));
        let steps = |text| Published::Steps.score(text);
        assert_eq!((steps("First, a. Next, b."), steps("1. a\n2. b")), (2.0 / 3.0, 1.0 / 3.0));
        assert_eq!(steps("Step 1: a\n- b\n* c\nFinally, d"), 1.0);
    }

    #[test]
    fn reasoning_gym_gives_a_fifth_for_one_block_of_each_at_the_start() {
        let score = |text| Published::ReasoningGym.score(text);
        assert_eq!(score(" <think>a</think> <answer>b</answer> junk"), 0.2);
        assert_eq!(score("<think>a</think><answer>b</answer><answer>c</answer>"), 0.0);
        assert_eq!(score("<think><think>a</think><answer>b</answer>"), 0.0);
        assert_eq!(score("x<think>a</think><answer>b</answer>"), 0.0);
        assert_eq!(score("<think>a</think>x<answer>b</answer>"), 0.0);
    }
}
