//! Who judges the samples of a stage: its rewards, and the models that some of them ask about the tokens.

use std::collections::BTreeMap;

use lapidary_core::{Kind, Problem, Result, TokenBatch, TokenRole, TokenStats, Want};
use lapidary_engine::Engine;
use lapidary_eval::{Asked, readings};
use lapidary_reward::confidence::Readings;
use lapidary_reward::intrinsic::{Reads, Weights};
use lapidary_reward::{Mix, MixVerdicts, Reward};

use crate::bench::Bench;
use crate::recipe::Rl;
use crate::reference::Reference;
use crate::rollouts::{self, Sampled, attempts};
use crate::stage::Asks;
use crate::watch::{Phase, Warning};

/// The rewards of a stage and whom they ask.
pub(crate) struct Judge {
    mix: Mix,
    reads: Vec<Reads>,
    /// The model at the start of the stage.
    frozen: Option<Reference>,
    /// The moving mean of the weights.
    mean: Option<Box<dyn Engine>>,
}

impl Judge {
    /// # Errors
    /// `Usage`: two moving means of the weights that move differently.
    pub(crate) fn new(mix: Mix) -> Result<Self> {
        let reads = mix.reads();
        let means = reads.iter().filter(|reads| matches!(reads.view.weights, Weights::Ema { .. }));
        if means.count() > 1 {
            return Err(Problem::new(Kind::Usage, "R040", "the rewards ask two moving means of the weights")
                .hint("give all of them the same `model_decay`"));
        }
        Ok(Self { reads, mix, frozen: None, mean: None })
    }

    pub(crate) fn mix(&self) -> &Mix {
        &self.mix
    }

    /// Which models the rewards ask beside the one at hand.
    pub(crate) fn asks(&self) -> Asks {
        let any = |keep: fn(&Weights) -> bool| self.reads.iter().any(|reads| keep(&reads.view.weights));
        Asks {
            frozen: any(|weights| *weights == Weights::Frozen),
            mean: any(|weights| matches!(weights, Weights::Ema { .. })),
        }
    }

    pub(crate) fn set_frozen(&mut self, reference: Reference) {
        self.frozen = Some(reference);
    }

    pub(crate) fn set_mean(&mut self, mean: Box<dyn Engine>) {
        self.mean = Some(mean);
    }

    pub(crate) fn mean(&self) -> Option<&dyn Engine> {
        self.mean.as_deref()
    }

    /// Moves the mean of the weights towards those at hand: mean ← decay · mean + (1 − decay) · weights.
    pub(crate) fn follow(&mut self, engine: &dyn Engine) {
        let decay = self.reads.iter().find_map(|reads| match reads.view.weights {
            Weights::Ema { decay } => Some(decay),
            _ => None,
        });
        if let (Some(decay), Some(mean)) = (decay, &mut self.mean) {
            let moved = |(old, new): (&f32, &f32)| (decay * f64::from(*old) + (1.0 - decay) * f64::from(*new)) as f32;
            let values: Vec<f32> = mean.learned().iter().zip(engine.learned()).map(moved).collect();
            mean.set_learned(&values);
        }
    }

    /// What checks the answers of the task, where a vote is held; and that enough samples vote.
    pub(crate) fn gold(&self, rl: &Rl, answer_means: &str) -> Result<Option<Box<dyn Reward>>> {
        let Some(votes) = self.mix.votes() else { return Ok(None) };
        if rl.hint.is_some() {
            return Err(Problem::new(Kind::Usage, "R040", "answers that were given a hint cannot vote")
                .why("a hint is a part of the demonstration: a vote among such answers is no longer the model's own")
                .hint("remove `[stage.hint]`, or the reward that is voted on"));
        }
        if votes > 0 && votes < rl.samples_per_prompt {
            let message = format!("{votes} votes cannot judge {} samples per prompt", rl.samples_per_prompt);
            return Err(Problem::new(Kind::Usage, "R040", message)
                .why("the samples that are learned from are the first of those that vote")
                .hint(format!("set `votes = {}` or more, or 0", rl.samples_per_prompt)));
        }
        lapidary_reward::build(answer_means, &serde_json::Value::Null).map(Some)
    }

    /// Gives the rewards what the run remembers.
    pub(crate) fn recall(&mut self, memory: &BTreeMap<String, f64>) {
        self.mix.recall(memory);
    }

    /// What the run is to remember after these samples.
    pub(crate) fn remember<'a>(&self, samples: impl Iterator<Item = &'a Sampled> + Clone) -> BTreeMap<String, f64> {
        attempts(samples, |attempts| self.mix.remember(attempts))
    }

    /// Asks the models about the tokens of samples of `engine`, and then the rewards about the samples.
    pub(crate) fn judge(
        &self,
        (bench, engine): (&Bench<'_, '_>, &dyn Engine),
        groups: &mut [Vec<Sampled>],
    ) -> Result<MixVerdicts> {
        for reads in &self.reads {
            let all: Vec<Readings> = self.read((bench, engine), groups, reads)?;
            for (sampled, readings) in groups.iter_mut().flatten().zip(all) {
                sampled.readings.push((reads.view, readings));
            }
        }
        Ok(bench.stopwatch.time(Phase::Reward, || rollouts::judge(groups.iter().flatten(), &self.mix)))
    }

    fn read(
        &self,
        (bench, engine): (&Bench<'_, '_>, &dyn Engine),
        groups: &[Vec<Sampled>],
        reads: &Reads,
    ) -> Result<Vec<Readings>> {
        let split = |sampled: &Sampled| {
            sampled
                .rollout
                .roles
                .iter()
                .position(|role| *role != TokenRole::Prompt)
                .unwrap_or(sampled.rollout.roles.len())
        };
        let asked: Vec<Asked<'_>> = groups
            .iter()
            .flatten()
            .map(|sampled| {
                let (prompt, completion) = sampled.rollout.tokens.split_at(split(sampled));
                Asked { prompt, completion }
            })
            .collect();
        let temperature = match groups.iter().flatten().next() {
            Some(sampled) if reads.view.sampled => sampled.rollout.temperature,
            _ => 1.0,
        };
        let score = |tokens: &TokenBatch, want: Want| self.ask((bench, engine), reads.view.weights, tokens, want);
        let model = bench.engine.model().vocabulary;
        bench.stopwatch.time(Phase::Reward, || {
            readings(&score, (bench.tokenizer, model), &asked, (reads.want, temperature), &|_| ())
        })
    }

    fn ask(
        &self,
        (bench, current): (&Bench<'_, '_>, &dyn Engine),
        weights: Weights,
        tokens: &TokenBatch,
        want: Want,
    ) -> Result<TokenStats> {
        match (weights, &self.frozen, &self.mean) {
            (Weights::Frozen, Some(Reference::Frozen(engine)), _) => engine.score(tokens, want),
            (Weights::Frozen, Some(Reference::WithoutAdapter), _) => bench.engine.score_base(tokens, want),
            (Weights::Ema { .. }, _, Some(mean)) => mean.score(tokens, want),
            (Weights::Current, ..) => current.score(tokens, want),
            (weights, ..) => unreachable!("a stage begins with the model that its rewards ask: {weights:?}"),
        }
    }

    /// A reward that the model could raise by itself, without a term that holds it near the reference.
    pub(crate) fn warn(&self, step: u64, kl_coefficient: f64) -> Option<Warning> {
        let least = self.reads.iter().map(|reads| reads.least_kl).fold(0.0, f64::max);
        (kl_coefficient < least).then(|| Warning {
            step,
            rule: "intrinsic_kl".into(),
            seen: format!("a reward of the model's own confidence with a KL coefficient of {kl_coefficient}"),
            cause: "nothing holds the policy near its reference: such a reward is highest for short, repetitive text"
                .into(),
            knob: format!("`kl_coefficient` of the method: published settings do not go below {least}"),
        })
    }
}
