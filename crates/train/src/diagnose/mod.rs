//! Why a run goes wrong: rules over its whole history, whoever wrote it.
//!
//! ```text
//! path ─▶ read ─▶ History (curves under our names) ─▶ rules ─▶ Diagnosis ─▶ text, JSON, a recipe that moves away from it
//! ```
//! A rule is a row of [`rules`]: signs with thresholds, their sources, the cause, the knob. [`Diagnosis::of`] asks them all.

mod history;
mod knobs;
mod names;
mod page;
mod read;
mod remedy;
pub(crate) mod rules;
mod sign;
#[cfg(test)]
mod tests;
mod words;

use serde::Serialize;

pub use history::{History, NotFinite, SampleSeen, Series, Writer};
pub use knobs::{Change, Knob, To, Turn};
pub use page::page;
pub use read::{read, writer_name};
pub use remedy::{Remedy, remedy};
pub use rules::{Applies, Rule, Severity, Sureness, rule, rules};
pub use sign::{Evidence, Sign};
pub use words::plain;

use sign::Answer;

/// What a run comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// What was learned is being lost.
    Collapsing,
    /// Learning is slowed down or bent.
    Unwell,
    /// No rule of weight holds.
    Healthy,
    /// No curve is long enough.
    TooEarly,
}

/// A rule that holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The rule's name.
    pub rule: &'static str,
    /// Its name among people.
    pub title: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// How sure.
    pub sureness: Sureness,
    /// From which step on.
    pub since: Option<u64>,
    /// The rule of an earlier finding that it follows from; that one is to be treated.
    pub follows: Option<&'static str>,
    /// The numbers that show it.
    pub evidence: Vec<Evidence>,
    /// The rule in words.
    pub words: &'static str,
    /// Where its thresholds come from.
    pub source: &'static str,
    /// What it usually comes from.
    pub cause: &'static str,
    /// What addresses it.
    pub advice: &'static str,
    /// The same as changes of the recipe.
    pub changes: Vec<Change>,
}

/// A rule that could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unasked {
    /// The rule's name.
    pub rule: &'static str,
    /// Metrics that it needs and the log lacks, or has too few points of.
    pub missing: Vec<&'static str>,
}

/// What the rules say of a history.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diagnosis {
    /// Where the numbers were read.
    pub path: String,
    /// Who wrote them.
    pub writer: Writer,
    /// The method of the stage, where it is known.
    pub method: Option<String>,
    /// First and last step looked at.
    pub steps: Option<[u64; 2]>,
    /// What it comes to.
    pub verdict: Verdict,
    /// The same in a sentence with numbers.
    pub headline: String,
    /// The rules that hold: those that others follow from first, those that follow last, notes after all;
    /// then the worst, the surest, the earliest.
    pub findings: Vec<Finding>,
    /// Rules that were asked and do not hold.
    pub passed: Vec<&'static str>,
    /// Rules that could not be asked.
    pub unasked: Vec<Unasked>,
    /// The curves that say most, for a look at the whole.
    pub vitals: Vec<Evidence>,
    /// The commonest answer of the last step with saved rollouts.
    pub sample: Option<SampleSeen>,
}

/// The curves that are shown of every run.
const VITALS: [&str; 5] = ["reward", "eval/accuracy", "entropy", "kl", "completions/mean_length"];

impl Diagnosis {
    /// Asks every rule that is for such a run.
    pub fn of(history: &History) -> Self {
        let (mut findings, mut passed, mut unasked) = (Vec::new(), Vec::new(), Vec::new());
        for rule in rules().filter(|rule| rule.is_for(history)) {
            match rule.signs.ask(history) {
                Answer::Yes(evidence) => findings.push(finding(rule, evidence, history)),
                Answer::No => passed.push(rule.name),
                Answer::Unknown => unasked.push(Unasked { rule: rule.name, missing: missing(rule, history) }),
            }
        }
        trace(&mut findings);
        let onset = |finding: &Finding| finding.since.unwrap_or(u64::MAX);
        let leaders: Vec<&'static str> = findings.iter().filter_map(|it| it.follows).collect();
        let weight = |it: &Finding| {
            let place = (it.severity > Severity::Note, it.follows.is_none(), leaders.contains(&it.rule));
            (place, it.severity, it.sureness)
        };
        findings.sort_by(|a, b| weight(b).cmp(&weight(a)).then(onset(a).cmp(&onset(b))));
        let verdict = verdict(history, &findings);
        Self {
            path: history.path.display().to_string(),
            writer: history.writer,
            method: history.rl().map(|rl| rl.method.clone()),
            steps: history.steps().map(|(first, last)| [first, last]),
            headline: headline(history, verdict, &findings),
            verdict,
            findings,
            passed,
            unasked,
            vitals: VITALS.iter().filter_map(|name| vital(history, name)).collect(),
            sample: history.sample.clone(),
        }
    }

    /// The weighty findings that began in the course of the run, in that order.
    pub fn story(&self) -> Vec<&Finding> {
        story(&self.findings)
    }
}

impl Finding {
    /// The step at which it began; `None` where it was there from the start or has no beginning.
    pub fn began(&self) -> Option<u64> {
        let first = self.evidence.iter().map(|it| it.steps[0]).min()?;
        self.since.filter(|since| *since > first)
    }
}

fn story(findings: &[Finding]) -> Vec<&Finding> {
    let mut story: Vec<&Finding> =
        findings.iter().filter(|it| it.severity > Severity::Note && it.began().is_some()).collect();
    story.sort_by_key(|finding| finding.since);
    story
}

/// Says of every finding which other one it comes from: of those that its rule names and that began no later, the earliest,
/// and what that one comes from in turn. A tenth of the steps is allowed for, which is what onsets are read from.
fn trace(findings: &mut [Finding]) {
    let began: Vec<(&'static str, u64)> = findings.iter().filter_map(|it| Some((it.rule, it.since?))).collect();
    let leader = |finding: &Finding| {
        let leaders = rule(finding.rule)?.follows;
        let span = finding.evidence.iter().map(|it| it.steps[1] - it.steps[0]).max().unwrap_or(0);
        let latest = finding.since.map_or(u64::MAX, |since| since + span / 10);
        let earlier = began.iter().filter(|(name, since)| leaders.contains(name) && *since <= latest);
        earlier.min_by_key(|(_, since)| *since).map(|(name, _)| *name)
    };
    let direct: Vec<Option<&'static str>> = findings.iter().map(leader).collect();
    for at in 0..findings.len() {
        let mut follows = direct[at];
        for _ in 0..findings.len() {
            let above = follows.and_then(|name| direct[findings.iter().position(|it| it.rule == name)?]);
            follows = above.filter(|above| *above != findings[at].rule).or(follows);
        }
        findings[at].follows = follows;
    }
}

fn finding(rule: &'static Rule, mut evidence: Vec<Evidence>, history: &History) -> Finding {
    // The first piece of evidence is that of the rule's own metric.
    let since = evidence.iter().find_map(|it| it.since);
    let sure = rule.sure.map(|sign| sign.ask(history));
    let is_sure = sure.as_ref().is_some_and(Answer::holds);
    if let Some(Answer::Yes(more)) = sure {
        let fresh = |it: &Evidence| !evidence.iter().any(|known| known.metric == it.metric);
        let fresh: Vec<Evidence> = more.into_iter().filter(fresh).collect();
        evidence.extend(fresh);
    }
    Finding {
        rule: rule.name,
        title: rule.title,
        severity: rule.severity,
        sureness: if is_sure { Sureness::Sure } else { rule.sureness },
        since,
        follows: None,
        evidence,
        words: rule.words,
        source: rule.source,
        cause: rule.cause,
        advice: rule.advice,
        changes: remedy::changes(rule.turns, history),
    }
}

/// Metrics of a rule that the history lacks, or has too few points of.
fn missing(rule: &Rule, history: &History) -> Vec<&'static str> {
    let mut missing: Vec<&'static str> = rule
        .signs
        .metrics()
        .into_iter()
        .filter(|name| history.get(name).is_none_or(|it| it.window().is_none()))
        .collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

fn verdict(history: &History, findings: &[Finding]) -> Verdict {
    let any =
        |severity: Severity| findings.iter().any(|it| it.severity == severity && it.sureness > Sureness::Possible);
    match () {
        () if any(Severity::Collapse) => Verdict::Collapsing,
        () if findings.iter().any(|it| it.severity > Severity::Note) => Verdict::Unwell,
        () if !history.tells() => Verdict::TooEarly,
        () => Verdict::Healthy,
    }
}

fn vital(history: &History, name: &str) -> Option<Evidence> {
    let series = history.get(name)?;
    let (begin, end) = (series.begin()?, series.end()?);
    let unit = words::unit_of(name);
    Some(sign::evidence(series, None, format!("{} → {}", words::plain(begin, &unit), words::with_unit(end, &unit))))
}

fn headline(history: &History, verdict: Verdict, findings: &[Finding]) -> String {
    let moved = |name: &str, what: &str| {
        let series = history.get(name)?;
        let unit = words::unit_of(name);
        Some(format!("{what} {} → {}", words::plain(series.begin()?, &unit), words::plain(series.end()?, &unit)))
    };
    let accuracy = moved("eval/accuracy", "held-out accuracy");
    let numbers: Vec<String> = moved("reward", "reward").into_iter().chain(accuracy).collect();
    let numbers = if numbers.is_empty() { String::new() } else { format!(" ({})", numbers.join(", ")) };
    let since = |finding: &Finding| match finding.began() {
        Some(step) => format!("{} since step {step}", lower(finding.title)),
        None => lower(finding.title),
    };
    let worst = findings.iter().max_by_key(|it| (it.severity, it.sureness, it.follows.is_none()));
    let root = worst.and_then(|worst| findings.iter().find(|it| Some(it.rule) == worst.follows));
    let worst = worst.map_or(String::new(), since);
    let root = root.map_or(String::new(), |root| format!(" It comes from this: {}.", since(root)));
    match verdict {
        Verdict::Collapsing => format!("The run is collapsing: {worst}{numbers}.{root}"),
        Verdict::Unwell => format!("The run is not well: {worst}{numbers}.{root}"),
        Verdict::Healthy => format!("The run looks healthy{numbers}."),
        Verdict::TooEarly => {
            "Too few steps to tell: rules compare the begin with the end over at least 8 of them.".into()
        }
    }
}

/// A title inside a sentence.
fn lower(title: &str) -> String {
    let mut letters = title.chars();
    letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect())
}
