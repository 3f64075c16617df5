//! Loss: the coordinates put together, row by row, in `f64`.

use lapidary_core::{Kind, Problem, Ragged, Result, TokenGrads, TokenStats, Want};

use crate::aggregate::Normaliser;
use crate::metrics::{LossMetrics, RowSums};
use crate::objective::Objective;
use crate::surrogate::Stopped;

/// The fixed side of a micro-batch. Every ragged is shaped as the token rows: index = token index.
#[derive(Clone, Copy, Debug)]
pub struct LossBatch<'a> {
    /// True at tokens that the policy wrote and that are trained; false at prompt and environment tokens.
    pub mask: &'a Ragged<bool>,
    /// Log-probabilities by the weights that the ratio compares with. `None`: the current weights are those weights,
    /// and every ratio is exactly 1.
    pub logp_old: Option<&'a Ragged<f32>>,
    /// Log-probabilities that the sampler gave; used for the mismatch metrics only.
    pub logp_rollout: Option<&'a Ragged<f32>>,
    /// Log-probabilities by the reference; needed where [`Objective::needs_reference`].
    pub logp_reference: Option<&'a Ragged<f32>>,
    /// `[rows]` advantages. Empty is allowed where the surrogate uses none (SFT).
    pub advantages: &'a [f32],
    /// What the forward pass was asked for: without entropy there, none is reported.
    pub want: Want,
}

/// What a micro-batch answers.
#[derive(Clone, Debug, PartialEq)]
pub struct LossOutput {
    /// This micro-batch's part of the step's loss; parts add up to the loss of the step.
    pub loss: f64,
    /// Derivative of the step's loss by each log-probability (and entropy, where the objective uses it).
    pub grads: TokenGrads,
    /// Sums for reporting.
    pub metrics: LossMetrics,
}

/// One row: its trained tokens only, so nothing masked can enter a sum.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub logp: Vec<f64>,
    pub old: Option<Vec<f64>>,
    pub rollout: Option<Vec<f64>>,
    pub reference: Option<Vec<f64>>,
    pub entropy: Option<Vec<f64>>,
    pub advantage: f64,
}

/// A row's part of the loss.
pub(crate) struct RowOutput {
    /// dLoss/dlogp of each trained token.
    pub by_logp: Vec<f64>,
    /// dLoss/dentropy, the same for each trained token.
    pub by_entropy: f64,
    /// The loss and what is reported.
    pub sums: RowSums,
}

impl Objective {
    /// `Σ_t weight · (surrogate + β·k − γ·H)` of one row, with the weight of [`crate::Aggregate`].
    ///
    /// The KL and entropy terms share mask and normaliser with the policy term.
    pub(crate) fn row(&self, row: &Row, normaliser: &Normaliser) -> RowOutput {
        let length = row.logp.len();
        let mut sums = RowSums::default();
        if length == 0 {
            return RowOutput { by_logp: Vec::new(), by_entropy: 0.0, sums };
        }
        let weight = normaliser.token_weight(length);
        let old = row.old.as_ref().unwrap_or(&row.logp);
        let ratios = self.ratio.at_tokens(&row.logp, old);
        let mut by_logp = vec![0.0; length];
        for token in 0..length {
            let term = self.surrogate.at(ratios[token].value, row.logp[token], row.advantage);
            sums.policy_loss += weight * term.loss;
            by_logp[token] = weight * (term.by_ratio * ratios[token].derivative + term.by_logp);
            sums.count_stop(term.stopped);
        }
        if let Some(reference) = &row.reference {
            for token in 0..length {
                let (value, slope) = self.kl.estimator.at(row.logp[token], reference[token]);
                sums.kl += value;
                if self.kl.coefficient != 0.0 {
                    by_logp[token] += weight * self.kl.coefficient * slope;
                }
            }
        }
        if let Some(entropy) = &row.entropy {
            sums.entropy = entropy.iter().sum();
        }
        sums.loss =
            sums.policy_loss + weight * (self.kl.coefficient * sums.kl - self.entropy_coefficient * sums.entropy);
        sums.tokens = length as f64;
        sums.see_ratios(&ratios, self.ratio.is_sequence());
        sums.see_old(&row.logp, old);
        if let Some(rollout) = &row.rollout {
            sums.see_sampling(old, rollout);
        }
        RowOutput { by_logp, by_entropy: -weight * self.entropy_coefficient, sums }
    }
}

pub(crate) fn of_batch(
    objective: &Objective,
    batch: &LossBatch<'_>,
    stats: &TokenStats,
    normaliser: &Normaliser,
) -> Result<LossOutput> {
    check_shapes(objective, batch, stats);
    let mut logp_grads = batch.mask.like(0.0_f32);
    let mut entropy_grads = (objective.entropy_coefficient != 0.0).then(|| batch.mask.like(0.0_f32));
    let mut metrics = LossMetrics::for_batch(objective, batch);
    for index in 0..batch.mask.rows() {
        let places: Vec<usize> =
            batch.mask.row(index).iter().enumerate().filter(|(_, on)| **on).map(|(t, _)| t).collect();
        let row = gather(batch, stats, index, &places)?;
        let output = objective.row(&row, normaliser);
        let target = logp_grads.row_mut(index);
        for (&place, &slope) in places.iter().zip(&output.by_logp) {
            target[place] = slope as f32;
        }
        if let Some(grads) = &mut entropy_grads {
            let target = grads.row_mut(index);
            for &place in &places {
                target[place] = output.by_entropy as f32;
            }
        }
        metrics.push(output.sums);
    }
    let grads = TokenGrads { logp: logp_grads, entropy: entropy_grads, ..Default::default() };
    Ok(LossOutput { loss: metrics.loss(), grads, metrics })
}

fn check_shapes(objective: &Objective, batch: &LossBatch<'_>, stats: &TokenStats) {
    let mask = batch.mask;
    assert!(stats.logp.same_shape(mask), "log-probabilities and mask differ in shape");
    for given in [batch.logp_old, batch.logp_rollout, batch.logp_reference].into_iter().flatten() {
        assert!(given.same_shape(mask), "given log-probabilities and mask differ in shape");
    }
    if batch.want.entropy {
        assert!(stats.entropy.same_shape(mask), "entropies and mask differ in shape");
    }
    let bare = batch.advantages.is_empty() && !objective.surrogate.uses_advantage();
    assert!(bare || batch.advantages.len() == mask.rows(), "one advantage per row");
    assert!(batch.advantages.iter().all(|advantage| advantage.is_finite()), "advantages are finite");
    assert!(batch.logp_reference.is_some() || !objective.needs_reference(), "a KL penalty needs a reference");
    assert!(batch.want.entropy || !objective.want().entropy, "an entropy bonus needs entropies");
}

/// The trained tokens of a row, widened; the first number that is not finite is an error.
fn gather(batch: &LossBatch<'_>, stats: &TokenStats, index: usize, places: &[usize]) -> Result<Row> {
    let take = |what: &str, from: &Ragged<f32>| -> Result<Vec<f64>> {
        let row = from.row(index);
        places
            .iter()
            .map(|&place| {
                let value = f64::from(row[place]);
                if value.is_finite() { Ok(value) } else { Err(not_finite(what, value, index, place)) }
            })
            .collect()
    };
    let take_given = |what: &str, from: Option<&Ragged<f32>>| from.map(|from| take(what, from)).transpose();
    Ok(Row {
        logp: take("log-probability", &stats.logp)?,
        old: take_given("old log-probability", batch.logp_old)?,
        rollout: take_given("sampler's log-probability", batch.logp_rollout)?,
        reference: take_given("reference log-probability", batch.logp_reference)?,
        entropy: take_given("entropy", batch.want.entropy.then_some(&stats.entropy))?,
        advantage: batch.advantages.get(index).copied().map_or(0.0, f64::from),
    })
}

fn not_finite(what: &str, value: f64, row: usize, token: usize) -> Problem {
    Problem::new(Kind::Diverged, "N010", format!("the {what} of token {token} in row {row} is {value}"))
        .why("every trained token needs finite numbers; the weights or the data produced one that is not")
        .hint("lower `learning_rate` or `max_grad_norm`, and look at the sample in the last rollouts file")
}

impl RowSums {
    fn count_stop(&mut self, stopped: Stopped) {
        match stopped {
            Stopped::No => {}
            Stopped::Low => self.clipped_low += 1.0,
            Stopped::High => self.clipped_high += 1.0,
            Stopped::Dual => self.clipped_dual += 1.0,
        }
    }
}
