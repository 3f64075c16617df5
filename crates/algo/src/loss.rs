//! Loss: the coordinates put together, row by row, in `f64`.

use lapidary_core::{Kind, Problem, Ragged, Result, TokenGrads, TokenStats, Want};

use crate::aggregate::Normaliser;
use crate::correction::Denominator;
use crate::estimators::TokenAdvantages;
use crate::metrics::{LossMetrics, RowSums};
use crate::objective::Objective;
use crate::ratio::LOG_RATIO_LIMIT;

/// The fixed side of a micro-batch. Every ragged is shaped as the token rows: index = token index.
#[derive(Clone, Copy, Debug)]
pub struct LossBatch<'a> {
    /// True at tokens that the policy wrote and that are trained; false at prompt and environment tokens.
    pub mask: &'a Ragged<bool>,
    /// The trainer's own log-probabilities at the weights before this step's updates. `None`: the current weights are
    /// those weights, and every ratio is exactly 1.
    pub logp_proximal: Option<&'a Ragged<f32>>,
    /// Log-probabilities that the sampler gave: for the mismatch metrics, and the ratio's other side under
    /// [`crate::OffPolicy::bypass`].
    pub logp_rollout: Option<&'a Ragged<f32>>,
    /// Log-probabilities by the reference; needed where the KL penalty is part of the loss.
    pub logp_reference: Option<&'a Ragged<f32>>,
    /// Advantages. No rows are allowed where the surrogate uses none (SFT).
    pub advantages: &'a TokenAdvantages,
    /// Weights of the step's [`crate::Prepared`], these rows of them; needed where the objective corrects.
    pub weights: Option<&'a Ragged<f32>>,
    /// Values before the step's updates; needed with a critic.
    pub value_old: Option<&'a Ragged<f32>>,
    /// What the values are to become ([`crate::Advantages::returns`]); needed with a critic.
    pub returns: Option<&'a Ragged<f32>>,
    /// What the forward pass was asked for: without entropy there, none is reported.
    pub want: Want,
}

impl<'a> LossBatch<'a> {
    /// A mask and advantages alone: an update at the weights that sampled, which nobody compares with anything.
    pub fn new(mask: &'a Ragged<bool>, advantages: &'a TokenAdvantages, want: Want) -> Self {
        Self {
            mask,
            logp_proximal: None,
            logp_rollout: None,
            logp_reference: None,
            advantages,
            weights: None,
            value_old: None,
            returns: None,
            want,
        }
    }
}

/// What a micro-batch answers.
#[derive(Clone, Debug, PartialEq)]
pub struct LossOutput {
    /// This micro-batch's part of the step's loss; parts add up to the loss of the step.
    pub loss: f64,
    /// Derivative of the step's loss by each log-probability (entropy, value: where the objective uses them).
    pub grads: TokenGrads,
    /// Sums for reporting.
    pub metrics: LossMetrics,
}

/// One row: its trained tokens only, so nothing masked can enter a sum.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub logp: Vec<f64>,
    /// Where stop-gradients are evaluated: `None` is `logp`. A finite difference moves `logp` alone.
    pub held: Option<Vec<f64>>,
    pub old: Option<Vec<f64>>,
    pub rollout: Option<Vec<f64>>,
    pub reference: Option<Vec<f64>>,
    pub entropy: Option<Vec<f64>>,
    /// One per token; empty where the surrogate uses none.
    pub advantage: Vec<f64>,
    /// One per token; `None` is 1.
    pub weights: Option<Vec<f64>>,
    pub critic: Option<CriticRow>,
}

/// What the critic needs to know of a row.
#[derive(Clone, Debug, Default)]
pub(crate) struct CriticRow {
    pub value: Vec<f64>,
    pub before: Vec<f64>,
    pub goal: Vec<f64>,
}

/// A row's part of the loss.
#[derive(Debug, Default)]
pub(crate) struct RowOutput {
    /// dLoss/dlogp of each trained token.
    pub by_logp: Vec<f64>,
    /// dLoss/dentropy of each trained token.
    pub by_entropy: Vec<f64>,
    /// dLoss/dvalue of each trained token; empty without a critic.
    pub by_value: Vec<f64>,
    /// The loss and what is reported.
    pub sums: RowSums,
}

impl Row {
    /// Without the tokens that a weight of 0 rejects.
    fn remaining(&self) -> Row {
        let Some(weights) = &self.weights else { return self.clone() };
        let keep = |values: &Vec<f64>| -> Vec<f64> {
            values.iter().zip(weights).filter(|(_, weight)| **weight != 0.0).map(|(value, _)| *value).collect()
        };
        let keep_given = |values: &Option<Vec<f64>>| values.as_ref().map(keep);
        Row {
            logp: keep(&self.logp),
            held: keep_given(&self.held),
            old: keep_given(&self.old),
            rollout: keep_given(&self.rollout),
            reference: keep_given(&self.reference),
            entropy: keep_given(&self.entropy),
            advantage: keep(&self.advantage),
            weights: Some(keep(weights)),
            critic: self.critic.as_ref().map(|critic| CriticRow {
                value: keep(&critic.value),
                before: keep(&critic.before),
                goal: keep(&critic.goal),
            }),
        }
    }

    fn held(&self) -> &[f64] {
        self.held.as_ref().unwrap_or(&self.logp)
    }

    /// The log-probabilities that the ratio compares with.
    fn proximal(&self, bypass: bool) -> &[f64] {
        let given = if bypass { self.rollout.as_ref().or(self.old.as_ref()) } else { self.old.as_ref() };
        given.map_or_else(|| self.held(), Vec::as_slice)
    }
}

impl Objective {
    /// `Σ_t weight · (p·ρ·surrogate + β·k − γ·H + c·value loss)` of one row, with the weight of [`crate::Aggregate`] and
    /// the correction `ρ`.
    ///
    /// All terms share the mask, and the normaliser but for an entropy bonus with a mean of its own. `weights` of 0 reject; see [`Denominator`].
    pub(crate) fn row(&self, row: &Row, normaliser: &Normaliser) -> RowOutput {
        let mut sums = RowSums { tokens: row.logp.len() as f64, ..RowSums::default() };
        if let Some(rollout) = &row.rollout {
            let proximal = row.old.as_deref().unwrap_or_else(|| row.held());
            sums.see_sampling(&self.off_policy, proximal, rollout);
        }
        let shrinks = row.weights.is_some() && self.off_policy.denominator == Denominator::Remaining;
        if !shrinks {
            return self.kept_row(row, normaliser, sums);
        }
        let output = self.kept_row(&row.remaining(), normaliser, sums);
        let spread = |short: &[f64]| -> Vec<f64> {
            let mut short = short.iter();
            let weights = row.weights.iter().flatten();
            weights.map(|&weight| if weight == 0.0 { 0.0 } else { short.next().copied().unwrap_or(0.0) }).collect()
        };
        let by_value = if self.critic.is_some() { spread(&output.by_value) } else { Vec::new() };
        RowOutput { by_logp: spread(&output.by_logp), by_entropy: spread(&output.by_entropy), by_value, ..output }
    }

    fn kept_row(&self, row: &Row, normaliser: &Normaliser, mut sums: RowSums) -> RowOutput {
        let length = row.logp.len();
        if length == 0 {
            return RowOutput { sums, ..RowOutput::default() };
        }
        let weight = normaliser.token_weight(length);
        let mut by_logp = self.policy_term(row, weight, &mut sums);
        let on = if self.critic_only { 0.0 } else { 1.0 };
        let policy = on * self.policy_coefficient;
        by_logp.iter_mut().for_each(|slope| *slope *= policy);
        sums.loss = policy * sums.policy_loss;
        if let Some(reference) = &row.reference {
            self.kl_term(row, reference, on * weight, &mut by_logp, &mut sums);
        }
        let entropy_weight = self.entropy_coefficient
            * normaliser.token_weight_of(self.entropy_aggregate.unwrap_or(self.aggregate), length);
        if let Some(entropy) = &row.entropy {
            sums.entropy = entropy.iter().sum();
            sums.loss -= on * entropy_weight * sums.entropy;
        }
        let by_value = self.value_term(row, weight, &mut sums);
        RowOutput { by_logp, by_entropy: vec![-on * entropy_weight; length], by_value, sums }
    }

    /// The surrogate: its derivative by each log-probability.
    fn policy_term(&self, row: &Row, weight: f64, sums: &mut RowSums) -> Vec<f64> {
        let (held, old) = (row.held(), row.proximal(self.off_policy.bypass));
        let moving = if self.surrogate.holds_ratio() { held } else { &row.logp };
        let ratios = self.ratio.of_row(moving, old, held);
        let advantage = |token: usize| row.advantage.get(token).copied().unwrap_or(0.0);
        let kept = self.off_policy.opsm.map(|opsm| {
            let moved: Vec<f64> = old.iter().zip(held).map(|(old, held)| old - held).collect();
            opsm.keeps(&moved, &(0..row.logp.len()).map(advantage).collect::<Vec<_>>())
        });
        let mut by_logp = vec![0.0; row.logp.len()];
        let mut by_shared_ratio = 0.0;
        for (token, slope) in by_logp.iter_mut().enumerate() {
            let term = self.surrogate.at(ratios.values[token], row.logp[token], advantage(token));
            let keeps = kept.as_ref().is_none_or(|kept| kept[token]);
            sums.masked += f64::from(!keeps);
            let correction = row.weights.as_ref().map_or(1.0, |weights| weights[token]);
            let weight = if keeps { weight * correction } else { 0.0 };
            sums.policy_loss += weight * term.loss;
            *slope = weight * term.by_logp;
            if ratios.shared {
                by_shared_ratio += weight * term.by_ratio;
            } else {
                *slope += weight * term.by_ratio * ratios.slopes[token];
            }
            sums.count_stop(term.stopped);
            sums.correction += correction;
        }
        if ratios.shared {
            for (slope, by_logp) in by_logp.iter_mut().zip(&ratios.slopes) {
                *slope += by_shared_ratio * by_logp;
            }
        }
        sums.see_ratios(&ratios.values, self.ratio.is_sequence());
        sums.see_old(&row.logp, old);
        by_logp
    }

    /// The penalty for leaving the reference where it is part of the loss; the estimate itself always.
    fn kl_term(&self, row: &Row, reference: &[f64], weight: f64, by_logp: &mut [f64], sums: &mut RowSums) {
        let old = row.proximal(self.off_policy.bypass);
        let strength = weight * self.kl.in_loss();
        for token in 0..row.logp.len() {
            let (mut value, mut slope) = self.kl.estimator.at(row.logp[token], reference[token]);
            sums.kl += value;
            if self.kl.unbiased {
                let log_ratio = row.logp[token] - old[token];
                let ratio = log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp();
                let through = if log_ratio.abs() <= LOG_RATIO_LIMIT { value } else { 0.0 };
                (value, slope) = (ratio * value, ratio * (through + slope));
            }
            sums.loss += strength * value;
            if strength != 0.0 {
                by_logp[token] += strength * slope;
            }
        }
    }

    fn value_term(&self, row: &Row, weight: f64, sums: &mut RowSums) -> Vec<f64> {
        let (Some(critic), Some(given)) = (self.critic, &row.critic) else { return Vec::new() };
        let mut by_value = Vec::with_capacity(row.logp.len());
        for token in 0..row.logp.len() {
            let (value, goal) = (given.value[token], given.goal[token]);
            let term = critic.at(value, given.before[token], goal);
            sums.loss += weight * critic.coefficient * term.loss;
            sums.value_loss += weight * term.loss;
            by_value.push(weight * critic.coefficient * term.by_value);
            sums.see_value(value, goal, term.clipped);
        }
        by_value
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
    let mut value_grads = objective.critic.is_some().then(|| batch.mask.like(0.0_f32));
    let mut metrics = LossMetrics::for_batch(objective, batch);
    for index in 0..batch.mask.rows() {
        let places: Vec<usize> =
            batch.mask.row(index).iter().enumerate().filter(|(_, on)| **on).map(|(t, _)| t).collect();
        let row = gather(objective, batch, stats, index, &places)?;
        let output = objective.row(&row, normaliser);
        let scatter = |target: &mut Ragged<f32>, slopes: &[f64]| {
            let target = target.row_mut(index);
            for (&place, &slope) in places.iter().zip(slopes) {
                target[place] = slope as f32;
            }
        };
        scatter(&mut logp_grads, &output.by_logp);
        if let Some(grads) = &mut entropy_grads {
            scatter(grads, &output.by_entropy);
        }
        if let Some(grads) = &mut value_grads {
            scatter(grads, &output.by_value);
        }
        metrics.push(output.sums);
    }
    let grads = TokenGrads { logp: logp_grads, entropy: entropy_grads, value: value_grads, ..Default::default() };
    Ok(LossOutput { loss: metrics.loss(), grads, metrics })
}

fn check_shapes(objective: &Objective, batch: &LossBatch<'_>, stats: &TokenStats) {
    let mask = batch.mask;
    assert!(stats.logp.same_shape(mask), "log-probabilities and mask differ in shape");
    let given = [
        batch.logp_proximal,
        batch.logp_rollout,
        batch.logp_reference,
        batch.weights,
        batch.value_old,
        batch.returns,
        stats.value.as_ref(),
    ];
    for given in given.into_iter().flatten() {
        assert!(given.same_shape(mask), "given numbers and mask differ in shape");
    }
    if batch.want.entropy {
        assert!(stats.entropy.same_shape(mask), "entropies and mask differ in shape");
    }
    let bare = batch.advantages.rows() == 0 && !objective.surrogate.uses_advantage();
    assert!(bare || batch.advantages.rows() == mask.rows(), "advantages for every row");
    if let TokenAdvantages::PerToken(advantages) = batch.advantages {
        assert!(advantages.same_shape(mask), "advantages and mask differ in shape");
    }
    assert!(batch.advantages.flat().iter().all(|advantage| advantage.is_finite()), "advantages are finite");
    assert!(batch.logp_reference.is_some() || objective.kl.in_loss() == 0.0, "a KL penalty needs a reference");
    assert!(batch.want.entropy || !objective.want().entropy, "an entropy bonus needs entropies");
    assert!(batch.weights.is_some() || !objective.off_policy.weighs(), "a correction needs its weights");
    assert!(
        batch.logp_rollout.is_some() || !objective.off_policy.bypass,
        "bypass needs the sampler's log-probabilities"
    );
    let values = [stats.value.as_ref(), batch.value_old, batch.returns];
    assert!(objective.critic.is_none() || values.iter().all(Option::is_some), "a critic needs values and returns");
}

/// The trained tokens of a row, widened; the first number that is not finite is an error.
fn gather(
    objective: &Objective,
    batch: &LossBatch<'_>,
    stats: &TokenStats,
    index: usize,
    places: &[usize],
) -> Result<Row> {
    let take = |what: &str, from: &Ragged<f32>| -> Result<Vec<f64>> {
        let row = from.row(index);
        places.iter().map(|&place| finite(what, f64::from(row[place]), index, place)).collect()
    };
    let take_given = |what: &str, from: Option<&Ragged<f32>>| from.map(|from| take(what, from)).transpose();
    let given = (batch.advantages.rows() > 0).then(|| batch.advantages.row(index));
    let advantage = places.iter().map(|&place| given.map_or(0.0, |given| f64::from(given.at(place)))).collect();
    let critic = match (objective.critic, &stats.value, batch.value_old, batch.returns) {
        (Some(_), Some(value), Some(before), Some(goal)) => Some(CriticRow {
            value: take("value", value)?,
            before: take("old value", before)?,
            goal: take("return", goal)?,
        }),
        _ => None,
    };
    Ok(Row {
        logp: take("log-probability", &stats.logp)?,
        held: None,
        old: take_given("old log-probability", batch.logp_proximal)?,
        rollout: take_given("sampler's log-probability", batch.logp_rollout)?,
        reference: take_given("reference log-probability", batch.logp_reference)?,
        entropy: take_given("entropy", batch.want.entropy.then_some(&stats.entropy))?,
        advantage,
        weights: take_given("weight", batch.weights)?,
        critic,
    })
}

/// The number, or which token of which row has one that is not finite.
pub(crate) fn finite(what: &str, value: f64, row: usize, token: usize) -> Result<f64> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(Problem::new(Kind::Diverged, "N010", format!("the {what} of token {token} in row {row} is {value}"))
        .why("every trained token needs finite numbers; the weights or the data produced one that is not")
        .hint("lower `learning_rate` or `max_grad_norm`, and look at the sample in the last rollouts file"))
}
