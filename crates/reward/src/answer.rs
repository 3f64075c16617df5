//! `answer`: is the completion's answer the reference answer, exactly.
//!
//! Numbers are compared as exact rationals, everything else as text. One answer counts: a completion that lists several
//! does not pass. Known failings of peers that this avoids: string comparison of numbers (verl: `72.` ≠ `72`),
//! credit for a text that contains the answer (reasoning-gym), scoring what stands in the prompt (DeepScaleR).

use std::borrow::Cow;

use lapidary_core::{Result, Verdict};

use crate::extract::{Extraction, Mark, extract};
use crate::find::{EXTRACT, Finder, SEVERAL, compared, shorten};
use crate::number::parse_number;
use crate::options::{OptionInfo, OptionKind, Options};
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "answer",
    summary: "The completion's answer equals the reference answer exactly.",
    formula: "1 if answer(completion) = reference else 0",
    options: &[
        EXTRACT,
        SEVERAL,
        OptionInfo {
            name: "compat",
            kind: OptionKind::Choice(&["none", "verl"]),
            default: "\"none\"",
            meaning: "`verl` scores as verl's GSM8K function does, with its string comparison",
        },
        OptionInfo {
            name: "method",
            kind: OptionKind::Choice(&["strict", "flexible"]),
            default: "\"strict\"",
            meaning: "with `compat = \"verl\"`: only `#### N`, or the last number",
        },
    ],
    build: |options| Ok(Box::new(Answer::new(options)?)),
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verl {
    Strict,
    Flexible,
}

#[derive(Debug)]
struct Answer {
    finder: Finder,
    verl: Option<Verl>,
}

impl Answer {
    fn new(options: &Options) -> Result<Self> {
        let verl = (options.text("compat") == Some("verl")).then(|| match options.text("method") {
            Some("flexible") => Verl::Flexible,
            _ => Verl::Strict,
        });
        if verl.is_none() && options.text("method") == Some("flexible") {
            return Err(options
                .wrong("`method = \"flexible\"` only means something with `compat = \"verl\"`")
                .hint("set `extract = [\"last-number\"]` to look at the last number only"));
        }
        Ok(Self { finder: Finder::of(options), verl })
    }

    fn judge(&self, completion: &str, reference: &str) -> Verdict {
        if let Some(method) = self.verl {
            return verl(completion, reference, method);
        }
        let wanted = parse_number(reference);
        let (answer, mark) = match self.finder.find(completion, wanted.is_some()) {
            Ok(found) => found,
            Err(verdict) => return verdict,
        };
        let right = match (&wanted, parse_number(answer)) {
            (Some(wanted), Some(given)) => *wanted == given,
            (Some(_), None) => false,
            (None, _) => plain(answer) == plain(reference),
        };
        compared(right, answer, mark, reference)
    }
}

impl Reward for Answer {
    fn name(&self) -> &str {
        INFO.name
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        let judge = |attempt: &Attempt<'_>| match attempt.answer.map(reference_answer) {
            Some(reference) if !reference.is_empty() => self.judge(attempt.completion, reference),
            _ => Verdict::none("the row has no reference answer"),
        };
        attempts.iter().map(judge).collect()
    }
}

/// The answer proper of a reference: what follows the last `####`, else what the last `\boxed{}` holds, else all of it.
pub fn reference_answer(reference: &str) -> &str {
    match extract(reference, &[Mark::Hash, Mark::Boxed, Mark::Whole], false, true) {
        Extraction::Found(answer, _) => answer,
        _ => "",
    }
}

/// Text in the form in which it is compared: case, spacing, quotes, markup and a closing full stop do not matter.
pub(crate) fn plain(text: &str) -> String {
    let trimmed =
        text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '`' | '"' | '\'' | '$' | '“' | '”'));
    let trimmed = trimmed.trim_end_matches(['.', '!']).trim_end();
    let latex = trimmed.contains('\\');
    let text = if latex {
        let bare = trimmed.replace("\\left", "").replace("\\right", "");
        Cow::Owned(bare.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac"))
    } else {
        Cow::Borrowed(trimmed)
    };
    let joint = if latex { "" } else { " " };
    text.split_whitespace().collect::<Vec<_>>().join(joint).to_lowercase()
}

/// Text in the form in which two formulas are written alike: spacing around words, dollar signs, `\left`, `\right` and
/// the size of a fraction do not matter; case does.
pub(crate) fn written(text: &str) -> String {
    let mut text = text.trim_matches(|c: char| c.is_whitespace() || c == '$').trim_end_matches('.').to_string();
    for (from, to) in [("\\left", ""), ("\\right", ""), ("\\dfrac", "\\frac"), ("\\tfrac", "\\frac"), ("$", "")] {
        text = text.replace(from, to);
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// verl's GSM8K score of a completion, strict or flexible.
pub(crate) fn verl_gsm8k(completion: &str, reference: &str, flexible: bool) -> Verdict {
    verl(completion, reference, if flexible { Verl::Flexible } else { Verl::Strict })
}

/// verl's GSM8K score: the last 300 characters; strict takes the last `#### N` without commas, flexible the last run of
/// digits, points and commas that is not a single point; the result is compared as a string.
/// Source: verl, `verl/utils/reward_score/gsm8k.py`; checked against 789 cases of its own output.
fn verl(completion: &str, reference: &str, method: Verl) -> Verdict {
    const CLIPPED: usize = 300;
    let from = completion.char_indices().rev().nth(CLIPPED - 1).map_or(0, |(at, _)| at);
    let tail = &completion[from..];
    let numeral = |text: &str| text.bytes().take_while(|b| b.is_ascii_digit() || matches!(b, b'.' | b',')).count();
    let answer: Option<String> = match method {
        Verl::Strict => tail.rmatch_indices("#### ").find_map(|(at, mark)| {
            let rest = &tail[at + mark.len()..];
            let sign = usize::from(rest.starts_with('-'));
            let length = numeral(&rest[sign..]);
            (length > 0).then(|| rest[..sign + length].replace(',', ""))
        }),
        Verl::Flexible => {
            let mut runs = Vec::new();
            let mut at = 0;
            while at < tail.len() {
                let sign = usize::from(tail[at..].starts_with('-'));
                let length = tail.get(at + sign..).map_or(0, numeral);
                if length > 0 {
                    runs.push(&tail[at..at + sign + length]);
                    at += sign + length;
                } else {
                    at += tail[at..].chars().next().map_or(1, char::len_utf8);
                }
            }
            runs.into_iter().rev().find(|run| *run != ".").map(String::from)
        }
    };
    match answer {
        None => Verdict::score(0.0, "no answer found (verl)"),
        Some(answer) if answer == reference => Verdict::score(1.0, format!("{} (verl)", shorten(&answer))),
        Some(answer) => Verdict::score(0.0, format!("{} is not {} (verl)", shorten(&answer), shorten(reference))),
    }
}
