//! Tokens: from an engine's log-probabilities to answers, and from answers' derivatives back to tokens.

use lapidary_core::{Ragged, Result, TokenGrads, TokenStats};

use super::choices::Weighting;
use super::coupling::PreferencePrepared;
use super::example::{Example, Pair};
use super::metrics::PreferenceMetrics;
use super::numbers::Number;
use super::resolve::Preference;
use super::score::Answer;
use crate::loss::finite;

/// The fixed side of a micro-batch. Raggeds are shaped as the token rows: index = token index.
#[derive(Clone, Copy, Debug)]
pub struct PreferenceBatch<'a> {
    /// True at the tokens of answers.
    pub mask: &'a Ragged<bool>,
    /// Log-probabilities by the reference; where [`super::PreferenceNeeds::reference`].
    pub logp_reference: Option<&'a Ragged<f32>>,
    /// What is learned from; rows are those of the mask.
    pub examples: &'a [Example],
    /// Which of the step's examples the first one is.
    pub from: usize,
}

/// What a micro-batch answers to an engine.
#[derive(Clone, Debug, PartialEq)]
pub struct PreferenceTokenOutput {
    /// This micro-batch's part of the step's loss; parts add up to the loss of the step.
    pub loss: f64,
    /// Derivative of the step's loss by each log-probability.
    pub grads: TokenGrads,
    /// Sums for reporting.
    pub metrics: PreferenceMetrics,
    /// What was seen of each row: those of a step together give [`Preference::step_metrics`].
    pub answers: Vec<Answer>,
    /// WPO's weight of each example, where there is one.
    pub weights: Vec<f64>,
}

/// `mean_t (logp_t − ln a_t)`: log of WPO's weight of an answer, with the alignment `a_t` = `max_v π(v)` (greedy),
/// `Σ_v π(v)²` (sampled) or 1 (`None`). Zhou et al. 2024, arXiv 2406.11827.
pub fn wpo_log_weight(logp: &[f64], log_alignment: Option<&[f64]>) -> f64 {
    assert!(!logp.is_empty(), "an answer without tokens has no weight");
    let aligned = |at: usize| logp[at] - log_alignment.map_or(0.0, |alignment| alignment[at]);
    (0..logp.len()).map(aligned).sum::<f64>() / logp.len() as f64
}

impl Preference {
    /// The answers of a batch of rows: one per row, tokens beyond the shorter answer of a pair weighted by `ld_alpha`.
    ///
    /// # Errors
    /// `Diverged` (`N010`): names the first scored token with a number that is not finite.
    pub fn answers(&self, batch: &PreferenceBatch<'_>, logp: &Ragged<f32>) -> Result<Vec<Answer>> {
        let mask = batch.mask;
        assert!(logp.same_shape(mask), "log-probabilities and mask differ in shape");
        assert!(batch.logp_reference.is_none_or(|given| given.same_shape(mask)), "reference and mask differ in shape");
        assert!(batch.logp_reference.is_some() || !self.needs().reference, "`{}` needs a reference", self.method.name);
        let shared = self.shared_lengths(batch);
        (0..mask.rows())
            .map(|row| {
                let mut answer = Answer::default();
                let mut plain = 0.0;
                for (place, &token) in scored(mask.row(row)).iter().enumerate() {
                    let weight = self.token_weight(place, shared[row]);
                    let value = finite("log-probability", f64::from(logp.row(row)[token]), row, token)?;
                    plain += value;
                    answer.logp += weight * value;
                    answer.tokens += 1.0;
                    if let Some(reference) = batch.logp_reference {
                        let what = "reference log-probability";
                        answer.reference += weight * finite(what, f64::from(reference.row(row)[token]), row, token)?;
                    }
                }
                answer.mean = if answer.tokens > 0.0 { plain / answer.tokens } else { 0.0 };
                Ok(answer)
            })
            .collect()
    }

    /// The part that a micro-batch has in the step's loss, and its derivative by each token's log-probability:
    /// `dL/dlogp_t = w_t·dL/dΣ + (1/n)·dL/dmean`.
    ///
    /// # Errors
    /// `Diverged` (`N010`), as [`Preference::answers`]. Panics on bugs of the caller, as [`Preference::loss`].
    pub fn token_loss(
        &self,
        batch: &PreferenceBatch<'_>,
        stats: &TokenStats,
        prepared: &PreferencePrepared,
    ) -> Result<PreferenceTokenOutput> {
        let answers = self.answers(batch, &stats.logp)?;
        let mut weights = Vec::new();
        let weighted = self.weighted(batch, stats, &mut weights);
        let examples = weighted.as_deref().unwrap_or(batch.examples);
        let mut output = self.loss(&answers, examples, batch.from, prepared);
        weights.iter().for_each(|weight| output.metrics.mean("wpo/weight", *weight));
        let shared = self.shared_lengths(batch);
        let mut logp = batch.mask.like(0.0_f32);
        for (row, &shared) in shared.iter().enumerate() {
            let (by_sum, by_mean) = (output.by_logp[row], output.by_mean[row]);
            let places = scored(batch.mask.row(row));
            let per_token = if places.is_empty() { 0.0 } else { by_mean / places.len() as f64 };
            for (place, &token) in places.iter().enumerate() {
                let slope = self.token_weight(place, shared) * by_sum + per_token;
                logp.row_mut(row)[token] = slope as f32;
            }
        }
        let grads = TokenGrads { logp, ..TokenGrads::default() };
        Ok(PreferenceTokenOutput { loss: output.loss, grads, metrics: output.metrics, answers, weights })
    }

    /// What a step reports, from what its micro-batches saw, in their order: the same bits however it was cut into them, which merged
    /// sums are not. `weights` are empty without WPO.
    pub fn step_metrics(
        &self,
        answers: &[Answer],
        (examples, weights): (&[Example], &[f64]),
        prepared: &PreferencePrepared,
    ) -> PreferenceMetrics {
        assert!(weights.is_empty() || weights.len() == examples.len(), "a weight for each example");
        let weighed = |(at, example): (usize, &Example)| example.weighed(weights.get(at).copied().unwrap_or(1.0));
        let examples: Vec<Example> = examples.iter().enumerate().map(weighed).collect();
        let mut metrics = self.loss(answers, &examples, 0, prepared).metrics;
        weights.iter().for_each(|weight| metrics.mean("wpo/weight", *weight));
        metrics
    }

    fn token_weight(&self, place: usize, shared: usize) -> f64 {
        if place < shared { 1.0 } else { self.common.get(Number::LdAlpha).unwrap_or(1.0) }
    }

    /// For each row how many scored tokens both answers of its pair have; all of them for rows without a partner.
    fn shared_lengths(&self, batch: &PreferenceBatch<'_>) -> Vec<usize> {
        let mut shared: Vec<usize> = batch.mask.iter().map(|row| scored(row).len()).collect();
        if self.common.get(Number::LdAlpha).is_none_or(|alpha| alpha == 1.0) {
            return shared;
        }
        let mut partnered = vec![false; shared.len()];
        let mut meet = |a: usize, b: usize| {
            for row in [a, b] {
                assert!(!partnered[row], "with `ld_alpha` a row belongs to one pair");
                partnered[row] = true;
            }
            let least = shared[a].min(shared[b]);
            (shared[a], shared[b]) = (least, least);
        };
        for example in batch.examples {
            if let Example::Pair(pair) = example {
                meet(pair.chosen, pair.rejected);
            }
            example.synthetic().iter().for_each(|pair| meet(pair.first, pair.second));
        }
        shared
    }

    /// The examples with WPO's weights, which are held: no gradient flows through them.
    fn weighted(
        &self,
        batch: &PreferenceBatch<'_>,
        stats: &TokenStats,
        weights: &mut Vec<f64>,
    ) -> Option<Vec<Example>> {
        if self.choices.weighting == Weighting::Off {
            return None;
        }
        let log_weight = |row: usize| {
            let places = scored(batch.mask.row(row));
            let at = |from: &Ragged<f32>| -> Vec<f64> { places.iter().map(|&t| f64::from(from.row(row)[t])).collect() };
            let alignment = match (self.choices.weighting, &stats.top) {
                (Weighting::WpoGreedy, Some([top, _])) => Some(at(top).into_iter().map(f64::ln).collect::<Vec<_>>()),
                (Weighting::WpoGreedy, None) => panic!("greedy alignment needs the largest probabilities"),
                _ => None,
            };
            wpo_log_weight(&at(&stats.logp), alignment.as_deref())
        };
        let weigh = |pair: &Pair| (log_weight(pair.chosen) + log_weight(pair.rejected)).exp().min(1.0);
        let examples = batch.examples.iter().map(|example| match example {
            Example::Pair(pair) => weigh(pair),
            Example::Single(single) => log_weight(single.row).exp().min(1.0),
            Example::Unlabelled(_) => 1.0,
        });
        weights.extend(examples);
        let examples = batch.examples.iter().zip(&*weights).map(|(example, weight)| example.weighed(*weight));
        Some(examples.collect())
    }
}

/// Places of the scored tokens of a row.
fn scored(mask: &[bool]) -> Vec<usize> {
    (0..mask.len()).filter(|&token| mask[token]).collect()
}
