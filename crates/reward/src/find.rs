//! The options that say where an answer may stand, shared by every reward that looks for one.

use lapidary_core::Verdict;

use crate::extract::{Extraction, Mark, extract};
use crate::options::{OptionInfo, OptionKind, Options};

/// `extract`.
pub(crate) const EXTRACT: OptionInfo = OptionInfo {
    name: "extract",
    kind: OptionKind::Choices(Mark::NAMES),
    default: r#"["hash", "boxed", "tags", "final", "last-number", "whole"]"#,
    meaning: "where the answer may stand; the first kind that occurs decides",
};

/// `several`.
pub(crate) const SEVERAL: OptionInfo = OptionInfo {
    name: "several",
    kind: OptionKind::Choice(&["fail", "last"]),
    default: "\"fail\"",
    meaning: "what different marked answers in one completion mean: no answer, or the last one",
};

/// `compat` of the task rewards.
pub(crate) const COMPAT: OptionInfo = OptionInfo {
    name: "compat",
    kind: OptionKind::Choice(&["none", "reasoning_gym"]),
    default: "\"none\"",
    meaning: "`reasoning_gym` scores the completion as it stands as that library does, with its partial credit",
};

/// Whether `compat = "reasoning_gym"`.
pub(crate) fn reasoning_gym(options: &Options) -> bool {
    options.text("compat") == Some("reasoning_gym")
}

/// Finds the one answer of a completion.
#[derive(Clone, Debug)]
pub(crate) struct Finder {
    order: Vec<Mark>,
    last: bool,
}

impl Finder {
    pub(crate) fn of(options: &Options) -> Self {
        let order = options.texts(EXTRACT.name).iter().filter_map(|name| Mark::named(name)).collect();
        Self { order, last: options.text(SEVERAL.name) == Some("last") }
    }

    /// The answer and where it was found, or the verdict 0 with its reason.
    pub(crate) fn find<'a>(&self, completion: &'a str, numeric: bool) -> Result<(&'a str, Mark), Verdict> {
        match extract(completion, &self.order, numeric, self.last) {
            Extraction::Found(answer, mark) => Ok((answer, mark)),
            Extraction::Missing => Err(Verdict::score(0.0, "no answer found")),
            Extraction::Several(answers, mark) => {
                let shown: Vec<String> = answers.iter().map(|answer| shorten(answer)).collect();
                Err(Verdict::score(0.0, format!("several answers {}: {}", mark.place(), shown.join(", "))))
            }
        }
    }
}

/// The verdict of an exact comparison, in words.
pub(crate) fn compared(right: bool, answer: &str, mark: Mark, reference: &str) -> Verdict {
    let verb = if right { "is" } else { "is not" };
    let reason = format!("{} ({}) {verb} the reference {}", shorten(answer), mark.place(), shorten(reference));
    Verdict::score(f32::from(u8::from(right)), reason)
}

/// A text for a message: in backticks, on one line, at most 60 characters.
pub(crate) fn shorten(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut shown: String = text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}
