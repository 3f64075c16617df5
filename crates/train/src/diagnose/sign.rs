//! What a rule may ask of a history: few questions, each answered with its evidence, or with "unknown" where the numbers
//! are not there.

use serde::Serialize;

use super::history::{History, Series};
use super::words::{number, plain, unit_of, with_unit};

/// A question. `end` and `begin` are medians of the last and first tenth of the points (3 to 20 of them).
#[derive(Clone, Copy, Debug)]
pub enum Sign {
    /// The end lies below.
    EndBelow(&'static str, f64),
    /// The end lies above.
    EndAbove(&'static str, f64),
    /// The end is at most so many times the begin (which is positive).
    FellTo(&'static str, f64),
    /// The end is at least so many times the begin (which is positive).
    RoseBy(&'static str, f64),
    /// The end lies above the begin by that share of the largest value, and by three standard errors.
    Climbs(&'static str, f64),
    /// The end lies below the begin by that share of the largest value, and by three standard errors.
    Sinks(&'static str, f64),
    /// Neither climbs nor sinks by that share of the largest value.
    Steady(&'static str, f64),
    /// The end lies below the best window by that share of the largest value, and below the middle between begin and best.
    Lost(&'static str, f64),
    /// At least that share of the points (and at least one) lies above.
    Beyond(&'static str, f64, f64),
    /// So many points lie above that multiple of the median of the twenty before them.
    Spikes(&'static str, f64, usize),
    /// All points of the last window are 0.
    Zero(&'static str),
    /// One of the rewards climbs by that share of its largest value, and another sinks by half of it.
    RewardsPart(f64),
    /// A value that is not finite.
    NotFinite,
    /// The run stopped by itself.
    Failed,
    /// All hold.
    All(&'static [Sign]),
    /// One holds.
    Any(&'static [Sign]),
    /// It does not hold, or is unknown.
    Unless(&'static Sign),
}

/// What is seen of one metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// Its name.
    pub metric: String,
    /// Its name in the file, where that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_as: Option<String>,
    /// Its unit, or empty.
    pub unit: String,
    /// Median of the first window.
    pub begin: Option<f64>,
    /// Median of the last window.
    pub end: Option<f64>,
    /// First and last step of the curve.
    pub steps: [u64; 2],
    /// From which step on it holds.
    pub since: Option<u64>,
    /// The sentence that says it with numbers.
    pub seen: String,
    /// The values, at most 40 of them evenly over the steps.
    pub curve: Vec<f64>,
}

/// Values of a curve that is shown.
const CURVE_BINS: usize = 40;
/// How many points before one are what a spike is measured against.
const SPIKE_MEMORY: usize = 20;
/// Standard errors of a change that is none by chance.
const STANDARD_ERRORS: f64 = 3.0;

/// The answer to a sign.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// The metric is not there, or too short.
    Unknown,
    No,
    Yes(Vec<Evidence>),
}

impl Answer {
    fn when(holds: bool, evidence: impl FnOnce() -> Evidence) -> Self {
        if holds { Answer::Yes(vec![evidence()]) } else { Answer::No }
    }

    pub(super) fn holds(&self) -> bool {
        matches!(self, Answer::Yes(_))
    }
}

impl Sign {
    /// Asks.
    pub(super) fn ask(&self, history: &History) -> Answer {
        match *self {
            Sign::All(signs) => all(signs, history),
            Sign::Any(signs) => any(signs, history),
            Sign::Unless(sign) if sign.ask(history).holds() => Answer::No,
            Sign::Unless(_) => Answer::Yes(Vec::new()),
            Sign::NotFinite => not_finite(history),
            Sign::Failed => failed(history),
            Sign::RewardsPart(share) => reward_trade(history, share),
            _ => self.metric().and_then(|name| history.get(name)).map_or(Answer::Unknown, |series| self.of(series)),
        }
    }

    /// The metrics that it looks at.
    pub(super) fn metrics(&self) -> Vec<&'static str> {
        match self {
            Sign::All(signs) | Sign::Any(signs) => signs.iter().flat_map(Sign::metrics).collect(),
            Sign::Unless(_) => Vec::new(),
            Sign::RewardsPart(_) => vec!["rewards/<name>/mean"],
            sign => sign.metric().into_iter().collect(),
        }
    }

    fn metric(&self) -> Option<&'static str> {
        match *self {
            Sign::EndBelow(name, _)
            | Sign::EndAbove(name, _)
            | Sign::FellTo(name, _)
            | Sign::RoseBy(name, _)
            | Sign::Climbs(name, _)
            | Sign::Sinks(name, _)
            | Sign::Steady(name, _)
            | Sign::Lost(name, _)
            | Sign::Beyond(name, ..)
            | Sign::Spikes(name, ..)
            | Sign::Zero(name) => Some(name),
            _ => None,
        }
    }

    fn of(&self, series: &Series) -> Answer {
        if let Sign::Beyond(_, limit, share) = *self {
            return beyond(series, limit, share);
        }
        let (Some(begin), Some(end), Some(window)) = (series.begin(), series.end(), series.window()) else {
            return Answer::Unknown;
        };
        let least = |share: f64| (share * series.scale()).max(STANDARD_ERRORS * series.noise());
        let unit = unit_of(&series.name);
        let say = |value| with_unit(value, &unit);
        let from_to = || format!("from {} to {}", plain(begin, &unit), say(end));
        let since = |holds: &dyn Fn(f64) -> bool| since(series, holds);
        match *self {
            Sign::EndBelow(_, limit) => Answer::when(end < limit, || {
                let since = since(&|value| value < limit);
                evidence(
                    series,
                    since,
                    format!("{}, below {}{}", say(end), plain(limit, &unit), from_step(series, since)),
                )
            }),
            Sign::EndAbove(_, limit) => Answer::when(end > limit, || {
                let since = since(&|value| value > limit);
                evidence(
                    series,
                    since,
                    format!("{}, above {}{}", say(end), plain(limit, &unit), from_step(series, since)),
                )
            }),
            Sign::FellTo(_, factor) => Answer::when(begin > 0.0 && end <= factor * begin, || {
                evidence(series, since(&|value| value <= factor * begin), format!("fell {}", from_to()))
            }),
            Sign::RoseBy(_, factor) => Answer::when(begin > 0.0 && end >= factor * begin, || {
                evidence(series, since(&|value| value >= factor * begin), format!("rose {}", from_to()))
            }),
            Sign::Climbs(_, share) => Answer::when(end - begin >= least(share) && end > begin, || {
                evidence(series, None, format!("rose {}", from_to()))
            }),
            Sign::Sinks(_, share) => Answer::when(begin - end >= least(share) && begin > end, || {
                let middle = 0.5 * (begin + end);
                evidence(series, since(&|value| value < middle), format!("fell {}", from_to()))
            }),
            Sign::Steady(_, share) => Answer::when((end - begin).abs() <= least(share), || {
                evidence(series, None, format!("did not move: {}", from_to()))
            }),
            Sign::Lost(_, share) => lost(series, share, (begin, end)),
            Sign::Spikes(_, factor, count) => spikes(series, factor, count),
            Sign::Zero(_) => {
                let last = &series.points[series.points.len() - window..];
                Answer::when(last.iter().all(|point| point.1 == 0.0), || {
                    let since = since(&|value| value == 0.0);
                    evidence(series, since, format!("is 0{}", from_step(series, since)))
                })
            }
            _ => Answer::Unknown,
        }
    }
}

fn all(signs: &[Sign], history: &History) -> Answer {
    let answers: Vec<Answer> = signs.iter().map(|sign| sign.ask(history)).collect();
    if answers.contains(&Answer::No) {
        return Answer::No;
    }
    let mut seen = Vec::new();
    for answer in answers {
        match answer {
            Answer::Yes(evidence) => merge(&mut seen, evidence),
            _ => return Answer::Unknown,
        }
    }
    Answer::Yes(seen)
}

fn any(signs: &[Sign], history: &History) -> Answer {
    let (mut seen, mut known, mut held) = (Vec::new(), false, false);
    for sign in signs {
        match sign.ask(history) {
            Answer::Unknown => {}
            Answer::No => known = true,
            Answer::Yes(evidence) => {
                held = true;
                merge(&mut seen, evidence);
            }
        }
    }
    match (held, known) {
        (true, _) => Answer::Yes(seen),
        (false, true) => Answer::No,
        (false, false) => Answer::Unknown,
    }
}

/// One piece of evidence per metric: the first that speaks of it.
fn merge(seen: &mut Vec<Evidence>, more: Vec<Evidence>) {
    for evidence in more {
        if !seen.iter().any(|known| known.metric == evidence.metric) {
            seen.push(evidence);
        }
    }
}

fn beyond(series: &Series, limit: f64, share: f64) -> Answer {
    let above: Vec<&(u64, f64)> = series.points.iter().filter(|point| point.1 > limit).collect();
    let enough = !above.is_empty() && above.len() as f64 >= share * series.points.len() as f64;
    Answer::when(enough, || {
        let highest = above.iter().fold(above[0], |best, point| if point.1 > best.1 { point } else { best });
        let unit = unit_of(&series.name);
        let at = format!("{} at step {}", with_unit(highest.1, &unit), highest.0);
        let how_many = format!("above {} in {} of {} steps", plain(limit, &unit), above.len(), series.points.len());
        let mut out = evidence(series, Some(above[0].0), format!("up to {at}, {how_many}"));
        out.curve = series.curve(CURVE_BINS, true);
        out
    })
}

fn spikes(series: &Series, factor: f64, count: usize) -> Answer {
    let mut found: Vec<(u64, f64, f64)> = Vec::new();
    for at in SPIKE_MEMORY.min(series.points.len() / 2)..series.points.len() {
        let before = series.points[at.saturating_sub(SPIKE_MEMORY)..at].iter().map(|point| point.1);
        let (usual, (step, value)) = (super::history::median(before), series.points[at]);
        if usual > 0.0 && value > factor * usual {
            found.push((step, value, value / usual));
        }
    }
    Answer::when(found.len() >= count && !found.is_empty(), || {
        let worst = found.iter().fold(found[0], |best, spike| if spike.2 > best.2 { *spike } else { best });
        let times = format!("{} times the 20 steps before", number(worst.2));
        let also = if found.len() > 1 { format!("; {} such steps", found.len()) } else { String::new() };
        let seen = format!("{} at step {}, {times}{also}", number(worst.1), worst.0);
        let mut out = evidence(series, Some(found[0].0), seen);
        out.curve = series.curve(CURVE_BINS, true);
        out
    })
}

fn lost(series: &Series, share: f64, (begin, end): (f64, f64)) -> Answer {
    let smoothed = series.smoothed();
    let Some(&first) = smoothed.first() else { return Answer::Unknown };
    let best = smoothed.iter().fold(first, |best, point| if point.1 > best.1 { *point } else { best });
    let least = (share * series.scale()).max(2.0 * STANDARD_ERRORS * series.noise());
    let holds = best.1 - end >= least && end < 0.5 * (begin + best.1);
    Answer::when(holds, || {
        let middle = 0.5 * (best.1 + end);
        let since = since(series, &|value| value < middle);
        let seen = format!("fell from {} (step {}) to {}", number(best.1), best.0, number(end));
        evidence(series, since.filter(|step| *step >= best.0).or(Some(best.0)), seen)
    })
}

fn not_finite(history: &History) -> Answer {
    let evidence = |it: &super::history::NotFinite| {
        let times = if it.count > 1 { format!(", {} values in all", it.count) } else { String::new() };
        let mut out = match history.get(&it.metric) {
            Some(series) => evidence(series, Some(it.step), String::new()),
            None => bare(&it.metric, it.step),
        };
        out.seen = format!("NaN or infinite from step {} on{times}", it.step);
        out
    };
    match history.not_finite.is_empty() {
        true => Answer::No,
        false => Answer::Yes(history.not_finite.iter().map(evidence).collect()),
    }
}

fn failed(history: &History) -> Answer {
    match &history.failed {
        None => Answer::No,
        Some((step, why)) => {
            Answer::Yes(vec![Evidence { seen: format!("stopped after step {step}: {why}"), ..bare("the run", *step) }])
        }
    }
}

/// `rewards/a/mean` climbs while `rewards/b/mean` sinks.
fn reward_trade(history: &History, share: f64) -> Answer {
    let parts: Vec<&Series> =
        history.series.iter().filter(|it| it.name.starts_with("rewards/") && it.name.ends_with("/mean")).collect();
    if parts.len() < 2 || parts.iter().any(|part| part.window().is_none()) {
        return Answer::Unknown;
    }
    let moved = |part: &Series, sign: f64, share: f64| {
        let change = sign * (part.end().unwrap_or(0.0) - part.begin().unwrap_or(0.0));
        change >= (share * part.scale()).max(STANDARD_ERRORS * part.noise()) && change > 0.0
    };
    let up: Vec<&Series> = parts.iter().copied().filter(|part| moved(part, 1.0, share)).collect();
    let down: Vec<&Series> = parts.iter().copied().filter(|part| moved(part, -1.0, 0.5 * share)).collect();
    if up.is_empty() || down.is_empty() {
        return Answer::No;
    }
    let say = |part: &Series, word: &str| {
        let (begin, end) = (part.begin().unwrap_or(0.0), part.end().unwrap_or(0.0));
        let middle = 0.5 * (begin + end);
        let since = if end < begin { since(part, &|value| value < middle) } else { None };
        evidence(part, since, format!("{word} from {} to {}", number(begin), number(end)))
    };
    let down = down.into_iter().map(|part| say(part, "fell"));
    Answer::Yes(up.into_iter().map(|part| say(part, "rose")).chain(down).collect())
}

/// The first step after which every smoothed value holds, to the end; the series' first step where it always did.
fn since(series: &Series, holds: &dyn Fn(f64) -> bool) -> Option<u64> {
    let smoothed = series.smoothed();
    let held = smoothed.iter().rev().take_while(|point| holds(point.1)).count();
    if held == smoothed.len() {
        return series.points.first().map(|point| point.0);
    }
    smoothed.get(smoothed.len() - held).map(|point| point.0)
}

fn from_step(series: &Series, since: Option<u64>) -> String {
    match since {
        None => String::new(),
        Some(step) if series.points.first().is_some_and(|first| first.0 == step) => " from the start".into(),
        Some(step) => format!(" since step {step}"),
    }
}

pub(super) fn evidence(series: &Series, since: Option<u64>, seen: String) -> Evidence {
    let ends = [series.points.first(), series.points.last()].map(|point| point.map_or(0, |point| point.0));
    Evidence {
        metric: series.name.clone(),
        written_as: (series.written_as != series.name).then(|| series.written_as.clone()),
        unit: unit_of(&series.name),
        begin: series.begin(),
        end: series.end(),
        steps: ends,
        since,
        seen,
        curve: series.curve(CURVE_BINS, false),
    }
}

fn bare(metric: &str, step: u64) -> Evidence {
    Evidence {
        metric: metric.into(),
        written_as: None,
        unit: unit_of(metric),
        begin: None,
        end: None,
        steps: [step, step],
        since: Some(step),
        seen: String::new(),
        curve: Vec::new(),
    }
}
