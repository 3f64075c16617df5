//! A step of learning from what people said of answers: for a reward model, or for the policy itself.
//!
//! ```text
//! item ─▶ chosen, rejected (or one judged answer) ─▶ rows ─▶ rewards r = head, or β·(logp − logp_ref) ─▶ loss(r_w, r_l) ─▶ update
//! ```
//! Rows are packed as everywhere; the two answers of a comparison share their prompt's computation. Which rows are learned from
//! is decided before the first step (`sift.rs`) and, where it takes tokens to know, as they come.

mod auxiliary;
mod batch;
mod learn;
mod report;
mod said;
mod sift;
mod state;
#[cfg(test)]
pub(crate) mod testing;
mod waiting;

use std::collections::HashMap;

use lapidary_algo::Answer;
use lapidary_algo::preference::{Number, PreferenceMetrics};
use lapidary_core::{Item, Kind, Problem, Ragged, Result};
use lapidary_task::Split;

use crate::bench::Bench;
use crate::learn::update_of;
use crate::prompts::{Prompts, Tasks};
use crate::recipe::{Comparisons, EarlyStop, NEVER};
use crate::reference::Reference;
use crate::stage::{StepReport, Work, named};
use crate::state::RunState;
use crate::watch::{Metrics, Phase};
use batch::{Batch, Making, Scored, nothing_fits};
pub(crate) use learn::Pupil;
use sift::Sifted;
pub(crate) use sift::sifted;
pub use state::{ComparisonState, RewardStatistics};
pub(crate) use waiting::Waiting;

/// Items of a task without an end that are gone through in search of one that fits.
const MOST_SKIPPED: usize = 10_000;
/// Log-probabilities of the reference that are kept: 256 MiB. What comes later is computed each time.
const MOST_KEPT: usize = 64 << 20;

/// The work of a stage that learns from comparisons.
pub(crate) struct ComparisonsWork<'r> {
    rule: &'r Comparisons,
    pupil: Pupil,
    prompts: Prompts,
    sifted: Sifted,
    looks: bool,
    auxiliary: Option<auxiliary::Asked<'r>>,
    reference: Option<Reference>,
    /// What the reference says of answers, by row name and place; the numbers of a data set's rows, which come again.
    kept: HashMap<String, Vec<Vec<f32>>>,
    kept_tokens: usize,
}

impl<'r> ComparisonsWork<'r> {
    pub(crate) fn new(rule: &'r Comparisons, pupil: Pupil, tasks: &mut Tasks, seed: u64) -> Result<Self> {
        let (prompts, sifted) = sifted(tasks, (&rule.task, &rule.pairs), seed)?;
        let looks = !prompts.task().is_empty(Split::Test);
        if !looks && rule.early_stop.patience < NEVER {
            let message = format!("task `{}` has no held-out item", prompts.task().name());
            return Err(Problem::new(Kind::Data, "D046", message)
                .why("`[stage.early_stop]` looks at held-out comparisons")
                .hint("give it a test split, or remove `[stage.early_stop]`"));
        }
        let pairs = rule.preference.needs().synthetic_pairs.unwrap_or(0);
        let auxiliary = rule.auxiliary.as_ref().map(|rule| auxiliary::Asked::new(rule, pairs, seed)).transpose()?;
        let (reference, kept) = (None, HashMap::new());
        Ok(Self { rule, pupil, prompts, sifted, looks, auxiliary, reference, kept, kept_tokens: 0 })
    }

    /// The next examples of a step, and how many items were passed over for them.
    fn take(&mut self, bench: &Bench<'_, '_>, state: &mut RunState) -> Result<(Batch, usize)> {
        let (mut batch, mut skipped) = (Batch::default(), 0);
        let (wanted, most) = (self.rule.training.prompts_per_step, self.prompts.len().unwrap_or(MOST_SKIPPED));
        while batch.examples.len() < wanted {
            let missing = wanted - batch.examples.len();
            let items = (0..missing).map(|_| self.prompts.take(&mut state.cursors)).collect::<Result<Vec<Item>>>()?;
            for item in self.opine(bench, items)? {
                if !batch.push(&item, making(self.rule, self.pupil, bench))? {
                    skipped += 1;
                }
                self.check(batch.examples.last(), &item)?;
            }
            if skipped >= most && batch.examples.is_empty() {
                let longest = making(self.rule, self.pupil, bench).longest;
                return Err(nothing_fits(self.prompts.task().name(), longest));
            }
        }
        Ok((batch, skipped))
    }

    /// The items with what the auxiliary model says, where one is asked.
    fn opine(&mut self, bench: &Bench<'_, '_>, mut items: Vec<Item>) -> Result<Vec<Item>> {
        if let (Some(asked), Some(reference)) =
            (&mut self.auxiliary, self.reference.as_ref().and_then(Reference::engine))
        {
            asked.opine(bench, reference, &mut items)?;
        }
        Ok(items)
    }

    /// Refuses an example that the loss cannot learn from.
    fn check(&self, example: Option<&lapidary_algo::Example>, item: &Item) -> Result<()> {
        let Some(unfit) = example.and_then(|example| self.rule.preference.unfit(example)) else { return Ok(()) };
        let name = self.rule.preference.method().name;
        Err(Problem::new(Kind::Data, "D068", format!("`{name}` cannot learn from `{}`", item.id))
            .why(unfit.why())
            .hint(unfit.hint()))
    }

    /// Fills in what the reference says, from what is kept where it is.
    fn look_back(&mut self, bench: &Bench<'_, '_>, batch: &mut Batch, keep: bool) -> Result<()> {
        let Some(reference) = self.reference.clone().filter(|_| self.rule.preference.needs().reference) else {
            return Ok(());
        };
        let missing: Vec<usize> = batch
            .by_name()
            .filter(|(name, place, _)| self.known(name, *place).is_none())
            .map(|(.., row)| row)
            .collect();
        let mut rows = batch.rows.select(&missing);
        if !missing.is_empty() {
            reference.look_back(bench, &mut rows, self.rule.training.tokens_per_microbatch)?;
        }
        let fresh = rows.logp_reference.unwrap_or_default();
        let (mut next, mut all) = (0, Ragged::new());
        let mut news = Vec::new();
        for (name, place, row) in batch.by_name() {
            match self.known(name, place) {
                Some(values) => all.push(values.iter().copied()),
                None => {
                    assert_eq!(missing[next], row, "rows in order");
                    all.push(fresh.row(next).iter().copied());
                    news.push((name.to_string(), fresh.row(next).to_vec()));
                    next += 1;
                }
            }
        }
        batch.rows.logp_reference = Some(all);
        if keep {
            self.keep(news);
        }
        Ok(())
    }

    fn known(&self, name: &str, place: usize) -> Option<&Vec<f32>> {
        self.kept.get(name)?.get(place)
    }

    fn keep(&mut self, rows: Vec<(String, Vec<f32>)>) {
        let tokens: usize = rows.iter().map(|(_, values)| values.len()).sum();
        if self.prompts.len().is_some() && self.kept_tokens + tokens <= MOST_KEPT {
            self.kept_tokens += tokens;
            rows.into_iter().for_each(|(name, values)| self.kept.entry(name).or_default().push(values));
        }
    }

    /// Answers under other examples' prompts, where the loss wants them.
    fn mismatched(&mut self, bench: &Bench<'_, '_>, batch: &Batch) -> Result<Option<Batch>> {
        if !self.rule.preference.needs().mismatched {
            return Ok(None);
        }
        let mut other = batch.mismatched(making(self.rule, self.pupil, bench))?;
        self.look_back(bench, &mut other, false)?;
        Ok(Some(other))
    }

    /// The held-out examples that fit.
    fn held_out(&mut self, bench: &Bench<'_, '_>) -> Result<Batch> {
        let most = self.rule.early_stop.prompts;
        let len = self.prompts.task().len(Split::Test).unwrap_or(most + MOST_SKIPPED) as u64;
        let (mut batch, mut next) = (Batch::default(), 0);
        while batch.examples.len() < most && next < len {
            let end = (next + (most - batch.examples.len()) as u64).min(len);
            let items = (next..end).map(|index| self.prompts.task().item(Split::Test, index)).collect::<Result<_>>()?;
            for item in self.opine(bench, items)? {
                batch.push(&item, making(self.rule, self.pupil, bench))?;
                self.check(batch.examples.last(), &item)?;
            }
            next = end;
        }
        Ok(batch)
    }

    /// Held-out loss and what else there is to say of held-out examples; nothing where none fits.
    fn measure(&mut self, bench: &Bench<'_, '_>, state: &mut RunState) -> Result<Option<(f64, Metrics)>> {
        let mut batch = self.held_out(bench)?;
        if batch.examples.is_empty() {
            return Ok(None);
        }
        let (preference, budget) = (&self.rule.preference, self.rule.training.tokens_per_microbatch);
        let before = &state.comparison.preference;
        let (rewards, found): (Vec<f64>, PreferenceMetrics) = match self.pupil {
            Pupil::Reward => {
                let rewards = learn::rewards(bench, &batch, budget)?;
                let found = learn::loss_of_rewards(preference, (&batch, &rewards), before)?;
                (rewards, found)
            }
            Pupil::Policy => {
                self.look_back(bench, &mut batch, true)?;
                let answers = learn::answers(bench, (preference, &batch), budget)?;
                let others = match self.mismatched(bench, &batch)? {
                    Some(others) => learn::answers(bench, (preference, &others), budget)?,
                    None => Vec::new(),
                };
                let found = learn::loss_of_answers(preference, (&batch, &answers), &others, before);
                (self.implicit(&answers), found)
            }
        };
        let loss = found.loss();
        if !loss.is_finite() {
            return Err(Problem::new(Kind::Diverged, "N011", format!("the held-out loss is {loss}"))
                .hint("lower `learning_rate`, or set `max_grad_norm`"));
        }
        let told = |name: &str| name == "loss" || name.starts_with("rewards/") || name.starts_with("logps/");
        let finished = found.finish().into_iter().filter(|(name, _)| told(name));
        let mut metrics: Metrics = finished.map(|(name, value)| (format!("eval/{name}"), value)).collect();
        metrics.extend(report::report(&batch, &rewards));
        Ok(Some((loss, metrics)))
    }

    /// The reward that a policy is: β·(logp − logp_ref), or without a reference β times the mean log-probability.
    fn implicit(&self, answers: &[Answer]) -> Vec<f64> {
        let preference = &self.rule.preference;
        let beta = preference.number(Number::Beta).unwrap_or(1.0);
        let against = preference.needs().reference;
        let reward = |answer: &Answer| beta * if against { answer.logp - answer.reference } else { answer.mean };
        answers.iter().map(reward).collect()
    }

    /// Looks at held-out examples where that is due after this step.
    fn look(&mut self, bench: &Bench<'_, '_>, state: &mut RunState, report: &mut StepReport) -> Result<()> {
        let rule: &EarlyStop = &self.rule.early_stop;
        let done = state.stage_step + 1;
        let due = done.is_multiple_of(rule.every) || done == self.rule.training.steps;
        if !self.looks || !due {
            return Ok(());
        }
        let stopwatch = bench.stopwatch;
        let Some((loss, metrics)) = stopwatch.time(Phase::Evaluate, || self.measure(bench, state))? else {
            return Ok(());
        };
        let better = state.early_stop.observe(rule, loss, state.step + 1);
        if self.pupil == Pupil::Reward && (better || !rule.keep_best) {
            state.comparison.rewards = RewardStatistics::of(&metrics);
        }
        report.metrics.extend(metrics);
        report.improved = better && rule.keep_best;
        report.ends = state.early_stop.waited >= rule.patience;
        Ok(())
    }
}

/// How the rows of a stage are made.
fn making<'a>(rule: &'a Comparisons, pupil: Pupil, bench: &'a Bench<'_, '_>) -> Making<'a> {
    let model = bench.engine.model();
    let scored = match pupil {
        Pupil::Policy => Scored::Answers,
        Pupil::Reward if model.language_head => Scored::First,
        Pupil::Reward => Scored::Nothing,
    };
    let longest = rule.pairs.max_length.map_or(model.context, |most| most.min(model.context));
    Making { tokenizer: bench.tokenizer, rule: &rule.pairs, longest, scored }
}

impl Work for ComparisonsWork<'_> {
    fn step(&mut self, bench: &mut Bench<'_, '_>, state: &mut RunState) -> Result<StepReport> {
        let (training, preference) = (&self.rule.training, &self.rule.preference);
        let (mut batch, skipped) = self.take(bench, state)?;
        let stopwatch = bench.stopwatch;
        stopwatch.time(Phase::Learn, || self.look_back(bench, &mut batch, true))?;
        let mismatched = self.mismatched(bench, &batch)?;
        let share = state.stage_step as f64 / training.steps as f64;
        let budget = training.tokens_per_microbatch;
        let before = &state.comparison.preference;
        let learner = (preference, self.pupil);
        let prepared = learn::prepare(bench, learner, (&batch, mismatched.as_ref()), (before, share), budget)?;
        let learning_rate = training.learning_rate_at(state.stage_step, training.steps);
        let update = update_of(training, learning_rate);
        let progress = bench.ear.progress(Phase::Learn, batch.tokens().tokens.rows() as u64);
        let (learned, done) = stopwatch
            .time(Phase::Learn, || learn::learn(bench, learner, (&batch, &prepared), (budget, &update), &progress))?;
        state.comparison.preference = prepared.next;
        let tokens = batch.rows.mask.values() as u64;
        state.tokens += tokens;
        let mut metrics = named(learned.finish());
        metrics.push(("grad_norm".into(), done.grad_norm));
        metrics.push(("weight_norm".into(), done.weight_norm));
        metrics.push(("learning_rate".into(), learning_rate));
        metrics.push(("num_tokens".into(), state.tokens as f64));
        metrics.push(("pairs/skipped".into(), skipped as f64));
        if state.stage_step == 0 {
            metrics.extend(self.sifted.metrics());
        }
        let mut report = StepReport { metrics, tokens, ..StepReport::default() };
        self.look(bench, state, &mut report)?;
        Ok(report)
    }

    fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    fn set_reference(&mut self, reference: Reference) {
        self.reference = Some(reference);
    }
}

/// Tokens of the longer answer of an item with its prompt, as far as one may be that is learned from.
pub(crate) fn longest(
    tokenizer: &lapidary_text::Tokenizer,
    item: &Item,
    rule: &crate::recipe::PairRule,
    context: usize,
) -> Result<usize> {
    let Some(said) = said::Said::read(item, rule)? else { return Ok(1) };
    let most = rule.max_length.map_or(context, |most| most.min(context));
    let lengths = said.texts().into_iter().map(|text| Ok(tokenizer.encode_example(&said.prompt, text)?.tokens.len()));
    Ok(lengths.collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or(1).min(most))
}
