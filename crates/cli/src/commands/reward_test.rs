//! `lapidary reward test`: does a reward pass what is right and fail what is wrong.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use lapidary_core::{Item, Kind, Problem, Result, Verdict};
use lapidary_reward::{Attempt, Example, Mix};
use lapidary_task::{Split, Task, TaskSpec};
use serde_json::{Value, json};

use super::replay::labelled;
use super::reward_cases::{CASE_KEYS, cases_of, from_items};
use super::{options, specs};
use crate::input;
use crate::output::{Output, theme};
use crate::stop::{Outcome, Stop};

/// Items of a task without an end.
const ITEMS: u64 = 100;
/// Attempts judged at once.
const AT_ONCE: usize = 256;
/// How far a score may be from the expected one.
const TOLERANCE: f64 = 1e-6;
/// Rewards that look at the form of a completion alone: another answer in the right form is as good to them.
const OF_FORM: &[&str] = &["format", "length", "repetition", "language", "regex", "json-schema", "tool-call", "ifeval"];

/// Check a reward: what is right must pass, what is wrong must fail
///
/// DATA is a file of cases, {"prompt", "answer", "good": […], "bad": […]} or {"prompt", "completion", "answer", "score": x} a
/// line; or any data set or task: then each row's reference must pass, and nothing, the reference with one character changed,
/// and another row's reference must fail. Exit code 0 where the reward agrees with all, 1 where it does not (each disagreement
/// is shown), 3 where the data cannot be read.
#[derive(Args, Debug)]
#[command(before_help = "Example: lapidary reward test cases.jsonl --reward math")]
pub struct RewardTest {
    /// A file of cases, a data file or folder, or a name of `lapidary tasks`
    data: PathBuf,
    /// Rewards as a recipe writes them, in TOML or JSON; a name is enough. By default what `answer` means for the data
    #[arg(short, long, value_name = "REWARD")]
    reward: Vec<String>,
    /// An option of the reward, where it is one name: compat=verl
    #[arg(short, long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// An option of the task or data set: completion=code
    #[arg(long = "task-set", value_name = "KEY=VALUE")]
    task_set: Vec<String>,
    /// Score from which an answer passes
    #[arg(long, default_value_t = 0.99, value_name = "X", allow_negative_numbers = true)]
    pass_from: f64,
    /// At most so many rows
    #[arg(short, long, value_name = "N")]
    limit: Option<u64>,
    /// Disagreements shown; --json prints all
    #[arg(short = 'n', long, default_value_t = 10, value_name = "N")]
    show: usize,
}

/// What a reward must say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Expected {
    Pass,
    Fail,
    Score(f64),
}

impl Expected {
    fn agrees(self, verdict: &Verdict, pass_from: f64) -> bool {
        let Some(score) = verdict.value().map(f64::from) else { return false };
        match self {
            Expected::Pass => score >= pass_from - TOLERANCE,
            Expected::Fail => score < pass_from - TOLERANCE,
            Expected::Score(wanted) => (score - wanted).abs() <= TOLERANCE,
        }
    }

    fn json(self) -> Value {
        match self {
            Expected::Pass => json!("pass"),
            Expected::Fail => json!("fail"),
            Expected::Score(score) => json!(score),
        }
    }
}

/// A completion and what the reward must say of it.
pub(super) struct Case {
    pub(super) row: String,
    pub(super) kind: &'static str,
    pub(super) expected: Expected,
    pub(super) example: Example,
}

impl RewardTest {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Outcome {
        let spec = specs::rewards(&self.reward, &self.set)?;
        let (cases, answer_means, task) = self.cases(spec.as_ref(), output)?;
        let spec = spec.unwrap_or_else(|| json!("answer"));
        let mix = Mix::build(&spec, answer_means)?;
        let mut verdicts = Vec::with_capacity(cases.len());
        let progress = output.progress("judging");
        for batch in cases.chunks(AT_ONCE) {
            let attempts: Vec<Attempt<'_>> = batch.iter().map(|case| case.example.attempt()).collect();
            verdicts.extend(mix.score(&attempts).total);
            progress.at(verdicts.len(), cases.len());
        }
        progress.finish();
        let failed: Vec<(&Case, &Verdict)> = cases
            .iter()
            .zip(&verdicts)
            .filter(|(case, verdict)| !case.expected.agrees(verdict, self.pass_from))
            .collect();
        if output.json {
            output.json(&json!({
                "data": self.data.to_string_lossy(),
                "reward": spec,
                "answer_means": answer_means,
                "cases": cases.len(),
                "agree": cases.len() - failed.len(),
                "kinds": counts(&cases, &failed),
                "disagreements": failed.iter().map(|(case, verdict)| disagreement(case, verdict)).collect::<Vec<_>>(),
            }))?;
        } else {
            if task && of_form(&spec) {
                output.note("the reward looks at form alone: other rows' answers are as good to it and are not tried");
            }
            self.show(&cases, &failed, output)?;
        }
        output.flush()?;
        if failed.is_empty() { Ok(()) } else { Err(Stop::Said(Kind::Failed)) }
    }

    /// The cases, what `answer` means, and whether they come from plain data.
    fn cases(&self, spec: Option<&Value>, output: &Output) -> Result<(Vec<Case>, &'static str, bool)> {
        if let Some(cases) = self.written(output)? {
            return Ok((cases, "answer", false));
        }
        let mut table = options(&self.task_set)?;
        let name = self.data.to_string_lossy().into_owned();
        let named = lapidary_task::task(&name).is_some() && !self.data.exists();
        table.insert(if named { "name" } else { "path" }.into(), json!(name));
        let task = lapidary_task::build(&TaskSpec::Table(table), 0)?;
        let items = self.items(&*task)?;
        let cases = from_items(&items, spec.is_some_and(of_form));
        if cases.is_empty() {
            let message = format!("no row of `{name}` has a reference answer or a completion");
            return Err(Problem::new(Kind::Data, "D055", message)
                .hint("write cases with `good` and `bad`, or name the column: `--task-set completion=code`"));
        }
        Ok((cases, task.answer_reward(), true))
    }

    /// The cases of a file that is written for this, where its first line says so.
    fn written(&self, output: &Output) -> Result<Option<Vec<Case>>> {
        let lines_of_json = self.data.as_os_str() == "-" || self.data.extension().is_some_and(|end| end == "jsonl");
        if !lines_of_json || (self.data.as_os_str() != "-" && !self.data.exists()) {
            return Ok(None);
        }
        let mut cases = Vec::new();
        for (at, line) in input::lines(&self.data, output)?.enumerate() {
            let line = line?;
            if self.limit.is_some_and(|limit| at as u64 >= limit) {
                break;
            }
            let map = line.object()?;
            if at == 0 && !CASE_KEYS.iter().any(|key| map.contains_key(*key)) && self.data.as_os_str() != "-" {
                return Ok(None);
            }
            cases.extend(cases_of(&line, map)?);
        }
        if cases.is_empty() {
            return Err(Problem::new(Kind::Data, "D007", format!("`{}` holds no cases", self.data.display())));
        }
        Ok(Some(cases))
    }

    fn items(&self, task: &dyn Task) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        for split in [Split::Train, Split::Test] {
            let most = self.limit.unwrap_or(u64::MAX).saturating_sub(items.len() as u64);
            let count = match task.len(split) {
                Some(len) => (len as u64).min(most),
                None if split == Split::Train => self.limit.unwrap_or(ITEMS),
                None => 0,
            };
            for index in 0..count {
                items.push(task.item(split, index)?);
            }
        }
        Ok(items)
    }

    fn show(&self, cases: &[Case], failed: &[(&Case, &Verdict)], output: &mut Output) -> Outcome {
        let rows = counts(cases, failed);
        let text = |value: &Value| value.to_string();
        let rows = rows.iter().map(|(kind, counts)| {
            vec![(*kind).to_string(), text(&counts["cases"]), text(&counts["agree"]), text(&counts["no_verdict"])]
        });
        output.table(&["completion", "cases", "as expected", "no verdict"], rows)?;
        for (case, verdict) in failed.iter().take(self.show) {
            let wanted = match case.expected {
                Expected::Pass => format!("{} or more", self.pass_from),
                Expected::Fail => format!("less than {}", self.pass_from),
                Expected::Score(score) => score.to_string(),
            };
            let got = verdict.value().map_or("no verdict".to_string(), |score| score.to_string());
            output.line(format!("\n{}", theme::bad(format!("{} ({})", case.row, case.kind))))?;
            labelled("expected", &wanted, output)?;
            labelled("got", &format!("{got} ({})", verdict.reason()), output)?;
            labelled("prompt", &case.example.prompt, output)?;
            labelled("answer", case.example.answer.as_deref().unwrap_or("—"), output)?;
            labelled("completion", &format!("{:?}", case.example.completion), output)?;
        }
        output.line("")?;
        if failed.len() > self.show {
            output.line(format!("… and {} more; --json prints all", failed.len() - self.show))?;
        }
        output.line(match failed.len() {
            0 => theme::good(format!("the reward agrees with all {} cases", cases.len())),
            count => theme::bad(format!("the reward disagrees with {count} of {} cases", cases.len())),
        })
    }
}

fn counts(cases: &[Case], failed: &[(&Case, &Verdict)]) -> BTreeMap<&'static str, Value> {
    let mut counts: BTreeMap<&'static str, [usize; 3]> = BTreeMap::new();
    for case in cases {
        let [all, agree, _] = counts.entry(case.kind).or_default();
        *all += 1;
        *agree += 1;
    }
    for (case, verdict) in failed {
        let [_, agree, none] = counts.entry(case.kind).or_default();
        *agree -= 1;
        *none += usize::from(verdict.value().is_none());
    }
    let counts = counts.into_iter();
    counts.map(|(kind, [all, agree, none])| (kind, json!({"cases": all, "agree": agree, "no_verdict": none}))).collect()
}

fn disagreement(case: &Case, verdict: &Verdict) -> Value {
    let mut whole = lapidary_reward::verdict_json(verdict);
    whole["row"] = json!(case.row);
    whole["kind"] = json!(case.kind);
    whole["expected"] = case.expected.json();
    whole["prompt"] = json!(case.example.prompt);
    whole["answer"] = json!(case.example.answer);
    whole["completion"] = json!(case.example.completion);
    whole
}

/// Whether every reward that is named looks at form alone.
fn of_form(spec: &Value) -> bool {
    let single = [spec.clone()];
    let entries = spec.as_array().map_or(single.as_slice(), Vec::as_slice);
    let name = |entry: &Value| entry.as_str().or(entry["name"].as_str()).map(String::from);
    entries.iter().all(|entry| name(entry).is_some_and(|name| OF_FORM.contains(&name.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_agree_within_their_bounds() {
        let of = |expected: Expected, score: f32| expected.agrees(&Verdict::score(score, ""), 0.99);
        assert!(of(Expected::Pass, 1.0) && !of(Expected::Pass, 0.98));
        assert!(of(Expected::Fail, 0.5) && !of(Expected::Fail, 0.99));
        assert!(of(Expected::Score(0.1), 0.1) && !of(Expected::Score(0.1), 0.2));
        assert!([Expected::Pass, Expected::Fail].iter().all(|it| !it.agrees(&Verdict::none("why"), 0.99)));
    }

    #[test]
    fn a_list_is_of_form_only_where_every_part_is() {
        assert!(of_form(&json!("format")) && of_form(&json!([{"name": "length", "max": 9}, "regex"])));
        assert!(!of_form(&json!(["format", "math"])) && !of_form(&json!("answer")));
    }
}
