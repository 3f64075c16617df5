//! Asks a model held-out prompts and has the answers judged.

use lapidary_core::{Item, Key, Kind, Problem, Purpose, Result, StopReason, Verdict};
use lapidary_engine::{Choose, Engine, Sample, SampleRequest};
use lapidary_reward::{Attempt, Reward};
use lapidary_task::{Split, Task};
use lapidary_text::Tokenizer;

use crate::confidence::{Asked, Gauge, Sureness};
use crate::evaluation::{AttemptRecord, Evaluation, PromptRecord, Settings};
use crate::second_turn::SecondTurn;

/// Sequences that are sampled together: bounds the memory of keys and values whatever the number of prompts.
const SEQUENCES_AT_ONCE: usize = 256;

/// Who judges answers.
#[derive(Clone, Copy)]
pub struct Judges<'a> {
    /// Says whether an answer is right.
    pub reward: &'a dyn Reward,
    /// Says how sure the model is of it, where that is measured: the evaluation then has a calibration.
    pub gauge: Option<&'a Gauge>,
}

impl<'a> From<&'a dyn Reward> for Judges<'a> {
    fn from(reward: &'a dyn Reward) -> Self {
        Self { reward, gauge: None }
    }
}

impl<'a, R: Reward> From<&'a R> for Judges<'a> {
    fn from(reward: &'a R) -> Self {
        Self { reward, gauge: None }
    }
}

/// Asks `settings.prompts` held-out prompts and judges every answer.
///
/// The prompts are spread evenly over the held-out split, whatever the seed; an endless split gives its first. Token `t` of
/// sample `s` of the item at index `i` is drawn with `Key::new(seed, Purpose::Evaluate).at(i).at(s).at(t)`, so neither the number of prompts
/// nor their batches change an answer. `progress` hears prompts done and prompts in all.
///
/// # Errors
/// `Usage`: settings that make no sense, a task without held-out prompts. Whatever task, tokenizer or engine report.
pub fn evaluate<'a>(
    engine: &dyn Engine,
    tokenizer: &Tokenizer,
    task: &dyn Task,
    judges: impl Into<Judges<'a>>,
    settings: &Settings,
    progress: &dyn Fn(usize, usize),
) -> Result<Evaluation> {
    let judges = judges.into();
    check(settings)?;
    let indices = indices(task, settings.prompts)?;
    let mut records = Vec::with_capacity(indices.len());
    for batch in indices.chunks((SEQUENCES_AT_ONCE / settings.samples).max(1)) {
        let items = batch.iter().map(|&index| task.item(Split::Test, index)).collect::<Result<Vec<Item>>>()?;
        records.extend(ask(engine, tokenizer, judges, settings, (batch, items))?);
        progress(records.len(), indices.len());
    }
    let evaluation = Evaluation::new(task.name(), judges.reward.name(), *settings, engine.version(), records);
    Ok(match judges.gauge {
        Some(gauge) => evaluation.with_calibration(gauge.measure()),
        None => evaluation,
    })
}

/// Shows every answer of `first` to the model again, with `phrase`, and judges what it answers then; prompts and answers keep their
/// places, so the two can be compared ([`crate::correction`]). An answer that could not be given, or whose question does not fit
/// a second time, has no verdict.
///
/// Token `t` of the second answer to sample `s` of the item at index `i` is drawn with
/// `Key::new(seed, Purpose::Evaluate).at_name("second").at(i).at(s).at(t)`.
///
/// # Errors
/// Whatever task, tokenizer or engine report.
pub fn evaluate_again(
    engine: &dyn Engine,
    tokenizer: &Tokenizer,
    task: &dyn Task,
    reward: &dyn Reward,
    (first, turn, phrase): (&Evaluation, &SecondTurn, &str),
    progress: &dyn Fn(usize, usize),
) -> Result<Evaluation> {
    let settings = &first.settings;
    let indices = indices(task, settings.prompts)?;
    assert_eq!(indices.len(), first.prompts.len(), "the first turn asked the prompts of this task");
    let mut records = Vec::with_capacity(indices.len());
    let at_once = (SEQUENCES_AT_ONCE / settings.samples).max(1);
    for (indices, firsts) in indices.chunks(at_once).zip(first.prompts.chunks(at_once)) {
        let items = indices.iter().map(|&index| task.item(Split::Test, index)).collect::<Result<Vec<Item>>>()?;
        let mut questions = Vec::new();
        for ((&index, item), record) in indices.iter().zip(&items).zip(firsts) {
            for (sample, attempt) in record.attempts.iter().enumerate() {
                let key = Key::new(settings.seed, Purpose::Evaluate).at_name("second").at(index).at(sample as u64);
                let room = engine.model().context.saturating_sub(settings.max_new_tokens);
                let answer = (attempt.completion.as_str(), attempt.truncated);
                let asked = match attempt.tokens {
                    0 => None,
                    _ => turn.question(tokenizer, (&item.prompt, phrase), answer, room)?,
                };
                questions.push(match asked {
                    Some(prompt) => {
                        question(engine, tokenizer, settings, key, &Item { prompt, ..item.clone() })?.alone()
                    }
                    None => Question::TooLong("there is no first answer, or no room to show it".into(), 1),
                });
            }
        }
        let mut attempts =
            answer(engine, tokenizer, reward.into(), questions, |at| &items[at / settings.samples])?.into_iter();
        for (item, record) in items.into_iter().zip(firsts) {
            let attempts = attempts.by_ref().take(record.attempts.len()).flatten().collect();
            records.push(PromptRecord { id: item.id, prompt: item.prompt.plain(), answer: item.answer, attempts });
        }
        progress(records.len(), first.prompts.len());
    }
    Ok(Evaluation::new(task.name(), reward.name(), *settings, engine.version(), records))
}

fn check(settings: &Settings) -> Result<()> {
    let wrong = |what: &str, hint: &str| Err(Problem::new(Kind::Usage, "R090", what).hint(hint));
    if settings.prompts == 0 || settings.samples == 0 || settings.max_new_tokens == 0 {
        return wrong("an evaluation needs prompts, samples and room for an answer", "give numbers of at least 1");
    }
    if !settings.temperature.is_finite() || settings.temperature < 0.0 || !settings.right_from.is_finite() {
        return wrong("temperature and the score of a right answer must be numbers", "`temperature = 0` is greedy");
    }
    if settings.temperature == 0.0 && settings.samples > 1 {
        return wrong(
            "greedy decoding gives the same answer to every sample of a prompt",
            "one sample, or a temperature above 0",
        );
    }
    Ok(())
}

/// Indices of the held-out prompts, ascending.
fn indices(task: &dyn Task, wanted: usize) -> Result<Vec<u64>> {
    let wanted = wanted as u64;
    match task.len(Split::Test).map(|len| len as u64) {
        None => Ok((0..wanted).collect()),
        Some(0) => Err(Problem::new(Kind::Usage, "D052", format!("task `{}` has no held-out prompts", task.name()))
            .hint("give the task a test split, or evaluate on another task")),
        Some(len) if len <= wanted => Ok((0..len).collect()),
        Some(len) => Ok((0..wanted).map(|at| (u128::from(at) * u128::from(len) / u128::from(wanted)) as u64).collect()),
    }
}

/// An item ready to be sampled, or why it cannot be.
enum Question {
    Request(SampleRequest),
    /// Why, and how many answers it would have had.
    TooLong(String, usize),
}

impl Question {
    /// The same with one answer.
    fn alone(self) -> Self {
        match self {
            Question::Request(request) => Question::Request(SampleRequest { samples: 1, ..request }),
            Question::TooLong(why, _) => Question::TooLong(why, 1),
        }
    }
}

fn ask(
    engine: &dyn Engine,
    tokenizer: &Tokenizer,
    Judges { reward, gauge }: Judges<'_>,
    settings: &Settings,
    (indices, items): (&[u64], Vec<Item>),
) -> Result<Vec<PromptRecord>> {
    let key = Key::new(settings.seed, Purpose::Evaluate);
    let questions = indices
        .iter()
        .zip(&items)
        .map(|(&index, item)| question(engine, tokenizer, settings, key.at(index), item))
        .collect::<Result<Vec<Question>>>()?;
    let answers = answer(engine, tokenizer, Judges { reward, gauge }, questions, |at| &items[at])?;
    let mut records = Vec::with_capacity(items.len());
    for (attempts, item) in answers.into_iter().zip(items) {
        assert_eq!(attempts.len(), settings.samples, "the engine must answer every sample of `{}`", item.id);
        records.push(PromptRecord { id: item.id, prompt: item.prompt.plain(), answer: item.answer, attempts });
    }
    Ok(records)
}

/// Answers and judges every question; one that cannot be asked has one attempt, without a verdict.
fn answer<'a>(
    engine: &dyn Engine,
    tokenizer: &Tokenizer,
    Judges { reward, gauge }: Judges<'_>,
    questions: Vec<Question>,
    item: impl Fn(usize) -> &'a Item,
) -> Result<Vec<Vec<AttemptRecord>>> {
    let requests: Vec<SampleRequest> = questions
        .iter()
        .filter_map(|question| match question {
            Question::Request(request) => Some(request.clone()),
            Question::TooLong(..) => None,
        })
        .collect();
    let answers = engine.sample(&requests, &|_| ())?;
    let mut sure = match gauge {
        Some(gauge) => gauge.read(engine, tokenizer, &asked(&requests, &answers), &|_| ())?,
        None => Vec::new(),
    }
    .into_iter();
    let mut answers = answers.into_iter();
    let judged = questions.into_iter().enumerate().map(|(at, question)| match question {
        Question::Request(_) => {
            let mut attempts = judge(tokenizer, reward, item(at), answers.next().unwrap_or_default());
            // Without a gauge there is nothing to put on them.
            attempts.iter_mut().zip(sure.by_ref()).for_each(|(attempt, sure)| note(attempt, sure, gauge));
            attempts
        }
        Question::TooLong(why, samples) => vec![unanswered(&why); samples],
    });
    Ok(judged.collect())
}

fn asked<'a>(requests: &'a [SampleRequest], answers: &'a [Vec<Sample>]) -> Vec<Asked<'a>> {
    let of_prompt = |(request, samples): (&'a SampleRequest, &'a Vec<Sample>)| {
        samples.iter().map(|sample| Asked { prompt: &request.prompt, completion: &sample.tokens })
    };
    requests.iter().zip(answers).flat_map(of_prompt).collect()
}

fn note(attempt: &mut AttemptRecord, sure: Sureness, gauge: Option<&Gauge>) {
    attempt.confidence = gauge.map(|gauge| gauge.measure().statistic.as_probability(sure.confidence));
    attempt.found = sure.answer;
}

fn question(
    engine: &dyn Engine,
    tokenizer: &Tokenizer,
    settings: &Settings,
    key: Key,
    item: &Item,
) -> Result<Question> {
    let model = engine.model();
    let prompt = tokenizer.encode_prompt(&item.prompt).map_err(|problem| problem.context(format!("`{}`", item.id)))?;
    let room = model.context.saturating_sub(prompt.len());
    if room == 0 || prompt.is_empty() {
        let (tokens, context) = (prompt.len(), model.context);
        let why = format!("the prompt has {tokens} tokens, which leaves no room in a context of {context}");
        return Ok(Question::TooLong(why, settings.samples));
    }
    let mut stop_tokens: Vec<u32> = tokenizer.end_tokens().iter().chain(&model.eos).copied().collect();
    stop_tokens.sort_unstable();
    stop_tokens.dedup();
    let Settings { temperature, top_k, top_p, .. } = *settings;
    Ok(Question::Request(SampleRequest {
        prompt,
        samples: settings.samples,
        max_new_tokens: settings.max_new_tokens.min(room),
        choose: if temperature == 0.0 { Choose::Greedy } else { Choose::Draw { temperature, top_k, top_p } },
        stop_tokens,
        key,
        record: lapidary_engine::Record::default(),
    }))
}

fn judge(tokenizer: &Tokenizer, reward: &dyn Reward, item: &Item, samples: Vec<Sample>) -> Vec<AttemptRecord> {
    let prompt = item.prompt.plain();
    let completions: Vec<String> = samples.iter().map(|sample| tokenizer.decode(&sample.tokens)).collect();
    let group: Vec<usize> = samples.iter().map(|sample| sample.tokens.len()).collect();
    let attempts: Vec<Attempt<'_>> = samples
        .iter()
        .zip(&completions)
        .map(|(sample, completion)| Attempt {
            prompt: &prompt,
            asked: Some(&item.prompt),
            completion,
            answer: item.answer.as_deref(),
            metadata: &item.metadata,
            tokens: sample.tokens.len(),
            truncated: sample.stop == StopReason::Length,
            group: &group,
            first: None,
            seen: None,
        })
        .collect();
    let verdicts = reward.score(&attempts);
    assert_eq!(verdicts.len(), samples.len(), "reward `{}` must judge every attempt", reward.name());
    samples
        .iter()
        .zip(completions.iter().zip(verdicts))
        .map(|(sample, (completion, verdict))| AttemptRecord {
            completion: completion.clone(),
            tokens: sample.tokens.len(),
            truncated: sample.stop == StopReason::Length,
            verdict,
            confidence: None,
            found: None,
        })
        .collect()
}

fn unanswered(why: &str) -> AttemptRecord {
    AttemptRecord {
        completion: String::new(),
        tokens: 0,
        truncated: false,
        verdict: Verdict::none(why),
        confidence: None,
        found: None,
    }
}

#[cfg(test)]
mod tests;
