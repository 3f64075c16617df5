//! Rows: the sequences that a step learns from, with everything that is known of their tokens.

use lapidary_algo::TokenAdvantages;
use lapidary_core::{Ragged, Rollout, TokenBatch, TokenRole, UNROUTED};

use crate::draw::Step;
use crate::recipe::{RoutingReplay, Truncated};

/// Sequences to learn from. Every ragged has the shape of the tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) tokens: TokenBatch,
    /// True at tokens that are trained; a row without any stays in the step's count of rows.
    pub(crate) mask: Ragged<bool>,
    /// True at tokens of hints; `None` where there is none.
    pub(crate) hint: Option<Ragged<bool>>,
    /// What the sampler said; absent for demonstrations.
    pub(crate) logp_rollout: Option<Ragged<f32>>,
    /// What the trainer says at the weights before the step's updates; absent where the first update itself finds out.
    pub(crate) logp_proximal: Option<Ragged<f32>>,
    /// What the frozen reference says.
    pub(crate) logp_reference: Option<Ragged<f32>>,
    /// The experts that the sampler used, where the passes choose for themselves: how far they have moved is measured.
    pub(crate) routing_rollout: Option<Ragged<u16>>,
    /// What the value head says at those weights, and what it is to say.
    pub(crate) value_old: Option<Ragged<f32>>,
    pub(crate) returns: Option<Ragged<f32>>,
    /// Of every row; none for demonstrations.
    pub(crate) advantages: TokenAdvantages,
    /// Whom to name when a number is not finite.
    pub(crate) names: Vec<String>,
}

impl Rows {
    /// The samples that a step has kept, in their order. Those without a verdict have no trained token.
    pub(crate) fn of(step: &Step, truncated: Truncated, replay: RoutingReplay) -> Self {
        let mut rows = Rows::default();
        let (mut logp_rollout, mut hint) = (Ragged::new(), Ragged::new());
        for sampled in step.kept() {
            let rollout = &sampled.rollout;
            let own: Vec<bool> = rollout.roles.iter().map(|role| *role == TokenRole::Policy).collect();
            let silent = sampled.verdict.value().is_none() || (truncated == Truncated::Mask && sampled.truncated());
            let given: Vec<bool> = rollout.roles.iter().map(|role| *role == TokenRole::Hint).collect();
            let scored: Vec<bool> = own.iter().zip(&given).map(|(own, given)| *own || *given).collect();
            rows.tokens.push(&rollout.tokens, &scored, rollout.temperature);
            hint.push(given);
            rows.mask.push(own.iter().map(|own| *own && !silent));
            logp_rollout.push(rollout.logp.iter().copied());
            rows.names.push(format!("{}#{}", sampled.id, rollout.sample));
        }
        let rollouts: Vec<&Rollout> = step.kept().map(|sampled| &sampled.rollout).collect();
        rows.tokens.support = supports(&rollouts);
        match replay {
            RoutingReplay::R3 => rows.tokens.routing = routings(&rollouts),
            RoutingReplay::R2 => {}
            RoutingReplay::Off => rows.routing_rollout = routings(&rollouts),
        }
        rows.logp_rollout = Some(logp_rollout);
        rows.hint = some_true(hint);
        rows
    }

    /// The given rows, in the given order.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        let of = |ragged: &Option<Ragged<f32>>| ragged.as_ref().map(|ragged| ragged.select(rows.iter().copied()));
        let advantages = match self.advantages.rows() {
            0 => TokenAdvantages::default(),
            _ => self.advantages.select(rows.iter().copied()),
        };
        Self {
            tokens: self.tokens.select(rows),
            mask: self.mask.select(rows.iter().copied()),
            hint: self.hint.as_ref().and_then(|hint| some_true(hint.select(rows.iter().copied()))),
            logp_rollout: of(&self.logp_rollout),
            logp_proximal: of(&self.logp_proximal),
            logp_reference: of(&self.logp_reference),
            routing_rollout: self.routing_rollout.as_ref().map(|routing| routing.select(rows.iter().copied())),
            value_old: of(&self.value_old),
            returns: of(&self.returns),
            advantages,
            names: rows.iter().map(|&row| self.names[row].clone()).collect(),
        }
    }
}

/// Slots in which a pass used an expert that the sampler did not use for this token, and all slots: of the rows' trained tokens.
///
/// `k` experts per token and layer. The weights that sampled give exactly 0.
pub(crate) fn routing_moved(rows: &Rows, used: Option<&Ragged<u16>>, k: usize) -> [u64; 2] {
    let (Some(before), Some(used)) = (&rows.routing_rollout, used) else { return [0, 0] };
    let mut counts = [0, 0];
    for (row, mask) in rows.mask.iter().enumerate() {
        let stride = before.len_of(row) / mask.len().max(1);
        let tokens =
            before.row(row).chunks_exact(stride.max(1)).zip(used.row(row).chunks_exact(stride.max(1))).zip(mask);
        for ((before, used), _) in tokens.filter(|((before, _), trained)| **trained && before[0] != UNROUTED) {
            for (before, used) in before.chunks_exact(k).zip(used.chunks_exact(k)) {
                counts[0] += used.iter().filter(|expert| !before.contains(expert)).count() as u64;
                counts[1] += k as u64;
            }
        }
    }
    counts
}

/// The mask, unless it is empty everywhere.
fn some_true(mask: Ragged<bool>) -> Option<Ragged<bool>> {
    mask.flat().contains(&true).then_some(mask)
}

/// The ids that each token was drawn from; nothing where no rollout was cut.
fn supports(rollouts: &[&Rollout]) -> Option<Ragged<u32>> {
    rollouts.iter().any(|rollout| rollout.support.is_some()).then(|| {
        let mut out = Ragged::new();
        for rollout in rollouts {
            match &rollout.support {
                Some(support) => support.iter().for_each(|ids| out.push(ids.iter().copied())),
                None => rollout.tokens.iter().for_each(|_| out.push([])),
            }
        }
        out
    })
}

/// The experts that the sampler used; nothing where they were not recorded. Either all rollouts have them or none.
fn routings(rollouts: &[&Rollout]) -> Option<Ragged<u16>> {
    let rows: Vec<&Vec<u16>> = rollouts.iter().filter_map(|rollout| rollout.routing.as_ref()).collect();
    assert!(rows.is_empty() || rows.len() == rollouts.len(), "routing was recorded for some rollouts only");
    (!rows.is_empty()).then(|| rows.into_iter().map(|row| row.iter().copied()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moved_experts_are_counted_as_sets_over_trained_tokens() {
        let rows = Rows {
            mask: [vec![false, true, true, true]].into_iter().collect(),
            // Two layers of two experts per token; the last token never ran.
            routing_rollout: Some(
                [[[0, 1, 2, 3], [0, 1, 2, 3], [4, 5, 6, 7], [UNROUTED; 4]].concat()].into_iter().collect(),
            ),
            ..Rows::default()
        };
        let used: Ragged<u16> =
            [[[9, 9, 9, 9], [1, 0, 2, 5], [4, 5, 7, 6], [1, 2, 3, 4]].concat()].into_iter().collect();
        assert_eq!(routing_moved(&rows, Some(&used), 2), [1, 8]);
        assert_eq!(routing_moved(&rows, rows.routing_rollout.as_ref(), 2), [0, 8]);
        assert_eq!(routing_moved(&rows, None, 2), [0, 0]);
    }
}
