//! `math`: is the completion's answer the reference answer, as mathematics.
//!
//! [`find`] finds what is marked as the answer, [`lex`], [`parse`] and [`atom`] read it by one grammar for LaTeX and plain
//! text, [`compare`] compares: exact rationals and polynomials ([`exact`], [`algebra`]), then digits with certain error
//! bounds ([`numeric`], [`ball`]), and for structures part by part ([`sets`]). Everything is bounded by a [`budget`] of
//! steps. [`compat`] has the string comparisons of peers.

mod algebra;
mod atom;
mod ball;
mod budget;
mod compare;
mod compat;
mod exact;
mod find;
mod lex;
mod node;
mod notation;
mod numeral;
mod numeric;
mod parse;
mod read;
mod sets;
mod shape;
mod units;

use lapidary_core::{Result, Verdict};

use budget::{Budget, STEPS, Stop};
use compare::{Comparison, How, Percent, Rules};
use find::answers;
use node::Node;

use crate::answer::{verl_gsm8k, written};
use crate::extract::Mark;
use crate::find::shorten;
use crate::options::{OptionInfo, OptionKind, Options};
use crate::registry::RewardInfo;
use crate::{Attempt, Reward};

/// The row of the registry.
pub(crate) const INFO: RewardInfo = RewardInfo {
    name: "math",
    summary: "The completion's answer equals the reference answer as mathematics: fractions, roots, sets, intervals, equations.",
    formula: "1 if answer(completion) ≡ reference else 0",
    options: OPTIONS,
    build: |options| Ok(Box::new(Math::new(options)?)),
};

const OPTIONS: &[OptionInfo] = &[
    OptionInfo {
        name: "extract",
        kind: OptionKind::Choices(Mark::NAMES),
        default: "null",
        meaning: "where the answer may stand; the first kind that occurs decides; unset: boxed, tags, hash, final, whole",
    },
    OptionInfo {
        name: "several",
        kind: OptionKind::Choice(&["fail", "last"]),
        default: "null",
        meaning: "several marked answers in one completion: all must be right (`fail`, the default), or the last one",
    },
    OptionInfo {
        name: "units",
        kind: OptionKind::Choice(&["drop", "keep"]),
        default: "\"drop\"",
        meaning: "`drop`: a unit may be left out, but known units must not contradict; `keep`: it must be the reference's",
    },
    OptionInfo {
        name: "percent",
        kind: OptionKind::Choice(&["either", "value", "sign"]),
        default: "\"either\"",
        meaning: "28% is 28 or 0.28 as the other side has it (`either`), 0.28 only (`value`), or 28 only (`sign`)",
    },
    OptionInfo {
        name: "rounding",
        kind: OptionKind::Choice(&["gold", "exact"]),
        default: "\"gold\"",
        meaning: "`gold`: what rounds to a decimal reference of three or more digits equals it; `exact`: nothing is rounded",
    },
    OptionInfo {
        name: "places",
        kind: OptionKind::Integer(0, 100),
        default: "null",
        meaning: "where either side is a decimal, both are rounded to that many digits after the point",
    },
    OptionInfo {
        name: "lists",
        kind: OptionKind::Choice(&["unordered", "ordered"]),
        default: "\"unordered\"",
        meaning: "whether the order of a list without brackets matters",
    },
    OptionInfo {
        name: "inequality-for-set",
        kind: OptionKind::Flag,
        default: "false",
        meaning: "whether an inequality may be given where the reference is a set or an interval; the reverse always may",
    },
    OptionInfo {
        name: "worked-out",
        kind: OptionKind::Flag,
        default: "true",
        meaning: "whether a number must be worked out: `12 + 7` is no answer where the reference is 19",
    },
    OptionInfo {
        name: "compat",
        kind: OptionKind::Choice(&[
            "none",
            "math_verify",
            "hendrycks",
            "verl_math",
            "verl_gsm8k",
            "verl_gsm8k_flexible",
        ]),
        default: "\"none\"",
        meaning: "`math_verify`: the places, the last answer, 6 decimals and unworked sums as Math-Verify has them; the others: \
                  the string comparison of that peer",
    },
];

/// The default order: only what is marked as the answer, or a completion that is nothing else.
const STRICT: &[Mark] = &[Mark::Boxed, Mark::Tags, Mark::Hash, Mark::Final, Mark::Whole];
/// The order of `compat = "math_verify"`.
const MATH_VERIFY: &[Mark] = &[Mark::Boxed, Mark::Final, Mark::LastMath, Mark::LastNumber, Mark::Whole];
/// A prompt at least this long that a completion repeats before its own words is cut off.
const LEAST_ECHO: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Peer {
    Hendrycks,
    VerlMath,
    VerlGsm8k { flexible: bool },
}

#[derive(Debug)]
struct Math {
    order: Vec<Mark>,
    last: bool,
    rules: Rules,
    /// Whether a sentence stands for the last number in it.
    loose: bool,
    peer: Option<Peer>,
}

impl Math {
    fn new(options: &Options) -> Result<Self> {
        let compat = options.text("compat").unwrap_or("none");
        let verify = compat == "math_verify";
        let given: Vec<Mark> = options.texts("extract").iter().filter_map(|name| Mark::named(name)).collect();
        let order = match (given.is_empty(), verify) {
            (false, _) => given,
            (true, true) => MATH_VERIFY.to_vec(),
            (true, false) => STRICT.to_vec(),
        };
        let places = options.integer("places").and_then(|places| u32::try_from(places).ok());
        let rules = Rules {
            keep_units: options.text("units") == Some("keep"),
            percent: match options.text("percent") {
                Some("value") => Percent::Value,
                Some("sign") => Percent::Sign,
                _ => Percent::Either,
            },
            rounding: options.text("rounding") != Some("exact") && !verify,
            places: if verify { Some(places.unwrap_or(6)) } else { places },
            ordered: options.text("lists") == Some("ordered"),
            inequality_for_set: options.flag("inequality-for-set"),
            worked_out: options.flag("worked-out") && !verify,
        };
        let last = options.text("several").map_or(verify, |several| several == "last");
        let peer = match compat {
            "hendrycks" => Some(Peer::Hendrycks),
            "verl_math" => Some(Peer::VerlMath),
            "verl_gsm8k" => Some(Peer::VerlGsm8k { flexible: false }),
            "verl_gsm8k_flexible" => Some(Peer::VerlGsm8k { flexible: true }),
            _ => None,
        };
        Ok(Self { order, last, rules, loose: verify, peer })
    }

    /// What a peer's string comparison says.
    fn peer(&self, peer: Peer, completion: &str, reference: &str) -> Verdict {
        let (equal, name) = match peer {
            Peer::VerlGsm8k { flexible } => return verl_gsm8k(completion, reference, flexible),
            Peer::VerlMath => (compat::verl_math(completion, reference), "verl"),
            Peer::Hendrycks => {
                let found = answers(completion, &[Mark::Boxed, Mark::Whole], false, true);
                let answer = found.and_then(|found| found.all.last().copied());
                (answer.is_some_and(|answer| compat::hendrycks(answer, reference)), "hendrycks")
            }
        };
        let verb = if equal { "is" } else { "is not" };
        Verdict::score(f32::from(u8::from(equal)), format!("it {verb} the reference {} ({name})", shorten(reference)))
    }

    fn judge(&self, completion: &str, gold: &Gold<'_>, budget: &Budget) -> Verdict {
        let reference = gold.text;
        if let Some(peer) = self.peer {
            return self.peer(peer, completion, reference);
        }
        let numeric = gold.read.as_ref().is_ok_and(|node| node.names().is_empty() && !matches!(node, Node::Text(_)));
        let Some(mut found) = answers(completion, &self.order, numeric, self.last) else {
            return Verdict::score(0.0, "no answer found");
        };
        if self.last {
            found.all = found.all.split_off(found.all.len() - 1);
        } else if found.more {
            return Verdict::score(0.0, format!("too many answers {}", found.mark.place()));
        }
        let Some((answer, others)) = found.all.split_last() else { return Verdict::score(0.0, "no answer found") };
        let place = found.mark.place();
        let decision = self.decide(answer, gold, budget);
        let verdict = decision.verdict(answer, place, reference);
        if verdict.value() != Some(1.0) || others.is_empty() {
            return verdict;
        }
        match others.iter().find(|other| !self.decide(other, gold, budget).equal()) {
            None => verdict,
            Some(other) => {
                Verdict::score(0.0, format!("several answers {place}: {}, {}", shorten(other), shorten(answer)))
            }
        }
    }

    /// What one answer is to the reference.
    fn decide(&self, answer: &str, gold: &Gold<'_>, budget: &Budget) -> Decision {
        if written(answer) == gold.written {
            return Decision::Right("written alike".into());
        }
        let gold = match &gold.read {
            Ok(gold) => gold,
            Err(why) => return Decision::Unreadable(why.clone()),
        };
        let chosen = matches!(gold, Node::Name(_) | Node::E).then(|| read::choice(answer)).flatten();
        if let Some(letter) = chosen {
            let right = gold.to_string().eq_ignore_ascii_case(&letter.to_string());
            let why = format!("is the choice {letter}");
            return if right { Decision::Right(why) } else { Decision::Wrong(why) };
        }
        let given = match read::answer(answer)
            .or_else(|why| if self.loose { read::last_number(answer).ok_or(why) } else { Err(why) })
        {
            Ok(given) => given,
            Err(why) => return Decision::Wrong(format!("cannot be read: {why}")),
        };
        let comparison = Comparison::new(&self.rules, budget);
        match comparison.same(gold, &given) {
            Ok(true) => Decision::Right(match comparison.how() {
                How::Exactly => format!("equal as {}", shorten(&given.to_string())),
                How::Numerically => "equal to 48 digits".into(),
                How::Rounded => "equal when rounded".into(),
            }),
            Ok(false) if comparison.unworked() => Decision::Wrong("is right, but not worked out".into()),
            Ok(false) => {
                let (given, gold) = (shorten(&given.to_string()), shorten(&gold.to_string()));
                Decision::Wrong(format!("is {given}, not {gold}"))
            }
            Err(_) if !read::sound(gold) => Decision::Unreadable("it has no value that can be computed".into()),
            Err(Stop::Spent) => Decision::Wrong("is too large to compare".into()),
            Err(Stop::Undefined) => Decision::Wrong("is not defined".into()),
            Err(Stop::Unknown) => Decision::Wrong("cannot be compared".into()),
        }
    }
}

/// A reference, read once for all completions of its prompt.
struct Gold<'a> {
    text: &'a str,
    written: String,
    read: parse::Parse<Node>,
}

impl<'a> Gold<'a> {
    fn of(text: &'a str) -> Self {
        Self { text, written: written(read::proper(text)), read: read::reference(text) }
    }
}

/// What an answer is to the reference, and why.
enum Decision {
    Right(String),
    Wrong(String),
    /// The reference says nothing.
    Unreadable(String),
}

impl Decision {
    fn equal(&self) -> bool {
        matches!(self, Decision::Right(_))
    }

    fn verdict(&self, answer: &str, place: &str, reference: &str) -> Verdict {
        let (answer, reference) = (shorten(answer), shorten(reference));
        match self {
            Decision::Right(why) => {
                Verdict::score(1.0, format!("{answer} ({place}) is the reference {reference}: {why}"))
            }
            Decision::Wrong(why) => {
                Verdict::score(0.0, format!("{answer} ({place}) is not the reference {reference}: it {why}"))
            }
            Decision::Unreadable(why) => Verdict::none(format!("the reference {reference} cannot be compared: {why}")),
        }
    }
}

/// The completion without the prompt that it may repeat first: what the question says is no answer.
fn own_words<'a>(attempt: &Attempt<'a>) -> &'a str {
    let prompt = attempt.prompt.trim();
    let completion = attempt.completion;
    if prompt.len() < LEAST_ECHO {
        return completion;
    }
    completion.trim_start().strip_prefix(prompt).unwrap_or(completion)
}

impl Reward for Math {
    fn name(&self) -> &str {
        INFO.name
    }

    fn score(&self, attempts: &[Attempt<'_>]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(attempts.len());
        let mut known: Option<Gold<'_>> = None;
        for attempt in attempts {
            let text = attempt.answer.map_or("", str::trim);
            if text.is_empty() {
                verdicts.push(Verdict::none("the row has no reference answer"));
                continue;
            }
            let gold = match known.take() {
                Some(gold) if gold.text == text => gold,
                _ => Gold::of(text),
            };
            verdicts.push(self.judge(own_words(attempt), known.insert(gold), &Budget::new(STEPS)));
        }
        verdicts
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
