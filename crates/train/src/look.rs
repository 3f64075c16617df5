//! The look at a step's rows before its updates: what the trainer itself and the frozen reference say of them.
//!
//! Three policies are kept apart: the one that sampled (its log-probabilities come with the rollouts), the *proximal* one
//! (the trainer at the weights before the step's updates) and the current one (each update's own forward pass). Where the
//! engine samples with the very numbers that it trains with, the first two are the same bits and the pass is saved.

use lapidary_algo::KlPlace;
use lapidary_core::{Ragged, Result, TokenBatch, TokenStats, Want};

use crate::bench::Bench;
use crate::recipe::{Rl, RoutingReplay};
use crate::rows::Rows;

/// What the trainer says beside log-probabilities.
#[derive(Default)]
pub(crate) struct Seen {
    /// Entropies at the weights before the updates, where they are needed.
    pub(crate) entropy: Option<Ragged<f32>>,
}

/// Fills in what is needed before the first update. `exact`: the weights at hand sampled every row, with the very numbers
/// that they score with.
pub(crate) fn look(bench: &Bench<'_, '_>, rl: &Rl, rows: &mut Rows, exact: bool) -> Result<Seen> {
    let (objective, budget) = (&rl.objective, rl.training.tokens_per_microbatch);
    let (needs, bypass) = (objective.needs(), objective.off_policy.bypass);
    let replays = rl.routing_replay == RoutingReplay::R2;
    // Nothing is compared with the proximal policy where the only update finds it out itself.
    let compares = rl.updates() > 1 || needs.proximal || (needs.reference && objective.kl.place == KlPlace::Reward);
    let passes = needs.entropy || needs.value || replays || (compares && !exact && !bypass);
    let mut seen = Seen::default();
    if passes {
        let want = Want { entropy: needs.entropy, value: needs.value, routing: replays, ..Want::default() };
        let stats = in_microbatches(rows, budget, |tokens| bench.engine.score(tokens, want))?;
        rows.logp_proximal = Some(stats.logp);
        rows.value_old = stats.value;
        seen.entropy = needs.entropy.then_some(stats.entropy);
        if replays {
            rows.tokens.routing = stats.routing;
        }
    } else if compares {
        rows.logp_proximal = rows.logp_rollout.clone();
    }
    Ok(seen)
}

/// Scores rows in micro-batches; the answers are one batch again.
pub(crate) fn in_microbatches(
    rows: &Rows,
    budget: usize,
    mut score: impl FnMut(&TokenBatch) -> Result<TokenStats>,
) -> Result<TokenStats> {
    let mut all = TokenStats::default();
    for range in rows.tokens.microbatches(budget) {
        let stats = score(&rows.tokens.select(&range.collect::<Vec<_>>()))?;
        append(&mut all.logp, &stats.logp);
        append(&mut all.entropy, &stats.entropy);
        append_some(&mut all.value, stats.value.as_ref());
        append_some(&mut all.routing, stats.routing.as_ref());
        if let Some(rewards) = stats.reward {
            all.reward.get_or_insert_default().extend(rewards);
        }
    }
    Ok(all)
}

fn append<T: Copy>(all: &mut Ragged<T>, rows: &Ragged<T>) {
    rows.iter().for_each(|row| all.push(row.iter().copied()));
}

fn append_some<T: Copy>(all: &mut Option<Ragged<T>>, rows: Option<&Ragged<T>>) {
    if let Some(rows) = rows {
        append(all.get_or_insert_default(), rows);
    }
}
