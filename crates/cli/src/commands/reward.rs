//! `lapidary reward`: a reward tried on examples before it trains anything.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lapidary_core::{Kind, Problem, Verdict};
use lapidary_reward::{Example, InstructionAccuracy, SCORES, build, detailed_json, reward, rewards, score_calls};
use serde_json::{Map, Value};

use super::reward_test::RewardTest;
use super::{did_you_mean, options};
use crate::input;
use crate::output::{Output, theme};
use crate::stop::Outcome;

/// Examples scored at once.
const AT_ONCE: usize = 256;
/// Characters of a completion shown in a table.
const SHOWN: usize = 40;

/// Score completions with a reward
///
/// A line of input is {"prompt": "…", "completion": "…", "answer": "…"}. With --json a line of output is
/// {"score": x or null, "reason": "…"}; null is no verdict, which is never counted as 0. `ifeval` also reads
/// "instruction_id_list" and "kwargs" and writes {"score": x, "strict": […], "loose": […]}. `bfcl` and `tool-step` score calls instead:
/// {"category": "simple", "function": […], "ground_truth": […], "output": [{"name": {arguments}}]}.
#[derive(Args, Debug)]
#[command(
    before_help = "Example: lapidary reward answer --input examples.jsonl --json",
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Reward {
    /// What to do instead
    #[command(subcommand)]
    verb: Option<Verb>,
    /// A name of `lapidary rewards`
    #[arg(required = true)]
    name: Option<String>,
    /// JSON lines; - is stdin
    #[arg(short, long, default_value = "-", value_name = "FILE")]
    input: PathBuf,
    /// An option of the reward: max=200, command='["python3", "mine.py"]'
    #[arg(short, long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// What else can be done with a reward.
#[derive(Debug, Subcommand)]
enum Verb {
    Test(RewardTest),
}

impl Reward {
    /// Runs the verb.
    pub fn run(&self, output: &mut Output) -> Outcome {
        if let Some(Verb::Test(test)) = &self.verb {
            return test.run(output);
        }
        let name = self.name.as_deref().unwrap_or_default();
        if SCORES.contains(&name) {
            return self.score_calls(name, output);
        }
        if reward(name).is_none() {
            let known: Vec<&str> = rewards().iter().map(|reward| reward.name).chain(SCORES.iter().copied()).collect();
            let problem = Problem::new(Kind::Usage, "W001", format!("there is no reward `{name}`"));
            return Err(problem.hint(did_you_mean(name, &known)).into());
        }
        let reward = build(name, &Value::Object(options(&self.set)?))?;
        let mut waiting = Vec::new();
        let mut scored = Summary::default();
        let mut answer = |waiting: &mut Vec<Example>, output: &mut Output| -> Outcome {
            let attempts: Vec<_> = waiting.iter().map(Example::attempt).collect();
            for (example, (verdict, detail)) in waiting.iter().zip(reward.detailed(&attempts)) {
                scored.add(example, &verdict, &detail);
                if output.json {
                    output.json(&detailed_json(&verdict, detail))?;
                }
            }
            waiting.clear();
            output.flush()
        };
        for line in input::lines(&self.input, output)? {
            waiting.push(Example::parse(&line?)?);
            if waiting.len() >= AT_ONCE {
                answer(&mut waiting, output)?;
            }
        }
        answer(&mut waiting, output)?;
        if output.json {
            scored.instructions().into_iter().for_each(|line| output.note(line));
            return Ok(());
        }
        scored.show(output)
    }

    /// Scores of calls that are given as calls: {"category", "function", "ground_truth", "output"}.
    fn score_calls(&self, name: &str, output: &mut Output) -> Outcome {
        if let Some(set) = self.set.first() {
            let problem = Problem::new(Kind::Usage, "W002", format!("`{name}` has no options, got `{set}`"));
            return Err(problem.into());
        }
        let (mut count, mut right, mut unscored) = (0, 0, 0);
        for line in input::lines(&self.input, output)? {
            let verdict = score_calls(name, &line?.object()?);
            count += 1;
            right += usize::from(verdict.value() == Some(1.0));
            unscored += usize::from(verdict.value().is_none());
            if output.json {
                let score = verdict.value().map(|score| u8::from(score == 1.0));
                output.json(&serde_json::json!({ "score": score, "reason": verdict.reason() }))?;
            }
        }
        if output.json {
            return Ok(());
        }
        output.line(theme::bold(format!("{right} of {count} right, {unscored} without a verdict")))
    }
}

/// What people want to see of many verdicts.
#[derive(Default)]
struct Summary {
    rows: Vec<Vec<String>>,
    scores: Vec<f64>,
    count: usize,
    followed: InstructionAccuracy,
}

/// Rows of the table; the numbers below it are about all examples.
const ROWS: usize = 50;

impl Summary {
    fn add(&mut self, example: &Example, verdict: &Verdict, detail: &Map<String, Value>) {
        self.count += 1;
        self.followed.add(detail);
        self.scores.extend(verdict.value().map(f64::from));
        if self.rows.len() < ROWS {
            let score = verdict.value().map_or("no verdict".into(), |score| score.to_string());
            let answer = example.answer.clone().unwrap_or_default();
            self.rows.push(vec![score, short(verdict.reason()), short(&answer), short(&example.completion)]);
        }
    }

    /// IFEval's four metrics; nothing where no reward said which instructions are followed.
    fn instructions(&self) -> Vec<String> {
        let readings = [("strict", self.followed.strict), ("loose", self.followed.loose)];
        let line = |(name, found): (&str, lapidary_reward::Accuracy)| {
            format!("{name}: {:.4} of prompts, {:.4} of instructions followed", found.prompts(), found.instructions())
        };
        if self.followed.count() == 0 { Vec::new() } else { readings.into_iter().map(line).collect() }
    }

    fn show(self, output: &mut Output) -> Outcome {
        let (shown, verdicts, instructions) = (self.rows.len(), self.scores.len(), self.instructions());
        output.table(&["score", "reason", "answer", "completion (end)"], self.rows)?;
        if self.count > shown {
            output.line(format!("… and {} more; --json prints all", self.count - shown))?;
        }
        for line in instructions {
            output.line(line)?;
        }
        let mean = self.scores.iter().sum::<f64>() / verdicts.max(1) as f64;
        output.line(theme::bold(format!(
            "{} examples, {} without a verdict, mean score {mean:.4}",
            self.count,
            self.count - verdicts
        )))
    }
}

/// The end of a text, on one line: where an answer stands.
fn short(text: &str) -> String {
    let line: Vec<char> = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().collect();
    let start = line.len().saturating_sub(SHOWN);
    let end: String = line[start..].iter().collect();
    if start > 0 { format!("…{end}") } else { end }
}
