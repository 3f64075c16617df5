//! The look at a step's rows before its updates: what the trainer itself and the frozen reference say of them.
//!
//! Three policies are kept apart: the one that sampled (its log-probabilities come with the rollouts), the *proximal* one
//! (the trainer at the weights before the step's updates) and the current one (each update's own forward pass). Where the
//! engine samples with the very numbers that it trains with, the first two are the same bits and the pass is saved.

use lapidary_core::{Ragged, Result, TokenBatch, TokenStats, Want};
use lapidary_engine::Engine;

use crate::bench::Bench;
use crate::learn::microbatches;
use crate::recipe::{Rl, RoutingReplay};
use crate::rows::Rows;

/// Fills in what is needed before the first update.
pub(crate) fn look(
    bench: &Bench<'_, '_>,
    rl: &Rl,
    rows: &mut Rows,
    reference: Option<&dyn Engine>,
    exact: bool,
) -> Result<()> {
    let budget = rl.training.tokens_per_microbatch;
    let replays = rl.routing_replay == RoutingReplay::R2;
    let needs = rl.objective.needs();
    if replays || needs.entropy || ((rl.updates() > 1 || needs.proximal) && !exact) {
        let want = Want { routing: replays, entropy: needs.entropy, ..Want::default() };
        let stats = in_microbatches(rows, budget, |tokens| bench.engine.score(tokens, want))?;
        rows.logp_proximal = Some(stats.logp);
        rows.entropy = needs.entropy.then_some(stats.entropy);
        if replays {
            rows.tokens.routing = stats.routing;
        }
    } else if rl.updates() > 1 || needs.proximal {
        rows.logp_proximal = rows.logp_rollout.clone();
    }
    if let Some(reference) = reference {
        look_back(rows, reference, budget)?;
    }
    Ok(())
}

/// Fills in what the frozen reference says.
pub(crate) fn look_back(rows: &mut Rows, reference: &dyn Engine, budget: usize) -> Result<()> {
    let stats = in_microbatches(rows, budget, |tokens| reference.score(tokens, Want::default()))?;
    rows.logp_reference = Some(stats.logp);
    Ok(())
}

/// Scores rows in micro-batches; the answers are one batch again.
fn in_microbatches(
    rows: &Rows,
    budget: usize,
    mut score: impl FnMut(&TokenBatch) -> Result<TokenStats>,
) -> Result<TokenStats> {
    let mut all = TokenStats::default();
    for range in microbatches(&rows.tokens, budget) {
        let stats = score(&rows.tokens.select(&range.collect::<Vec<_>>()))?;
        append(&mut all.logp, &stats.logp);
        append(&mut all.entropy, &stats.entropy);
        append_some(&mut all.value, stats.value.as_ref());
        append_some(&mut all.routing, stats.routing.as_ref());
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
