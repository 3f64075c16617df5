//! Which experts a token uses, with what weight, and the derivatives of that.
//!
//! A choice can be given instead of made (routing replay): only the experts are then taken over, their weights are computed from
//! the router's scores of now, so the router learns either way (Zheng et al. 2025, arXiv 2507.18071 §5.3; Ma et al. 2025, arXiv
//! 2510.11370).

use super::layout::ExpertsLayout;
use super::net::{BLOCK, Net};
use super::row;
use super::tape::{block, blocks};
use super::threads::{Shared, Threads};
use crate::{Experts, ModelConfig, Router};
use lapidary_core::{Kind, Problem, Result, TokenBatch, UNROUTED};

/// Added to the sum of a token's sigmoid scores before dividing by it, as Hugging Face does.
const SIGMOID_EPSILON: f32 = 1e-20;

/// The way of some rows through a layer of experts.
#[derive(Default)]
pub(crate) struct Routes {
    /// `[rows][k]` the expert of each slot. Before routing: [`UNROUTED`] where the router is to choose.
    pub expert: Vec<u16>,
    /// `[rows][k]` its weight.
    pub weight: Vec<f32>,
    /// `[rows][padded experts]` the router's scores.
    pub score: Vec<f32>,
    /// All slots (row·k + slot) sorted by expert, then by row: the experts' inputs as contiguous panels.
    pub order: Vec<u32>,
    /// `[rows][k]` where a slot is in `order`.
    pub place: Vec<u32>,
    /// Where each expert's slots start in `order`, and their end.
    pub start: Vec<usize>,
}

/// Some consecutive slots of one expert: what a thread computes at a time.
pub(crate) struct Visit {
    pub expert: usize,
    /// Range of [`Routes::order`].
    pub from: usize,
    pub to: usize,
}

impl Routes {
    /// Sorts the slots by expert; rows stay in order.
    fn sort(&mut self, experts: usize) {
        self.start.clear();
        self.start.resize(experts + 1, 0);
        for &expert in &self.expert {
            self.start[usize::from(expert) + 1] += 1;
        }
        for expert in 0..experts {
            self.start[expert + 1] += self.start[expert];
        }
        let mut next = self.start.clone();
        self.order.resize(self.expert.len(), 0);
        self.place.resize(self.expert.len(), 0);
        for (slot, &expert) in self.expert.iter().enumerate() {
            let at = &mut next[usize::from(expert)];
            self.order[*at] = slot as u32;
            self.place[slot] = *at as u32;
            *at += 1;
        }
    }

    /// The work of the experts in blocks.
    pub fn visits(&self) -> Vec<Visit> {
        let mut out = Vec::new();
        for (expert, range) in self.start.windows(2).enumerate() {
            let starts = (range[0]..range[1]).step_by(BLOCK);
            out.extend(starts.map(|from| Visit { expert, from, to: (from + BLOCK).min(range[1]) }));
        }
        out
    }
}

impl Net<'_> {
    /// Scores the experts for `rows` normed rows and routes each row; `routes.expert` says what is already decided.
    pub(super) fn route(&self, threads: &Threads, e: &ExpertsLayout, rows: usize, y: &[f32], routes: &mut Routes) {
        let Some(c) = &self.c.experts else { return };
        let (k, width, h) = (c.per_token, e.router.outputs, self.w.hidden);
        assert_eq!(routes.expert.len(), rows * k, "one choice per slot");
        routes.weight.resize(rows * k, 0.0);
        routes.score.resize(rows * width, 0.0);
        let correction = e.correction.as_ref().map(|vector| &self.vector(vector)[..c.count]);
        let (expert, weight) = (Shared::new(&mut routes.expert), Shared::new(&mut routes.weight));
        let score = Shared::new(&mut routes.score);
        threads.each(blocks(rows), |b| {
            let (from, to) = block(rows, b);
            // SAFETY: blocks are disjoint ranges of rows.
            let (expert, weight, score) = unsafe {
                (expert.part(from * k..to * k), weight.part(from * k..to * k), score.part(from * width..to * width))
            };
            self.project(&e.router, to - from, &y[from * h..to * h], h, score, width, false);
            for (i, score) in score.chunks_exact_mut(width).enumerate() {
                self.scores(c, score);
                let expert = &mut expert[i * k..][..k];
                if expert.contains(&UNROUTED) {
                    choose(c, &score[..c.count], correction, expert);
                }
                weigh(c, score, expert, &mut weight[i * k..][..k]);
            }
        });
        routes.sort(c.count);
    }

    /// Turns a padded row of logits into scores.
    fn scores(&self, c: &Experts, line: &mut [f32]) {
        let n = line.len();
        // SAFETY: the row holds n values, of which `count` ≤ n are live.
        unsafe {
            match c.router {
                Router::Softmax => {
                    let (_, sum) = row::softmax(self.isa, n, c.count, line.as_mut_ptr());
                    row::scale(self.isa, n, line.as_ptr(), 1.0 / sum, line.as_mut_ptr());
                }
                Router::Sigmoid { .. } => row::sigmoids(self.isa, n, line.as_mut_ptr()),
            }
        }
    }
}

/// Refuses a routing that does not fit the batch or the model.
pub(super) fn check(c: &ModelConfig, batch: &TokenBatch) -> Result<()> {
    let Some(routing) = &batch.routing else { return Ok(()) };
    let stride = c.routing_stride();
    let refuse = |message: String| {
        Err(Problem::new(Kind::Data, "N006", message)
            .why("a routing is replayed slot by slot, so it must come from a model of this shape")
            .hint("record it with this model, or leave it out"))
    };
    if routing.rows() != batch.tokens.rows() {
        return refuse(format!("a routing of {} rows for a batch of {}", routing.rows(), batch.tokens.rows()));
    }
    for (row, (given, tokens)) in routing.iter().zip(batch.tokens.lengths()).enumerate() {
        if given.len() != tokens * stride {
            let message =
                format!("row {row} is routed by {} experts, expected {tokens} tokens × {stride}", given.len());
            return refuse(message);
        }
        let Some(e) = &c.experts else { continue };
        for (at, slots) in given.chunks_exact(e.per_token).enumerate() {
            if slots.contains(&UNROUTED) {
                continue;
            }
            let distinct = (1..slots.len()).all(|i| !slots[..i].contains(&slots[i]));
            if !distinct || slots.iter().any(|&expert| usize::from(expert) >= e.count) {
                let token = at * e.per_token / stride;
                return refuse(format!("token {token} of row {row} is routed to {slots:?} of {} experts", e.count));
            }
        }
    }
    Ok(())
}

/// The experts of a row, best first; among equals the lowest index, which is what `torch.topk` gives on the CPU for few experts.
fn choose(c: &Experts, score: &[f32], correction: Option<&[f32]>, out: &mut [u16]) {
    let mut worth = score.to_vec();
    if let Some(correction) = correction {
        worth.iter_mut().zip(correction).for_each(|(worth, bias)| *worth += bias);
    }
    if let Router::Sigmoid { groups, kept_groups } = c.router
        && kept_groups < groups
    {
        let size = c.count / groups;
        let of_group: Vec<f32> = worth.chunks_exact(size).map(|group| best(group, 2).map(|i| group[i]).sum()).collect();
        let kept: Vec<usize> = best(&of_group, kept_groups).collect();
        for group in (0..groups).filter(|group| !kept.contains(group)) {
            worth[group * size..][..size].fill(f32::NEG_INFINITY);
        }
    }
    out.iter_mut().zip(best(&worth, c.per_token)).for_each(|(out, i)| *out = i as u16);
}

/// Indices of the `k` largest values, largest first, the lowest index among equals.
fn best(values: &[f32], k: usize) -> impl Iterator<Item = usize> {
    let mut taken = vec![false; values.len()];
    (0..k.min(values.len())).map(move |_| {
        let free = (0..values.len()).filter(|&i| !taken[i]);
        let found = free.reduce(|a, b| if values[b] > values[a] { b } else { a }).unwrap_or(0);
        taken[found] = true;
        found
    })
}

/// What the scores of a row's experts are divided by.
fn divisor(c: &Experts, score: &[f32], expert: &[u16]) -> f32 {
    if !c.renormalise {
        return 1.0;
    }
    let sum: f32 = expert.iter().map(|&i| score[usize::from(i)]).sum();
    match c.router {
        Router::Softmax => sum,
        Router::Sigmoid { .. } => sum + SIGMOID_EPSILON,
    }
}

/// `w_j = scale · s_j / Σ s`, without the division where weights are not renormalised.
fn weigh(c: &Experts, score: &[f32], expert: &[u16], out: &mut [f32]) {
    let divisor = divisor(c, score, expert);
    for (out, &i) in out.iter_mut().zip(expert) {
        *out = score[usize::from(i)] / divisor * c.scale as f32;
    }
}

/// From dLoss/dweight of a row's slots to dLoss/dlogit of every expert; the choice itself has no derivative.
///
/// With S the divisor: `ds_j = scale/S·(dw_j − Σ_i dw_i·s_i/S)`, or `scale·dw_j`. Then `dz_j = ds_j·s_j·(1 − s_j)` for a sigmoid,
/// `dz_e = s_e·(ds_e − Σ_j ds_j·s_j)` over all experts for a softmax.
pub(super) fn weigh_backward(c: &Experts, score: &[f32], expert: &[u16], d_weight: &[f32], d_logit: &mut [f32]) {
    let divisor = divisor(c, score, expert);
    let of = |i: &u16| score[usize::from(*i)];
    let pull: f32 =
        if c.renormalise { expert.iter().zip(d_weight).map(|(i, d)| d * of(i) / divisor).sum() } else { 0.0 };
    d_logit.fill(0.0);
    for (i, d) in expert.iter().zip(d_weight) {
        d_logit[usize::from(*i)] = c.scale as f32 / divisor * (d - pull);
    }
    match c.router {
        Router::Sigmoid { .. } => {
            expert.iter().for_each(|i| d_logit[usize::from(*i)] *= of(i) * (1.0 - of(i)));
        }
        Router::Softmax => {
            let pull: f32 = expert.iter().map(|i| d_logit[usize::from(*i)] * of(i)).sum();
            for (d, s) in d_logit.iter_mut().zip(score).take(c.count) {
                *d = s * (*d - pull);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sigmoid(count: usize, per_token: usize, scale: f64) -> Experts {
        Experts {
            count,
            per_token,
            feed_forward: 4,
            shared_feed_forward: 0,
            router: Router::Sigmoid { groups: 1, kept_groups: 1 },
            renormalise: true,
            scale,
            dense_layers: vec![],
        }
    }

    fn scores(logits: &[f32]) -> Vec<f32> {
        logits.iter().map(|z| 1.0 / (1.0 + (-z).exp())).collect()
    }

    fn routed(c: &Experts, score: &[f32], correction: Option<&[f32]>) -> (Vec<u16>, Vec<f32>) {
        let (mut expert, mut weight) = (vec![UNROUTED; c.per_token], vec![0.0; c.per_token]);
        choose(c, score, correction, &mut expert);
        weigh(c, score, &expert, &mut weight);
        (expert, weight)
    }

    fn close(got: &[f32], want: &[f32]) {
        assert_eq!(got.len(), want.len());
        assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-5), "{got:?} {want:?}");
    }

    #[test]
    fn the_numbers_of_the_spec() {
        // Spec A §12.6.
        let c = sigmoid(4, 2, 2.5);
        let score = scores(&[0.5, -1.0, 2.0, 0.1]);
        close(&score, &[0.622459, 0.268941, 0.880797, 0.524979]);
        let (expert, weight) = routed(&c, &score, Some(&[0.0, 1.0, 0.0, -0.2]));
        assert_eq!(expert, [1, 2]);
        close(&weight, &[0.584788, 1.915212]);
        assert_eq!(routed(&c, &score, Some(&[0.0; 4])).0, [2, 0]);
        let (expert, weight) = routed(&sigmoid(5, 2, 1.0), &scores(&[1.0, 1.2, -0.5, 0.0, 0.3]), None);
        assert_eq!(expert, [1, 0]);
        close(&weight, &[0.512492, 0.487508]);
    }

    #[test]
    fn with_all_experts_chosen_the_bias_changes_no_weight() {
        let (c, score) = (sigmoid(4, 4, 1.0), scores(&[0.5, -1.0, 2.0, 0.1]));
        let sorted = |correction: &[f32]| {
            let (expert, weight) = routed(&c, &score, Some(correction));
            let mut pairs: Vec<_> = expert.into_iter().zip(weight).collect();
            pairs.sort_by_key(|pair| pair.0);
            pairs
        };
        let (with, without) = (sorted(&[3.0, 0.0, -2.0, 0.1]), sorted(&[0.0; 4]));
        for (a, b) in with.iter().zip(&without) {
            assert!(a.0 == b.0 && (a.1 - b.1).abs() < 1e-6, "{with:?} {without:?}");
        }
    }

    #[test]
    fn equals_are_taken_from_the_lowest_index_and_groups_hide_experts() {
        assert_eq!(best(&[1.0, 3.0, 3.0, 0.0, 3.0], 4).collect::<Vec<_>>(), [1, 2, 4, 0]);
        // Sums of the two best per group: 0.9 + 0.1 = 1.0, 0.6 + 0.5 = 1.1. Group 0 holds the best expert but loses.
        let c = Experts { router: Router::Sigmoid { groups: 2, kept_groups: 1 }, ..sigmoid(6, 2, 1.0) };
        let (expert, weight) = routed(&c, &[0.9, 0.1, 0.05, 0.6, 0.5, 0.2], None);
        assert_eq!(expert, [3, 4]);
        close(&weight, &[0.6 / 1.1, 0.5 / 1.1]);
    }

    #[test]
    fn slots_are_sorted_by_expert_and_rows_stay_in_order() {
        let mut routes = Routes { expert: vec![2, 0, 0, 2, 2, 3], ..Routes::default() };
        routes.sort(4);
        assert_eq!((routes.order.as_slice(), routes.start.as_slice()), (&[1, 2, 0, 3, 4, 5][..], &[0, 2, 2, 5, 6][..]));
        assert!(routes.order.iter().enumerate().all(|(at, slot)| routes.place[*slot as usize] as usize == at));
    }

    #[test]
    fn derivatives_of_weights_agree_with_finite_differences() {
        let softmax = |logits: &[f32]| -> Vec<f32> {
            let sum: f32 = logits.iter().map(|z| z.exp()).sum();
            logits.iter().map(|z| z.exp() / sum).collect()
        };
        let (logits, expert, d_weight) = ([0.3f32, -0.7, 1.1, 0.2, -0.1], [2u16, 0, 3], [0.7f32, -0.4, 0.9]);
        for router in [Router::Softmax, Router::Sigmoid { groups: 1, kept_groups: 1 }] {
            for renormalise in [true, false] {
                let c = Experts { router, renormalise, ..sigmoid(5, 3, 2.5) };
                let score = |logits: &[f32]| if router == Router::Softmax { softmax(logits) } else { scores(logits) };
                let loss = |logits: &[f32]| {
                    let mut weight = [0.0; 3];
                    weigh(&c, &score(logits), &expert, &mut weight);
                    weight.iter().zip(d_weight).map(|(w, d)| f64::from(w * d)).sum::<f64>()
                };
                let mut d_logit = [9.0; 5];
                weigh_backward(&c, &score(&logits), &expert, &d_weight, &mut d_logit);
                for i in 0..5 {
                    let (mut up, mut down) = (logits, logits);
                    up[i] += 1e-2;
                    down[i] -= 1e-2;
                    let numeric = (loss(&up) - loss(&down)) / 2e-2;
                    let error = (numeric - f64::from(d_logit[i])).abs();
                    assert!(error < 1e-4, "{router:?} {renormalise} {i}: {numeric} {}", d_logit[i]);
                }
            }
        }
    }
}
