//! Sampled answers: how they come to be, and the files that keep every one of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lapidary_core::{Item, Key, Kind, Problem, PromptText, Ragged, Result, Rollout, StopReason, TokenRole, Verdict};
use lapidary_engine::{Choose, Engine, Record, SampleRequest};
use lapidary_reward::confidence::Readings;
use lapidary_reward::intrinsic::{Seen, View};
use lapidary_reward::{Attempt, Mix, MixVerdicts};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::bench::Bench;
use crate::disk::guarded;
use crate::judge::Judge;
use crate::prompts::check_length;
use crate::watch::{Example, Phase};

/// Fixed, so that equal rollouts are equal bytes.
const COMPRESSION_LEVEL: i32 = 3;
/// A step's rollouts, uncompressed: a larger file was not written by us.
const LIMIT_BYTES: usize = 4 << 30;
const SUFFIX: &str = ".jsonl.zst";

/// One sampled answer with everything that was made of it: one line of a rollouts file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampled {
    /// The item's name.
    pub id: String,
    /// Token ids, roles, the sampler's log-probabilities.
    #[serde(flatten)]
    pub rollout: Rollout,
    /// The prompt as data.
    pub prompt_text: PromptText,
    /// What the model wrote, without special tokens; after the hint that it was given, where it was given one.
    pub completion: String,
    /// The reference answer.
    pub answer: Option<String>,
    /// What else the item says about itself, so that it can be judged again.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// The weighted sum of the rewards, or why there is none.
    pub verdict: Verdict,
    /// Each reward by its label, unweighted; null where it gave no verdict, absent where a gate before it was closed.
    pub rewards: Map<String, Value>,
    /// What was added for its length; 0 where the method does not.
    pub length_penalty: f64,
    /// Its advantage; `None` where it was not learned from.
    pub advantage: Option<f32>,
    /// What models say of its tokens, where a reward asks; known in the step that samples it.
    #[serde(skip)]
    pub readings: Vec<(View, Readings)>,
}

impl Sampled {
    /// Tokens that the policy wrote.
    pub fn length(&self) -> usize {
        self.rollout.roles.iter().filter(|role| **role == TokenRole::Policy).count()
    }

    /// Tokens of its prompt.
    pub fn prompt_tokens(&self) -> usize {
        self.rollout.roles.iter().take_while(|role| **role == TokenRole::Prompt).count()
    }

    /// Whether it ran into the limit of new tokens.
    pub fn truncated(&self) -> bool {
        self.rollout.stop == StopReason::Length
    }

    pub(crate) fn example(&self) -> Example {
        Example {
            prompt: self.prompt_text.plain(),
            completion: self.completion.clone(),
            answer: self.answer.clone(),
            reward: self.verdict.value(),
            reason: self.verdict.reason().to_string(),
            truncated: self.truncated(),
        }
    }
}

/// How answers are sampled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampling {
    pub(crate) samples: usize,
    pub(crate) max_new_tokens: usize,
    pub(crate) choose: Choose,
    /// What is written down for the trainer.
    pub(crate) record: Record,
}

/// Samples answers of `engine` to items and scores them; one entry per item. Item `i` draws with `key.at(first + i)`.
pub(crate) fn sample(
    (bench, engine): (&Bench<'_, '_>, &dyn Engine),
    items: &[Item],
    sampling: Sampling,
    judge: &Judge,
    key: (Key, usize),
    phase: Phase,
) -> Result<Vec<Vec<Sampled>>> {
    sample_after((bench, engine), (items, &[]), sampling, judge, key, phase)
}

/// What a request asks: an item, the first of its samples, and the tokens of its prompt without a hint.
struct Asked {
    item: usize,
    sample: usize,
    prompt: usize,
}

/// As [`sample`], with answers that go on from hints: of each item one for all its samples or one per sample, as token ids.
pub(crate) fn sample_after(
    (bench, engine): (&Bench<'_, '_>, &dyn Engine),
    (items, hints): (&[Item], &[&[Vec<u32>]]),
    sampling: Sampling,
    judge: &Judge,
    (key, first): (Key, usize),
    phase: Phase,
) -> Result<Vec<Vec<Sampled>>> {
    let (mut asked, mut requests) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
    for (at, item) in items.iter().enumerate() {
        let prompt = bench.tokenizer.encode_prompt(&item.prompt)?;
        check_length(item, prompt.len(), bench.engine.model().context)?;
        let key = key.at((first + at) as u64);
        let hints = hints.get(at).copied().unwrap_or(&[]);
        let alike = hints.iter().all(|hint| *hint == hints[0]);
        let shares: Vec<(&[u32], usize, Key)> = match hints.first() {
            None => vec![(&[][..], sampling.samples, key)],
            Some(hint) if alike => vec![(hint.as_slice(), sampling.samples, key)],
            Some(_) => {
                let key = key.at_name("hinted");
                hints.iter().enumerate().map(|(n, hint)| (hint.as_slice(), 1, key.at(n as u64))).collect()
            }
        };
        for (sample, (hint, samples, key)) in shares.into_iter().enumerate() {
            asked.push(Asked { item: at, sample, prompt: prompt.len() });
            requests.push(ask(bench, (&prompt, hint), Sampling { samples, ..sampling }, key));
        }
    }
    let most: usize = requests.iter().map(|request| request.samples * request.max_new_tokens).sum();
    let progress = bench.ear.progress(phase, most as u64);
    let answers =
        bench.stopwatch.time(phase, || engine.sample(&requests, &|tokens| progress.advance(tokens as u64)))?;
    let mut groups: Vec<Vec<Sampled>> = items.iter().map(|_| Vec::with_capacity(sampling.samples)).collect();
    for ((asked, request), samples) in asked.iter().zip(&requests).zip(answers) {
        for (number, sample) in samples.into_iter().enumerate() {
            let place = (first + asked.item, asked.sample + number);
            let by = (bench, engine.version());
            let sampled = unscored(by, &items[asked.item], (request, asked.prompt), place, sample);
            groups[asked.item].push(sampled);
        }
    }
    score((bench, engine), &mut groups, judge)?;
    Ok(groups)
}

/// A hint that leaves no room for an answer loses its tail.
fn ask(bench: &Bench<'_, '_>, (prompt, hint): (&[u32], &[u32]), sampling: Sampling, key: Key) -> SampleRequest {
    let context = bench.engine.model().context;
    let hint = &hint[..hint.len().min(context - prompt.len() - 1)];
    SampleRequest {
        max_new_tokens: sampling.max_new_tokens.min(context - prompt.len() - hint.len()),
        prompt: [prompt, hint].concat(),
        samples: sampling.samples,
        choose: sampling.choose,
        stop_tokens: end_tokens(bench),
        key,
        record: sampling.record,
    }
}

/// Tokens that end an answer.
pub(crate) fn end_tokens(bench: &Bench<'_, '_>) -> Vec<u32> {
    let mut ends: Vec<u32> = bench.tokenizer.end_tokens().to_vec();
    ends.extend(&bench.engine.model().eos);
    ends.sort_unstable();
    ends.dedup();
    ends
}

fn unscored(
    (bench, weights): (&Bench<'_, '_>, u64),
    item: &Item,
    (request, prompt_tokens): (&SampleRequest, usize),
    (prompt, number): (usize, usize),
    sample: lapidary_engine::Sample,
) -> Sampled {
    let mut roles = vec![TokenRole::Prompt; prompt_tokens];
    roles.resize(request.prompt.len(), TokenRole::Hint);
    roles.resize(request.prompt.len() + sample.tokens.len(), TokenRole::Policy);
    let mut logp = vec![0.0; request.prompt.len()];
    logp.extend(&sample.logp);
    Sampled {
        id: item.id.clone(),
        completion: bench.tokenizer.decode(&[&request.prompt[prompt_tokens..], &sample.tokens].concat()),
        rollout: Rollout {
            prompt,
            sample: number,
            tokens: [request.prompt.as_slice(), &sample.tokens].concat(),
            roles,
            logp,
            temperature: match request.choose {
                Choose::Greedy => 1.0,
                Choose::Draw { temperature, .. } => temperature,
            },
            weights,
            stop: sample.stop,
            support: sample.support.map(|support| after_prompt(request.prompt.len(), &support)),
            routing: sample.routing,
        },
        prompt_text: item.prompt.clone(),
        answer: item.answer.clone(),
        metadata: item.metadata.clone(),
        verdict: Verdict::none("not judged yet"),
        rewards: Map::new(),
        length_penalty: 0.0,
        advantage: None,
        readings: Vec::new(),
    }
}

/// Supports of the new tokens as those of the whole row: nothing was drawn for the prompt.
fn after_prompt(prompt: usize, support: &Ragged<u32>) -> Ragged<u32> {
    let mut out = Ragged::new();
    (0..prompt).for_each(|_| out.push([]));
    support.iter().for_each(|ids| out.push(ids.iter().copied()));
    out
}

fn score(at: (&Bench<'_, '_>, &dyn Engine), groups: &mut [Vec<Sampled>], judge: &Judge) -> Result<()> {
    let verdicts = judge.judge(at, groups)?;
    for (row, sampled) in groups.iter_mut().flatten().enumerate() {
        sampled.verdict = verdicts.total[row].clone();
        sampled.rewards = parts_of(&verdicts, judge.mix(), row);
    }
    Ok(())
}

/// What rewards say of samples, from nothing but the samples: those of a saved file get the verdicts that they got when they
/// were drawn. The samples of a prompt are those with its number.
///
/// What models say of the tokens is not saved: a reward that asks gives saved samples no verdict.
pub fn judge<'a>(samples: impl Iterator<Item = &'a Sampled> + Clone, rewards: &Mix) -> MixVerdicts {
    attempts(samples, |attempts| rewards.score(attempts))
}

/// Samples as rewards take them.
pub(crate) fn attempts<'a, T>(
    samples: impl Iterator<Item = &'a Sampled> + Clone,
    work: impl FnOnce(&[Attempt<'_>]) -> T,
) -> T {
    let mut lengths: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for sampled in samples.clone() {
        lengths.entry(sampled.rollout.prompt).or_default().push(sampled.length());
    }
    let prompts: Vec<String> = samples.clone().map(|sampled| sampled.prompt_text.plain()).collect();
    let attempts: Vec<Attempt<'_>> = samples
        .zip(&prompts)
        .map(|(sampled, prompt)| Attempt {
            prompt,
            asked: Some(&sampled.prompt_text),
            completion: &sampled.completion,
            answer: sampled.answer.as_deref(),
            metadata: &sampled.metadata,
            tokens: sampled.length(),
            truncated: sampled.truncated(),
            group: lengths.get(&sampled.rollout.prompt).map_or(&[], Vec::as_slice),
            first: None,
            seen: Some(Seen { group: sampled.rollout.prompt, readings: &sampled.readings }),
        })
        .collect();
    work(&attempts)
}

/// [`Sampled::rewards`] of a row.
pub(crate) fn parts_of(verdicts: &MixVerdicts, rewards: &Mix, row: usize) -> Map<String, Value> {
    let parts = rewards.parts().iter().zip(&verdicts.parts);
    let asked = parts.filter_map(|(part, given)| Some((part, given[row].as_ref()?)));
    asked.map(|(part, verdict)| (part.settings.label.clone(), number(verdict.value()))).collect()
}

fn number(value: Option<f32>) -> Value {
    value.map_or(Value::Null, |value| serde_json::json!(value))
}

/// Where the rollouts of a step are.
pub fn path_of(directory: &Path, step: u64) -> PathBuf {
    directory.join(format!("step-{step:06}{SUFFIX}"))
}

/// Writes records as compressed JSON lines: the same bytes for the same records.
pub(crate) fn write_lines<T: Serialize>(path: &Path, records: &[T]) -> Result<()> {
    let mut text = Vec::new();
    for record in records {
        serde_json::to_writer(&mut text, record).map_err(|error| unreadable(path, &error.to_string()))?;
        text.push(b'\n');
    }
    let bytes =
        zstd::bulk::compress(&text, COMPRESSION_LEVEL).map_err(|error| Problem::io("compress", path, &error))?;
    let temporary = path.with_extension("tmp");
    let written = guarded("rollouts.write", "write", path, || fs::write(&temporary, &bytes))
        .and_then(|()| guarded("rollouts.rename", "rename", path, || fs::rename(&temporary, path)));
    written.inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// Reads what a step wrote.
///
/// # Errors
/// `Data`: a file that is no rollouts file, or that is damaged.
pub fn read(path: &Path) -> Result<Vec<Sampled>> {
    read_lines(path)
}

/// Reads what [`write_lines`] wrote.
pub(crate) fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let bytes = fs::read(path).map_err(|error| Problem::io("read", path, &error))?;
    let size = zstd::zstd_safe::get_frame_content_size(&bytes).ok().flatten();
    let size = size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= LIMIT_BYTES);
    let size = size.ok_or_else(|| unreadable(path, "its header does not say how large it is"))?;
    let text = zstd::bulk::decompress(&bytes, size).map_err(|error| unreadable(path, &error.to_string()))?;
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).map_err(|error| unreadable(path, &error.to_string()))).collect()
}

fn unreadable(path: &Path, why: &str) -> Problem {
    Problem::new(Kind::Data, "D043", format!("`{}` is not a file of rollouts", path.display())).why(why)
}

/// Makes the files of steps `from..=to` durable, where there are any; a checkpoint counts on them.
pub(crate) fn sync(directory: &Path, from: u64, to: u64) -> Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    for step in from..=to {
        let path = path_of(directory, step);
        match fs::OpenOptions::new().append(true).open(&path) {
            Ok(file) => file.sync_all().map_err(|error| Problem::io("flush", &path, &error))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Problem::io("open", &path, &error)),
        }
    }
    crate::disk::sync_directory(directory).map_err(|error| Problem::io("flush", directory, &error))
}

/// Removes files of steps after `step`, and half-written ones: a killed run left them.
pub(crate) fn cut_back(directory: &Path, step: u64) -> Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    let entries = fs::read_dir(directory).and_then(|entries| entries.collect::<std::io::Result<Vec<_>>>());
    for entry in entries.map_err(|error| Problem::io("list", directory, &error))? {
        let name = entry.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix("step-").and_then(|rest| rest.split('.').next()?.parse::<u64>().ok());
        if number.is_some_and(|number| number > step || name.ends_with(".tmp")) {
            fs::remove_file(entry.path()).map_err(|error| Problem::io("remove", &entry.path(), &error))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(reward: Option<f32>) -> Sampled {
        Sampled {
            id: "chain-sum/train/3".into(),
            rollout: Rollout {
                prompt: 0,
                sample: 1,
                tokens: vec![1, 5, 2],
                roles: vec![TokenRole::Prompt, TokenRole::Policy, TokenRole::Policy],
                logp: vec![0.0, -0.1, -2.5e-7],
                temperature: 1.0,
                weights: 12,
                stop: StopReason::Eos,
                support: None,
                routing: None,
            },
            prompt_text: PromptText::Text("1+1=".into()),
            completion: "2".into(),
            answer: Some("2".into()),
            metadata: [("level".to_string(), serde_json::json!(2))].into_iter().collect(),
            verdict: reward.map_or(Verdict::none("timed out"), |reward| Verdict::score(reward, "equal")),
            rewards: [("answer".to_string(), number(reward))].into_iter().collect(),
            length_penalty: 0.0,
            advantage: reward.map(|_| 0.5),
            readings: Vec::new(),
        }
    }

    #[test]
    fn samples_come_back_and_equal_samples_are_equal_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let samples = vec![sampled(Some(1.0)), sampled(None)];
        let (a, b) = (path_of(directory.path(), 3), path_of(directory.path(), 4));
        write_lines(&a, &samples).unwrap();
        write_lines(&b, &samples).unwrap();
        assert_eq!(fs::read(&a).unwrap(), fs::read(&b).unwrap());
        assert_eq!(read(&a).unwrap(), samples);
        fs::write(&a, b"no zstd").unwrap();
        assert_eq!(read(&a).unwrap_err().kind(), Kind::Data);
        cut_back(directory.path(), 3).unwrap();
        assert!(a.exists() && !b.exists());
    }
}
