//! A stage is one kind of work, done step by step.

use lapidary_core::{Item, Kind, Problem, Result};

use crate::bench::Bench;
use crate::learn::{Learned, Lesson, Part, learn, update_of};
use crate::prompts::{Prompts, Tasks, check_length};
use crate::recipe::{Sft, Stage};
use crate::reference::Reference;
use crate::rl::RlWork;
use crate::rollouts::Sampled;
use crate::rows::Rows;
use crate::state::RunState;
use crate::watch::{Metrics, Phase, Warning};

/// What a step gives back. Everything in `metrics` and `samples` is the same for the same run.
#[derive(Default)]
pub(crate) struct StepReport {
    pub(crate) metrics: Metrics,
    /// Every sample of an rl step.
    pub(crate) samples: Vec<Sampled>,
    pub(crate) warnings: Vec<Warning>,
    /// Tokens sampled and tokens learned from.
    pub(crate) tokens: u64,
}

/// The work of a stage.
pub(crate) trait Work {
    /// Does one step: moves the engine and the state.
    fn step(&mut self, bench: &mut Bench<'_, '_>, state: &mut RunState) -> Result<StepReport>;

    /// Where prompts come from.
    fn prompts(&self) -> &Prompts;

    /// Gives what a KL term measures against.
    fn set_reference(&mut self, reference: Reference);
}

/// Gets a stage ready: its task and its rewards are built, so that what is wrong with them is said before the first step.
pub(crate) fn prepare<'r>(stage: &'r Stage, tasks: &mut Tasks, seed: u64) -> Result<Box<dyn Work + 'r>> {
    Ok(match stage {
        Stage::Sft(sft) => Box::new(SftWork { sft, prompts: Prompts::new(tasks, &sft.task, seed)?, reference: None }),
        Stage::Rl(rl) => Box::new(RlWork::new(rl, tasks, seed)?),
    })
}

/// Supervised fine-tuning: −log p of the demonstration's tokens, each token of the step weighing the same.
struct SftWork<'r> {
    sft: &'r Sft,
    prompts: Prompts,
    reference: Option<Reference>,
}

impl Work for SftWork<'_> {
    fn step(&mut self, bench: &mut Bench<'_, '_>, state: &mut RunState) -> Result<StepReport> {
        let training = &self.sft.training;
        let context = bench.engine.model().context;
        let mut rows = Rows::default();
        for _ in 0..training.prompts_per_step {
            let item = self.prompts.take(&mut state.cursors)?;
            let example = bench.tokenizer.encode_example(&item.prompt, demonstration(&item)?)?;
            let prompt = example.mask.iter().filter(|own| !**own).count();
            check_length(&item, prompt, context)?;
            check_demonstration(&item, example.tokens.len(), context)?;
            rows.tokens.push(&example.tokens, &example.mask, 1.0);
            rows.mask.push(example.mask);
            rows.names.push(item.id);
        }
        let learning_rate = training.learning_rate_at(state.stage_step, training.steps);
        if let Some(reference) = &self.reference {
            reference.look_back(bench, &mut rows, training.tokens_per_microbatch)?;
        }
        let lesson = Lesson {
            parts: vec![Part::of(&rows, &self.sft.objective)],
            tokens_per_microbatch: training.tokens_per_microbatch,
            max_new_tokens: context,
            update: update_of(training, learning_rate),
        };
        let tokens = rows.mask.values() as u64;
        state.tokens += tokens;
        let progress = bench.ear.progress(Phase::Learn, rows.mask.rows() as u64);
        let stopwatch = bench.stopwatch;
        let learned = stopwatch.time(Phase::Learn, || learn(bench, &lesson, &progress))?;
        let Some(Learned { losses, update, .. }) = learned else {
            return Err(Problem::new(Kind::Data, "D044", "the demonstrations of this step hold no token to learn"));
        };
        let mut metrics = named(losses[0].finish());
        metrics.retain(|(name, _)| name != "policy_loss");
        metrics.push(("grad_norm".into(), update.grad_norm));
        metrics.push(("weight_norm".into(), update.weight_norm));
        metrics.push(("learning_rate".into(), learning_rate));
        metrics.push(("num_tokens".into(), state.tokens as f64));
        Ok(StepReport { metrics, tokens, ..StepReport::default() })
    }

    fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    fn set_reference(&mut self, reference: Reference) {
        self.reference = Some(reference);
    }
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

/// Owned names.
pub(crate) fn named(values: Vec<(&'static str, f64)>) -> Metrics {
    values.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}
