//! A step of supervised fine-tuning: demonstrations in, one optimiser step, and now and then a look at held-out ones.
//!
//! ```text
//! item ─▶ tokens and mask ─▶ rows ─▶ −log p of the masked tokens, each weighing the same over the whole step ─▶ update
//! ```
//! Rows are ragged and always packed: no token is padding, whatever the lengths, and how many go through the model at once
//! (`tokens_per_microbatch`) changes no bit.

mod second_turn;

use std::sync::Arc;

use lapidary_core::{Item, Key, Kind, Message, Problem, PromptText, Purpose, Result, Role, Want};
use lapidary_task::{Split, Task};
use lapidary_text::{MaskedTokens, RenderOptions, Tokenizer};
use serde::{Deserialize, Serialize};

use crate::bench::Bench;
use crate::learn::{Learned, Lesson, Part, learn, update_of};
use crate::look::in_microbatches;
use crate::prompts::{Prompts, Tasks, check_length};
use crate::recipe::{EarlyStop, LossOn, Sft, Turns};
use crate::reference::Reference;
use crate::rows::Rows;
use crate::stage::{StepReport, Work, named};
use crate::state::RunState;
use crate::watch::{Metrics, Phase};

/// What is remembered of the held-out loss.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopState {
    /// The lowest loss so far; `None` before the first look.
    pub best: Option<f64>,
    /// The step of the run after which it was seen.
    pub best_step: u64,
    /// Looks since then.
    pub waited: u64,
    /// Hash of the manifest of the weights that were kept then, where they are.
    pub weights: Option<String>,
}

impl EarlyStopState {
    /// Takes the loss after `step` into account; true where it is better than all before it.
    pub(crate) fn observe(&mut self, rule: &EarlyStop, loss: f64, step: u64) -> bool {
        let better = self.best.is_none_or(|best| loss < best - rule.min_delta);
        if better {
            *self = Self { best: Some(loss), best_step: step, waited: 0, weights: None };
        } else {
            self.waited += 1;
        }
        better
    }
}

/// The work of an sft stage.
pub(crate) struct SftWork<'r> {
    sft: &'r Sft,
    prompts: Prompts,
    seed: u64,
    reference: Option<Reference>,
    /// Held-out demonstrations, where a rule looks at them.
    held_out: Option<(&'r EarlyStop, Arc<dyn Task>)>,
}

impl<'r> SftWork<'r> {
    pub(crate) fn new(sft: &'r Sft, tasks: &mut Tasks, seed: u64) -> Result<Self> {
        let prompts = Prompts::new(tasks, &sft.task, seed)?;
        let held_out = sft.early_stop.as_ref().map(|rule| (rule, prompts.share()));
        if let Some((_, task)) = &held_out
            && task.is_empty(Split::Test)
        {
            return Err(Problem::new(Kind::Data, "D046", format!("task `{}` has no held-out item", task.name()))
                .why("`[stage.early_stop]` looks at the loss of held-out demonstrations")
                .hint("give it a test split, or remove `[stage.early_stop]`"));
        }
        Ok(Self { sft, prompts, seed, reference: None, held_out })
    }

    /// The rows of demonstrations, checked against the context.
    fn rows(&self, bench: &Bench<'_, '_>, items: impl IntoIterator<Item = Result<Item>>) -> Result<Rows> {
        let mut rows = Rows::default();
        for item in items {
            push_example(&mut rows, bench, &item?, (self.sft.loss_on, self.sft.turns))?;
        }
        Ok(rows)
    }

    /// Mean −log p of the held-out demonstrations' learned tokens, in nats.
    fn held_out_loss(&self, bench: &Bench<'_, '_>, (rule, task): (&EarlyStop, &dyn Task)) -> Result<f64> {
        let count = task.len(Split::Test).map_or(rule.prompts, |len| len.min(rule.prompts));
        let rows = self.rows(bench, (0..count as u64).map(|index| task.item(Split::Test, index)))?;
        let budget = self.sft.training.tokens_per_microbatch;
        let stats = in_microbatches(&rows, budget, |tokens| bench.engine.score(tokens, Want::default()))?;
        let learned = stats.logp.flat().iter().zip(rows.mask.flat()).filter(|(_, on)| **on);
        let (sum, tokens) = learned.fold((0.0, 0u64), |(sum, n), (logp, _)| (sum - f64::from(*logp), n + 1));
        let loss = sum / tokens.max(1) as f64;
        match loss.is_finite() {
            true => Ok(loss),
            false => Err(Problem::new(Kind::Diverged, "N011", format!("the held-out loss is {loss}"))
                .hint("lower `learning_rate`, or set `max_grad_norm`")),
        }
    }

    /// The held-out loss, where a look is due after this step; what it says of the stage goes into the report.
    fn look(&self, bench: &Bench<'_, '_>, state: &mut RunState, report: &mut StepReport) -> Result<()> {
        let Some((rule, task)) = &self.held_out else { return Ok(()) };
        let done = state.stage_step + 1;
        let last = done == self.sft.training.steps;
        if !done.is_multiple_of(rule.every) && !last {
            return Ok(());
        }
        let loss = bench.stopwatch.time(Phase::Evaluate, || self.held_out_loss(bench, (rule, &**task)))?;
        report.metrics.push(("eval/loss".into(), loss));
        report.improved = state.early_stop.observe(rule, loss, state.step + 1) && rule.keep_best;
        report.ends = state.early_stop.waited >= rule.patience;
        Ok(())
    }
}

impl Work for SftWork<'_> {
    fn step(&mut self, bench: &mut Bench<'_, '_>, state: &mut RunState) -> Result<StepReport> {
        let training = &self.sft.training;
        let items = (0..training.prompts_per_step).map(|_| self.prompts.take(&mut state.cursors));
        let mut items = items.collect::<Result<Vec<Item>>>()?;
        if let Some(rule) = &self.sft.second_turn {
            let key = Key::new(self.seed, Purpose::Sample).at_name("second turn").at(state.step);
            second_turn::ask_again(bench, rule, &mut items, key)?;
        }
        let mut rows = self.rows(bench, items.into_iter().map(Ok))?;
        if let Some(reference) = &self.reference {
            reference.look_back(bench, &mut rows, training.tokens_per_microbatch)?;
        }
        let learning_rate = training.learning_rate_at(state.stage_step, training.steps);
        let lesson = Lesson {
            parts: vec![Part::of(&rows, &self.sft.objective)],
            tokens_per_microbatch: training.tokens_per_microbatch,
            max_new_tokens: bench.engine.model().context,
            update: update_of(training, learning_rate),
        };
        let tokens = rows.mask.values() as u64;
        let progress = bench.ear.progress(Phase::Learn, rows.mask.rows() as u64);
        let stopwatch = bench.stopwatch;
        let learned = stopwatch.time(Phase::Learn, || learn(bench, &lesson, &progress))?;
        let Some(learned) = learned else { return Err(nothing_to_learn()) };
        state.tokens += tokens;
        let metrics = metrics_of(&learned, learning_rate, state.tokens);
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

/// What an optimiser step on given text says of itself.
pub(crate) fn metrics_of(learned: &Learned, learning_rate: f64, tokens: u64) -> Metrics {
    let mut metrics = named(learned.losses[0].finish());
    metrics.retain(|(name, _)| name != "policy_loss");
    metrics.push(("grad_norm".into(), learned.update.grad_norm));
    metrics.push(("weight_norm".into(), learned.update.weight_norm));
    metrics.push(("learning_rate".into(), learning_rate));
    metrics.push(("num_tokens".into(), tokens as f64));
    metrics
}

fn nothing_to_learn() -> Problem {
    Problem::new(Kind::Data, "D044", "the demonstrations of this step hold no token to learn")
}

/// Appends a demonstration that must fit the context.
pub(crate) fn push_example(rows: &mut Rows, bench: &Bench<'_, '_>, item: &Item, what: (LossOn, Turns)) -> Result<()> {
    let context = bench.engine.model().context;
    let example = example(bench.tokenizer, item, what)?;
    let before = example.mask.iter().position(|own| *own).unwrap_or(example.mask.len());
    check_length(item, before, context)?;
    check_demonstration(item, example.tokens.len(), context)?;
    rows.tokens.push(&example.tokens, &example.mask, 1.0);
    rows.mask.push(example.mask);
    rows.names.push(item.id.clone());
    Ok(())
}

/// The tokens of a demonstration and which of them are learned.
///
/// # Errors
/// `D045` nothing to learn. T014 the chat template writes a turn differently once later ones follow, T015 several turns and no
/// template, each naming the item.
pub(crate) fn example(tokenizer: &Tokenizer, item: &Item, (loss_on, turns): (LossOn, Turns)) -> Result<MaskedTokens> {
    let completion = demonstration(item)?;
    let earlier = |messages: &[Message]| messages.iter().any(|message| message.role == Role::Assistant);
    let mut example = match &item.prompt {
        PromptText::Messages(messages) if turns == Turns::All && earlier(messages) => {
            let mut whole = messages.clone();
            whole.push(Message::new(Role::Assistant, completion));
            tokenizer.assistant_mask(&whole, &RenderOptions::default()).map_err(|problem| of_turns(problem, item))?
        }
        prompt => tokenizer.encode_example(prompt, completion)?,
    };
    if loss_on == LossOn::All {
        example.mask.iter_mut().enumerate().for_each(|(t, own)| *own = t > 0);
    }
    Ok(example)
}

fn of_turns(problem: Problem, item: &Item) -> Problem {
    let place = format!("`{}`, a conversation with several turns of the assistant", item.id);
    problem.context(place).why("every turn is to be learned (`turns = \"all\"`)").hint(
        "set `turns = \"last\"` in the sft stage to learn the last turn only, or give the model a chat template that \
         writes every turn the same whatever follows",
    )
}

/// The words that sft learns.
pub(crate) fn demonstration(item: &Item) -> Result<&str> {
    item.completion.as_deref().ok_or_else(|| {
        Problem::new(Kind::Data, "D045", format!("`{}` has no completion to learn from", item.id))
            .hint("sft needs a `completion` (or an assistant's turn) per row; rl needs an answer only")
    })
}

fn check_demonstration(item: &Item, tokens: usize, context: usize) -> Result<()> {
    if tokens <= context {
        return Ok(());
    }
    Err(Problem::new(
        Kind::Data,
        "D041",
        format!("`{}` has {tokens} tokens with its completion, but the model's context is {context}", item.id),
    )
    .hint("remove or shorten this item, or use a model with a longer context"))
}

#[cfg(test)]
mod tests;
