//! One optimiser step: rows in micro-batches through the model, then AdamW.

use std::ops::Range;

use lapidary_algo::{LossBatch, LossMetrics, LossOutput, Objective, Prepared, TokenAdvantages};
use lapidary_core::{Kind, Problem, Ragged, Result, TokenGrads, TokenStats, Want};
use lapidary_engine::{Update, UpdateStats};

use crate::bench::{Bench, Progress};
use crate::fault;
use crate::recipe::Training;
use crate::rows::{Rows, routing_moved};

/// What an optimiser step minimises: the sum over its parts of the sum over their terms of `weight · loss`.
pub(crate) struct Lesson<'a> {
    pub(crate) parts: Vec<Part<'a>>,
    pub(crate) tokens_per_microbatch: usize,
    pub(crate) max_new_tokens: usize,
    pub(crate) update: Update,
}

/// Rows that go through the model once, and what is minimised of them. Each part has divisors of its own: what is averaged is
/// averaged within it.
pub(crate) struct Part<'a> {
    pub(crate) rows: &'a Rows,
    pub(crate) terms: Vec<Term<'a>>,
}

impl<'a> Part<'a> {
    /// One objective on the tokens that the rows train.
    pub(crate) fn of(rows: &'a Rows, objective: &'a Objective) -> Self {
        Self::weighed(rows, objective, 1.0)
    }

    /// The same times `weight`.
    pub(crate) fn weighed(rows: &'a Rows, objective: &'a Objective, weight: f64) -> Self {
        Self { rows, terms: vec![Term { objective, weight, mask: &rows.mask }] }
    }

    /// True where any term trains the token.
    fn mask(&self) -> Ragged<bool> {
        let mut all = self.rows.mask.like(false);
        for term in &self.terms {
            all.flat_mut().iter_mut().zip(term.mask.flat()).for_each(|(all, on)| *all |= on);
        }
        all
    }
}

/// A loss and its weight in the sum; a weight of 0 is as if it were not there.
pub(crate) struct Term<'a> {
    pub(crate) objective: &'a Objective,
    pub(crate) weight: f64,
    /// The tokens that it trains; shaped as the rows, and scored there.
    pub(crate) mask: &'a Ragged<bool>,
}

impl Term<'_> {
    fn teaches(&self) -> bool {
        self.weight != 0.0 && self.mask.flat().contains(&true)
    }
}

/// What an optimiser step did.
pub(crate) struct Learned {
    /// What each term says of itself, before its weight: parts in order, their terms in order.
    pub(crate) losses: Vec<LossMetrics>,
    pub(crate) update: UpdateStats,
    /// Share of the experts in use that are not those of the sampler, where that was recorded.
    pub(crate) routing_changed: Option<f64>,
}

/// The optimiser step at `learning_rate`.
pub(crate) fn update_of(training: &Training, learning_rate: f64) -> Update {
    /// Added to the root of the second moment (Kingma & Ba 2015, algorithm 1).
    const EPSILON: f64 = 1e-8;
    Update {
        learning_rate,
        beta1: training.beta1,
        beta2: training.beta2,
        epsilon: EPSILON,
        weight_decay: training.weight_decay,
        decay_all: false,
        max_grad_norm: training.max_grad_norm,
        optimizer: 0,
    }
}

/// Learns: gradient of the whole step, clip, AdamW. Without a trained token nothing happens (`None`).
///
/// # Errors
/// `Diverged`: a number that is not finite, with sample and token or tensor; the weights stay as they were.
pub(crate) fn learn(
    bench: &mut Bench<'_, '_>,
    lesson: &Lesson<'_>,
    progress: &Progress<'_, '_>,
) -> Result<Option<Learned>> {
    if !lesson.parts.iter().flat_map(|part| &part.terms).any(Term::teaches) {
        progress.advance(lesson.parts.iter().map(|part| part.rows.mask.rows() as u64).sum());
        return Ok(None);
    }
    let learned = accumulate(bench, lesson, progress).and_then(|(losses, routing_changed)| {
        fault::pass("optimizer.step").map_err(|error| Problem::io("step", "optimizer".as_ref(), &error))?;
        Ok(Learned { losses, update: bench.engine.step(&lesson.update)?, routing_changed })
    });
    learned.map(Some).inspect_err(|_| bench.engine.clear_gradient())
}

fn accumulate(
    bench: &mut Bench<'_, '_>,
    lesson: &Lesson<'_>,
    progress: &Progress<'_, '_>,
) -> Result<(Vec<LossMetrics>, Option<f64>)> {
    let (mut losses, mut moved) = (Vec::new(), [0, 0]);
    let mut sum = 0.0;
    for part in &lesson.parts {
        let (of_terms, [changed, all]) = accumulate_part(bench, lesson, part, progress)?;
        sum += of_terms.iter().zip(&part.terms).map(|(loss, term)| term.weight * loss.loss()).sum::<f64>();
        losses.extend(of_terms);
        moved = [moved[0] + changed, moved[1] + all];
    }
    if !sum.is_finite() {
        return Err(Problem::new(Kind::Diverged, "N011", format!("the loss is {sum}"))
            .hint("lower `learning_rate`, or set `max_grad_norm`"));
    }
    Ok((losses, (moved[1] > 0).then(|| moved[0] as f64 / moved[1] as f64)))
}

/// The gradient of a part; what its terms report, and how many of the experts in use are others than the sampler's.
fn accumulate_part(
    bench: &mut Bench<'_, '_>,
    lesson: &Lesson<'_>,
    part: &Part<'_>,
    progress: &Progress<'_, '_>,
) -> Result<(Vec<LossMetrics>, [u64; 2])> {
    let rows = part.rows;
    let mut losses = vec![LossMetrics::default(); part.terms.len()];
    if part.terms.iter().all(|term| term.weight == 0.0) {
        return Ok((losses, [0, 0]));
    }
    let mut want = Want { entropy: true, routing: rows.routing_rollout.is_some(), ..Want::default() };
    for term in &part.terms {
        let asked = term.objective.want();
        // Entropies are wanted for the health rules even where the loss does not use them.
        want = Want { value: want.value || asked.value, reward: want.reward || asked.reward, ..want };
    }
    let per_token = bench.engine.model().experts.as_ref().map_or(1, |experts| experts.per_token);
    let mut moved = [0, 0];
    let prepared: Vec<Prepared> = part.terms.iter().map(|term| prepare(term, rows, lesson.max_new_tokens)).collect();
    let trained = part.mask();
    for range in rows.tokens.microbatches(lesson.tokens_per_microbatch) {
        let here = rows.select(&range.clone().collect::<Vec<_>>());
        let trained = trained.select(range.clone());
        bench.engine.accumulate(&here.tokens, want, &mut |stats| {
            check_finite(stats, &trained, &here.names)?;
            let [changed, all] = routing_moved(&here, stats.routing.as_ref(), per_token);
            moved = [moved[0] + changed, moved[1] + all];
            let mut sum: Option<TokenGrads> = None;
            for ((term, prepared), loss) in part.terms.iter().zip(&prepared).zip(&mut losses) {
                let output = term_loss(term, (&here, range.clone(), want), prepared, stats)?;
                loss.merge(output.metrics);
                let grads = scaled(output.grads, term.weight as f32);
                sum = Some(match sum {
                    None => grads,
                    Some(sum) => added(sum, grads),
                });
            }
            Ok(sum.unwrap_or_default())
        })?;
        progress.advance(range.len() as u64);
    }
    Ok((losses, moved))
}

pub(crate) fn prepare(term: &Term<'_>, rows: &Rows, max_new_tokens: usize) -> Prepared {
    term.objective.prepare(term.mask, rows.logp_proximal.as_ref(), rows.logp_rollout.as_ref(), max_new_tokens)
}

/// A term's part of the loss in the rows `range` of its part, which are `here`.
pub(crate) fn term_loss(
    term: &Term<'_>,
    (here, range, want): (&Rows, Range<usize>, Want),
    prepared: &Prepared,
    stats: &TokenStats,
) -> Result<LossOutput> {
    let mask = term.mask.select(range.clone());
    let weights = prepared.weights.as_ref().map(|weights| weights.select(range));
    let none = TokenAdvantages::default();
    let mut batch = LossBatch::new(&mask, &none, want);
    batch.logp_reference = here.logp_reference.as_ref();
    batch.weights = weights.as_ref();
    // Demonstrations were not sampled: nothing is known of them but their tokens.
    if term.objective.surrogate.uses_advantage() {
        batch.advantages = &here.advantages;
        batch.logp_proximal = here.logp_proximal.as_ref();
        batch.logp_rollout = here.logp_rollout.as_ref();
        batch.value_old = here.value_old.as_ref();
        batch.returns = here.returns.as_ref();
    }
    term.objective.loss(&batch, stats, &prepared.normaliser)
}

/// Every derivative times `weight`.
fn scaled(mut grads: TokenGrads, weight: f32) -> TokenGrads {
    if weight != 1.0 {
        each(&mut grads).for_each(|grad| *grad *= weight);
    }
    grads
}

/// The sum of two answers about the same rows.
fn added(mut sum: TokenGrads, mut more: TokenGrads) -> TokenGrads {
    let empty = |given: &TokenGrads| given.logp.like(0.0);
    if more.entropy.is_some() && sum.entropy.is_none() {
        sum.entropy = Some(empty(&sum));
    }
    if more.value.is_some() && sum.value.is_none() {
        sum.value = Some(empty(&sum));
    }
    if let Some(more) = &more.reward {
        sum.reward.get_or_insert_with(|| vec![0.0; more.len()]);
    }
    let pairs = [
        (Some(sum.logp.flat_mut()), Some(more.logp.flat_mut())),
        (sum.entropy.as_mut().map(Ragged::flat_mut), more.entropy.as_mut().map(Ragged::flat_mut)),
        (sum.value.as_mut().map(Ragged::flat_mut), more.value.as_mut().map(Ragged::flat_mut)),
        (sum.reward.as_deref_mut(), more.reward.as_deref_mut()),
    ];
    for (sum, more) in pairs.into_iter().filter_map(|(sum, more)| Some((sum?, more?))) {
        sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += *more);
    }
    sum
}

fn each(grads: &mut TokenGrads) -> impl Iterator<Item = &mut f32> {
    let more = [grads.entropy.as_mut(), grads.value.as_mut()].into_iter().flatten();
    let tokens = std::iter::once(&mut grads.logp).chain(more);
    tokens.flat_map(|ragged| ragged.flat_mut()).chain(grads.reward.iter_mut().flatten())
}

fn check_finite(stats: &TokenStats, mask: &Ragged<bool>, names: &[String]) -> Result<()> {
    for (row, name) in names.iter().enumerate() {
        let values = stats.logp.row(row).iter().zip(stats.entropy.row(row));
        for (token, ((logp, entropy), _)) in values.zip(mask.row(row)).enumerate().filter(|(_, (_, on))| **on) {
            let what = match (logp.is_finite(), entropy.is_finite()) {
                (true, true) => continue,
                (false, _) => format!("log-probability of token {token} is {logp}"),
                (true, false) => format!("entropy at token {token} is {entropy}"),
            };
            return Err(Problem::new(Kind::Diverged, "N010", format!("sample `{name}`: the {what}"))
                .why("the weights or the logits have left the range of f32")
                .hint("lower `learning_rate`, or set `max_grad_norm`; the weights are as they were before the step"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ragged(values: &[f32]) -> Ragged<f32> {
        [values.to_vec(), vec![0.5]].into_iter().collect()
    }

    #[test]
    fn answers_of_terms_add_up_by_weight_whatever_each_of_them_knows() {
        let policy = TokenGrads { logp: ragged(&[1.0, 2.0]), entropy: Some(ragged(&[4.0, 0.0])), ..Default::default() };
        let demonstration = TokenGrads {
            logp: ragged(&[0.0, -8.0]),
            value: Some(ragged(&[1.0, 1.0])),
            reward: Some(vec![2.0, 4.0]),
            ..Default::default()
        };
        let sum = added(scaled(policy.clone(), 1.0), scaled(demonstration, 0.25));
        assert_eq!(sum.logp.flat(), [1.0, 0.0, 0.625]);
        assert_eq!(sum.entropy.unwrap().flat(), policy.entropy.unwrap().flat());
        assert_eq!(sum.value.unwrap().flat(), [0.25, 0.25, 0.125]);
        assert_eq!(sum.reward.unwrap(), [0.5, 1.0]);
    }
}
