//! A step of distillation: sample, keep what passes, learn it as demonstrations (rejection sampling).
//!
//! ```text
//! prompts ─▶ answers (of the teacher, or of the model at hand) ─▶ verdicts ─▶ filters ─▶ −log p of what is left ─▶ update
//! ```
//! The filters and their order are those of GLM-4.5's data (arXiv 2508.06471, §3.1): cut off, too short or long, repetitive; then
//! right or not; then one of equal answers; then the best. Answers are learned as the ids that were sampled.

use std::collections::{BTreeMap, BTreeSet};

use crate::bench::Bench;
use crate::judge::Judge;
use crate::learn::{Lesson, Part, learn, update_of};
use crate::prompts::{Prompts, Tasks};
use crate::recipe::{AnswerFilter, Distill};
use crate::reference::Reference;
use crate::rl::mix;
use crate::rollouts::{Sampled, Sampling, sample};
use crate::rows::Rows;
use crate::sft::metrics_of;
use crate::stage::{Asks, StepReport, Work};
use crate::state::RunState;
use crate::watch::{Metrics, Phase};
use lapidary_core::{Item, Key, Purpose, Result, TokenRole};
use lapidary_engine::{Choose, Engine, Record};

/// Tokens of a sequence whose repetition counts.
const SEQUENCE: usize = 4;
/// Why an answer is not learned, in the order of the filters; the names of `distill/dropped/<name>`.
const REASONS: [&str; 8] =
    ["truncated", "short", "long", "repetitive", "no_verdict", "failed", "duplicate", "not_best"];

/// The work of a distill stage.
pub(crate) struct DistillWork<'r> {
    distill: &'r Distill,
    prompts: Prompts,
    judge: Judge,
    teacher: Option<Box<dyn Engine>>,
    reference: Option<Reference>,
    seed: u64,
}

impl<'r> DistillWork<'r> {
    pub(crate) fn new(distill: &'r Distill, tasks: &mut Tasks, seed: u64) -> Result<Self> {
        let prompts = Prompts::new(tasks, &distill.task, seed)?;
        let judge = Judge::new(mix(&distill.rewards, prompts.task().answer_reward())?)?;
        Ok(Self { distill, prompts, judge, teacher: None, reference: None, seed })
    }

    /// Answers to the next prompts.
    fn sample(&mut self, bench: &Bench<'_, '_>, state: &mut RunState) -> Result<Vec<Vec<Sampled>>> {
        let distill = self.distill;
        let count = distill.training.prompts_per_step;
        let items: Vec<Item> = (0..count).map(|_| self.prompts.take(&mut state.cursors)).collect::<Result<_>>()?;
        let sampling = Sampling {
            samples: distill.samples_per_prompt,
            max_new_tokens: distill.max_new_tokens,
            choose: Choose::Draw { temperature: distill.temperature, top_k: distill.top_k, top_p: distill.top_p },
            record: Record { support: false, routing: false },
        };
        let key = (Key::new(self.seed, Purpose::Sample).at(state.step), 0);
        let engine = self.teacher.as_deref().unwrap_or(&*bench.engine);
        sample((bench, engine), &items, sampling, &self.judge, key, Phase::Sample)
    }

    /// Learns the answers that were kept; what that says of itself.
    fn learn(&self, bench: &mut Bench<'_, '_>, state: &mut RunState, groups: &[Vec<Sampled>]) -> Result<Metrics> {
        let training = &self.distill.training;
        let learning_rate = training.learning_rate_at(state.stage_step, training.steps);
        let mut rows = rows_of(groups);
        if rows.mask.rows() == 0 {
            return Ok(vec![("learning_rate".into(), learning_rate), ("num_tokens".into(), state.tokens as f64)]);
        }
        if let Some(reference) = &self.reference {
            reference.look_back(bench, &mut rows, training.tokens_per_microbatch)?;
        }
        let lesson = Lesson {
            parts: vec![Part::of(&rows, &self.distill.objective)],
            tokens_per_microbatch: training.tokens_per_microbatch,
            max_new_tokens: self.distill.max_new_tokens,
            update: update_of(training, learning_rate),
        };
        let progress = bench.ear.progress(Phase::Learn, rows.mask.rows() as u64);
        let learned = learn(bench, &lesson, &progress)?;
        state.tokens += rows.mask.values() as u64;
        Ok(learned.map_or_else(Vec::new, |learned| metrics_of(&learned, learning_rate, state.tokens)))
    }
}

impl Work for DistillWork<'_> {
    fn step(&mut self, bench: &mut Bench<'_, '_>, state: &mut RunState) -> Result<StepReport> {
        self.judge.recall(&state.memory);
        let mut groups = self.sample(bench, state)?;
        state.memory = self.judge.remember(groups.iter().flatten());
        let mut metrics = judge(&self.distill.filter, &mut groups);
        let before = state.tokens;
        let stopwatch = bench.stopwatch;
        metrics.extend(stopwatch.time(Phase::Learn, || self.learn(bench, state, &groups))?);
        self.judge.follow(&*bench.engine);
        let samples: Vec<Sampled> = groups.into_iter().flatten().collect();
        let sampled: usize = samples.iter().map(Sampled::length).sum();
        let tokens = sampled as u64 + state.tokens - before;
        Ok(StepReport { metrics, samples, tokens, ..StepReport::default() })
    }

    fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    fn asks(&self) -> Asks {
        self.judge.asks()
    }

    fn set_mean(&mut self, mean: Box<dyn Engine>) {
        self.judge.set_mean(mean);
    }

    fn mean(&self) -> Option<&dyn Engine> {
        self.judge.mean()
    }

    fn set_reference(&mut self, reference: Reference) {
        if self.judge.asks().frozen {
            self.judge.set_frozen(reference.clone());
        }
        self.reference = Some(reference).filter(|_| self.distill.objective.needs_reference());
    }

    fn set_teacher(&mut self, teacher: Box<dyn Engine>) {
        self.teacher = Some(teacher);
    }
}

/// The rows of the answers that were kept, as demonstrations: at temperature 1, whatever they were sampled at.
fn rows_of(groups: &[Vec<Sampled>]) -> Rows {
    let mut rows = Rows::default();
    for sampled in groups.iter().flatten().filter(|sampled| sampled.advantage.is_some()) {
        let own: Vec<bool> = sampled.rollout.roles.iter().map(|role| *role == TokenRole::Policy).collect();
        rows.tokens.push(&sampled.rollout.tokens, &own, 1.0);
        rows.mask.push(own);
        rows.names.push(format!("{}#{}", sampled.id, sampled.rollout.sample));
    }
    rows
}

/// Marks the answers that are learned (with an advantage of 1) and says what became of the others.
fn judge(filter: &AnswerFilter, groups: &mut [Vec<Sampled>]) -> Metrics {
    let mut dropped: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut kept, mut solved) = (0, 0);
    for group in groups.iter_mut() {
        let fates = fates(filter, group);
        for (sampled, fate) in group.iter_mut().zip(&fates) {
            match fate {
                None => sampled.advantage = Some(1.0),
                Some(reason) => *dropped.entry(reason).or_default() += 1,
            }
        }
        let of_group = fates.iter().filter(|fate| fate.is_none()).count();
        kept += of_group;
        solved += usize::from(of_group > 0);
    }
    let all: Vec<&Sampled> = groups.iter().flatten().collect();
    let count = all.len().max(1) as f64;
    let rewards: Vec<f64> = all.iter().filter_map(|sampled| sampled.verdict.value()).map(f64::from).collect();
    let lengths: usize = all.iter().map(|sampled| sampled.length()).sum();
    let mut metrics: Metrics = vec![
        ("reward".into(), rewards.iter().sum::<f64>() / rewards.len().max(1) as f64),
        ("completions/mean_length".into(), lengths as f64 / count),
        ("distill/kept".into(), kept as f64),
        ("distill/prompts".into(), solved as f64 / groups.len().max(1) as f64),
    ];
    metrics.extend(REASONS.iter().map(|reason| {
        let share = dropped.get(reason).copied().unwrap_or(0) as f64 / count;
        (format!("distill/dropped/{reason}"), share)
    }));
    metrics
}

/// Why each answer of a prompt is not learned; `None` where it is.
fn fates(filter: &AnswerFilter, group: &[Sampled]) -> Vec<Option<&'static str>> {
    let mut seen = BTreeSet::new();
    let mut fates: Vec<Option<&'static str>> = group.iter().map(|sampled| alone(filter, sampled)).collect();
    for (sampled, fate) in group.iter().zip(&mut fates) {
        if fate.is_none() && filter.dedup && !seen.insert(&sampled.completion) {
            *fate = Some("duplicate");
        }
    }
    let Some(most) = filter.best_of else { return fates };
    let mut left: Vec<usize> = (0..group.len()).filter(|&at| fates[at].is_none()).collect();
    let reward = |at: usize| group[at].verdict.value().unwrap_or(f32::NEG_INFINITY);
    left.sort_by(|&a, &b| {
        reward(b).total_cmp(&reward(a)).then(group[a].length().cmp(&group[b].length())).then(a.cmp(&b))
    });
    left.into_iter().skip(most).for_each(|at| fates[at] = Some("not_best"));
    fates
}

/// What is wrong with an answer by itself.
fn alone(filter: &AnswerFilter, sampled: &Sampled) -> Option<&'static str> {
    let length = sampled.length();
    match sampled.verdict.value().map(f64::from) {
        _ if sampled.truncated() => Some("truncated"),
        _ if length < filter.min_tokens => Some("short"),
        _ if filter.max_tokens.is_some_and(|most| length > most) => Some("long"),
        _ if repetition(&sampled.rollout.completion()) > filter.max_repetition => Some("repetitive"),
        None => Some("no_verdict"),
        Some(reward) if reward < filter.pass => Some("failed"),
        Some(_) => None,
    }
}

/// The share of sequences of four tokens that were there before; 0 of fewer tokens.
fn repetition(ids: &[u32]) -> f64 {
    let all = ids.windows(SEQUENCE).count();
    let different = ids.windows(SEQUENCE).collect::<BTreeSet<_>>().len();
    (all - different) as f64 / all.max(1) as f64
}

#[cfg(test)]
mod tests {
    use lapidary_core::{PromptText, Rollout, StopReason, Verdict};

    use super::*;

    /// An answer of these ids to a prompt of one token.
    fn answer(text: &str, ids: &[u32], reward: Option<f32>, stop: StopReason) -> Sampled {
        let roles = std::iter::once(TokenRole::Prompt).chain(ids.iter().map(|_| TokenRole::Policy));
        Sampled {
            id: "a".into(),
            rollout: Rollout {
                prompt: 0,
                sample: 0,
                tokens: [&[1], ids].concat(),
                roles: roles.collect(),
                logp: vec![0.0; 1 + ids.len()],
                temperature: 0.7,
                weights: 0,
                stop,
                support: None,
                routing: None,
            },
            prompt_text: PromptText::Text("?".into()),
            completion: text.into(),
            answer: None,
            metadata: Default::default(),
            readings: Vec::new(),
            verdict: reward.map_or(Verdict::none("?"), |reward| Verdict::score(reward, "")),
            rewards: Default::default(),
            length_penalty: 0.0,
            advantage: None,
        }
    }

    fn filter() -> AnswerFilter {
        AnswerFilter {
            min_tokens: 2,
            max_tokens: Some(12),
            max_repetition: 0.5,
            pass: 0.5,
            dedup: true,
            best_of: Some(2),
        }
    }

    #[test]
    fn every_answer_is_kept_or_dropped_for_the_first_reason() {
        let of = |text: &str, ids: &[u32], reward| answer(text, ids, reward, StopReason::Eos);
        let mut group = vec![
            answer("cut", &[3, 4, 5], Some(1.0), StopReason::Length),
            of("s", &[2], Some(1.0)),
            of("l", &(0..13).collect::<Vec<_>>(), Some(1.0)),
            of("r", &[7; 9], Some(1.0)),
            of("n", &[3, 2], None),
            of("f", &[3, 2], Some(0.4)),
            of("good", &[3, 4, 2], Some(0.5)),
            of("good", &[3, 4, 2], Some(0.5)),
            of("better", &[3, 4, 5, 2], Some(1.0)),
            of("short", &[3, 2], Some(1.0)),
        ];
        let wanted = [
            Some("truncated"),
            Some("short"),
            Some("long"),
            Some("repetitive"),
            Some("no_verdict"),
            Some("failed"),
            Some("not_best"),
            Some("duplicate"),
            None,
            None,
        ];
        assert_eq!(fates(&filter(), &group), wanted);
        let all = AnswerFilter { best_of: None, dedup: false, max_repetition: 1.0, ..filter() };
        assert_eq!(fates(&all, &group).iter().filter(|fate| fate.is_none()).count(), 5);
        let best = AnswerFilter { best_of: Some(1), ..filter() };
        assert_eq!(fates(&best, &group)[9], None, "equal rewards: the shorter one");
        let metrics = judge(&filter(), std::slice::from_mut(&mut group));
        let get = |name: &str| metrics.iter().find(|(known, _)| known == name).unwrap().1;
        assert_eq!((get("distill/kept"), get("distill/prompts"), get("distill/dropped/failed")), (2.0, 1.0, 0.1));
        let rows = rows_of(&[group]);
        assert_eq!((rows.mask.rows(), rows.tokens.temperature), (2, vec![1.0, 1.0]));
        assert_eq!(rows.mask.row(0), [false, true, true, true, true], "the end token is learned");
    }

    /// By hand: nine equal tokens have six sequences of four, one of them new.
    #[test]
    fn repetition_is_of_sequences() {
        assert_eq!(repetition(&[7; 9]), 5.0 / 6.0);
        assert_eq!(repetition(&[1, 2, 3, 4, 1, 2, 3, 4]), 1.0 / 5.0);
        assert_eq!(repetition(&[7; 3]), 0.0);
    }
}
